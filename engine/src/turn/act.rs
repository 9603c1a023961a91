//! The activity itself: inside the trust window, and never longer.

use futures::FutureExt;
use tokio::time::Instant;

use super::begin::Intent;
use super::{Env, Holding};
use crate::activities::Call;
use crate::machine::Workflow;

/// Performs what was written down; whatever happens, there is an outcome.
pub(super) async fn perform<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    intent: &Intent<W>,
) -> W::Outcome {
    let time = env.limits.activity_within(intent.trust.left());
    let Some(time) = time.filter(|_| intent.confirmed) else {
        // Not acknowledged, or too late: nothing has left, and that is worth knowing.
        return env.activities.not_sent(&intent.activity);
    };
    let deadline = Instant::now() + time;
    let call = Call {
        id: &holding.id,
        activity: &intent.activity,
        sealed: &intent.after.sealed,
        deadline,
        trust: intent.trust.clone(),
        now: holding.store_now(),
        claim: &holding.claim,
    };
    let work = std::panic::AssertUnwindSafe(env.activities.perform(call)).catch_unwind();
    // The activity keeps its own deadline, and may need a moment after it to keep safe what it has
    // learnt. This only guards against one that does not end: the fence judges commits anyway.
    let guard = Instant::now() + intent.trust.left();
    let work = tokio::time::timeout_at(guard, work);
    match env.ending.run_until_cancelled(work).await {
        Some(Ok(Ok(outcome))) => outcome,
        // It panicked, it overran, or this process ends.
        Some(Ok(Err(_)) | Err(_)) | None => env.activities.unknown(&intent.activity),
    }
}
