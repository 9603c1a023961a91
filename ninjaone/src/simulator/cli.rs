//! `evergreen simulator`: what can be said on the command line, and what is said back.

use std::io::Write as _;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::clients::{ClientApp, Platform};
use super::options::{Refused, Rotation, SimulatorOptions};
use super::seed::{SeedRequest, SeededGrant};
use super::server::{Error, Simulator};

/// Runs a strict stand-in for NinjaOne.
#[derive(Debug, Clone, clap::Args)]
pub struct SimulatorArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,
    /// How others reach it, where that is not the address it listens on.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Life of access tokens, such as 90s, 15m, 1h.
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = humantime::parse_duration)]
    pub lifetime: Duration,
    /// What happens to a refresh token when it is used.
    #[arg(long, value_enum, default_value_t = RotationFlag::Strict)]
    pub rotation: RotationFlag,
    /// With `--rotation grace`: for how long a replaced refresh token is still answered.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub grace_window: Duration,
    /// A client app: with a secret a web app, without one a native app. May be repeated; without
    /// it there is a demo app.
    #[arg(long = "client", value_name = "ID[:SECRET]")]
    pub clients: Vec<ClientFlag>,
    /// Where the apps may send users back to. May be repeated.
    #[arg(
        long = "redirect-uri",
        value_name = "URI",
        default_value = "http://127.0.0.1:8080/oauth/callback"
    )]
    pub redirect_uris: Vec<String>,
    /// Grants consent without asking.
    #[arg(long)]
    pub auto_approve: bool,
    /// Time between carrying out a token request and answering it.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub response_delay: Duration,
    /// Makes tokens and dice repeatable.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Starts with this many live grants, printed as lines for `evergreen import --format jsonl`.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub grants: usize,
    /// Prints one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// [`Rotation`] as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RotationFlag {
    /// A new refresh token at every use, the old one dead at once.
    Strict,
    /// The one just replaced is answered a while longer.
    Grace,
    /// The answer repeats the one that was sent.
    Never,
    /// The answer has none; the one that was sent stays good.
    Absent,
}

/// `ID[:SECRET]`
#[derive(Debug, Clone)]
pub struct ClientFlag {
    id: String,
    secret: Option<SecretString>,
}

impl FromStr for ClientFlag {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let (id, secret) = match text.split_once(':') {
            Some((id, secret)) => (id, Some(secret)),
            None => (text, None),
        };
        let flag = Self {
            id: id.to_owned(),
            secret: secret.map(SecretString::from),
        };
        flag.app(&[]).check()?;
        Ok(flag)
    }
}

impl ClientFlag {
    fn app(&self, redirect_uris: &[String]) -> ClientApp {
        let platform = if self.secret.is_some() {
            Platform::Web
        } else {
            Platform::Native
        };
        ClientApp {
            client_secret: self.secret.clone(),
            redirect_uris: redirect_uris.to_vec(),
            ..ClientApp::new(&self.id, platform)
        }
    }
}

impl SimulatorArgs {
    fn options(&self) -> SimulatorOptions {
        let rotation = match self.rotation {
            RotationFlag::Strict => Rotation::Strict,
            RotationFlag::Grace => Rotation::Grace {
                window: self.grace_window,
            },
            RotationFlag::Never => Rotation::Never,
            RotationFlag::Absent => Rotation::Absent,
        };
        let clients = if self.clients.is_empty() {
            vec![ClientApp {
                redirect_uris: self.redirect_uris.clone(),
                ..ClientApp::demo()
            }]
        } else {
            let app = |flag: &ClientFlag| flag.app(&self.redirect_uris);
            self.clients.iter().map(app).collect()
        };
        SimulatorOptions {
            listen: self.listen,
            public_url: self.public_url.clone(),
            access_token_life: self.lifetime,
            rotation,
            response_delay: self.response_delay,
            auto_approve: self.auto_approve,
            seed: self.seed,
            clients,
            ..SimulatorOptions::default()
        }
    }
}

