//! One server that holds a part of the key space, with everything that belongs to it alone: its pool
//! and its connection for durable commits.

use std::sync::{Arc, OnceLock};

use deadpool_redis::redis::{Pipeline, RedisResult, Value};

use super::address::{Address, Topology};
use super::connection::{Ask, Connector};
use super::durable::Durable;
use super::endpoint::Endpoint;
use super::errors::Fault;
use super::options::RedisOptions;

/// A server, connected to when it is first used.
pub(super) struct Node {
    pub(super) at: Endpoint,
    pub(super) connector: Arc<Connector>,
    durable: OnceLock<Durable>,
    options: RedisOptions,
}

impl Node {
    pub(super) fn new(
        at: Endpoint,
        address: &Address,
        options: &RedisOptions,
    ) -> Result<Arc<Self>, Fault> {
        // A node of a cluster that is no master says where to ask instead; one server is what it is.
        let master = matches!(address.topology, Topology::Sentinel { .. });
        let connector = Connector::new(address.server(&at)?, options, master)?;
        Ok(Arc::new(Self {
            at,
            connector: Arc::new(connector),
            durable: OnceLock::new(),
            options: options.clone(),
        }))
    }

    pub(super) async fn ask(&self, what: &Ask<'_>, asking: bool) -> Result<Value, Fault> {
        self.connector.ask(what, asking).await
    }

    pub(super) async fn ask_steadily(&self, what: &Ask<'_>, asking: bool) -> Result<Value, Fault> {
        self.connector.ask_steadily(what, asking).await
    }

    pub(super) async fn pipeline(
        &self,
        commands: &mut Pipeline,
    ) -> Result<Vec<RedisResult<Value>>, Fault> {
        self.connector.pipeline(commands).await
    }

    /// The way to this server for what must be safe before anybody acts on it.
    pub(super) fn durable(&self) -> &Durable {
        let start = || Durable::start(Arc::clone(&self.connector), &self.options);
        self.durable.get_or_init(start)
    }

    /// Whether confirmations of this server say that a write is on a disk; `None` while nothing
    /// durable was written here.
    pub(super) fn confirms_disks(&self) -> Option<bool> {
        self.durable.get().map(Durable::confirms_disks)
    }
}
