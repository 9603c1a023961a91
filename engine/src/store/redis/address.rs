//! Where the servers are: one URL for each of the three topologies.
//!
//! | URL | means |
//! |---|---|
//! | `redis://[user:password@]host[:port][/db]` | one server |
//! | `redis+sentinel://[user:password@]host[:port],…[/db]?master=NAME` | the server that these Sentinels call master |
//! | `redis+cluster://[user:password@]host[:port],…` | the cluster that these nodes belong to |
//!
//! `rediss` in place of `redis` means TLS, to every server. The login is the servers'; the Sentinels'
//! own comes as `sentinel_user` and `sentinel_password`, and `sentinel_tls=yes` or `no` says where they
//! differ from the servers. Whatever is wrong is told with what is allowed, and without the value,
//! which may be a password in the wrong place.

use std::fmt;

use deadpool_redis::redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult,
};

use super::endpoint::{Endpoint, decode, endpoints};
use super::query::Query;

/// Where a Sentinel listens unless told otherwise.
const SENTINEL_PORT: u16 = 26_379;
/// Where a server listens unless told otherwise.
const SERVER_PORT: u16 = 6379;
/// Every URL that is understood, for whoever wrote another.
const FORMS: &str = "redis://[user:password@]host[:port][/db], \
    redis+sentinel://[user:password@]host[:port],host[:port]/[db]?master=NAME or \
    redis+cluster://[user:password@]host[:port],host[:port]; rediss in place of redis for TLS";

/// Which servers there are and how to talk to them. Shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) topology: Topology,
    /// One server; or the Sentinels, or nodes of the cluster, to ask first.
    pub(super) hosts: Vec<Endpoint>,
    pub(super) tls: bool,
    login: Login,
    database: i64,
    masked: String,
}

/// How the servers belong together.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Topology {
    One,
    Sentinel {
        master: String,
        login: Login,
        tls: bool,
    },
    Cluster,
}

/// What opens a server. An empty one is none.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}; allowed is {allowed}")]
pub struct AddressError {
    /// What is wrong, naming the part of the URL and not its value.
    pub wrong: String,
    /// What that part may be.
    pub allowed: &'static str,
}

pub(super) fn wrong(wrong: impl Into<String>, allowed: &'static str) -> AddressError {
    AddressError {
        wrong: wrong.into(),
        allowed,
    }
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// With the part that is wrong and what is allowed there.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("is not a URL", FORMS))?;
        let (tls, kind) = match scheme.split_once('+').unwrap_or((scheme, "")) {
            ("redis", kind) => (false, kind),
            ("rediss", kind) => (true, kind),
            _ => return Err(wrong("has an unknown scheme", FORMS)),
        };
        if rest.contains('#') {
            let allowed = "a URL without one; in a password it is written %23";
            return Err(wrong("holds a #", allowed));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, place) = place.rsplit_once('@').unwrap_or(("", place));
        let login = Login::parse(login)?;
        let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
        let mut query = Query::parse(query)?;
        let (topology, port) = match kind {
            "" if !scheme.ends_with('+') => (Topology::One, SERVER_PORT),
            "cluster" => (Topology::Cluster, SERVER_PORT),
            "sentinel" => (query.sentinel(tls)?, SENTINEL_PORT),
            _ => return Err(wrong("has an unknown scheme", FORMS)),
        };
        query.finish(&topology)?;
        let hosts = endpoints(hosts, port)?;
        if topology == Topology::One && hosts.len() > 1 {
            let allowed = "one host; several belong to redis+sentinel:// or redis+cluster://";
            return Err(wrong("names several hosts", allowed));
        }
        Ok(Self {
            database: database_of(database, &topology)?,
            topology,
            hosts,
            tls,
            login,
            masked: mask(text),
        })
    }

    /// Whether it holds a user or a password, of the servers or of the Sentinels.
    #[must_use]
    pub fn has_login(&self) -> bool {
        let none = Login::default();
        let sentinels = match &self.topology {
            Topology::Sentinel { login, .. } => *login != none,
            _ => false,
        };
        sentinels || self.login != none
    }

    /// How to connect to one of the servers.
    pub(super) fn server(&self, at: &Endpoint) -> RedisResult<ConnectionInfo> {
        info(at, self.tls, &self.login, self.database)
    }

    /// How to connect to one of the Sentinels.
    pub(super) fn sentinel(at: &Endpoint, login: &Login, tls: bool) -> RedisResult<ConnectionInfo> {
        info(at, tls, login, 0)
    }

    /// Whether any connection is made with TLS.
    pub(super) fn needs_tls(&self) -> bool {
        let sentinels = matches!(self.topology, Topology::Sentinel { tls: true, .. });
        self.tls || sentinels
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.masked).finish()
    }
}

