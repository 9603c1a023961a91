//! What must hold after every step. Numbers in brackets are those of the invariants that the module's
//! head lists.

use evergreen_engine::Millis;
use evergreen_engine::limits::DELAY_AFTER;
use evergreen_engine::record::Envelope;
use evergreen_engine::store::{Claim, ClaimMode, Claimed, Commit, Committed, Signal, Signalled};
use serde::Deserialize;

use crate::bench::Look;
use crate::machine::{self, PAIR, Pair, Reason, Send, What};
use crate::world::World;

/// The clocks of two servers are at most so far apart.
const CLOCKS_APART: Millis = 4_000;

/// One word for how a claim was answered.
pub(crate) fn word(answer: &Claimed) -> String {
    match answer {
        Claimed::Claimed { record, inbox, .. } => {
            format!("fence {}, {} signals", record.fence, inbox.len())
        }
        other => format!("{other:?}"),
    }
}

/// How a commit was answered.
pub(crate) fn words(answer: &Committed, commit: &Commit) -> String {
    match answer {
        Committed::Written { v, already, .. } => {
            let again = if *already { ", already" } else { "" };
            format!("v {v}, {} signals{again}", commit.consumed)
        }
        Committed::Signals { rest } => format!("{} signals more", rest.len()),
        other => format!("{other:?}"),
    }
}

/// The signal of an envelope.
fn signal(payload: &str) -> machine::Signal {
    #[derive(Deserialize)]
    struct Envelope {
        signal: machine::Signal,
    }
    serde_json::from_str::<Envelope>(payload).unwrap().signal
}

pub(crate) fn claimed(world: &World<'_>, before: &Look, ask: &Claim, answer: &Claimed) {
    let (book, now) = (world.book(), world.now());
    let Claimed::Claimed { record, .. } = answer else {
        return unchanged(world, before, "a claim that was not granted");
    };
    let Some(old) = &before.record else {
        return book.broken("what does not exist was claimed");
    };
    if old.owner.is_some() && old.lease_until.is_some_and(|until| until > now) {
        book.broken("(1) claimed although another holds it");
    }
    if record.fence <= old.fence {
        book.broken("(2) a claim that minted no fence");
    }
    if ask.mode == ClaimMode::Due {
        let wanted = old.wanted_score(before.inbox.is_empty(), now);
        if wanted.is_none_or(|at| at > now) {
            book.broken(format!("(5) claimed at {now}, wanted at {wanted:?}"));
        }
    }
}

pub(crate) fn committed(world: &World<'_>, before: &Look, commit: &Commit, answer: &Committed) {
    let book = world.book();
    let Committed::Written { already, .. } = answer else {
        let last = before
            .record
            .as_ref()
            .and_then(|record| record.commit.as_ref());
        if last == Some(&commit.commit) {
            book.broken("(1) a commit that is written is not answered as such");
        }
        return unchanged(world, before, "a commit that was not written");
    };
    if *already {
        return unchanged(world, before, "a commit that was written before");
    }
    let Some(old) = &before.record else {
        return book.broken("(2) a commit to nothing was accepted");
    };
    if old.owner.is_none() || old.fence != commit.fence || old.claim.as_ref() != Some(&commit.claim)
    {
        book.broken("(2) a commit with a stale fence was accepted");
    }
    if old.commit.as_ref() == Some(&commit.commit) {
        book.broken("(1) a commit was written twice");
    }
    if old.commit != commit.follows {
        book.broken("(1) a commit was written onto a state that it was not worked out from");
    }
    let waiting = before.inbox.len();
    if (commit.strict || commit.finish) && waiting > commit.consumed {
        book.broken("a commit that must hear every signal was written over one");
    }
    if commit.finish {
        return;
    }
    let Some(new) = &world.look.record else {
        return book.broken("a commit removed its workflow");
    };
    if new.v != old.v + 1 {
        book.broken(format!("(1) a commit made v {} of {}", new.v, old.v));
    }
    signals_are_consumed(world, before, commit);
    if let Some(activity) = commit.activity.as_ref().filter(|_| commit.keep.is_some()) {
        intent(
            world,
            before,
            commit,
            &serde_json::from_str(activity).unwrap(),
        );
    }
    verdict(world, before);
}

