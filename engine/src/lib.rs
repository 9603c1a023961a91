//! Durable workflows as state machines.
