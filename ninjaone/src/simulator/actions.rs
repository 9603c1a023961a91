//! What can go wrong with a request.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::options::Refused;

/// When in the life of a request a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Before the request is carried out: nothing is spent.
    #[default]
    Before,
    /// After it: what it spends is spent.
    After,
}

/// What goes wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Action {
    /// Answers exactly this.
    Respond(Respond),
    /// Waits, then goes on as usual.
    Delay {
        /// How long.
        #[serde(with = "super::wire::duration")]
        time: Duration,
        /// Before carrying the request out, or between that and the answer.
        #[serde(default)]
        when: When,
    },
    /// Waits until the fault is released, then goes on as usual.
    Hold {
        /// As for `delay`.
        #[serde(default)]
        when: When,
    },
    /// Closes the connection without reading the body. Matches by target, path, nth and
    /// probability only, since the rest stands in the body.
    Close {
        /// With a TCP reset instead of an orderly end.
        #[serde(default)]
        reset: bool,
    },
    /// Closes the connection instead of answering.
    Drop {
        /// Carries the request out first: the reply is lost.
        #[serde(default = "yes")]
        rotate: bool,
        /// With a TCP reset instead of an orderly end.
        #[serde(default)]
        reset: bool,
    },
    /// Never answers.
    Hang {
        /// Carries the request out first.
        #[serde(default = "yes")]
        rotate: bool,
    },
    /// Announces the whole body, sends its beginning, closes.
    Truncate {
        /// How many bytes are sent.
        keep: usize,
    },
    /// Sends the body in pieces.
    SlowBody {
        /// Bytes in a piece.
        #[serde(default = "one")]
        piece: usize,
        /// Time before each piece.
        #[serde(with = "super::wire::duration")]
        pause: Duration,
    },
    /// Pads the answer with a member `padding` to this size.
    HugeBody {
        /// Size of the body.
        bytes: usize,
    },
    /// Sends the client elsewhere.
    Redirect {
        /// Any 3xx.
        #[serde(default = "found")]
        status: u16,
        /// The value of `Location`.
        location: String,
    },
    /// NinjaOne's way to throttle: a page in HTML.
    ThrottlePage {
        /// 200 in the wild.
        #[serde(default = "ok")]
        status: u16,
    },
    /// Says back what was sent, secrets and all.
    Echo(Echo),
    /// Carries the request out, then changes the answer.
    Edit(Edit),
}

/// A verbatim answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Respond {
    /// Its status.
    pub status: u16,
    /// Its body, byte for byte.
    pub body: String,
    /// Its headers. Without a `content-type`, the body is announced as JSON if it looks like it.
    pub headers: BTreeMap<String, String>,
    /// Carries the request out first, and throws its answer away.
    pub rotate: bool,
}

impl Default for Respond {
    fn default() -> Self {
        Self {
            status: 503,
            body: String::new(),
            headers: BTreeMap::new(),
            rotate: false,
        }
    }
}

/// An answer that repeats the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Echo {
    /// Its status.
    pub status: u16,
    /// Its error code.
    pub error: String,
    /// Where the form is repeated.
    pub place: EchoPlace,
    /// How the form is written.
    pub encoding: EchoEncoding,
}

impl Default for Echo {
    fn default() -> Self {
        Self {
            status: 400,
            error: "invalid_request".to_owned(),
            place: EchoPlace::Body,
            encoding: EchoEncoding::Raw,
        }
    }
}

/// Where an echo stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EchoPlace {
    /// In `error_description`.
    Body,
    /// In the header `x-debug`.
    Header,
    /// In the query of a redirect.
    Location,
    /// In the body and the header.
    Both,
}

/// How an echo is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EchoEncoding {
    /// `name=value` decoded, separated by spaces.
    Raw,
    /// As it was sent.
    Form,
    /// Every byte percent-encoded.
    Percent,
    /// Standard base64 of what was sent.
    Base64,
    /// Raw, but each value only by its first half.
    Half,
}

