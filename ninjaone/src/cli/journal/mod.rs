//! `evergreen journal`: rotated pairs that wait on a disk, where the fleet runs.

mod list;
mod replay;

use std::path::{Path, PathBuf};

use super::failure::{Ended, Failure};
use super::ui::Ui;
use crate::config::SettingFlags;

/// Rotated tokens that wait on this disk, sealed, until Redis has them.
///
/// A worker writes each new pair here before it is committed, and takes it out again when Redis has
/// confirmed it; what a worker that died left behind, the next one on this disk delivers by itself.
/// These commands are for the disk of a machine that has no worker any more.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Lists what waits, without opening it; needs neither Redis nor seal keys
    #[command(after_help = "Exit code 4 means that something could not be read.\n\n\
        Examples:\n  evergreen journal list\n  \
        evergreen journal list --dir /mnt/lost-machine/evergreen-journal --json")]
    List(ListArgs),
    /// Delivers what waits to the fleet, each pair to its workflow
    ///
    /// Nothing is overwritten: a pair that is older than what is stored, or belongs to a consent that
    /// was replaced, is dropped by the workflow itself. Refuses while a live worker uses the
    /// directory, because that worker delivers its entries itself.
    #[command(
        after_help = "Exit code 4 means that entries stay, 5 that Redis did not confirm.\n\n\
        Example:\n  EVERGREEN_REDIS_URL=redis://127.0.0.1:6379 \
        EVERGREEN_SEAL_KEYS_FILE=/etc/evergreen/seal-keys \\\n    \
        evergreen journal replay --dir /mnt/lost-machine/evergreen-journal"
    )]
    Replay(Box<ReplayArgs>),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// The journal's directory [default: EVERGREEN_JOURNAL_DIR, or ./evergreen-journal]
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// The configuration file; without it ./evergreen.toml, if there is one
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ReplayArgs {
    /// The journal's directory [default: EVERGREEN_JOURNAL_DIR, or ./evergreen-journal]
    #[arg(long, value_name = "PATH", conflicts_with = "journal_dir")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags,
}

pub(super) async fn run(args: Args, ui: &mut Ui) -> Ended {
    match args.verb {
        Verb::List(args) => list::run(&args, ui),
        Verb::Replay(args) => replay::run(*args, ui).await,
    }
}

/// A directory that is not there is a slip of the pen, not an empty journal.
fn must_be_there(doing: &str, directory: &Path) -> Result<(), Failure> {
    if directory.is_dir() {
        return Ok(());
    }
    let why = format!("{} is not a directory", directory.display());
    Err(Failure::usage(doing, why)
        .help("name the journal's directory: --dir PATH, or EVERGREEN_JOURNAL_DIR"))
}
