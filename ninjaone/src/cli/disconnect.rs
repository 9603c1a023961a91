//! `evergreen disconnect`: erase credentials.

use super::client::Api;
use super::failure::{Ended, Exit};
use super::ui::Ui;
use crate::integration::Target;

/// Erases the credentials of an integration, at once and for good.
///
/// Ends all its grants, or the one that is named. NinjaOne offers no way to revoke a grant from
/// here: somebody does that in its administration.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  evergreen disconnect acme/prod\n  \
    evergreen disconnect acme/prod@client")]
pub(crate) struct Args {
    /// Which integration, as TENANT/INTEGRATION, with @user or @client for one of its grants
    #[arg(value_name = "ID")]
    id: Target,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let answer = api.disconnect(&args.id).await?;
    if ui.json {
        ui.document(&answer)?;
        return Ok(Exit::Ok);
    }
    for view in &answer.disconnected {
        ui.say(&format!(
            "{}@{}: disconnected, its credentials are erased",
            view.integration, view.grant
        ))?;
    }
    if let Some(note) = &answer.note {
        ui.note(note);
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::stub::{Stub, healthy};
    use super::super::ui::Kept;
    use super::*;

    #[tokio::test]
    async fn each_grant_is_named_and_what_is_left_to_do_is_said() {
        let mut view = healthy();
        view["state"] = json!("Disconnected");
        let body = json!({"disconnected": [view], "revoked_at_provider": false, "note": "revoke it there"});
        let stub = Stub::answering(&[(200, body)]).await;
        let (out, err) = (Kept::default(), Kept::default());
        let mut ui = Ui::for_test(false, out.clone(), err.clone());
        let args = Args {
            id: "acme/prod".parse().unwrap(),
        };
        assert_eq!(run(args, &stub.api, &mut ui).await, Ok(Exit::Ok));
        assert_eq!(
            out.text(),
            "acme/prod@user: disconnected, its credentials are erased\n"
        );
        assert_eq!(err.text(), "revoke it there\n");
        assert_eq!(stub.lines(), ["DELETE /v1/integrations/acme/prod"]);
    }
}
