//! Whether a grant as it was read has a token to give, or what stands in the way.

use evergreen_engine::Millis;
use secrecy::ExposeSecret;

use super::error::Recovery;
use super::find::Found;
use super::{App, ServiceError, TokenAsk};
use crate::handoff::Handed;
use crate::lifecycle::{Credential, Grant, Phase, timing};
use crate::refresher::stored_pair;

/// What is done with a caller.
pub(super) enum Served {
    /// It gets this.
    Token(Box<Handed>),
    /// A refresh is needed.
    Refresh {
        /// The answer if it does not help.
        error: ServiceError,
        /// What is there and good for a while, though not for as long as it should be.
        meanwhile: Option<Box<Handed>>,
    },
}

impl App {
    /// The token, or what is to be answered if a refresh does not help. `tried` says that one was waited
    /// for.
    pub(super) fn serve(
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
        let usable = valid && left >= wanted;
        let (warning, refresh) = match phase {
            Phase::ReconnectRequired { reason } if usable => (Some(reason.as_str()), false),
            Phase::Active { attention } if usable => (Some(attention.as_str()), false),
            Phase::ReconnectRequired { reason } => {
                return Err(attention(found, reason.as_str(), Recovery::Reconnect));
            }
            Phase::Active { attention: why } => {
                return Err(attention(found, why.as_str(), Recovery::FixConfiguration));
            }
            Phase::Disconnected {} => {
                return Err(attention(found, "disconnected", Recovery::Reconnect));
            }
            Phase::Scheduled { .. } | Phase::Refreshing { .. } => {
                let short = left < wanted;
                let refresh = !valid || (!enough && (!tried || short));
                (shortened.then_some("min_validity_shortened"), refresh)
            }
        };
        let error = || ServiceError::TryLater {
            integration: found.grant.to_string(),
            why: why_later(credential, phase, now),
            after_s: retry_after_s(next_attempt(found, phase), now),
        };
        if refresh && !valid {
            return Ok(Served::Refresh {
                error: error(),
                meanwhile: None,
            });
        }
        let pair = stored_pair(
            &self.0.refresher,
            &found.id,
            stored.id,
            stored.generation,
            &found.view.reading.sealed,
        )
        .map_err(|why| {
            let why = format!("undecryptable: {why}");
            attention(found, &why, Recovery::FixConfiguration)
        })?;
        if pair.access_token.expose_secret().is_empty() {
            return Ok(Served::Refresh {
                error: error(),
                meanwhile: None,
            });
        }
        let warning = warning.map(str::to_owned);
        let handed = Box::new(Handed {
            access_token: pair.access_token,
            refresh_token: pair.refresh_token.filter(|_| ask.with_refresh_token),
            token_type: "Bearer".to_owned(),
            expires_in_s: left / 1_000,
            expires_at_ms: i64::try_from(now + left).unwrap_or(i64::MAX),
            scope: stored.scopes.clone(),
            grant: found.grant.kind(),
            grant_id: Some(stored.id),
            instance_url: stored.instance_url.clone(),
            generation: stored.generation,
            warning: warning.or_else(|| credential.warning.clone()),
        });
        Ok(if refresh {
            Served::Refresh {
                error: error(),
                meanwhile: Some(handed),
            }
        } else {
            Served::Token(handed)
        })
    }
}

fn attention(found: &Found, why: &str, recovery: Recovery) -> ServiceError {
    ServiceError::NeedsAttention {
        integration: found.grant.to_string(),
        why: why.to_owned(),
        recovery,
    }
}

/// When the next attempt can be made: not while the host is left alone.
pub(super) fn next_attempt(found: &Found, phase: &Phase) -> Option<Millis> {
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
pub(super) fn retry_after_s(next_attempt: Option<Millis>, now: Millis) -> u64 {
    next_attempt.map_or(2, |at| {
        at.saturating_sub(now).div_ceil(1_000).clamp(1, 3_600)
    })
}