/// Changes to the answer of a request that was carried out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Edit {
    /// What the answer says about the refresh token, which then stays the current one.
    pub refresh_token: Option<RefreshToken>,
    /// Members set to raw JSON text, which need not be valid: `{"expires_in": "1e400"}`.
    pub set: BTreeMap<String, String>,
    /// Members left out. Leaving out `refresh_token` here loses the rotated one for good.
    pub remove: Vec<String>,
    /// Another status.
    pub status: Option<u16>,
    /// Other headers; an empty value leaves the header out.
    pub headers: BTreeMap<String, String>,
    /// Starts the body with a byte order mark.
    pub bom: bool,
    /// Compresses the body.
    pub gzip: bool,
}

/// Ways not to rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshToken {
    /// The member is absent.
    Omit,
    /// It is `null`.
    Null,
    /// It is `""`.
    Empty,
    /// It is the value that was sent.
    Same,
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn found() -> u16 {
    302
}

fn ok() -> u16 {
    200
}

impl Action {
    /// The word for it in JSON and in the ledger.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Respond(_) => "respond",
            Self::Delay { .. } => "delay",
            Self::Hold { .. } => "hold",
            Self::Close { .. } => "close",
            Self::Drop { .. } => "drop",
            Self::Hang { .. } => "hang",
            Self::Truncate { .. } => "truncate",
            Self::SlowBody { .. } => "slow_body",
            Self::HugeBody { .. } => "huge_body",
            Self::Redirect { .. } => "redirect",
            Self::ThrottlePage { .. } => "throttle_page",
            Self::Echo(_) => "echo",
            Self::Edit(_) => "edit",
        }
    }

    /// Whether the request is carried out, so that what it spends is spent.
    pub(super) fn carries_out(&self) -> bool {
        match self {
            Self::Respond(respond) => respond.rotate,
            Self::Drop { rotate, .. } | Self::Hang { rotate } => *rotate,
            Self::Delay { .. } | Self::Hold { .. } | Self::Edit(_) => true,
            Self::Truncate { .. } | Self::SlowBody { .. } | Self::HugeBody { .. } => true,
            Self::Close { .. } | Self::Redirect { .. } => false,
            Self::ThrottlePage { .. } | Self::Echo(_) => false,
        }
    }

    pub(super) fn check(&self, needs_body: bool) -> Result<(), Refused> {
        let status = |field, status: u16| {
            let rule = "a final HTTP status, 200 to 999";
            (200..=999)
                .contains(&status)
                .then_some(())
                .ok_or(Refused::new(field, rule))
        };
        match self {
            Self::Close { .. } if needs_body => Err(Refused::new(
                "match",
                "close happens before the body is read: chain, client_id and grant_type are not known",
            )),
            Self::Respond(respond) => {
                status("action.status", respond.status)?;
                check_headers(&respond.headers)
            }
            Self::Edit(edit) => {
                status("action.status", edit.status.unwrap_or(200))?;
                check_headers(&edit.headers)
            }
            Self::Redirect {
                status: code,
                location,
            } => {
                if !(300..=399).contains(code) {
                    return Err(Refused::new("action.status", "300 to 399"));
                }
                check_header("action.location", "location", location)
            }
            Self::ThrottlePage { status: code } => status("action.status", *code),
            Self::Echo(echo) => status("action.status", echo.status),
            Self::SlowBody { piece: 0, .. } => Err(Refused::new("action.piece", "at least 1")),
            Self::HugeBody { bytes } if *bytes > 1 << 30 => {
                Err(Refused::new("action.bytes", "at most 1073741824"))
            }
            _ => Ok(()),
        }
    }
}

fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), Refused> {
    (headers.iter()).try_for_each(|(name, value)| check_header("action.headers", name, value))
}

fn check_header(field: &str, name: &str, value: &str) -> Result<(), Refused> {
    let good = axum::http::HeaderName::try_from(name).is_ok()
        && axum::http::HeaderValue::try_from(value).is_ok();
    good.then_some(())
        .ok_or_else(|| Refused::new(field, "names and values that HTTP allows"))
}
