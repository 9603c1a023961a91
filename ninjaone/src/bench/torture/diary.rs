//! What was done to the fleet, and when: what may excuse something, and nothing else does.
//!
//! All times are milliseconds since 1970 by this machine's clock, which the simulator goes by, too.

use std::collections::HashMap;

/// How long a process takes at most, on a busy machine, from having read an answer to having it where it
/// survives the process: in its journal, or in the store.
pub(super) const SLACK_MS: u64 = 1_500;

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// When it began.
    pub from: u64,
    /// When it ended; `u64::MAX` while it lasts.
    pub to: u64,
}

impl Span {
    fn meets(self, from: u64, to: u64) -> bool {
        self.from <= to && self.to >= from
    }
}

/// What kept a process from making an answer known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It was killed.
    Killed,
    /// It was stopped.
    Stopped,
    /// It was cut off from Redis.
    CutOff,
    /// Redis was away, or came back without what it had said to have.
    RedisAway,
}

/// Everything that was done, and who sent what.
#[derive(Debug, Default)]
pub(super) struct Diary {
    /// By worker: from the moment at which it did nothing more to the moment at which it was dead. The two
    /// differ for one that was killed while it was stopped.
    deaths: HashMap<usize, Vec<Span>>,
    stops: HashMap<usize, Vec<Span>>,
    cuts: HashMap<usize, Vec<Span>>,
    redis: Vec<Span>,
    /// By workflow: when which worker set out to send its refresh token.
    intents: HashMap<String, Vec<(u64, usize)>>,
    /// Whom the fleet has asked to reconnect, and when, whatever came of it.
    verdicts: Vec<(String, u64)>,
}

impl Diary {
    /// A worker is dead, and did nothing more since `since`.
    pub(super) fn died(&mut self, worker: usize, since: u64, now: u64) {
        let span = Span {
            from: since,
            to: now,
        };
        self.deaths.entry(worker).or_default().push(span);
    }

    /// A worker does not go on, until [`Diary::goes_on`].
    pub(super) fn stopped(&mut self, worker: usize, now: u64) {
        open(self.stops.entry(worker).or_default(), now);
    }

    /// It does, or is dead. Since when it did not.
    pub(super) fn goes_on(&mut self, worker: usize, now: u64) -> u64 {
        close(self.stops.entry(worker).or_default(), now)
    }

    /// A worker is cut off from Redis, until [`Diary::joined`].
    pub(super) fn cut_off(&mut self, worker: usize, now: u64) {
        open(self.cuts.entry(worker).or_default(), now);
    }

    /// It is not any more.
    pub(super) fn joined(&mut self, worker: usize, now: u64) {
        close(self.cuts.entry(worker).or_default(), now);
    }

    /// Whether it is cut off now.
    #[must_use]
    pub(super) fn is_cut_off(&self, worker: usize) -> bool {
        let last = self.cuts.get(&worker).and_then(|all| all.last());
        last.is_some_and(|span| span.to == u64::MAX)
    }

    /// Redis is away, until [`Diary::redis_back`].
    pub(super) fn redis_away(&mut self, now: u64) {
        open(&mut self.redis, now);
    }

    /// It answers again.
    pub(super) fn redis_back(&mut self, now: u64) {
        close(&mut self.redis, now);
    }

    /// A worker has written down that it will send the workflow's refresh token.
    pub(super) fn intended(&mut self, workflow: &str, worker: usize, at: u64) {
        let of = self.intents.entry(workflow.to_owned()).or_default();
        of.push((at, worker));
    }

    /// A worker has asked for a new consent.
    pub(super) fn condemned(&mut self, workflow: &str, at: u64) {
        self.verdicts.push((workflow.to_owned(), at));
    }

