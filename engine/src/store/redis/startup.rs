//! What is looked at before anything is entrusted to a server: a Redis that evicts keys or forgets
//! them at a restart loses credentials, and nobody would notice before the tokens are gone.

use std::collections::BTreeMap;

use deadpool_redis::redis::cmd;

use super::address::Topology;
use super::errors::refused;
use super::info::Info;
use super::keys::Keys;
use super::migration::{self, Meta};
use super::node::Node;
use super::options::RedisOptions;
use super::ways::Ways;
use crate::store::StoreError;

/// The oldest server whose scripts do what ours need.
const OLDEST: (u32, u32) = (7, 0);
/// Keys looked at a step while checking that a key space is empty.
const SCAN_STEP: usize = 1000;

/// Looks at every server that holds keys and at the key space, and makes the latter where that is
/// allowed. Of a cluster, nodes may be away that have nothing to say here. Returns also what is not forbidden but should be known.
pub(super) async fn check(
    ways: &Ways,
    options: &RedisOptions,
) -> Result<(Meta, Vec<String>), StoreError> {
    let mut warnings = Vec::new();
    let nodes = ways.table("looking at the servers").await?.nodes();
    for node in &nodes {
        let told = match server(ways, node, options).await {
            // The others go on without it, and so does whoever starts now: else a fleet that is restarted
            // meanwhile would stop altogether.
            Err(StoreError::Away { why, .. }) if nodes.len() > 1 => vec![format!(
                "it does not answer, and was not looked at ({why}): what it holds stands still until it \
                 or its replica does"
            )],
            told => told?,
        };
        // Where there are several, it matters which.
        let told = told.into_iter();
        warnings.extend(told.map(|warning| match nodes.len() {
            1 => warning,
            _ => format!("{}: {warning}", node.at),
        }));
    }
    warnings.extend(replication(ways.routes.topology(), options.replicas));
    let meta = key_space(ways, options).await?;
    for warning in &warnings {
        tracing::warn!(server = options.masked_url(), "{warning}");
    }
    Ok((meta, warnings))
}

/// Looks at one server.
async fn server(
    ways: &Ways,
    node: &Node,
    options: &RedisOptions,
) -> Result<Vec<String>, StoreError> {
    let text: String = ways
        .query_at("looking at the server", node, &cmd("INFO"))
        .await?;
    let info = Info::parse(&text);
    let name = match ways.routes.topology() {
        Topology::One => "the server".to_owned(),
        _ => format!("the server {}", node.at),
    };
    version(&name, &info)?;
    eviction(&name, &info)?;
    alone(&name, &info, ways.routes.topology())?;
    if info.tells_of_its_file() {
        syncs(&name, setting(ways, node, "appendfsync").await?.as_deref())?;
    }
    let saves = if info.is("aof_enabled", "1") {
        Some(true)
    } else {
        snapshots(ways, node).await?
    };
    let kept = persistence(&name, &info, saves, options.allow_volatile)?;
    Ok(kept
        .into_iter()
        .chain(confirming(&info, options.replicas))
        .collect())
}

/// Who is to confirm what must not be lost should be there.
fn confirming(info: &Info, replicas: u32) -> Option<String> {
    let following = info.get("connected_slaves").unwrap_or("0");
    let enough = following.parse().is_ok_and(|there: u32| there >= replicas);
    (!enough).then(|| {
        format!(
            "{replicas} replicas have to confirm what must not be lost (EVERGREEN_REPLICAS), and \
             {following} follow: until there are enough of them nothing of that kind is confirmed, and \
             no activity begins"
        )
    })
}

/// A node of a cluster holds some keys today and others tomorrow.
fn alone(name: &str, info: &Info, topology: &Topology) -> Result<(), StoreError> {
    if info.is("cluster_enabled", "1") && *topology != Topology::Cluster {
        let why = "it is one node of a cluster: use redis+cluster:// and name several of its nodes";
        return Err(refused(name, why));
    }
    Ok(())
}

/// Who lets servers take over from each other should know what that may cost.
fn replication(topology: &Topology, replicas: u32) -> Option<String> {
    let several = *topology != Topology::One;
    (several && replicas == 0).then(|| {
        "no replica has to confirm what must not be lost (EVERGREEN_REPLICAS is 0): a replica that \
         takes over may lack what was acknowledged a moment before; set it to 1 or more"
            .to_owned()
    })
}

fn version(name: &str, info: &Info) -> Result<(), StoreError> {
    let (major, minor) = info.version();
    if (major, minor) >= OLDEST {
        return Ok(());
    }
    let why = format!(
        "it is version {major}.{minor}; at least {}.{} is needed",
        OLDEST.0, OLDEST.1
    );
    Err(refused(name, why))
}

fn eviction(name: &str, info: &Info) -> Result<(), StoreError> {
    match info.get("maxmemory_policy") {
        None | Some("noeviction") => Ok(()),
        Some(policy) => {
            let why = format!(
                "its maxmemory-policy is {policy}, which throws workflows and credentials away when \
                 memory is full: set `maxmemory-policy noeviction`"
            );
            Err(refused(name, why))
        }
    }
}

/// Whether the server takes snapshots; `None` where it does not let us ask, as managed services do.
async fn snapshots(ways: &Ways, node: &Node) -> Result<Option<bool>, StoreError> {
    let save = setting(ways, node, "save").await?;
    Ok(save.map(|save| !save.is_empty()))
}

/// A setting of the server; `None` where it does not let us ask.
async fn setting(ways: &Ways, node: &Node, name: &str) -> Result<Option<String>, StoreError> {
    let mut ask = cmd("CONFIG");
    ask.arg("GET").arg(name);
    let doing = "asking for a setting";
    let told: Result<BTreeMap<String, String>, _> = ways.query_at(doing, node, &ask).await;
    match told {
        Ok(mut told) => Ok(Some(told.remove(name).unwrap_or_default())),
        Err(StoreError::Refused { .. }) => Ok(None),
        Err(away) => Err(away),
    }
}

