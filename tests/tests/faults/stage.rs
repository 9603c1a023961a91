//! Where it happens: a Redis, a strict provider behind a proxy, grants that are adopted and healthy,
//! and as many machines as a test needs. The test's own process looks, and works nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use evergreen_engine::{Delivery, Limits, WorkflowId};
use evergreen_tests::bench::adopt;
use evergreen_tests::{Bench, Proxy, RedisServer, eventually, within};
use ninjaone::integration::Target;
use ninjaone::lifecycle::{Credential, KIND, Signal, Source};
use ninjaone::service::{App, StatusView, TokenAsk};
use ninjaone::simulator::{Action, Fault, Handle, SeededGrant, SimulatorOptions, When};
use redis::FromRedisValue;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use crate::machine::{LEASE, Machine};

/// How long anything that is waited for may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Stage {
    pub(crate) redis: RedisServer,
    pub(crate) bench: Bench,
    /// Looks and signals; claims nothing by itself.
    pub(crate) api: App,
    /// Before the provider, for all machines.
    pub(crate) provider: Proxy,
    pub(crate) simulator: Handle,
    pub(crate) grants: Vec<SeededGrant>,
    disks: TempDir,
}

impl Stage {
    /// One grant, healthy, of an hour.
    pub(crate) async fn new() -> Self {
        Self::of(1, SimulatorOptions::default()).await
    }

    /// So many, at a provider of this kind.
    pub(crate) async fn of(grants: usize, simulator: SimulatorOptions) -> Self {
        Self::on(RedisServer::start_own().await, grants, simulator).await
    }

    pub(crate) async fn on(redis: RedisServer, grants: usize, simulator: SimulatorOptions) -> Self {
        let provider = Proxy::before_anything().await;
        let options = SimulatorOptions {
            public_url: Some(format!("http://{}", provider.address())),
            ..simulator
        };
        let limits = Limits {
            lease: LEASE,
            ..Limits::default()
        };
        let bench = Bench::beside_processes(&redis, options)
            .await
            .with_limits(limits);
        provider.lead_to(bench.simulator.addr());
        let api = bench.app("api");
        let grants = bench.seed(grants);
        for grant in &grants {
            adopt(&api, grant).await;
        }
        Self {
            simulator: bench.simulator.handle().clone(),
            redis,
            bench,
            api,
            provider,
            grants,
            disks: TempDir::with_prefix("evergreen-disks-").unwrap(),
        }
    }

    /// A machine of this name, with a disk and a way to Redis of its own. Nothing runs on it yet.
    pub(crate) async fn machine(&self, name: &str) -> Machine {
        let proxy = Proxy::before_redis(&self.redis).await;
        let environment = vec![
            ("EVERGREEN_SEAL_KEYS", self.bench.keys().to_owned()),
            ("EVERGREEN_NINJAONE_CLIENT_ID", "evergreen-demo".to_owned()),
            (
                "EVERGREEN_NINJAONE_CLIENT_SECRET",
                "evergreen-demo-secret".to_owned(),
            ),
            (
                "EVERGREEN_NINJAONE_HOSTS",
                self.provider.address().to_string(),
            ),
            ("EVERGREEN_LEASE", format!("{}s", LEASE.as_secs())),
        ];
        Machine::new(proxy, self.disks.path().join(name), environment)
    }

    /// A machine whose worker runs.
    pub(crate) async fn working(&self, name: &str) -> Machine {
        let mut machine = self.machine(name).await;
        machine.start().await;
        machine
    }

    /// Who takes over from `one`. Its own lease is long, so that what it does is not lost again to a
    /// test that is slow.
    pub(crate) async fn successor(&self) -> Machine {
        let mut two = self.machine("two").await.with("EVERGREEN_LEASE", "15s");
        two.start().await;
        two
    }

    pub(crate) fn target(&self) -> Target {
        target(&self.grants[0])
    }

    pub(crate) fn id(&self) -> WorkflowId {
        id(&self.grants[0])
    }

    /// Asks the machines for a refresh; whoever is there does it.
    pub(crate) async fn ask(&self) {
        self.ask_for(self.status().await.generation).await;
    }

    /// Asks for the refresh of this generation.
    pub(crate) async fn ask_for(&self, generation: u64) {
        let signal = Signal::RefreshNow {
            source: Source::Operator,
            grant: None,
            generation,
        };
        let (id, delivery) = (self.id(), Delivery::default());
        let told = self
            .api
            .engine()
            .signal::<Credential>(&id, &signal, delivery);
        assert!(told.await.unwrap().is_queued());
    }

