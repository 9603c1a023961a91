//! What a replica has, and what is left when it takes over.

use std::sync::Arc;

use super::MemoryStore;
use super::space::Space;

/// All that a store held at one moment.
#[derive(Clone)]
pub struct Snapshot(Arc<Space>);

impl MemoryStore {
    /// All that it holds now: what a replica has that has heard of everything. For tests of
    /// failovers, as [`MemoryStore::fail_over_to`].
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(Arc::new(self.lock().copy()))
    }

    /// A replica takes over that has this, and not what was written since: another run of the store
    /// answers, and every listener has to listen anew.
    pub fn fail_over_to(&self, replica: &Snapshot) {
        let mut space = self.lock();
        let failovers = space.failovers + 1;
        *space = replica.0.copy();
        space.failovers = failovers;
    }
}
