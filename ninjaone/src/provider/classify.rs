//! Which reply means what. The two tables are [`CODES`] and [`of_status`]; everything else is the
//! order in which they are asked.
//!
//! 1. A transfer that broke is ambiguous, whatever its status line promised, except where no body
//!    could change the meaning.
//! 2. In a success, tokens come before everything.
//! 3. A known error code comes before the status: servers use wrong statuses.
//! 4. The status speaks where no code is known. An unknown code beside it adds one thing only: on a
//!    404 it proves that something lives at this path.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, LOCATION};
use secrecy::ExposeSecret;
use url::Url;

use super::answer::{Answer, Detail};
use super::body::{Body, decode, salvage};
use super::clean::Mask;
use super::granted::Granted;
use super::request::{ClientApp, TokenRequest};
use super::throttle::{self, DEFAULT_PAUSE};
use super::words::{Attention, Reason, Why};

/// What an error code means, whatever the status beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    /// The grant is dead.
    Dead(Reason),
    /// Somebody has to put something right.
    Config(Attention),
    /// Not now; nothing was spent.
    Busy,
    /// Not so fast; nothing was spent.
    TooFast,
}

/// The known codes, compared without regard to case. Those of RFC 6749 section 5.2 are joined by
/// NinjaOne's own and by words that proxies and other servers are known to use.
#[rustfmt::skip]
const CODES: [(&str, Code); 22] = [
    // NinjaOne's word for a dead refresh token; in RFC 6750 it is a resource server's.
    ("invalid_token",            Code::Dead(Reason::Revoked)),
    ("invalid_grant",            Code::Dead(Reason::Revoked)),
    ("bad_refresh_token",        Code::Dead(Reason::Revoked)),
    ("invalid_refresh_token",    Code::Dead(Reason::Revoked)),
    ("refresh_token_not_found",  Code::Dead(Reason::Revoked)),
    ("refresh_token_reused",     Code::Dead(Reason::ReuseDetected)),
    // NinjaOne's; in RFC 8628 it speaks of device codes.
    ("expired_token",            Code::Dead(Reason::Expired)),
    ("access_denied",            Code::Dead(Reason::ConsentRequired)),
    ("interaction_required",     Code::Dead(Reason::ConsentRequired)),
    ("consent_required",         Code::Dead(Reason::ConsentRequired)),
    ("login_required",           Code::Dead(Reason::ConsentRequired)),
    // Wrong region, wrong client id or wrong kind of app: NinjaOne says it with a 404.
    ("Client app not exist",     Code::Config(Attention::ClientUnknown)),
    ("invalid_client",           Code::Config(Attention::ClientRejected)),
    ("unauthorized_client",      Code::Config(Attention::ClientRejected)),
    ("unsupported_grant_type",   Code::Config(Attention::ClientRejected)),
    ("invalid_scope",            Code::Config(Attention::ClientRejected)),
    ("temporarily_unavailable",  Code::Busy),
    ("server_error",             Code::Busy),
    ("internal_failure",         Code::Busy),
    ("slow_down",                Code::TooFast),
    ("rate_limit_exceeded",      Code::TooFast),
    ("too_many_requests",        Code::TooFast),
];

/// What a status means where no known code stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Redirect,
    NoSuchPath,
    Busy,
    Throttled,
    /// 503: throttled if it names a time, else busy.
    BusyOrThrottled,
    /// The request may have been processed behind it.
    Ambiguous,
    Unclassified,
}

#[rustfmt::skip]
fn of_status(status: u16) -> Status {
    match status {
        301 | 302 | 303 | 307 | 308 => Status::Redirect,
        404 | 405 | 410 | 421       => Status::NoSuchPath,
        408 | 409 | 423 | 425       => Status::Busy,
        429                         => Status::Throttled,
        503                         => Status::BusyOrThrottled,
        // A token was consumed behind a 500 before, and a gateway timeout says nothing of the
        // server behind it. A 2xx comes here when it held neither tokens nor a code.
        0..=299 | 500..             => Status::Ambiguous,
        300..=499                   => Status::Unclassified,
    }
}

/// The beginning of a reply.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// When it arrived, by our wall clock.
    pub(super) at: SystemTime,
}

impl Head {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What a reply means, and what may be shown of it.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) answer: Answer,
    pub(super) detail: Detail,
    /// Nothing lives at this path: the other one is worth a try.
    pub(super) no_such_path: bool,
}

/// Judges a reply; `broken` says why its body is not whole, if it is not.
pub(super) fn classify(
    head: &Head,
    bytes: &[u8],
    broken: Option<Why>,
    app: &ClientApp,
    request: &TokenRequest,
) -> Judged {
    let text = decode(bytes);
    let body = Body::read(&text);
    let mut mask = Mask::new(request.secrets(app));
    let issued = [body.token("access_token"), body.token("refresh_token")];
    for token in issued.iter().flatten() {
        mask.add(token);
    }
    let mut detail = Detail {
        status: Some(head.status),
        code: body.code().and_then(|code| mask.code(&code)),
        description: body.description().and_then(|text| mask.description(&text)),
        incident_id: body.text("incidentId").and_then(|id| mask.id(&id)),
        request_id: header(head, "x-nj-request-id").and_then(|id| mask.id(id)),
    };
    let verdict = match broken {
        Some(why) => broken_off(head, &text, why, request),
        None => whole(head, &body, request, &mask),
    };
    if let Status::Redirect = of_status(head.status) {
        detail.description = Some(mask.own_only(&redirect_target(head)));
    }
    if detail.description.is_none()
        && let Answer::Unknown { why, .. } = verdict.answer
    {
        detail.description = Some(why.to_string());
    }
    Judged { detail, ..verdict }
}

