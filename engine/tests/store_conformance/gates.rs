//! Gates: so many at once, so many a second, pauses, and the breaker.

use std::time::Duration;

use evergreen_engine::store::{Breaker, Enter, Entered, GateBounds, GateState, Said, StoreError};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::steps::{LEASE, SECOND};
use super::support::World;

const GATE: &str = "eu.ninjarmm.com";

fn ask(place: &str) -> Enter {
    Enter {
        gate: GATE.to_owned(),
        place: place.to_owned(),
        life: LEASE,
        unpaced: false,
        through_breaker: false,
        bounds: GateBounds::default(),
    }
}

async fn enter(w: &World, place: &str) -> Entered {
    w.store.gate_enter(&ask(place)).await.unwrap()
}

/// In although the breaker is open, and without waiting.
async fn exempt(w: &World, place: &str) -> Entered {
    let ask = Enter {
        unpaced: true,
        through_breaker: true,
        ..ask(place)
    };
    w.store.gate_enter(&ask).await.unwrap()
}

async fn leave(w: &World, place: &str) {
    w.store.gate_leave(GATE, place).await.unwrap();
}

async fn tell(w: &World, said: Said) -> GateState {
    let bounds = GateBounds::default();
    w.store.gate_tell(GATE, Some(said), &bounds).await.unwrap()
}

async fn state(w: &World) -> GateState {
    let bounds = GateBounds::default();
    w.store.gate_tell(GATE, None, &bounds).await.unwrap()
}

fn throttled(seconds: u32) -> Said {
    Said::Throttled {
        pause: Some(SECOND * seconds),
    }
}

const UNSAID: Said = Said::Throttled { pause: None };

fn calm(wait: u64) -> Entered {
    Entered::In {
        wait,
        troubled: false,
    }
}

