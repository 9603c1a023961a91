//! model

mod breaks;
mod check;
mod configs;
mod fair;
mod faults;
mod holds;
mod machine;
mod observed;
mod promises;
mod rules;
mod state;
mod store;
mod time;
mod turn;
mod words;
mod world;
