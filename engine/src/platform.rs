//! What an engine takes from the machine that it runs on beside the monotonic clock: the time of day,
//! and randomness.
//!
//! Both are values, so that a process can be given others: a machine without a trustworthy clock, a
//! source of randomness of one's own, or, in a simulation, a clock that jumps and a seed that makes a
//! run repeat exactly. Nothing else in the engine reads either.

use std::fmt;
use std::sync::Arc;

use crate::machine::Millis;
use crate::store::clock::{self, Clock};

/// Draws 64 random bits. Claim and commit ids are made of them, so no two processes of a fleet may
/// draw the same.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The time of day and the randomness of one process.
#[derive(Clone)]
pub struct Platform {
    /// The wall clock of this machine, in ms since 1970. Leases are trusted no longer than it allows;
    /// times in workflows are the store's.
    pub wall: Clock,
    /// Where ids, the random number of each turn, and the jitter of the worker come from.
    pub random: Random,
}

impl Default for Platform {
    /// The clock of the operating system, and randomness that nobody can foresee.
    fn default() -> Self {
        Self {
            wall: clock::system(),
            random: Arc::new(rand::random),
        }
    }
}

impl Platform {
    /// The time of day.
    pub(crate) fn now(&self) -> Millis {
        (self.wall)()
    }

    /// 64 random bits as 16 hex digits: a commit id, a claim id.
    pub(crate) fn id(&self) -> String {
        format!("{:016x}", (self.random)())
    }

    /// Uniform in 0 ≤ x < 1.
    pub(crate) fn unit(&self) -> f64 {
        const BITS: u32 = 53; // as many as a float holds exactly
        #[expect(clippy::cast_precision_loss)]
        let part = ((self.random)() >> (u64::BITS - BITS)) as f64;
        part / (1_u64 << BITS) as f64
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(bits: u64) -> Platform {
        Platform {
            random: Arc::new(move || bits),
            ..Platform::default()
        }
    }

    #[test]
    fn a_unit_is_never_one() {
        assert!(drawing(u64::MAX).unit() < 1.0);
        assert!(drawing(u64::MAX).unit() > 0.999_999);
        assert_eq!(drawing(0).unit().to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn an_id_has_sixteen_digits_whatever_is_drawn() {
        assert_eq!(drawing(255).id(), "00000000000000ff");
        assert_ne!(Platform::default().id(), Platform::default().id());
    }
}
