//! What a simulator can be told, and what it refuses to be told.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clients::ClientApp;

/// What happens to a refresh token when it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// A new one at every refresh; the old one is dead at once. What clients must be built for.
    #[default]
    Strict,
    /// As strict, but the token just replaced is still answered, with the pair that replaced it.
    Grace {
        /// For how long after the rotation.
        #[serde(with = "super::wire::duration")]
        window: Duration,
    },
    /// The answer carries the very refresh token that was sent.
    Never,
    /// The answer carries no refresh token; the one that was sent stays good.
    Absent,
}

/// Which of the two spellings of the OAuth endpoints exist on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paths {
    /// `/ws/oauth/token` and `/ws/oauth/authorize`, the documented ones.
    pub ws: bool,
    /// `/oauth/token` and `/oauth/authorize`, which regional hosts know as well.
    pub plain: bool,
}

impl Paths {
    /// Whether an OAuth endpoint exists under the spelling of this path.
    pub(super) fn has(self, path: &str) -> bool {
        if path.starts_with("/ws/") {
            self.ws
        } else {
            self.plain
        }
    }
}

/// How a simulator is set up. All but the address, the seed and the apps can be changed while it
/// runs, with [`SettingsChange`].
#[derive(Debug, Clone, Serialize)]
pub struct SimulatorOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How others reach it, where that is not the address it listens on: behind a container's name,
    /// say. Seeded grants carry it as their instance URL.
    pub public_url: Option<String>,
    /// Life of an access token, told to clients in whole seconds as `expires_in`.
    #[serde(with = "super::wire::duration")]
    pub access_token_life: Duration,
    /// Life of a refresh token since it was issued; without it they do not expire.
    #[serde(with = "super::wire::optional_duration")]
    pub refresh_token_life: Option<Duration>,
    /// Life of an authorization code.
    #[serde(with = "super::wire::duration")]
    pub code_life: Duration,
    /// What happens to a refresh token when it is used.
    pub rotation: Rotation,
    /// Time between carrying out a token request and answering it.
    #[serde(with = "super::wire::duration")]
    pub response_delay: Duration,
    /// Which spellings of the OAuth endpoints exist.
    pub paths: Paths,
    /// Grants consent without asking: the authorize endpoint redirects at once.
    pub auto_approve: bool,
    /// How many organizations the API lists.
    pub organizations: u32,
    /// How many devices the API lists, spread over the organizations.
    pub devices: u32,
    /// Makes every token, code and dice roll repeatable. Without it they are random.
    pub seed: Option<u64>,
    /// How many raw ledger entries are kept; the counters are never cut.
    pub ledger_entries: usize,
    /// The client apps that exist at the start.
    #[serde(skip)]
    pub clients: Vec<ClientApp>,
}

impl Default for SimulatorOptions {
    /// A strict host on a free loopback port with [`ClientApp::demo`] as its one app.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            public_url: None,
            access_token_life: Duration::from_secs(3600),
            refresh_token_life: None,
            code_life: Duration::from_secs(600),
            rotation: Rotation::Strict,
            response_delay: Duration::ZERO,
            paths: Paths {
                ws: true,
                plain: true,
            },
            auto_approve: false,
            organizations: 12,
            devices: 240,
            seed: None,
            ledger_entries: 200_000,
            clients: vec![ClientApp::demo()],
        }
    }
}

impl SimulatorOptions {
    /// Checks every field against what is allowed.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn check(&self) -> Result<(), Refused> {
        const SECOND: Duration = Duration::from_secs(1);
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let within = |field, life: Duration| {
            if (SECOND..=YEAR).contains(&life) {
                Ok(())
            } else {
                Err(Refused::new(field, "from 1s to 365d"))
            }
        };
        if !self.public_url.as_deref().is_none_or(is_origin) {
            let rule = "http:// or https://, a host and perhaps a port, without a trailing slash";
            return Err(Refused::new("public_url", rule));
        }
        within("access_token_life", self.access_token_life)?;
        within("code_life", self.code_life)?;
        if let Some(life) = self.refresh_token_life {
            within("refresh_token_life", life)?;
        }
        if let Rotation::Grace { window } = self.rotation {
            within("grace window", window)?;
        }
        if self.response_delay > Duration::from_secs(600) {
            return Err(Refused::new("response_delay", "at most 10m"));
        }
        if self.ledger_entries == 0 {
            return Err(Refused::new("ledger_entries", "at least 1"));
        }
        if self.organizations == 0 || self.organizations > 10_000 {
            return Err(Refused::new("organizations", "1 to 10000"));
        }
        if self.devices > 1_000_000 {
            return Err(Refused::new("devices", "at most 1000000"));
        }
        for (nth, client) in self.clients.iter().enumerate() {
            client.check()?;
            if self.clients[..nth]
                .iter()
                .any(|other| other.client_id == client.client_id)
            {
                return Err(Refused::new("client_id", "each app needs an id of its own"));
            }
        }
        Ok(())
    }
}

