//! One method a call of the API.

use chrono::Utc;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;

use super::super::failure::Failure;
use super::Api;
use super::bodies::{
    ConsentLink, Disconnected, Filter, History, ListedKeys, MadeKey, NewKey, Offer, Offered, Page,
    Token,
};
use super::sse::Events;
use crate::handoff::{Handed, RefreshToken};
use crate::import::report::Report;
use crate::integration::{GrantRef, IntegrationId, Target};
use crate::service::{Explanation, FleetStatus, RequeueAnswer, StatusView};

/// Grants on a page.
const PAGE: usize = 500;

fn path(integration: &IntegrationId) -> String {
    // Both names are of letters that need no escaping.
    format!("/v1/integrations/{integration}")
}

impl Api {
    fn about(&self, method: Method, target: &Target, verb: &str) -> RequestBuilder {
        let request = self.request(method, &format!("{}{verb}", path(&target.integration)));
        match target.grant {
            Some(kind) => request.query(&[("grant", kind.as_str())]),
            None => request,
        }
    }

    /// How a grant stands.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn status(&self, target: &Target) -> Result<StatusView, Failure> {
        let request = self.about(Method::GET, target, "");
        self.ask(&format!("reading {target}"), request).await
    }

    /// All pages of a list.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn list(&self, filter: &Filter) -> Result<Vec<StatusView>, Failure> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut request = self
                .request(Method::GET, "/v1/integrations")
                .query(filter)
                .query(&[("limit", PAGE)]);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let page: Page = self.ask("listing integrations", request).await?;
            all.extend(page.integrations);
            // A server that repeats itself would keep us for ever.
            if page.next.is_none() || page.next == cursor {
                // Pages come in no order, and may tell of a grant twice.
                let by = |one: &StatusView| (one.integration.clone(), one.grant.clone());
                all.sort_by_cached_key(by);
                all.dedup_by_key(|one| by(one));
                return Ok(all);
            }
            cursor = page.next;
        }
    }

    /// What happened to a grant.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn history(&self, target: &Target) -> Result<History, Failure> {
        let request = self.about(Method::GET, target, "/history");
        self.ask(&format!("reading the history of {target}"), request)
            .await
    }

    /// What happens next to a grant, and why.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn explain(&self, target: &Target) -> Result<Explanation, Failure> {
        let request = self.about(Method::GET, target, "/explain");
        self.ask(&format!("explaining {target}"), request).await
    }

    /// The fleet at a glance.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn fleet(&self) -> Result<FleetStatus, Failure> {
        let request = self.request(Method::GET, "/v1/fleet");
        self.ask("looking at the fleet", request).await
    }

    /// Refreshes now.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn refresh(&self, target: &Target) -> Result<StatusView, Failure> {
        let request = self.about(Method::POST, target, "/refresh");
        self.ask(&format!("refreshing {target}"), request).await
    }

    /// Tries a grant again that was given up.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn reset(&self, target: &Target) -> Result<StatusView, Failure> {
        let request = self.about(Method::POST, target, "/reset");
        self.ask(&format!("resetting {target}"), request).await
    }

    /// Gives a parked grant back.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn requeue(&self, target: &Target) -> Result<RequeueAnswer, Failure> {
        let request = self.about(Method::POST, target, "/requeue");
        self.ask(&format!("giving {target} back"), request).await
    }

    /// Erases credentials.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn disconnect(&self, target: &Target) -> Result<Disconnected, Failure> {
        let request = self.about(Method::DELETE, target, "");
        self.ask(&format!("disconnecting {target}"), request).await
    }

    /// Makes a link for a person's consent.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn consent_link(
        &self,
        integration: &IntegrationId,
        instance_url: &str,
    ) -> Result<ConsentLink, Failure> {
        let request = self
            .request(Method::POST, &format!("{}/connect", path(integration)))
            .json(&json!({ "instance_url": instance_url }));
        self.ask(&format!("connecting {integration}"), request)
            .await
    }

    /// Mints a client grant.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn connect_client(
        &self,
        integration: &IntegrationId,
        offer: &Offer,
    ) -> Result<StatusView, Failure> {
        let request = self
            .request(Method::PUT, &path(integration))
            .query(&[("grant", "client")])
            .json(offer);
        self.ask(&format!("connecting {integration}@client"), request)
            .await
    }

    /// Offers tokens from outside. A refusal is an answer, no failure.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn offer(
        &self,
        grant: &GrantRef,
        offer: &Offer,
        replace: bool,
        dry_run: bool,
    ) -> Result<Offered, Failure> {
        let mut request = self
            .request(Method::PUT, &path(grant.integration()))
            .query(&[("grant", grant.kind().as_str())])
            .json(offer);
        for (name, given) in [("replace", replace), ("dry_run", dry_run)] {
            if given {
                request = request.query(&[(name, "true")]);
            }
        }
        let also = [StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY];
        self.ask_also(&format!("offering {grant}"), request, &also)
            .await
    }

    /// Schedules what is stored but unscheduled.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn backfill(
        &self,
        only: Option<&Target>,
        limit: Option<usize>,
        dry_run: bool,
    ) -> Result<Report, Failure> {
        let only = only.map(ToString::to_string);
        let request = self
            .request(Method::POST, "/v1/backfill")
            .json(&json!({ "only": only, "limit": limit, "dry_run": dry_run }));
        self.ask("backfilling", request).await
    }

    /// A valid access token.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn token(
        &self,
        target: &Target,
        min_validity_s: Option<u64>,
        refresh: RefreshToken,
    ) -> Result<Handed, Failure> {
        let mut request = self.about(Method::GET, target, "/token");
        if let Some(seconds) = min_validity_s {
            request = request.query(&[("min_validity", seconds)]);
        }
        if refresh == RefreshToken::Included {
            request = request.query(&[("refresh_token", "true")]);
        }
        let token: Token = self
            .ask(&format!("taking a token of {target}"), request)
            .await?;
        Ok(token.handed(Utc::now().timestamp_millis()))
    }

    /// The events from a place on: `start`, `now`, or behind a cursor.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn events(&self, from: &str, after: Option<&str>) -> Result<Events, Failure> {
        let request = self.request(Method::GET, "/v1/events");
        let request = match after {
            Some(cursor) => request.query(&[("after", cursor)]),
            None => request.query(&[("from", from)]),
        };
        let request = request.header("Accept", "text/event-stream");
        let answer = self.send("reading events", request).await?;
        if answer.status().is_success() {
            return Ok(Events::new(answer));
        }
        let status = answer.status();
        let body = super::body(answer).await.unwrap_or_default();
        Err(super::problem::failure(
            self,
            "reading events",
            status,
            &body,
        ))
    }

    /// The API keys in the store.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn keys(&self) -> Result<ListedKeys, Failure> {
        let request = self.request(Method::GET, "/v1/apikeys");
        self.ask("listing API keys", request).await
    }

    /// Makes an API key.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn make_key(&self, key: &NewKey) -> Result<MadeKey, Failure> {
        let request = self.request(Method::POST, "/v1/apikeys").json(key);
        self.ask("making an API key", request).await
    }

    /// Revokes an API key. Its id has been checked by whoever calls.
    ///
    /// # Errors
    /// As the API says, or that it does not answer.
    pub(crate) async fn revoke_key(&self, id: &str) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, &format!("/v1/apikeys/{id}"));
        let _: serde_json::Value = self.ask("revoking an API key", request).await?;
        Ok(())
    }
}
