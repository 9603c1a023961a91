//! Times as people say them: `in 38 min`, `3 h ago`.

use chrono::{DateTime, TimeDelta, Utc};

/// A moment relative to now; a text that is no time comes back as it is.
#[must_use]
pub(crate) fn relative(at: &str, now: DateTime<Utc>) -> String {
    match DateTime::parse_from_rfc3339(at) {
        Ok(at) => {
            let span = at.with_timezone(&Utc) - now;
            match (span, rough(span.abs())) {
                (_, None) => "now".to_owned(),
                (span, Some(text)) if span > TimeDelta::zero() => format!("in {text}"),
                (_, Some(text)) => format!("{text} ago"),
            }
        }
        Err(_) => at.to_owned(),
    }
}

/// Relative and exact.
#[must_use]
pub(crate) fn both(at: &str, now: DateTime<Utc>) -> String {
    format!("{} ({})", relative(at, now), exact(at))
}

/// In UTC, to the second.
#[must_use]
pub(crate) fn exact(at: &str) -> String {
    DateTime::parse_from_rfc3339(at).map_or_else(
        |_| at.to_owned(),
        |at| {
            at.with_timezone(&Utc)
                .format("%Y-%m-%d %H:%M:%S UTC")
                .to_string()
        },
    )
}

/// `None` for less than a second.
fn rough(span: TimeDelta) -> Option<String> {
    let seconds = span.num_seconds();
    Some(match seconds {
        i64::MIN..1 => return None,
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_the_unit_that_people_would_choose() {
        let now: DateTime<Utc> = "2026-03-26T12:00:00Z".parse().unwrap();
        for (at, told) in [
            ("2026-03-26T12:00:00.900Z", "now"),
            ("2026-03-26T12:00:12Z", "in 12 s"),
            ("2026-03-26T12:38:59Z", "in 38 min"),
            ("2026-03-26T14:00:00+01:00", "in 60 min"),
            ("2026-03-26T09:00:00Z", "3 h ago"),
            ("2026-03-20T12:00:00Z", "6 days ago"),
            ("soon", "soon"),
        ] {
            assert_eq!(relative(at, now), told);
        }
        let both = both("2026-03-26T12:38:59.123Z", now);
        assert_eq!(both, "in 38 min (2026-03-26 12:38:59 UTC)");
    }
}
