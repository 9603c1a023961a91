//! How long after a worker's death another commits what the dead one was at.
//!
//! Each round kills one worker process (SIGKILL) while it performs activities whose lease has just
//! begun: nothing can take longer. The end is the moment at which the server wrote the commit of the
//! next holder, by its own clock, which is also the clock that the beginning is read from.

use std::collections::BTreeMap;
use std::time::Duration;

use evergreen_engine::{Delivery, Engine, Millis, Workflow, WorkflowId};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::crew::{self, Hand};
use super::numbers::Spread;
use super::worker::{Duty, limits};
use super::workflow::{Signal, TAKEN_OVER, Waiter};
use super::{BenchError, Space, queued};

/// Workers at a time.
const WORKERS: usize = 3;
/// How long work may take to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);
/// How long after the lease's end a commit is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What to measure.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The workers' lease.
    pub lease: Duration,
    /// Workers killed, one after another.
    pub rounds: u64,
    /// Workflows at work in each round, on all workers together.
    pub at_work: u64,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The server.
    pub server: String,
    /// The lease, in milliseconds.
    pub lease_ms: u64,
    /// Workers killed.
    pub rounds: u64,
    /// From the kill to the commit by another, in milliseconds.
    pub crash_to_commit_ms: Spread,
    /// From the end of the lease to that commit, in milliseconds.
    pub lease_end_to_commit_ms: Spread,
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
    let engine = space.engine(limits(ask.lease), "bench")?;
    let mut rounds = Rounds {
        space,
        ask,
        engine,
        hands: Vec::new(),
        hired: 0,
        from_kill: Vec::new(),
        from_lease: Vec::new(),
    };
    let measured = stop.run_until_cancelled(rounds.all(&mut note)).await;
    crew::dismiss(std::mem::take(&mut rounds.hands)).await;
    measured.ok_or(BenchError::Interrupted)??;
    Ok(Report {
        server: space.server().await?,
        lease_ms: u64::try_from(ask.lease.as_millis()).unwrap_or(u64::MAX),
        rounds: ask.rounds,
        crash_to_commit_ms: Spread::of(rounds.from_kill),
        lease_end_to_commit_ms: Spread::of(rounds.from_lease),
    })
}

struct Rounds<'a> {
    space: &'a Space,
    ask: &'a Ask,
    engine: Engine,
    hands: Vec<Hand>,
    hired: usize,
    from_kill: Vec<f64>,
    from_lease: Vec<f64>,
}

/// A workflow at work: who does it, and until when nobody else may.
struct Held {
    id: WorkflowId,
    owner: String,
    lease_until: Millis,
}

