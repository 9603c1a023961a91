//! `evergreen connect`: a person's consent, or a client grant.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, sleep};

use super::client::Api;
use super::client::bodies::Offer;
use super::failure::{Ended, Exit, Failure};
use super::secret_file;
use super::status::show_attempt;
use super::ui::Ui;
use crate::config::DurationRange;
use crate::integration::{GrantKind, Target};
use crate::provider::Region;
use crate::service::StatusView;

/// How often it is looked whether the person has consented.
const LOOK: Duration = Duration::from_secs(1);
const PATIENCE: DurationRange = DurationRange {
    min: Duration::from_secs(1),
    max: Duration::from_hours(1),
    example: "10m",
};

/// Connects an integration, or connects it again.
///
/// For a user grant it prints a link, which a person opens in a browser to consent at NinjaOne, and
/// waits until that is done. For a client grant nobody is needed: the client app's own id and secret
/// are enough.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  evergreen connect acme/prod --region eu\n  \
    evergreen connect acme/prod --instance-url https://acme.rmmservice.eu\n  \
    evergreen connect acme/prod --region us --grant client"
)]
pub(crate) struct Args {
    /// Which integration, as TENANT/INTEGRATION
    #[arg(value_name = "ID")]
    id: Target,
    /// The region of the tenant: us, us2, eu, ca, oc, jp, fed
    #[arg(
        long,
        value_name = "REGION",
        conflicts_with = "instance_url",
        required_unless_present = "instance_url"
    )]
    region: Option<Region>,
    /// The address that people open NinjaOne at, where the region is not enough
    #[arg(long, value_name = "URL")]
    instance_url: Option<String>,
    /// user: a person consents. client: the app connects for itself [default: user]
    #[arg(long, value_name = "GRANT")]
    grant: Option<GrantKind>,
    /// Print the link and do not wait
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for the person [default: as long as the link works]
    #[arg(long, value_name = "DURATION", value_parser = patience)]
    timeout: Option<Duration>,
    /// With --grant client: the app, where it is not the fleet's
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// With --grant client: a file with the app's secret; - for standard input
    #[arg(long, value_name = "PATH", requires = "client_id")]
    client_secret_file: Option<PathBuf>,
    /// With --grant client: scopes, separated by spaces [default: all that the app has]
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
}

fn patience(text: &str) -> Result<Duration, String> {
    let wrong = |why| format!("{why}; allowed is {}", PATIENCE.allowed());
    PATIENCE.parse(text).map_err(wrong)
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let instance = match (&args.instance_url, args.region) {
        (Some(url), _) => url.clone(),
        (None, Some(region)) => region.url().as_str().to_owned(),
        (None, None) => return Err(usage("--region or --instance-url is needed")),
    };
    let kind = match (args.id.grant, args.grant) {
        (Some(named), Some(asked)) if named != asked => {
            return Err(usage("the grant after @ and --grant say different things"));
        }
        (named, asked) => named.or(asked).unwrap_or(GrantKind::User),
    };
    match kind {
        GrantKind::Client => client(args, instance, api, ui).await,
        GrantKind::User => {
            if args.client_id.is_some() || args.scopes.is_some() {
                return Err(usage(
                    "--client-id and --scopes are for --grant client; \
                     a person consents to the fleet's app",
                ));
            }
            user(args, &instance, api, ui, LOOK).await
        }
    }
}

fn usage(why: &str) -> Failure {
    Failure::usage("reading the arguments of connect", why).help("evergreen connect --help")
}

async fn client(args: Args, instance: String, api: &Api, ui: &mut Ui) -> Ended {
    let client_secret: Option<SecretString> = match &args.client_secret_file {
        Some(path) => Some(secret_file::read(path)?),
        None => None,
    };
    let offer = Offer {
        instance_url: Some(instance),
        client_id: args.client_id,
        client_secret,
        scopes: args.scopes,
        ..Offer::default()
    };
    let view = api.connect_client(&args.id.integration, &offer).await?;
    show_attempt(&view, ui)
}

async fn user(args: Args, instance: &str, api: &Api, ui: &mut Ui, look: Duration) -> Ended {
    let target = Target {
        grant: Some(GrantKind::User),
        ..args.id
    };
    let before = epoch(api, &target).await?;
    let link = api.consent_link(&target.integration, instance).await?;
    if ui.json {
        ui.line(&link)?;
    } else {
        ui.note(&format!(
            "Open this link in a browser, once, within {} min, and consent at NinjaOne:",
            link.expires_in / 60
        ));
        ui.say(&link.url)?;
    }
    if args.no_wait {
        return Ok(Exit::Ok);
    }
    ui.note("Waiting for the consent; Ctrl-C stops waiting and nothing else.");
    let patience = args.timeout.unwrap_or(Duration::from_secs(link.expires_in));
    let view = wait(api, &target, before, patience, look).await?;
    if ui.json {
        ui.line(&view)?;
        return Ok(if view.needs_attention() {
            Exit::Attention
        } else {
            Exit::Ok
        });
    }
    show_attempt(&view, ui)
}

