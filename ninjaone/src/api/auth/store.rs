//! Where keys are kept, and finding the one that a caller presents.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use evergreen_engine::store::{Store, StoreError};
use evergreen_engine::time::rfc3339;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::file::{self, KeysFileError};
use super::key::{Key, Scope};
use crate::integration::IntegrationId;
use crate::service::ServiceError;
use crate::vault::apikey::{self, Digest};

/// The store's table of keys.
pub const TABLE: &str = "apikeys";

/// A revoked key works for so long.
const FRESH: Duration = Duration::from_secs(5);
/// While the store is away, keys known before are believed for so long.
const WITHOUT_STORE: Duration = Duration::from_secs(60);
/// Wrong keys make the table be read at most this often.
const READ_PAUSE: Duration = Duration::from_millis(250);
/// After the store did not answer it is left alone for so long.
const AWAY_PAUSE: Duration = Duration::from_secs(1);
/// What a caller waits for the store at most.
const READ_PATIENCE: Duration = Duration::from_secs(2);
/// The longest text that is worth hashing.
const PRESENTED_MAX: usize = 256;

/// A key that was just made. Its text exists nowhere else.
#[derive(Debug)]
pub struct NewKey {
    /// Its id.
    pub id: String,
    /// What callers present.
    pub key: SecretString,
}

/// The keys of the table and of the file. Cheap to clone.
#[derive(Clone)]
pub struct KeyStore(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    file: Option<PathBuf>,
    known: RwLock<Arc<Known>>,
    reading: tokio::sync::Mutex<Reading>,
}

/// The keys as they were read last.
#[derive(Default)]
struct Known {
    table: Vec<(Digest, Arc<Key>)>,
    file: Vec<(Digest, Arc<Key>)>,
    /// When the reading began: what happened before is in it.
    read_at: Option<Instant>,
}

#[derive(Default)]
struct Reading {
    tried_at: Option<Instant>,
    away: Option<String>,
}

impl Known {
    fn find(&self, digest: &Digest) -> Option<Arc<Key>> {
        // All are compared, each in constant time.
        let mut found = None;
        for (kept, key) in self.table.iter().chain(&self.file) {
            if kept == digest {
                found = Some(Arc::clone(key));
            }
        }
        found
    }

    fn younger_than(&self, age: Duration) -> bool {
        self.read_at.is_some_and(|at| at.elapsed() < age)
    }
}

