//! The admin endpoint without HTTP: what tests in the same process hold.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::clients::ClientApp;
use super::faults::Fault;
use super::ledger::{Entry, Tally, Totals};
use super::options::{Refused, SettingsChange, SimulatorOptions};
use super::queue::Queued;
use super::registry::ClientChange;
use super::seed::{SeedRequest, SeededGrant, seed};
use super::server::Shared;
use super::state::State;
use super::wire::Name;

/// Entries in one page, at most.
const PAGE_MAX: usize = 10_000;

/// Looks into a running simulator and changes it. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    addr: SocketAddr,
}

/// The ledger summed up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The simulator's clock, ms since 1970; all times of the ledger are its.
    pub now_ms: u64,
    /// When it started.
    pub started_at_ms: u64,
    /// Counters of the host.
    pub totals: Totals,
    /// The longest gap of any chain that is not revoked, gaps still open included.
    pub longest_gap_ms: u64,
    /// The oldest raw entry still kept; if it is not 1, the ring has overflowed.
    pub oldest_entry: u64,
    /// One per grant, by tenant, integration and chain.
    pub chains: Vec<ChainReport>,
}

/// One chain summed up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChainReport {
    /// The grant id: the part of its refresh tokens before the dot.
    pub chain: Name,
    /// The tenant it was seeded for.
    pub tenant: Option<String>,
    /// The integration it was seeded for.
    pub integration: Option<String>,
    /// Its app.
    pub client_id: Name,
    /// Its scopes.
    pub scope: String,
    /// Whether a person consented to it; else it is a machine's.
    pub user: bool,
    /// Rotations so far.
    pub generation: u64,
    /// Whether it was revoked.
    pub revoked: bool,
    /// For how long the client has had no valid access token, as of now.
    pub open_gap_ms: u64,
    /// Its counters.
    #[serde(flatten)]
    pub tally: Tally,
}

