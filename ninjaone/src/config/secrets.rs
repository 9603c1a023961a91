//! The settings that hold secrets: Redis' URL, the seal keys, the client app.

use std::io::Read as _;

use evergreen_engine::limits::PARTITIONS_MAX;
use evergreen_engine::store::redis::{Address, prefix_is_usable};
use secrecy::{ExposeSecret, SecretString};

use super::keys;
use super::reader::Reader;
use super::values::number;
use super::{Role, StoreConfig};
use crate::provider::ClientApp;
use crate::vault::{KeyRing, RingError};

pub(super) fn missing_redis(reader: &mut Reader<'_>) {
    let wrong = "is missing; it says which Redis to use, such as redis://127.0.0.1:6379";
    reader.wrong(keys::REDIS_URL.variable(), wrong);
}

pub(super) fn store(reader: &mut Reader<'_>) -> Option<StoreConfig> {
    let partitions = number(reader, keys::PARTITIONS, 1, u32::from(PARTITIONS_MAX));
    let replicas = number(reader, keys::REPLICAS, 0, 16).unwrap_or(0);
    let allowed = "1 to 64 characters of A-Z a-z 0-9 - _ . :";
    let prefix = reader.read(keys::KEY_PREFIX, allowed, |text| {
        match prefix_is_usable(text) {
            true => Ok(text.to_owned()),
            false => Err("cannot begin a key"),
        }
    });
    let flag = keys::REDIS_URL.flag();
    let from_flag = reader
        .found(keys::REDIS_URL)
        .is_some_and(|found| found.name == flag);
    let found = reader.found(keys::REDIS_URL)?;
    let url = match redis_url(&found.text, from_flag) {
        Ok(url) => url,
        Err(wrong) => {
            reader.wrong(found.name, wrong);
            return None;
        }
    };
    Some(StoreConfig {
        url,
        partitions: partitions.and_then(|number| u16::try_from(number).ok()),
        replicas,
        prefix,
    })
}

/// What is wrong with a URL is told by whoever connects to it, so that both agree.
fn redis_url(text: &str, from_flag: bool) -> Result<SecretString, String> {
    let address = Address::parse(text).map_err(|error| error.to_string())?;
    if from_flag && address.has_login() {
        let wrong = "holds a login, which everybody on this machine can read on the command line; \
                     allowed is a URL without one, or EVERGREEN_REDIS_URL in the environment";
        return Err(wrong.to_owned());
    }
    Ok(SecretString::from(text))
}

pub(super) fn ring(reader: &mut Reader<'_>, role: Role) -> (Option<KeyRing>, bool) {
    let told = reader.found(keys::SEAL_KEYS);
    let file = reader.found(keys::SEAL_KEYS_FILE);
    let parsed = match (told, file) {
        (Some(told), Some(file)) => {
            let wrong = format!("is given beside {}; allowed is one of them", told.name);
            reader.wrong(file.name, wrong);
            return (None, false);
        }
        (Some(told), None) => KeyRing::parse(&told.text).map_err(|e| (told.name, e)),
        (None, Some(file)) if file.text.is_empty() => {
            reader.wrong(file.name, "is empty; allowed is the path of a file");
            return (None, false);
        }
        (None, Some(file)) => KeyRing::from_file(file.text.as_ref()).map_err(|e| (file.name, e)),
        (None, None) if role == Role::Dev => {
            return match fresh_ring() {
                Ok(ring) => (Some(ring), true),
                Err(e) => {
                    reader.wrong(keys::SEAL_KEYS.variable(), e.to_string());
                    (None, true)
                }
            };
        }
        (None, None) => {
            let wrong = "is missing, and so is EVERGREEN_SEAL_KEYS_FILE; without a key no \
                         credential can be stored. Make one: evergreen keys generate";
            reader.wrong(keys::SEAL_KEYS.variable(), wrong);
            return (None, false);
        }
    };
    match parsed {
        Ok(ring) => (Some(ring), false),
        Err((name, error)) => {
            reader.wrong(name, ring_problem(&error));
            (None, false)
        }
    }
}

fn fresh_ring() -> Result<KeyRing, RingError> {
    KeyRing::parse(KeyRing::generate()?.printable.expose_secret())
}

/// The setting's name is told already, so what remains is the rule.
fn ring_problem(error: &RingError) -> String {
    match error {
        RingError::Empty { .. } => {
            "holds no key; allowed is a list of id:base64, the current key first".to_owned()
        }
        RingError::Entry { position, rule, .. } => format!("entry {position}: {rule}"),
        RingError::File { source, .. } => format!("the file cannot be read: {source}"),
        RingError::Randomness(_) => error.to_string(),
    }
}

/// The fleet's app. An empty id is none at all: that is how orchestrators pass on what is not set.
pub(super) fn client(reader: &mut Reader<'_>) -> Option<ClientApp> {
    let client_id = reader
        .found(keys::CLIENT_ID)
        .map(|found| found.text)
        .filter(|id| !id.is_empty());
    let secret = reader
        .found(keys::CLIENT_SECRET)
        .filter(|found| !found.text.is_empty());
    let file = reader
        .found(keys::CLIENT_SECRET_FILE)
        .filter(|found| !found.text.is_empty());
    let (name, client_secret) = match (secret, file) {
        (Some(secret), Some(file)) => {
            let wrong = format!("is given beside {}; allowed is one of them", secret.name);
            reader.wrong(file.name, wrong);
            return None;
        }
        (Some(secret), None) => (secret.name, Some(SecretString::from(secret.text))),
        (None, Some(file)) => match secret_file(&file.text) {
            Ok(secret) => (file.name, Some(secret)),
            Err(why) => {
                reader.wrong(
                    file.name,
                    format!("{why}; allowed is a file with the app's secret"),
                );
                return None;
            }
        },
        (None, None) => (String::new(), None),
    };
    match client_id {
        Some(client_id) => Some(ClientApp {
            client_id,
            client_secret,
        }),
        None if client_secret.is_some() => {
            let wrong =
                format!("is missing, although {name} is given; allowed are both, or the id alone");
            reader.wrong(keys::CLIENT_ID.variable(), wrong);
            None
        }
        None => None,
    }
}

pub(super) fn secret_file(path: &str) -> Result<SecretString, String> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(64 * 1024).read_to_string(&mut text))
        .map_err(|e| format!("the file cannot be read: {e}"))?;
    let text = text.trim();
    if text.is_empty() {
        return Err("the file is empty".to_owned());
    }
    Ok(text.into())
}
