//! Which errors mean that the store is away, and which that it refused.
//!
//! Away: no answer, or one that says "not now" (PROTOCOL 9). A caller may ask again, and does not
//! know whether the first time took effect. Refused: the answer will not change by asking again.

use deadpool_redis::PoolError;
use deadpool_redis::redis::{ErrorKind, RedisError};

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
    if codes.iter().any(|code| ELSEWHERE.contains(&code.as_str())) {
        let why = format!("this server is one node of a cluster and does not hold the key ({why})");
        return refused(doing, why);
    }
    match error.kind() {
        // What cannot be parsed is no answer: the command may have run.
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound => away(doing, why),
        _ => refused(doing, why),
    }
}

/// Judges an error of getting a connection.
pub(super) fn of_pool(doing: impl Into<String>, error: PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => of_call(doing, &error),
        PoolError::Timeout(step) => away(doing, format!("no connection in time ({step:?})")),
        other => away(doing, other.to_string()),
    }
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
    fn a_broken_connection_is_away() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let error = of_call("testing", &RedisError::from(broken));
        assert!(matches!(error, StoreError::Away { .. }));
    }
}
