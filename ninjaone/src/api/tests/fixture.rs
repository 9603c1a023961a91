//! A site to ask, and ways to ask it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use evergreen_engine::Limits;
use evergreen_engine::store::Store;
use evergreen_engine::store::memory::MemoryStore;
use evergreen_engine::testing::FaultyStore;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::api::{KeyStore, Scope, Site, server};
use crate::lifecycle::Settings;
use crate::provider::{ClientApp, HostPolicy};
use crate::service::{App, AppOptions};
use crate::simulator::{SeedRequest, SeededGrant, Simulator, SimulatorOptions};
use crate::telemetry::Telemetry;
use crate::vault::{FingerprintKey, KeyRing};

/// Where the simulator's app expects the callback.
const PUBLIC_URL: &str = "http://127.0.0.1:8080";

/// A running site without a network, and the NinjaOne behind it.
pub(crate) struct Fixture {
    pub(crate) simulator: Simulator,
    pub(crate) app: App,
    pub(crate) router: Router,
    pub(crate) store: Arc<dyn Store>,
    /// The way to the store, where it is to fail.
    pub(crate) way: FaultyStore,
    pub(crate) keys: KeyStore,
    pub(crate) ending: CancellationToken,
    pub(crate) admin: String,
    pub(crate) read: String,
    pub(crate) token: String,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The last part of a problem's type.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.text
        );
        let kind = self.json()["type"].as_str().unwrap().to_owned();
        kind.strip_prefix("urn:evergreen:problem:")
            .unwrap()
            .to_owned()
    }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(false).await
    }

    pub(crate) async fn with(open_connect: bool) -> Self {
        let app = ClientApp {
            client_id: "evergreen-demo".to_owned(),
            client_secret: Some("evergreen-demo-secret".into()),
        };
        Self::over(open_connect, Some(app)).await
    }

    /// With this client app, or with none.
    pub(crate) async fn over(open_connect: bool, client: Option<ClientApp>) -> Self {
        let options = SimulatorOptions {
            auto_approve: true,
            ..SimulatorOptions::default()
        };
        let simulator = Simulator::start(options).await.unwrap();
        let way = FaultyStore::over(Arc::new(MemoryStore::new()));
        let store: Arc<dyn Store> = Arc::new(way.clone());
        let key = KeyRing::generate().unwrap();
        let options = AppOptions {
            worker_id: "test".to_owned(),
            limits: Limits::default(),
            settings: Settings::default(),
            ring: KeyRing::parse(key.printable.expose_secret()).unwrap(),
            client,
            hosts: HostPolicy::new().with_loopback(),
            journal_dir: None,
            public_url: PUBLIC_URL.to_owned(),
            redirect_uri: format!("{PUBLIC_URL}/oauth/callback"),
            salt: FingerprintKey::random().to_hex(),
            connect_timeout: Duration::from_secs(3),
        };
        let app = App::start(Arc::clone(&store), options, Arc::new(Telemetry::default())).unwrap();
        let keys = KeyStore::new(Arc::clone(&store));
        let mut made = Vec::new();
        for scope in [Scope::Admin, Scope::Read, Scope::Token] {
            let new = keys.create(scope.as_str(), &[scope], None).await.unwrap();
            made.push(new.key.expose_secret().to_owned());
        }
        let ending = CancellationToken::new();
        let site = Site::new(app.clone(), keys.clone(), open_connect, ending.clone());
        let [admin, read, token] = made.try_into().unwrap();
        Self {
            simulator,
            app,
            router: server::router(site),
            store,
            way,
            keys,
            ending,
            admin,
            read,
            token,
        }
    }

    /// Adopts a grant that the simulator knows.
    pub(crate) async fn adopted(&self) -> SeededGrant {
        let seeded = self
            .simulator
            .handle()
            .seed(SeedRequest::count(1))
            .unwrap()
            .remove(0);
        let answer = self
            .put(
                &path(&seeded),
                &self.admin,
                &json!({
                    "access_token": seeded.access_token, "refresh_token": seeded.refresh_token,
                    "expires_at": seeded.expires_at, "instance_url": seeded.instance_url,
                }),
            )
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        assert_eq!(answer.json()["result"], "adopted");
        seeded
    }

    pub(crate) async fn key(&self, scope: Scope, tenant: &str) -> String {
        let new = self
            .keys
            .create("bound", &[scope], Some(&[tenant.to_owned()]))
            .await
            .unwrap();
        new.key.expose_secret().to_owned()
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> Answer {
        self.ask("GET", path, key, None).await
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.ask("POST", path, key, Some(body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.ask("PUT", path, key, Some(body.to_string())).await
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        key: &str,
        body: Option<String>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        self.send(request.body(Body::from(body.unwrap_or_default())).unwrap())
            .await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 10 * 1024 * 1024).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }
}

/// The path of an integration under `/v1`.
pub(crate) fn path(seeded: &SeededGrant) -> String {
    format!("/v1/integrations/{}/{}", seeded.tenant, seeded.integration)
}
