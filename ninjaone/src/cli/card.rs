//! One grant on a few lines: what `status` and its like show to people.

use chrono::{DateTime, Utc};

use super::words;
use crate::service::StatusView;
use crate::when::{both, relative};

/// The lines of a card.
#[must_use]
pub(crate) fn card(view: &StatusView, now: DateTime<Utc>) -> String {
    let mut lines = vec![format!(
        "{} ({} grant)  {}",
        view.integration,
        view.grant,
        headline(view)
    )];
    let mut row = |label: &str, text: Option<String>| {
        if let Some(text) = text {
            lines.push(format!("  {label:<15}{text}"));
        }
    };
    row("attention", attention(view));
    row("to do", to_do(view));
    row("next refresh", next(view, now));
    row(
        "host",
        view.host_paused_until
            .as_deref()
            .map(|at| format!("left alone, as it asked; the pause ends {}", both(at, now))),
    );
    row(
        "host fails",
        view.host_breaker
            .as_deref()
            .filter(|breaker| *breaker != "closed")
            .map(|_| "nothing comes back from it; one request at a time tries".to_owned()),
    );
    row("access token", access_token(view, now));
    row(
        "last refresh",
        view.last_refresh_at.as_deref().map(|at| both(at, now)),
    );
    row("failures", failures(view, now));
    row("provider said", provider(view));
    row(
        "warning",
        view.warning
            .as_deref()
            .map(|text| words::warning(text).to_owned()),
    );
    row(
        "not stored yet",
        view.persist_pending.then(|| {
            "a rotated pair waits for the store; its worker must not be killed".to_owned()
        }),
    );
    row(
        "kept apart",
        (view.quarantined > 0)
            .then(|| format!("{} rotated pairs of unknown worth", view.quarantined)),
    );
    row("instance", view.instance_url.clone());
    row("client app", view.client_id.clone());
    row("scopes", view.scopes.clone());
    row("history", Some(history(view)));
    row("held by", view.owner.clone());
    lines.join("\n")
}

/// The state, and what it is about.
fn headline(view: &StatusView) -> String {
    match (&view.purpose, view.state.as_str()) {
        (Some(purpose), "Scheduled") if purpose != "refresh" => format!("Scheduled ({purpose})"),
        (_, state) => state.to_owned(),
    }
}

fn attention(view: &StatusView) -> Option<String> {
    if let Some(word) = &view.reason {
        return Some(format!("{word}: {}", words::reason(word)));
    }
    if let Some(word) = &view.attention {
        return Some(format!("{word}: {}", words::attention(word)));
    }
    let why = view.parked.as_ref()?;
    Some(format!("parked: {why}"))
}

fn to_do(view: &StatusView) -> Option<String> {
    let id = &view.integration;
    match (view.recovery.as_str(), view.attention.as_deref()) {
        ("reconnect", _) if view.state == "ReconnectRequired" => Some(view.connect_command()),
        // What is stored stays as it is, whatever is corrected elsewhere.
        (_, Some("no_offline_access")) => {
            Some(format!("correct it, then: {}", view.connect_command()))
        }
        ("fix_configuration", _) if view.grant == "client" => Some(format!(
            "correct it, then: evergreen refresh {id}@client; where scopes or app are to be others: {}",
            view.connect_command()
        )),
        ("fix_configuration", _) => Some(format!(
            "correct it, then: evergreen refresh {id}@{}",
            view.grant
        )),
        _ => None,
    }
}

fn next(view: &StatusView, now: DateTime<Utc>) -> Option<String> {
    let at = both(view.next_refresh_at.as_ref()?, now);
    Some(match &view.source {
        Some(source) => format!("{at}, because of {source}"),
        None => at,
    })
}

fn access_token(view: &StatusView, now: DateTime<Utc>) -> Option<String> {
    let at = view.access_token_expires_at.as_ref()?;
    let assumed = if view.expiry_assumed {
        ", assumed: NinjaOne did not say"
    } else {
        ""
    };
    Some(if view.access_token_valid {
        format!("valid, expires {}{assumed}", both(at, now))
    } else {
        format!("not valid, expired {}{assumed}", both(at, now))
    })
}

fn failures(view: &StatusView, now: DateTime<Utc>) -> Option<String> {
    let mut parts = Vec::new();
    if view.consecutive_failures > 0 {
        parts.push(format!("{} in a row", view.consecutive_failures));
    }
    if let Some(since) = &view.unknown_since {
        let since = relative(since, now);
        parts.push(format!(
            "an answer was lost {since}, so the refresh token may be spent"
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn provider(view: &StatusView) -> Option<String> {
    let said = view.provider.as_ref()?;
    let mut parts = Vec::new();
    parts.extend(said.status.map(|status| format!("HTTP {status}")));
    parts.extend(said.code.clone());
    parts.extend(said.description.clone());
    parts.extend(said.incident_id.as_ref().map(|id| format!("incident {id}")));
    parts.extend(said.request_id.as_ref().map(|id| format!("request {id}")));
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn history(view: &StatusView) -> String {
    format!(
        "consent {}, generation {}, transition {}",
        view.epoch, view.generation, view.v
    )
}
