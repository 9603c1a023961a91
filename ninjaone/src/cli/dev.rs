//! `evergreen dev`: everything at once, on this machine, with a simulated NinjaOne.

use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::store::Store;
use evergreen_engine::store::memory::MemoryStore;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::failure::{Ended, Exit, Failure};
use super::ui::Ui;
use super::{fleet, service_failure};
use crate::api::{NewKey, Scope, ServerOptions};
use crate::config::{Role, SettingFlags};
use crate::integration::{GrantKind, IntegrationId};
use crate::provider::ClientApp;
use crate::service::{AdoptOptions, Adopted, App, ListQuery, Offer, StatusView};
use crate::simulator::{self, SeedRequest, SeedRow, SeededGrant, Simulator, SimulatorOptions};
use crate::vault::FingerprintKey;

/// Short enough to see each token refreshed within a minute.
const LIFE: Duration = Duration::from_secs(30);
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const INTEGRATION: &str = "prod";

/// Runs everything on this machine, with a simulated NinjaOne: a playground.
///
/// Three demo tenants hold tokens that live 30 seconds, so that every refresh can be watched.
/// Without --redis-url nothing is kept when it ends.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  evergreen dev\n  evergreen dev --listen 127.0.0.1:9090\n  \
    evergreen dev --redis-url redis://127.0.0.1:6379"
)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: SettingFlags,
}

pub(super) async fn run(args: Args, ui: &mut Ui) -> Ended {
    let mut config = fleet::settings(&args.settings, Role::Dev)?;
    let stop = fleet::stop()?;
    let listen = config
        .listen
        .unwrap_or_else(|| ([127, 0, 0, 1], 8080).into());
    let mut options = ServerOptions::new(listen);
    // Whoever reaches this address sits at this machine.
    options.open_connect = listen.ip().is_loopback();
    options.grace = Duration::from_secs(2);
    let server = fleet::bind(options).await?;
    let address = server.address();

    let simulator = simulate(&config.redirect_uri(address)).await?;
    config.hosts = config.hosts.with_loopback();
    config.client = Some(app_of_the_simulator());
    config.settings.client_id = config.client.as_ref().map(|app| app.client_id.clone());
    let (store, salt, place) = match &config.store {
        Some(store) => {
            if config.ring_is_fresh {
                tracing::warn!(
                    "no EVERGREEN_SEAL_KEYS: what this run stores in Redis, no other run can open"
                );
            }
            fleet::redis(store).await?
        }
        None => in_memory(),
    };
    let keys = fleet::keys(&config, &store)?;
    let webhook = config.webhook.take();
    let app = fleet::app(config, address, store, salt)?;
    let webhooks = fleet::webhooks(&app, webhook)?;
    only_demos(&app).await?;
    for grant in seed(&simulator)? {
        adopt(&app, grant).await?;
    }
    let scopes = [Scope::Read, Scope::Token, Scope::Admin];
    let key = keys
        .create("evergreen dev", &scopes, None)
        .await
        .map_err(|e| service_failure("making an API key", &e))?;
    welcome(&app, &simulator, &key, &place, ui)?;

    let serving = server.run(app.clone(), keys.clone(), stop.clone().cancelled_owned());
    let ((), served) = tokio::join!(fleet::work(&app, webhooks, &stop), async {
        let ended = serving.await;
        stop.cancel();
        ended
    });
    // The key is of no use to anybody now; a store in memory goes anyway.
    let _ = keys.revoke(&key.id).await;
    simulator.shutdown().await;
    fleet::served(served)?;
    Ok(Exit::Ok)
}