    /// All that were asked for one.
    pub(super) fn verdicts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.verdicts
            .iter()
            .map(|(workflow, at)| (workflow.as_str(), *at))
    }

    /// Whether any worker has told of what it sets out to send. If none has, nothing can be laid at
    /// anybody's door.
    #[must_use]
    pub(super) fn knows_senders(&self) -> bool {
        !self.intents.is_empty()
    }

    /// Which worker sent a request that arrived then; `None` for this very process, which is never
    /// disturbed.
    #[must_use]
    pub(super) fn sender(&self, workflow: &str, arrived: u64) -> Option<usize> {
        let before = self.intents.get(workflow)?.iter();
        // Of the same clock, read by two processes.
        let before = before.filter(|(at, _)| *at <= arrived + 2);
        before.max_by_key(|(at, _)| *at).map(|(_, worker)| *worker)
    }

    /// Whether whoever had an answer in its hands at `read` was dead before it can have kept it.
    #[must_use]
    pub(super) fn died_with(&self, sender: Option<usize>, read: u64) -> bool {
        self.died_between(sender, read, read)
    }

    /// Whether whoever sent a request died while it waited for the answer. A dead client is noticed a moment later.
    #[must_use]
    pub(super) fn died_between(&self, sender: Option<usize>, sent: u64, gone: u64) -> bool {
        let deaths = sender.and_then(|worker| self.deaths.get(&worker));
        let hit = |death: &Span| death.meets(sent, gone + SLACK_MS);
        deaths.is_some_and(|all| all.iter().any(hit))
    }

    /// What kept an answer that was handed over at `sent` from being in the store at `again`.
    #[must_use]
    pub(super) fn broke_off(&self, sender: Option<usize>, sent: u64, again: u64) -> Option<Cause> {
        // What begins later came too late to be the reason.
        let until = (sent + SLACK_MS).min(again);
        let hit = |of: &HashMap<usize, Vec<Span>>| {
            let spans = sender.and_then(|worker| of.get(&worker));
            spans.is_some_and(|all| all.iter().any(|span| span.meets(sent, until)))
        };
        let redis = || self.redis.iter().any(|span| span.meets(sent, until));
        if hit(&self.deaths) {
            Some(Cause::Killed)
        } else if hit(&self.stops) {
            Some(Cause::Stopped)
        } else if hit(&self.cuts) {
            Some(Cause::CutOff)
        } else {
            redis().then_some(Cause::RedisAway)
        }
    }

    /// Whether Redis was out of a worker's reach at some time since `since`.
    #[must_use]
    pub(super) fn out_of_reach(&self, worker: usize, since: u64, now: u64) -> bool {
        let cuts = self.cuts.get(&worker);
        let cut = cuts.is_some_and(|all| all.iter().any(|span| span.meets(since, now)));
        cut || self.redis.iter().any(|span| span.meets(since, now))
    }
}

fn open(spans: &mut Vec<Span>, now: u64) {
    spans.push(Span {
        from: now,
        to: u64::MAX,
    });
}

fn close(spans: &mut [Span], now: u64) -> u64 {
    match spans.last_mut().filter(|span| span.to == u64::MAX) {
        Some(span) => {
            span.to = now;
            span.from
        }
        None => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_befell_the_sender_in_time_excuses_it() {
        let mut diary = Diary::default();
        diary.intended("w", 1, 10_000);
        diary.intended("w", 2, 20_000);
        diary.died(1, 10_400, 10_400);
        assert_eq!(diary.sender("w", 10_300), Some(1));
        assert_eq!(diary.sender("w", 20_300), Some(2));
        assert_eq!(diary.sender("v", 20_300), None);
        let broke_off = |sender, sent| diary.broke_off(sender, sent, sent + 6_000);
        assert_eq!(broke_off(Some(1), 10_300), Some(Cause::Killed));
        assert_eq!(broke_off(Some(2), 10_300), None, "another's death");
        assert_eq!(broke_off(None, 10_300), None, "our own request");
        assert_eq!(broke_off(Some(1), 10_500), None, "before it was sent");
        assert_eq!(broke_off(Some(1), 8_000), None, "long after");
        assert!(diary.died_with(Some(1), 10_300) && !diary.died_with(Some(1), 8_000));
    }

    #[test]
    fn whoever_is_killed_while_it_stands_did_nothing_since() {
        let mut diary = Diary::default();
        diary.stopped(0, 1_000);
        assert_eq!(
            diary.broke_off(Some(0), 5_000, 9_000),
            Some(Cause::Stopped),
            "while it lasts"
        );
        let since = diary.goes_on(0, 9_000);
        diary.died(0, since, 9_000);
        assert_eq!(since, 1_000);
        assert!(diary.died_with(Some(0), 5_000));
        assert_eq!(diary.broke_off(Some(0), 5_000, 9_500), Some(Cause::Killed));
        assert_eq!(diary.goes_on(0, 9_100), 9_100, "it did not stand");
    }

    #[test]
    fn redis_excuses_everybody_and_a_cut_only_whom_it_cuts_off() {
        let mut diary = Diary::default();
        diary.cut_off(0, 1_000);
        diary.joined(0, 2_000);
        diary.redis_away(5_000);
        diary.redis_back(6_000);
        assert_eq!(diary.broke_off(Some(0), 1_500, 8_000), Some(Cause::CutOff));
        assert_eq!(diary.broke_off(Some(1), 1_500, 8_000), None);
        assert_eq!(
            diary.broke_off(Some(1), 4_000, 8_000),
            Some(Cause::RedisAway)
        );
        assert_eq!(
            diary.broke_off(Some(1), 4_000, 4_500),
            None,
            "again before it"
        );
        assert!(diary.out_of_reach(0, 1_900, 3_000) && !diary.out_of_reach(1, 1_900, 3_000));
        assert!(diary.out_of_reach(1, 5_900, 7_000));
    }
}
