use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::import::report;
use crate::import::{ExpiresAt, Refused};

fn rows(text: impl AsRef<[u8]>) -> Vec<Row> {
    read(text.as_ref()).map(|row| row.unwrap()).collect()
}

fn refused(text: &str) -> Refused {
    let mut rows = rows(text);
    assert_eq!(rows.len(), 1, "{text}");
    rows.remove(0).unwrap_err()
}

#[test]
fn a_line_says_everything() {
    let line = r#"{"tenant":"acme","integration":"prod","grant":"user","access_token":"A0",
        "refresh_token":"R0","expires_at":"2025-10-04T15:30:00Z",
        "instance_url":"https://eu.ninjarmm.com","client_id":"c","client_secret":"s",
        "scope":["monitoring","management"]}"#
        .replace('\n', " ");
    let row = rows(line).remove(0).unwrap();
    assert_eq!(row.place, "line 1");
    assert_eq!(row.grant.to_string(), "acme/prod@user");
    assert_eq!(row.access_token.unwrap().expose_secret(), "A0");
    assert_eq!(row.refresh_token.unwrap().expose_secret(), "R0");
    assert_eq!(row.expires_at, ExpiresAt::Known(1_759_591_800_000));
    assert_eq!(row.instance_url.as_deref(), Some("https://eu.ninjarmm.com"));
    assert_eq!(row.client_id.as_deref(), Some("c"));
    assert_eq!(row.client_secret.unwrap().expose_secret(), "s");
    assert_eq!(row.scope.as_deref(), Some("monitoring management"));
    assert_eq!((row.token_path_hint, row.warnings.len()), (None, 0));
}

#[test]
fn times_in_every_promised_form() {
    let known = ExpiresAt::Known(1_759_591_800_000);
    for (text, at, warnings) in [
        ("\"2025-10-04T15:30:00Z\"", known, 0),
        ("\"2025-10-04T17:30:00.000+02:00\"", known, 0),
        ("1759591800", known, 0),
        ("\"1759591800\"", known, 0),
        ("1759591800000", known, 0),
        ("null", ExpiresAt::Unknown, 0),
        ("\"2025-10-04T15:30:00\"", ExpiresAt::Unknown, 1),
        ("-1", ExpiresAt::Unknown, 1),
    ] {
        let line = format!(
            r#"{{"tenant":"t","integration":"i","refresh_token":"R0","expires_at":{text}}}"#
        );
        let row = rows(line).remove(0).unwrap();
        assert_eq!(
            (row.expires_at, row.warnings.len()),
            (at, warnings),
            "{text}"
        );
    }
}

