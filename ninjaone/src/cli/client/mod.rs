//! The HTTP API from the side of a command: typed calls, and failures with their exit codes.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | where the server is, and sending one request |
//! | `problem.rs` | what an answer that is no success means |
//! | `calls.rs` | one method a call |
//! | `bodies.rs` | what is sent and answered |
//! | `sse.rs` | the stream of events |
//!
//! Where: `EVERGREEN_URL`, else `http://127.0.0.1:8080`. The key: `EVERGREEN_API_KEY`, never an
//! argument, because those are everybody's to read.

pub(crate) mod bodies;
mod calls;
mod problem;
pub(crate) mod sse;
#[cfg(test)]
pub(super) mod stub;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

use super::failure::{Exit, Failure, chain};

/// Names the server.
pub(crate) const URL_VARIABLE: &str = "EVERGREEN_URL";
/// Holds the API key.
pub(crate) const KEY_VARIABLE: &str = "EVERGREEN_API_KEY";
const DEFAULT_URL: &str = "http://127.0.0.1:8080";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the server waits for a turn that somebody else holds.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Answers are small; a page of integrations is the largest.
const BODY_MAX: usize = 32 * 1024 * 1024;

/// The API. Its `Debug` shows where it is, and no key.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    key: Option<SecretString>,
}

impl Api {
    /// As the environment says.
    ///
    /// # Errors
    /// When a variable is wrong.
    pub(crate) fn of_process() -> Result<Self, Failure> {
        let read = |name: &str| match std::env::var(name) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Failure::usage(format!("reading {name}"), "it is not UTF-8"))
            }
        };
        let url = read(URL_VARIABLE)?.unwrap_or_else(|| DEFAULT_URL.to_owned());
        let key = read(KEY_VARIABLE)?.map(SecretString::from);
        Self::new(&url, key)
    }

    /// The API at this address.
    ///
    /// # Errors
    /// When the address or the key cannot be one.
    pub(crate) fn new(url: &str, key: Option<SecretString>) -> Result<Self, Failure> {
        let doing = format!("reading {URL_VARIABLE}");
        let wrong = |why: &str| {
            Failure::usage(&doing, why).help("write it as https://evergreen.example.com")
        };
        let parsed = Url::parse(url).map_err(|_| wrong("it is not a URL"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong("it begins with neither http:// nor https://"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong("it holds a login; a key goes into EVERGREEN_API_KEY"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        let visible =
            |key: &SecretString| key.expose_secret().bytes().all(|b| b.is_ascii_graphic());
        if key.as_ref().is_some_and(|key| !visible(key)) {
            let doing = format!("reading {KEY_VARIABLE}");
            return Err(Failure::usage(doing, "it holds characters that no key has"));
        }
        // Whoever is first in the process installs it; the others find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("evergreen/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // The key goes where EVERGREEN_URL says and nowhere else.
            .redirect(reqwest::redirect::Policy::none());
        if parsed.host_str().is_some_and(is_loopback) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|e| Failure::of(Exit::Failed, "preparing to speak HTTP", &e))?;
        Ok(Self {
            http,
            base: parsed.as_str().trim_end_matches('/').to_owned(),
            key,
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            // Marked as sensitive by the library, so that its Debug does not show it.
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
    }

    /// Sends a request and reads its answer.
    async fn ask<T: DeserializeOwned>(
        &self,
        doing: &str,
        request: RequestBuilder,
    ) -> Result<T, Failure> {
        self.ask_also(doing, request, &[]).await
    }

    /// The same, where some statuses that are no success carry an answer as well.
    async fn ask_also<T: DeserializeOwned>(
        &self,
        doing: &str,
        request: RequestBuilder,
        also: &[StatusCode],
    ) -> Result<T, Failure> {
        let answer = self.send(doing, request.timeout(TIMEOUT)).await?;
        let status = answer.status();
        let body = body(answer).await.map_err(|why| {
            Failure::new(Exit::Unavailable, doing, why).help("the same command may work later")
        })?;
        if status.is_success() || also.contains(&status) {
            if let Ok(parsed) = serde_json::from_slice(&body) {
                return Ok(parsed);
            }
            if status.is_success() {
                return Err(self.not_ours(doing, status));
            }
        }
        Err(problem::failure(self, doing, status, &body))
    }

    async fn send(&self, doing: &str, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|e| {
            let why = if e.is_timeout() {
                format!("no answer from {} in time", self.base)
            } else if e.is_connect() {
                format!("nobody answers at {}: {}", self.base, innermost(&e))
            } else {
                // Its URL has no secret, but says nothing that is not known.
                chain(&e.without_url())
            };
            Failure::new(Exit::Unavailable, doing, why).help(format!(
                "start a server (evergreen dev, evergreen serve) or say where one is: \
                 export {URL_VARIABLE}=https://…"
            ))
        })
    }

    fn not_ours(&self, doing: &str, status: StatusCode) -> Failure {
        let why = format!(
            "{} answered {} with something that is not Evergreen's",
            self.base,
            status.as_u16()
        );
        Failure::new(Exit::Failed, doing, why).help(format!(
            "check {URL_VARIABLE} and the versions of both sides"
        ))
    }
}

async fn body(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(e) => return Err(format!("the answer broke off: {}", innermost(&e))),
        }
        if body.len() > BODY_MAX {
            return Err("the answer is too long".to_owned());
        }
    }
}

/// What the operating system or the library said in the end.
fn innermost(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(inner) = last.source() {
        last = inner;
    }
    last.to_string()
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_must_be_one_and_hold_no_login() {
        for (url, why) in [
            ("evergreen", "not a URL"),
            ("ftp://h", "neither"),
            ("https://u:CANARY@h", "holds a login"),
            ("https://h/?key=CANARY", "query"),
        ] {
            let failure = Api::new(url, None).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.why.contains(why), "{failure}");
            assert!(!failure.to_string().contains("CANARY"));
        }
        let api = Api::new("https://e.example/base/", None).unwrap();
        assert_eq!(api.base, "https://e.example/base");
    }

    #[test]
    fn the_key_is_in_no_debug_and_no_error() {
        let api = Api::new("http://127.0.0.1:1", Some("eg_CANARY".into())).unwrap();
        let request = api.request(Method::GET, "/v1/integrations");
        assert!(!format!("{api:?} {request:?}").contains("CANARY"));
        let failure = Api::new("http://h", Some("eg_CANARY\n".into())).unwrap_err();
        assert!(!failure.to_string().contains("CANARY"));
    }
}
