//! A blob opens under its key at its place, and nowhere else.

use super::super::{GrantId, Pair, Workflow, place};
use super::*;

// 32 times `A`, and 32 times `B`.
const KEY_A: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
const KEY_B: &str = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";

fn ring(text: &str) -> KeyRing {
    KeyRing::parse(text).unwrap()
}

fn stored(id: &str, generation: u64) -> Place<'_> {
    Place::Stored {
        workflow: Workflow {
            kind: "ninjaone.credential",
            id,
        },
        grant: "00000000000000aa".parse().unwrap(),
        generation,
    }
}

#[test]
fn it_opens_only_at_its_place() {
    let ring = ring(&format!("k:{KEY_A}"));
    let places = place::tests::all_different(GrantId::random(), GrantId::random());
    for (i, sealed_for) in places.iter().enumerate() {
        let sealed = ring.seal(sealed_for, b"secret");
        for (j, opened_at) in places.iter().enumerate() {
            match ring.open(opened_at, &sealed) {
                Ok(bytes) => assert!(i == j && bytes[..] == b"secret"[..]),
                Err(error) => {
                    assert_ne!(i, j);
                    assert_eq!(error, OpenError::WrongPlaceOrDamaged);
                }
            }
        }
    }
}

/// Scenario 66.
#[test]
fn swapped_blobs_of_two_integrations_do_not_open() {
    let ring = ring(&format!("k:{KEY_A}"));
    let (acme, globex) = (stored("acme/prod@user", 3), stored("globex/prod@user", 3));
    let pair = Pair {
        access_token: "A0".into(),
        refresh_token: Some("R0".into()),
    };
    let (one, two) = (ring.seal_pair(&acme, &pair), ring.seal_pair(&globex, &pair));
    for (place, blob) in [(&acme, &two), (&globex, &one)] {
        let error = ring.open_pair(place, blob).unwrap_err();
        assert_eq!(error, OpenError::WrongPlaceOrDamaged);
    }
    assert!(ring.open_pair(&acme, &one).is_ok());
    // An older generation of the same workflow is another place too.
    assert!(ring.open_pair(&stored("acme/prod@user", 2), &one).is_err());
}

/// Scenario 66.
#[test]
fn a_missing_a_wrong_and_a_rotated_key() {
    let place = stored("acme/prod@user", 1);
    let old = ring(&format!("old:{KEY_A}"));
    let sealed = old.seal(&place, b"secret");
    assert_eq!(sealed.key_id(), "old");

    let missing = ring(&format!("new:{KEY_B}"));
    assert_eq!(
        missing.open(&place, &sealed).unwrap_err(),
        OpenError::UnknownKey {
            key_id: "old".into()
        }
    );
    let wrong = ring(&format!("old:{KEY_B}"));
    assert_eq!(
        wrong.open(&place, &sealed).unwrap_err(),
        OpenError::WrongPlaceOrDamaged
    );
    let rotated = ring(&format!("new:{KEY_B},old:{KEY_A}"));
    assert_eq!(rotated.open(&place, &sealed).unwrap()[..], b"secret"[..]);
    let again = rotated.seal_anew(&place, &sealed).unwrap();
    assert_eq!(again.key_id(), "new");
    assert_eq!(missing.open(&place, &again).unwrap()[..], b"secret"[..]);
    assert_eq!(rotated.seal_anew(&place, &again).unwrap(), again, "once");
    // What does not open stays where it is, with its reason.
    assert!(missing.seal_anew(&place, &sealed).is_err());
    let elsewhere = stored("globex/prod@user", 1);
    assert_eq!(
        rotated.seal_anew(&elsewhere, &sealed).unwrap_err(),
        OpenError::WrongPlaceOrDamaged
    );
}

#[test]
fn the_text_form_names_the_key_and_comes_back() {
    let ring = ring(&format!("k2026:{KEY_A}"));
    let place = stored("acme/prod@user", 1);
    let sealed = ring.seal(&place, b"secret");
    let text = sealed.to_string();
    assert!(text.starts_with("v1.k2026."), "{text}");
    assert_eq!(text.parse::<Sealed>().unwrap(), sealed);
    let json = serde_json::to_string(&sealed).unwrap();
    assert_eq!(json, format!("\"{text}\""));
    assert_eq!(serde_json::from_str::<Sealed>(&json).unwrap(), sealed);
    assert_ne!(ring.seal(&place, b"secret"), sealed, "nonces are fresh");
}

#[test]
fn other_texts_are_malformed() {
    let short = URL_SAFE_NO_PAD.encode([0; NONCE_BYTES + TAG_BYTES - 1]);
    let enough = URL_SAFE_NO_PAD.encode([0; NONCE_BYTES + TAG_BYTES]);
    for text in [
        String::new(),
        "v1".into(),
        "v1.k".into(),
        format!("v1.k.{short}"),
        format!("v1..{enough}"),
        format!("v1.\u{1b}[2J.{enough}"),
        format!("v2.k.{enough}"),
        format!("v1.k.{enough}="),
        format!("v1.k.{enough}.x"),
        format!(" v1.k.{enough}"),
    ] {
        assert_eq!(text.parse::<Sealed>(), Err(OpenError::Malformed), "{text}");
    }
    assert!(format!("v1.k.{enough}").parse::<Sealed>().is_ok());
}

#[test]
fn any_flipped_bit_is_noticed() {
    let ring = ring(&format!("k:{KEY_A}"));
    let place = stored("acme/prod@user", 1);
    let sealed = ring.seal(&place, b"secret");
    for byte in 0..sealed.body.len() {
        for bit in 0..8 {
            let mut damaged = sealed.clone();
            damaged.body[byte] ^= 1 << bit;
            assert_eq!(
                ring.open(&place, &damaged).unwrap_err(),
                OpenError::WrongPlaceOrDamaged
            );
        }
    }
}

/// A blob sealed by the first release; if this fails, stored credentials have become unreadable.
#[test]
fn a_blob_from_before_still_opens() {
    let ring = ring(&format!("k:{KEY_A}"));
    let sealed: Sealed = include_str!("pair_v1.txt").trim().parse().unwrap();
    let pair = ring
        .open_pair(&stored("acme/prod@user", 7), &sealed)
        .unwrap();
    assert_eq!(pair.access_token.expose_secret(), "fixture-access");
    assert_eq!(
        pair.refresh_token.unwrap().expose_secret(),
        "fixture-refresh"
    );
}

/// Scenario 65, as far as blobs go.
#[test]
fn neither_debug_nor_text_nor_errors_show_what_was_sealed() {
    let ring = ring(&format!("k:{KEY_A}"));
    let place = stored("acme/prod@user", 1);
    let sealed = ring.seal(&place, b"CANARY");
    let error = ring.open(&stored("x/y@user", 1), &sealed).unwrap_err();
    let shown = format!("{sealed:?} {sealed} {error} {error:?} {ring:?}");
    assert!(!shown.contains("CANARY") && !shown.contains(KEY_A));
    assert!(!sealed.body.windows(6).any(|window| window == b"CANARY"));
}
