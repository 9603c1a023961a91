//! Seeded secrets, and everything that a real deployment says and keeps: no log, event, state, page,
//! error or argument of a process shows one. The only place for an access token is the standard output
//! of `evergreen token` and the environment of the child of `evergreen exec`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use evergreen_tests::{Canaries, Signal, Site, eventually};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// Two grants: one is refreshed and then disconnected, the provider repeats the other's secrets.
async fn seeded(site: &Site, canaries: &mut Canaries, client_secret: &str) -> Vec<Value> {
    let list = json!([{"tenant": "acme", "integration": "prod"},
        {"tenant": "acme", "integration": "echo"}]);
    let ask = json!({"client_id": "site", "list": list});
    let told = site.simulated("seed", &ask).await;
    let mut grants = told["grants"].as_array().unwrap().clone();
    for grant in &mut grants {
        for name in ["access_token", "refresh_token"] {
            let token = grant[name].as_str().unwrap();
            canaries.watch(name, token);
            // A half counts, too; of a refresh token the first half names the grant.
            canaries.watch(name, &token[token.len() - 30..]);
        }
        assert_eq!(grant["client_secret"], client_secret);
    }
    grants
}

/// What `evergreen import --format jsonl` takes of a grant.
fn line(grant: &Value) -> String {
    let names = [
        "tenant",
        "integration",
        "grant",
        "access_token",
        "refresh_token",
        "expires_at",
        "instance_url",
        "client_id",
        "client_secret",
    ];
    let members = names.map(|name| (name.to_owned(), grant[name].clone()));
    Value::Object(members.into_iter().collect()).to_string()
}

/// The provider repeats what it was sent, in every place and spelling, and is asked each time.
async fn echoes(site: &Site, canaries: &Canaries, key: &str, chain: &str) {
    let mut echoed = 0;
    for place in ["both", "location"] {
        for encoding in ["raw", "form", "percent", "base64", "half"] {
            let echo = json!({"kind": "echo", "place": place, "encoding": encoding,
                "status": if place == "location" { 302 } else { 400 }});
            let fault = json!({"match": {"chain": chain}, "action": echo});
            site.simulated("faults", &fault).await;
            let ask = site.from_afar(key, &["refresh", "acme/echo", "--json"]);
            let said = site.run(ask).await;
            canaries.assert_absent("refresh", format!("{}{}", said.stdout, said.stderr));
            echoed += 1;
            assert_eq!(said.json()["consecutive_failures"], echoed);
        }
    }
}

/// Arguments of a process as the system shows them to everybody, and its environment.
fn shown(id: u32) -> (Vec<u8>, Vec<u8>) {
    let read = |what: &str| fs::read(format!("/proc/{id}/{what}")).unwrap_or_default();
    (read("cmdline"), read("environ"))
}

fn bytes_below(directory: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        all.extend_from_slice(entry.file_name().as_encoded_bytes());
        match path.is_dir() {
            true => all.extend(bytes_below(&path)),
            false => all.extend(fs::read(&path).unwrap()),
        }
    }
    all
}

/// A child that has the token, and Evergreen which waits for it.
async fn exec(site: &Site, canaries: &Canaries, key: &str) {
    let ready = site.file("child");
    let script = "echo $$ > \"$0.new\"; mv \"$0.new\" \"$0\"; read -r line < \"$0.end\"";
    let end = site.file("child.end");
    let made = std::process::Command::new("mkfifo").arg(&end).status();
    assert!(made.unwrap().success());
    let ready_text = ready.to_str().unwrap();
    let arguments = ["exec", "acme/prod", "--", "sh", "-c", script, ready_text];
    let running = site.from_afar(key, &arguments).spawn();
    let child = eventually("the child runs", SOON, async || {
        fs::read_to_string(&ready).ok()?.trim().parse::<u32>().ok()
    })
    .await;
    // Linux shows both; elsewhere there is nothing to look at.
    if cfg!(target_os = "linux") {
        let (arguments, environment) = shown(child);
        assert!(!arguments.is_empty());
        canaries.assert_absent("the arguments of the child", arguments);
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(environment.contains("NINJARMM_USER_ACCESS_TOKEN="));
        assert!(!environment.contains("EVERGREEN_") && !environment.contains(key));
        for id in [running.id(), site.server.id()] {
            let (arguments, environment) = shown(id);
            canaries.assert_absent("arguments of Evergreen", arguments);
            let environment = String::from_utf8_lossy(&environment).into_owned();
            assert!(!environment.contains("NINJARMM_USER_ACCESS_TOKEN="));
        }
        // The API key is there, because that is how it is told.
        let own = String::from_utf8_lossy(&shown(running.id()).1).replace(key, "");
        canaries.assert_absent("the environment of exec", own);
    }
    fs::write(&end, "end\n").unwrap();
    let said = running.finished(SOON).await.expect_code(0);
    canaries.assert_absent("exec", format!("{}{}", said.stdout, said.stderr));
}

