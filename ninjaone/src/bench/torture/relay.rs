//! The way of one worker to Redis, which can be cut as hard as a dying machine cuts it: every connection is
//! reset, whatever was under way, and new ones are refused until it is mended.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

use crate::bench::BenchError;

/// A way that exists until it is dropped.
pub(super) struct Relay {
    /// Where the worker is to connect to instead.
    pub url: String,
    open: watch::Sender<bool>,
    _passing: JoinSet<()>,
}

impl Relay {
    /// Makes a way to this server; `url` is how it is named, with its login.
    ///
    /// # Errors
    /// No port can be had.
    pub(super) async fn make(server: String, mut url: Url) -> Result<Self, BenchError> {
        let failed =
            |e: &dyn std::fmt::Display| BenchError::Process(format!("a way to Redis: {e}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.map_err(|e| failed(&e))?;
        let port = listener.local_addr().map_err(|e| failed(&e))?.port();
        if url.set_host(Some("127.0.0.1")).is_err() || url.set_port(Some(port)).is_err() {
            return Err(failed(&"its URL cannot be made"));
        }
        let (open, is_open) = watch::channel(true);
        let mut passing = JoinSet::new();
        passing.spawn(accept(listener, server, is_open));
        Ok(Self {
            url: url.to_string(),
            open,
            _passing: passing,
        })
    }

    /// Cuts it, or mends it.
    pub(super) fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

async fn accept(listener: TcpListener, server: String, open: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((worker, _)) = listener.accept().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let (server, open) = (server.clone(), open.clone());
        connections.spawn(pass(worker, server, open));
    }
}

async fn pass(mut worker: TcpStream, server: String, mut open: watch::Receiver<bool>) {
    // As the worker itself would have it: what is small must not wait.
    let _ = worker.set_nodelay(true);
    let passing = async {
        // Whoever is not connected to anything finds out by the end of the connection.
        if let Ok(mut server) = TcpStream::connect(server).await {
            // Whatever ends it here is the way's end, not Redis' orderly one.
            let _ = (server.set_nodelay(true), server.set_zero_linger());
            let _ = copy_bidirectional(&mut worker, &mut server).await;
        }
    };
    tokio::select! {
        biased;
        _ = open.wait_for(|open| !open) => {}
        () = passing => return,
    }
    // With a reset: an orderly end would say that everything had arrived.
    let _ = worker.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A server that says everything back.
    async fn echo() -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn through(relay: &Relay) -> TcpStream {
        let url = Url::parse(&relay.url).unwrap();
        let port = url.port().unwrap();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap()
    }

    async fn says(stream: &mut TcpStream) -> std::io::Result<u8> {
        stream.write_all(b"x").await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn a_cut_resets_what_is_open_and_refuses_what_comes_until_it_is_mended() {
        let url = Url::parse("redis://me:secret@example:6379/2").unwrap();
        let relay = Relay::make(echo().await, url).await.unwrap();
        assert!(relay.url.starts_with("redis://me:secret@127.0.0.1:"));
        let mut one = through(&relay).await;
        assert_eq!(says(&mut one).await.unwrap(), b'x');
        relay.set_open(false);
        let reset = one.read_u8().await.unwrap_err();
        assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
        let mut two = through(&relay).await;
        assert!(says(&mut two).await.is_err());
        relay.set_open(true);
        let mut three = through(&relay).await;
        assert_eq!(says(&mut three).await.unwrap(), b'x');
    }
}
