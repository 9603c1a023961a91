use std::fs;
use std::os::unix::fs::symlink;

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::import::ExpiresAt;

const CANARY: &str = "CANARY-8f2d";

struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tenants")).unwrap();
        Self(dir)
    }

    fn base(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.base().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn tenant(&self, tenant: &str, credentials: impl AsRef<[u8]>) {
        self.put(
            &format!("tenants/{tenant}/ninjaone_credentials"),
            credentials,
        );
    }

    fn rows(&self) -> Vec<Row> {
        read(self.base()).unwrap()
    }

    fn only(&self) -> Candidate {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1);
        rows.remove(0).unwrap()
    }

    fn only_refused(&self) -> Refused {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1);
        rows.remove(0).unwrap_err()
    }
}

fn shown(secret: Option<&secrecy::SecretString>) -> Option<&str> {
    secret.map(ExposeSecret::expose_secret)
}

const GOOD: &str = r#"
  {"access_token": "A0", "refresh_token": "R0", "expires_at": 1759591800000,
   "instance_url": "https://ca.ninjarmm.com/api/v2/", "later": {"unknown": 1}}
"#;

#[test]
fn a_tenant_becomes_the_user_grant_of_its_ninjaone() {
    let dir = Directory::new();
    dir.tenant("8d1f6c1e-93c5-4a55-9a3e-0d4a5c7b2f10", GOOD);
    let row = dir.only();
    assert_eq!(
        row.grant.to_string(),
        "8d1f6c1e-93c5-4a55-9a3e-0d4a5c7b2f10/ninjaone@user"
    );
    assert_eq!(
        row.place,
        "tenants/8d1f6c1e-93c5-4a55-9a3e-0d4a5c7b2f10/ninjaone_credentials"
    );
    assert_eq!(shown(row.access_token.as_ref()), Some("A0"));
    assert_eq!(shown(row.refresh_token.as_ref()), Some("R0"));
    assert_eq!(row.expires_at, ExpiresAt::Known(1_759_591_800_000));
    // As it stands: the host policy is not this module's.
    assert_eq!(
        row.instance_url.as_deref(),
        Some("https://ca.ninjarmm.com/api/v2/")
    );
    assert_eq!(row.token_path_hint, Some("/oauth/token"));
    assert_eq!((row.client_id, row.scope), (None, None));
    assert!(row.warnings.is_empty(), "{:?}", row.warnings);
}

