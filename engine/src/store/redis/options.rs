//! What a Redis store is told, and what it must never tell on: the password in its URL.

use std::fmt;
use std::time::Duration;

use super::address::{Address, mask};
use super::errors::refused;
use super::keys::prefix_is_usable;
use crate::limits::{PARTITIONS_DEFAULT, PARTITIONS_MAX};
use crate::store::StoreError;
use crate::store::clock::Clock;

/// Where the Redis is and how to treat it. Begin with [`RedisOptions::new`].
#[derive(Clone)]
pub struct RedisOptions {
    /// Where the servers are: `redis://`, `redis+sentinel://` or `redis+cluster://`, as
    /// [`Address`] reads it.
    pub url: String,
    /// What every key begins with.
    pub prefix: String,
    /// How many partitions there should be. `None` takes what the key space has, and makes a new one
    /// with [`PARTITIONS_DEFAULT`].
    pub partitions: Option<u16>,
    /// Make the key space where there is none and no key begins with the prefix.
    pub create: bool,
    /// How many replicas must have a durable commit before it counts as confirmed.
    pub replicas: u32,
    /// The longest that an operation takes, connecting included.
    pub reply_timeout: Duration,
    /// The longest that a durable commit waits for its confirmation after it was written. A server
    /// with `appendfsync everysec` takes up to a second, a replica with it up to two.
    pub confirm_timeout: Duration,
    /// Connections to one server at most, without the one for durable commits and one for each
    /// listener.
    pub pool: usize,
    /// Accept a server that forgets everything when it restarts.
    pub allow_volatile: bool,
    /// Listen to wake-up messages. Without them, as behind a proxy that passes no subscriptions on,
    /// a worker learns of what others have made due when it looks: the poll cap later at most.
    pub wakes: bool,
    /// Whose time to go by: the server's, or a test's.
    pub clock: Option<Clock>,
}

impl RedisOptions {
    /// The defaults for the servers at this URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "evergreen".to_owned(),
            partitions: None,
            create: true,
            replicas: 0,
            reply_timeout: Duration::from_secs(2),
            confirm_timeout: Duration::from_secs(3),
            pool: 16,
            allow_volatile: false,
            wakes: true,
            clock: None,
        }
    }

    /// The URL with the password hidden, for errors and logs.
    #[must_use]
    pub fn masked_url(&self) -> String {
        mask(&self.url)
    }

    /// Reads the URL and checks the rest.
    pub(super) fn address(&self) -> Result<Address, StoreError> {
        let doing = format!("the settings for {}", self.masked_url());
        if !prefix_is_usable(&self.prefix) {
            let why = format!(
                "the prefix {:?} must be 1 to 64 characters of A-Z a-z 0-9 - _ . :",
                self.prefix
            );
            return Err(refused(doing, why));
        }
        if let Some(partitions) = self.partitions {
            partitions_are_usable(partitions)?;
        }
        // `WAIT` takes no time at all to mean all the time there is.
        let no_time = self.reply_timeout.is_zero() || self.confirm_timeout.as_millis() == 0;
        if self.pool == 0 || no_time {
            let why = "the pool and the timeouts must be more than nothing";
            return Err(refused(doing, why));
        }
        Address::parse(&self.url).map_err(|error| refused(doing, format!("the URL {error}")))
    }

    /// The longest that a durable commit takes in all: its caller may come just after a group has left,
    /// and waits for it and for its own.
    pub(super) fn durable_timeout(&self) -> Duration {
        (self.reply_timeout + self.confirm_timeout) * 2
    }

    pub(super) fn partitions_to_make(&self) -> u16 {
        self.partitions.unwrap_or(PARTITIONS_DEFAULT)
    }
}

/// Checks a count of partitions.
pub(super) fn partitions_are_usable(partitions: u16) -> Result<(), StoreError> {
    if (1..=PARTITIONS_MAX).contains(&partitions) {
        return Ok(());
    }
    let why = format!("there can be 1 to {PARTITIONS_MAX}, not {partitions}");
    Err(refused("the number of partitions", why))
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("url", &self.masked_url())
            .field("prefix", &self.prefix)
            .field("partitions", &self.partitions)
            .field("create", &self.create)
            .field("replicas", &self.replicas)
            .field("reply_timeout", &self.reply_timeout)
            .field("confirm_timeout", &self.confirm_timeout)
            .field("pool", &self.pool)
            .field("allow_volatile", &self.allow_volatile)
            .field("wakes", &self.wakes)
            .field("clock", &self.clock.as_ref().map(|_| "a test's"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_is_refused_without_repeating_it() {
        let options = RedisOptions::new("http://bob:hunter2@h");
        let text = options.address().unwrap_err().to_string();
        assert!(
            text.contains("unknown scheme") && text.contains("redis+cluster://"),
            "{text}"
        );
        for text in [text, format!("{options:?}"), options.masked_url()] {
            assert!(
                text.contains("bob:***@h") && !text.contains("hunter2"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_store_asks_for_more_than_nothing() {
        for options in [
            RedisOptions {
                pool: 0,
                ..RedisOptions::new("redis://h")
            },
            RedisOptions {
                reply_timeout: Duration::ZERO,
                ..RedisOptions::new("redis://h")
            },
            RedisOptions {
                prefix: "a*".to_owned(),
                ..RedisOptions::new("redis://h")
            },
        ] {
            assert!(options.address().is_err(), "{options:?}");
        }
    }
}