both_stores! {
    async fn there_are_so_many_places_and_each_can_be_given_back(w) {
        for n in 0..8 {
            assert_eq!(enter(&w, &n.to_string()).await, calm(n * 20));
        }
        assert_eq!(enter(&w, "late").await, Entered::Full);
        assert_eq!(exempt(&w, "late").await, Entered::Full, "nobody is exempt from the number");
        assert_eq!(state(&w).await.inside, 8);
        leave(&w, "3").await;
        leave(&w, "3").await;
        w.clock.advance(SECOND);
        assert_eq!(enter(&w, "late").await, calm(0));
        assert_eq!(enter(&w, "later").await, Entered::Full);
        let other = Enter { gate: "ca.ninjarmm.com".to_owned(), ..ask("a") };
        assert_eq!(w.store.gate_enter(&other).await.unwrap(), calm(0), "each gate for itself");
    }

    async fn a_place_that_is_asked_for_again_because_the_answer_was_lost_is_one(w) {
        for n in 0..7 {
            exempt(&w, &n.to_string()).await;
        }
        let again = Entered::In { wait: 0, troubled: true };
        exempt(&w, "last").await;
        // It is what fills the gate.
        assert_eq!(exempt(&w, "last").await, again);
        assert_eq!(state(&w).await.inside, 8);
        assert_eq!(exempt(&w, "another").await, Entered::Full);
        for n in 0..7 {
            leave(&w, &n.to_string()).await;
        }
        leave(&w, "last").await;
        for _ in 0..5 {
            tell(&w, Said::Failed).await;
        }
        w.clock.advance(SECOND * 10);
        // It is the one that is let through.
        assert!(matches!(enter(&w, "trial").await, Entered::In { .. }));
        assert_eq!(enter(&w, "trial").await, again);
        assert!(matches!(enter(&w, "another").await, Entered::Open { .. }));
    }

    async fn a_place_that_is_not_given_back_ends_by_itself(w) {
        for n in 0..8 {
            enter(&w, &n.to_string()).await;
        }
        w.clock.advance(LEASE - Duration::from_millis(1));
        assert_eq!(enter(&w, "late").await, Entered::Full);
        w.clock.advance(Duration::from_millis(1));
        assert_eq!(state(&w).await.inside, 0);
        assert_eq!(enter(&w, "late").await, calm(0));
    }

    async fn beginnings_are_spread_evenly_and_the_exempt_count(w) {
        assert_eq!(enter(&w, "a").await, calm(0));
        assert_eq!(exempt(&w, "b").await, calm(0));
        assert_eq!(enter(&w, "c").await, calm(40));
        w.clock.advance(Duration::from_millis(50));
        assert_eq!(enter(&w, "d").await, calm(10));
        w.clock.advance(SECOND);
        assert_eq!(enter(&w, "e").await, calm(0), "nothing is saved up");
        assert_eq!(enter(&w, "f").await, calm(20));
    }

    async fn a_clock_that_is_set_back_does_not_close_the_gate(w) {
        enter(&w, "a").await;
        w.clock.set(w.clock.now() - 3_600_000);
        assert_eq!(enter(&w, "b").await, calm(0));
        assert_eq!(enter(&w, "c").await, calm(20));
    }

    async fn a_pause_keeps_everybody_away(w) {
        assert_eq!(tell(&w, throttled(120)).await.pause_left, 120_000);
        let left = 119_999;
        w.clock.advance(Duration::from_millis(1));
        assert_eq!(enter(&w, "a").await, Entered::Paused { left });
        assert_eq!(exempt(&w, "a").await, Entered::Paused { left });
        w.clock.advance(Duration::from_millis(left));
        assert_eq!(enter(&w, "a").await, Entered::In { wait: 0, troubled: true });
    }

    async fn a_pause_of_unsaid_length_doubles_until_there_is_an_answer(w) {
        let mut pause = 30_000;
        for _ in 0..7 {
            assert_eq!(tell(&w, UNSAID).await.pause_left, pause);
            // Those that are throttled together are throttled once.
            assert_eq!(tell(&w, UNSAID).await.pause_left, pause);
            w.clock.advance(Duration::from_millis(pause));
            pause = (pause * 2).min(600_000);
        }
        assert_eq!(pause, 600_000);
        assert_eq!(tell(&w, Said::Failed).await.throttled, 7, "a failure is no answer");
        assert_eq!(tell(&w, Said::Answered).await.throttled, 0);
        assert_eq!(tell(&w, UNSAID).await.pause_left, 30_000);
        // What had left before says nothing of the pause.
        let after = tell(&w, Said::Answered).await;
        assert_eq!((after.pause_left, after.throttled), (30_000, 1));
    }

    async fn a_named_pause_is_believed_and_never_shortens_another(w) {
        assert_eq!(tell(&w, throttled(7)).await.pause_left, 7_000);
        assert_eq!(tell(&w, throttled(3)).await.pause_left, 7_000);
        assert_eq!(tell(&w, throttled(20)).await.pause_left, 20_000, "the longest counts");
        assert_eq!(state(&w).await.throttled, 1, "together");
        w.clock.advance(20 * SECOND);
        // Again without an answer in between: not shorter than what we would have chosen.
        assert_eq!(tell(&w, throttled(3)).await.pause_left, 30_000);
        w.clock.advance(30 * SECOND);
        assert_eq!(tell(&w, throttled(999_999)).await.pause_left, 3_600_000, "an hour at most");
    }

    async fn failures_in_a_row_open_the_breaker_and_an_answer_closes_it(w) {
        for failed in 1..5 {
            let state = tell(&w, Said::Failed).await;
            assert_eq!((state.failed, state.breaker), (failed, Breaker::Closed));
        }
        assert_eq!(enter(&w, "a").await, Entered::In { wait: 0, troubled: true });
        tell(&w, Said::Answered).await;
        for _ in 0..4 {
            assert_eq!(tell(&w, Said::Failed).await.breaker, Breaker::Closed);
        }
        assert_eq!(tell(&w, Said::Failed).await.breaker, Breaker::Open { left: 10_000 });
        assert_eq!(enter(&w, "b").await, Entered::Open { left: 10_000 });
        assert_eq!(exempt(&w, "c").await, Entered::In { wait: 0, troubled: true });
        w.clock.advance(SECOND);
        // Those that had left before fail as well: one time, not many.
        assert_eq!(tell(&w, Said::Failed).await.breaker, Breaker::Open { left: 9_000 });
        assert_eq!(tell(&w, Said::Answered).await.breaker, Breaker::Closed);
        assert_eq!(enter(&w, "b").await, calm(0));
    }

    async fn half_open_it_lets_one_in_and_opens_for_longer_if_that_fails(w) {
        for _ in 0..5 {
            tell(&w, Said::Failed).await;
        }
        let mut open = 10_000;
        for round in 0..5 {
            w.clock.advance(Duration::from_millis(open));
            assert_eq!(state(&w).await.breaker, Breaker::HalfOpen);
            let trial = format!("trial {round}");
            assert_eq!(enter(&w, &trial).await, Entered::In { wait: 0, troubled: true });
            assert_eq!(enter(&w, "other").await, Entered::Open { left: 5_000 });
            // It is gone without a word: another may try.
            leave(&w, &trial).await;
            assert!(matches!(enter(&w, "second").await, Entered::In { .. }));
            open = (open * 2).min(120_000);
            assert_eq!(tell(&w, Said::Failed).await.breaker, Breaker::Open { left: open });
            leave(&w, "second").await;
        }
        assert_eq!(open, 120_000);
        w.clock.advance(Duration::from_millis(open));
        enter(&w, "last").await;
        w.clock.advance(LEASE);
        assert!(matches!(enter(&w, "after its lease").await, Entered::In { .. }));
        assert_eq!(tell(&w, Said::Answered).await.breaker, Breaker::Closed);
    }
}

