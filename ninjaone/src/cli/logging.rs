//! Log lines to standard error.

use tracing_subscriber::EnvFilter;

use super::failure::{Exit, Failure};
use crate::config::{Log, LogFormat};

/// Starts logging, for commands that run until they are told to stop.
pub(super) fn start(log: &Log) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(Exit::Failed, "starting the log", why);
    let filter = EnvFilter::try_new(&log.filter).map_err(|e| failed(e.to_string()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(
            std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none(),
        );
    match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_ansi(false)
            .try_init(),
    }
    .map_err(|e| failed(e.to_string()))
}
