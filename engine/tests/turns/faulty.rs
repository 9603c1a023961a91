//! A store that fails when it is told to: it refuses, it loses a reply after it wrote, or something
//! happens just before a call.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use evergreen_engine::record::{Reading, Record};
use evergreen_engine::store::memory::MemoryStore;
use evergreen_engine::store::{
    Claim, Claimed, Commit, Committed, Extend, Extended, Peek, Reconciled, Signal, Signalled,
    Store, StoreError, StreamEntry, Told, Wakes,
};
use evergreen_engine::{Millis, WorkflowId};
use futures::future::BoxFuture;

/// The calls that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Claim,
    Commit,
    Signal,
    Read,
    Extend,
    Peek,
    Wakes,
    Walk,
}

/// What goes wrong with one call.
pub(crate) enum Fault {
    /// Nothing is written, nothing is answered.
    Away,
    /// Written, and the answer lost.
    ReplyLost,
    /// The store says no.
    Refused,
    /// Something happens first; then the call goes through.
    After(BoxFuture<'static, ()>),
    /// Written, and not confirmed by the replicas.
    Unconfirmed,
}

/// A memory store with faults to come.
#[derive(Clone)]
pub(crate) struct Faulty {
    pub(crate) memory: MemoryStore,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    faults: BTreeMap<Op, VecDeque<Option<Fault>>>,
    calls: BTreeMap<Op, usize>,
    deaf: bool,
    spoilt: Option<String>,
    run: Option<String>,
}

impl Faulty {
    pub(crate) fn over(memory: MemoryStore) -> Self {
        Self {
            memory,
            state: Arc::default(),
        }
    }

    /// The next call that nothing is planned for goes wrong like this.
    pub(crate) fn next(&self, op: Op, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state.faults.entry(op).or_default().push_back(Some(fault));
    }

    /// The next call that nothing is planned for goes well.
    pub(crate) fn next_goes_well(&self, op: Op) {
        let mut state = self.state.lock().unwrap();
        state.faults.entry(op).or_default().push_back(None);
    }

    /// The next calls that nothing is planned for happen after this.
    pub(crate) fn before_next<F>(&self, op: Op, what: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.next(op, Fault::After(Box::pin(what)));
    }

