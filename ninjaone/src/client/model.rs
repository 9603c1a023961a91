//! What NinjaOne answers, as far as it is the same everywhere; the rest is kept as it came.

use serde::Deserialize;
use serde_json::{Map, Value};

/// An organization.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Organization {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What somebody noted about it.
    pub description: Option<String>,
    /// `AUTOMATIC`, `MANUAL` or `REJECT`: what happens to devices that report for the first time.
    pub node_approval_mode: Option<String>,
    /// All other members.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its number.
    pub id: i64,
    /// The organization that it belongs to.
    pub organization_id: i64,
    /// The organization's location that it belongs to.
    pub location_id: Option<i64>,
    /// What it is, such as `WINDOWS_SERVER`.
    pub node_class: Option<String>,
    /// `PENDING` or `APPROVED`.
    pub approval_status: Option<String>,
    /// Whether it has not reported of late.
    pub offline: Option<bool>,
    /// Its own name.
    pub system_name: Option<String>,
    /// Its name in the DNS.
    pub dns_name: Option<String>,
    /// The name that somebody gave it.
    pub display_name: Option<String>,
    /// All other members.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What has a number by which the next page is asked for.
pub trait Numbered {
    /// Its number.
    fn number(&self) -> i64;
}

impl Numbered for Organization {
    fn number(&self) -> i64 {
        self.id
    }
}

impl Numbered for Device {
    fn number(&self) -> i64 {
        self.id
    }
}
