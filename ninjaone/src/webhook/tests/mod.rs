//! A receiver that does as it is told, and dispatchers over a store in memory, on virtual time.

mod away;
mod http;
mod senders;
mod store;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use evergreen_engine::store::memory::MemoryStore;
use evergreen_engine::store::{
    Claim, ClaimMode, Claimed, Commit, Creation, OutboxEntry, Signal, Store,
};
use evergreen_engine::{Millis, Platform, WorkflowId};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::dispatcher::Shared;
use super::{Answer, Carrier, Dispatcher, MayLeave, Signed, SigningSecrets};
use crate::telemetry::Telemetry;

/// When every test begins.
const BEGIN: Millis = 1_763_700_000_000;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Within this a healthy sender has delivered what there is.
const SOON: Duration = Duration::from_secs(30);

/// How long an answer is on its way.
const TRAVEL: Duration = Duration::from_millis(20);

/// A webhook that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Came {
    id: String,
    integration: String,
    at: Duration,
    taken: bool,
}

type Rule = Box<dyn Fn(&str) -> Answer + Send>;

struct Inner {
    came: Mutex<Vec<Came>>,
    rule: Mutex<Rule>,
    under_way: Mutex<BTreeMap<String, usize>>,
    /// Integrations of which two were under way at once.
    at_once: Mutex<Vec<String>>,
    begun: Instant,
    /// While something is here, an answer waits for it.
    hold: Mutex<Option<Arc<Notify>>>,
    /// While something is here, a connection waits for it.
    far: Mutex<Option<Arc<Notify>>>,
}

/// A receiver: looks at every signature, answers by its rule, and sees it if two webhooks of one
/// integration are under way at once.
#[derive(Clone)]
struct Receiver(Arc<Inner>);

