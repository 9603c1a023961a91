//! One HTTP exchange, watched so closely that at any moment it is known whether the request left and
//! what had come back.
//!
//! The form is handed to the HTTP library as a stream that can be read once. That makes two things
//! certain: no layer below can send it twice, and as long as nobody asked for it, nothing secret has
//! left. The question is put to the [`Watch`], which answers no once the deadline has passed or the
//! caller took back its permission; after that answer, "not sent" is a fact and not a guess.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures::StreamExt;
use secrecy::zeroize::Zeroizing;
use tokio::time::Instant;

use super::answer::{Answer, Detail};
use super::classify::{Head, Judged, classify, no_head};
use super::request::{ClientApp, TokenPath, TokenRequest};
use super::transport::{Form, Transport};
use super::words::Why;

/// The most that is read of a body, in bytes, after decompression.
pub const MAX_BODY: usize = 64 * 1024;

/// Asked immediately before the first secret byte leaves; `false` keeps it here.
pub type MaySend = Arc<dyn Fn() -> bool + Send + Sync>;

/// What has happened so far, seen from outside the exchange.
pub(super) struct Watch {
    may_send: Option<MaySend>,
    deadline: Instant,
    seen: Mutex<Seen>,
}

/// The state of the exchange that runs now, on one of the two paths.
pub(super) struct Seen {
    pub(super) path: TokenPath,
    /// When the form was released.
    pub(super) sent_at: Option<Instant>,
    pub(super) head: Option<Head>,
    bytes: Zeroizing<Vec<u8>>,
    withheld: bool,
    shut: bool,
}

impl Watch {
    pub(super) fn new(path: TokenPath, deadline: Instant, may_send: Option<MaySend>) -> Self {
        Self {
            may_send,
            deadline,
            seen: Mutex::new(Seen {
                path,
                sent_at: None,
                head: None,
                bytes: Zeroizing::default(),
                withheld: false,
                shut: false,
            }),
        }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new exchange begins: nothing of it has been sent, nothing has come. `false` if it is too
    /// late for that.
    pub(super) fn begin(&self, path: TokenPath) -> bool {
        let mut seen = self.seen();
        if seen.shut {
            return false;
        }
        seen.path = path;
        seen.sent_at = None;
        seen.head = None;
        seen.bytes = Zeroizing::default();
        true
    }

    /// Whether the form may leave now. From a yes on, it counts as sent.
    pub(super) fn release(&self) -> bool {
        let allowed =
            Instant::now() < self.deadline && self.may_send.as_ref().is_none_or(|may| may());
        let mut seen = self.seen();
        if seen.shut || !allowed {
            seen.withheld = true;
            return false;
        }
        seen.sent_at = Some(Instant::now());
        true
    }

    /// From now on nothing is sent. What was not sent by now never will be.
    pub(super) fn shut(&self) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen();
        seen.shut = true;
        seen
    }
}

impl Seen {
    /// The judgement if the exchange ended here for this reason.
    pub(super) fn judge(&self, why: Why, app: &ClientApp, request: &TokenRequest) -> Judged {
        if self.sent_at.is_none() {
            return not_sent(if self.withheld { Why::Withheld } else { why });
        }
        match &self.head {
            Some(head) => classify(head, &self.bytes, Some(why), app, request),
            None => no_head(why),
        }
    }
}

/// Posts the form to one path and judges what comes of it.
pub(super) async fn exchange(
    transport: &dyn Transport,
    url: &str,
    app: &ClientApp,
    request: &TokenRequest,
    watch: &Arc<Watch>,
) -> Judged {
    let form = Form::new(request.form(app), Arc::clone(watch));
    let mut arriving = match transport.post(url, form).await {
        Ok(arriving) => arriving,
        Err(why) => return watch.seen().judge(why, app, request),
    };
    let head = Head {
        status: arriving.status,
        headers: arriving.headers,
        at: SystemTime::now(),
    };
    watch.seen().head = Some(head.clone());
    loop {
        match arriving.body.next().await {
            Some(Ok(chunk)) => {
                let mut seen = watch.seen();
                let room = MAX_BODY - seen.bytes.len();
                seen.bytes
                    .extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return seen.judge(Why::BodyTooLong, app, request);
                }
            }
            None => {
                let seen = watch.seen();
                return classify(&head, &seen.bytes, None, app, request);
            }
            Some(Err(_)) => return watch.seen().judge(Why::BodyCut, app, request),
        }
    }
}

/// Provably nothing secret left.
pub(super) fn not_sent(why: Why) -> Judged {
    Judged {
        answer: Answer::Unavailable {
            why,
            not_sent: true,
            tls: why == Why::Tls,
        },
        detail: Detail {
            description: Some(why.to_string()),
            ..Detail::default()
        },
        no_such_path: false,
    }
}
