//! Where a sealed blob belongs. The place is the associated data of the seal: a blob that was moved
//! to another integration, grant, generation or role does not open there.

use super::GrantId;

/// The workflow that a blob belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Workflow<'a> {
    /// Its kind, such as `ninjaone.credential`.
    pub kind: &'a str,
    /// Its id, such as `acme/prod@user`.
    pub id: &'a str,
}

/// One place that a sealed blob can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place<'a> {
    /// The pair a workflow lives on.
    Stored {
        /// Whose pair.
        workflow: Workflow<'a>,
        /// The grant it came from.
        grant: GrantId,
        /// Rotations within the grant so far.
        generation: u64,
    },
    /// Tokens in a signal, until the turn that consumes it seals them anew.
    Signal {
        /// Who is to receive it.
        workflow: Workflow<'a>,
        /// The grant that the tokens belong to.
        grant: GrantId,
    },
    /// A rotated pair in a worker's journal.
    Journal {
        /// Whose pair.
        workflow: Workflow<'a>,
        /// The grant it came from.
        grant: GrantId,
        /// The generation that was spent to get it.
        base_generation: u64,
    },
    /// A pair that could not be adopted and is kept aside.
    Quarantine {
        /// Whose pair.
        workflow: Workflow<'a>,
        /// The grant it came from.
        grant: GrantId,
        /// The generation that was spent to get it.
        base_generation: u64,
    },
    /// The credentials of an integration's own client app.
    Client {
        /// Whose app.
        workflow: Workflow<'a>,
        /// The grant that it was registered for.
        grant: GrantId,
    },
    /// Verifier and target of a consent under way. The target is inside, so it cannot be outside.
    Consent {
        /// The hash of the state under which the consent is kept.
        state_hash: &'a str,
    },
}

impl Place<'_> {
    /// The place as bytes, each text with its length before it: no two places have the same bytes.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let (role, workflow, grant, number) = match self {
            Self::Stored {
                workflow,
                grant,
                generation,
            } => ("stored", workflow, Some(grant), Some(generation)),
            Self::Signal { workflow, grant } => ("signal", workflow, Some(grant), None),
            Self::Journal {
                workflow,
                grant,
                base_generation,
            } => ("journal", workflow, Some(grant), Some(base_generation)),
            Self::Quarantine {
                workflow,
                grant,
                base_generation,
            } => ("quarantine", workflow, Some(grant), Some(base_generation)),
            Self::Client { workflow, grant } => ("client", workflow, Some(grant), None),
            Self::Consent { state_hash } => {
                let nobody = Workflow {
                    kind: "",
                    id: state_hash,
                };
                ("consent", nobody, None, None)
            }
        };
        let mut bytes = Vec::with_capacity(64);
        for text in ["evergreen", role, workflow.kind, workflow.id] {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        // The role decides which of these follow, and each has a fixed length.
        bytes.extend(grant.into_iter().flat_map(GrantId::to_bytes));
        bytes.extend(number.into_iter().flat_map(u64::to_be_bytes));
        bytes
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Places that differ in one thing each.
    pub(in crate::vault) fn all_different(one: GrantId, two: GrantId) -> Vec<Place<'static>> {
        let mut places = Vec::new();
        for (kind, id) in [
            ("ninjaone.credential", "acme/prod@user"),
            ("ninjaone.credential", "acme/prod@client"),
            ("ninjaone.credentia", "lacme/prod@user"),
            ("", "acme/prod@user"),
        ] {
            let workflow = Workflow { kind, id };
            for grant in [one, two] {
                places.push(Place::Signal { workflow, grant });
                places.push(Place::Client { workflow, grant });
                for number in [0, 1, 256, u64::MAX] {
                    places.push(Place::Stored {
                        workflow,
                        grant,
                        generation: number,
                    });
                    places.push(Place::Journal {
                        workflow,
                        grant,
                        base_generation: number,
                    });
                    places.push(Place::Quarantine {
                        workflow,
                        grant,
                        base_generation: number,
                    });
                }
            }
        }
        for state_hash in ["", "acme/prod@user", "0123"] {
            places.push(Place::Consent { state_hash });
        }
        places
    }

    #[test]
    fn no_two_places_have_the_same_bytes() {
        let places = all_different(GrantId::random(), GrantId::random());
        let bytes: HashSet<_> = places.iter().map(|place| place.to_bytes()).collect();
        assert_eq!(bytes.len(), places.len());
    }

    #[test]
    fn the_encoding_is_what_stored_blobs_were_sealed_with() {
        let place = Place::Stored {
            workflow: Workflow {
                kind: "k",
                id: "t/i@user",
            },
            grant: "0102030405060708".parse().unwrap(),
            generation: 9,
        };
        let mut wanted = Vec::new();
        for text in ["evergreen", "stored", "k", "t/i@user"] {
            wanted.extend([0, 0, 0, 0, 0, 0, 0, u8::try_from(text.len()).unwrap()]);
            wanted.extend(text.bytes());
        }
        wanted.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        wanted.extend([0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(place.to_bytes(), wanted);
    }
}
