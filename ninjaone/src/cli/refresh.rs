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
