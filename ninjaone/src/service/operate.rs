//! Refresh, reset, disconnect, backfill.

use evergreen_engine::Delivery;
use evergreen_engine::store::{Reconciled, Requeued, Signalled};
use serde::{Deserialize, Serialize};

use super::find::Found;
use super::{App, ServiceError, StatusView};
use crate::import::report::{Line, Report, Verdict};
use crate::integration::{GrantRef, Target};
use crate::lifecycle::{Credential, KIND, Phase, Signal, Source};
use crate::provider::Attention;
use crate::refresher::stored_pair;

/// What a backfill is to look at.
#[derive(Debug, Clone, Default)]
pub struct BackfillAsk {
    /// Only this one.
    pub only: Option<Target>,
    /// As many changes at most.
    pub limit: Option<usize>,
    /// Tell, and change nothing.
    pub dry_run: bool,
}

/// What became of a parked grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RequeueAnswer {
    /// It was parked, and is not any more.
    pub requeued: bool,
    /// How it stands.
    pub status: StatusView,
}

impl App {
    /// Refreshes now, and answers how that went. Nothing is sent after a verdict.
    ///
    /// # Errors
    /// There is no such grant, or the store does not answer.
    pub async fn refresh(&self, target: &Target) -> Result<StatusView, ServiceError> {
        let found = self.meant(target).await?;
        let (credential, _) = found.machine()?;
        let seen = credential.grant.as_ref();
        let signal = Signal::RefreshNow {
            source: Source::Operator,
            grant: seen.map(|grant| grant.id),
            generation: seen.map_or(0, |grant| grant.generation),
        };
        self.tell(&found, &signal, Delivery::default()).await?;
        let found = self.drive_until(&found.grant, false, at_rest).await?;
        Ok(self.shown(&found).await)
    }

    /// Forgets the verdict and tries once.
    ///
    /// # Errors
    /// There is no such grant, or the store does not answer.
    pub async fn reset(&self, target: &Target) -> Result<StatusView, ServiceError> {
        let found = self.meant(target).await?;
        self.tell(&found, &Signal::Reset, Delivery::default())
            .await?;
        let found = self.drive_until(&found.grant, false, at_rest).await?;
        Ok(self.shown(&found).await)
    }

    /// Gives a parked grant back to the workers. It is not driven here: a turn that ends its process
    /// would end this one.
    ///
    /// # Errors
    /// There is no such grant, or the store does not answer.
    pub async fn requeue(&self, target: &Target) -> Result<RequeueAnswer, ServiceError> {
        let found = self.meant(target).await?;
        let requeued = match self.engine().requeue(&found.id).await? {
            Requeued::Requeued => true,
            Requeued::NotParked => false,
            Requeued::Unknown => return Err(super::find::gone(found.grant.integration())),
        };
        let found = self.find(&found.grant, false).await?;
        let found = found.ok_or_else(|| super::find::gone(&target.integration))?;
        let status = self.shown(&found).await;
        Ok(RequeueAnswer { requeued, status })
    }

    /// Erases the named grant, or all grants of an integration; answers once that is done.
    ///
    /// # Errors
    /// There is no such integration, or the store does not answer.
    pub async fn disconnect(&self, target: &Target) -> Result<Vec<StatusView>, ServiceError> {
        let mut shown = Vec::new();
        for found in self.all_meant(target).await? {
            self.0.memory.forget(&found.grant);
            let signal = Signal::Disconnect {
                reason: "user_requested".to_owned(),
            };
            let delivery = Delivery {
                preemptive: true,
                durable: true,
                ..Delivery::default()
            };
            self.tell(&found, &signal, delivery).await?;
            let done = |found: &Found| !found.view.reading.record.barrier;
            let found = self.drive_until(&found.grant, true, done).await?;
            if !done(&found) {
                return Err(ServiceError::TryLater {
                    integration: found.grant.to_string(),
                    why: "the disconnect is stored and not yet carried out".to_owned(),
                    after_s: 1,
                });
            }
            shown.push(self.shown(&found).await);
        }
        Ok(shown)
    }

    pub(super) async fn tell(
        &self,
        found: &Found,
        signal: &Signal,
        delivery: Delivery,
    ) -> Result<(), ServiceError> {
        match self
            .engine()
            .signal::<Credential>(&found.id, signal, delivery)
            .await?
        {
            Signalled::Queued {
                confirmed: true, ..
            } => Ok(()),
            Signalled::Queued { .. } => Err(unconfirmed(&found.grant)),
            Signalled::Unknown => Err(super::find::gone(found.grant.integration())),
            Signalled::Full => Err(ServiceError::TryLater {
                integration: found.grant.to_string(),
                why: "too many wishes wait already".to_owned(),
                after_s: 2,
            }),
        }
    }

