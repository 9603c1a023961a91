//! A life that is told inputs, and what it said.

use std::sync::OnceLock;

use evergreen_engine::machine::SealedChange;
use evergreen_engine::{Context, Effects, Input, Millis, Step, Workflow as _, WorkflowId};
use secrecy::{ExposeSecret, SecretString};

use crate::lifecycle::{
    Credential, Issued, KIND, NewGrant, Outcome, Phase, Refresh, Rescued, Settings, Signal, Source,
};
use crate::provider::{Attention, Detail, Reason, TokenPath};
use crate::vault::{Fingerprint, FingerprintKey, GrantId, KeyRing, Pair, Place, Sealed, Workflow};

pub(super) const SECOND: Millis = 1_000;
pub(super) const HOUR: Millis = 3_600 * SECOND;
/// When every life begins.
pub(super) const START: Millis = 100_000_000 * SECOND;

/// A grant's machine with the engine's part played by hand.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) data: Credential,
    pub(super) phase: Phase,
    pub(super) now: Millis,
    pub(super) timer: Option<Millis>,
    pub(super) settings: Settings,
    pub(super) store_in_doubt: bool,
    /// Names of what was published so far, without their prefix.
    pub(super) told: Vec<String>,
    pub(super) name: &'static str,
}

/// What one input led to.
pub(super) struct Heard {
    pub(super) step: Step,
    pub(super) effects: Effects<Credential>,
}

impl Life {
    /// Before any grant.
    pub(super) fn unborn() -> Self {
        let (data, phase) = Credential::initial();
        Self {
            data,
            phase,
            now: START,
            timer: None,
            settings: Settings::default(),
            store_in_doubt: false,
            told: Vec::new(),
            name: "acme/prod@user",
        }
    }

    /// With a grant of one hour.
    pub(super) fn scheduled() -> Self {
        let mut life = Self::unborn();
        life.signal(Signal::Connect(grant("R0")));
        life.told.clear();
        life
    }

    /// With its request under way.
    pub(super) fn refreshing() -> Self {
        let mut life = Self::scheduled();
        life.fire();
        life
    }

    pub(super) fn reconnect_required() -> Self {
        let mut life = Self::refreshing();
        life.outcome(rejected());
        life.told.clear();
        life
    }

    pub(super) fn active() -> Self {
        let mut life = Self::refreshing();
        life.outcome(misconfigured(Attention::ClientRejected));
        life.told.clear();
        life
    }

    pub(super) fn disconnected() -> Self {
        let mut life = Self::scheduled();
        life.signal(disconnect());
        life.told.clear();
        life
    }

    pub(super) fn hear(&mut self, input: &Input<Credential>) -> Heard {
        let id = WorkflowId::new(KIND, self.name).unwrap();
        let settings = self.settings.clone();
        let mut context = Context {
            id: &id,
            now: self.now,
            random: 0.5,
            facts: &settings,
            store_in_doubt: self.store_in_doubt,
            effects: Effects::default(),
        };
        let step = self.data.step(&mut self.phase, input, &mut context);
        let effects = context.effects;
        self.timer = match (effects.timer_set(), step) {
            (Some(at), _) => Some(at),
            (None, Step::Moved) => None,
            (None, _) => self.timer,
        };
        let names = effects.published().iter().map(|event| &event.name);
        self.told
            .extend(names.map(|name| name.replace("INTEGRATION_", "").replace("TOKEN_", "")));
        Heard { step, effects }
    }

    /// Lets the time come that was asked for.
    pub(super) fn fire(&mut self) -> Heard {
        self.now = self.timer.take().expect("a timer").max(self.now);
        self.hear(&Input::TimerFired)
    }

    /// Fires until a request is under way.
    pub(super) fn attempt(&mut self) -> Refresh {
        for _ in 0..4 {
            if let Some(refresh) = self.fire().effects.performed() {
                return refresh.clone();
            }
        }
        panic!("no attempt follows from {:?}", self.phase);
    }

    pub(super) fn signal(&mut self, signal: Signal) -> Heard {
        self.hear(&Input::Signal(signal))
    }

    pub(super) fn outcome(&mut self, outcome: Outcome) -> Heard {
        self.hear(&Input::Outcome(outcome))
    }

    /// Answers the request under way with a new pair.
    pub(super) fn refreshed(&mut self, token: &str) -> Heard {
        let issued = self.issued(token);
        self.outcome(Outcome::Refreshed(Box::new(issued)))
    }

