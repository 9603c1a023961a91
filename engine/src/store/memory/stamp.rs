//! The twin of `stamp.lua`.

use super::space::Space;
use crate::machine::Millis;
use crate::store::Stamped;

const META: &str = "meta";
const STAMP: &str = "stamp";
const RESTORED: &str = "restored";

pub(super) fn stamp(space: &mut Space, now: Millis, newest: Millis, write: bool) -> Stamped {
    let number = |field: &str| -> Millis {
        let text = space.tables.get(META, field);
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let (stored, mut restored) = (number(STAMP), number(RESTORED));
    let older = stored < newest;
    if older {
        restored = now;
        space.tables.put(META, RESTORED, &now.to_string());
    }
    // A clock that was stepped back does not make a stamp older.
    let stamp = now.max(stored).max(newest);
    if write {
        space.tables.put(META, STAMP, &stamp.to_string());
    }
    Stamped {
        stored,
        stamp,
        restored: Some(restored).filter(|at| *at > 0),
        older,
    }
}
