//! What each look finds means. Functions of what was found, so that each verdict can be tried.

use evergreen_engine::reconciler::Comparison;
use evergreen_engine::store::redis::Meta;

use super::Check;
use crate::api::{Key, Scope};
use crate::service::{FleetStatus, HostView};
use crate::when::exact;

/// Clocks that differ by more confuse people who compare times.
const SKEW_S: f64 = 2.0;
/// Names that a line shows.
pub(super) const NAMES: usize = 5;

pub(super) fn settings(warnings: &[String], client: bool) -> Check {
    if !client {
        return Check::warn(
            "settings",
            "no client app is configured: nobody can consent, and only grants with an app of their \
             own are refreshed",
            "set EVERGREEN_NINJAONE_CLIENT_ID and EVERGREEN_NINJAONE_CLIENT_SECRET",
        );
    }
    match warnings {
        [] => Check::ok("settings", "all are right"),
        some => Check::warn("settings", some.join("; "), "correct or remove them"),
    }
}

pub(super) fn redis(place: &str, meta: &Meta, replicas: u32) -> Check {
    let replicas = match replicas {
        0 => "no replica has to confirm".to_owned(),
        1 => "1 replica has to confirm".to_owned(),
        some => format!("{some} replicas have to confirm"),
    };
    let says = format!(
        "{place} answers, keeps what it is given and evicts nothing; key space of version {}, {} \
         partitions; {replicas}",
        meta.version, meta.partitions
    );
    Check::ok("redis", says)
}

/// What the look at the server found that is not forbidden.
pub(super) fn odd(warning: &str) -> Check {
    Check::warn(
        "redis",
        warning,
        "deploy/redis.conf has what Evergreen asks of Redis, with reasons",
    )
}

pub(super) fn api_keys(keys: &[Key]) -> Check {
    if keys.iter().any(|key| key.scopes.contains(&Scope::Admin)) {
        return Check::ok("api keys", format!("{} in the store", keys.len()));
    }
    let says = "no key has the scope admin, so nobody can connect or operate through the API";
    Check::warn(
        "api keys",
        says,
        "evergreen apikeys create --name ops --scope admin",
    )
}

pub(super) fn clock(skew_s: f64) -> Check {
    let says = format!("Redis' clock is {skew_s:+.1} s from this machine's");
    if skew_s.abs() <= SKEW_S {
        return Check::ok("clock", says);
    }
    let help =
        "set both by NTP: Redis' clock decides when things fire, but times of logs do not match";
    Check::warn("clock", says, help)
}

pub(super) fn workers(fleet: &FleetStatus) -> Check {
    if fleet.workers_alive == 0 {
        let says = "none is alive, so nothing is refreshed by itself";
        return Check::fail(
            "workers",
            says,
            "start one: evergreen worker, or evergreen serve",
        );
    }
    let mut versions: Vec<&str> = fleet
        .workers
        .iter()
        .map(|one| one.version.as_str())
        .collect();
    versions.sort_unstable();
    versions.dedup();
    let says = format!(
        "{} alive, version {}",
        fleet.workers_alive,
        versions.join(", ")
    );
    if versions.len() > 1 {
        return Check::warn(
            "workers",
            says,
            "finish the deployment: one version everywhere",
        );
    }
    let pending: Vec<&str> = fleet
        .workers
        .iter()
        .filter(|one| one.pending > 0)
        .map(|one| one.id.as_str())
        .collect();
    if !pending.is_empty() {
        let says = format!(
            "{says}; {} hold rotated pairs that Redis has not",
            pending.join(", ")
        );
        let help =
            "do not kill them; they go on as soon as Redis takes writes and its replicas confirm";
        return Check::warn("workers", says, help);
    }
    Check::ok("workers", says)
}

pub(super) fn overdue(fleet: &FleetStatus) -> Check {
    match &fleet.oldest_overdue {
        None => Check::ok("timers", "none is overdue"),
        Some(oldest) => {
            let says = format!(
                "{} are overdue; the oldest is {}, due {}",
                fleet.overdue,
                oldest.id,
                exact(&oldest.at)
            );
            let help = format!("evergreen explain {} says what keeps it", oldest.id);
            if fleet.workers_alive == 0 {
                Check::fail("timers", says, help)
            } else {
                Check::warn("timers", says, help)
            }
        }
    }
}

pub(super) fn index(found: Comparison) -> Check {
    if found.repaired == 0 {
        return Check::ok(
            "index",
            format!("{} workflows compared, none differs", found.compared),
        );
    }
    let says = format!(
        "{} of {} entries were wrong and have been put right",
        found.repaired, found.compared
    );
    let help = "only the fleet may write to its keys; a backup restored in parts does this, too";
    Check::warn("index", says, help)
}

pub(super) fn grants(fleet: &FleetStatus) -> Vec<Check> {
    let all: usize = fleet.states.values().sum();
    let mut told = Vec::new();
    if fleet.attention == 0 && fleet.failing == 0 {
        told.push(Check::ok("grants", format!("{all}, none needs attention")));
    } else {
        let mut names: Vec<String> = fleet
            .troubles
            .iter()
            .take(NAMES)
            .map(|one| format!("{} ({})", one.id, one.word))
            .collect();
        if fleet.troubles.len() > NAMES {
            names.push("…".to_owned());
        }
        let says = format!(
            "{all}, {} need attention, {} are failing: {}",
            fleet.attention,
            fleet.failing,
            names.join(", ")
        );
        let help = "evergreen list --attention, and evergreen status of each says what to do";
        told.push(Check::warn("grants", says, help));
    }
    if fleet.parked > 0 {
        let says = format!(
            "{} wait for a human and are not touched until then",
            fleet.parked
        );
        let help = "the workers' logs say why; once that is gone: evergreen requeue ID";
        told.push(Check::fail("parked", says, help));
    }
    if fleet.quarantined > 0 {
        let says = format!(
            "{} keep rotated pairs of unknown worth apart",
            fleet.quarantined
        );
        let help = "each is tried once before a verdict; a reconnect erases them";
        told.push(Check::warn("kept apart", says, help));
    }
    told
}

