//! The structured record of a transition: one line of the log for each schedule, reschedule, cancel,
//! start, success, retry and terminal failure, all with the same fields.
//!
//! | field | holds |
//! |---|---|
//! | `what` | `schedule`, `reschedule`, `cancel`, `start`, `success`, `retry`, `terminal_failure`, or `unchanged` where something was heard that moved no timer |
//! | `tenant`, `integration`, `grant`, `workflow` | whose it is; `workflow` is the member of `due` |
//! | `v`, `fence`, `attempt` | the count of transitions, the number of the claim, claims since the last finished turn |
//! | `from`, `to`, `heard` | the states, and the inputs that led from one to the other |
//! | `scheduled_for` | when the next request leaves; of a start and a cancel: of which request it speaks |
//! | `was_scheduled_for` | of a reschedule: what it replaces |
//! | `source`, `reason`, `attention`, `retryable` | what led to it; of a failure what a person must do, if anything |
//! | `generation`, `old_expires_at`, `expires_at` | the access token before and after |
//! | `outcome` | how the request ended, in the words of `evergreen_refresh_outcomes_total`; `lost` if its holder vanished |
//! | `http_status`, `provider_code`, `incident_id`, `request_id` | what may be shown of the answer |
//!
//! What is not known, or does not apply, is absent. A success says when the next request leaves, so it
//! is the record of that schedule as well. Times are RFC 3339 in UTC.

use evergreen_engine::time::rfc3339;
use evergreen_engine::{Millis, Transition};
use serde_json::Value;

use super::data::{Credential, Phase};
use super::inputs::Outcome;
use crate::integration::GrantRef;
use crate::provider::Detail;

/// What a transition was, for whoever counts and searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Schedule,
    Reschedule,
    Cancel,
    Start,
    Success,
    Retry,
    TerminalFailure,
    Unchanged,
}

impl What {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Reschedule => "reschedule",
            Self::Cancel => "cancel",
            Self::Start => "start",
            Self::Success => "success",
            Self::Retry => "retry",
            Self::TerminalFailure => "terminal_failure",
            Self::Unchanged => "unchanged",
        }
    }

    /// Judges a transition by the states around it and by what was heard in between.
    pub(super) fn of(transition: &Transition<'_, Credential>) -> Self {
        let (before, after) = (transition.before.1, transition.after.1);
        let attempted = transition.outcome.is_some() || lost(transition);
        match after {
            Phase::Refreshing { .. } => Self::Start,
            _ if rescued(transition) => Self::Success,
            Phase::Disconnected {} if matches!(before, Phase::Disconnected {}) => Self::Unchanged,
            Phase::Disconnected {} => Self::Cancel,
            Phase::ReconnectRequired { .. } => match before {
                Phase::ReconnectRequired { .. } => Self::Unchanged,
                _ => Self::TerminalFailure,
            },
            Phase::Scheduled { .. } if succeeded(transition) => Self::Success,
            Phase::Scheduled { .. } if attempted => Self::Retry,
            // Told once however often it is looked at again: so it is one terminal failure.
            Phase::Active { .. } if failed_for_good(transition) => Self::TerminalFailure,
            Phase::Active { .. } if attempted => Self::Retry,
            Phase::Scheduled { .. } | Phase::Active { .. } => moved(transition),
        }
    }
}

/// A timer that was set, moved or taken away without a request.
fn moved(transition: &Transition<'_, Credential>) -> What {
    let before = target(transition.before.1);
    let after = target(transition.after.1);
    let same_grant = grant_of(transition.before.0) == grant_of(transition.after.0);
    match (before, after) {
        (None, Some(_)) => What::Schedule,
        (Some(_), None) => What::Cancel,
        (Some(old), Some(new)) if old != new || !same_grant => What::Reschedule,
        _ => What::Unchanged,
    }
}

fn grant_of(credential: &Credential) -> Option<crate::vault::GrantId> {
    credential.grant.as_ref().map(|grant| grant.id)
}

/// When the next request leaves by this state.
fn target(phase: &Phase) -> Option<Millis> {
    match phase {
        Phase::Scheduled { at, .. } => Some(*at),
        _ => None,
    }
}

fn succeeded(transition: &Transition<'_, Credential>) -> bool {
    matches!(transition.outcome, Some(Outcome::Refreshed(issued)) if !issued.salvaged)
}

fn lost(transition: &Transition<'_, Credential>) -> bool {
    transition.heard.iter().any(|word| word == "ActivityLost")
}

/// A pair that came by another way than as an answer was taken.
fn rescued(transition: &Transition<'_, Credential>) -> bool {
    note(transition, "rescued") == Some("adopted")
}

fn failed_for_good(transition: &Transition<'_, Credential>) -> bool {
    let told = transition.effects.published().iter();
    told.map(|event| &event.payload["retryable"])
        .any(|retryable| *retryable == Value::Bool(false))
}

fn note<'a>(transition: &'a Transition<'_, Credential>, field: &str) -> Option<&'a str> {
    transition.effects.notes().get(field)?.as_str()
}

/// How the request ended, if this transition heard of that.
fn outcome(transition: &Transition<'_, Credential>) -> Option<&'static str> {
    match transition.outcome {
        Some(outcome) => Some(outcome.word()),
        None => lost(transition).then_some("lost"),
    }
}

/// Leaves the record.
pub(crate) fn record(transition: &Transition<'_, Credential>) {
    let what = What::of(transition);
    let name = transition.id.id().parse::<GrantRef>().ok();
    let integration = name.as_ref().map(GrantRef::integration);
    let (before, after) = (transition.before, transition.after);
    let speaks_of = match what {
        What::Start | What::Cancel => target(before.1),
        _ => target(after.1).or(transition.wake_at),
    };
    let replaced = target(before.1).filter(|_| what == What::Reschedule);
    let expires_at = |credential: &Credential| credential.grant.as_ref()?.expires_at.map(rfc3339);
    let detail = transition.outcome.and_then(Outcome::detail);
    let told = |field: fn(&Detail) -> Option<&String>| detail.and_then(field).map(String::as_str);
    let failure = matches!(what, What::Retry | What::TerminalFailure);
    tracing::info!(
        target: "evergreen::transition",
        what = what.as_str(),
        tenant = integration.map(|name| name.tenant()),
        integration = integration.map(|name| name.integration()),
        grant = name.as_ref().map(|name| name.kind().as_str()),
        workflow = %transition.id,
        v = transition.v,
        fence = transition.fence,
        attempt = transition.attempt,
        from = before.1.name(),
        to = after.1.name(),
        heard = transition.heard.join(" "),
        scheduled_for = speaks_of.map(rfc3339),
        was_scheduled_for = replaced.map(rfc3339),
        source = note(transition, "source"),
        reason = note(transition, "reason"),
        attention = note(transition, "attention"),
        retryable = failure.then_some(what == What::Retry),
        generation = after.0.grant.as_ref().map(|grant| grant.generation),
        old_expires_at = expires_at(before.0),
        expires_at = expires_at(after.0),
        outcome = outcome(transition),
        http_status = detail.and_then(|detail| detail.status),
        provider_code = told(|detail| detail.code.as_ref()),
        incident_id = told(|detail| detail.incident_id.as_ref()),
        request_id = told(|detail| detail.request_id.as_ref()),
        "transition"
    );
}
