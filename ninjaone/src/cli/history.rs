//! `evergreen history`: what happened to one grant.

use serde_json::Value;

use super::client::Api;
use super::failure::{Ended, Exit};
use super::list::short;
use super::table;
use super::ui::Ui;
use crate::integration::Target;
use crate::when::{exact, relative};

/// Fields that have a column, or are for machines.
const SHOWN: [&str; 9] = [
    "at",
    "from",
    "to",
    "on",
    "wake_at",
    "visible_at",
    "attempt",
    "fence",
    "v",
];

/// What happened to one integration: its last transitions, oldest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  evergreen history acme/prod")]
pub(crate) struct Args {
    /// Which integration, as TENANT/INTEGRATION, with @user or @client for one of its grants
    #[arg(value_name = "ID")]
    id: Target,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let history = api.history(&args.id).await?;
    if ui.json {
        ui.document(&history)?;
        return Ok(Exit::Ok);
    }
    if history.transitions.is_empty() {
        ui.say(&format!("nothing is recorded of {}", args.id))?;
        return Ok(Exit::Ok);
    }
    let text = rows(&history.transitions, ui);
    ui.say(&format!(
        "{} ({} grant), times in UTC\n\n{text}",
        history.integration, history.grant
    ))?;
    Ok(Exit::Ok)
}

/// Transitions as a table, with times in UTC.
pub(super) fn rows(transitions: &[Value], ui: &Ui) -> String {
    let head = ["AT", "STATE", "BECAUSE OF", "NEXT", "ATTEMPT", "NOTES"];
    let mut table = table::table(ui, &head);
    for entry in transitions {
        table.add_row([
            exact(&short(&entry["at"])).replace(" UTC", ""),
            states(entry),
            because(entry),
            next(entry, ui),
            short(&entry["attempt"]),
            notes(entry),
        ]);
    }
    table::text(&table)
}

fn states(entry: &Value) -> String {
    let (from, to) = (short(&entry["from"]), short(&entry["to"]));
    match (from.as_str(), to.as_str()) {
        (_, "-") if !entry["parked"].is_null() => "parked".to_owned(),
        (from, to) if from == to => to.to_owned(),
        _ => format!("{from} → {to}"),
    }
}

fn because(entry: &Value) -> String {
    match &entry["on"] {
        Value::Array(inputs) => inputs.iter().map(short).collect::<Vec<_>>().join(", "),
        other => short(other),
    }
}

/// When it was to go on, counted from the transition.
fn next(entry: &Value, ui: &Ui) -> String {
    let Some(wake_at) = entry["wake_at"].as_str() else {
        return "-".to_owned();
    };
    let at = entry["at"].as_str().and_then(|at| at.parse().ok());
    relative(wake_at, at.unwrap_or_else(|| ui.now()))
}

fn notes(entry: &Value) -> String {
    let Some(fields) = entry.as_object() else {
        return String::new();
    };
    let notes: Vec<String> = fields
        .iter()
        .filter(|(name, value)| !SHOWN.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| format!("{name}={}", short(value)))
        .collect();
    notes.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::stub::Stub;
    use super::super::ui::Kept;
    use super::*;

    #[tokio::test]
    async fn transitions_are_a_table() {
        let body = json!({"integration": "acme/prod", "grant": "user", "transitions": [
            {"at": "2026-03-26T11:00:00.000Z", "from": "Active", "to": "Scheduled",
             "on": ["Connect"], "wake_at": "2026-03-26T11:42:00.000Z", "attempt": 1, "fence": 2},
            {"at": "2026-03-26T11:42:00.000Z", "from": "Scheduled", "to": "Refreshing",
             "on": ["TimerFired"], "wake_at": null, "attempt": 1, "fence": 3, "generation": 1},
            {"at": "2026-03-26T11:42:01.000Z", "from": "Refreshing", "to": "Refreshing",
             "on": ["Outcome", "RefreshNow"], "wake_at": null, "attempt": 2, "fence": 4, "outcome": "unknown"},
        ]});
        let stub = Stub::answering(&[(200, body.clone())]).await;
        let (out, json_out) = (Kept::default(), Kept::default());
        let args = || Args {
            id: "acme/prod".parse().unwrap(),
        };
        let mut ui = Ui::for_test(false, out.clone(), Kept::default());
        run(args(), &stub.api, &mut ui).await.unwrap();
        assert_eq!(
            out.text(),
            "acme/prod (user grant), times in UTC

AT                   STATE                   BECAUSE OF           NEXT       ATTEMPT  NOTES
2026-03-26 11:00:00  Active → Scheduled      Connect              in 42 min  1
2026-03-26 11:42:00  Scheduled → Refreshing  TimerFired           -          1        generation=1
2026-03-26 11:42:01  Refreshing              Outcome, RefreshNow  -          2        outcome=unknown
"
        );
        let mut ui = Ui::for_test(true, json_out.clone(), Kept::default());
        run(args(), &stub.api, &mut ui).await.unwrap();
        assert_eq!(json_out.json(), body);
    }
}
