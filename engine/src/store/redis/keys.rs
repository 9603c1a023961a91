//! Every key there is, with its Redis type. The prefix stands for `evergreen`, unless configured.
//!
//! All keys of a workflow carry the tag of its partition, so that a script finds them on one node of
//! a cluster. The tags are chosen so that partitions spread evenly over the slots: plain `00` to `15`
//! would fall 8, 4 and 4 on three masters.

use crate::id::WorkflowId;
use crate::store::StoreError;

/// The slots of a Redis cluster.
pub(super) const SLOTS: u16 = 16_384;

/// The names of the keys of one key space.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    tags: Vec<String>,
}

impl Keys {
    pub(super) fn new(prefix: &str, partitions: u16) -> Self {
        Self {
            prefix: prefix.to_owned(),
            tags: (0..partitions).map(|i| tag(i, partitions)).collect(),
        }
    }

    /// zset: workflow → visibility, integer ms.
    pub(super) fn due(&self, partition: u16) -> Result<String, StoreError> {
        self.shared(partition, "due")
    }

    /// zset: workflow → when it was parked, ms.
    pub(super) fn parked(&self, partition: u16) -> Result<String, StoreError> {
        self.shared(partition, "parked")
    }

    /// stream: the outbox.
    pub(super) fn events(&self, partition: u16) -> Result<String, StoreError> {
        self.shared(partition, "events")
    }

    /// hash: how far readers of the outbox have come, and what they have lost.
    pub(super) fn readers(&self, partition: u16) -> Result<String, StoreError> {
        self.shared(partition, "readers")
    }

    /// hash: the record.
    pub(super) fn wf(&self, id: &WorkflowId) -> String {
        self.of(id, "wf")
    }

    /// list: signals not yet consumed.
    pub(super) fn inbox(&self, id: &WorkflowId) -> String {
        self.of(id, "inbox")
    }

    /// hash: sealed blobs.
    pub(super) fn sealed(&self, id: &WorkflowId) -> String {
        self.of(id, "sealed")
    }

    /// list: the last transitions.
    pub(super) fn log(&self, id: &WorkflowId) -> String {
        self.of(id, "log")
    }

    /// hash: what the key space is.
    pub(super) fn meta(&self) -> String {
        self.plain("meta")
    }

    /// hash: a plain table, such as `workers`.
    pub(super) fn table(&self, table: &str) -> String {
        self.plain(table)
    }

    /// string: a slip or a turnstile, whose name brings its own first word, such as `consent:…`.
    pub(super) fn named(&self, name: &str) -> String {
        self.plain(name)
    }

    /// hash: pause, breaker and pace of a gate. It lies in a slot of its own: its name is the tag.
    pub(super) fn gate(&self, name: &str) -> Result<String, StoreError> {
        if name.is_empty() || name.contains(['{', '}']) {
            return Err(StoreError::Refused {
                doing: "looking at a gate".to_owned(),
                why: format!("{name:?} is no name for one: at least one character, no braces"),
            });
        }
        Ok(format!("{}:gate:{{{name}}}", self.prefix))
    }

    /// zset: who is inside a gate → when their place ends, ms.
    pub(super) fn places(&self, name: &str) -> Result<String, StoreError> {
        Ok(format!("{}:places", self.gate(name)?))
    }

    /// channel: `<partition> <ms>` when something became due earlier than was told.
    pub(super) fn wake(&self) -> String {
        self.plain("wake")
    }

    /// Pattern: all records of a kind.
    pub(super) fn records_of(&self, kind: &str) -> String {
        format!("{}:{{*}}:wf:{kind}:*", self.prefix)
    }

    /// Pattern: everything in the key space.
    pub(super) fn everything(&self) -> String {
        format!("{}:*", self.prefix)
    }

    /// The workflow whose record lies under a key.
    pub(super) fn workflow(&self, key: &str) -> Option<WorkflowId> {
        let (_, member) = key.strip_prefix(&self.prefix)?.split_once("}:wf:")?;
        WorkflowId::from_member(member).ok()
    }

    pub(super) fn partitions(&self) -> u16 {
        // Built from a `u16`.
        u16::try_from(self.tags.len()).unwrap_or(u16::MAX)
    }