#[test]
fn every_expiry_its_writers_can_leave_is_tolerated() {
    let known = ExpiresAt::Known(1_759_591_800_000);
    for (text, at, warnings) in [
        ("1759591800000", known, 0),
        ("\"1759591800000\"", known, 0),
        ("1759591800", known, 1),
        ("\"1759591800\"", known, 1),
        ("null", ExpiresAt::Unknown, 0),
        ("\"\"", ExpiresAt::Unknown, 0),
        ("0", ExpiresAt::Unknown, 1),
        ("-1759591800000", ExpiresAt::Unknown, 1),
        ("\"soon\"", ExpiresAt::Unknown, 1),
        ("\"2025-10-04T15:30:00Z\"", ExpiresAt::Unknown, 1),
    ] {
        let dir = Directory::new();
        let json = format!(r#"{{"access_token":"A0","refresh_token":"R0","expires_at":{text}}}"#);
        dir.tenant("acme", json);
        let row = dir.only();
        assert_eq!(row.expires_at, at, "{text}");
        assert_eq!(row.warnings.len(), warnings, "{text}: {:?}", row.warnings);
    }
    let dir = Directory::new();
    dir.tenant("acme", r#"{"refresh_token":"R0"}"#);
    assert_eq!(dir.only().expires_at, ExpiresAt::Unknown);
}

#[test]
fn a_missing_refresh_token_is_a_warning_and_no_token_at_all_a_refusal() {
    let dir = Directory::new();
    dir.tenant(
        "acme",
        r#"{"access_token":"A0","expires_at":1759591800000}"#,
    );
    let row = dir.only();
    assert!(row.refresh_token.is_none() && row.warnings.len() == 1);
    let dir = Directory::new();
    dir.tenant(
        "acme",
        r#"{"access_token":" ","instance_url":"https://x.example"}"#,
    );
    assert_eq!(dir.only_refused().field, "refresh_token");
}

#[test]
fn id_and_secret_come_from_one_level() {
    // (tenant id, tenant secret, application id, application secret) → (id, secret, warned)
    type Case = (
        [Option<&'static str>; 4],
        Option<&'static str>,
        Option<&'static str>,
        bool,
    );
    let cases: [Case; 10] = [
        ([None; 4], None, None, false),
        (
            [Some("t"), Some("ts"), Some("a"), Some("as")],
            Some("t"),
            Some("ts"),
            false,
        ),
        (
            [None, None, Some("a"), Some("as")],
            Some("a"),
            Some("as"),
            false,
        ),
        (
            [Some(" \n"), Some(""), Some("a\n"), Some("as\n")],
            Some("a"),
            Some("as"),
            false,
        ),
        (
            [Some("t"), None, Some("a"), Some("as")],
            Some("a"),
            Some("as"),
            true,
        ),
        (
            [None, Some("ts"), Some("a"), Some("as")],
            Some("a"),
            Some("as"),
            true,
        ),
        ([Some("t"), None, None, Some("as")], Some("t"), None, true),
        ([None, Some("ts"), Some("a"), None], Some("a"), None, true),
        ([Some("t"), None, None, None], Some("t"), None, true),
        ([None, None, None, Some("as")], None, None, true),
    ];
    for (given, id, secret, warned) in cases {
        let dir = Directory::new();
        dir.tenant("acme", GOOD);
        let files = [
            "tenants/acme/ninjaone_client_id",
            "tenants/acme/ninjaone_client_secret",
            "ninjaone_client_id",
            "ninjaone_client_secret",
        ];
        for (file, content) in files.iter().zip(given) {
            if let Some(content) = content {
                dir.put(file, content);
            }
        }
        let row = dir.only();
        assert_eq!(row.client_id.as_deref(), id, "{given:?}");
        assert_eq!(shown(row.client_secret.as_ref()), secret, "{given:?}");
        assert_eq!(!row.warnings.is_empty(), warned, "{given:?}");
    }
}

#[test]
fn s56_one_bad_row_never_stops_the_rest_and_none_shows_its_content() {
    let dir = Directory::new();
    for n in 0..200 {
        dir.tenant(&format!("good-{n:03}"), GOOD);
    }
    let quoted = |text: &str| text.replace('$', CANARY);
    dir.tenant("bad-json", quoted(r#"{"access_token": "$", "refresh"#));
    dir.tenant("bad-list", quoted(r#"["$"]"#));
    dir.tenant("bad-access", quoted(r#"{"access_token": {"$": "$"}}"#));
    dir.tenant("bad-access-space", quoted(r#"{"access_token": "$ $"}"#));
    dir.tenant("bad-refresh", quoted(r#"{"refresh_token": ["$"]}"#));
    dir.tenant(
        "bad-url",
        quoted(r#"{"refresh_token": "$", "instance_url": 5}"#),
    );
    dir.tenant(
        "bad-utf8",
        [b"{\"a\":\"".as_slice(), &[0xff, 0xfe]].concat(),
    );
    dir.tenant("bad-size", " ".repeat(MAX_BYTES + 1));
    dir.tenant("bad-client", GOOD);
    dir.put("tenants/bad-client/ninjaone_client_id", [0xff]);
    dir.tenant(&format!("bad {CANARY}"), GOOD);
    fs::create_dir_all(dir.base().join("tenants/bad-folder/ninjaone_credentials")).unwrap();
    // Foreign and empty files make no rows.
    dir.put("tenants/good-000/ninjaone_oauth_state", CANARY);
    dir.put("tenants/good-000/slack_credentials", CANARY);
    dir.put("tenants/other/slack_credentials", CANARY);
    dir.put("tenants/README", CANARY);
    dir.put("database_password", CANARY);
    dir.tenant("empty", " \n");

    let rows = dir.rows();
    assert_eq!(rows.iter().filter(|row| row.is_ok()).count(), 200);
    let refused: Vec<&Refused> = rows.iter().filter_map(|row| row.as_ref().err()).collect();
    let fields: Vec<(Option<&str>, &str)> = refused
        .iter()
        .map(|row| (row.whose.tenant(), row.field))
        .collect();
    assert_eq!(
        fields,
        [
            (None, "tenant"),
            (Some("bad-access"), "access_token"),
            (Some("bad-access-space"), "access_token"),
            (Some("bad-client"), "ninjaone_client_id"),
            (Some("bad-folder"), "ninjaone_credentials"),
            (Some("bad-json"), "ninjaone_credentials"),
            (Some("bad-list"), "ninjaone_credentials"),
            (Some("bad-refresh"), "refresh_token"),
            (Some("bad-size"), "ninjaone_credentials"),
            (Some("bad-url"), "instance_url"),
            (Some("bad-utf8"), "ninjaone_credentials"),
        ]
    );
    for row in refused {
        assert!(
            row.whose.tenant().is_none() || !format!("{row:?} {row}").contains(CANARY),
            "{row}"
        );
        assert!(!row.reason.contains(CANARY));
    }
}

#[test]
fn links_are_followed_inside_and_refused_outside() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("ninjaone_credentials"), GOOD).unwrap();
    let dir = Directory::new();
    let tenants = dir.base().join("tenants");
    // As Kubernetes mounts a secret.
    dir.put("tenants/inside/..2025_10_04/ninjaone_credentials", GOOD);
    symlink("..2025_10_04", tenants.join("inside/..data")).unwrap();
    symlink(
        "..data/ninjaone_credentials",
        tenants.join("inside/ninjaone_credentials"),
    )
    .unwrap();
    fs::create_dir(tenants.join("outside")).unwrap();
    symlink(
        outside.path().join("ninjaone_credentials"),
        tenants.join("outside/ninjaone_credentials"),
    )
    .unwrap();
    symlink(outside.path(), tenants.join("outside-folder")).unwrap();
    fs::create_dir(tenants.join("nowhere")).unwrap();
    symlink("gone", tenants.join("nowhere/ninjaone_credentials")).unwrap();
    fs::create_dir(tenants.join("round")).unwrap();
    symlink(
        "ninjaone_credentials",
        tenants.join("round/ninjaone_credentials"),
    )
    .unwrap();

    let rows = dir.rows();
    let told: Vec<String> = rows
        .iter()
        .map(|row| match row {
            Ok(row) => row.grant.integration().tenant().to_owned(),
            Err(row) => format!("{}: {}", row.whose.tenant().unwrap(), row.reason),
        })
        .collect();
    assert_eq!(
        told[..2],
        ["inside", "nowhere: is a symbolic link that leads nowhere",]
    );
    assert_eq!(
        told[2..4],
        [
            "outside: is a symbolic link that leaves the directory",
            "outside-folder: is a symbolic link that leaves the directory",
        ]
    );
    assert!(told[4].starts_with("round: cannot be read"), "{}", told[4]);
    assert_eq!(told.len(), 5);
}

#[test]
fn a_directory_that_is_none_is_one_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(read(dir.path()), Err(Error::Read { .. })));
    assert!(matches!(
        read(&dir.path().join("gone")),
        Err(Error::Read { .. })
    ));
}

#[test]
fn debug_shows_no_secret() {
    let dir = Directory::new();
    dir.tenant(
        "acme",
        GOOD.replace("A0", CANARY)
            .replace("R0", CANARY)
            .replace("https://", &format!("https://{CANARY}@")),
    );
    dir.put("ninjaone_client_id", CANARY);
    dir.put("ninjaone_client_secret", CANARY);
    let row = dir.only();
    assert_eq!(shown(row.client_secret.as_ref()), Some(CANARY));
    assert!(!format!("{row:?} {row:#?} {:?}", row.warnings).contains(CANARY));
}
