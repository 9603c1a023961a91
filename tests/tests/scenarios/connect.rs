//! Connecting, reconnecting and ending.

use std::time::Duration;

use evergreen_tests::Bench;
use evergreen_tests::bench::{adopt, offer};
use ninjaone::integration::{IntegrationId, Target};
use ninjaone::provider::InstanceUrl;
use ninjaone::service::{
    AdoptOptions, App, Callback, ClientConnect, Connected, ConsentAsk, ConsentError, ServiceError,
    TokenAsk,
};
use ninjaone::simulator::{Action, ClientChange, Fault, SimulatorOptions, When};
use secrecy::ExposeSecret;
use url::Url;

use crate::support::*;

const BROWSER: &str = "what its cookie says";

/// A provider where everybody agrees to everything.
fn agreeable() -> SimulatorOptions {
    SimulatorOptions {
        auto_approve: true,
        ..life(3600)
    }
}

fn acme() -> IntegrationId {
    "acme/prod".parse().unwrap()
}

fn target() -> Target {
    "acme/prod".parse().unwrap()
}

fn instance(bench: &Bench, app: &App) -> InstanceUrl {
    InstanceUrl::parse(&bench.simulator.handle().url(), app.host_policy()).unwrap()
}

/// Begins a consent; where the browser goes.
async fn begin(bench: &Bench, app: &App) -> Url {
    let ask = ConsentAsk {
        integration: acme(),
        instance_url: instance(bench, app),
        binding: BROWSER.to_owned(),
    };
    let start = app.begin_consent(ask).await.unwrap();
    start.authorize_url.parse().unwrap()
}

/// The person's browser goes there, agrees, and comes back with this.
async fn agree(to: &Url) -> Callback {
    let browser = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = browser.get(to.as_str()).send().await.unwrap();
    let back = answer.headers()["location"].to_str().unwrap();
    let back: Url = back.parse().unwrap();
    let member = |name: &str| {
        let mut pairs = back.query_pairs();
        let found = pairs.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    };
    Callback {
        state: member("state"),
        code: member("code").map(Into::into),
        error: member("error"),
        error_description: member("error_description"),
        iss: None,
    }
}

async fn connect(bench: &Bench, app: &App) -> Result<Connected, ConsentError> {
    let callback = agree(&begin(bench, app).await).await;
    app.finish_consent(callback, Some(BROWSER)).await
}

#[tokio::test]
async fn s48_a_consent_leads_to_a_grant_that_is_scheduled() {
    let bench = Bench::with_a_clock(agreeable()).await;
    let app = bench.app("api-1");
    let (first, second) = (begin(&bench, &app).await, begin(&bench, &app).await);
    let member = |url: &Url, name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    assert_eq!(member(&first, "code_challenge_method"), "S256");
    for fresh in ["state", "code_challenge"] {
        assert_ne!(member(&first, fresh), member(&second, fresh), "{fresh}");
        assert!(member(&first, fresh).len() >= 43);
    }
    assert!(!first.as_str().contains("secret"));
    let connected = app
        .finish_consent(agree(&first).await, Some(BROWSER))
        .await
        .unwrap();
    // The simulator compares redirect URI and verifier itself.
    assert_eq!(connected.status.state, "Scheduled");
    assert_eq!(
        names(&events(&app).await),
        ["CONNECTED", "REFRESH_SCHEDULED"]
    );
    app.token(&target(), &TokenAsk::default()).await.unwrap();
    bench.pass(&app, HOUR).await;
    assert_eq!(app.status(&target()).await.unwrap().generation, 1);
    assert_eq!(bench.simulator.handle().totals().requests, 2);
}

