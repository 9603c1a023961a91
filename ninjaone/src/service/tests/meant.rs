//! Which of two grants is meant where none is named (PROTOCOL 24), and what an asker has seen (14).

use secrecy::ExposeSecret;

use super::stage::{Stage, integration, key, target};
use crate::service::{ServiceError, TokenAsk};

#[tokio::test(start_paused = true)]
async fn verbs_mean_the_user_grant_if_there_is_one_and_else_the_clients() {
    let stage = Stage::new();
    let one = stage.process("one", &key("k1"));
    let means = async || one.app.status(&target("acme/prod")).await.unwrap().grant;
    one.adopts("acme/prod@client", "C0").await;
    assert_eq!(means().await, "client");
    one.adopts("acme/prod@user", "A0").await;
    assert_eq!(means().await, "user");
    // What a person has ended is not there any more.
    one.app.disconnect(&target("acme/prod@user")).await.unwrap();
    assert_eq!(means().await, "client");
    let history = one.app.history(&target("acme/prod")).await.unwrap();
    let client = one.app.history(&target("acme/prod@client")).await.unwrap();
    assert_eq!(history, client);
    assert_eq!(
        one.app
            .status(&target("acme/prod@user"))
            .await
            .unwrap()
            .state,
        "Disconnected"
    );
    one.app.disconnect(&target("acme/prod")).await.unwrap();
    assert_eq!(
        means().await,
        "user",
        "nothing is left but what is left of them"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_is_the_clients_if_it_can_be_served_and_else_the_users() {
    let stage = Stage::new();
    let one = stage.process("one", &key("k1"));
    let token = async || {
        one.app
            .token(&target("acme/prod"), &TokenAsk::default())
            .await
    };
    let missing = token().await.map(drop).unwrap_err();
    assert!(matches!(missing, ServiceError::NotFound { .. }));
    one.adopts("acme/prod@user", "A0").await;
    assert_eq!(token().await.unwrap().access_token.expose_secret(), "A0");
    one.adopts("acme/prod@client", "C0").await;
    assert_eq!(token().await.unwrap().access_token.expose_secret(), "C0");
    one.app
        .disconnect(&target("acme/prod@client"))
        .await
        .unwrap();
    assert_eq!(token().await.unwrap().access_token.expose_secret(), "A0");
    one.app.disconnect(&target("acme/prod@user")).await.unwrap();
    let refused = token().await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("disconnected"), "{refused}");
    // Of two that give nothing the one that is still there says why.
    let stranger = stage.process("two", &key("k9"));
    stranger.adopts("acme/prod@client", "C1").await;
    let refused = token().await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("undecryptable"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_of_a_grant_that_was_replaced_makes_no_refresh_of_the_new_one() {
    let stage = Stage::new();
    let one = stage.process("one", &key("k1"));
    one.adopts("acme/prod@user", "A0").await;
    let refused = one
        .app
        .token(&target("acme/prod"), &TokenAsk::default())
        .await
        .unwrap();
    // Another consent, which counts from the same number.
    one.adopts("acme/prod@user", "B0").await;
    let fresh = one
        .app
        .token_instead_of(&integration(), &refused)
        .await
        .unwrap();
    assert_eq!(fresh.access_token.expose_secret(), "B0");
    assert_eq!(fresh.generation, refused.generation);
    assert_ne!(fresh.grant_id, refused.grant_id);
    assert_eq!(one.credential("acme/prod@user").await.last_attempt_at, None);
}
