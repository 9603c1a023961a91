//! Scripted faults: which requests go wrong, and how often. What goes wrong with them is in
//! actions.rs, what that makes of an answer in alter.rs and delivery.rs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::actions::{Action, Respond};
use super::options::Refused;
use super::queue::Subject;
use super::wire::Name;

/// One scripted fault. Faults are tried in the order in which they were scripted; the first that
/// matches a request is applied to it, and only that one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The requests it applies to; without conditions, all token requests.
    #[serde(default, rename = "match")]
    pub matching: Match,
    /// What goes wrong.
    pub action: Action,
    /// How often it applies before it is gone; `null` for ever.
    #[serde(default = "once")]
    pub times: Option<u64>,
    /// For how long it applies, from when it was scripted; `null` for as long as `times` allows. With
    /// `"times": null` it is a storm: whoever asks while it lasts meets it, few or many.
    #[serde(default, with = "super::wire::optional_duration")]
    pub lasts: Option<Duration>,
}

fn once() -> Option<u64> {
    Some(1)
}

/// Which requests a fault applies to: those that meet every condition given.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// The endpoint.
    pub target: Target,
    /// The exact path, without query.
    pub path: Option<String>,
    /// The chain of the refresh token or access token presented.
    pub chain: Option<String>,
    /// The client id named, or that of the access token's grant.
    pub client_id: Option<String>,
    /// `authorization_code`, `refresh_token` or `client_credentials`.
    pub grant_type: Option<String>,
    /// Lets the first `nth - 1` otherwise matching requests pass.
    pub nth: Option<u64>,
    /// Applies to this share of the otherwise matching requests, by the simulator's seed.
    pub probability: Option<f64>,
}

/// The endpoints that faults can be scripted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Both token paths.
    #[default]
    Token,
    /// Both authorize paths.
    Authorize,
    /// Everything under `/v2`.
    Api,
    /// The whole host.
    Any,
}

impl Fault {
    /// On the next token request.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self {
            matching: Match::default(),
            action,
            times: once(),
            lasts: None,
        }
    }

    /// A verbatim answer to the next token request, which is not carried out.
    #[must_use]
    pub fn respond(status: u16, body: &str) -> Self {
        Self::new(Action::Respond(Respond {
            status,
            body: body.to_owned(),
            ..Respond::default()
        }))
    }

    /// Applies this often.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    /// Applies to every request for so long.
    #[must_use]
    pub fn lasts(self, span: Duration) -> Self {
        Self {
            times: None,
            lasts: Some(span),
            ..self
        }
    }

    /// Applies until the faults are cleared.
    #[must_use]
    pub fn always(self) -> Self {
        Self {
            times: None,
            ..self
        }
    }

    /// Applies to requests of one chain.
    #[must_use]
    pub fn on_chain(mut self, chain: &str) -> Self {
        self.matching.chain = Some(chain.to_owned());
        self
    }

    /// Applies to requests of one client app.
    #[must_use]
    pub fn on_client(mut self, client_id: &str) -> Self {
        self.matching.client_id = Some(client_id.to_owned());
        self
    }

    /// Applies to another endpoint.
    #[must_use]
    pub fn on(mut self, target: Target) -> Self {
        self.matching.target = target;
        self
    }

    /// Lets the requests before the nth pass.
    #[must_use]
    pub fn from_nth(mut self, nth: u64) -> Self {
        self.matching.nth = Some(nth);
        self
    }

    /// Checks what the types cannot.
    pub(super) fn check(&self) -> Result<(), Refused> {
        let on = &self.matching;
        if self.times == Some(0) {
            return Err(Refused::new("times", "at least 1, or null for ever"));
        }
        if self.lasts == Some(Duration::ZERO) {
            return Err(Refused::new("lasts", "longer than 0s, or null"));
        }
        if on.nth == Some(0) {
            return Err(Refused::new("match.nth", "counts from 1"));
        }
        if on.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(Refused::new("match.probability", "from 0 to 1"));
        }
        let needs_body = on.chain.is_some() || on.client_id.is_some() || on.grant_type.is_some();
        self.action.check(needs_body)
    }
}

impl Match {
    pub(super) fn meets(&self, subject: &Subject) -> bool {
        let meets = |condition: &Option<String>, fact: Option<&str>| {
            condition
                .as_deref()
                .is_none_or(|wanted| fact == Some(wanted))
        };
        (self.target == Target::Any || self.target == subject.target)
            && meets(&self.path, Some(&subject.path))
            && meets(&self.chain, subject.chain.as_ref().map(Name::as_str))
            && meets(&self.client_id, subject.client_id.as_deref())
            && meets(&self.grant_type, subject.grant_type.as_deref())
    }
}
