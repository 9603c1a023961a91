//! Scripted faults: which request goes wrong, how, and how often. What a fault does to an answer is
//! in delivery.rs.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::options::Refused;
use super::wire::Name;

/// One scripted fault. Faults are tried in the order in which they were scripted; the first that
/// matches a request is applied to it, and only that one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The requests it applies to; without conditions, all token requests.
    #[serde(default, rename = "match")]
    pub matching: Match,
    /// What goes wrong.
    pub action: Action,
    /// How often it applies before it is gone; `null` for ever.
    #[serde(default = "once")]
    pub times: Option<u64>,
}

fn once() -> Option<u64> {
    Some(1)
}

/// Which requests a fault applies to: those that meet every condition given.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// The endpoint.
    pub target: Target,
    /// The exact path, without query.
    pub path: Option<String>,
    /// The chain of the refresh token or access token presented.
    pub chain: Option<String>,
    /// The client id named, or that of the access token's grant.
    pub client_id: Option<String>,
    /// `authorization_code`, `refresh_token` or `client_credentials`.
    pub grant_type: Option<String>,
    /// Lets the first `nth - 1` otherwise matching requests pass.
    pub nth: Option<u64>,
    /// Applies to this share of the otherwise matching requests, by the simulator's seed.
    pub probability: Option<f64>,
}

/// The endpoints that faults can be scripted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Both token paths.
    #[default]
    Token,
    /// Both authorize paths.
    Authorize,
    /// Everything under `/v2`.
    Api,
    /// The whole host.
    Any,
}

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

impl Fault {
    /// On the next token request.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self {
            matching: Match::default(),
            action,
            times: once(),
        }
    }

    /// A verbatim answer to the next token request, which is not carried out.
    #[must_use]
    pub fn respond(status: u16, body: &str) -> Self {
        Self::new(Action::Respond(Respond {
            status,
            body: body.to_owned(),
            ..Respond::default()
        }))
    }

    /// Applies this often.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    /// Applies until the faults are cleared.
    #[must_use]
    pub fn always(self) -> Self {
        Self {
            times: None,
            ..self
        }
    }

    /// Applies to requests of one chain.
    #[must_use]
    pub fn on_chain(mut self, chain: &str) -> Self {
        self.matching.chain = Some(chain.to_owned());
        self
    }

    /// Applies to requests of one client app.
    #[must_use]
    pub fn on_client(mut self, client_id: &str) -> Self {
        self.matching.client_id = Some(client_id.to_owned());
        self
    }

    /// Applies to another endpoint.
    #[must_use]
    pub fn on(mut self, target: Target) -> Self {
        self.matching.target = target;
        self
    }

    /// Lets the requests before the nth pass.
    #[must_use]
    pub fn from_nth(mut self, nth: u64) -> Self {
        self.matching.nth = Some(nth);
        self
    }

    /// Checks what the types cannot.
    pub(super) fn check(&self) -> Result<(), Refused> {
        let on = &self.matching;
        if self.times == Some(0) {
            return Err(Refused::new("times", "at least 1, or null for ever"));
        }
        if on.nth == Some(0) {
            return Err(Refused::new("match.nth", "counts from 1"));
        }
        if on.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(Refused::new("match.probability", "from 0 to 1"));
        }
        let needs_body = on.chain.is_some() || on.client_id.is_some() || on.grant_type.is_some();
        self.action.check(needs_body)
    }
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

    fn check(&self, needs_body: bool) -> Result<(), Refused> {
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

/// What is known of a request when a fault is looked for.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub target: Target,
    pub path: String,
    pub chain: Option<Name>,
    pub client_id: Option<String>,
    pub grant_type: Option<String>,
}

impl Subject {
    pub(super) fn unread(target: Target, path: &str) -> Self {
        Self {
            target,
            path: path.to_owned(),
            chain: None,
            client_id: None,
            grant_type: None,
        }
    }
}

impl Match {
    fn meets(&self, subject: &Subject) -> bool {
        let meets = |condition: &Option<String>, fact: Option<&str>| {
            condition
                .as_deref()
                .is_none_or(|wanted| fact == Some(wanted))
        };
        (self.target == Target::Any || self.target == subject.target)
            && meets(&self.path, Some(&subject.path))
            && meets(&self.chain, subject.chain.as_ref().map(Name::as_str))
            && meets(&self.client_id, subject.client_id.as_deref())
            && meets(&self.grant_type, subject.grant_type.as_deref())
    }
}

