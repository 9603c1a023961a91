//! Two processes at one gate, on virtual time.

use evergreen_engine::store::Breaker;
use evergreen_engine::testing::{Fault, FaultyStore, Op};

use super::away::{AWAY_FOR, PATIENCE};
use super::*;

const HOST: &str = "https://eu.ninjarmm.com";
const LEASE: Duration = Duration::from_secs(15);
const SPACING: Duration = Duration::from_millis(20);

/// The store that all processes share, by the clock that the test moves.
fn store() -> Arc<dyn Store> {
    let begun = Instant::now();
    let clock = move || OWN_BEGIN + Millis::try_from(begun.elapsed().as_millis()).unwrap();
    Arc::new(MemoryStore::with_clock(Arc::new(clock)))
}

fn gate(store: &Arc<dyn Store>) -> Gate {
    Gate::new(store, LEASE, &Platform::default())
}

fn wish() -> Wish<'static> {
    Wish {
        instance_url: HOST,
        expires_at: None,
        exempt: false,
        connecting: false,
        now: 0,
    }
}

fn exempt() -> Wish<'static> {
    Wish {
        exempt: true,
        ..wish()
    }
}

async fn enter(gate: &Gate, wish: Wish<'_>) -> Slot {
    match gate.enter(&wish).await {
        Admitted::In(slot) => slot,
        Admitted::Held(left) | Admitted::Elsewhere(left) => panic!("held for {left} ms"),
    }
}

async fn elsewhere(gate: &Gate, wish: Wish<'_>) -> Millis {
    match gate.enter(&wish).await {
        Admitted::Elsewhere(span) => span,
        Admitted::In(_) | Admitted::Held(_) => panic!("not turned away"),
    }
}

async fn held(gate: &Gate, wish: Wish<'_>) -> Millis {
    match gate.enter(&wish).await {
        Admitted::In(_) | Admitted::Elsewhere(_) => panic!("let in, or turned away"),
        Admitted::Held(left) => left,
    }
}

