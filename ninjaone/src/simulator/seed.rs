//! Live grants without a consent, for tests and demos that start with a fleet.

use serde::{Deserialize, Serialize};

use super::clients::{GrantType, OFFLINE_ACCESS};
use super::options::Refused;
use super::state::{Grant, State};
use super::wire::Name;

const COUNT_MAX: usize = 100_000;
const SCOPE: &str = "monitoring management offline_access";

/// Which grants to make: `count` numbered ones, or those of `list`, or both.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeedRequest {
    /// How many grants with numbered tenants.
    pub count: usize,
    /// What the names of numbered tenants start with; `tenant-` gives `tenant-0001` and so on.
    pub tenant_prefix: String,
    /// The integration's name within its tenant.
    pub integration: String,
    /// The app that the grants belong to; without it, the first that can refresh.
    pub client_id: Option<String>,
    /// Their scopes. Without `offline_access` there is no refresh token.
    pub scope: String,
    /// What is left of their access tokens.
    pub expires_in: Option<Spread>,
    /// Grants by name.
    pub list: Vec<SeedRow>,
}

impl Default for SeedRequest {
    fn default() -> Self {
        Self {
            count: 0,
            tenant_prefix: "tenant-".to_owned(),
            integration: "ninjaone".to_owned(),
            client_id: None,
            scope: SCOPE.to_owned(),
            expires_in: None,
            list: Vec::new(),
        }
    }
}

impl SeedRequest {
    /// So many numbered grants, the rest as by default.
    #[must_use]
    pub fn count(count: usize) -> Self {
        Self {
            count,
            ..Self::default()
        }
    }

    /// One grant by name.
    #[must_use]
    pub fn one(tenant: &str, integration: &str) -> Self {
        Self {
            list: vec![SeedRow {
                tenant: tenant.to_owned(),
                integration: Some(integration.to_owned()),
                ..SeedRow::default()
            }],
            ..Self::default()
        }
    }
}

/// Remaining seconds, spread evenly over the grants of one request; negative is expired already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Of the first grant.
    pub min: i64,
    /// Of the last.
    pub max: i64,
}

/// One grant by name; what is absent is taken from the request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeedRow {
    /// The tenant.
    pub tenant: String,
    /// The integration.
    pub integration: Option<String>,
    /// The app.
    pub client_id: Option<String>,
    /// The scopes.
    pub scope: Option<String>,
    /// Remaining seconds of the access token.
    pub expires_in: Option<i64>,
}

/// A grant that was made, with its tokens: all that an importer needs.
#[derive(Clone, Serialize, Deserialize)]
pub struct SeededGrant {
    /// The tenant.
    pub tenant: String,
    /// The integration.
    pub integration: String,
    /// Always `user`.
    pub grant: String,
    /// The chain in the ledger.
    pub chain: String,
    /// The access token.
    pub access_token: String,
    /// The refresh token, if the scopes give one.
    pub refresh_token: Option<String>,
    /// Remaining seconds of the access token.
    pub expires_in: i64,
    /// The same as a moment, RFC 3339 in UTC.
    pub expires_at: String,
    /// The scopes.
    pub scope: String,
    /// This simulator.
    pub instance_url: String,
    /// The app.
    pub client_id: String,
    /// Its secret, if it has one.
    pub client_secret: Option<String>,
}

impl std::fmt::Debug for SeededGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} {}", self.tenant, self.integration, self.chain)
    }
}

impl SeededGrant {
    /// The grant as a line of `evergreen import --format jsonl`.
    #[must_use]
    pub fn jsonl(&self) -> String {
        serde_json::json!({
            "tenant": self.tenant,
            "integration": self.integration,
            "grant": self.grant,
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "expires_at": self.expires_at,
            "instance_url": self.instance_url,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        })
        .to_string()
    }
}

/// Makes all of them or none.
pub(super) fn seed(
    state: &mut State,
    request: SeedRequest,
    instance_url: &str,
    now: u64,
) -> Result<Vec<SeededGrant>, Refused> {
    let rows = rows(request, state)?;
    for row in &rows {
        check(row, state)?;
    }
    Ok(rows
        .into_iter()
        .map(|row| grant(row, state, instance_url, now))
        .collect())
}

/// A row in which nothing is left to be filled in.
struct Row {
    tenant: String,
    integration: String,
    client_id: String,
    scope: String,
    expires_in: i64,
}

