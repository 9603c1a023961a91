//! A machine: a worker's process, its disk, and its own way to Redis.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evergreen_tests::process::Invocation;
use evergreen_tests::{Evergreen, Finished, Proxy, Signal, eventually};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::stage::PATIENCE;

/// What the kernel ends a process with that writes beyond its limit.
const SIGXFSZ: i32 = 25;

pub(crate) struct Machine {
    pub(crate) proxy: Proxy,
    disk: PathBuf,
    environment: Vec<(&'static str, String)>,
    process: Option<Evergreen>,
    metrics: String,
}

impl Machine {
    pub(crate) fn new(
        proxy: Proxy,
        disk: PathBuf,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            proxy,
            disk,
            environment,
            process: None,
            metrics: String::new(),
        }
    }

    /// With another setting.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Starts its worker, again if one has died on it: what is on the disk is still there.
    pub(crate) async fn start(&mut self) {
        self.listen("worker", "metrics").await;
    }

    /// Starts an API with a worker; where it is.
    pub(crate) async fn serve(&mut self) -> String {
        let address = self.listen("serve", "address").await;
        format!("http://{address}")
    }

    /// Starts a server; its address stands in the line that has this field.
    async fn listen(&mut self, command: &str, field: &str) -> String {
        let mut server = self
            .program(&[command])
            .env("EVERGREEN_LISTEN", "127.0.0.1:0")
            .env("EVERGREEN_LOG_FORMAT", "json")
            .spawn();
        let line = server
            .wait_for_line(&format!("\"{field}\":"), PATIENCE)
            .await;
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = line["fields"][field].as_str().or(line[field].as_str());
        let address = address.unwrap().to_owned();
        self.metrics = format!("http://{address}/metrics");
        self.process = Some(server);
        address
    }

    /// A command that works on Redis itself, as this machine reaches it.
    fn program(&self, arguments: &[&str]) -> Invocation {
        let mut program = Evergreen::with(arguments)
            .env("EVERGREEN_REDIS_URL", self.proxy.redis_url())
            .env("EVERGREEN_JOURNAL_DIR", &self.disk);
        for (name, value) in &self.environment {
            program = program.env(name, value);
        }
        program
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Finished {
        self.program(arguments).run(PATIENCE).await
    }

    /// An API key with these scopes.
    pub(crate) async fn key(&self, scopes: &[&str]) -> String {
        let mut arguments = vec!["apikeys", "create", "--name", "tests", "--json"];
        for scope in scopes {
            arguments.extend(["--scope", scope]);
        }
        let made = self.run(&arguments).await.expect_code(0).json();
        made["key"].as_str().unwrap().to_owned()
    }

    pub(crate) fn worker(&mut self) -> &mut Evergreen {
        self.process.as_mut().expect("it was started")
    }

    /// SIGKILL: nothing of the process runs on.
    pub(crate) fn kill(&mut self) {
        let status = self.process.take().expect("it was started").kill();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{status}");
    }

    /// SIGTERM, and its end in order.
    pub(crate) async fn end(&mut self) {
        self.worker().signal(Signal::TERM);
        self.ended().await;
    }

    /// Its end in order, after it was told to.
    pub(crate) async fn ended(&mut self) {
        let worker = self.process.take().expect("it was started");
        worker.finished(PATIENCE).await.expect_code(0);
    }

    /// From now on the kernel kills the process as soon as it has written so many bytes to its journal.
    pub(crate) fn die_writing_the_journal(&mut self, after: u64) {
        let length: u64 = self
            .journals()
            .iter()
            .map(|file| file.metadata().unwrap().len())
            .sum();
        let pid = Pid::from_raw(self.worker().id().cast_signed());
        let limit = |bytes| Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        prlimit(pid, Resource::Core, limit(0)).unwrap();
        prlimit(pid, Resource::Fsize, limit(length + after)).unwrap();
    }

    /// Waits until the kernel has done it.
    pub(crate) async fn died_writing(&mut self) {
        let worker = self.worker();
        let status = eventually("its death", PATIENCE, async || worker.exit()).await;
        assert_eq!(
            status.signal(),
            Some(SIGXFSZ),
            "{status}: {}",
            worker.output()
        );
        self.process = None;
    }

    fn journals(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(&self.disk).unwrap();
        let files = files.map(|file| file.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|end| end == "journal"))
            .collect()
    }

    pub(crate) fn disk(&self) -> &Path {
        &self.disk
    }

    /// Entries in its journal.
    pub(crate) fn entries(&self) -> usize {
        ninjaone::journal::read_dir(&self.disk).map_or(0, |listing| listing.entries.len())
    }

    pub(crate) async fn see_entries(&self, wanted: usize) {
        eventually(
            &format!("{wanted} entries in the journal"),
            PATIENCE,
            async || (self.entries() == wanted).then_some(()),
        )
        .await;
    }

    /// What its worker counts under this name.
    pub(crate) async fn counts(&self, name: &str) -> u64 {
        let page = reqwest::get(&self.metrics)
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in\n{page}"))
    }

    pub(crate) async fn see_count(&self, name: &str, wanted: impl Fn(u64) -> bool) {
        eventually(name, PATIENCE, async || {
            wanted(self.counts(name).await).then_some(())
        })
        .await;
    }
}

/// How long a lease of these machines lasts: the shortest that is allowed.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
