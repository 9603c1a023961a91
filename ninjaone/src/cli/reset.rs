//! `evergreen reset`: one more try for a grant that was given up.

use super::client::Api;
use super::failure::Ended;
use super::status::show;
use super::ui::Ui;
use crate::integration::Target;

/// Tries once more to refresh an integration that was given up.
///
/// For when the reason has gone, such as a grant that was revoked by mistake and restored. If
/// NinjaOne says no again, the integration is where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  evergreen reset acme/prod")]
pub(crate) struct Args {
    /// Which integration, as TENANT/INTEGRATION, with @user or @client for one of its grants
    #[arg(value_name = "ID")]
    id: Target,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let view = api.reset(&args.id).await?;
    show(&view, ui)
}