fn info(at: &Endpoint, tls: bool, login: &Login, database: i64) -> RedisResult<ConnectionInfo> {
    let (host, port) = (at.host.clone(), at.port);
    let at = if tls {
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut settings = RedisConnectionInfo::default().set_db(database);
    if !login.user.is_empty() {
        settings = settings.set_username(&login.user);
    }
    if !login.password.is_empty() {
        settings = settings.set_password(&login.password);
    }
    Ok(at.into_connection_info()?.set_redis_settings(settings))
}

impl Login {
    fn parse(text: &str) -> Result<Self, AddressError> {
        const ALLOWED: &str = "user:password@ or :password@, in which what is not a letter, a digit \
            or one of - . _ ~ is percent-encoded";
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.contains(['/', '@']) {
            return Err(wrong(
                "has a login with a character that cannot stand there",
                ALLOWED,
            ));
        }
        let Some((user, password)) = text.split_once(':') else {
            return Err(wrong("has a login without a password", ALLOWED));
        };
        let bad = || {
            wrong(
                "has a login that is not percent-encoded as it must be",
                ALLOWED,
            )
        };
        Ok(Self {
            user: decode(user).ok_or_else(bad)?,
            password: decode(password).ok_or_else(bad)?,
        })
    }
}

fn database_of(text: &str, topology: &Topology) -> Result<i64, AddressError> {
    match (text, topology) {
        ("" | "0", _) => Ok(0),
        (_, Topology::Cluster) => Err(wrong("names a database", "none: a cluster has only one")),
        _ => {
            let number = text.parse::<u16>().map(i64::from);
            number.map_err(|_| {
                wrong(
                    "names a database that is no number",
                    "/0 to /65535, or none",
                )
            })
        }
    }
}

/// Hides what stands before the last `@`, except the user's name, and whatever comes as a query.
/// Works on any text, because a URL that cannot be read may carry a password as well.
pub(super) fn mask(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (place, query) = rest.split_at(end);
    if query.contains('@') {
        // Nobody can tell where a login ends that holds such characters unencoded.
        return format!("{scheme}://***");
    }
    match place.rsplit_once('@') {
        Some((login, hosts)) => {
            let user = login.split_once(':').map_or("", |(user, _)| user);
            format!("{scheme}://{user}:***@{hosts}")
        }
        None if scheme.is_empty() => place.to_owned(),
        None => format!("{scheme}://{place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(url: &str) -> AddressError {
        let error = Address::parse(url).unwrap_err();
        assert!(!error.to_string().contains("hunt"), "{error}");
        error
    }

    #[test]
    fn each_topology_has_a_url() {
        let one = Address::parse("redis://bob:hunt%40er2@[::1]:7000/2").unwrap();
        assert!(one.topology == Topology::One && !one.tls && one.has_login());
        let info = one.server(&one.hosts[0]).unwrap();
        assert_eq!(info.addr(), &ConnectionAddr::Tcp("::1".to_owned(), 7000));
        assert_eq!(info.redis_settings().username(), Some("bob"));
        assert_eq!(info.redis_settings().password(), Some("hunt@er2"));
        assert_eq!(info.redis_settings().db(), 2);

        let cluster = Address::parse("rediss+cluster://a,b:7001/").unwrap();
        assert!(cluster.topology == Topology::Cluster && cluster.tls && !cluster.has_login());
        let hosts: Vec<_> = cluster.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["a:6379", "b:7001"]);

        let url =
            "rediss+sentinel://:pw@s1,s2:7/1?master=main&sentinel_password=x%26y&sentinel_tls=no";
        let sentinel = Address::parse(url).unwrap();
        assert_eq!(sentinel.hosts[0].to_string(), "s1:26379");
        assert!(sentinel.tls && sentinel.needs_tls());
        let Topology::Sentinel { master, login, tls } = &sentinel.topology else {
            panic!("it is {sentinel:?}")
        };
        assert_eq!(
            (master.as_str(), login.password.as_str(), *tls),
            ("main", "x&y", false)
        );
        let info = Address::sentinel(&sentinel.hosts[1], login, *tls).unwrap();
        assert_eq!(info.addr(), &ConnectionAddr::Tcp("s2".to_owned(), 7));
        assert_eq!(info.redis_settings().db(), 0, "a Sentinel has no databases");
        let server = sentinel.server(&sentinel.hosts[0]).unwrap();
        assert_eq!(server.redis_settings().db(), 1);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_part_with_what_is_allowed() {
        for (url, wrong, allowed) in [
            ("hunter2", "is not a URL", "redis+cluster://"),
            (
                "http://bob:hunter2@h",
                "unknown scheme",
                "redis+sentinel://",
            ),
            ("redis+tls://h", "unknown scheme", "rediss"),
            ("redis+://h", "unknown scheme", "rediss"),
            ("redis://", "names no host", "host[:port]"),
            ("redis+cluster://a,,b", "host 2 is empty", "host[:port]"),
            ("redis://h:hunter2", "the port of host 1", "1 to 65535"),
            (
                "redis+cluster://a:1,b:0",
                "the port of host 2",
                "1 to 65535",
            ),
            ("redis://[::1", "host 1 lacks", "[::1]:6379"),
            ("redis://a,b", "several hosts", "redis+cluster://"),
            ("redis://h/hunter2", "database that is no number", "/0"),
            ("redis+cluster://h/1", "names a database", "only one"),
            ("redis://hunter2@h", "without a password", ":password@"),
            (
                "redis://:hunt/er2@h",
                "cannot stand there",
                "percent-encoded",
            ),
            (
                "redis://:hunt%zz@h",
                "not percent-encoded",
                "percent-encoded",
            ),
            ("redis://:hunt#er2@h", "holds a #", "%23"),
            (
                "redis://:hunt?er2@h",
                "parameter that is not known",
                "?master=NAME",
            ),
            ("redis+sentinel://h", "which master", "sentinel monitor"),
            (
                "redis+sentinel://h?master=",
                "parameter master",
                "?master=NAME",
            ),
            (
                "redis+sentinel://h?master=a&master=b",
                "master twice",
                "each once",
            ),
            (
                "redis+sentinel://h?master=a&sentinel_tls=hunter",
                "sentinel_tls",
                "yes or no",
            ),
            (
                "redis+sentinel://h?master=a&sentinel_user=hunter",
                "sentinel_user",
                "both",
            ),
            (
                "redis+cluster://h?master=hunter",
                "the parameter master",
                "redis+sentinel://",
            ),
        ] {
            let error = why(url);
            assert!(error.wrong.contains(wrong), "{url}: {error}");
            assert!(error.allowed.contains(allowed), "{url}: {error}");
        }
    }

    #[test]
    fn the_password_is_never_told() {
        for (url, masked) in [
            ("redis://127.0.0.1:6379/2", "redis://127.0.0.1:6379/2"),
            ("rediss://bob:hunter2@h:1/0", "rediss://bob:***@h:1/0"),
            ("redis://:hunt@er2@h", "redis://:***@h"),
            ("redis://hunter2@h", "redis://:***@h"),
            ("hunter2@h", "://:***@h"),
            ("redis://h?password=hunter2", "redis://h"),
            ("redis://:hunt?er2@h", "redis://***"),
            ("redis://:hunt@er?2@h", "redis://***"),
            (
                "redis+sentinel://:hunter@a,b/0?master=m&sentinel_password=hunter",
                "redis+sentinel://:***@a,b/0",
            ),
        ] {
            assert_eq!(mask(url), masked);
        }
        let address = Address::parse("redis+cluster://bob:hunter2@a,b").unwrap();
        assert!(!format!("{address:?}").contains("hunt"));
    }
}
