//! The plain things beside the workflows: tables, slips that are taken once, turnstiles.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::machine::Millis;
use crate::store::clock::millis;

#[derive(Clone, Default)]
pub(super) struct Tables(HashMap<String, BTreeMap<String, String>>);

impl Tables {
    pub(super) fn put(&mut self, table: &str, field: &str, value: &str) {
        let table = self.0.entry(table.to_owned()).or_default();
        table.insert(field.to_owned(), value.to_owned());
    }

    pub(super) fn get(&self, table: &str, field: &str) -> Option<String> {
        self.0.get(table)?.get(field).cloned()
    }

    pub(super) fn all(&self, table: &str) -> Vec<(String, String)> {
        let fields = self.0.get(table).into_iter().flatten();
        fields.map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    pub(super) fn remove(&mut self, table: &str, field: &str) -> bool {
        let table = self.0.get_mut(table);
        table.is_some_and(|fields| fields.remove(field).is_some())
    }
}

/// A value that ends by itself.
#[derive(Clone)]
struct Timed {
    value: String,
    ends: Millis,
}

#[derive(Clone, Default)]
pub(super) struct Slips(HashMap<String, Timed>);

impl Slips {
    pub(super) fn put(&mut self, now: Millis, name: &str, value: &str, life: Duration) {
        self.0.retain(|_, slip| slip.ends > now);
        let slip = Timed {
            value: value.to_owned(),
            ends: now + millis(life),
        };
        self.0.insert(name.to_owned(), slip);
    }

    pub(super) fn take(&mut self, now: Millis, name: &str) -> Option<String> {
        let slip = self.0.remove(name)?;
        (slip.ends > now).then_some(slip.value)
    }
}

#[derive(Clone, Default)]
pub(super) struct Turnstiles(HashMap<String, Timed>);

impl Turnstiles {
    pub(super) fn pass(&mut self, now: Millis, name: &str, holder: &str, life: Duration) -> bool {
        self.0.retain(|_, turnstile| turnstile.ends > now);
        let other = self.0.get(name).is_some_and(|held| held.value != holder);
        if !other {
            let held = Timed {
                value: holder.to_owned(),
                ends: now + millis(life),
            };
            self.0.insert(name.to_owned(), held);
        }
        !other
    }
}
