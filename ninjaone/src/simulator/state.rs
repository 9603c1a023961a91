//! All that the simulated host knows: apps, grants, codes, faults, the ledger.
//!
//! It sits behind one mutex, held for the few microseconds of a decision and never across an
//! await. So two requests with one refresh token are carried out one after the other, in some
//! order, and exactly one of them finds it current.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::ledger::{Ledger, Presented};
use super::mint::Mint;
use super::options::{Rotation, SimulatorOptions};
use super::queue::Faults;
use super::registry::Clients;
use super::wire::Name;

/// One consent, or one scope set of a machine app.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub client_id: Name,
    /// The tenant and integration it was seeded for.
    pub label: Option<(String, String)>,
    pub scope: String,
    /// Whether a person consented; a machine's grant has no user context.
    pub user: bool,
    /// Rotations so far; 0 is the refresh token first issued.
    pub generation: u64,
    /// When the current refresh token was issued.
    pub rotated_at: u64,
    pub revoked: bool,
}

/// An authorization code and what it must be redeemed with.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub grant: Name,
    pub client_id: String,
    pub redirect_uri: String,
    pub challenge: Option<String>,
    pub scope: String,
    pub expires_at: u64,
}

/// A refresh token that was presented, and what it turned out to be.
#[derive(Debug, Clone)]
pub(super) struct Presentation {
    pub grant: Option<Name>,
    pub generation: Option<u64>,
    pub presented: Presented,
}

pub(super) struct State {
    pub options: SimulatorOptions,
    pub clients: Clients,
    pub grants: HashMap<Name, Grant>,
    /// The grant of each machine app and scope set.
    pub machines: HashMap<(String, String), Name>,
    pub codes: HashMap<String, Code>,
    pub faults: Faults,
    pub ledger: Ledger,
    pub mint: Mint,
}

impl State {
    pub(super) fn new(options: SimulatorOptions) -> Self {
        Self {
            clients: Clients::new(&options.clients),
            grants: HashMap::new(),
            machines: HashMap::new(),
            codes: HashMap::new(),
            faults: Faults::new(options.seed),
            ledger: Ledger::new(options.ledger_entries),
            mint: Mint::new(options.seed),
            options,
        }
    }

    /// As it was at the start, but for the options and for ids, which are never given out twice.
    pub(super) fn reset(&mut self) {
        self.clients = Clients::new(&self.options.clients);
        self.grants.clear();
        self.machines.clear();
        self.codes.clear();
        self.faults.clear();
        self.ledger = Ledger::new(self.options.ledger_entries);
    }

    /// Looks at a refresh token without spending it.
    pub(super) fn look_at(&self, token: &str, client_id: &str, now: u64) -> Presentation {
        let found = self.mint.read_refresh_token(token).and_then(|(id, nth)| {
            let (id, grant) = self.grants.get_key_value(id)?;
            Some((id, grant, nth))
        });
        let Some((id, grant, generation)) = found else {
            return Presentation {
                grant: None,
                generation: None,
                presented: Presented::Unknown,
            };
        };
        let replaced = generation < grant.generation;
        let age = now.saturating_sub(grant.rotated_at);
        let presented = if grant.revoked {
            Presented::Revoked
        } else if replaced {
            match self.options.rotation {
                Rotation::Grace { window }
                    if generation + 1 == grant.generation && age < millis(window) =>
                {
                    Presented::Grace
                }
                _ => Presented::Spent,
            }
        } else if grant.client_id != *client_id {
            Presented::Foreign
        } else if (self.options.refresh_token_life).is_some_and(|life| age >= millis(life)) {
            Presented::Expired
        } else {
            Presented::Current
        };
        Presentation {
            grant: Some(id.clone()),
            generation: Some(generation),
            presented,
        }
    }

    /// The grant of an access token that is good now.
    pub(super) fn authenticate(&self, access_token: &str, now: u64) -> Option<(&Name, &Grant)> {
        let (id, expires_at) = self.mint.read_access_token(access_token)?;
        let (id, grant) = self.grants.get_key_value(id.as_str())?;
        let app_exists = self.clients.get(grant.client_id.as_str()).is_some();
        (expires_at > now && !grant.revoked && app_exists).then_some((id, grant))
    }

    /// Forgets codes that are too old to be redeemed.
    pub(super) fn forget_old_codes(&mut self, now: u64) {
        self.codes.retain(|_, code| code.expires_at > now);
    }
}

/// Milliseconds since 1970, anchored once: a step of the system clock cannot bend a token's life,
/// and tokio's paused clock moves it.
pub(super) struct Clock {
    anchor: u64,
    started: tokio::time::Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            anchor: millis(since_1970.unwrap_or_default()),
            started: tokio::time::Instant::now(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.anchor + millis(self.started.elapsed())
    }

    pub(super) fn started_at(&self) -> u64 {
        self.anchor
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
