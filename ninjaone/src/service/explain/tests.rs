//! Each thing that can keep a grant from being refreshed is named, and weighed.

use evergreen_engine::View;
use evergreen_engine::record::{Reading, Record, SealedBlobs};
use evergreen_engine::store::{Breaker, GateState};

use super::judge::judge;
use super::{Facts, Finding, FleetView, Weight};
use crate::integration::GrantRef;
use crate::lifecycle::{Credential, Phase, Purpose, Source};
use crate::provider::{Attention, Reason};
use crate::service::{HostView, StatusView};

/// Noon of the tests' day, in ms.
const NOW: u64 = 1_774_526_400_000;

/// What can be the case; a healthy grant that is due in 38 minutes, to begin with.
struct Case {
    phase: Phase,
    record: Record,
    inbox: u64,
    score: Option<u64>,
    workers: usize,
    skew_s: f64,
    host: Option<GateState>,
    pending: bool,
    readable: bool,
}

fn scheduled(at: u64) -> Phase {
    Phase::Scheduled {
        purpose: Purpose::Refresh,
        at,
        source: Source::ProactiveRefreshSuccess,
        not_before: None,
    }
}

impl Default for Case {
    fn default() -> Self {
        let at = NOW + 38 * 60_000;
        Self {
            phase: scheduled(at),
            record: Record {
                state: "Scheduled".to_owned(),
                wake_at: Some(at),
                ..Record::default()
            },
            inbox: 0,
            score: Some(at),
            workers: 2,
            skew_s: 0.1,
            host: None,
            pending: false,
            readable: true,
        }
    }
}

impl Case {
    fn explained(self) -> (String, Vec<Finding>) {
        let machine = if self.readable {
            Ok((Credential::default(), self.phase))
        } else {
            Err("schema 9".to_owned())
        };
        let view = View {
            machine,
            reading: Reading {
                now: NOW,
                record: self.record,
                sealed: SealedBlobs::new(),
                inbox_len: self.inbox,
                score: self.score,
            },
        };
        let grant: GrantRef = "acme/prod@user".parse().unwrap();
        let mut status = StatusView::of(&grant, &view);
        status.persist_pending = self.pending;
        let fleet = FleetView {
            workers_alive: self.workers,
            versions: vec!["0.1.0".to_owned()],
            clock_skew_s: self.skew_s,
        };
        let host = self.host.map(|state| {
            let name = "eu.ninjarmm.com".to_owned();
            HostView::of(name, &state, NOW)
        });
        judge(&Facts {
            name: grant.to_string(),
            status: &status,
            view: &view,
            fleet: &fleet,
            host: host.as_ref(),
            owner_lives: false,
        })
    }
}

#[test]
fn a_healthy_grant_has_no_findings_and_says_when_and_why() {
    let (summary, findings) = Case::default().explained();
    assert_eq!(findings, []);
    assert_eq!(
        summary,
        "The next request leaves in 38 min (2026-03-26 12:38:00 UTC), because the last planned \
         refresh succeeded and its token will expire."
    );
}

