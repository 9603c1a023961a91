//! A store, and processes over it.

use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::store::Store;
use evergreen_engine::store::memory::MemoryStore;
use evergreen_engine::testing::{BEGIN, Fault, FaultyStore, runtime_clock};
use evergreen_engine::{Limits, WorkflowId};
use secrecy::ExposeSecret;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::integration::{GrantKind, IntegrationId, Target};
use crate::lifecycle::{Credential, KIND, Settings};
use crate::provider::{ClientApp, HostPolicy};
use crate::service::{AdoptOptions, Adopted, App, AppOptions, Offer};
use crate::telemetry::Telemetry;
use crate::vault::{FingerprintKey, KeyRing};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR_MS: u64 = 3_600_000;

/// A key as it stands in a ring, with an id of the test's choice.
pub(super) fn key(id: &str) -> String {
    let key = KeyRing::generate().unwrap().printable;
    let (_, material) = key.expose_secret().split_once(':').unwrap();
    format!("{id}:{material}")
}

/// A store that all processes share.
pub(super) struct Stage {
    pub(super) memory: MemoryStore,
    pub(super) salt: String,
}

/// A worker that runs until it is stopped.
pub(super) struct Working(oneshot::Sender<()>, JoinHandle<()>);

impl Working {
    pub(super) async fn stop(self) {
        self.0.send(()).unwrap();
        self.1.await.unwrap();
    }
}

/// A process, and its own way to the store.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) app: App,
    pub(super) way: FaultyStore,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self {
            memory: MemoryStore::with_clock(runtime_clock(BEGIN)),
            salt: FingerprintKey::random().to_hex(),
        }
    }

    pub(super) fn options(&self, name: &str, ring: &str) -> AppOptions {
        AppOptions {
            worker_id: name.to_owned(),
            limits: Limits::default(),
            settings: Settings::default(),
            ring: KeyRing::parse(ring).unwrap(),
            client: Some(ClientApp {
                client_id: "app".to_owned(),
                client_secret: Some("secret".into()),
            }),
            hosts: HostPolicy::default(),
            journal_dir: None,
            public_url: "http://127.0.0.1:8080".to_owned(),
            redirect_uri: "http://127.0.0.1:8080/oauth/callback".to_owned(),
            salt: self.salt.clone(),
            connect_timeout: 3 * SECOND,
        }
    }

    pub(super) fn process(&self, name: &str, ring: &str) -> Process {
        let way = FaultyStore::over(Arc::new(self.memory.clone()));
        let store: Arc<dyn Store> = Arc::new(way.clone());
        let options = self.options(name, ring);
        let app = App::start(store, options, Arc::new(Telemetry::default())).unwrap();
        Process { app, way }
    }

    /// The key that a blob was sealed with.
    pub(super) fn key_of(&self, id: &str, slot: &str) -> String {
        let sealed = self.memory.inspect(&workflow(id)).sealed;
        sealed[slot].split('.').nth(1).unwrap().to_owned()
    }

    pub(super) async fn now(&self) -> u64 {
        self.memory.now().await.unwrap()
    }
}

impl Process {
    /// From now on the store does not answer this process.
    pub(super) fn cut_off(&self) {
        let _shared = self.way.clone().in_weather(Box::new(|_| Some(Fault::Away)));
    }

    pub(super) fn work(&self) -> Working {
        let (stop, stopped) = oneshot::channel();
        let app = self.app.clone();
        let task = tokio::spawn(async move {
            let until = async {
                let _ = stopped.await;
            };
            app.work("test".to_owned(), until).await;
        });
        Working(stop, task)
    }

    /// Takes a grant of an hour from outside: `TENANT/INTEGRATION@grant`.
    pub(super) async fn adopts(&self, name: &str, token: &str) {
        let adopted = self.app.adopt(self.offer(name, token).await, REPLACE).await;
        assert_eq!(adopted.unwrap(), Adopted::Adopted);
    }

    pub(super) async fn offer(&self, name: &str, token: &str) -> Offer {
        let target: Target = name.parse().unwrap();
        let kind = target.grant.unwrap_or(GrantKind::User);
        let refresh = (kind == GrantKind::User).then(|| format!("R-{token}").into());
        Offer {
            grant: target.integration.grant(kind),
            access_token: Some(token.into()),
            refresh_token: refresh,
            expires_at: Some(self.app.engine().store().now().await.unwrap() + HOUR_MS),
            instance_url: Some("https://eu.ninjarmm.com".to_owned()),
            client_id: Some("app".to_owned()),
            client_secret: None,
            scopes: None,
            legacy_token_path: false,
        }
    }

    pub(super) async fn credential(&self, id: &str) -> Credential {
        let id = workflow(id);
        let view = self.app.engine().read::<Credential>(&id, false);
        view.await.unwrap().unwrap().machine.unwrap().0
    }
}

const REPLACE: AdoptOptions = AdoptOptions {
    replace: true,
    dry_run: false,
};

pub(super) fn workflow(id: &str) -> WorkflowId {
    WorkflowId::new(KIND, id).unwrap()
}

pub(super) fn integration() -> IntegrationId {
    "acme/prod".parse::<Target>().unwrap().integration
}

pub(super) fn target(name: &str) -> Target {
    name.parse().unwrap()
}
