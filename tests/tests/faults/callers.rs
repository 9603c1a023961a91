//! An API is killed in the middle of what somebody asked of it. Whether it was heard is decided by one
//! script: before it nothing has happened, after it others carry it out.

use evergreen_tests::proxy::{Side, Step};
use ninjaone::service::TokenAsk;

use crate::machine::Machine;
use crate::stage::Stage;

/// The API dies with one frame of a disconnect on its way. Its caller does not hear how that ended.
async fn killed_while_disconnecting(step: Step, side: Side) -> (Stage, Machine) {
    let stage = Stage::new().await;
    let mut one = stage.machine("one").await;
    let url = one.serve().await;
    let key = one.key(&["admin"]).await;
    let target = stage.target().integration;
    let mut trap = one.proxy.trap(step, side);
    let asked = tokio::spawn(async move {
        let url = format!("{url}/v1/integrations/{target}");
        reqwest::Client::new()
            .delete(url)
            .bearer_auth(key)
            .send()
            .await
    });
    trap.caught().await;
    one.kill();
    drop(trap);
    assert!(
        asked.await.unwrap().is_err(),
        "nobody is told what is not known"
    );
    let two = stage.successor().await;
    (stage, two)
}

/// Who asks again is told that it is done: it was done once.
async fn is_disconnected(stage: &Stage, mut two: Machine) {
    stage
        .see("the end", |s| {
            s.state == "Disconnected" && s.owner.is_none()
        })
        .await;
    let gone = stage.api.disconnect(&stage.target()).await.unwrap();
    assert_eq!(gone[0].state, "Disconnected");
    assert_eq!(stage.count("DISCONNECTED").await, 1);
    let sealed: Vec<String> = stage.redis.cli(&["KEYS", "*sealed*"]).await;
    assert_eq!(
        sealed,
        Vec::<String>::new(),
        "no credential exists after disconnect"
    );
    let barrier: Option<String> = stage.field("barrier").await;
    assert_eq!(barrier, None);
    assert!(stage.presented().is_empty());
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s54_killed_before_the_disconnect_is_heard() {
    let (stage, mut two) = killed_while_disconnecting(Step::Signal, Side::Asked).await;
    let status = stage.status().await;
    assert_eq!((status.state.as_str(), status.generation), ("Scheduled", 0));
    stage
        .api
        .token(&stage.target(), &TokenAsk::default())
        .await
        .unwrap();
    assert_eq!(stage.count("DISCONNECTED").await, 0);
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s54_killed_after_the_disconnect_was_heard() {
    let (stage, two) = killed_while_disconnecting(Step::Signal, Side::Answered).await;
    is_disconnected(&stage, two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s54_killed_holding_what_is_to_be_disconnected() {
    let (stage, two) = killed_while_disconnecting(Step::Claim, Side::Answered).await;
    is_disconnected(&stage, two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s54_killed_before_the_disconnects_commit_arrives() {
    let (stage, two) = killed_while_disconnecting(Step::Commit, Side::Asked).await;
    is_disconnected(&stage, two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s54_killed_after_the_disconnect_was_written() {
    let (stage, two) = killed_while_disconnecting(Step::Commit, Side::Answered).await;
    is_disconnected(&stage, two).await;
}
