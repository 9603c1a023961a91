//! The command line: `evergreen COMMAND`.
//!
//! Commands of an operator are clients of the HTTP API (`client`); `serve`, `worker`, `dev`,
//! `simulator`, `migrate`, `keys` and `bench` run where the fleet runs. A command is a file, and its
//! name is the file's. What is beside them:
//!
//! | file | holds |
//! |---|---|
//! | `failure.rs`, `usage.rs` | why a command failed, and the exit codes |
//! | `ui.rs` | standard output for the result, standard error for the rest; `--json` |
//! | `client` | the HTTP API from the side of a command |
//! | `card.rs`, `table.rs`, `words.rs` | how things look |
//! | `min_validity.rs`, `secret_file.rs` | what flags are given |
//! | `keep_fresh.rs`, `progress.rs` | `token --watch`; the bar of `import` |
//! | `fleet.rs`, `logging.rs`, `shutdown.rs` | what servers need |

mod apikeys;
mod backfill;
mod bench;
mod card;
mod client;
mod completions;
mod connect;
mod dev;
mod disconnect;
mod doctor;
mod events;
mod exec;
mod explain;
mod failure;
mod fleet;
mod history;
mod import;
mod journal;
mod keep_fresh;
mod keys;
mod list;
mod logging;
mod migrate;
mod min_validity;
mod progress;
mod refresh;
mod requeue;
mod reset;
mod secret_file;
mod serve;
mod shutdown;
mod simulator;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod top;
mod ui;
mod usage;
mod words;
mod worker;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use evergreen_engine::store::StoreError;

use self::client::Api;
use self::failure::{Ended, Exit, Failure};
use self::ui::Ui;
use crate::config::Problems;
use crate::service::{Recovery, ServiceError};
use crate::simulator::cli::SimulatorArgs;

/// Keeps OAuth credentials of NinjaOne integrations fresh.
///
/// Each integration of a tenant with NinjaOne is a grant: an access token of about an hour and a
/// refresh token that works once. Evergreen refreshes them in time, stores what NinjaOne rotates,
/// and hands a valid access token to whoever needs one. An integration is written
/// TENANT/INTEGRATION, and TENANT/INTEGRATION@client for its client grant.
#[derive(Debug, clap::Parser)]
#[command(
    name = "evergreen",
    version,
    after_help = "First steps:\n  evergreen dev                  a playground, nothing else needed\n  \
        evergreen list                 what there is\n  \
        evergreen status acme/prod     how one stands\n\n\
        Commands of an operator ask the server at EVERGREEN_URL (default http://127.0.0.1:8080) \
        with the key in EVERGREEN_API_KEY.\n\
        Exit codes: 0 ok, 2 wrong usage, 3 not found, 4 a person must act, 5 not available, try later."
)]
pub(crate) struct Cli {
    /// Print JSON: the result on standard output, an error as {"error": …} on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Dev(dev::Args),
    Serve(serve::Args),
    Worker(worker::Args),
    Simulator(SimulatorArgs),
    Connect(connect::Args),
    Import(import::Args),
    Backfill(backfill::Args),
    List(list::Args),
    Status(status::Args),
    History(history::Args),
    Explain(explain::Args),
    Refresh(refresh::Args),
    Reset(reset::Args),
    Requeue(requeue::Args),
    Disconnect(disconnect::Args),
    Token(token::Args),
    Exec(exec::Args),
    Events(events::Args),
    Top(top::Args),
    Apikeys(apikeys::Args),
    Keys(keys::Args),
    Journal(journal::Args),
    Migrate(migrate::Args),
    Doctor(Box<doctor::Args>),
    Bench(bench::Args),
    Completions(completions::Args),
}

/// The whole command line, as `clap` sees it.
#[must_use]
pub fn command() -> clap::Command {
    // The simulator knows no environment of its own; in containers its address comes from there.
    Cli::command().mut_subcommand("simulator", |command| {
        command
            .mut_arg("listen", |arg| arg.env("EVERGREEN_LISTEN"))
            .after_help("Example:\n  evergreen simulator --lifetime 60s --grants 3")
    })
}

