//! What the facts about one grant mean, in plain words.

use evergreen_engine::Millis;
use evergreen_engine::limits::{DELAY_AFTER, PARK_AFTER};
use evergreen_engine::time::rfc3339;

use super::{Facts, Finding, Weight};
use crate::lifecycle::Phase;
use crate::when;

/// A timer that came so long ago should have been heard.
const LATE_MS: Millis = 5_000;
/// Clocks that differ by more confuse people who compare times.
const SKEW_S: f64 = 2.0;

/// The findings, the weightiest first, and what happens next.
pub(super) fn judge(facts: &Facts<'_>) -> (String, Vec<Finding>) {
    let mut told = Told {
        now: facts.view.reading.now,
        findings: Vec::new(),
    };
    stopped(facts, &mut told);
    held(facts, &mut told);
    kept_back(facts, &mut told);
    index(facts, &mut told);
    fleet(facts, &mut told);
    odd(facts, &mut told);
    told.findings.sort_by_key(|finding| finding.weight);
    (summary(facts, &told), told.findings)
}

struct Told {
    now: Millis,
    findings: Vec<Finding>,
}

impl Told {
    fn tell(&mut self, word: &str, weight: Weight, says: String) {
        let word = word.to_owned();
        self.findings.push(Finding { word, weight, says });
    }

    /// A time as people read it, told from the store's own clock.
    fn at(&self, at: Millis) -> String {
        let now = i64::try_from(self.now)
            .ok()
            .and_then(chrono::DateTime::from_timestamp_millis);
        let text = rfc3339(at);
        now.map_or(text.clone(), |now| when::both(&text, now))
    }

    /// The same behind "until" or "since".
    fn time(&self, at: Millis) -> String {
        self.text(&rfc3339(at))
    }

    fn text(&self, text: &str) -> String {
        let now = i64::try_from(self.now)
            .ok()
            .and_then(chrono::DateTime::from_timestamp_millis);
        let exact = when::exact(text);
        now.map_or(exact.clone(), |now| {
            format!("{exact} ({})", when::relative(text, now))
        })
    }

    fn has(&self, word: &str) -> bool {
        self.findings.iter().any(|finding| finding.word == word)
    }
}

/// What no time heals.
fn stopped(facts: &Facts<'_>, told: &mut Told) {
    let record = &facts.view.reading.record;
    let (id, status) = (&facts.name, facts.status);
    if let Some(why) = &record.parked {
        let says = format!(
            "It is parked, so no worker touches it: {why}. Once the cause is gone: evergreen requeue {id}"
        );
        told.tell("parked", Weight::Stops, says);
    }
    if let Some(reason) = &status.reason {
        let says = format!(
            "NinjaOne will not refresh it ({reason}), so no request is made until a person consents \
             again: {}",
            status.connect_command()
        );
        told.tell("reconnect_required", Weight::Stops, says);
    }
    match &facts.view.machine {
        Err(why) => {
            let says = format!(
                "This server cannot read its record ({why}); a newer release has written it, or \
                 somebody has damaged it."
            );
            told.tell("unreadable", Weight::Stops, says);
        }
        Ok((_, Phase::Disconnected {})) => {
            let says = format!(
                "It is disconnected and its credentials are erased. To begin anew: {}",
                status.connect_command()
            );
            told.tell("disconnected", Weight::Stops, says);
        }
        Ok((_, Phase::Active { attention })) => {
            let again = record.wake_at.map(|at| told.at(at));
            let again = again.map_or(String::new(), |at| format!(" It is looked at again {at}."));
            let says = format!(
                "The configuration stands in the way ({attention}); evergreen status {id} says what to \
                 put right.{again}"
            );
            told.tell("attention", Weight::Stops, says);
        }
        Ok(_) => {}
    }
}

