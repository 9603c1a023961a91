//! `evergreen status`: how one grant stands.

use super::card::card;
use super::client::Api;
use super::failure::{Ended, Exit};
use super::ui::Ui;
use crate::integration::Target;
use crate::service::StatusView;

/// How one integration stands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 4 means that a person must act.\n\n\
    Examples:\n  evergreen status acme/prod\n  evergreen status acme/prod@client --json")]
pub(crate) struct Args {
    /// Which integration, as TENANT/INTEGRATION, with @user or @client for one of its grants
    #[arg(value_name = "ID")]
    id: Target,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let view = api.status(&args.id).await?;
    show(&view, ui)
}

/// Shows a grant; 4 if a person must act.
pub(super) fn show(view: &StatusView, ui: &mut Ui) -> Ended {
    if ui.json {
        ui.document(view)?;
    } else {
        ui.say(&card(view, ui.now()))?;
    }
    Ok(if view.needs_attention() {
        Exit::Attention
    } else {
        Exit::Ok
    })
}

/// Shows a grant after a request was to be made; 5 if the provider could not be reached.
pub(super) fn show_attempt(view: &StatusView, ui: &mut Ui) -> Ended {
    let exit = show(view, ui)?;
    // What was disconnected is in order as a state, and not as the end of an attempt.
    if exit == Exit::Ok && view.state == "Disconnected" {
        return Ok(Exit::Attention);
    }
    let failing = exit == Exit::Ok && view.consecutive_failures > 0;
    Ok(if failing { Exit::Unavailable } else { exit })
}

#[cfg(test)]
mod tests {
    use super::super::client::stub::{Stub, healthy, problem, revoked};
    use super::super::ui::Kept;
    use super::*;

    async fn status(json: bool, code: u16, body: serde_json::Value) -> (Ended, Kept, Stub) {
        let stub = Stub::answering(&[(code, body)]).await;
        let out = Kept::default();
        let mut ui = Ui::for_test(json, out.clone(), Kept::default());
        let args = Args {
            id: "acme/prod@user".parse().unwrap(),
        };
        let ended = run(args, &stub.api, &mut ui).await;
        (ended, out, stub)
    }

    #[tokio::test]
    async fn a_healthy_grant_is_a_card_and_exits_0() {
        let (ended, out, stub) = status(false, 200, healthy()).await;
        assert_eq!(ended, Ok(Exit::Ok));
        assert_eq!(
            out.text(),
            "acme/prod (user grant)  Scheduled
  next refresh   in 38 min (2026-03-26 12:38:00 UTC), because of proactive_refresh_success
  access token   valid, expires in 53 min (2026-03-26 12:53:00 UTC)
  last refresh   7 min ago (2026-03-26 11:53:00 UTC)
  instance       https://eu.ninjarmm.com
  client app     app
  scopes         monitoring management offline_access
  history        consent 1, generation 4, transition 12
"
        );
        let seen = stub.seen();
        assert_eq!(seen[0].line, "GET /v1/integrations/acme/prod?grant=user");
        assert_eq!(
            seen[0].authorization.as_deref(),
            Some("Bearer eg_CANARY-key")
        );
    }

    #[tokio::test]
    async fn one_that_a_person_must_connect_again_says_how_and_exits_4() {
        let (ended, out, _) = status(false, 200, revoked()).await;
        assert_eq!(ended, Ok(Exit::Attention));
        assert_eq!(
            out.text(),
            "umbrella/prod (user grant)  ReconnectRequired
  attention      revoked: NinjaOne no longer knows the grant
  to do          evergreen connect umbrella/prod --instance-url https://eu.ninjarmm.com
  access token   not valid, expired 60 min ago (2026-03-26 11:00:00 UTC)
  last refresh   7 min ago (2026-03-26 11:53:00 UTC)
  failures       1 in a row
  provider said  HTTP 400, invalid_token, incident abc-123
  instance       https://eu.ninjarmm.com
  client app     app
  scopes         monitoring management offline_access
  history        consent 1, generation 4, transition 12
"
        );
    }

    #[tokio::test]
    async fn json_is_what_the_server_said() {
        let (ended, out, _) = status(true, 200, revoked()).await;
        assert_eq!(ended, Ok(Exit::Attention));
        assert_eq!(out.json(), revoked());
    }

    #[tokio::test]
    async fn what_is_not_there_exits_3_and_an_away_store_5() {
        let gone = problem(
            "not-found",
            "acme/prod: there is no such integration",
            "none",
        );
        let (ended, out, _) = status(false, 404, gone).await;
        assert_eq!(ended.unwrap_err().exit, Exit::NotFound);
        assert_eq!(out.text(), "");
        let away = problem("store-unavailable", "the store does not answer", "wait");
        let (ended, _, _) = status(false, 503, away).await;
        assert_eq!(ended.unwrap_err().exit, Exit::Unavailable);
    }

    #[tokio::test]
    async fn nobody_there_exits_5_and_says_how_to_start_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let api = Api::new(&url, Some("eg_CANARY".into())).unwrap();
        let failure = api.status(&"acme/prod".parse().unwrap()).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        let text = format!("{failure} {}", failure.json());
        assert!(
            text.contains("nobody answers at") && text.contains("evergreen dev"),
            "{text}"
        );
        assert!(!text.contains("CANARY"));
    }

    #[tokio::test]
    async fn a_wrong_key_says_which_variable() {
        let wrong = problem("unauthorized", "this API key is not known", "none");
        let (ended, _, _) = status(false, 401, wrong).await;
        let failure = ended.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        let text = failure.to_string();
        assert!(
            text.contains("EVERGREEN_API_KEY") && !text.contains("CANARY"),
            "{text}"
        );
    }
}
