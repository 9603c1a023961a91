//! Sealing what the machine asks to have sealed, each blob for its place.

use evergreen_engine::record::SealedBlobs;
use evergreen_engine::{SealError, WorkflowId};

use crate::lifecycle::{Issued, Kept, Rescued, Secret};
use crate::vault::{GrantId, KeyRing, OpenError, Pair, Place, Sealed, Workflow};

/// The workflow's name, as sealed blobs are bound to it.
pub(crate) fn workflow(id: &WorkflowId) -> Workflow<'_> {
    Workflow {
        kind: id.kind(),
        id: id.id(),
    }
}

/// Seals one wish of the machine. What a signal carried is opened first, at the signal's place.
pub(super) fn seal(
    ring: &KeyRing,
    id: &WorkflowId,
    secret: &Secret,
    blobs: &SealedBlobs,
) -> Result<String, SealError> {
    let workflow = workflow(id);
    let failed = |why: OpenError| SealError {
        id: id.to_string(),
        why: why.to_string(),
    };
    let sealed = match secret {
        Secret::Issued {
            grant,
            generation,
            pair,
        } => {
            let place = Place::Stored {
                workflow,
                grant: *grant,
                generation: *generation,
            };
            ring.seal_pair(&place, pair)
        }
        Secret::Carried {
            grant,
            generation,
            pair,
        } => {
            let from = Place::Signal {
                workflow,
                grant: *grant,
            };
            let to = Place::Stored {
                workflow,
                grant: *grant,
                generation: *generation,
            };
            ring.seal_pair(&to, &ring.open_pair(&from, pair).map_err(failed)?)
        }
        Secret::CarriedApp { grant, app } => {
            let from = Place::Signal {
                workflow,
                grant: *grant,
            };
            let to = Place::Client {
                workflow,
                grant: *grant,
            };
            ring.seal_app(&to, &ring.open_app(&from, app).map_err(failed)?)
        }
        Secret::Quarantine {
            grant,
            base_generation,
            pair,
        } => {
            let from = Place::Signal {
                workflow,
                grant: *grant,
            };
            let to = Place::Quarantine {
                workflow,
                grant: *grant,
                base_generation: *base_generation,
            };
            ring.seal_pair(&to, &ring.open_pair(&from, pair).map_err(failed)?)
        }
        Secret::SetAside {
            grant,
            generation,
            base_generation,
        } => {
            let from = Place::Stored {
                workflow,
                grant: *grant,
                generation: *generation,
            };
            let to = Place::Quarantine {
                workflow,
                grant: *grant,
                base_generation: *base_generation,
            };
            let stored = blob(blobs, "pair").map_err(failed)?;
            ring.seal_pair(&to, &ring.open_pair(&from, &stored).map_err(failed)?)
        }
        Secret::Released {
            grant,
            generation,
            base_generation,
            slot,
            access_of,
        } => {
            let from = Place::Quarantine {
                workflow,
                grant: *grant,
                base_generation: *base_generation,
            };
            let to = Place::Stored {
                workflow,
                grant: *grant,
                generation: *generation,
            };
            let kept = blob(blobs, slot).map_err(failed)?;
            let mut pair = ring.open_pair(&from, &kept).map_err(failed)?;
            if let Some(generation) = access_of {
                let stored = Place::Stored {
                    workflow,
                    grant: *grant,
                    generation: *generation,
                };
                let stored = blob(blobs, "pair").and_then(|pair| ring.open_pair(&stored, &pair));
                pair.access_token = stored.map_err(failed)?.access_token;
            }
            ring.seal_pair(&to, &pair)
        }
        Secret::Anew { slot, kept } => {
            let stored = blob(blobs, slot).map_err(failed)?;
            ring.seal_anew(&place(workflow, *kept), &stored)
                .map_err(failed)?
        }
    };
    Ok(sealed.to_string())
}

/// Where it is kept.
fn place(workflow: Workflow<'_>, kept: Kept) -> Place<'_> {
    match kept {
        Kept::Pair { grant, generation } => Place::Stored {
            workflow,
            grant,
            generation,
        },
        Kept::App { grant } => Place::Client { workflow, grant },
        Kept::Quarantined {
            grant,
            base_generation,
        } => Place::Quarantine {
            workflow,
            grant,
            base_generation,
        },
    }
}

/// Reads a blob that is stored under a name.
pub(crate) fn blob(blobs: &SealedBlobs, slot: &str) -> Result<Sealed, OpenError> {
    blobs
        .get(slot)
        .and_then(|text| text.parse().ok())
        .ok_or(OpenError::Malformed)
}

/// A pair that could not be committed, as the signal that carries it to whoever holds the workflow.
pub(crate) fn rescued(ring: &KeyRing, id: &WorkflowId, issued: &Issued) -> Rescued {
    let place = Place::Signal {
        workflow: workflow(id),
        grant: issued.grant,
    };
    Rescued {
        grant: issued.grant,
        base_generation: issued.base_generation,
        pair: ring.seal_pair(&place, &issued.pair),
        refresh_token: issued.refresh_token,
        obtained_at: issued.obtained_at,
        expires_at: issued.expires_at,
        bearer: issued.bearer,
    }
}

/// Opens the pair that a grant lives on.
pub(crate) fn stored_pair(
    refresher: &super::Refresher,
    id: &WorkflowId,
    grant: GrantId,
    generation: u64,
    blobs: &SealedBlobs,
) -> Result<Pair, OpenError> {
    let place = Place::Stored {
        workflow: workflow(id),
        grant,
        generation,
    };
    refresher.ring.open_pair(&place, &blob(blobs, "pair")?)
}
