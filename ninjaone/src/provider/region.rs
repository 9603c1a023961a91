//! The regions of NinjaOne and their hosts. A tenant and its client app exist on exactly one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::host::{HostRefused, InstanceUrl};

/// A region by the word that people use for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// United States, `app.ninjarmm.com`.
    Us,
    /// United States, second instance, `us2.ninjarmm.com`.
    Us2,
    /// Europe, `eu.ninjarmm.com`.
    Eu,
    /// Canada, `ca.ninjarmm.com`.
    Ca,
    /// Oceania, `oc.ninjarmm.com`.
    Oc,
    /// Japan, `jp.ninjarmm.com`: it serves the same API, but no documentation names it.
    Jp,
    /// United States, federal. Clients disagree: `fed.ninjarmm.com` is meant here, and
    /// `app.ninjaone.us` is allowed beside it.
    Fed,
}

/// The second of the two hosts that clients name for the federal region.
const FEDERAL_ALIAS: &str = "app.ninjaone.us";

impl Region {
    /// All regions.
    pub const ALL: [Self; 7] = [
        Self::Us,
        Self::Us2,
        Self::Eu,
        Self::Ca,
        Self::Oc,
        Self::Jp,
        Self::Fed,
    ];

    /// The word used in flags and queries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Us2 => "us2",
            Self::Eu => "eu",
            Self::Ca => "ca",
            Self::Oc => "oc",
            Self::Jp => "jp",
            Self::Fed => "fed",
        }
    }

    /// Its host name.
    #[must_use]
    pub fn host(self) -> &'static str {
        match self {
            Self::Us => "app.ninjarmm.com",
            Self::Us2 => "us2.ninjarmm.com",
            Self::Eu => "eu.ninjarmm.com",
            Self::Ca => "ca.ninjarmm.com",
            Self::Oc => "oc.ninjarmm.com",
            Self::Jp => "jp.ninjarmm.com",
            Self::Fed => "fed.ninjarmm.com",
        }
    }

    /// Its instance URL.
    #[must_use]
    pub fn url(self) -> InstanceUrl {
        InstanceUrl::of_region(self.host())
    }

    /// Whether some region has this host name, given in lower case.
    pub(super) fn knows(host: &str) -> bool {
        host == FEDERAL_ALIAS || Self::ALL.iter().any(|region| region.host() == host)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Region {
    type Err = HostRefused;

    fn from_str(text: &str) -> Result<Self, HostRefused> {
        Self::ALL
            .into_iter()
            .find(|region| region.as_str().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| {
                let words = Self::ALL.map(Self::as_str).join(", ");
                HostRefused::new("region", format!("allowed are {words}"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::HostPolicy;
    use super::*;

    #[test]
    fn every_region_passes_the_policy_and_reads_back() {
        for region in Region::ALL {
            assert_eq!(region.as_str().parse::<Region>().unwrap(), region);
            let url = region.url();
            assert_eq!(url.to_string(), format!("https://{}", region.host()));
            assert_eq!(
                InstanceUrl::parse(url.as_str(), &HostPolicy::new()).unwrap(),
                url
            );
        }
    }

    #[test]
    fn an_unknown_region_is_told_the_known_ones() {
        let refused = "uk".parse::<Region>().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "region: allowed are us, us2, eu, ca, oc, jp, fed"
        );
    }
}
