//! What is served while the store is away, and for how long.

use evergreen_engine::testing::{Fault, Op};
use secrecy::ExposeSecret;
use tokio::time::advance;

use super::stage::{Process, SECOND, Stage, integration, key, target};
use crate::handoff::Handed;
use crate::service::{ServiceError, TokenAsk};

async fn stage() -> (Stage, Process, String) {
    let (stage, ring) = (Stage::new(), key("k1"));
    let process = stage.process("one", &ring);
    process.adopts("acme/prod@user", "A0").await;
    (stage, process, ring)
}

async fn token(process: &Process, name: &str) -> Result<Handed, ServiceError> {
    process.app.token(&target(name), &TokenAsk::default()).await
}

async fn is_away(process: &Process, name: &str) {
    let answer = token(process, name).await.map(drop);
    assert!(
        matches!(answer, Err(ServiceError::StoreAway { .. })),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn s23_a_token_that_was_read_is_served_for_a_minute_without_the_store_and_no_longer() {
    let (_stage, process, _) = stage().await;
    let read = token(&process, "acme/prod").await.unwrap();
    assert_eq!(read.warning, None);
    // Somebody else's wish, and what was wrong with it.
    let ask = TokenAsk {
        min_validity: Some(100_000 * SECOND),
        ..TokenAsk::default()
    };
    let shortened = process.app.token(&target("acme/prod"), &ask).await.unwrap();
    assert_eq!(shortened.warning.as_deref(), Some("min_validity_shortened"));
    process.cut_off();
    advance(59 * SECOND).await;
    let remembered = token(&process, "acme/prod@user").await.unwrap();
    assert_eq!(remembered.access_token.expose_secret(), "A0");
    assert_eq!(remembered.expires_in_s, read.expires_in_s - 59);
    assert_eq!(remembered.expires_at_ms, read.expires_at_ms);
    assert_eq!(remembered.warning.as_deref(), Some("store_away"));
    // Being served does not make it younger.
    advance(2 * SECOND).await;
    is_away(&process, "acme/prod@user").await;
    process.way.heal();
    let read = token(&process, "acme/prod").await.unwrap();
    assert_eq!(read.warning, None, "by the store again");
}

#[tokio::test(start_paused = true)]
async fn what_was_never_read_is_not_served_nor_a_refresh_token_nor_what_does_not_last() {
    let (_stage, process, _) = stage().await;
    process.adopts("globex/prod@user", "B0").await;
    token(&process, "acme/prod").await.unwrap();
    process.cut_off();
    is_away(&process, "globex/prod").await;
    let ask = async |seconds: u32, with_refresh_token: bool| {
        let ask = TokenAsk {
            min_validity: Some(seconds * SECOND),
            with_refresh_token,
        };
        process.app.token(&target("acme/prod"), &ask).await.is_ok()
    };
    assert!(ask(1_700, false).await);
    assert!(ask(100_000, false).await, "shortened to half of its life");
    assert!(!ask(0, true).await);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_answers_nothing_is_served_from_memory() {
    let (stage, process, ring) = stage().await;
    token(&process, "acme/prod").await.unwrap();
    // A refusal is an answer.
    process.way.next(Op::Read, Fault::Refused);
    let refused = token(&process, "acme/prod@user").await;
    let refused = refused.map(drop).unwrap_err();
    assert!(
        !matches!(refused, ServiceError::StoreAway { .. }),
        "{refused}"
    );
    let elsewhere = stage.process("two", &ring);
    elsewhere
        .app
        .disconnect(&target("acme/prod"))
        .await
        .unwrap();
    let refused = token(&process, "acme/prod").await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("disconnected"), "{refused}");
    // And what was learnt so is not forgotten when the store goes away.
    process.cut_off();
    is_away(&process, "acme/prod").await;
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_that_is_asked_for_here_counts_here_even_if_the_store_does_not_hear_of_it() {
    let (_stage, process, _) = stage().await;
    token(&process, "acme/prod").await.unwrap();
    process.way.next(Op::Signal, Fault::Away);
    process
        .app
        .disconnect(&target("acme/prod"))
        .await
        .unwrap_err();
    process.cut_off();
    is_away(&process, "acme/prod").await;
}

#[tokio::test(start_paused = true)]
async fn a_users_token_does_not_stand_in_for_a_clients_that_nobody_could_read() {
    let (_stage, process, _) = stage().await;
    process.adopts("acme/prod@client", "C0").await;
    token(&process, "acme/prod@user").await.unwrap();
    process.cut_off();
    is_away(&process, "acme/prod").await;
    assert!(token(&process, "acme/prod@user").await.is_ok());
    process.way.heal();
    assert_eq!(
        token(&process, "acme/prod")
            .await
            .unwrap()
            .access_token
            .expose_secret(),
        "C0"
    );
    process.cut_off();
    let remembered = token(&process, "acme/prod").await.unwrap();
    assert_eq!(remembered.access_token.expose_secret(), "C0");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_refreshed_because_nothing_is_written_is_served_to_its_end() {
    let (_stage, process, _) = stage().await;
    // Within the last minute of its life a refresh comes first; the store reads, and takes no writes.
    advance(3_570 * SECOND).await;
    process.way.next(Op::Signal, Fault::Away);
    let served = token(&process, "acme/prod@user").await.unwrap();
    // A moment of the wall clock may have passed as well: whichever clock says more is believed.
    assert!(
        (29..=30).contains(&served.expires_in_s),
        "{}",
        served.expires_in_s
    );
    process.cut_off();
    advance(31 * SECOND).await;
    is_away(&process, "acme/prod@user").await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_provider_refused_is_not_served_by_hearsay() {
    let (_stage, process, _) = stage().await;
    let handed = token(&process, "acme/prod@user").await.unwrap();
    process.cut_off();
    let integration = integration();
    let answer = process.app.token_instead_of(&integration, &handed);
    let answer = answer.await.map(drop);
    assert!(
        matches!(answer, Err(ServiceError::StoreAway { .. })),
        "{answer:?}"
    );
    is_away(&process, "acme/prod@user").await;
}
