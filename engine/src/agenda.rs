//! What a worker knows of what is due: the heads of each partition, as the last reply told them.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::HEADS;
use crate::machine::Millis;
use crate::store::Heads;

/// Where the agenda's own clock begins: later than any time that a store tells, so that what has been
/// due for long is a time on it, too.
const BEGIN: Millis = 1 << 50;

/// The heads of all partitions. Each lies on a server with a clock of its own, and what is due is due by
/// that clock; so times are kept by one clock that runs here, as far from now as the reply told. A reply
/// travels, so that is late, never early.
#[derive(Debug)]
pub(crate) struct Agenda {
    partitions: Vec<Heads>,
    /// For each, the server's time at which it was told.
    told_at: Vec<Millis>,
    /// What lies behind heads that are not for us; see [`Agenda::found_behind`].
    behind: Vec<Heads>,
    begun: Instant,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Claim this member of this partition.
    Claim(u16, String),
    /// Nothing is due for so long, as far as is known.
    Sleep(Duration),
}

impl Agenda {
    pub(crate) fn new(partitions: u16) -> Self {
        Self {
            partitions: vec![Vec::new(); usize::from(partitions)],
            told_at: vec![0; usize::from(partitions)],
            behind: vec![Vec::new(); usize::from(partitions)],
            begun: Instant::now(),
        }
    }

    /// Takes over what a look told of one partition. `now`: by the clock that the heads go by.
    pub(crate) fn looked(&mut self, partition: u16, heads: Heads, now: Millis) {
        let here = self.now();
        let by_ours =
            |(member, at): (String, Millis)| (member, at.saturating_add(here).saturating_sub(now));
        let place = usize::from(partition);
        if let (Some(known), Some(told_at)) =
            (self.partitions.get_mut(place), self.told_at.get_mut(place))
        {
            *known = heads.into_iter().map(by_ours).collect();
            *told_at = now;
        }
    }

    /// Takes over what the reply of a claim or a commit told. Such replies overtake each other, and may
    /// arrive after a look that was told later: what came due in between must not be forgotten again
    /// until the next look. Only another look goes back in time, as after a failover.
    pub(crate) fn told(&mut self, partition: u16, heads: Heads, now: Millis) {
        let place = usize::from(partition);
        match self.told_at.get(place).map(|told_at| now.cmp(told_at)) {
            Some(Ordering::Greater) => self.looked(partition, heads, now),
            // Within one millisecond nobody can say which is the newer one.
            Some(Ordering::Equal) => {
                let known = std::mem::take(&mut self.partitions[place]);
                self.looked(partition, heads, now);
                let heads = &mut self.partitions[place];
                let told: HashSet<String> = heads.iter().map(|(m, _)| m.clone()).collect();
                heads.extend(known.into_iter().filter(|(m, _)| !told.contains(m)));
                // Whoever looks for the earliest takes the first.
                heads.sort_by_key(|(_, at)| *at);
            }
            Some(Ordering::Less) | None => {}
        }
    }

    /// Whether the heads of a partition hide what is behind them: all that a reply tells of are due,
    /// and none of them is for us.
    pub(crate) fn is_hidden(&self, partition: u16, for_us: impl Fn(&str) -> bool) -> bool {
        let now = self.now();
        let heads = self.partitions.get(usize::from(partition));
        heads.is_some_and(|heads| {
            heads.len() >= HEADS && heads.iter().all(|(m, at)| *at <= now && !for_us(m))
        })
    }

    /// Takes over what was found behind heads that are not for us. When each of them is due is not
    /// known; whoever claims one is told.
    pub(crate) fn found_behind(&mut self, partition: u16, members: Vec<String>) {
        let now = self.now();
        if let Some(behind) = self.behind.get_mut(usize::from(partition)) {
            *behind = members.into_iter().map(|member| (member, now)).collect();
        }
    }

    fn now(&self) -> Millis {
        BEGIN + u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(BEGIN)
    }

