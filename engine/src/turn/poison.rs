//! A turn that cannot be done: tried again later by whoever, then left to a human.

use super::begin::Intent;
use super::{Env, Holding, TurnEnd, give_back};
use crate::counters::Counters;
use crate::limits;
use crate::machine::Workflow;
use crate::store::Committed;
use crate::writing::{self, Patience};

/// `intent`: what the turn has written before it failed, if it came so far.
pub(super) async fn poisoned<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    intent: Option<&Intent<W>>,
    why: String,
) -> TurnEnd {
    let attempt = holding.record.attempt;
    if attempt < limits::PARK_AFTER {
        let doublings = attempt.saturating_sub(1).min(16);
        let rest = (limits::DELAY_FIRST * 2u32.pow(doublings)).min(limits::DELAY_MAX);
        tracing::warn!(id = %holding.id, attempt, %why, "a turn failed; it is tried again later");
        give_back(env, holding, rest, true).await;
        return TurnEnd::GivenBack { why };
    }
    let written = intent.map_or(&holding.record, |intent| &*intent.record);
    let commit = writing::park(env, holding, written, why.clone());
    let trust = intent.map_or(&holding.trust, |intent| &intent.trust);
    let within = Patience::Within(trust.clone());
    match writing::send(env, &commit, written.v, within).await {
        Ok(Committed::Written { .. }) => {
            Counters::add(&env.counters.parked, 1);
            tracing::error!(id = %holding.id, attempt, %why, "parked: it waits for a human");
            TurnEnd::Parked { reason: why }
        }
        Ok(_) => TurnEnd::Fenced,
        Err(error) => TurnEnd::StoreAway {
            why: error.to_string(),
        },
    }
}
