//! The activity itself: inside the trust window, and never longer.

use futures::FutureExt;
use tokio::time::Instant;

use super::begin::Intent;
use super::{Env, Holding};
use crate::activities::Call;
use crate::limits;
use crate::machine::Workflow;
use crate::store::{Extend, Extended, StoreError};

/// Performs what was written down; whatever happens, there is an outcome.
pub(super) async fn perform<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    intent: &Intent<W>,
) -> W::Outcome {
    let long = env.activities.takes(&intent.activity);
    let left = intent.trust.left();
    let time = match long {
        Some(wanted) => env.limits.long_activity_within(left, wanted),
        None => env.limits.activity_within(left),
    };
    let sound = intent.confirmed && !env.ending.is_cancelled();
    let Some(time) = time.filter(|_| sound) else {
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
    let guard = async {
        if long.is_some() {
            renew_until(env, holding, intent, deadline).await;
        }
        tokio::time::sleep(intent.trust.left()).await;
    };
    let work = async {
        tokio::select! {
            biased;
            outcome = work => outcome.ok(),
            () = guard => None,
        }
    };
    match env.ending.run_until_cancelled(work).await {
        Some(Some(outcome)) => outcome,
        // It panicked, it overran, or this process ends.
        Some(None) | None => env.activities.unknown(&intent.activity),
    }
}

/// Renews the lease, and with it the trust of the activity, as long as that may run. Ends sooner where
/// somebody else has taken the workflow: then trust runs out.
async fn renew_until<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    intent: &Intent<W>,
    deadline: Instant,
) {
    let lease = env.limits.lease;
    let mut pause = lease / 3;
    while Instant::now() + pause < deadline {
        tokio::time::sleep(pause).await;
        let sent = intent.trust.now();
        let (fence, claim) = (holding.record.fence, &holding.claim);
        let told = env
            .store
            .extend(&holding.id, fence, claim, Extend::Renew(lease))
            .await;
        match told {
            Ok(Extended::Renewed { .. }) => {
                intent.trust.renew(sent);
                pause = lease / 3;
            }
            Ok(Extended::Fenced | Extended::GivenBack) => return,
            Err(StoreError::Away { .. }) => pause = limits::CALL_RETRY_MAX,
            Err(error @ StoreError::Refused { .. }) => {
                tracing::warn!(id = %holding.id, %error, "a lease could not be renewed");
                return;
            }
        }
    }
}
