//! What follows from each way to fail.

use evergreen_engine::{Context, Millis};

use super::data::{Credential, Phase, Purpose, Source};
use super::{events, timing};
use crate::provider::{Attention, Detail, Reason};

/// Rejections in a row that no rule knows, before a person is asked.
const UNCLASSIFIED_MAX: u32 = 5;
/// After an intent that was not acknowledged, before the next.
const NOT_SENT_PAUSE: Millis = 1_000;

impl Credential {
    /// The provider says that the grant is dead.
    pub(super) fn rejected(
        &mut self,
        reason: Reason,
        detail: &Detail,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        self.failed(detail);
        if let Some(phase) = self.release_quarantined(context) {
            return phase;
        }
        // The app was changed under the grant: then a rejection speaks of the app.
        let made_with = self
            .grant
            .as_ref()
            .filter(|g| !g.own_app)
            .map(|g| &g.client_id);
        let changed = match (made_with, &context.facts.client_id) {
            (Some(made_with), Some(now)) => made_with != now,
            _ => false,
        };
        if changed && reason == Reason::Revoked {
            return self.misconfigured(Attention::ClientChanged, context);
        }
        let reason = match self.failures.unknown_since {
            Some(_) if reason != Reason::MissingCredentials => Reason::RotationLost,
            _ => reason,
        };
        self.failures.dead = self.grant.as_ref().and_then(|grant| grant.refresh_token);
        self.failures.verdict = Some(reason);
        context.effects.verdict();
        context.effects.no_timer();
        context.effects.note("reason", reason.as_str());
        events::refresh_failed(self, false, "reconnect", context);
        events::reconnect_required(self, reason, context);
        Phase::ReconnectRequired { reason }
    }

    /// Whether somebody of whom the store no longer knows may have spent the token: it has just become
    /// another run and may have lost an intent, or it was restored from a backup that is older than
    /// this grant's last success.
    pub(super) fn may_have_been_spent(&self, context: &Context<'_, Credential>) -> bool {
        let stored_at = self.grant.as_ref().map(|grant| grant.refresh_token_at);
        let known_at = stored_at.max(self.last_refresh_at);
        context.store_in_doubt
            || context
                .facts
                .restored_at
                .is_some_and(|at| known_at < Some(at))
    }

    /// Reconnecting would not help: something else must be put right. Told once until a success,
    /// however often it is looked at again.
    pub(super) fn misconfigured(
        &mut self,
        attention: Attention,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        context.effects.note("attention", attention.as_str());
        if self.failures.attention != Some(attention) {
            self.failures.attention = Some(attention);
            events::refresh_failed(self, false, "fix_configuration", context);
        }
        let recheck = timing::spread(timing::RECHECK, context.random);
        context.effects.wake_at(context.now + recheck);
        Phase::Active { attention }
    }

    /// Whether the stored refresh token was condemned, and nothing permits another request with it: a
    /// reset permits one, and an unknown outcome its one retry.
    pub(super) fn is_condemned(&self) -> bool {
        let stored = self.grant.as_ref().and_then(|grant| grant.refresh_token);
        let permitted = self.failures.reprieved || self.failures.retry_owed;
        stored.is_some() && self.failures.dead == stored && !permitted
    }

    /// Back to the verdict that was told before.
    pub(super) fn condemned_as_before(&self, context: &mut Context<'_, Credential>) -> Phase {
        let reason = match (self.failures.verdict, self.failures.unknown_since) {
            (Some(reason), _) => reason,
            (None, Some(_)) => Reason::RotationLost,
            (None, None) => Reason::Revoked,
        };
        context.effects.no_timer();
        context.effects.note("reason", reason.as_str());
        Phase::ReconnectRequired { reason }
    }

    /// The host wants to be left alone. Not a strike against this grant.
    pub(super) fn throttled(
        &mut self,
        until: Millis,
        detail: &Detail,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        self.failures.last = Some(detail.clone());
        self.permit_again();
        // Jitter is added, never subtracted.
        let at = until.max(context.now) + timing::spread(2_000, context.random);
        let mut phase = self.try_again(Purpose::Retry, at, Source::Failure, context);
        if let Phase::Scheduled { not_before, .. } = &mut phase {
            *not_before = Some(until);
        }
        phase
    }

