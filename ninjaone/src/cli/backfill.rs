//! `evergreen backfill`: schedule what is stored but unscheduled.

use super::client::Api;
use super::failure::{Ended, Exit};
use super::ui::Ui;
use crate::integration::Target;

/// Schedules what is stored but unscheduled.
///
/// What is scheduled already, disconnected or waiting for a person stays as it is; a second run
/// changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  evergreen backfill --dry-run\n  \
    evergreen backfill --only acme/prod")]
pub(crate) struct Args {
    /// Only this integration, as TENANT/INTEGRATION
    #[arg(long, value_name = "ID")]
    only: Option<Target>,
    /// So many changes at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Say what would happen, change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let report = api
        .backfill(args.only.as_ref(), args.limit, args.dry_run)
        .await?;
    if ui.json {
        ui.document(&report)?;
    } else {
        if args.dry_run {
            ui.note("dry run: nothing was changed");
        }
        ui.say(&report.to_string())?;
    }
    Ok(if report.exit_code() == 0 {
        Exit::Ok
    } else {
        Exit::Attention
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::stub::Stub;
    use super::super::ui::Kept;
    use super::*;

    #[tokio::test]
    async fn the_report_is_the_servers_and_a_refusal_exits_4() {
        let row = json!({"id": "acme/prod", "tenant": "acme", "integration": "prod",
            "result": "refused", "field": "tokens", "reason": "undecryptable"});
        let body = json!({"rows": [row], "adopted": 0, "unchanged": 0, "refused": 1});
        let stub = Stub::answering(&[(200, body)]).await;
        let out = Kept::default();
        let mut ui = Ui::for_test(false, out.clone(), Kept::default());
        let args = Args {
            only: Some("acme/prod@user".parse().unwrap()),
            limit: None,
            dry_run: true,
        };
        assert_eq!(run(args, &stub.api, &mut ui).await, Ok(Exit::Attention));
        assert!(
            out.text()
                .starts_with("refused  acme/prod: tokens: undecryptable\n")
        );
        assert_eq!(
            stub.seen()[0].body,
            json!({"only": "acme/prod@user", "limit": null, "dry_run": true})
        );
    }
}
