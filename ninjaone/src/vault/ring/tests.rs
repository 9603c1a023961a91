//! What a key ring accepts, what it refuses, and that neither shows a key.

use std::error::Error as _;

use super::*;

// 32 times `A`, and 32 times `B`.
const KEY_A: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
const KEY_B: &str = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";

#[test]
fn the_first_key_seals_and_all_are_listed() {
    let ring = KeyRing::parse(&format!(" new:{KEY_A} , old:{KEY_B}\n")).unwrap();
    assert_eq!(ring.current(), "new");
    assert_eq!(ring.ids().collect::<Vec<_>>(), ["new", "old"]);
    assert_eq!(
        ring.key("old").unwrap().material.expose_secret(),
        &[b'B'; 32]
    );
    assert!(ring.key("gone").is_none());
}

#[test]
fn a_generated_key_is_printable_and_parses() {
    let key = KeyRing::generate().unwrap();
    let printable = key.printable.expose_secret();
    assert!(printable.bytes().all(|b| b.is_ascii_graphic() && b != b','));
    let ring = KeyRing::parse(printable).unwrap();
    assert_eq!(ring.current(), key.id);
    assert_ne!(KeyRing::generate().unwrap().id, key.id);
}

#[test]
fn padding_and_alphabet_are_not_insisted_on() {
    let standard = KeyRing::parse("k:++//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    let url_safe = KeyRing::parse("k:--__AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    assert!(standard.sealing().holds_the_same(url_safe.sealing()));
}

#[test]
fn a_wrong_entry_is_named_by_variable_and_position_and_never_quoted() {
    let canary = "CANARYCANARY";
    for (entry, rule) in [
        (canary.to_owned(), "written id:base64"),
        (String::new(), "written id:base64"),
        (format!(":{KEY_B}"), "the id before the colon"),
        (
            format!("{canary}.{canary}:{KEY_B}"),
            "the id before the colon",
        ),
        (
            format!("{}:{KEY_B}", canary.repeat(3)),
            "the id before the colon",
        ),
        (format!("ü:{KEY_B}"), "the id before the colon"),
        (format!("x:{canary}"), "exactly 32 bytes"),
        (format!("x:{}", canary.repeat(10)), "exactly 32 bytes"),
        (format!("x:{canary}?!"), "not base64"),
        ("x:".to_owned(), "exactly 32 bytes"),
        (format!("one:{KEY_B}"), "its id stands twice"),
        (format!("two:{KEY_A}"), "under another id"),
    ] {
        let error = KeyRing::parse(&format!("one:{KEY_A},{entry}")).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            error
                .to_string()
                .starts_with("EVERGREEN_SEAL_KEYS: entry 2: "),
            "{shown}"
        );
        assert!(shown.contains(rule), "{shown}");
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}

#[test]
fn no_key_at_all_is_refused() {
    for text in ["", " \n"] {
        let error = KeyRing::parse(text).unwrap_err();
        assert!(matches!(error, RingError::Empty { .. }));
        assert!(error.to_string().starts_with("EVERGREEN_SEAL_KEYS: "));
    }
}

#[test]
fn a_file_holds_one_key_a_line_and_its_errors_name_the_file_variable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    std::fs::write(&path, format!("new:{KEY_A}\nold:{KEY_B}\n")).unwrap();
    assert_eq!(KeyRing::from_file(&path).unwrap().current(), "new");

    std::fs::write(&path, format!("new:{KEY_A}\nCANARY\n")).unwrap();
    let error = KeyRing::from_file(&path).unwrap_err().to_string();
    assert!(
        error.starts_with("EVERGREEN_SEAL_KEYS_FILE: entry 2: "),
        "{error}"
    );

    std::fs::write(&path, "x".repeat(FILE_BYTES_MAX + 1)).unwrap();
    let error = KeyRing::from_file(&path).unwrap_err();
    assert!(error.source().unwrap().to_string().contains("larger"));

    let missing = KeyRing::from_file(&directory.path().join("none")).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("EVERGREEN_SEAL_KEYS_FILE: reading ")
    );
}

#[test]
fn the_first_key_that_everybody_has_seals() {
    let ring = KeyRing::parse(&format!("new:{KEY_A},old:{KEY_B}")).unwrap();
    assert_eq!((ring.current(), ring.first()), ("new", "new"));
    assert!(ring.seal_with_first(|id| id == "old"));
    assert_eq!((ring.current(), ring.first()), ("old", "new"));
    assert!(
        !ring.seal_with_first(|id| id == "old"),
        "the same as before"
    );
    // What was sealed ahead of the others is not sealed back.
    let place = super::super::Place::Consent { state_hash: "x" };
    assert!(ring.seal_with_first(|_| true));
    let ahead = ring.seal(&place, b"secret");
    ring.seal_with_first(|id| id == "old");
    assert_eq!(ring.seal_anew(&place, &ahead).unwrap(), ahead);
    // Nothing in common: as the ring says.
    assert!(ring.seal_with_first(|_| false));
    assert_eq!(ring.current(), "new");
}

#[test]
fn another_key_of_the_same_id_has_another_print_and_no_print_shows_a_key() {
    let salt = super::super::FingerprintKey::random();
    let print = |text: &str| KeyRing::parse(text).unwrap().prints(&salt);
    let one = print(&format!("k:{KEY_A}"));
    assert_eq!(one, print(&format!("k:{KEY_A}")));
    assert_ne!(one, print(&format!("k:{KEY_B}")));
    assert!(
        one[0].starts_with("k=") && !one[0].contains(KEY_A),
        "{one:?}"
    );
}

#[test]
fn debug_shows_ids_alone() {
    let ring = KeyRing::parse(&format!("new:{KEY_A},old:{KEY_B}")).unwrap();
    assert_eq!(format!("{ring:?}"), r#"["new", "old"]"#);
    let key = KeyRing::generate().unwrap();
    let (_, material) = key.printable.expose_secret().split_once(':').unwrap();
    assert!(!format!("{key:?}").contains(material));
}
