//! The people of a run: they connect, disconnect and consent anew while everything breaks, ask again until
//! they are told that it is done, and remember what they were told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evergreen_engine::{Delivery, WorkflowId};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;

use super::memory::{Consent, Memory, Standing};
use super::now_ms;
use super::plan::Wish;
use super::provider::Provider;
use crate::bench::BenchError;
use crate::integration::{GrantKind, IntegrationId, Target};
use crate::lifecycle::{Credential, KIND, Signal, Source};
use crate::service::{AdoptOptions, Adopted, App, ListQuery, Offer, ServiceError, StatusView};
use crate::simulator::{SeedRequest, SeededGrant, Spread};

/// The integrations' name within their tenants.
const INTEGRATION: &str = "torture";
/// Connected at once at the beginning.
const AT_ONCE: usize = 8;
/// Between two tries of one wish.
const AGAIN: Duration = Duration::from_millis(250);
/// For how long a wish is repeated; a store that never comes back is no reason to hang.
const PATIENCE: Duration = Duration::from_mins(3);
/// See the module.
#[derive(Clone)]
pub(super) struct People {
    app: App,
    provider: Arc<Provider>,
    memory: Arc<Mutex<Memory>>,
}

impl People {
    /// Who works through this app.
    #[must_use]
    pub(super) fn new(app: App, provider: Arc<Provider>) -> Self {
        Self {
            app,
            provider,
            memory: Arc::default(),
        }
    }

    /// What they know. Never held across an await.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects so many integrations, whose access tokens expire one after another.
    ///
    /// # Errors
    /// It is not possible; nothing is broken yet.
    pub(super) async fn connect_all(&self, count: usize, life: Duration) -> Result<(), BenchError> {
        let life = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        let request = SeedRequest {
            integration: INTEGRATION.to_owned(),
            expires_in: Some(Spread {
                min: (life / 4).max(4),
                max: life + life / 4,
            }),
            ..SeedRequest::count(count)
        };
        let grants = self.provider.seed(&request).await?;
        let adopting = grants.into_iter().map(|grant| async move {
            let name = name(&grant);
            let id = identified(&name)?;
            let nth = self.consents(&grant);
            let how = AdoptOptions::default();
            let adopted = self.app.adopt(offer(&id, &grant), how).await;
            match adopted {
                Ok(Adopted::Adopted) => {}
                other => {
                    let why = format!("connecting {name} before anything broke: {other:?}");
                    return Err(BenchError::Process(why));
                }
            }
            let mut memory = self.memory();
            memory.standings.insert(name, Standing::Connected(nth));
            Ok(())
        });
        stream::iter(adopting)
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await
            .map(drop)
    }

    /// Somebody wishes something, and goes on wishing it in a task of `errands`.
    pub(super) fn wish(&self, wish: Wish, errands: &mut JoinSet<()>) {
        let (who, connected) = match wish {
            Wish::Disconnect { who } | Wish::Replace { who } => (who, true),
            Wish::Connect { who } => (who, false),
        };
        let Some(name) = self.memory().take(who, connected) else {
            return;
        };
        let people = self.clone();
        let disconnects = matches!(wish, Wish::Disconnect { .. });
        errands.spawn(async move {
            let carried_out = async {
                if disconnects {
                    people.disconnect(&name).await;
                } else {
                    people.connect(&name).await;
                }
            };
            if tokio::time::timeout(PATIENCE, carried_out).await.is_err() {
                people.memory().undone.push(format!("{name}: {wish:?}"));
            }
        });
    }

    async fn disconnect(&self, name: &str) {
        let Ok(target) = name.parse::<Target>() else {
            return;
        };
        while let Err(error) = self.app.disconnect(&target).await {
            tracing::debug!(%error, "a disconnect is asked for again");
            tokio::time::sleep(AGAIN).await;
        }
        let mut memory = self.memory();
        memory.ended(name);
        memory
            .standings
            .insert(name.to_owned(), Standing::Disconnected);
        *memory.done.entry("disconnected").or_default() += 1;
    }

