//! How an integration is named: `TENANT/INTEGRATION`, with `@user` or `@client` for one of its grants.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which of the two grants an integration may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrantKind {
    /// Authorization code (RFC 6749 section 4.1): acts for a person, rotates refresh tokens.
    User,
    /// Client credentials (RFC 6749 section 4.4): acts for the app, minted anew each time.
    Client,
}

impl GrantKind {
    /// The word used in ids, JSON and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for GrantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for GrantKind {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "user" => Ok(Self::User),
            "client" => Ok(Self::Client),
            _ => Err(NameError {
                field: "grant",
                rule: "allowed are `user` and `client`",
            }),
        }
    }
}

/// A tenant's connection to NinjaOne, without saying which grant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntegrationId {
    tenant: String,
    integration: String,
}

impl IntegrationId {
    /// Checks both names: each `[A-Za-z0-9][A-Za-z0-9._~-]{0,99}`.
    ///
    /// # Errors
    /// Names the field that is wrong and what is allowed.
    pub fn new(tenant: &str, integration: &str) -> Result<Self, NameError> {
        check("tenant", tenant)?;
        check("integration", integration)?;
        Ok(Self {
            tenant: tenant.to_owned(),
            integration: integration.to_owned(),
        })
    }

    /// The tenant's name.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The integration's name within its tenant.
    #[must_use]
    pub fn integration(&self) -> &str {
        &self.integration
    }

    /// One of its grants.
    #[must_use]
    pub fn grant(&self, kind: GrantKind) -> GrantRef {
        GrantRef {
            integration: self.clone(),
            kind,
        }
    }
}

impl fmt::Display for IntegrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.integration)
    }
}

impl FromStr for IntegrationId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (tenant, integration) = text.split_once('/').ok_or(NameError {
            field: "integration",
            rule: "an integration is written TENANT/INTEGRATION",
        })?;
        Self::new(tenant, integration)
    }
}

/// One grant of an integration; each is a workflow of its own, with the id `TENANT/INTEGRATION@grant`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantRef {
    integration: IntegrationId,
    kind: GrantKind,
}

impl GrantRef {
    /// The integration it belongs to.
    #[must_use]
    pub fn integration(&self) -> &IntegrationId {
        &self.integration
    }

    /// Which grant of the integration it is.
    #[must_use]
    pub fn kind(&self) -> GrantKind {
        self.kind
    }
}

impl fmt::Display for GrantRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.integration, self.kind)
    }
}

impl FromStr for GrantRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, kind) = text.rsplit_once('@').ok_or(NameError {
            field: "grant",
            rule: "a grant is written TENANT/INTEGRATION@user or TENANT/INTEGRATION@client",
        })?;
        Ok(name.parse::<IntegrationId>()?.grant(kind.parse()?))
    }
}

/// What people type: an integration, perhaps with the grant they mean.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The integration.
    pub integration: IntegrationId,
    /// The grant, where one was named.
    pub grant: Option<GrantKind>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.grant {
            Some(kind) => write!(f, "{}@{kind}", self.integration),
            None => self.integration.fmt(f),
        }
    }
}

impl FromStr for Target {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.rsplit_once('@') {
            Some((name, kind)) => Ok(Self {
                integration: name.parse()?,
                grant: Some(kind.parse()?),
            }),
            None => Ok(Self {
                integration: text.parse()?,
                grant: None,
            }),
        }
    }
}

/// Why a name was refused. It names the field and what is allowed, and never repeats the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct NameError {
    /// The part of the name that is wrong.
    pub field: &'static str,
    /// What would be accepted.
    pub rule: &'static str,
}

fn check(field: &'static str, text: &str) -> Result<(), NameError> {
    let mut letters = text.bytes();
    let starts_well = letters.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let goes_on_well =
        letters.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-'));
    if starts_well && goes_on_well && text.len() <= 100 {
        Ok(())
    } else {
        Err(NameError {
            field,
            rule: "1 to 100 characters of A-Z a-z 0-9 . _ ~ -, the first a letter or a digit",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_may_name_its_grant() {
        let target: Target = "acme/prod@client".parse().unwrap();
        assert_eq!(target.grant, Some(GrantKind::Client));
        assert_eq!(target.to_string(), "acme/prod@client");
        assert_eq!("acme/prod".parse::<Target>().unwrap().grant, None);
    }

    #[test]
    fn names_outside_the_alphabet_are_refused_by_field() {
        let too_long = "a".repeat(101);
        for (text, field) in [
            ("acme", "integration"),
            ("/prod", "tenant"),
            ("acme/", "integration"),
            ("acme/a/b", "integration"),
            ("-acme/prod", "tenant"),
            ("ac me/prod", "tenant"),
            ("acme/pröd", "integration"),
            (too_long.as_str(), "integration"),
            ("acme/prod@machine", "grant"),
            ("acme/prod@user@client", "integration"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap_err().field, field, "{text}");
        }
    }
}
