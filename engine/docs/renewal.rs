// The workflow of the guide, whole: a certificate that is renewed before it expires.

use std::sync::Arc;

use async_trait::async_trait;
use evergreen_engine::record::SealedBlobs;
use evergreen_engine::{
    Activities, Call, Context, Input, Millis, SealError, Step, Workflow, WorkflowId, dispatch,
};
use serde::{Deserialize, Serialize};
use statig::prelude::*;

const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;

// What all states share. `order` names the renewal that is under way to the authority: sent twice under
// one name it is carried out once.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Certificate {
    serial: u64,
    expires_at: Millis,
    order: u64,
    failures: u32,
}

// The states. Their names are what `redis-cli` shows; they are never renamed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Phase {
    Absent {},
    Valid {},
    Renewing {},
    Refused {},
}

// What can come from outside.
#[derive(Clone, Serialize, Deserialize)]
enum Signal {
    /// Begin with this certificate, whatever was before. Pre-emptive.
    Install { serial: u64, expires_at: Millis },
    /// Renew now, unless the certificate is not the one that the asker saw.
    RenewNow { serial: u64 },
    /// One that was issued and whose commit was refused; its key is sealed for the way.
    Issued {
        serial: u64,
        expires_at: Millis,
        key: String,
    },
    /// Forget everything. Pre-emptive.
    Remove,
}

// What is asked of the outside world, and how that can end. The key never leaves the outcome but sealed.
#[derive(Clone, Serialize, Deserialize)]
struct Renew {
    serial: u64,
    order: u64,
}

#[derive(Clone)]
enum Ended {
    Issued {
        serial: u64,
        expires_at: Millis,
        key: Key,
    },
    Refused,
    Busy,
    Unknown,
    NotSent,
}

/// A private key: as it was issued, or sealed for the signal that carries it.
#[derive(Clone)]
enum Key {
    Plain(String),
    Sealed(String),
}

// What the deployment is set to.
struct Settings {
    ahead: Millis,
}

#[state_machine(
    initial = "Phase::Absent {}",
    state(custom, name = "Phase"),
    event_identifier = "input"
)]
impl Certificate {
    #[state(superstate = "anywhere")]
    fn absent(
        &mut self,
        input: &Input<Certificate>,
        context: &mut Context<'_, Certificate>,
    ) -> Outcome<Phase> {
        let _ = (input, context);
        Super
    }

    #[state(superstate = "anywhere")]
    fn valid(
        &mut self,
        input: &Input<Certificate>,
        context: &mut Context<'_, Certificate>,
    ) -> Outcome<Phase> {
        match input {
            Input::TimerFired => self.renew(context),
            // Whoever asks because of a certificate that has been replaced since wants nothing any more.
            Input::Signal(Signal::RenewNow { serial }) if *serial == self.serial => {
                self.renew(context)
            }
            _ => Super,
        }
    }

    #[state(superstate = "anywhere")]
    fn renewing(
        &mut self,
        input: &Input<Certificate>,
        context: &mut Context<'_, Certificate>,
    ) -> Outcome<Phase> {
        match input {
            Input::Outcome(Ended::Issued {
                serial,
                expires_at,
                key,
            }) => {
                context.effects.seal("key", key.clone());
                self.issued(*serial, *expires_at, context)
            }
            Input::Outcome(Ended::Refused) => {
                // Nobody is told to act before everything that is known has been heard.
                context.effects.verdict();
                context
                    .effects
                    .publish("CERTIFICATE_REFUSED", self.serial.into());
                Transition(Phase::Refused {})
            }
            // Nobody knows whether it happened: the same order once more, under the same name, and at once.
            Input::Outcome(Ended::Unknown) | Input::ActivityLost(_) if self.failures == 0 => {
                self.failures = 1;
                self.again(context.now, context)
            }
            Input::Outcome(_) | Input::ActivityLost(_) => {
                self.failures += 1;
                let pause = HOUR << self.failures.min(4);
                self.again(context.now + pause, context)
            }
            Input::Held { until } => self.again(*until, context),
            _ => Super,
        }
    }

    #[state(superstate = "anywhere")]
    fn refused(
        &mut self,
        input: &Input<Certificate>,
        context: &mut Context<'_, Certificate>,
    ) -> Outcome<Phase> {
        let _ = (input, context);
        Super
    }

