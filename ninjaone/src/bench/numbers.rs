//! What many measurements come to.

use std::collections::BTreeMap;

use evergreen_engine::store::redis::Histogram;
use serde::Serialize;

/// How measurements are spread, in the unit of what was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many there were.
    pub count: usize,
    /// Half of them were not larger.
    pub median: f64,
    /// 99 of 100 were not larger.
    pub p99: f64,
    /// None was larger.
    pub max: f64,
}

impl Spread {
    /// Of measurements in any order; of none it is all zero.
    #[must_use]
    pub fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let Some(max) = all.last().copied() else {
            return Self::default();
        };
        Self {
            count: all.len(),
            median: at(&all, 50),
            p99: at(&all, 99),
            max,
        }
    }
}

/// The smallest of the sorted that so many of a hundred are not larger than (nearest rank).
fn at(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank.min(sorted.len()) - 1]
}

/// How long calls have kept the server busy, by its own account, in microseconds. Bounds are powers
/// of two, so each number says "not longer than".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ServerTime {
    /// Calls.
    pub calls: u64,
    /// Half of them took no longer.
    pub median_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// None took longer.
    pub max_us: u64,
}

impl ServerTime {
    /// Of the calls between two readings of the server's histogram; `None` where there were none.
    #[must_use]
    pub fn between(before: &Histogram, after: &Histogram) -> Option<Self> {
        let grown = |bound: &u64, calls: &u64| {
            let known = before.range(..=bound).next_back();
            calls - known.map_or(0, |(_, calls)| *calls).min(*calls)
        };
        let all: BTreeMap<u64, u64> = after
            .iter()
            .map(|(bound, calls)| (*bound, grown(bound, calls)))
            .collect();
        let calls = all
            .values()
            .next_back()
            .copied()
            .filter(|calls| *calls > 0)?;
        let within = |percent: u64| {
            let wanted = (calls * percent).div_ceil(100);
            let found = all.iter().find(|(_, calls)| **calls >= wanted);
            found.map_or(0, |(bound, _)| *bound)
        };
        Some(Self {
            calls,
            median_us: within(50),
            p99_us: within(99),
            max_us: within(100),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let spread = Spread::of((1..=200).rev().map(f64::from).collect());
        assert_eq!((spread.count, spread.median), (200, 100.0));
        assert_eq!((spread.p99, spread.max), (198.0, 200.0));
        let one = Spread::of(vec![7.0]);
        assert_eq!((one.median, one.p99, one.max), (7.0, 7.0, 7.0));
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn only_what_came_between_two_readings_counts() {
        let before = Histogram::from([(8, 100), (1024, 101)]);
        let after = Histogram::from([(8, 150), (16, 198), (64, 199), (1024, 201)]);
        let spent = ServerTime::between(&before, &after).unwrap();
        assert_eq!(spent.calls, 100);
        assert_eq!((spent.median_us, spent.p99_us, spent.max_us), (8, 64, 1024));
        assert_eq!(ServerTime::between(&after, &after), None);
        assert_eq!(ServerTime::between(&before, &Histogram::new()), None);
    }
}
