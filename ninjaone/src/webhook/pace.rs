//! What an answer means, how long to wait after it, and when an event is given up.

use std::time::Duration;

use super::carrier::Answer;

/// The longest that one attempt takes.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// For how long an event is tried, from when it happened; then its next failure is its last. At least one
/// attempt is made of each.
pub(super) const PATIENCE: Duration = Duration::from_hours(72);
/// The longest wait after a first failure; doubles with each further one.
const WAIT_FIRST: Duration = Duration::from_secs(5);
/// The longest wait: a receiver that is back hears of everything within that.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// The doubling at which the longest wait is reached.
const DOUBLINGS: u32 = 6;

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver has it.
    Delivered,
    /// Not yet, and not before so long.
    Later(Duration),
    /// Nothing was sent; another process may be sending by now.
    NotOurs,
}

/// Judges an answer. `unit` is uniform in 0 ≤ x < 1; `failures` of this event or the one before it, in a row.
///
/// Every status but 2xx is a failure that can be mended at the receiver, so the event waits: redirects are
/// not followed, and 410, by which a receiver unsubscribes elsewhere, is not believed for good, because
/// whoever wants no webhooks here takes the setting away. It gets the longest wait at once.
pub(super) fn judge(answer: Answer, failures: u32, unit: f64) -> Verdict {
    let (gone, asked) = match answer {
        Answer::Status {
            status: 200..300, ..
        } => return Verdict::Delivered,
        Answer::Withheld => return Verdict::NotOurs,
        Answer::Status {
            status,
            retry_after,
        } => (status == 410, retry_after),
        Answer::Timeout | Answer::Unreachable => (false, None),
    };
    let failures = if gone { DOUBLINGS } else { failures };
    Verdict::Later(wait(failures, unit).max(asked.unwrap_or_default()))
}

/// Uniform between half of the wait and all of it.
pub(super) fn wait(failures: u32, unit: f64) -> Duration {
    let longest = WAIT_FIRST * (1 << failures.min(DOUBLINGS));
    longest.min(WAIT_MAX).mul_f64(0.5 + unit / 2.0)
}

/// The word for what came of an attempt, in metrics and logs.
pub(super) fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Status { status, .. } => match status {
            200..300 => "delivered",
            300..400 => "redirected",
            410 => "gone",
            429 => "throttled",
            400..500 => "refused",
            _ => "receiver_failed",
        },
        Answer::Timeout => "timeout",
        Answer::Unreachable => "unreachable",
        Answer::Withheld => "withheld",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Answer {
        Answer::Status {
            status,
            retry_after: None,
        }
    }

    fn seconds(answer: Answer, failures: u32, unit: f64) -> f64 {
        match judge(answer, failures, unit) {
            Verdict::Later(wait) => wait.as_secs_f64(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_hundred_and_its_kin_deliver_and_nothing_else_does() {
        for good in [200, 201, 202, 204, 299] {
            assert_eq!(judge(status(good), 0, 0.0), Verdict::Delivered, "{good}");
        }
        for bad in [
            100, 301, 302, 307, 400, 401, 404, 410, 422, 429, 500, 503, 600,
        ] {
            assert!(seconds(status(bad), 0, 0.0) >= 2.5, "{bad}");
        }
        assert!(seconds(Answer::Timeout, 0, 0.0) >= 2.5);
        assert_eq!(judge(Answer::Withheld, 0, 0.0), Verdict::NotOurs);
    }

    #[test]
    fn waits_grow_are_jittered_and_end_at_five_minutes() {
        let longest: Vec<f64> = (0..9).map(|n| seconds(status(500), n, 0.999_999)).collect();
        let rounded: Vec<f64> = longest.iter().map(|wait| wait.round()).collect();
        assert_eq!(
            rounded,
            [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]
        );
        assert!((seconds(status(500), 3, 0.0) - 20.0).abs() < 0.001, "half");
        assert!(seconds(status(500), u32::MAX, 0.5) <= 300.0);
    }

    #[test]
    fn a_receiver_that_names_a_time_is_left_alone_for_so_long() {
        let throttled = Answer::Status {
            status: 429,
            retry_after: Some(Duration::from_secs(120)),
        };
        assert!((seconds(throttled, 0, 0.5) - 120.0).abs() < 0.001);
        let impatient = Answer::Status {
            status: 503,
            retry_after: Some(Duration::from_secs(1)),
        };
        assert!(
            seconds(impatient, 5, 0.0) >= 80.0,
            "never sooner than planned"
        );
    }

    #[test]
    fn gone_waits_longest_at_once() {
        assert!(seconds(status(410), 0, 0.0) >= 150.0);
    }
}
