//! One HTTP exchange, watched so closely that at any moment it is known whether the request left and
//! what had come back.
//!
//! The form is handed to the HTTP library as a stream that can be read once. That makes two things
//! certain: no layer below can send it twice, and as long as nobody asked for it, nothing secret has
//! left. The question is put to the [`Watch`], which answers no once the deadline has passed or the
//! caller took back its permission; after that answer, "not sent" is a fact and not a guess.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::answer::{Answer, Detail};
use super::classify::{Head, Judged, classify, no_head};
use super::request::{ClientApp, TokenPath, TokenRequest};
use super::resolver::AddressRefused;
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
    /// When the form was released, in milliseconds since 1970.
    pub(super) sent_at_ms: Option<u64>,
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
                sent_at_ms: None,
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
        seen.sent_at_ms = None;
        seen.head = None;
        seen.bytes = Zeroizing::default();
        true
    }

    /// Whether the form may leave now. From a yes on, it counts as sent.
    fn release(&self) -> bool {
        let allowed =
            Instant::now() < self.deadline && self.may_send.as_ref().is_none_or(|may| may());
        let mut seen = self.seen();
        if seen.shut || !allowed {
            seen.withheld = true;
            return false;
        }
        seen.sent_at_ms = Some(wall_ms());
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
        if self.sent_at_ms.is_none() {
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
    http: &reqwest::Client,
    url: &str,
    app: &ClientApp,
    request: &TokenRequest,
    watch: &Arc<Watch>,
) -> Judged {
    let form = request.form(app);
    let sending = http
        .post(url)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(CONTENT_LENGTH, form.expose_secret().len())
        .header(CONNECTION, "close")
        .body(once(form, Arc::clone(watch)))
        .send();
    let mut response = match sending.await {
        Ok(response) => response,
        Err(error) => return watch.seen().judge(why_of(&error), app, request),
    };
    let head = Head {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        at: SystemTime::now(),
    };
    watch.seen().head = Some(head.clone());
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let mut seen = watch.seen();
                let room = MAX_BODY - seen.bytes.len();
                seen.bytes
                    .extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return seen.judge(Why::BodyTooLong, app, request);
                }
            }
            Ok(None) => {
                let seen = watch.seen();
                return classify(&head, &seen.bytes, None, app, request);
            }
            Err(_) => return watch.seen().judge(Why::BodyCut, app, request),
        }
    }
}

/// The form as a body that can be read once, and only with the watch's permission.
fn once(form: SecretString, watch: Arc<Watch>) -> reqwest::Body {
    reqwest::Body::wrap_stream(futures::stream::once(async move {
        if watch.release() {
            Ok(form.expose_secret().as_bytes().to_vec())
        } else {
            Err(io::Error::other("the form is withheld"))
        }
    }))
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

/// Milliseconds since 1970 by our own clock.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