/// Lets what was begun aside come to its end.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_has_eight_at_once_and_fifty_a_second_among_all() {
    let store = store();
    let (one, other) = (gate(&store), gate(&store));
    let began = Instant::now();
    let mut slots = Vec::new();
    for n in 0..8 {
        let gate = if n % 2 == 0 { &one } else { &other };
        slots.push(enter(gate, wish()).await);
    }
    assert_eq!(began.elapsed(), SPACING * 7);
    let second = Duration::from_secs(1);
    for gate in [&one, &other] {
        let full = timeout(second, gate.enter(&exempt())).await;
        assert!(full.is_err(), "nobody is exempt from the number");
    }
    // Given back here, and heard of there.
    slots.remove(0);
    let free = timeout(second, other.enter(&wish())).await;
    assert!(matches!(free, Ok(Admitted::In(_))));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_not_given_back_ends_with_the_lease() {
    let store = store();
    let gone = gate(&store);
    for _ in 0..8 {
        // The process dies: nothing is given back.
        std::mem::forget(enter(&gone, wish()).await);
    }
    let began = Instant::now();
    let _slot = enter(&gate(&store), wish()).await;
    let waited = began.elapsed();
    assert!(
        waited > LEASE - SPACING * 8 && waited <= LEASE + LOOK,
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_waiting_leaves_nothing_behind() {
    let store = store();
    let (one, other) = (gate(&store), gate(&store));
    for _ in 0..20 {
        let _slot = enter(&one, wish()).await;
        // Cut short while it waits for the pace: its place is free again at once.
        let gave_up = timeout(Duration::from_millis(1), other.enter(&wish())).await;
        assert!(gave_up.is_err());
        settle().await;
    }
    settle().await;
    assert_eq!(one.state(HOST).await.inside, 0);
}

#[tokio::test(start_paused = true)]
async fn the_one_retry_is_exempt_from_pace_and_breaker_and_not_from_a_pause() {
    let store = store();
    let (one, other) = (gate(&store), gate(&store));
    let began = Instant::now();
    drop(enter(&one, wish()).await);
    drop(enter(&one, exempt()).await);
    assert_eq!(began.elapsed(), Duration::ZERO);
    for _ in 0..5 {
        one.tell(HOST, Said::Failed).await;
    }
    assert_eq!(held(&other, wish()).await, 10_000);
    drop(enter(&other, exempt()).await);
    let connecting = Wish {
        connecting: true,
        ..wish()
    };
    drop(enter(&other, connecting).await);
    let pause = Some(Duration::from_secs(120));
    assert_eq!(one.tell(HOST, Said::Throttled { pause }).await, 120_000);
    for wish in [wish(), exempt(), connecting] {
        assert!(held(&other, wish).await > 119_000);
    }
}

#[tokio::test(start_paused = true)]
async fn half_open_lets_one_through_of_a_whole_fleet_and_its_success_lets_in_all() {
    let store = store();
    let (one, other) = (gate(&store), gate(&store));
    for _ in 0..5 {
        one.tell(HOST, Said::Failed).await;
    }
    assert_eq!(
        other.state(HOST).await.breaker,
        Breaker::Open { left: 10_000 }
    );
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(other.state(HOST).await.breaker, Breaker::HalfOpen);
    let trial = enter(&other, wish()).await;
    for gate in [&one, &other] {
        assert_eq!(held(gate, wish()).await, 5_000);
    }
    // It fails: open again, for longer.
    other.tell(HOST, Said::Failed).await;
    drop(trial);
    assert_eq!(held(&one, wish()).await, 20_000);
    tokio::time::advance(Duration::from_secs(20)).await;
    // The next one vanishes without a word: so another may try.
    drop(enter(&one, wish()).await);
    settle().await;
    let trial = enter(&one, wish()).await;
    one.tell(HOST, Said::Answered).await;
    drop(trial);
    assert_eq!(other.state(HOST).await.breaker, Breaker::Closed);
    drop(enter(&other, wish()).await);
    drop(enter(&one, wish()).await);
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_the_wait_of_those_who_have_a_place_and_wait_for_the_pace() {
    let store = store();
    let one = Arc::new(gate(&store));
    let _first = enter(&one, wish()).await;
    let waits = tokio::spawn({
        let one = Arc::clone(&one);
        async move { held(&one, wish()).await }
    });
    settle().await;
    one.tell(HOST, Said::Throttled { pause: None }).await;
    assert!(waits.await.unwrap() > 29_000);
}

#[tokio::test(start_paused = true)]
async fn while_the_gate_is_away_a_limit_of_the_same_size_applies() {
    let faulty = FaultyStore::over(store());
    let store: Arc<dyn Store> = Arc::new(faulty.clone());
    let gate = gate(&store);
    faulty.next(
        Op::Gate,
        Fault::late(Duration::from_secs(60), Duration::ZERO),
    );
    let began = Instant::now();
    let first = enter(&gate, wish()).await;
    assert_eq!(began.elapsed(), PATIENCE, "a second, and once");
    let asked = faulty.calls(Op::Gate);
    let mut slots = vec![first];
    for _ in 1..8 {
        slots.push(enter(&gate, wish()).await);
    }
    assert_eq!(began.elapsed(), PATIENCE + SPACING * 7);
    let full = timeout(Duration::from_secs(1), gate.enter(&exempt())).await;
    assert!(full.is_err(), "eight at once");
    assert!(
        faulty.calls(Op::Gate) <= asked + 1,
        "it is left alone for a while"
    );
    slots.pop();
    drop(enter(&gate, wish()).await);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_learnt_while_the_gate_was_away_is_told_when_it_is_back() {
    let store = store();
    let faulty = FaultyStore::over(Arc::clone(&store));
    let cut_off = gate(&(Arc::new(faulty.clone()) as Arc<dyn Store>));
    let other = gate(&store);
    faulty.next(Op::Gate, Fault::Away);
    drop(enter(&cut_off, wish()).await);
    let pause = Some(Duration::from_secs(60));
    assert_eq!(cut_off.tell(HOST, Said::Throttled { pause }).await, 60_000);
    assert!(held(&cut_off, exempt()).await > 59_000);
    assert_eq!(other.state(HOST).await.pause_left, 0);
    tokio::time::advance(AWAY_FOR).await;
    assert!(held(&cut_off, wish()).await > 54_000);
    assert!(held(&other, wish()).await > 54_000, "the fleet knows");
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_the_fleet_is_kept_when_the_gate_goes_away() {
    let store = store();
    let faulty = FaultyStore::over(Arc::clone(&store));
    let (one, other) = (
        gate(&(Arc::new(faulty.clone()) as Arc<dyn Store>)),
        gate(&store),
    );
    let pause = Some(Duration::from_secs(60));
    other.tell(HOST, Said::Throttled { pause }).await;
    assert_eq!(held(&one, wish()).await, 60_000);
    faulty.next(Op::Gate, Fault::Away);
    assert!(held(&one, wish()).await > 59_000);
}

#[tokio::test(start_paused = true)]
async fn all_gates_can_be_seen_by_whoever_asks() {
    let store = store();
    let (worker, api) = (gate(&store), gate(&store));
    assert_eq!(api.states().await.unwrap(), []);
    let _slot = enter(&worker, wish()).await;
    let states = api.states().await.unwrap();
    assert_eq!(states[0].0, "eu.ninjarmm.com");
    assert_eq!(states[0].1.inside, 1);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_slow_keeps_no_other_host_waiting() {
    let store = store();
    let gate = Arc::new(gate(&store));
    let mut slots = Vec::new();
    for _ in 0..8 {
        slots.push(enter(&gate, wish()).await);
    }
    let soon = |at| Wish {
        expires_at: Some(at),
        ..wish()
    };
    // As long as nobody has waited too long, all may wait: what is due lies in its order in the index.
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..LINE_MAX {
        let gate = Arc::clone(&gate);
        waiting.spawn(async move { drop(enter(&gate, soon(1_000)).await) });
    }
    settle().await;
    assert!(gate.enter_soon(&soon(2_000)).await.is_none());
    settle().await;
    // As many as may begin in a second come again in one.
    let first = elsewhere(&gate, soon(2_000)).await;
    assert_eq!(elsewhere(&gate, soon(2_000)).await, first + 20);
    // What expires sooner than all that wait waits as well, and comes first.
    let urgent = timeout(Duration::from_secs(1), gate.enter(&soon(500))).await;
    assert!(urgent.is_err());
    let other = Wish {
        instance_url: "https://oc.ninjarmm.com",
        ..soon(9_000)
    };
    let began = Instant::now();
    drop(enter(&gate, other).await);
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(slots);
    while let Some(ended) = waiting.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_reaches_nobody_shuts_the_gate_for_itself_alone() {
    let store = store();
    let (sick, well) = (gate(&store), gate(&store));
    let at = |now| Wish { now, ..wish() };
    for _ in 0..5 {
        drop(enter(&sick, at(1_000)).await);
        sick.failed_from_here(HOST, 1_000);
    }
    // A quarter of ten seconds.
    assert_eq!(elsewhere(&sick, at(1_000)).await, 2_500);
    assert_eq!(elsewhere(&sick, at(10_999)).await, 1_000);
    assert_eq!(well.state(HOST).await.breaker, Breaker::Closed);
    drop(enter(&well, at(1_000)).await);
    // The one retry is tried all the same.
    let retry = Wish {
        now: 1_000,
        ..exempt()
    };
    drop(enter(&sick, retry).await);
    drop(enter(&sick, at(11_000)).await);
    sick.failed_from_here(HOST, 11_000);
    // Longer each time, and from the beginning once one has arrived.
    assert_eq!(elsewhere(&sick, at(11_000)).await, 5_000);
    sick.tell(HOST, Said::Answered).await;
    sick.failed_from_here(HOST, 11_000);
    drop(enter(&sick, at(11_000)).await);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_this_process_has_heard_of_meanwhile_is_known_before_the_first_byte() {
    let gate = gate(&store());
    let id = |name| WorkflowId::new("k", name).unwrap();
    let slot = enter(&gate, wish()).await.taken_by(&id("early"));
    assert!(!gate.was_told_to_stay_away(HOST, &id("early")));
    let pause = Some(Duration::from_secs(1));
    gate.tell(HOST, Said::Throttled { pause }).await;
    assert!(gate.was_told_to_stay_away(HOST, &id("early")));
    tokio::time::advance(Duration::from_secs(1)).await;
    let _late = enter(&gate, wish()).await.taken_by(&id("late"));
    assert!(!gate.was_told_to_stay_away(HOST, &id("late")));
    drop(slot);
    assert!(!gate.was_told_to_stay_away(HOST, &id("early")), "forgotten");
}

#[tokio::test(start_paused = true)]
async fn one_gate_that_is_away_takes_no_other_with_it() {
    let store = store();
    let faulty = FaultyStore::over(Arc::clone(&store));
    let cut_off = gate(&(Arc::new(faulty.clone()) as Arc<dyn Store>));
    let other = Wish {
        instance_url: "https://oc.ninjarmm.com",
        ..wish()
    };
    let pause = Some(Duration::from_secs(60));
    gate(&store)
        .tell(other.instance_url, Said::Throttled { pause })
        .await;
    faulty.next(Op::Gate, Fault::Away);
    drop(enter(&cut_off, wish()).await);
    assert_eq!(held(&cut_off, other).await, 60_000, "the fleet's is asked");
}
