use super::*;
use crate::simulator::Name;

const NAME: &str = "acme/prod";
const LEASE_MS: u64 = 6_000;

/// A run with one integration, in which nothing went wrong unless a test says so.
struct Run {
    entries: Vec<Entry>,
    consents: Vec<Consent>,
    lost: Vec<Lost>,
    seen: Seen,
    diary: Diary,
}

impl Run {
    fn new() -> Self {
        Self {
            entries: Vec::new(),
            consents: vec![Consent {
                integration: NAME.to_owned(),
                chain: "c".to_owned(),
                ended: None,
            }],
            lost: Vec::new(),
            seen: Seen {
                state: "Scheduled".to_owned(),
                sealed: true,
                chain: Some("c".to_owned()),
                ..Seen::default()
            },
            diary: Diary::default(),
        }
    }

    /// Its worker sends the refresh token of a generation; the answer is handed over 100 ms later.
    fn sends(&mut self, generation: u64, at_ms: u64, presented: Presented) -> &mut Entry {
        self.diary.intended(NAME, 0, at_ms);
        let spends = presented == Presented::Current;
        self.entries.push(Entry {
            seq: self.entries.len() as u64 + 1,
            at_ms,
            path: "/ws/oauth/token".into(),
            grant_type: Some("refresh_token".into()),
            client_id: None,
            chain: Some(Name::from("c")),
            fingerprint: Some(format!("token {generation}")),
            presented: Some(presented),
            presented_generation: Some(generation),
            generation: None,
            issued: spends,
            rotated: spends,
            access_expires_at_ms: None,
            status: Some(if spends { 200 } else { 400 }),
            fault: None,
            delivery: Delivery::Sent,
            settled_at_ms: Some(at_ms + 100),
        });
        self.entries.last_mut().unwrap()
    }

    fn refuses_to_go_on(&mut self, reason: &str) {
        self.seen.state = "ReconnectRequired".to_owned();
        self.seen.reason = Some(reason.to_owned());
    }

    fn judge(&self) -> Verdict {
        judge(&Facts {
            entries: &self.entries,
            consents: &self.consents,
            lost: &self.lost,
            seen: &BTreeMap::from([(NAME.to_owned(), self.seen.clone())]),
            diary: &self.diary,
            lease_ms: LEASE_MS,
            mended: 0,
        })
    }

    fn broken(&self) -> Vec<Promise> {
        let verdict = self.judge();
        verdict
            .violations
            .iter()
            .map(|found| found.broken)
            .collect()
    }
}

#[test]
fn whoever_is_refreshed_after_it_all_is_well_and_whoever_is_not_is_not() {
    let mut run = Run::new();
    assert_eq!(run.broken(), [Promise::NotWell]);
    run.sends(0, 1_000, Presented::Current);
    assert_eq!(run.broken(), []);
    for (state, trouble) in [("Refreshing", None), ("Active", Some("no_client"))] {
        run.seen.state = state.to_owned();
        run.seen.trouble = trouble.map(str::to_owned);
        assert_eq!(run.broken(), [Promise::NotWell], "{state}");
    }
}

#[test]
fn a_rejection_past_its_deadline_is_nobodys_and_a_pair_is_delivered() {
    let run = |late: u64, presented| {
        let mut run = Run::new();
        run.sends(0, 1_000, Presented::Current).delivery = Delivery::Eaten;
        run.sends(0, 2_000, presented).settled_at_ms = Some(2_000 + late);
        run.sends(0, 30_000, Presented::Spent);
        run.refuses_to_go_on("rotation_lost");
        run.judge().again.unanswered
    };
    assert_eq!(run(LEASE_MS, Presented::Spent), 1, "the eaten one alone");
    assert_eq!(run(LEASE_MS + 1, Presented::Spent), 2);
    assert_eq!(run(LEASE_MS + 1, Presented::Current), 1);
}

