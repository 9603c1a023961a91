//! Which server to go to: the table of slots, and how it is kept right.
//!
//! Whoever finds that a server does not answer, or is not what it was, says so ([`Routes::suspect`]);
//! the next to ask for a way first looks anew: at the Sentinels for the master, at any node of a
//! cluster for its slots. One looks, the others wait for it. The known table is looked over now and
//! then in the background, too: a master that was replaced while it was cut off may go on answering
//! those who are cut off with it. Where nobody can be asked, what is known stays in use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use deadpool_redis::redis::{Value, from_redis_value, pipe};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::address::{Address, Topology};
use super::endpoint::Endpoint;
use super::errors::Fault;
use super::node::Node;
use super::options::RedisOptions;
use super::sentinel::Sentinels;
use super::slots::{Share, Table, shares};

/// Between two looks at the topology although somebody suspects it again.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks although nobody suspects it.
const REGULARLY: Duration = Duration::from_secs(2);
/// How long another node is waited for once one has answered that takes no part in the cluster.
const OTHERS: Duration = Duration::from_millis(250);

/// The way to each slot.
pub(super) struct Routes {
    address: Address,
    options: RedisOptions,
    sentinels: Option<Sentinels>,
    table: RwLock<Arc<Table>>,
    /// Every server there is, so that the ways to it are kept while its slots come and go.
    nodes: Mutex<HashMap<Endpoint, Arc<Node>>>,
    suspected: AtomicBool,
    /// Held while looking; when that was.
    looked: tokio::sync::Mutex<Option<Instant>>,
    next_look: Mutex<Instant>,
}

impl Routes {
    pub(super) fn new(address: Address, options: &RedisOptions) -> Result<Arc<Self>, Fault> {
        if address.needs_tls() {
            // Without one the first connection would panic. Another may have been installed by the
            // program; it stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let sentinels = match &address.topology {
            Topology::Sentinel { master, login, tls } => {
                let sentinels = Sentinels::new(master, &address.hosts, (login, *tls), options);
                Some(sentinels?)
            }
            Topology::One | Topology::Cluster => None,
        };
        let routes = Self {
            sentinels,
            table: RwLock::default(),
            nodes: Mutex::default(),
            // One server is known; who is master, or has which slots, has to be asked for.
            suspected: AtomicBool::new(address.topology != Topology::One),
            looked: tokio::sync::Mutex::default(),
            next_look: Mutex::new(Instant::now() + REGULARLY),
            options: options.clone(),
            address,
        };
        if let (Topology::One, [only, ..]) = (&routes.address.topology, &routes.address.hosts[..]) {
            routes.know(Table::of_one(routes.at(only)?));
        }
        Ok(Arc::new(routes))
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.address.topology
    }

    /// The server that holds a slot.
    pub(super) async fn node(self: &Arc<Self>, slot: u16) -> Result<Arc<Node>, Fault> {
        let table = self.table().await?;
        let uncovered = || Fault::Away(format!("no server holds slot {slot}"));
        match table.holder(slot) {
            Some(node) => Ok(Arc::clone(node)),
            None => {
                self.suspect();
                Err(uncovered())
            }
        }
    }

    /// The table as it is known, looked at anew if somebody suspects it.
    pub(super) async fn table(self: &Arc<Self>) -> Result<Arc<Table>, Fault> {
        if self.suspected.load(Ordering::Acquire) {
            self.look(false).await?;
        } else if self.address.topology != Topology::One && self.is_time() {
            let routes = Arc::clone(self);
            // What it finds, and whether it finds anything, is told where it is kept.
            tokio::spawn(async move { routes.look(true).await.is_ok() });
        }
        Ok(self.known())
    }

    /// Of every server that something durable was written to: whether its confirmations say that a
    /// write is on a disk.
    pub(super) fn confirmations(&self) -> Vec<bool> {
        let nodes = self.known().nodes();
        nodes
            .iter()
            .filter_map(|node| node.confirms_disks())
            .collect()
    }

    /// Something is not as the table says.
    pub(super) fn suspect(&self) {
        if self.address.topology != Topology::One {
            self.suspected.store(true, Ordering::Release);
        }
    }

    /// A node has said where a slot went. The rest of the table is looked at soon.
    pub(super) fn moved(&self, slot: u16, to: &Endpoint) -> Result<(), Fault> {
        let node = self.at(to)?;
        self.know(self.known().with(slot, node));
        self.suspect();
        Ok(())
    }

