use std::fs;

use chrono::FixedOffset;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::import::ExpiresAt;

fn source() -> Source<FixedOffset> {
    Source {
        id: "acme/prod".parse().unwrap(),
        instance_url: Some("https://oc.ninjarmm.com".to_owned()),
        zone: FixedOffset::east_opt(2 * 3600).unwrap(),
        dry_run: false,
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_759_591_800, 0).unwrap()
}

fn file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    fs::write(&path, text).unwrap();
    (dir, path)
}

async fn read_text(text: &str) -> Found {
    let (_dir, path) = file(text);
    read(&path, &source(), now()).await.unwrap()
}

async fn user(slot: &str) -> Found {
    read_text(&format!(r#"{{"client": null, "user": {slot}}}"#)).await
}

#[tokio::test(start_paused = true)]
async fn both_slots_become_grants_of_the_one_integration() {
    let mut found = read_text(
        r#"{
          "client": {"access_token": "C0", "refresh_token": "spare", "expires_at": null,
                     "scope": null, "token_type": "Bearer", "valid": true},
          "user": {"access_token": "U0", "refresh_token": "R0",
                   "expires_at": "2025-10-04T17:30:00.123456",
                   "scope": "monitoring management", "token_type": "Bearer", "valid": true},
          "version": 3
        }"#,
    )
    .await;
    assert_eq!(found.rows.len(), 2);
    let user = found.rows.remove(1).unwrap();
    let client = found.rows.remove(0).unwrap();
    assert_eq!(client.grant.to_string(), "acme/prod@client");
    assert_eq!(client.access_token.unwrap().expose_secret(), "C0");
    assert!(client.refresh_token.is_none() && client.warnings.len() == 1);
    assert_eq!(user.grant.to_string(), "acme/prod@user");
    assert_eq!(user.place, "tokens.json, slot user");
    assert_eq!(user.refresh_token.unwrap().expose_secret(), "R0");
    assert_eq!(user.expires_at, ExpiresAt::Known(1_759_591_800_123));
    assert_eq!(user.scope.as_deref(), Some("monitoring management"));
    assert_eq!(
        user.instance_url.as_deref(),
        Some("https://oc.ninjarmm.com")
    );
    assert_eq!(user.token_path_hint, Some("/oauth/token"));
    assert!(user.warnings.is_empty(), "{:?}", user.warnings);
}

#[tokio::test(start_paused = true)]
async fn s57_naive_zoned_and_missing_times() {
    let known = ExpiresAt::Known(1_759_591_800_000);
    for (text, at, warnings) in [
        ("\"2025-10-04T17:30:00\"", known, 0),
        ("\"2025-10-04T17:30:00.000000\"", known, 0),
        ("\"2025-10-04 17:30:00\"", known, 0),
        ("\"2025-10-04T15:30:00Z\"", known, 0),
        ("\"2025-10-04T11:30:00.000-04:00\"", known, 0),
        ("1759591800", known, 1),
        ("null", ExpiresAt::Unknown, 0),
        ("\"tomorrow\"", ExpiresAt::Unknown, 1),
    ] {
        let slot = format!(r#"{{"access_token":"U0","refresh_token":"R0","expires_at":{text}}}"#);
        let row = user(&slot).await.rows.remove(0).unwrap();
        assert_eq!(
            (row.expires_at, row.warnings.len()),
            (at, warnings),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn missing_members_and_slots_are_tolerated() {
    let found = user(r#"{"access_token":"U0"}"#).await;
    let row = found.rows[0].as_ref().unwrap();
    assert_eq!(row.expires_at, ExpiresAt::Unknown);
    assert_eq!(row.warnings.len(), 1, "an access token nothing can follow");
    for text in ["{}", r#"{"user": null}"#, r#"{"user": {}, "other": [1]}"#] {
        let found = read_text(text).await;
        assert!(
            found.rows.is_empty() && found.moved_aside.is_none(),
            "{text}"
        );
        assert_eq!(found.notes.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_slot_is_no_token() {
    for slot in [
        r#"{"access_token":"CANARY","refresh_token":"CANARY","valid":false}"#,
        r#"{"access_token":"","refresh_token":"CANARY","valid":true}"#,
        r#"{"access_token":null,"refresh_token":null,"valid":false}"#,
    ] {
        let found = user(slot).await;
        assert!(found.rows.is_empty(), "{slot}");
        assert!(!format!("{found:?}").contains("CANARY"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_slot_leaves_the_other_alone_and_is_named() {
    for (slot, field) in [
        (r#""CANARY""#, "slot"),
        (r#"{"access_token": 5}"#, "access_token"),
        (r#"{"access_token": "CANARY\n\u0000x"}"#, "access_token"),
        (r#"{"access_token": "a", "valid": "CANARY"}"#, "valid"),
        (r#"{"access_token": "a", "scope": {"CANARY": 1}}"#, "scope"),
    ] {
        let text = format!(r#"{{"user": {slot}, "client": {{"access_token": "C0"}}}}"#);
        let (_dir, path) = file(&text);
        let found = read(&path, &source(), now()).await.unwrap();
        assert!(found.rows[0].is_ok());
        assert_eq!(found.rows[1].as_ref().unwrap_err().field, field, "{slot}");
        assert!(!format!("{found:?}").contains("CANARY"), "{slot}");
        assert!(found.moved_aside.is_none() && path.exists());
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_does_not_parse_is_moved_aside_and_kept_byte_for_byte() {
    for text in [
        b"{\"user\": {\"access_token\": \"CANARY".as_slice(),
        b"",
        b"[]",
        b"\xff\xfe",
    ] {
        let (dir, path) = file(text);
        let found = read(&path, &source(), now()).await.unwrap();
        let row = found.rows[0].as_ref().unwrap_err();
        assert_eq!((row.field, found.rows.len()), ("file", 1));
        assert!(!format!("{found:?} {row}").contains("CANARY"));
        let aside = found.moved_aside.unwrap();
        assert_eq!(
            aside,
            dir.path().join("tokens.json.unreadable-20251004T153000Z")
        );
        assert_eq!(fs::read(aside).unwrap(), text);
        assert!(!path.exists());
    }
}

/// Its owner writes in place: what does not parse now may be whole a moment later.
#[tokio::test(start_paused = true)]
async fn half_of_a_save_is_read_again() {
    let whole = r#"{"user": {"access_token": "U0", "refresh_token": "R0"}}"#;
    let (_dir, path) = file(&whole[..20]);
    let source = source();
    let (found, ()) = tokio::join!(read(&path, &source, now()), async {
        fs::write(&path, whole).unwrap();
    });
    let found = found.unwrap();
    assert!(found.moved_aside.is_none());
    let row = found.rows[0].as_ref().unwrap();
    assert_eq!(row.access_token.as_ref().unwrap().expose_secret(), "U0");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_moves_nothing() {
    let (dir, path) = file("not JSON");
    let source = Source {
        dry_run: true,
        ..source()
    };
    let found = read(&path, &source, now()).await.unwrap();
    assert!(found.rows[0].is_err() && found.moved_aside.is_none());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_plain_small_file_is_an_error_and_stays() {
    let (dir, path) = file(" ".repeat(MAX_BYTES + 1));
    assert!(matches!(
        read(&path, &source(), now()).await,
        Err(Error::Unusable { .. })
    ));
    assert!(path.exists());
    for path in [dir.path().to_owned(), dir.path().join("gone")] {
        let error = read(&path, &source(), now()).await.unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }));
    }
}
