//! `--min-validity`: plain seconds, or a duration.

use std::time::Duration;

use crate::config::DurationRange;

const RANGE: DurationRange = DurationRange {
    min: Duration::from_secs(1),
    max: Duration::from_hours(24),
    example: "5m",
};

/// Seconds.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(seconds) if seconds <= RANGE.max.as_secs() => Ok(seconds),
        Ok(_) => Err("is too long; at most 86400 seconds".to_owned()),
        Err(_) => match RANGE.parse(text) {
            Ok(duration) => Ok(duration.as_secs()),
            Err(why) => Err(format!(
                "{why}; allowed are seconds, or {}",
                RANGE.allowed()
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_durations_are_the_same() {
        assert_eq!(parse("300"), Ok(300));
        assert_eq!(parse("5m"), Ok(300));
        assert_eq!(parse("0"), Ok(0));
        for wrong in ["-1", "soon", "", "86401", "2d"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
