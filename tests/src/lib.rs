//! The harness: what a test needs to run Evergreen against a real Redis, as a real process.
//!
//! - [`redis`]: a Redis of one's own, which can be paused, killed and restarted with its data.
//! - [`fleet`]: processes over one Redis, to be killed and stopped.
//! - [`site`]: the smallest deployment: one server, its Redis and the simulator.
//! - [`proxy`]: a way to a server on which everything is seen, and anything can be held up.
//! - [`process`]: the program `evergreen`, started, watched, signalled.
//! - [`bench`](mod@bench): apps, a store and the simulator in this process.
//! - [`canary`]: secrets that are looked for in every output.
//! - [`topology`]: a master that Sentinels watch, and a cluster.
//! - [`wait`]: waiting for a condition, bounded. No test sleeps for a fixed time.
//!
//! Whatever a test starts ends with it, also if the test itself is killed: see [`group`].

pub mod bench;
pub mod canary;
pub mod fleet;
pub mod group;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod site;
pub mod tls;
pub mod topology;
pub mod wait;

pub use bench::Bench;
pub use canary::Canaries;
pub use process::{Evergreen, Finished, Signal};
pub use proxy::Proxy;
pub use redis::RedisServer;
pub use site::Site;
pub use tls::Tls;
pub use wait::{eventually, within};
