use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::FixedOffset;
use secrecy::ExposeSecret;

use super::super::sample;
use super::*;

fn east() -> FixedOffset {
    FixedOffset::east_opt(2 * 3600).unwrap()
}

/// 2025-10-04T15:30:00.123456Z, 17:30 in the zone of [`east`].
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_759_591_800, 123_456_789).unwrap()
}

async fn put(path: &Path, grant: GrantKind) -> Written {
    let handed = sample(grant);
    write(path, &handed, RefreshToken::Withheld, now(), &east())
        .await
        .unwrap()
}

const USER_ALONE: &str = r#"{
  "client": {
    "access_token": null,
    "refresh_token": null,
    "expires_at": null,
    "scope": null,
    "token_type": "Bearer",
    "valid": false
  },
  "user": {
    "access_token": "CANARY-access",
    "refresh_token": null,
    "expires_at": "2025-10-04T18:24:00.123456",
    "scope": "monitoring management",
    "token_type": "Bearer",
    "valid": true
  }
}"#;

#[tokio::test(start_paused = true)]
async fn s59_the_file_is_exact_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    assert_eq!(
        put(&path, GrantKind::User).await,
        Written { set_aside: None }
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), USER_ALONE);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let handed = sample(GrantKind::User);
    let text = text(&handed, RefreshToken::Withheld, now(), &east()).unwrap();
    assert_eq!(text.expose_secret(), USER_ALONE);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no leftovers");
}

#[test]
fn six_digits_even_when_they_are_zero_and_the_zone_is_the_readers() {
    let noon = DateTime::from_timestamp(1_759_579_200, 0).unwrap();
    let handed = sample(GrantKind::User);
    for (hours, expected) in [
        (0, "\"2025-10-04T12:54:00.000000\""),
        (2, "\"2025-10-04T14:54:00.000000\""),
        (-5, "\"2025-10-04T07:54:00.000000\""),
        (13, "\"2025-10-05T01:54:00.000000\""),
    ] {
        let zone = FixedOffset::east_opt(hours * 3600).unwrap();
        let text = text(&handed, RefreshToken::Withheld, noon, &zone).unwrap();
        assert!(text.expose_secret().contains(expected), "{hours}");
    }
}

#[test]
fn lives_of_any_length_are_written() {
    let mut handed = sample(GrantKind::User);
    for (life, at, valid) in [
        (0, "2025-10-04T17:30:00.123456", false),
        (1, "2025-10-04T17:30:01.023456", true),
        (59, "2025-10-04T17:30:53.223456", true),
        (u64::MAX, "2034-10-02T17:30:00.123456", true),
    ] {
        handed.expires_in_s = life;
        let text = text(&handed, RefreshToken::Withheld, now(), &east()).unwrap();
        let value: serde_json::Value = serde_json::from_str(text.expose_secret()).unwrap();
        assert_eq!(value["user"]["expires_at"], at);
        assert_eq!(value["user"]["valid"], valid);
    }
}

#[test]
fn the_refresh_token_goes_along_only_when_asked() {
    let mut handed = sample(GrantKind::User);
    let give = |handed: &Handed| {
        let text = text(handed, RefreshToken::Included, now(), &east()).unwrap();
        serde_json::from_str::<serde_json::Value>(text.expose_secret()).unwrap()["user"]
            ["refresh_token"]
            .clone()
    };
    assert_eq!(give(&handed), "CANARY-refresh");
    handed.refresh_token = None;
    assert_eq!(give(&handed), serde_json::Value::Null);
}

#[tokio::test(start_paused = true)]
async fn s59_the_other_slot_survives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    put(&path, GrantKind::User).await;
    put(&path, GrantKind::Client).await;
    let both = fs::read_to_string(&path).unwrap();
    assert_eq!(both.matches("CANARY-access").count(), 2);
    put(&path, GrantKind::User).await;
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        both,
        "written again, same bytes"
    );

    // As its consumer may leave it: a token of its own, unknown members, only three digits.
    let own = r#"{"version": 1, "client": {"access_token": "own", "refresh_token": "r\u00e9",
        "expires_at": "2025-10-04T15:30:00.123", "scope": "s", "token_type": "bearer",
        "valid": true, "extra": []}}"#;
    fs::write(&path, own).unwrap();
    assert_eq!(put(&path, GrantKind::User).await.set_aside, None);
    let text = fs::read_to_string(&path).unwrap();
    let kept = r#"  "client": {
    "access_token": "own",
    "refresh_token": "r\u00e9",
    "expires_at": "2025-10-04T15:30:00.123",
    "scope": "s",
    "token_type": "bearer",
    "valid": true
  },"#;
    assert!(text.contains(kept), "{text}");
    assert!(!text.contains("version") && !text.contains("extra"));
}