impl KeyStore {
    /// Keys of the store's table.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(Arc::new(Inner {
            store,
            file: None,
            known: RwLock::default(),
            reading: tokio::sync::Mutex::default(),
        }))
    }

    /// Keys of the table and of a file, which is read again whenever the table is.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn with_file(store: Arc<dyn Store>, path: PathBuf) -> Result<Self, KeysFileError> {
        let known = Known {
            file: file::read(&path)?,
            ..Known::default()
        };
        Ok(Self(Arc::new(Inner {
            store,
            file: Some(path),
            known: RwLock::new(Arc::new(known)),
            reading: tokio::sync::Mutex::default(),
        })))
    }

    /// Makes a key. Without tenants it is good for all.
    ///
    /// # Errors
    /// No scope, a wrong name, or a store that does not answer.
    pub async fn create(
        &self,
        name: &str,
        scopes: &[Scope],
        tenants: Option<&[String]>,
    ) -> Result<NewKey, ServiceError> {
        let invalid = |field: &str, rule: &str| ServiceError::Invalid {
            field: field.to_owned(),
            rule: rule.to_owned(),
        };
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(invalid(
                "name",
                "1 to 100 characters, no control characters",
            ));
        }
        let mut scopes = scopes.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(invalid(
                "scopes",
                "at least one of `read`, `token`, `admin`",
            ));
        }
        if tenants.is_some_and(<[String]>::is_empty) {
            return Err(invalid(
                "tenants",
                "must not be empty; leave it out for all tenants",
            ));
        }
        for tenant in tenants.unwrap_or_default() {
            IntegrationId::new(tenant, "x")?;
        }
        let presented = apikey::generate();
        let key = Key {
            id: format!("key_{:012x}", rand::random::<u64>() >> 16),
            name: name.to_owned(),
            scopes,
            tenants: tenants.map(<[String]>::to_vec),
            created_at: Some(rfc3339(self.0.store.now().await?)),
        };
        let value = serde_json::to_string(&key).map_err(|error| ServiceError::Internal {
            doing: "writing down a key".to_owned(),
            why: error.to_string(),
        })?;
        self.0
            .store
            .table_put(TABLE, &Digest::of(&presented).to_string(), &value)
            .await?;
        Ok(NewKey {
            id: key.id,
            key: presented,
        })
    }

    /// All keys, those of the file last.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self) -> Result<Vec<Key>, ServiceError> {
        let mut keys: Vec<Key> = self
            .table()
            .await?
            .into_iter()
            .map(|(_, key)| (*key).clone())
            .collect();
        keys.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        keys.extend(self.known().file.iter().map(|(_, key)| (**key).clone()));
        Ok(keys)
    }

    /// Revokes a key; every process forgets it within five seconds. Tells whether there was one.
    ///
    /// # Errors
    /// A key of the file, or a store that does not answer.
    pub async fn revoke(&self, id: &str) -> Result<bool, ServiceError> {
        for (digest, key) in self.table().await? {
            if key.id == id {
                return Ok(self
                    .0
                    .store
                    .table_remove(TABLE, &digest.to_string())
                    .await?);
            }
        }
        if self.known().file.iter().any(|(_, key)| key.id == id) {
            return Err(ServiceError::Conflict {
                what: id.to_owned(),
                why: "is a key of the keys file; remove it there".to_owned(),
            });
        }
        Ok(false)
    }

    /// The key that was presented, if it is one.
    ///
    /// # Errors
    /// When the store does not answer and the key was not known before.
    pub(crate) async fn find(
        &self,
        presented: &SecretString,
    ) -> Result<Option<Arc<Key>>, ServiceError> {
        if presented.expose_secret().len() > PRESENTED_MAX {
            return Ok(None);
        }
        let arrived = Instant::now();
        let digest = Digest::of(presented);
        let known = self.known();
        if known.younger_than(FRESH)
            && let Some(key) = known.find(&digest)
        {
            return Ok(Some(key));
        }
        let away = self.read_again(arrived).await;
        let known = self.known();
        believed(known.find(&digest), known.younger_than(WITHOUT_STORE), away)
    }

    /// Sees to it that the keys were read after `arrived`: a key that was made a moment ago works.
    /// Callers that wait together share one reading. Tells why it could not be done.
    async fn read_again(&self, arrived: Instant) -> Option<String> {
        let mut reading = self.0.reading.lock().await;
        if self.known().read_at.is_some_and(|at| at >= arrived) {
            return None;
        }
        if let (Some(why), Some(tried_at)) = (&reading.away, reading.tried_at)
            && tried_at.elapsed() < AWAY_PAUSE
        {
            return Some(why.clone());
        }
        if let Some(tried_at) = reading.tried_at {
            tokio::time::sleep_until(tried_at + READ_PAUSE).await;
        }
        let began = Instant::now();
        reading.tried_at = Some(began);
        let read = tokio::time::timeout(READ_PATIENCE, self.table()).await;
        reading.away = match read {
            Ok(Ok(table)) => {
                let file = self.file_again().await;
                let known = Arc::new(Known {
                    table,
                    file,
                    read_at: Some(began),
                });
                *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = known;
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        reading.away.clone()
    }

    async fn table(&self) -> Result<Vec<(Digest, Arc<Key>)>, StoreError> {
        let rows = self.0.store.table_all(TABLE).await?;
        let usable = rows.into_iter().filter_map(|(field, value)| {
            let digest = field.parse::<Digest>().ok();
            let key = serde_json::from_str::<Key>(&value).ok();
            if digest.is_none() || key.is_none() {
                tracing::warn!("a row of the table of API keys cannot be read; it lets nobody in");
            }
            Some((digest?, Arc::new(key?)))
        });
        Ok(usable.collect())
    }

    /// The keys of the file; those known before if it has become unreadable.
    async fn file_again(&self) -> Vec<(Digest, Arc<Key>)> {
        let before = || self.known().file.clone();
        let Some(path) = self.0.file.clone() else {
            return Vec::new();
        };
        match tokio::task::spawn_blocking(move || file::read(&path)).await {
            Ok(Ok(keys)) => keys,
            Ok(Err(error)) => {
                tracing::warn!(%error, "keys of the file stay as they were");
                before()
            }
            Err(_) => before(),
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is believed of a key after an attempt to read the table: `away` says why there is no answer.
fn believed(
    found: Option<Arc<Key>>,
    known_lately: bool,
    away: Option<String>,
) -> Result<Option<Arc<Key>>, ServiceError> {
    match (found, away) {
        (found, None) => Ok(found),
        (Some(key), Some(_)) if known_lately => Ok(Some(key)),
        // Nobody can say whether a key that is not known was made or revoked meanwhile.
        (_, Some(why)) => Err(ServiceError::StoreAway { why }),
    }
}

#[cfg(test)]
mod tests {
    use evergreen_engine::store::memory::MemoryStore;
    use evergreen_engine::testing::{Fault, FaultyStore};
    use tokio::time::advance;

    use super::*;

    #[test]
    fn keys_known_lately_are_believed_while_the_store_is_away() {
        let key = Arc::new(Key {
            id: "k".to_owned(),
            name: "n".to_owned(),
            scopes: vec![Scope::Read],
            tenants: None,
            created_at: None,
        });
        let away = || Some("away".to_owned());
        assert_eq!(
            believed(Some(Arc::clone(&key)), true, away()).unwrap(),
            Some(Arc::clone(&key))
        );
        assert!(believed(Some(Arc::clone(&key)), false, away()).is_err());
        assert!(believed(None, true, away()).is_err());
        assert_eq!(
            believed(Some(Arc::clone(&key)), false, None).unwrap(),
            Some(key)
        );
        assert_eq!(believed(None, false, None).unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_believed_for_five_seconds_and_for_a_minute_while_the_store_is_away() {
        let store = FaultyStore::over(Arc::new(MemoryStore::new()));
        let keys = KeyStore::new(Arc::new(store.clone()));
        let made = keys.create("n", &[Scope::Read], None).await.unwrap();
        let find = async || keys.find(&made.key).await.map(|key| key.is_some());
        let second = Duration::from_secs(1);
        assert!(find().await.unwrap());
        let _shared = store.clone().in_weather(Box::new(|_| Some(Fault::Away)));
        advance(59 * second).await;
        assert!(find().await.unwrap(), "read less than a minute ago");
        advance(2 * second).await;
        assert!(
            find().await.is_err(),
            "being asked for makes no reading younger"
        );
        store.heal();
        advance(AWAY_PAUSE).await;
        assert!(find().await.unwrap());

        let elsewhere = KeyStore::new(Arc::new(store.clone()));
        assert!(elsewhere.revoke(&made.id).await.unwrap());
        advance(4 * second).await;
        assert!(find().await.unwrap(), "nobody has looked yet");
        advance(second).await;
        assert!(!find().await.unwrap(), "five seconds, and no longer");
        // What is known to be revoked does not come back because nobody can ask.
        let _shared = store.clone().in_weather(Box::new(|_| Some(Fault::Away)));
        advance(second).await;
        assert!(find().await.is_err());
    }
}
