//! What replies tell of partitions on the way, for the worker of this process if there is one.
//!
//! Every reply of a claim and a commit brings the next due entries along. A turn that a caller runs
//! learns of them as well as a worker's own, so they go to one reader, whoever asked. Of each partition only
//! the latest is kept, so a reader that is busy elsewhere finds no more than there are partitions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::machine::Millis;
use crate::store::Heads;

/// One piece of news: a partition, its heads, and the store's time at which they were so.
pub(crate) type Told = (u16, Heads, Millis);

/// Where news goes.
#[derive(Debug, Default)]
pub(crate) struct News {
    reader: Mutex<Option<Reader>>,
}

/// Reads the news.
#[derive(Debug, Default, Clone)]
pub(crate) struct Reader(Arc<Desk>);

#[derive(Debug, Default)]
struct Desk {
    /// By partition.
    latest: Mutex<BTreeMap<u16, (Heads, Millis)>>,
    arrived: Notify,
}

impl News {
    pub(crate) fn tell(&self, partition: u16, heads: Heads, now: Millis) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Reader(desk)) = reader.as_ref() else {
            return;
        };
        let mut latest = desk.latest();
        if latest.get(&partition).is_none_or(|(_, at)| *at <= now) {
            latest.insert(partition, (heads, now));
            desk.arrived.notify_one();
        }
    }

    /// Makes the caller the reader. Whoever was it before hears nothing any more.
    pub(crate) fn read(&self) -> Reader {
        let new = Reader::default();
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
        new
    }
}

impl Reader {
    /// Waits for a piece of news.
    pub(crate) async fn recv(&mut self) -> Told {
        loop {
            if let Some(told) = self.try_recv() {
                return told;
            }
            self.0.arrived.notified().await;
        }
    }

    /// Takes a piece of news that has arrived.
    pub(crate) fn try_recv(&mut self) -> Option<Told> {
        let (partition, (heads, now)) = self.0.latest().pop_first()?;
        Some((partition, heads, now))
    }
}

impl Desk {
    fn latest(&self) -> MutexGuard<'_, BTreeMap<u16, (Heads, Millis)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(at: Millis) -> Heads {
        vec![("chore:a".to_owned(), at)]
    }

    #[tokio::test]
    async fn of_each_partition_the_latest_is_read_and_only_by_the_last_reader() {
        let news = News::default();
        news.tell(1, heads(1), 1);
        let mut before = news.read();
        let mut reader = news.read();
        for (partition, now) in [(2, 10), (1, 30), (1, 20), (1, 30), (2, 40)] {
            news.tell(partition, heads(now), now);
        }
        assert_eq!(reader.recv().await, (1, heads(30), 30));
        assert_eq!(reader.try_recv(), Some((2, heads(40), 40)));
        assert_eq!((reader.try_recv(), before.try_recv()), (None, None));
    }
}
