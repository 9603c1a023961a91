//! The program `evergreen`.
fn main() {}
