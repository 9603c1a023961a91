//! Which answer of the token endpoint means what: one table, read from the top; the first row whose
//! sign an answer shows is what it means.
//!
//! The order is the policy. A transfer that broke is ambiguous whatever its status line promised, except
//! where no body could change the meaning. In a success tokens come before everything. A known code
//! comes before the status, since servers use wrong statuses: 403 with `invalid_grant`, 200 with
//! `bad_refresh_token`, 401 for a database that was away. The status speaks where no code is known.
//!
//! Two things never get as far as an answer (`exchange.rs`): what did not leave is surely not sent, and
//! what left and was met with silence is ambiguous.

use std::ops::RangeInclusive;

use super::words::Attention::{self, ClientRejected, ClientUnknown, UnexpectedRedirect};
use super::words::Reason::{self, ConsentRequired, Expired, ReuseDetected, Revoked};
use Means::{Ambiguous, Busy, Config, Dead, Granted, NoSuchPath, Throttled, Unclassified};
use Sign::{Code, Cut, OtherCode, Page, Status, Tokens};

type Statuses = &'static [RangeInclusive<u16>];

/// By what an answer is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sign {
    /// The body did not come whole, or not in time.
    Cut(Statuses),
    /// A success that holds what a success is for.
    Tokens,
    /// This error code, whatever the status. Compared as a whole and without regard to case.
    Code(&'static str),
    /// An error code that no row names and that says more than the status does.
    OtherCode(Statuses),
    /// An HTML page that says "slow down".
    Page(Statuses),
    /// The status alone.
    Status(Statuses),
}

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// Tokens came.
    Granted,
    /// The grant is dead, unless the store knows better.
    Dead(Reason),
    /// Somebody has to put something right; reconnecting would not help.
    Config(Attention),
    /// Nothing lives at this path; the other one is worth a try.
    NoSuchPath,
    /// Not now; nothing was spent. A 503 that names a time is throttling.
    Busy,
    /// The host wants to be left alone; nothing was spent.
    Throttled,
    /// The request may have been processed behind it.
    Ambiguous,
    /// A rejection that no rule knows: retried, never by itself a reason to reconnect.
    Unclassified,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) sign: Sign,
    pub(super) means: Means,
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) status: u16,
    pub(super) cut: bool,
    pub(super) tokens: bool,
    pub(super) code: Option<&'a str>,
    /// The code, known or not, says more than the status does.
    pub(super) telling: bool,
    pub(super) page: bool,
}

const ANY: Statuses = &[0..=u16::MAX];
const SUCCESS: Statuses = &[200..=299];
const REDIRECT: Statuses = &[301..=303, 307..=308];
const NO_SUCH_PATH: Statuses = &[404..=405, 410..=410, 421..=421];

const fn row(sign: Sign, means: Means) -> Row {
    Row { sign, means }
}

/// The whole classification.
#[rustfmt::skip]
pub(super) const TABLE: [Row; 37] = [
    // The rest of the body could not have changed these.
    row(Cut(REDIRECT),                        Config(UnexpectedRedirect)),
    row(Cut(&[429..=429]),                    Throttled),
    row(Cut(&[503..=503]),                    Busy),
    row(Cut(ANY),                             Ambiguous),

    row(Tokens,                               Granted),

    // NinjaOne's word for a dead refresh token; in RFC 6750 it is a resource server's.
    row(Code("invalid_token"),                Dead(Revoked)),
    // RFC 6749 section 5.2. The machine asks first whether the app was changed under the grant.
    row(Code("invalid_grant"),                Dead(Revoked)),
    // NinjaOne's; in RFC 8628 it speaks of device codes.
    row(Code("expired_token"),                Dead(Expired)),
    // A person must act.
    row(Code("access_denied"),                Dead(ConsentRequired)),
    row(Code("interaction_required"),         Dead(ConsentRequired)),
    row(Code("consent_required"),             Dead(ConsentRequired)),
    row(Code("login_required"),               Dead(ConsentRequired)),
    // Words of other servers, which proxies are known to use.
    row(Code("bad_refresh_token"),            Dead(Revoked)),
    row(Code("invalid_refresh_token"),        Dead(Revoked)),
    row(Code("refresh_token_not_found"),      Dead(Revoked)),
    row(Code("refresh_token_reused"),         Dead(ReuseDetected)),
    // Reconnecting does not help.
    row(Code("invalid_client"),               Config(ClientRejected)),
    row(Code("unauthorized_client"),          Config(ClientRejected)),
    row(Code("unsupported_grant_type"),       Config(ClientRejected)),
    row(Code("invalid_scope"),                Config(ClientRejected)),
    // Wrong region, client id or kind of app: NinjaOne says it with a 404, and the path is right.
    row(Code("Client app not exist"),         Config(ClientUnknown)),
    row(Code("temporarily_unavailable"),      Busy),
    row(Code("server_error"),                 Busy),
    row(Code("internal_failure"),             Busy),
    row(Code("slow_down"),                    Throttled),
    row(Code("rate_limit_exceeded"),          Throttled),
    row(Code("too_many_requests"),            Throttled),

    // An error, though not one that anybody knows: so no success that was eaten on its way.
    row(OtherCode(SUCCESS),                   Unclassified),
    // NinjaOne's way to throttle. With a 401 or 403 such a page is a firewall's.
    row(Page(&[200..=299, 503..=503]),        Throttled),
    row(Status(REDIRECT),                     Config(UnexpectedRedirect)),
    // Something lives at this path.
    row(OtherCode(NO_SUCH_PATH),              Unclassified),
    row(Status(NO_SUCH_PATH),                 NoSuchPath),
    row(Status(&[408..=409, 423..=423, 425..=425, 503..=503]), Busy),
    row(Status(&[429..=429]),                 Throttled),
    // Malformed: a proxy may have eaten a success.
    row(Status(SUCCESS),                      Ambiguous),
    // 400, 401, 403, 406, 412, 415, 422, 451 …: HTML, empty or a firewall's.
    row(Status(&[300..=499]),                 Unclassified),
    // A token was consumed behind a 500 before, and a gateway's timeout says nothing of what is behind.
    row(Status(ANY),                          Ambiguous),
];

/// The place of the row that an answer shows.
pub(super) fn place(shown: &Shown<'_>) -> usize {
    let found = TABLE.iter().position(|row| row.sign.holds(shown));
    // The last row holds for every answer.
    found.unwrap_or(TABLE.len() - 1)
}

impl Sign {
    pub(super) fn holds(&self, shown: &Shown<'_>) -> bool {
        let among = |statuses: Statuses| statuses.iter().any(|some| some.contains(&shown.status));
        let is = |word: &str| {
            shown
                .code
                .is_some_and(|code| code.eq_ignore_ascii_case(word))
        };
        match self {
            Cut(statuses) => shown.cut && among(statuses),
            Tokens => shown.tokens,
            Code(word) => is(word),
            OtherCode(statuses) => shown.telling && among(statuses),
            Page(statuses) => shown.page && among(statuses),
            Status(statuses) => among(statuses),
        }
    }
}
