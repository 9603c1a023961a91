//! NinjaOne's API, asked with an access token that is always good.
//!
//! A [`Client`] belongs to one integration. Before each request it takes the access token from where
//! everybody takes it, so one that is about to expire is replaced first, by one request for all who
//! wait. If NinjaOne refuses the access token all the same (`not_authenticated`, the one answer that a
//! refresh can help; most of its 401s mean something else), the grant is refreshed once and the request
//! repeated once. The second answer is the caller's.
//!
//! ```no_run
//! # async fn list(app: ninjaone::service::App) -> Result<(), Box<dyn std::error::Error>> {
//! use ninjaone::client::{Client, Page};
//!
//! let client = Client::new(app, "acme/prod".parse()?)?;
//! for device in client.devices(Page::first(100)).await? {
//!     println!("{} {}", device.id, device.system_name.unwrap_or_default());
//! }
//! let all = client.all_organizations().await?; // page by page
//! # Ok(()) }
//! ```

mod error;
mod model;
#[cfg(test)]
mod tests;

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderMap};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;

pub use self::error::ClientError;
pub use self::model::{Device, Numbered, Organization};
use crate::handoff::Handed;
use crate::integration::Target;
use crate::provider::{ApiAnswer, Detail, HttpOptions, InstanceUrl, read_api_reply};
use crate::service::{App, TokenAsk};

/// What an access token must have left before it is used for a request.
const ENOUGH: Duration = Duration::from_secs(30);
/// How long one request may take, its body included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const BODY_MAX: usize = 16 * 1024 * 1024;
/// Entries that a page is asked for where the caller wants all of them; NinjaOne's own most.
const PAGE_MAX: u32 = 1_000;

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Entries whose number is greater than this; all, where it is absent.
    pub after: Option<i64>,
    /// At most so many, 1 to 1,000.
    pub size: u32,
}

impl Page {
    /// The first entries.
    #[must_use]
    pub fn first(size: u32) -> Self {
        Self { after: None, size }
    }

    /// As many again, after the last of these.
    #[must_use]
    pub fn next<T: Numbered>(self, entries: &[T]) -> Self {
        let last = entries.last().map(Numbered::number);
        Self {
            after: last.or(self.after),
            ..self
        }
    }

    fn query(self) -> Vec<(&'static str, String)> {
        let size = ("pageSize", self.size.clamp(1, PAGE_MAX).to_string());
        let after = self.after.map(|after| ("after", after.to_string()));
        std::iter::once(size).chain(after).collect()
    }
}

/// The API of one integration's NinjaOne. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    app: App,
    target: Target,
    http: reqwest::Client,
}

/// One reply, read to its end.
struct Reply {
    answer: ApiAnswer,
    detail: Detail,
    body: Vec<u8>,
}

impl Client {
    /// A client for an integration, or for one grant of it (`acme/prod@user`: needed where NinjaOne
    /// asks for a person, as for tickets).
    ///
    /// # Errors
    /// The system's certificates cannot be read.
    pub fn new(app: App, target: Target) -> Result<Self, ClientError> {
        let options = HttpOptions {
            policy: app.host_policy().clone(),
            ..HttpOptions::default()
        };
        let http = options.build().map_err(ClientError::Http)?;
        Ok(Self { app, target, http })
    }

