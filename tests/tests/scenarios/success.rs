//! What a success brings, however odd it looks.

use std::collections::BTreeMap;

use ninjaone::simulator::{Action, Edit, Fault, Presented, RefreshToken};
use secrecy::ExposeSecret;

use crate::support::*;

fn edit(edit: Edit) -> Fault {
    Fault::new(Action::Edit(edit))
}

fn set(member: &str, raw: &str) -> Fault {
    edit(Edit {
        set: BTreeMap::from([(member.to_owned(), raw.to_owned())]),
        ..Edit::default()
    })
}

fn remove(member: &str) -> Fault {
    edit(Edit {
        remove: vec![member.to_owned()],
        ..Edit::default()
    })
}

#[tokio::test]
async fn s12_what_is_sent_is_what_is_stored_and_what_comes_is_stored() {
    let life = Life::of(3600).await;
    let old_expiry = life.status().await.access_token_expires_at;
    // Rotated after the timer was set: the timer must not remember a token.
    life.app.refresh(&life.target).await.unwrap();
    life.pass_the_refresh().await;
    let page = life.bench.simulator.handle().entries(0, 100);
    let sent: Vec<_> = page
        .entries
        .iter()
        .map(|e| (e.presented, e.presented_generation))
        .collect();
    let current = |generation| (Some(Presented::Current), Some(generation));
    assert_eq!(sent, [current(0), current(1)]);
    let token = life.token().await;
    assert!(life.api_takes(token.access_token.expose_secret()).await);
    assert_ne!(token.access_token.expose_secret(), life.grant.access_token);
    assert_eq!(token.generation, 2);
    let refreshed: Vec<_> = events(&life.app)
        .await
        .into_iter()
        .filter(|(name, _)| name == "REFRESHED")
        .collect();
    assert_eq!(refreshed.len(), 2);
    let (first, second) = (&refreshed[0].1, &refreshed[1].1);
    assert_eq!(first["oldExpiresAt"].as_str(), old_expiry.as_deref());
    assert_eq!(second["oldExpiresAt"], first["expiresAt"]);
    let status = life.status().await;
    assert_eq!(
        second["expiresAt"].as_str(),
        status.access_token_expires_at.as_deref()
    );
    assert!(status.next_refresh_at.is_some());
}

#[tokio::test]
async fn s13_no_new_refresh_token_is_no_rotation() {
    for kept in [
        RefreshToken::Omit,
        RefreshToken::Empty,
        RefreshToken::Null,
        RefreshToken::Same,
    ] {
        let life = Life::of(3600).await;
        life.script(edit(Edit {
            refresh_token: Some(kept),
            ..Edit::default()
        }));
        life.pass_the_refresh().await;
        let token = life.token().await;
        assert_ne!(token.access_token.expose_secret(), life.grant.access_token);
        let refresh = token
            .refresh_token
            .as_ref()
            .map(|t| t.expose_secret().to_owned());
        assert_eq!(refresh, life.grant.refresh_token, "{kept:?}");
        let status = life.status().await;
        assert_eq!((status.state.as_str(), status.generation), ("Scheduled", 1));
        // It is not taken for a spent one.
        life.pass_the_refresh().await;
        assert_eq!(life.status().await.generation, 2, "{kept:?}");
        let totals = life.bench.simulator.handle().totals();
        assert_eq!((totals.requests, totals.double_sends), (2, 0));
    }
}

#[tokio::test]
async fn s14_whatever_expires_in_says_the_tokens_are_kept() {
    for (raw, seconds, assumed) in [
        (Some("\"3600\""), 3_600, false),
        (Some("3600.9"), 3_600, false),
        (None, 3_600, true),
        (Some("null"), 3_600, true),
        (Some("\"abc\""), 3_600, true),
        (Some("[]"), 3_600, true),
        (Some("0"), 300, true),
        (Some("-5"), 300, true),
        (Some("1e400"), 86_400, false),
        (Some("9e18"), 86_400, false),
    ] {
        let life = Life::of(3600).await;
        life.script(match raw {
            Some(raw) => set("expires_in", raw),
            None => remove("expires_in"),
        });
        life.pass_the_refresh().await;
        let status = life.status().await;
        let expires_at = ms(status.access_token_expires_at.as_ref().unwrap());
        let left = (expires_at - life.bench.now().await).div_ceil(1_000);
        assert!(left.abs_diff(seconds) <= 1, "{raw:?}: {left}");
        assert_eq!(status.expiry_assumed, assumed, "{raw:?}");
        let expired_at_birth = u64::from(seconds == 300);
        let counted = life.app.telemetry().oddities();
        let counted = counted.get("expired_at_birth").copied().unwrap_or(0);
        assert_eq!(counted, expired_at_birth, "{raw:?}");
        assert_eq!((status.state.as_str(), status.generation), ("Scheduled", 1));
        life.token().await;
        life.pass(std::time::Duration::from_secs(29)).await;
        assert_eq!(life.requests(), 1, "{raw:?}: none within the minimum delay");
    }
}

