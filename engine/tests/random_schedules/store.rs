//! The store as one process sees it: every call waits until the schedule lets it through.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use evergreen_engine::record::{Envelope, Reading, Record};
use evergreen_engine::store::clock::Clock;
use evergreen_engine::store::outbox::{Drain, Drained, Progress, Settle};
use evergreen_engine::store::{
    Claim, ClaimMode, Claimed, Commit, Committed, Compared, Enter, Entered, Extend, Extended,
    GateBounds, GateState, Peek, Place, Requeued, Said, Signal, Signalled, Stamped, Store,
    StoreError, StreamEntry, Told, Wakes,
};
use evergreen_engine::{Millis, WorkflowId};

use crate::line::{Line, Wish};

/// The store's notes.
pub(crate) type Noted = Arc<Mutex<BTreeMap<String, String>>>;

/// The way of one process to the store.
pub(crate) struct Gated {
    pub(crate) line: Line,
    pub(crate) clock: Clock,
    /// What the store has noted of its run.
    pub(crate) noted: Noted,
    /// As a worker claims: what is due, and what another holds is left alone. Otherwise as a caller.
    pub(crate) as_worker: bool,
}

/// What a turn never asks for.
fn elsewhere<T>(what: &str) -> Result<T, StoreError> {
    Err(StoreError::Refused {
        doing: what.to_owned(),
        why: "no turn asks for this".to_owned(),
    })
}

#[async_trait]
impl Store for Gated {
    fn partitions(&self) -> u16 {
        1
    }

    async fn claim(&self, claim: &Claim) -> Result<Told<Claimed>, StoreError> {
        let mut claim = claim.clone();
        if self.as_worker {
            claim.mode = ClaimMode::Due;
        }
        let told = self.line.ask(|reply| Wish::Claim(claim, reply)).await?;
        let leave = self.as_worker && matches!(told.answer, Claimed::Held { .. });
        Ok(Told {
            answer: if leave { Claimed::NotDue } else { told.answer },
            ..told
        })
    }

    async fn commit(&self, commit: &Commit) -> Result<Told<Committed>, StoreError> {
        let commit = Box::new(commit.clone());
        self.line.ask(|reply| Wish::Commit(commit, reply)).await
    }

    async fn signal(&self, signal: &Signal) -> Result<Signalled, StoreError> {
        let signal = signal.clone();
        self.line.ask(|reply| Wish::Signal(signal, reply)).await
    }

    async fn read(&self, _: &WorkflowId, sealed: bool) -> Result<Option<Reading>, StoreError> {
        self.line.ask(|reply| Wish::Read(sealed, reply)).await
    }

    async fn inbox(&self, _: &WorkflowId) -> Result<Vec<Envelope>, StoreError> {
        elsewhere("looking into an inbox")
    }

    async fn extend(
        &self,
        _: &WorkflowId,
        fence: u64,
        claim: &str,
        what: Extend,
    ) -> Result<Extended, StoreError> {
        let claim = claim.to_owned();
        let wish = |reply| Wish::Extend(fence, claim, what, reply);
        self.line.ask(wish).await
    }

    async fn compare(&self, _: &[WorkflowId], _: &[Place]) -> Result<Compared, StoreError> {
        elsewhere("reconciling")
    }

    async fn requeue(&self, _: &WorkflowId) -> Result<Requeued, StoreError> {
        elsewhere("giving back")
    }

    async fn peek(&self, _: &[u16]) -> Result<Peek, StoreError> {
        elsewhere("peeking")
    }

    async fn due_members(&self, _: u16, _: usize, _: usize) -> Result<Vec<String>, StoreError> {
        elsewhere("listing what is due")
    }

    async fn walk(
        &self,
        _: &str,
        _: Option<String>,
        _: usize,
    ) -> Result<(Vec<(WorkflowId, Record)>, Option<String>), StoreError> {
        elsewhere("walking")
    }

    async fn log(&self, _: &WorkflowId) -> Result<Vec<String>, StoreError> {
        elsewhere("reading a log")
    }

    async fn events(
        &self,
        _: u16,
        _: Option<&str>,
        _: usize,
    ) -> Result<Vec<StreamEntry>, StoreError> {
        elsewhere("reading events")
    }

    async fn events_end(&self, _: u16) -> Result<Option<String>, StoreError> {
        elsewhere("reading events")
    }

    async fn drain(&self, _: &Drain) -> Result<Drained, StoreError> {
        elsewhere("draining the outbox")
    }

    async fn settle(&self, _: &Settle) -> Result<u64, StoreError> {
        elsewhere("settling events")
    }

    async fn progress(&self, _: &str) -> Result<Vec<Progress>, StoreError> {
        elsewhere("looking at a reader")
    }

    async fn wakes(&self) -> Result<Wakes, StoreError> {
        elsewhere("listening")
    }

    /// What the engine keeps in a table is the note of the run that was seen last. It is not waited for, and
    /// not lost: losing it only makes whoever starts more careful.
    async fn table_put(&self, _: &str, field: &str, value: &str) -> Result<(), StoreError> {
        let mut noted = self.noted.lock().unwrap();
        noted.insert(field.to_owned(), value.to_owned());
        Ok(())
    }

    async fn table_get(&self, _: &str, field: &str) -> Result<Option<String>, StoreError> {
        Ok(self.noted.lock().unwrap().get(field).cloned())
    }

    async fn table_all(&self, _: &str) -> Result<Vec<(String, String)>, StoreError> {
        elsewhere("reading a table")
    }

    async fn table_remove(&self, _: &str, _: &str) -> Result<bool, StoreError> {
        elsewhere("writing a table")
    }

    async fn slip_put(&self, _: &str, _: &str, _: Duration) -> Result<(), StoreError> {
        elsewhere("writing a slip")
    }

    async fn slip_take(&self, _: &str) -> Result<Option<String>, StoreError> {
        elsewhere("taking a slip")
    }

    async fn turnstile(&self, _: &str, _: &str, _: Duration) -> Result<bool, StoreError> {
        elsewhere("passing a turnstile")
    }

    async fn gate_enter(&self, _: &Enter) -> Result<Entered, StoreError> {
        elsewhere("entering a gate")
    }

    async fn gate_leave(&self, _: &str, _: &str) -> Result<(), StoreError> {
        elsewhere("leaving a gate")
    }

    async fn gate_tell(
        &self,
        _: &str,
        _: Option<Said>,
        _: &GateBounds,
    ) -> Result<GateState, StoreError> {
        elsewhere("telling a gate")
    }

    async fn stamp(&self, _: Millis, _: bool) -> Result<Stamped, StoreError> {
        elsewhere("stamping")
    }

    async fn now(&self) -> Result<Millis, StoreError> {
        Ok((self.clock)())
    }

    async fn run_id(&self) -> Result<String, StoreError> {
        self.line.ask(Wish::RunId).await
    }
}
