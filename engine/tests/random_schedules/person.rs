//! Those who want something of a workflow: the customer, who connects and disconnects and is told
//! when that has happened, and callers who want a fresh token.

use evergreen_engine::store::Signalled;
use evergreen_engine::{Delivery, Engine};
use tokio::time::{Instant, sleep_until};

use crate::hands::{AGAIN, Hands};
use crate::ledger::Expected;
use crate::machine::{Credential, Signal, What};
use crate::world::World;

/// Looks at whether it has happened, at most.
const LOOKS: usize = 20;

/// The customer decides, by way of one worker's process. One decision at a time: the one before is
/// over, or its process is.
pub(crate) fn decide(world: &mut World<'_>, worker: usize, connects: bool) {
    let (life, book) = (world.workers[worker].life, world.book().clone());
    {
        let mut ledger = book.lock();
        let lives = |(worker, life): (usize, u32)| {
            let place = &world.workers[worker];
            place.life == life && place.process.is_some()
        };
        if ledger.deciding.is_some_and(lives) {
            return;
        }
        ledger.deciding = Some((worker, life));
        ledger.expected = None;
    }
    let (what, then) = if connects {
        let (grant, token) = book.consent();
        book.say(format!(
            "the customer connects grant {grant} with worker {worker}"
        ));
        (What::Connect { grant, token }, Expected::Grant(grant))
    } else {
        book.say(format!("the customer disconnects with worker {worker}"));
        (What::Disconnect, Expected::Nothing)
    };
    let Some(process) = &world.workers[worker].process else {
        return;
    };
    let (engine, hands) = (process.caller.clone(), process.hands.clone());
    let busy = hands.line.running.begin();
    world.time.spawn(async move {
        let _busy = busy;
        let told = settle(&engine, &hands, what, then).await;
        let mut ledger = hands.lab.book.lock();
        ledger.deciding = None;
        drop(ledger);
        if told {
            hands
                .lab
                .book
                .say(format!("the customer is told: {then:?}"));
        }
    });
}

/// Signals until it is confirmed, then sees to it that it is done. Whether the customer was told so.
async fn settle(engine: &Engine, hands: &Hands, what: What, then: Expected) -> bool {
    let book = &hands.lab.book;
    let signal = Signal {
        serial: book.serial(),
        what,
    };
    let delivery = Delivery {
        preemptive: true,
        once: Some(signal.serial.to_string()),
        create: matches!(then, Expected::Grant(_)),
        durable: true,
        ends_claim: None,
    };
    loop {
        let sent = engine.signal::<Credential>(&hands.id, &signal, delivery.clone());
        match sent.await {
            Ok(Signalled::Queued {
                confirmed: true, ..
            }) => break,
            Ok(Signalled::Unknown) => return false,
            Ok(_) | Err(_) => sleep_until(Instant::now() + AGAIN).await,
        }
    }
    let forgotten = {
        // From here on it counts, whatever becomes of this process.
        let mut ledger = book.lock();
        let grants: Vec<u64> = ledger.current.keys().copied().collect();
        let stays = |grant: &u64| then == Expected::Grant(*grant);
        ledger
            .ended
            .extend(grants.iter().filter(|grant| !stays(grant)));
        ledger.forgotten
    };
    for _ in 0..LOOKS {
        engine.drive_apart(&hands.id).await;
        let view = engine.read::<Credential>(&hands.id, false).await;
        match view {
            Ok(Some(view)) if !view.reading.record.barrier => {
                let mut ledger = book.lock();
                let stands = ledger.forgotten == forgotten;
                ledger.expected = stands.then_some(then);
                return stands;
            }
            Ok(None) => return false,
            Ok(_) | Err(_) => sleep_until(Instant::now() + AGAIN).await,
        }
    }
    false
}

/// A caller has seen a token of some generation and wants a newer one.
pub(crate) fn refresh_now(world: &mut World<'_>, worker: usize, behind: u64) {
    let Some(machine) = world.look.machine() else {
        return;
    };
    let Some(process) = &world.workers[worker].process else {
        return;
    };
    let generation = machine.generation.saturating_sub(behind);
    let book = world.book();
    book.say(format!(
        "a caller of worker {worker} has seen generation {generation}"
    ));
    let signal = Signal {
        serial: book.serial(),
        what: What::RefreshNow { generation },
    };
    let (engine, hands) = (process.caller.clone(), process.hands.clone());
    let busy = hands.line.running.begin();
    world.time.spawn(async move {
        let _busy = busy;
        let queued = engine.signal::<Credential>(&hands.id, &signal, Delivery::default());
        if queued.await.is_ok() {
            engine.drive(&hands.id).await;
        }
    });
}
