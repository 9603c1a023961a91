//! Sealing anew what a grant keeps, after the key that seals has become another (PROTOCOL 22).

use evergreen_engine::Context;

use super::data::Credential;
use super::grants::{APP, PAIR};
use super::inputs::{Kept, Secret};

impl Credential {
    /// Asks to have everything sealed anew that this grant keeps. State, generation and timers stay as
    /// they are, and a request under way is not disturbed: it has read what it needs.
    pub(super) fn reseal(&self, context: &mut Context<'_, Credential>) {
        let Some(grant) = &self.grant else { return };
        let mut anew = |slot: String, kept: Kept| {
            let secret = Secret::Anew {
                slot: slot.clone(),
                kept,
            };
            context.effects.seal_anew(slot, secret);
        };
        let pair = Kept::Pair {
            grant: grant.id,
            generation: grant.generation,
        };
        anew(PAIR.to_owned(), pair);
        if grant.own_app {
            anew(APP.to_owned(), Kept::App { grant: grant.id });
        }
        for apart in &self.quarantined {
            let kept = Kept::Quarantined {
                grant: grant.id,
                base_generation: apart.base_generation,
            };
            anew(apart.slot(), kept);
        }
    }
}
