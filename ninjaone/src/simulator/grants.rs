//! What each grant gives: tokens, or a refusal.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::clients::{ClientApp, GrantType, OFFLINE_ACCESS};
use super::ledger::Presented;
use super::options::Rotation;
use super::reply::{Reply, json_text};
use super::state::{Grant, Presentation, State, millis};
use super::wire::{Form, Name};

/// What a request gave, beside its answer.
pub(super) struct Issued {
    pub grant: Name,
    pub access_expires_at: u64,
    pub rotated: bool,
}

/// A field that must be there.
pub(super) fn needed<'f>(form: &'f Form, name: &str) -> Result<&'f str, Reply> {
    form.get(name).ok_or(refusal("invalid_request"))
}

/// RFC 6749 section 4.1.3. The code is gone at its first use, whether that succeeds or not.
pub(super) fn redeem(
    form: &Form,
    state: &mut State,
    app: &ClientApp,
    now: u64,
) -> Result<(Reply, Issued), Reply> {
    let code = needed(form, "code")?;
    let redirect_uri = needed(form, "redirect_uri")?;
    let code = state.codes.remove(code).ok_or(refusal("invalid_grant"))?;
    let good = code.client_id == app.client_id
        && code.redirect_uri == redirect_uri
        && code.expires_at > now
        && verifies(code.challenge.as_deref(), form.get("code_verifier"));
    if !good {
        return Err(refusal("invalid_grant"));
    }
    let has_refresh_token = app.grants.contains(&GrantType::RefreshToken)
        && code.scope.split(' ').any(|scope| scope == OFFLINE_ACCESS);
    let grant = Grant {
        client_id: Name::from(app.client_id.as_str()),
        label: None,
        scope: code.scope,
        user: true,
        generation: 0,
        rotated_at: now,
        revoked: false,
    };
    state.grants.insert(code.grant.clone(), grant);
    Ok(pair(state, code.grant, has_refresh_token, false, now))
}

/// RFC 6749 section 4.4. One grant per app and scope set, and never a refresh token.
pub(super) fn mint(
    form: &Form,
    state: &mut State,
    app: &ClientApp,
    now: u64,
) -> Result<(Reply, Issued), Reply> {
    let scope = (app.scope_for(form.get("scope"))).ok_or(refusal("invalid_scope"))?;
    let key = (app.client_id.clone(), scope.clone());
    let known = state.machines.get(&key).cloned();
    let grant = known.unwrap_or_else(|| {
        let id = state.mint.uuid();
        let grant = Grant {
            client_id: Name::from(app.client_id.as_str()),
            label: None,
            scope,
            user: false,
            generation: 0,
            rotated_at: now,
            revoked: false,
        };
        state.grants.insert(id.clone(), grant);
        state.machines.insert(key, id.clone());
        id
    });
    Ok(pair(state, grant, false, false, now))
}

pub(super) fn refusal(error: &str) -> Reply {
    Reply::oauth(StatusCode::BAD_REQUEST, error)
}

/// RFC 7636 section 4.6, S256 only. A verifier without a challenge is a downgrade.
fn verifies(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            (43..=128).contains(&verifier.len())
                && URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) == challenge
        }
        _ => false,
    }
}

/// RFC 6749 section 6. `keeps` is a fault's wish that this time nothing rotates.
pub(super) fn refresh(
    state: &mut State,
    seen: &Presentation,
    keeps: bool,
    now: u64,
) -> Result<(Reply, Issued), Reply> {
    let grant = match seen.presented {
        Presented::Current | Presented::Grace => seen.grant.clone(),
        Presented::Expired => return Err(refusal("expired_token")),
        _ => None,
    };
    let id = grant.ok_or(refusal("invalid_token"))?;
    let rotation = state.options.rotation;
    let may_rotate = matches!(rotation, Rotation::Strict | Rotation::Grace { .. });
    // Within the grace window the pair that replaced the old one is answered once more.
    let rotates = may_rotate && !keeps && seen.presented == Presented::Current;
    let grant = state.grants.get_mut(&id).ok_or(refusal("invalid_token"))?;
    if rotates {
        grant.generation += 1;
        grant.rotated_at = now;
    }
    let answers_it = rotation != Rotation::Absent;
    Ok(pair(state, id, answers_it, rotates, now))
}

/// An access token, and the current refresh token if the answer is to have it.
fn pair(
    state: &mut State,
    grant: Name,
    with_refresh_token: bool,
    rotated: bool,
    now: u64,
) -> (Reply, Issued) {
    let life = state.options.access_token_life;
    let access_expires_at = now + millis(life);
    let access_token = state.mint.access_token(&grant, access_expires_at);
    let (generation, scope) = match state.grants.get(&grant) {
        Some(grant) => (grant.generation, grant.scope.clone()),
        None => (0, String::new()),
    };
    let mut members = vec![
        ("access_token".to_owned(), json_text(&access_token)),
        ("expires_in".to_owned(), life.as_secs().to_string()),
    ];
    if with_refresh_token {
        let refresh_token = state.mint.refresh_token(&grant, generation);
        members.push(("refresh_token".to_owned(), json_text(&refresh_token)));
    }
    members.push(("scope".to_owned(), json_text(&scope)));
    members.push(("token_type".to_owned(), json_text("Bearer")));
    let issued = Issued {
        grant,
        access_expires_at,
        rotated,
    };
    (Reply::tokens(members), issued)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_of_the_standard_matches_its_challenge() {
        // RFC 7636 appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(verifies(Some(challenge), Some(verifier)));
        assert!(!verifies(Some(challenge), None));
        assert!(!verifies(None, Some(verifier)));
        assert!(!verifies(Some(verifier), Some(verifier)));
        assert!(verifies(None, None));
    }
}
