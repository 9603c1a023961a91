//! Which host is asked, under which path: however its address is written, and never another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use evergreen_tests::Bench;
use evergreen_tests::bench::{adopt, offer};
use evergreen_tests::site::Site;
use ninjaone::provider::HostPolicy;
use ninjaone::service::{AdoptOptions, Adopted, App, Offer};
use ninjaone::simulator::{Handle, Paths, SeededGrant, SimulatorOptions};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::*;

async fn take(app: &App, offer: Offer) -> Adopted {
    app.adopt(offer, AdoptOptions::default()).await.unwrap()
}

/// Status and path of every token request that this host has heard, in order.
fn heard(handle: &Handle) -> Vec<(u16, String)> {
    let entries = handle.entries(0, 100).entries.into_iter();
    entries
        .map(|entry| (entry.status.unwrap(), entry.path.into_owned()))
        .collect()
}

fn knows_only(ws: bool) -> SimulatorOptions {
    SimulatorOptions {
        paths: Paths { ws, plain: !ws },
        ..life(3600)
    }
}

#[tokio::test]
async fn s18_however_the_instance_is_written_there_is_one_token_url_and_one_api_base() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let app = bench.app("worker-1");
    let url = bench.simulator.handle().url();
    let spellings = [
        url.clone(),
        format!("{url}/"),
        format!("{url}/api"),
        format!("{url}/api/"),
        format!("{url}/api/v2"),
        format!("{url}/api/v2/"),
        format!("{url}/ws"),
        format!("{url}/WS/"),
        url.to_uppercase(),
        format!(" {url}/Api/V2\n"),
    ];
    for (grant, spelling) in bench.seed(spellings.len()).iter().zip(&spellings) {
        let written = Offer {
            instance_url: Some(spelling.clone()),
            ..offer(grant)
        };
        assert_eq!(take(&app, written).await, Adopted::Adopted, "{spelling:?}");
        let status = app.refresh(&target(grant)).await.unwrap();
        assert_eq!(status.generation, 1, "{spelling:?}");
        assert_eq!(status.instance_url.as_deref(), Some(url.as_str()));
        let token = app.token(&target(grant), &Default::default()).await;
        let token = token.unwrap();
        assert_eq!(token.instance_url, url);
        // The API's base is that address with nothing between it and /v2.
        let client = ninjaone::client::Client::new(app.clone(), target(grant)).unwrap();
        client.all_organizations().await.unwrap();
    }
    let right = (200, "/ws/oauth/token".to_owned());
    assert_eq!(
        heard(bench.simulator.handle()),
        vec![right; spellings.len()]
    );

    // Without a scheme it is https. Of a region nothing is asked here, since nothing is due.
    let regions = bench.seed(16).split_off(spellings.len());
    let written = [
        "eu.ninjarmm.com",
        "EU.NINJARMM.COM/ws",
        "Eu.NinjaRmm.com./api/v2",
    ];
    for (grant, spelling) in regions.iter().zip(written) {
        let written = Offer {
            instance_url: Some(spelling.to_owned()),
            ..offer(grant)
        };
        assert_eq!(take(&app, written).await, Adopted::Adopted, "{spelling}");
        let status = app.status(&target(grant)).await.unwrap();
        let stored = status.instance_url.as_deref();
        assert_eq!(stored, Some("https://eu.ninjarmm.com"), "{spelling}");
    }
}

#[tokio::test]
async fn s18_the_other_path_is_found_in_the_first_attempt_and_remembered_of_that_host_alone() {
    let bench = Bench::with_a_clock(knows_only(false)).await;
    let elsewhere = Bench::with_a_clock(knows_only(true)).await;
    let app = bench.app("worker-1");
    let grant = bench.seed(1).remove(0);
    let mut other = elsewhere.seed(1).remove(0);
    other.tenant = "elsewhere".to_owned();
    for grant in [&grant, &other] {
        adopt(&app, grant).await;
    }
    let (plain, ws) = ("/oauth/token".to_owned(), "/ws/oauth/token".to_owned());
    let refresh = async |app: &App, grant: &SeededGrant, generation: u64| {
        let status = app.refresh(&target(grant)).await.unwrap();
        assert_eq!(
            (status.generation, status.consecutive_failures),
            (generation, 0)
        );
    };
    refresh(&app, &grant, 1).await;
    let here = bench.simulator.handle();
    let there = elsewhere.simulator.handle();
    let found = vec![(404, ws.clone()), (200, plain.clone())];
    assert_eq!(heard(here), found, "within one attempt");
    assert!(heard(there).is_empty(), "no other host hears of it");
    refresh(&app, &grant, 2).await;
    // By a process that has asked this host nothing yet, too.
    let fresh = bench.app("worker-2");
    refresh(&fresh, &grant, 3).await;
    let remembered = [found, vec![(200, plain.clone()); 2]].concat();
    assert_eq!(heard(here), remembered);
    refresh(&app, &other, 1).await;
    assert_eq!(
        heard(there),
        [(200, ws.clone())],
        "another host, another path"
    );

    // What Alga leaves behind begins with its own path; a host that lacks it is found as well.
    let elsewhere = Bench::with_a_clock(knows_only(true)).await;
    let grant = elsewhere.seed(1).remove(0);
    let legacy = Offer {
        legacy_token_path: true,
        ..offer(&grant)
    };
    let app = elsewhere.app("worker-1");
    take(&app, legacy).await;
    refresh(&app, &grant, 1).await;
    refresh(&app, &grant, 2).await;
    let found = [(404, plain), (200, ws.clone()), (200, ws)];
    assert_eq!(heard(elsewhere.simulator.handle()), found);
}