#[tokio::test]
async fn s49_a_callback_that_is_not_ours_exchanges_nothing() {
    let bench = Bench::with_a_clock(agreeable()).await;
    let app = bench.app("api-1");
    connect(&bench, &app).await.unwrap();
    let before = app.status(&target()).await.unwrap();
    let requests = bench.simulator.handle().totals().requests;
    let good = agree(&begin(&bench, &app).await).await;
    let none = Callback {
        state: None,
        ..good.clone()
    };
    let wrong = Callback {
        state: Some("c".repeat(43)),
        ..good.clone()
    };
    for callback in [none, wrong, Callback::default()] {
        let refused = app.finish_consent(callback, Some(BROWSER)).await;
        assert!(matches!(refused, Err(ConsentError::NotOurs)));
    }
    for browser in [Some("another"), Some(""), None] {
        let callback = agree(&begin(&bench, &app).await).await;
        let refused = app.finish_consent(callback, browser).await;
        assert!(matches!(refused, Err(ConsentError::NotOurs)), "{browser:?}");
    }
    let old = agree(&begin(&bench, &app).await).await;
    bench.clock.as_ref().unwrap().advance(MINUTE * 10);
    let refused = app.finish_consent(old, Some(BROWSER)).await;
    assert!(matches!(refused, Err(ConsentError::NotOurs)), "ten minutes");
    let mixed_up = Callback {
        iss: Some("https://eu.ninjarmm.com".to_owned()),
        ..agree(&begin(&bench, &app).await).await
    };
    let refused = app.finish_consent(mixed_up, Some(BROWSER)).await;
    assert!(matches!(refused, Err(ConsentError::NotOurs)), "mix-up");
    assert_eq!(bench.simulator.handle().totals().requests, requests);
    assert_eq!(app.status(&target()).await.unwrap(), before);
}

#[tokio::test]
async fn s49_the_second_callback_does_nothing() {
    let bench = Bench::with_a_clock(agreeable()).await;
    let app = bench.app("api-1");
    let callback = agree(&begin(&bench, &app).await).await;
    app.finish_consent(callback.clone(), Some(BROWSER))
        .await
        .unwrap();
    let again = app.finish_consent(callback, Some(BROWSER)).await;
    assert!(matches!(again, Err(ConsentError::NotOurs)));
    assert_eq!(bench.simulator.handle().totals().requests, 1);
    assert_eq!(app.status(&target()).await.unwrap().epoch, 1);
}

#[tokio::test]
async fn s49_what_the_provider_refuses_is_said_in_plain_words() {
    let bench = Bench::with_a_clock(agreeable()).await;
    let app = bench.app("api-1");
    let uri = Some("Invalid redirect_uri".to_owned());
    for (error, description, words) in [
        ("access_denied", None, "refused on NinjaOne's page"),
        (
            "unauthorized_client",
            uri,
            "http://127.0.0.1:8080/oauth/callback",
        ),
        ("<script>server_error", None, "scriptserver_error"),
    ] {
        let back = agree(&begin(&bench, &app).await).await;
        let callback = Callback {
            code: None,
            error: Some(error.to_owned()),
            error_description: description,
            ..back
        };
        let refused = app.finish_consent(callback, Some(BROWSER)).await;
        let page = refused.unwrap_err().to_string();
        assert!(page.contains(words), "{page}");
    }
    assert_eq!(bench.simulator.handle().totals().requests, 0);
    assert!(app.status(&target()).await.is_err());
}