    /// Retryable, and certainly nothing was spent.
    pub(super) fn unavailable(
        &mut self,
        detail: &Detail,
        tls: bool,
        unclassified: bool,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        self.failed(detail);
        self.failures.unclassified = if unclassified {
            self.failures.unclassified + 1
        } else {
            0
        };
        self.failures.tls_since = if tls {
            self.failures.tls_since.or(Some(context.now))
        } else {
            None
        };
        let loud = Attention::TlsError.as_str();
        if tls {
            self.warning = Some(loud.to_owned());
        } else if self.warning.as_deref() == Some(loud) {
            self.warning = None;
        }
        let expired = self.access_token_expired(context.now);
        if self.failures.unclassified >= UNCLASSIFIED_MAX && expired {
            return self.misconfigured(Attention::Unclassified, context);
        }
        let too_long = |since: Millis| since.saturating_add(timing::TLS_PATIENCE) <= context.now;
        if self.failures.tls_since.is_some_and(too_long) {
            return self.misconfigured(Attention::TlsError, context);
        }
        self.retry_later(context)
    }

    /// The refresh token may have been spent: one retry at once, then as any failure. The mark
    /// stands until a definite answer.
    pub(super) fn unknown(
        &mut self,
        detail: &Detail,
        since: Millis,
        harmless: bool,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        self.failed(detail);
        if !harmless {
            self.failures.unknown_since = self.failures.unknown_since.or(Some(since));
        }
        if self.failures.retried {
            return self.retry_later(context);
        }
        self.retry_at_once(context)
    }

    /// The one retry after an unknown outcome.
    pub(super) fn retry_at_once(&mut self, context: &mut Context<'_, Credential>) -> Phase {
        self.failures.retried = true;
        self.failures.retry_owed = true;
        self.schedule(Purpose::Retry, context.now, Source::Failure, context)
    }

    /// Nothing has left, and that is known: as if the attempt had not begun, a moment later.
    pub(super) fn not_sent(
        &mut self,
        purpose: Purpose,
        attention: Option<Attention>,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        let at = context.now + timing::spread(NOT_SENT_PAUSE, context.random);
        if let Some(attention) = attention {
            context.effects.wake_at(at);
            return Phase::Active { attention };
        }
        self.try_again(purpose, at, Source::Failure, context)
    }

    /// A request was sent, or may have been.
    pub(super) fn attempted(&mut self, started_at: Millis) {
        self.last_attempt_at = Some(started_at);
        self.failures.retry_owed = false;
        self.failures.reprieved = false;
    }

    /// The token was not sent, or nobody looked at it: what a person's reset has permitted stands.
    pub(super) fn permit_again(&mut self) {
        self.failures.reprieved = self.failures.dead.is_some();
    }

    /// A failed attempt.
    pub(super) fn failed(&mut self, detail: &Detail) {
        self.failures.consecutive = self.failures.consecutive.saturating_add(1);
        self.failures.last = Some(detail.clone());
    }

    /// Growing, spread, capped, for ever. Told at the second failure in a row, or once the access
    /// token has expired.
    fn retry_later(&mut self, context: &mut Context<'_, Credential>) -> Phase {
        if self.is_condemned() {
            return self.condemned_as_before(context);
        }
        let worth_telling =
            self.failures.consecutive >= 2 || self.access_token_expired(context.now);
        if worth_telling && !self.failures.published {
            events::refresh_failed(self, true, "wait", context);
        }
        let at = context.now + timing::back_off(self.failures.consecutive, context.random);
        self.try_again(Purpose::Retry, at, Source::Failure, context)
    }

    pub(super) fn access_token_expired(&self, now: Millis) -> bool {
        self.grant
            .as_ref()
            .is_none_or(|grant| grant.expires_at.is_none_or(|at| at <= now))
    }
}
