//! New grants and rotated pairs: which generation wins. Pairs that come late are in `rescue.rs`.

use evergreen_engine::{Context, Millis};

use super::data::{Credential, Failures, Grant, Phase, Purpose, Source};
use super::events;
use super::inputs::{Issued, NewGrant, Secret};
use crate::integration::{GrantKind, GrantRef};
use crate::provider::Attention;
use crate::vault::Fingerprint;

/// Spent fingerprints that a grant remembers.
const SPENT_MAX: usize = 16;
/// The name under which the pair is sealed.
pub(crate) const PAIR: &str = "pair";
/// The name under which the app's credentials are sealed.
pub(crate) const APP: &str = "app";

pub(super) fn is_client(context: &Context<'_, Credential>) -> bool {
    context
        .id
        .id()
        .parse::<GrantRef>()
        .is_ok_and(|grant| grant.kind() == GrantKind::Client)
}

impl Credential {
    /// A new grant replaces everything that was before. `None`: it is refused, nothing changes.
    pub(super) fn connect(
        &mut self,
        new: &NewGrant,
        context: &mut Context<'_, Credential>,
    ) -> Option<Phase> {
        let lasting = new.refresh_token.is_some() || is_client(context);
        let stored = self.grant.as_ref();
        if stored.is_some_and(|grant| grant.id == new.grant) {
            return None;
        }
        let condemned = matches!(self.here, Phase::ReconnectRequired { .. });
        // One that is condemned, too: what comes late may still heal it, and an hour's token would
        // leave nothing to heal (PROTOCOL 21).
        if !lasting && stored.is_some_and(|grant| grant.refresh_token.is_some()) {
            context.effects.note(
                "refused",
                "a grant without a refresh token over one with it",
            );
            return None;
        }
        let recovers = self.failures.published || condemned;
        let epoch = self.epoch + 1;
        *self = Self {
            epoch,
            ..Self::default()
        };
        self.grant = Some(Grant {
            id: new.grant,
            generation: 0,
            instance_url: new.instance_url.clone(),
            client_id: new.client_id.clone(),
            own_app: new.app.is_some(),
            obtained_at: new.obtained_at,
            expires_at: new.expires_at,
            expiry_assumed: new.expiry_assumed,
            refresh_token: new.refresh_token,
            refresh_token_at: new.obtained_at,
            scopes: new.scopes.clone(),
            bearer: new.bearer,
            jitter: context.random,
            token_path: new.token_path,
        });
        let effects = &mut context.effects;
        effects.erase_all();
        let pair = Secret::Carried {
            grant: new.grant,
            generation: 0,
            pair: new.pair.clone(),
        };
        effects.seal(PAIR, pair);
        if let Some(app) = &new.app {
            effects.seal(
                APP,
                Secret::CarriedApp {
                    grant: new.grant,
                    app: app.clone(),
                },
            );
        }
        effects.note("epoch", epoch);
        let source = match new.source {
            Source::OauthConnected if epoch > 1 => Source::Reconnected,
            source => source,
        };
        events::connected(self, source, context);
        if recovers {
            events::recovered(self, context);
        }
        if lasting {
            Some(self.schedule_planned(source, context))
        } else {
            context.effects.no_timer();
            Some(Phase::Active {
                attention: Attention::NoOfflineAccess,
            })
        }
    }

    /// Forgets and erases everything but the epoch, which a later grant goes on from.
    pub(super) fn disconnect(
        &mut self,
        reason: &str,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        events::disconnected(self, reason, context);
        *self = Self {
            epoch: self.epoch.max(1),
            ..Self::default()
        };
        context.effects.erase_all();
        let retention = super::timing::millis(context.facts.retention);
        context
            .effects
            .wake_at(context.now.saturating_add(retention));
        Phase::Disconnected {}
    }