    pub(super) fn issued(&self, token: &str) -> Issued {
        let grant = self.data.grant.as_ref().expect("a grant");
        Issued {
            grant: grant.id,
            base_generation: grant.generation,
            pair: pair(token),
            refresh_token: Some(print(token)),
            obtained_at: self.now,
            expires_at: Some(self.now + HOUR),
            expiry_assumed: false,
            scopes: None,
            bearer: true,
            token_path: TokenPath::Ws,
            warning: None,
            salvaged: false,
            detail: Detail::default(),
            entry: None,
        }
    }

    /// Gives the grant, if there is one, a generation before the one at hand.
    pub(super) fn age(&mut self) {
        if let Some(grant) = self.data.grant.as_mut() {
            grant.generation += 1;
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.data.grant.as_ref().map_or(0, |grant| grant.generation)
    }

    pub(super) fn count(&self, event: &str) -> usize {
        self.told.iter().filter(|told| *told == event).count()
    }
}

impl Heard {
    pub(super) fn note(&self, field: &str) -> &str {
        let notes = self.effects.notes();
        notes
            .get(field)
            .and_then(|note| note.as_str())
            .unwrap_or("")
    }

    /// The names under which something was sealed.
    pub(super) fn sealed(&self) -> Vec<&str> {
        (self.effects.sealed_changes().iter())
            .filter_map(|change| match change {
                SealedChange::Put(slot, _) => Some(slot.as_str()),
                SealedChange::Anew(..) | SealedChange::Erase(_) | SealedChange::Clear => None,
            })
            .collect()
    }

    /// The names under which something was sealed anew.
    pub(super) fn sealed_anew(&self) -> Vec<String> {
        (self.effects.sealed_changes().iter())
            .filter_map(|change| match change {
                SealedChange::Anew(slot, _) => Some(slot.clone()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn erased(&self) -> usize {
        (self.effects.sealed_changes().iter())
            .filter(|change| matches!(change, SealedChange::Erase(_)))
            .count()
    }
}

pub(super) fn grant_id() -> GrantId {
    "0102030405060708".parse().unwrap()
}

/// The fingerprint of a token.
pub(super) fn print(token: &str) -> Fingerprint {
    FingerprintKey::from_hex(&"0b".repeat(32))
        .unwrap()
        .fingerprint(&token.into())
}

pub(super) fn pair(token: &str) -> Pair {
    Pair {
        access_token: SecretString::from(format!("access of {token}")),
        refresh_token: Some(token.into()),
    }
}

pub(super) fn sealed(token: &str) -> Sealed {
    static RING: OnceLock<KeyRing> = OnceLock::new();
    let ring = RING.get_or_init(|| {
        let key = KeyRing::generate().unwrap();
        KeyRing::parse(key.printable.expose_secret()).unwrap()
    });
    let workflow = Workflow {
        kind: KIND,
        id: "acme/prod@user",
    };
    let place = Place::Signal {
        workflow,
        grant: grant_id(),
    };
    ring.seal_pair(&place, &pair(token))
}

pub(super) fn grant(token: &str) -> NewGrant {
    NewGrant {
        grant: grant_id(),
        instance_url: "https://eu.ninjarmm.com".to_owned(),
        client_id: "app".to_owned(),
        pair: sealed(token),
        app: None,
        refresh_token: Some(print(token)),
        obtained_at: START,
        expires_at: Some(START + HOUR),
        expiry_assumed: false,
        scopes: None,
        bearer: true,
        token_path: None,
        source: Source::OauthConnected,
    }
}

pub(super) fn rescued(token: &str, base_generation: u64) -> Rescued {
    Rescued {
        grant: grant_id(),
        base_generation,
        pair: sealed(token),
        refresh_token: Some(print(token)),
        obtained_at: START,
        expires_at: Some(START + HOUR),
        bearer: true,
    }
}

pub(super) fn rejected() -> Outcome {
    Outcome::Rejected {
        reason: Reason::Revoked,
        detail: detail("invalid_token"),
    }
}

pub(super) fn misconfigured(attention: Attention) -> Outcome {
    Outcome::Misconfigured {
        attention,
        detail: detail("invalid_client"),
    }
}

pub(super) fn unavailable() -> Outcome {
    Outcome::Unavailable {
        detail: detail("server_error"),
        sent: true,
        tls: false,
        unclassified: false,
    }
}

pub(super) fn unknown() -> Outcome {
    Outcome::Unknown {
        detail: Detail::default(),
    }
}

pub(super) fn detail(code: &str) -> Detail {
    Detail {
        status: Some(400),
        code: Some(code.to_owned()),
        ..Detail::default()
    }
}

pub(super) fn disconnect() -> Signal {
    Signal::Disconnect {
        reason: "user_requested".to_owned(),
    }
}

pub(super) fn refresh_now(source: Source, generation: u64) -> Signal {
    Signal::RefreshNow {
        source,
        grant: Some(grant_id()),
        generation,
    }
}