/// A reply without a head: the exchange ended, or the deadline passed, after the request had left.
pub(super) fn no_head(why: Why) -> Judged {
    Judged {
        answer: Answer::Unknown {
            why,
            salvaged: None,
        },
        detail: Detail {
            description: Some(why.to_string()),
            ..Detail::default()
        },
        no_such_path: false,
    }
}

fn broken_off(head: &Head, text: &str, why: Why, request: &TokenRequest) -> Judged {
    match of_status(head.status) {
        // The rest of the body could not have changed these.
        Status::Redirect => Answer::Misconfigured {
            attention: Attention::UnexpectedRedirect,
        }
        .into(),
        Status::Throttled => throttled(head).into(),
        Status::BusyOrThrottled => busy(head, Why::Status).into(),
        _ => ambiguous(text, why, request).into(),
    }
}

fn whole(head: &Head, body: &Body<'_>, request: &TokenRequest, mask: &Mask) -> Judged {
    if head.is_success()
        && let Some(granted) = Granted::read(body, request, mask)
    {
        return Answer::Granted(granted).into();
    }
    let code = body.code();
    if let Some(known) = code.as_deref().and_then(of_code) {
        return match known {
            Code::Dead(reason) => Answer::Rejected { reason },
            Code::Config(attention) => Answer::Misconfigured { attention },
            Code::TooFast => throttled(head),
            Code::Busy => busy(head, Why::Code),
        }
        .into();
    }
    let telling = code.as_deref().is_some_and(|code| is_telling(code, head));
    if head.is_success() && telling {
        return Answer::Unclassified.into();
    }
    let may_be_page = head.is_success() || head.status == 503;
    if may_be_page && throttle::is_throttle_page(&head.headers, body.whole()) {
        return throttled(head).into();
    }
    match of_status(head.status) {
        Status::Redirect => Answer::Misconfigured {
            attention: Attention::UnexpectedRedirect,
        }
        .into(),
        Status::NoSuchPath if telling => Answer::Unclassified.into(),
        Status::NoSuchPath => Judged {
            no_such_path: true,
            ..Answer::Misconfigured {
                attention: Attention::WrongEndpoint,
            }
            .into()
        },
        Status::Busy => busy(head, Why::Status).into(),
        Status::Throttled => throttled(head).into(),
        Status::BusyOrThrottled => busy(head, Why::Status).into(),
        Status::Ambiguous if head.is_success() => {
            ambiguous(body.whole(), Why::MalformedSuccess, request).into()
        }
        Status::Ambiguous => ambiguous(body.whole(), Why::Status, request).into(),
        Status::Unclassified => Answer::Unclassified.into(),
    }
}

/// A judgement whose detail is filled in by [`classify`].
impl From<Answer> for Judged {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            detail: Detail::default(),
            no_such_path: false,
        }
    }
}

fn of_code(code: &str) -> Option<Code> {
    CODES
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(code))
        .map(|(_, meaning)| *meaning)
}

/// Whether an unknown code says more than the status does. NinjaOne's `FAILURE` with a 404 and the
/// reason phrase that many frameworks put into `error` do not.
fn is_telling(code: &str, head: &Head) -> bool {
    let phrase = reqwest::StatusCode::from_u16(head.status)
        .ok()
        .and_then(|status| status.canonical_reason());
    let is = |word: &str| code.eq_ignore_ascii_case(word);
    !(is("FAILURE") && !head.is_success() || phrase.is_some_and(is) || is(&head.status.to_string()))
}

fn throttled(head: &Head) -> Answer {
    let asked = throttle::retry_after(&head.headers, head.at);
    Answer::Throttled {
        pause: asked.unwrap_or(DEFAULT_PAUSE),
        asked: asked.is_some(),
    }
}

fn busy(head: &Head, why: Why) -> Answer {
    let named: Option<Duration> = throttle::retry_after(&head.headers, head.at);
    if head.status == 429 || (head.status == 503 && named.is_some()) {
        return throttled(head);
    }
    Answer::Unavailable {
        why,
        not_sent: false,
        tls: false,
    }
}

fn ambiguous(text: &str, why: Why, request: &TokenRequest) -> Answer {
    let sent = request.spends().map(ExposeSecret::expose_secret);
    let rotates = !matches!(request, TokenRequest::ClientCredentials { .. });
    Answer::Unknown {
        why,
        salvaged: salvage(text).filter(|token| rotates && Some(token.expose_secret()) != sent),
    }
}

fn header<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    head.headers.get(name)?.to_str().ok()
}

/// Where a redirect points: scheme and host only, since the rest may carry what we sent.
fn redirect_target(head: &Head) -> String {
    let location = head.headers.get(LOCATION).map(|value| value.to_str());
    match location {
        None => "redirect without a target".to_owned(),
        Some(Ok(text)) if text.starts_with('/') && !text.starts_with("//") => {
            "redirect to another path of the same host".to_owned()
        }
        Some(text) => match text.ok().and_then(|text| Url::parse(text).ok()) {
            Some(url) => format!(
                "redirect to {}://{}",
                url.scheme(),
                url.host_str().unwrap_or_default()
            ),
            None => "redirect to a target that is no URL".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
