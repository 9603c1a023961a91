//! Following the outbox: one poll a process, however many follow.
//!
//! Who begins to follow reads for itself until it has caught up, and from then on hears what the one poll
//! brings. Each batch says where it begins; who is not that far has missed something, because the poll
//! began later or because it was slow to listen, and reads for itself again. The poll ends when the last
//! listener has gone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::time::sleep;

use super::feed::Placed;
use super::{App, EventCursor, EventView};

/// Events of a partition that are read at once.
const BATCH: usize = 100;
/// Batches that a slow listener may be behind before it reads for itself.
const BEHIND_MAX: usize = 64;
/// Between two looks when nothing has happened.
const IDLE: Duration = Duration::from_millis(500);
/// Between two looks when the store does not answer.
const AWAY: Duration = Duration::from_secs(2);

/// What one look of the poll brought.
struct Batch {
    /// Where it begins: who has come so far misses nothing.
    from: EventCursor,
    events: Vec<Placed>,
}

/// Those who listen to the poll of this process, if anybody does.
#[derive(Default)]
pub(super) struct Hub(Mutex<Option<Sender<Arc<Batch>>>>);

/// One place in the feed that moves on.
pub struct Follow {
    app: App,
    cursor: EventCursor,
    queue: VecDeque<Placed>,
    heard: Receiver<Arc<Batch>>,
    /// Something may have been missed, so it reads for itself.
    behind: bool,
}

impl App {
    /// Follows the feed from a place on.
    #[must_use]
    pub fn follow(&self, after: EventCursor) -> Follow {
        Follow {
            app: self.clone(),
            cursor: after,
            queue: VecDeque::new(),
            heard: self.listen(),
            behind: true,
        }
    }

    /// Listens to the poll, which begins with the first listener.
    fn listen(&self) -> Receiver<Arc<Batch>> {
        let mut hub = self.0.hub.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = hub.as_ref() {
            return sender.subscribe();
        }
        let (sender, receiver) = broadcast::channel(BEHIND_MAX);
        *hub = Some(sender.clone());
        tokio::spawn(poll(self.clone(), sender));
        receiver
    }

    /// Whether the last listener has gone; then the poll ends, and the next listener begins another.
    fn nobody_listens(&self, sender: &Sender<Arc<Batch>>) -> bool {
        let mut hub = self.0.hub.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.receiver_count() > 0 {
            return false;
        }
        *hub = None;
        true
    }
}

async fn poll(app: App, sender: Sender<Arc<Batch>>) {
    let mut place = None;
    while !app.nobody_listens(&sender) {
        let from = match place.take() {
            Some(cursor) => cursor,
            None => match app.events_end().await {
                Ok(cursor) => cursor,
                Err(_) => {
                    sleep(AWAY).await;
                    continue;
                }
            },
        };
        let pause = match app.placed_events(&from, BATCH).await {
            Ok(events) if events.is_empty() => {
                place = Some(from);
                IDLE
            }
            Ok(events) => {
                let mut to = from.clone();
                events.iter().for_each(|event| to.pass(event));
                place = Some(to);
                // Nobody listens: seen at the next look.
                let _ = sender.send(Arc::new(Batch { from, events }));
                continue;
            }
            Err(_) => {
                place = Some(from);
                AWAY
            }
        };
        sleep(pause).await;
    }
}

impl Follow {
    /// Waits for the next event. Dropping the future loses nothing.
    pub async fn next(&mut self) -> EventView {
        loop {
            if let Some(event) = self.queue.pop_front() {
                self.cursor.pass(&event);
                let cursor = self.cursor.clone();
                return EventView {
                    cursor,
                    ..event.view
                };
            }
            if self.behind {
                self.catch_up().await;
                continue;
            }
            match self.heard.recv().await {
                Ok(batch) if self.cursor.reaches(&batch.from) => {
                    let new = batch
                        .events
                        .iter()
                        .filter(|event| self.cursor.is_before(event));
                    self.queue = new.cloned().collect();
                }
                Ok(_) | Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => {
                    self.heard = self.app.listen();
                    self.behind = true;
                }
            }
        }
    }

    /// Reads for itself, until there is nothing more to read.
    async fn catch_up(&mut self) {
        // Where the streams end now: what lies before that and is not read has been trimmed away.
        let end = match self.app.events_end().await {
            Ok(end) => end,
            Err(_) => return sleep(AWAY).await,
        };
        match self.app.placed_events(&self.cursor, BATCH).await {
            Ok(events) if events.is_empty() => {
                self.cursor.advance_to(&end);
                self.behind = false;
            }
            Ok(events) => self.queue = events.into(),
            Err(_) => sleep(AWAY).await,
        }
    }
}
