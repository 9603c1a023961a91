//! The address of a tenant's NinjaOne instance, normalised to scheme and host. Which hosts are
//! allowed is in `policy.rs`; where their names may lead is in `resolver.rs`.
//!
//! The text comes from people and from other software's stores, and our secrets go where it says.
//! So it is read by a grammar of its own that is smaller than that of URLs: what a URL parser would
//! helpfully repair (tabs, backslashes, percent escapes, full-width letters, `0x7f.1`) is refused.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::authority::{Authority, is_loopback};
use super::policy::HostPolicy;
use super::request::TokenPath;

/// Paths that people and other software leave at the end of an instance URL.
const KNOWN_PATHS: [&str; 6] = ["", "/api", "/api/v2", "/ws", "/ws/api/v2", "/v2"];

/// The longest text worth reading: a host name has at most 253 characters (RFC 1035 section 2.3.4).
const MAX_LENGTH: usize = 320;

/// Scheme, host and port of an instance, such as `https://eu.ninjarmm.com`.
///
/// A value read back from a store has the right form, but whether its host is allowed is a
/// question for [`HostPolicy::admit`], asked again at every use.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceUrl {
    text: String,
    https: bool,
    host: String,
    port: Option<u16>,
}

impl InstanceUrl {
    /// Reads what a person typed or a store held: any case, with or without `https://`, a trailing
    /// slash or dot, `/api`, `/api/v2`, `/ws`.
    ///
    /// # Errors
    /// Names the field `instance_url` and what is allowed, and never repeats the input.
    pub fn parse(text: &str, policy: &HostPolicy) -> Result<Self, HostRefused> {
        let url = Self::read(text).map_err(|rule| policy.refusal(rule))?;
        policy.admit(&url)?;
        Ok(url)
    }

    /// The form of an instance URL, without asking whether its host is allowed.
    fn read(text: &str) -> Result<Self, &'static str> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err("is empty");
        }
        if text.len() > MAX_LENGTH {
            return Err("is too long");
        }
        let text = text.to_ascii_lowercase();
        let (https, rest) = match text.split_once("://") {
            None => (true, text.as_str()),
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err("must begin with https://"),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !KNOWN_PATHS.contains(&path.trim_end_matches('/')) {
            return Err("must not have a path, query or fragment");
        }
        let authority = Authority::read(authority)?;
        let default_port = if https { 443 } else { 80 };
        let port = authority.port.filter(|port| *port != default_port);
        Ok(Self::assemble(https, authority.host, port))
    }

    pub(super) fn of_region(host: &str) -> Self {
        Self::assemble(true, host.to_owned(), None)
    }

    fn assemble(https: bool, host: String, port: Option<u16>) -> Self {
        let scheme = if https { "https" } else { "http" };
        let text = match port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        };
        Self {
            text,
            https,
            host,
            port,
        }
    }

    /// The whole URL, without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host in lower case; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host and, if it is not the scheme's own, port: what names this host in keys and metrics.
    #[must_use]
    pub fn host_and_port(&self) -> &str {
        self.text
            .split_once("://")
            .map_or(self.text.as_str(), |(_, authority)| authority)
    }

    /// The port that a connection goes to.
    #[must_use]
    pub fn effective_port(&self) -> u16 {
        self.port.unwrap_or(if self.https { 443 } else { 80 })
    }

    /// Whether the connection is encrypted; plain only ever on loopback.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether the host is this machine by name: `localhost`, `127.0.0.0/8` or `[::1]`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// The token endpoint at one of its two paths.
    #[must_use]
    pub fn token_url(&self, path: TokenPath) -> String {
        format!("{}{}", self.text, path.token())
    }

    /// The base of API requests.
    #[must_use]
    pub fn api_base(&self) -> String {
        format!("{}/v2", self.text)
    }
}

impl fmt::Display for InstanceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for InstanceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceUrl({})", self.text)
    }
}

impl Serialize for InstanceUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for InstanceUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).map_err(|rule| serde::de::Error::custom(format!("instance_url {rule}")))
    }
}

/// Why an address was refused. It names the field and what is allowed, and never repeats the input,
/// which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct HostRefused {
    /// The field or setting that is wrong.
    pub field: &'static str,
    /// What is wrong with it, and what would be accepted.
    pub rule: String,
}

