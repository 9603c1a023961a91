//! Everything that the store holds, and the few moves that several operations share.

use std::collections::BTreeMap;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::gates::Gates;
use super::outbox::Stream;
use super::sorted_set::SortedSet;
use super::tables::{Slips, Tables, Turnstiles};
use crate::id::WorkflowId;
use crate::limits::HEADS;
use crate::machine::Millis;
use crate::record::{Envelope, Record, SealedBlobs};
use crate::store::{StoreError, Told};

/// One workflow: what are four keys in Redis.
#[derive(Clone, Default)]
pub(super) struct Workflow {
    pub(super) record: Record,
    pub(super) inbox: Vec<Envelope>,
    pub(super) sealed: SealedBlobs,
    pub(super) log: Vec<String>,
}

/// What the workflows of a partition share.
#[derive(Clone, Default)]
pub(super) struct Partition {
    pub(super) number: u16,
    pub(super) due: SortedSet,
    pub(super) parked: SortedSet,
    pub(super) events: Stream,
}

impl Partition {
    /// An answer, with the heads as they are after what was done.
    pub(super) fn told<T>(&self, now: Millis, answer: T) -> Told<T> {
        Told {
            answer,
            now,
            heads: self.due.heads(HEADS),
        }
    }
}

pub(super) struct Space {
    pub(super) workflows: BTreeMap<WorkflowId, Workflow>,
    pub(super) partitions: Vec<Partition>,
    pub(super) listeners: Vec<Sender<(u16, Millis)>>,
    pub(super) tables: Tables,
    pub(super) slips: Slips,
    pub(super) turnstiles: Turnstiles,
    pub(super) gates: Gates,
    /// Times that a replica has taken over.
    pub(super) failovers: u64,
}

impl Space {
    pub(super) fn new(partitions: u16) -> Self {
        let partition = |number| Partition {
            number,
            ..Partition::default()
        };
        Self {
            workflows: BTreeMap::new(),
            partitions: (0..partitions).map(partition).collect(),
            listeners: Vec::new(),
            tables: Tables::default(),
            slips: Slips::default(),
            turnstiles: Turnstiles::default(),
            gates: Gates::default(),
            failovers: 0,
        }
    }

    /// All of it but the listeners, whose connections end with the server that they lead to.
    pub(super) fn copy(&self) -> Self {
        Self {
            workflows: self.workflows.clone(),
            partitions: self.partitions.clone(),
            listeners: Vec::new(),
            tables: self.tables.clone(),
            slips: self.slips.clone(),
            turnstiles: self.turnstiles.clone(),
            gates: self.gates.clone(),
            failovers: self.failovers,
        }
    }

    /// The partition that a workflow lives in.
    pub(super) fn home(&mut self, id: &WorkflowId) -> &mut Partition {
        let number = self.number_of(id);
        &mut self.partitions[number]
    }

    /// A workflow, if there is one, and its partition.
    pub(super) fn find(&mut self, id: &WorkflowId) -> (Option<&mut Workflow>, &mut Partition) {
        let number = self.number_of(id);
        (self.workflows.get_mut(id), &mut self.partitions[number])
    }

    pub(super) fn partition(&self, number: u16) -> Result<&Partition, StoreError> {
        let found = self.partitions.get(usize::from(number));
        found.ok_or_else(|| StoreError::Refused {
            doing: "looking into a partition".to_owned(),
            why: format!("there are {}, none is {number}", self.partitions.len()),
        })
    }

    /// The outbox of a partition.
    pub(super) fn events_of(&mut self, number: u16) -> Result<&mut Stream, StoreError> {
        self.partition(number)?;
        Ok(&mut self.partitions[usize::from(number)].events)
    }

    pub(super) fn number_of(&self, id: &WorkflowId) -> usize {
        // `new` is told a count that fits.
        let count = u16::try_from(self.partitions.len()).unwrap_or(u16::MAX);
        usize::from(id.partition(count))
    }

    /// Tells who listens. A listener that is far behind loses the message, as it may.
    pub(super) fn wake(&mut self, partition: u16, at: Millis) {
        self.listeners.retain(|listener| {
            !matches!(
                listener.try_send((partition, at)),
                Err(TrySendError::Closed(_))
            )
        });
    }
}
