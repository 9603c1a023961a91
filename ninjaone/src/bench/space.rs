//! A key space for one run, and its end.
//!
//! Its prefix is `evergreen:bench:` and 64 random bits: within what the fleet's own role may touch, and
//! beside everything that belongs to a fleet. It is removed when the run ends, however it ends; only a
//! run that is killed leaves it behind.

use std::sync::Arc;

use evergreen_engine::store::StoreError;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::{Activities, Engine, Limits};

use super::BenchError;
use super::workflow::{Time, Waiter};

/// What every key of every run begins with.
pub const PREFIX: &str = "evergreen:bench:";
/// Memory that one idle workflow is reckoned with before it is known, in bytes, with room to spare.
const RECKONED: u64 = 2048;

/// The key space of one run.
pub struct Space {
    /// The store over it.
    pub store: Arc<RedisStore>,
    /// How it was connected to, for workers.
    pub options: RedisOptions,
}

impl Space {
    /// Makes one on this server. A server that would lose the data of a fleet will do.
    ///
    /// # Errors
    /// The server is away, or one that nothing can be measured at.
    pub async fn make(options: RedisOptions) -> Result<Self, BenchError> {
        Self::make_as_told(RedisOptions {
            allow_volatile: true,
            ..options
        })
        .await
    }

    /// Makes one on this server, if that is as the options want it.
    ///
    /// # Errors
    /// The server is away, or is not as it must be.
    pub async fn make_as_told(options: RedisOptions) -> Result<Self, BenchError> {
        let options = RedisOptions {
            prefix: format!("{PREFIX}{:016x}", rand::random::<u64>()),
            create: true,
            ..options
        };
        let store = RedisStore::connect(options.clone()).await?;
        let space = Self {
            store: Arc::new(store),
            options,
        };
        match space.suits().await {
            Ok(()) => Ok(space),
            Err(why) => {
                space.remove().await?;
                Err(why)
            }
        }
    }

    async fn suits(&self) -> Result<(), BenchError> {
        let info = self.store.info().await?;
        if info.get("cluster_enabled").is_some_and(|on| on == "1") {
            return Err(BenchError::Unsuitable(
                "it is a node of a cluster, whose nodes are measured one by one: run this against a \
                 Redis of its own on such a machine"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Makes sure that so many workflows fit into the server's memory.
    ///
    /// # Errors
    /// When they may not; nothing was written.
    pub async fn has_room_for(&self, workflows: u64) -> Result<(), BenchError> {
        let info = self.store.info().await?;
        let number = |name: &str| info.get(name).and_then(|text| text.parse::<u64>().ok());
        let most = [number("maxmemory"), number("total_system_memory")]
            .into_iter()
            .flatten()
            .filter(|most| *most > 0)
            .min();
        let used = number("used_memory").unwrap_or(0);
        let wanted = workflows.saturating_mul(RECKONED);
        match most {
            Some(most) if used.saturating_add(wanted) > most => {
                Err(BenchError::Unsuitable(format!(
                    "{workflows} workflows may need {} MB, and of {} MB {} are in use: ask for fewer \
                     with --count or --timers, or give the server more memory",
                    wanted >> 20,
                    most >> 20,
                    used >> 20
                )))
            }
            _ => Ok(()),
        }
    }

    /// An engine of this process over it.
    ///
    /// # Errors
    /// The limits contradict each other.
    pub fn engine(&self, limits: Limits, name: &str) -> Result<Engine, BenchError> {
        engine(Arc::clone(&self.store), limits, name)
    }

    /// The version of the server, and what it is called.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn server(&self) -> Result<String, StoreError> {
        let info = self.store.info().await?;
        let of = |name: &str| info.get(name).map(String::as_str);
        let version = of("valkey_version").or(of("redis_version"));
        let name = of("server_name").unwrap_or("redis");
        Ok(format!("{name} {}", version.unwrap_or("of no version")))
    }

    /// Removes every key of it.
    ///
    /// # Errors
    /// The server is away; then keys are left.
    pub async fn remove(&self) -> Result<u64, BenchError> {
        let gone = self.store.erase().await;
        gone.map_err(|source| BenchError::LeftBehind {
            prefix: self.options.prefix.clone(),
            source,
        })
    }
}

/// An engine that runs the workflow of the measurements.
///
/// # Errors
/// The limits contradict each other.
pub fn engine(store: Arc<RedisStore>, limits: Limits, name: &str) -> Result<Engine, BenchError> {
    let activities: Arc<dyn Activities<Waiter>> = Arc::new(Time);
    let builder = Engine::builder(store, limits, name).map_err(BenchError::Limits)?;
    Ok(builder.with(activities).build())
}