fn status(status: u16) -> Answer {
    Answer::Status {
        status,
        retry_after: None,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Receiver {
    fn new() -> Self {
        Self(Arc::new(Inner {
            came: Mutex::default(),
            rule: Mutex::new(Box::new(|_| status(200))),
            under_way: Mutex::default(),
            at_once: Mutex::default(),
            begun: Instant::now(),
            hold: Mutex::default(),
            far: Mutex::default(),
        }))
    }

    /// From now on it answers so, by integration.
    fn answers(&self, rule: impl Fn(&str) -> Answer + Send + 'static) {
        *locked(&self.0.rule) = Box::new(rule);
    }

    /// From now on answers wait until they are let go.
    fn holds(&self) -> Arc<Notify> {
        let gate = Arc::new(Notify::new());
        *locked(&self.0.hold) = Some(Arc::clone(&gate));
        gate
    }

    /// From now on it takes until then before a connection stands.
    fn is_far(&self) -> Arc<Notify> {
        let gate = Arc::new(Notify::new());
        *locked(&self.0.far) = Some(Arc::clone(&gate));
        gate
    }

    fn lets_go(&self) {
        let gate = locked(&self.0.hold).take();
        gate.iter().for_each(|gate| gate.notify_waiters());
    }

    fn came(&self) -> Vec<Came> {
        assert!(locked(&self.0.at_once).is_empty(), "two at once");
        locked(&self.0.came).clone()
    }

    /// The ids that it has taken, in order, of one integration or of all.
    fn taken(&self, integration: Option<&str>) -> Vec<String> {
        let came = self.came().into_iter();
        let wanted = came.filter(|one| integration.is_none_or(|name| one.integration == name));
        wanted.filter(|one| one.taken).map(|one| one.id).collect()
    }
}

#[async_trait]
impl Carrier for Receiver {
    async fn post(&self, message: Signed, may_leave: MayLeave) -> Answer {
        let far = locked(&self.0.far).clone();
        if let Some(far) = far {
            far.notified().await;
        }
        if !may_leave() {
            return Answer::Withheld;
        }
        let secrets = SigningSecrets::parse(SECRET).unwrap();
        let expected = secrets.sign(&message.id, message.timestamp_s, &message.body);
        assert_eq!(message.signature, expected);
        let body: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["data"]["id"], message.id.as_str());
        let name = body["data"]["integration"]
            .as_str()
            .unwrap_or("")
            .to_owned();
        let now_s = BEGIN / 1000 + self.0.begun.elapsed().as_secs();
        assert!(message.timestamp_s.abs_diff(now_s) <= 2, "of this attempt");

        let _under_way = UnderWay::begin(&self.0, &name);
        let answer = (locked(&self.0.rule))(&name);
        let taken = matches!(
            answer,
            Answer::Status {
                status: 200..300,
                ..
            }
        );
        locked(&self.0.came).push(Came {
            id: message.id,
            integration: name,
            at: self.0.begun.elapsed(),
            taken,
        });
        let gate = locked(&self.0.hold).clone();
        match gate {
            Some(gate) => gate.notified().await,
            // On its way back.
            None => drop(timeout(TRAVEL, std::future::pending::<()>()).await),
        }
        answer
    }
}

/// A webhook of an integration that is under way.
struct UnderWay(Arc<Inner>, String);

impl UnderWay {
    fn begin(receiver: &Arc<Inner>, name: &str) -> Self {
        let mut all = locked(&receiver.under_way);
        let count = all.entry(name.to_owned()).or_default();
        *count += 1;
        if *count > 1 {
            locked(&receiver.at_once).push(name.to_owned());
        }
        Self(Arc::clone(receiver), name.to_owned())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(count) = locked(&self.0.under_way).get_mut(&self.1) {
            *count -= 1;
        }
    }
}

/// A store whose time is the test's, with events in it.
#[derive(Clone)]
struct Outbox {
    store: Arc<MemoryStore>,
    told: Arc<AtomicU64>,
}

impl Outbox {
    fn new() -> Self {
        let begun = Instant::now();
        let clock = move || BEGIN + u64::try_from(begun.elapsed().as_millis()).unwrap();
        let store = MemoryStore::with_clock_and_partitions(Arc::new(clock), 4);
        Self {
            store: Arc::new(store),
            told: Arc::default(),
        }
    }

    /// Publishes one event of an integration; answers its id.
    async fn tell(&self, integration: &str) -> String {
        self.tell_many(integration, 1, 1_000_000).await.remove(0)
    }

    /// Publishes several by one commit.
    async fn tell_many(&self, integration: &str, count: usize, events_max: usize) -> Vec<String> {
        let commit = format!("c{}", self.told.fetch_add(1, Ordering::SeqCst));
        let id = WorkflowId::new("test", integration).unwrap();
        let signal = Signal {
            once: None,
            id: id.clone(),
            payload: "{}".to_owned(),
            preemptive: false,
            unless_it_waits: false,
            ends_claim: None,
            create: Some(Creation {
                state: "New".to_owned(),
                data: "{}".to_owned(),
                schema: 1,
            }),
            durable: false,
        };
        assert!(self.store.signal(&signal).await.unwrap().is_queued());
        let claim = Claim {
            id: id.clone(),
            claim: commit.clone(),
            owner: "teller".to_owned(),
            lease: Duration::from_secs(15),
            mode: ClaimMode::Drive,
            spare_owned: false,
        };
        let claimed = self.store.claim(&claim).await.unwrap().answer;
        let Claimed::Claimed { record, inbox, .. } = claimed else {
            panic!("{claimed:?}");
        };
        let ids: Vec<String> = (0..count).map(|n| format!("{commit}-{n}")).collect();
        let event = |id: &String| OutboxEntry {
            id: id.clone(),
            event: "INTEGRATION_TOKEN_REFRESHED".to_owned(),
            subject_field: "integration".to_owned(),
            subject: integration.to_owned(),
            at: "2025-11-21T04:40:00.000Z".to_owned(),
            payload: "{}".to_owned(),
        };
        let telling = Commit {
            last_heard: None,
            id,
            fence: record.fence,
            claim: commit.clone(),
            commit,
            follows: record.commit.clone(),
            strict: false,
            consumed: inbox.len(),
            state: "New".to_owned(),
            data: "{}".to_owned(),
            schema: 1,
            wake_at: None,
            visible_at: None,
            activity: None,
            keep: None,
            finish: false,
            park: None,
            sealed: Vec::new(),
            log: String::new(),
            log_max: 0,
            events: ids.iter().map(event).collect(),
            events_max,
            durable: false,
        };
        self.store.commit(&telling).await.unwrap();
        ids
    }

    /// Events that are not settled.
    async fn undelivered(&self) -> u64 {
        let all = self.store.progress(super::READER).await.unwrap();
        all.iter().map(|one| one.unread + one.unsettled).sum()
    }
}

/// A dispatcher that runs.
struct Sender {
    task: JoinHandle<()>,
    stop: CancellationToken,
    telemetry: Arc<Telemetry>,
}

impl Sender {
    fn start(name: &str, store: Arc<dyn Store>, receiver: &Receiver) -> Self {
        Self::start_on(Platform::default(), name, store, receiver)
    }

    fn start_on(
        platform: Platform,
        name: &str,
        store: Arc<dyn Store>,
        receiver: &Receiver,
    ) -> Self {
        let telemetry = Arc::new(Telemetry::default());
        let shared = Shared {
            store,
            owner: name.to_owned(),
            carrier: Arc::new(receiver.clone()),
            secrets: SigningSecrets::parse(SECRET).unwrap(),
            telemetry: Arc::clone(&telemetry),
            events_max: 1_000_000,
            platform,
        };
        let stop = CancellationToken::new();
        Self {
            task: tokio::spawn(Dispatcher::over(shared).run(stop.clone())),
            stop,
            telemetry,
        }
    }

    /// It vanishes, whatever it is in the midst of.
    async fn dies(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// It is told to stop, and does.
    async fn leaves(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}
