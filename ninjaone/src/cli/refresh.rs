//! `evergreen refresh`: do now what the timer would do later.

use super::client::Api;
use super::failure::Ended;
use super::status::show_attempt;
use super::ui::Ui;
use crate::integration::Target;

/// Refreshes one integration now.
///
/// Nothing is sent if somebody else has refreshed it meanwhile, or if a person must act first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  evergreen refresh acme/prod")]
pub(crate) struct Args {
    /// Which integration, as TENANT/INTEGRATION, with @user or @client for one of its grants
    #[arg(value_name = "ID")]
    id: Target,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let view = api.refresh(&args.id).await?;
    show_attempt(&view, ui)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::stub::{Stub, healthy};
    use super::super::failure::Exit;
    use super::super::ui::Kept;
    use super::*;

    #[tokio::test]
    async fn what_is_disconnected_was_not_refreshed() {
        for (state, exit) in [("Scheduled", Exit::Ok), ("Disconnected", Exit::Attention)] {
            let mut view = healthy();
            view["state"] = json!(state);
            let stub = Stub::answering(&[(200, view)]).await;
            let mut ui = Ui::for_test(false, Kept::default(), Kept::default());
            let args = Args {
                id: "acme/prod".parse().unwrap(),
            };
            assert_eq!(run(args, &stub.api, &mut ui).await, Ok(exit), "{state}");
        }
    }
}
