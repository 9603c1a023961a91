//! Holding one frame, and all that is behind it, until the test has done what it wants to do.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Passed, Side};
use crate::proxy::{Call, Step};

/// How long a trap waits for what it is set for.
const CAUGHT_WITHIN: Duration = Duration::from_secs(30);

/// What a trap holds.
#[derive(Debug, Clone)]
pub struct Catch {
    /// The request, or the one that is answered.
    pub call: Call,
    /// The first word of the answer; empty for a request.
    pub word: String,
}

/// Holds the first frame that it was set for. Dropped without being released, it lets the frame vanish
/// with its connection.
#[derive(Debug)]
pub struct Trap {
    what: String,
    caught: oneshot::Receiver<Catch>,
    go: Option<oneshot::Sender<()>>,
}

impl Trap {
    /// Waits until it holds something, and says what. Panics if nothing comes.
    pub async fn caught(&mut self) -> Catch {
        match tokio::time::timeout(CAUGHT_WITHIN, &mut self.caught).await {
            Ok(Ok(catch)) => catch,
            Ok(Err(_)) => panic!("asked twice what was caught: {}", self.what),
            Err(_) => panic!("nothing to catch within {CAUGHT_WITHIN:?}: {}", self.what),
        }
    }

    /// Lets go what it holds, or would hold.
    pub fn release(mut self) {
        if let Some(go) = self.go.take() {
            // The connection may be gone.
            let _ = go.send(());
        }
    }
}

type Matches = Box<dyn Fn(&Passed) -> bool + Send>;

/// The side of a trap that the connections see.
struct Armed {
    matches: Matches,
    caught: oneshot::Sender<Catch>,
    go: oneshot::Receiver<()>,
}

/// All traps that have caught nothing yet.
#[derive(Default)]
pub(super) struct Traps(Mutex<Vec<Armed>>);

impl Traps {
    /// Sets one for a step, on one side of the server.
    pub(super) fn set(
        &self,
        step: Option<Step>,
        side: Side,
        also: impl Fn(&Passed) -> bool + Send + 'static,
    ) -> Trap {
        let (caught, told) = oneshot::channel();
        let (go, gone) = oneshot::channel();
        let matches = move |passed: &Passed| {
            passed.side == side
                && step.is_none_or(|step| passed.call.step == step)
                // Nothing ran: the script is sent again.
                && !passed.word.starts_with("-NOSCRIPT")
                && also(passed)
        };
        self.lock().push(Armed {
            matches: Box::new(matches),
            caught,
            go: gone,
        });
        Trap {
            what: format!("{side:?} {step:?}"),
            caught: told,
            go: Some(go),
        }
    }

    /// Stops a frame that a trap was set for. `false`: it is not to go on at all.
    pub(super) async fn pass(&self, passed: &Passed) -> bool {
        let Some(armed) = self.take(passed) else {
            return true;
        };
        let catch = Catch {
            call: passed.call.clone(),
            word: passed.word.clone(),
        };
        // A test that does not wait for it may still hold it.
        let _ = armed.caught.send(catch);
        armed.go.await.is_ok()
    }

    fn take(&self, passed: &Passed) -> Option<Armed> {
        let mut all = self.lock();
        // Given up, with nothing caught: it catches nothing any more.
        all.retain(|armed| !armed.caught.is_closed());
        let found = all.iter().position(|armed| (armed.matches)(passed))?;
        Some(all.remove(found))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
