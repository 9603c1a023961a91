//! A disk that is full, for a Redis that is a process of this machine.

use super::RedisServer;

impl RedisServer {
    /// Fills the disk of a process of this machine: what it writes to a file from now on is an error.
    pub fn fill_disk(&self) {
        self.local().may_write(Some(0));
    }

    /// Makes room on it again.
    pub fn free_disk(&self) {
        self.local().may_write(None);
    }
}
