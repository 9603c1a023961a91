//! One run: a fleet to which bad things happen, then peace, then the reckoning.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::fleet::Fleet;
use super::link::workflow;
use super::people::{self, Person};
use super::plan::Plan;
use super::provider::Fate;
use super::scene::Scene;
use super::truth::Wanted;

/// How long peace may last before all must be well.
const PEACE: Duration = Duration::from_secs(900);
/// Between two looks whether all is well.
const LOOK: Duration = Duration::from_secs(5);
/// How late a workflow may be claimed in peace, ms.
const LATE_MAX: u64 = 5_000;
/// After how long in peace that is expected: a lease and a half of a crashed holder, a frozen one.
const CALM: Duration = Duration::from_secs(75);

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) hash: u64,
    pub(crate) wrong: Option<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) requests: usize,
    /// Integrations that wait for a person because an answer reached no process.
    pub(crate) lost: usize,
}

/// Runs a seed, in a time of its own.
pub(crate) fn run(seed: u64) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(play(seed))
}

async fn play(seed: u64) -> Run {
    let plan = Plan::draw(seed);
    let scene = Scene::new(seed, plan.clone());
    scene.trace.say("plan", plan.to_string());
    let fleet = Fleet::new(&scene);
    fleet.start();
    for number in 1..=plan.integrations {
        tokio::spawn(Person::new(number, &scene, &fleet).live());
    }
    let end = Instant::now() + Duration::from_secs(plan.bad_s);
    tokio::select! {
        biased;
        () = scene.over.notified() => {}
        () = sleep_until(end) => {}
    }
    if scene.wrong().is_none() {
        scene.trace.say("all", "peace");
        scene.calm_down();
        fleet.calm_down();
        peace(&scene, &fleet).await;
    }
    let ends = (1..=plan.integrations).map(|number| state(&scene, &people::name(number)).state);
    let lost = ends.filter(|state| state == "ReconnectRequired").count();
    let requests = scene.truth().sent_in_all();
    Run {
        seed,
        hash: scene.trace.hash(),
        wrong: scene.wrong(),
        trace: scene.trace.all(),
        requests,
        lost,
    }
}

async fn peace(scene: &Arc<Scene>, fleet: &Fleet) {
    let begin = Instant::now();
    let mut well = 0;
    loop {
        sleep_until(Instant::now() + LOOK).await;
        if scene.wrong().is_some() {
            return;
        }
        let names = (1..=scene.plan.integrations).map(people::name);
        let not_well: Vec<String> = names.filter_map(|name| not_well(scene, &name)).collect();
        let kept = fleet.journalled();
        well = if not_well.is_empty() && kept == 0 {
            well + 1
        } else {
            0
        };
        if well == 2 {
            return scene.trace.say("all", "all is well");
        }
        if begin.elapsed() > CALM {
            nobody_waits(scene);
        }
        if begin.elapsed() > PEACE {
            let why = not_well.join("; ");
            return scene.violated(format!(
                "(end) after {PEACE:?} of peace, {kept} journalled; {why}"
            ));
        }
    }
}

/// 6: in peace, whatever is due is claimed soon.
fn nobody_waits(scene: &Scene) {
    let now = scene.store_ms();
    for number in 1..=scene.plan.integrations {
        let name = people::name(number);
        let due = scene.memory.inspect(&workflow(&name)).due;
        if due.is_some_and(|due| due + LATE_MAX < now) {
            scene.violated(format!("(6) {name}: due at {due:?}, not claimed at {now}"));
        }
    }
}

struct State {
    state: String,
    data: Value,
    restless: Option<String>,
    sealed: usize,
}

fn state(scene: &Scene, name: &str) -> State {
    let found = scene.memory.inspect(&workflow(name));
    let record = found.record.unwrap_or_default();
    let restless = if let Some(why) = record.parked {
        Some(format!("parked: {why}"))
    } else if record.owner.is_some() || record.activity.is_some() {
        Some("under way".to_owned())
    } else if found.inbox.is_empty() {
        None
    } else {
        Some("a signal waits".to_owned())
    };
    State {
        state: record.state,
        data: serde_json::from_str(&record.data).unwrap_or_default(),
        restless,
        sealed: found.sealed.len(),
    }
}

/// Why an integration is not as it must be in the end; nothing if it is.
fn not_well(scene: &Scene, name: &str) -> Option<String> {
    let found = state(scene, name);
    if let Some(why) = found.restless {
        return Some(format!("{name}: {why}"));
    }
    let is = &found.state;
    let Some(wanted) = scene.truth().wanted(name) else {
        return Some(format!("{name}: nobody has connected it yet"));
    };
    let family = match wanted {
        Wanted::Disconnected if is == "Disconnected" && found.sealed == 0 => return None,
        Wanted::Disconnected => return Some(format!("{name}: {is}, and should be disconnected")),
        Wanted::Connected { family } => family,
    };
    let consent = scene.provider.family(family);
    let lost = consent.is_lost();
    let data = &found.data["data"];
    let print = data["grant"]["refresh_token"].as_str().unwrap_or_default();
    match is.as_str() {
        // What the provider refuses is not sent again, so it may have been noticed or not.
        "Scheduled" | "ReconnectRequired" if consent.revoked => None,
        "ReconnectRequired" if lost => {
            let reason = found.data["phase"]["reason"].as_str().unwrap_or_default();
            (reason != "rotation_lost")
                .then(|| format!("{name}: {reason}, and a rotation was lost"))
        }
        "Scheduled" if !data["failures"].is_null() => Some(format!("{name}: {}", data["failures"])),
        "Scheduled" if print == consent.live().print || lost => None,
        _ => {
            let places: Vec<Fate> = consent.pairs.iter().map(|pair| pair.fate).collect();
            let place = consent.pairs.iter().position(|pair| pair.print == print);
            Some(format!(
                "{name}: {is} {} with pair {place:?} of {family}, issued are {places:?}",
                found.data["phase"]
            ))
        }
    }
}
