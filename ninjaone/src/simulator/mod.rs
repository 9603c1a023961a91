//! A strict stand-in for NinjaOne: real HTTP, single-use refresh tokens, scripted faults, a ledger.
//!
//! It answers as NinjaOne's hosts have been seen to answer, byte for byte where that is known, and
//! takes the strict side where it is not: a refresh token that was used once is dead at once.
//! It forgives nothing that a real host might not forgive, so a client that lives with it can live
//! with NinjaOne.
//!
//! | file | holds |
//! |---|---|
//! | `server` | [`Simulator`]: start, routes, shutdown |
//! | `handle`, `admin` | [`Handle`], the simulator's own endpoint in the process and over HTTP |
//! | `options`, `clients`, `registry` | what it is told, and the apps registered with it |
//! | `state`, `mint` | what the host knows, and its tokens |
//! | `token`, `grants`, `authorize`, `api`, `reply`, `front` | the endpoints and their answers |
//! | `faults`, `actions`, `queue` | which requests go wrong, how, and whose turn it is |
//! | `alter`, `delivery` | what that makes of an answer, and how it leaves |
//! | `connection` | sockets that can be cut under HTTP's feet |
//! | `ledger` | what reached the token endpoint, and what it added up to |
//! | `seed` | grants without a consent |
//! | `cli` | `evergreen simulator` |
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use ninjaone::simulator::{Fault, SeedRequest, Simulator, SimulatorOptions};
//!
//! let simulator = Simulator::start(SimulatorOptions::default()).await?;
//! let grants = simulator.handle().seed(SeedRequest::count(3))?;
//! simulator.handle().script(Fault::respond(503, "").on_chain(&grants[0].chain))?;
//! // … point a client at simulator.url() …
//! assert_eq!(simulator.handle().totals().double_sends, 0);
//! simulator.shutdown().await;
//! # Ok::<(), ninjaone::simulator::Error>(())
//! # }).unwrap();
//! ```

mod actions;
mod admin;
mod alter;
mod api;
mod authorize;
pub mod cli;
mod clients;
mod connection;
mod delivery;
mod faults;
mod front;
mod grants;
mod handle;
mod ledger;
mod mint;
mod options;
mod queue;
mod registry;
mod reply;
mod seed;
mod server;
mod state;
mod token;
mod wire;

pub use actions::{Action, Echo, EchoEncoding, EchoPlace, Edit, RefreshToken, Respond, When};
pub use clients::{ClientApp, GrantType, Platform};
pub use faults::{Fault, Match, Target};
pub use handle::{ChainReport, Handle, Page, Report};
pub use ledger::{Delivery, Entry, Presented, Tally, Totals};
pub use options::{Paths, Refused, Rotation, SettingsChange, SimulatorOptions};
pub use queue::Queued;
pub use registry::ClientChange;
pub use seed::{SeedRequest, SeedRow, SeededGrant, Spread};
pub use server::{Error, Simulator};
pub use wire::Name;

#[cfg(test)]
mod tests;
