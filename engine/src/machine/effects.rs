//! What transitions ask for.

use std::collections::BTreeMap;

use super::{Millis, Step, Workflow};

/// One change of what is sealed.
pub enum SealedChange<W: Workflow> {
    /// Seal this and keep it under the name.
    Put(String, W::Secret),
    /// Seal anew what is kept under the name. Where nothing is, or it cannot be opened, all stays as
    /// it is.
    Anew(String, W::Secret),
    /// Erase what is kept under the name.
    Erase(String),
    /// Erase everything.
    Clear,
}

impl<W: Workflow> Clone for SealedChange<W> {
    fn clone(&self) -> Self {
        match self {
            Self::Put(slot, secret) => Self::Put(slot.clone(), secret.clone()),
            Self::Anew(slot, secret) => Self::Anew(slot.clone(), secret.clone()),
            Self::Erase(slot) => Self::Erase(slot.clone()),
            Self::Clear => Self::Clear,
        }
    }
}

/// An event for the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its stable name.
    pub name: String,
    /// What it tells. Never secret.
    pub payload: serde_json::Value,
}

/// What transitions ask for.
///
/// What is to be *done* next (`perform`, the timer, the verdict, finishing) belongs to the state the
/// machine is in: a transition forgets what the state before it wanted. What *has happened* (events,
/// sealed changes) accumulates.
pub struct Effects<W: Workflow> {
    pub(crate) perform: Option<W::Activity>,
    pub(crate) timer: Timer,
    pub(crate) visible_at: Option<Millis>,
    pub(crate) verdict: bool,
    pub(crate) finish: bool,
    pub(crate) sealed: Vec<SealedChange<W>>,
    pub(crate) events: Vec<Event>,
    pub(crate) notes: BTreeMap<&'static str, serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// As it was.
    Keep,
    At(Millis),
    Off,
}

impl<W: Workflow> Default for Effects<W> {
    fn default() -> Self {
        Self {
            perform: None,
            timer: Timer::Keep,
            visible_at: None,
            verdict: false,
            finish: false,
            sealed: Vec::new(),
            events: Vec::new(),
            notes: BTreeMap::new(),
        }
    }
}

impl<W: Workflow> Effects<W> {
    /// Sets the workflow's one timer; it replaces the one set before.
    pub fn wake_at(&mut self, at: Millis) {
        self.timer = Timer::At(at);
    }

    /// Takes the timer away.
    pub fn no_timer(&mut self) {
        self.timer = Timer::Off;
    }

    /// Keeps the workflow out of sight until then although its timer comes sooner.
    pub fn hold_until(&mut self, at: Millis) {
        self.visible_at = Some(at);
    }

    /// Asks for an activity. It is written down with the state, then performed, once a turn at most.
    pub fn perform(&mut self, activity: W::Activity) {
        self.perform = Some(activity);
    }

    /// Says that this transition condemns: it is committed only if no signal came since the claim,
    /// or after those that came were heard.
    pub fn verdict(&mut self) {
        self.verdict = true;
    }

    /// Ends the workflow: its record, blobs and log are removed with this commit. Not in a transition that
    /// begins an activity: nobody would be left to hear its outcome, so such a turn fails.
    pub fn finish(&mut self) {
        self.finish = true;
    }

    /// Seals something under a name, in the same commit as the state.
    pub fn seal(&mut self, slot: impl Into<String>, secret: W::Secret) {
        self.sealed.push(SealedChange::Put(slot.into(), secret));
    }

    /// Seals anew what is kept under a name, with the key of today for example. Where nothing is kept
    /// there, or it cannot be opened, it stays as it is: this never fails a turn.
    pub fn seal_anew(&mut self, slot: impl Into<String>, secret: W::Secret) {
        self.sealed.push(SealedChange::Anew(slot.into(), secret));
    }

    /// Erases one sealed blob.
    pub fn erase(&mut self, slot: impl Into<String>) {
        self.sealed.push(SealedChange::Erase(slot.into()));
    }

    /// Erases all sealed blobs.
    pub fn erase_all(&mut self) {
        self.sealed.push(SealedChange::Clear);
    }

    /// Publishes an event with this commit.
    pub fn publish(&mut self, name: impl Into<String>, payload: serde_json::Value) {
        self.events.push(Event {
            name: name.into(),
            payload,
        });
    }

    /// Adds a field to the log entry and the structured record of this transition. Never secret.
    pub fn note(&mut self, field: &'static str, value: impl Into<serde_json::Value>) {
        self.notes.insert(field, value.into());
    }

    /// What is to be performed, for tests of machines.
    #[must_use]
    pub fn performed(&self) -> Option<&W::Activity> {
        self.perform.as_ref()
    }

    /// What the timer was set to; `None` where it was left alone or taken away. For tests.
    #[must_use]
    pub fn timer_set(&self) -> Option<Millis> {
        match self.timer {
            Timer::At(at) => Some(at),
            Timer::Keep | Timer::Off => None,
        }
    }

    /// Until when the workflow is kept out of sight. For tests.
    #[must_use]
    pub fn held_until(&self) -> Option<Millis> {
        self.visible_at
    }

    /// Whether this transition condemns. For tests.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        self.verdict
    }

    /// Whether the workflow ends. For tests.
    #[must_use]
    pub fn is_finish(&self) -> bool {
        self.finish
    }

    /// What is sealed and erased, in order. For tests.
    #[must_use]
    pub fn sealed_changes(&self) -> &[SealedChange<W>] {
        &self.sealed
    }

    /// What is published, in order. For tests.
    #[must_use]
    pub fn published(&self) -> &[Event] {
        &self.events
    }

    /// The fields added to the log entry. For tests.
    #[must_use]
    pub fn notes(&self) -> &BTreeMap<&'static str, serde_json::Value> {
        &self.notes
    }

    /// Takes over what one input led to: see the type's own words. The timer is kept by the turn.
    pub(crate) fn absorb(&mut self, step: Step, new: Self) {
        if step == Step::Moved {
            self.perform = None;
            self.visible_at = None;
            self.verdict = false;
            self.finish = false;
        }
        if new.perform.is_some() {
            self.perform = new.perform;
        }
        if new.visible_at.is_some() {
            self.visible_at = new.visible_at;
        }
        self.verdict |= new.verdict;
        self.finish |= new.finish;
        self.sealed.extend(new.sealed);
        self.events.extend(new.events);
        self.notes.extend(new.notes);
    }
}
