//! The protocol, written down in plain Rust.
