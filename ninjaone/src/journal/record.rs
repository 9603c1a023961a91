//! How entries and their removal are written, and what is read from a damaged file.
//!
//! A record is one line of text, so that a journal can be looked at with `less`:
//!
//! ```text
//! <length of the JSON, 8 hex digits> <first 8 bytes of its SHA-256, 16 hex digits> <JSON>\n
//! ```
//!
//! The JSON holds no raw line end. Therefore reading can go on behind a damaged record, at the next
//! line: a flipped bit in the middle costs one record, not all that follow it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Entry, EntryId};

/// Length, space, checksum, space.
const PREFIX_BYTES: usize = 8 + 1 + 16 + 1;

/// What a file says, line by line. Names are stored: they do not change with the Rust items.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record<E = Entry> {
    /// A pair was obtained.
    Put(E),
    /// It is safe elsewhere, or worthless.
    Gone(EntryId),
    /// The newest stamp of the store that this worker has seen.
    Stamp(u64),
}

/// What was found in the bytes of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// The entries that were put and not removed.
    pub(super) entries: BTreeMap<EntryId, Entry>,
    /// The newest stamp; 0 if there is none.
    pub(super) stamp: u64,
    /// Intact records that this release does not know.
    pub(super) unknown: usize,
    /// Bytes at the end that belong to no whole record: a write that was cut short.
    pub(super) torn_bytes: u64,
    /// Other bytes that belong to no record: damage.
    pub(super) damaged_bytes: u64,
}

/// Writes at the end of a buffer that an entry was put.
pub(super) fn put(entry: &Entry, into: &mut Vec<u8>) {
    write(&Record::Put(entry), into);
}

/// Writes at the end of a buffer that an entry was removed.
pub(super) fn gone(id: EntryId, into: &mut Vec<u8>) {
    write(&Record::<Entry>::Gone(id), into);
}

/// Writes the newest stamp at the end of a buffer.
pub(super) fn stamp(stamp: u64, into: &mut Vec<u8>) {
    write(&Record::<Entry>::Stamp(stamp), into);
}

fn write<E: Serialize>(record: &Record<E>, into: &mut Vec<u8>) {
    let json = serde_json::to_string(record).expect("a record has text for keys and no maps");
    let sum = checksum(json.as_bytes());
    into.extend_from_slice(format!("{:08x} {sum} ", json.len()).as_bytes());
    into.extend_from_slice(json.as_bytes());
    into.push(b'\n');
}

/// Reads all that can be read.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut found = Scan::default();
    let mut at = 0;
    while at < bytes.len() {
        if let Some(json) = record_at(&bytes[at..]) {
            match serde_json::from_slice(json) {
                Ok(record) => found.take(record),
                Err(_) => found.unknown += 1,
            }
            at += PREFIX_BYTES + json.len();
            // The checksum vouches for the record even if its line end was hit.
            match bytes.get(at) {
                Some(b'\n') => at += 1,
                Some(_) => {
                    found.damaged_bytes += 1;
                    at += 1;
                }
                None => {}
            }
        } else {
            let rest = &bytes[at..];
            match rest.iter().position(|&b| b == b'\n') {
                Some(end) if end + 1 < rest.len() => {
                    found.damaged_bytes += end as u64 + 1;
                    at += end + 1;
                }
                _ => {
                    found.torn_bytes = rest.len() as u64;
                    break;
                }
            }
        }
    }
    found
}

impl Scan {
    fn take(&mut self, record: Record) {
        match record {
            Record::Put(entry) => {
                self.stamp = self.stamp.max(entry.stamp);
                self.entries.insert(entry.id, entry);
            }
            Record::Gone(id) => {
                self.entries.remove(&id);
            }
            Record::Stamp(stamp) => self.stamp = self.stamp.max(stamp),
        }
    }
}

/// The JSON of the record that starts here, if it is whole and its checksum is right.
fn record_at(bytes: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = bytes.split_at_checked(PREFIX_BYTES)?;
    let prefix = str::from_utf8(prefix).ok()?;
    let (length, sum) = prefix.strip_suffix(' ')?.split_once(' ')?;
    let length = usize::from_str_radix(length, 16).ok()?;
    let json = rest.get(..length)?;
    (checksum(json) == sum).then_some(json)
}

fn checksum(json: &[u8]) -> String {
    hex::encode(&Sha256::digest(json)[..8])
}
