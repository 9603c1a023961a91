//! Counts round trips between a worker and the server, on their way.
//!
//! A server counts commands, and a pipeline of twenty of them is one round trip. So the worker is
//! given the address of a meter, which passes everything on and knows of each connection what has been
//! asked and not been answered. Whatever is sent while nothing is open begins a round trip.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

use super::BenchError;

const BUFFER: usize = 64 * 1024;

/// What has passed.
#[derive(Debug, Default)]
pub struct Counts {
    /// Round trips begun.
    pub round_trips: AtomicU64,
    /// Commands sent.
    pub commands: AtomicU64,
    /// Bytes sent to the server.
    pub sent: AtomicU64,
    /// Bytes that came from it.
    pub received: AtomicU64,
    /// Connections that are open.
    pub open: AtomicI64,
}

/// A meter that runs until it is dropped.
pub struct Meter {
    /// What has passed so far.
    pub counts: Arc<Counts>,
    /// Where a worker is to connect to instead.
    pub url: String,
    _passing: JoinSet<()>,
}

impl Meter {
    /// Starts one in front of the server at this URL.
    ///
    /// # Errors
    /// When the way to that server cannot be counted on: it is no plain TCP connection to one server.
    pub async fn start(url: &str) -> Result<Self, BenchError> {
        let (server, mut shown) = plain(url)?;
        let failed = |e: std::io::Error| BenchError::Unsuitable(format!("counting: {e}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let here = listener.local_addr().map_err(failed)?;
        let moved = shown.set_host(Some("127.0.0.1")).is_ok();
        if !moved || shown.set_port(Some(here.port())).is_err() {
            return Err(unsuitable());
        }
        let counts = Arc::new(Counts::default());
        let mut passing = JoinSet::new();
        passing.spawn(accept(listener, server, Arc::clone(&counts)));
        Ok(Self {
            counts,
            url: shown.to_string(),
            _passing: passing,
        })
    }
}

/// Host and port of a URL that is spoken to in the clear over TCP.
pub(super) fn plain(url: &str) -> Result<(String, Url), BenchError> {
    let url = Url::parse(url).map_err(|_| unsuitable())?;
    if url.scheme() != "redis" {
        return Err(unsuitable());
    }
    let host = url.host_str().ok_or_else(unsuitable)?;
    let server = format!("{host}:{}", url.port().unwrap_or(6379));
    Ok((server, url))
}

fn unsuitable() -> BenchError {
    let why = "round trips are counted on a plain connection to one server, \
               redis://[user:password@]host[:port][/db]: name such a one, on this machine perhaps";
    BenchError::Unsuitable(why.to_owned())
}

async fn accept(listener: TcpListener, server: String, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let (server, counts) = (server.clone(), Arc::clone(&counts));
        connections.spawn(async move {
            counts.open.fetch_add(1, Ordering::Relaxed);
            // Whoever is not connected to anything finds out by the end of the connection.
            if let Ok(upstream) = TcpStream::connect(server).await {
                pass(client, upstream, &counts).await;
            }
            counts.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Passes bytes on in both directions until either end closes.
async fn pass(client: TcpStream, server: TcpStream, counts: &Counts) {
    // As the worker itself would have it: what is small must not wait.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let line = std::sync::Mutex::new(Line::default());
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let (begun, commands) = lock(&line).asked(&buffer[..length]);
            counts.round_trips.fetch_add(begun, Ordering::Relaxed);
            counts.commands.fetch_add(commands, Ordering::Relaxed);
            counts.sent.fetch_add(length as u64, Ordering::Relaxed);
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    let answering = async {
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            lock(&line).answered(&buffer[..length]);
            counts.received.fetch_add(length as u64, Ordering::Relaxed);
            if to_client.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        () = answering => {}
    }
}

fn lock(line: &std::sync::Mutex<Line>) -> std::sync::MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is open on one connection.
#[derive(Default)]
struct Line {
    questions: Values,
    answers: Values,
    open: u64,
}

impl Line {
    /// Takes in what was sent: how many round trips it begins, and how many commands it completes.
    fn asked(&mut self, bytes: &[u8]) -> (u64, u64) {
        let begins = self.open == 0 && self.questions.is_between();
        let commands = self.questions.feed(bytes);
        self.open += commands;
        (u64::from(begins), commands)
    }

    /// Takes in what was answered. Messages that nobody asked for close nothing.
    fn answered(&mut self, bytes: &[u8]) {
        self.open = self.open.saturating_sub(self.answers.feed(bytes));
    }
}

/// Counts whole values of the protocol (RESP 2) in a stream of bytes.
#[derive(Default)]
struct Values {
    /// Elements still to come, of each list that is open.
    lists: Vec<u64>,
    line: Vec<u8>,
    /// Bytes of a text still to come, with its line end.
    text: usize,
}

impl Values {
    fn is_between(&self) -> bool {
        self.lists.is_empty() && self.line.is_empty() && self.text == 0
    }

    /// How many values are complete with these bytes.
    fn feed(&mut self, mut bytes: &[u8]) -> u64 {
        let mut complete = 0;
        while !bytes.is_empty() {
            if self.text > 0 {
                let taken = self.text.min(bytes.len());
                self.text -= taken;
                bytes = &bytes[taken..];
                complete += u64::from(self.text == 0 && self.ended());
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(bytes.len(), |end| end + 1);
            self.line.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                complete += u64::from(self.line_ended(&line));
            }
        }
        complete
    }

    fn line_ended(&mut self, line: &[u8]) -> bool {
        let number = std::str::from_utf8(line.get(1..).unwrap_or_default());
        let number = number
            .ok()
            .and_then(|text| text.trim_end().parse::<i64>().ok());
        match (line.first(), number) {
            (Some(b'$'), Some(length @ 0..)) => {
                self.text = usize::try_from(length).unwrap_or(usize::MAX - 2) + 2;
                false
            }
            (Some(b'*'), Some(length @ 1..)) => {
                self.lists.push(length.unsigned_abs());
                false
            }
            _ => self.ended(),
        }
    }

    /// A value has ended, and with it perhaps the lists that it was the last of. Whether that was a
    /// whole one.
    fn ended(&mut self) -> bool {
        while let Some(left) = self.lists.last_mut() {
            *left -= 1;
            if *left > 0 {
                return false;
            }
            self.lists.pop();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_however_they_are_cut() {
        let stream =
            b"+OK\r\n:7\r\n$-1\r\n$2\r\n\r\n\r\n*0\r\n*2\r\n*1\r\n$1\r\nx\r\n-ERR no\r\n*-1\r\n";
        for size in 1..stream.len() {
            let mut values = Values::default();
            let complete: u64 = stream.chunks(size).map(|part| values.feed(part)).sum();
            assert_eq!(
                (complete, values.is_between()),
                (7, true),
                "cut every {size}"
            );
        }
    }

    #[test]
    fn what_is_sent_while_something_is_open_begins_nothing() {
        let ping = b"*1\r\n$4\r\nPING\r\n";
        let mut line = Line::default();
        assert_eq!(line.asked(ping), (1, 1));
        assert_eq!(line.asked(ping), (0, 1));
        line.answered(b"+PONG\r\n");
        assert_eq!(line.asked(&ping[..5]), (0, 0));
        line.answered(b"+PONG\r\n");
        assert_eq!(line.asked(&ping[5..]), (0, 1), "the rest of what was begun");
        line.answered(b"+PONG\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n");
        assert_eq!(line.asked(ping), (1, 1), "a message answers nothing");
    }

    #[test]
    fn only_a_plain_way_can_be_counted_on() {
        let (server, _) = plain("redis://me:secret@localhost/2").unwrap();
        assert_eq!(server, "localhost:6379");
        for url in ["rediss://h:1", "redis+cluster://h:1", "unix:///s", "h"] {
            let error = plain(url).err().map(|e| e.to_string());
            assert!(
                error.is_some_and(|text| text.contains("plain connection")),
                "{url}"
            );
        }
    }
}