/// A host that the fleet leaves alone at the moment.
pub(super) fn held_back(host: &HostView) -> Option<Check> {
    let name = &host.host;
    if let Some(until) = &host.paused_until {
        let says = format!("{name} asked to be left alone until {}", exact(until));
        let help =
            "nothing: the fleet waits, soonest expiry first; see who else uses that client app";
        return Some(Check::warn("provider", says, help));
    }
    if host.breaker == "closed" {
        return None;
    }
    let says = format!("nothing but failures came back from {name}; one request at a time tries");
    let help = "check NinjaOne's status page, and the way to it from where the workers run";
    Some(Check::warn("provider", says, help))
}

pub(super) fn host(instance: &str, reached: Result<(), String>) -> Check {
    match reached {
        Ok(()) => Check::ok("provider", format!("{instance} is reached")),
        Err(why) => {
            let says = format!("{instance} is not reached: {why}");
            let help = "check DNS, firewall, proxy and certificates of this machine";
            Check::fail("provider", says, help).away()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::seal_keys::seal_keys;
    use super::*;
    use crate::service::{Moment, Opened, Trouble, WorkerView};

    fn fleet() -> FleetStatus {
        FleetStatus {
            states: [("Scheduled".to_owned(), 3)].into(),
            workers_alive: 1,
            workers: vec![WorkerView {
                id: "w-1".to_owned(),
                host: "h".to_owned(),
                version: "0.1.0".to_owned(),
                heartbeat_at: String::new(),
                pending: 0,
            }],
            ..FleetStatus::default()
        }
    }

    fn with_breaker(breaker: &str) -> HostView {
        HostView {
            host: "eu.ninjarmm.com".to_owned(),
            paused_until: None,
            breaker: breaker.to_owned(),
            breaker_until: None,
            requests: 0,
        }
    }

    fn paused() -> HostView {
        HostView {
            paused_until: Some("2026-03-26T11:55:00.000Z".to_owned()),
            ..with_breaker("closed")
        }
    }

    #[test]
    fn a_fleet_in_order_is_ok_throughout() {
        let fleet = fleet();
        let compared = Comparison {
            compared: 3,
            ..Comparison::default()
        };
        let mut all = vec![
            settings(&[], true),
            clock(-0.4),
            workers(&fleet),
            overdue(&fleet),
            index(compared),
            seal_keys(&Opened::default()),
            host("https://h", Ok(())),
        ];
        all.extend(grants(&fleet));
        for check in all {
            assert_eq!(check.result, Verdict::Ok, "{check:?}");
            assert_eq!(check.help, None);
        }
    }

    #[test]
    fn whatever_is_wrong_says_what_to_do() {
        let mut bad = fleet();
        bad.workers_alive = 0;
        bad.overdue = 2;
        bad.oldest_overdue = Some(Moment {
            id: "acme/prod@user".to_owned(),
            at: "2026-03-26T11:55:00.000Z".to_owned(),
        });
        bad.attention = 1;
        bad.parked = 1;
        bad.quarantined = 1;
        bad.troubles = vec![Trouble {
            id: "umbrella/prod@user".to_owned(),
            word: "revoked".to_owned(),
        }];
        let closed = Opened {
            opened: 1,
            closed: vec!["acme/prod@user".to_owned()],
        };
        let wrong = Comparison {
            compared: 3,
            repaired: 1,
            ..Comparison::default()
        };
        let mut all = vec![
            (workers(&bad), Verdict::Fail, "evergreen worker"),
            (
                overdue(&bad),
                Verdict::Fail,
                "evergreen explain acme/prod@user",
            ),
            (seal_keys(&closed), Verdict::Fail, "EVERGREEN_SEAL_KEYS"),
            (index(wrong), Verdict::Warn, "backup"),
            (clock(-7.0), Verdict::Warn, "NTP"),
            (settings(&[], false), Verdict::Warn, "CLIENT_ID"),
            (api_keys(&[]), Verdict::Warn, "apikeys create"),
            (
                host("https://h", Err("no".to_owned())),
                Verdict::Fail,
                "DNS",
            ),
        ];
        let helps = ["list --attention", "evergreen requeue", "reconnect"];
        let verdicts = [Verdict::Warn, Verdict::Fail, Verdict::Warn];
        for ((check, help), verdict) in grants(&bad).into_iter().zip(helps).zip(verdicts) {
            all.push((check, verdict, help));
        }
        for (host, help) in [
            (with_breaker("open"), "status page"),
            (paused(), "client app"),
        ] {
            all.push((held_back(&host).unwrap(), Verdict::Warn, help));
        }
        assert_eq!(held_back(&with_breaker("closed")), None);
        assert_eq!(all.len(), 13);
        for (check, verdict, help) in all {
            assert_eq!(check.result, verdict, "{check:?}");
            assert!(check.help.as_ref().unwrap().contains(help), "{check:?}");
        }
        let mut mixed = fleet();
        let mut second = mixed.workers[0].clone();
        second.version = "0.2.0".to_owned();
        mixed.workers.push(second);
        assert_eq!(workers(&mixed).result, Verdict::Warn);
        let mut waiting = fleet();
        waiting.workers[0].pending = 1;
        assert!(workers(&waiting).says.contains("w-1 hold"));
    }
}
