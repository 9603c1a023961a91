//! The version of the key space, and the way from one to the next. See `migrations/README.md`.

use std::collections::BTreeMap;

use deadpool_redis::redis::cmd;

use super::errors::refused;
use super::keys::Keys;
use super::options::{RedisOptions, partitions_are_usable};
use super::reply;
use super::scripts::{Call, KEY_SPACE, Script};
use super::ways::Ways;
use crate::machine::Millis;
use crate::store::StoreError;

/// The version that this program works on.
pub const VERSION: u32 = 1;

/// What the key space says of itself: the hash `evergreen:meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Its version.
    pub version: u32,
    /// How many partitions it has.
    pub partitions: u16,
    /// When it was made.
    pub created_at: Millis,
    /// 32 random bytes as hex digits; keys the fingerprints of spent refresh tokens.
    pub salt: String,
    /// When a worker last wrote here. Older than one seen before: a backup was restored.
    pub stamp: Millis,
}

/// What [`migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The migrations that were applied now, by name; none where all had been.
    pub applied: Vec<&'static str>,
    /// The key space as it is now.
    pub meta: Meta,
}

/// Brings the key space up to [`VERSION`]. May be run any number of times, also by several at once.
///
/// # Errors
/// The server is away; the key space is of a later version, or has another number of partitions than
/// asked for.
pub async fn migrate(options: &RedisOptions, partitions: u16) -> Result<Report, StoreError> {
    partitions_are_usable(partitions)?;
    let ways = Ways::new(options)?;
    let mut applied = Vec::new();
    let from = match read(&ways, options).await? {
        None => 0,
        Some(meta) => meta.version,
    };
    for (version, script) in [(1, &*KEY_SPACE)] {
        if version > from && apply(&ways, options, script, partitions).await? {
            applied.push(script.name);
        }
    }
    let meta = read(&ways, options).await?;
    let meta = meta.ok_or_else(|| refused("migrating", "the key space vanished meanwhile"))?;
    check(&meta, Some(partitions))?;
    Ok(Report { applied, meta })
}

async fn apply(
    ways: &Ways,
    options: &RedisOptions,
    script: &'static Script,
    partitions: u16,
) -> Result<bool, StoreError> {
    let now = options.clock.as_ref().map(|clock| clock());
    let salt: [u8; 32] = rand::random();
    let salt: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = Keys::new(&options.prefix, partitions);
    let call = Call::new(
        script,
        vec![keys.meta()],
        vec![
            now.map_or_else(String::new, |now| now.to_string()),
            partitions.to_string(),
            salt,
        ],
    );
    reply::applied(script.name, ways.call(&call).await?)
}

/// The key space's own words, if there are any.
pub(super) async fn read(ways: &Ways, options: &RedisOptions) -> Result<Option<Meta>, StoreError> {
    let key = Keys::new(&options.prefix, 1).meta();
    let doing = format!("reading {key}");
    let mut command = cmd("HGETALL");
    command.arg(&key);
    let fields: BTreeMap<String, String> = ways.query(&doing, &key, &command).await?;
    // Whoever only stamps does not make a key space.
    if !fields.contains_key("version") {
        return Ok(None);
    }
    let field = |name: &str| -> Result<u64, StoreError> {
        let text = fields.get(name).map_or("", String::as_str);
        text.parse().map_err(|_| {
            refused(
                &doing,
                format!("field {name} is {text:?}, which is no number"),
            )
        })
    };
    let too_large = |name: &str| refused(&doing, format!("field {name} is too large"));
    Ok(Some(Meta {
        version: u32::try_from(field("version")?).map_err(|_| too_large("version"))?,
        partitions: u16::try_from(field("partitions")?).map_err(|_| too_large("partitions"))?,
        created_at: field("created_at")?,
        salt: fields.get("salt").cloned().unwrap_or_default(),
        stamp: field("stamp")?,
    }))
}

/// Whether this program can work here.
pub(super) fn check(meta: &Meta, partitions: Option<u16>) -> Result<(), StoreError> {
    let doing = "the key space";
    if meta.version > VERSION {
        let why = format!(
            "it is of version {}, this program knows versions up to {VERSION}: install a newer one",
            meta.version
        );
        return Err(refused(doing, why));
    }
    if meta.version < VERSION {
        let why = format!(
            "it is of version {}, this program needs {VERSION}: run `evergreen migrate`",
            meta.version
        );
        return Err(refused(doing, why));
    }
    partitions_are_usable(meta.partitions)?;
    match partitions {
        Some(wanted) if wanted != meta.partitions => {
            let why = format!(
                "it was made with {} partitions and {wanted} are configured: configure {}, or none; \
                 the number decides where every workflow lies and cannot be changed",
                meta.partitions, meta.partitions
            );
            Err(refused(doing, why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_space_of_another_version_says_what_to_do() {
        let meta = |version, partitions| Meta {
            version,
            partitions,
            created_at: 1,
            salt: String::new(),
            stamp: 1,
        };
        let why = |meta: &Meta, wanted| check(meta, wanted).unwrap_err().to_string();
        assert!(why(&meta(2, 16), None).contains("install a newer one"));
        assert!(why(&meta(0, 16), None).contains("evergreen migrate"));
        assert!(why(&meta(1, 16), Some(64)).contains("configure 16"));
        assert!(why(&meta(1, 0), None).contains("1 to 1024"));
        check(&meta(1, 16), Some(16)).unwrap();
    }
}
