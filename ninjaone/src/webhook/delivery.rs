//! One attempt to deliver one event: from its place in the stream to the receiver's answer and, if that is
//! good, to the store having noted it.
//!
//! The integration's next event waits for the note, not only for the answer: if this process died in
//! between, this event would be sent again, and it must not come after a later one.

use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::Millis;
use evergreen_engine::store::outbox::{Dealt, Drain, Settle, Take};
use evergreen_engine::store::{OutboxEntry, StoreError};
use tokio::time::{Instant, sleep, timeout};

use super::READER;
use super::carrier::{Answer, MayLeave};
use super::dispatcher::{Holding, Shared};
use super::lanes::{Held, Key};
use super::message::Signed;
use super::pace::{self, PATIENCE, TIMEOUT, Verdict};

/// For how long events stay in the outbox that have been delivered, so that whoever follows
/// `/v1/events` may be away for a while.
const KEEP: Duration = Duration::from_hours(24);
/// Until the store is asked again to note what was delivered.
const NOTE_AGAIN: Duration = Duration::from_secs(1);

/// The store's time, as it was told and has gone on since.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreClock {
    pub(super) told: Millis,
    pub(super) at: Instant,
}

impl StoreClock {
    pub(super) fn now(&self) -> Millis {
        let since = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.told.saturating_add(since)
    }
}

/// One attempt.
pub(super) struct Delivery {
    pub(super) shared: Arc<Shared>,
    pub(super) holding: Arc<Holding>,
    pub(super) key: Key,
    pub(super) held: Held,
    /// Attempts of its integration that failed in a row before this one.
    pub(super) failures: u32,
    pub(super) clock: StoreClock,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The event has been dealt with; the next may leave at once, or not before then.
    Dealt(Option<Instant>),
    /// It is to be tried again then.
    Later(Instant),
    /// This process is not the sender any more.
    NotOurs,
}

impl Delivery {
    pub(super) async fn run(mut self) -> (Key, Ended) {
        let ended = match self.entry().await {
            Ok(Some(entry)) => self.attempt(&entry).await,
            // Pushed out of the stream: counted and told by the store.
            Ok(None) => Ended::Dealt(None),
            Err(error) => {
                tracing::debug!(%error, "an event that is to be delivered could not be read");
                Ended::Later(self.later(pace::wait(self.failures, rand::random())))
            }
        };
        (self.key, ended)
    }

    /// The event itself, read again if it was not kept.
    async fn entry(&mut self) -> Result<Option<OutboxEntry>, StoreError> {
        if let Some(entry) = self.held.entry.take() {
            return Ok(Some(*entry));
        }
        let drain = Drain {
            partition: self.key.0,
            reader: READER.to_owned(),
            take: Take::Again {
                after: self.held.position.before(),
            },
            count: 1,
            at: self.clock.now(),
            events_max: self.shared.events_max,
        };
        let drained = self.shared.store.drain(&drain).await?;
        let place = self.held.position.to_string();
        let found = drained.events.into_iter().next();
        Ok(found
            .filter(|one| one.position == place)
            .map(|one| one.entry))
    }

    async fn attempt(&self, entry: &OutboxEntry) -> Ended {
        let shared = &self.shared;
        let message = Signed::new(entry, self.clock.now() / 1000, &shared.secrets);
        let holding = Arc::clone(&self.holding);
        let may_leave: MayLeave = Arc::new(move || holding.holds());
        let posting = shared.carrier.post(message, may_leave);
        let answer = timeout(TIMEOUT, posting).await.unwrap_or(Answer::Timeout);
        match pace::judge(answer, self.failures, rand::random()) {
            Verdict::Delivered => {
                if self.failures > 0 {
                    tracing::info!(
                        integration = %entry.subject, event = %entry.id, attempts = self.failures + 1,
                        "the receiver takes the webhooks of this integration again"
                    );
                }
                shared.telemetry.webhook(pace::word(answer));
                self.note(Dealt::Done, None).await
            }
            Verdict::Later(wait) if self.is_old() => {
                shared.telemetry.webhook("abandoned");
                tracing::warn!(
                    integration = %entry.subject, event = %entry.id, name = %entry.event,
                    outcome = pace::word(answer),
                    "a webhook is given up: the receiver has not taken it for three days"
                );
                self.note(Dealt::Abandoned, Some(wait)).await
            }
            Verdict::Later(wait) => {
                shared.telemetry.webhook(pace::word(answer));
                self.tell_failure(entry, answer, wait);
                Ended::Later(self.later(wait))
            }
            Verdict::NotOurs => Ended::NotOurs,
        }
    }

    /// Loud at the first failure of an integration in a row, because the same again is no news.
    fn tell_failure(&self, entry: &OutboxEntry, answer: Answer, wait: Duration) {
        let (outcome, wait_s) = (pace::word(answer), wait.as_secs());
        let status = match answer {
            Answer::Status { status, .. } => Some(status),
            _ => None,
        };
        if self.failures == 0 {
            tracing::warn!(
                integration = %entry.subject, event = %entry.id, name = %entry.event, outcome, status,
                wait_s, "a webhook was not taken; this integration's webhooks wait"
            );
        } else {
            tracing::debug!(
                integration = %entry.subject, event = %entry.id, outcome, status, wait_s,
                failures = self.failures + 1, "a webhook was not taken"
            );
        }
    }

    fn is_old(&self) -> bool {
        let age = self.clock.now().saturating_sub(self.held.position.ms);
        Duration::from_millis(age) > PATIENCE
    }

    fn later(&self, wait: Duration) -> Instant {
        Instant::now() + wait
    }

    /// Has the store note it, for as long as this process is the sender.
    async fn note(&self, how: Dealt, wait: Option<Duration>) -> Ended {
        let settle = Settle {
            partition: self.key.0,
            reader: READER.to_owned(),
            positions: vec![self.held.position],
            how,
            keep: KEEP,
        };
        while self.holding.holds() {
            match self.shared.store.settle(&settle).await {
                Ok(_) => return Ended::Dealt(wait.map(|wait| self.later(wait))),
                Err(error) => {
                    tracing::debug!(%error, "what was delivered is not noted yet");
                }
            }
            sleep(NOTE_AGAIN).await;
        }
        Ended::NotOurs
    }
}
