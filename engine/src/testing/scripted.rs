//! Activities that do what a test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use crate::activities::{Activities, Admission, Call, SealError};
use crate::id::WorkflowId;
use crate::machine::{Millis, Workflow};
use crate::record::SealedBlobs;

/// One performance, as it began.
pub struct Performed<W: Workflow> {
    /// For which workflow.
    pub id: WorkflowId,
    /// What was asked for.
    pub activity: W::Activity,
    /// The store's time.
    pub at: Millis,
}

impl<W: Workflow> Clone for Performed<W> {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            activity: self.activity.clone(),
            at: self.at,
        }
    }
}

/// The two outcomes that every activity can have.
pub struct Endings<W: Workflow> {
    /// Nobody knows how it ended: [`Activities::unknown`].
    pub unknown: W::Outcome,
    /// It surely did not begin: [`Activities::not_sent`].
    pub not_sent: W::Outcome,
}

type Deed<W> = Box<dyn FnOnce(Performed<W>) -> BoxFuture<'static, <W as Workflow>::Outcome> + Send>;
type Always<W> = Box<dyn Fn(&Performed<W>) -> <W as Workflow>::Outcome + Send + Sync>;
type Seal<W> = Box<dyn Fn(&<W as Workflow>::Secret) -> String + Send + Sync>;
type Precious<W> =
    Box<dyn Fn(&<W as Workflow>::Outcome) -> Option<<W as Workflow>::Signal> + Send + Sync>;

/// Activities that end as a test says, one after another, and write down what was asked of them.
///
/// A performance that nothing was said about ends as [`Scripted::always`] has it, and where nothing
/// was said there either, its outcome is unknown: as if no answer had come.
pub struct Scripted<W: Workflow> {
    facts: Arc<W::Facts>,
    endings: Endings<W>,
    always: Option<Always<W>>,
    seal: Option<Seal<W>>,
    precious: Option<Precious<W>>,
    state: Mutex<State<W>>,
    begun: Notify,
}

struct State<W: Workflow> {
    deeds: VecDeque<Deed<W>>,
    performed: Vec<Performed<W>>,
    settled: Vec<W::Outcome>,
    held: Option<Millis>,
}

impl<W: Workflow> Scripted<W> {
    /// Activities in a deployment with these facts.
    #[must_use]
    pub fn new(facts: W::Facts, endings: Endings<W>) -> Self {
        Self {
            facts: Arc::new(facts),
            endings,
            always: None,
            seal: None,
            precious: None,
            state: Mutex::new(State {
                deeds: VecDeque::new(),
                performed: Vec::new(),
                settled: Vec::new(),
                held: None,
            }),
            begun: Notify::new(),
        }
    }

    /// How performances end that nothing else was said about.
    #[must_use]
    pub fn always(
        mut self,
        ends: impl Fn(&Performed<W>) -> W::Outcome + Send + Sync + 'static,
    ) -> Self {
        self.always = Some(Box::new(ends));
        self
    }

    /// How secrets are sealed. Without this, sealing fails.
    #[must_use]
    pub fn sealing(mut self, seal: impl Fn(&W::Secret) -> String + Send + Sync + 'static) -> Self {
        self.seal = Some(Box::new(seal));
        self
    }

    /// Which outcomes must not be lost, and as which signals they are delivered again: see
    /// [`Activities::redeliver`]. Without this, none.
    #[must_use]
    pub fn precious(
        mut self,
        redeliver: impl Fn(&W::Outcome) -> Option<W::Signal> + Send + Sync + 'static,
    ) -> Self {
        self.precious = Some(Box::new(redeliver));
        self
    }

    /// The next performance that nothing was said about ends like this, at once.
    pub fn then(&self, ends: W::Outcome) {
        self.then_do(|_| async { ends });
    }

    /// The next performance that nothing was said about does this. It may take its time, look at the
    /// store, send signals, or never end.
    pub fn then_do<F>(&self, deed: impl FnOnce(Performed<W>) -> F + Send + 'static)
    where
        F: Future<Output = W::Outcome> + Send + 'static,
    {
        let deed: Deed<W> = Box::new(move |performed| Box::pin(deed(performed)));
        self.state().deeds.push_back(deed);
    }

    /// No performance may begin before then: see [`Activities::admit`].
    pub fn hold_until(&self, at: Millis) {
        self.state().held = Some(at);
    }

    /// What was performed, in order.
    #[must_use]
    pub fn performed(&self) -> Vec<Performed<W>> {
        self.state().performed.clone()
    }

    /// The outcomes that were settled, in order: see [`Activities::settled`].
    #[must_use]
    pub fn settled(&self) -> Vec<W::Outcome> {
        self.state().settled.clone()
    }

    /// Waits for a performance to begin. One that has begun since the last time counts.
    pub async fn begun(&self) {
        self.begun.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<W: Workflow> Activities<W> for Scripted<W> {
    fn facts(&self) -> Arc<W::Facts> {
        Arc::clone(&self.facts)
    }

    fn seal(
        &self,
        id: &WorkflowId,
        secret: &W::Secret,
        _: &SealedBlobs,
    ) -> Result<String, SealError> {
        match &self.seal {
            Some(seal) => Ok(seal(secret)),
            None => Err(SealError {
                id: id.to_string(),
                why: "the script does not say how to seal: use Scripted::sealing".to_owned(),
            }),
        }
    }

    async fn admit(&self, _: &WorkflowId, _: &W::Activity, now: Millis) -> Admission {
        match self.state().held {
            Some(until) if until > now => Admission::Held { until },
            _ => Admission::Go,
        }
    }

    async fn perform(&self, call: Call<'_, W>) -> W::Outcome {
        let performed = Performed {
            id: call.id.clone(),
            activity: call.activity.clone(),
            at: call.now,
        };
        let deed = {
            let mut state = self.state();
            state.performed.push(performed.clone());
            state.deeds.pop_front()
        };
        self.begun.notify_one();
        match (deed, &self.always) {
            (Some(deed), _) => deed(performed).await,
            (None, Some(always)) => always(&performed),
            (None, None) => self.endings.unknown.clone(),
        }
    }

    fn not_sent(&self, _: &W::Activity) -> W::Outcome {
        self.endings.not_sent.clone()
    }

    fn unknown(&self, _: &W::Activity) -> W::Outcome {
        self.endings.unknown.clone()
    }

    fn redeliver(&self, _: &WorkflowId, outcome: &W::Outcome) -> Option<W::Signal> {
        self.precious.as_ref()?(outcome)
    }

    async fn settled(&self, _: &WorkflowId, outcome: &W::Outcome) {
        self.state().settled.push(outcome.clone());
    }
}