impl HostRefused {
    pub(super) fn new(field: &'static str, rule: String) -> Self {
        Self { field, rule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<InstanceUrl, HostRefused> {
        InstanceUrl::parse(text, &HostPolicy::new())
    }

    #[test]
    fn s18_what_people_and_stores_write_becomes_scheme_and_host() {
        for text in [
            "https://eu.ninjarmm.com",
            "https://eu.ninjarmm.com/",
            "https://eu.ninjarmm.com/api",
            "https://eu.ninjarmm.com/api/",
            "https://eu.ninjarmm.com/api/v2",
            "https://eu.ninjarmm.com/api/v2/",
            "https://eu.ninjarmm.com/ws",
            "https://eu.ninjarmm.com/ws/",
            "https://eu.ninjarmm.com/ws/api/v2",
            "https://eu.ninjarmm.com/v2",
            "https://eu.ninjarmm.com//",
            "https://eu.ninjarmm.com:443",
            "https://eu.ninjarmm.com./api",
            "HTTPS://EU.NinjaRMM.COM/API/V2",
            "eu.ninjarmm.com",
            "EU.NINJARMM.COM/ws",
            "  https://eu.ninjarmm.com\n",
        ] {
            let url = parse(text).unwrap_or_else(|refused| panic!("{text}: {refused}"));
            assert_eq!(url.as_str(), "https://eu.ninjarmm.com", "{text}");
            assert_eq!(url, super::super::region::Region::Eu.url(), "{text}");
        }
    }

    #[test]
    fn s51_whatever_could_lead_elsewhere_is_refused() {
        for text in [
            "",
            "https://",
            "http://app.ninjarmm.com",
            "ftp://app.ninjarmm.com",
            "javascript://app.ninjarmm.com",
            "//app.ninjarmm.com",
            "https:app.ninjarmm.com",
            "https:///app.ninjarmm.com",
            "https://app.ninjarmm.com.evil.example",
            "https://app.ninjarmm.com@evil.example",
            "https://evil.example@app.ninjarmm.com",
            "https://user:pass@app.ninjarmm.com",
            "https://evil.example/app.ninjarmm.com",
            "https://evil.example#app.ninjarmm.com",
            "https://evil.example?app.ninjarmm.com",
            "https://evil.example\\@app.ninjarmm.com",
            "https://evilapp.ninjarmm.com",
            "https://ninjarmm.com",
            "https://app.ninjarmm.com:8443",
            "https://app.ninjarmm.com:80",
            "https://app.ninjarmm.com:",
            "https://app.ninjarmm.com:0",
            "https://app.ninjarmm.com:+443",
            "https://app.ninjarmm.com:65979",
            "https://app.ninjarmm.com/ws/oauth/token",
            "https://app.ninjarmm.com/api/../x",
            "https://app.ninjarmm.com/?x=1",
            "https://app.ninjarmm.com/#x",
            "https://app.ninjarmm.com..",
            "https://app.ninja\trmm.com",
            "https://app.ninjarmm.com\r\nhost: evil.example",
            "https://app%2eninjarmm.com",
            "https://app\u{3002}ninjarmm\u{3002}com",
            "https://\u{ff41}pp.ninjarmm.com",
            "https://\u{430}pp.ninjarmm.com",
            "https://xn--pp-6kc.ninjarmm.com",
            "https://127.0.0.1",
            "http://127.0.0.1:8081",
            "http://localhost:8081",
            "http://[::1]:8081",
            "https://2130706433",
            "https://0x7f000001",
            "https://0177.0.0.1",
            "https://127.1",
            "https://10.0.0.1",
            "https://169.254.169.254",
            "https://[::ffff:127.0.0.1]",
            "https://[fe80::1]",
            "https://[::1",
            "https://0",
        ] {
            let refused = parse(text).expect_err(text);
            assert_eq!(refused.field, "instance_url", "{text}");
            assert!(
                refused.rule.contains("app.ninjarmm.com"),
                "{text}: {refused}"
            );
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_a_password() {
        let refused = parse("https://user:CANARY@app.ninjarmm.com").unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("CANARY"));
    }

    #[test]
    fn stored_text_reads_back_and_is_not_thereby_allowed() {
        let url: InstanceUrl = serde_json::from_str(r#""https://evil.example""#).unwrap();
        assert!(HostPolicy::new().admit(&url).is_err());
        assert!(serde_json::from_str::<InstanceUrl>(r#""https://a@b""#).is_err());
        let eu = parse("eu.ninjarmm.com").unwrap();
        assert_eq!(
            serde_json::to_string(&eu).unwrap(),
            r#""https://eu.ninjarmm.com""#
        );
    }

    #[test]
    fn one_token_url_and_one_api_base() {
        let url = parse("OC.ninjarmm.com/api/v2").unwrap();
        assert_eq!(
            url.token_url(TokenPath::Ws),
            "https://oc.ninjarmm.com/ws/oauth/token"
        );
        assert_eq!(
            url.token_url(TokenPath::Plain),
            "https://oc.ninjarmm.com/oauth/token"
        );
        assert_eq!(url.api_base(), "https://oc.ninjarmm.com/v2");
        assert_eq!(url.host_and_port(), "oc.ninjarmm.com");
    }
}
