//! The outside world: a post office that can break a connection, and the activity that uses it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use evergreen_engine::activities::SealError;
use evergreen_engine::record::SealedBlobs;
use evergreen_engine::{Activities, Call, Millis, WorkflowId};

use super::trial::{Ended, SendReminder, Terms, Trial};

/// A post office. It keeps letters by their keys: that is what makes sending again harmless.
#[derive(Default)]
pub(crate) struct PostOffice {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    letters: BTreeMap<String, String>,
    break_next: bool,
    seen: Vec<(Millis, String)>,
}

/// The connection broke before the answer came.
struct Broken;

impl PostOffice {
    /// The next letter is taken, and then the connection breaks.
    pub(crate) fn break_next_connection(&self) {
        self.inside().break_next = true;
    }

    /// What has been seen at the counter since the last question.
    pub(crate) fn seen(&self) -> Vec<(Millis, String)> {
        std::mem::take(&mut self.inside().seen)
    }

    fn deliver(&self, letter: &SendReminder, now: Millis) -> Result<bool, Broken> {
        let mut inside = self.inside();
        let SendReminder { key, to, days_left } = letter;
        if !to.contains('@') {
            return Ok(false);
        }
        let text = format!("{days_left} days left");
        let known = inside.letters.insert(key.clone(), text.clone()).is_some();
        let seen = match (known, inside.break_next) {
            (true, _) => format!("post office: {key} is here already, not delivered again"),
            (false, true) => {
                format!("post office: to {to}: \"{text}\" ({key}), and the line broke")
            }
            (false, false) => format!("post office: to {to}: \"{text}\" ({key})"),
        };
        inside.seen.push((now, seen));
        if std::mem::take(&mut inside.break_next) {
            return Err(Broken);
        }
        Ok(true)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What surrounds the machine in this process.
pub(crate) struct Mailer {
    /// Where letters go.
    pub(crate) office: Arc<PostOffice>,
    /// What the house has agreed upon.
    pub(crate) terms: Arc<Terms>,
}

#[async_trait]
impl Activities<Trial> for Mailer {
    fn facts(&self) -> Arc<Terms> {
        Arc::clone(&self.terms)
    }

    fn seal(
        &self,
        _: &WorkflowId,
        secret: &std::convert::Infallible,
        _: &SealedBlobs,
    ) -> Result<String, SealError> {
        match *secret {}
    }

    async fn perform(&self, call: Call<'_, Trial>) -> Ended {
        // The last look before anything leaves: does this process still hold the workflow?
        if !call.trust.holds() {
            return Ended::NotSent;
        }
        // A real one would send over the network here, and give up at `call.deadline`.
        match self.office.deliver(call.activity, call.now) {
            Ok(true) => Ended::Sent,
            Ok(false) => Ended::Bounced,
            Err(Broken) => Ended::Unknown,
        }
    }

    fn not_sent(&self, _: &SendReminder) -> Ended {
        Ended::NotSent
    }

    fn unknown(&self, _: &SendReminder) -> Ended {
        Ended::Unknown
    }
}
