//! The way from an operation to the server that holds its keys, whatever the topology.
//!
//! Nothing here waits without a bound: an operation has one deadline, which covers finding the server,
//! waiting for a connection, making one, being sent elsewhere, and the reply. A server that says that
//! it does not hold a slot, or is no master any more, has done nothing; so the same call goes on to
//! the one that does. After anything else it is the caller who decides whether to ask again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_redis::redis::aio::PubSub;
use deadpool_redis::redis::{Cmd, FromRedisValue, Value, from_redis_value};

use super::address::Topology;
use super::connection::Ask;
use super::endpoint::Endpoint;
use super::errors::{Fault, Hint, away, refused};
use super::keys::slot_of;
use super::node::Node;
use super::options::RedisOptions;
use super::routes::Routes;
use super::scripts::Call;
use super::slots::Table;
use crate::store::StoreError;

/// Servers that one call is sent on to before it is given up: two failovers and a slot on its way.
const HOPS: u32 = 5;

/// All servers, as one.
pub(super) struct Ways {
    pub(super) routes: Arc<Routes>,
    pub(super) reply_timeout: Duration,
    durable_timeout: Duration,
    /// Whether the servers have let us in once.
    let_in: AtomicBool,
}

/// What goes to the server of a slot.
pub(super) enum Errand<'a> {
    Ask(Ask<'a>),
    /// What may be asked twice.
    Steady(Ask<'a>),
    Durable(Arc<Call>),
}

impl Ways {
    /// Reads the options; nothing is connected yet.
    pub(super) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let address = options.address()?;
        let doing = || format!("the settings for {}", options.masked_url());
        let routes = Routes::new(address, options);
        Ok(Self {
            routes: routes.map_err(|fault| fault.while_doing(doing()))?,
            reply_timeout: options.reply_timeout,
            durable_timeout: options.durable_timeout(),
            let_in: AtomicBool::new(false),
        })
    }

    /// A fault as whoever asked is told.
    pub(super) fn as_told(&self, fault: &Fault, doing: impl Into<String>) -> StoreError {
        match fault.while_doing(doing) {
            StoreError::Refused { doing, why }
                if fault.is_about_the_login() && self.let_in.load(Ordering::Relaxed) =>
            {
                away(doing, why)
            }
            error => error,
        }
    }

    /// The servers have been looked at: from now on a login that they do not accept may be accepted again.
    pub(super) fn let_in(&self) {
        self.let_in.store(true, Ordering::Relaxed);
    }

    /// Calls a script.
    pub(super) async fn call(&self, call: &Call) -> Result<Value, StoreError> {
        let doing = || format!("running {}.lua", call.script.name);
        let errand = Errand::Ask(Ask::Script(call));
        let going = self.go(call.slot(), &errand);
        let (value, _) = self.bounded(self.reply_timeout, doing, going).await?;
        Ok(value)
    }

    /// Calls a script that writes, and tells whether the servers confirmed that it is safe.
    pub(super) async fn durably(&self, call: Call) -> Result<(Value, bool), StoreError> {
        let doing = format!("running {}.lua durably", call.script.name);
        let slot = call.slot();
        let errand = Errand::Durable(Arc::new(call));
        self.bounded(self.durable_timeout, || doing, self.go(slot, &errand))
            .await
    }

    /// Sends a plain command to the server that holds a key; `doing` names it in errors.
    pub(super) async fn query<T: FromRedisValue>(
        &self,
        doing: &str,
        key: &str,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        let errand = Errand::Ask(Ask::Command(command));
        let going = self.go(slot_of(key), &errand);
        let doing = || doing.to_owned();
        let (value, _) = self.bounded(self.reply_timeout, doing, going).await?;
        from_redis_value(value).map_err(|why| refused(doing(), why.to_string()))
    }

    /// Like [`Ways::query`], for what the server may refuse to this role: nothing then.
    pub(super) async fn query_if_permitted<T: FromRedisValue>(
        &self,
        doing: &str,
        key: &str,
        command: &Cmd,
    ) -> Result<Option<T>, StoreError> {
        let errand = Errand::Ask(Ask::Command(command));
        let going = async {
            match self.go(slot_of(key), &errand).await {
                Ok((value, _)) => Ok(Some(value)),
                Err(fault) if matches!(fault.while_doing(""), StoreError::Refused { .. }) => {
                    Ok(None)
                }
                Err(fault) => Err(fault),
            }
        };
        let doing = || doing.to_owned();
        let value = self.bounded(self.reply_timeout, doing, going).await?;
        let read = |value| from_redis_value(value).map_err(|why| refused(doing(), why.to_string()));
        value.map(read).transpose()
    }

    /// Like [`Ways::query`], for what may be asked twice.
    pub(super) async fn steady_query<T: FromRedisValue>(
        &self,
        doing: &str,
        key: &str,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        let errand = Errand::Steady(Ask::Command(command));
        let going = self.go(slot_of(key), &errand);
        let doing = || doing.to_owned();
        let (value, _) = self.bounded(self.reply_timeout, doing, going).await?;
        from_redis_value(value).map_err(|why| refused(doing(), why.to_string()))
    }

    /// Like [`Ways::call`], for what may be asked twice.
    pub(super) async fn steady_call(&self, call: &Call) -> Result<Value, StoreError> {
        let doing = || format!("running {}.lua", call.script.name);
        let errand = Errand::Steady(Ask::Script(call));
        let going = self.go(call.slot(), &errand);
        let (value, _) = self.bounded(self.reply_timeout, doing, going).await?;
        Ok(value)
    }

    /// Sends a plain command to this very server.
    pub(super) async fn query_at<T: FromRedisValue>(
        &self,
        doing: &str,
        node: &Node,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        let doing = || format!("{doing} at {}", node.at);
        let ask = Ask::Command(command);
        let asking = node.ask(&ask, false);
        let value = self.bounded(self.reply_timeout, doing, asking).await?;
        from_redis_value(value).map_err(|why| refused(doing(), why.to_string()))
    }

    /// Who holds what.
    pub(super) async fn table(&self, doing: &str) -> Result<Arc<Table>, StoreError> {
        let doing = || doing.to_owned();
        self.bounded(self.reply_timeout, doing, self.routes.table())
            .await
    }

    /// A connection that listens to a channel. What is published at one node of a cluster is heard at
    /// all, so any will do.
    pub(super) async fn listening(&self, channel: &str) -> Result<PubSub, Fault> {
        let late = || Fault::Away("nobody to listen to in time".to_owned());
        let table = tokio::time::timeout(self.reply_timeout, self.routes.table());
        let nodes = table.await.map_err(|_| late())??.nodes();
        let any = rand::random::<u32>() as usize % nodes.len().max(1);
        let node = nodes.get(any).ok_or_else(late)?;
        let listener = node.connector.listening(channel).await;
        listener.map_err(|error| {
            self.routes.suspect();
            Fault::Said(error)
        })
    }

    /// Whether confirmations say that a write is on a disk, wherever something durable was written.
    pub(super) fn confirms_disks(&self) -> bool {
        let told = self.routes.confirmations();
        !told.is_empty() && told.into_iter().all(|confirms| confirms)
    }

    /// Goes to the server that holds a slot, and on from there where it says so.
    pub(super) async fn go(&self, slot: u16, errand: &Errand<'_>) -> Result<(Value, bool), Fault> {
        let mut on_its_way: Option<Arc<Node>> = None;
        let mut left: Option<Arc<Node>> = None;
        for _ in 0..HOPS {
            let asking = on_its_way.is_some();
            let node = match on_its_way.take() {
                Some(node) => node,
                None => self.routes.node(slot).await?,
            };
            let fault = match run(&node, errand, asking).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let is_cluster = *self.routes.topology() == Topology::Cluster;
            let there = |at: &str| Endpoint::told_by(at, &node.at.host);
            match fault.hint() {
                Hint::Moved(at) if is_cluster => match there(&at) {
                    Some(at) => self.routes.moved(slot, &at)?,
                    None => return Err(fault),
                },
                Hint::Ask(at) if is_cluster => match there(&at) {
                    Some(at) => on_its_way = Some(self.routes.at(&at)?),
                    None => return Err(fault),
                },
                // Somebody else may be known as master already; if not, the caller asks again.
                Hint::NotMaster if left.as_ref().is_none_or(|left| left.at != node.at) => {
                    self.routes.suspect();
                    left = Some(node);
                }
                Hint::NotMaster | Hint::Suspect => {
                    self.routes.suspect();
                    return Err(fault);
                }
                Hint::Moved(_) | Hint::Ask(_) | Hint::Silent => return Err(fault),
            }
        }
        Err(Fault::Away(format!("sent on {HOPS} times")))
    }

    /// Gives an operation so long. One that takes longer casts suspicion on the way.
    pub(super) async fn bounded<T>(
        &self,
        limit: Duration,
        doing: impl FnOnce() -> String,
        operation: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(limit, operation).await {
            Ok(answer) => answer.map_err(|fault| {
                if fault.hint() == Hint::Suspect {
                    self.routes.suspect();
                }
                self.as_told(&fault, doing())
            }),
            Err(_) => {
                self.routes.suspect();
                Err(away(doing(), format!("no answer within {limit:?}")))
            }
        }
    }
}

async fn run(node: &Node, errand: &Errand<'_>, asking: bool) -> Result<(Value, bool), Fault> {
    match errand {
        Errand::Ask(ask) => Ok((node.ask(ask, asking).await?, true)),
        Errand::Steady(ask) => Ok((node.ask_steadily(ask, asking).await?, true)),
        Errand::Durable(call) => node.durable().call(Arc::clone(call), asking).await,
    }
}
