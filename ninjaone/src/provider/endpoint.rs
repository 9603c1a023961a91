//! The token endpoint of a host: one request, both paths if need be, an answer by the deadline.
//!
//! The exchange runs in a task of its own, so that a caller who gives up cannot lose a rotated token
//! that is already on its way. At the deadline the caller gets an answer in any case; if that answer
//! is "unknown", reading goes on in the background, bounded in number, bytes and time, and a pair
//! that still comes is handed over as a late reply.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Detail, Reply};
use super::call::{Sent, TokenCall, TokenEndpointOptions};
use super::classify::Judged;
use super::exchange::{Seen, Watch, exchange, not_sent};
use super::host::InstanceUrl;
use super::http::BuildFailed;
use super::policy::HostPolicy;
use super::request::TokenPath;
use super::throttle;
use super::transport::{Http, Transport};
use super::words::{Attention, Why};

/// The token endpoints of all hosts, through one transport. Cheap to clone.
#[derive(Clone)]
pub struct TokenEndpoint {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn Transport>,
    policy: HostPolicy,
    /// Per host, the path that answered.
    paths: Mutex<HashMap<String, TokenPath>>,
    late_reads: Arc<Semaphore>,
    late_limit: Duration,
}

impl TokenEndpoint {
    /// Over HTTP.
    ///
    /// # Errors
    /// As [`HttpOptions::build`](super::HttpOptions::build).
    pub fn new(options: TokenEndpointOptions) -> Result<Self, BuildFailed> {
        let http = options.http.build()?;
        Ok(Self::with_client(http, options))
    }

    pub(super) fn with_client(http: reqwest::Client, options: TokenEndpointOptions) -> Self {
        Self::over(Arc::new(Http(http)), options)
    }

    /// Over any transport; what the options say of HTTP itself is then its business.
    #[must_use]
    pub fn over(transport: Arc<dyn Transport>, options: TokenEndpointOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                transport,
                policy: options.http.policy,
                paths: Mutex::default(),
                late_reads: Arc::new(Semaphore::new(options.late_reads)),
                late_limit: options.late_limit,
            }),
        }
    }

    /// Sends one request and answers by its deadline; what comes later is read and dropped.
    pub async fn send(&self, call: TokenCall) -> Reply {
        self.send_detachable(call).await.reply
    }

    /// Sends one request and answers by its deadline; what comes later can still be had.
    ///
    /// Dropping the future does not stop the exchange, which is never tied to its caller.
    pub async fn send_detachable(&self, call: TokenCall) -> Sent {
        let began = Began::now();
        let path = self.path_for(&call);
        if let Err(refused) = self.inner.policy.admit(&call.instance) {
            let judged = Judged {
                detail: Detail {
                    description: Some(refused.to_string()),
                    ..Detail::default()
                },
                ..Answer::Misconfigured {
                    attention: Attention::WrongEndpoint,
                }
                .into()
            };
            return began.reply(judged, path, None, None).into();
        }
        let deadline = call.deadline;
        let watch = Arc::new(Watch::new(path, deadline, call.may_send.clone()));
        let call = Arc::new(call);
        let mut task = tokio::spawn({
            let (inner, call, watch) = (
                Arc::clone(&self.inner),
                Arc::clone(&call),
                Arc::clone(&watch),
            );
            let limit = deadline + inner.late_limit;
            async move {
                timeout_at(limit, inner.attempt(began, &call, &watch))
                    .await
                    .ok()
            }
        });
        match timeout_at(deadline, &mut task).await {
            Ok(Ok(Some(reply))) => reply.into(),
            Ok(_) => began.ended(&watch.shut(), Why::BrokenOff, &call).into(),
            Err(_) => self.overdue(began, &call, &watch, task),
        }
    }

    /// The path that answered before at this host, if one did.
    #[must_use]
    pub fn known_path(&self, instance: &InstanceUrl) -> Option<TokenPath> {
        self.inner.paths().get(instance.host_and_port()).copied()
    }

    fn path_for(&self, call: &TokenCall) -> TokenPath {
        self.known_path(&call.instance)
            .or(call.known_path)
            .unwrap_or(TokenPath::Ws)
    }

    /// The deadline has passed: answer with what is known, and read on if more may come.
    fn overdue(
        &self,
        began: Began,
        call: &TokenCall,
        watch: &Watch,
        task: JoinHandle<Option<Reply>>,
    ) -> Sent {
        let reply = began.ended(&watch.shut(), Why::Deadline, call);
        let permit = Arc::clone(&self.inner.late_reads).try_acquire_owned().ok();
        match (&reply.answer, permit) {
            (Answer::Unknown { .. }, Some(permit)) => {
                let late = tokio::spawn(async move {
                    let _permit = permit;
                    task.await.ok().flatten()
                });
                Sent {
                    reply,
                    late: Some(late),
                }
            }
            _ => {
                task.abort();
                reply.into()
            }
        }
    }
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint").finish_non_exhaustive()
    }
}

