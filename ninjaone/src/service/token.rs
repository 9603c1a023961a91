//! Handing out tokens, and refreshing when somebody needs one that is not there.

use std::time::Duration;

use evergreen_engine::Delivery;

use super::error::Recovery;
use super::handout::{Served, next_attempt, retry_after_s};
use super::memory::{ReadAt, Recalled, named};
use super::operate::at_rest;
use super::{App, ServiceError};
use crate::handoff::Handed;
use crate::integration::{GrantKind, GrantRef, IntegrationId, Target};
use crate::lifecycle::{Credential, Signal, Source};

/// What is asked of a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenAsk {
    /// It must live this long at least; more than half of its life counts as half of its life.
    pub min_validity: Option<Duration>,
    /// The refresh token as well. Whoever has it may spend it.
    pub with_refresh_token: bool,
}

impl App {
    /// A valid access token: of the named grant, else of `client` if that can be served now, else of
    /// `user`. While the store does not answer, what this process has read within the last minute counts.
    ///
    /// # Errors
    /// There is none now: the error says what helps.
    pub async fn token(&self, target: &Target, ask: &TokenAsk) -> Result<Handed, ServiceError> {
        if let Some(kind) = target.grant {
            return self.token_of(&target.integration.grant(kind), ask).await;
        }
        let grant = target.integration.grant(GrantKind::Client);
        let client = match self.token_of(&grant, ask).await {
            Ok(handed) => return Ok(handed),
            Err(error) => error,
        };
        let user = target.integration.grant(GrantKind::User);
        if matches!(client, ServiceError::StoreAway { .. }) {
            // A user's is not given where nobody knows whether the client grant has one; and a store that
            // is away is not waited for twice.
            let memory = &self.0.memory;
            return match (memory.recall(&grant, ask), memory.recall(&user, ask)) {
                (Recalled::NoToken, Recalled::Token(handed)) => Ok(*handed),
                _ => Err(client),
            };
        }
        self.token_of(&user, ask).await.map_err(|user| {
            match (is_not_there(&client), is_not_there(&user)) {
                // Only the client grant is there: what is wrong with it is the answer.
                (false, true) => client,
                (true, true) if matches!(user, ServiceError::NotFound { .. }) => client,
                _ => user,
            }
        })
    }

    /// A token in the place of one that the provider refused although it should be valid: the grant is
    /// refreshed, unless that has happened since the refused one was handed out, or another grant has
    /// taken its place. One request, whoever asks for it.
    ///
    /// # Errors
    /// There is none now: the error says what helps.
    pub async fn token_instead_of(
        &self,
        integration: &IntegrationId,
        refused: &Handed,
    ) -> Result<Handed, ServiceError> {
        let grant = integration.grant(refused.grant);
        self.0.memory.refused(&grant, refused);
        let what = || ServiceError::NotFound {
            what: integration.to_string(),
        };
        let found = self.find(&grant, false).await?.ok_or_else(what)?;
        let signal = Signal::RefreshNow {
            source: Source::Lazy,
            // What was refused, not what is there now: that may be another consent's.
            grant: refused.grant_id,
            generation: refused.generation,
        };
        self.tell(&found, &signal, Delivery::default()).await?;
        let found = self.drive_until(&found.grant, false, at_rest).await?;
        let fresh = self.token_of(&grant, &TokenAsk::default()).await?;
        if named(&fresh) != named(refused) {
            return Ok(fresh);
        }
        self.0.memory.refused(&grant, refused);
        let (credential, phase) = found.machine()?;
        let now = found.view.reading.now;
        Err(ServiceError::TryLater {
            integration: grant.to_string(),
            why: credential.failures.last.as_ref().map_or_else(
                || "the provider refused the access token, and no other came".to_owned(),
                ToString::to_string,
            ),
            after_s: retry_after_s(next_attempt(&found, phase), now),
        })
    }