/// Who holds it, and whether they still live.
fn held(facts: &Facts<'_>, told: &mut Told) {
    let record = &facts.view.reading.record;
    if let (Some(owner), Some(until)) = (&record.owner, record.lease_until) {
        let over = until <= told.now;
        let (at, until) = (told.at(until), told.time(until));
        if owner.starts_with('(') {
            let says = format!(
                "It is kept away from all workers until {until}: whoever held it before gave it back or \
                 vanished ({} claims without a finished turn).",
                record.attempt
            );
            told.tell("given_back", Weight::Delays, says);
        } else if over {
            let says = format!(
                "Its holder {owner} has fallen silent; its lease ended {at}, and the next worker that \
                 looks takes over."
            );
            told.tell("holder_lost", Weight::Delays, says);
        } else {
            let doing = match record.activity {
                Some(_) => ", and a request to NinjaOne is under way or about to be",
                None => "",
            };
            // Turns also run in servers that answer a caller, and these have no line of their own.
            let lives = if facts.owner_lives {
                ""
            } else {
                " (which is not among the workers that say they live)"
            };
            let says = format!("It is held by {owner}{lives} until {until}{doing}.");
            told.tell("held", Weight::Info, says);
        }
    } else if record.activity.is_some() {
        let says = "A request was under way when its holder vanished; the next worker finds out what \
                    came of it.";
        told.tell("activity_lost", Weight::Delays, says.to_owned());
    }
    if record.attempt > 1 && record.parked.is_none() {
        let says = format!(
            "It was claimed {} times without a finished turn; after {DELAY_AFTER} the next claim is \
             delayed, after {PARK_AFTER} it is parked. The workers' logs say why.",
            record.attempt
        );
        told.tell("attempts", Weight::Delays, says);
    }
    if record.barrier {
        let says = "A connect or disconnect was accepted and is about to be carried out.";
        told.tell("barrier", Weight::Info, says.to_owned());
    }
}

/// What puts off a request that is planned.
fn kept_back(facts: &Facts<'_>, told: &mut Told) {
    let reading = &facts.view.reading;
    if let Ok((_, Phase::Scheduled { not_before, .. })) = &facts.view.machine
        && let Some(until) = not_before.filter(|until| *until > told.now)
    {
        let says = format!(
            "It waits until {}, since its host is left alone or has enough requests under way.",
            told.time(until)
        );
        told.tell("throttled", Weight::Delays, says);
    }
    if let Some(host) = facts.host {
        if let Some(until) = &host.paused_until {
            let says = format!(
                "NinjaOne asked to be left alone: requests to {} pause until {}, for all integrations \
                 of that host.",
                host.host,
                told.text(until)
            );
            told.tell("host_paused", Weight::Delays, says);
        }
        if host.breaker != "closed" {
            let next = match &host.breaker_until {
                Some(until) => format!("nothing is tried before {}", told.text(until)),
                None => "one request at a time is let through".to_owned(),
            };
            let says = format!(
                "Nothing but failures came back from {}: {next}, and all others wait. Connecting stays \
                 possible.",
                host.host
            );
            told.tell("host_failing", Weight::Delays, says);
        }
    }
    if let Some(until) = reading.record.visible_at.filter(|until| *until > told.now) {
        let says = format!("It is held back until {}.", told.time(until));
        told.tell("held_back", Weight::Delays, says);
    }
    if facts.status.consecutive_failures > 0 && facts.status.reason.is_none() {
        let last = facts.status.provider.as_ref();
        let code = last.and_then(|said| said.code.clone().or(said.description.clone()));
        let says = format!(
            "The last {} attempts in a row failed{}; it is tried again with growing pauses.",
            facts.status.consecutive_failures,
            code.map_or(String::new(), |code| format!(" (last: {code})"))
        );
        told.tell("failing", Weight::Delays, says);
    }
}

/// Whether the index agrees with the record, and whether the timer should have been heard.
fn index(facts: &Facts<'_>, told: &mut Told) {
    let reading = &facts.view.reading;
    let wanted = reading
        .record
        .wanted_score(reading.inbox_len == 0, reading.now);
    match (wanted, reading.score) {
        (Some(_), None) => {
            let says = format!(
                "Its entry in the index of timers is missing, so no worker sees it. The reconciler puts \
                 that right within the hour; at once: evergreen backfill --only {}",
                facts.name
            );
            told.tell("index_missing", Weight::Stops, says);
        }
        (None, Some(_)) => {
            let says = "The index has an entry for it that its record does not ask for; the reconciler \
                        removes it.";
            told.tell("index_stray", Weight::Info, says.to_owned());
        }
        (Some(wanted), Some(score)) if wanted != score && wanted > told.now => {
            let says = format!(
                "The index says {}, its record {}; the record counts, and the reconciler puts the index \
                 right.",
                told.time(score),
                told.time(wanted)
            );
            told.tell("index_differs", Weight::Info, says);
        }
        _ => {}
    }
    if reading.inbox_len > 0 {
        let says = format!(
            "{} signals wait to be heard; they come before the timer.",
            reading.inbox_len
        );
        told.tell("signals", Weight::Info, says);
    }
    let late = reading.record.owner.is_none()
        && reading
            .score
            .is_some_and(|score| score.saturating_add(LATE_MS) < told.now);
    if let Some(score) = reading.score.filter(|_| late) {
        let says = format!(
            "It has been due since {} and nobody took it: {}",
            told.time(score),
            if facts.fleet.workers_alive == 0 {
                "no worker is alive."
            } else {
                "the workers that live are busy, or cannot reach the store. Their /metrics say which."
            }
        );
        told.tell("overdue", Weight::Delays, says);
    }
}