#[test]
fn nobody_is_asked_to_reconnect_for_a_moment_whose_reply_was_there() {
    let run = |asked_at| {
        let mut run = Run::new();
        run.sends(0, 1_000, Presented::Current);
        run.sends(1, 20_000, Presented::Current);
        run.diary.condemned(NAME, asked_at);
        run.diary.condemned("somebody/else", asked_at);
        // Healed, and well in the end.
        run.sends(2, 30_000, Presented::Current);
        run
    };
    assert_eq!(run(25_000).broken(), [Promise::FalseReconnectRequired]);
    assert_eq!(run(20_050).broken(), [], "it was on its way");
    let mut eaten = run(25_000);
    eaten.entries[1].delivery = Delivery::Eaten;
    assert_eq!(eaten.broken(), []);
    let mut killed = run(25_000);
    killed.diary.died(0, 20_150, 20_150);
    assert_eq!(killed.broken(), []);
    let mut another = run(25_000);
    another.diary.died(1, 20_150, 20_150);
    assert_eq!(another.broken(), [Promise::FalseReconnectRequired]);
}

#[test]
fn a_grant_is_lost_only_with_a_reply_that_nobody_read() {
    for (delivery, excused) in [
        (Delivery::Eaten, true),
        (Delivery::Unread, true),
        (Delivery::Sent, false),
    ] {
        let mut run = Run::new();
        run.sends(0, 1_000, Presented::Current);
        run.sends(1, 20_000, Presented::Current).delivery = delivery;
        run.refuses_to_go_on("rotation_lost");
        let expected = if excused {
            &[][..]
        } else {
            &[Promise::FalseReconnectRequired]
        };
        assert_eq!(run.broken(), expected, "{delivery:?}");
        let lost = run.judge().lost;
        let sum = lost.reply_eaten + lost.client_gone + lost.reply_unread + lost.died_with_reply;
        assert_eq!(sum, u64::from(excused), "{delivery:?}");
        // What people acted on is judged as what is left in the end.
        run.lost.push(Lost {
            integration: NAME.to_owned(),
            chain: "c".to_owned(),
            reason: Some("rotation_lost".to_owned()),
        });
        assert_eq!(run.broken().len(), expected.len() * 2);
    }
    let mut untouched = Run::new();
    untouched.refuses_to_go_on("rotation_lost");
    assert_eq!(untouched.broken(), [Promise::FalseReconnectRequired]);
}

#[test]
fn a_client_may_hang_up_only_dead_or_after_reading_on() {
    let lost = |died: Option<(usize, u64)>, gone: u64| {
        let mut run = Run::new();
        let sent = run.sends(0, 1_000, Presented::Current);
        (sent.delivery, sent.settled_at_ms) = (Delivery::Abandoned, Some(gone));
        run.refuses_to_go_on("rotation_lost");
        if let Some((worker, at)) = died {
            run.diary.died(worker, at, at);
        }
        (run.broken(), run.judge().lost.client_gone)
    };
    let hung_up = (vec![Promise::FalseReconnectRequired], 0);
    assert_eq!(lost(None, 4_000), hung_up);
    assert_eq!(lost(Some((1, 4_000)), 4_000), hung_up, "another died");
    assert_eq!(lost(Some((0, 900)), 4_000), hung_up, "before it was sent");
    assert_eq!(lost(Some((0, 3_990)), 4_000), (vec![], 1));
    assert_eq!(lost(None, 1_000 + READ_ON_MS), (vec![], 1));
}

#[test]
fn a_reply_that_was_read_dies_only_with_its_own_reader_and_at_once() {
    let lost = |died: &[(usize, u64)]| {
        let mut run = Run::new();
        run.sends(0, 1_000, Presented::Current);
        run.refuses_to_go_on("rotation_lost");
        for (worker, at) in died {
            run.diary.died(*worker, *at, *at);
        }
        (run.broken(), run.judge().lost.died_with_reply)
    };
    let kept = (vec![Promise::FalseReconnectRequired], 0);
    assert_eq!(lost(&[]), kept);
    assert_eq!(lost(&[(0, 1_105)]), (vec![], 1));
    assert_eq!(lost(&[(1, 1_105)]), kept, "another");
    assert_eq!(lost(&[(0, 1_100 + SLACK_MS + 1)]), kept, "much later");
    assert_eq!(lost(&[(0, 1_050)]), kept, "before it was answered");
}