    // What every state answers in the same way.
    #[superstate]
    fn anywhere(
        &mut self,
        input: &Input<Certificate>,
        context: &mut Context<'_, Certificate>,
    ) -> Outcome<Phase> {
        match input {
            Input::Signal(Signal::Install { serial, expires_at }) => {
                *self = Self::default();
                context.effects.erase_all();
                self.issued(*serial, *expires_at, context)
            }
            // Late, and still newer than what there is: it is not thrown away.
            Input::Signal(Signal::Issued {
                serial,
                expires_at,
                key,
            }) if *serial > self.serial => {
                context.effects.seal("key", Key::Sealed(key.clone()));
                self.issued(*serial, *expires_at, context)
            }
            Input::Signal(Signal::Remove) => {
                *self = Self::default();
                context.effects.erase_all();
                Transition(Phase::Absent {})
            }
            Input::Signal(_) => Handled,
            _ => Super,
        }
    }
}

impl Certificate {
    fn renew(&mut self, context: &mut Context<'_, Self>) -> Outcome<Phase> {
        let (serial, order) = (self.serial, self.order);
        context.effects.perform(Renew { serial, order });
        Transition(Phase::Renewing {})
    }

    fn again(&mut self, at: Millis, context: &mut Context<'_, Self>) -> Outcome<Phase> {
        context.effects.wake_at(at);
        Transition(Phase::Valid {})
    }

    fn issued(
        &mut self,
        serial: u64,
        expires_at: Millis,
        context: &mut Context<'_, Self>,
    ) -> Outcome<Phase> {
        (self.serial, self.expires_at, self.failures) = (serial, expires_at, 0);
        self.order += 1;
        // Spread, so that a thousand certificates of one day are not renewed in one second.
        let jitter = (context.random * HOUR as f64) as Millis;
        let at = expires_at.saturating_sub(context.facts.ahead + jitter);
        context.effects.publish("CERTIFICATE_ISSUED", serial.into());
        self.again(at, context)
    }
}

impl Workflow for Certificate {
    const KIND: &'static str = "certificate";
    type Phase = Phase;
    type Signal = Signal;
    type Activity = Renew;
    type Outcome = Ended;
    type Secret = Key;
    type Facts = Settings;

    fn initial() -> (Self, Phase) {
        (Self::default(), Phase::Absent {})
    }

    fn step(
        &mut self,
        phase: &mut Phase,
        input: &Input<Self>,
        context: &mut Context<'_, Self>,
    ) -> Step {
        dispatch::<Self>(phase, self, input, context)
    }

    fn describe(input: &Input<Self>) -> String {
        let word = match input {
            Input::TimerFired => "TimerFired",
            Input::ActivityLost(_) => "ActivityLost",
            Input::Held { .. } => "Held",
            Input::Signal(Signal::Install { .. }) => "Install",
            Input::Signal(Signal::RenewNow { .. }) => "RenewNow",
            Input::Signal(Signal::Issued { .. }) => "IssuedLate",
            Input::Signal(Signal::Remove) => "Remove",
            Input::Outcome(Ended::Issued { .. }) => "Issued",
            Input::Outcome(Ended::Refused) => "Refused",
            Input::Outcome(Ended::Busy) => "Busy",
            Input::Outcome(Ended::Unknown) => "Unknown",
            Input::Outcome(Ended::NotSent) => "NotSent",
        };
        word.to_owned()
    }
}

// The impure edge.
struct Authority {
    settings: Arc<Settings>,
}

#[async_trait]
impl Activities<Certificate> for Authority {
    fn facts(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }

    // Here your vault encrypts, bound to the workflow; what it is given is in no log and in no state.
    fn seal(&self, id: &WorkflowId, key: &Key, _: &SealedBlobs) -> Result<String, SealError> {
        Ok(match key {
            Key::Plain(key) => format!("sealed for {id}: {} bytes", key.len()),
            Key::Sealed(sealed) => sealed.clone(),
        })
    }

    // Here your client asks the authority. Immediately before the first byte it looks at its trust.
    async fn perform(&self, call: Call<'_, Certificate>) -> Ended {
        if !call.trust.holds() {
            return Ended::NotSent;
        }
        Ended::Issued {
            serial: call.activity.serial + 1,
            expires_at: call.now + 90 * DAY,
            key: Key::Plain("-----BEGIN PRIVATE KEY-----".to_owned()),
        }
    }

    fn not_sent(&self, _: &Renew) -> Ended {
        Ended::NotSent
    }

    fn unknown(&self, _: &Renew) -> Ended {
        Ended::Unknown
    }

    // What was issued is never thrown away, whoever has the workflow by now.
    fn redeliver(&self, id: &WorkflowId, outcome: &Ended) -> Option<Signal> {
        let Ended::Issued {
            serial,
            expires_at,
            key,
        } = outcome
        else {
            return None;
        };
        let key = self.seal(id, key, &SealedBlobs::new()).ok()?;
        let (serial, expires_at) = (*serial, *expires_at);
        Some(Signal::Issued {
            serial,
            expires_at,
            key,
        })
    }
}
