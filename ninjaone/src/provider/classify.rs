//! An answer, judged by the table in `table.rs`, and what may be shown of it.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, LOCATION};
use secrecy::ExposeSecret;
use url::Url;

use super::answer::{Answer, Detail};
use super::body::{Body, decode, salvage};
use super::clean::Mask;
use super::granted::Granted;
use super::request::{ClientApp, TokenRequest};
use super::table::{self, Means, Shown, Sign, TABLE};
use super::throttle::{self, DEFAULT_PAUSE};
use super::words::{Attention, Why};

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
    let whole_success = head.is_success() && broken.is_none();
    let granted = match whole_success {
        true => Granted::read(&body, request, &mask),
        false => None,
    };
    let code = body.code();
    let place = table::place(&Shown {
        status: head.status,
        cut: broken.is_some(),
        tokens: granted.is_some(),
        code: code.as_deref(),
        telling: code.as_deref().is_some_and(|code| is_telling(code, head)),
        page: throttle::is_throttle_page(&head.headers, &text),
    });
    let row = &TABLE[place];
    let by_code = matches!(row.sign, Sign::Code(_));
    let refusal = if by_code { Why::Code } else { Why::Status };
    let doubt = match broken {
        Some(why) => why,
        None if head.is_success() => Why::MalformedSuccess,
        None => Why::Status,
    };
    let answer = match (row.means, granted) {
        (Means::Granted, Some(granted)) => Answer::Granted(granted),
        (Means::Dead(reason), _) => Answer::Rejected { reason },
        (Means::Config(attention), _) => Answer::Misconfigured { attention },
        (Means::NoSuchPath, _) => Answer::Misconfigured {
            attention: Attention::WrongEndpoint,
        },
        (Means::Busy, _) => busy(head, refusal),
        (Means::Throttled, _) => throttled(head),
        (Means::Unclassified, _) => Answer::Unclassified,
        (Means::Ambiguous | Means::Granted, _) => ambiguous(&text, doubt, request),
    };
    if row.means == Means::Config(Attention::UnexpectedRedirect) {
        detail.description = Some(mask.own_only(&redirect_target(head)));
    }
    if detail.description.is_none()
        && let Answer::Unknown { why, .. } = answer
    {
        detail.description = Some(why.to_string());
    }
    Judged {
        answer,
        detail,
        no_such_path: row.means == Means::NoSuchPath,
    }
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
