//! Where the receiver's name may lead. It is checked on the very addresses that are connected to, so that
//! a name cannot answer differently between check and use.
//!
//! A private address is fine, because the operator named the receiver. A link-local one is a metadata
//! service, and loopback behind a name that is not `localhost` is something else on this machine, its Redis
//! perhaps: neither is a receiver, whoever says so.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The metadata service of a cloud whose address is no link-local one.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// A resolver for [`reqwest`] that refuses names which lead where no receiver is.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceiverResolver {
    /// The receiver is on this machine by name.
    pub(super) loopback: bool,
}

impl ReceiverResolver {
    fn checked(self, addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
        }
        let all = addresses.iter();
        match all
            .map(SocketAddr::ip)
            .all(|ip| is_receivers(ip, self.loopback))
        {
            true => Ok(addresses),
            false => Err(io::Error::other(LeadsElsewhere)),
        }
    }
}

impl Resolve for ReceiverResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses = this.checked(found.collect())?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The receiver's name leads where no receiver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiver's name leads to a loopback, link-local, unspecified or multicast address")]
pub(super) struct LeadsElsewhere;

/// Whether a receiver may have this address, also where it is wrapped into another.
pub(super) fn is_receivers(address: IpAddr, loopback: bool) -> bool {
    match address {
        IpAddr::V4(address) => v4(address, loopback),
        IpAddr::V6(address) => v6(address, loopback),
    }
}

fn v4(address: Ipv4Addr, loopback: bool) -> bool {
    let [first, ..] = address.octets();
    if address.is_loopback() {
        return loopback;
    }
    // 224 and above: multicast, reserved, broadcast.
    first != 0 && first < 224 && !address.is_link_local()
}

fn v6(address: Ipv6Addr, loopback: bool) -> bool {
    if address.is_loopback() {
        return loopback;
    }
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        v4(Ipv4Addr::new(a, b, c, d), loopback)
    };
    match address.segments() {
        // Mapped, NAT64 and 6to4 addresses are what they wrap.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            inner(high, low)
        }
        [0x2002, high, low, ..] => inner(high, low),
        // Unspecified and what is compatible with IPv4; link-local and site-local; multicast.
        [0, ..] => false,
        [first, ..] => !(0xfe80..0xff00).contains(&first) && first < 0xff00 && address != METADATA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading_to(ips: &[&str], loopback: bool) -> bool {
        let addresses = ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0));
        ReceiverResolver { loopback }
            .checked(addresses.collect())
            .is_ok()
    }

    #[test]
    fn private_receivers_are_fine_and_surprises_are_not() {
        for ip in [
            "10.0.0.7",
            "192.168.1.1",
            "8.8.8.8",
            "100.64.0.1",
            "fd12::7",
            "2606:4700::1",
        ] {
            assert!(leading_to(&[ip], false), "{ip}");
        }
        for ip in [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!leading_to(&[ip], false), "{ip}");
            assert!(
                !leading_to(&["10.0.0.7", ip], false),
                "one spoils the name: {ip}"
            );
        }
        assert!(!leading_to(&[], false));
    }

    #[test]
    fn only_a_receiver_on_this_machine_may_be_on_this_machine() {
        assert!(leading_to(&["127.0.0.1", "::1"], true));
        assert!(!leading_to(&["169.254.169.254"], true));
    }

    #[tokio::test]
    async fn the_systems_own_resolver_is_guarded() {
        let name: Name = "localhost".parse().unwrap();
        assert!(
            ReceiverResolver { loopback: true }
                .resolve(name)
                .await
                .is_ok()
        );
        let name: Name = "localhost".parse().unwrap();
        let refused = ReceiverResolver { loopback: false }.resolve(name).await;
        assert!(refused.is_err());
    }
}
