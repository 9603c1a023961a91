use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

mod addresses;
mod webhook;

const KEY: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn env(pairs: &[(&str, &str)]) -> Sources {
    let mut sources = Sources::default();
    for (name, value) in pairs {
        sources.env.insert((*name).to_owned(), (*value).into());
    }
    sources
}

/// What `serve` needs, and these.
fn serving(pairs: &[(&str, &str)]) -> Sources {
    let mut sources = env(&[
        ("EVERGREEN_REDIS_URL", "redis://127.0.0.1:6379"),
        ("EVERGREEN_SEAL_KEYS", KEY),
    ]);
    sources.env.extend(env(pairs).env);
    sources
}

fn file(mut sources: Sources, text: &str) -> Sources {
    sources.file = Some(File {
        path: "evergreen.toml".into(),
        text: text.to_owned(),
    });
    sources
}

fn problems(sources: &Sources) -> Vec<String> {
    let Problems(all) = load(sources, Role::Serve).unwrap_err();
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn with_a_redis_and_a_key_everything_else_has_a_default() {
    let config = load(&serving(&[]), Role::Serve).unwrap();
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.settings, Settings::default());
    assert_eq!(config.listen, Some("127.0.0.1:8080".parse().unwrap()));
    assert_eq!((&config.public_url, &config.redirect_uri), (&None, &None));
    assert_eq!(config.log.filter, "info");
    assert_eq!(config.ring.current(), "k1");
    assert!(config.client.is_none() && !config.ring_is_fresh);
    let store = config.store.unwrap();
    assert_eq!((store.partitions, store.replicas), (None, 0));
    assert_eq!(store.options().prefix, "evergreen");
    assert_eq!(load(&serving(&[]), Role::Worker).unwrap().listen, None);
}

#[test]
fn dev_needs_nothing_and_makes_its_own_key() {
    let config = load(&Sources::default(), Role::Dev).unwrap();
    assert!(config.store.is_none() && config.ring_is_fresh);
    assert_eq!(config.journal_dir, None);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let text = "lease = \"20s\"\nrefresh_buffer = \"5m\"\nlog = \"warn\"\npartitions = 64\n\
                ninjaone_hosts = [\"a.example\", \"b.example:8443\"]";
    let mut sources = file(
        serving(&[("EVERGREEN_LEASE", "30s"), ("EVERGREEN_LOG", "debug")]),
        text,
    );
    sources.flags.insert("log", "error".to_owned());
    let config = load(&sources, Role::Serve).unwrap();
    assert_eq!(config.log.filter, "error");
    assert_eq!(config.limits.lease, Duration::from_secs(30));
    let buffer = config.settings.refresh_buffer;
    assert_eq!(buffer, Some(Duration::from_secs(300)));
    assert_eq!(config.store.unwrap().partitions, Some(64));
}

#[test]
fn s04_every_bad_duration_is_refused_by_name_and_told_what_is_allowed() {
    let names = [
        "EVERGREEN_REFRESH_BUFFER",
        "EVERGREEN_REFRESH_MIN_DELAY",
        "EVERGREEN_LEASE",
        "EVERGREEN_TOKEN_TIMEOUT",
        "EVERGREEN_SHUTDOWN_GRACE",
        "EVERGREEN_RETENTION",
    ];
    for (value, why) in [
        ("0", "has no unit"),
        ("0s", "is zero"),
        ("-5s", "is negative"),
        ("abc", "is not a duration"),
        ("", "is empty"),
        ("15", "has no unit"),
        ("15M", "has an unknown unit"),
        ("9999d", "is too long"),
    ] {
        let all = names.map(|name| (name, value));
        let told = problems(&serving(&all));
        assert_eq!(told.len(), names.len(), "{told:?}");
        for (told, name) in told
            .iter()
            .zip(["LEASE", "TIMEOUT", "GRACE", "BUFFER", "DELAY"])
        {
            assert!(told.contains(name), "{told}");
        }
        for told in told {
            assert!(
                told.contains(&format!(": {why}; allowed is a duration from ")),
                "{told}"
            );
        }
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let told = problems(&env(&[
        ("EVERGREEN_REDIS_URL", "http://CANARY@h"),
        ("EVERGREEN_PARTITIONS", "0"),
        ("EVERGREEN_REPLICAS", "-1"),
        ("EVERGREEN_KEY_PREFIX", "CANARY*"),
        ("EVERGREEN_SEAL_KEYS", "k1:CANARY"),
        ("EVERGREEN_NINJAONE_CLIENT_SECRET", "CANARY"),
        ("EVERGREEN_NINJAONE_HOSTS", "https://CANARY"),
        ("EVERGREEN_LEASE", "1s"),
        ("EVERGREEN_PUBLIC_URL", "ftp://h"),
        ("EVERGREEN_REDIRECT_URI", "https://u:CANARY@h"),
        ("EVERGREEN_LISTEN", "8080"),
        ("EVERGREEN_JOURNAL_DIR", ""),
        ("EVERGREEN_API_KEYS_FILE", " "),
        ("EVERGREEN_LOG", "CANARY=loudly"),
        ("EVERGREEN_LOG_FORMAT", "xml"),
    ]));
    let names = [
        "EVERGREEN_PARTITIONS: is zero; allowed is a whole number from 1 to 1024",
        "EVERGREEN_REPLICAS: is negative",
        "EVERGREEN_KEY_PREFIX: cannot begin a key; allowed is 1 to 64 characters",
        "EVERGREEN_REDIS_URL: has an unknown scheme",
        "EVERGREEN_SEAL_KEYS: entry 1",
        "EVERGREEN_NINJAONE_CLIENT_ID: is missing",
        "EVERGREEN_NINJAONE_HOSTS: entry 1",
        "EVERGREEN_LEASE: is too short; allowed is a duration from 3s to 5m",
        "EVERGREEN_LISTEN: is not an address with a port",
        "EVERGREEN_PUBLIC_URL: begins with neither",
        "EVERGREEN_REDIRECT_URI: holds a login",
        "EVERGREEN_JOURNAL_DIR: is empty",
        "EVERGREEN_API_KEYS_FILE: is empty",
        "EVERGREEN_LOG: is no filter",
        "EVERGREEN_LOG_FORMAT: is neither; allowed is text or json",
    ];
    assert_eq!(told.len(), names.len(), "{told:#?}");
    for (told, name) in told.iter().zip(names) {
        assert!(told.starts_with(name), "{told} / {name}");
        assert!(!told.contains("CANARY"), "{told}");
    }
}

#[test]
fn what_is_missing_is_told_with_how_to_get_it() {
    let told = problems(&env(&[]));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("EVERGREEN_REDIS_URL") && told[0].contains("redis://"));
    assert!(told[1].contains("evergreen keys generate"));
    assert_eq!(load_store(&env(&[])).unwrap_err().0.len(), 1);
}

