//! Times as people read them.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::machine::Millis;

/// Milliseconds since 1970 as RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn rfc3339(at: Millis) -> String {
    i64::try_from(at)
        .ok()
        .and_then(DateTime::<Utc>::from_timestamp_millis)
        .map_or_else(
            || at.to_string(),
            |t| t.to_rfc3339_opts(SecondsFormat::Millis, true),
        )
}