    /// The next thing to do. From the partition with the earliest head one of its due entries is
    /// taken (`pick` chooses, so that workers that know the same do not all want the same) and
    /// forgotten: a reply will tell of it again. What `busy` names is passed over and kept.
    pub(crate) fn next(&mut self, pick: usize, cap: Duration, busy: &HashSet<String>) -> Next {
        let now = self.now();
        let free = |heads: &Heads| {
            heads
                .iter()
                .filter(|(m, _)| !busy.contains(m))
                .map(|(_, at)| *at)
                .min()
        };
        let lists = self.partitions.iter().chain(&self.behind).enumerate();
        let earliest = lists
            .filter_map(|(index, heads)| free(heads).map(|at| (at, index)))
            .min();
        let Some((at, index)) = earliest else {
            return Next::Sleep(cap);
        };
        if at > now {
            return Next::Sleep(Duration::from_millis(at - now).min(cap));
        }
        let count = self.partitions.len();
        let Some(heads) = self
            .partitions
            .iter_mut()
            .chain(&mut self.behind)
            .nth(index)
        else {
            return Next::Sleep(cap);
        };
        let due: Vec<usize> = heads
            .iter()
            .enumerate()
            .filter(|(_, (member, at))| *at <= now && !busy.contains(member))
            .map(|(place, _)| place)
            .collect();
        let Some(place) = due.get(pick % due.len().max(1)) else {
            return Next::Sleep(cap);
        };
        let (member, _) = heads.remove(*place);
        match u16::try_from(index % count) {
            Ok(partition) => Next::Claim(partition, member),
            Err(_) => Next::Sleep(cap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(1);

    fn heads(entries: &[(&str, Millis)]) -> Heads {
        entries
            .iter()
            .map(|(m, at)| ((*m).to_owned(), *at))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_head_comes_first_and_only_once() {
        let none = HashSet::new();
        let mut agenda = Agenda::new(2);
        agenda.told(0, heads(&[("k:late", 90)]), 100);
        agenda.told(1, heads(&[("k:early", 50), ("k:future", 500)]), 100);
        assert_eq!(
            agenda.next(0, CAP, &none),
            Next::Claim(1, "k:early".to_owned())
        );
        assert_eq!(
            agenda.next(0, CAP, &none),
            Next::Claim(0, "k:late".to_owned())
        );
        assert_eq!(
            agenda.next(0, CAP, &none),
            Next::Sleep(Duration::from_millis(400))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_never_is_never_due() {
        let none = HashSet::new();
        let mut agenda = Agenda::new(1);
        agenda.told(0, heads(&[("k:never", Millis::MAX)]), 100);
        assert_eq!(agenda.next(0, CAP, &none), Next::Sleep(CAP));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_picked_before_its_time() {
        let none = HashSet::new();
        let mut agenda = Agenda::new(1);
        agenda.told(0, heads(&[("k:a", 50), ("k:b", 101)]), 100);
        assert_eq!(agenda.next(7, CAP, &none), Next::Claim(0, "k:a".to_owned()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(agenda.next(7, CAP, &none), Next::Claim(0, "k:b".to_owned()));
        assert_eq!(agenda.next(7, CAP, &none), Next::Sleep(CAP));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_was_overtaken_by_a_look_makes_nothing_forgotten() {
        let none = HashSet::new();
        let mut agenda = Agenda::new(1);
        agenda.looked(0, heads(&[("k:a", 100)]), 100);
        agenda.told(0, heads(&[]), 99);
        agenda.told(0, heads(&[("k:b", 100)]), 100);
        let mut claimed = Vec::new();
        while let Next::Claim(_, member) = agenda.next(0, CAP, &none) {
            claimed.push(member);
        }
        claimed.sort();
        assert_eq!(claimed, ["k:a", "k:b"]);
        // A server that is behind the one before it is heard from the next look on.
        agenda.looked(0, heads(&[]), 20);
        agenda.told(0, heads(&[("k:c", 21)]), 21);
        assert_eq!(agenda.next(0, CAP, &none), Next::Claim(0, "k:c".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_lies_behind_heads_that_are_not_for_us_comes_after_them() {
        let none = HashSet::new();
        let mut agenda = Agenda::new(2);
        let strangers: Vec<_> = (0..HEADS as u64).map(|n| format!("s:{n}")).collect();
        let told: Heads = strangers.iter().map(|m| (m.clone(), 50)).collect();
        let for_us = |member: &str| member.starts_with("k:");
        agenda.told(1, told.clone(), 49);
        assert!(
            !agenda.is_hidden(1, for_us),
            "what is behind is not due yet"
        );
        agenda.told(1, told[1..].to_vec(), 100);
        assert!(!agenda.is_hidden(1, for_us), "nothing is behind");
        agenda.told(1, told, 100);
        assert!(agenda.is_hidden(1, for_us) && !agenda.is_hidden(0, for_us));
        agenda.found_behind(1, vec!["k:a".to_owned()]);
        let mut claimed = Vec::new();
        while let Next::Claim(partition, member) = agenda.next(0, CAP, &none) {
            assert_eq!(partition, 1);
            claimed.push(member);
        }
        assert_eq!(claimed[..HEADS], strangers);
        assert_eq!(claimed[HEADS..], ["k:a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_partition_goes_by_the_clock_that_told_of_it() {
        let none = HashSet::new();
        let mut agenda = Agenda::new(2);
        agenda.told(0, heads(&[("k:a", 1_000_150)]), 1_000_100);
        // This server is a thousand seconds behind the other.
        agenda.told(1, heads(&[("k:b", 120)]), 100);
        let soon = Next::Sleep(Duration::from_millis(20));
        assert_eq!(agenda.next(0, CAP, &none), soon);
        tokio::time::advance(Duration::from_millis(60)).await;
        assert_eq!(agenda.next(0, CAP, &none), Next::Claim(1, "k:b".to_owned()));
        assert_eq!(agenda.next(0, CAP, &none), Next::Claim(0, "k:a".to_owned()));
        assert_eq!(agenda.next(0, CAP, &none), Next::Sleep(CAP));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_busy_is_passed_over_and_not_forgotten() {
        let mut agenda = Agenda::new(1);
        agenda.told(0, heads(&[("k:a", 50)]), 100);
        let busy = HashSet::from(["k:a".to_owned()]);
        assert_eq!(agenda.next(0, CAP, &busy), Next::Sleep(CAP));
        assert_eq!(
            agenda.next(0, CAP, &HashSet::new()),
            Next::Claim(0, "k:a".to_owned())
        );
    }
}