/// (7) In order, and once.
fn signals_are_consumed(world: &World<'_>, before: &Look, commit: &Commit) {
    let (Some(old), Some(new)) = (before.machine(), world.look.machine()) else {
        return;
    };
    let consumed = &before.inbox[..commit.consumed.min(before.inbox.len())];
    let serial = |envelope: &Envelope| signal(&envelope.payload).serial;
    let record = before.record.clone().unwrap_or_default();
    let wanted: Vec<u32> = if record.unheard().is_some() && record.attempt > DELAY_AFTER {
        // A pre-emptive signal that could not be heard for so long replaces all that was before it.
        consumed.last().map(serial).into_iter().collect()
    } else {
        let heard = consumed.iter().map(serial);
        old.heard.into_iter().chain(heard).collect()
    };
    if new.heard != wanted {
        let heard = new.heard;
        world
            .book()
            .broken(format!("(7) signals {heard:?} were heard, {wanted:?} sent"));
    }
    if world.look.inbox != before.inbox[commit.consumed..] {
        world.book().broken("(7) signals were lost or stayed");
    }
}

/// An intent must concern a living grant, and have a reason.
fn intent(world: &World<'_>, before: &Look, commit: &Commit, send: &Send) {
    let book = world.book();
    if book.lock().ended.contains(&send.grant) {
        book.broken(format!(
            "(10) a request for grant {}, which was ended",
            send.grant
        ));
    }
    let (Some(old), Some(machine)) = (&before.record, before.machine()) else {
        return;
    };
    let come = old.wake_at.is_some_and(|at| at <= world.now());
    let mut heard = before.inbox.iter().take(commit.consumed);
    let asked = heard.any(|envelope| match signal(&envelope.payload).what {
        What::RefreshNow { generation } => generation >= machine.generation,
        _ => true,
    });
    if old.state == "Scheduled" && !come && !asked {
        book.broken("refreshed again for a caller whose generation has moved on");
    }
}

/// A verdict says nothing worse than what is so.
fn verdict(world: &World<'_>, before: &Look) {
    #[derive(Deserialize)]
    struct Stored {
        phase: serde_json::Value,
    }
    let look = &world.look;
    let Some(record) = &look.record else { return };
    if before.state() == "ReconnectRequired" || record.state != "ReconnectRequired" {
        return;
    }
    let stored: Stored = serde_json::from_str(&record.data).unwrap();
    let reason: Reason = serde_json::from_value(stored.phase["reason"].clone()).unwrap();
    let grant = look.machine().and_then(|machine| machine.grant);
    let revoked = grant.is_some_and(|grant| {
        let ledger = world.book().lock();
        ledger.revoked.contains(&grant) || ledger.graced.contains(&grant)
    });
    if reason == Reason::Revoked && !revoked {
        world
            .book()
            .broken("condemned as revoked, although the customer withdrew nothing");
    }
}

pub(crate) fn signalled(world: &World<'_>, before: &Look, ask: &Signal, answer: Signalled) {
    let book = world.book();
    let Signalled::Queued { already: false, .. } = answer else {
        return unchanged(world, before, "a signal that was refused, or queued before");
    };
    let Some(new) = &world.look.record else {
        return book.broken("a signal was queued for nothing");
    };
    if world.look.inbox.len() != before.inbox.len() + 1 {
        book.broken("(7) a signal was not queued");
    }
    let old = before.record.clone().unwrap_or_default();
    if ask.preemptive && ask.once.is_some() && ask.once == old.signal {
        book.broken("(7) a pre-emptive signal that was sent again was queued again");
    }
    let ends = ask.ends_claim.is_some() && old.claim == ask.ends_claim;
    if ask.preemptive || ends {
        if new.owner.is_some() || new.claim.is_some() || new.fence <= old.fence {
            book.broken("a signal that ends the lease did not end it");
        }
    } else if (&new.owner, &new.claim, new.fence) != (&old.owner, &old.claim, old.fence)
        || new.lease_until != old.lease_until
    {
        book.broken("a plain signal touched the lease");
    }
    if ask.preemptive && (!new.barrier || new.parked.is_some()) {
        book.broken("a pre-emptive signal left no barrier, or left it parked");
    }
}