/// Serves until the signal comes, after printing what one needs to know to use it.
///
/// # Errors
/// If an option is not allowed, the address cannot be had, or nothing can be printed.
pub async fn run(args: SimulatorArgs, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let options = args.options();
    let simulator = Simulator::start(options.clone()).await?;
    let grants = match args.grants {
        0 => Vec::new(),
        count => simulator.handle().seed(SeedRequest::count(count))?,
    };
    let text = if args.json {
        summary_json(&simulator, &options, &grants)
    } else {
        summary(&simulator, &options, &grants)
    };
    print(&text).map_err(Error::Output)?;
    simulator.run_until(shutdown).await;
    Ok(())
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The secret to show of an app: only the demo's, which is no secret. Others know their own.
fn shown_secret(app: &ClientApp) -> Option<&str> {
    let demo = app.client_id == ClientApp::demo().client_id;
    let secret = app.client_secret.as_ref().filter(|_| demo);
    secret.map(|secret| secret.expose_secret())
}

fn summary(simulator: &Simulator, options: &SimulatorOptions, grants: &[SeededGrant]) -> String {
    let url = simulator.url();
    let life = humantime::format_duration(options.access_token_life);
    let rotation = match options.rotation {
        Rotation::Strict => "strict: a refresh token works once".to_owned(),
        Rotation::Grace { window } => format!(
            "grace: a replaced refresh token is answered for {}",
            humantime::format_duration(window)
        ),
        Rotation::Never => "never: the refresh token stays".to_owned(),
        Rotation::Absent => "absent: answers carry no refresh token".to_owned(),
    };
    let mut lines = vec![
        format!("Simulating NinjaOne at {url} (not the real one; it forgets when it stops)"),
        format!("  authorize  {url}/ws/oauth/authorize"),
        format!("  token      {url}/ws/oauth/token"),
        format!("  API        {url}/v2/organizations, {url}/v2/devices"),
        format!("  ledger     {url}/simulator/ledger"),
        format!("  life       {life} per access token"),
        format!("  rotation   {rotation}"),
    ];
    for app in &options.clients {
        let secret = match (shown_secret(app), &app.client_secret) {
            (Some(secret), _) => format!("secret {secret}"),
            (None, Some(_)) => "secret as given".to_owned(),
            (None, None) => "no secret".to_owned(),
        };
        let uris = app.redirect_uris.join(" ");
        lines.push(format!("  client     {} ({secret}; {uris})", app.client_id));
    }
    if !simulator.addr().ip().is_loopback() {
        lines.push("  note       anybody who reaches this address can change it".to_owned());
    }
    lines.extend(grants.iter().map(SeededGrant::jsonl));
    lines.join("\n") + "\n"
}

fn summary_json(
    simulator: &Simulator,
    options: &SimulatorOptions,
    grants: &[SeededGrant],
) -> String {
    let url = simulator.url();
    let clients: Vec<_> = (options.clients.iter())
        .map(|app| {
            json!({
                "client_id": app.client_id,
                "client_secret": shown_secret(app),
                "platform": app.platform,
                "redirect_uris": app.redirect_uris,
            })
        })
        .collect();
    let summary = json!({
        "url": url,
        "authorize_url": format!("{url}/ws/oauth/authorize"),
        "token_url": format!("{url}/ws/oauth/token"),
        "admin_url": format!("{url}/simulator"),
        "access_token_life_s": options.access_token_life.as_secs(),
        "rotation": options.rotation,
        "clients": clients,
        "grants": grants,
    });
    format!("{summary}\n")
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn parse(words: &[&str]) -> Result<SimulatorArgs, clap::Error> {
        let command = SimulatorArgs::augment_args(clap::Command::new("simulator"));
        let matches = command.try_get_matches_from([&["simulator"], words].concat())?;
        SimulatorArgs::from_arg_matches(&matches)
    }

    #[test]
    fn without_flags_it_is_strict_and_has_the_demo_app() {
        let options = parse(&[]).unwrap().options();
        assert_eq!(options.listen.to_string(), "127.0.0.1:8090");
        assert_eq!(options.access_token_life, Duration::from_secs(120));
        assert_eq!(options.rotation, Rotation::Strict);
        assert_eq!(options.clients[0].client_id, "evergreen-demo");
        assert_eq!(options.check(), Ok(()));
    }

    #[test]
    fn a_client_with_a_secret_is_a_web_app_and_one_without_is_native() {
        let words = ["--client", "a:s:1", "--client", "b", "--rotation", "grace"];
        let options = parse(&words).unwrap().options();
        let window = Duration::from_secs(30);
        assert_eq!(options.rotation, Rotation::Grace { window });
        let [a, b] = &options.clients[..] else {
            panic!("two apps")
        };
        assert_eq!((a.platform, b.platform), (Platform::Web, Platform::Native));
        assert!(a.secret_matches(Some("s:1")));
        assert!(b.secret_matches(None));
    }

    #[test]
    fn a_bad_flag_is_refused_with_its_name() {
        for (words, flag) in [
            (["--lifetime", "soon"], "--lifetime"),
            (["--rotation", "often"], "--rotation"),
            (["--client", ":secret"], "--client"),
            (["--client", "id:"], "--client"),
            (["--listen", "here"], "--listen"),
        ] {
            let error = parse(&words).unwrap_err().to_string();
            assert!(error.contains(flag), "{error}");
        }
        let long = parse(&["--lifetime", "400d"]).unwrap().options();
        assert_eq!(long.check().unwrap_err().field, "access_token_life");
    }

    #[tokio::test]
    async fn it_runs_until_the_signal_and_says_why_it_cannot() {
        let args = parse(&["--listen", "127.0.0.1:0", "--json"]).unwrap();
        run(args.clone(), async {}).await.unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap();
        let refused = run(SimulatorArgs { listen, ..args }, async {}).await;
        let said = refused.unwrap_err().to_string();
        assert_eq!(said, format!("listening on {listen}"));
    }

    #[tokio::test]
    async fn it_says_what_one_needs_and_not_the_secrets_it_was_given() {
        let words = ["--listen", "0.0.0.0:0", "--client", "a:hush"];
        let args = parse(&words).unwrap();
        let options = args.options();
        let simulator = Simulator::start(options.clone()).await.unwrap();
        let grants = simulator.handle().seed(SeedRequest::count(2)).unwrap();
        let text = summary(&simulator, &options, &[]);
        assert!(text.contains(&simulator.url()) && !text.contains("hush"));
        assert!(simulator.url().starts_with("http://127.0.0.1:"));
        assert!(text.contains("anybody who reaches this address"));
        let json = summary_json(&simulator, &options, &grants);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["url"], simulator.url());
        assert_eq!(json["clients"][0]["client_secret"], serde_json::Value::Null);
        assert_eq!(json["grants"][1]["tenant"], "tenant-0002");
        simulator.shutdown().await;
    }
}
