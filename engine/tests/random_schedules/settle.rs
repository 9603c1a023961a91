//! The end of a schedule: no more trouble, every process lives, time passes. Then everything must come
//! right within a bound, and what the customer was told must be so.

use evergreen_engine::Millis;

use crate::ledger::Expected;
use crate::steps::{Fate, WORKERS};
use crate::watch;
use crate::world::World;

/// Rounds within which a workflow must have come to rest, or have been refreshed twice.
const ROUNDS: usize = 400;
/// How long time passes while a process waits for something.
const MOMENT: Millis = 500;
/// A due workflow is claimed by one of this many looks of healthy workers.
const LOOKS: u32 = 60;

pub(crate) fn settle(world: &mut World<'_>) {
    world.book().say("no more trouble");
    world.book().lock().pause_until = 0;
    for worker in 0..WORKERS {
        world.workers[worker].frozen_until = 0;
        world.go_if_dead(worker);
    }
    world.reconcile();
    let begun = world.generation();
    let mut overdue = 0;
    for _ in 0..ROUNDS {
        if world.book().is_broken() {
            return;
        }
        if everybody_moves(world) {
            continue;
        }
        if rests(world, begun) {
            agree(world);
            return journals_end(world);
        }
        let due = world.look.due;
        let now = world.now();
        match due {
            Some(at) if at > now && world.all_idle() => world.pass((at - now).max(1)),
            Some(at) if at <= now => {
                overdue += 1;
                world.pass(MOMENT);
            }
            _ => world.pass(MOMENT),
        }
        if overdue > LOOKS {
            let state = world.look.state().to_owned();
            world
                .book()
                .broken(format!("(6) {state} is due and nobody takes it"));
        }
    }
    let record = format!("{:?}", world.look.record);
    world
        .book()
        .broken(format!("(6) it never comes to rest: {record}"));
}

/// Every process does all that it can do now. Whether anything happened.
fn everybody_moves(world: &mut World<'_>) -> bool {
    let mut moved = false;
    for worker in 0..WORKERS {
        world.meet_run_if_new(worker);
        while !world.wishes_of(worker).is_empty() && !world.book().is_broken() {
            world.go(worker, 0, Fate::Fine);
            watch::at_rest(world);
            moved = true;
        }
        if !world.would_claim(worker) {
            continue;
        }
        world.go(worker, 0, Fate::Fine);
        moved |= !world.wishes_of(worker).is_empty();
    }
    moved
}

/// Whether nothing more is to be expected.
fn rests(world: &World<'_>, begun: Option<(u64, u64)>) -> bool {
    if !world.all_idle() {
        return false;
    }
    let parked = world.look.parked;
    match world.look.state() {
        "-" | "Empty" | "ReconnectRequired" | "Disconnected" => world.look.inbox.is_empty(),
        _ if parked => true,
        _ => match (begun, world.generation()) {
            (Some((grant, generation)), Some((now, reached))) => {
                (now == grant && reached >= generation + 2) || (now != grant && reached >= 2)
            }
            (None, Some((_, reached))) => reached >= 2,
            (_, None) => false,
        },
    }
}

/// What the customer was told, and what the store says.
fn agree(world: &World<'_>) {
    let (look, book) = (&world.look, world.book());
    let ids = world.bench.event_ids();
    let mut distinct = ids.clone();
    distinct.sort();
    distinct.dedup();
    if distinct.len() != ids.len() {
        book.broken("(1) an event was published twice");
    }
    if look.parked {
        return;
    }
    let expected = book.lock().expected;
    let machine = look.machine();
    let grant = machine.as_ref().and_then(|machine| machine.grant);
    match expected {
        Some(Expected::Grant(wanted)) if grant != Some(wanted) => {
            book.broken(format!(
                "the customer was told of grant {wanted}, stored is {grant:?}"
            ));
        }
        Some(Expected::Nothing) if grant.is_some() => {
            book.broken("the customer was told of the end of a grant that lives");
        }
        _ => {}
    }
    let Some(grant) = grant else { return };
    let (living, revoked) = {
        let ledger = book.lock();
        (ledger.living(grant), ledger.revoked.contains(&grant))
    };
    if look.state() == "ReconnectRequired" {
        // A pair that came after the verdict, of a generation that is over, is kept apart and shown.
        let apart = |token: &u64| machine.as_ref().is_some_and(|m| m.keeps_apart(*token));
        let there = |token: &u64| watch::is_somewhere(world, grant, *token) && !apart(token);
        if let Some(token) = living.filter(there) {
            book.broken(format!(
                "a customer must consent anew although the pair {token} is there"
            ));
        }
    } else if !revoked {
        let token = machine.and_then(|machine| machine.token);
        let taken = token.is_some_and(|token| book.lock().takes(grant, token));
        if !taken {
            book.broken(format!(
                "scheduled with {token:?}, which the provider does not take"
            ));
        }
    }
}

/// A pair without a workflow stays in its journal until there is one, which a start finds out. Then no
/// journal holds anything for ever.
fn journals_end(world: &mut World<'_>) {
    for worker in 0..WORKERS {
        world.crash(worker);
        world.start(worker);
    }
    for _ in 0..ROUNDS {
        let moved = everybody_moves(world);
        if !moved && world.all_idle() {
            break;
        }
        world.pass(MOMENT);
    }
    let kept = world.workers.iter().flat_map(|worker| &worker.disk.journal);
    let left: Vec<u64> = kept.map(|entry| entry.pair.token).collect();
    if !left.is_empty() && world.look.record.is_some() {
        world
            .book()
            .broken(format!("the pairs {left:?} stay in journals for ever"));
    }
}

impl World<'_> {
    fn go_if_dead(&mut self, worker: usize) {
        if self.workers[worker].process.is_none() {
            self.go(worker, 0, Fate::Fine);
        }
    }

    fn meet_run_if_new(&mut self, worker: usize) {
        let process = self.workers[worker].process.as_ref();
        if process.is_some_and(|process| process.run != self.run) {
            self.meet_run(worker);
            self.let_run();
        }
    }

    /// The grant, and how far it has come.
    fn generation(&self) -> Option<(u64, u64)> {
        let machine = self.look.machine()?;
        Some((machine.grant?, machine.generation))
    }

    pub(crate) fn all_idle(&self) -> bool {
        let mut lines = self.workers.iter().filter_map(|w| w.process.as_ref());
        lines.all(|process| process.hands.line.running.is_idle())
    }
}
