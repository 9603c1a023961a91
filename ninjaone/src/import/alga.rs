//! The directory in which Alga PSA keeps its secrets:
//! `<base>/tenants/<tenantId>/ninjaone_credentials` becomes the user grant of `<tenantId>/ninjaone`.
//!
//! What its writers leave behind is tolerated: no refresh token, no expiry, seconds, numbers as
//! text, empty files as placeholders of mounts, foreign secrets beside ours, symbolic links as
//! Kubernetes makes them. The directory does not say which integrations are still in use; that is
//! in Alga's database.

mod client;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use super::candidate::{Candidate, Fault, Refused, Row, Whose};
use super::file::{self, Problem};
use super::members::{Members, NO_REFRESH_TOKEN};
use super::when::{self, Seconds};
use super::{Error, LEGACY_TOKEN_PATH, MAX_BYTES};
use crate::integration::{GrantKind, GrantRef, IntegrationId};

/// What every Alga tenant's connection is called here.
pub const INTEGRATION: &str = "ninjaone";

const CREDENTIALS: &str = "ninjaone_credentials";

/// Reads all tenants below `base`, in the order of their names.
///
/// A tenant without credentials, or with an empty file, has no row.
///
/// # Errors
/// Only when `base` or its folder `tenants` cannot be listed; everything else is a [`Refused`] row.
pub fn read(base: &Path) -> Result<Vec<Row>, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    };
    let base = base.canonicalize().map_err(failed(base))?;
    let tenants = base.join("tenants");
    let mut folders = Vec::new();
    let mut rows = Vec::new();
    for entry in fs::read_dir(&tenants).map_err(failed(&tenants))? {
        match entry {
            Ok(entry) => folders.push(entry.path()),
            Err(e) => {
                let fault = Fault::new("tenant", format!("cannot be listed ({})", e.kind()));
                rows.push(Err(fault.of(Whose::Unknown, "tenants".to_owned())));
            }
        }
    }
    folders.sort();
    let application = client::Level::new(&base, base.clone());
    for folder in folders {
        rows.extend(tenant(&base, &folder, &application));
    }
    Ok(rows)
}

/// The row of one tenant, if it has credentials.
fn tenant(base: &Path, folder: &Path, application: &client::Level) -> Option<Row> {
    let path = folder.join(CREDENTIALS);
    let content = file::read_inside(base, &path, MAX_BYTES);
    if matches!(content, Err(Problem::Missing)) {
        return None;
    }
    let place = place(base, &path);
    let name = folder.file_name().and_then(|name| name.to_str());
    let id = match name.map(|tenant| IntegrationId::new(tenant, INTEGRATION)) {
        Some(Ok(id)) => id,
        Some(Err(e)) => return Some(Err(Fault::new(e.field, e.rule).of(Whose::Unknown, place))),
        None => {
            return Some(Err(
                Fault::new("tenant", "is not UTF-8").of(Whose::Unknown, place)
            ));
        }
    };
    let grant = id.grant(GrantKind::User);
    let refused =
        |fault: Fault| -> Refused { fault.of(Whose::Grant(grant.clone()), place.clone()) };
    let content = match content {
        Ok(content) if content.trim_ascii().is_empty() => return None,
        Ok(content) => content,
        Err(problem) => return Some(Err(refused(Fault::new(CREDENTIALS, problem.to_string())))),
    };
    let pair = client::resolve(&client::Level::new(base, folder.to_owned()), application);
    Some(
        pair.and_then(|pair| candidate(&content, pair, grant.clone(), place.clone()))
            .map_err(refused),
    )
}

fn candidate(
    content: &[u8],
    client: client::Pair,
    grant: GrantRef,
    place: String,
) -> Result<Candidate, Fault> {
    let mut members = Members::parse(content, CREDENTIALS)?;
    let mut warnings: Vec<String> = client.warning.into_iter().map(str::to_owned).collect();
    let tokens = members.tokens(grant.kind(), &mut warnings)?;
    if tokens.refresh.is_none() {
        if tokens.access.is_none() {
            return Err(Fault::new(
                "refresh_token",
                "is missing, and so is access_token",
            ));
        }
        warnings.push(NO_REFRESH_TOKEN.to_owned());
    }
    let expiry = when::read(
        members.take("expires_at").as_ref(),
        Seconds::Odd,
        |_| None, // Alga writes numbers; a date here is somebody else's hand, and no promise.
    );
    warnings.extend(expiry.warning.map(str::to_owned));
    Ok(Candidate {
        place,
        grant,
        access_token: tokens.access,
        refresh_token: tokens.refresh,
        expires_at: expiry.at,
        instance_url: members.text("instance_url")?,
        client_id: client.id,
        client_secret: client.secret,
        scope: members.scope()?,
        token_path_hint: Some(LEGACY_TOKEN_PATH),
        warnings,
    })
}

/// The path below the base, safe to print: whoever made the directory chose its names.
fn place(base: &Path, path: &Path) -> String {
    let below: PathBuf = path.strip_prefix(base).unwrap_or(path).to_owned();
    let text: String = below.to_string_lossy().escape_debug().collect();
    text.chars().take(200).collect()
}
