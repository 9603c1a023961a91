//! The protocol as Lua scripts on Redis. Only the files of this folder name `redis`.
//!
//! An operation goes from [`Store`] to `calls` (keys and arguments, in the order of the script's
//! head) and over `ways` to the server that holds its keys: by `connection` or, if it must be durable,
//! `durable`, and it comes back through `reply`. Which server that is, in each of the three topologies
//! that an [`Address`] can name, is known to `routes`, which asks `sentinel` or reads `slots`; several
//! servers at once are asked by `batch`. What the keys are called is in `keys`, which errors mean what
//! in `errors`; `startup` looks at a server before anything is entrusted to it, and `migration` at the
//! key space.

mod address;
mod batch;
mod calls;
mod compare;
mod connection;
mod durable;
mod endpoint;
mod errors;
mod gates;
mod info;
mod keys;
mod lists;
mod measure;
mod migration;
mod node;
mod options;
mod outbox;
mod query;
mod reply;
mod routes;
mod run;
mod scripts;
mod sentinel;
mod slots;
mod startup;
mod steady;
mod wakes;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::{Value, cmd};

use self::calls::Calls;
use self::keys::Keys;
use self::run::Runs;
use self::scripts::{Call, TURNSTILE};
use self::ways::Ways;
use super::clock::{Clock, millis};
use super::outbox::{Drain, Drained, Progress, Settle};
use super::{
    Claim, Claimed, Commit, Committed, Compared, Enter, Entered, Extend, Extended, GateBounds,
    GateState, Look, Peek, Place, Requeued, Said, Signal, Signalled, Stamped, Store, StoreError,
    StreamEntry, Told, Wakes,
};
use crate::id::WorkflowId;
use crate::machine::Millis;
use crate::record::{Envelope, Reading, Record};

pub use self::address::{Address, AddressError};
pub use self::keys::prefix_is_usable;
pub use self::measure::{Histogram, SlowCall};
pub use self::migration::{Meta, Report, VERSION, migrate};
pub use self::options::RedisOptions;

/// A store in Redis. Clones share its connections.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    ways: Arc<Ways>,
    runs: Runs,
    keys: Keys,
    clock: Option<Clock>,
    options: RedisOptions,
    warnings: Vec<String>,
}

impl RedisStore {
    /// Connects, looks at the servers and the key space, and makes the latter if
    /// [`RedisOptions::create`] allows. Must be called inside a Tokio runtime, which then runs the
    /// tasks that durable commits go through.
    ///
    /// # Errors
    /// [`StoreError::Away`] where the server cannot be reached; [`StoreError::Refused`] with what to
    /// change where it would lose data, or where the key space is not one of ours.
    pub async fn connect(options: RedisOptions) -> Result<Self, StoreError> {
        let ways = Arc::new(Ways::new(&options)?);
        let (meta, warnings) = startup::check(&ways, &options).await?;
        ways.let_in();
        Ok(Self(Arc::new(Inner {
            runs: Runs::default(),
            keys: Keys::new(&options.prefix, meta.partitions),
            clock: options.clock.clone(),
            ways,
            options,
            warnings,
        })))
    }

    /// What the key space says of itself, read now.
    ///
    /// # Errors
    /// The server is away, or somebody removed the key space.
    pub async fn meta(&self) -> Result<Meta, StoreError> {
        let meta = migration::read(&self.0.ways, &self.0.options).await?;
        meta.ok_or_else(|| errors::refused("the key space", "somebody removed it"))
    }

    /// What the look at the server found that is not forbidden but should be known.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// The URL with the password hidden.
    #[must_use]
    pub fn masked_url(&self) -> String {
        self.0.options.masked_url()
    }

