//! `evergreen exec`: one command with a token in its environment.

use std::ffi::OsString;

use super::client::Api;
use super::failure::{Ended, Exit, Failure, chain};
use super::min_validity;
use super::ui::Ui;
use crate::handoff::{MAY_BE_SPENT, RefreshToken, exec};
use crate::integration::Target;

/// Runs a command with a valid access token in its environment.
///
/// The token is in no argument and in no file: NINJARMM_USER_ACCESS_TOKEN (or
/// NINJARMM_CLIENT_ACCESS_TOKEN), its EXPIRES_IN and NINJARMM_BASE_URL are set for this command
/// alone, and it gets none of the variables that begin with EVERGREEN_. Signals are passed on to it,
/// and its exit code is ours.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  evergreen exec acme/prod -- python server.py")]
pub(crate) struct Args {
    /// Which integration, as TENANT/INTEGRATION, with @user or @client for one of its grants
    #[arg(value_name = "ID")]
    id: Target,
    /// How long it must still live: seconds, or a duration such as 5m
    #[arg(long, value_name = "SECONDS", value_parser = min_validity::parse)]
    min_validity: Option<u64>,
    /// The refresh token as well. If the command spends it, Evergreen's copy is dead
    #[arg(long)]
    with_refresh_token: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let refresh = if args.with_refresh_token {
        ui.note(&format!("note: {MAY_BE_SPENT}"));
        RefreshToken::Included
    } else {
        RefreshToken::Withheld
    };
    let handed = api.token(&args.id, args.min_validity, refresh).await?;
    if let Some(warning) = &handed.warning {
        ui.note(&format!("warning: {warning}"));
    }
    match exec::run(&args.command, &handed, refresh).await {
        Ok(code) => Ok(Exit::Child(code)),
        Err(error) => Err(Failure::new(
            Exit::Child(error.exit_code()),
            "running the command",
            chain(&error),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::stub::Stub;
    use super::super::ui::Kept;
    use super::*;

    #[tokio::test]
    async fn the_childs_exit_code_is_ours_and_it_has_the_token() {
        let body = json!({"access_token": "CANARY-at", "token_type": "bearer", "expires_in": 60,
            "expires_at": null, "generation": 1, "grant": "client", "instance_url": "https://h",
            "warning": "old"});
        let stub = Stub::answering(&[(200, body)]).await;
        let err = Kept::default();
        let mut ui = Ui::for_test(false, Kept::default(), err.clone());
        let script = r#"test "$NINJARMM_CLIENT_ACCESS_TOKEN" = CANARY-at && exit 77"#;
        let args = |command: &[&str]| Args {
            id: "acme/prod".parse().unwrap(),
            min_validity: None,
            with_refresh_token: false,
            command: command.iter().map(OsString::from).collect(),
        };
        let ended = run(args(&["sh", "-c", script]), &stub.api, &mut ui).await;
        assert_eq!(ended, Ok(Exit::Child(77)));
        assert_eq!(err.text(), "warning: old\n");
        let missing = run(args(&["/nonexistent/program"]), &stub.api, &mut ui).await;
        assert_eq!(missing.unwrap_err().exit, Exit::Child(127));
    }
}