    /// A page of the organizations, by number.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn organizations(&self, page: Page) -> Result<Vec<Organization>, ClientError> {
        self.get("/organizations", &page.query()).await
    }

    /// A page of the devices, by number.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn devices(&self, page: Page) -> Result<Vec<Device>, ClientError> {
        self.get("/devices", &page.query()).await
    }

    /// All organizations.
    ///
    /// # Errors
    /// See [`ClientError`]; what was read before is lost.
    pub async fn all_organizations(&self) -> Result<Vec<Organization>, ClientError> {
        self.all("/organizations").await
    }

    /// All devices.
    ///
    /// # Errors
    /// See [`ClientError`]; what was read before is lost.
    pub async fn all_devices(&self) -> Result<Vec<Device>, ClientError> {
        self.all("/devices").await
    }

    /// Whatever else the API has to read: `path` is what follows `/v2`, such as `/device/7/disks`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let what = path.to_owned();
        let reply = self.reply(path, query).await?;
        let Reply {
            answer,
            detail,
            body,
        } = reply;
        match answer {
            ApiAnswer::Success => {
                serde_json::from_slice(&body).map_err(|why| ClientError::Unreadable {
                    what,
                    // serde's own words may quote the body.
                    why: format!("{:?} in line {}", why.classify(), why.line()),
                })
            }
            ApiAnswer::TokenRefused => Err(ClientError::Unauthorized { what, detail }),
            ApiAnswer::InsufficientPrivileges | ApiAnswer::UserContextRequired => {
                Err(ClientError::Forbidden {
                    what,
                    needs_user: answer == ApiAnswer::UserContextRequired,
                    detail,
                })
            }
            ApiAnswer::NotFound => Err(ClientError::NotFound { what, detail }),
            ApiAnswer::Throttled { pause } => Err(ClientError::Throttled { what, after: pause }),
            ApiAnswer::OurMistake | ApiAnswer::Failed => Err(ClientError::Failed { what, detail }),
        }
    }

    async fn all<T: DeserializeOwned + Numbered>(&self, path: &str) -> Result<Vec<T>, ClientError> {
        let mut all: Vec<T> = Vec::new();
        let mut page = Page::first(PAGE_MAX);
        loop {
            let entries: Vec<T> = self.get(path, &page.query()).await?;
            let next = page.next(&entries);
            all.extend(entries);
            // Not "fewer than were asked for": an instance may give fewer than that at once. And one
            // that does not know `after` would give the first page for ever.
            if next.after <= page.after {
                return Ok(all);
            }
            page = next;
        }
    }

    /// Asks, and once more with another access token where that can help.
    async fn reply(&self, path: &str, query: &[(&str, String)]) -> Result<Reply, ClientError> {
        let names_a_path = path.starts_with('/') && !path.starts_with("//");
        if !names_a_path || path.contains(['?', '#', '\\']) || path.split('/').any(|p| p == "..") {
            return Err(ClientError::Path {
                path: path.to_owned(),
            });
        }
        let no_token = |source| ClientError::Token {
            what: path.to_owned(),
            source,
        };
        let ask = TokenAsk {
            min_validity: Some(ENOUGH),
            ..TokenAsk::default()
        };
        let handed = self.app.token(&self.target, &ask).await.map_err(no_token)?;
        let reply = self.send(&handed, path, query).await?;
        if !reply.answer.refresh_helps() {
            return Ok(reply);
        }
        let integration = &self.target.integration;
        let fresh = self.app.token_instead_of(integration, &handed).await;
        self.send(&fresh.map_err(no_token)?, path, query).await
    }

    async fn send(
        &self,
        handed: &Handed,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Reply, ClientError> {
        let what = path.to_owned();
        let unreachable = |doing: &str, why: reqwest::Error| ClientError::Unreachable {
            what: path.to_owned(),
            // The error's own words hold the address; the step says enough.
            why: match (why.is_timeout(), why.is_connect()) {
                (true, _) => format!("no answer within {}s, {doing}", TIMEOUT.as_secs()),
                (_, true) => "no connection".to_owned(),
                _ => format!("broken off {doing}"),
            },
        };
        let instance =
            InstanceUrl::parse(&handed.instance_url, self.app.host_policy()).map_err(|why| {
                ClientError::Unreachable {
                    what: what.clone(),
                    why: why.to_string(),
                }
            })?;
        let mut response = self
            .http
            .get(format!("{}{path}", instance.api_base()))
            .query(query)
            .bearer_auth(handed.access_token.expose_secret())
            .header(ACCEPT, "application/json")
            .timeout(TIMEOUT)
            .send()
            .await
            .map_err(|why| unreachable("before an answer came", why))?;
        let (status, headers): (StatusCode, HeaderMap) =
            (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(part) = response
            .chunk()
            .await
            .map_err(|why| unreachable("in the middle of the answer", why))?
        {
            if body.len() + part.len() > BODY_MAX {
                return Err(ClientError::Unreadable {
                    what,
                    why: format!("longer than {BODY_MAX} bytes: ask for smaller pages"),
                });
            }
            body.extend_from_slice(&part);
        }
        let (answer, detail) =
            read_api_reply(status.as_u16(), &headers, &body, &handed.access_token);
        Ok(Reply {
            answer,
            detail,
            body,
        })
    }
}
