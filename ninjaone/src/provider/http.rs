//! The one HTTP client: what it must never do by itself is to send anything twice or elsewhere.

use std::fmt;
use std::time::Duration;

use url::Url;

use super::policy::HostPolicy;
use super::resolver::GuardedResolver;

/// How to reach hosts.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Which hosts are allowed, and whose names may lead into private networks.
    pub policy: HostPolicy,
    /// For name, connection and TLS handshake together.
    pub connect_timeout: Duration,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// A forward proxy for https. Behind one, the proxy resolves names, and the guard for private
    /// addresses is its business.
    pub proxy: Option<ProxyOptions>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            policy: HostPolicy::new(),
            connect_timeout: Duration::from_secs(3),
            user_agent: concat!("evergreen/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxy: None,
        }
    }
}

impl HttpOptions {
    /// Builds a client that follows no redirect, repeats no request, keeps no connection, and looks
    /// at the addresses behind names. TLS trusts the system's certificates.
    ///
    /// # Errors
    /// If the proxy's URL is none, or the system's certificates cannot be read.
    pub fn build(&self) -> Result<reqwest::Client, BuildFailed> {
        let resolver = GuardedResolver::new(self.policy.clone());
        self.build_with(resolver)
    }

    pub(super) fn build_with(
        &self,
        resolver: GuardedResolver,
    ) -> Result<reqwest::Client, BuildFailed> {
        // A second installation is refused, which is fine: there is a provider then.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let proxy_host = self.proxy.as_ref().and_then(|proxy| proxy.url.host_str());
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // A kept connection that dies under a request would be replaced and the request sent
            // again, without anybody hearing of it.
            .pool_max_idle_per_host(0)
            .connect_timeout(self.connect_timeout)
            .user_agent(&self.user_agent)
            .dns_resolver(resolver.with_proxy(proxy_host));
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.to_proxy()?);
        }
        Ok(builder.build()?)
    }
}

/// A forward proxy for https. Plain http, which only loopback has, never goes through it.
#[derive(Clone)]
pub struct ProxyOptions {
    url: Url,
    bypass: String,
}

impl ProxyOptions {
    /// The proxy's URL, and a comma list of hosts to reach directly. Loopback always is.
    #[must_use]
    pub fn new(url: Url, bypass: &str) -> Self {
        Self {
            url,
            bypass: format!("localhost,127.0.0.0/8,::1,{bypass}"),
        }
    }

    /// What `HTTPS_PROXY` or `ALL_PROXY`, and `NO_PROXY`, say; lower case comes first, as in curl.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let read = |name: &str| {
            [name.to_ascii_lowercase(), name.to_owned()]
                .into_iter()
                .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
        };
        let text = read("HTTPS_PROXY").or_else(|| read("ALL_PROXY"))?;
        let url = match text.contains("://") {
            true => Url::parse(&text),
            false => Url::parse(&format!("http://{text}")),
        };
        Some(Self::new(url.ok()?, &read("NO_PROXY").unwrap_or_default()))
    }

    fn to_proxy(&self) -> Result<reqwest::Proxy, BuildFailed> {
        let proxy = reqwest::Proxy::https(self.url.clone()).map_err(|source| BuildFailed {
            source: source.without_url(),
        })?;
        Ok(proxy.no_proxy(reqwest::NoProxy::from_string(&self.bypass)))
    }
}

impl fmt::Debug for ProxyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("ProxyOptions")
            .field("host", &self.url.host_str())
            .field("bypass", &self.bypass)
            .finish()
    }
}

/// The HTTP client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("building the HTTP client")]
pub struct BuildFailed {
    source: reqwest::Error,
}

impl From<reqwest::Error> for BuildFailed {
    fn from(source: reqwest::Error) -> Self {
        Self {
            source: source.without_url(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_not_shown() {
        let url = Url::parse("http://user:CANARY@proxy.example:3128").unwrap();
        let options = HttpOptions {
            proxy: Some(ProxyOptions::new(url, "a.example")),
            ..HttpOptions::default()
        };
        let shown = format!("{options:?}");
        assert!(shown.contains("proxy.example"), "{shown}");
        assert!(!shown.contains("CANARY"), "{shown}");
        options.build().unwrap();
    }
}
