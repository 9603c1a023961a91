//! The whole surface over a store in memory and a simulated NinjaOne.

mod access;
mod apikeys;
mod consent;
mod events;
pub(crate) mod fixture;
mod logs;
mod requeue;
mod server;
mod surface;
mod verbs;
mod waiting;
