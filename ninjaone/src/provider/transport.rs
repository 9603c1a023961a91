//! What carries a form to a host and brings the reply back: HTTP, and nothing else in production.
//!
//! Everything that decides lies above it: which path, until when, what a reply means. So whoever puts
//! another transport here, a simulated network for example, tests all of that.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use reqwest::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use secrecy::{ExposeSecret, SecretString};

use super::exchange::Watch;
use super::resolver::AddressRefused;
use super::words::Why;

/// A form that can leave once, and only while it may.
pub struct Form {
    text: SecretString,
    watch: Arc<Watch>,
}

impl Form {
    pub(super) fn new(text: SecretString, watch: Arc<Watch>) -> Self {
        Self { text, watch }
    }

    /// The form, if it may leave now: to be asked for when the connection stands, immediately before
    /// the first byte is written. From then on it counts as sent; without it nothing may be sent.
    #[must_use]
    pub fn release(self) -> Option<SecretString> {
        self.watch.release().then_some(self.text)
    }

    fn bytes(&self) -> usize {
        self.text.expose_secret().len()
    }
}

/// The transfer of a body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the transfer ended early")]
pub struct Cut;

/// A reply whose head has come.
pub struct Arriving {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body as it comes, decompressed.
    pub body: BoxStream<'static, Result<Bytes, Cut>>,
}

/// Posts forms. Must never send one twice, follow a redirect, or send one elsewhere.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Posts the form as `application/x-www-form-urlencoded` and waits for the head of the reply.
    ///
    /// # Errors
    /// What stood in the way, before the form left or after it.
    async fn post(&self, url: &str, form: Form) -> Result<Arriving, Why>;
}

/// The transport of production.
pub(super) struct Http(pub(super) reqwest::Client);

#[async_trait]
impl Transport for Http {
    async fn post(&self, url: &str, form: Form) -> Result<Arriving, Why> {
        let sending = self
            .0
            .post(url)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(CONTENT_LENGTH, form.bytes())
            .header(CONNECTION, "close")
            .body(once(form))
            .send();
        let response = sending.await.map_err(|error| why_of(&error))?;
        Ok(Arriving {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response
                .bytes_stream()
                .map(|chunk| chunk.map_err(|_| Cut))
                .boxed(),
        })
    }
}

/// The form as a body that can be read once: no layer below can send it a second time.
fn once(form: Form) -> reqwest::Body {
    reqwest::Body::wrap_stream(futures::stream::once(async move {
        match form.release() {
            Some(text) => Ok(text.expose_secret().as_bytes().to_vec()),
            None => Err(io::Error::other("the form is withheld")),
        }
    }))
}

/// What broke, as far as the library's error tells. Only its kind is looked at, never its text.
fn why_of(error: &reqwest::Error) -> Why {
    if !error.is_connect() {
        return Why::BrokenOff;
    }
    if any_cause(error, &|cause| cause.is::<AddressRefused>()) {
        Why::AddressRefused
    } else if any_cause(error, &|cause| cause.is::<rustls::Error>()) {
        Why::Tls
    } else if error.is_timeout() {
        Why::ConnectTimeout
    } else if error.is_dns() {
        Why::NameResolution
    } else {
        Why::Connect
    }
}

/// Whether an error or one of its causes passes the test. An [`io::Error`] hides its inner error
/// from `source`.
fn any_cause(
    error: &(dyn StdError + 'static),
    test: &dyn Fn(&(dyn StdError + 'static)) -> bool,
) -> bool {
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    test(error)
        || inner.is_some_and(|inner| any_cause(inner, test))
        || error.source().is_some_and(|source| any_cause(source, test))
}
