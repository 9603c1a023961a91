//! A way to the server on which a script is exchanged for a mutilated one, so that a test can show
//! that it would notice.
//!
//! A store calls a script by the hash of its text. This forwards every byte, except that it writes
//! another hash in the place of the script's own. The store is the real one and knows nothing of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use super::Server;

/// The length of a hash, in hexadecimal digits.
const HASH: usize = 40;

/// The scripts of the engine by name.
pub(crate) const SCRIPTS: [(&str, &str); 14] = [
    ("claim", include_str!("../../scripts/claim.lua")),
    ("commit", include_str!("../../scripts/commit.lua")),
    ("signal", include_str!("../../scripts/signal.lua")),
    ("read", include_str!("../../scripts/read.lua")),
    ("extend", include_str!("../../scripts/extend.lua")),
    ("reconcile", include_str!("../../scripts/reconcile.lua")),
    ("requeue", include_str!("../../scripts/requeue.lua")),
    ("stamp", include_str!("../../scripts/stamp.lua")),
    ("turnstile", include_str!("../../scripts/turnstile.lua")),
    ("enter", include_str!("../../scripts/enter.lua")),
    ("gate", include_str!("../../scripts/gate.lua")),
    ("drain", include_str!("../../scripts/drain.lua")),
    ("settle", include_str!("../../scripts/settle.lua")),
    ("reader", include_str!("../../scripts/reader.lua")),
];

/// The text of a script.
pub(crate) fn text_of(name: &str) -> &'static str {
    let found = SCRIPTS.iter().find(|(script, _)| *script == name);
    found.expect("a script of the engine").1
}

/// The reply words that a script's head names.
pub(crate) fn words_of(name: &str) -> Vec<String> {
    let head = text_of(name)
        .lines()
        .take_while(|line| line.starts_with("--"));
    let replies = head.skip_while(|line| !line.starts_with("-- Replies"));
    replies
        .skip(1)
        .filter_map(|line| line.strip_prefix("--   ")?.split(' ').next())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// One hash in the place of another.
#[derive(Default)]
struct Exchange {
    from: String,
    to: String,
}

/// A way to a server.
pub(crate) struct Wire {
    port: u16,
    target: Arc<AtomicU16>,
    exchange: Arc<Mutex<Exchange>>,
}

impl Wire {
    /// A way that changes nothing yet.
    pub(crate) fn to(server: &Server) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let exchange: Arc<Mutex<Exchange>> = Arc::default();
        let target = Arc::new(AtomicU16::new(server.port()));
        let (shared, leads_to) = (Arc::clone(&exchange), Arc::clone(&target));
        // Ends with the test's process, as the listener does.
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let port = leads_to.load(Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                    return;
                };
                let back = (server.try_clone().unwrap(), caller.try_clone().unwrap());
                let there = Arc::clone(&shared);
                std::thread::spawn(move || forward(caller, server, &there));
                std::thread::spawn(move || forward(back.0, back.1, &Arc::default()));
            }
        });
        Self {
            port,
            target,
            exchange,
        }
    }

    /// Whoever connects from now on comes to this server; who is connected stays where he is.
    pub(crate) fn lead_to(&self, server: &Server) {
        self.target.store(server.port(), Ordering::SeqCst);
    }

    /// Where a store is to connect.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// From now on calls of the script run it with `from` replaced by `to`. Whoever calls this sees to
    /// it that the store has already made the server know the real one.
    pub(crate) fn mutilate(&self, raw: &mut redis::Connection, script: &str, from: &str, to: &str) {
        let text = text_of(script);
        let times = text.matches(from).count();
        assert_eq!(times, 1, "{script}.lua does not hold exactly once: {from}");
        let mutilated = text.replace(from, to);
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(mutilated);
        let to: String = load.query(raw).unwrap();
        let from = redis::Script::new(text).get_hash().to_owned();
        *self.exchange.lock().unwrap() = Exchange { from, to };
    }

    /// From now on nothing is changed.
    pub(crate) fn mend(&self) {
        *self.exchange.lock().unwrap() = Exchange::default();
    }
}

/// Copies until one of the two ends. A command may arrive in pieces; what could be the beginning of a
/// hash at the end of one waits for the next. A whole command ends in a line break, which cannot.
fn forward(mut from: TcpStream, mut to: TcpStream, exchange: &Mutex<Exchange>) {
    let mut held: Vec<u8> = Vec::new();
    let mut piece = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        held.extend_from_slice(&piece[..length]);
        let ready = {
            let exchange = exchange.lock().unwrap();
            replace(&mut held, exchange.from.as_bytes(), exchange.to.as_bytes());
            held.len() - begun(&held, exchange.from.as_bytes())
        };
        if to.write_all(&held[..ready]).is_err() {
            break;
        }
        held.drain(..ready);
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    if from.len() != HASH || bytes.len() < HASH {
        return;
    }
    for at in 0..=bytes.len() - HASH {
        if bytes[at..].starts_with(from) {
            bytes[at..at + HASH].copy_from_slice(to);
        }
    }
}

/// How many of the last bytes may be the beginning of a hash.
fn begun(bytes: &[u8], hash: &[u8]) -> usize {
    let most = hash.len().saturating_sub(1).min(bytes.len());
    (1..=most)
        .rev()
        .find(|n| bytes.ends_with(&hash[..*n]))
        .unwrap_or(0)
}