#[test]
fn fleets_that_share_a_redis_have_keys_of_their_own() {
    let given = serving(&[("EVERGREEN_KEY_PREFIX", "staging:evergreen")]);
    let store = load_store_if_named(&given).unwrap().unwrap();
    assert_eq!(store.options().prefix, "staging:evergreen");
    assert!(load_store_if_named(&env(&[])).unwrap().is_none());
    let wrong = env(&[("EVERGREEN_REDIS_URL", "http://h")]);
    assert!(load_store_if_named(&wrong).is_err());
}

#[test]
fn a_token_request_must_end_within_the_lease() {
    let told = problems(&serving(&[
        ("EVERGREEN_LEASE", "15s"),
        ("EVERGREEN_TOKEN_TIMEOUT", "13s"),
    ]));
    assert_eq!(
        told,
        [
            "EVERGREEN_TOKEN_TIMEOUT: does not end within a lease of 15s; allowed is at most 12s, \
             or a longer lease: EVERGREEN_LEASE=17s"
        ]
    );
    for (lease, timeout) in [("15s", "12s"), ("17s", "13s"), ("60s", "48s"), ("3s", "1s")] {
        let both = [
            ("EVERGREEN_LEASE", lease),
            ("EVERGREEN_TOKEN_TIMEOUT", timeout),
        ];
        load(&serving(&both), Role::Serve).unwrap();
    }
    // Not asked for, it shrinks with the lease.
    let short = load(&serving(&[("EVERGREEN_LEASE", "5s")]), Role::Serve).unwrap();
    assert_eq!(short.limits.activity, Duration::from_secs(4));
}

#[test]
fn the_files_unknown_keys_are_told_the_nearest_known_one() {
    let told = problems(&file(
        serving(&[]),
        "refresh_bufer = \"15m\"\nlog_format = 1.5\nLISTEN = \"x\"",
    ));
    assert!(
        told.contains(
            &"refresh_bufer in evergreen.toml: is no setting; the nearest one is refresh_buffer"
                .to_owned()
        )
    );
    assert!(
        told.iter()
            .any(|one| one.starts_with("log_format in evergreen.toml: is neither"))
    );
    assert!(
        told.iter()
            .any(|one| one.ends_with("the nearest one is listen"))
    );
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn a_file_that_does_not_parse_is_told_by_line_and_never_shown() {
    let told = problems(&file(
        serving(&[]),
        "log = \"info\"\nninjaone_client_secret = CANARY",
    ));
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("evergreen.toml line 2: is not TOML"),
        "{told:?}"
    );
    assert!(!told[0].contains("CANARY"));
}

#[test]
fn an_empty_client_id_is_none_and_one_without_a_secret_is_a_public_app() {
    let empty = [
        ("EVERGREEN_NINJAONE_CLIENT_ID", ""),
        ("EVERGREEN_NINJAONE_CLIENT_SECRET", ""),
    ];
    assert!(
        load(&serving(&empty), Role::Serve)
            .unwrap()
            .client
            .is_none()
    );
    let public = [("EVERGREEN_NINJAONE_CLIENT_ID", "app")];
    let config = load(&serving(&public), Role::Serve).unwrap();
    assert!(config.client.unwrap().client_secret.is_none());
    assert_eq!(config.settings.client_id.as_deref(), Some("app"));
}

