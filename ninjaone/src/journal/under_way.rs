//! Which entries a turn of this process is about to commit, so that a replay leaves them alone.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::EntryId;

/// The entries that are under way. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct UnderWay(Arc<Mutex<HashSet<EntryId>>>);

/// One entry that is under way, for as long as this lives: however the turn ends that carries it,
/// an entry that it leaves behind is replayed.
#[derive(Debug)]
pub struct Carried {
    id: EntryId,
    all: UnderWay,
}

impl UnderWay {
    /// Marks an entry.
    #[must_use]
    pub fn carry(&self, id: EntryId) -> Carried {
        self.lock().insert(id);
        Carried {
            id,
            all: self.clone(),
        }
    }

    /// Whether an entry is under way.
    #[must_use]
    pub fn contains(&self, id: EntryId) -> bool {
        self.lock().contains(&id)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carried {
    /// Which entry.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.id
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_under_way_until_nobody_carries_it_any_more() {
        let all = UnderWay::default();
        let id = EntryId::random();
        let carried = Arc::new(all.carry(id));
        let copy = Arc::clone(&carried);
        drop(carried);
        assert!(all.contains(id));
        assert_eq!(copy.id(), id);
        drop(copy);
        assert!(!all.contains(id));
    }
}
