//! When the next request leaves, as arithmetic. All spans in milliseconds.
//!
//! ```text
//! sent ───────────────────────── refresh (less jitter) ── half of the buffer ── expiry
//!  └──────────── life − buffer ────────────┘└──────────────── buffer ───────────────┘
//! ```

use std::time::Duration;

use evergreen_engine::Millis;

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
/// The smallest buffer that is chosen without being asked for.
pub const BUFFER_MIN: Millis = MINUTE;
/// The largest buffer that is chosen without being asked for.
pub const BUFFER_MAX: Millis = 15 * MINUTE;
/// Jitter at most.
pub const JITTER_MAX: Millis = 5 * MINUTE;
/// From a success to the next automatic request at least, without being asked for.
pub const MIN_DELAY: Millis = 30 * SECOND;
/// The first back-off; doubles.
pub const BACKOFF_FIRST: Millis = 5 * SECOND;
/// The longest back-off.
pub const BACKOFF_MAX: Millis = 5 * MINUTE;
/// A refresh a day at least, so that an idle grant does not die of age.
pub const IDLE_FLOOR: Millis = 24 * HOUR;
/// How often something that a person must put right is checked again.
pub const RECHECK: Millis = HOUR;
/// The assumed age limit of a refresh token.
pub const REFRESH_TOKEN_AGE: Millis = 30 * 24 * HOUR;
/// How long before that it is told.
pub const REFRESH_TOKEN_WARNING: Millis = 7 * 24 * HOUR;
/// For how long a failing TLS handshake counts as weather.
pub const TLS_PATIENCE: Millis = 24 * HOUR;
/// The last part of a life in which a caller waits for the refresh, at most.
pub const MANDATORY_MAX: Millis = MINUTE;

/// What a deployment may set. It comes to the machine as its facts.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `EVERGREEN_REFRESH_BUFFER`; replaces the chosen buffer, capped at half of the life.
    pub refresh_buffer: Option<Duration>,
    /// `EVERGREEN_REFRESH_MIN_DELAY`; replaces the chosen minimum delay.
    pub refresh_min_delay: Option<Duration>,
    /// `EVERGREEN_RETENTION`: how long a disconnected integration is remembered.
    pub retention: Duration,
    /// The fleet's client app, where there is one: by it a changed app is noticed.
    pub client_id: Option<String>,
    /// When it was noticed that the store is an older one, restored from a backup. No setting, but a fact
    /// like them: what a grant has spent since that backup is not known.
    pub restored_at: Option<Millis>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            refresh_buffer: None,
            refresh_min_delay: None,
            retention: Duration::from_secs(30 * 24 * 3600),
            client_id: None,
            restored_at: None,
        }
    }
}

pub(super) fn millis(span: Duration) -> Millis {
    Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX)
}

/// The time before expiry in which the access token is replaced.
#[must_use]
pub fn buffer(life: Millis, assumed: bool, settings: &Settings) -> Millis {
    let chosen = match settings.refresh_buffer {
        Some(buffer) => millis(buffer),
        None => (life / 4).clamp(BUFFER_MIN, BUFFER_MAX),
    };
    // An assumed life may be wrong, so it is trusted half as far.
    let chosen = if assumed {
        chosen.saturating_mul(2)
    } else {
        chosen
    };
    chosen.min(life / 2)
}

/// Whether a life is too short for the buffer that was asked for, so that half of the life counts.
#[must_use]
pub fn buffer_is_shortened(life: Millis, settings: &Settings) -> bool {
    settings
        .refresh_buffer
        .is_some_and(|buffer| millis(buffer) > life / 2)
}

/// The least time from a success to the next automatic request.
#[must_use]
pub fn min_delay(life: Millis, settings: &Settings) -> Millis {
    match settings.refresh_min_delay {
        Some(delay) => millis(delay),
        None => MIN_DELAY.min(life / 3),
    }
}

