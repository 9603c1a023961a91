//! What the protocol does not promise, each with the shortest way there. Whoever changes a rule so that
//! one of these can no longer happen finds a test that fails, and a promise to add.

use super::check::look;
use super::configs;
use super::promises::Promise;
use super::rules::Rules;
use super::world::Config;

fn happens(config: Config, promise: Promise) {
    let (_, broken) = look(Rules::ALL, config, &[promise]).expect("it can happen");
    println!("\"{}\" is no promise\n{}", promise.text(), broken.tell());
}

/// A request that is under way is not called back, and one whose intent is written is as good as under
/// way: between the two the holder may wait for its place at the gate, and nobody tells it. What comes
/// back is dropped.
#[test]
fn a_request_may_leave_after_a_disconnect_if_its_intent_was_written_before() {
    happens(configs::ENDED, Promise::NoneAfterDisconnect);
}

/// Doubt ends with two leases, what a failover has lost does not come back with it. Where nobody vouches
/// for writes and the next attempt comes later, a spent token reads as revoked.
#[test]
fn a_spent_token_may_be_called_revoked_when_the_first_attempt_after_a_failover_comes_late() {
    happens(configs::BOTH, Promise::RevokedIsTrue);
}