fn rows(request: SeedRequest, state: &State) -> Result<Vec<Row>, Refused> {
    let many = request.count.saturating_add(request.list.len());
    if many == 0 {
        return Err(Refused::new("count", "at least 1, or a list"));
    }
    if many > COUNT_MAX {
        return Err(Refused::new("count", format!("at most {COUNT_MAX}")));
    }
    let can_refresh =
        |app: &&super::clients::ClientApp| app.grants.contains(&GrantType::RefreshToken);
    let client_id = match request.client_id {
        Some(client_id) => client_id,
        None => match state.clients.all().into_iter().find(can_refresh) {
            Some(app) => app.client_id.clone(),
            None => return Err(Refused::new("client_id", "no app here can refresh")),
        },
    };
    let life = i64::try_from(state.options.access_token_life.as_secs()).unwrap_or(i64::MAX);
    let spread = request.expires_in.unwrap_or(Spread {
        min: life,
        max: life,
    });
    let nth = |nth: usize| spread_at(spread, nth, many);
    let numbered = (0..request.count).map(|number| SeedRow {
        tenant: format!("{}{:04}", request.tenant_prefix, number + 1),
        ..SeedRow::default()
    });
    let filled = (numbered.chain(request.list))
        .enumerate()
        .map(|(place, row)| Row {
            tenant: row.tenant,
            integration: row.integration.unwrap_or(request.integration.clone()),
            client_id: row.client_id.unwrap_or(client_id.clone()),
            scope: row.scope.unwrap_or(request.scope.clone()),
            expires_in: row.expires_in.unwrap_or(nth(place)),
        });
    Ok(filled.collect())
}

fn spread_at(spread: Spread, nth: usize, many: usize) -> i64 {
    let steps = i128::try_from(many).unwrap_or(1).max(2) - 1;
    let (min, max) = (i128::from(spread.min), i128::from(spread.max));
    let nth = i128::try_from(nth).unwrap_or_default();
    i64::try_from(min + (max - min) * nth / steps).unwrap_or(spread.max)
}

fn check(row: &Row, state: &State) -> Result<(), Refused> {
    if let Err(bad) = crate::integration::IntegrationId::new(&row.tenant, &row.integration) {
        return Err(Refused::new(bad.field, bad.rule));
    }
    let Some(app) = state.clients.get(&row.client_id) else {
        return Err(Refused::new(
            "client_id",
            "no such app; GET /simulator/clients lists them",
        ));
    };
    if !app.platform.offers(GrantType::RefreshToken) {
        return Err(Refused::new("client_id", "an app that users consent to"));
    }
    if app.scope_for(Some(&row.scope)).is_none() {
        return Err(Refused::new("scope", "scopes that the app has"));
    }
    if !(-31_536_000..=31_536_000).contains(&row.expires_in) {
        return Err(Refused::new(
            "expires_in",
            "seconds, at most a year from now or ago",
        ));
    }
    Ok(())
}

fn grant(row: Row, state: &mut State, instance_url: &str, now: u64) -> SeededGrant {
    let id = state.mint.uuid();
    let expires_at = now.saturating_add_signed(row.expires_in.saturating_mul(1000));
    let access_token = state.mint.access_token(&id, expires_at);
    let offline = row.scope.split(' ').any(|scope| scope == OFFLINE_ACCESS);
    let refresh_token = offline.then(|| state.mint.refresh_token(&id, 0));
    let grant = Grant {
        client_id: Name::from(row.client_id.as_str()),
        label: Some((row.tenant.clone(), row.integration.clone())),
        scope: row.scope.clone(),
        user: true,
        generation: 0,
        rotated_at: now,
        revoked: false,
    };
    state.grants.insert(id.clone(), grant);
    state.ledger.open(&id, now, expires_at);
    let secret = (state.clients.get(&row.client_id)).and_then(|app| app.client_secret.as_ref());
    SeededGrant {
        tenant: row.tenant,
        integration: row.integration,
        grant: "user".to_owned(),
        chain: id.to_string(),
        access_token,
        refresh_token,
        expires_in: row.expires_in,
        expires_at: rfc3339(expires_at),
        scope: row.scope,
        instance_url: instance_url.to_owned(),
        client_id: row.client_id,
        client_secret: secret.map(|secret| secrecy::ExposeSecret::expose_secret(secret).to_owned()),
    }
}

fn rfc3339(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(chrono::DateTime::from_timestamp_millis)
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::options::SimulatorOptions;

    #[test]
    fn a_spread_reaches_from_the_first_grant_to_the_last() {
        let mut state = State::new(SimulatorOptions::default());
        let request = SeedRequest {
            expires_in: Some(Spread { min: -60, max: 60 }),
            ..SeedRequest::count(5)
        };
        let grants = seed(&mut state, request, "http://localhost", 1_000_000).unwrap();
        let lives: Vec<_> = grants.iter().map(|grant| grant.expires_in).collect();
        assert_eq!(lives, [-60, -30, 0, 30, 60]);
        assert_eq!(grants[4].tenant, "tenant-0005");
        assert_eq!(grants[4].expires_at, "1970-01-01T00:17:40.000Z");
    }

    #[test]
    fn a_bad_row_is_named_and_nothing_is_made() {
        let mut state = State::new(SimulatorOptions::default());
        for (json, field) in [
            ("{}", "count"),
            (r#"{"count":1,"tenant_prefix":"a/b"}"#, "tenant"),
            (r#"{"count":1,"client_id":"nobody"}"#, "client_id"),
            (
                r#"{"count":2,"list":[{"tenant":"a","scope":"root"}]}"#,
                "scope",
            ),
            (r#"{"count":100001}"#, "count"),
        ] {
            let request = serde_json::from_str(json).unwrap();
            let refused = seed(&mut state, request, "", 0).unwrap_err();
            assert_eq!(refused.field, field, "{json}");
        }
        assert!(state.grants.is_empty());
    }
}
