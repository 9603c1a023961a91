//! How a workflow is named, and which partition it lives in.

use std::fmt;

/// A stable name for a machine, such as `ninjaone.credential`. It is stored; it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkflowId {
    kind: String,
    id: String,
}

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct IdError {
    /// The part of the name that is wrong.
    pub field: &'static str,
    /// What would be accepted.
    pub rule: &'static str,
}

impl WorkflowId {
    /// Checks both parts: a kind is `[a-z0-9.]{1,40}`, an id 1 to 240 printable ASCII characters
    /// without spaces, colons, braces, brackets, `*`, `?` and backslashes, which mean something in a key.
    ///
    /// # Errors
    /// Names the part that is wrong and what is allowed.
    pub fn new(kind: &str, id: &str) -> Result<Self, IdError> {
        let kind_ok = (1..=40).contains(&kind.len())
            && kind
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.');
        if !kind_ok {
            return Err(IdError {
                field: "kind",
                rule: "1 to 40 characters of a-z 0-9 and the dot",
            });
        }
        let id_ok = (1..=240).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b":{}[]*?\\".contains(&b));
        if !id_ok {
            return Err(IdError {
                field: "id",
                rule: "1 to 240 visible ASCII characters, none of : { } [ ] * ? \\",
            });
        }
        Ok(Self {
            kind: kind.to_owned(),
            id: id.to_owned(),
        })
    }

    /// Reads the member of a `due` set: `kind:id`.
    ///
    /// # Errors
    /// As [`WorkflowId::new`].
    pub fn from_member(member: &str) -> Result<Self, IdError> {
        let (kind, id) = member.split_once(':').ok_or(IdError {
            field: "kind",
            rule: "a member is written kind:id",
        })?;
        Self::new(kind, id)
    }

    /// Which machine it runs.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its name among those of its kind.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Which of `count` partitions it lives in. Only the id up to the last `@` counts, so that
    /// workflows that differ in what follows share a partition and thereby an event stream.
    #[must_use]
    pub fn partition(&self, count: u16) -> u16 {
        let shared = self
            .id
            .rsplit_once('@')
            .map_or(self.id.as_str(), |(head, _)| head);
        crc16::State::<crc16::XMODEM>::calculate(shared.as_bytes()) % count
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_reads_back() {
        let id = WorkflowId::new("ninjaone.credential", "acme/prod@user").unwrap();
        assert_eq!(WorkflowId::from_member(&id.to_string()).unwrap(), id);
    }

    #[test]
    fn grants_of_one_integration_share_a_partition() {
        let of = |id: &str| WorkflowId::new("k", id).unwrap().partition(16);
        assert_eq!(of("acme/prod@user"), of("acme/prod@client"));
        assert_eq!(of("acme/prod@user"), of("acme/prod"));
    }

    #[test]
    fn what_means_something_in_a_key_is_refused() {
        for id in ["", "a b", "a:b", "a{b", "a*", "ä"] {
            assert_eq!(WorkflowId::new("k", id).unwrap_err().field, "id", "{id}");
        }
        assert_eq!(WorkflowId::new("Kind", "a").unwrap_err().field, "kind");
    }
}
