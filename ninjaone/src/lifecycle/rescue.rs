//! Rescued pairs: those that could not be committed when they came, and the quarantine.

use evergreen_engine::{Context, Millis};

use super::data::{Credential, Phase, Purpose, Quarantined, Source};
use super::grants::PAIR;
use super::inputs::{Rescued, Secret};
use crate::vault::Fingerprint;

/// Pairs kept apart at most.
const QUARANTINE_MAX: usize = 4;

impl Credential {
    /// A pair that could not be committed when it came. `None`: dropped or kept apart, no change of
    /// state. The order of the decisions is that of PROTOCOL 18.
    pub(super) fn rescued(
        &mut self,
        rescued: &Rescued,
        context: &mut Context<'_, Credential>,
    ) -> Option<Phase> {
        let dropped = |why: &'static str, context: &mut Context<'_, Credential>| {
            context.effects.note("rescued", why);
            None
        };
        let Some(grant) = self
            .grant
            .as_ref()
            .filter(|grant| grant.id == rescued.grant)
        else {
            return dropped("dropped: of another grant", context);
        };
        // It came before the answer that condemned the refresh token which it holds: adopting it would
        // have that one sent again.
        let token = rescued.refresh_token.or(grant.refresh_token);
        if token.is_some() && token == self.failures.dead {
            return dropped("dropped: refused since", context);
        }
        // The stored refresh token and no access token of its own: cut off before anything new came.
        if token == grant.refresh_token && rescued.expires_at.is_none() {
            return dropped("dropped: nothing new", context);
        }
        if rescued.base_generation >= grant.generation {
            let next = rescued.base_generation + 1;
            let pair = Secret::Carried {
                grant: grant.id,
                generation: next,
                pair: rescued.pair.clone(),
            };
            return Some(self.adopt_rotated(rescued, pair, context));
        }
        let Some(token) = rescued.refresh_token else {
            return dropped("dropped: without a refresh token", context);
        };
        if grant.refresh_token == Some(token) || self.spent.contains(&token) {
            return dropped("dropped: already known", context);
        }
        if self
            .quarantined
            .iter()
            .any(|kept| kept.fingerprint == token)
        {
            return dropped("dropped: already kept apart", context);
        }
        let kept = Quarantined {
            fingerprint: token,
            base_generation: rescued.base_generation,
            expires_at: rescued.expires_at,
            obtained_at: rescued.obtained_at,
            spare: false,
        };
        let sealed = Secret::Quarantine {
            grant: rescued.grant,
            base_generation: rescued.base_generation,
            pair: rescued.pair.clone(),
        };
        self.keep_apart(kept, sealed, context);
        dropped("kept apart", context)
    }

    fn keep_apart(
        &mut self,
        kept: Quarantined,
        sealed: Secret,
        context: &mut Context<'_, Credential>,
    ) {
        context.effects.seal(kept.slot(), sealed);
        self.quarantined.push(kept);
        if self.quarantined.len() > QUARANTINE_MAX {
            let oldest = self.quarantined.remove(0);
            context.effects.erase(oldest.slot());
        }
    }

    /// Keeps the stored pair apart before a refresh token takes its place of which only the next request
    /// can tell whether it is whole and right. Only if that is rejected this one is tried (PROTOCOL 12).
    pub(super) fn set_aside(
        &mut self,
        successor: Option<Fingerprint>,
        context: &mut Context<'_, Credential>,
    ) {
        let Some(grant) = &self.grant else { return };
        let Some(token) = grant.refresh_token else {
            return;
        };
        let useless = successor == Some(token) || self.failures.dead == Some(token);
        if useless || self.quarantined.iter().any(|k| k.fingerprint == token) {
            return;
        }
        let kept = Quarantined {
            fingerprint: token,
            base_generation: grant.generation.saturating_sub(1),
            expires_at: grant.expires_at,
            obtained_at: grant.refresh_token_at,
            spare: true,
        };
        let sealed = Secret::SetAside {
            grant: grant.id,
            generation: grant.generation,
            base_generation: kept.base_generation,
        };
        self.keep_apart(kept, sealed, context);
    }

    /// What had been saved has proved good, so what it replaced is spent.
    pub(super) fn spend_spares(&mut self, context: &mut Context<'_, Credential>) {
        let (spares, others) = self.quarantined.drain(..).partition(|kept| kept.spare);
        self.quarantined = others;
        let spares: Vec<Quarantined> = spares;
        for spare in spares {
            context.effects.erase(spare.slot());
            self.remember_spent(Some(spare.fingerprint), None);
        }
    }

