//! A trace in words.

use super::state::*;
use super::world::{Step, World};

const NAMES: [&str; 2] = ["A", "B"];

/// Tells a trace, one step a line.
pub(crate) fn tell(world: &World, trace: &[(State, Option<Step>)]) -> String {
    let mut text = String::new();
    for (number, (state, step)) in trace.iter().enumerate() {
        if let Some(step) = step {
            text += &format!("{:>4}  {}\n", number + 1, sentence(world, state, *step));
        }
    }
    if let Some((state, _)) = trace.last() {
        text += &format!("      then: {}\n", stands(state));
    }
    text
}

fn token(token: Token) -> String {
    let mark = "'".repeat(usize::from(token.grant));
    format!("R{}{mark}", token.serial)
}

fn sentence(world: &World, state: &State, step: Step) -> String {
    let who = |w: usize| format!("worker {}", NAMES[w]);
    match step {
        Step::Tick => "a while passes: leases end, timers come".to_owned(),
        Step::Claim(w) => format!("{} claims", who(w)),
        Step::Go(w) => format!("{} {}", who(w), next(world, state, w)),
        Step::GoUnheard(w) => format!("{} {}; the reply is lost", who(w), next(world, state, w)),
        Step::Unavailable(w) => format!("the provider tells {} that it is not available", who(w)),
        Step::Throttled(w) => format!("the provider tells {} to leave it alone", who(w)),
        Step::TimesOut(w) => format!("{}'s request is past its deadline: outcome unknown", who(w)),
        Step::LateGoes(w) => format!("{}'s late request goes on", who(w)),
        Step::LateFails(w) => format!("{}'s late reply never comes", who(w)),
        Step::Crash(w) => format!("{} dies", who(w)),
        Step::Restart(w) => format!("{} starts again", who(w)),
        Step::Notice(w) => format!("{} notices that another server answers", who(w)),
        Step::Replay(w) => format!("{} replays an entry of its journal", who(w)),
        Step::Forget(w) => format!("{} takes aged entries out of its journal", who(w)),
        Step::Stall => "the replica hears nothing any more".to_owned(),
        Step::CatchUp => "the replica has heard everything".to_owned(),
        Step::FailOver { ahead } => {
            let clock = if ahead {
                ", its clock a lease ahead"
            } else {
                ""
            };
            format!("the replica takes over{clock}: what it had not heard is lost")
        }
        Step::Emptied => "the store comes back empty".to_owned(),
        Step::Consent => "the customer consents: Connect with a new grant".to_owned(),
        Step::ConsentAgain => "the same Connect is delivered again".to_owned(),
        Step::Disconnect => "the customer disconnects".to_owned(),
        Step::RefreshNow => "a caller wants the stored generation refreshed".to_owned(),
        Step::Reset => "an operator resets".to_owned(),
        Step::Read => "a caller reads the access token".to_owned(),
        Step::Revoke => "the customer revokes the grant at the provider".to_owned(),
        Step::Damage { gone: true } => "the entry in the index is lost".to_owned(),
        Step::Damage { gone: false } => "the entry in the index is set to now".to_owned(),
        Step::Reconcile => "the reconciler compares record and index".to_owned(),
    }
}

fn next(world: &World, state: &State, w: usize) -> String {
    let Some(turn) = &state.workers[w].turn else {
        return "does nothing".to_owned();
    };
    let sent = turn.request.map_or_else(String::new, |r| token(r.token));
    match turn.stage {
        Stage::Asked => "gets the reply of its claim".to_owned(),
        Stage::Begun => {
            let mut after = state.clone();
            world.go(&mut after, w, true);
            match after.workers[w].turn.as_ref().map(|turn| turn.stage) {
                Some(Stage::Intended) => "writes its intent".to_owned(),
                Some(_) => "hears of more signals and starts over".to_owned(),
                None if after.store.record == state.store.record => "is fenced".to_owned(),
                None => "ends its turn with a commit".to_owned(),
            }
        }
        Stage::Intended => {
            let mut after = state.clone();
            world.go(&mut after, w, true);
            match after.workers[w].turn.as_ref().map(|turn| turn.stage) {
                Some(Stage::Sent) => format!("sends {sent}"),
                _ => format!("does not send {sent}: it trusts neither lease nor intent"),
            }
        }
        Stage::Sent => format!("has its request answered ({sent}), unread"),
        Stage::Answered => format!("reads: {}", outcome(turn.outcome)),
        Stage::Learnt => {
            let mut after = state.clone();
            world.go(&mut after, w, true);
            let learnt = outcome(turn.outcome);
            match after.workers[w].turn.as_ref().map(|turn| turn.stage) {
                Some(Stage::Fenced) => format!("is fenced when it commits: {learnt}"),
                Some(_) => format!("commits ({learnt}) and is not done yet"),
                None if after.store.record == state.store.record => {
                    format!("is fenced when it commits: {learnt}")
                }
                None => format!("commits: {learnt}"),
            }
        }
        Stage::Fenced => format!("delivers what was fenced: {}", outcome(turn.outcome)),
    }
}

fn outcome(outcome: Option<Outcome>) -> String {
    match outcome {
        Some(Outcome::Refreshed(new)) => format!("refreshed, {}", token(new)),
        Some(Outcome::Rejected) => "rejected".to_owned(),
        Some(Outcome::Unavailable) => "not processed".to_owned(),
        Some(Outcome::Throttled) => "throttled".to_owned(),
        Some(Outcome::Unknown) => "nobody knows".to_owned(),
        Some(Outcome::NotSent) => "surely not sent".to_owned(),
        None => "nothing".to_owned(),
    }
}

fn stands(state: &State) -> String {
    let store = &state.store;
    let Some(record) = &store.record else {
        return "the store is empty".to_owned();
    };
    let phase = record.machine.phase;
    let sealed = store.sealed.map_or_else(|| "nothing".to_owned(), token);
    let works: Vec<String> = (0..state.consents)
        .map(|grant| token(state.working(grant)))
        .collect();
    let inbox = store.inbox.len();
    let (due, wanted) = (store.due, store.wanted());
    format!(
        "{phase:?}; sealed {sealed}; {} would work; {inbox} signals wait; due {due:?}, wanted {wanted:?}",
        works.join(" and ")
    )
}
