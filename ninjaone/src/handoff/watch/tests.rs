use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::sample;
use super::*;

const QUICK: Pace = Pace {
    check: Duration::from_millis(1),
    fetch_min: Duration::from_millis(1),
    fetch_max: Duration::from_millis(2),
};

fn token(generation: u64) -> Handed {
    Handed {
        generation,
        access_token: format!("CANARY-{generation}").into(),
        ..sample(GrantKind::User)
    }
}

fn slot(access_token: &str, valid: bool) -> OnDisk {
    OnDisk::Slot {
        access_token: access_token.into(),
        valid,
    }
}

#[test]
fn the_file_is_rewritten_after_a_refresh_and_after_an_overwrite_only() {
    let mark = Mark::of(&token(1));
    let ours = slot("CANARY-1", true);
    let cases = [
        (None, slot("CANARY-1", true), 1, Some(Why::First)),
        (Some(&mark), ours.clone(), 1, None),
        (Some(&mark), ours.clone(), 2, Some(Why::Refreshed)),
        (Some(&mark), slot("older", true), 1, Some(Why::Overwritten)),
        (
            Some(&mark),
            slot("CANARY-1", false),
            1,
            Some(Why::Overwritten),
        ),
        (Some(&mark), slot("", false), 1, Some(Why::Overwritten)),
        (Some(&mark), OnDisk::NoFile, 1, Some(Why::Overwritten)),
        (Some(&mark), OnDisk::Damaged, 1, Some(Why::Overwritten)),
        (Some(&mark), OnDisk::Damaged, 2, Some(Why::Refreshed)),
    ];
    for (last, disk, generation, why) in cases {
        let decided = decide(last, &disk, &token(generation));
        assert_eq!(decided, why, "{disk:?} {generation}");
    }
    // A read that names no grant may give the other one next time.
    let client = Handed {
        grant: GrantKind::Client,
        ..token(1)
    };
    assert_eq!(decide(Some(&mark), &ours, &client), Some(Why::Refreshed));
}

#[test]
fn every_interval_is_bounded() {
    let pace = Pace::default();
    for (life, seconds) in [(0, 1), (10, 1), (60, 3), (3600, 30), (u64::MAX, 30)] {
        let handed = Handed {
            expires_in_s: life,
            ..token(1)
        };
        assert_eq!(pace.after_success(&handed).as_secs(), seconds, "{life}");
    }
    let waits: Vec<u64> = (1..8).map(|n| pace.after_failure(n).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(pace.after_failure(u32::MAX).as_secs(), 30);
    assert_eq!(Pace::every(Duration::ZERO).check.as_millis(), 200);
    assert_eq!(Pace::every(Duration::MAX).check.as_secs(), 60);
}

#[tokio::test]
async fn a_watch_follows_refreshes_failures_and_its_consumer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    let target = Target {
        path: path.clone(),
        refresh: RefreshToken::Withheld,
        zone: Utc,
    };
    let generation = Cell::new(1);
    let fail = Cell::new(1);
    let fetch = || {
        let answer = if fail.get() > 0 {
            fail.set(fail.get() - 1);
            Fetched::Later("provider down".to_owned())
        } else {
            Fetched::Token(Box::new(token(generation.get())))
        };
        async { answer }
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let stop = Cell::new(Some(stop));
    let seen = RefCell::new(Vec::new());
    let holds = |generation: u64| {
        let text = fs::read_to_string(&path).unwrap();
        text.contains(&format!("\"CANARY-{generation}\""))
    };
    // What the world does next, each time the watch has caught up with it.
    let report = |event: Event| {
        let step = seen.borrow().len();
        match step {
            1 => assert!(holds(1)),
            2 => assert!(holds(2)),
            3 | 4 => assert!(holds(2)),
            _ => {}
        }
        match step {
            1 => generation.set(2),
            2 => fs::write(
                &path,
                r#"{"client": null, "user": {"access_token": "old"}}"#,
            )
            .unwrap(),
            3 => fs::write(&path, "{\"user\": half").unwrap(),
            4 => fs::remove_file(&path).unwrap(),
            5 => drop(stop.take()),
            _ => {}
        }
        seen.borrow_mut().push(match event {
            Event::Rewritten { why, set_aside } => {
                assert_eq!(set_aside.is_some(), step == 4);
                format!("{why:?}")
            }
            Event::NotFetched(reason) => reason,
            Event::NotWritten(e) => e.to_string(),
        });
    };
    let shutdown = async {
        let _ = stopped.await;
    };
    let watching = watch(target, QUICK, fetch, report, shutdown);
    let ended = tokio::time::timeout(Duration::from_secs(20), watching).await;
    ended.expect("the watch stops when told to").unwrap();
    assert_eq!(
        *seen.borrow(),
        [
            "provider down",
            "First",
            "Refreshed",
            "Overwritten",
            "Overwritten",
            "Overwritten"
        ]
    );
    assert!(holds(2));
}

#[tokio::test]
async fn what_can_never_work_ends_the_watch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    symlink("elsewhere", &path).unwrap();
    let target = Target {
        path,
        refresh: RefreshToken::Withheld,
        zone: Utc,
    };
    let gives = || async { Fetched::Token(Box::new(token(1))) };
    let ended = watch(target.clone(), QUICK, gives, |_| {}, std::future::pending()).await;
    assert!(matches!(ended, Err(Error::File(_))));
    assert!(!dir.path().join("elsewhere").exists());

    let refuses = || async { Fetched::Never("forbidden".to_owned()) };
    let ended = watch(target, QUICK, refuses, |_| {}, std::future::pending()).await;
    assert_eq!(ended.unwrap_err().to_string(), "no token: forbidden");
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!(
        "{:?} {:?} {:?}",
        Mark::of(&token(1)),
        slot("CANARY", true),
        Fetched::Token(Box::new(token(1)))
    );
    assert!(!shown.contains("CANARY"), "{shown}");
}
