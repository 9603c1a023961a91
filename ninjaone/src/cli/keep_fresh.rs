//! `evergreen token --watch`: a `tokens.json` that stays fresh until told to stop.

use std::cell::RefCell;
use std::path::PathBuf;

use chrono::Local;

use super::client::Api;
use super::failure::{Ended, Exit, Failure};
use super::shutdown;
use super::ui::Ui;
use crate::handoff::RefreshToken;
use crate::handoff::watch::{self, Event, Fetched, Pace, Why};
use crate::integration::Target;

/// What to keep fresh.
pub(super) struct Ask {
    pub(super) id: Target,
    pub(super) min_validity: Option<u64>,
    pub(super) refresh: RefreshToken,
    pub(super) path: PathBuf,
}

pub(super) async fn run(ask: Ask, api: &Api, ui: &mut Ui) -> Ended {
    let stop = shutdown::signalled()?;
    keep(ask, api, ui, Pace::default(), stop).await
}

async fn keep(
    ask: Ask,
    api: &Api,
    ui: &mut Ui,
    pace: Pace,
    stop: impl Future<Output = ()>,
) -> Ended {
    let target = watch::Target {
        path: ask.path.clone(),
        refresh: ask.refresh,
        zone: Local,
    };
    // The failure that ended the watch, with its exit code.
    let last: RefCell<Option<Failure>> = RefCell::default();
    let served = RefCell::new(false);
    let fetch = || async {
        match api.token(&ask.id, ask.min_validity, ask.refresh).await {
            Ok(handed) => {
                *served.borrow_mut() = true;
                Fetched::Token(Box::new(handed))
            }
            Err(failure) => {
                let why = failure.why.clone();
                // What once worked may be reconnected meanwhile; a wrong key or name stays wrong.
                let wait = match failure.exit {
                    Exit::Unavailable => true,
                    Exit::Attention => *served.borrow(),
                    _ => false,
                };
                *last.borrow_mut() = Some(failure);
                if wait {
                    Fetched::Later(why)
                } else {
                    Fetched::Never(why)
                }
            }
        }
    };
    let path = ask.path.display().to_string();
    let ended = watch::watch(
        target,
        pace,
        fetch,
        |event| ui.note(&told(&path, &event)),
        stop,
    )
    .await;
    match ended {
        Ok(()) => Ok(Exit::Ok),
        Err(watch::Error::NoToken(why)) => Err(last.take().unwrap_or_else(|| {
            Failure::new(Exit::Attention, format!("keeping {path} fresh"), why)
        })),
        Err(error) => Err(Failure::of(
            Exit::Usage,
            format!("keeping {path} fresh"),
            &error,
        )),
    }
}

fn told(path: &str, event: &Event) -> String {
    match event {
        Event::Rewritten { why, set_aside } => {
            let why = match why {
                Why::First => "written",
                Why::Refreshed => "rewritten: there is a newer token",
                Why::Overwritten => "rewritten: somebody else had changed it",
            };
            match set_aside {
                Some(aside) => format!(
                    "{path}: {why}; what did not parse is now {}",
                    aside.display()
                ),
                None => format!("{path}: {why}"),
            }
        }
        Event::NotFetched(why) => format!("no token at the moment, asking again: {why}"),
        Event::NotWritten(error) => format!(
            "not written, trying again: {}",
            super::failure::chain(error)
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::sync::Notify;

    use super::super::client::stub::{Stub, problem};
    use super::super::ui::Kept;
    use super::*;

    fn ask(path: PathBuf) -> Ask {
        Ask {
            id: "acme/prod".parse().unwrap(),
            min_validity: None,
            refresh: RefreshToken::Withheld,
            path,
        }
    }

    /// Tells when something was written to it.
    struct Bell(std::sync::Arc<Notify>, Kept);

    impl std::io::Write for Bell {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.notify_one();
            self.1.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn it_writes_the_file_and_stops_when_told() {
        let body = json!({"access_token": "CANARY-at", "token_type": "bearer", "expires_in": 3200,
            "expires_at": null, "generation": 4, "grant": "user", "instance_url": "https://h",
            "warning": null});
        let stub = Stub::answering(&[(200, body)]).await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let rung = std::sync::Arc::new(Notify::new());
        let err = Kept::default();
        let bell = Bell(std::sync::Arc::clone(&rung), err.clone());
        let mut ui = Ui::for_test(false, Kept::default(), bell);
        let stop = rung.notified();
        let ended = keep(ask(path.clone()), &stub.api, &mut ui, Pace::default(), stop).await;
        assert_eq!(ended, Ok(Exit::Ok));
        assert!(std::fs::read_to_string(path).unwrap().contains("CANARY-at"));
        assert!(err.text().ends_with("tokens.json: written\n") && !err.text().contains("CANARY"));
    }

    #[tokio::test]
    async fn what_was_never_served_ends_it_with_its_own_exit_code() {
        for (code, kind, exit) in [
            (404, "not-found", Exit::NotFound),
            (409, "reconnect-required", Exit::Attention),
            (401, "unauthorized", Exit::Usage),
        ] {
            let stub = Stub::answering(&[(code, problem(kind, "no", "none"))]).await;
            let dir = tempfile::tempdir().unwrap();
            let mut ui = Ui::for_test(false, Kept::default(), Kept::default());
            let path = dir.path().join("tokens.json");
            let never = std::future::pending();
            let ended = keep(ask(path), &stub.api, &mut ui, Pace::default(), never).await;
            assert_eq!(ended.unwrap_err().exit, exit);
        }
    }
}