#[tokio::test]
async fn s15_odd_but_good_answers_are_stored() {
    let odd = [
        set("token_type", "\"BEARER\""),
        remove("token_type"),
        set(
            "scope",
            "[\"monitoring\",\"management\",\"offline_access\"]",
        ),
        set("surprise", "{\"deep\":[1,2,{\"x\":null}]}"),
        edit(Edit {
            bom: true,
            ..Edit::default()
        }),
        edit(Edit {
            gzip: true,
            ..Edit::default()
        }),
        edit(Edit {
            headers: BTreeMap::from([("content-type".to_owned(), "text/html".to_owned())]),
            ..Edit::default()
        }),
    ];
    for fault in odd {
        let life = Life::of(3600).await;
        let what = format!("{:?}", fault.action);
        life.script(fault);
        life.pass_the_refresh().await;
        let status = life.status().await;
        assert_eq!((status.generation, status.warning), (1, None), "{what}");
        let token = life.token().await;
        assert!(life.api_takes(token.access_token.expose_secret()).await);
        let scopes = status.scopes.unwrap();
        assert_eq!(scopes, "monitoring management offline_access", "{what}");
    }
}

#[tokio::test]
async fn s15_fewer_scopes_are_a_warning() {
    let life = Life::of(3600).await;
    life.script(set("scope", "\"monitoring\""));
    life.pass_the_refresh().await;
    let status = life.status().await;
    assert_eq!(status.warning.as_deref(), Some("scope_reduced"));
    assert_eq!(life.token().await.warning.as_deref(), Some("scope_reduced"));
}

#[tokio::test]
async fn s15_a_token_of_another_type_is_not_handed_out_and_not_asked_for_again_and_again() {
    let life = Life::of(3600).await;
    life.script(set("token_type", "\"mac\"").always());
    life.pass_the_refresh().await;
    let status = life.status().await;
    assert_eq!(status.attention.as_deref(), Some("token_type"));
    for _ in 0..20 {
        let refused = life.app.token(&life.target, &Default::default()).await;
        assert_eq!(refused.unwrap_err().status(), 409);
    }
    assert_eq!(life.requests(), 1);
    life.bench.simulator.handle().clear_faults();
    life.pass(HOUR).await;
    assert_eq!(life.status().await.state, "Scheduled");
    life.token().await;
}

#[tokio::test]
async fn s16_a_success_that_says_nothing_is_an_unknown_outcome() {
    for body in [
        "<html>CANARY</html>",
        "",
        "null",
        "{\"access_token\":\"CANA",
        "{\"hello\":\"CANARY\"}",
        "[]",
    ] {
        let life = Life::of(3600).await;
        life.script(Fault::respond(200, body));
        life.pass_the_refresh().await;
        let entries = life.bench.simulator.handle().entries(0, 10).entries;
        let sent: Vec<_> = entries.iter().map(|e| e.presented_generation).collect();
        assert_eq!(sent, [Some(0), Some(0)], "{body:?}: one retry with R0");
        let status = life.status().await;
        assert_eq!((status.state.as_str(), status.generation), ("Scheduled", 1));
        assert_eq!(status.unknown_since, None, "a success clears it");
        assert_eq!(life.count("RECONNECT_REQUIRED").await, 0);
        let shown = format!("{status:?}{:?}", life.app.history(&life.target).await);
        assert!(!shown.contains("CANA"), "{shown}");
    }
}

#[tokio::test]
async fn s17_an_error_with_status_200_is_that_error() {
    let life = Life::of(3600).await;
    life.script(Fault::respond(200, r#"{"error":"bad_refresh_token"}"#));
    life.pass_the_refresh().await;
    let status = life.status().await;
    assert_eq!(status.reason.as_deref(), Some("revoked"));
    let token = life.token().await;
    assert_eq!(token.access_token.expose_secret(), life.grant.access_token);
    assert_eq!(token.warning.as_deref(), Some("revoked"));
}

#[tokio::test]
async fn s19_a_recovery_is_told_after_a_failure_that_was_told_and_only_then() {
    let life = Life::of(3600).await;
    let down = |times| Fault::respond(500, r#"{"error":"server_error"}"#).times(times);
    life.script(down(1));
    life.pass_the_refresh().await;
    life.pass(MINUTE).await;
    assert_eq!(life.status().await.generation, 1);
    assert_eq!(
        life.count("REFRESH_FAILED").await + life.count("RECOVERED").await,
        0
    );
    life.script(down(3));
    life.pass_the_refresh().await;
    life.pass(MINUTE * 3).await;
    let status = life.status().await;
    assert_eq!((status.generation, status.consecutive_failures), (2, 0));
    assert_eq!(life.count("REFRESH_FAILED").await, 1);
    assert_eq!(life.count("RECOVERED").await, 1);
}