impl Rounds<'_> {
    async fn all(&mut self, note: &mut impl FnMut(&str)) -> Result<(), BenchError> {
        for round in 0..self.ask.rounds {
            note(&format!("round {} of {}", round + 1, self.ask.rounds));
            self.man().await?;
            let held = self.put_to_work(round).await?;
            let victim = busiest(&held);
            let place = self.hands.iter().position(|hand| hand.name == victim);
            let Some(place) = place else {
                let why = format!("{victim} holds what it was not hired for");
                return Err(BenchError::Worker(why));
            };
            let hand = self.hands.swap_remove(place);
            let killed_at = self.engine.store().now().await?;
            hand.kill().await?;
            let (orphans, others): (Vec<_>, Vec<_>) =
                held.into_iter().partition(|held| held.owner == victim);
            for orphan in &orphans {
                let at = self.taken_over(&orphan.id).await?;
                self.from_kill.push(at.saturating_sub(killed_at) as f64);
                self.from_lease
                    .push(at.saturating_sub(orphan.lease_until) as f64);
            }
            for other in &others {
                self.at_rest(&other.id).await?;
            }
        }
        Ok(())
    }

    /// Hires until all places are taken.
    async fn man(&mut self) -> Result<(), BenchError> {
        while self.hands.len() < WORKERS {
            self.hired += 1;
            let duty = Duty {
                prefix: self.space.options.prefix.clone(),
                name: format!("hand-{}", self.hired),
                lease_ms: u64::try_from(self.ask.lease.as_millis()).unwrap_or(u64::MAX),
                deaf: false,
                whole: false,
            };
            self.hands
                .push(Hand::hire(&duty, &self.space.options.url).await?);
        }
        Ok(())
    }

    /// Gives the workers something to do, and waits until all of it is being done.
    async fn put_to_work(&self, round: u64) -> Result<Vec<Held>, BenchError> {
        let for_ms = u64::try_from((self.ask.lease * 3 / 4).as_millis()).unwrap_or(u64::MAX);
        let mut ids = Vec::new();
        for n in 0..self.ask.at_work {
            let id = WorkflowId::new(Waiter::KIND, &format!("r{round}-{n}"));
            let id = id.map_err(|why| BenchError::Overdue(why.to_string()))?;
            let (work, delivery) = (Signal::Work { for_ms }, Delivery::creating());
            queued(
                &id,
                self.engine.signal::<Waiter>(&id, &work, delivery).await?,
            )?;
            ids.push(id);
        }
        let mut held = Vec::new();
        for id in ids {
            let record = until(BEGINS_WITHIN, "work did not begin in time", async || {
                let reading = self.engine.store().read(&id, false).await?;
                Ok(reading.map(|r| r.record).filter(|r| r.activity.is_some()))
            });
            let record = record.await?;
            if let (Some(owner), Some(lease_until)) = (record.owner, record.lease_until) {
                held.push(Held {
                    id,
                    owner,
                    lease_until,
                });
            }
        }
        Ok(held)
    }

    /// When the commit of the next holder was written, by the server's clock.
    async fn taken_over(&self, id: &WorkflowId) -> Result<Millis, BenchError> {
        let store = self.engine.store();
        let partition = id.partition(store.partitions());
        let patience = self.ask.lease + PATIENCE;
        until(patience, "nobody took over", async || {
            let mut after: Option<String> = None;
            loop {
                let page = store.events(partition, after.as_deref(), 200).await?;
                let Some(last) = page.last() else {
                    return Ok(None);
                };
                after = Some(last.position.clone());
                let found = page
                    .iter()
                    .find(|e| e.entry.event == TAKEN_OVER && e.entry.subject == id.id());
                if let Some(event) = found {
                    return Ok(written_at(&event.position));
                }
            }
        })
        .await
    }

    async fn at_rest(&self, id: &WorkflowId) -> Result<(), BenchError> {
        let patience = self.ask.lease + PATIENCE;
        until(patience, "work did not end in time", async || {
            let reading = self.engine.store().read(id, false).await?;
            Ok(reading.filter(|r| r.record.owner.is_none()).map(drop))
        })
        .await
    }
}

/// The owner of most.
fn busiest(held: &[Held]) -> String {
    let mut by_owner: BTreeMap<&str, usize> = BTreeMap::new();
    for one in held {
        *by_owner.entry(&one.owner).or_default() += 1;
    }
    let busiest = by_owner.into_iter().max_by_key(|(_, count)| *count);
    busiest.map_or_else(String::new, |(owner, _)| owner.to_owned())
}

/// When an entry of a stream was written: its position begins with the server's time.
#[must_use]
pub fn written_at(position: &str) -> Option<Millis> {
    position.split('-').next()?.parse().ok()
}

/// Looks until there is something to see, for so long at most.
///
/// # Errors
/// `otherwise`, when the time is over.
pub async fn until<T>(
    patience: Duration,
    otherwise: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, BenchError>,
) -> Result<T, BenchError> {
    let over = Instant::now() + patience;
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if Instant::now() >= over {
            return Err(BenchError::Overdue(format!("{otherwise} ({patience:?})")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_with_most_in_its_hands_is_killed() {
        let held = |owner: &str| Held {
            id: WorkflowId::new(Waiter::KIND, "w").unwrap(),
            owner: owner.to_owned(),
            lease_until: 0,
        };
        assert_eq!(busiest(&[held("a"), held("b"), held("b")]), "b");
    }

    #[test]
    fn a_position_tells_the_time() {
        assert_eq!(written_at("1795339452123-7"), Some(1_795_339_452_123));
        assert_eq!(written_at("soon"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_happen_in_time_is_told() {
        let mut looks = 0;
        let seen = until(Duration::from_secs(1), "nothing", async || {
            looks += 1;
            Ok((looks == 5).then_some(looks))
        });
        assert_eq!(seen.await.unwrap(), 5);
        let never = until(Duration::from_secs(1), "nothing came", async || {
            Ok(None::<()>)
        });
        assert!(
            never
                .await
                .unwrap_err()
                .to_string()
                .contains("nothing came")
        );
    }
}