/// A server that leaves it to the system when its file reaches the disk never confirms that it has: nothing
/// that needs to be confirmed would ever begin.
fn syncs(name: &str, appendfsync: Option<&str>) -> Result<(), StoreError> {
    if appendfsync != Some("no") {
        return Ok(());
    }
    let why = "its appendfsync is no, so it never confirms that a write is on the disk, and nothing would be \
               begun on the strength of it: set `appendfsync everysec`";
    Err(refused(name, why))
}

/// Returns a warning where a restart loses something, or may.
fn persistence(
    name: &str,
    info: &Info,
    saves: Option<bool>,
    allow_volatile: bool,
) -> Result<Option<String>, StoreError> {
    if info.is("aof_enabled", "1") {
        return Ok(None);
    }
    Ok(Some(match saves {
        Some(true) => "the server only takes snapshots, a restart loses what came after the last \
                       one: set `appendonly yes`"
            .to_owned(),
        None => "the server has no append-only file and does not say whether it takes snapshots: \
                 make sure that a restart keeps the data"
            .to_owned(),
        Some(false) if allow_volatile => {
            "the server keeps nothing over a restart, as was allowed".to_owned()
        }
        Some(false) => {
            let why = "it keeps nothing over a restart: set `appendonly yes`, or allow a volatile \
                       store if losing every credential is acceptable";
            return Err(refused(name, why));
        }
    }))
}

/// The key space, made now where there is none and nothing else lies in its place.
async fn key_space(ways: &Ways, options: &RedisOptions) -> Result<Meta, StoreError> {
    let meta = match migration::read(ways, options).await? {
        Some(meta) => meta,
        None => {
            let name = &options.prefix;
            if !options.create {
                let why = format!("there is no {name}:meta: run `evergreen migrate`");
                return Err(refused("the key space", why));
            }
            if !is_empty(ways, options).await? {
                let why = format!(
                    "there are keys under {name}: but no {name}:meta; restore it, choose another \
                     prefix, or run `evergreen migrate` to declare them of this version"
                );
                return Err(refused("the key space", why));
            }
            migration::migrate(options, options.partitions_to_make())
                .await?
                .meta
        }
    };
    migration::check(&meta, options.partitions)?;
    Ok(meta)
}

async fn is_empty(ways: &Ways, options: &RedisOptions) -> Result<bool, StoreError> {
    let everything = Keys::new(&options.prefix, 1).everything();
    let doing = "looking for keys";
    for node in ways.table(doing).await?.nodes() {
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(&everything);
            scan.arg("COUNT").arg(SCAN_STEP);
            let (next, keys): (String, Vec<String>) = ways.query_at(doing, &node, &scan).await?;
            if !keys.is_empty() {
                return Ok(false);
            }
            if next == "0" {
                break;
            }
            cursor = next;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> Info {
        Info::parse(text)
    }

    #[test]
    fn a_server_that_evicts_is_refused_with_what_to_set() {
        let why = eviction("the server", &info("maxmemory_policy:allkeys-lru")).unwrap_err();
        assert!(why.to_string().contains("maxmemory-policy noeviction"));
        eviction("the server", &info("maxmemory_policy:noeviction")).unwrap();
    }

    #[test]
    fn a_server_that_forgets_is_refused_unless_allowed() {
        let (aof, none) = (info("aof_enabled:1"), info("aof_enabled:0"));
        assert!(
            persistence("the server", &aof, Some(true), false)
                .unwrap()
                .is_none()
        );
        assert!(persistence("the server", &none, Some(false), false).is_err());
        assert!(
            persistence("the server", &none, Some(false), true)
                .unwrap()
                .is_some()
        );
        let snapshots = persistence("the server", &none, Some(true), false)
            .unwrap()
            .unwrap();
        assert!(snapshots.contains("appendonly yes"));
        assert!(
            persistence("the server", &none, None, false)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn replicas_that_are_missing_are_warned_of() {
        let two = info("connected_slaves:2");
        assert_eq!(confirming(&two, 2), None);
        assert!(confirming(&two, 3).unwrap().contains("2 follow"));
        assert_eq!(confirming(&info(""), 0), None);
    }

    #[test]
    fn a_server_that_never_syncs_is_refused_with_what_to_set() {
        let why = syncs("the server", Some("no")).unwrap_err();
        assert!(why.to_string().contains("appendfsync everysec"));
        for fine in [Some("everysec"), Some("always"), None] {
            syncs("the server", fine).unwrap();
        }
    }

    #[test]
    fn an_old_server_is_refused() {
        assert!(version("the server", &info("redis_version:6.2.14")).is_err());
        version("the server", &info("redis_version:7.0.0")).unwrap();
    }

    #[test]
    fn a_node_of_a_cluster_is_not_taken_for_a_server_alone() {
        let node = info("cluster_enabled:1");
        let why = alone("the server", &node, &Topology::One).unwrap_err();
        assert!(why.to_string().contains("redis+cluster://"));
        alone("the server", &node, &Topology::Cluster).unwrap();
        alone("the server", &info("cluster_enabled:0"), &Topology::One).unwrap();
    }

    #[test]
    fn a_failover_that_may_lose_something_is_warned_of() {
        assert!(
            replication(&Topology::Cluster, 0)
                .unwrap()
                .contains("EVERGREEN_REPLICAS")
        );
        assert_eq!(replication(&Topology::Cluster, 1), None);
        assert_eq!(replication(&Topology::One, 0), None);
    }
}
