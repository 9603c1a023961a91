//! What the scenarios share.

use std::time::Duration;

use evergreen_engine::{Limits, WorkflowId};
use evergreen_tests::Bench;
use evergreen_tests::bench::adopt;
use ninjaone::integration::Target;
use ninjaone::lifecycle::KIND;
use ninjaone::service::{Adopted, App, ServiceError, StatusView, TokenAsk};
use ninjaone::simulator::{Fault, SeededGrant, SimulatorOptions};
use serde_json::Value;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A provider whose access tokens live so many seconds.
pub(crate) fn life(seconds: u64) -> SimulatorOptions {
    SimulatorOptions {
        access_token_life: Duration::from_secs(seconds),
        ..SimulatorOptions::default()
    }
}

/// The shortest leases that are allowed, so that a takeover does not take long.
pub(crate) fn short_leases() -> Limits {
    Limits {
        lease: Duration::from_secs(3),
        poll_cap: Duration::from_millis(100),
        ..Limits::default()
    }
}

/// One grant in a store whose time stands still.
pub(crate) struct Life {
    pub(crate) bench: Bench,
    pub(crate) app: App,
    pub(crate) grant: SeededGrant,
    pub(crate) target: Target,
}

impl Life {
    /// A grant of so many seconds, adopted.
    pub(crate) async fn of(seconds: u64) -> Self {
        Self::on(Bench::with_a_clock(life(seconds)).await).await
    }

    pub(crate) async fn on(bench: Bench) -> Self {
        let app = bench.app("worker-1");
        let grant = bench.seed(1).remove(0);
        assert_eq!(adopt(&app, &grant).await, Adopted::Adopted);
        Self {
            target: target(&grant),
            bench,
            app,
            grant,
        }
    }

    pub(crate) async fn status(&self) -> StatusView {
        self.app.status(&self.target).await.unwrap()
    }

    pub(crate) async fn pass(&self, span: Duration) {
        self.bench.pass(&self.app, span).await;
    }

    /// Lets the planned refresh come, and what follows from it at once.
    pub(crate) async fn pass_the_refresh(&self) {
        let at = ms(self.status().await.next_refresh_at.as_ref().unwrap());
        let now = self.bench.now().await;
        self.pass(Duration::from_millis(at.saturating_sub(now)))
            .await;
        // What follows at once follows by the provider's clock, which goes on.
        self.pass(Duration::from_secs(1)).await;
    }

    pub(crate) fn requests(&self) -> u64 {
        self.bench.simulator.handle().totals().requests
    }

    pub(crate) fn script(&self, fault: Fault) -> u64 {
        self.bench.simulator.handle().script(fault).unwrap()
    }

    /// The access token that is served now.
    pub(crate) async fn token(&self) -> ninjaone::handoff::Handed {
        let ask = TokenAsk {
            with_refresh_token: true,
            ..TokenAsk::default()
        };
        self.app.token(&self.target, &ask).await.unwrap()
    }

    /// Names of the events so far, without their prefix.
    pub(crate) async fn told(&self) -> Vec<String> {
        names(&events(&self.app).await)
    }

    pub(crate) async fn count(&self, event: &str) -> usize {
        self.told()
            .await
            .iter()
            .filter(|told| *told == event)
            .count()
    }

    /// When its timer stands in the index, and how many signals wait.
    pub(crate) async fn due(&self) -> (Option<u64>, u64) {
        let reading = self.bench.store.read(&self.id(), false).await.unwrap();
        let reading = reading.expect("it exists");
        (reading.score, reading.inbox_len)
    }

    pub(crate) fn id(&self) -> WorkflowId {
        let name = self.target.integration.to_string();
        WorkflowId::new(KIND, &format!("{name}@user")).unwrap()
    }

    /// Whether the API takes this access token.
    pub(crate) async fn api_takes(&self, token: &str) -> bool {
        let url = format!("{}/v2/organizations", self.bench.simulator.handle().url());
        let answer = reqwest::Client::new().get(url).bearer_auth(token).send();
        answer.await.unwrap().status().is_success()
    }
}

/// Why no token is given.
pub(crate) async fn refused(app: &App, life: &Life) -> ServiceError {
    let answer = app.token(&life.target, &TokenAsk::default()).await;
    answer.map(drop).unwrap_err()
}

pub(crate) fn target(grant: &SeededGrant) -> Target {
    format!("{}/{}", grant.tenant, grant.integration)
        .parse()
        .unwrap()
}

/// All events: name without prefix, and payload.
pub(crate) async fn events(app: &App) -> Vec<(String, Value)> {
    let events = app.events(&Default::default(), 10_000).await.unwrap();
    events
        .into_iter()
        .map(|event| {
            let name = event
                .event
                .replace("INTEGRATION_", "")
                .replace("TOKEN_", "");
            (name, event.payload)
        })
        .collect()
}

pub(crate) fn names(events: &[(String, Value)]) -> Vec<String> {
    events.iter().map(|(name, _)| name.clone()).collect()
}

/// An RFC 3339 time as milliseconds.
pub(crate) fn ms(time: &str) -> u64 {
    let time = chrono::DateTime::parse_from_rfc3339(time).unwrap();
    u64::try_from(time.timestamp_millis()).unwrap()
}
