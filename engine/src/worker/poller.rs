//! The loop of a worker: looks, claims what is due while there are places, and sleeps.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::place::{Left, Place};
use crate::agenda::{Agenda, Next};
use crate::counters::Counters;
use crate::engine::Engine;
use crate::id::WorkflowId;
use crate::limits::HEADS;
use crate::news;
use crate::store::{Peek, StoreError, Wakes};

/// When a worker looks at all partitions again, as parts of the poll cap: at random, so that workers
/// started together do not look together for ever; and so that what the look finds is claimed within
/// the cap, which is what the cap promises.
const LOOK_FIRST: f64 = 0.85;
/// The latest.
const LOOK_LAST: f64 = 0.95;
/// How far a worker looks behind entries that are not for it.
const BEHIND_MAX: usize = 4096;

pub(super) struct Poller {
    engine: Engine,
    agenda: Agenda,
    permits: Arc<Semaphore>,
    busy: HashSet<String>,
    wakes: Option<Wakes>,
    news: news::Reader,
    ended: (mpsc::UnboundedSender<Left>, mpsc::UnboundedReceiver<Left>),
    /// What another owns and is left alone for now; busy as far as the agenda is concerned.
    spared: Vec<String>,
    stale: BTreeSet<u16>,
    look_again: Instant,
    away: u32,
}

impl Poller {
    pub(super) async fn new(engine: Engine) -> Self {
        let partitions = engine.store().partitions();
        let mut poller = Self {
            agenda: Agenda::new(partitions),
            permits: Arc::new(Semaphore::new(engine.limits().concurrency)),
            busy: HashSet::new(),
            wakes: None,
            news: engine.news().read(),
            ended: mpsc::unbounded_channel(),
            spared: Vec::new(),
            stale: (0..partitions).collect(),
            look_again: Instant::now(),
            away: 0,
            engine,
        };
        if let Err(error) = poller.listen().await {
            tracing::warn!(%error, "no wake-up messages yet; what they would tell of waits for the poll cap");
        }
        poller
    }

    async fn listen(&mut self) -> Result<(), StoreError> {
        self.wakes = Some(self.engine.store().wakes().await?);
        Ok(())
    }

    pub(super) async fn run(&mut self) {
        loop {
            if Instant::now() >= self.look_again {
                self.look_everywhere().await;
            } else if !self.stale.is_empty() {
                self.look().await;
            }
            if !self.spared.is_empty() && !self.engine.is_cautious() {
                for member in self.spared.drain(..) {
                    self.busy.remove(&member);
                }
            }
            let cap = self.look_again.saturating_duration_since(Instant::now());
            let next = if self.engine.queue().is_long() {
                Next::Sleep(cap)
            } else {
                self.agenda.next(self.pick(), cap, &self.busy)
            };
            match next {
                Next::Claim(_, member) => self.begin(member).await,
                Next::Sleep(span) => self.wait(span).await,
            }
            self.catch_up();
        }
    }

    /// Looks at all partitions: what a lost message costs is the time between two of these, so no
    /// other look puts it off.
    async fn look_everywhere(&mut self) {
        if self.wakes.is_none()
            && let Err(error) = self.listen().await
        {
            tracing::debug!(%error, "still no wake-up messages");
        }
        let cap = self.engine.limits().poll_cap;
        let spread = LOOK_FIRST + (LOOK_LAST - LOOK_FIRST) * self.engine.platform().unit();
        self.look_again = Instant::now() + cap.mul_f64(spread);
        // Of what changes from here on, messages tell anew.
        self.stale.clear();
        let look = async {
            let look = self.engine.store().look().await?;
            // Before anything that it tells of is claimed.
            self.engine.saw(&look).await?;
            Ok(look.peek)
        };
        match look.await {
            Ok(peek) => self.told(peek).await,
            Err(error) => self.unanswered(&error),
        }
    }

    /// Asks for the heads of the partitions that may have changed, in one round trip.
    async fn look(&mut self) {
        let partitions: Vec<u16> = std::mem::take(&mut self.stale).into_iter().collect();
        match self.engine.store().peek(&partitions).await {
            Ok(peek) => self.told(peek).await,
            Err(error) => self.unanswered(&error),
        }
    }

