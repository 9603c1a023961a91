//! The one store of all, as one process reaches it: every call is checked where it takes effect.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evergreen_engine::record::{Envelope, Reading, Record};
use evergreen_engine::store::outbox::{Drain, Drained, Progress, Settle};
use evergreen_engine::store::{
    Claim, Claimed, Commit, Committed, Compared, Enter, Entered, Extend, Extended, GateBounds,
    GateState, Peek, Place, Reconciled, Requeued, Said, Signal, Signalled, Stamped, Store,
    StoreError, StreamEntry, Told, Wakes,
};
use evergreen_engine::{Millis, WorkflowId};

use super::process::Process;

pub(crate) struct Watched(pub(crate) Arc<Process>);

impl Watched {
    fn store(&self) -> &evergreen_engine::store::memory::MemoryStore {
        &self.0.scene.memory
    }

    /// 9: a pair that was read is in a journal before anything else is written for its integration.
    fn wrote(&self, id: &WorkflowId, text: &str) {
        let scene = &self.0.scene;
        if scene.plan.full_disk == 0.0
            && let Some(pair) =
                scene
                    .provider
                    .unwritten(id.id(), self.0.number, scene.trace.elapsed_ms(), text)
        {
            scene.violated(format!("(9) {id}: {pair} was read and is in no journal"));
        }
        scene.provider.stored(text);
    }
}

#[async_trait]
impl Store for Watched {
    fn partitions(&self) -> u16 {
        self.store().partitions()
    }

    async fn claim(&self, claim: &Claim) -> Result<Told<Claimed>, StoreError> {
        let before = self.store().inspect(&claim.id);
        let told = self.store().claim(claim).await?;
        if let Claimed::Claimed { record, .. } = &told.answer {
            let scene = &self.0.scene;
            let complaint = scene.truth().claimed(claim, &before, told.now);
            scene.check(complaint);
            let (id, attempt) = (claim.id.id(), record.attempt);
            scene
                .trace
                .say(&self.0.name, format!("claims {id}, attempt {attempt}"));
        }
        Ok(told)
    }

    async fn commit(&self, commit: &Commit) -> Result<Told<Committed>, StoreError> {
        let scene = &self.0.scene;
        let before = self.store().inspect(&commit.id);
        let mut told = self.store().commit(commit).await?;
        let (id, name) = (commit.id.id(), &self.0.name);
        match &mut told.answer {
            Committed::Written {
                v,
                already,
                confirmed,
                ..
            } => {
                if !*already {
                    let after = self.store().inspect(&commit.id);
                    let family = |print: &str| scene.provider.family_of(print);
                    let (by, now_ms) = (self.0.number, scene.trace.elapsed_ms());
                    let complaint =
                        scene
                            .truth()
                            .committed(by, commit, (*v, now_ms), &before, &after, family);
                    scene.check(complaint);
                    let log: serde_json::Value =
                        serde_json::from_str(&commit.log).unwrap_or_default();
                    let (state, on) = (&commit.state, &log["on"]);
                    scene
                        .trace
                        .say(name, format!("commits {id} v{v}: {on} to {state}"));
                    self.wrote(&commit.id, &commit.data);
                }
                if commit.durable && !scene.replicated() {
                    *confirmed = false;
                }
            }
            Committed::Signals { .. } => scene.truth().told_of_signals(commit),
            Committed::Fenced { .. } => scene.trace.say(name, format!("is fenced from {id}")),
            Committed::Unknown => {}
        }
        Ok(told)
    }

    async fn signal(&self, signal: &Signal) -> Result<Signalled, StoreError> {
        let scene = &self.0.scene;
        let before = self.store().inspect(&signal.id);
        let mut told = self.store().signal(signal).await?;
        if let Signalled::Queued {
            confirmed, already, ..
        } = &mut told
        {
            let already = *already;
            let after = self.store().inspect(&signal.id);
            let id = signal.id.id();
            let new = usize::from(!already);
            if after.inbox.len() != before.inbox.len() + new {
                scene.violated(format!("(7) {id}: a signal was queued and is not there"));
            }
            let owned = |record: Option<Record>| record.and_then(|record| record.owner).is_some();
            let ended = owned(before.record) && !owned(after.record);
            let family = |print: &str| scene.provider.family_of(print);
            scene.truth().signalled(id, &signal.payload, ended, family);
            let word = word_of(&signal.payload);
            scene
                .trace
                .say(&self.0.name, format!("signals {word} to {id}"));
            self.wrote(&signal.id, &signal.payload);
            if signal.durable && !scene.replicated() {
                *confirmed = false;
            }
        }
        Ok(told)
    }

    async fn read(&self, id: &WorkflowId, sealed: bool) -> Result<Option<Reading>, StoreError> {
        self.store().read(id, sealed).await
    }

