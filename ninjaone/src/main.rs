//! The program `evergreen`. What it can do is in [`ninjaone::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ninjaone::cli::main()
}