    fn calls(&self) -> Calls<'_> {
        Calls {
            keys: &self.0.keys,
            now: self.dictated(),
        }
    }

    /// The time, where a test dictates it.
    fn dictated(&self) -> Option<Millis> {
        self.0.clock.as_ref().map(|clock| clock())
    }

    /// Makes a call, and tells whether it is confirmed as asked.
    async fn write(&self, call: Call, durable: bool) -> Result<(Value, bool), StoreError> {
        if durable {
            self.0.ways.durably(call).await
        } else {
            Ok((self.0.ways.call(&call).await?, true))
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    fn confirms_disks(&self) -> bool {
        self.0.ways.confirms_disks()
    }

    fn partitions(&self) -> u16 {
        self.0.keys.partitions()
    }

    async fn claim(&self, claim: &Claim) -> Result<Told<Claimed>, StoreError> {
        let call = self.calls().claim(claim)?;
        reply::claimed(self.0.ways.call(&call).await?)
    }

    async fn commit(&self, commit: &Commit) -> Result<Told<Committed>, StoreError> {
        let call = self.calls().commit(commit)?;
        let (value, confirmed) = self.write(call, commit.durable).await?;
        let kept = commit.keep.is_some() && !commit.finish;
        reply::committed(value, kept, confirmed)
    }

    async fn signal(&self, signal: &Signal) -> Result<Signalled, StoreError> {
        let call = self.calls().signal(signal)?;
        let (value, confirmed) = self.write(call, signal.durable).await?;
        reply::signalled(value, confirmed)
    }

    async fn read(
        &self,
        id: &WorkflowId,
        with_sealed: bool,
    ) -> Result<Option<Reading>, StoreError> {
        let call = self.calls().read(id, with_sealed)?;
        reply::reading(self.0.ways.call(&call).await?)
    }

    async fn inbox(&self, id: &WorkflowId) -> Result<Vec<Envelope>, StoreError> {
        lists::inbox(&self.0.ways, &self.0.keys, id).await
    }

    async fn extend(
        &self,
        id: &WorkflowId,
        fence: u64,
        claim: &str,
        what: Extend,
    ) -> Result<Extended, StoreError> {
        let call = self.calls().extend(id, fence, claim, what)?;
        reply::extended(self.0.ways.call(&call).await?)
    }

    async fn compare(&self, ids: &[WorkflowId], then: &[Place]) -> Result<Compared, StoreError> {
        compare::compare(&self.0.ways, &self.calls(), ids, then).await
    }

    async fn requeue(&self, id: &WorkflowId) -> Result<Requeued, StoreError> {
        let call = self.calls().requeue(id)?;
        reply::requeued(self.0.ways.call(&call).await?)
    }

    async fn peek(&self, partitions: &[u16]) -> Result<Peek, StoreError> {
        lists::peek(&self.0.ways, &self.0.keys, self.dictated(), partitions).await
    }

    async fn look(&self) -> Result<Look, StoreError> {
        let (ways, keys, runs) = (&self.0.ways, &self.0.keys, &self.0.runs);
        lists::look(ways, keys, runs, self.dictated()).await
    }

    async fn due_members(
        &self,
        partition: u16,
        from: usize,
        count: usize,
    ) -> Result<Vec<String>, StoreError> {
        lists::due_members(&self.0.ways, &self.0.keys, partition, from, count).await
    }

    async fn walk(
        &self,
        kind: &str,
        cursor: Option<String>,
        count: usize,
    ) -> Result<(Vec<(WorkflowId, Record)>, Option<String>), StoreError> {
        lists::walk(&self.0.ways, &self.0.keys, kind, cursor, count).await
    }

    async fn log(&self, id: &WorkflowId) -> Result<Vec<String>, StoreError> {
        lists::log(&self.0.ways, &self.0.keys, id).await
    }

    async fn events(
        &self,
        partition: u16,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<StreamEntry>, StoreError> {
        lists::events(&self.0.ways, &self.0.keys, partition, after, count).await
    }

    async fn events_end(&self, partition: u16) -> Result<Option<String>, StoreError> {
        lists::events_end(&self.0.ways, &self.0.keys, partition).await
    }

    async fn drain(&self, drain: &Drain) -> Result<Drained, StoreError> {
        let call = outbox::drain(&self.calls(), drain)?;
        outbox::drained(self.0.ways.call(&call).await?)
    }

    async fn settle(&self, settle: &Settle) -> Result<u64, StoreError> {
        let call = outbox::settle(&self.calls(), settle)?;
        outbox::settled(self.0.ways.steady_call(&call).await?)
    }

    async fn progress(&self, reader: &str) -> Result<Vec<Progress>, StoreError> {
        outbox::progress(&self.0.ways, &self.calls(), reader).await
    }

    async fn wakes(&self) -> Result<Wakes, StoreError> {
        if !self.0.options.wakes {
            return Ok(wakes::silent());
        }
        let ways = Arc::clone(&self.0.ways);
        Ok(wakes::listen(ways, self.0.keys.wake()).await)
    }

    async fn table_put(&self, table: &str, field: &str, value: &str) -> Result<(), StoreError> {
        let key = self.0.keys.table(table);
        let mut command = cmd("HSET");
        command.arg(&key).arg(field).arg(value);
        self.0
            .ways
            .steady_query("writing a table", &key, &command)
            .await
    }

    async fn table_get(&self, table: &str, field: &str) -> Result<Option<String>, StoreError> {
        let key = self.0.keys.table(table);
        let mut command = cmd("HGET");
        command.arg(&key).arg(field);
        self.0
            .ways
            .steady_query("reading a table", &key, &command)
            .await
    }

    async fn table_all(&self, table: &str) -> Result<Vec<(String, String)>, StoreError> {
        let key = self.0.keys.table(table);
        let mut command = cmd("HGETALL");
        command.arg(&key);
        self.0
            .ways
            .steady_query("reading a table", &key, &command)
            .await
    }

    async fn table_remove(&self, table: &str, field: &str) -> Result<bool, StoreError> {
        let key = self.0.keys.table(table);
        let mut command = cmd("HDEL");
        command.arg(&key).arg(field);
        self.0.ways.query("writing a table", &key, &command).await
    }

    async fn slip_put(&self, name: &str, value: &str, life: Duration) -> Result<(), StoreError> {
        let key = self.0.keys.named(name);
        let mut command = cmd("SET");
        command.arg(&key).arg(value);
        command.arg("PX").arg(millis(life).max(1));
        self.0.ways.query("writing a slip", &key, &command).await
    }

    async fn slip_take(&self, name: &str) -> Result<Option<String>, StoreError> {
        let key = self.0.keys.named(name);
        let mut command = cmd("GETDEL");
        command.arg(&key);
        self.0.ways.query("taking a slip", &key, &command).await
    }

    async fn turnstile(
        &self,
        name: &str,
        holder: &str,
        life: Duration,
    ) -> Result<bool, StoreError> {
        let call = Call::new(
            &TURNSTILE,
            vec![self.0.keys.named(name)],
            vec![holder.to_owned(), millis(life).max(1).to_string()],
        );
        reply::passed(self.0.ways.steady_call(&call).await?)
    }

    async fn gate_enter(&self, ask: &Enter) -> Result<Entered, StoreError> {
        let call = self.calls().enter(ask)?;
        gates::entered(self.0.ways.steady_call(&call).await?)
    }

    async fn gate_leave(&self, gate: &str, place: &str) -> Result<(), StoreError> {
        let key = self.0.keys.places(gate)?;
        let mut command = cmd("ZREM");
        command.arg(&key).arg(place);
        let ways = &self.0.ways;
        let _was_there: i64 = ways.query("leaving a gate", &key, &command).await?;
        Ok(())
    }

    async fn gate_tell(
        &self,
        gate: &str,
        said: Option<Said>,
        bounds: &GateBounds,
    ) -> Result<GateState, StoreError> {
        let call = self.calls().gate(gate, said, bounds)?;
        gates::state(self.0.ways.call(&call).await?)
    }

    async fn stamp(&self, newest_seen: Millis, write: bool) -> Result<Stamped, StoreError> {
        let call = self.calls().stamp(newest_seen, write);
        reply::stamped(self.0.ways.steady_call(&call).await?)
    }

    async fn now(&self) -> Result<Millis, StoreError> {
        match self.dictated() {
            Some(now) => Ok(now),
            None => lists::time(&self.0.ways, &self.0.keys).await,
        }
    }

    async fn run_id(&self) -> Result<String, StoreError> {
        self.0.runs.look(&self.0.ways, &self.0.keys).await
    }
}
