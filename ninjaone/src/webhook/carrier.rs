//! One HTTP request: posted once, not redirected, answered by a status, bounded in time and bytes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use reqwest::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};

use super::WebhookUrl;
use super::message::Signed;
use super::pace::TIMEOUT;
use super::resolver::ReceiverResolver;
use crate::provider::{BuildFailed, retry_after};

/// For name, connection and TLS handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Of an answer's body at most so much is taken off the line, in bytes, and nothing is looked at.
const BODY_MAX: usize = 64 * 1024;
/// How long the body of an answer is waited for, whose status has come.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// Asked immediately before the first byte of a webhook leaves; `false` keeps it here.
pub type MayLeave = Arc<dyn Fn() -> bool + Send + Sync>;

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The receiver answered.
    Status {
        /// Its status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// There was no answer in time.
    Timeout,
    /// There was none, or the connection broke.
    Unreachable,
    /// It was kept here: this process may not send any more.
    Withheld,
}

/// Posts webhooks. Must never send one twice for one call, or send it elsewhere.
#[async_trait]
pub trait Carrier: Send + Sync + 'static {
    /// Posts one. It is broken off after ten seconds.
    async fn post(&self, message: Signed, may_leave: MayLeave) -> Answer;
}

/// The carrier of production.
pub(super) struct Http {
    client: reqwest::Client,
    url: WebhookUrl,
}

impl Http {
    /// # Errors
    /// The system's certificates cannot be read.
    pub(super) fn new(url: WebhookUrl) -> Result<Self, BuildFailed> {
        // A second installation is refused, which is fine: there is a provider then.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let loopback = url.is_loopback();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // A kept connection that has died costs an attempt, and with it the wait for the next.
            .pool_max_idle_per_host(0)
            .https_only(!url.is_plain())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .user_agent(concat!("evergreen/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(ReceiverResolver { loopback })
            .build()
            .map_err(BuildFailed::from)?;
        Ok(Self { client, url })
    }
}

#[async_trait]
impl Carrier for Http {
    async fn post(&self, message: Signed, may_leave: MayLeave) -> Answer {
        let withheld = Arc::clone(&may_leave);
        let sending = self
            .client
            .post(self.url.url())
            .header(ACCEPT, "*/*")
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, message.body.len())
            .header(CONNECTION, "close")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", message.timestamp_s)
            .header("webhook-signature", &message.signature)
            .body(once(message.body, may_leave))
            .send();
        match sending.await {
            Ok(mut response) => {
                let answer = Answer::Status {
                    status: response.status().as_u16(),
                    retry_after: retry_after(response.headers(), SystemTime::now()),
                };
                let body = take_off(&mut response);
                // However that ends: the status has said it all.
                let _ = tokio::time::timeout(BODY_PATIENCE, body).await;
                answer
            }
            Err(_) if !withheld() => Answer::Withheld,
            Err(error) if error.is_timeout() => Answer::Timeout,
            Err(_) => Answer::Unreachable,
        }
    }
}

/// The body, for a request that may leave until it is asked for.
fn once(body: String, may_leave: MayLeave) -> reqwest::Body {
    reqwest::Body::wrap_stream(futures::stream::once(async move {
        match may_leave() {
            true => Ok(body.into_bytes()),
            false => Err(io::Error::other("the webhook is withheld")),
        }
    }))
}

async fn take_off(response: &mut reqwest::Response) {
    let mut room = BODY_MAX;
    while let Ok(Some(chunk)) = response.chunk().await {
        room = match room.checked_sub(chunk.len()) {
            Some(room) => room,
            None => return,
        };
    }
}