    /// A refresh brought a pair. `None`: it is not for the grant and generation that are stored.
    pub(super) fn issued(
        &mut self,
        issued: &Issued,
        source: Source,
        context: &mut Context<'_, Credential>,
    ) -> Option<Phase> {
        let grant = self.grant.as_ref()?;
        if grant.id != issued.grant || grant.generation != issued.base_generation {
            return None;
        }
        if issued.salvaged {
            self.set_aside(issued.refresh_token, context);
        } else {
            self.spend_spares(context);
        }
        let grant = self.grant.as_mut()?;
        let old_expires_at = grant.expires_at;
        let rotated = issued.refresh_token != grant.refresh_token;
        let replaced = rotated && !issued.salvaged;
        let spent = grant.refresh_token.filter(|_| replaced);
        grant.generation += 1;
        if rotated {
            grant.refresh_token_at = issued.obtained_at;
        }
        grant.refresh_token = issued.refresh_token;
        let fresh = issued.expires_at.is_some();
        if let Some(at) = issued.expires_at {
            grant.obtained_at = issued.obtained_at;
            grant.expires_at = Some(at);
            grant.expiry_assumed = issued.expiry_assumed;
            grant.bearer = issued.bearer;
        }
        if issued.scopes.is_some() {
            grant.scopes.clone_from(&issued.scopes);
        }
        grant.jitter = context.random;
        grant.token_path = Some(issued.token_path);
        let sealed = Secret::Issued {
            grant: grant.id,
            generation: grant.generation,
            pair: issued.pair.clone(),
        };
        context.effects.seal(PAIR, sealed);
        context.effects.note("generation", grant.generation);
        self.remember_spent(spent, issued.refresh_token);
        self.look_through_quarantine(context);
        if issued.salvaged {
            // Stored, and nothing more: only the next request can tell whether it is good.
            self.failed(&issued.detail);
            self.failures
                .unknown_since
                .get_or_insert(issued.obtained_at);
            return Some(self.retry_at_once(context));
        }
        self.last_refresh_at = Some(issued.obtained_at);
        self.warning.clone_from(&issued.warning);
        let after = match source {
            Source::Lazy => Source::LazyRefreshSuccess,
            _ => Source::ProactiveRefreshSuccess,
        };
        Some(self.succeeded(fresh, old_expires_at, after, context))
    }

    /// What follows from a pair that has been taken.
    pub(super) fn succeeded(
        &mut self,
        fresh: bool,
        old_expires_at: Option<Millis>,
        source: Source,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        if fresh && self.grant.as_ref().is_some_and(|grant| !grant.bearer) {
            // The grant lives on, but nobody can use what it gives.
            let told = self.failures.attention;
            let published = self.failures.published;
            self.failures = Failures {
                attention: told,
                published,
                ..Failures::default()
            };
            events::refreshed(self, old_expires_at, context);
            return self.misconfigured(Attention::TokenType, context);
        }
        self.healed(old_expires_at, context);
        if fresh {
            self.schedule_planned(source, context)
        } else {
            // A refresh token without an access token: stored, and spent at once, paced by the
            // minimum delay.
            let at = self.paced(context.now, context.facts);
            events::scheduled(self, at, source, context);
            self.schedule(Purpose::Refresh, at, source, context)
        }
    }

    /// Clears what went wrong, and says that it is over.
    fn healed(&mut self, old_expires_at: Option<Millis>, context: &mut Context<'_, Credential>) {
        let recovers = self.failures.published;
        self.failures = Failures::default();
        events::refreshed(self, old_expires_at, context);
        if recovers {
            events::recovered(self, context);
        }
        self.warn_of_age(context);
    }

    pub(super) fn remember_spent(
        &mut self,
        spent: Option<Fingerprint>,
        issued: Option<Fingerprint>,
    ) {
        self.spent.extend(spent);
        // What the provider issues is not spent, whatever it was before.
        self.spent.retain(|known| Some(*known) != issued);
        let surplus = self.spent.len().saturating_sub(SPENT_MAX);
        self.spent.drain(..surplus);
    }
}