    fn of(&self, id: &WorkflowId, what: &str) -> String {
        let tag = &self.tags[usize::from(id.partition(self.partitions()))];
        format!("{}:{{{tag}}}:{what}:{id}", self.prefix)
    }

    fn shared(&self, partition: u16, what: &str) -> Result<String, StoreError> {
        let tag = self.tags.get(usize::from(partition));
        let tag = tag.ok_or_else(|| StoreError::Refused {
            doing: "looking into a partition".to_owned(),
            why: format!("there are {}, none is {partition}", self.tags.len()),
        })?;
        Ok(format!("{}:{{{tag}}}:{what}", self.prefix))
    }

    fn plain(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }
}

/// Whether a prefix can begin a key: no character that means something in a pattern or a tag.
#[must_use]
pub fn prefix_is_usable(prefix: &str) -> bool {
    (1..=64).contains(&prefix.len())
        && prefix
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

/// The first of `07`, `07.1`, `07.2`, … whose slot lies in the partition's share of the slots.
fn tag(partition: u16, of: u16) -> String {
    let plain = format!("{partition:02}");
    let lies_right = |tag: &String| {
        u32::from(slot(tag)) * u32::from(of) / u32::from(SLOTS) == u32::from(partition)
    };
    if lies_right(&plain) {
        return plain;
    }
    // One in `of` candidates lies right, so the search ends after about so many.
    (1_u32..)
        .map(|n| format!("{plain}.{n}"))
        .find(lies_right)
        .unwrap_or(plain)
}

/// The slot of a cluster that a tag belongs to.
fn slot(tag: &str) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(tag.as_bytes()) % SLOTS
}

/// The slot of a cluster that a key belongs to: that of its tag, if it has one.
pub(super) fn slot_of(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    slot(tag.map_or(key, |(tag, _)| if tag.is_empty() { key } else { tag }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_space_reads_as_documented() {
        let keys = Keys::new("evergreen", 16);
        let id = WorkflowId::new("ninjaone.credential", "acme/prod@user").unwrap();
        let tag = &keys.tags[usize::from(id.partition(16))];
        let wf = format!("evergreen:{{{tag}}}:wf:ninjaone.credential:acme/prod@user");
        assert_eq!(keys.wf(&id), wf);
        assert_eq!(keys.workflow(&wf), Some(id));
        assert_eq!(keys.meta(), "evergreen:meta");
        assert_eq!(keys.named("consent:ab"), "evergreen:consent:ab");
        assert!(keys.due(16).is_err());
        let gate = keys.gate("[::1]:8090").unwrap();
        assert_eq!(gate, "evergreen:gate:{[::1]:8090}");
        assert_eq!(keys.places("h").unwrap(), "evergreen:gate:{h}:places");
        assert!(keys.gate("a}b").is_err() && keys.gate("").is_err());
    }

    #[test]
    fn partitions_lie_evenly_on_the_nodes_of_a_cluster() {
        for count in [1, 3, 16, 64, 1024] {
            for (partition, tag) in (0_u32..).zip(&Keys::new("e", count).tags) {
                assert_eq!(
                    u32::from(slot(tag)) * u32::from(count) / u32::from(SLOTS),
                    partition
                );
                assert!(tag.starts_with(&format!("{partition:02}")));
            }
        }
    }

    #[test]
    fn a_slot_is_what_redis_says_it_is() {
        // `CLUSTER KEYSLOT foo` and `CLUSTER KEYSLOT 123456789`.
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("123456789"), 12_739);
        assert_eq!(slot_of("evergreen:{foo}:due"), slot("foo"));
        assert_eq!(slot_of("evergreen:gate:{a}{b}"), slot("a"));
        for plain in ["foo", "foo{}{bar}", "foo{bar"] {
            assert_eq!(slot_of(plain), slot(plain));
        }
    }

    #[test]
    fn a_prefix_cannot_carry_a_pattern_or_a_tag() {
        for prefix in ["", "a*", "a{b}", "a b", "ä"] {
            assert!(!prefix_is_usable(prefix), "{prefix}");
        }
        assert!(prefix_is_usable("evergreen"));
        assert!(prefix_is_usable("staging:evergreen-2"));
    }
}
