//! Where the receiver is.
//!
//! The address is the operator's own setting, not a tenant's, so a receiver in a private network is as good
//! as any. What is refused is what no receiver has: a plain connection to anywhere but this machine, a login
//! in the address, and addresses that lead to a cloud's metadata service or to nobody in particular.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use super::resolver::is_receivers;

/// The longest address worth reading, in bytes.
const MAX_LENGTH: usize = 2048;

/// The URL that webhooks are posted to. Its path and query may hold a token, so only its host is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// What is allowed, for messages.
    pub const ALLOWED: &str = "https://, a host, and perhaps a port, a path and a query, such as \
                               https://hooks.example.com/evergreen; http:// for a receiver on this machine";

    /// Reads an address.
    ///
    /// # Errors
    /// Says what is wrong with it, and never repeats it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_LENGTH {
            return Err("is too long");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("has a blank or a control character in it");
        }
        let url = Url::parse(text).map_err(|_| "is not a URL")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a login, and the signature is what a receiver goes by");
        }
        if url.fragment().is_some() {
            return Err("has a fragment, which is never sent");
        }
        let this = Self(url);
        match (this.0.scheme(), this.is_loopback()) {
            ("https", _) | ("http", true) => {}
            ("http", false) => return Err("is plain http to another machine"),
            _ => return Err("begins with neither https:// nor http://"),
        }
        if let Some(address) = this.literal()
            && !is_receivers(address, this.is_loopback())
        {
            return Err("names a link-local, unspecified or multicast address");
        }
        Ok(this)
    }

    /// Host and port: all of it that is ever shown.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Whether the receiver is on this machine by name.
    pub(super) fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.') == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Whether it is reached in the clear.
    pub(super) fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    pub(super) fn url(&self) -> Url {
        self.0.clone()
    }

    fn literal(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({})", self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_https_or_on_this_machine() {
        for text in [
            "https://hooks.example.com",
            "https://hooks.example.com:8443/evergreen?token=x",
            "https://10.0.0.7/hook",
            "https://[fd12::7]/hook",
            "https://receiver",
            "http://localhost:9000/",
            "http://127.0.0.1:9000/hook",
            "http://[::1]:9000",
        ] {
            assert!(WebhookUrl::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_no_receiver_has_is_refused_without_being_repeated() {
        for (text, why) in [
            ("hooks.example.com/CANARY", "not a URL"),
            ("ftp://hooks.example.com/CANARY", "neither"),
            ("http://hooks.example.com/CANARY", "plain http"),
            ("http://10.0.0.7/CANARY", "plain http"),
            ("http://localhost.evil.example/CANARY", "plain http"),
            ("https://user:CANARY@hooks.example.com", "login"),
            ("https://hooks.example.com/#CANARY", "fragment"),
            ("https://hooks.example.com/CANARY x", "blank"),
            ("https://169.254.169.254/CANARY", "link-local"),
            ("https://0xa9fea9fe/CANARY", "link-local"),
            ("https://[::ffff:169.254.169.254]/CANARY", "link-local"),
            ("https://[fe80::1]/CANARY", "link-local"),
            ("https://0.0.0.0/CANARY", "link-local"),
            ("https://224.0.0.1/CANARY", "link-local"),
        ] {
            let wrong = WebhookUrl::parse(text).unwrap_err();
            assert!(wrong.contains(why), "{text}: {wrong}");
            assert!(!wrong.contains("CANARY"));
        }
        let long = format!("https://h.example/{}", "x".repeat(MAX_LENGTH));
        assert_eq!(WebhookUrl::parse(&long), Err("is too long"));
    }

    #[test]
    fn only_the_host_is_shown() {
        let url = WebhookUrl::parse("https://hooks.example.com:8443/CANARY?token=CANARY").unwrap();
        assert_eq!(format!("{url:?}"), "WebhookUrl(hooks.example.com:8443)");
    }
}
