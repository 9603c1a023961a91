//! When somebody tells this process to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::{Exit, Failure};

/// Resolves at SIGTERM or SIGINT. They are caught from this call on, whether or not the future is
/// polled yet.
pub(super) fn signalled() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let catch = |kind| -> Result<Signal, Failure> {
        signal(kind).map_err(|e| Failure::new(Exit::Failed, "catching signals", e))
    };
    let mut terminate = catch(SignalKind::terminate())?;
    let mut interrupt = catch(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
