//! What is told to the outside. Names and payloads are part of the surface; nothing here is secret.

use evergreen_engine::time::rfc3339;
use evergreen_engine::{Context, Millis};
use serde_json::{Map, Value, json};

use super::data::{Credential, Source};
use crate::integration::GrantRef;
use crate::provider::Reason;

const PREFIX: &str = "INTEGRATION_";

/// What every payload says.
fn head(credential: &Credential, context: &Context<'_, Credential>) -> Map<String, Value> {
    let mut payload = Map::new();
    if let Ok(grant) = context.id.id().parse::<GrantRef>() {
        payload.insert(
            "integrationId".to_owned(),
            grant.integration().to_string().into(),
        );
        payload.insert("tenant".to_owned(), grant.integration().tenant().into());
        payload.insert("grant".to_owned(), grant.kind().as_str().into());
    }
    payload.insert("provider".to_owned(), "ninjaone".into());
    if let Some(grant) = &credential.grant {
        payload.insert("connectionId".to_owned(), grant.id.to_string().into());
        payload.insert("generation".to_owned(), grant.generation.into());
    }
    payload
}

fn publish(
    name: &str,
    credential: &Credential,
    more: Value,
    context: &mut Context<'_, Credential>,
) {
    let mut payload = head(credential, context);
    if let Value::Object(more) = more {
        payload.extend(more);
    }
    context
        .effects
        .publish(format!("{PREFIX}{name}"), Value::Object(payload));
}

fn time(at: Option<Millis>) -> Value {
    at.map_or(Value::Null, |at| rfc3339(at).into())
}

/// A refresh is planned.
pub(super) fn scheduled(
    credential: &Credential,
    at: Millis,
    source: Source,
    context: &mut Context<'_, Credential>,
) {
    let expires_at = credential.grant.as_ref().and_then(|grant| grant.expires_at);
    let more = json!({
        "scheduledFor": rfc3339(at), "source": source.as_str(), "expiresAt": time(expires_at),
    });
    publish("TOKEN_REFRESH_SCHEDULED", credential, more, context);
}

/// A refresh has brought tokens.
pub(super) fn refreshed(
    credential: &Credential,
    old_expires_at: Option<Millis>,
    context: &mut Context<'_, Credential>,
) {
    let expires_at = credential.grant.as_ref().and_then(|grant| grant.expires_at);
    let more = json!({ "oldExpiresAt": time(old_expires_at), "expiresAt": time(expires_at) });
    publish("TOKEN_REFRESHED", credential, more, context);
}

/// What went wrong, what helps, and until when the access token is good all the same.
fn failure(
    credential: &Credential,
    retryable: bool,
    recovery: &str,
    context: &Context<'_, Credential>,
) -> Map<String, Value> {
    let last = credential.failures.last.clone().unwrap_or_default();
    let expires_at = credential.grant.as_ref().and_then(|grant| grant.expires_at);
    let told = json!({
        "failedAt": rfc3339(context.now), "retryable": retryable, "recovery": recovery,
        "errorCode": last.code, "errorMessage": last.description, "httpStatus": last.status,
        "incidentId": last.incident_id, "requestId": last.request_id,
        "expiresAt": time(expires_at),
    });
    match told {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// A failure is worth telling; from here on its end is told as well.
pub(super) fn refresh_failed(
    credential: &mut Credential,
    retryable: bool,
    recovery: &str,
    context: &mut Context<'_, Credential>,
) {
    credential.failures.published = true;
    let mut more = failure(credential, retryable, recovery, context);
    let attention = credential.failures.attention;
    let attention = attention.filter(|_| recovery == "fix_configuration");
    more.insert(
        "attention".to_owned(),
        attention.map(|attention| attention.as_str()).into(),
    );
    more.insert(
        "consecutiveFailures".to_owned(),
        credential.failures.consecutive.into(),
    );
    publish("TOKEN_REFRESH_FAILED", credential, more.into(), context);
}

/// Time is running out.
pub(super) fn expiring(
    credential: &Credential,
    what: &str,
    expires_at: Option<Millis>,
    context: &mut Context<'_, Credential>,
) {
    let more = json!({ "what": what, "expiresAt": time(expires_at) });
    publish("TOKEN_EXPIRING", credential, more, context);
}

/// A person must consent again.
pub(super) fn reconnect_required(
    credential: &Credential,
    reason: Reason,
    context: &mut Context<'_, Credential>,
) {
    let mut more = failure(credential, false, "reconnect", context);
    more.insert("reason".to_owned(), reason.as_str().into());
    more.insert(
        "unknownSince".to_owned(),
        time(credential.failures.unknown_since),
    );
    publish("RECONNECT_REQUIRED", credential, more.into(), context);
}

/// What had failed works again.
pub(super) fn recovered(credential: &Credential, context: &mut Context<'_, Credential>) {
    publish(
        "RECOVERED",
        credential,
        json!({ "at": rfc3339(context.now) }),
        context,
    );
}

/// There is a new grant.
pub(super) fn connected(
    credential: &Credential,
    source: Source,
    context: &mut Context<'_, Credential>,
) {
    let grant = credential.grant.as_ref();
    let more = json!({
        "source": source.as_str(), "epoch": credential.epoch,
        "instanceUrl": grant.map(|g| g.instance_url.clone()),
        "expiresAt": time(grant.and_then(|g| g.expires_at)),
    });
    publish("CONNECTED", credential, more, context);
}

/// Everything is erased.
pub(super) fn disconnected(
    credential: &Credential,
    reason: &str,
    context: &mut Context<'_, Credential>,
) {
    let more = json!({ "reason": reason, "revokedAtProvider": false });
    publish("DISCONNECTED", credential, more, context);
}