#[tokio::test]
async fn s50_a_consent_without_a_refresh_token_serves_what_it_has_and_replaces_nothing_that_works()
{
    let bench = Bench::with_a_clock(agreeable()).await;
    let app = bench.app("api-1");
    let change = r#"{"client_id":"evergreen-demo","grants":["authorization_code"]}"#;
    let change: ClientChange = serde_json::from_str(change).unwrap();
    bench.simulator.handle().change_client(change).unwrap();
    let connected = connect(&bench, &app).await.unwrap();
    let attention = connected.status.attention.as_deref();
    assert_eq!(attention, Some("no_offline_access"));
    let token = app.token(&target(), &TokenAsk::default()).await.unwrap();
    assert_eq!(token.warning.as_deref(), Some("no_offline_access"));
    bench.pass(&app, HOUR).await;
    app.token(&target(), &TokenAsk::default())
        .await
        .unwrap_err();

    let all = r#"{"client_id":"evergreen-demo","grants":["authorization_code","refresh_token"]}"#;
    let change = |json: &str| serde_json::from_str::<ClientChange>(json).unwrap();
    let handle = bench.simulator.handle();
    handle.change_client(change(all)).unwrap();
    connect(&bench, &app).await.unwrap();
    let before = app.status(&target()).await.unwrap();
    assert_eq!((before.state.as_str(), before.epoch), ("Scheduled", 2));
    let none = r#"{"client_id":"evergreen-demo","grants":["authorization_code"]}"#;
    handle.change_client(change(none)).unwrap();
    let refused = connect(&bench, &app).await.unwrap_err();
    assert!(matches!(refused, ConsentError::NoRefreshToken));
    let page = refused.to_string();
    assert!(page.contains("Refresh Token") && page.contains("offline_access"));
    let after = app.status(&target()).await.unwrap();
    assert_eq!((after.epoch, after.generation), (2, before.generation));
    assert_eq!(after.next_refresh_at, before.next_refresh_at);
}

#[tokio::test]
async fn s52_a_client_grant_is_minted_and_minted_again() {
    let bench = Bench::with_a_clock(agreeable()).await;
    let app = bench.app("api-1");
    let ask = || ClientConnect {
        integration: acme(),
        instance_url: instance(&bench, &app),
        client_id: None,
        client_secret: None,
        scopes: Some("monitoring".to_owned()),
    };
    // A refresh token in the answer is not kept.
    let handle = bench.simulator.handle();
    let edit = serde_json::json!({"kind": "edit", "set": {"refresh_token": "\"surprise.1\""}});
    let action: Action = serde_json::from_value(edit).unwrap();
    handle.script(Fault::new(action)).unwrap();
    app.connect_client(ask()).await.unwrap();
    bench.settle(&app).await;
    let ask_all = TokenAsk {
        with_refresh_token: true,
        ..TokenAsk::default()
    };
    let first = app.token(&target(), &ask_all).await.unwrap();
    assert_eq!(first.grant.as_str(), "client");
    assert!(first.refresh_token.is_none());
    assert_eq!(handle.totals().requests, 1);
    bench.pass(&app, HOUR).await;
    let second = app.token(&target(), &ask_all).await.unwrap();
    let (one, two) = (&first.access_token, &second.access_token);
    assert_ne!(one.expose_secret(), two.expose_secret());
    let minted = handle.totals().by_grant_type;
    assert_eq!(minted.get("client_credentials"), Some(&2));

    let wrong = ClientConnect {
        client_id: Some("evergreen-demo".to_owned()),
        client_secret: Some("wrong".into()),
        integration: "acme/other".parse().unwrap(),
        ..ask()
    };
    let mut options = bench.options("api-2");
    options.client = None;
    let bare = bench.app_from(options);
    bare.connect_client(wrong).await.unwrap();
    bench.settle(&bare).await;
    let status = bare.status(&"acme/other".parse().unwrap()).await.unwrap();
    assert_eq!(status.attention.as_deref(), Some("client_rejected"));

    // Also where the fleet has the right secret: what was given is what is meant.
    let wrong = ClientConnect {
        client_id: Some("evergreen-demo".to_owned()),
        client_secret: Some("wrong".into()),
        integration: "acme/third".parse().unwrap(),
        ..ask()
    };
    app.connect_client(wrong).await.unwrap();
    bench.settle(&app).await;
    let status = app.status(&"acme/third".parse().unwrap()).await.unwrap();
    assert_eq!(status.attention.as_deref(), Some("client_rejected"));
}

