//! What is looked at before anything is entrusted to a server: a Redis that evicts keys or forgets
//! them at a restart loses credentials, and nobody would notice before the tokens are gone.

use std::collections::BTreeMap;

use deadpool_redis::redis::cmd;

use super::connection::Connector;
use super::errors::refused;
use super::info::Info;
use super::keys::Keys;
use super::migration::{self, Meta};
use super::options::RedisOptions;
use crate::store::StoreError;

/// The oldest server whose scripts do what ours need.
const OLDEST: (u32, u32) = (7, 0);
/// Keys looked at a step while checking that a key space is empty.
const SCAN_STEP: usize = 1000;

/// Looks at the server and at the key space, and makes the latter where that is allowed. Returns also
/// what is not forbidden but should be known.
pub(super) async fn check(
    connector: &Connector,
    options: &RedisOptions,
) -> Result<(Meta, Vec<String>), StoreError> {
    let text: String = connector
        .query("looking at the server", &cmd("INFO"))
        .await?;
    let info = Info::parse(&text);
    let mut warnings = Vec::new();
    version(&info)?;
    eviction(&info)?;
    let saves = if info.is("aof_enabled", "1") {
        Some(true)
    } else {
        snapshots(connector).await?
    };
    if let Some(warning) = persistence(&info, saves, options.allow_volatile)? {
        warnings.push(warning);
    }
    let meta = key_space(connector, options).await?;
    for warning in &warnings {
        tracing::warn!(server = options.masked_url(), "{warning}");
    }
    Ok((meta, warnings))
}

fn version(info: &Info) -> Result<(), StoreError> {
    let (major, minor) = info.version();
    if (major, minor) >= OLDEST {
        return Ok(());
    }
    let why = format!(
        "it is version {major}.{minor}; at least {}.{} is needed",
        OLDEST.0, OLDEST.1
    );
    Err(refused("the server", why))
}

fn eviction(info: &Info) -> Result<(), StoreError> {
    match info.get("maxmemory_policy") {
        None | Some("noeviction") => Ok(()),
        Some(policy) => {
            let why = format!(
                "its maxmemory-policy is {policy}, which throws workflows and credentials away when \
                 memory is full: set `maxmemory-policy noeviction`"
            );
            Err(refused("the server", why))
        }
    }
}

/// Whether the server takes snapshots; `None` where it does not let us ask, as managed services do.
async fn snapshots(connector: &Connector) -> Result<Option<bool>, StoreError> {
    let mut ask = cmd("CONFIG");
    ask.arg("GET").arg("save");
    match connector
        .query::<BTreeMap<String, String>>("asking for snapshots", &ask)
        .await
    {
        Ok(answer) => Ok(Some(
            answer.get("save").is_some_and(|save| !save.is_empty()),
        )),
        Err(StoreError::Refused { .. }) => Ok(None),
        Err(away) => Err(away),
    }
}

/// Returns a warning where a restart loses something, or may.
fn persistence(
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
            return Err(refused("the server", why));
        }
    }))
}

/// The key space, made now where there is none and nothing else lies in its place.
async fn key_space(connector: &Connector, options: &RedisOptions) -> Result<Meta, StoreError> {
    let meta = match migration::read(connector, options).await? {
        Some(meta) => meta,
        None => {
            let name = &options.prefix;
            if !options.create {
                let why = format!("there is no {name}:meta: run `evergreen migrate`");
                return Err(refused("the key space", why));
            }
            if !is_empty(connector, options).await? {
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

async fn is_empty(connector: &Connector, options: &RedisOptions) -> Result<bool, StoreError> {
    let everything = Keys::new(&options.prefix, 1).everything();
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(&everything);
        scan.arg("COUNT").arg(SCAN_STEP);
        let (next, keys): (String, Vec<String>) =
            connector.query("looking for keys", &scan).await?;
        if !keys.is_empty() {
            return Ok(false);
        }
        if next == "0" {
            return Ok(true);
        }
        cursor = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> Info {
        Info::parse(text)
    }

    #[test]
    fn a_server_that_evicts_is_refused_with_what_to_set() {
        let why = eviction(&info("maxmemory_policy:allkeys-lru")).unwrap_err();
        assert!(why.to_string().contains("maxmemory-policy noeviction"));
        eviction(&info("maxmemory_policy:noeviction")).unwrap();
    }

    #[test]
    fn a_server_that_forgets_is_refused_unless_allowed() {
        let (aof, none) = (info("aof_enabled:1"), info("aof_enabled:0"));
        assert!(persistence(&aof, Some(true), false).unwrap().is_none());
        assert!(persistence(&none, Some(false), false).is_err());
        assert!(persistence(&none, Some(false), true).unwrap().is_some());
        let snapshots = persistence(&none, Some(true), false).unwrap().unwrap();
        assert!(snapshots.contains("appendonly yes"));
        assert!(persistence(&none, None, false).unwrap().is_some());
    }

    #[test]
    fn an_old_server_is_refused() {
        assert!(version(&info("redis_version:6.2.14")).is_err());
        version(&info("redis_version:7.0.0")).unwrap();
    }
}
