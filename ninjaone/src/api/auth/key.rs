//! A key as it is kept: everything but the key itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a key may do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See integrations and events; no token.
    Read,
    /// Take tokens.
    Token,
    /// Change integrations; sees what `read` sees, takes no token.
    Admin,
}

impl Scope {
    /// The word used in JSON and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Token => "token",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "token" => Ok(Self::Token),
            "admin" => Ok(Self::Admin),
            _ => Err("allowed are `read`, `token` and `admin`".to_owned()),
        }
    }
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Key {
    /// For people and for the audit log; says nothing about the key.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The tenants that it is bound to; `None` for all.
    #[serde(default)]
    pub tenants: Option<Vec<String>>,
    /// When it was made, where that is known.
    #[serde(default)]
    pub created_at: Option<String>,
}

impl Key {
    /// Whether it may do this. `admin` includes `read` but not `token`: who may change an
    /// integration need not hold its tokens.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || scope == Scope::Read && self.scopes.contains(&Scope::Admin)
    }

    /// Whether a tenant exists for it.
    #[must_use]
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenants
            .as_ref()
            .is_none_or(|tenants| tenants.iter().any(|t| t == tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scopes: &[Scope], tenants: Option<&[&str]>) -> Key {
        Key {
            id: "k1".to_owned(),
            name: "n".to_owned(),
            scopes: scopes.to_vec(),
            tenants: tenants.map(|all| all.iter().map(|t| (*t).to_owned()).collect()),
            created_at: None,
        }
    }

    #[test]
    fn admin_reads_but_takes_no_token() {
        let admin = key(&[Scope::Admin], None);
        assert!(admin.may(Scope::Admin) && admin.may(Scope::Read) && !admin.may(Scope::Token));
        let token = key(&[Scope::Token], None);
        assert!(token.may(Scope::Token) && !token.may(Scope::Read) && !token.may(Scope::Admin));
    }

    #[test]
    fn a_bound_key_sees_its_tenants_only_and_an_empty_list_none() {
        assert!(key(&[], None).sees("acme"));
        assert!(key(&[], Some(&["acme"])).sees("acme"));
        assert!(!key(&[], Some(&["acme"])).sees("globex"));
        assert!(!key(&[], Some(&[])).sees("acme"));
    }
}
