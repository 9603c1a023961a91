//! Keeps the OAuth credentials of NinjaOne integrations fresh.
//!
//! | module | holds |
//! |---|---|
//! | [`integration`] | how an integration and its grants are named |
//! | [`provider`] | NinjaOne from outside: hosts, the token endpoint, what each answer means |
//! | [`vault`] | sealing: the key ring, sealed blobs, keyed fingerprints |
//! | [`lifecycle`] | the machine: the life of one grant |
//! | [`refresher`] | the one token request, and how what it brings is kept safe |
//! | [`service`] | what the HTTP API and the commands are made of |
//! | [`api`] | the HTTP API, the dashboard, the metrics |
//! | [`client`] | NinjaOne's API, asked with an access token that is always good |
//! | [`telemetry`] | what the application counts |
//! | [`webhook`] | every event of the outbox, signed and posted to one receiver |
//! | [`journal`] | rotated pairs on the worker's disk between the reply and the commit |
//! | [`import`] | credentials that other software left behind |
//! | [`handoff`] | tokens for those who need one: environment, files, child processes |
//! | [`cli`] | the command line |
//! | [`bench`](mod@bench) | measurements: what scripts cost, how soon the dead are noticed |
//! | [`config`] | settings from flags, environment and file, checked all at once |
//! | [`simulator`] | a strict stand-in for NinjaOne |

pub mod api;
pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
pub mod handoff;
pub mod import;
pub mod integration;
pub mod journal;
pub mod lifecycle;
pub mod provider;
pub mod refresher;
pub mod service;
pub mod simulator;
pub mod telemetry;
pub mod vault;
pub mod webhook;
mod when;