/// No core file may hold a token. Where the system does not allow it, it goes on: a service manager
/// may have forbidden the call because it has seen to it already.
fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Runs what the arguments of this process say.
#[must_use]
pub fn main() -> ExitCode {
    keep_memory_private();
    let parsed = command()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let json = usage::wants_json(std::env::args_os().skip(1));
            return usage::tell(&error, &mut Ui::of_process(json));
        }
    };
    let mut ui = Ui::of_process(cli.json);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            ui.fail(&Failure::new(Exit::Failed, "starting", error));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(cli.command, &mut ui));
    // Reads of standard input cannot be ended; nobody waits for them.
    runtime.shutdown_background();
    ExitCode::from(match ended {
        Ok(exit) => exit.code(),
        Err(failure) => {
            ui.fail(&failure);
            failure.exit.code()
        }
    })
}

async fn run(command: Command, ui: &mut Ui) -> Ended {
    let api = Api::of_process;
    match command {
        // Where the fleet runs.
        Command::Dev(args) => dev::run(args, ui).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Worker(args) => worker::run(args).await,
        Command::Simulator(args) => simulator::run(args).await,
        Command::Keys(args) => keys::run(args, ui).await,
        Command::Journal(args) => journal::run(args, ui).await,
        Command::Migrate(args) => migrate::run(args, ui).await,
        Command::Doctor(args) => doctor::run(*args, ui).await,
        Command::Apikeys(args) => apikeys::run(args, ui).await,
        Command::Bench(args) => bench::run(args, ui).await,
        Command::Completions(args) => completions::run(&args, ui),
        // Clients of the API.
        Command::Connect(args) => connect::run(args, &api()?, ui).await,
        Command::Import(args) => import::run(args, &api()?, ui).await,
        Command::Backfill(args) => backfill::run(args, &api()?, ui).await,
        Command::List(args) => list::run(args, &api()?, ui).await,
        Command::Status(args) => status::run(args, &api()?, ui).await,
        Command::History(args) => history::run(args, &api()?, ui).await,
        Command::Explain(args) => explain::run(args, &api()?, ui).await,
        Command::Refresh(args) => refresh::run(args, &api()?, ui).await,
        Command::Reset(args) => reset::run(args, &api()?, ui).await,
        Command::Requeue(args) => requeue::run(args, &api()?, ui).await,
        Command::Disconnect(args) => disconnect::run(args, &api()?, ui).await,
        Command::Token(args) => token::run(args, &api()?, ui).await,
        Command::Exec(args) => exec::run(args, &api()?, ui).await,
        Command::Events(args) => events::run(args, &api()?, ui).await,
        Command::Top(args) => top::run(args, &api()?, ui).await,
    }
}

/// Everything that is wrong with the settings, as one failure.
fn settings_failure(problems: &Problems) -> Failure {
    Failure::usage("reading the settings", problems)
        .help("flags win over the environment, the environment over evergreen.toml")
}

/// A service that could not do what it was asked, in this process.
fn service_failure(doing: &str, error: &ServiceError) -> Failure {
    let exit = match (error.status(), error.recovery()) {
        (404, _) => Exit::NotFound,
        (409, _) | (502, Recovery::Reconnect | Recovery::FixConfiguration) => Exit::Attention,
        (422, _) => Exit::Usage,
        (502..=504, _) => Exit::Unavailable,
        _ => Exit::Failed,
    };
    Failure::of(exit, doing, error)
}

/// A store that did not do what it was asked.
fn store_failure(doing: &str, error: &StoreError) -> Failure {
    match error {
        StoreError::Away { .. } => Failure::of(Exit::Unavailable, doing, error)
            .help("check EVERGREEN_REDIS_URL, and that Redis runs"),
        StoreError::Refused { .. } => Failure::of(Exit::Usage, doing, error),
    }
}