fn is_origin(text: &str) -> bool {
    let web = |url: &url::Url| matches!(url.scheme(), "http" | "https");
    let parsed = url::Url::parse(text).ok().filter(web);
    parsed.is_some_and(|url| url.origin().ascii_serialization() == text)
}

/// New values for some of the options of a running simulator; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsChange {
    /// See [`SimulatorOptions::access_token_life`]. Tokens already issued keep their life.
    #[serde(with = "super::wire::optional_duration")]
    pub access_token_life: Option<Duration>,
    /// See [`SimulatorOptions::refresh_token_life`].
    #[serde(with = "super::wire::optional_duration")]
    pub refresh_token_life: Option<Duration>,
    /// See [`SimulatorOptions::code_life`].
    #[serde(with = "super::wire::optional_duration")]
    pub code_life: Option<Duration>,
    /// See [`SimulatorOptions::rotation`].
    pub rotation: Option<Rotation>,
    /// See [`SimulatorOptions::response_delay`].
    #[serde(with = "super::wire::optional_duration")]
    pub response_delay: Option<Duration>,
    /// See [`SimulatorOptions::paths`].
    pub paths: Option<Paths>,
    /// See [`SimulatorOptions::auto_approve`].
    pub auto_approve: Option<bool>,
    /// See [`SimulatorOptions::organizations`].
    pub organizations: Option<u32>,
    /// See [`SimulatorOptions::devices`].
    pub devices: Option<u32>,
}

impl SettingsChange {
    /// The options as they are after this change.
    pub(super) fn applied_to(self, options: &SimulatorOptions) -> SimulatorOptions {
        let now = options.clone();
        SimulatorOptions {
            access_token_life: self.access_token_life.unwrap_or(now.access_token_life),
            refresh_token_life: self.refresh_token_life.or(now.refresh_token_life),
            code_life: self.code_life.unwrap_or(now.code_life),
            rotation: self.rotation.unwrap_or(now.rotation),
            response_delay: self.response_delay.unwrap_or(now.response_delay),
            paths: self.paths.unwrap_or(now.paths),
            auto_approve: self.auto_approve.unwrap_or(now.auto_approve),
            organizations: self.organizations.unwrap_or(now.organizations),
            devices: self.devices.unwrap_or(now.devices),
            ..now
        }
    }
}

/// Why an option, a fault or an admin request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Refused {
    /// The field that is wrong.
    pub field: String,
    /// What would be accepted.
    pub rule: String,
}

impl Refused {
    pub(super) fn new(field: &str, rule: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            rule: rule.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bad_option_is_refused_by_its_name() {
        let good = SimulatorOptions::default;
        assert_eq!(good().check(), Ok(()));
        for (field, options) in [
            (
                "access_token_life",
                SimulatorOptions {
                    access_token_life: Duration::ZERO,
                    ..good()
                },
            ),
            (
                "grace window",
                SimulatorOptions {
                    rotation: Rotation::Grace {
                        window: Duration::ZERO,
                    },
                    ..good()
                },
            ),
            (
                "public_url",
                SimulatorOptions {
                    public_url: Some("http://simulator:8090/".to_owned()),
                    ..good()
                },
            ),
            (
                "organizations",
                SimulatorOptions {
                    organizations: 0,
                    ..good()
                },
            ),
            (
                "client_id",
                SimulatorOptions {
                    clients: vec![ClientApp::demo(), ClientApp::demo()],
                    ..good()
                },
            ),
        ] {
            assert_eq!(options.check().unwrap_err().field, field);
        }
    }

    #[test]
    fn a_change_touches_only_what_it_names() {
        let change: SettingsChange =
            serde_json::from_str(r#"{"rotation":{"grace":{"window":"30s"}}}"#).unwrap();
        let options = change.applied_to(&SimulatorOptions::default());
        let window = Duration::from_secs(30);
        assert_eq!(options.rotation, Rotation::Grace { window });
        assert_eq!(options.access_token_life, Duration::from_secs(3600));
    }
}
