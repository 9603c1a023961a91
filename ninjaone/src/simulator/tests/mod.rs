//! Drives a running simulator over real HTTP.

mod admin;
mod api;
mod consent;
mod faults;
mod ledger;
mod rotation;
mod token;

use std::sync::Once;
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{Entry, SeedRequest, SeededGrant, Simulator, SimulatorOptions};

const ID: &str = "evergreen-demo";
const SECRET: &str = "evergreen-demo-secret";
const REDIRECT_URI: &str = "http://127.0.0.1:8080/oauth/callback";

/// A simulator and a client that believes nothing: no redirects, no proxy, no patience.
struct Bench {
    simulator: Simulator,
    http: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }
}

async fn strict() -> Bench {
    bench(SimulatorOptions::default()).await
}

async fn bench(options: SimulatorOptions) -> Bench {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Fails only if another test of the crate was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20));
    Bench {
        simulator: Simulator::start(options).await.unwrap(),
        http: http.build().unwrap(),
    }
}

async fn in_time<T>(wait: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, wait).await.unwrap()
}

async fn read(response: reqwest::Result<reqwest::Response>) -> Answer {
    let response = response.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.text().await.unwrap(),
    }
}

impl Bench {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.simulator.url())
    }

    fn one_grant(&self) -> SeededGrant {
        let grants = self.simulator.handle().seed(SeedRequest::count(1));
        grants.unwrap().remove(0)
    }

    /// Waits for an entry like this, not for ever.
    async fn entry(&self, like: impl Fn(&Entry) -> bool) -> Entry {
        in_time(self.simulator.handle().entry(0, like)).await
    }

    /// Waits until a fault has struck, not for ever.
    async fn struck(&self, fault: u64) {
        in_time(self.simulator.handle().applied(fault, 1)).await;
    }

    async fn get(&self, path: &str) -> Answer {
        read(self.http.get(self.url(path)).send().await).await
    }

    async fn token(&self, form: &[(&str, &str)]) -> Answer {
        let request = self.http.post(self.url("/ws/oauth/token")).form(form);
        read(request.send().await).await
    }

    async fn try_refresh(&self, token: &str) -> reqwest::Result<reqwest::Response> {
        let form = refresh_form(token);
        let request = self.http.post(self.url("/ws/oauth/token")).form(&form);
        request.send().await
    }

    async fn refresh(&self, token: &str) -> Answer {
        read(self.try_refresh(token).await).await
    }

    async fn admin(&self, path: &str, body: &str) -> Answer {
        let request = self.http.post(self.url(path)).body(body.to_owned());
        read(request.send().await).await
    }

    async fn api(&self, path: &str, access_token: &str) -> Answer {
        let request = self.http.get(self.url(path)).bearer_auth(access_token);
        read(request.send().await).await
    }
}

fn refresh_form(token: &str) -> [(&str, &str); 4] {
    [
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("client_id", ID),
        ("client_secret", SECRET),
    ]
}

/// The body is this, with an incident id where the star is.
fn assert_incident(body: &str, pattern: &str) {
    let (head, tail) = pattern.split_once('*').unwrap();
    let id = (body.strip_prefix(head)).and_then(|rest| rest.strip_suffix(tail));
    assert_eq!(id.map(str::len), Some(36), "{body}");
}

const CLIENT_UNKNOWN: &str =
    r#"{"resultCode":"Client app not exist","incidentId":"WEB_MGMT_SERVICE-*"}"#;

fn failure(error: &str) -> String {
    format!(
        r#"{{"resultCode":"FAILURE","errorMessage":"HTTP {error}","incidentId":"WEB_MGMT_SERVICE-*"}}"#
    )
}