#[test]
fn a_lost_grant_is_told_as_what_it_is() {
    let mut run = Run::new();
    run.sends(0, 1_000, Presented::Current).delivery = Delivery::Eaten;
    run.refuses_to_go_on("revoked");
    assert_eq!(run.broken(), [Promise::Unreported]);
}

#[test]
fn a_refresh_token_comes_again_only_after_what_nobody_can_have_known() {
    let again = |change: fn(&mut Run)| {
        let mut run = Run::new();
        run.sends(0, 1_000, Presented::Current);
        change(&mut run);
        run.sends(0, 7_000, Presented::Spent);
        run.sends(1, 9_000, Presented::Current);
        run.broken()
    };
    assert_eq!(again(|_| ()), [Promise::SentTwice]);
    let allowed: [fn(&mut Run); 6] = [
        |run| run.entries[0].delivery = Delivery::Unread,
        |run| run.entries[0].delivery = Delivery::Eaten,
        |run| run.entries[0].settled_at_ms = Some(7_500),
        |run| {
            let entry = &mut run.entries[0];
            (entry.issued, entry.rotated, entry.status) = (false, false, Some(429));
        },
        |run| run.diary.died(0, 1_200, 1_200),
        |run| {
            run.diary.redis_away(1_050);
            run.diary.redis_back(3_000);
        },
    ];
    for (nth, change) in allowed.into_iter().enumerate() {
        assert_eq!(again(change), [], "{nth}");
    }
    // Something else answered the retry, and says nothing of the token.
    let mut run = Run::new();
    run.sends(0, 1_000, Presented::Current).delivery = Delivery::Eaten;
    run.sends(0, 3_000, Presented::Spent).status = Some(502);
    run.sends(0, 9_000, Presented::Spent);
    run.refuses_to_go_on("rotation_lost");
    assert_eq!(run.broken(), []);
    // The retry has been answered: nothing permits a third.
    let mut run = Run::new();
    run.sends(0, 1_000, Presented::Current).delivery = Delivery::Eaten;
    run.sends(0, 3_000, Presented::Spent);
    run.refuses_to_go_on("rotation_lost");
    assert_eq!(run.broken(), []);
    run.sends(0, 9_000, Presented::Spent);
    assert_eq!(run.broken(), [Promise::SentTwice]);
}

#[test]
fn a_refresh_token_that_nobody_issued_is_not_sent() {
    let mut run = Run::new();
    run.sends(0, 1_000, Presented::Current);
    run.sends(9, 2_000, Presented::Unknown);
    assert_eq!(run.broken(), [Promise::NotWell]);
}

#[test]
fn what_people_ended_is_used_no_more_and_is_nowhere() {
    let mut run = Run::new();
    run.seen.chain = None;
    run.seen.state = "Disconnected".to_owned();
    run.seen.sealed = false;
    run.consents[0].ended = Some(10_000);
    run.sends(0, 9_000, Presented::Current);
    run.sends(1, 12_000, Presented::Current);
    assert_eq!((run.broken(), run.judge().under_way), (vec![], 1));
    run.sends(2, 10_001 + LEASE_MS + SLACK_MS, Presented::Current);
    assert_eq!(run.broken(), [Promise::Resurrected]);
    run.entries.pop();
    run.seen.sealed = true;
    assert_eq!(run.broken(), [Promise::Resurrected]);
    run.seen.sealed = false;
    run.seen.state = "Scheduled".to_owned();
    assert_eq!(run.broken(), [Promise::Resurrected]);
}

#[test]
fn a_fleet_that_does_not_say_who_sends_what_is_not_judged_in_silence() {
    let mut run = Run::new();
    run.sends(0, 1_000, Presented::Current);
    assert_eq!(run.broken(), []);
    run.diary = Diary::default();
    assert_eq!(run.broken(), [Promise::Process]);
}