    /// Schedules what is stored and not scheduled. A second run changes nothing.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn backfill(&self, ask: &BackfillAsk) -> Result<Report, ServiceError> {
        let mut report = Report::default();
        let mut found = Vec::new();
        if let Some(target) = &ask.only {
            found.extend(
                self.all_meant(target)
                    .await?
                    .into_iter()
                    .map(|found| found.grant),
            );
        } else {
            let mut cursor = None;
            loop {
                let (some, next) = self.store().walk(KIND, cursor, 500).await?;
                found.extend(some.into_iter().filter_map(|(id, _)| id.id().parse().ok()));
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            found.sort();
            found.dedup();
        }
        let mut changes = 0;
        for grant in found {
            if ask.limit.is_some_and(|limit| changes >= limit) {
                break;
            }
            let (line, looked_at) = self.backfill_one(&grant, ask.dry_run).await?;
            // Also one that a request was sent for in vain.
            changes += usize::from(looked_at || line.result == Verdict::Adopted);
            report.push(line);
        }
        Ok(report)
    }

    /// Also tells whether it was looked at again, which may have cost a request.
    async fn backfill_one(
        &self,
        grant: &GrantRef,
        dry_run: bool,
    ) -> Result<(Line, bool), ServiceError> {
        let Some(found) = self.find(grant, true).await? else {
            return Ok((Line::unchanged(grant), false));
        };
        let waits = matches!(
            found.view.machine,
            Ok((_, Phase::Active { attention })) if attention != Attention::NoOfflineAccess
        );
        let line = self.backfill_found(grant, &found, dry_run).await?;
        Ok((line, waits && !dry_run))
    }

    async fn backfill_found(
        &self,
        grant: &GrantRef,
        found: &Found,
        dry_run: bool,
    ) -> Result<Line, ServiceError> {
        let (credential, phase) = match found.machine() {
            Ok(machine) => machine,
            Err(error) => return Ok(Line::refused(grant, "data", &error.to_string())),
        };
        let reading = &found.view.reading;
        if let Some(stored) = &credential.grant
            && reading.sealed.contains_key("pair")
            && let Err(why) = stored_pair(
                &self.0.refresher,
                &found.id,
                stored.id,
                stored.generation,
                &reading.sealed,
            )
        {
            return Ok(Line::refused(
                grant,
                "credentials",
                &format!("undecryptable: {why}"),
            ));
        }
        match phase {
            // It waits for a person: there is nothing in it that could be scheduled.
            Phase::Active {
                attention: Attention::NoOfflineAccess,
            } => Ok(Line::unchanged(grant)),
            Phase::Active { .. } if dry_run => Ok(Line::adopted(grant)),
            Phase::Active { .. } => {
                self.tell(found, &Signal::ConfigurationChanged, Delivery::default())
                    .await?;
                let heard = |found: &Found| found.view.reading.inbox_len == 0 && at_rest(found);
                let looked_at = self.drive_until(grant, false, heard).await?;
                Ok(match looked_at.machine()?.1 {
                    Phase::Active { .. } => Line::unchanged(grant),
                    _ => Line::adopted(grant),
                })
            }
            _ => {
                let missing = reading.score.is_none()
                    && reading
                        .record
                        .wanted_score(reading.inbox_len == 0, reading.now)
                        .is_some();
                if !missing {
                    return Ok(Line::unchanged(grant));
                }
                if !dry_run && self.store().reconcile(&found.id).await? == Reconciled::Right {
                    return Ok(Line::unchanged(grant));
                }
                Ok(Line::adopted(grant))
            }
        }
    }
}

/// The servers have it and do not vouch for it: a failover could take it back, so it is not said to be
/// done. Asked again, it is done again, which changes nothing.
pub(super) fn unconfirmed(grant: &GrantRef) -> ServiceError {
    ServiceError::TryLater {
        integration: grant.to_string(),
        why: "stored, and not yet confirmed by the replicas; ask again".to_owned(),
        after_s: 1,
    }
}

/// Nothing is under way, and nothing is due at once.
pub(super) fn at_rest(found: &Found) -> bool {
    match &found.view.machine {
        Ok((_, Phase::Refreshing { .. })) => false,
        Ok((_, Phase::Scheduled { at, .. })) => {
            *at > found.view.reading.now || found.view.reading.record.visible_at.is_some()
        }
        _ => true,
    }
}
