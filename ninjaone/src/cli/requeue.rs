//! `evergreen requeue`: a parked grant is worked on again.

use super::card::card;
use super::client::Api;
use super::failure::{Ended, Exit};
use super::ui::Ui;
use crate::integration::Target;

/// Gives a parked integration back to the workers.
///
/// A workflow is parked when its turns fail again and again, for example because they end the process
/// that runs them. Nobody touches it until a person has seen to the cause and gives it back; its claims
/// are then counted anew. What is not parked stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  evergreen requeue acme/prod")]
pub(crate) struct Args {
    /// Which integration, as TENANT/INTEGRATION, with @user or @client for one of its grants
    #[arg(value_name = "ID")]
    id: Target,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let answer = api.requeue(&args.id).await?;
    if ui.json {
        ui.document(&answer)?;
    } else {
        ui.say(&card(&answer.status, ui.now()))?;
    }
    if !answer.requeued {
        ui.note("it was not parked, so nothing was changed");
    }
    Ok(if answer.status.needs_attention() {
        Exit::Attention
    } else {
        Exit::Ok
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::stub::{Stub, healthy};
    use super::super::ui::Kept;
    use super::*;

    #[tokio::test]
    async fn what_was_given_back_is_shown_and_what_was_not_parked_is_said() {
        for (requeued, said) in [
            (true, ""),
            (false, "it was not parked, so nothing was changed\n"),
        ] {
            let body = json!({"requeued": requeued, "status": healthy()});
            let stub = Stub::answering(&[(200, body)]).await;
            let (out, err) = (Kept::default(), Kept::default());
            let mut ui = Ui::for_test(false, out.clone(), err.clone());
            let args = Args {
                id: "acme/prod@user".parse().unwrap(),
            };
            assert_eq!(run(args, &stub.api, &mut ui).await, Ok(Exit::Ok));
            assert!(out.text().starts_with("acme/prod (user grant)  Scheduled"));
            assert_eq!(err.text(), said);
            assert_eq!(
                stub.lines(),
                ["POST /v1/integrations/acme/prod/requeue?grant=user"]
            );
        }
    }
}
