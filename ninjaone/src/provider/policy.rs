//! Which hosts may see our secrets: the regions of NinjaOne, what the operator lists, and loopback
//! where that was asked for.

use super::authority::{Authority, is_loopback};
use super::host::{HostRefused, InstanceUrl};
use super::region::Region;

/// The setting that holds the operator's list.
const SETTING: &str = "EVERGREEN_NINJAONE_HOSTS";

/// The hosts that instance URLs may name.
#[derive(Debug, Clone, Default)]
pub struct HostPolicy {
    listed: Vec<Listed>,
    loopback: bool,
}

/// One entry of the operator's list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    host: String,
    /// `None` means 443, and any port on loopback.
    port: Option<u16>,
}

impl HostPolicy {
    /// The known regions and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the operator's list, `host[:port]` separated by commas: white-label hosts, and loopback
    /// addresses, which may then be plain http. A host without port means 443, on loopback any port.
    ///
    /// # Errors
    /// Names the setting and every entry, by its number, that is not `host[:port]`.
    pub fn with_operator_list(mut self, list: &str) -> Result<Self, HostRefused> {
        let mut wrong = Vec::new();
        let entries = list.split(',').map(str::trim).enumerate();
        for (index, entry) in entries.filter(|(_, entry)| !entry.is_empty()) {
            match Authority::read(&entry.to_ascii_lowercase()) {
                Ok(Authority { host, port }) => self.listed.push(Listed { host, port }),
                Err(rule) => wrong.push(format!("entry {} {rule}", index + 1)),
            }
        }
        if wrong.is_empty() {
            return Ok(self);
        }
        let wrong = wrong.join("; ");
        Err(HostRefused::new(
            SETTING,
            format!("{wrong}; allowed is a list of host[:port], separated by commas"),
        ))
    }

    /// Allows every loopback address, with any port and plain http: for `dev`, which brings its own
    /// simulator, and for tests.
    #[must_use]
    pub fn with_loopback(mut self) -> Self {
        self.loopback = true;
        self
    }

    /// Whether this instance may be talked to. Asked when an address is stored and whenever it is
    /// used, since the list may have changed in between.
    ///
    /// # Errors
    /// Names the field `instance_url` and what is allowed.
    pub fn admit(&self, url: &InstanceUrl) -> Result<(), HostRefused> {
        let listed = self.lists(url);
        if url.is_loopback() {
            return if listed || self.loopback {
                Ok(())
            } else {
                Err(self.refusal("is a loopback address"))
            };
        }
        if !url.is_https() {
            return Err(self.refusal("must begin with https://"));
        }
        if listed || (Region::knows(url.host()) && url.effective_port() == 443) {
            return Ok(());
        }
        if Region::knows(url.host()) {
            return Err(self.refusal("must not have a port"));
        }
        Err(self.refusal("is not a known host"))
    }

    fn lists(&self, url: &InstanceUrl) -> bool {
        self.listed.iter().any(|entry| {
            entry.host == url.host()
                && match entry.port {
                    Some(port) => port == url.effective_port(),
                    None => url.is_loopback() || url.effective_port() == 443,
                }
        })
    }

    /// Whether this name may lead into our own network: the operator said so by listing it.
    pub(super) fn trusts_name(&self, host: &str) -> bool {
        self.listed.iter().any(|entry| entry.host == host) || (self.loopback && is_loopback(host))
    }

    pub(super) fn refusal(&self, rule: &'static str) -> HostRefused {
        let regions = Region::ALL.map(Region::host).join(", ");
        let listed: String = self
            .listed
            .iter()
            .map(|entry| match entry.port {
                Some(port) => format!(", {}:{port}", entry.host),
                None => format!(", {}", entry.host),
            })
            .collect();
        HostRefused::new(
            "instance_url",
            format!(
                "{rule}; allowed is https:// and one of {regions}{listed}; \
                 further hosts are listed in {SETTING}"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(list: &str) -> HostPolicy {
        HostPolicy::new().with_operator_list(list).unwrap()
    }

    fn allows(policy: &HostPolicy, text: &str) -> bool {
        InstanceUrl::parse(text, policy).is_ok()
    }

    #[test]
    fn a_listed_host_is_allowed_at_its_port_and_by_https_only() {
        let policy = listing("Acme.RMMservice.eu, msp.example:8443,");
        assert!(allows(&policy, "https://acme.rmmservice.eu/api"));
        assert!(allows(&policy, "https://msp.example:8443"));
        assert!(allows(&policy, "https://app.ninjarmm.com"));
        assert!(!allows(&policy, "https://acme.rmmservice.eu:8443"));
        assert!(!allows(&policy, "https://msp.example"));
        assert!(!allows(&policy, "http://acme.rmmservice.eu"));
        assert!(!allows(&policy, "http://msp.example:8443"));
        assert!(!allows(&policy, "https://x.acme.rmmservice.eu"));
    }

    #[test]
    fn loopback_needs_the_list_or_the_permission() {
        assert!(!allows(&HostPolicy::new(), "http://127.0.0.1:8081"));

        let listed = listing("127.0.0.1:8081,localhost");
        assert!(allows(&listed, "http://127.0.0.1:8081"));
        assert!(!allows(&listed, "http://127.0.0.1:8082"));
        assert!(!allows(&listed, "http://127.0.0.2:8081"));
        assert!(allows(&listed, "http://localhost:1234"));
        assert!(!allows(&listed, "http://[::1]:8081"));

        let any = HostPolicy::new().with_loopback();
        for text in [
            "http://127.0.0.1:1",
            "http://127.9.9.9:2",
            "http://LOCALHOST:3/ws",
            "http://[::1]:4/api/v2",
            "https://localhost",
        ] {
            assert!(allows(&any, text), "{text}");
        }
        for text in [
            "http://127.1:1",
            "http://0x7f000001:1",
            "http://0.0.0.0:1",
            "http://[::]:1",
            "http://[::ffff:7f00:1]:1",
            "http://10.0.0.1:1",
            "http://localhost.evil.example:1",
            "http://app.localhost:1",
        ] {
            assert!(!allows(&any, text), "{text}");
        }
    }

    #[test]
    fn a_bad_list_names_the_setting_and_each_bad_entry() {
        let refused = HostPolicy::new()
            .with_operator_list("good.example,https://bad.example,10.0.0.1,b@d,x:y,127.1")
            .unwrap_err();
        assert_eq!(refused.field, SETTING);
        for entry in ["entry 2", "entry 3", "entry 4", "entry 5", "entry 6"] {
            assert!(refused.rule.contains(entry), "{refused}");
        }
        assert!(!refused.rule.contains("entry 1"), "{refused}");
    }

    #[test]
    fn a_refusal_shows_the_operators_hosts_too() {
        let refused = InstanceUrl::parse("https://evil.example", &listing("msp.example:8443"));
        assert!(refused.unwrap_err().rule.contains("msp.example:8443"));
    }

    #[test]
    fn only_listed_names_may_lead_inside() {
        let policy = listing("inside.example");
        assert!(policy.trusts_name("inside.example"));
        assert!(!policy.trusts_name("app.ninjarmm.com"));
        assert!(!policy.trusts_name("localhost"));
        assert!(policy.with_loopback().trusts_name("localhost"));
    }
}
