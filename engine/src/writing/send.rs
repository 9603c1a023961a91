//! Sending a commit until it is answered.

use crate::backoff::Backoff;
use crate::counters::Counters;
use crate::machine::Workflow;
use crate::store::{Commit, Committed, StoreError};
use crate::trust::Trust;
use crate::turn::Env;

/// How long a commit is sent again that is not answered.
#[derive(Clone)]
pub(crate) enum Patience {
    /// While this window is open.
    Within(Trust),
    /// Until it is answered, and confirmed, however long that takes: what it carries exists nowhere
    /// else.
    Endless,
}

/// Sends a commit until it is answered or patience ends. `v` is the count of transitions before it.
pub(crate) async fn send<W: Workflow>(
    env: &Env<W>,
    commit: &Commit,
    v: u64,
    patience: Patience,
) -> Result<Committed, StoreError> {
    let mut backoff = Backoff::of_calls();
    let mut written_before = false;
    loop {
        match (env.store.commit(commit).await, &patience) {
            (Ok(told), Patience::Endless) if unconfirmed(&told.answer) => {
                tracing::warn!(id = %commit.id, "a commit is not confirmed yet; asking again");
                // If it ends the workflow, that is what the next answer tells of.
                written_before = true;
            }
            (Ok(told), _) => {
                let partition = commit.id.partition(env.store.partitions());
                env.news.tell(partition, told.heads, told.now);
                return Ok(match told.answer {
                    // Nothing is left that could tell of it: an earlier try ended the workflow.
                    Committed::Unknown if commit.finish && written_before => Committed::Written {
                        v: v + 1,
                        already: true,
                        ours: false,
                        confirmed: true,
                    },
                    answer => answer,
                });
            }
            (Err(error @ StoreError::Refused { .. }), _) => return Err(error),
            (Err(error), patience) => {
                Counters::add(&env.counters.store_away, 1);
                written_before = true;
                if let Patience::Within(trust) = patience
                    && trust.left() < backoff.next()
                {
                    return Err(error);
                }
                tracing::debug!(id = %commit.id, %error, "a commit is sent again");
            }
        }
        backoff.pause().await;
    }
}

fn unconfirmed(answer: &Committed) -> bool {
    matches!(
        answer,
        Committed::Written {
            confirmed: false,
            ..
        }
    )
}
