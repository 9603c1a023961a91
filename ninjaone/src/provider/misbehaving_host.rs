//! A host on loopback that answers with whatever bytes a test wants, for the tests of the endpoint.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What the host does with one connection.
pub(super) enum Play {
    /// Reads the request, writes these bytes, closes.
    Reply(Vec<u8>),
    /// Reads the request, writes the first, waits for the signal, writes the second.
    Pause(Vec<u8>, Vec<u8>),
    /// Reads the request, writes the head, then more body than anybody wants.
    Flood(Vec<u8>),
    /// Closes without having read a byte.
    Slam,
    /// Reads whatever comes, answers nothing, until the client goes away.
    Silence,
}

/// A host on loopback that plays its part and remembers what it was asked.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) address: SocketAddr,
    pub(super) requests: Arc<Mutex<Vec<String>>>,
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) flooded: Arc<AtomicU64>,
    pub(super) signal: Arc<Notify>,
    pub(super) asked: Arc<Notify>,
    pub(super) gone: Arc<Notify>,
}

impl Host {
    pub(super) async fn playing(plays: Vec<Play>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
            flooded: Arc::default(),
            signal: Arc::default(),
            asked: Arc::default(),
            gone: Arc::default(),
        };
        let server = host.clone();
        tokio::spawn(async move {
            for play in plays {
                let (stream, _) = listener.accept().await.unwrap();
                server.connections.fetch_add(1, Ordering::SeqCst);
                server.play(stream, play).await;
            }
            // Whatever comes beyond the play is counted and cut.
            while listener.accept().await.is_ok() {
                server.connections.fetch_add(1, Ordering::SeqCst);
            }
        });
        host
    }

    async fn play(&self, mut stream: TcpStream, play: Play) {
        match play {
            Play::Slam => {}
            Play::Silence => {
                let mut seen = Vec::new();
                let _ = stream.read_to_end(&mut seen).await;
                self.remember(&seen);
                self.gone.notify_one();
            }
            Play::Reply(bytes) => {
                self.read_request(&mut stream).await;
                let _ = stream.write_all(&bytes).await;
            }
            Play::Pause(before, after) => {
                self.read_request(&mut stream).await;
                let _ = stream.write_all(&before).await;
                self.signal.notified().await;
                let _ = stream.write_all(&after).await;
            }
            Play::Flood(head) => {
                self.read_request(&mut stream).await;
                let _ = stream.write_all(&head).await;
                while stream.write_all(&[b'x'; 4096]).await.is_ok() {
                    self.flooded.fetch_add(4096, Ordering::SeqCst);
                }
            }
        }
    }

    async fn read_request(&self, stream: &mut TcpStream) {
        let mut seen = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&seen).to_lowercase();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.split("content-length: ").nth(1);
                let length = length.and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
                if body.len() >= length.unwrap_or(0) {
                    break;
                }
            }
            if stream.read_buf(&mut seen).await.unwrap() == 0 {
                break;
            }
        }
        self.remember(&seen);
        self.asked.notify_one();
    }

    fn remember(&self, seen: &[u8]) {
        let text = String::from_utf8_lossy(seen).into_owned();
        self.requests.lock().unwrap().push(text);
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The paths that were asked for, in order.
    pub(super) fn paths(&self) -> Vec<String> {
        let word = |request: &String| request.split(' ').nth(1).unwrap().to_owned();
        self.requests().iter().map(word).collect()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub(super) fn reply(status: u16, headers: &str, body: &str) -> Play {
    Play::Reply(bytes(status, headers, body.as_bytes()))
}

pub(super) fn bytes(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}
