//! Keeping a `tokens.json` fresh: `evergreen token --watch PATH`.
//!
//! The file is rewritten after each refresh and after its consumer overwrote our slot. The file is
//! looked at often, which costs nothing; the token is fetched seldom, because every read of a
//! token is audited: at the start, when the slot was disturbed, and at a twentieth of the
//! remaining life. What goes wrong on the way is reported and tried again; the token in the file
//! stays usable meanwhile.

mod decision;
mod pace;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::PathBuf;

use chrono::{TimeZone, Utc};
use tokio::time::Instant;

pub use self::decision::{Mark, Why, decide};
pub use self::pace::Pace;
use super::tokens_json::{self, OnDisk};
use super::{Handed, RefreshToken};
use crate::integration::GrantKind;

/// The file to keep fresh.
#[derive(Debug, Clone)]
pub struct Target<Z> {
    /// Where it is.
    pub path: PathBuf,
    /// Whether the refresh token is written, too.
    pub refresh: RefreshToken,
    /// The consumer's zone: [`chrono::Local`], unless it runs elsewhere.
    pub zone: Z,
}

/// What asking for a token came to.
#[derive(Debug)]
pub enum Fetched {
    /// Here it is.
    Token(Box<Handed>),
    /// Not now; the reason is reported and the question asked again.
    Later(String),
    /// Never; the watch ends.
    Never(String),
}

/// What the watch tells while it goes on.
#[derive(Debug)]
pub enum Event {
    /// The file was rewritten.
    Rewritten {
        /// For which reason.
        why: Why,
        /// Where the old file went because it did not parse.
        set_aside: Option<PathBuf>,
    },
    /// There was no token to be had; it is asked for again.
    NotFetched(String),
    /// The file could not be written; it is tried again.
    NotWritten(tokens_json::Error),
}

/// Why the watch ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There will be no token.
    #[error("no token: {0}")]
    NoToken(String),
    /// The path is no place for the file: a link, a directory, not readable.
    #[error("keeping tokens.json fresh")]
    File(#[source] tokens_json::Error),
}

/// Keeps the file fresh until `shutdown` is ready.
///
/// # Errors
/// When there will never be a token, or the path can never be the file.
pub async fn watch<Z, F, Answer>(
    target: Target<Z>,
    pace: Pace,
    fetch: F,
    report: impl FnMut(Event),
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error>
where
    Z: TimeZone + Send + 'static,
    F: FnMut() -> Answer,
    Answer: Future<Output = Fetched>,
{
    tokio::select! {
        ended = rounds(&target, pace, fetch, report) => ended,
        () = shutdown => Ok(()),
    }
}

async fn rounds<Z, F, Answer>(
    target: &Target<Z>,
    pace: Pace,
    mut fetch: F,
    mut report: impl FnMut(Event),
) -> Result<(), Error>
where
    Z: TimeZone + Send + 'static,
    F: FnMut() -> Answer,
    Answer: Future<Output = Fetched>,
{
    let mut last: Option<Mark> = None;
    let mut fetch_at = Instant::now();
    // A disturbed file asks for a token at once, but not before this.
    let mut not_before = fetch_at;
    let mut failures = 0;
    loop {
        let disturbed = match &last {
            Some(mark) => mark.is_disturbed(&look(target, mark.grant).await?),
            None => true,
        };
        let now = Instant::now();
        if now >= fetch_at || (disturbed && now >= not_before) {
            match fetch().await {
                Fetched::Token(handed) => {
                    let wait = pace.after_success(&handed);
                    let event = settle(target, &mut last, *handed).await?;
                    if let Some(Event::NotWritten(_)) = event {
                        failures += 1;
                        not_before = Instant::now() + pace.after_failure(failures);
                        fetch_at = not_before;
                    } else {
                        failures = 0;
                        fetch_at = Instant::now() + wait;
                    }
                    if let Some(event) = event {
                        report(event);
                    }
                }
                Fetched::Later(reason) => {
                    failures += 1;
                    fetch_at = Instant::now() + pace.after_failure(failures);
                    not_before = fetch_at;
                    report(Event::NotFetched(reason));
                }
                Fetched::Never(reason) => return Err(Error::NoToken(reason)),
            }
        }
        tokio::time::sleep(pace.check).await;
    }
}

/// Rewrites the file if it must be.
async fn settle<Z: TimeZone + Send + 'static>(
    target: &Target<Z>,
    last: &mut Option<Mark>,
    handed: Handed,
) -> Result<Option<Event>, Error> {
    let disk = look(target, handed.grant).await?;
    let Some(why) = decide(last.as_ref(), &disk, &handed) else {
        return Ok(None);
    };
    let mark = Mark::of(&handed);
    let Target {
        path,
        refresh,
        zone,
    } = target;
    let done = tokens_json::write(path, &handed, *refresh, Utc::now(), zone);
    match done.await {
        Ok(written) => {
            *last = Some(mark);
            Ok(Some(Event::Rewritten {
                why,
                set_aside: written.set_aside,
            }))
        }
        Err(e @ tokens_json::Error::Unusable { .. }) => Err(Error::File(e)),
        Err(e) => Ok(Some(Event::NotWritten(e))),
    }
}

async fn look<Z>(target: &Target<Z>, grant: GrantKind) -> Result<OnDisk, Error> {
    let looked = tokens_json::look(&target.path, grant).await;
    looked.map_err(Error::File)
}
