//! The one timer of a grant, and the several deadlines behind it.
//!
//! `at` of [`Phase::Scheduled`] is the next attempt. The timer is the earliest of that and of
//! everything that is to be said meanwhile, so a timer that fires does not mean "attempt".

use evergreen_engine::{Context, Millis};

use super::data::{Credential, Grant, Phase, Purpose, Source};
use super::events;
use super::grants::is_client;
use super::inputs::Refresh;
use super::timing::{self, Settings};
use crate::provider::Attention;

/// Held until then: there was no place in time, and no pause either.
pub(crate) const NO_PLACE: Millis = 0;
/// Held until a moment of the first ten minutes of 1970: a span, not a moment. Others come first, and there
/// is no pause.
pub(crate) const TURNED_AWAY_MAX: Millis = 600_000;

impl Grant {
    /// How long the access token lives in all.
    pub(crate) fn life(&self) -> Option<Millis> {
        Some(self.expires_at?.saturating_sub(self.obtained_at))
    }

    /// When its refresh is planned; at once where the expiry is not known.
    pub(super) fn planned(&self, settings: &Settings) -> Millis {
        match self.expires_at {
            Some(at) => timing::refresh_at(
                self.obtained_at,
                at,
                self.expiry_assumed,
                self.jitter,
                settings,
            ),
            None => self.obtained_at,
        }
    }

    fn half_of_the_buffer(&self, settings: &Settings) -> Option<Millis> {
        let buffer = timing::buffer(self.life()?, self.expiry_assumed, settings);
        Some(self.expires_at?.saturating_sub(buffer / 2))
    }
}

impl Credential {
    /// Goes to `Scheduled` and sets the timer. A planned refresh keeps the minimum delay.
    pub(super) fn schedule(
        &mut self,
        purpose: Purpose,
        at: Millis,
        source: Source,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        let at = match purpose {
            Purpose::Refresh => self.paced(at, context.facts),
            Purpose::Retry | Purpose::Probe => at,
        };
        context
            .effects
            .note("next_refresh_at", evergreen_engine::time::rfc3339(at));
        context.effects.note("source", source.as_str());
        let phase = Phase::Scheduled {
            purpose,
            at,
            source,
            not_before: None,
        };
        context
            .effects
            .wake_at(self.next_wake(at, context.now, context.facts));
        phase
    }

    /// The planned refresh of the grant as it stands.
    pub(super) fn schedule_planned(
        &mut self,
        source: Source,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        let at = self.planned_at(context.now, context.facts);
        events::scheduled(self, at, source, context);
        self.schedule(Purpose::Refresh, at, source, context)
    }

    /// When the grant as it stands is to be refreshed.
    pub(super) fn planned_at(&self, now: Millis, settings: &Settings) -> Millis {
        let at = self
            .grant
            .as_ref()
            .map_or(now, |grant| grant.planned(settings));
        self.paced(at, settings)
    }

    /// Not sooner than the minimum delay after the last success.
    pub(super) fn paced(&self, at: Millis, settings: &Settings) -> Millis {
        let (Some(grant), Some(last)) = (&self.grant, self.last_refresh_at) else {
            return at;
        };
        let life = grant.life().unwrap_or(timing::MIN_DELAY);
        at.max(last.saturating_add(timing::min_delay(life, settings)))
    }

    /// The earliest of the attempt and of what is to be said before it.
    pub(super) fn next_wake(&self, attempt: Millis, now: Millis, settings: &Settings) -> Millis {
        self.next_word(now, settings)
            .map_or(attempt, |word| word.min(attempt))
    }

    /// Goes to `Scheduled` after an attempt that brought nothing, and says what has become due to be
    /// said meanwhile: the timer only covers what is still to come.
    pub(super) fn try_again(
        &mut self,
        purpose: Purpose,
        at: Millis,
        source: Source,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        self.say_what_is_due(context);
        self.schedule(purpose, at, source, context)
    }

    /// Waits behind a pause of the host. The state says so itself, since another worker may not know
    /// of the pause; and the timer still comes for what is to be said meanwhile.
    pub(super) fn wait_behind_a_pause(
        &mut self,
        purpose: Purpose,
        until: Millis,
        source: Source,
        context: &mut Context<'_, Credential>,
    ) -> Phase {
        let turn = self.turn_behind_a_pause(until, context.now, context.facts);
        let mut phase = self.try_again(purpose, turn, source, context);
        if let Phase::Scheduled { not_before, .. } = &mut phase {
            *not_before = Some(until).filter(|until| *until > context.now);
        }
        phase
    }