#[tokio::test]
async fn in_redis_a_gate_has_a_plain_name() {
    let w = World::redis().await;
    let braces = Enter {
        gate: "a}b".to_owned(),
        ..ask("a")
    };
    let refused = w.store.gate_enter(&braces).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
}

/// Both stores, the same steps at random: the same answers.
#[tokio::test]
async fn at_random_both_stores_answer_the_same() {
    let (memory, redis) = (World::memory().await, World::redis().await);
    let seed: u64 = std::env::var("EVERGREEN_TEST_SEED")
        .map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let bounds = GateBounds {
        at_once: 3,
        a_second: 300,
        ..GateBounds::default()
    };
    for step in 0..1_500 {
        let place = random.random_range(0..6).to_string();
        let what = random.random_range(0..12);
        let wish = Enter {
            unpaced: random.random_bool(0.2),
            through_breaker: random.random_bool(0.2),
            bounds,
            ..ask(&place)
        };
        let said = match what {
            0 => Some(Said::Answered),
            1 | 2 => Some(Said::Failed),
            3 => Some(UNSAID),
            4 => Some(throttled(random.random_range(0..4_000))),
            _ => None,
        };
        let span = [0, 1, 7, 900, 15_000, 130_000][random.random_range(0..6)];
        let mut told = Vec::new();
        for w in [&memory, &redis] {
            told.push(match what {
                0..=5 => {
                    let state = w.store.gate_tell(GATE, said, &bounds).await.unwrap();
                    format!("{said:?}: {state:?}")
                }
                6 => {
                    leave(w, &place).await;
                    "left".to_owned()
                }
                _ => format!("{wish:?}: {:?}", w.store.gate_enter(&wish).await.unwrap()),
            });
            w.clock.advance(Duration::from_millis(span));
        }
        assert_eq!(
            told[0], told[1],
            "step {step} of EVERGREEN_TEST_SEED={seed}"
        );
    }
}
