//! The promises of the journal, on a disk of memory that fails and loses power, and on a real one.

mod anew;
mod crash;
mod damage;
mod faults;
mod files;
mod memory;
mod secrets;
mod sharing;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::board::Board;
use super::disk::Disk;
use super::log::{Batch, Log};
use super::{Entry, EntryId, Limits};
use crate::vault::{GrantId, KeyRing, Pair, Place, Workflow};

const KIND: &str = "ninjaone.credential";
const WORKFLOW: &str = "acme/prod@user";

/// Nothing happens by itself: what may wait is done when the test says so, or at the end.
const QUIET: Limits = Limits {
    entries_max: 10_000,
    bytes_max: 64 << 20,
    garbage_bytes_max: 1 << 20,
    linger: Duration::from_secs(3600),
};

fn ring() -> KeyRing {
    let key = KeyRing::generate().unwrap();
    KeyRing::parse(key.printable.expose_secret()).unwrap()
}

/// An entry whose generation tells it from others.
fn entry(base_generation: u64) -> Entry {
    sealed_entry(&ring(), base_generation, "access", "refresh")
}

fn sealed_entry(ring: &KeyRing, base_generation: u64, access: &str, refresh: &str) -> Entry {
    let grant: GrantId = "00000000000000aa".parse().unwrap();
    let place = Place::Journal {
        workflow: Workflow {
            kind: KIND,
            id: WORKFLOW,
        },
        grant,
        base_generation,
    };
    let pair = Pair {
        access_token: access.into(),
        refresh_token: Some(refresh.into()),
    };
    Entry {
        id: EntryId::random(),
        kind: KIND.into(),
        workflow: WORKFLOW.into(),
        grant,
        base_generation,
        claim: "00000000000000cc".into(),
        commit: Some("00000000000000dd".into()),
        written_at_ms: 1_763_700_000_000 + base_generation,
        expires_at_ms: None,
        bearer: true,
        stamp: 7,
        sealed: ring.seal_pair(&place, &pair),
    }
}

fn generations(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.base_generation).collect()
}

/// A log without its thread.
fn log(disk: impl Disk + 'static, limits: Limits) -> (Log, Arc<Mutex<Board>>) {
    let board = Arc::new(Mutex::new(Board::default()));
    (Log::new(Box::new(disk), limits, board.clone()), board)
}

fn puts(entries: &[Entry]) -> Batch {
    Batch {
        puts: entries.to_vec(),
        ..Batch::default()
    }
}

fn gone(ids: &[EntryId]) -> Batch {
    Batch {
        gone: ids.to_vec(),
        ..Batch::default()
    }
}
