//! Being polite to a host, as a fleet: so many requests at once, so many a second, none while it wants
//! to be left alone, and one at a time where nothing but failures came back.
//!
//! The gate of a host lies in the store ([`evergreen_engine::store::GateBounds`]), so that a fleet is as
//! polite as one process. It lies on a node of its own, and that node may be away: whoever does not hear
//! from it within a second goes by a limit of the same size of its own, and asks the fleet's again a few
//! seconds later. What this process learns it tells both, so its own limit knows of pauses when it is
//! needed; a pause that only it knows of is told to the fleet as soon as that answers.
//!
//! | file | holds |
//! |---|---|
//! | `away.rs` | asking the fleet's gate, and doing without it |
//! | `host.rs` | what this process remembers of a host |
//! | `line.rs` | who asks first, of those who wait here |
//! | `slot.rs` | a place, and giving it back |

mod away;
mod host;
mod line;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evergreen_engine::platform::Random;
use evergreen_engine::store::memory::MemoryStore;
use evergreen_engine::store::{Enter, Entered, GateBounds, GateState, Said, Store, StoreError};
use evergreen_engine::{Millis, Platform, WorkflowId};
use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use self::host::Host;
use self::slot::Side;
pub(crate) use self::slot::Slot;

/// Between two looks at a gate that is full. The same for everybody, also for who has just given a place
/// back: else those who are quick to look again would keep all places among themselves.
const LOOK: Duration = Duration::from_millis(25);
/// Where the clock of this process's own limit begins, ms: later than any span that is reckoned back.
const OWN_BEGIN: Millis = 1 << 40;
/// Those of a slow host that wait in this process. More would only keep what belongs to other hosts from
/// being claimed.
const LINE_MAX: usize = 2;
/// A host is slow that lets fewer than so many of a process in while one of them waits as long as it may: those
/// that a process has claimed ahead.
const SLOW_BELOW: u64 = 8;
/// How long one stays away whose process does not reach the host: a quarter of the time for which that does
/// not try, within these bounds. Not all of it, because another process may take it meanwhile.
const ELSEWHERE: std::ops::RangeInclusive<Millis> = 1_000..=30_000;
/// The plain table that names the gates there are.
const GATES: &str = "gates";

/// The gates of all hosts.
pub struct Gate {
    fleet: Arc<dyn Store>,
    own: Arc<dyn Store>,
    bounds: GateBounds,
    /// How long a place is kept that is not given back.
    life: Duration,
    random: Random,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

/// Wants to send one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// Scheme and host.
    pub(crate) instance_url: &'a str,
    /// When what it refreshes expires: the order of those who wait.
    pub(crate) expires_at: Option<Millis>,
    /// The one retry after an unknown outcome, the one try of a pair that was kept apart: does not
    /// wait for the pace, nor for the breaker. For a pause it does, and it takes a place.
    pub(crate) exempt: bool,
    /// Somebody connects: goes through the breaker.
    pub(crate) connecting: bool,
    /// The store's time.
    pub(crate) now: Millis,
}

/// How a wish was answered.
pub(crate) enum Admitted {
    /// Now.
    In(Slot),
    /// Not before so long, ms: a pause, or an open breaker.
    Held(Millis),
    /// Others come first, here; to be asked for again after so long, ms, by whoever.
    Elsewhere(Millis),
}

/// The host of an instance, as gates and metrics name it.
pub(crate) fn host_of(instance_url: &str) -> &str {
    let rest = instance_url.split_once("://");
    rest.map_or(instance_url, |(_, host)| host)
}

impl Gate {
    /// Gates in this store; a place that is not given back is kept for `life`.
    pub(crate) fn new(fleet: &Arc<dyn Store>, life: Duration, platform: &Platform) -> Self {
        let begun = Instant::now();
        let clock = move || {
            let since = Millis::try_from(begun.elapsed().as_millis()).unwrap_or(0);
            OWN_BEGIN.saturating_add(since)
        };
        Self {
            fleet: Arc::clone(fleet),
            own: Arc::new(MemoryStore::with_clock_and_partitions(Arc::new(clock), 1)),
            bounds: GateBounds::default(),
            life,
            random: Arc::clone(&platform.random),
            hosts: Mutex::default(),
        }
    }