#[test]
fn whatever_keeps_it_is_named_and_weighed() {
    let held = |owner: &str, until: u64| Record {
        owner: Some(owner.to_owned()),
        lease_until: Some(until),
        ..Case::default().record
    };
    let with = |change: &dyn Fn(&mut Case)| {
        let mut case = Case::default();
        change(&mut case);
        case.explained().1
    };
    let soon = NOW + 60_000;
    for (word, weight, part, findings) in [
        (
            "parked",
            Weight::Stops,
            "evergreen requeue acme/prod@user",
            with(&|case| {
                case.record.parked = Some("8 claims".to_owned());
                case.score = None;
            }),
        ),
        (
            "reconnect_required",
            Weight::Stops,
            "evergreen connect acme/prod",
            with(&|case| {
                case.phase = Phase::ReconnectRequired {
                    reason: Reason::Revoked,
                };
                (case.record.wake_at, case.score) = (None, None);
            }),
        ),
        (
            "disconnected",
            Weight::Stops,
            "erased",
            with(&|case| case.phase = Phase::Disconnected {}),
        ),
        (
            "attention",
            Weight::Stops,
            "looked at again in 38 min",
            with(&|case| {
                case.phase = Phase::Active {
                    attention: Attention::NoClient,
                }
            }),
        ),
        (
            "unreadable",
            Weight::Stops,
            "schema 9",
            with(&|case| case.readable = false),
        ),
        (
            "index_missing",
            Weight::Stops,
            "evergreen backfill --only acme/prod@user",
            with(&|case| case.score = None),
        ),
        (
            "no_workers",
            Weight::Stops,
            "no worker is alive",
            with(&|case| case.workers = 0),
        ),
        (
            "held",
            Weight::Info,
            "held by w-3 (which is not among",
            with(&|case| {
                case.record = held("w-3", soon);
                case.score = Some(soon);
            }),
        ),
        (
            "holder_lost",
            Weight::Delays,
            "w-3 has fallen silent",
            with(&|case| {
                case.record = held("w-3", NOW - 1_000);
                case.score = Some(NOW - 1_000);
            }),
        ),
        (
            "given_back",
            Weight::Delays,
            "kept away from all workers until 2026-03-26 12:01:00 UTC (in 60 s)",
            with(&|case| {
                case.record = held("(delayed)", soon);
                case.score = Some(soon);
            }),
        ),
        (
            "attempts",
            Weight::Delays,
            "claimed 4 times",
            with(&|case| case.record.attempt = 4),
        ),
        (
            "host_paused",
            Weight::Delays,
            "pause until 2026-03-26 12:01:00 UTC",
            with(&|case| {
                case.host = Some(GateState {
                    pause_left: 60_000,
                    ..GateState::default()
                });
            }),
        ),
        (
            "host_failing",
            Weight::Delays,
            "nothing is tried before 2026-03-26 12:01:00 UTC",
            with(&|case| {
                case.host = Some(GateState {
                    breaker: Breaker::Open { left: 60_000 },
                    ..GateState::default()
                });
            }),
        ),
        (
            "held_back",
            Weight::Delays,
            "held back until 2026-03-26 12:01:00 UTC",
            with(&|case| {
                case.record.visible_at = Some(soon);
                case.score = Some(soon);
            }),
        ),
        (
            "overdue",
            Weight::Delays,
            "nobody took it: the workers that live are busy",
            with(&|case| {
                case.record.wake_at = Some(NOW - 60_000);
                case.score = Some(NOW - 60_000);
            }),
        ),
        (
            "persist_pending",
            Weight::Delays,
            "must not be killed",
            with(&|case| case.pending = true),
        ),
        (
            "signals",
            Weight::Info,
            "2 signals wait",
            with(&|case| (case.inbox, case.score) = (2, Some(NOW))),
        ),
        (
            "clock_skew",
            Weight::Info,
            "7 s behind this server's",
            with(&|case| case.skew_s = -7.0),
        ),
    ] {
        assert_eq!(findings.len(), 1, "{word}: {findings:#?}");
        assert_eq!(
            (findings[0].word.as_str(), findings[0].weight),
            (word, weight)
        );
        assert!(findings[0].says.contains(part), "{findings:#?}");
    }
}

#[test]
fn what_stops_it_comes_first_and_is_the_summary() {
    let mut case = Case {
        workers: 0,
        ..Case::default()
    };
    case.record.wake_at = Some(NOW - 60_000);
    case.score = case.record.wake_at;
    case.phase = scheduled(NOW - 60_000);
    let (summary, findings) = case.explained();
    assert!(
        summary.starts_with("The next request was to leave 60 s ago"),
        "{summary}"
    );
    assert!(summary.ends_with("But no worker is alive, so nothing can fire."));
    let words: Vec<&str> = findings.iter().map(|one| one.word.as_str()).collect();
    assert_eq!(words, ["no_workers", "overdue"]);

    let mut case = Case::default();
    case.record.parked = Some("its turns panic".to_owned());
    case.score = None;
    let (summary, _) = case.explained();
    assert!(
        summary.starts_with("Nothing happens by itself. It is parked"),
        "{summary}"
    );
}
