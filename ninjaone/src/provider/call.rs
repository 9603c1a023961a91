//! One call of the token endpoint: what goes in, and what comes out by the deadline and after it.

use std::fmt;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::answer::Reply;
use super::exchange::MaySend;
use super::host::InstanceUrl;
use super::http::HttpOptions;
use super::request::{ClientApp, TokenPath, TokenRequest};

/// How long a reply is read on after its deadline.
pub const READ_ON: Duration = Duration::from_secs(60);

/// How the endpoint is reached, and how long it is listened to.
#[derive(Debug, Clone)]
pub struct TokenEndpointOptions {
    /// The HTTP client.
    pub http: HttpOptions,
    /// How many replies past their deadline are read at the same time; further ones are given up.
    pub late_reads: usize,
    /// How long after its deadline a reply is still read.
    pub late_limit: Duration,
}

impl Default for TokenEndpointOptions {
    fn default() -> Self {
        Self {
            http: HttpOptions::default(),
            late_reads: 64,
            late_limit: READ_ON,
        }
    }
}

/// One call of the token endpoint.
#[derive(Clone)]
pub struct TokenCall {
    /// Where the tenant lives.
    pub instance: InstanceUrl,
    /// The client app.
    pub app: ClientApp,
    /// What is asked.
    pub request: TokenRequest,
    /// When there must be an answer; nothing is sent after it.
    pub deadline: Instant,
    /// The path to begin with, where it is known from elsewhere.
    pub known_path: Option<TokenPath>,
    /// Asked immediately before the form leaves: is the lease still trusted?
    pub may_send: Option<MaySend>,
}

impl TokenCall {
    /// A call that begins with the documented path and needs no further permission.
    #[must_use]
    pub fn new(
        instance: InstanceUrl,
        app: ClientApp,
        request: TokenRequest,
        deadline: Instant,
    ) -> Self {
        Self {
            instance,
            app,
            request,
            deadline,
            known_path: None,
            may_send: None,
        }
    }
}

impl fmt::Debug for TokenCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCall")
            .field("instance", &self.instance)
            .field("request", &self.request)
            .field("known_path", &self.known_path)
            .finish_non_exhaustive()
    }
}

/// An answer by the deadline, and perhaps a later one.
#[derive(Debug)]
pub struct Sent {
    /// What was known at the deadline or before.
    pub reply: Reply,
    /// If that is [`Answer::Unknown`](super::Answer::Unknown) because of the deadline: what comes after all, or `None` if
    /// nothing does within the limit. Dropping the handle does not stop the reading.
    pub late: Option<JoinHandle<Option<Reply>>>,
}

impl From<Reply> for Sent {
    fn from(reply: Reply) -> Self {
        Self { reply, late: None }
    }
}
