//! A way to a server on which everything is seen, and anything can be held up: what makes "killed after
//! the claim was written and before its reply was read" a place at which a test can stand.
//!
//! Before Redis it knows the frames of the protocol and the engine's scripts by their hashes, so a
//! [`Trap`] is set for a [`Step`], on the [`Side`] where it is asked for or where it is answered. Before
//! anything else it passes bytes. It can also be a bad network: still in one direction or in both, with
//! everything on its way delivered late ([`Proxy::still`]), or torn ([`Proxy::tear`]).

mod call;
mod frame;
mod trap;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::call::{Call, Step};
use self::frame::{Frames, Framing, strings};
use self::trap::Traps;
pub use self::trap::{Catch, Trap};
use crate::RedisServer;
use crate::wait::within;

/// How long to wait for something to pass.
const PASSED_WITHIN: Duration = Duration::from_secs(30);

/// Where a frame is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// On its way to the server.
    Asked,
    /// On its way back.
    Answered,
}

/// A frame that was seen.
#[derive(Debug, Clone)]
pub struct Passed {
    /// Where.
    pub side: Side,
    /// The request, or the one that is answered.
    pub call: Call,
    /// The first word of the answer, an error with its sign; empty for a request.
    pub word: String,
}

/// What the network does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weather {
    /// Nothing gets to the server.
    still_there: bool,
    /// Nothing comes back.
    still_back: bool,
    /// New connections end at once.
    refusing: bool,
    /// Connections of an earlier age are torn.
    age: u64,
}

/// A listener before one server. Ends with its connections when dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: JoinHandle<()>,
}

struct Shared {
    framing: Framing,
    server: Mutex<Option<SocketAddr>>,
    traps: Traps,
    weather: watch::Sender<Weather>,
    passed: Mutex<Vec<Passed>>,
}

impl Proxy {
    /// Before a Redis.
    pub async fn before_redis(redis: &RedisServer) -> Self {
        let url: url::Url = redis.url().parse().expect("a server has a URL");
        let proxy = Self::start(Framing::Redis).await;
        let port = url.port().unwrap_or(6379);
        proxy.lead_to(SocketAddr::from(([127, 0, 0, 1], port)));
        proxy
    }

    /// Before a server that is named later, by [`Proxy::lead_to`].
    pub async fn before_anything() -> Self {
        Self::start(Framing::Bytes).await
    }

