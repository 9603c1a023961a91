//! All grants, page by page.
//!
//! A page goes as far through the key space as it takes to fill it, and the cursor says where that was:
//! a step of the store's own walk, and how much of it was shown. So a page costs what it shows, whatever
//! the size of the fleet, and nothing is kept between two pages. What that costs: pages come in the
//! store's order, not by name, and while the key space grows or shrinks a grant may come twice. Whoever
//! needs all of them sorts and drops doubles, as the command line and the dashboard do.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use evergreen_engine::Millis;
use evergreen_engine::record::{Reading, Record, SealedBlobs};
use evergreen_engine::store::StoreError;
use evergreen_engine::{View, WorkflowId, engine};
use serde::{Deserialize, Serialize};

use super::{App, ServiceError, StatusView};
use crate::integration::GrantRef;
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

/// A page of integrations, in no order. A page may be short, or empty, although more follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Listing {
    /// The integrations' grants.
    pub integrations: Vec<StatusView>,
    /// How to ask for the next page; `null` on the last.
    pub next: Option<String>,
}

/// The most that one page holds.
const PAGE_MAX: usize = 1000;
/// Keys that a step of the walk looks at.
const STEP: usize = 1000;
/// Steps that a page takes at most: a filter that almost nothing passes must not hold up the caller.
const STEPS_MAX: usize = 64;
const STATES: [&str; 5] = [
    "Active",
    "Scheduled",
    "Refreshing",
    "ReconnectRequired",
    "Disconnected",
];

/// Where a page ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The step of the store's walk; `None` for its first.
    #[serde(rename = "s")]
    step: Option<String>,
    /// The last of this step that was shown; steps are shown by name.
    #[serde(rename = "a")]
    after: Option<String>,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }

    fn written(&self) -> Result<String, ServiceError> {
        let text = serde_json::to_vec(self).map_err(|error| ServiceError::Internal {
            doing: "ending a page".to_owned(),
            why: error.to_string(),
        })?;
        Ok(URL_SAFE_NO_PAD.encode(text))
    }
}

fn wrong_cursor() -> ServiceError {
    ServiceError::Invalid {
        field: "cursor".to_owned(),
        rule: "`next` of the page before, unchanged".to_owned(),
    }
}

impl ListQuery {
    fn check(&self) -> Result<(), ServiceError> {
        match &self.state {
            Some(state) if !STATES.contains(&state.as_str()) => Err(ServiceError::Invalid {
                field: "state".to_owned(),
                rule: format!("one of {}", STATES.join(", ")),
            }),
            _ => Ok(()),
        }
    }

    fn wants(&self, grant: &GrantRef, record: &Record) -> bool {
        let tenant = grant.integration().tenant();
        let tenants = self.tenants.as_ref();
        tenants.is_none_or(|all| all.iter().any(|one| one == tenant))
            && self
                .state
                .as_ref()
                .is_none_or(|state| *state == record.state)
    }
}

impl App {
    /// Grants, a page at a time.
    ///
    /// # Errors
    /// The query is wrong, or the store does not answer.
    pub async fn list(&self, query: &ListQuery) -> Result<Listing, ServiceError> {
        query.check()?;
        let limit = match query.limit {
            0 => 100,
            limit => limit.min(PAGE_MAX),
        };
        let mut place = match &query.cursor {
            None => Place::default(),
            Some(text) => Place::parse(text).ok_or_else(wrong_cursor)?,
        };
        let now = self.store().now().await?;
        let waiting = self.waiting().await;
        let mut integrations = Vec::new();
        for _ in 0..STEPS_MAX {
            let (rows, next) = self.step(query, &place).await?;
            for Row { grant, id, record } in rows {
                let name = grant.to_string();
                if place.after.as_ref().is_some_and(|after| name <= *after) {
                    continue;
                }
                if integrations.len() == limit {
                    let next = Some(place.written()?);
                    return Ok(Listing { integrations, next });
                }
                place.after = Some(name);
                let mut view = shown(&grant, record, now);
                view.persist_pending = self.waits(&id, &waiting);
                if !query.attention || view.needs_attention() {
                    integrations.push(view);
                }
            }
            match next {
                Some(step) => {
                    place = Place {
                        step: Some(step),
                        after: None,
                    }
                }
                None => {
                    return Ok(Listing {
                        integrations,
                        next: None,
                    });
                }
            }
        }
        let next = Some(place.written()?);
        Ok(Listing { integrations, next })
    }

    /// One step of the walk: what is wanted of it by name, and where the walk goes on.
    async fn step(
        &self,
        query: &ListQuery,
        place: &Place,
    ) -> Result<(Vec<Row>, Option<String>), ServiceError> {
        let step = place.step.clone();
        let walked = self.store().walk(KIND, step, STEP).await;
        let (some, next) = walked.map_err(|error| match error {
            // A place that nobody has told.
            StoreError::Refused { .. } if query.cursor.is_some() => wrong_cursor(),
            error => error.into(),
        })?;
        let row = |(id, record): (WorkflowId, Record)| {
            let grant = id.id().parse().ok()?;
            Some(Row { grant, id, record })
        };
        let mut rows: Vec<Row> = some.into_iter().filter_map(row).collect();
        rows.retain(|row| query.wants(&row.grant, &row.record));
        rows.sort_by_cached_key(|row| row.grant.to_string());
        rows.dedup_by(|one, other| one.grant == other.grant);
        Ok((rows, next))
    }
}

struct Row {
    grant: GrantRef,
    id: WorkflowId,
    record: Record,
}

/// A grant as its record shows it, without what lies beside the record.
pub(super) fn shown(grant: &GrantRef, record: Record, now: Millis) -> StatusView {
    let reading = Reading {
        now,
        record,
        sealed: SealedBlobs::new(),
        inbox_len: 0,
        score: None,
    };
    let machine = engine::view::<Credential>(&reading.record);
    StatusView::of(grant, &View { machine, reading })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_and_a_made_up_one_is_none() {
        let place = Place {
            step: Some("17".to_owned()),
            after: Some("acme/prod@user".to_owned()),
        };
        assert_eq!(Place::parse(&place.written().unwrap()), Some(place));
        for text in ["", "acme/prod@user", "e30x", "!"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }
}