/// A page of raw entries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// Ask for what comes after this next.
    pub next_after: u64,
    /// Entries asked for that had left the ring already.
    pub lost: u64,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>, addr: SocketAddr) -> Self {
        Self { shared, addr }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// The instance URL, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        if let Some(url) = &self.shared.lock().options.public_url {
            return url.clone();
        }
        // Nobody can connect to "any address".
        let ip = match self.addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, self.addr.port()))
    }

    /// Makes live grants; all of them or none.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn seed(&self, request: SeedRequest) -> Result<Vec<SeededGrant>, Refused> {
        let (url, now) = (self.url(), self.shared.now());
        seed(&mut self.shared.lock(), request, &url, now)
    }

    /// Scripts a fault and answers its number.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn script(&self, fault: Fault) -> Result<u64, Refused> {
        let now = self.shared.now();
        self.shared.lock().faults.script(fault, now)
    }

    /// The faults, used-up ones too, in their order.
    #[must_use]
    pub fn faults(&self) -> Vec<Queued> {
        self.shared.lock().faults.list()
    }

    /// Lets the requests that a `hold` keeps go on. Says whether there is such a hold.
    pub fn release(&self, fault: u64) -> bool {
        self.shared.lock().faults.release(fault)
    }

    /// Forgets all faults and releases what they hold.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// The ledger summed up.
    #[must_use]
    pub fn ledger(&self) -> Report {
        let now = self.shared.now();
        let state = self.shared.lock();
        let mut chains: Vec<_> = (state.grants.keys())
            .filter_map(|chain| chain_report(&state, chain, now))
            .collect();
        chains.sort_by_cached_key(|chain| {
            let name = (chain.tenant.clone(), chain.integration.clone());
            (name, chain.chain.clone())
        });
        let gaps = (chains.iter())
            .filter(|chain| !chain.revoked)
            .map(|chain| chain.tally.longest_gap_ms.max(chain.open_gap_ms));
        Report {
            now_ms: now,
            started_at_ms: self.shared.started_at(),
            totals: state.ledger.totals().clone(),
            longest_gap_ms: gaps.max().unwrap_or_default(),
            oldest_entry: state.ledger.oldest(),
            chains,
        }
    }

    /// The counters of the host alone.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.lock().ledger.totals().clone()
    }

    /// One chain.
    #[must_use]
    pub fn chain(&self, chain: &str) -> Option<ChainReport> {
        let now = self.shared.now();
        chain_report(&self.shared.lock(), &Name::from(chain), now)
    }

    /// Raw entries after a number, at most 10,000 at a time.
    #[must_use]
    pub fn entries(&self, after: u64, limit: usize) -> Page {
        let state = self.shared.lock();
        let entries: Vec<_> = (state.ledger.after(after))
            .take(limit.min(PAGE_MAX))
            .cloned()
            .collect();
        Page {
            next_after: entries.last().map_or(after, |last| last.seq),
            lost: state.ledger.oldest().saturating_sub(after + 1),
            entries,
        }
    }

    /// Waits until the ledger has an entry like this after a number. The caller bounds the time.
    pub async fn entry(&self, after: u64, like: impl Fn(&Entry) -> bool) -> Entry {
        self.wait_until(|state| state.ledger.after(after).find(|entry| like(entry)).cloned())
            .await
    }

    /// Waits until a fault has been applied this often. The caller bounds the time.
    pub async fn applied(&self, fault: u64, times: u64) {
        self.wait_until(|state| {
            let applied = state.faults.applied(fault)?;
            (applied >= times).then_some(())
        })
        .await;
    }

    /// Waits, but not longer than the server lives.
    pub(super) async fn unless_stopping<T>(&self, wait: impl Future<Output = T>) {
        let wait = async { drop(wait.await) };
        self.shared.unless_stopping(wait).await;
    }

    async fn wait_until<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        loop {
            // Registered before looking, so that no change falls between the two.
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = look(&self.shared.lock()) {
                return found;
            }
            changed.await;
        }
    }

    /// Revokes a grant, as a person would under Administration. Says whether there is such a one.
    pub fn revoke(&self, chain: &str) -> bool {
        let mut state = self.shared.lock();
        let grant = state.grants.get_mut(chain);
        grant.map(|grant| grant.revoked = true).is_some()
    }

    /// Adds, changes or removes an app.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn change_client(&self, change: ClientChange) -> Result<(), Refused> {
        self.shared.lock().clients.change(change)
    }

    /// The apps, by id.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientApp> {
        let state = self.shared.lock();
        state.clients.all().into_iter().cloned().collect()
    }

    /// The options as they are now; `clients` are those of the start.
    #[must_use]
    pub fn options(&self) -> SimulatorOptions {
        self.shared.lock().options.clone()
    }

    /// Changes options while running.
    ///
    /// # Errors
    /// Names the field that is wrong; then nothing was changed.
    pub fn change_settings(&self, change: SettingsChange) -> Result<(), Refused> {
        let mut state = self.shared.lock();
        let changed = change.applied_to(&state.options);
        changed.check()?;
        state.options = changed;
        Ok(())
    }

    /// Forgets grants, codes, faults and the ledger, and brings back the apps of the start.
    /// Settings stay.
    pub fn reset(&self) {
        self.shared.lock().reset();
        self.shared.changed.notify_waiters();
    }
}

fn chain_report(state: &State, chain: &Name, now: u64) -> Option<ChainReport> {
    let (chain, grant) = state.grants.get_key_value(chain)?;
    let tally = state.ledger.tally(chain);
    let (tenant, integration) = grant.label.clone().unzip();
    Some(ChainReport {
        chain: chain.clone(),
        tenant,
        integration,
        client_id: grant.client_id.clone(),
        scope: grant.scope.clone(),
        user: grant.user,
        generation: grant.generation,
        revoked: grant.revoked,
        open_gap_ms: if grant.revoked { 0 } else { tally.gap_at(now) },
        tally,
    })
}