#[tokio::test(start_paused = true)]
async fn what_would_stop_the_consumer_in_the_other_slot_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    for (slot, expires_at, valid) in [
        (
            r#"{"access_token":"o","expires_at":"2025-10-04T15:30:00Z"}"#,
            "2025-10-04T17:30:00.000000",
            true,
        ),
        (
            r#"{"access_token":"o","expires_at":"2025-10-04T11:30:00.5-04:00"}"#,
            "2025-10-04T17:30:00.500000",
            true,
        ),
        (
            r#"{"access_token":"o","expires_at":"2025-10-04T15:30:00.1234567"}"#,
            "2025-10-04T15:30:00.123456",
            true,
        ),
        (
            r#"{"access_token":"","expires_at":"2025-10-04T15:30:00"}"#,
            "2025-10-04T15:30:00",
            false,
        ),
    ] {
        fs::write(&path, format!(r#"{{"client": {slot}}}"#)).unwrap();
        assert_eq!(put(&path, GrantKind::User).await.set_aside, None, "{slot}");
        let value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["client"]["expires_at"], expires_at);
        assert_eq!(value["client"]["valid"], valid);
    }
    fs::write(&path, r#"{"client": null, "user": null}"#).unwrap();
    put(&path, GrantKind::User).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), USER_ALONE);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_parse_is_set_aside_byte_for_byte() {
    for text in [
        "",
        "{\"user\": {\"access_token\": \"CANARY",
        "[1]",
        r#"{"client": "CANARY"}"#,
        r#"{"client": {"access_token": 5}}"#,
        r#"{"client": {"expires_at": 1759591800}}"#,
        r#"{"client": {"expires_at": "tomorrow"}}"#,
        r#"{"client": {"valid": "yes"}}"#,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        fs::write(&path, text).unwrap();
        let aside = put(&path, GrantKind::User).await.set_aside.unwrap();
        assert_eq!(
            aside,
            dir.path().join("tokens.json.unreadable-20251004T153000Z")
        );
        assert_eq!(fs::read_to_string(aside).unwrap(), text);
        assert_eq!(fs::read_to_string(&path).unwrap(), USER_ALONE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn our_own_slot_damaged_costs_the_other_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    fs::write(&path, r#"{"client": {"access_token": "own"}, "user": 5}"#).unwrap();
    assert!(put(&path, GrantKind::User).await.set_aside.is_some());
    assert!(fs::read_to_string(&path).unwrap().contains("\"own\""));
}

#[tokio::test(start_paused = true)]
async fn a_link_is_not_followed_and_a_directory_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let (link, dangling) = (dir.path().join("link"), dir.path().join("dangling"));
    symlink(&elsewhere, &link).unwrap();
    symlink("gone", &dangling).unwrap();
    for (path, reason) in [
        (&link, "is a symbolic link"),
        (&dangling, "is a symbolic link"),
        (&folder, "is not a regular file"),
    ] {
        let handed = sample(GrantKind::User);
        let error = write(path, &handed, RefreshToken::Included, now(), &east())
            .await
            .unwrap_err();
        assert!(error.to_string().ends_with(reason), "{error}");
        assert!(!format!("{error:?} {error}").contains("CANARY"));
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
    assert!(link.is_symlink() && dangling.is_symlink());
    assert!(!dir.path().join("gone").exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "no leftovers");
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_missing_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gone/tokens.json");
    let handed = sample(GrantKind::User);
    let error = write(&path, &handed, RefreshToken::Withheld, now(), &east())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Write { .. }));
}

#[tokio::test(start_paused = true)]
async fn s59_a_reader_in_a_tight_loop_never_sees_a_partial_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    // Also the step from a file that does not parse must not pass through "no file".
    fs::write(&path, "old and broken").unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (path, done) = (path.clone(), Arc::clone(&done));
        move || {
            let mut reads = 0;
            // Bounded by the writer, and by itself should the writer be gone.
            while (!done.load(Ordering::Relaxed) || reads < 10) && reads < 10_000_000 {
                let text = fs::read_to_string(&path).expect("there is always a file");
                assert!(
                    text == "old and broken"
                        || (text.starts_with("{\n")
                            && text.ends_with("\n}")
                            && serde_json::from_str::<serde_json::Value>(&text).is_ok()),
                    "{text}"
                );
                reads += 1;
            }
            reads
        }
    });
    for n in 0..50 {
        let mut handed = sample(GrantKind::User);
        // Longer and shorter in turn, as a write in place would leave a rest behind.
        handed.access_token = "x".repeat(1 + (n % 2) * 20_000).into();
        write(&path, &handed, RefreshToken::Withheld, now(), &east())
            .await
            .unwrap();
    }
    done.store(true, Ordering::Relaxed);
    let reads = reader.join().unwrap();
    assert!(reads >= 10);
}

#[tokio::test(start_paused = true)]
async fn what_the_file_holds_is_told_without_showing_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    let user = async || look(&path, GrantKind::User).await.unwrap();
    assert!(matches!(user().await, OnDisk::NoFile));
    put(&path, GrantKind::User).await;
    let OnDisk::Slot {
        access_token,
        valid,
    } = user().await
    else {
        panic!("there is a slot")
    };
    assert_eq!(
        (access_token.expose_secret(), valid),
        ("CANARY-access", true)
    );
    assert!(!format!("{:?}", user().await).contains("CANARY"));
    let client = look(&path, GrantKind::Client).await.unwrap();
    assert!(matches!(client, OnDisk::Slot { valid: false, .. }));
    fs::write(&path, "{").unwrap();
    assert!(matches!(user().await, OnDisk::Damaged));
}

#[tokio::test(start_paused = true)]
async fn import_reads_back_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    let handed = sample(GrantKind::User);
    write(&path, &handed, RefreshToken::Included, now(), &east())
        .await
        .unwrap();
    let source = import::Source {
        id: "acme/prod".parse().unwrap(),
        instance_url: None,
        zone: east(),
        dry_run: false,
    };
    let found = import::read(&path, &source, now()).await.unwrap();
    let row = found.rows[0].as_ref().unwrap();
    assert_eq!(row.grant.kind(), GrantKind::User);
    assert_eq!(
        row.expires_at,
        crate::import::ExpiresAt::Known(1_759_591_800_123 + 3_240_000)
    );
    let refresh = row.refresh_token.as_ref().unwrap();
    assert_eq!(refresh.expose_secret(), "CANARY-refresh");
}
