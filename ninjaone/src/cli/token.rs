//! `evergreen token`: hand out a valid access token.

use std::path::PathBuf;

use chrono::{Local, Utc};

use super::client::Api;
use super::failure::{Ended, Exit, Failure};
use super::ui::Ui;
use super::{keep_fresh, min_validity};
use crate::handoff::format::Format;
use crate::handoff::{self, Handed, MAY_BE_SPENT, RefreshToken, tokens_json};
use crate::integration::Target;

/// Prints a valid access token; it is refreshed first if it is about to expire.
///
/// Without a grant after the id, the client grant's token if it can be served now, else the user
/// grant's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  evergreen token acme/prod\n  \
    eval \"$(evergreen token acme/prod --format env)\"\n  \
    evergreen token acme/prod --format tokens-json --output tokens.json\n  \
    evergreen token acme/prod --watch tokens.json")]
pub(crate) struct Args {
    /// Which integration, as TENANT/INTEGRATION, with @user or @client for one of its grants
    #[arg(value_name = "ID")]
    id: Target,
    /// How it is written
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// How long it must still live: seconds, or a duration such as 5m
    #[arg(long, value_name = "SECONDS", value_parser = min_validity::parse)]
    min_validity: Option<u64>,
    /// The refresh token as well. Whoever spends it kills Evergreen's copy
    #[arg(long)]
    with_refresh_token: bool,
    /// For tokens-json: put it into this file, keeping the other slot, instead of printing it
    #[arg(long, value_name = "PATH", conflicts_with = "watch")]
    output: Option<PathBuf>,
    /// Keep this tokens.json fresh until told to stop
    #[arg(long, value_name = "PATH")]
    watch: Option<PathBuf>,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let format = format(&args, ui)?;
    let refresh = if args.with_refresh_token {
        ui.note(&format!("note: {MAY_BE_SPENT}"));
        RefreshToken::Included
    } else {
        RefreshToken::Withheld
    };
    if let Some(path) = args.watch {
        let ask = keep_fresh::Ask {
            id: args.id,
            min_validity: args.min_validity,
            refresh,
            path,
        };
        return keep_fresh::run(ask, api, ui).await;
    }
    let handed = api.token(&args.id, args.min_validity, refresh).await?;
    if let Some(warning) = &handed.warning {
        ui.note(&format!("warning: {warning}"));
    }
    match args.output {
        Some(path) => {
            let written = tokens_json::write(&path, &handed, refresh, Utc::now(), &Local)
                .await
                .map_err(|e| Failure::of(Exit::Usage, "handing the token over", &e))?;
            if let Some(aside) = written.set_aside {
                ui.note(&format!(
                    "note: the old file did not parse and is now {}",
                    aside.display()
                ));
            }
        }
        None => print(&handed, format, refresh, ui)?,
    }
    Ok(Exit::Ok)
}

/// Files are tokens.json, and `--json` is `--format json`; anything else that was asked for beside
/// them is a mistake.
fn format(args: &Args, ui: &Ui) -> Result<Format, Failure> {
    let usage = |why| Failure::usage("reading the arguments of token", why);
    let file = args.output.is_some() || args.watch.is_some();
    match args.format {
        None if file => Ok(Format::TokensJson),
        Some(Format::TokensJson) if file => Ok(Format::TokensJson),
        Some(_) if file => Err(usage(
            "--output and --watch write the format tokens-json only",
        )),
        None if ui.json => Ok(Format::Json),
        Some(format) if ui.json && format != Format::Json => {
            Err(usage("--json and --format say different things"))
        }
        format => match format.unwrap_or_default() {
            Format::Raw if args.with_refresh_token => Err(usage(
                "--with-refresh-token needs a format with a place for it: env, json or tokens-json",
            )),
            format => Ok(format),
        },
    }
}