#[tokio::test]
async fn s65_secrets_are_seen_nowhere_but_where_they_were_asked_for() {
    let mut canaries = Canaries::new();
    let client_secret = canaries.plant("client secret");
    let site = Site::start(&client_secret).await;
    canaries.watch("seal key", site.seal_keys.split_once(':').unwrap().1);
    let key = site.key(&["admin", "token"]).await;
    canaries.watch("API key", &key);
    let grants = seeded(&site, &mut canaries, &client_secret).await;

    let file = site.file("grants.jsonl");
    // A bad row is told of without being repeated.
    let bad = line(&grants[0]).replace("\"acme\"", "\"not a tenant!\"");
    let lines = grants.iter().map(line).chain([bad]);
    fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let arguments = ["import", "--format", "jsonl", file.to_str().unwrap()];
    let said = site.run(site.from_afar("", &arguments)).await;
    let mut output = said.expect_code(2).stderr;
    let said = site.run(site.from_afar(&key, &arguments)).await;
    let said = said.expect_code(4);
    output += &format!("{}{}", said.stdout, said.stderr);

    let chain = grants[1]["chain"].as_str().unwrap();
    echoes(&site, &canaries, &key, chain).await;
    exec(&site, &canaries, &key).await;

    for arguments in [
        &["refresh", "acme/prod"][..],
        &["list"],
        &["list", "--json"],
        &["status", "acme/prod"],
        &["status", "acme/echo", "--json"],
        &["history", "acme/prod"],
        &["history", "acme/echo", "--json"],
        &["apikeys", "list"],
        &["status", "acme/nobody"],
    ] {
        let said = site.run(site.from_afar(&key, arguments)).await;
        output += &format!("{}{}", said.stdout, said.stderr);
    }
    let said = site.run(site.from_afar(&key, &["token", "acme/prod"]));
    let said = said.await.expect_code(0);
    let token = said.stdout.trim();
    assert_ne!(token, grants[0]["access_token"].as_str().unwrap());
    canaries.watch("new access token", token);
    output += &said.stderr;
    let mut pages = String::new();
    for (path, with) in [
        ("/", ""),
        ("/integrations/acme/prod", ""),
        ("/metrics", ""),
        ("/openapi.json", ""),
        ("/healthz", ""),
        ("/readyz", ""),
        ("/v1/integrations", key.as_str()),
        ("/v1/integrations/acme/echo", &key),
        ("/v1/integrations/acme/echo/history", &key),
        ("/v1/apikeys", &key),
        ("/v1/integrations", "eg_wrong"),
        ("/v1/integrations/acme/nobody/token", &key),
        ("/v1/integrations/acme/prod/token?min_validity=x", &key),
        ("/oauth/callback?state=x&code=y", ""),
    ] {
        let (status, page) = site.page(path, with).await;
        assert!(status < 500, "{path}: {status}");
        pages += &page;
    }
    let before = site.redis.dump().await;
    let said = site.run(site.from_afar(&key, &["disconnect", "acme/prod"]));
    let said = said.await.expect_code(0);
    output += &format!("{}{}", said.stdout, said.stderr);
    let after = site.redis.dump().await;

    let Site {
        server, simulator, ..
    } = &site;
    canaries.assert_absent("the commands' output", &output);
    canaries.assert_absent("pages and problems", &pages);
    canaries.assert_absent("Redis", &before);
    canaries.assert_absent("Redis after the disconnect", &after);
    canaries.assert_absent("the journal", bytes_below(&site.journal()));
    canaries.assert_absent("the server's log", server.output());
    canaries.assert_absent("the simulator's output", simulator.output());
    // What was looked through is what it should be.
    assert!(server.output().contains("\"level\":\"TRACE\""), "the trace");
    assert!(output.contains("acme/echo"), "{output}");
    assert!(String::from_utf8_lossy(&before).contains("INTEGRATION_TOKEN_REFRESHED"));
}

/// A process that falls leaves no copy of its memory behind, even where the system would like one.
#[tokio::test]
async fn s65_a_process_that_falls_leaves_no_core_file() {
    use std::os::unix::process::ExitStatusExt;
    let mut site = Site::start("a-secret-of-the-app").await;
    let pid = Pid::from_raw(site.server.id().cast_signed());
    // As much as whoever started it permits.
    let allowed = getrlimit(Resource::Core).maximum;
    let limit = |current| Rlimit {
        current,
        maximum: allowed,
    };
    prlimit(pid, Resource::Core, limit(allowed)).unwrap();
    let home = site.server.home().to_owned();
    site.server.signal(Signal::ABORT);
    let status = eventually("its fall", SOON, async || site.server.exit()).await;
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    assert!(!status.core_dumped(), "{status}");
    let cores = fs::read_dir(&home).unwrap().flatten();
    let cores = cores.filter(|file| file.file_name().to_string_lossy().starts_with("core"));
    assert_eq!(cores.count(), 0);
}