fn fleet(facts: &Facts<'_>, told: &mut Told) {
    if facts.fleet.workers_alive == 0 {
        let says = "Nothing fires by itself, because no worker is alive: start one with evergreen \
                    worker or evergreen serve. Whoever asks for a token still gets it refreshed.";
        told.tell("no_workers", Weight::Stops, says.to_owned());
    }
    if facts.fleet.versions.len() > 1 {
        let says = format!(
            "Workers of several versions run: {}.",
            facts.fleet.versions.join(", ")
        );
        told.tell("versions", Weight::Info, says);
    }
    let skew = facts.fleet.clock_skew_s;
    if skew.abs() > SKEW_S {
        let says = format!(
            "The store's clock is {:.0} s {} this server's. The store's decides, so nothing fires at a \
             wrong time, but logs of both do not match.",
            skew.abs(),
            if skew > 0.0 { "ahead of" } else { "behind" }
        );
        told.tell("clock_skew", Weight::Info, says);
    }
}

fn odd(facts: &Facts<'_>, told: &mut Told) {
    let status = facts.status;
    if status.persist_pending {
        let says = "A rotated pair is in a worker's memory or journal and not in the store yet; that \
                    worker must not be killed.";
        told.tell("persist_pending", Weight::Delays, says.to_owned());
    }
    if status.quarantined > 0 {
        let says = format!(
            "{} rotated pairs of unknown worth are kept apart; each is tried once before a verdict.",
            status.quarantined
        );
        told.tell("quarantined", Weight::Info, says);
    }
    if let Some(since) = &status.unknown_since {
        let says = format!(
            "An answer was lost {}, so its refresh token may be spent.",
            when::exact(since)
        );
        told.tell("unknown", Weight::Info, says);
    }
}

/// What happens next, in one sentence.
fn summary(facts: &Facts<'_>, told: &Told) -> String {
    if let Some(first) = told
        .findings
        .iter()
        .find(|finding| finding.weight == Weight::Stops && finding.word != "no_workers")
    {
        return format!("Nothing happens by itself. {}", first.says);
    }
    let next = match &facts.view.machine {
        Ok((_, Phase::Scheduled { at, source, .. })) => {
            let because = because(source.as_str());
            if *at > told.now {
                format!(
                    "The next request leaves {}, because {because}.",
                    told.at(*at)
                )
            } else {
                format!(
                    "The next request was to leave {}, because {because}.",
                    told.at(*at)
                )
            }
        }
        Ok((_, Phase::Refreshing { started_at, .. })) => {
            format!("It is being refreshed since {}.", told.time(*started_at))
        }
        _ => "Nothing is planned.".to_owned(),
    };
    if told.has("no_workers") {
        format!("{next} But no worker is alive, so nothing can fire.")
    } else if told.has("overdue") {
        format!("{next} It is overdue.")
    } else {
        next
    }
}

/// What led to a schedule, to be read behind "because".
fn because(source: &str) -> &str {
    match source {
        "oauth_connected" => "a person connected it",
        "reconnected" => "a person connected it again",
        "import" => "its tokens were imported",
        "proactive_refresh_success" => {
            "the last planned refresh succeeded and its token will expire"
        }
        "lazy_refresh_success" => "a caller's refresh succeeded and its token will expire",
        "lazy" => "a caller needs a token",
        "operator" => "an operator asked for it",
        "timer" => "its timer came",
        "backfill" => "a backfill scheduled it",
        "configuration" => "a setting has changed",
        "rescued" => "a rotated pair was rescued",
        "failure" => "the last attempt failed",
        other => other,
    }
}
