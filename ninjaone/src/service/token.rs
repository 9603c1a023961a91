//! Handing out tokens, and refreshing when somebody needs one that is not there.

use std::time::Duration;

use evergreen_engine::{Delivery, Millis};
use secrecy::ExposeSecret;

use super::error::Recovery;
use super::find::Found;
use super::operate::at_rest;
use super::{App, ServiceError};
use crate::handoff::Handed;
use crate::integration::{GrantKind, GrantRef, IntegrationId, Target};
use crate::lifecycle::{Credential, Grant, Phase, Signal, Source, timing};
use crate::refresher::stored_pair;

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
    /// `user`.
    ///
    /// # Errors
    /// There is none now: the error says what helps.
    pub async fn token(&self, target: &Target, ask: &TokenAsk) -> Result<Handed, ServiceError> {
        if let Some(kind) = target.grant {
            return self.token_of(&target.integration.grant(kind), ask).await;
        }
        let client = self
            .token_of(&target.integration.grant(GrantKind::Client), ask)
            .await;
        if matches!(client, Ok(_) | Err(ServiceError::StoreAway { .. })) {
            return client;
        }
        match self
            .token_of(&target.integration.grant(GrantKind::User), ask)
            .await
        {
            // Only the client grant exists: what is wrong with it is the answer.
            Err(ServiceError::NotFound { .. }) => match client {
                Err(ServiceError::NotFound { .. }) => Err(ServiceError::NotFound {
                    what: target.integration.to_string(),
                }),
                client => client,
            },
            user => user,
        }
    }

    /// A token in the place of one that the provider refused although it should be valid: the grant is
    /// refreshed, unless that has happened since the refused one was handed out. One request, whoever
    /// asks for it.
    ///
    /// # Errors
    /// There is none now: the error says what helps.
    pub async fn token_instead_of(
        &self,
        integration: &IntegrationId,
        refused: &Handed,
    ) -> Result<Handed, ServiceError> {
        let grant = integration.grant(refused.grant);
        let what = || ServiceError::NotFound {
            what: integration.to_string(),
        };
        let found = self.find(&grant, false).await?.ok_or_else(what)?;
        let signal = Signal::RefreshNow {
            source: Source::Lazy,
            grant: found.machine()?.0.grant.as_ref().map(|stored| stored.id),
            generation: refused.generation,
        };
        self.tell(&found, &signal, Delivery::default()).await?;
        let found = self.drive_until(&found.grant, false, at_rest).await?;
        let fresh = self.token_of(&grant, &TokenAsk::default()).await?;
        if fresh.generation != refused.generation {
            return Ok(fresh);
        }
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

    async fn token_of(&self, grant: &GrantRef, ask: &TokenAsk) -> Result<Handed, ServiceError> {
        let mut tried = None;
        for _ in 0..5 {
            let found = self
                .find(grant, true)
                .await?
                .ok_or_else(|| ServiceError::NotFound {
                    what: grant.integration().to_string(),
                })?;
            if found.view.reading.record.barrier {
                // Somebody was promised that this is over: first make it so.
                self.drive(&found.id).await?;
                continue;
            }
            let (credential, phase) = found.machine()?;
            let Some(stored) = &credential.grant else {
                if credential.epoch == 0 {
                    return Err(ServiceError::NotFound {
                        what: grant.integration().to_string(),
                    });
                }
                return Err(ServiceError::NeedsAttention {
                    integration: grant.to_string(),
                    why: "disconnected".to_owned(),
                    recovery: Recovery::Reconnect,
                });
            };
            let seen = (stored.id, stored.generation);
            match self.serve(&found, credential, phase, stored, ask, tried.is_some())? {
                Served::Token(handed) => return Ok(*handed),
                // The attempt that was waited for changed nothing.
                Served::Refresh(error) if tried == Some(seen) => return Err(error),
                Served::Refresh(_) => {
                    tried = Some(seen);
                    let (grant_id, generation) = seen;
                    let signal = Signal::RefreshNow {
                        source: Source::Lazy,
                        grant: Some(grant_id),
                        generation,
                    };
                    let delivery = Delivery::default();
                    self.engine()
                        .signal::<Credential>(&found.id, &signal, delivery)
                        .await?;
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

    /// The token, or what is to be answered if a refresh does not help.
    fn serve(
        &self,
        found: &Found,
        credential: &Credential,
        phase: &Phase,
        stored: &Grant,
        ask: &TokenAsk,
        tried: bool,
    ) -> Result<Served, ServiceError> {
        let now = found.view.reading.now;
        let left = stored.expires_at.unwrap_or(now).saturating_sub(now);
        let life = stored.life().unwrap_or(0);
        let valid = left > 0 && stored.bearer;
        let asked = ask
            .min_validity
            .map(|span| Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX));
        let wanted = asked.map_or(0, |ms| ms.min(life / 2));
        let shortened = asked.is_some_and(|ms| ms > life / 2 && life > 0);
        let enough = left >= wanted.max(timing::mandatory_window(life));
        let later = || ServiceError::TryLater {
            integration: found.grant.to_string(),
            why: why_later(credential, phase, now),
            after_s: retry_after_s(next_attempt(found, phase), now),
        };
        let usable = valid && left >= wanted;
        let warning = match phase {
            Phase::ReconnectRequired { reason } if usable => Some(reason.as_str().to_owned()),
            Phase::Active { attention } if usable => Some(attention.as_str().to_owned()),
            Phase::ReconnectRequired { reason } => {
                return Err(ServiceError::NeedsAttention {
                    integration: found.grant.to_string(),
                    why: reason.as_str().to_owned(),
                    recovery: Recovery::Reconnect,
                });
            }
            Phase::Active { attention } => {
                return Err(ServiceError::NeedsAttention {
                    integration: found.grant.to_string(),
                    why: attention.as_str().to_owned(),
                    recovery: Recovery::FixConfiguration,
                });
            }
            Phase::Disconnected {} => {
                return Err(ServiceError::NeedsAttention {
                    integration: found.grant.to_string(),
                    why: "disconnected".to_owned(),
                    recovery: Recovery::Reconnect,
                });
            }
            Phase::Scheduled { .. } | Phase::Refreshing { .. } => {
                let short = left < wanted;
                if !valid || (!enough && (!tried || short)) {
                    return Ok(Served::Refresh(later()));
                }
                shortened.then(|| "min_validity_shortened".to_owned())
            }
        };
        let warning = warning.or_else(|| credential.warning.clone());
        let sealed = &found.view.reading.sealed;
        let pair = stored_pair(
            &self.0.refresher,
            &found.id,
            stored.id,
            stored.generation,
            sealed,
        )
        .map_err(|why| ServiceError::NeedsAttention {
            integration: found.grant.to_string(),
            why: format!("undecryptable: {why}"),
            recovery: Recovery::FixConfiguration,
        })?;
        if pair.access_token.expose_secret().is_empty() {
            return Ok(Served::Refresh(later()));
        }
        Ok(Served::Token(Box::new(Handed {
            access_token: pair.access_token,
            refresh_token: pair.refresh_token.filter(|_| ask.with_refresh_token),
            token_type: "Bearer".to_owned(),
            expires_in_s: left / 1_000,
            expires_at_ms: i64::try_from(now + left).unwrap_or(i64::MAX),
            scope: stored.scopes.clone(),
            grant: found.grant.kind(),
            instance_url: stored.instance_url.clone(),
            generation: stored.generation,
            warning,
        })))
    }
}

enum Served {
    Token(Box<Handed>),
    /// A refresh is needed; the error for the case that it does not help.
    Refresh(ServiceError),
}

/// When the next attempt can be made: not while the host is left alone.
fn next_attempt(found: &Found, phase: &Phase) -> Option<Millis> {
    match phase {
        Phase::Scheduled { at, .. } => {
            Some(found.view.reading.record.visible_at.unwrap_or(0).max(*at))
        }
        _ => None,
    }
}

/// What stands in the way of a refresh, in words for the caller.
fn why_later(credential: &Credential, phase: &Phase, now: Millis) -> String {
    let last = credential.failures.last.as_ref().map_or_else(
        || "the refresh has not succeeded yet".to_owned(),
        ToString::to_string,
    );
    match phase {
        Phase::Scheduled {
            not_before: Some(until),
            ..
        } if *until > now => {
            let until = evergreen_engine::time::rfc3339(*until);
            format!("its host is left alone until {until}: {last}")
        }
        _ => last,
    }
}

/// When it makes sense to ask again.
fn retry_after_s(next_attempt: Option<Millis>, now: Millis) -> u64 {
    next_attempt.map_or(2, |at| {
        at.saturating_sub(now).div_ceil(1_000).clamp(1, 3_600)
    })
}
