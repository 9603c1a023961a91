//! Durations as they are written in settings: `15m`, `30s`, `1h30m`.
//!
//! Stricter than other readers of durations on purpose. A number without a unit is refused, because
//! software that came before read `15m` as 15 seconds and `0` as its default; and there is no unit
//! for months, because elsewhere `15M` is fifteen of them.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// What a duration may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationRange {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// One to show.
    pub example: &'static str,
}

impl DurationRange {
    /// What is allowed, in words.
    #[must_use]
    pub fn allowed(&self) -> String {
        format!(
            "a duration from {} to {} with its unit (ms, s, m, h, d), such as {}",
            written(self.min),
            written(self.max),
            self.example
        )
    }

    /// Reads a duration.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn parse(&self, text: &str) -> Result<Duration, &'static str> {
        let duration = parse(text)?;
        if duration.is_zero() {
            return Err("is zero");
        }
        if duration < self.min {
            return Err("is too short");
        }
        if duration > self.max {
            return Err("is too long");
        }
        Ok(duration)
    }
}

fn parse(text: &str) -> Result<Duration, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.starts_with('-') {
        return Err("is negative");
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        if number.is_empty() {
            return Err("is not a duration");
        }
        let letters = after.bytes().take_while(|b| !b.is_ascii_digit()).count();
        // A letter of another alphabet may end in the middle of these bytes.
        let (unit, after) = after
            .split_at_checked(letters)
            .ok_or("has an unknown unit")?;
        if unit.is_empty() {
            return Err("has no unit");
        }
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or("has an unknown unit")?;
        if *factor >= smallest {
            return Err("must name its units from the largest to the smallest");
        }
        smallest = *factor;
        let number: u64 = number.parse().map_err(|_| "is too long")?;
        let part = number.checked_mul(*factor).ok_or("is too long")?;
        total = total.checked_add(part).ok_or("is too long")?;
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration as it is read.
pub(crate) fn written(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, factor) in UNITS.iter().rev() {
        let number = rest / factor;
        rest %= factor;
        if number > 0 {
            text.push_str(&format!("{number}{unit}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for (text, ms) in [
            ("1ms", 1),
            ("30s", 30_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            let duration = parse(text).unwrap();
            assert_eq!(duration, Duration::from_millis(ms), "{text}");
            assert_eq!(written(duration), text);
        }
    }

    #[test]
    fn what_is_not_a_duration_is_told_why() {
        for (text, why) in [
            ("", "is empty"),
            ("-5s", "is negative"),
            ("0", "has no unit"),
            ("900", "has no unit"),
            ("15", "has no unit"),
            ("abc", "is not a duration"),
            ("s", "is not a duration"),
            (".5s", "is not a duration"),
            ("1.5s", "has an unknown unit"),
            ("15M", "has an unknown unit"),
            ("15 m", "has an unknown unit"),
            ("15µ", "has an unknown unit"),
            ("3 weeks", "has an unknown unit"),
            (
                "1s1s",
                "must name its units from the largest to the smallest",
            ),
            (
                "1m1h",
                "must name its units from the largest to the smallest",
            ),
            ("99999999999999999999s", "is too long"),
            ("18446744073709551615d", "is too long"),
        ] {
            assert_eq!(parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_range_holds_and_says_what_it_allows() {
        let range = DurationRange {
            min: Duration::from_secs(1),
            max: Duration::from_secs(86_400),
            example: "15m",
        };
        assert_eq!(range.parse("0s"), Err("is zero"));
        assert_eq!(range.parse("999ms"), Err("is too short"));
        assert_eq!(range.parse("2d"), Err("is too long"));
        assert_eq!(range.parse("1d"), Ok(range.max));
        assert_eq!(
            range.allowed(),
            "a duration from 1s to 1d with its unit (ms, s, m, h, d), such as 15m"
        );
    }
}
