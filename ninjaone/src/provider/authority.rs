//! `host[:port]`, as it stands in an instance URL or in the operator's list.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::Host;

/// `host[:port]`, in lower case.
pub(super) struct Authority {
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Authority {
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        if text.contains('@') {
            return Err("must not have user info");
        }
        let host_end = match text.strip_prefix('[') {
            Some(inner) => inner.find(']').map_or(text.len(), |end| end + 2),
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(host_end);
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(
                digits
                    .parse::<u16>()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or("has a port that is none")?,
            ),
            _ => return Err("has a port that is none"),
        };
        Ok(Self {
            host: read_host(host)?,
            port,
        })
    }
}

/// A host name in ASCII, or a loopback address in its usual spelling.
fn read_host(text: &str) -> Result<String, &'static str> {
    if !text.is_ascii() {
        return Err("must not have an internationalised name");
    }
    let host = text.strip_suffix('.').unwrap_or(text);
    match Host::parse(host) {
        Ok(Host::Ipv4(address)) if address.is_loopback() && address.to_string() == host => {
            Ok(host.to_owned())
        }
        Ok(Host::Ipv6(Ipv6Addr::LOCALHOST)) if host == "[::1]" => Ok(host.to_owned()),
        Ok(Host::Ipv4(_) | Host::Ipv6(_)) => Err("must not be an IP address"),
        // Parsing also decodes percent escapes and maps letters: only a name it leaves alone is one.
        Ok(Host::Domain(name)) if name == host && is_name(host) => Ok(name),
        _ => Err("is not a host name"),
    }
}

fn is_name(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host == "[::1]"
        || host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}
