//! Letting time pass in a moment.

use std::time::Duration;

use evergreen_engine::WorkflowId;
use ninjaone::service::App;

use super::Bench;

/// Turns in one passage, at most: more are a hot loop.
const TURNS_MAX: usize = 20_000;

impl Bench {
    /// The time by the store's clock, in milliseconds.
    pub async fn now(&self) -> u64 {
        self.store.now().await.expect("the store answers")
    }

    /// Lets time pass by the store's clock; what becomes due meanwhile is done by `app`, each at its
    /// time. What is due already is done first.
    pub async fn pass(&self, app: &App, span: Duration) {
        let clock = self.clock.as_ref().expect("a bench with a clock");
        let until = clock.now() + u64::try_from(span.as_millis()).expect("a short time");
        for _ in 0..TURNS_MAX {
            let Some((member, due)) = self.next_due(until).await else {
                clock.set(until.max(clock.now()));
                return;
            };
            clock.set(due.max(clock.now()));
            let id = WorkflowId::from_member(&member).expect("a workflow");
            app.engine().drive(&id).await;
        }
        panic!(
            "no rest after {TURNS_MAX} turns: {:?}",
            self.next_due(until).await
        );
    }

    /// Does what is due now.
    pub async fn settle(&self, app: &App) {
        self.pass(app, Duration::ZERO).await;
    }

    async fn next_due(&self, until: u64) -> Option<(String, u64)> {
        let all: Vec<u16> = (0..self.store.partitions()).collect();
        let peek = self.store.peek(&all).await.expect("the store answers");
        let heads = peek.partitions.into_iter().flat_map(|(_, heads)| heads);
        heads
            .filter(|(_, due)| *due <= until)
            .min_by_key(|(_, due)| *due)
    }
}
