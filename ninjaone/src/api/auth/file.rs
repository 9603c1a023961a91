//! Keys that the operator keeps in a file: `EVERGREEN_API_KEYS_FILE`.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::key::{Key, Scope};
use crate::integration::IntegrationId;
use crate::vault::apikey::Digest;

/// Why a keys file was refused: every fault at once, none with content of the file.
#[derive(Debug, thiserror::Error)]
#[error("the API keys file: {}", faults.join("; "))]
pub struct KeysFileError {
    /// Place and rule.
    pub faults: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    keys: Vec<Value>,
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Vec<(Digest, Arc<Key>)>, KeysFileError> {
    let one = |fault: String| KeysFileError {
        faults: vec![fault],
    };
    let text =
        std::fs::read(path).map_err(|error| one(format!("cannot be read: {}", error.kind())))?;
    parse(&text)
}

pub(super) fn parse(text: &[u8]) -> Result<Vec<(Digest, Arc<Key>)>, KeysFileError> {
    let file: File = serde_json::from_slice(text).map_err(|error| KeysFileError {
        faults: vec![format!(
            "must be {{\"keys\":[…]}} in JSON (line {}, column {})",
            error.line(),
            error.column()
        )],
    })?;
    let mut keys = Vec::new();
    let mut faults = Vec::new();
    for (row, value) in file.keys.iter().enumerate() {
        match entry(value) {
            Ok(key) => keys.push(key),
            Err((field, rule)) => faults.push(format!("keys[{row}].{field}: {rule}")),
        }
    }
    if faults.is_empty() {
        Ok(keys)
    } else {
        Err(KeysFileError { faults })
    }
}

type Fault = (&'static str, &'static str);

fn entry(value: &Value) -> Result<(Digest, Arc<Key>), Fault> {
    let id = text(value, "id")?.ok_or(("id", "is missing"))?;
    let name = text(value, "name")?.unwrap_or_else(|| id.clone());
    let digest = text(value, "sha256")?
        .and_then(|hex| hex.to_ascii_lowercase().parse().ok())
        .ok_or(("sha256", "the SHA-256 of the key as 64 hexadecimal digits"))?;
    let scopes = texts(value, "scopes")?.unwrap_or_default();
    let rule = ("scopes", "a list of `read`, `token`, `admin`, at least one");
    let scopes: Vec<Scope> = scopes
        .iter()
        .map(|s| s.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| rule)?;
    if scopes.is_empty() {
        return Err(rule);
    }
    let tenants = texts(value, "tenants")?;
    if let Some(tenants) = &tenants {
        // An empty list could be meant as "all" and as "none"; guessing opens or shuts a door.
        if tenants.is_empty() {
            return Err(("tenants", "must not be empty; leave it out for all tenants"));
        }
        if tenants
            .iter()
            .any(|tenant| IntegrationId::new(tenant, "x").is_err())
        {
            return Err(("tenants", "holds something that is no tenant's name"));
        }
    }
    Ok((
        digest,
        Arc::new(Key {
            id,
            name,
            scopes,
            tenants,
            created_at: None,
        }),
    ))
}

fn text(value: &Value, field: &'static str) -> Result<Option<String>, Fault> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err((field, "must be a text")),
    }
}

fn texts(value: &Value, field: &'static str) -> Result<Option<Vec<String>>, Fault> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(all)) => all
            .iter()
            .map(|one| {
                one.as_str()
                    .map(str::to_owned)
                    .ok_or((field, "must be a list of texts"))
            })
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err((field, "must be a list of texts")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(keys: Value) -> Result<Vec<(Digest, Arc<Key>)>, KeysFileError> {
        parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_file_lists_keys_by_their_hash() {
        let digest = Digest::of(&"eg_a".into());
        let keys = parsed(json!([{
            "id": "k1", "name": "ci", "sha256": digest.to_string(), "scopes": ["read", "token"],
            "tenants": ["acme"],
        }]))
        .unwrap();
        assert_eq!(keys[0].0, digest);
        assert!(keys[0].1.sees("acme") && !keys[0].1.sees("globex"));
        assert_eq!(keys[0].1.scopes, [Scope::Read, Scope::Token]);
    }

    #[test]
    fn every_fault_is_told_at_once_and_nothing_of_the_content() {
        let hex = Digest::of(&"x".into()).to_string();
        let error = parsed(json!([
            { "id": "a", "sha256": "CANARY", "scopes": ["read"] },
            { "id": "b", "sha256": hex, "scopes": ["CANARY"] },
            { "id": "c", "sha256": hex, "scopes": ["read"], "tenants": [] },
            { "sha256": hex, "scopes": ["read"] },
            7,
        ]))
        .unwrap_err();
        assert_eq!(error.faults.len(), 5);
        let text = error.to_string();
        for place in [
            "keys[0].sha256",
            "keys[1].scopes",
            "keys[2].tenants",
            "keys[3].id",
        ] {
            assert!(text.contains(place), "{text}");
        }
        assert!(!text.contains("CANARY"), "{text}");
        assert!(parse(b"[]").is_err());
    }
}
