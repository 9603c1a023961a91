//! States as earlier versions stored them: they load for ever.

use evergreen_engine::record::Record;

use super::bench::*;
use crate::lifecycle::{Credential, Phase};

/// What `state` and `data` of a stored workflow look like.
#[derive(serde::Deserialize)]
struct Fixture {
    state: String,
    data: serde_json::Value,
}

fn load(text: &str) -> (Credential, Phase) {
    let fixture: Fixture = serde_json::from_str(text).unwrap();
    let record = Record {
        state: fixture.state,
        data: fixture.data.to_string(),
        schema: 1,
        ..Record::default()
    };
    evergreen_engine::engine::view::<Credential>(&record).unwrap()
}

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../fixtures/", $name, ".json")))),*]
    };
}

#[test]
fn every_state_that_was_ever_stored_still_loads() {
    for (name, text) in fixtures![
        "active",
        "disconnected",
        "reconnect_required",
        "refreshing",
        "refreshing_first_release",
        "scheduled",
        "scheduled_behind_a_pause",
        "scheduled_in_trouble",
    ] {
        let (data, phase) = load(text);
        let state = phase.name().to_lowercase();
        let file = name.replace('_', "");
        assert!(file.starts_with(&state), "{name} loads as {state}");
        assert_eq!(data.grant.is_none(), name == "disconnected", "{name}");
    }
}

#[test]
fn nothing_of_a_full_record_is_lost_by_loading_and_storing() {
    let text = include_str!("../fixtures/scheduled_in_trouble.json");
    let (data, phase) = load(text);
    let stored = serde_json::json!({
        "state": phase.name(),
        "data": {
            "phase": serde_json::to_value(&phase).unwrap()[phase.name()],
            "data": serde_json::to_value(&data).unwrap(),
        },
    });
    let fixture: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(stored, fixture);
}

#[test]
fn what_is_stored_of_a_healthy_grant_is_small() {
    let life = Life::scheduled();
    let data = serde_json::to_string(&life.data).unwrap();
    assert!(data.len() < 500, "{} bytes: {data}", data.len());
    for field in ["failures", "spent", "quarantined", "here"] {
        assert!(!data.contains(field), "{field} is stored although empty");
    }
}
