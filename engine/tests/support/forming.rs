//! Makes a cluster, or a set of Sentinels, of servers that run already: what an operator types once.
//! Also used by the harness of the workspace's tests.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult};

/// What a node of a cluster is started with: it is missed after a second, and the others go on without
/// the slots of one that is.
pub(crate) const NODE: [&str; 8] = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "1000",
    "--cluster-require-full-coverage",
    "no",
    "--cluster-replica-validity-factor",
    "0",
];
/// The name that the Sentinels give to the master.
pub(crate) const MASTER: &str = "main";
/// How long forming may take on a machine that is busy with other tests.
const FORMED_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
pub(crate) const SLOTS: usize = 16_384;

/// Sends one command to the server at a port of this machine.
pub(crate) async fn tell<T: FromRedisValue>(port: u16, command: &[&str]) -> RedisResult<T> {
    let (name, arguments) = command.split_first().expect("a command has a name");
    let mut connection = connect(port).await?;
    redis::cmd(name)
        .arg(arguments)
        .query_async(&mut connection)
        .await
}

pub(crate) async fn connect(port: u16) -> RedisResult<MultiplexedConnection> {
    let limit = Duration::from_secs(5);
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limit))
        .set_response_timeout(Some(limit));
    let client = Client::open(("127.0.0.1", port))?;
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// Looks until `look` finds something, and panics with `what` and the last it saw if it does not.
pub(crate) async fn until<T, S: Debug>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, S>,
) -> T {
    let begun = Instant::now();
    let mut pause = tokio::time::interval(LOOK_EVERY);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if begun.elapsed() > FORMED_WITHIN => {
                panic!("not within {FORMED_WITHIN:?}: {what}; last seen {seen:?}")
            }
            Err(_) => pause.tick().await,
        };
    }
}

/// The value of a line of `INFO`, `CLUSTER INFO` and their like.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim()
}

/// Makes a cluster: the first `masters` servers share the slots, each of the others replicates one of
/// them in turn. Returns when all agree.
pub(crate) async fn cluster(ports: &[u16], masters: usize) {
    cluster_meeting_at(ports, ports, masters).await;
}

/// The same, of servers that know each other by other ports than those where they are told.
pub(crate) async fn cluster_meeting_at(ports: &[u16], meet: &[u16], masters: usize) {
    let share = SLOTS / masters;
    for (place, port) in ports.iter().enumerate() {
        let epoch = (place + 1).to_string();
        let () = tell(*port, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch])
            .await
            .unwrap();
        if place < masters {
            let first = place * share;
            let last = if place + 1 == masters {
                SLOTS
            } else {
                first + share
            } - 1;
            let (first, last) = (first.to_string(), last.to_string());
            let () = tell(*port, &["CLUSTER", "ADDSLOTSRANGE", &first, &last])
                .await
                .unwrap();
        }
    }
    for port in &meet[1..] {
        let port = port.to_string();
        let () = tell(ports[0], &["CLUSTER", "MEET", "127.0.0.1", &port])
            .await
            .unwrap();
    }
    let all = ports.len().to_string();
    for port in ports {
        until("a cluster in which all know each other", async || {
            let info: String = tell(*port, &["CLUSTER", "INFO"])
                .await
                .map_err(|e| e.to_string())?;
            let known = field(&info, "cluster_known_nodes") == all;
            if known { Ok(()) } else { Err(info) }
        })
        .await;
    }
    for (place, port) in ports.iter().enumerate().skip(masters) {
        let master: String = tell(ports[place % masters], &["CLUSTER", "MYID"])
            .await
            .unwrap();
        until("a replica that knows its master", async || {
            tell::<()>(*port, &["CLUSTER", "REPLICATE", &master]).await
        })
        .await;
    }
    for port in ports {
        until("a cluster in which all agree", async || {
            let seen = async {
                let slots: redis::Value = tell(*port, &["CLUSTER", "SLOTS"]).await?;
                let info: String = tell(*port, &["CLUSTER", "INFO"]).await?;
                RedisResult::Ok((shape(&slots), info))
            };
            let (told, info) = seen.await.map_err(|error| error.to_string())?;
            let whole = told.len() == masters
                && told.iter().sum::<usize>() == ports.len()
                && field(&info, "cluster_state") == "ok";
            if whole {
                Ok(())
            } else {
                Err(format!("{told:?}: {info}"))
            }
        })
        .await;
    }
    for port in &ports[masters..] {
        until("a replica that is filled", async || {
            let info: String = tell(*port, &["INFO"]).await.map_err(|e| e.to_string())?;
            if field(&info, "master_link_status") == "up" {
                Ok(())
            } else {
                Err(info)
            }
        })
        .await;
    }
}

/// How many servers each share of the slots has.
fn shape(slots: &redis::Value) -> Vec<usize> {
    let redis::Value::Array(shares) = slots else {
        return Vec::new();
    };
    let servers = |share: &redis::Value| match share {
        redis::Value::Array(parts) => parts.len() - 2,
        _ => 0,
    };
    shares.iter().map(servers).collect()
}

/// The configuration of a Sentinel that misses the master after a second. Two of three decide.
pub(crate) fn sentinel(port: u16, master: u16) -> String {
    format!(
        "port {port}\nbind 127.0.0.1\nprotected-mode no\n\
         sentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {MASTER} 1000\n\
         sentinel failover-timeout {MASTER} 6000\n\
         sentinel parallel-syncs {MASTER} 1\n"
    )
}

/// Returns when every Sentinel knows the others and the replicas.
pub(crate) async fn sentinels(ports: &[u16], replicas: usize) {
    let (others, replicas) = ((ports.len() - 1).to_string(), replicas.to_string());
    for port in ports {
        until(
            "Sentinels that know each other and the replicas",
            async || {
                let told: std::collections::BTreeMap<String, String> =
                    tell(*port, &["SENTINEL", "MASTER", MASTER])
                        .await
                        .map_err(|e| e.to_string())?;
                let is =
                    |name: &str, wanted: &str| told.get(name).is_some_and(|value| value == wanted);
                let ready = is("num-other-sentinels", &others)
                    && is("num-slaves", &replicas)
                    && is("flags", "master");
                if ready {
                    Ok(())
                } else {
                    Err(format!("{told:?}"))
                }
            },
        )
        .await;
    }
}
