//! One host and port, as a URL or a server names it.

use std::fmt;

use super::address::{AddressError, wrong};

/// Hosts that a URL may name.
const HOSTS_MAX: usize = 64;

/// Where one server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Endpoint {
    /// Its name, or its address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Endpoint {
    /// As servers write it: `host:port`, where an IPv6 address has no brackets and an empty host means
    /// the one that said so.
    pub(super) fn told_by(text: &str, teller: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // `?` is what a node says that does not know its own name.
        let host = if matches!(host, "" | "?") {
            teller
        } else {
            host
        };
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok().filter(|port| *port != 0)?,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The hosts of a URL, separated by commas.
pub(super) fn endpoints(text: &str, default_port: u16) -> Result<Vec<Endpoint>, AddressError> {
    const ALLOWED: &str = "host[:port], an IPv6 address as [::1]:6379, separated by commas";
    if text.is_empty() {
        return Err(wrong("names no host", ALLOWED));
    }
    let hosts: Vec<&str> = text.split(',').collect();
    if hosts.len() > HOSTS_MAX {
        return Err(wrong("names more hosts than are of use", "1 to 64 hosts"));
    }
    let read = |(place, text): (usize, &&str)| {
        let number = place + 1;
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let lacks = || wrong(format!("host {number} lacks a closing bracket"), ALLOWED);
                let (host, port) = rest.split_once(']').ok_or_else(lacks)?;
                (
                    host,
                    port.strip_prefix(':').or((!port.is_empty()).then_some("?")),
                )
            }
            None => text
                .split_once(':')
                .map_or((*text, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(wrong(format!("host {number} is empty"), ALLOWED));
        }
        let port = match port {
            None => default_port,
            Some(port) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                let why = || wrong(format!("the port of host {number} is none"), "1 to 65535");
                port.ok_or_else(why)?
            }
        };
        Ok(Endpoint {
            host: host.to_owned(),
            port,
        })
    };
    hosts.iter().enumerate().map(read).collect()
}

/// Undoes percent-encoding; `None` where it is none, or not UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_names_another_in_its_own_way() {
        let told = |text| Endpoint::told_by(text, "me").map(|at| at.to_string());
        assert_eq!(told("10.0.0.1:7000").as_deref(), Some("10.0.0.1:7000"));
        assert_eq!(told("::1:7000").as_deref(), Some("[::1]:7000"));
        assert_eq!(told(":7000").as_deref(), Some("me:7000"));
        assert_eq!(told("?:7000").as_deref(), Some("me:7000"));
        assert_eq!((told("h:0"), told("h"), told("h:x")), (None, None, None));
    }

    #[test]
    fn percent_encoding_is_undone_or_refused() {
        assert_eq!(decode("a%2Fb%c3%a4").as_deref(), Some("a/bä"));
        for text in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
