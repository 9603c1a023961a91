//! Every call of the store beneath, through its fate.

use std::time::Duration;

use async_trait::async_trait;

use super::{FaultyStore, Op};
use crate::id::WorkflowId;
use crate::machine::Millis;
use crate::record::{Reading, Record};
use crate::store::{
    Claim, Claimed, Commit, Committed, Compared, Enter, Entered, Extend, Extended, GateBounds,
    GateState, Look, Peek, Place, Requeued, Said, Signal, Signalled, Store, StoreError,
    StreamEntry, Told, Wakes,
};

/// Wake-up messages that a listener may be behind before it loses some.
const WAKES_BEHIND: usize = 64;

#[async_trait]
impl Store for FaultyStore {
    fn partitions(&self) -> u16 {
        self.store.partitions()
    }

    fn confirms_disks(&self) -> bool {
        self.store.confirms_disks()
    }

    async fn claim(&self, claim: &Claim) -> Result<Told<Claimed>, StoreError> {
        let (mut told, _) = self.call(Op::Claim, self.store.claim(claim)).await?;
        if let Claimed::Claimed { record, .. } = &mut told.answer
            && let Some(data) = self.state().spoilt.take()
        {
            record.data = data;
        }
        Ok(told)
    }

    async fn commit(&self, commit: &Commit) -> Result<Told<Committed>, StoreError> {
        let (mut told, sure) = self.call(Op::Commit, self.store.commit(commit)).await?;
        if let Committed::Written { confirmed, .. } = &mut told.answer {
            *confirmed &= sure || !commit.durable;
        }
        Ok(told)
    }

    async fn signal(&self, signal: &Signal) -> Result<Signalled, StoreError> {
        let (mut told, sure) = self.call(Op::Signal, self.store.signal(signal)).await?;
        if let Signalled::Queued { confirmed, .. } = &mut told {
            *confirmed &= sure || !signal.durable;
        }
        Ok(told)
    }

    async fn read(
        &self,
        id: &WorkflowId,
        with_sealed: bool,
    ) -> Result<Option<Reading>, StoreError> {
        let real = self.store.read(id, with_sealed);
        Ok(self.call(Op::Read, real).await?.0)
    }

    async fn extend(
        &self,
        id: &WorkflowId,
        fence: u64,
        claim: &str,
        what: Extend,
    ) -> Result<Extended, StoreError> {
        let real = self.store.extend(id, fence, claim, what);
        Ok(self.call(Op::Extend, real).await?.0)
    }

    async fn compare(&self, ids: &[WorkflowId], then: &[Place]) -> Result<Compared, StoreError> {
        let real = self.store.compare(ids, then);
        Ok(self.call(Op::Compare, real).await?.0)
    }

    async fn requeue(&self, id: &WorkflowId) -> Result<Requeued, StoreError> {
        Ok(self.call(Op::Requeue, self.store.requeue(id)).await?.0)
    }

    async fn peek(&self, partitions: &[u16]) -> Result<Peek, StoreError> {
        Ok(self.call(Op::Peek, self.store.peek(partitions)).await?.0)
    }

    /// One call, as over Redis: who answers comes with the heads.
    async fn look(&self) -> Result<Look, StoreError> {
        let (mut look, _) = self.call(Op::Peek, self.store.look()).await?;
        look.run = self.run_of(look.run);
        Ok(look)
    }

    async fn due_members(
        &self,
        partition: u16,
        from: usize,
        count: usize,
    ) -> Result<Vec<String>, StoreError> {
        let real = self.store.due_members(partition, from, count);
        Ok(self.call(Op::DueMembers, real).await?.0)
    }

    async fn walk(
        &self,
        kind: &str,
        cursor: Option<String>,
        count: usize,
    ) -> Result<(Vec<(WorkflowId, Record)>, Option<String>), StoreError> {
        let real = self.store.walk(kind, cursor, count);
        Ok(self.call(Op::Walk, real).await?.0)
    }

    async fn log(&self, id: &WorkflowId) -> Result<Vec<String>, StoreError> {
        Ok(self.call(Op::Log, self.store.log(id)).await?.0)
    }

    async fn events(
        &self,
        partition: u16,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<StreamEntry>, StoreError> {
        let real = self.store.events(partition, after, count);
        Ok(self.call(Op::Events, real).await?.0)
    }

    async fn events_end(&self, partition: u16) -> Result<Option<String>, StoreError> {
        let real = self.store.events_end(partition);
        Ok(self.call(Op::Events, real).await?.0)
    }

    /// Passes messages on, until it is told to lose them.
    async fn wakes(&self) -> Result<Wakes, StoreError> {
        let (mut real, _) = self.call(Op::Wakes, self.store.wakes()).await?;
        let (sender, wakes) = tokio::sync::mpsc::channel(WAKES_BEHIND);
        let this = self.clone();
        tokio::spawn(async move {
            while let Some(wake) = real.recv().await {
                if !this.state().deaf && sender.send(wake).await.is_err() {
                    return;
                }
            }
        });
        Ok(wakes)
    }

    async fn table_put(&self, table: &str, field: &str, value: &str) -> Result<(), StoreError> {
        let real = self.store.table_put(table, field, value);
        self.call(Op::Table, real).await.map(|_| ())
    }

    async fn table_get(&self, table: &str, field: &str) -> Result<Option<String>, StoreError> {
        let real = self.store.table_get(table, field);
        Ok(self.call(Op::Table, real).await?.0)
    }

    async fn table_all(&self, table: &str) -> Result<Vec<(String, String)>, StoreError> {
        Ok(self.call(Op::Table, self.store.table_all(table)).await?.0)
    }

    async fn table_remove(&self, table: &str, field: &str) -> Result<bool, StoreError> {
        let real = self.store.table_remove(table, field);
        Ok(self.call(Op::Table, real).await?.0)
    }

    async fn slip_put(&self, name: &str, value: &str, life: Duration) -> Result<(), StoreError> {
        let real = self.store.slip_put(name, value, life);
        self.call(Op::Slip, real).await.map(|_| ())
    }

    async fn slip_take(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.call(Op::Slip, self.store.slip_take(name)).await?.0)
    }

    async fn turnstile(
        &self,
        name: &str,
        holder: &str,
        life: Duration,
    ) -> Result<bool, StoreError> {
        let real = self.store.turnstile(name, holder, life);
        Ok(self.call(Op::Turnstile, real).await?.0)
    }

    async fn gate_enter(&self, ask: &Enter) -> Result<Entered, StoreError> {
        Ok(self.call(Op::Gate, self.store.gate_enter(ask)).await?.0)
    }

    async fn gate_leave(&self, gate: &str, place: &str) -> Result<(), StoreError> {
        let real = self.store.gate_leave(gate, place);
        self.call(Op::Gate, real).await.map(|_| ())
    }

    async fn gate_tell(
        &self,
        gate: &str,
        said: Option<Said>,
        bounds: &GateBounds,
    ) -> Result<GateState, StoreError> {
        let real = self.store.gate_tell(gate, said, bounds);
        Ok(self.call(Op::Gate, real).await?.0)
    }

    async fn now(&self) -> Result<Millis, StoreError> {
        Ok(self.call(Op::Now, self.store.now()).await?.0)
    }

    async fn run_id(&self) -> Result<String, StoreError> {
        let (run, _) = self.call(Op::RunId, self.store.run_id()).await?;
        Ok(self.run_of(run))
    }
}

impl FaultyStore {
    fn run_of(&self, run: String) -> String {
        match self.state().failovers {
            0 => run,
            times => format!("{run}, taken over {times} times"),
        }
    }
}
