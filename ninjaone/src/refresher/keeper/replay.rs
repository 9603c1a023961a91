//! Delivering what the journal holds, as `Rescued`.

use std::collections::{BTreeMap, HashSet};

use evergreen_engine::store::Signalled;
use evergreen_engine::{Delivery, Engine, WorkflowId};
use futures::{StreamExt as _, stream};

use super::super::sealing::workflow;
use super::Keeper;
use crate::journal::Entry;
use crate::lifecycle::{Credential, Rescued, Signal};
use crate::vault::Place;

/// Workflows whose entries are delivered at once.
const AT_ONCE: usize = 32;

/// What a replay of the journal came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Replay {
    /// Pairs delivered to their workflows, their entries removed.
    pub delivered: usize,
    /// Entries that stay: their workflow does not exist.
    pub without_workflow: usize,
    /// Entries that stay: no key of the ring opens them.
    pub undecryptable: usize,
    /// Entries that stay: the store did not answer, or did not confirm.
    pub unconfirmed: usize,
}

impl Replay {
    fn of(told: &[(Entry, Delivered)]) -> Self {
        let mut replay = Self::default();
        for (_, delivered) in told {
            match delivered {
                Delivered::Delivered => replay.delivered += 1,
                Delivered::WithoutWorkflow => replay.without_workflow += 1,
                Delivered::Undecryptable => replay.undecryptable += 1,
                Delivered::Unconfirmed => replay.unconfirmed += 1,
            }
        }
        replay
    }
}

/// What became of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivered {
    /// It waits in its workflow's inbox, and its entry is gone.
    Delivered,
    /// It stays: its workflow does not exist.
    WithoutWorkflow,
    /// It stays: no key of the ring opens it.
    Undecryptable,
    /// It stays: the store did not answer, or did not confirm.
    Unconfirmed,
}

impl Keeper {
    /// Delivers every entry that no turn of this process is about to commit: at the start, and where
    /// the store may have lost what it had.
    pub async fn replay(&self, engine: &Engine) -> Replay {
        Replay::of(&self.replay_each(engine).await)
    }

    /// Delivers the entries that a turn has left behind: their pair is in no store.
    pub async fn replay_left_over(&self, engine: &Engine) -> Replay {
        Replay::of(&self.deliver_all(engine, self.left_over()).await)
    }

    /// The same as [`Keeper::replay`], told entry by entry. First those whose pair is in no store, then
    /// those that only wait for it to say that it is on a disk.
    pub async fn replay_each(&self, engine: &Engine) -> Vec<(Entry, Delivered)> {
        let (left_over, idle) = (self.left_over(), self.idle());
        let first: HashSet<_> = left_over.iter().map(|entry| entry.id).collect();
        let rest = idle.into_iter().filter(|entry| !first.contains(&entry.id));
        let rest = rest.collect();
        let mut told = self.deliver_all(engine, left_over).await;
        told.extend(self.deliver_all(engine, rest).await);
        told
    }

    /// Several workflows at once: each signal waits until it is durable, and one acknowledgement covers
    /// all that are on their way. The entries of one workflow go in their order.
    async fn deliver_all(&self, engine: &Engine, entries: Vec<Entry>) -> Vec<(Entry, Delivered)> {
        let mut workflows: BTreeMap<(String, String), Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            let workflow = (entry.kind.clone(), entry.workflow.clone());
            workflows.entry(workflow).or_default().push(entry);
        }
        let deliveries = workflows.into_values().map(|entries| async move {
            let mut told = Vec::new();
            for entry in entries {
                let delivered = self.deliver_and_forget(engine, &entry).await;
                told.push((entry, delivered));
            }
            told
        });
        let told = stream::iter(deliveries).buffer_unordered(AT_ONCE);
        told.collect::<Vec<_>>().await.concat()
    }

    async fn deliver_and_forget(&self, engine: &Engine, entry: &Entry) -> Delivered {
        let delivered = self.deliver(engine, entry).await;
        if delivered == Delivered::Delivered {
            // Where a confirmation says nothing of disks, it is kept for a while longer.
            self.settled(entry.id, engine.store().confirms_disks())
                .await;
        }
        delivered
    }

    async fn deliver(&self, engine: &Engine, entry: &Entry) -> Delivered {
        let Ok(pair) = self.ring.open_pair(&entry.place(), &entry.sealed) else {
            return Delivered::Undecryptable;
        };
        let Ok(id) = WorkflowId::new(&entry.kind, &entry.workflow) else {
            return Delivered::WithoutWorkflow;
        };
        let place = Place::Signal {
            workflow: workflow(&id),
            grant: entry.grant,
        };
        let rescued = Rescued {
            grant: entry.grant,
            base_generation: entry.base_generation,
            refresh_token: pair
                .refresh_token
                .as_ref()
                .map(|t| self.fingerprints.fingerprint(t)),
            pair: self.ring.seal_pair(&place, &pair),
            obtained_at: entry.written_at_ms,
            expires_at: entry.expires_at_ms,
            bearer: entry.bearer,
        };
        let delivery = Delivery {
            ends_claim: Some(entry.claim.clone()),
            durable: true,
            ..Delivery::default()
        };
        match engine
            .signal::<Credential>(&id, &Signal::Rescued(rescued), delivery)
            .await
        {
            Ok(Signalled::Queued {
                confirmed: true, ..
            }) => Delivered::Delivered,
            Ok(Signalled::Unknown) => Delivered::WithoutWorkflow,
            Ok(Signalled::Queued { .. } | Signalled::Full) | Err(_) => Delivered::Unconfirmed,
        }
    }
}
