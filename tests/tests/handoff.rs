//! Tokens for those who need one, as the commands hand them over (scenarios 59 and 60).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use evergreen_tests::eventually;
use evergreen_tests::site::Site;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

/// How long anything may take.
const SOON: Duration = Duration::from_secs(60);
/// What the kernel ends a process with that writes beyond its limit.
const SIGXFSZ: i32 = 25;

const SECRET: &str = "a-client-secret-for-this-test";

/// A server with one live integration, and a key that may read its token.
async fn site() -> (Site, String, String) {
    let site = Site::start(SECRET).await;
    let key = site.key(&["admin", "token"]).await;
    let token = import(
        &site,
        &key,
        &json!({"tenant": "acme", "integration": "prod"}),
    )
    .await;
    (site, key, token)
}

/// Makes a grant and imports it. Its access token.
async fn import(site: &Site, key: &str, row: &Value) -> String {
    let seeded = site.simulated("seed", &json!({"list": [row]})).await;
    let grant = &seeded["grants"][0];
    let path = site.file("grants.jsonl");
    fs::write(&path, format!("{grant}\n")).expect("a file");
    let path = path.to_str().expect("UTF-8").to_owned();
    let import = site.from_afar(key, &["import", "--format", "jsonl", &path, "--json"]);
    assert_eq!(site.run(import).await.expect_code(0).json()["adopted"], 1);
    grant["access_token"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn s59_tokens_json_is_what_its_reader_expects_and_its_owner_alone_may_read_it() {
    let (site, key, token) = site().await;
    let path = site.file("tokens.json");
    let machine = json!({
        "access_token": "of-the-machine", "refresh_token": null, "expires_at": null,
        "scope": null, "token_type": "Bearer", "valid": true,
    });
    fs::write(&path, json!({"client": machine, "user": null}).to_string()).unwrap();
    let before = fs::metadata(&path).unwrap();
    let text = path.to_str().unwrap();
    let write = [
        "token",
        "acme/prod",
        "--format",
        "tokens-json",
        "--output",
        text,
    ];
    site.run(site.from_afar(&key, &write).env("TZ", "UTC"))
        .await
        .expect_code(0);

    let after = fs::metadata(&path).unwrap();
    assert_eq!(after.permissions().mode() & 0o777, 0o600);
    use std::os::unix::fs::MetadataExt as _;
    assert_ne!(
        before.ino(),
        after.ino(),
        "replaced as a whole, never written in place"
    );
    let written = fs::read_to_string(&path).unwrap();
    assert!(
        written.starts_with("{\n  \"client\": {\n"),
        "two blanks a level: {written}"
    );
    let tokens: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(tokens["client"], machine, "the other slot survives");
    let user = &tokens["user"];
    assert_eq!(user["access_token"], token.as_str());
    assert_eq!(
        user["refresh_token"],
        Value::Null,
        "not without being asked for"
    );
    assert_eq!(
        (&user["token_type"], &user["valid"]),
        (&json!("Bearer"), &json!(true))
    );
    let members: Vec<&String> = user.as_object().unwrap().keys().collect();
    assert_eq!(members.len(), 6, "{members:?}");
    let expires_at = user["expires_at"].as_str().unwrap();
    let naive = chrono::NaiveDateTime::parse_from_str(expires_at, "%Y-%m-%dT%H:%M:%S%.6f");
    assert!(
        naive.is_ok() && expires_at.len() == 26,
        "six digits, no zone: {expires_at}"
    );
}

/// The kernel kills the process at the byte at which the test wants it to die: what is left is the old
/// file or the new one, to the byte.
#[tokio::test(flavor = "multi_thread")]
async fn s59_killed_at_any_byte_of_a_write_it_leaves_the_old_file_or_the_new() {
    let (site, key, token) = site().await;
    let path = site.file("tokens.json");
    let text = path.to_str().unwrap();
    let start = || site.from_afar(&key, &["token", "acme/prod", "--watch", text]);
    let has_ours = async || {
        let written = fs::read_to_string(&path).ok()?;
        written.contains(&token).then_some(written)
    };
    let watch = start().spawn();
    let whole = eventually("the file", SOON, has_ours).await;
    watch.stop(SOON).await.expect_code(0);

    // What its consumer has made of it; the watch puts it right again.
    let consumers = "{\"client\": null, \"user\": null}";
    for bytes in [0, 1, whole.len() / 2, whole.len() - 1] {
        let mut watch = start().spawn();
        eventually("the file", SOON, has_ours).await;
        let pid = Pid::from_raw(watch.id().cast_signed());
        let limit = |bytes| Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        prlimit(pid, Resource::Core, limit(0)).unwrap();
        prlimit(pid, Resource::Fsize, limit(bytes as u64)).unwrap();
        fs::write(&path, consumers).unwrap();
        let status = eventually("its death", SOON, async || watch.exit()).await;
        assert_eq!(
            status.signal(),
            Some(SIGXFSZ),
            "{status}: {}",
            watch.output()
        );
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            consumers,
            "at byte {bytes}"
        );
    }
    // Where there is room for all of it, the new file is there, whole.
    let watch = start().spawn();
    let again = eventually("the file", SOON, has_ours).await;
    assert_eq!(again.len(), whole.len());
    watch.stop(SOON).await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s60_a_child_gets_the_token_in_its_environment_and_its_exit_code_is_passed_on() {
    let (site, key, token) = site().await;
    let script = "printf '%s|%s|%s' \"$NINJARMM_USER_ACCESS_TOKEN\" \"$NINJARMM_BASE_URL\" \
                  \"$NINJARMM_USER_EXPIRES_IN\"; exit 7";
    let exec = site.from_afar(&key, &["exec", "acme/prod", "--", "sh", "-c", script]);
    let said = site.run(exec).await.expect_code(7);
    let given: Vec<&str> = said.stdout.split('|').collect();
    assert_eq!(given[0], token);
    assert!(given[1].starts_with("http://127.0.0.1:"), "{}", given[1]);
    assert!(
        (1..=600).contains(&given[2].trim().parse::<u64>().unwrap()),
        "{}",
        given[2]
    );

    let env = site.from_afar(&key, &["token", "acme/prod", "--format", "env"]);
    let said = site.run(env).await.expect_code(0);
    assert!(
        said.stdout
            .contains(&format!("export NINJARMM_USER_ACCESS_TOKEN='{token}'"))
    );
    assert!(!said.stdout.contains("REFRESH_TOKEN"));
}

/// What `evergreen token` says of an integration whose token has expired, and whose refreshes the provider
/// answers so.
async fn for_a_person(status: u16, body: &str, recovery: &str) {
    let site = Site::start(SECRET).await;
    let key = site.key(&["admin", "token"]).await;
    let action = json!({"kind": "respond", "status": status, "body": body});
    site.simulated("faults", &json!({"action": action, "times": null}))
        .await;
    import(
        &site,
        &key,
        &json!({"tenant": "acme", "integration": "prod", "expires_in": -60}),
    )
    .await;
    let refresh = site.from_afar(&key, &["refresh", "acme/prod"]);
    site.run(refresh).await.expect_code(4);
    let ask = site.from_afar(&key, &["token", "acme/prod", "--json"]);
    let told = site.run(ask.env("EVERGREEN_LOG", "error")).await;
    let told = told.expect_code(4);
    assert_eq!(told.stdout, "", "no token");
    let told: Value = serde_json::from_str(&told.stderr).expect("an error as JSON");
    assert_eq!(told["error"]["recovery"], recovery, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s32_an_unknown_app_ends_the_command_with_4() {
    let body = r#"{"resultCode":"Client app not exist","incidentId":"WEB_MGMT_SERVICE-77"}"#;
    for_a_person(404, body, "fix_configuration").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s46_a_dead_integration_ends_the_command_with_4() {
    for_a_person(400, r#"{"error":"invalid_token"}"#, "reconnect").await;
}
