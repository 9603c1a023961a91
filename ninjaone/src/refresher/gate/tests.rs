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
        Admitted::Held(left) => panic!("held for {left} ms"),
    }
}

async fn held(gate: &Gate, wish: Wish<'_>) -> Millis {
    match gate.enter(&wish).await {
        Admitted::In(_) => panic!("let in"),
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