/// Addresses that lead elsewhere, or might. `PORT` is that of a server which counts who comes.
const REFUSED: [&str; 24] = [
    "http://app.ninjarmm.com",
    "http://eu.ninjarmm.com/api",
    "https://user:pass@app.ninjarmm.com",
    "https://app.ninjarmm.com@127.0.0.1:PORT",
    "https://127.0.0.1:PORT",
    "http://127.0.0.1:PORT",
    "http://localhost:PORT",
    "http://LOCALHOST.:PORT/ws",
    "https://[::1]:PORT",
    "https://[::ffff:127.0.0.1]:PORT",
    "https://2130706433:PORT",
    "https://0x7f000001:PORT",
    "https://0177.0.0.1:PORT",
    "https://127.1:PORT",
    "https://169.254.169.254",
    "https://10.0.0.1",
    "https://app.ninjarmm.com.evil.example",
    "https://evilapp.ninjarmm.com",
    "https://xn--pp-6kc.ninjarmm.com",
    "https://app.ninjarmm.com:8443",
    "https://app.ninjarmm.com:PORT",
    "https://app.ninjarmm.com/ws/oauth/token",
    "https://app.ninjarmm.com/?next=http://127.0.0.1:PORT",
    "ftp://app.ninjarmm.com",
];

#[tokio::test(flavor = "multi_thread")]
async fn s51_an_address_that_leads_elsewhere_is_refused_by_name_and_nobody_is_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let came = Arc::new(AtomicUsize::new(0));
    let counting = tokio::spawn({
        let came = Arc::clone(&came);
        async move {
            while listener.accept().await.is_ok() {
                came.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let site = Site::start("a-secret-of-the-app").await;
    let key = site.key(&["admin", "token"]).await;
    let http = reqwest::Client::new();
    let path = format!("{}/v1/integrations/acme/prod", site.url);
    for address in REFUSED.map(|address| address.replace("PORT", &port)) {
        let tokens = json!({"access_token": "CANARY-a", "refresh_token": "CANARY-r",
            "expires_at": "2020-01-01T00:00:00Z", "instance_url": address});
        let answer = http.put(&path).bearer_auth(&key).json(&tokens).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 409, "{address}");
        let told: Value = answer.json().await.unwrap();
        assert_eq!(told["field"], "instance_url", "{address}: {told}");
        let app = json!({"client_id": "x", "client_secret": "CANARY-s", "instance_url": address});
        let minting = format!("{path}?grant=client");
        let answer = http.put(minting).bearer_auth(&key).json(&app).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 422, "{address}");
        let told: Value = answer.json().await.unwrap();
        assert_eq!(told["field"], "instance_url", "{address}: {told}");
        let consent = http.post(format!("{path}/connect")).bearer_auth(&key);
        let consent = consent.json(&json!({"instance_url": address})).send().await;
        let told: Value = consent.unwrap().json().await.unwrap();
        assert_eq!(told["field"], "instance_url", "{address}: {told}");
        assert!(!told.to_string().contains("CANARY"));
    }
    let connect = ["connect", "acme/prod", "--instance-url"];
    let arguments = [&connect[..], &["https://app.ninjarmm.com.evil.example"]].concat();
    let said = site.run(site.from_afar(&key, &arguments)).await;
    let said = said.expect_code(2);
    assert!(said.stderr.contains("instance_url"), "{}", said.stderr);
    let status = site.from_afar(&key, &["status", "acme/prod"]);
    site.run(status).await.expect_code(3);
    assert_eq!(came.load(Ordering::SeqCst), 0, "no connection");
    counting.abort();
}

#[tokio::test]
async fn s51_the_operators_list_allows_white_labels_and_loopback_may_be_plain() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let listed = format!("acme.rmmservice.eu, {}", bench.simulator.addr());
    let mut options = bench.options("worker-1");
    options.hosts = HostPolicy::new().with_operator_list(&listed).unwrap();
    let app = bench.app_from(options);
    let grants = bench.seed(5);
    let from = |n: usize, address: &str| Offer {
        instance_url: Some(address.to_owned()),
        ..offer(&grants[n])
    };
    let white = take(&app, from(0, "https://acme.rmmservice.eu/api")).await;
    assert_eq!(white, Adopted::Adopted);
    let plain = take(&app, from(1, &bench.simulator.handle().url())).await;
    assert_eq!(plain, Adopted::Adopted);
    assert_eq!(
        app.refresh(&target(&grants[1])).await.unwrap().generation,
        1
    );
    for (n, address) in [
        (2, "http://acme.rmmservice.eu"),
        (3, "http://127.0.0.1:1"),
        (4, "https://other.rmmservice.eu"),
    ] {
        let refused = take(&app, from(n, address)).await;
        let Adopted::Refused { field, reason } = refused else {
            panic!("{address}: {refused:?}");
        };
        assert_eq!(field, "instance_url");
        assert!(
            reason.contains("acme.rmmservice.eu"),
            "what is allowed: {reason}"
        );
    }
    // The list may have become shorter since it was stored: then nothing is sent there any more.
    let mut options = bench.options("worker-2");
    options.hosts = HostPolicy::new();
    let strict = bench.app_from(options);
    let status = strict.refresh(&target(&grants[1])).await.unwrap();
    assert_eq!(status.attention.as_deref(), Some("wrong_endpoint"));
    assert_eq!(bench.simulator.handle().totals().requests, 1);
    let token = app.token(&target(&grants[1]), &Default::default()).await;
    let token = token.unwrap().access_token;
    assert_ne!(token.expose_secret(), grants[1].access_token);
}
