//! Status, list, history.

use evergreen_engine::record::{Reading, SealedBlobs};
use evergreen_engine::{View, engine};
use serde::{Deserialize, Serialize};

use super::{App, ServiceError, StatusView};
use crate::integration::{GrantRef, Target};
use crate::lifecycle::{Credential, KIND};

/// Which integrations to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those that a person must look at.
    pub attention: bool,
    /// Only those of these tenants.
    pub tenants: Option<Vec<String>>,
    /// Go on after the page that told this.
    pub cursor: Option<String>,
    /// As many at most; 0 means 100.
    pub limit: usize,
}

/// A page of integrations, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Listing {
    /// The integrations' grants.
    pub integrations: Vec<StatusView>,
    /// How to ask for the next page; `null` on the last.
    pub next: Option<String>,
}

/// The most that one page holds.
const PAGE_MAX: usize = 1000;
const STATES: [&str; 5] = [
    "Active",
    "Scheduled",
    "Refreshing",
    "ReconnectRequired",
    "Disconnected",
];

impl App {
    /// A grant as it stands.
    ///
    /// # Errors
    /// There is none, or the store does not answer.
    pub async fn status(&self, target: &Target) -> Result<StatusView, ServiceError> {
        Ok(self.meant(target).await?.shown())
    }

    /// Grants by name, a page at a time.
    ///
    /// # Errors
    /// The query is wrong, or the store does not answer.
    pub async fn list(&self, query: &ListQuery) -> Result<Listing, ServiceError> {
        if let Some(state) = &query.state
            && !STATES.contains(&state.as_str())
        {
            let rule = format!("one of {}", STATES.join(", "));
            return Err(ServiceError::Invalid {
                field: "state".to_owned(),
                rule,
            });
        }
        let limit = if query.limit == 0 {
            100
        } else {
            query.limit.min(PAGE_MAX)
        };
        let now = self.store().now().await?;
        let mut shown = Vec::new();
        let mut cursor = None;
        loop {
            let (some, next) = self.store().walk(KIND, cursor, PAGE_MAX).await?;
            for (id, record) in some {
                let Ok(grant) = id.id().parse::<GrantRef>() else {
                    continue;
                };
                let tenant = grant.integration().tenant();
                let wanted = query
                    .tenants
                    .as_ref()
                    .is_none_or(|all| all.iter().any(|t| t == tenant))
                    && query
                        .state
                        .as_ref()
                        .is_none_or(|state| *state == record.state)
                    && query
                        .cursor
                        .as_ref()
                        .is_none_or(|after| grant.to_string() > *after);
                if !wanted {
                    continue;
                }
                let reading = Reading {
                    now,
                    record,
                    sealed: SealedBlobs::new(),
                    inbox_len: 0,
                    score: None,
                };
                let machine = engine::view::<Credential>(&reading.record);
                let view = StatusView::of(&grant, &View { machine, reading });
                if !query.attention || view.needs_attention() {
                    shown.push((grant.to_string(), view));
                }
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        shown.sort_by(|one, other| one.0.cmp(&other.0));
        // A walk may tell of a workflow twice.
        shown.dedup_by(|one, other| one.0 == other.0);
        let more = shown.len() > limit;
        shown.truncate(limit);
        let next = more
            .then(|| shown.last().map(|(name, _)| name.clone()))
            .flatten();
        Ok(Listing {
            integrations: shown.into_iter().map(|(_, view)| view).collect(),
            next,
        })
    }

    /// The last transitions of a grant, oldest first.
    ///
    /// # Errors
    /// There is none, or the store does not answer.
    pub async fn history(&self, target: &Target) -> Result<Vec<serde_json::Value>, ServiceError> {
        let found = self.meant(target).await?;
        let log = self.store().log(&found.id).await?;
        Ok(log
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }
}
