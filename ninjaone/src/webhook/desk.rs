//! The sender at work: looks once a second what there is, fills the queues, has events delivered.
//!
//! Nothing here is kept when the part ends: who takes it over reads anew what was given out and not settled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::store::outbox::{Drain, Position, Progress, Take};
use evergreen_engine::store::{StoreError, StreamEntry};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::READER;
use super::delivery::{Delivery, Ended, StoreClock};
use super::dispatcher::{Holding, PART_AGAIN, Shared};
use super::lanes::{Key, Lanes};
use super::pace::TIMEOUT;
use crate::telemetry::WebhookStand;

/// Between two looks at what there is.
const LOOK: Duration = Duration::from_secs(1);
/// Until the store is asked again that did not say whether this process still is the sender.
const RENEW_AGAIN: Duration = Duration::from_secs(1);
/// Events that are under way at once.
const UNDER_WAY_MAX: usize = 16;
/// Events taken at once.
const PAGE: usize = 256;
/// Pages taken of one partition at once, so that none keeps the others waiting.
const PAGES_MAX: usize = 16;
/// How long what is under way is waited for at the end: as long as it may take.
const FINISH: Duration = Duration::from_secs(12);

/// How far one partition has been read.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    through: Position,
    /// Nothing that was given out lies behind `through`. Not so at the start, and not after an answer
    /// was lost: it may have brought events.
    sure: bool,
}

pub(super) struct Desk {
    shared: Arc<Shared>,
    holding: Arc<Holding>,
    places: BTreeMap<u16, Place>,
    lanes: Lanes,
    under_way: JoinSet<(Key, Ended)>,
    clock: Option<StoreClock>,
}

impl Desk {
    pub(super) fn new(shared: Arc<Shared>, holding: Arc<Holding>) -> Self {
        Self {
            shared,
            holding,
            places: BTreeMap::new(),
            lanes: Lanes::default(),
            under_way: JoinSet::new(),
            clock: None,
        }
    }

    /// Works until told to stop, or until this process is not the sender any more.
    pub(super) async fn run(mut self, stop: &CancellationToken) {
        let mut look_at = Instant::now();
        let mut renew_at = Instant::now() + PART_AGAIN;
        while !stop.is_cancelled() && self.holding.holds() {
            let now = Instant::now();
            if now >= renew_at {
                renew_at = match self.shared.renew(&self.holding).await {
                    Ok(true) => now + PART_AGAIN,
                    Ok(false) => break,
                    Err(error) => {
                        tracing::debug!(%error, "nobody says whether this process sends the webhooks");
                        now + RENEW_AGAIN
                    }
                };
            }
            if now >= look_at {
                look_at = now + LOOK;
                if let Err(error) = self.look().await {
                    tracing::debug!(%error, "the outbox was not looked at");
                }
            }
            self.begin();
            let next = self.lanes.next_at().filter(|_| self.may_begin());
            let wake = look_at.min(renew_at).min(next.unwrap_or(look_at));
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                Some(ended) = self.under_way.join_next() => match ended {
                    Ok((key, ended)) => self.ended(&key, ended),
                    Err(error) => {
                        tracing::error!(%error, "a delivery broke off; all that is not settled is read anew");
                        break;
                    }
                },
                () = sleep_until(wake) => {}
            }
        }
        let finish = async { while self.under_way.join_next().await.is_some() {} };
        if timeout(FINISH, finish).await.is_err() {
            tracing::warn!("webhooks were broken off; they are sent again under the same ids");
        }
    }

    /// What there is: where something new is, it is taken.
    async fn look(&mut self) -> Result<(), StoreError> {
        let seen = self.shared.store.progress(READER).await?;
        if let Some(one) = seen.first() {
            let at = Instant::now();
            self.clock = Some(StoreClock { told: one.now, at });
        }
        for one in &seen {
            let place = self.places.entry(one.partition).or_default();
            if !place.sure || !one.joined || one.unread > 0 {
                self.take(one.partition).await;
            }
        }
        self.shared.telemetry.webhooks_stand(Some(stand(&seen)));
        Ok(())
    }

    /// Takes what there is of one partition: first what was given out before, then what is new.
    async fn take(&mut self, partition: u16) {
        for _ in 0..PAGES_MAX {
            let (Some(place), Some(clock)) = (self.places.get(&partition).copied(), self.clock)
            else {
                return;
            };
            let take = match place.sure {
                true if self.lanes.is_full() => return,
                true => Take::New,
                false => Take::Again {
                    after: place.through,
                },
            };
            let drain = Drain {
                partition,
                reader: READER.to_owned(),
                take,
                count: PAGE,
                at: clock.now(),
                events_max: self.shared.events_max,
            };
            let drained = match self.shared.store.drain(&drain).await {
                Ok(drained) => drained,
                Err(error) => {
                    tracing::debug!(%error, partition, "events could not be taken");
                    self.places.entry(partition).or_default().sure = false;
                    return;
                }
            };
            if drained.lost > 0 {
                tracing::error!(
                    partition,
                    lost = drained.lost,
                    "events were pushed out of the outbox before the receiver had them"
                );
            }
            let full = drained.events.len() >= PAGE;
            self.queue(partition, drained.events);
            let place = self.places.entry(partition).or_default();
            match drained.through {
                Some(through) => place.through = place.through.max(through),
                None if place.sure => return,
                None => place.sure = true,
            }
            if place.sure && !full && take == Take::New {
                return;
            }
        }
    }

    fn queue(&mut self, partition: u16, events: Vec<StreamEntry>) {
        for event in events {
            match event.position.parse() {
                Ok(position) => self.lanes.push(partition, position, event.entry),
                Err(error) => tracing::error!(%error, "an event has no place"),
            }
        }
    }

    /// Whether what is begun now surely ends while this process is the sender, and there is room for it.
    fn may_begin(&self) -> bool {
        self.under_way.len() < UNDER_WAY_MAX && self.holding.left() > TIMEOUT
    }

    fn begin(&mut self) {
        let Some(clock) = self.clock else { return };
        while self.may_begin() {
            let Some((key, held, failures)) = self.lanes.take(Instant::now()) else {
                return;
            };
            let delivery = Delivery {
                shared: Arc::clone(&self.shared),
                holding: Arc::clone(&self.holding),
                key,
                held,
                failures,
                clock,
            };
            self.under_way.spawn(delivery.run());
        }
    }

    fn ended(&mut self, key: &Key, ended: Ended) {
        match ended {
            Ended::Dealt(ready_at) => self.lanes.dealt_with(key, ready_at),
            Ended::Later(ready_at) => self.lanes.failed(key, ready_at),
            // Its queue stays as it is: who sends from now on reads it anew.
            Ended::NotOurs => {}
        }
    }
}

/// All partitions together.
fn stand(seen: &[Progress]) -> WebhookStand {
    let age_s = |one: &Progress| {
        let oldest = one.oldest?;
        Some(one.now.saturating_sub(oldest.ms) / 1000)
    };
    WebhookStand {
        undelivered: seen.iter().map(|one| one.unread + one.unsettled).sum(),
        oldest_s: seen.iter().filter_map(age_s).max().unwrap_or_default(),
        lost: seen.iter().map(|one| one.lost).sum(),
        abandoned: seen.iter().map(|one| one.abandoned).sum(),
    }
}
