//! The `tokens.json` of the NinjaRMM MCP server, read tolerantly: its times are naive local time,
//! slots may be `null` or incomplete, unknown members are none of our business. A file that does
//! not parse is moved aside: its owner would overwrite it at the next save.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use serde_json::{Map, Value};

use super::candidate::{Candidate, Fault, Row, Whose};
use super::file::{self, Links, Problem};
use super::members::{Members, NO_REFRESH_TOKEN};
use super::when::{self, Seconds};
use super::{Error, LEGACY_TOKEN_PATH, MAX_BYTES, aside};
use crate::integration::{GrantKind, GrantRef, IntegrationId};

/// Its owner writes in place, so a file that does not parse may be half of a save, and nothing says
/// when the save ends. It is judged only after it was read again this much later.
pub(crate) const SETTLE: Duration = Duration::from_millis(100);

/// What the file does not say itself.
#[derive(Debug, Clone)]
pub struct Source<Z> {
    /// Whose credentials they are.
    pub id: IntegrationId,
    /// The instance they are for; the file does not name it.
    pub instance_url: Option<String>,
    /// The zone of the consumer's naive times: [`chrono::Local`], unless it runs elsewhere.
    pub zone: Z,
    /// With `--dry-run` even a file that does not parse stays where it is.
    pub dry_run: bool,
}

/// What was found in the file.
#[derive(Debug)]
pub struct Found {
    /// At most one row for each slot; an empty slot has none.
    pub rows: Vec<Row>,
    /// Where the file went because it did not parse.
    pub moved_aside: Option<PathBuf>,
    /// What was passed over without being wrong, for messages.
    pub notes: Vec<String>,
}

/// Reads both slots. `now` stamps the name of a file that is moved aside.
///
/// # Errors
/// When the file is not there, is not a plain file, is too large, or could not be moved aside.
pub async fn read<Z: TimeZone>(
    path: &Path,
    source: &Source<Z>,
    now: DateTime<Utc>,
) -> Result<Found, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.escape_debug().collect();
    let map = match load(path, Links::Follow).await {
        Ok(Ok(map)) => map,
        Ok(Err(fault)) => {
            let moved_aside = if source.dry_run {
                None
            } else {
                let moved = aside::rename(path, now).map_err(|source| Error::Aside {
                    path: path.to_owned(),
                    source,
                })?;
                Some(moved)
            };
            let grant = source.id.grant(GrantKind::User);
            return Ok(Found {
                rows: vec![Err(fault.of(Whose::Grant(grant), name))],
                moved_aside,
                notes: Vec::new(),
            });
        }
        Err(problem) => {
            return Err(Error::Unusable {
                path: path.to_owned(),
                reason: problem.to_string(),
            });
        }
    };
    let mut members = Members::from_map(map);
    let mut found = Found {
        rows: Vec::new(),
        moved_aside: None,
        notes: Vec::new(),
    };
    for kind in [GrantKind::Client, GrantKind::User] {
        let place = format!("{name}, slot {kind}");
        let grant = source.id.grant(kind);
        match slot(members.take(kind.as_str()), source, &grant, &place) {
            Ok(Slot::Holds(candidate)) => found.rows.push(Ok(*candidate)),
            Ok(Slot::Empty(why)) => found.notes.push(format!("{place}: {why}")),
            Err(fault) => found.rows.push(Err(fault.of(Whose::Grant(grant), place))),
        }
    }
    Ok(found)
}

/// The file as an object, or what is wrong with its text.
pub(crate) async fn load(
    path: &Path,
    links: Links,
) -> Result<Result<Map<String, Value>, Fault>, Problem> {
    let once = || Ok(parse(&file::read(path, links, MAX_BYTES)?));
    match once()? {
        Ok(map) => Ok(Ok(map)),
        Err(_) => {
            tokio::time::sleep(SETTLE).await;
            once()
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Fault> {
    Members::parse(bytes, "file").map(Members::into_map)
}

enum Slot {
    Holds(Box<Candidate>),
    Empty(&'static str),
}

fn slot<Z: TimeZone>(
    value: Option<Value>,
    source: &Source<Z>,
    grant: &GrantRef,
    place: &str,
) -> Result<Slot, Fault> {
    let mut members = match value {
        None | Some(Value::Null) => return Ok(Slot::Empty("no token")),
        Some(Value::Object(map)) => Members::from_map(map),
        Some(_) => return Err(Fault::new("slot", "is not a JSON object")),
    };
    match members.take("valid") {
        None | Some(Value::Null | Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(Slot::Empty("marked as not valid")),
        Some(_) => return Err(Fault::new("valid", "is neither true nor false")),
    }
    let mut warnings = Vec::new();
    let tokens = members.tokens(grant.kind(), &mut warnings)?;
    // To its owner an empty access token means "no token", whatever stands beside it.
    if tokens.access.is_none() {
        return Ok(Slot::Empty("no token"));
    }
    if grant.kind() == GrantKind::User && tokens.refresh.is_none() {
        warnings.push(NO_REFRESH_TOKEN.to_owned());
    }
    let expiry = when::read(members.take("expires_at").as_ref(), Seconds::Odd, |text| {
        when::with_offset(text).or_else(|| when::local(text, &source.zone))
    });
    warnings.extend(expiry.warning.map(str::to_owned));
    Ok(Slot::Holds(Box::new(Candidate {
        place: place.to_owned(),
        grant: grant.clone(),
        access_token: tokens.access,
        refresh_token: tokens.refresh,
        expires_at: expiry.at,
        instance_url: source.instance_url.clone(),
        client_id: None,
        client_secret: None,
        scope: members.scope()?,
        token_path_hint: Some(LEGACY_TOKEN_PATH),
        warnings,
    })))
}