    /// Waits for a place among the requests to a host, for a third of a lease at most.
    pub(crate) async fn enter_soon(&self, wish: &Wish<'_>) -> Option<Admitted> {
        let host = self.host(wish.instance_url);
        let before = host.let_in.load(Ordering::Relaxed);
        let entered = timeout(self.life / 3, self.enter(wish)).await.ok();
        let others = host.let_in.load(Ordering::Relaxed) - before;
        if entered.is_none() && others < SLOW_BELOW {
            host.kept_somebody_waiting();
        }
        entered
    }

    /// Waits for a place among the requests to a host, as long as the caller does.
    pub(crate) async fn enter(&self, wish: &Wish<'_>) -> Admitted {
        let host = self.host(wish.instance_url);
        // Nobody is before those who need not wait for the pace.
        let order = if wish.exempt { 0 } else { 1 };
        let turn = host.line.join(wish.expires_at.unwrap_or(1).max(1) * order);
        if !wish.exempt && !wish.connecting {
            if let Some(left) = host.out_of_reach(wish.now) {
                let span = (left / 4).clamp(*ELSEWHERE.start(), *ELSEWHERE.end());
                return Admitted::Elsewhere(span);
            }
            if host.is_slow() && turn.before() >= LINE_MAX {
                let away = host.turn_away(Duration::from_secs(1) / self.bounds.a_second.max(1));
                return Admitted::Elsewhere(Millis::try_from(away.as_millis()).unwrap_or(0));
            }
        }
        loop {
            turn.first().await;
            let pauses = host.pauses();
            match self.ask(&host, wish).await {
                (Entered::In { wait, .. }, Some(slot)) => {
                    drop(turn);
                    if wait > 0 {
                        sleep(Duration::from_millis(wait)).await;
                    }
                    // Those before us may have been told meanwhile to stay away.
                    if host.pauses() != pauses {
                        return Admitted::Held(self.own_state(&host.name).pause_left);
                    }
                    host.let_in.fetch_add(1, Ordering::Relaxed);
                    return Admitted::In(slot);
                }
                (Entered::Paused { left } | Entered::Open { left }, _) => {
                    return Admitted::Held(left);
                }
                (Entered::In { .. } | Entered::Full, _) => {
                    sleep(LOOK).await;
                }
            }
        }
    }

    /// Tells how a request went. Answers for how long the host is left alone now, ms.
    pub(crate) async fn tell(&self, instance_url: &str, said: Said) -> Millis {
        let host = self.host(instance_url);
        let own = self.tell_own(&host.name, Some(said));
        if said != Said::Failed {
            host.reached();
        }
        if said == Said::Answered && !host.troubled.load(Ordering::Relaxed) {
            return own.pause_left;
        }
        let told = self.fleet.gate_tell(&host.name, Some(said), &self.bounds);
        match host.away.unless(told).await {
            Some(state) => {
                let troubled = state
                    != GateState {
                        inside: state.inside,
                        ..GateState::default()
                    };
                host.troubled.store(troubled, Ordering::Relaxed);
                self.pause_own(&host, state.pause_left);
                state.pause_left
            }
            None => {
                if let Said::Throttled { .. } = said {
                    host.heard_of_a_pause();
                    host.owes.store(true, Ordering::Relaxed);
                }
                own.pause_left
            }
        }
    }

    /// Tells that this process could not even reach the host, at this time of the store. That is told to
    /// nobody else: a machine that reaches nobody must not shut the gate for those that do.
    pub(crate) fn failed_from_here(&self, instance_url: &str, now: Millis) {
        let host = self.host(instance_url);
        if let Some(left) = host.not_reached(now, &self.bounds) {
            tracing::warn!(host = %host.name, "this process does not reach the host; it leaves its integrations to others for {} s", left.div_ceil(1_000));
        }
    }

    /// Whether this process has heard of a pause since this workflow got its place: looked at once more
    /// before the first byte, since the intent was written in between.
    pub(crate) fn was_told_to_stay_away(&self, instance_url: &str, id: &WorkflowId) -> bool {
        let host = self.host(instance_url);
        host.was_told_to_stay_away(&id.to_string())
    }

    /// How the gate of a host stands: the fleet's, or this process's own while that does not answer.
    pub(crate) async fn state(&self, instance_url: &str) -> GateState {
        let host = self.host(instance_url);
        let told = self.fleet.gate_tell(&host.name, None, &self.bounds);
        match host.away.unless(told).await {
            Some(state) => state,
            None => self.own_state(&host.name),
        }
    }