/// Which consent is stored: 0 for none.
async fn epoch(api: &Api, target: &Target) -> Result<u64, Failure> {
    match api.status(target).await {
        Ok(view) => Ok(view.epoch),
        Err(failure) if failure.exit == Exit::NotFound => Ok(0),
        Err(failure) => Err(failure),
    }
}

/// Looks until there is a newer consent.
async fn wait(
    api: &Api,
    target: &Target,
    before: u64,
    patience: Duration,
    look: Duration,
) -> Result<StatusView, Failure> {
    let until = Instant::now() + patience;
    loop {
        let away = match api.status(target).await {
            Ok(view) if view.epoch > before => return Ok(view),
            Ok(_) => None,
            Err(failure) if failure.exit == Exit::NotFound => None,
            // A server that restarts meanwhile loses neither the link nor the consent.
            Err(failure) if failure.exit == Exit::Unavailable => Some(failure),
            Err(failure) => return Err(failure),
        };
        if Instant::now() + look > until {
            return Err(away.unwrap_or_else(|| {
                Failure::new(
                    Exit::Attention,
                    format!("connecting {}", target.integration),
                    "nobody has consented in time; what was stored before is unchanged",
                )
                .help("run the same command for a new link")
            }));
        }
        sleep(look).await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::super::client::stub::{Stub, healthy, problem};
    use super::super::ui::Kept;
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from([&["connect"], words].concat()).map(|line| line.args)
    }

    fn link() -> serde_json::Value {
        json!({"url": "http://h/oauth/connect/acme/prod?ticket=t", "expires_in": 600})
    }

    #[tokio::test]
    async fn it_prints_the_link_and_waits_for_a_newer_consent() {
        let mut after = healthy();
        after["epoch"] = json!(2);
        let stub = Stub::answering(&[
            (200, healthy()),
            (200, link()),
            (200, healthy()),
            (503, problem("store-unavailable", "away", "wait")),
            (200, after),
        ])
        .await;
        let (out, err) = (Kept::default(), Kept::default());
        let mut ui = Ui::for_test(false, out.clone(), err.clone());
        let args = parse(&["acme/prod", "--region", "EU"]).unwrap();
        let ended = user(
            args,
            "https://eu.ninjarmm.com",
            &stub.api,
            &mut ui,
            Duration::ZERO,
        )
        .await;
        assert_eq!(ended, Ok(Exit::Ok));
        let first = "http://h/oauth/connect/acme/prod?ticket=t\nacme/prod (user grant)  Scheduled";
        assert!(out.text().starts_with(first), "{}", out.text());
        assert!(err.text().contains("within 10 min"));
        let seen = stub.seen();
        assert_eq!(seen[1].line, "POST /v1/integrations/acme/prod/connect");
        assert_eq!(
            seen[1].body,
            json!({"instance_url": "https://eu.ninjarmm.com"})
        );
    }

    #[tokio::test]
    async fn nobody_consenting_ends_with_a_clear_message() {
        let missing = problem("not-found", "no such integration", "none");
        let stub = Stub::answering(&[(404, missing.clone()), (200, link()), (404, missing)]).await;
        let mut ui = Ui::for_test(false, Kept::default(), Kept::default());
        let args = parse(&["acme/prod", "--region", "eu", "--timeout", "1ms"]);
        assert!(args.is_err(), "shorter than allowed");
        let args = parse(&["acme/prod", "--region", "eu", "--timeout", "1s"]).unwrap();
        let look = Duration::from_secs(2);
        let failure = user(args, "https://h", &stub.api, &mut ui, look)
            .await
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Attention);
        assert!(
            failure
                .to_string()
                .contains("run the same command for a new link")
        );
    }

    #[tokio::test]
    async fn a_client_grant_is_minted_with_a_secret_from_a_file() {
        let mut view = healthy();
        view["grant"] = json!("client");
        let stub = Stub::answering(&[(200, view)]).await;
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "CANARY-secret\n").unwrap();
        let (out, err) = (Kept::default(), Kept::default());
        let mut ui = Ui::for_test(false, out.clone(), err.clone());
        let words = [
            "acme/prod",
            "--region",
            "us",
            "--grant",
            "client",
            "--client-id",
            "own",
            "--client-secret-file",
            secret.to_str().unwrap(),
        ];
        let args = parse(&words).unwrap();
        assert_eq!(run(args, &stub.api, &mut ui).await, Ok(Exit::Ok));
        let seen = stub.seen();
        assert_eq!(seen[0].line, "PUT /v1/integrations/acme/prod?grant=client");
        let body = json!({"instance_url": "https://app.ninjarmm.com", "client_id": "own",
            "client_secret": "CANARY-secret"});
        assert_eq!(seen[0].body, body);
        assert!(!format!("{}{}", out.text(), err.text()).contains("CANARY"));
    }

    #[test]
    fn where_the_tenant_lives_is_needed_once() {
        assert!(parse(&["acme/prod"]).is_err());
        assert!(parse(&["acme/prod", "--region", "eu", "--instance-url", "x"]).is_err());
        let unknown = parse(&["acme/prod", "--region", "mars"])
            .err()
            .unwrap()
            .to_string();
        assert!(unknown.contains("us, us2, eu"), "{unknown}");
    }
}