    /// A server that was named.
    pub(super) fn at(&self, at: &Endpoint) -> Result<Arc<Node>, Fault> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(at) {
            return Ok(Arc::clone(node));
        }
        let node = Node::new(at.clone(), &self.address, &self.options)?;
        nodes.insert(at.clone(), Arc::clone(&node));
        Ok(node)
    }

    fn known(&self) -> Arc<Table> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&table)
    }

    fn know(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    fn is_time(&self) -> bool {
        let mut next = self
            .next_look
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_time = Instant::now() >= *next;
        if is_time {
            *next = Instant::now() + REGULARLY;
        }
        is_time
    }

    /// Looks at the topology, unless somebody just did. Fails only while nothing is known.
    async fn look(&self, unasked: bool) -> Result<(), Fault> {
        let mut looked = self.looked.lock().await;
        let known = self.known();
        // What was suspected meanwhile stays suspected.
        if looked.is_some_and(|at| at.elapsed() < PAUSE) && !known.is_empty() {
            return Ok(());
        }
        // Whoever suspects something from here on is heard.
        let suspected = self.suspected.swap(false, Ordering::AcqRel);
        if !(suspected || unasked) {
            return Ok(());
        }
        let limit = self.options.reply_timeout / 2;
        let found = match tokio::time::timeout(limit, self.find()).await {
            Ok(found) => found,
            Err(_) => Err(Fault::Away(format!(
                "the topology is not known after {limit:?}"
            ))),
        };
        *looked = Some(Instant::now());
        match found {
            Ok(table) => {
                self.forget_all_but(&table);
                self.know(table);
                Ok(())
            }
            Err(fault) if known.is_empty() => {
                self.suspect();
                Err(fault)
            }
            Err(fault) => {
                tracing::debug!(?fault, "the topology stays as it is known");
                Ok(())
            }
        }
    }

    async fn find(&self) -> Result<Table, Fault> {
        match &self.sentinels {
            Some(sentinels) => Ok(Table::of_one(self.at(&sentinels.master().await?)?)),
            None => self.ask_the_cluster().await,
        }
    }

    /// Asks all that are known at once. Who answers first is believed, if it takes part: since a node that
    /// holds something else than was told says where it went. One that is cut off from the others knows
    /// nothing of that, so it is believed only where nobody else answers soon.
    async fn ask_the_cluster(&self) -> Result<Table, Fault> {
        let mut nodes = self.known().nodes();
        for host in &self.address.hosts {
            if !nodes.iter().any(|node| node.at == *host) {
                nodes.push(self.at(host)?);
            }
        }
        let ask = async |node: Arc<Node>| {
            let mut questions = pipe();
            questions.cmd("CLUSTER").arg("SLOTS");
            questions.cmd("CLUSTER").arg("INFO");
            let told = node.pipeline(&mut questions).await;
            (node, told)
        };
        let mut asked: FuturesUnordered<_> = nodes.into_iter().map(ask).collect();
        let mut why = Fault::Away("no node of the cluster is known".to_owned());
        let mut cut_off: Option<(Vec<Share<Endpoint>>, tokio::time::Instant)> = None;
        loop {
            let next = match &cut_off {
                Some((_, until)) => tokio::time::timeout_at(*until, asked.next()).await,
                None => Ok(asked.next().await),
            };
            let Ok(Some((node, told))) = next else { break };
            let told = told.and_then(|answers| {
                let mut answers = answers.into_iter();
                let slots = answers.next().unwrap_or(Ok(Value::Nil))?;
                let state = answers.next().unwrap_or(Ok(Value::Nil))?;
                Ok((slots, from_redis_value::<String>(state).unwrap_or_default()))
            });
            match told {
                Ok((told, state)) => match shares(told, &node.at.host) {
                    Some(told) if !told.is_empty() => {
                        if state.contains("cluster_state:ok") {
                            return self.table_of(told);
                        }
                        let until = tokio::time::Instant::now() + OTHERS;
                        cut_off.get_or_insert((told, until));
                    }
                    Some(_) => why = Fault::Away(format!("{} knows of no slots", node.at)),
                    None => {
                        let told = format!("what {} tells of its slots cannot be read", node.at);
                        why = Fault::Refused(told);
                    }
                },
                Err(Fault::Said(error)) if error.to_string().contains("cluster support") => {
                    let told = format!(
                        "{} is no node of a cluster: use redis:// or redis+sentinel://",
                        node.at
                    );
                    why = Fault::Refused(told);
                }
                Err(fault) => why = fault,
            }
        }
        match cut_off {
            Some((told, _)) => self.table_of(told),
            None => Err(why),
        }
    }

    fn table_of(&self, told: Vec<Share<Endpoint>>) -> Result<Table, Fault> {
        let share = |share: Share<Endpoint>| {
            Ok(Share {
                first: share.first,
                last: share.last,
                holder: self.at(&share.holder)?,
            })
        };
        let shares: Result<Vec<_>, Fault> = told.into_iter().map(share).collect();
        Ok(Table::of(shares?))
    }

    /// Lets go of servers that are gone. What is under way on them ends there.
    fn forget_all_but(&self, table: &Table) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = table.nodes();
        let named = &self.address.hosts;
        nodes.retain(|at, _| named.contains(at) || kept.iter().any(|node| node.at == *at));
    }
}
