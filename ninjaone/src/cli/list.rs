//! `evergreen list`: all grants, one a line.

use serde_json::Value;

use super::client::Api;
use super::client::bodies::{Filter, Page};
use super::failure::{Ended, Exit};
use super::table;
use super::ui::Ui;
use crate::service::StatusView;
use crate::when::relative;

/// The states by their names.
const STATES: [&str; 5] = [
    "Active",
    "Scheduled",
    "Refreshing",
    "ReconnectRequired",
    "Disconnected",
];

/// All integrations, one grant a line.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  evergreen list\n  evergreen list --attention\n  \
    evergreen list --state ReconnectRequired --json"
)]
pub(crate) struct Args {
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = STATES, ignore_case = true)]
    state: Option<String>,
    /// Only those that a person must look at
    #[arg(long)]
    attention: bool,
    /// Only this tenant's
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    // With `ignore_case` the word comes as it was typed.
    let state = args.state.map(|typed| {
        let known = STATES
            .iter()
            .find(|state| state.eq_ignore_ascii_case(&typed));
        known.map_or(typed.clone(), |state| (*state).to_owned())
    });
    let filter = Filter {
        state,
        attention: args.attention,
        tenant: args.tenant,
    };
    let all = api.list(&filter).await?;
    if ui.json {
        ui.document(&Page {
            integrations: all,
            next: None,
        })?;
    } else if all.is_empty() {
        ui.say(nothing(&filter))?;
    } else {
        ui.say(&rows(&all, ui))?;
    }
    Ok(Exit::Ok)
}

fn nothing(filter: &Filter) -> &'static str {
    match filter {
        Filter {
            state: None,
            attention: false,
            tenant: None,
        } => {
            "no integrations yet; evergreen connect TENANT/INTEGRATION --region REGION makes one, \
             evergreen import takes existing ones over"
        }
        _ => "none",
    }
}

fn rows(all: &[StatusView], ui: &Ui) -> String {
    let head = [
        "INTEGRATION",
        "GRANT",
        "STATE",
        "NEXT REFRESH",
        "TOKEN",
        "NOTE",
    ];
    let mut table = table::table(ui, &head);
    for view in all {
        table.add_row([
            view.integration.clone(),
            view.grant.clone(),
            view.state.clone(),
            time(view.next_refresh_at.as_deref(), ui),
            token(view, ui),
            note(view),
        ]);
    }
    let attention = all.iter().filter(|view| view.needs_attention()).count();
    let count = match (all.len(), attention) {
        (1, 0) => "1 grant".to_owned(),
        (all, 0) => format!("{all} grants"),
        (all, some) => format!("{all} grants, {some} need attention"),
    };
    format!("{}\n\n{count}", table::text(&table))
}

fn time(at: Option<&str>, ui: &Ui) -> String {
    at.map_or("-".to_owned(), |at| relative(at, ui.now()))
}

fn token(view: &StatusView, ui: &Ui) -> String {
    match &view.access_token_expires_at {
        Some(at) if view.access_token_valid => format!("expires {}", relative(at, ui.now())),
        Some(_) => "expired".to_owned(),
        None => "-".to_owned(),
    }
}

/// The one thing that matters most.
fn note(view: &StatusView) -> String {
    if let Some(word) = view.reason.as_ref().or(view.attention.as_ref()) {
        return word.clone();
    }
    if view.parked.is_some() {
        return "parked".to_owned();
    }
    if view.persist_pending {
        return "not stored yet".to_owned();
    }
    if view.consecutive_failures > 0 {
        return format!("{} failures in a row", view.consecutive_failures);
    }
    view.warning.clone().unwrap_or_default()
}

/// A value of the log as one short text.
pub(super) fn short(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::stub::{Stub, healthy, revoked};
    use super::super::ui::Kept;
    use super::*;

    async fn list(json: bool, args: Args, answers: &[(u16, Value)]) -> (Kept, Stub) {
        let stub = Stub::answering(answers).await;
        let out = Kept::default();
        let mut ui = Ui::for_test(json, out.clone(), Kept::default());
        assert_eq!(run(args, &stub.api, &mut ui).await, Ok(Exit::Ok));
        (out, stub)
    }

    fn everything() -> Args {
        Args {
            state: None,
            attention: false,
            tenant: None,
        }
    }

    #[tokio::test]
    async fn grants_are_a_table_over_all_pages() {
        let pages = [
            (200, json!({"integrations": [healthy()], "next": "p2"})),
            (200, json!({"integrations": [revoked()], "next": null})),
        ];
        let (out, stub) = list(false, everything(), &pages).await;
        assert_eq!(
            out.text(),
            "INTEGRATION    GRANT  STATE              NEXT REFRESH  TOKEN              NOTE
acme/prod      user   Scheduled          in 38 min     expires in 53 min
umbrella/prod  user   ReconnectRequired  -             expired            revoked

2 grants, 1 need attention
"
        );
        assert_eq!(
            stub.lines(),
            [
                "GET /v1/integrations?limit=500",
                "GET /v1/integrations?limit=500&cursor=p2"
            ]
        );
    }

    #[tokio::test]
    async fn filters_are_the_servers_and_json_is_one_page() {
        let page = [(200, json!({"integrations": [revoked()], "next": null}))];
        let args = Args {
            state: Some("reconnectrequired".to_owned()),
            attention: true,
            tenant: Some("umbrella".to_owned()),
        };
        let (out, stub) = list(true, args, &page).await;
        assert_eq!(out.json(), page[0].1);
        assert_eq!(
            stub.lines(),
            [
                "GET /v1/integrations?state=ReconnectRequired&attention=true&tenant=umbrella&limit=500"
            ]
        );
    }

    #[tokio::test]
    async fn an_empty_fleet_says_how_to_begin() {
        let page = [(200, json!({"integrations": [], "next": null}))];
        let (out, _) = list(false, everything(), &page).await;
        assert!(out.text().contains("evergreen connect"));
    }
}