#[test]
fn each_refusal_names_its_line_and_field() {
    for (line, tenant, field) in [
        (r#"CANARY"#, None, "line"),
        (r#"{"tenant":"CANARY /"}"#, None, "tenant"),
        (r#"{"integration":"i"}"#, None, "tenant"),
        (r#"{"tenant":"t"}"#, Some("t"), "integration"),
        (
            r#"{"tenant":"t","integration":"CANARY/"}"#,
            Some("t"),
            "integration",
        ),
        (
            r#"{"tenant":"t","integration":"i","grant":"CANARY"}"#,
            Some("t"),
            "grant",
        ),
        (
            r#"{"tenant":"t","integration":"i"}"#,
            Some("t"),
            "refresh_token",
        ),
        (
            r#"{"tenant":"t","integration":"i","grant":"client"}"#,
            Some("t"),
            "access_token",
        ),
        (
            r#"{"tenant":"t","integration":"i","refresh_token":"r","client_secret":"CANARY"}"#,
            Some("t"),
            "client_id",
        ),
        (
            r#"{"tenant":"t","integration":"i","access_token":"CANARY\u0007"}"#,
            Some("t"),
            "access_token",
        ),
    ] {
        let row = refused(line);
        assert_eq!((row.whose.tenant(), row.field), (tenant, field), "{line}");
        assert_eq!(row.place, "line 1");
        assert!(!format!("{row:?} {row}").contains("CANARY"), "{line}");
    }
}

#[test]
fn a_client_grant_needs_a_token_or_a_client() {
    let line = r#"{"tenant":"t","integration":"i","grant":"client","client_id":"c","client_secret":"s","refresh_token":"R0"}"#;
    let row = rows(line).remove(0).unwrap();
    assert_eq!(row.grant.kind(), GrantKind::Client);
    assert!(row.refresh_token.is_none() && row.access_token.is_none());
    assert_eq!(row.warnings.len(), 1);
}

#[test]
fn bad_lines_do_not_stop_the_stream() {
    let good = r#"{"tenant":"t","integration":"i","refresh_token":"R0","typo":1}"#;
    let long = format!(
        r#"{{"tenant":"t","integration":"i","refresh_token":"{}"}}"#,
        "x".repeat(3 * MAX_BYTES)
    );
    let mut text = format!("\u{feff}{good}\r\n\r\n{long}\n\n").into_bytes();
    text.extend_from_slice(b"\xff\xfe\n");
    text.extend_from_slice(good.as_bytes()); // no newline at the end
    let rows = rows(text);
    let places: Vec<(&str, bool)> = rows
        .iter()
        .map(|row| match row {
            Ok(row) => (row.place.as_str(), true),
            Err(row) => (row.place.as_str(), false),
        })
        .collect();
    assert_eq!(
        places,
        [
            ("line 1", true),
            ("line 3", false),
            ("line 5", false),
            ("line 6", true)
        ]
    );
    assert_eq!(rows[1].as_ref().unwrap_err().reason, "is too long");
    let warnings = &rows[0].as_ref().unwrap().warnings;
    assert!(
        warnings
            .iter()
            .any(|w| w == "members unknown and left out: 1"),
        "{warnings:?}"
    );
}

#[test]
fn a_line_of_exactly_the_limit_is_read() {
    let head = r#"{"tenant":"t","integration":"i","refresh_token":"R0"}"#;
    let fits = format!("{head}{}\n", " ".repeat(MAX_BYTES - head.len()));
    assert!(rows(&fits)[0].is_ok());
    let over = format!("{head}{}\n", " ".repeat(MAX_BYTES + 1 - head.len()));
    assert!(rows(&over)[0].is_err());
    assert!(rows("").is_empty() && rows("\n\n").is_empty());
}

/// Gives some text, then fails.
struct Failing<'a>(&'a [u8]);

impl io::Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(io::ErrorKind::ConnectionReset.into()),
            done => done,
        }
    }
}

#[test]
fn the_failure_of_the_stream_is_its_last_item() {
    let text = b"{\"tenant\":\"t\",\"integration\":\"i\",\"refresh_token\":\"R0\"}\n{";
    let mut rows = read(io::BufReader::new(Failing(text)));
    assert!(rows.next().unwrap().unwrap().is_ok());
    assert!(rows.next().unwrap().is_err());
    assert!(rows.next().is_none());
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader_and_chunks_do_not_matter(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        chunk in 1_usize..20,
    ) {
        let told = |row: io::Result<Row>| format!("{:?}", row.unwrap());
        let whole: Vec<String> = read(bytes.as_slice()).map(told).collect();
        let chunked = io::BufReader::with_capacity(chunk, bytes.as_slice());
        let in_chunks: Vec<String> = read(chunked).map(told).collect();
        prop_assert!(whole.len() <= bytes.split(|&b| b == b'\n').count());
        prop_assert_eq!(whole, in_chunks);
    }

    #[test]
    fn a_secret_in_any_member_is_never_shown(
        fields in prop::collection::vec((0_usize..11, 0_usize..4), 0..8),
    ) {
        const NAMES: [&str; 11] = [
            "tenant", "integration", "grant", "access_token", "refresh_token", "expires_at",
            "instance_url", "client_id", "client_secret", "scope", "CANARY",
        ];
        // Names are no secrets once they are legal, so the canary is never a legal name.
        const VALUES: [&str; 4] = [
            r#""CANARY/""#, r#"{"CANARY/": "CANARY/"}"#, r#"["CANARY/"]"#, r#""CANARY/\u0007""#,
        ];
        let mut line = r#"{"tenant":"t","integration":"i","refresh_token":"CANARY/""#.to_owned();
        for (name, value) in fields {
            line.push_str(&format!(r#","{}":{}"#, NAMES[name], VALUES[value]));
        }
        line.push('}');
        let row = rows(&line).remove(0);
        let told = match &row {
            Ok(row) => format!("{row:?} {:?}", row.warnings),
            Err(row) => format!("{row:?} {row} {:?}", report::Line::from(row)),
        };
        prop_assert!(!told.contains("CANARY"), "{}", told);
    }
}
