//! The end of a run: everything is put right, what the disks still hold is replayed once more, everybody is
//! refreshed, and then it is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evergreen_engine::store::{Store as _, StoreError};
use tokio::time::Instant;

use super::fleet::Fleet;
use super::report::{Ledger, Report};
use super::troupe::failed;
use super::verdict::{Facts, Promise, Seen, Verdict, judge};
use crate::bench::BenchError;
use crate::integration::{GrantKind, IntegrationId};
use crate::lifecycle::KIND;
use crate::service::StatusView;

/// How long it may take until everybody is well. The longest back-off is no reason to wait: refreshes are asked
/// for; a pause that a host was given must be waited for.
const WITHIN: Duration = Duration::from_mins(4);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// How long a refresh that was asked for is waited for, before it is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Beyond a lease, for what disks hold to be replayed and to have its effect.
const REPLAYED: Duration = Duration::from_secs(8);

/// See the module.
pub(super) async fn mend(
    fleet: &mut Fleet<'_>,
    note: &mut dyn FnMut(&str),
) -> Result<Report, BenchError> {
    note("all is put right; every worker starts once more with what its disk holds");
    let began = Instant::now();
    fleet.provider.behave().await?;
    while !fleet.errands.is_empty() {
        fleet.supervise()?;
        while fleet.errands.try_join_next().is_some() {}
        tokio::time::sleep(LOOK).await;
    }
    for worker in 0..fleet.posts.len() {
        fleet.posts[worker].kill(&fleet.book).await?;
        fleet.start(worker)?;
    }
    for post in &mut fleet.posts {
        post.works().await?;
    }
    let mended = fleet.provider.ledger().await?.totals.requests;
    note("waiting until everybody is well");
    let all_well = refreshed(fleet, mended).await?;
    let mending_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    note("ending the workers");
    for worker in 0..fleet.posts.len() {
        if let Some(what) = ends_in_order(fleet, worker).await? {
            fleet.breaks(Promise::Process, what);
        }
    }
    while fleet.listeners.join_next().await.is_some() {}
    if !all_well {
        let what = format!("not everybody was well within {WITHIN:?}");
        fleet.breaks(Promise::NotWell, what);
    }
    compare(fleet, mended, mending_ms).await
}

/// Tells a worker to stop; what is wrong with how it did.
async fn ends_in_order(fleet: &mut Fleet<'_>, worker: usize) -> Result<Option<String>, BenchError> {
    let code = fleet.posts[worker].dismiss().await?;
    Ok((code != Some(0)).then(|| {
        let how = code.map_or("was killed, being too slow".to_owned(), |code| {
            format!("exited with {code}")
        });
        format!("worker {} was told to stop and {how}", worker + 1)
    }))
}