/// Nothing of the workflow itself may have changed.
fn unchanged(world: &World<'_>, before: &Look, what: &str) {
    let part = |look: &Look| {
        let record = look.record.clone().unwrap_or_default();
        let machine = (record.state, record.data, record.v, record.wake_at);
        (
            machine,
            record.visible_at,
            record.activity,
            look.inbox.clone(),
            look.sealed.clone(),
        )
    };
    if part(before) != part(&world.look) {
        world.book().broken(format!("{what} changed the workflow"));
    }
}

/// What must hold between any two steps.
pub(crate) fn at_rest(world: &World<'_>) {
    index(world);
    blobs(world);
    pairs(world);
}

/// (3) The index says what the record wants.
fn index(world: &World<'_>) {
    let (look, now) = (&world.look, world.now());
    let record = look.record.clone().unwrap_or_default();
    let wanted = record.wanted_score(look.inbox.is_empty(), now);
    let pending = !look.inbox.is_empty() || record.activity.is_some();
    let ready = record.owner.is_none() && pending && wanted.is_some();
    let right = |due: Option<Millis>| due == wanted || (ready && due.is_some_and(|at| at <= now));
    // After a failover to a slower clock what was ready waits for a moment.
    let soon = now + CLOCKS_APART;
    let by_clock = ready && look.due.is_some_and(|at| at <= soon);
    if !world.astray && !right(look.due) && !by_clock {
        let due = look.due;
        world
            .book()
            .broken(format!("(3) the index says {due:?}, the record {wanted:?}"));
    }
    if look.parked != record.parked.is_some() {
        world.book().broken("(3) the parked set is wrong");
    }
}

/// (10) What is sealed belongs to the grant that the state knows.
fn blobs(world: &World<'_>) {
    let (look, book) = (&world.look, world.book());
    let Some(machine) = look.machine() else {
        return;
    };
    let sealed = look.sealed.get(PAIR);
    let wanted = match (machine.grant, machine.token) {
        (Some(grant), Some(token)) => Some(format!("{grant}/{}/{token}", machine.generation)),
        _ => None,
    };
    let erased = look.parked && look.record.as_ref().is_some_and(|r| r.unheard().is_some());
    if erased && look.sealed.is_empty() {
        return;
    }
    if sealed != wanted.as_ref() || (wanted.is_none() && !look.sealed.is_empty()) {
        book.broken(format!(
            "(10) sealed is {:?}, wanted {wanted:?}",
            look.sealed
        ));
    }
    let barrier = look.record.as_ref().is_some_and(|record| record.barrier);
    let over = machine
        .grant
        .is_some_and(|grant| book.lock().ended.contains(&grant));
    if over && !barrier {
        book.broken("(10) credentials of a grant that was ended");
    }
}

/// (9) A pair whose reply was read and kept is in a journal or in the store.
fn pairs(world: &World<'_>) {
    let Some(grant) = world.look.machine().and_then(|machine| machine.grant) else {
        return;
    };
    let Some(token) = world.book().lock().living(grant) else {
        return;
    };
    if !is_somewhere(world, grant, token) {
        world
            .book()
            .broken(format!("(9) the pair {token} of grant {grant} is nowhere"));
    }
}

pub(crate) fn is_somewhere(world: &World<'_>, grant: u64, token: u64) -> bool {
    let end = format!("/{token}");
    let begin = format!("{grant}/");
    let sealed = world.look.sealed.values();
    let queued = world.look.inbox.iter().any(|envelope| {
        let what = signal(&envelope.payload).what;
        matches!(what, What::Rescued(Pair { token: t, .. }) if t == token)
    });
    let mut journals = world.workers.iter().flat_map(|worker| &worker.disk.journal);
    queued
        || sealed
            .into_iter()
            .any(|text| text.starts_with(&begin) && text.ends_with(&end))
        || journals.any(|entry| entry.pair.token == token)
}
