//! Servers that belong together: a master with replicas and Sentinels, and a cluster.

use std::rc::Rc;

use evergreen_engine::store::redis::RedisOptions;
use redis::aio::MultiplexedConnection;

use super::forming::{self, MASTER, connect, tell, until};
use super::{Server, fresh};

/// Every write reaches the disk before it is answered; a replica follows as soon as it is there.
const SETTINGS: [&str; 8] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "1",
];

/// A master, its replicas, and three Sentinels.
pub(crate) struct Watched {
    /// The master of the beginning comes first.
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

impl Watched {
    pub(crate) async fn start(replicas: usize) -> Self {
        let master = Server::start(&SETTINGS);
        let port = master.port().to_string();
        let follow = [&SETTINGS[..], &["--replicaof", "127.0.0.1", &port]].concat();
        let mut servers = vec![master];
        servers.extend((0..replicas).map(|_| Server::start(&follow)));
        servers[0]
            .has_replicas(u32::try_from(replicas).unwrap())
            .await;
        let watch = servers[0].port();
        let sentinels: Vec<Server> = (0..3).map(|_| Server::sentinel(watch)).collect();
        let ports: Vec<u16> = sentinels.iter().map(Server::port).collect();
        forming::sentinels(&ports, replicas).await;
        Self { servers, sentinels }
    }

    pub(crate) fn url(&self) -> String {
        sentinels_url(&self.sentinels)
    }

    /// The server that the Sentinels call master, once that is not `old`.
    pub(crate) async fn successor(&self, old: u16) -> usize {
        self.told_by(0, old).await
    }

    /// The server that this Sentinel calls master, once that is not `old`.
    pub(crate) async fn told_by(&self, sentinel: usize, old: u16) -> usize {
        let port = until("another master", async || {
            let (_, port): (String, String) = tell(
                self.sentinels[sentinel].port(),
                &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER],
            )
            .await
            .map_err(|e| e.to_string())?;
            let port: u16 = port.parse().unwrap();
            if port == old {
                Err(port.to_string())
            } else {
                Ok(port)
            }
        })
        .await;
        let found = self.servers.iter().position(|server| server.port() == port);
        found.expect("one of ours")
    }
}

/// The way that these Sentinels know.
pub(crate) fn sentinels_url(sentinels: &[Server]) -> String {
    format!("redis+sentinel://{}/0?master={MASTER}", hosts(sentinels))
}

/// A cluster; its first servers were masters at the beginning, and replica `i` follows master `i`.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    pub(crate) async fn start(masters: usize, replicas: usize) -> Self {
        let settings = [&SETTINGS[..], &forming::NODE].concat();
        let servers: Vec<Server> = (0..masters + replicas)
            .map(|_| Server::start(&settings))
            .collect();
        let ports: Vec<u16> = servers.iter().map(Server::port).collect();
        forming::cluster(&ports, masters).await;
        Self { servers }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+cluster://{}", hosts(&self.servers))
    }

    /// The port of the master that holds a key, as the servers that run see it.
    pub(crate) async fn holder(&self, key: &str) -> u16 {
        until("a node that says who holds a key", async || {
            let mut seen = String::new();
            for server in &self.servers {
                let found = async {
                    let slot = tell(server.port(), &["CLUSTER", "KEYSLOT", key]).await?;
                    holder(server.port(), slot).await
                };
                match found.await {
                    Ok(Some(port)) => return Ok(port),
                    Ok(None) => seen = format!("no slot of {key}"),
                    Err(error) => seen = error.to_string(),
                }
            }
            Err(seen)
        })
        .await
    }

    /// The key that matches a pattern, of those that run.
    pub(crate) async fn key(&self, pattern: &str) -> String {
        until("a key that matches", async || {
            for server in &self.servers {
                let keys = tell::<Vec<String>>(server.port(), &["KEYS", pattern]).await;
                if let Some(key) = keys.unwrap_or_default().into_iter().next() {
                    return Ok(key);
                }
            }
            Err(pattern.to_owned())
        })
        .await
    }

    pub(crate) fn at(&self, port: u16) -> usize {
        let found = self.servers.iter().position(|server| server.port() == port);
        found.expect("one of ours")
    }
}

/// The port of the master that holds a slot, as the server at this port sees it.
pub(crate) async fn holder(port: u16, slot: u16) -> redis::RedisResult<Option<u16>> {
    let slot = i64::from(slot);
    let shares: Vec<redis::Value> = tell(port, &["CLUSTER", "SLOTS"]).await?;
    for share in shares {
        let redis::Value::Array(parts) = share else {
            continue;
        };
        let [
            redis::Value::Int(first),
            redis::Value::Int(last),
            redis::Value::Array(master),
            ..,
        ] = &parts[..]
        else {
            continue;
        };
        if let Some(redis::Value::Int(port)) = master.get(1)
            && (*first..=*last).contains(&slot)
        {
            return Ok(u16::try_from(*port).ok());
        }
    }
    Ok(None)
}

fn hosts(servers: &[Server]) -> String {
    let hosts: Vec<String> = servers
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port()))
        .collect();
    hosts.join(",")
}

/// Where a store of the tests lies.
pub(crate) enum Place {
    One(Server),
    Watched(Watched),
    Cluster(Cluster),
}

impl Place {
    pub(crate) async fn watched() -> Rc<Self> {
        Rc::new(Self::Watched(Watched::start(1).await))
    }

    pub(crate) async fn cluster() -> Rc<Self> {
        Rc::new(Self::Cluster(Cluster::start(3, 0).await))
    }

    /// Options of a fresh key space.
    pub(crate) fn options(&self) -> RedisOptions {
        match self {
            Self::One(server) => server.options(),
            Self::Watched(watched) => fresh(&watched.url()),
            Self::Cluster(cluster) => fresh(&cluster.url()),
        }
    }

    /// A connection to the server that holds a key.
    pub(crate) async fn raw(&self, key: &str) -> MultiplexedConnection {
        match self {
            Self::One(server) => server.raw().await,
            Self::Watched(watched) => watched.servers[0].raw().await,
            Self::Cluster(cluster) => connect(cluster.holder(key).await).await.unwrap(),
        }
    }
}