/// Asks for a refresh of everybody who can have one, until all have had it. Whether they had in time.
async fn refreshed(fleet: &mut Fleet<'_>, mended: u64) -> Result<bool, BenchError> {
    let began = Instant::now();
    let least = fleet.ask.lease + REPLAYED;
    let mut asked_at: Option<Instant> = None;
    let mut fresh = BTreeSet::new();
    let mut after = mended;
    while began.elapsed() < WITHIN {
        fleet.supervise()?;
        for entry in fleet.provider.entries(after).await? {
            after = entry.seq;
            if let Some(chain) = entry.chain.filter(|_| entry.issued) {
                // Whether it was read is judged in the end.
                fresh.insert(chain.to_string());
            }
        }
        // Connections that were cut are made anew at the next try.
        if let Ok(all) = fleet.people.list().await {
            let waiting: Vec<&StatusView> = all
                .iter()
                .filter(|status| still_waits(fleet, status, &fresh))
                .collect();
            if waiting.is_empty() && began.elapsed() >= least && verdicts_stand(fleet, &all).await?
            {
                return Ok(true);
            }
            if asked_at.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
                asked_at = Some(Instant::now());
                for status in waiting.iter().filter(|status| status.state == "Scheduled") {
                    // Whoever is not told now is told the next time.
                    let _ = fleet.people.ask_for_refresh(&status.integration).await;
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(false)
}

/// Those that are told to reconnect now.
fn told_to_reconnect(fleet: &Fleet<'_>, all: &[StatusView]) -> BTreeMap<String, Seen> {
    let memory = fleet.people.memory();
    let told = |status: &StatusView| {
        let consent = memory.consent_of(&status.integration)?;
        let seen = Seen {
            state: status.state.clone(),
            reason: status.reason.clone(),
            chain: Some(consent.chain.clone()),
            ..Seen::default()
        };
        (status.state == "ReconnectRequired").then(|| (status.integration.clone(), seen))
    };
    all.iter().filter_map(told).collect()
}

/// Whether every verdict that is told now is one of a grant that is lost. If one is not, the pair that heals it
/// may still lie in a journal whose replay takes its time.
async fn verdicts_stand(fleet: &Fleet<'_>, all: &[StatusView]) -> Result<bool, BenchError> {
    let seen = told_to_reconnect(fleet, all);
    let entries = fleet.provider.entries(0).await?;
    let pages = fleet.book.open();
    let verdict = judge(&Facts {
        entries: &entries,
        consents: &[],
        lost: &[],
        seen: &seen,
        diary: &pages.diary,
        lease_ms: 0,
        mended: 0,
    });
    let mut broken = verdict.violations.iter();
    Ok(!broken.any(|violation| violation.broken == Promise::FalseReconnectRequired))
}

/// Whether a refresh of it is still to come. In a fleet that works somebody is always at something, so this is
/// asked of each and not of all at one moment.
fn still_waits(fleet: &Fleet<'_>, status: &StatusView, fresh: &BTreeSet<String>) -> bool {
    let memory = fleet.people.memory();
    let refreshes = matches!(status.state.as_str(), "Scheduled" | "Refreshing");
    let consent = memory.consent_of(&status.integration);
    refreshes && consent.is_some_and(|consent| !fresh.contains(&consent.chain))
}

async fn compare(
    fleet: &mut Fleet<'_>,
    mended: u64,
    mending_ms: u64,
) -> Result<Report, BenchError> {
    let entries = fleet.provider.entries(0).await?;
    let ledger = fleet.provider.ledger().await?;
    let statuses = fleet.people.list().await;
    let statuses = statuses.map_err(|e| failed("reading the store in the end", &e))?;
    let mut seen = BTreeMap::new();
    for status in &statuses {
        let stands = stands(fleet, status).await?;
        seen.insert(status.integration.clone(), stands);
    }
    let mut states = BTreeMap::new();
    for stands in seen.values() {
        *states.entry(stands.state.clone()).or_default() += 1;
    }
    if let Some(evidence) = &fleet.ask.evidence {
        let text = serde_json::to_string_pretty(&entries).unwrap_or_default();
        let written = std::fs::write(evidence.join("ledger.json"), text);
        written.map_err(|e| failed("writing the evidence", &e))?;
    }
    let (mut verdict, healed, done) = {
        let memory = fleet.people.memory();
        let mut pages = fleet.book.open();
        let facts = Facts {
            entries: &entries,
            consents: &memory.consents,
            lost: &memory.lost,
            seen: &seen,
            diary: &pages.diary,
            lease_ms: u64::try_from(fleet.ask.lease.as_millis()).unwrap_or(u64::MAX),
            mended,
        };
        let mut verdict = judge(&facts);
        for panic in std::mem::take(&mut pages.panics) {
            verdict.broken(Promise::Process, "", panic);
        }
        for undone in &memory.undone {
            verdict.broken(Promise::NotWell, "", format!("never carried out: {undone}"));
        }
        missing(
            &memory.names().map(str::to_owned).collect(),
            &seen,
            &mut verdict,
        );
        let mut done = fleet.done.clone();
        done.people.clone_from(&memory.done);
        (verdict, memory.healed, done)
    };
    verdict.violations.append(&mut fleet.violations);
    let well: BTreeSet<&str> = seen.values().filter_map(|s| s.chain.as_deref()).collect();
    let gaps = ledger
        .chains
        .iter()
        .filter(|chain| well.contains(chain.chain.as_str()));
    let ask = fleet.ask;
    Ok(Report {
        seed: ask.seed,
        minutes: ask.minutes,
        workers: ask.workers,
        integrations: ask.integrations,
        lifetime_s: ask.life.as_secs(),
        lease_s: ask.lease.as_secs(),
        server: fleet.space.server().await?,
        redis: if fleet.server.is_own() {
            "killed"
        } else {
            "cut_off"
        },
        done,
        ledger: Ledger::of(
            &entries,
            gaps.map(|chain| chain.tally.longest_gap_ms)
                .max()
                .unwrap_or(0),
        ),
        lost: verdict.lost,
        again: verdict.again,
        healed,
        under_way_at_the_end_of_a_consent: verdict.under_way,
        states,
        mending_ms,
        complaints: fleet.book.open().complaints.clone(),
        violations: verdict.violations,
    })
}

/// What was connected is in the store, whatever its state.
fn missing(names: &BTreeSet<String>, seen: &BTreeMap<String, Seen>, verdict: &mut Verdict) {
    for name in names.iter().filter(|name| !seen.contains_key(*name)) {
        let what = "the store does not know it any more".to_owned();
        verdict.broken(Promise::NotWell, name, what);
    }
}

/// How an integration stands, with what is sealed beside its record.
async fn stands(fleet: &Fleet<'_>, status: &StatusView) -> Result<Seen, BenchError> {
    let name = &status.integration;
    let id: IntegrationId = name.parse().map_err(|e| failed(name, &e))?;
    let workflow = id.grant(GrantKind::User).to_string();
    let workflow = evergreen_engine::WorkflowId::new(KIND, &workflow);
    let workflow = workflow.map_err(|e| failed(name, &e))?;
    let reading: Result<_, StoreError> = fleet.space.store.read(&workflow, true).await;
    let sealed = reading?.is_some_and(|reading| !reading.sealed.is_empty());
    let parked = status.parked.as_ref().map(|why| format!("parked, {why}"));
    let memory = fleet.people.memory();
    Ok(Seen {
        state: status.state.clone(),
        reason: status.reason.clone(),
        trouble: status.attention.clone().or(parked),
        sealed,
        chain: memory.consent_of(name).map(|consent| consent.chain.clone()),
    })
}
