//! What replies tell of partitions on the way, for the worker of this process if there is one.
//!
//! Every reply of a claim and a commit brings the next due entries along. A turn that a caller runs
//! learns of them as well as a worker's own, so they go to one reader, whoever asked.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::machine::Millis;
use crate::store::Heads;

/// One piece of news: a partition, its heads, and the store's time at which they were so.
pub(crate) type Told = (u16, Heads, Millis);

/// Where news goes.
#[derive(Debug, Default)]
pub(crate) struct News {
    reader: Mutex<Option<UnboundedSender<Told>>>,
}

impl News {
    pub(crate) fn tell(&self, partition: u16, heads: Heads, now: Millis) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = reader.as_ref() {
            // A reader that has gone needs no news.
            let _ = reader.send((partition, heads, now));
        }
    }

    /// Makes the caller the reader, in place of whoever was before.
    pub(crate) fn read(&self) -> UnboundedReceiver<Told> {
        let (sender, receiver) = unbounded_channel();
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }
}