    /// Each try is a consent of its own, as it is for a person whose browser showed an error.
    async fn connect(&self, name: &str) {
        loop {
            match self.consent(name).await {
                Ok(Some(consent)) => {
                    let mut memory = self.memory();
                    memory.ended_but(name, consent);
                    let standing = Standing::Connected(consent);
                    memory.standings.insert(name.to_owned(), standing);
                    *memory.done.entry("connected").or_default() += 1;
                    return;
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "a consent is given again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Whether it was taken.
    async fn consent(&self, name: &str) -> Result<Option<usize>, BenchError> {
        let wrong = |e: &dyn std::fmt::Display| BenchError::Process(format!("{name}: {e}"));
        let id = identified(name)?;
        let request = SeedRequest::one(id.tenant(), id.integration());
        let grants = self.provider.seed(&request).await?;
        let grant = grants.first().ok_or_else(|| wrong(&"no grant was made"))?;
        let consent = self.consents(grant);
        let how = AdoptOptions {
            replace: true,
            dry_run: false,
        };
        match self.app.adopt(offer(&id, grant), how).await {
            Ok(Adopted::Adopted) => Ok(Some(consent)),
            Ok(other) => {
                tracing::debug!(?other, "a consent was not taken");
                Ok(None)
            }
            Err(error) => Err(wrong(&error)),
        }
    }

    fn consents(&self, grant: &SeededGrant) -> usize {
        let mut memory = self.memory();
        memory.consents.push(Consent {
            integration: name(grant),
            chain: grant.chain.clone(),
            ended: None,
        });
        memory.consents.len() - 1
    }

    /// All integrations as the store has them, by name.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn list(&self) -> Result<Vec<StatusView>, ServiceError> {
        let mut all = Vec::new();
        let mut query = ListQuery {
            limit: 1_000,
            ..ListQuery::default()
        };
        loop {
            let page = self.app.list(&query).await?;
            all.extend(page.integrations);
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        all.retain(|status| status.grant == GrantKind::User.as_str());
        all.sort_by(|one, other| one.integration.cmp(&other.integration));
        all.dedup_by(|one, other| one.integration == other.integration);
        Ok(all)
    }

    /// Whoever is told to reconnect, and stays told, consents anew.
    pub(super) async fn look_after_verdicts(&self) {
        let all = match self.list().await {
            Ok(all) => all,
            // Redis may be away, by our own doing.
            Err(error) => {
                tracing::debug!(%error, "nobody has looked at the verdicts");
                return;
            }
        };
        let given_up = self.memory().notice(&all, now_ms());
        for name in given_up {
            let connecting = self.connect(&name);
            if tokio::time::timeout(PATIENCE, connecting).await.is_err() {
                self.memory().undone.push(format!("{name}: a new consent"));
            }
        }
    }

    /// Asks the workers for a refresh.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn ask_for_refresh(&self, name: &str) -> Result<(), BenchError> {
        let grant = identified(name)?.grant(GrantKind::User).to_string();
        let wrong = |why: &dyn std::fmt::Display| BenchError::Process(format!("{name}: {why}"));
        let id = WorkflowId::new(KIND, &grant).map_err(|e| wrong(&e))?;
        let engine = self.app.engine();
        let Some(view) = engine.read::<Credential>(&id, false).await? else {
            return Ok(());
        };
        let (credential, _) = view.machine.map_err(|e| wrong(&e))?;
        let seen = credential.grant.as_ref();
        let signal = Signal::RefreshNow {
            source: Source::Operator,
            grant: seen.map(|grant| grant.id),
            generation: seen.map_or(0, |grant| grant.generation),
        };
        let queued = engine.signal::<Credential>(&id, &signal, Delivery::default());
        // Who finds no room for a wish has others waiting, and comes again.
        queued.await.map(|_| ()).map_err(BenchError::from)
    }
}

fn name(grant: &SeededGrant) -> String {
    format!("{}/{}", grant.tenant, grant.integration)
}

fn identified(name: &str) -> Result<IntegrationId, BenchError> {
    let parsed = name.parse::<IntegrationId>();
    parsed.map_err(|why| BenchError::Process(format!("the simulator's {name}: {why}")))
}

/// A live grant as it is offered.
fn offer(id: &IntegrationId, grant: &SeededGrant) -> Offer {
    let expires_at = chrono::DateTime::parse_from_rfc3339(&grant.expires_at).ok();
    Offer {
        grant: id.grant(GrantKind::User),
        access_token: Some(grant.access_token.clone().into()),
        refresh_token: grant.refresh_token.clone().map(Into::into),
        expires_at: expires_at.and_then(|at| u64::try_from(at.timestamp_millis()).ok()),
        instance_url: Some(grant.instance_url.clone()),
        client_id: Some(grant.client_id.clone()),
        client_secret: None,
        scopes: Some(grant.scope.clone()),
        legacy_token_path: false,
    }
}