impl Inner {
    fn paths(&self) -> std::sync::MutexGuard<'_, HashMap<String, TokenPath>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One exchange, and a second one if nothing lives at the first path. A 404 without a telling
    /// code proves that the request was not processed, so this is not sending twice.
    async fn attempt(&self, began: Began, call: &TokenCall, watch: &Arc<Watch>) -> Reply {
        let mut path = watch.seen().path;
        let mut judged = self.on_path(path, call, watch).await;
        if judged.no_such_path {
            path = path.other();
            judged = if watch.begin(path) {
                self.on_path(path, call, watch).await
            } else {
                not_sent(Why::Deadline)
            };
        }
        if is_of_an_endpoint(&judged.answer) {
            let host = call.instance.host_and_port().to_owned();
            self.paths().insert(host, path);
        }
        let seen = watch.seen();
        let skew_ms = seen.skew_ms();
        began.reply(judged, path, seen.sent_at, skew_ms)
    }

    async fn on_path(&self, path: TokenPath, call: &TokenCall, watch: &Arc<Watch>) -> Judged {
        let url = call.instance.token_url(path);
        exchange(
            self.transport.as_ref(),
            &url,
            &call.app,
            &call.request,
            watch,
        )
        .await
    }
}

/// Whether only a token endpoint answers like this, so that its path is worth remembering.
fn is_of_an_endpoint(answer: &Answer) -> bool {
    match answer {
        Answer::Granted(_) | Answer::Rejected { .. } => true,
        Answer::Misconfigured { attention } => {
            matches!(
                attention,
                Attention::ClientUnknown | Attention::ClientRejected
            )
        }
        _ => false,
    }
}

impl Seen {
    fn skew_ms(&self) -> Option<i64> {
        let head = self.head.as_ref()?;
        throttle::skew_ms(&head.headers, head.at)
    }
}

/// When an attempt began.
#[derive(Clone, Copy)]
struct Began {
    at: Instant,
}

impl Began {
    fn now() -> Self {
        Self { at: Instant::now() }
    }

    fn reply(
        self,
        judged: Judged,
        path: TokenPath,
        sent_at: Option<Instant>,
        skew_ms: Option<i64>,
    ) -> Reply {
        Reply {
            answer: judged.answer,
            detail: judged.detail,
            sent_at: sent_at.unwrap_or(self.at),
            elapsed: self.at.elapsed(),
            path,
            skew_ms,
        }
    }

    /// The reply if the attempt ended here for this reason.
    fn ended(self, seen: &Seen, why: Why, call: &TokenCall) -> Reply {
        let judged = seen.judge(why, &call.app, &call.request);
        self.reply(judged, seen.path, seen.sent_at, seen.skew_ms())
    }
}

#[cfg(test)]
mod tests;
