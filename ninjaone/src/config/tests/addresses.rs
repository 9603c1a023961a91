//! How browsers reach the API, and what is set and does nothing.

use super::super::*;
use super::{env, serving};

#[test]
fn the_public_url_follows_the_address() {
    let config = load(&serving(&[]), Role::Serve).unwrap();
    for (listen, url) in [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:9000", "http://127.0.0.1:9000"),
        ("[::1]:9000", "http://[::1]:9000"),
    ] {
        assert_eq!(config.public_url(listen.parse().unwrap()), url);
    }
    let given = [("EVERGREEN_PUBLIC_URL", "https://e.example/")];
    let config = load(&serving(&given), Role::Serve).unwrap();
    let listen = "127.0.0.1:1".parse().unwrap();
    assert_eq!(config.public_url(listen), "https://e.example");
    assert_eq!(
        config.redirect_uri(listen),
        "https://e.example/oauth/callback"
    );
}

#[test]
fn an_address_that_a_consent_could_not_come_back_to_is_refused() {
    let public = "EVERGREEN_PUBLIC_URL";
    let redirect = "EVERGREEN_REDIRECT_URI";
    let good = "https://e.example";
    for (given, told) in [
        (vec![(public, "https://e.example/evergreen")], "has a path"),
        (
            vec![(redirect, "https://e.example/sub/oauth/callback")],
            "another path",
        ),
        (
            vec![(redirect, "https://e.example/oauth/callback/")],
            "another path",
        ),
        (
            vec![
                (public, good),
                (redirect, "https://f.example/oauth/callback"),
            ],
            "another scheme, host or port than EVERGREEN_PUBLIC_URL",
        ),
        (
            vec![
                (public, good),
                (redirect, "http://e.example/oauth/callback"),
            ],
            "another scheme",
        ),
        (
            vec![
                (public, good),
                (redirect, "https://e.example:8443/oauth/callback"),
            ],
            "another scheme",
        ),
    ] {
        for role in [Role::Serve, Role::Worker] {
            let Problems(all) = load(&serving(&given), role).unwrap_err();
            assert_eq!(all.len(), 1, "{given:?}: {all:?}");
            let name = given.last().unwrap().0;
            assert_eq!(all[0].setting, name);
            let wrong = &all[0].wrong;
            assert!(
                wrong.contains(told) && wrong.contains("allowed is"),
                "{wrong}"
            );
        }
    }
    let both = [
        (public, "https://E.example:443/"),
        (redirect, "https://e.example/oauth/callback"),
    ];
    load(&serving(&both), Role::Serve).unwrap();
}

#[test]
fn the_redirect_uri_alone_says_how_browsers_reach_us() {
    let given = [(
        "EVERGREEN_REDIRECT_URI",
        "http://localhost:8080/oauth/callback",
    )];
    let config = load(&serving(&given), Role::Serve).unwrap();
    let listen = "0.0.0.0:8080".parse().unwrap();
    assert_eq!(config.public_url(listen), "http://localhost:8080");
}

#[test]
fn what_is_set_and_does_nothing_is_told() {
    let given = [("EVERGREEN_PUBLIC_URL", "https://e.example/anywhere")];
    let config = load(&env(&given), Role::Dev).unwrap();
    let listen = "127.0.0.1:8080".parse().unwrap();
    assert_eq!(config.public_url(listen), "http://127.0.0.1:8080");
    assert!(
        config.warnings[0].contains("--listen"),
        "{:?}",
        config.warnings
    );
}
