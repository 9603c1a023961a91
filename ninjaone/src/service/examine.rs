//! What `doctor` asks of a fleet beyond what a glance tells.

use std::time::Duration;

use evergreen_engine::reconciler::{self, Comparison};
use evergreen_engine::store::outbox::Progress;

use super::{App, ServiceError};
use crate::lifecycle::KIND;
use crate::provider::{HttpOptions, InstanceUrl};
use crate::refresher::stored_pair;
use crate::webhook::READER;

/// How long a host may take to be reached.
const REACH: Duration = Duration::from_secs(5);
/// Records that are looked at, to find some with a pair.
const RECORDS: usize = 200;

/// What opening some of the stored pairs came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Pairs that a seal key opens.
    pub opened: usize,
    /// Grants whose pair no key opens.
    pub closed: Vec<String>,
}

impl App {
    /// Compares every record with the index and puts right what differs.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn compare_index(&self) -> Result<Comparison, ServiceError> {
        Ok(reconciler::compare_all(self.engine()).await?)
    }

    /// How far webhooks have come in every partition whose server answers.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn webhook_progress(&self) -> Result<Vec<Progress>, ServiceError> {
        Ok(self.store().progress(READER).await?)
    }

    /// Whether the store answers at all.
    ///
    /// # Errors
    /// It does not.
    pub async fn store_answers(&self) -> Result<(), ServiceError> {
        self.store().now().await?;
        Ok(())
    }

    /// Opens the pairs of some grants, so many at most, and keeps nothing of them.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn open_some(&self, at_most: usize) -> Result<Opened, ServiceError> {
        let mut told = Opened::default();
        let mut cursor = None;
        loop {
            let (some, next) = self.store().walk(KIND, cursor, RECORDS).await?;
            for (id, _) in some {
                if told.opened + told.closed.len() >= at_most {
                    return Ok(told);
                }
                let Ok(grant) = id.id().parse() else { continue };
                let Some(found) = self.find(&grant, true).await? else {
                    continue;
                };
                let sealed = &found.view.reading.sealed;
                let Ok((credential, _)) = &found.view.machine else {
                    continue;
                };
                let Some(stored) = credential.grant.as_ref() else {
                    continue;
                };
                if !sealed.contains_key("pair") {
                    continue;
                }
                let refresher = &self.0.refresher;
                let pair = stored_pair(refresher, &id, stored.id, stored.generation, sealed);
                match pair {
                    Ok(_) => told.opened += 1,
                    Err(_) => told.closed.push(grant.to_string()),
                }
            }
            cursor = next;
            if cursor.is_none() {
                return Ok(told);
            }
        }
    }

    /// Whether a provider's host can be reached: its name, a connection, and TLS. It is asked for
    /// nothing, and told nothing.
    ///
    /// # Errors
    /// Why not, without the URL.
    pub async fn reach(&self, instance: &str) -> Result<(), String> {
        let url = InstanceUrl::parse(instance, self.host_policy()).map_err(|e| e.rule)?;
        let options = HttpOptions {
            policy: self.host_policy().clone(),
            connect_timeout: REACH,
            ..HttpOptions::default()
        };
        let client = options.build().map_err(|e| e.to_string())?;
        // No path of the API, and no credentials: whatever it answers, it was reached.
        let asked = client.head(url.as_str()).timeout(REACH).send().await;
        asked.map(drop).map_err(|error| {
            let error = error.without_url();
            let mut last: &dyn std::error::Error = &error;
            while let Some(inner) = last.source() {
                last = inner;
            }
            last.to_string()
        })
    }
}