    /// Lets the provider keep the next request, before or after it is carried out. Its number is for
    /// [`Stage::held`] and for releasing it.
    pub(crate) fn hold(&self, when: When) -> u64 {
        self.simulator
            .script(Fault::new(Action::Hold { when }))
            .unwrap()
    }

    /// Waits until the provider has that request.
    pub(crate) async fn held(&self, hold: u64) {
        tokio::time::timeout(PATIENCE, self.simulator.applied(hold, 1))
            .await
            .expect("a request");
    }

    pub(crate) async fn status(&self) -> StatusView {
        self.api.status(&self.target()).await.unwrap()
    }

    pub(crate) async fn see(&self, what: &str, wanted: impl Fn(&StatusView) -> bool) -> StatusView {
        let target = self.target();
        let mut last = None;
        let seen = within(PATIENCE, async || {
            let status = self.api.status(&target).await;
            let good = status
                .as_ref()
                .ok()
                .filter(|status| wanted(status))
                .cloned();
            last = Some(status);
            good
        });
        match seen.await {
            Some(status) => status,
            None => panic!("not within {PATIENCE:?}: {what}; last seen {last:?}"),
        }
    }

    /// How often each refresh token was presented, in the order of the first time.
    pub(crate) fn presented(&self) -> Vec<u64> {
        let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for entry in self.simulator.entries(0, 10_000).entries {
            if let Some(token) = entry.fingerprint {
                counts.entry(token).or_insert((entry.seq, 0)).1 += 1;
            }
        }
        let mut counts: Vec<_> = counts.into_values().collect();
        counts.sort_unstable();
        counts.into_iter().map(|(_, count)| count).collect()
    }

    /// All events of the stream so far, their names without the prefix, oldest first.
    pub(crate) async fn told(&self) -> Vec<String> {
        let events = self.api.events(&Default::default(), 10_000).await.unwrap();
        let short = |name: &str| name.replace("INTEGRATION_", "").replace("TOKEN_", "");
        events.iter().map(|event| short(&event.event)).collect()
    }

    pub(crate) async fn count(&self, event: &str) -> usize {
        self.told()
            .await
            .iter()
            .filter(|told| *told == event)
            .count()
    }

    /// A field of the record, as it lies in Redis.
    pub(crate) async fn field<T: FromRedisValue>(&self, field: &str) -> T {
        self.redis
            .cli(&["HGET", &self.key("wf").await, field])
            .await
    }

    /// The key of the grant's record, or of what belongs to it.
    pub(crate) async fn key(&self, what: &str) -> String {
        let keys: Vec<String> = self
            .redis
            .cli(&["KEYS", &format!("*:wf:{}", self.id())])
            .await;
        keys[0].replace(":wf:", &format!(":{what}:"))
    }

    /// Its score in the index.
    pub(crate) async fn score(&self) -> Option<f64> {
        let due = self.due().await;
        self.redis
            .cli(&["ZSCORE", &due, &self.id().to_string()])
            .await
    }

    /// The key of the index that it belongs to.
    pub(crate) async fn due(&self) -> String {
        let key = self.key("wf").await;
        let tag = key.split(":wf:").next().unwrap().to_owned();
        format!("{tag}:due")
    }

    /// Waits until nobody holds it and nothing is in flight or waits, and the index is a copy of it.
    pub(crate) async fn is_at_rest(&self) {
        let store = &self.bench.store;
        eventually("rest", PATIENCE, async || {
            let reading = store.read(&self.id(), false).await.ok()??;
            let record = &reading.record;
            let idle = record.owner.is_none() && record.activity.is_none();
            (idle && reading.inbox_len == 0 && reading.score == record.wake_at).then_some(())
        })
        .await;
    }

    /// What is served is what the provider takes.
    pub(crate) async fn serves_a_good_token(&self) {
        let token = self
            .api
            .token(&self.target(), &TokenAsk::default())
            .await
            .unwrap();
        self.takes(token.access_token.expose_secret()).await;
    }

    /// The provider takes this access token.
    pub(crate) async fn takes(&self, token: &str) {
        let url = format!("http://{}/v2/organizations", self.bench.simulator.addr());
        let answer = reqwest::Client::new().get(url).bearer_auth(token).send();
        assert!(answer.await.unwrap().status().is_success());
    }
}

pub(crate) fn target(grant: &SeededGrant) -> Target {
    format!("{}/{}", grant.tenant, grant.integration)
        .parse()
        .unwrap()
}

pub(crate) fn id(grant: &SeededGrant) -> WorkflowId {
    WorkflowId::new(KIND, &format!("{}@user", target(grant).integration)).unwrap()
}