/// A fault as it is listed.
#[derive(Debug, Clone, Serialize)]
pub struct Queued {
    /// Its number, for releasing it.
    pub id: u64,
    /// What was scripted; `times` is what was scripted, too.
    #[serde(flatten)]
    pub fault: Fault,
    /// Requests that matched but for `nth` and `probability`.
    pub seen: u64,
    /// Requests it was applied to; when they are as many as `times`, it is used up.
    pub applied: u64,
}

impl Queued {
    fn used_up(&self) -> bool {
        self.fault.times.is_some_and(|times| self.applied >= times)
    }
}

/// Used-up faults stay listed, so that one can see that they struck; this many of them.
const USED_UP_KEPT: usize = 1000;

/// A fault that was taken for one request.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub action: Action,
    pub released: CancellationToken,
}

pub(super) struct Faults {
    queue: VecDeque<Queued>,
    /// What the requests that a hold keeps are waiting for.
    held: HashMap<u64, CancellationToken>,
    next_id: u64,
    dice: u64,
}

impl Faults {
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self {
            queue: VecDeque::new(),
            held: HashMap::new(),
            next_id: 1,
            dice: seed.unwrap_or_else(rand::random),
        }
    }

    pub(super) fn script(&mut self, fault: Fault) -> Result<u64, Refused> {
        fault.check()?;
        let id = self.next_id;
        self.next_id += 1;
        if matches!(fault.action, Action::Hold { .. }) {
            self.held.insert(id, CancellationToken::new());
        }
        if self.queue.iter().filter(|queued| queued.used_up()).count() >= USED_UP_KEPT {
            self.forget_used_up();
        }
        self.queue.push_back(Queued {
            id,
            fault,
            seen: 0,
            applied: 0,
        });
        Ok(id)
    }

    /// A hold stays releasable, since requests may still be waiting on it.
    fn forget_used_up(&mut self) {
        self.queue.retain(|queued| {
            !queued.used_up() || matches!(queued.fault.action, Action::Hold { .. })
        });
    }

    pub(super) fn applied(&self, id: u64) -> Option<u64> {
        let queued = self.queue.iter().find(|queued| queued.id == id);
        queued.map(|queued| queued.applied)
    }

    pub(super) fn list(&self) -> Vec<Queued> {
        self.queue.iter().cloned().collect()
    }

    /// Lets the requests that a hold keeps go on, and those it would have kept.
    pub(super) fn release(&mut self, id: u64) -> bool {
        let held = self.held.get(&id);
        held.inspect(|held| held.cancel()).is_some()
    }

    /// Forgets all faults and releases what they hold.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        for (_, held) in self.held.drain() {
            held.cancel();
        }
    }

    /// The fault for a request of which only the head has been read.
    pub(super) fn take_unread(&mut self, subject: &Subject) -> Option<Taken> {
        self.take_where(subject, |action| matches!(action, Action::Close { .. }))
    }

    /// The fault for a request that has been read.
    pub(super) fn take(&mut self, subject: &Subject) -> Option<Taken> {
        self.take_where(subject, |action| !matches!(action, Action::Close { .. }))
    }

    fn take_where(&mut self, subject: &Subject, stage: impl Fn(&Action) -> bool) -> Option<Taken> {
        for queued in self.queue.iter_mut().filter(|queued| !queued.used_up()) {
            let on = &queued.fault.matching;
            if !stage(&queued.fault.action) || !on.meets(subject) {
                continue;
            }
            queued.seen += 1;
            let reached = on.nth.is_none_or(|nth| queued.seen >= nth);
            if reached
                && on
                    .probability
                    .is_none_or(|share| roll(&mut self.dice) < share)
            {
                queued.applied += 1;
                return Some(Taken {
                    action: queued.fault.action.clone(),
                    released: self.held.get(&queued.id).cloned().unwrap_or_default(),
                });
            }
        }
        None
    }
}

/// SplitMix64, from 0 to 1: small, seeded, good enough for dice.
fn roll(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
