//! Every setting there is. One name makes three: `refresh_buffer` in the file, `--refresh-buffer`,
//! `EVERGREEN_REFRESH_BUFFER`.

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(pub(super) &'static str);

impl Key {
    pub(super) fn variable(self) -> String {
        format!("EVERGREEN_{}", self.0.to_ascii_uppercase())
    }

    pub(super) fn flag(self) -> String {
        format!("--{}", self.0.replace('_', "-"))
    }
}

pub(super) const REDIS_URL: Key = Key("redis_url");
pub(super) const PARTITIONS: Key = Key("partitions");
pub(super) const REPLICAS: Key = Key("replicas");
pub(super) const KEY_PREFIX: Key = Key("key_prefix");
pub(super) const SEAL_KEYS: Key = Key("seal_keys");
pub(super) const SEAL_KEYS_FILE: Key = Key("seal_keys_file");
pub(super) const API_KEYS_FILE: Key = Key("api_keys_file");
pub(super) const JOURNAL_DIR: Key = Key("journal_dir");
pub(super) const CLIENT_ID: Key = Key("ninjaone_client_id");
pub(super) const CLIENT_SECRET: Key = Key("ninjaone_client_secret");
pub(super) const CLIENT_SECRET_FILE: Key = Key("ninjaone_client_secret_file");
pub(super) const HOSTS: Key = Key("ninjaone_hosts");
pub(super) const REFRESH_BUFFER: Key = Key("refresh_buffer");
pub(super) const REFRESH_MIN_DELAY: Key = Key("refresh_min_delay");
pub(super) const LEASE: Key = Key("lease");
pub(super) const TOKEN_TIMEOUT: Key = Key("token_timeout");
pub(super) const SHUTDOWN_GRACE: Key = Key("shutdown_grace");
pub(super) const RETENTION: Key = Key("retention");
pub(super) const PUBLIC_URL: Key = Key("public_url");
pub(super) const REDIRECT_URI: Key = Key("redirect_uri");
pub(super) const WEBHOOK_URL: Key = Key("webhook_url");
pub(super) const WEBHOOK_SECRET: Key = Key("webhook_secret");
pub(super) const WEBHOOK_SECRET_FILE: Key = Key("webhook_secret_file");
pub(super) const LISTEN: Key = Key("listen");
pub(super) const LOG: Key = Key("log");
pub(super) const LOG_FORMAT: Key = Key("log_format");

pub(super) const ALL: [Key; 26] = [
    REDIS_URL,
    PARTITIONS,
    REPLICAS,
    KEY_PREFIX,
    SEAL_KEYS,
    SEAL_KEYS_FILE,
    API_KEYS_FILE,
    JOURNAL_DIR,
    CLIENT_ID,
    CLIENT_SECRET,
    CLIENT_SECRET_FILE,
    HOSTS,
    REFRESH_BUFFER,
    REFRESH_MIN_DELAY,
    LEASE,
    TOKEN_TIMEOUT,
    SHUTDOWN_GRACE,
    RETENTION,
    PUBLIC_URL,
    REDIRECT_URI,
    WEBHOOK_URL,
    WEBHOOK_SECRET,
    WEBHOOK_SECRET_FILE,
    LISTEN,
    LOG,
    LOG_FORMAT,
];

/// The setting whose name in the file looks most like this one, and by how many letters it differs.
pub(super) fn nearest(name: &str) -> (&'static str, usize) {
    ALL.iter()
        .map(|key| (key.0, distance(key.0, name)))
        .min_by_key(|(_, distance)| *distance)
        .unwrap_or((LOG.0, usize::MAX))
}

/// Letters to insert, remove or replace to make one text of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_makes_three() {
        assert_eq!(CLIENT_ID.variable(), "EVERGREEN_NINJAONE_CLIENT_ID");
        assert_eq!(CLIENT_ID.flag(), "--ninjaone-client-id");
    }

    #[test]
    fn a_slip_finds_its_setting() {
        assert_eq!(nearest("refresh_bufer"), ("refresh_buffer", 1));
        assert_eq!(nearest("redis"), ("redis_url", 4));
        assert_eq!(nearest("lease"), ("lease", 0));
    }
}