    /// By the store; by memory where that does not answer.
    async fn token_of(&self, grant: &GrantRef, ask: &TokenAsk) -> Result<Handed, ServiceError> {
        match self.token_by_the_store(grant, ask).await {
            Err(away @ ServiceError::StoreAway { .. }) => match self.0.memory.recall(grant, ask) {
                Recalled::Token(handed) => Ok(*handed),
                Recalled::NoToken | Recalled::Nothing => Err(away),
            },
            told => told,
        }
    }

    async fn token_by_the_store(
        &self,
        grant: &GrantRef,
        ask: &TokenAsk,
    ) -> Result<Handed, ServiceError> {
        let memory = &self.0.memory;
        let mut tried = None;
        for _ in 0..5 {
            let read_at = ReadAt::now();
            let found = self.find(grant, true).await?;
            // Until it turns out that it has a token to give.
            let no_token = || memory.remember(grant, read_at, None);
            let Some(found) = found else {
                no_token();
                return Err(super::find::gone(grant.integration()));
            };
            if found.view.reading.record.barrier {
                // Somebody was promised that this is over: first make it so.
                no_token();
                self.drive(&found.id).await?;
                continue;
            }
            let (credential, phase) = found.machine()?;
            let Some(stored) = &credential.grant else {
                no_token();
                if credential.epoch == 0 {
                    return Err(super::find::gone(grant.integration()));
                }
                return Err(ServiceError::NeedsAttention {
                    integration: grant.to_string(),
                    why: DISCONNECTED.to_owned(),
                    recovery: Recovery::Reconnect,
                });
            };
            let seen = (stored.id, stored.generation);
            let served = self.serve(&found, credential, phase, stored, ask, tried.is_some());
            let there = match &served {
                Ok(Served::Token(handed)) => Some(handed),
                Ok(Served::Refresh { meanwhile, .. }) => meanwhile.as_ref(),
                Err(_) => None,
            };
            let life = stored.life().unwrap_or(0);
            memory.remember(grant, read_at, there.map(|handed| (&**handed, life)));
            match served? {
                Served::Token(handed) => return Ok(*handed),
                // The attempt that was waited for changed nothing.
                Served::Refresh { error, .. } if tried == Some(seen) => return Err(error),
                Served::Refresh { .. } => {
                    let (grant_id, generation) = seen;
                    let signal = Signal::RefreshNow {
                        source: Source::Lazy,
                        grant: Some(grant_id),
                        generation,
                    };
                    let delivery = Delivery::default();
                    let told = self
                        .engine()
                        .signal::<Credential>(&found.id, &signal, delivery)
                        .await?;
                    // Where there is no room for it, the turn that follows makes some, and it is asked for anew.
                    if told.is_queued() {
                        tried = Some(seen);
                    }
                    self.drive(&found.id).await?;
                    // The one immediate retry after an unknown outcome is a turn of its own, and so
                    // is a wish that came while another turn was under way.
                    if self.more_is_due(grant).await? {
                        self.drive(&found.id).await?;
                    }
                }
            }
        }
        Err(ServiceError::TryLater {
            integration: grant.to_string(),
            why: "it keeps changing".to_owned(),
            after_s: 1,
        })
    }

    async fn more_is_due(&self, grant: &GrantRef) -> Result<bool, ServiceError> {
        let Some(found) = self.find(grant, false).await? else {
            return Ok(false);
        };
        let (_, phase) = found.machine()?;
        let reading = &found.view.reading;
        let at = next_attempt(&found, phase);
        Ok(reading.inbox_len > 0 || at.is_some_and(|at| at <= reading.now))
    }
}

/// The word for a grant that a person has ended.
const DISCONNECTED: &str = "disconnected";

/// Whether there is no such grant, or not any more.
fn is_not_there(error: &ServiceError) -> bool {
    match error {
        ServiceError::NotFound { .. } => true,
        ServiceError::NeedsAttention { why, .. } => why == DISCONNECTED,
        _ => false,
    }
}
