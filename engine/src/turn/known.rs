//! What a turn starts from, and the inputs that it knows of.

use super::{Holding, Trouble};
use crate::advance::Base;
use crate::limits;
use crate::load::{self, LoadError};
use crate::machine::{Input, Workflow};
use crate::record::{Envelope, SealedBlobs};
use crate::writing::Heard;

/// What a turn starts from, and the inputs that it knows of.
pub(super) struct Known<W: Workflow> {
    pub(super) base: Base<W>,
    /// The machine starts anew, so what was sealed before goes.
    pub(super) erase_first: bool,
    /// A pre-emptive signal is among the inputs.
    barrier: bool,
    pub(super) inputs: Vec<Input<W>>,
    /// Signals among the inputs, and those that were passed over.
    pub(super) heard: Heard,
}

impl<W: Workflow> Known<W> {
    pub(super) fn load(holding: &Holding) -> Result<Self, Trouble> {
        if let Some((signal, before)) = overdue(holding) {
            return Self::anew(holding, before, signal);
        }
        let (base, erase_first) = load_base::<W>(holding)?;
        let mut known = Self {
            base,
            erase_first,
            barrier: holding.record.barrier,
            inputs: Vec::new(),
            heard: Heard::default(),
        };
        match load::activity::<W>(&holding.record) {
            Ok(lost) => known.inputs.extend(lost.map(Input::ActivityLost)),
            // After a pre-emptive signal whatever was in flight has no bearing any more.
            Err(_) if holding.record.barrier => {}
            Err(error) => return Err(error.into()),
        }
        known.hear(&holding.inbox)?;
        Ok(known)
    }

    /// A pre-emptive signal and nothing else: whatever kept it from being heard, what was before it has no
    /// bearing any more, and what came after it can wait for a turn of its own.
    fn anew(holding: &Holding, before: &[Envelope], signal: &Envelope) -> Result<Self, Trouble> {
        load::not_newer::<W>(&holding.record)?;
        tracing::warn!(id = %holding.id, "a pre-emptive signal could not be heard: it replaces what was before it");
        let mut known = Self {
            base: first_base(holding),
            erase_first: true,
            barrier: true,
            inputs: Vec::new(),
            heard: Heard::default(),
        };
        known.heard.add(before);
        known.hear(std::slice::from_ref(signal))?;
        Ok(known)
    }

    /// Takes in signals. After a pre-emptive one, others that cannot be read have no bearing any
    /// more; but it must itself be among those that can.
    pub(super) fn hear(&mut self, envelopes: &[Envelope]) -> Result<(), Trouble> {
        self.heard.add(envelopes);
        let mut unreadable = None;
        for envelope in envelopes {
            match load::signal::<W>(envelope) {
                Ok(signal) => self.inputs.push(Input::Signal(signal)),
                Err(error @ LoadError::Damaged { .. }) if self.barrier => {
                    tracing::warn!(%error, "a signal is passed over");
                    unreadable = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let heard = |input: &Input<W>| matches!(input, Input::Signal(_));
        match unreadable {
            Some(error) if !self.inputs.iter().any(heard) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Where turns keep failing before a pre-emptive signal could be heard: that signal, and those before it.
/// It must be heard, and what is in its way is most likely what it is to replace.
fn overdue(holding: &Holding) -> Option<(&Envelope, &[Envelope])> {
    if holding.record.attempt <= limits::DELAY_AFTER {
        return None;
    }
    holding.inbox.get(..holding.record.unheard()?)?.split_last()
}

/// What a workflow starts as, in place of what this one has become.
fn first_base<W: Workflow>(holding: &Holding) -> Base<W> {
    let (data, phase) = W::initial();
    Base {
        data,
        phase,
        wake_at: None,
        visible_at: None,
        commit: holding.record.commit.clone(),
        sealed: SealedBlobs::new(),
    }
}

/// The machine, and whether its blobs are to be erased because it starts anew.
fn load_base<W: Workflow>(holding: &Holding) -> Result<(Base<W>, bool), Trouble> {
    let record = &holding.record;
    match load::machine::<W>(record) {
        Ok((data, phase)) => Ok((
            Base {
                data,
                phase,
                wake_at: record.wake_at,
                visible_at: record.visible_at,
                commit: record.commit.clone(),
                sealed: holding.sealed.clone(),
            },
            false,
        )),
        // A pre-emptive signal replaces what was before, so it may also replace what cannot be read.
        Err(LoadError::Damaged { .. }) if record.barrier => Ok((first_base(holding), true)),
        Err(error) => Err(error.into()),
    }
}
