//! Which errors mean that the store is away, and which that it refused.
//!
//! Away: no answer, or one that says "not now" (PROTOCOL 9). A caller may ask again, and does not
//! know whether the first time took effect. Refused: the answer will not change by asking again.
//! Some answers also say where to ask instead; these are followed before anybody hears of them.
//!
//! A login that is not accepted is refused to whoever comes for the first time. Of whoever was let in before it
//! is "not now": somebody changes passwords or rights, and what waits to be written must outlast that.

use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind};
use deadpool_redis::{HookError, PoolError};

use crate::store::StoreError;

/// What a server says when it cannot do now what it could do later.
const NOT_NOW: [&str; 10] = [
    "READONLY",
    "OOM",
    "MISCONF",
    "LOADING",
    "MASTERDOWN",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "UNBLOCKED",
];

/// What a server says to whom it does not let in, or not that far.
const TURNED_AWAY: [&str; 3] = ["NOAUTH", "WRONGPASS", "NOPERM"];

/// What a single node of a cluster says of keys that lie elsewhere.
const ELSEWHERE: [&str; 2] = ["MOVED", "ASK"];

/// No answer.
pub(super) fn away(doing: impl Into<String>, why: impl Into<String>) -> StoreError {
    StoreError::Away {
        doing: doing.into(),
        why: why.into(),
    }
}

/// An answer that will not change.
pub(super) fn refused(doing: impl Into<String>, why: impl Into<String>) -> StoreError {
    StoreError::Refused {
        doing: doing.into(),
        why: why.into(),
    }
}

/// Judges an error of a call.
pub(super) fn of_call(doing: impl Into<String>, error: &RedisError) -> StoreError {
    let why = error.to_string();
    let codes = codes(error);
    // A crowded server says so with its general error code.
    let crowded = why.contains("max number of clients");
    if crowded || codes.iter().any(|code| NOT_NOW.contains(&code.as_str())) {
        return away(doing, why);
    }
    if turns_away(error) {
        let why = format!(
            "the server does not let this login in, or not that far ({why}): check the user and the \
             password in its URL, and the user's ACL"
        );
        return refused(doing, why);
    }
    if codes.iter().any(|code| ELSEWHERE.contains(&code.as_str())) {
        let why = format!(
            "the server is one node of a cluster and does not hold the key ({why}): use redis+cluster://"
        );
        return refused(doing, why);
    }
    match error.kind() {
        // What cannot be parsed is no answer: the command may have run. And `READONLY` is what we say
        // ourselves of a server that turned out to be a replica.
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            away(doing, why)
        }
        _ => refused(doing, why),
    }
}

/// Why one server did not do what it was asked.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The server said so, or the connection broke.
    Said(RedisError),
    /// There was no connection, no answer in time, or no server to ask.
    Away(String),
    /// What is asked for cannot be had in this topology.
    Refused(String),
}

/// What a fault tells about the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// The slot lies at this server from now on.
    Moved(String),
    /// The slot is on its way to this server, which has the keys of this one request already.
    Ask(String),
    /// The server is no master any more. Nothing was done.
    NotMaster,
    /// Somebody else may have taken over from this server.
    Suspect,
    /// Nothing.
    Silent,
}

impl Fault {
    /// As whoever asked is told.
    pub(super) fn while_doing(&self, doing: impl Into<String>) -> StoreError {
        match self {
            Self::Said(error) => of_call(doing, error),
            Self::Away(why) => away(doing, why),
            Self::Refused(why) => refused(doing, why),
        }
    }

    /// Whether the login is not accepted, or does not reach that far.
    pub(super) fn is_about_the_login(&self) -> bool {
        matches!(self, Self::Said(error) if turns_away(error))
    }

    pub(super) fn hint(&self) -> Hint {
        let error = match self {
            Self::Said(error) => error,
            Self::Away(_) => return Hint::Suspect,
            Self::Refused(_) => return Hint::Silent,
        };
        let there = || error.redirect_node().map(|(at, _)| at.to_owned());
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => there().map_or(Hint::Suspect, Hint::Moved),
            ErrorKind::Server(ServerErrorKind::Ask) => there().map_or(Hint::Suspect, Hint::Ask),
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Hint::NotMaster,
            ErrorKind::Server(ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown)
            | ErrorKind::Io
            | ErrorKind::Parse => Hint::Suspect,
            _ => Hint::Silent,
        }
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        Self::Said(error)
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::Said(error)
            }
            PoolError::Timeout(step) => Self::Away(format!("no connection in time ({step:?})")),
            other => Self::Away(other.to_string()),
        }
    }
}

fn turns_away(error: &RedisError) -> bool {
    let turned_away = |code: &String| TURNED_AWAY.contains(&code.as_str());
    error.kind() == ErrorKind::AuthenticationFailed || codes(error).iter().any(turned_away)
}

/// The first words of what the server said; a pipeline may have failed in several places.
fn codes(error: &RedisError) -> Vec<String> {
    let errors = error.clone().into_server_errors();
    let errors = errors.iter().flat_map(|errors| errors.iter());
    errors.map(|(_, error)| error.code().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::{Value, parse_redis_value};

    use super::*;

    fn said(reply: &str) -> StoreError {
        let value: Value = parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
        of_call("testing", &value.extract_error().unwrap_err())
    }

    #[test]
    fn not_now_is_away_and_no_is_refused() {
        for code in NOT_NOW {
            let error = said(&format!(
                "{code} something. script: 12ab, on @user_script:9."
            ));
            assert!(matches!(error, StoreError::Away { .. }), "{code}");
        }
        for code in ["ERR", "WRONGTYPE", "NOPERM", "NOAUTH", "WRONGPASS", "MOVED"] {
            let error = said(&format!("{code} 12 127.0.0.1:7001"));
            assert!(matches!(error, StoreError::Refused { .. }), "{code}");
        }
    }

    #[test]
    fn some_answers_say_where_to_ask_instead() {
        let hint = |reply: &str| {
            let value: Value = parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
            Fault::from(value.extract_error().unwrap_err()).hint()
        };
        let there = "10.0.0.7:7001".to_owned();
        assert_eq!(hint("MOVED 12 10.0.0.7:7001"), Hint::Moved(there.clone()));
        assert_eq!(hint("ASK 12 10.0.0.7:7001"), Hint::Ask(there));
        assert_eq!(
            hint("READONLY no. script: 12ab, on @user_script:9."),
            Hint::NotMaster
        );
        assert_eq!(hint("CLUSTERDOWN Hash slot not served"), Hint::Suspect);
        assert_eq!(
            hint("TRYAGAIN Multiple keys request during rehashing"),
            Hint::Silent
        );
        assert_eq!(hint("OOM no"), Hint::Silent);
        assert_eq!(Fault::Away("silence".to_owned()).hint(), Hint::Suspect);
    }

    #[test]
    fn a_login_that_is_not_accepted_is_known_as_that() {
        let fault = |code: &str| {
            let value: Value = parse_redis_value(format!("-{code} user\r\n").as_bytes()).unwrap();
            Fault::from(value.extract_error().unwrap_err())
        };
        for code in TURNED_AWAY {
            assert!(fault(code).is_about_the_login(), "{code}");
        }
        assert!(!fault("WRONGTYPE").is_about_the_login());
        let failed = (
            ErrorKind::AuthenticationFailed,
            "Password authentication failed",
        );
        assert!(Fault::from(RedisError::from(failed)).is_about_the_login());
    }

    #[test]
    fn a_broken_connection_is_away() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let error = of_call("testing", &RedisError::from(broken));
        assert!(matches!(error, StoreError::Away { .. }));
    }
}
