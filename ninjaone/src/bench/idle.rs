//! What a fleet that has nothing to do asks of the server, while very many workflows sleep.
//!
//! The workers are whole ones, with everything that `evergreen worker` does beside its turns: looking,
//! saying that they live, comparing index and records, watching for another run of the server,
//! listening. Each is given a meter of its own, and everything it asks is counted.

use std::sync::atomic::Ordering;
use std::time::Duration;

use evergreen_engine::Limits;
use evergreen_engine::store::Store;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::crew::{self, Hand};
use super::fill::{Plan, data_of};
use super::meter::Meter;
use super::worker::Duty;
use super::{BenchError, Space};
use crate::lifecycle::KIND;

/// Until what every worker does at its start is done.
const SETTLE: Duration = Duration::from_secs(5);
/// Calls at once while the workflows are made.
const AT_ONCE: u64 = 32;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Workers.
    pub workers: usize,
    /// Workflows that sleep.
    pub timers: u64,
    /// How long to count.
    pub span: Duration,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The server.
    pub server: String,
    /// Workflows that slept.
    pub timers: u64,
    /// How long was counted, in seconds.
    pub seconds: f64,
    /// Each worker.
    pub workers: Vec<Asked>,
    /// The most that one of them asked, in round trips a second.
    pub most_round_trips_per_second: f64,
}

/// What one worker asked, a second.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Asked {
    /// Questions and answers; what is sent together is one.
    pub round_trips_per_second: f64,
    /// Commands in them.
    pub commands_per_second: f64,
    /// Bytes to the server.
    pub sent_per_second: f64,
    /// Bytes from it.
    pub received_per_second: f64,
    /// Connections that were open at the end.
    pub connections: i64,
}

/// A reading of a meter.
#[derive(Clone, Copy)]
struct Reading {
    round_trips: u64,
    commands: u64,
    sent: u64,
    received: u64,
}

impl Reading {
    fn of(meter: &Meter) -> Self {
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        Self {
            round_trips: of(&meter.counts.round_trips),
            commands: of(&meter.counts.commands),
            sent: of(&meter.counts.sent),
            received: of(&meter.counts.received),
        }
    }

    fn until(self, later: Self, seconds: f64, connections: i64) -> Asked {
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        Asked {
            round_trips_per_second: rate(self.round_trips, later.round_trips),
            commands_per_second: rate(self.commands, later.commands),
            sent_per_second: rate(self.sent, later.sent),
            received_per_second: rate(self.received, later.received),
            connections,
        }
    }
}

/// Measures. `note` tells a person how far it is.
///
/// # Errors
/// The store's, a worker's, or [`BenchError::Interrupted`].
pub async fn run(
    space: &Space,
    ask: &Ask,
    stop: &CancellationToken,
    mut note: impl FnMut(&str),
) -> Result<Report, BenchError> {
    // First, because it may be that nothing can be counted on this way.
    let mut meters = Vec::new();
    for _ in 0..ask.workers {
        meters.push(Meter::start(&space.options.url).await?);
    }
    space.has_room_for(ask.timers).await?;
    note("making them");
    let plan = Plan {
        kind: KIND,
        count: ask.timers,
        at_once: AT_ONCE,
        data: data_of(0),
        sealed_bytes: 0,
        now: space.store.now().await?,
    };
    plan.fill(&space.store, stop).await?;
    let mut hands = Vec::new();
    let counting = async {
        for (number, meter) in meters.iter().enumerate() {
            let duty = Duty {
                prefix: space.options.prefix.clone(),
                name: format!("hand-{number}"),
                lease_ms: u64::try_from(Limits::default().lease.as_millis()).unwrap_or(u64::MAX),
                deaf: false,
                whole: true,
            };
            hands.push(Hand::hire(&duty, &meter.url).await?);
        }
        tokio::time::sleep(SETTLE).await;
        note("counting");
        let (begun, before) = (Instant::now(), meters.iter().map(Reading::of));
        let before: Vec<_> = before.collect();
        tokio::time::sleep(ask.span).await;
        let seconds = begun.elapsed().as_secs_f64();
        let asked = meters.iter().zip(before).map(|(meter, before)| {
            let open = meter.counts.open.load(Ordering::Relaxed);
            before.until(Reading::of(meter), seconds, open)
        });
        Ok::<_, BenchError>((seconds, asked.collect::<Vec<_>>()))
    };
    let counted = stop.run_until_cancelled(counting).await;
    crew::dismiss(hands).await;
    let (seconds, workers) = counted.ok_or(BenchError::Interrupted)??;
    let each = workers.iter().map(|asked| asked.round_trips_per_second);
    Ok(Report {
        server: space.server().await?,
        timers: ask.timers,
        seconds,
        most_round_trips_per_second: each.fold(0.0, f64::max),
        workers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_what_came_between_two_readings() {
        let reading = |n| Reading {
            round_trips: n,
            commands: 10 * n,
            sent: 100 * n,
            received: 1000 * n,
        };
        let asked = reading(5).until(reading(25), 10.0, 4);
        assert_eq!(asked.round_trips_per_second, 2.0);
        assert_eq!(asked.commands_per_second, 20.0);
        assert_eq!(
            (asked.sent_per_second, asked.received_per_second),
            (200.0, 2000.0)
        );
        assert_eq!(asked.connections, 4);
    }
}