    /// Forgets what is still planned.
    pub(crate) fn heal(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// The next claim reads this instead of the data.
    pub(crate) fn spoil_data_of_next_claim(&self, data: &str) {
        self.state.lock().unwrap().spoilt = Some(data.to_owned());
    }

    /// Another server has taken over.
    pub(crate) fn fail_over(&self) {
        self.state.lock().unwrap().run = Some("another".to_owned());
    }

    /// From now on no wake-up message arrives.
    pub(crate) fn lose_wakes(&self) {
        self.state.lock().unwrap().deaf = true;
    }

    /// From now on they arrive again.
    pub(crate) fn hear_wakes(&self) {
        self.state.lock().unwrap().deaf = false;
    }

    pub(crate) fn calls(&self, op: Op) -> usize {
        self.state
            .lock()
            .unwrap()
            .calls
            .get(&op)
            .copied()
            .unwrap_or(0)
    }

    async fn call<T>(
        &self,
        op: Op,
        real: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<(T, bool), StoreError> {
        let fault = {
            let mut state = self.state.lock().unwrap();
            *state.calls.entry(op).or_default() += 1;
            let planned = state.faults.entry(op).or_default().pop_front();
            planned.flatten()
        };
        let away = |why: &str| StoreError::Away {
            doing: format!("{op:?}"),
            why: why.to_owned(),
        };
        match fault {
            None => Ok((real.await?, true)),
            Some(Fault::Away) => Err(away("nothing was written")),
            Some(Fault::ReplyLost) => {
                real.await?;
                Err(away("the reply was lost"))
            }
            Some(Fault::Refused) => Err(StoreError::Refused {
                doing: format!("{op:?}"),
                why: "the test says so".to_owned(),
            }),
            Some(Fault::After(first)) => {
                first.await;
                Ok((real.await?, true))
            }
            Some(Fault::Unconfirmed) => Ok((real.await?, false)),
        }
    }
}

#[async_trait]
impl Store for Faulty {
    fn partitions(&self) -> u16 {
        self.memory.partitions()
    }

    async fn claim(&self, claim: &Claim) -> Result<Told<Claimed>, StoreError> {
        let mut told = self.call(Op::Claim, self.memory.claim(claim)).await?.0;
        if let Claimed::Claimed { record, .. } = &mut told.answer
            && let Some(data) = self.state.lock().unwrap().spoilt.take()
        {
            record.data = data;
        }
        Ok(told)
    }

    async fn commit(&self, commit: &Commit) -> Result<Told<Committed>, StoreError> {
        let (mut told, sure) = self.call(Op::Commit, self.memory.commit(commit)).await?;
        if let Committed::Written { confirmed, .. } = &mut told.answer {
            *confirmed = sure;
        }
        Ok(told)
    }

    async fn signal(&self, signal: &Signal) -> Result<Signalled, StoreError> {
        let (mut told, sure) = self.call(Op::Signal, self.memory.signal(signal)).await?;
        if let Signalled::Queued { confirmed, .. } = &mut told {
            *confirmed = sure;
        }
        Ok(told)
    }

    async fn read(
        &self,
        id: &WorkflowId,
        with_sealed: bool,
    ) -> Result<Option<Reading>, StoreError> {
        Ok(self
            .call(Op::Read, self.memory.read(id, with_sealed))
            .await?
            .0)
    }

    async fn extend(
        &self,
        id: &WorkflowId,
        fence: u64,
        claim: &str,
        what: Extend,
    ) -> Result<Extended, StoreError> {
        let real = self.memory.extend(id, fence, claim, what);
        Ok(self.call(Op::Extend, real).await?.0)
    }

    async fn reconcile(&self, id: &WorkflowId) -> Result<Reconciled, StoreError> {
        self.memory.reconcile(id).await
    }

    async fn peek(&self, partitions: &[u16]) -> Result<Peek, StoreError> {
        Ok(self.call(Op::Peek, self.memory.peek(partitions)).await?.0)
    }

    async fn due_members(
        &self,
        partition: u16,
        from: usize,
        count: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.memory.due_members(partition, from, count).await
    }

    async fn walk(
        &self,
        kind: &str,
        cursor: Option<String>,
        count: usize,
    ) -> Result<(Vec<(WorkflowId, Record)>, Option<String>), StoreError> {
        let real = self.memory.walk(kind, cursor, count);
        Ok(self.call(Op::Walk, real).await?.0)
    }

    async fn log(&self, id: &WorkflowId) -> Result<Vec<String>, StoreError> {
        self.memory.log(id).await
    }

    async fn events(
        &self,
        partition: u16,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<StreamEntry>, StoreError> {
        self.memory.events(partition, after, count).await
    }

    async fn events_end(&self, partition: u16) -> Result<Option<String>, StoreError> {
        self.memory.events_end(partition).await
    }

    /// Passes messages on, until it is told to lose them.
    async fn wakes(&self) -> Result<Wakes, StoreError> {
        let mut real = self.call(Op::Wakes, self.memory.wakes()).await?.0;
        let (sender, wakes) = tokio::sync::mpsc::channel(64);
        let state = Arc::clone(&self.state);
        tokio::spawn(async move {
            while let Some(wake) = real.recv().await {
                if !state.lock().unwrap().deaf && sender.send(wake).await.is_err() {
                    return;
                }
            }
        });
        Ok(wakes)
    }

    async fn table_put(&self, table: &str, field: &str, value: &str) -> Result<(), StoreError> {
        self.memory.table_put(table, field, value).await
    }

    async fn table_get(&self, table: &str, field: &str) -> Result<Option<String>, StoreError> {
        self.memory.table_get(table, field).await
    }

    async fn table_all(&self, table: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.memory.table_all(table).await
    }

    async fn table_remove(&self, table: &str, field: &str) -> Result<bool, StoreError> {
        self.memory.table_remove(table, field).await
    }

    async fn slip_put(&self, name: &str, value: &str, life: Duration) -> Result<(), StoreError> {
        self.memory.slip_put(name, value, life).await
    }

    async fn slip_take(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.memory.slip_take(name).await
    }

    async fn turnstile(
        &self,
        name: &str,
        holder: &str,
        life: Duration,
    ) -> Result<bool, StoreError> {
        self.memory.turnstile(name, holder, life).await
    }

    async fn now(&self) -> Result<Millis, StoreError> {
        self.memory.now().await
    }

    async fn run_id(&self) -> Result<String, StoreError> {
        let another = self.state.lock().unwrap().run.clone();
        match another {
            Some(run) => Ok(run),
            None => self.memory.run_id().await,
        }
    }
}
