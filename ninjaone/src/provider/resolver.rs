//! Where names may lead. A host name that passed the policy can still resolve to the metadata
//! service or to a database next door; this is checked on the very addresses that are connected to,
//! so that a name cannot answer differently between check and use.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::policy::HostPolicy;

/// Asks the system for the addresses of a name.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// A resolver for [`reqwest`] that refuses names leading into private networks, unless the operator
/// listed the name.
#[derive(Clone)]
pub struct GuardedResolver {
    policy: HostPolicy,
    /// The proxy, if there is one, usually is inside.
    proxy: Option<String>,
    lookup: Lookup,
}

impl GuardedResolver {
    /// Guards by this policy.
    #[must_use]
    pub fn new(policy: HostPolicy) -> Self {
        Self {
            policy,
            proxy: None,
            lookup: Arc::new(|name| {
                Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
            }),
        }
    }

    /// Lets the name of the proxy lead anywhere.
    #[must_use]
    pub(super) fn with_proxy(mut self, host: Option<&str>) -> Self {
        self.proxy = host.map(str::to_ascii_lowercase);
        self
    }

    #[cfg(test)]
    pub(super) fn with_addresses(mut self, addresses: Vec<SocketAddr>) -> Self {
        self.lookup = Arc::new(move |_| Box::pin(std::future::ready(Ok(addresses.clone()))));
        self
    }

    /// The addresses of a name, all of them public or the name trusted.
    ///
    /// # Errors
    /// If the name does not resolve; [`AddressRefused`], as inner error, if one of its addresses is
    /// not public.
    pub async fn addresses(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let addresses = (self.lookup)(name.clone()).await?;
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
        }
        let trusted = self.policy.trusts_name(&name) || self.proxy.as_ref() == Some(&name);
        // One private address among public ones is no accident either.
        if !trusted && addresses.iter().any(|address| !is_public(address.ip())) {
            return Err(io::Error::other(AddressRefused));
        }
        Ok(addresses)
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// A name leads to an address that is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("instance_url: the host resolves to a private, loopback or link-local address")]
pub struct AddressRefused;

/// Whether an address is on the public internet, also where it is wrapped into another.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    let protocols = (a, b, c) == (192, 0, 0);
    !(a == 0
        || a >= 224
        || shared
        || benchmark
        || protocols
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // Mapped (::ffff:a.b.c.d) and NAT64 (64:ff9b::a.b.c.d) addresses are what they wrap.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // 6to4.
        [0x2002, high, low, ..] => v4(high, low),
        // Documentation, ORCHID and Teredo lie inside the global unicast range.
        [0x2001, 0xdb8, ..] => false,
        [0x2001, second, ..] if second < 0x200 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Global unicast is 2000::/3; loopback, link-local, unique local and multicast are not.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading_to(policy: HostPolicy, addresses: &[&str]) -> GuardedResolver {
        let addresses = addresses
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), 0))
            .collect();
        GuardedResolver::new(policy).with_addresses(addresses)
    }

    #[test]
    fn private_addresses_are_recognised_in_every_wrapping() {
        for ip in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "8.8.8.8",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:4860:4860::8888",
            "2606:4700::1111",
        ] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[tokio::test]
    async fn one_private_address_spoils_the_name() {
        let mixed = leading_to(HostPolicy::new(), &["8.8.8.8", "169.254.169.254"]);
        let refused = mixed.addresses("app.ninjarmm.com").await.unwrap_err();
        let inner = refused.get_ref().unwrap();
        assert!(inner.downcast_ref::<AddressRefused>().is_some());

        let public = leading_to(HostPolicy::new(), &["8.8.8.8"]);
        assert_eq!(public.addresses("app.ninjarmm.com").await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn listed_names_loopback_and_the_proxy_may_lead_inside() {
        let listed = HostPolicy::new()
            .with_operator_list("inside.example")
            .unwrap();
        let resolver = leading_to(listed, &["10.0.0.1"]).with_proxy(Some("Proxy.example"));
        assert!(resolver.addresses("INSIDE.example.").await.is_ok());
        assert!(resolver.addresses("proxy.example").await.is_ok());
        assert!(resolver.addresses("outside.example").await.is_err());
        assert!(resolver.addresses("localhost").await.is_err());

        let dev = leading_to(HostPolicy::new().with_loopback(), &["127.0.0.1"]);
        assert!(dev.addresses("localhost").await.is_ok());
        assert!(dev.addresses("app.ninjarmm.com").await.is_err());
    }

    #[tokio::test]
    async fn the_systems_own_resolver_is_guarded() {
        let resolver = GuardedResolver::new(HostPolicy::new());
        assert!(resolver.addresses("localhost").await.is_err());
    }
}