    async fn inbox(&self, id: &WorkflowId) -> Result<Vec<Envelope>, StoreError> {
        self.store().inbox(id).await
    }

    async fn extend(
        &self,
        id: &WorkflowId,
        fence: u64,
        claim: &str,
        what: Extend,
    ) -> Result<Extended, StoreError> {
        let extended = self.store().extend(id, fence, claim, what).await?;
        if extended == Extended::GivenBack {
            self.0.scene.truth().given_back(id.id());
        }
        Ok(extended)
    }

    async fn requeue(&self, id: &WorkflowId) -> Result<Requeued, StoreError> {
        self.store().requeue(id).await
    }

    /// 3: the index follows the record.
    async fn compare(&self, ids: &[WorkflowId], then: &[Place]) -> Result<Compared, StoreError> {
        let compared = self.store().compare(ids, then).await?;
        for (id, what) in ids.iter().zip(&compared.found) {
            let odd = *what == Reconciled::Score && self.0.scene.truth().clock_is_odd();
            if *what != Reconciled::Right && !odd {
                self.0
                    .scene
                    .violated(format!("(3) {id}: the index was {what:?}"));
            }
        }
        Ok(compared)
    }

    async fn peek(&self, partitions: &[u16]) -> Result<Peek, StoreError> {
        self.store().peek(partitions).await
    }

    async fn due_members(
        &self,
        partition: u16,
        from: usize,
        count: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.store().due_members(partition, from, count).await
    }

    async fn walk(
        &self,
        kind: &str,
        cursor: Option<String>,
        count: usize,
    ) -> Result<(Vec<(WorkflowId, Record)>, Option<String>), StoreError> {
        self.store().walk(kind, cursor, count).await
    }

    async fn log(&self, id: &WorkflowId) -> Result<Vec<String>, StoreError> {
        self.store().log(id).await
    }

    async fn events(
        &self,
        partition: u16,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<StreamEntry>, StoreError> {
        self.store().events(partition, after, count).await
    }

    async fn events_end(&self, partition: u16) -> Result<Option<String>, StoreError> {
        self.store().events_end(partition).await
    }

    async fn drain(&self, drain: &Drain) -> Result<Drained, StoreError> {
        self.store().drain(drain).await
    }

    async fn settle(&self, settle: &Settle) -> Result<u64, StoreError> {
        self.store().settle(settle).await
    }

    async fn progress(&self, reader: &str) -> Result<Vec<Progress>, StoreError> {
        self.store().progress(reader).await
    }

    async fn wakes(&self) -> Result<Wakes, StoreError> {
        self.store().wakes().await
    }

    async fn table_put(&self, table: &str, field: &str, value: &str) -> Result<(), StoreError> {
        self.store().table_put(table, field, value).await
    }

    async fn table_get(&self, table: &str, field: &str) -> Result<Option<String>, StoreError> {
        self.store().table_get(table, field).await
    }

    async fn table_all(&self, table: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.store().table_all(table).await
    }

    async fn table_remove(&self, table: &str, field: &str) -> Result<bool, StoreError> {
        self.store().table_remove(table, field).await
    }

    async fn slip_put(&self, name: &str, value: &str, life: Duration) -> Result<(), StoreError> {
        self.store().slip_put(name, value, life).await
    }

    async fn slip_take(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.store().slip_take(name).await
    }

    async fn turnstile(
        &self,
        name: &str,
        holder: &str,
        life: Duration,
    ) -> Result<bool, StoreError> {
        self.store().turnstile(name, holder, life).await
    }

    async fn gate_enter(&self, ask: &Enter) -> Result<Entered, StoreError> {
        self.store().gate_enter(ask).await
    }

    async fn gate_leave(&self, gate: &str, place: &str) -> Result<(), StoreError> {
        self.store().gate_leave(gate, place).await
    }

    async fn gate_tell(
        &self,
        gate: &str,
        said: Option<Said>,
        bounds: &GateBounds,
    ) -> Result<GateState, StoreError> {
        self.store().gate_tell(gate, said, bounds).await
    }

    async fn stamp(&self, newest_seen: Millis, write: bool) -> Result<Stamped, StoreError> {
        self.store().stamp(newest_seen, write).await
    }

    async fn now(&self) -> Result<Millis, StoreError> {
        self.store().now().await
    }

    async fn run_id(&self) -> Result<String, StoreError> {
        self.store().run_id().await
    }
}

/// The name of a signal.
fn word_of(payload: &str) -> String {
    let payload: serde_json::Value = serde_json::from_str(payload).unwrap_or_default();
    let signal = &payload["signal"];
    match (signal.as_str(), signal.as_object()) {
        (Some(word), _) => word.to_owned(),
        (None, Some(fields)) => fields.keys().next().cloned().unwrap_or_default(),
        _ => "?".to_owned(),
    }
}
