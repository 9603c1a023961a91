//! Servers that belong together: a master with replicas and Sentinels, and a cluster.
//!
//! Always private processes of this machine, of the same program as any other Redis of the tests: in
//! containers each would have to be told the addresses under which the others and the test see it.

#[allow(
    clippy::unwrap_used,
    dead_code,
    reason = "shared with the engine's tests, where what cannot go on ends"
)]
#[path = "../../engine/tests/support/forming.rs"]
mod forming;

use crate::redis::{RedisServer, Sentinel, free_port};
use crate::tls::Tls;
use forming::{MASTER, SLOTS, tell, until};

/// A replica follows as soon as it is there, and is missed as soon as it is gone.
const FOLLOWING: [&str; 2] = ["--repl-ping-replica-period", "1"];

/// Masters of a cluster.
const MASTERS: usize = 3;

/// A master, its replicas, and three Sentinels, two of which decide.
#[derive(Debug)]
pub struct Watched {
    /// The master of the beginning comes first.
    pub servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
    /// Where each of both is reached by who wants TLS.
    tls: Option<(Vec<u16>, Vec<u16>)>,
}

impl Watched {
    /// Starts them; when this returns, all know each other.
    pub async fn start(replicas: usize) -> Self {
        let master = RedisServer::start_process(&FOLLOWING).await;
        let port = master.port().to_string();
        let follow = [&FOLLOWING[..], &["--replicaof", "127.0.0.1", &port]].concat();
        let mut servers = vec![master];
        for _ in 0..replicas {
            servers.push(RedisServer::start_process(&follow).await);
        }
        let wanted = replicas.to_string();
        until("a master with replicas", async || {
            let have = servers[0]
                .try_cli::<String>(&["WAIT", &wanted, "100"])
                .await;
            match have {
                Ok(have) if have == wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let watch = servers[0].port();
        let sentinels: Vec<Sentinel> = (0..3)
            .map(|_| Sentinel::start(|port| forming::sentinel(port, watch)))
            .collect();
        let ports: Vec<u16> = sentinels.iter().map(Sentinel::port).collect();
        forming::sentinels(&ports, replicas).await;
        Self {
            servers,
            sentinels,
            tls: None,
        }
    }

    /// The same, all of whom speak TLS with each other; the Sentinels watch the port for that.
    pub async fn start_over(tls: &Tls, replicas: usize) -> Self {
        let ports: Vec<u16> = (0..=replicas).map(|_| free_port()).collect();
        let mut servers = Vec::new();
        for port in &ports {
            let master = ports[0].to_string();
            let follow = ["--replicaof", "127.0.0.1", &master];
            let follow = if *port == ports[0] { &[][..] } else { &follow };
            let settings = [&FOLLOWING[..], follow].concat();
            servers.push(RedisServer::start_encrypted(tls, *port, &settings).await);
        }
        let watching: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let sentinels: Vec<Sentinel> = (watching.iter())
            .map(|at| {
                Sentinel::start_of(tls.program(), |port| {
                    let own = tls.settings(*at).into_iter();
                    let own: Vec<String> =
                        own.map(|(name, value)| format!("{name} {value}")).collect();
                    let plain = forming::sentinel(port, ports[0]);
                    format!("{}\n{plain}", own.join("\n"))
                })
            })
            .collect();
        let plain: Vec<u16> = sentinels.iter().map(Sentinel::port).collect();
        forming::sentinels(&plain, replicas).await;
        Self {
            servers,
            sentinels,
            tls: Some((ports, watching)),
        }
    }

    /// The URL, as `EVERGREEN_REDIS_URL` wants it.
    pub fn url(&self) -> String {
        let (scheme, hosts) = match &self.tls {
            None => ("redis", hosts(self.sentinels.iter().map(Sentinel::port))),
            Some((_, watching)) => ("rediss", hosts(watching.iter().copied())),
        };
        format!("{scheme}+sentinel://{hosts}/0?master={MASTER}")
    }

    /// The port by which the Sentinels know the server at this place.
    pub fn known_by(&self, place: usize) -> u16 {
        match &self.tls {
            None => self.servers[place].port(),
            Some((ports, _)) => ports[place],
        }
    }

    /// Returns when all Sentinels call another master than the one at the port `old`.
    pub async fn is_replaced(&self, old: u16) {
        for sentinel in &self.sentinels {
            until("another master", async || {
                let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
                let told: (String, u16) = tell(sentinel.port(), &ask)
                    .await
                    .map_err(|error| error.to_string())?;
                if told.1 == old {
                    Err(format!("{told:?}"))
                } else {
                    Ok(())
                }
            })
            .await;
        }
    }
}

/// A cluster; its first servers were masters at the beginning, and each has a replica.
#[derive(Debug)]
pub struct Cluster {
    /// Three masters, and their replicas in the same order.
    pub servers: Vec<RedisServer>,
    /// Where they are reached by who wants TLS.
    tls: Option<Vec<u16>>,
}

impl Cluster {
    /// Starts three masters with a replica each; when this returns, all agree.
    pub async fn start() -> Self {
        let settings = [&FOLLOWING[..], &forming::NODE].concat();
        let mut servers = Vec::new();
        for _ in 0..2 * MASTERS {
            servers.push(RedisServer::start_process(&settings).await);
        }
        let ports: Vec<u16> = servers.iter().map(RedisServer::port).collect();
        forming::cluster(&ports, MASTERS).await;
        Self { servers, tls: None }
    }

    /// The same, all of whom speak TLS with each other.
    pub async fn start_over(tls: &Tls) -> Self {
        let meet: Vec<u16> = (0..2 * MASTERS).map(|_| free_port()).collect();
        let mut servers = Vec::new();
        for port in &meet {
            let encrypted = ["--tls-cluster", "yes"];
            let settings = [&FOLLOWING[..], &forming::NODE, &encrypted].concat();
            servers.push(RedisServer::start_encrypted(tls, *port, &settings).await);
        }
        let ports: Vec<u16> = servers.iter().map(RedisServer::port).collect();
        forming::cluster_meeting_at(&ports, &meet, MASTERS).await;
        Self {
            servers,
            tls: Some(meet),
        }
    }

    /// The URL, as `EVERGREEN_REDIS_URL` wants it.
    pub fn url(&self) -> String {
        let (scheme, hosts) = match &self.tls {
            None => ("redis", hosts(self.servers.iter().map(RedisServer::port))),
            Some(ports) => ("rediss", hosts(ports.iter().copied())),
        };
        format!("{scheme}+cluster://{hosts}")
    }

    /// Another master, for the slot of this key and nothing else; the slot must be empty. It has no replica.
    pub async fn apart(&self, key: &str) -> RedisServer {
        let settings = [&FOLLOWING[..], &forming::NODE].concat();
        let apart = RedisServer::start_process(&settings).await;
        let port = apart.port().to_string();
        let () = self.servers[0]
            .cli(&["CLUSTER", "MEET", "127.0.0.1", &port])
            .await;
        let id: String = apart.cli(&["CLUSTER", "MYID"]).await;
        let slot: u16 = apart.cli(&["CLUSTER", "KEYSLOT", key]).await;
        let everybody = || self.servers.iter().chain([&apart]);
        let known = (self.servers.len() + 1).to_string();
        for server in everybody() {
            until("a cluster in which all know the new one", async || {
                let info = server.try_cli::<String>(&["CLUSTER", "INFO"]).await;
                let info = info.map_err(|error| error.to_string())?;
                let all = forming::field(&info, "cluster_known_nodes") == known;
                if all { Ok(()) } else { Err(info) }
            })
            .await;
        }
        let place = usize::from(slot) / (SLOTS / MASTERS);
        let owner = &self.servers[place.min(MASTERS - 1)];
        let owner: String = owner.cli(&["CLUSTER", "MYID"]).await;
        let slot = slot.to_string();
        let set = ["CLUSTER", "SETSLOT", &slot];
        // Whoever was importing it gets a newer epoch with it, which is what convinces the replicas.
        let () = apart
            .cli(&[&set[..], &["IMPORTING", &owner]].concat())
            .await;
        for server in [&apart].into_iter().chain(&self.servers[..MASTERS]) {
            let () = server.cli(&[&set[..], &["NODE", &id]].concat()).await;
        }
        for server in everybody() {
            until("a slot that all know where it is", async || {
                let nodes = server.try_cli::<String>(&["CLUSTER", "NODES"]).await;
                let nodes = nodes.map_err(|error| error.to_string())?;
                let mut lines = nodes.lines().map(str::trim);
                let there = lines.any(|line| line.starts_with(&id) && line.ends_with(&slot));
                if there { Ok(()) } else { Err(nodes) }
            })
            .await;
        }
        apart
    }

    /// Returns when the replica of the master at this place has taken over.
    pub async fn is_replaced(&self, place: usize) {
        let replica = &self.servers[place + MASTERS];
        until("a replica that took over", async || {
            let role = replica.try_cli::<String>(&["INFO", "replication"]).await;
            let role = role.map_err(|error| error.to_string())?;
            if role.contains("role:master") {
                Ok(())
            } else {
                Err(role)
            }
        })
        .await;
    }
}

fn hosts(ports: impl Iterator<Item = u16>) -> String {
    let hosts: Vec<String> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
    hosts.join(",")
}