fn print(
    handed: &Handed,
    format: Format,
    refresh: RefreshToken,
    ui: &mut Ui,
) -> Result<(), Failure> {
    let doing = "handing the token over";
    let text = match format {
        Format::Raw => handoff::format::raw(handed),
        Format::Env => handoff::env::lines(handed, refresh)
            .map_err(|e| Failure::of(Exit::Failed, doing, &e))?,
        Format::Json => handoff::format::json(handed, refresh)
            .map_err(|e| Failure::of(Exit::Failed, doing, &e))?,
        Format::TokensJson => tokens_json::text(handed, refresh, Utc::now(), &Local)
            .map_err(|e| Failure::of(Exit::Failed, doing, &e))?,
    };
    ui.hand_over(&text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::client::stub::{Stub, problem};
    use super::super::ui::Kept;
    use super::*;

    fn token() -> Value {
        json!({"access_token": "CANARY-at", "token_type": "bearer", "expires_in": 3200,
            "expires_at": "2026-03-26T12:53:20.000Z", "generation": 4, "grant": "user",
            "instance_url": "https://eu.ninjarmm.com", "warning": null})
    }

    fn args() -> Args {
        Args {
            id: "acme/prod".parse().unwrap(),
            format: None,
            min_validity: None,
            with_refresh_token: false,
            output: None,
            watch: None,
        }
    }

    async fn ask(json: bool, args: Args, code: u16, body: Value) -> (Ended, String, String, Stub) {
        let stub = Stub::answering(&[(code, body)]).await;
        let (out, err) = (Kept::default(), Kept::default());
        let mut ui = Ui::for_test(json, out.clone(), err.clone());
        let ended = run(args, &stub.api, &mut ui).await;
        (ended, out.text(), err.text(), stub)
    }

    #[tokio::test]
    async fn raw_is_the_token_alone() {
        let (ended, out, err, stub) = ask(false, args(), 200, token()).await;
        assert_eq!(
            (ended, out.as_str(), err.as_str()),
            (Ok(Exit::Ok), "CANARY-at\n", "")
        );
        assert_eq!(stub.lines(), ["GET /v1/integrations/acme/prod/token"]);
    }

    #[tokio::test]
    async fn env_and_json_and_what_is_asked_of_the_server() {
        let asked = Args {
            format: Some(Format::Env),
            min_validity: Some(300),
            with_refresh_token: true,
            ..args()
        };
        let mut body = token();
        body["refresh_token"] = json!("CANARY-rt");
        let (_, out, err, stub) = ask(false, asked, 200, body).await;
        assert!(
            out.contains("export NINJARMM_USER_REFRESH_TOKEN='CANARY-rt'"),
            "{out}"
        );
        assert!(err.contains("if its consumer spends it"));
        assert_eq!(
            stub.lines(),
            ["GET /v1/integrations/acme/prod/token?min_validity=300&refresh_token=true"]
        );
        let (_, out, ..) = ask(true, args(), 200, token()).await;
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["expires_at"], "2026-03-26T12:53:20.000Z");
        assert_eq!(json["expires_in"], 3200);
    }

    #[tokio::test]
    async fn a_file_keeps_its_other_slot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let asked = Args {
            output: Some(path.clone()),
            ..args()
        };
        let (ended, out, ..) = ask(false, asked, 200, token()).await;
        assert_eq!((ended, out.as_str()), (Ok(Exit::Ok), ""));
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(file["user"]["access_token"], "CANARY-at");
        assert_eq!(file["client"]["access_token"], Value::Null);
    }

    #[tokio::test]
    async fn a_dead_integration_exits_4_and_nothing_is_printed() {
        let dead = problem(
            "reconnect-required",
            "acme/prod needs attention: revoked",
            "reconnect",
        );
        let (ended, out, ..) = ask(false, args(), 409, dead).await;
        let failure = ended.unwrap_err();
        assert_eq!((failure.exit, out.as_str()), (Exit::Attention, ""));
        assert_eq!(failure.told.unwrap().recovery.as_deref(), Some("reconnect"));
    }

    #[tokio::test]
    async fn contradicting_formats_are_a_mistake() {
        let asked = Args {
            format: Some(Format::Env),
            ..args()
        };
        let (ended, ..) = ask(true, asked, 200, token()).await;
        assert_eq!(ended.unwrap_err().exit, Exit::Usage);
        let asked = Args {
            format: Some(Format::Raw),
            watch: Some("x".into()),
            ..args()
        };
        let (ended, ..) = ask(false, asked, 200, token()).await;
        assert_eq!(ended.unwrap_err().exit, Exit::Usage);
        // A bare token has no place for another.
        let asked = Args {
            with_refresh_token: true,
            ..args()
        };
        let (ended, out, err, stub) = ask(false, asked, 200, token()).await;
        let failure = ended.unwrap_err();
        assert_eq!((failure.exit, stub.seen().len()), (Exit::Usage, 0));
        assert!(failure.why.contains("tokens-json"), "{failure}");
        assert_eq!(
            (out.as_str(), err.as_str()),
            ("", ""),
            "nothing was handed over"
        );
    }
}
