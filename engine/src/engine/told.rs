//! What a process says of itself beyond that it lives.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use serde_json::Value;

use super::Engine;

impl Engine {
    /// Says something of this process in its line of the table of workers, under a field of the
    /// application's own. A worker that runs says it within a second, and again with each heartbeat.
    pub fn tell_of_process(&self, field: &str, value: Value) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(field.to_owned(), value);
    }

    pub(crate) fn told_of_process(&self) -> BTreeMap<String, Value> {
        let told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }
}