    async fn start(framing: Framing) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            framing,
            server: Mutex::default(),
            traps: Traps::default(),
            weather: watch::Sender::default(),
            passed: Mutex::default(),
        });
        let listener = tokio::spawn(listen(Arc::clone(&shared), listener));
        Self {
            shared,
            address,
            listener,
        }
    }

    /// Names the server.
    pub fn lead_to(&self, server: SocketAddr) {
        *lock(&self.shared.server) = Some(server);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As `EVERGREEN_REDIS_URL` wants it.
    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Holds the next such frame. An answer is one that the server gave: it did what was asked.
    pub fn trap(&self, step: Step, side: Side) -> Trap {
        self.shared.traps.set(Some(step), side, |_| true)
    }

    /// Holds the next frame of any kind that is as wanted.
    pub fn trap_any(&self, side: Side, wanted: impl Fn(&Passed) -> bool + Send + 'static) -> Trap {
        self.shared.traps.set(None, side, wanted)
    }

    /// Everything that has passed so far, in order.
    pub fn passed(&self) -> Vec<Passed> {
        lock(&self.shared.passed).clone()
    }

    /// Waits until something has passed that is as wanted, also before this call. Panics if nothing does.
    pub async fn see(&self, what: &str, wanted: impl Fn(&Passed) -> bool) -> Passed {
        let found = within(PASSED_WITHIN, async || {
            let all = lock(&self.shared.passed);
            all.iter().find(|passed| wanted(passed)).cloned()
        })
        .await;
        found.unwrap_or_else(|| {
            let all = self.passed();
            let told: Vec<_> = all
                .iter()
                .filter(|passed| passed.call.step != Step::Other)
                .map(|passed| (passed.side, passed.call.step, passed.word.as_str()))
                .collect();
            panic!("not seen: {what}; but these: {told:?}")
        })
    }

    /// From now on nothing gets there, or nothing comes back, or neither; what is under way waits, as
    /// it does in a network that is cut for less time than connections live.
    pub fn still(&self, there: bool, back: bool) {
        self.shared.weather.send_modify(|weather| {
            weather.still_there = there;
            weather.still_back = back;
        });
    }

    /// Tears every connection, with all that is under way, and lets none be made.
    pub fn tear(&self) {
        self.shared.weather.send_modify(|weather| {
            weather.age += 1;
            weather.refusing = true;
        });
    }

    /// A good network again. What was held by [`Proxy::still`] arrives now.
    pub fn mend(&self) {
        self.shared.weather.send_modify(|weather| {
            *weather = Weather {
                age: weather.age,
                ..Weather::default()
            };
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.shared.weather.send_modify(|weather| weather.age += 1);
    }
}

async fn listen(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if !shared.weather.borrow().refusing {
            tokio::spawn(connect(Arc::clone(&shared), client));
        }
    }
}

async fn connect(shared: Arc<Shared>, client: TcpStream) {
    let age = shared.weather.borrow().age;
    let server = *lock(&shared.server);
    let Some(server) = server else { return };
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    for stream in [&client, &server] {
        // Only the pace would suffer.
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let line = Line {
        shared: &shared,
        age,
        unanswered: Mutex::default(),
    };
    let mut weather = shared.weather.subscribe();
    tokio::select! {
        () = line.there(from_client, to_server) => {}
        () = line.back(from_server, to_client) => {}
        _ = weather.wait_for(|weather| weather.age != age) => {}
    }
}

/// One connection.
struct Line<'a> {
    shared: &'a Shared,
    age: u64,
    unanswered: Mutex<VecDeque<Call>>,
}

impl Line<'_> {
    async fn there(&self, from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut frames = Frames::new(from, self.shared.framing);
        while let Some(frame) = frames.next().await {
            let call = match self.shared.framing {
                Framing::Redis => Call::read(&frame),
                Framing::Bytes => Call::bytes(&frame),
            };
            let passed = Passed {
                side: Side::Asked,
                call: call.clone(),
                word: String::new(),
            };
            if !self.shared.traps.pass(&passed).await {
                return;
            }
            if !self.until_calm(|weather| !weather.still_there).await {
                return;
            }
            lock(&self.unanswered).push_back(call);
            if to.write_all(&frame).await.is_err() {
                return;
            }
            lock(&self.shared.passed).push(passed);
        }
    }

    async fn back(&self, from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut frames = Frames::new(from, self.shared.framing);
        while let Some(frame) = frames.next().await {
            let asked = lock(&self.unanswered).pop_front();
            let passed = Passed {
                side: Side::Answered,
                // What was not asked for: a message of a channel.
                call: asked.unwrap_or_else(|| Call::bytes(b"")),
                word: match self.shared.framing {
                    Framing::Redis => strings(&frame).into_iter().next().unwrap_or_default(),
                    Framing::Bytes => String::from_utf8_lossy(&frame).into_owned(),
                },
            };
            if !self.shared.traps.pass(&passed).await {
                return;
            }
            if !self.until_calm(|weather| !weather.still_back).await {
                return;
            }
            if to.write_all(&frame).await.is_err() {
                return;
            }
            lock(&self.shared.passed).push(passed);
        }
    }

    /// Waits until a frame may go on. `false`: the connection was torn before it did.
    async fn until_calm(&self, calm: impl Fn(&Weather) -> bool) -> bool {
        let mut weather = self.shared.weather.subscribe();
        let now = weather.wait_for(calm).await;
        now.is_ok_and(|weather| weather.age == self.age)
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