/// Refuses a store that holds anything but demos: their grants would be replaced, and all others
/// refreshed with the simulator's client app.
async fn only_demos(app: &App) -> Result<(), Failure> {
    let query = ListQuery {
        limit: 1000,
        ..ListQuery::default()
    };
    let doing = "looking at what the store holds";
    let all = app
        .list(&query)
        .await
        .map_err(|e| service_failure(doing, &e))?;
    let demo = |view: &StatusView| {
        let ours = view
            .instance_url
            .as_ref()
            .is_none_or(|url| url.starts_with("http://127.0.0.1:"));
        TENANTS.contains(&view.tenant.as_str()) && ours
    };
    if all.next.is_none() && all.integrations.iter().all(demo) {
        return Ok(());
    }
    let why = "this Redis holds integrations that are not dev's own";
    Err(Failure::usage("starting dev", why)
        .help("name an empty database, such as redis://127.0.0.1/9, or leave --redis-url away"))
}

fn in_memory() -> (Arc<dyn Store>, String, String) {
    let store = Arc::new(MemoryStore::new());
    let salt = FingerprintKey::random().to_hex();
    (store, salt, "memory".to_owned())
}

async fn simulate(redirect_uri: &str) -> Result<Simulator, Failure> {
    let demo = app_of_the_simulator();
    let secret = demo.client_secret.unwrap_or_default();
    let options = SimulatorOptions {
        access_token_life: LIFE,
        clients: vec![simulator::ClientApp::web(
            &demo.client_id,
            secret.expose_secret(),
            redirect_uri,
        )],
        ..SimulatorOptions::default()
    };
    Simulator::start(options)
        .await
        .map_err(|e| Failure::of(Exit::Failed, "starting the simulated NinjaOne", &e))
}

/// The demo app, whose secret is none.
fn app_of_the_simulator() -> ClientApp {
    let demo = simulator::ClientApp::demo();
    ClientApp {
        client_id: demo.client_id,
        client_secret: demo.client_secret,
    }
}

fn seed(simulator: &Simulator) -> Result<Vec<SeededGrant>, Failure> {
    let row = |tenant: &str| SeedRow {
        tenant: tenant.to_owned(),
        integration: Some(INTEGRATION.to_owned()),
        ..SeedRow::default()
    };
    let request = SeedRequest {
        list: TENANTS.map(row).into(),
        ..SeedRequest::default()
    };
    simulator
        .handle()
        .seed(request)
        .map_err(|e| Failure::of(Exit::Failed, "making the demo tenants", &e))
}

