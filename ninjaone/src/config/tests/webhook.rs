//! Where events are posted to: both settings or neither, and every problem at once.

use super::super::*;
use super::{env, serving};

const URL: &str = "EVERGREEN_WEBHOOK_URL";
const SECRET: &str = "EVERGREEN_WEBHOOK_SECRET";
const FILE: &str = "EVERGREEN_WEBHOOK_SECRET_FILE";
const GOOD_URL: &str = "https://hooks.example.com/CANARY";
const GOOD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn both_together_are_read_in_every_role_and_shown_to_nobody() {
    let given = [(URL, GOOD_URL), (SECRET, GOOD_SECRET)];
    for (sources, role) in [
        (serving(&given), Role::Serve),
        (serving(&given), Role::Worker),
        (env(&given), Role::Dev),
    ] {
        let config = load(&sources, role).unwrap();
        let webhook = config.webhook.as_ref().unwrap();
        assert_eq!(webhook.url.host(), "hooks.example.com");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let shown = format!("{config:?}");
        assert!(!shown.contains("CANARY") && !shown.contains("MfKQ9r8G"));
    }
}

#[test]
fn what_is_not_set_or_empty_sends_nothing() {
    for given in [vec![], vec![(URL, ""), (SECRET, " ")], vec![(FILE, "")]] {
        let config = load(&serving(&given), Role::Serve).unwrap();
        assert!(config.webhook.is_none(), "{given:?}");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

#[test]
fn one_without_the_other_and_what_is_wrong_with_either_is_told_at_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (given, told) in [
        (vec![(URL, GOOD_URL)], vec![(SECRET, "is missing")]),
        (vec![(SECRET, GOOD_SECRET)], vec![(URL, "is missing")]),
        (
            vec![(FILE, path)],
            vec![(URL, "is missing"), (FILE, "is empty")],
        ),
        (
            vec![(URL, "http://h.example/CANARY"), (SECRET, "CANARY!")],
            vec![(URL, "plain http"), (SECRET, "entry 1 is not base64")],
        ),
        (
            vec![(URL, GOOD_URL), (SECRET, GOOD_SECRET), (FILE, path)],
            vec![(FILE, "beside EVERGREEN_WEBHOOK_SECRET")],
        ),
        (
            vec![(URL, GOOD_URL), (FILE, "/nowhere/CANARY")],
            vec![(FILE, "cannot be read")],
        ),
    ] {
        let Problems(all) = load(&serving(&given), Role::Worker).unwrap_err();
        assert_eq!(all.len(), told.len(), "{given:?}: {all:?}");
        for (problem, (name, wrong)) in all.iter().zip(told) {
            assert_eq!(problem.setting, name);
            assert!(problem.wrong.contains(wrong), "{problem}");
            assert!(problem.wrong.contains("allowed is"), "{problem}");
            assert!(!problem.wrong.contains("CANARY"), "{problem}");
        }
    }
}

#[test]
fn a_secret_may_come_from_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{GOOD_SECRET}\n")).unwrap();
    let given = [(URL, GOOD_URL), (FILE, file.path().to_str().unwrap())];
    let config = load(&serving(&given), Role::Serve).unwrap();
    let secrets = config.webhook.unwrap().secrets;
    let same = crate::webhook::SigningSecrets::parse(GOOD_SECRET).unwrap();
    assert_eq!(secrets.sign("a", 1, "b"), same.sign("a", 1, "b"));
}