    /// Takes a rotated pair that came as a signal, or out of quarantine.
    fn adopt_rotated(
        &mut self,
        rescued: &Rescued,
        pair: Secret,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        let heals = matches!(self.here, Phase::ReconnectRequired { .. });
        // A refresh token without an access token may have been saved from an answer that was cut.
        let unsure = rescued.refresh_token.is_some() && rescued.expires_at.is_none();
        if unsure {
            self.set_aside(rescued.refresh_token, context);
        } else {
            self.spend_spares(context);
        }
        let mut old_expires_at = None;
        let mut spent = None;
        if let Some(grant) = self.grant.as_mut() {
            old_expires_at = grant.expires_at;
            grant.generation = rescued.base_generation + 1;
            // One that was kept because none came back is not spent.
            if rescued.refresh_token.is_some() && rescued.refresh_token != grant.refresh_token {
                spent = grant.refresh_token.filter(|_| !unsure);
                grant.refresh_token = rescued.refresh_token;
                grant.refresh_token_at = rescued.obtained_at;
            }
            // Without an expiry of its own the pair holds the old access token.
            if rescued.expires_at.is_some() {
                grant.obtained_at = rescued.obtained_at;
                grant.expires_at = rescued.expires_at;
                grant.expiry_assumed = false;
                grant.bearer = rescued.bearer;
            }
            grant.jitter = context.random;
            context.effects.note("generation", grant.generation);
        }
        context.effects.note("rescued", "adopted");
        context.effects.seal(PAIR, pair);
        self.remember_spent(spent, rescued.refresh_token);
        self.failures.published |= heals;
        self.look_through_quarantine(context);
        if unsure {
            // Stored, and nothing more: whether it is good, the next request shows.
            self.failures
                .unknown_since
                .get_or_insert(rescued.obtained_at);
            return self.retry_at_once(context);
        }
        // The answer to an earlier request says nothing of a later one that is still in doubt, unless
        // it brought another refresh token than that one spent.
        let in_doubt = self
            .failures
            .unknown_since
            .filter(|_| spent.is_none() && self.last_attempt_at > Some(rescued.obtained_at));
        self.last_refresh_at = Some(rescued.obtained_at);
        self.warning = None;
        let phase = self.succeeded(
            rescued.expires_at.is_some(),
            old_expires_at,
            Source::Rescued,
            context,
        );
        self.failures.unknown_since = self.failures.unknown_since.or(in_doubt);
        phase
    }

    /// What is kept apart may by now be known, or older than what was adopted.
    pub(super) fn look_through_quarantine(&mut self, context: &mut Context<'_, Credential>) {
        let Some(grant) = self.grant.as_ref() else {
            return;
        };
        let stored = grant.refresh_token;
        let spent = &self.spent;
        let effects = &mut context.effects;
        self.quarantined.retain(|kept| {
            let known = stored == Some(kept.fingerprint) || spent.contains(&kept.fingerprint);
            if known {
                effects.erase(kept.slot());
            }
            !known
        });
    }

    /// Before a verdict: of the pairs that were kept apart the one of the highest generation becomes the
    /// stored one and gets its one try. `None` where there is none.
    pub(super) fn release_quarantined(
        &mut self,
        context: &mut Context<'_, Credential>,
    ) -> Option<Phase> {
        let newest = self.quarantined.iter().enumerate();
        let (place, _) = newest.max_by_key(|(place, kept)| (kept.base_generation, *place))?;
        let grant = self.grant.as_mut()?;
        let kept = self.quarantined.remove(place);
        let spent = grant.refresh_token;
        // A failed refresh never takes away an access token that is still good for longer.
        let outlives = |at: Option<Millis>| at > kept.expires_at && at > Some(context.now);
        let access_of = (grant.bearer && outlives(grant.expires_at)).then_some(grant.generation);
        if access_of.is_none() {
            grant.obtained_at = kept.obtained_at;
            grant.expires_at = kept.expires_at;
            grant.expiry_assumed = false;
        }
        grant.generation += 1;
        grant.refresh_token = Some(kept.fingerprint);
        grant.refresh_token_at = kept.obtained_at;
        let sealed = Secret::Released {
            grant: grant.id,
            generation: grant.generation,
            base_generation: kept.base_generation,
            slot: kept.slot(),
            access_of,
        };
        // Sealed before the other is erased: it is made of it.
        context.effects.seal(PAIR, sealed);
        context.effects.erase(kept.slot());
        context
            .effects
            .note("quarantine", "released for its one try");
        self.remember_spent(spent, Some(kept.fingerprint));
        Some(self.try_again(Purpose::Probe, context.now, Source::Rescued, context))
    }
}
