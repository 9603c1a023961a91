//! Pairs that could not be committed when they came, as `ninjaone/src/lifecycle/rescue.rs` judges them.

use super::machine::{Around, Run, Wishes};
use super::state::*;

/// Pairs kept apart at most.
const APART_MAX: usize = 4;

impl Run {
    pub(super) fn rescued(&mut self, pair: Rescued, around: &Around) -> Wishes {
        let Some(grant) = self.machine.grant else {
            return Wishes::default();
        };
        let same = if around.rules.grant_id {
            grant.id == pair.grant
        } else {
            grant.epoch == pair.epoch
        };
        if !same {
            return Wishes::default();
        }
        if pair.base >= grant.generation || !around.rules.rescued_by_generation {
            return self.adopt(pair, around);
        }
        let known = grant.token == pair.token || self.machine.spent & pair.token.bit() != 0;
        let apart = self.machine.apart.iter().any(|(_, t)| *t == pair.token);
        if (known && around.rules.rescued_known_dropped) || apart {
            return Wishes::default();
        }
        if around.rules.rescued_kept_apart {
            self.machine.apart.push((pair.base, pair.token));
            if self.machine.apart.len() > APART_MAX {
                self.machine.apart.remove(0);
            }
        }
        Wishes::default()
    }

    pub(super) fn adopt(&mut self, pair: Rescued, around: &Around) -> Wishes {
        let condemned = matches!(self.machine.phase, Phase::ReconnectRequired(_));
        if condemned && !around.rules.rescued_heals {
            return Wishes::default();
        }
        if let Some(grant) = &self.machine.grant
            && grant.token != pair.token
        {
            self.machine.spent |= grant.token.bit();
        }
        self.machine.spent &= !pair.token.bit();
        self.machine.grant = Some(Grant {
            id: self.machine.grant.map_or(pair.grant, |grant| grant.id),
            epoch: pair.epoch,
            generation: pair.base + 1,
            token: pair.token,
        });
        self.put = Some(pair.token);
        let spent = self.machine.spent;
        (self.machine.apart).retain(|(_, t)| *t != pair.token && spent & t.bit() == 0);
        self.healed();
        self.planned(around)
    }
}
