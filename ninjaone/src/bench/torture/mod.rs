//! Everything breaks, at once and again, under a fleet as an operator has it; in the end what the provider
//! knows is compared with what the store has.
//!
//! The processes are real: `evergreen worker` with the settings of an operator, `evergreen simulator` as a
//! strict provider, and Redis. What goes wrong is drawn from a seed before anything begins; what came of it is
//! judged by what the simulator wrote down, and nothing is excused but by what was done.
//!
//! | file | holds |
//! |---|---|
//! | `plan.rs`, `dice.rs` | what goes wrong, and when |
//! | `fleet.rs` | the run: sets up, does what was planned, mends, compares |
//! | `post.rs`, `troupe.rs` | a worker's place, and processes that end with us |
//! | `voices.rs` | what the workers say |
//! | `server.rs`, `relay.rs` | Redis, and each worker's way to it |
//! | `provider.rs` | the simulator |
//! | `people.rs`, `memory.rs` | who connects and disconnects meanwhile, and what they remember |
//! | `mending.rs` | the end: all is put right, and everybody refreshed once more |
//! | `diary.rs` | what was done, and what that excuses |
//! | `verdict.rs` | the comparison |
//! | `report.rs` | what is told |

mod diary;
mod dice;
mod fleet;
mod memory;
mod mending;
mod people;
mod plan;
mod post;
mod provider;
mod relay;
mod report;
mod server;
mod troupe;
mod verdict;
mod voices;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evergreen_engine::store::redis::RedisOptions;
use tokio_util::sync::CancellationToken;

pub use self::report::{Done, Ledger, Report};
pub use self::server::Which;
pub use self::verdict::{LostGrants, Promise, SentAgain, Violation};
use super::{BenchError, Space};

/// How long after Redis was out of reach a worker may still end because of it, in ms.
const NOT_LONG_AGO_MS: u64 = 8_000;
/// Looks for keys that are left, and between two of them.
const LOOKS: usize = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Requests of one integration in one life, at most: two refreshes, and what is sent again.
const REQUESTS_A_LIFE: u64 = 4;

/// What to do.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What decides everything that goes wrong.
    pub seed: u64,
    /// For how many minutes things go wrong.
    pub minutes: u64,
    /// Workers.
    pub workers: usize,
    /// Integrations.
    pub integrations: usize,
    /// Life of an access token, in whole seconds.
    pub life: Duration,
    /// The workers' lease, in whole seconds.
    pub lease: Duration,
    /// Where to keep what everybody said, for whoever looks into a failure.
    pub evidence: Option<PathBuf>,
}

impl Ask {
    /// Checks what no single value tells.
    ///
    /// # Errors
    /// The ledger could not hold all of it.
    pub fn check(&self) -> Result<(), BenchError> {
        let lives = (self.minutes * 60).div_ceil(self.life.as_secs().max(1));
        let requests = lives * REQUESTS_A_LIFE * self.integrations as u64;
        if requests <= provider::ENTRIES_MAX {
            return Ok(());
        }
        let why = format!(
            "the ledger holds {} requests, and this may make {requests}: ask for fewer --minutes or \
             --integrations, or a longer --lifetime",
            provider::ENTRIES_MAX
        );
        Err(BenchError::Unsuitable(why))
    }
}

/// Tortures a fleet. `note` tells a person how far it is.
///
/// # Errors
/// The store's, a process', or [`BenchError::Interrupted`]. That promises are broken is no error: it is told.
pub async fn run(
    ask: &Ask,
    which: &Which,
    options: RedisOptions,
    stop: &CancellationToken,
    note: &mut dyn FnMut(&str),
) -> Result<Report, BenchError> {
    ask.check()?;
    // In the order in which they are to go: the processes before the server, the server before its files.
    let home = tempfile::Builder::new()
        .prefix("evergreen-torture-")
        .tempdir();
    let home = home.map_err(|e| troupe::failed("a directory", &e))?;
    let troupe = troupe::Troupe::assemble()?;
    let mut server = server::Server::take(which, &troupe).await?;
    let options = RedisOptions {
        url: server.url.to_string(),
        allow_volatile: false,
        ..options
    };
    let space = Space::make_as_told(options).await?;
    let tortured = fleet::Fleet::muster(ask, &space, &mut server, &troupe, home.path(), note);
    let tortured = match stop.run_until_cancelled(tortured).await {
        None => Err(BenchError::Interrupted),
        Some(Err(error)) => Err(error),
        Some(Ok(mut fleet)) => {
            let run = fleet.run(note);
            let told = stop.run_until_cancelled(run).await;
            let told = told.ok_or(BenchError::Interrupted).flatten();
            fleet.disband().await;
            told
        }
    };
    // A server of our own may be down in the midst of it all; then its keys go with its files.
    if !server.is_own() {
        remove(&space).await?;
    }
    tortured
}

/// Removes all keys. What workers that were killed had sent may still be on its way, so it is looked again until
/// there is nothing left.
async fn remove(space: &Space) -> Result<(), BenchError> {
    for _ in 0..LOOKS {
        if space.remove().await? == 0 {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// The time by this machine's clock, in ms since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ledger_cannot_hold_is_refused() {
        let ask = |minutes, integrations| Ask {
            seed: 1,
            minutes,
            workers: 4,
            integrations,
            life: Duration::from_secs(30),
            lease: Duration::from_secs(6),
            evidence: None,
        };
        ask(10, 500).check().unwrap();
        let refused = ask(600, 500).check().unwrap_err().to_string();
        assert!(refused.contains("--minutes"), "{refused}");
    }
}