    /// How all gates stand that the fleet has ever used, by host.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn states(&self) -> Result<Vec<(String, GateState)>, StoreError> {
        let mut all = Vec::new();
        for (host, _) in self.fleet.table_all(GATES).await? {
            let state = self.fleet.gate_tell(&host, None, &self.bounds).await?;
            all.push((host, state));
        }
        all.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(all)
    }

    /// One try to get a place.
    async fn ask(&self, host: &Arc<Host>, wish: &Wish<'_>) -> (Entered, Option<Slot>) {
        if !host.away.is_now() {
            self.pay(host).await;
            // Whatever becomes of the answer, a place that was given is given back.
            let slot = self.slot(host, Side::Fleet(Arc::clone(&self.fleet)));
            let enter = self.wish(host, &slot, wish);
            let asked = self.fleet.gate_enter(&enter);
            if let Some(entered) = host.away.unless(asked).await {
                self.learn(host, entered).await;
                return kept(entered, slot);
            }
        }
        let slot = self.slot(host, Side::Own(Arc::clone(&self.own)));
        let enter = self.wish(host, &slot, wish);
        let entered = self.own.gate_enter(&enter).now_or_never();
        // The memory answers at once, and does not refuse.
        let entered = entered.and_then(Result::ok).unwrap_or(Entered::Full);
        kept(entered, slot)
    }

    fn wish(&self, host: &Host, slot: &Slot, wish: &Wish<'_>) -> Enter {
        Enter {
            gate: host.name.clone(),
            place: slot.place.clone(),
            life: self.life,
            unpaced: wish.exempt,
            through_breaker: wish.exempt || wish.connecting,
            bounds: self.bounds,
        }
    }

    fn slot(&self, host: &Arc<Host>, side: Side) -> Slot {
        Slot::new(host, format!("{:016x}", (self.random)()), side)
    }

    /// What an answer of the fleet's gate tells beyond itself.
    async fn learn(&self, host: &Host, entered: Entered) {
        match entered {
            Entered::In { troubled, .. } => {
                host.troubled.store(troubled, Ordering::Relaxed);
                if !host.named.swap(true, Ordering::Relaxed) {
                    self.name(host).await;
                }
            }
            Entered::Paused { left } => self.pause_own(host, left),
            Entered::Open { .. } | Entered::Full => {}
        }
    }

    /// Names a gate in the table, for those who want to see all of them.
    async fn name(&self, host: &Host) {
        let named = async {
            let since = evergreen_engine::time::rfc3339(self.fleet.now().await?);
            self.fleet.table_put(GATES, &host.name, &since).await
        };
        // The table may lie on another node than the gate; it is for those who look on.
        if !matches!(timeout(away::PATIENCE, named).await, Ok(Ok(()))) {
            host.named.store(false, Ordering::Relaxed);
        }
    }

    /// Tells the fleet of a pause that only this process knows of.
    async fn pay(&self, host: &Host) {
        if !host.owes.load(Ordering::Relaxed) {
            return;
        }
        let left = self.own_state(&host.name).pause_left;
        let pause = Some(Duration::from_millis(left));
        let said = (left > 0).then_some(Said::Throttled { pause });
        let told = self.fleet.gate_tell(&host.name, said, &self.bounds);
        if host.away.unless(told).await.is_some() {
            host.owes.store(false, Ordering::Relaxed);
        }
    }

    fn pause_own(&self, host: &Host, left: Millis) {
        if left > 0 {
            host.heard_of_a_pause();
            let pause = Some(Duration::from_millis(left));
            self.tell_own(&host.name, Some(Said::Throttled { pause }));
        }
    }

    fn own_state(&self, host: &str) -> GateState {
        self.tell_own(host, None)
    }

    fn tell_own(&self, host: &str, said: Option<Said>) -> GateState {
        let told = self.own.gate_tell(host, said, &self.bounds).now_or_never();
        // The memory answers at once, and does not refuse.
        told.and_then(Result::ok).unwrap_or_default()
    }

    fn host(&self, instance_url: &str) -> Arc<Host> {
        let name = host_of(instance_url);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(name) {
            return Arc::clone(host);
        }
        let host = Host::new(name);
        hosts.insert(name.to_owned(), Arc::clone(&host));
        host
    }
}

/// A place is kept only where there is one.
fn kept(entered: Entered, slot: Slot) -> (Entered, Option<Slot>) {
    if let Entered::In { .. } = entered {
        return (entered, Some(slot));
    }
    slot.was_refused();
    (entered, None)
}