    /// Soonest expiry first: behind a pause the order is that of what expires, from what expired ten
    /// minutes ago or earlier to what has an hour left or more, spread over four seconds.
    pub(super) fn turn_behind_a_pause(
        &self,
        until: Millis,
        now: Millis,
        settings: &Settings,
    ) -> Millis {
        const OVERDUE_MAX: Millis = 600_000;
        const LEFT_MAX: Millis = 3_600_000;
        if until == NO_PLACE {
            // What was due stays due since when it was, and so keeps its turn among all that are.
            let planned = self.grant.as_ref().map(|grant| grant.planned(settings));
            return planned.unwrap_or(now).min(now);
        }
        if until <= TURNED_AWAY_MAX {
            return now.saturating_add(until);
        }
        if until <= now {
            return now;
        }
        let expires_at = self.grant.as_ref().and_then(|grant| grant.expires_at);
        let left = expires_at.unwrap_or(now).saturating_add(OVERDUE_MAX);
        until + left.saturating_sub(now).min(LEFT_MAX + OVERDUE_MAX) / 1_000
    }

    /// The next time at which something is to be said.
    fn next_word(&self, now: Millis, settings: &Settings) -> Option<Millis> {
        self.to_be_said(settings).filter(|at| *at > now).min()
    }

    fn to_be_said(&self, settings: &Settings) -> impl Iterator<Item = Millis> {
        let grant = self.grant.as_ref();
        let slow = grant
            .filter(|g| self.expiring_told != Some(g.generation))
            .and_then(|g| g.half_of_the_buffer(settings));
        let expiry = grant
            .filter(|_| self.failures.consecutive > 0 && !self.failures.published)
            .and_then(|g| g.expires_at);
        [slow, expiry, self.warns_of_age_at()].into_iter().flatten()
    }

    /// Says what has become due to be said.
    pub(super) fn say_what_is_due(&mut self, context: &mut Context<'_, Credential>) {
        let Some(grant) = self.grant.clone() else {
            return;
        };
        let slow = grant
            .half_of_the_buffer(context.facts)
            .is_some_and(|at| at <= context.now);
        if slow && self.expiring_told != Some(grant.generation) {
            self.expiring_told = Some(grant.generation);
            events::expiring(self, "access_token", grant.expires_at, context);
        }
        let expired = grant.expires_at.is_some_and(|at| at <= context.now);
        if expired && self.failures.consecutive > 0 && !self.failures.published {
            events::refresh_failed(self, true, "wait", context);
        }
        self.warn_of_age(context);
    }

    /// When the refresh token's age is to be told; `None` once it was, or if there is none.
    fn warns_of_age_at(&self) -> Option<Millis> {
        const WARN_AFTER: Millis = timing::REFRESH_TOKEN_AGE - timing::REFRESH_TOKEN_WARNING;
        let grant = self.grant.as_ref()?;
        let told = self.age_told == grant.refresh_token;
        (!told).then(|| grant.refresh_token_at.saturating_add(WARN_AFTER))
    }

    /// Says, once a refresh token, that it nears the age at which it is assumed to die.
    pub(super) fn warn_of_age(&mut self, context: &mut Context<'_, Credential>) {
        if self.warns_of_age_at().is_none_or(|at| at > context.now) {
            return;
        }
        let grant = self.grant.as_ref();
        self.age_told = grant.and_then(|grant| grant.refresh_token);
        let dies_at = grant.map(|grant| {
            grant
                .refresh_token_at
                .saturating_add(timing::REFRESH_TOKEN_AGE)
        });
        events::expiring(self, "refresh_token", dies_at, context);
    }

    /// Goes to `Refreshing` and asks for the request.
    pub(super) fn begin(
        &mut self,
        attempt: Attempt,
        context: &mut Context<'_, Credential>,
    ) -> Option<Phase> {
        let Attempt {
            purpose,
            source,
            exempt,
            attention,
        } = attempt;
        let grant = self.grant.as_ref()?;
        if self.is_condemned() {
            return Some(self.condemned_as_before(context));
        }
        context.effects.perform(Refresh {
            grant: grant.id,
            generation: grant.generation,
            instance_url: grant.instance_url.clone(),
            client_id: grant.client_id.clone(),
            own_app: grant.own_app,
            expires_at: grant.expires_at,
            token_path: grant.token_path,
            scopes: grant.scopes.clone(),
            exempt,
            // Nothing but a client grant is connected without a token.
            connecting: grant.generation == 0 && grant.expires_at.is_none() && is_client(context),
        });
        context.effects.note("generation", grant.generation);
        Some(Phase::Refreshing {
            generation: grant.generation,
            fingerprint: grant.refresh_token,
            started_at: context.now,
            source,
            purpose,
            attention,
        })
    }
}

/// What an attempt is for.
pub(super) struct Attempt {
    pub(super) purpose: Purpose,
    pub(super) source: Source,
    /// From bucket and breaker; never from a pause.
    pub(super) exempt: bool,
    /// What a person was to put right, if that is being looked at.
    pub(super) attention: Option<Attention>,
}
