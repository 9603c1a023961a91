//! What the outbox keeps for webhooks, and what they have lost.

use evergreen_engine::store::outbox::Progress;
use evergreen_engine::time::rfc3339;

use super::Check;
use crate::when::exact;

const CHECK: &str = "webhooks";
/// An event that has waited longer says that the receiver does not take it.
const LATE_MS: u64 = 10 * 60 * 1000;

pub(super) fn webhooks(configured: bool, seen: &[Progress]) -> Vec<Check> {
    let joined = seen.iter().any(|one| one.joined);
    let waiting: u64 = seen.iter().map(|one| one.unread + one.unsettled).sum();
    let mut told = vec![match (configured, joined) {
        (false, false) => Check::ok(CHECK, "none are sent"),
        (false, true) => {
            let says = format!(
                "{waiting} events wait for webhooks, and this machine is told to send none"
            );
            let help = "set EVERGREEN_WEBHOOK_URL and its secret on every worker, or end webhooks as \
                        deploy/webhooks.md says";
            Check::warn(CHECK, says, help)
        }
        (true, false) => Check::warn(
            CHECK,
            "no worker sends them yet",
            "start the workers anew with EVERGREEN_WEBHOOK_URL and its secret",
        ),
        (true, true) => delivered(waiting, seen),
    }];
    told.extend(missed(seen));
    told
}

fn delivered(waiting: u64, seen: &[Progress]) -> Check {
    let waits = |one: &Progress| {
        let oldest = one.oldest?.ms;
        Some((one.now.saturating_sub(oldest), oldest))
    };
    match seen.iter().filter_map(waits).max() {
        Some((age_ms, oldest)) if age_ms > LATE_MS => {
            let says = format!(
                "{waiting} events are not delivered; the oldest is of {}",
                exact(&rfc3339(oldest))
            );
            let help = "the log of the worker that sends them says what the receiver answers; each event \
                        is tried for three days";
            Check::warn(CHECK, says, help)
        }
        Some(_) => Check::ok(CHECK, format!("{waiting} events are on their way")),
        None => Check::ok(CHECK, "all events are delivered"),
    }
}

/// What the receiver never had. The counts stand for as long as the reader does.
fn missed(seen: &[Progress]) -> Option<Check> {
    let lost: u64 = seen.iter().map(|one| one.lost).sum();
    let abandoned: u64 = seen.iter().map(|one| one.abandoned).sum();
    if lost + abandoned == 0 {
        return None;
    }
    let says = format!(
        "the receiver never had {lost} events that the outbox had no room for, and {abandoned} that it did \
         not take for three days"
    );
    let help = "let the receiver compare with GET /v1/integrations; deploy/webhooks.md says how the counts \
                are set back";
    Some(Check::warn(CHECK, says, help))
}

#[cfg(test)]
mod tests {
    use evergreen_engine::store::outbox::Position;

    use super::super::Verdict;
    use super::*;

    const NOW: u64 = 1_763_700_000_000;

    fn progress() -> Progress {
        Progress {
            partition: 0,
            now: NOW,
            joined: true,
            unread: 0,
            unsettled: 0,
            oldest: None,
            lost: 0,
            abandoned: 0,
        }
    }

    fn one(configured: bool, seen: &Progress) -> Check {
        let mut told = webhooks(configured, std::slice::from_ref(seen));
        assert_eq!(told.len(), 1, "{told:?}");
        told.remove(0)
    }

    #[test]
    fn what_is_in_order_is_ok() {
        let nobody = Progress {
            joined: false,
            ..progress()
        };
        assert_eq!(one(false, &nobody).says, "none are sent");
        assert_eq!(one(true, &progress()).says, "all events are delivered");
        let fresh = Progress {
            unread: 2,
            unsettled: 1,
            oldest: Some(Position {
                ms: NOW - LATE_MS,
                number: 0,
            }),
            ..progress()
        };
        let check = one(true, &fresh);
        assert_eq!(
            (check.says.as_str(), check.result),
            ("3 events are on their way", Verdict::Ok)
        );
    }

    #[test]
    fn what_is_late_lost_or_sent_by_nobody_says_what_to_do() {
        let late = Progress {
            unsettled: 4,
            oldest: Some(Position {
                ms: NOW - LATE_MS - 1,
                number: 0,
            }),
            ..progress()
        };
        let nobody = Progress {
            joined: false,
            ..progress()
        };
        for (check, says, help) in [
            (
                one(true, &late),
                "4 events are not delivered",
                "receiver answers",
            ),
            (one(false, &late), "4 events wait", "EVERGREEN_WEBHOOK_URL"),
            (
                one(true, &nobody),
                "no worker sends them",
                "start the workers",
            ),
        ] {
            assert_eq!(check.result, Verdict::Warn);
            assert!(check.says.contains(says), "{check:?}");
            assert!(check.help.unwrap().contains(help));
        }
        let missed = Progress {
            lost: 7,
            abandoned: 2,
            ..progress()
        };
        let told = webhooks(true, &[missed.clone(), missed]);
        assert_eq!(told.len(), 2);
        assert!(told[1].says.contains("14 events") && told[1].says.contains("and 4 that"));
        assert_eq!(told[1].result, Verdict::Warn);
    }
}
