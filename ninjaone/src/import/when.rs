//! Times as others write them: epoch numbers in either unit, RFC 3339, and naive local time.

use chrono::{DateTime, Datelike, NaiveDateTime, TimeZone};
use serde_json::Value;

use super::candidate::ExpiresAt;

/// Below this an epoch number counts seconds: as milliseconds it would lie in 1973.
const SECONDS_BELOW: i64 = 100_000_000_000;

/// The last millisecond of the year 9999. Microseconds and nonsense lie beyond it.
const LAST_MS: i64 = 253_402_300_799_999;

const IN_SECONDS: &str = "expires_at is in seconds, not milliseconds: read as seconds";
const NOT_A_TIME: &str = "expires_at is not a usable time: will be refreshed at once";

/// A time as read, and what is odd about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) at: ExpiresAt,
    pub(crate) warning: Option<&'static str>,
}

impl Reading {
    /// Not said. That is no oddity: the writers of both formats leave it out.
    const ABSENT: Self = Self {
        at: ExpiresAt::Unknown,
        warning: None,
    };
    const UNUSABLE: Self = Self {
        at: ExpiresAt::Unknown,
        warning: Some(NOT_A_TIME),
    };

    fn known(ms: i64) -> Self {
        if (1..=LAST_MS).contains(&ms) {
            Self {
                at: ExpiresAt::Known(ms),
                warning: None,
            }
        } else {
            Self::UNUSABLE
        }
    }
}

/// Whether seconds deserve a warning: where a format promises milliseconds, they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seconds {
    Odd,
    Usual,
}

/// An epoch number, or text that is one; other text is left to `text`.
pub(crate) fn read(
    value: Option<&Value>,
    seconds: Seconds,
    text: impl Fn(&str) -> Option<i64>,
) -> Reading {
    match value {
        None | Some(Value::Null) => Reading::ABSENT,
        Some(Value::Number(n)) => match n.as_i64() {
            Some(n) => epoch(n, seconds),
            None => n.as_f64().map_or(Reading::UNUSABLE, |n| float(n, seconds)),
        },
        Some(Value::String(s)) if s.trim().is_empty() => Reading::ABSENT,
        Some(Value::String(s)) => {
            let s = s.trim();
            if let Ok(n) = s.parse() {
                epoch(n, seconds)
            } else if let Ok(n) = s.parse() {
                float(n, seconds)
            } else {
                text(s).map_or(Reading::UNUSABLE, Reading::known)
            }
        }
        Some(_) => Reading::UNUSABLE,
    }
}

fn epoch(n: i64, seconds: Seconds) -> Reading {
    if !(1..SECONDS_BELOW).contains(&n) {
        return Reading::known(n);
    }
    Reading {
        at: ExpiresAt::Known(n * 1000),
        warning: (seconds == Seconds::Odd).then_some(IN_SECONDS),
    }
}

// `as` saturates, and a number that is none becomes 0: both end as "not a usable time".
fn float(n: f64, seconds: Seconds) -> Reading {
    epoch(n.floor() as i64, seconds)
}

/// RFC 3339, and the same with an offset spelt `+0200`: milliseconds since the epoch.
pub(crate) fn with_offset(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%#z"))
        .ok()
        .map(|at| at.timestamp_millis())
        .filter(|ms| (1..=LAST_MS).contains(ms))
}

/// A time without a zone, as Python's `isoformat` writes it.
pub(crate) fn naive(text: &str) -> Option<NaiveDateTime> {
    [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
    ]
    .iter()
    .find_map(|shape| NaiveDateTime::parse_from_str(text, shape).ok())
    // No zone's rules need to answer for the year 262142.
    .filter(|at| (1970..=9999).contains(&at.year()))
}

/// A naive time as an instant. The hour that a zone repeats counts as its first pass, the hour
/// that it skips is no time at all; both lead to a refresh too early rather than too late.
pub(crate) fn local<Z: TimeZone>(text: &str, zone: &Z) -> Option<i64> {
    let at = zone.from_local_datetime(&naive(text)?).earliest()?;
    Some(at.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;
    use serde_json::json;

    use super::*;

    fn alga(value: Value) -> Reading {
        read(Some(&value), Seconds::Odd, |_| None)
    }

    #[test]
    fn epoch_numbers_in_either_unit_and_as_text() {
        let ms = ExpiresAt::Known(1_759_591_800_000);
        for (value, warned) in [
            (json!(1_759_591_800_000_i64), false),
            (json!("1759591800000"), false),
            (json!(" 1759591800000 "), false),
            (json!(1_759_591_800_000.9), false),
            (json!(1_759_591_800), true),
            (json!("1759591800"), true),
        ] {
            let reading = alga(value.clone());
            assert_eq!(reading.at, ms, "{value}");
            assert_eq!(reading.warning.is_some(), warned, "{value}");
        }
        let usual = read(Some(&json!(1_759_591_800)), Seconds::Usual, |_| None);
        assert_eq!((usual.at, usual.warning), (ms, None));
    }

    #[test]
    fn the_border_between_the_units() {
        assert_eq!(
            alga(json!(99_999_999_999_i64)).at,
            ExpiresAt::Known(99_999_999_999_000)
        );
        assert_eq!(
            alga(json!(100_000_000_000_i64)),
            Reading::known(100_000_000_000)
        );
    }

    #[test]
    fn what_is_no_time_is_unknown() {
        assert_eq!(alga(Value::Null), Reading::ABSENT);
        assert_eq!(alga(json!("")), Reading::ABSENT);
        assert_eq!(read(None, Seconds::Odd, |_| None), Reading::ABSENT);
        for value in [
            json!(0),
            json!(-5),
            json!("0"),
            json!("-1759591800000"),
            json!("soon"),
            json!("NaN"),
            json!("inf"),
            json!(true),
            json!({}),
            json!(1e300),
            json!(-1e300),
            json!(u64::MAX),
            json!(1_759_591_800_000_000_i64),
        ] {
            assert_eq!(alga(value.clone()), Reading::UNUSABLE, "{value}");
        }
    }

    #[test]
    fn naive_time_is_the_time_of_the_given_zone() {
        let east = FixedOffset::east_opt(2 * 3600).unwrap();
        let expected = with_offset("2025-10-04T13:30:00.123Z");
        assert!(expected.is_some());
        assert_eq!(local("2025-10-04T15:30:00.123456", &east), expected);
        assert_eq!(local("2025-10-04 15:30:00.123", &east), expected);
        assert_eq!(with_offset("2025-10-04T15:30:00.123+02:00"), expected);
        assert_eq!(with_offset("2025-10-04T15:30:00.123+0200"), expected);
        assert_eq!(
            local("2025-10-04T15:30", &east),
            with_offset("2025-10-04T13:30:00Z")
        );
        assert_eq!(local("tomorrow", &east), None);
        assert_eq!(local("+262142-12-31T23:59:59", &chrono::Local), None);
        assert_eq!(with_offset("+262142-12-31T23:59:59Z"), None);
        assert_eq!(with_offset("2025-10-04T15:30:00"), None);
    }
}
