//! The answers in the words of the scripts' heads.

use std::collections::BTreeSet;

use evergreen_engine::store::{
    Claimed, Committed, Entered, Extended, Reconciled, Requeued, Signalled,
};

use crate::pair::Seen;
use crate::support::wire::{SCRIPTS, words_of};

/// What `compared` says of each workflow; its script's head names them beneath it. `unreadable` is for keys
/// that hold what they should not, which nothing here makes.
const FOUND: [&str; 5] = ["right", "missing", "stray", "score", "parked"];

pub(crate) fn claimed(answer: &Claimed) -> &'static str {
    match answer {
        Claimed::Claimed { .. } => "claimed",
        Claimed::Held { .. } => "held",
        Claimed::NotDue => "not_due",
        Claimed::Delayed { .. } => "delayed",
        Claimed::Parked { .. } => "parked",
        Claimed::Unknown => "unknown",
    }
}

pub(crate) fn committed(answer: &Committed) -> &'static str {
    match answer {
        Committed::Written { already: false, .. } => "committed",
        Committed::Written { already: true, .. } => "already",
        Committed::Fenced { .. } => "fenced",
        Committed::Signals { .. } => "signals",
        Committed::Unknown => "unknown",
    }
}

pub(crate) fn signalled(answer: Signalled) -> &'static str {
    match answer {
        Signalled::Queued { already: false, .. } => "queued",
        Signalled::Queued { already: true, .. } => "already",
        Signalled::Unknown => "unknown",
        Signalled::Full => "full",
    }
}

pub(crate) fn extended(answer: Extended) -> &'static str {
    match answer {
        Extended::Renewed { .. } => "extended",
        Extended::GivenBack => "given_back",
        Extended::Fenced => "fenced",
    }
}

pub(crate) fn requeued(answer: Requeued) -> &'static str {
    match answer {
        Requeued::Requeued => "requeued",
        Requeued::NotParked => "not_parked",
        Requeued::Unknown => "unknown",
    }
}

pub(crate) fn entered(answer: Entered) -> &'static str {
    match answer {
        Entered::In { .. } => "entered",
        Entered::Paused { .. } => "paused",
        Entered::Open { .. } => "open",
        Entered::Full => "full",
    }
}

/// The word, and what it says of a workflow.
pub(crate) fn reconciled(answer: Reconciled) -> (&'static str, &'static str) {
    let found = match answer {
        Reconciled::Right => "right",
        Reconciled::Missing => "missing",
        Reconciled::Stray => "stray",
        Reconciled::Score => "score",
        Reconciled::Parked => "parked",
        Reconciled::Unreadable => "unreadable",
    };
    ("compared", found)
}

/// The words of all scripts that were never heard. A test that never hears one does not test it.
pub(crate) fn unheard(seen: &Seen) -> Vec<String> {
    let heard: BTreeSet<String> = seen
        .keys()
        .map(|(script, word)| format!("{script}: {word}"))
        .collect();
    let named = SCRIPTS.iter().flat_map(|(script, _)| {
        let words = words_of(script);
        assert!(
            !words.is_empty(),
            "the head of {script}.lua names its replies"
        );
        words
            .into_iter()
            .map(move |word| format!("{script}: {word}"))
    });
    let found = FOUND.iter().map(|what| format!("reconcile: {what}"));
    named
        .chain(found)
        .filter(|word| !heard.contains(word))
        .collect()
}