async fn adopt(app: &App, seeded: SeededGrant) -> Result<(), Failure> {
    let doing = "connecting the demo tenants";
    let integration = IntegrationId::new(&seeded.tenant, &seeded.integration)
        .map_err(|e| Failure::of(Exit::Failed, doing, &e))?;
    let expires_at = chrono::DateTime::parse_from_rfc3339(&seeded.expires_at)
        .ok()
        .and_then(|at| u64::try_from(at.timestamp_millis()).ok());
    let offer = Offer {
        grant: integration.grant(GrantKind::User),
        access_token: Some(SecretString::from(seeded.access_token)),
        refresh_token: seeded.refresh_token.map(SecretString::from),
        expires_at,
        instance_url: Some(seeded.instance_url),
        client_id: None,
        client_secret: None,
        scopes: Some(seeded.scope),
        legacy_token_path: false,
    };
    let how = AdoptOptions {
        replace: true,
        dry_run: false,
    };
    match app.adopt(offer, how).await {
        Ok(Adopted::Refused { field, reason }) => Err(Failure::new(
            Exit::Failed,
            doing,
            format!("{field}: {reason}"),
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(service_failure(doing, &error)),
    }
}

/// What a visitor needs.
fn welcome(
    app: &App,
    simulator: &Simulator,
    key: &NewKey,
    place: &str,
    ui: &mut Ui,
) -> Result<(), Failure> {
    let url = app.public_url();
    let ninja = simulator.url();
    let secret = key.key.expose_secret();
    let text = if ui.json {
        let told = json!({
            "url": url,
            "api_key": secret,
            "dashboard": format!("{url}/#key={secret}"),
            "simulator": ninja,
            "store": place,
        });
        format!("{told}\n")
    } else {
        let first = TENANTS[0];
        let kept = match place {
            "memory" => "Nothing is kept when it ends.".to_owned(),
            redis => format!("It is kept in {redis}."),
        };
        format!(
            "Evergreen is running, with a simulated NinjaOne at {ninja} and {} tenants whose \
             tokens live {} s. {kept}\n\n  \
             Dashboard: {url}/#key={secret}\n\n\
             In another terminal:\n\n  \
             export EVERGREEN_URL={url}\n  \
             export EVERGREEN_API_KEY={secret}\n\n\
             {}\n\
             Ctrl-C ends it.\n",
            TENANTS.len(),
            LIFE.as_secs(),
            worth_trying(&program(), first),
        )
    };
    ui.hand_over(&SecretString::from(text))
}

/// Three commands, and what each shows.
fn worth_trying(program: &str, tenant: &str) -> String {
    let commands = [
        ("list".to_owned(), "what there is"),
        ("events --follow".to_owned(), "refreshes as they happen"),
        (
            format!("token {tenant}/{INTEGRATION}"),
            "a valid access token",
        ),
    ];
    let line = |(command, what): &(String, &str)| format!("  {program} {command:<20} {what}\n");
    commands.iter().map(line).collect()
}

/// How a visitor calls this program: by its name if that is what the shell would find, else by where
/// it lies, seen from here.
fn program() -> String {
    let name = "evergreen";
    let Ok(this) = std::env::current_exe().and_then(std::fs::canonicalize) else {
        return name.to_owned();
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file());
    if found
        .and_then(|found| std::fs::canonicalize(found).ok())
        .as_ref()
        == Some(&this)
    {
        return name.to_owned();
    }
    let here = std::env::current_dir().and_then(std::fs::canonicalize);
    let near = here
        .ok()
        .and_then(|here| this.strip_prefix(here).ok().map(ToOwned::to_owned));
    near.unwrap_or(this).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::ui::Kept;
    use super::*;
    use crate::api::KeyStore;
    use crate::config::{self, Sources};

    #[tokio::test]
    async fn three_tenants_are_scheduled_and_the_visitor_is_told_how_to_look() {
        let mut config = config::load(&Sources::default(), Role::Dev).unwrap();
        config.hosts = config.hosts.with_loopback();
        config.client = Some(app_of_the_simulator());
        let address = "127.0.0.1:8080".parse().unwrap();
        let simulator = simulate(&config.redirect_uri(address)).await.unwrap();
        let (store, salt, place) = in_memory();
        let keys = KeyStore::new(Arc::clone(&store));
        let app = fleet::app(config, address, store, salt).unwrap();
        for grant in seed(&simulator).unwrap() {
            adopt(&app, grant).await.unwrap();
        }
        let all = ListQuery {
            state: Some("Scheduled".to_owned()),
            attention: false,
            tenants: None,
            cursor: None,
            limit: 100,
        };
        assert_eq!(app.list(&all).await.unwrap().integrations.len(), 3);

        let key = keys.create("dev", &[Scope::Admin], None).await.unwrap();
        let (out, json_out) = (Kept::default(), Kept::default());
        let mut ui = Ui::for_test(false, out.clone(), Kept::default());
        welcome(&app, &simulator, &key, &place, &mut ui).unwrap();
        let text = out.text();
        let secret = key.key.expose_secret();
        for line in [
            format!("  Dashboard: http://127.0.0.1:8080/#key={secret}"),
            "  export EVERGREEN_URL=http://127.0.0.1:8080".to_owned(),
            format!("  export EVERGREEN_API_KEY={secret}"),
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        for what in [
            "what there is",
            "refreshes as they happen",
            "a valid access token",
        ] {
            assert!(text.contains(what), "{what}\n{text}");
        }
        // Not installed under its name, so the visitor is told where it lies.
        assert!(text.contains(&format!("{} list", program())) && program() != "evergreen");
        let mut ui = Ui::for_test(true, json_out.clone(), Kept::default());
        welcome(&app, &simulator, &key, &place, &mut ui).unwrap();
        assert_eq!(json_out.json()["api_key"], secret);
        simulator.shutdown().await;
    }
}
