//! The provider's hosts as the fleet treats them: which are left alone, and until when.

use evergreen_engine::Millis;
use evergreen_engine::store::{Breaker, GateState};
use evergreen_engine::time::rfc3339;
use serde::{Deserialize, Serialize};

use super::{App, ServiceError};
use crate::refresher::host_of;
use crate::telemetry::HostGauges;

/// A host of the provider, as the whole fleet treats it. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HostView {
    /// The host, with its port if that is not the usual one.
    pub host: String,
    /// It wants to be left alone until then.
    pub paused_until: Option<String>,
    /// `closed`; `open`, since nothing but failures came back; or `half_open`, while one request
    /// tries.
    pub breaker: String,
    /// Nobody tries before then.
    pub breaker_until: Option<String>,
    /// Token requests under way, in the whole fleet.
    pub requests: u32,
}

impl HostView {
    pub(super) fn of(host: String, state: &GateState, now: Millis) -> Self {
        let at = |left: Millis| (left > 0).then(|| rfc3339(now.saturating_add(left)));
        let open_left = match state.breaker {
            Breaker::Open { left } => left,
            Breaker::Closed | Breaker::HalfOpen => 0,
        };
        Self {
            host,
            paused_until: at(state.pause_left),
            breaker: word(state.breaker).to_owned(),
            breaker_until: at(open_left),
            requests: state.inside,
        }
    }
}

fn word(breaker: Breaker) -> &'static str {
    match breaker {
        Breaker::Closed => "closed",
        Breaker::Open { .. } => "open",
        Breaker::HalfOpen => "half_open",
    }
}

impl App {
    /// The host of an instance.
    pub(super) async fn host_of(&self, instance_url: &str, now: Millis) -> HostView {
        let state = self.0.refresher.gate.state(instance_url).await;
        HostView::of(host_of(instance_url).to_owned(), &state, now)
    }

    /// All hosts that the fleet has ever spoken to.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn hosts(&self) -> Result<Vec<HostView>, ServiceError> {
        let now = self.store().now().await?;
        let states = self.0.refresher.gate.states().await?;
        let views = states.into_iter();
        Ok(views
            .map(|(host, state)| HostView::of(host, &state, now))
            .collect())
    }

    /// Reads for the metrics how all hosts stand. Where the store does not answer, what was read last
    /// stays.
    pub async fn gauge_hosts(&self) {
        match self.0.refresher.gate.states().await {
            Ok(states) => {
                let gauges = states.into_iter().map(|(host, state)| {
                    let gauges = HostGauges {
                        breaker_open: state.breaker != Breaker::Closed,
                        paused: state.pause_left > 0,
                        requests: state.inside,
                    };
                    (host, gauges)
                });
                self.telemetry().hosts_are(gauges.collect());
            }
            Err(error) => tracing::debug!(%error, "how the hosts stand is not known"),
        }
    }
}