#[test]
fn secrets_may_come_from_files_but_not_from_both() {
    let dir = tempfile::tempdir().unwrap();
    let ring = dir.path().join("ring");
    let secret = dir.path().join("secret");
    std::fs::write(&ring, format!("{KEY}\n")).unwrap();
    std::fs::write(&secret, "CANARY-s\n").unwrap();
    let (ring, secret) = (ring.to_str().unwrap(), secret.to_str().unwrap());
    let files = [
        ("EVERGREEN_REDIS_URL", "redis://h"),
        ("EVERGREEN_SEAL_KEYS_FILE", ring),
        ("EVERGREEN_NINJAONE_CLIENT_ID", "app"),
        ("EVERGREEN_NINJAONE_CLIENT_SECRET_FILE", secret),
    ];
    let config = load(&env(&files), Role::Serve).unwrap();
    assert!(!format!("{config:?}").contains("CANARY"));
    let read = config.client.unwrap().client_secret.unwrap();
    assert_eq!(read.expose_secret(), "CANARY-s");

    let told = problems(&serving(&[
        ("EVERGREEN_SEAL_KEYS_FILE", ring),
        ("EVERGREEN_NINJAONE_CLIENT_ID", "app"),
        ("EVERGREEN_NINJAONE_CLIENT_SECRET", "CANARY"),
        ("EVERGREEN_NINJAONE_CLIENT_SECRET_FILE", secret),
    ]));
    assert_eq!(told.len(), 2);
    assert!(
        told.iter()
            .all(|one| one.contains("allowed is one of them"))
    );
    let gone = problems(&env(&[
        ("EVERGREEN_REDIS_URL", "redis://h"),
        ("EVERGREEN_SEAL_KEYS_FILE", "/nonexistent/ring"),
    ]));
    assert!(gone[0].starts_with("EVERGREEN_SEAL_KEYS_FILE: the file cannot be read"));
}

#[test]
fn a_password_does_not_belong_on_the_command_line() {
    let mut sources = serving(&[]);
    sources
        .flags
        .insert("redis_url", "redis://bob:CANARY@h".to_owned());
    let told = problems(&sources);
    assert!(
        told[0].starts_with("--redis-url: holds a login"),
        "{told:?}"
    );
    assert!(!told[0].contains("CANARY"));
    let shown = format!(
        "{:?}",
        load_store(&env(&[("EVERGREEN_REDIS_URL", "redis://bob:CANARY@h")])).unwrap()
    );
    assert!(
        shown.contains("bob") && !shown.contains("CANARY"),
        "{shown}"
    );
}

#[test]
fn each_topology_of_redis_has_a_url_and_a_bad_one_is_told_by_its_part() {
    for url in [
        "redis://bob:s@h:1/2",
        "rediss://h",
        "redis+sentinel://a,b:26380/1?master=main&sentinel_password=s",
        "rediss+sentinel://:s@a/0?master=main&sentinel_tls=no",
        "redis+cluster://a:7000,b",
        "rediss+cluster://:s@a",
    ] {
        let store = load_store(&env(&[("EVERGREEN_REDIS_URL", url)])).unwrap();
        assert_eq!(store.options().url, url);
    }
    for (url, wrong) in [
        ("", "is not a URL; allowed is redis://"),
        (
            "redis+sentinel://CANARY",
            "does not say which master; allowed is ?master=NAME",
        ),
        (
            "redis+cluster://a,b:CANARY",
            "the port of host 2 is none; allowed is 1 to 65535",
        ),
        ("redis+cluster://a/7", "names a database; allowed is none"),
        (
            "redis://:CANA#RY@h",
            "holds a #; allowed is a URL without one",
        ),
    ] {
        let told = load_store(&env(&[("EVERGREEN_REDIS_URL", url)]))
            .unwrap_err()
            .0;
        assert_eq!(told.len(), 1, "{told:?}");
        let told = told[0].to_string();
        assert!(
            told.starts_with(&format!("EVERGREEN_REDIS_URL: {wrong}")),
            "{told}"
        );
        assert!(!told.contains("CANA"), "{told}");
    }
    let mut sources = serving(&[]);
    let url = "redis+sentinel://h?master=m&sentinel_password=CANARY";
    sources.flags.insert("redis_url", url.to_owned());
    assert!(problems(&sources)[0].starts_with("--redis-url: holds a login"));
}

#[test]
fn a_slip_in_a_variables_name_is_a_warning() {
    let given = [
        ("EVERGREEN_REFRESH_BUFER", "15m"),
        ("EVERGREEN_URL", "http://x"),
        ("EVERGREEN_API_KEY", "eg_x"),
    ];
    let config = load(&serving(&given), Role::Serve).unwrap();
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].contains("did you mean EVERGREEN_REFRESH_BUFFER?"));
}

#[test]
fn an_address_that_is_no_text_is_a_problem() {
    use std::os::unix::ffi::OsStringExt as _;
    let mut sources = serving(&[]);
    let bytes = std::ffi::OsString::from_vec(vec![0xff]);
    sources.env.insert("EVERGREEN_LOG".to_owned(), bytes);
    assert_eq!(problems(&sources), ["EVERGREEN_LOG: is not UTF-8"]);
}