    async fn told(&mut self, peek: Peek) {
        self.away = 0;
        for (partition, heads) in peek.partitions {
            self.agenda.looked(partition, heads, peek.now);
            if let Err(error) = self.look_behind(partition).await {
                tracing::debug!(%error, partition, "what lies behind was not told");
            }
        }
    }

    fn unanswered(&mut self, error: &StoreError) {
        Counters::add(&self.engine.counters().store_away, 1);
        if self.away == 0 {
            tracing::warn!(%error, "the store does not answer; asking again");
        }
        self.away = self.away.saturating_add(1);
        let pause = Duration::from_millis(100) * 2u32.pow(self.away.min(4));
        self.look_again = Instant::now() + pause;
    }

    /// Where all that was told of a partition is due and none of it is for us, looks at what lies behind
    /// it: the entries of kinds that others run, or that nobody does, and those that are left alone for
    /// now, must not hide the rest.
    async fn look_behind(&mut self, partition: u16) -> Result<(), StoreError> {
        let engine = &self.engine;
        let busy = &self.busy;
        let for_us = |member: &str| {
            !busy.contains(member)
                && WorkflowId::from_member(member).is_ok_and(|id| engine.runs(id.kind()))
        };
        let mut found = Vec::new();
        let mut from = HEADS;
        if self.agenda.is_hidden(partition, for_us) {
            while found.is_empty() && from < BEHIND_MAX {
                let members = engine.store().due_members(partition, from, HEADS).await?;
                let whole = members.len() == HEADS;
                found.extend(members.into_iter().filter(|member| for_us(member)));
                if !whole {
                    break;
                }
                from += HEADS;
            }
        }
        self.agenda.found_behind(partition, found);
        Ok(())
    }

    /// Takes one due workflow, in a task of its own, once there is a place for it.
    async fn begin(&mut self, member: String) {
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return;
        };
        let Ok(id) = WorkflowId::from_member(&member) else {
            tracing::warn!(%member, "an entry of the due set that is no workflow; left alone");
            return;
        };
        if !self.engine.runs(id.kind()) {
            return;
        }
        self.busy.insert(member.clone());
        let place = Place::take(&self.engine, permit, member, self.ended.0.clone());
        self.engine.turns().spawn(place.turn(id));
    }

    /// Which of several due workflows. The first, while others wait for their activities to begin:
    /// then what comes first is what matters, and not that two workers may want the same.
    fn pick(&self) -> usize {
        if !self.engine.queue().nobody_waits() {
            return 0;
        }
        let bits = (self.engine.platform().random)();
        usize::try_from(bits % (1 << 16)).unwrap_or(0)
    }

    /// Sleeps until something happens. In a fixed order, so that with a given randomness a worker
    /// does the same again; nothing is left behind by it, since what is ready besides is taken in by
    /// [`Poller::catch_up`].
    async fn wait(&mut self, span: Duration) {
        let wake = async {
            match self.wakes.as_mut() {
                Some(wakes) => wakes.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(span) => {}
            () = self.engine.queue().shorter() => {}
            // Never, where another worker reads the news of this engine from now on.
            (partition, heads, now) = self.news.recv() => {
                self.agenda.told(partition, heads, now);
            }
            left = self.ended.1.recv() => {
                if let Some(left) = left {
                    self.left(left);
                }
            }
            wake = wake => match wake {
                Some((partition, _)) => {
                    self.stale.insert(partition);
                }
                None => self.wakes = None,
            },
        }
    }

    fn left(&mut self, left: Left) {
        if left.spared {
            self.spared.push(left.member);
        } else {
            self.busy.remove(&left.member);
        }
    }

    /// Takes in everything that has arrived meanwhile.
    fn catch_up(&mut self) {
        while let Some((partition, heads, now)) = self.news.try_recv() {
            self.agenda.told(partition, heads, now);
        }
        while let Ok(left) = self.ended.1.try_recv() {
            self.left(left);
        }
        if let Some(wakes) = self.wakes.as_mut() {
            while let Ok((partition, _)) = wakes.try_recv() {
                self.stale.insert(partition);
            }
        }
    }
}
