//! Every bound of the engine, with its unit, and the relations between them.

use std::time::Duration;

/// Bounds that a deployment may change. [`Limits::check`] is called before anything starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a claim holds a workflow without being renewed.
    pub lease: Duration,
    /// The longest an activity may take; cut short where the trust window ends sooner.
    pub activity: Duration,
    /// An activity that would get less time than this is not begun, unless [`Limits::activity`] is
    /// shorter still.
    pub activity_min: Duration,
    /// How long a worker sleeps at most although nothing is due.
    pub poll_cap: Duration,
    /// Turns that one worker runs at once.
    pub concurrency: usize,
    /// How long a worker that was told to stop waits for the turns that run.
    pub shutdown_grace: Duration,
    /// Transitions kept in the log of a workflow; 0 turns the log off.
    pub log: usize,
    /// Events a partition's stream keeps at most.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            activity: Duration::from_secs(10),
            activity_min: Duration::from_secs(4),
            poll_cap: Duration::from_secs(1),
            concurrency: 32,
            shutdown_grace: Duration::from_secs(20),
            log: 50,
            events: 1_000_000,
        }
    }
}

/// Signals that an inbox may hold.
pub const INBOX_MAX: usize = 128;
/// Due entries that each reply brings along.
pub const HEADS: usize = 16;
/// Claims in a row without a finished turn after which the next is delayed.
pub const DELAY_AFTER: u32 = 3;
/// Claims in a row without a finished turn after which the workflow is parked.
pub const PARK_AFTER: u32 = 8;
/// The first delay of a workflow whose holders vanish; doubles each time.
pub const DELAY_FIRST: Duration = Duration::from_secs(5);
/// The longest delay of a workflow whose holders vanish.
pub const DELAY_MAX: Duration = Duration::from_secs(300);
/// Times that an intent is tried anew because signals came, before the turn goes on without its
/// activity. A verdict is tried as often as there are signals; an inbox is bounded.
pub const STRICT_ROUNDS: usize = 3;
/// Claims under way, and turns that wait until their activity may begin, beyond which a worker claims no
/// more.
pub const AHEAD_MAX: usize = 8;
/// How long a turn is held whose activity could not begin in half of its trust: long enough for what
/// is due before it.
pub const HELD_WAIT: Duration = Duration::from_secs(1);
/// How long a record that is newer than this worker is left to a newer one.
pub const NEWER_WAIT: Duration = Duration::from_secs(2);
/// Between two tries of a call that must not be lost: a commit, a signal, a look before a verdict.
pub const CALL_RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between two tries of a call that must not be lost.
pub const CALL_RETRY_MAX: Duration = Duration::from_secs(1);
/// How long a caller waits for another holder's commit.
pub const DRIVE_PATIENCE: Duration = Duration::from_secs(12);
/// The first pause between two looks at a workflow that another holds; doubles up to [`DRIVE_LOOK_MAX`].
pub const DRIVE_LOOK_FIRST: Duration = Duration::from_millis(25);
/// The longest pause between two looks at a workflow that another holds.
pub const DRIVE_LOOK_MAX: Duration = Duration::from_millis(250);
/// From here on it is told that this machine's clock differs from the store's.
pub const SKEW_WARN: Duration = Duration::from_secs(30);
/// Partitions, where the key space does not say otherwise.
pub const PARTITIONS_DEFAULT: u16 = 16;
/// Partitions allowed.
pub const PARTITIONS_MAX: u16 = 1024;

/// A relation between two limits that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {rule}")]
pub struct LimitsError {
    /// The setting to change.
    pub setting: &'static str,
    /// What must hold.
    pub rule: String,
}

impl Limits {
    /// What a lease is shortened by before a holder trusts it: 2/15 of it, 2 s of 15 s.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.lease * 2 / 15
    }

    /// Checks what must hold between the limits; every problem is told at once.
    ///
    /// # Errors
    /// All relations that do not hold.
    pub fn check(&self) -> Result<(), Vec<LimitsError>> {
        let mut wrong = Vec::new();
        let mut must = |holds: bool, setting, rule: &str| {
            if !holds {
                wrong.push(LimitsError {
                    setting,
                    rule: rule.to_owned(),
                });
            }
        };
        let second = Duration::from_secs(1);
        must(
            self.lease >= 3 * second && self.lease <= 300 * second,
            "lease",
            "from 3s to 5m: shorter than a slow reply takes over from the living, longer leaves the dead's work lying",
        );
        must(
            !self.activity.is_zero(),
            "activity",
            "more than nothing: an activity without time is never begun",
        );
        must(
            self.poll_cap >= Duration::from_millis(10) && self.poll_cap <= 60 * second,
            "poll cap",
            "from 10ms to 1m: a message that is lost costs so much",
        );
        must(
            (1..=4096).contains(&self.concurrency),
            "concurrency",
            "from 1 to 4096 turns at once",
        );
        must(
            self.log <= 1000,
            "log",
            "at most 1000 transitions a workflow",
        );
        must(
            self.events >= 1000,
            "events",
            "at least 1000 events a partition",
        );
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// The time an activity may take whose lease is renewed while it runs; `None` where even the first
    /// lease has not enough left to begin it.
    #[must_use]
    pub fn long_activity_within(&self, trust_left: Duration, wanted: Duration) -> Option<Duration> {
        self.activity_within(trust_left)
            .map(|short| short.max(wanted))
    }

    /// The time an activity may take: the least of [`Limits::activity`] and what is left of the
    /// lease less its margin and a second for the commit.
    #[must_use]
    pub fn activity_within(&self, trust_left: Duration) -> Option<Duration> {
        let commit = self.lease / 15;
        let least = self
            .activity_min
            .min(self.lease * 4 / 15)
            .min(self.activity);
        let time = trust_left.checked_sub(commit)?.min(self.activity);
        (time >= least).then_some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_give_an_activity_its_ten_seconds() {
        let limits = Limits::default();
        limits.check().unwrap();
        assert_eq!(limits.margin(), Duration::from_secs(2));
        let trust = limits.lease - limits.margin();
        assert_eq!(limits.activity_within(trust), Some(Duration::from_secs(10)));
    }

    #[test]
    fn too_little_trust_gives_no_activity() {
        let limits = Limits::default();
        assert_eq!(limits.activity_within(Duration::from_millis(4999)), None);
        assert_eq!(
            limits.activity_within(Duration::from_secs(5)),
            Some(Duration::from_secs(4))
        );
    }

    #[test]
    fn a_short_activity_is_begun_all_the_same() {
        let limits = Limits {
            activity: Duration::from_secs(2),
            ..Limits::default()
        };
        limits.check().unwrap();
        let trust = limits.lease - limits.margin();
        assert_eq!(limits.activity_within(trust), Some(limits.activity));
    }

    #[test]
    fn every_broken_relation_is_told() {
        let limits = Limits {
            lease: Duration::from_secs(1),
            concurrency: 0,
            ..Limits::default()
        };
        let settings: Vec<_> = limits
            .check()
            .unwrap_err()
            .iter()
            .map(|e| e.setting)
            .collect();
        assert_eq!(settings, ["lease", "concurrency"]);
    }
}
