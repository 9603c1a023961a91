//! Listens to the wake channel, for as long as anybody listens to us.
//!
//! A message may be lost, and while the connection is away all are: whoever sleeps until one comes
//! also wakes by itself after a while. So losing the connection is not an error, only a reason to
//! make another.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::aio::PubSub;
use futures::StreamExt;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::ways::Ways;
use crate::machine::Millis;
use crate::store::Wakes;

/// Messages that a listener may be behind before it loses some.
const BEHIND: usize = 1024;
/// Silence after which the connection is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(10);
/// The first pause before connecting anew; doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause before connecting anew.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Returns when the first try to subscribe has ended, so that, if the server is there, nothing said
/// afterwards is missed.
pub(super) async fn listen(ways: Arc<Ways>, channel: String) -> Wakes {
    let (sender, wakes) = mpsc::channel(BEHIND);
    let (tried, first_try) = oneshot::channel();
    tokio::spawn(run(ways, channel, sender, tried));
    // An error means that the task ended, which it only does after the first try.
    let _ = first_try.await;
    wakes
}

/// Says nothing, for as long as anybody listens.
pub(super) fn silent() -> Wakes {
    let (sender, wakes) = mpsc::channel(1);
    tokio::spawn(async move { sender.closed().await });
    wakes
}

async fn run(
    ways: Arc<Ways>,
    channel: String,
    sender: mpsc::Sender<(u16, Millis)>,
    tried: oneshot::Sender<()>,
) {
    let mut tried = Some(tried);
    let mut pause = PAUSE_FIRST;
    while !sender.is_closed() {
        let listening = ways.listening(&channel).await;
        if let Some(tried) = tried.take() {
            let _ = tried.send(());
        }
        match listening {
            Ok(connection) => {
                pause = PAUSE_FIRST;
                follow(connection, &sender, ways.reply_timeout).await;
            }
            Err(fault) => tracing::debug!(?fault, "the wake channel is away"),
        }
        // Not all at once after a failover.
        let jittered = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(jittered) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Hands messages on until the connection or the listener is gone.
async fn follow(connection: PubSub, sender: &mpsc::Sender<(u16, Millis)>, limit: Duration) {
    let (mut control, mut messages) = connection.split();
    loop {
        let message = tokio::select! {
            () = sender.closed() => return,
            message = tokio::time::timeout(SILENCE, messages.next()) => message,
        };
        match message {
            Ok(None) => return,
            Ok(Some(message)) => {
                let text: Option<String> = message.get_payload().ok();
                let Some(wake) = text.as_deref().and_then(parse) else {
                    continue;
                };
                if let Err(TrySendError::Closed(_)) = sender.try_send(wake) {
                    return;
                }
            }
            // A server that was stopped, or a network that was cut, looks just as silent.
            Err(_silence) => {
                let pong = tokio::time::timeout(limit, control.ping::<()>());
                if !matches!(pong.await, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }
}

/// `<partition> <ms>`.
fn parse(text: &str) -> Option<(u16, Millis)> {
    let (partition, at) = text.split_once(' ')?;
    Some((partition.parse().ok()?, at.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_partition_and_a_time() {
        assert_eq!(parse("7 1763700000123"), Some((7, 1_763_700_000_123)));
        assert_eq!(parse("x"), None);
    }
}
