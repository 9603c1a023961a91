//! `evergreen explain`: what is, what was, and why it did not fire.

use super::client::Api;
use super::failure::{Ended, Exit};
use super::history::rows;
use super::ui::Ui;
use crate::integration::Target;
use crate::service::{Explanation, Weight};
use crate::when::exact;

/// Explains one integration: what happens next, and what stops or delays it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 4 means that nothing happens until somebody acts.\n\n\
    Example:\n  evergreen explain acme/prod"
)]
pub(crate) struct Args {
    /// Which integration, as TENANT/INTEGRATION, with @user or @client for one of its grants
    #[arg(value_name = "ID")]
    id: Target,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let told = api.explain(&args.id).await?;
    if ui.json {
        ui.document(&told)?;
    } else {
        ui.say(&text(&told, ui))?;
    }
    let stopped = told.findings.iter().any(|one| one.weight == Weight::Stops);
    Ok(if stopped { Exit::Attention } else { Exit::Ok })
}

fn text(told: &Explanation, ui: &Ui) -> String {
    let status = &told.status;
    let mut lines = vec![
        format!(
            "{} ({} grant)  {}",
            status.integration, status.grant, status.state
        ),
        String::new(),
        told.summary.clone(),
    ];
    // What the summary says already need not be said twice.
    let rest: Vec<_> = told
        .findings
        .iter()
        .filter(|finding| !told.summary.contains(&finding.says))
        .collect();
    if !rest.is_empty() {
        lines.push(String::new());
        for finding in rest {
            let label = match finding.weight {
                Weight::Stops => "stops",
                Weight::Delays => "delays",
                Weight::Info => "note",
            };
            lines.push(format!("  {label:<8}{}", finding.says));
        }
    }
    lines.push(String::new());
    lines.extend(facts(told));
    if !told.history.is_empty() {
        lines.push(String::new());
        lines.push("What happened last, times in UTC:".to_owned());
        lines.push(rows(&told.history, ui));
    }
    lines.join("\n")
}

/// The raw facts, for who wants to check.
fn facts(told: &Explanation) -> Vec<String> {
    let timer = &told.timer;
    let at = |at: &Option<String>| at.as_deref().map_or("-".to_owned(), exact);
    let row = |label: &str, text: String| format!("  {label:<15}{text}");
    let mut rows = vec![
        row("timer", at(&timer.wake_at)),
        row("due", at(&timer.due_at)),
    ];
    if timer.visible_at.is_some() {
        rows.push(row("held back", at(&timer.visible_at)));
    }
    if let Some(owner) = &timer.owner {
        rows.push(row(
            "held by",
            format!("{owner} until {}", at(&timer.lease_until)),
        ));
    }
    rows.push(row("signals", timer.inbox.to_string()));
    rows.push(row(
        "workers",
        match told.fleet.workers_alive {
            0 => "none alive".to_owned(),
            some => format!("{some} alive, version {}", told.fleet.versions.join(", ")),
        },
    ));
    rows.push(row(
        "clocks",
        format!("{:+.1} s from server to store", told.fleet.clock_skew_s),
    ));
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::client::stub::{Stub, healthy};
    use super::super::ui::Kept;
    use super::*;

    fn told(findings: &Value, summary: &str) -> Value {
        json!({
            "summary": summary, "findings": findings, "status": healthy(),
            "timer": {"wake_at": "2026-03-26T12:38:00.000Z", "visible_at": null,
                "due_at": "2026-03-26T12:38:00.000Z", "due_wanted_at": "2026-03-26T12:38:00.000Z",
                "inbox": 0, "attempt": 0, "owner": null, "lease_until": null,
                "now": "2026-03-26T12:00:00.000Z"},
            "host": {"host": "eu.ninjarmm.com", "paused_until": null, "breaker": "closed",
                "breaker_until": null, "requests": 0},
            "fleet": {"workers_alive": 2, "versions": ["0.1.0"], "clock_skew_s": -0.25},
            "history": [{"at": "2026-03-26T11:53:00.000Z", "from": "Refreshing", "to": "Scheduled",
                "on": ["Outcome"], "wake_at": "2026-03-26T12:38:00.000Z", "attempt": 1}],
        })
    }

    async fn explain(json: bool, body: Value) -> (Ended, Kept, Stub) {
        let stub = Stub::answering(&[(200, body)]).await;
        let out = Kept::default();
        let mut ui = Ui::for_test(json, out.clone(), Kept::default());
        let args = Args {
            id: "acme/prod".parse().unwrap(),
        };
        (run(args, &stub.api, &mut ui).await, out, stub)
    }

    #[tokio::test]
    async fn a_healthy_grant_says_when_and_why() {
        let findings = json!([{"word": "signals", "weight": "info", "says": "1 signals wait."}]);
        let (ended, out, stub) =
            explain(false, told(&findings, "The next request leaves soon.")).await;
        assert_eq!(ended, Ok(Exit::Ok));
        assert_eq!(
            out.text(),
            "acme/prod (user grant)  Scheduled

The next request leaves soon.

  note    1 signals wait.

  timer          2026-03-26 12:38:00 UTC
  due            2026-03-26 12:38:00 UTC
  signals        0
  workers        2 alive, version 0.1.0
  clocks         -0.2 s from server to store

What happened last, times in UTC:
AT                   STATE                   BECAUSE OF  NEXT       ATTEMPT  NOTES
2026-03-26 11:53:00  Refreshing → Scheduled  Outcome     in 45 min  1
"
        );
        assert_eq!(stub.lines(), ["GET /v1/integrations/acme/prod/explain"]);
    }

    #[tokio::test]
    async fn what_stops_it_exits_4_and_is_said_once() {
        let says = "No worker is alive.";
        let findings = json!([{"word": "no_workers", "weight": "stops", "says": says}]);
        let body = told(&findings, &format!("Nothing happens by itself. {says}"));
        let (ended, out, _) = explain(false, body.clone()).await;
        assert_eq!(ended, Ok(Exit::Attention));
        assert_eq!(out.text().matches(says).count(), 1, "{}", out.text());
        let (_, json_out, _) = explain(true, body.clone()).await;
        assert_eq!(json_out.json(), body);
    }
}
