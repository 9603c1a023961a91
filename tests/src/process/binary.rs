//! Where the program under test is, and that it is built from the sources of this moment.
//!
//! `EVERGREEN_TEST_BIN` names it; without that it is built by `cargo build` with the profile of
//! the test itself and into the same directory. One run of nextest, which starts a process for
//! every test, builds it once.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program `evergreen`, ready to run.
pub fn path() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("EVERGREEN_TEST_BIN") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => {
            let profile = profile_directory();
            built_once(&profile).unwrap_or_else(|error| panic!("building evergreen: {error}"));
            profile.join("evergreen")
        }
    })
    .clone()
}

/// Cargo's target directory, in which this test lies.
pub fn target_directory() -> PathBuf {
    let mut directory = profile_directory();
    directory.pop();
    directory
}

/// `target/debug` of `target/debug/deps/some_test-0123`.
fn profile_directory() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let inside = test
        .ancestors()
        .find(|path| path.ends_with("deps") || path.ends_with("examples"));
    let profile = inside.and_then(Path::parent);
    profile.expect("cargo puts tests into deps").to_owned()
}

fn built_once(profile: &Path) -> io::Result<()> {
    let stamp = profile.join(".evergreen-test-build");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(profile.join(".evergreen-test-build.lock"))?;
    lock.lock()?;
    let run = std::env::var("NEXTEST_RUN_ID").ok();
    if run.is_some() && std::fs::read_to_string(&stamp).ok() == run {
        return Ok(());
    }
    build(profile)?;
    match run {
        Some(run) => std::fs::write(stamp, run),
        None => Ok(()),
    }
}

fn build(profile: &Path) -> io::Result<()> {
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // The whole workspace and a test, because these decide the features of the dependencies: with those
    // that the tests were built with, nothing is compiled twice. Else a test waits for minutes.
    command
        .args(["build", "--quiet", "--workspace", "--bin", "evergreen"])
        .args(["--test", "harness"])
        .args(["--profile", name, "--target-dir"])
        .arg(profile.parent().unwrap_or(profile))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    // What cargo told this test about itself would make build scripts run again, and with them
    // everything that depends on theirs.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            command.env_remove(&name);
        }
    }
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("cargo: {status}")))
    }
}
