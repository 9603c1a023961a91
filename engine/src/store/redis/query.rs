//! What stands behind the `?` of a URL: where the Sentinels differ from the servers.

use super::address::{AddressError, Login, Topology, wrong};
use super::endpoint::decode;

/// The parameters that are known; each is taken out when it is used.
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    const KNOWN: [&str; 4] = [
        "master",
        "sentinel_user",
        "sentinel_password",
        "sentinel_tls",
    ];
    const ALLOWED: &str = "?master=NAME, and sentinel_user, sentinel_password and \
        sentinel_tls=yes or no where the Sentinels need them, each once and percent-encoded";

    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
        let mut found: Vec<(&'static str, String)> = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            // The name is not repeated if it is not ours: it may be the end of a password.
            let known = Self::KNOWN.into_iter().find(|known| *known == name);
            let Some(name) = known else {
                return Err(wrong("has a parameter that is not known", Self::ALLOWED));
            };
            if found.iter().any(|(other, _)| *other == name) {
                return Err(wrong(
                    format!("has the parameter {name} twice"),
                    Self::ALLOWED,
                ));
            }
            let value = decode(value).filter(|value| !value.is_empty());
            let Some(value) = value else {
                let why = format!("has a parameter {name} that is empty or not percent-encoded");
                return Err(wrong(why, Self::ALLOWED));
            };
            found.push((name, value));
        }
        Ok(Self(found))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.swap_remove(place).1)
    }

    pub(super) fn sentinel(&mut self, tls: bool) -> Result<Topology, AddressError> {
        let Some(master) = self.take("master") else {
            let allowed = "?master=NAME, the name that `sentinel monitor` gives to the master";
            return Err(wrong("does not say which master", allowed));
        };
        let tls = match self.take("sentinel_tls").as_deref() {
            None => tls,
            Some("yes") => true,
            Some("no") => false,
            Some(_) => {
                return Err(wrong(
                    "has a parameter sentinel_tls that is neither",
                    "yes or no",
                ));
            }
        };
        let login = Login {
            user: self.take("sentinel_user").unwrap_or_default(),
            password: self.take("sentinel_password").unwrap_or_default(),
        };
        if login.password.is_empty() && !login.user.is_empty() {
            return Err(wrong(
                "has a sentinel_user without a sentinel_password",
                "both, or neither",
            ));
        }
        Ok(Topology::Sentinel { master, login, tls })
    }

    pub(super) fn finish(self, topology: &Topology) -> Result<(), AddressError> {
        match self.0.first() {
            Some((name, _)) if !matches!(topology, Topology::Sentinel { .. }) => {
                let why = format!("has the parameter {name}");
                Err(wrong(why, "that parameter with redis+sentinel:// only"))
            }
            _ => Ok(()),
        }
    }
}
