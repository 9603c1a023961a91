//! Which grant is meant, and reading it.

use evergreen_engine::{Driven, View, WorkflowId};

use super::{App, ServiceError, StatusView};
use crate::integration::{GrantKind, GrantRef, IntegrationId, Target};
use crate::lifecycle::{Credential, KIND, Phase};

/// A grant as it was read.
pub(super) struct Found {
    pub(super) grant: GrantRef,
    pub(super) id: WorkflowId,
    pub(super) view: View<Credential>,
}

impl Found {
    pub(super) fn shown(&self) -> StatusView {
        StatusView::of(&self.grant, &self.view)
    }

    /// Whether a person has ended it, and nothing is on its way to it.
    fn is_ended(&self) -> bool {
        let reading = &self.view.reading;
        let over = matches!(&self.view.machine, Ok((_, Phase::Disconnected {})));
        over && reading.inbox_len == 0 && !reading.record.barrier
    }

    /// Data and state.
    pub(super) fn machine(&self) -> Result<(&Credential, &Phase), ServiceError> {
        match &self.view.machine {
            Ok((credential, phase)) => Ok((credential, phase)),
            Err(why) => Err(ServiceError::Internal {
                doing: format!("reading {}", self.grant),
                why: why.clone(),
            }),
        }
    }
}

/// The workflow of a grant.
pub(super) fn workflow_id(grant: &GrantRef) -> Result<WorkflowId, ServiceError> {
    WorkflowId::new(KIND, &grant.to_string()).map_err(|error| ServiceError::Invalid {
        field: error.field.to_owned(),
        rule: error.rule.to_owned(),
    })
}

impl App {
    /// Reads one grant; `None` if it does not exist.
    pub(super) async fn find(
        &self,
        grant: &GrantRef,
        with_sealed: bool,
    ) -> Result<Option<Found>, ServiceError> {
        let id = workflow_id(grant)?;
        let view = self.engine().read::<Credential>(&id, with_sealed).await?;
        Ok(view.map(|view| Found {
            grant: grant.clone(),
            id,
            view,
        }))
    }

    /// The grant that a verb means: the one that was named, else `user` if there is one, else `client`.
    /// What is left of a grant that was disconnected is meant only where there is nothing else.
    pub(super) async fn meant(&self, target: &Target) -> Result<Found, ServiceError> {
        let kinds = match target.grant {
            Some(kind) => vec![kind],
            None => vec![GrantKind::User, GrantKind::Client],
        };
        let mut ended = None;
        for kind in kinds {
            match self.find(&target.integration.grant(kind), false).await? {
                Some(found) if found.is_ended() => ended = ended.or(Some(found)),
                Some(found) => return Ok(found),
                None => {}
            }
        }
        ended.ok_or_else(|| ServiceError::NotFound {
            what: target.to_string(),
        })
    }

    /// All grants of an integration that exist, or the named one.
    pub(super) async fn all_meant(&self, target: &Target) -> Result<Vec<Found>, ServiceError> {
        let mut all = Vec::new();
        for kind in [GrantKind::User, GrantKind::Client] {
            if target.grant.is_none_or(|named| named == kind) {
                all.extend(self.find(&target.integration.grant(kind), false).await?);
            }
        }
        if all.is_empty() {
            return Err(ServiceError::NotFound {
                what: target.to_string(),
            });
        }
        Ok(all)
    }

    /// Runs a turn, or waits for whoever holds the workflow.
    pub(super) async fn drive(&self, id: &WorkflowId) -> Result<Driven, ServiceError> {
        answered(self.engine().drive(id).await)
    }

    /// Drives until a reading is as wanted, a few times at most; answers the last reading. `apart`
    /// after a pre-emptive signal, which ended whatever turn is under way here.
    pub(super) async fn drive_until(
        &self,
        grant: &GrantRef,
        apart: bool,
        wanted: impl Fn(&Found) -> bool,
    ) -> Result<Found, ServiceError> {
        let id = workflow_id(grant)?;
        let mut rounds = 0;
        loop {
            if apart {
                answered(self.engine().drive_apart(&id).await)?;
            } else {
                self.drive(&id).await?;
            }
            let found = self
                .find(grant, false)
                .await?
                .ok_or_else(|| gone(grant.integration()))?;
            rounds += 1;
            if wanted(&found) || rounds == 4 {
                return Ok(found);
            }
        }
    }
}

fn answered(driven: Driven) -> Result<Driven, ServiceError> {
    match driven {
        Driven::StoreAway { why } => Err(ServiceError::StoreAway { why }),
        driven => Ok(driven),
    }
}

pub(super) fn gone(integration: &IntegrationId) -> ServiceError {
    ServiceError::NotFound {
        what: integration.to_string(),
    }
}
