//! A store that fails when it is told to.

mod calls;
mod fault;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::fault::{Fault, Odds, Op, Weather, seeded};
use crate::store::{Store, StoreError};

/// A store over any other, with faults to come: by script, call by call, or by the weather, which is
/// asked about every call that nothing is planned for. Clones share what is planned; so give each
/// worker of a fleet a `FaultyStore` of its own over the one store, and each has a network of its own.
///
/// ```
/// # use std::sync::Arc;
/// use evergreen_engine::store::{Store, memory::MemoryStore};
/// use evergreen_engine::testing::{Fault, FaultyStore, Op};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = FaultyStore::over(Arc::new(MemoryStore::new()));
/// store.next(Op::Table, Fault::ReplyLost);
/// assert!(store.table_put("colours", "sky", "blue").await.is_err());
/// // The answer was lost, and not what was written.
/// assert_eq!(store.table_get("colours", "sky").await.unwrap().unwrap(), "blue");
/// assert_eq!(store.calls(Op::Table), 2);
/// # }
/// ```
#[derive(Clone)]
pub struct FaultyStore {
    store: Arc<dyn Store>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    planned: BTreeMap<Op, VecDeque<Option<Fault>>>,
    weather: Option<Weather>,
    calls: BTreeMap<Op, usize>,
    deaf: bool,
    spoilt: Option<String>,
    failovers: u32,
}

impl FaultyStore {
    /// A store that does what the other does, until it is told otherwise.
    #[must_use]
    pub fn over(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            state: Arc::default(),
        }
    }

    /// With this weather: see [`seeded`].
    #[must_use]
    pub fn in_weather(self, weather: Weather) -> Self {
        self.state().weather = Some(weather);
        self
    }

    /// The next call that nothing is planned for goes wrong like this.
    pub fn next(&self, op: Op, fault: Fault) {
        self.plan(op, Some(fault));
    }

    /// The next call that nothing is planned for goes well, whatever the weather.
    pub fn next_goes_well(&self, op: Op) {
        self.plan(op, None);
    }

    /// The next call that nothing is planned for happens after this.
    pub fn before_next<F>(&self, op: Op, what: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.next(op, Fault::After(Box::pin(what)));
    }

    fn plan(&self, op: Op, fault: Option<Fault>) {
        let mut state = self.state();
        state.planned.entry(op).or_default().push_back(fault);
    }

    /// From now on all goes well: what is planned is forgotten, and the weather is fair.
    pub fn heal(&self) {
        let mut state = self.state();
        state.planned.clear();
        state.weather = None;
    }

    /// The next claim reads this instead of the data that is stored.
    pub fn next_claim_reads(&self, data: &str) {
        self.state().spoilt = Some(data.to_owned());
    }

    /// From now on another run of the store answers, with the same content.
    pub fn fail_over(&self) {
        self.state().failovers += 1;
    }

    /// From now on no wake-up message arrives.
    pub fn lose_wakes(&self) {
        self.state().deaf = true;
    }

    /// From now on they arrive again.
    pub fn hear_wakes(&self) {
        self.state().deaf = false;
    }

    /// How many calls there were, failed ones included.
    #[must_use]
    pub fn calls(&self, op: Op) -> usize {
        self.state().calls.get(&op).copied().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, op: Op) -> Option<Fault> {
        let mut state = self.state();
        *state.calls.entry(op).or_default() += 1;
        match state.planned.get_mut(&op).and_then(VecDeque::pop_front) {
            Some(planned) => planned,
            None => state.weather.as_ref().and_then(|weather| weather(op)),
        }
    }

    /// Makes a call as its fate has it; also tells whether the replicas confirm what it wrote.
    async fn call<T>(
        &self,
        op: Op,
        real: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<(T, bool), StoreError> {
        let (fault, back) = match self.fate(op) {
            None => (None, None),
            Some(Fault::After(first)) => {
                first.await;
                (None, None)
            }
            Some(Fault::Journey { there, end, back }) => {
                there.await;
                (end.map(|end| *end), Some(back))
            }
            Some(fault) => (Some(fault), None),
        };
        let ended = match fault {
            None | Some(Fault::After(_) | Fault::Journey { .. }) => {
                real.await.map(|answer| (answer, true))
            }
            Some(Fault::Unconfirmed) => real.await.map(|answer| (answer, false)),
            Some(Fault::ReplyLost) => real.await.and_then(|_| Err(away(op, "the reply was lost"))),
            Some(Fault::Away) => Err(away(op, "nothing was written")),
            Some(Fault::Refused) => Err(StoreError::Refused {
                doing: format!("{op:?}"),
                why: "it was told to refuse".to_owned(),
            }),
        };
        if let Some(back) = back {
            back.await;
        }
        ended
    }
}

fn away(op: Op, why: &str) -> StoreError {
    StoreError::Away {
        doing: format!("{op:?}"),
        why: why.to_owned(),
    }
}