/// When to refresh an access token. `jitter` is uniform in 0 ≤ x < 1 and only ever makes it earlier.
#[must_use]
pub fn refresh_at(
    obtained_at: Millis,
    expires_at: Millis,
    assumed: bool,
    jitter: f64,
    settings: &Settings,
) -> Millis {
    let life = expires_at.saturating_sub(obtained_at);
    let buffer = buffer(life, assumed, settings);
    let room = (life / 10).min(JITTER_MAX);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    let earlier = (room as f64 * jitter.clamp(0.0, 1.0)) as Millis;
    let planned = expires_at.saturating_sub(buffer).saturating_sub(earlier);
    planned.clamp(
        obtained_at,
        obtained_at.saturating_add(IDLE_FLOOR).max(obtained_at),
    )
}

/// How long to wait after the n-th failure in a row, n from 1. `random` is uniform in 0 ≤ x < 1.
#[must_use]
pub fn back_off(n: u32, random: f64) -> Millis {
    let doublings = n.saturating_sub(1).min(16);
    let longest = BACKOFF_FIRST
        .saturating_mul(1 << doublings)
        .min(BACKOFF_MAX);
    spread(longest, random)
}

/// Uniform in `longest / 2 … longest`.
#[must_use]
pub fn spread(longest: Millis, random: f64) -> Millis {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    let part = ((longest / 2) as f64 * random.clamp(0.0, 1.0)) as Millis;
    longest / 2 + part
}

/// The last part of a life, in which a caller waits for the refresh.
#[must_use]
pub fn mandatory_window(life: Millis) -> Millis {
    MANDATORY_MAX.min(life / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: Millis = 3_600_000;

    #[test]
    fn an_hour_is_refreshed_between_minute_40_and_45() {
        let settings = Settings::default();
        assert_eq!(refresh_at(0, H, false, 0.0, &settings), 45 * MINUTE);
        let earliest = refresh_at(0, H, false, 0.999_999, &settings);
        assert!((40 * MINUTE..41 * MINUTE).contains(&earliest), "{earliest}");
    }

    #[test]
    fn a_minute_is_refreshed_between_second_24_and_30() {
        let settings = Settings::default();
        assert_eq!(refresh_at(0, MINUTE, false, 0.0, &settings), 30 * SECOND);
        assert!(refresh_at(0, MINUTE, false, 0.999_999, &settings) >= 24 * SECOND);
    }

    #[test]
    fn a_buffer_that_was_asked_for_is_taken_and_capped_at_half_of_the_life() {
        let with = |secs| Settings {
            refresh_buffer: Some(Duration::from_secs(secs)),
            ..Settings::default()
        };
        assert_eq!(refresh_at(0, H, false, 0.0, &with(300)), 55 * MINUTE);
        assert_eq!(refresh_at(0, H, false, 0.0, &with(1200)), 40 * MINUTE);
        assert_eq!(
            refresh_at(0, 10 * MINUTE, false, 0.0, &with(900)),
            5 * MINUTE
        );
    }

    #[test]
    fn an_assumed_life_is_trusted_half_as_far() {
        assert_eq!(
            refresh_at(0, H, true, 0.0, &Settings::default()),
            30 * MINUTE
        );
    }

    #[test]
    fn whatever_the_life_the_plan_leaves_time_for_a_full_retry_before_the_window() {
        let settings = Settings::default();
        for life_s in 65..=86_400u64 {
            let life = life_s * SECOND;
            let planned = refresh_at(0, life, false, 0.0, &settings);
            // One request, the one retry, and the time between: 10 s, 1 s, 10 s.
            assert!(
                planned + 21 * SECOND < life - mandatory_window(life),
                "{life_s} s"
            );
            assert!(planned >= min_delay(life, &settings), "{life_s} s");
        }
    }

    #[test]
    fn a_life_of_a_week_is_refreshed_daily() {
        assert_eq!(
            refresh_at(0, 7 * 24 * H, false, 0.0, &Settings::default()),
            IDLE_FLOOR
        );
    }

    #[test]
    fn back_off_grows_to_five_minutes_and_is_spread_over_its_upper_half() {
        assert_eq!((back_off(1, 0.0), back_off(1, 1.0)), (2_500, 5_000));
        assert_eq!((back_off(4, 0.0), back_off(4, 1.0)), (20_000, 40_000));
        assert_eq!((back_off(99, 0.0), back_off(99, 1.0)), (150_000, 300_000));
    }
}