#[tokio::test]
async fn s53_a_reconnect_forgets_the_old_grants_troubles() {
    let life = Life::on(Bench::with_a_clock(agreeable()).await).await;
    life.bench.simulator.handle().revoke(&life.grant.chain);
    life.pass_the_refresh().await;
    assert_eq!(life.status().await.state, "ReconnectRequired");
    let mut again = offer(&life.bench.seed(2)[1]);
    again.grant = life.target.integration.grant(again.grant.kind());
    life.app
        .adopt(again, AdoptOptions::default())
        .await
        .unwrap();
    let status = life.status().await;
    assert_eq!((status.epoch, status.generation), (2, 0));
    assert_eq!((status.reason, status.consecutive_failures), (None, 0));
    assert_eq!(status.provider, None);
    let told = life.told().await;
    assert_eq!(
        told[told.len() - 3..],
        ["CONNECTED", "RECOVERED", "REFRESH_SCHEDULED"]
    );
    life.pass_the_refresh().await;
    assert_eq!(life.status().await.generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s53_a_reconnect_wins_against_a_refresh_in_flight_however_that_ends() {
    for ends_well in [true, false] {
        let bench = Bench::in_memory(agreeable()).await;
        let app = bench.app("worker-1");
        let grants = bench.seed(2);
        adopt(&app, &grants[0]).await;
        let target = crate::support::target(&grants[0]);
        let handle = bench.simulator.handle();
        let when = if ends_well { When::After } else { When::Before };
        let hold = handle.script(Fault::new(Action::Hold { when })).unwrap();
        let old = tokio::spawn({
            let (app, target) = (app.clone(), target.clone());
            async move { app.refresh(&target).await }
        });
        handle.applied(hold, 1).await;
        if !ends_well {
            // What is held is refused once it goes on.
            handle.revoke(&grants[0].chain);
        }
        let mut new = offer(&grants[1]);
        new.grant = target.integration.grant(new.grant.kind());
        let replace = AdoptOptions {
            replace: true,
            ..AdoptOptions::default()
        };
        app.adopt(new, replace).await.unwrap();
        let before = app.status(&target).await.unwrap();
        assert_eq!((before.state.as_str(), before.epoch), ("Scheduled", 2));
        handle.release(hold);
        old.await.unwrap().unwrap();
        let after = app.status(&target).await.unwrap();
        assert_eq!((after.state.as_str(), after.epoch), ("Scheduled", 2));
        assert_eq!(after.generation, 0, "the old pair changes nothing");
        assert_eq!(after.next_refresh_at, before.next_refresh_at);
        let told = names(&events(&app).await);
        assert!(
            !told.iter().any(|name| name.ends_with("FAILED")),
            "{told:?}"
        );
        let token = app.token(&target, &TokenAsk::default()).await.unwrap();
        assert_eq!(token.access_token.expose_secret(), grants[1].access_token);
    }
}

#[tokio::test]
async fn s54_disconnecting_twice_is_once_and_what_is_unknown_is_told() {
    let life = Life::of(3600).await;
    for _ in 0..2 {
        let gone = life.app.disconnect(&life.target).await.unwrap();
        assert_eq!(gone[0].state, "Disconnected");
    }
    assert_eq!(life.count("DISCONNECTED").await, 1);
    let event = events(&life.app).await.pop().unwrap().1;
    assert_eq!(event["revokedAtProvider"], false);
    let reading = life.bench.store.read(&life.id(), true).await.unwrap();
    assert!(reading.unwrap().sealed.is_empty());
    let unknown = life.app.disconnect(&"no/where".parse().unwrap()).await;
    assert!(matches!(unknown, Err(ServiceError::NotFound { .. })));
    // At last it is forgotten.
    life.pass(Duration::from_secs(31 * 24 * 3600)).await;
    let gone = life.app.status(&life.target).await;
    assert!(matches!(gone, Err(ServiceError::NotFound { .. })));
    assert_eq!(life.requests(), 0);
}
