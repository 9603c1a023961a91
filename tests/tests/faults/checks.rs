//! What must have come of it, told once for all of them.

use evergreen_tests::eventually;
use evergreen_tests::proxy::{Passed, Side};
use ninjaone::service::TokenAsk;
use secrecy::ExposeSecret;

use crate::machine::Machine;
use crate::stage::{PATIENCE, Stage};

/// The grant reaches this generation by one request for each, nobody was alarmed, and the next timer is
/// there.
pub(crate) async fn refreshed(stage: &Stage, generation: u64) {
    let status = stage
        .see("health", |s| {
            s.generation >= generation && s.owner.is_none()
        })
        .await;
    assert_eq!(status.generation, generation);
    assert_eq!(
        (status.state.as_str(), status.reason, status.quarantined),
        ("Scheduled", None, 0)
    );
    assert_eq!(status.unknown_since, None);
    assert_eq!(status.purpose.as_deref(), Some("refresh"));
    let requests = usize::try_from(generation).unwrap();
    assert_eq!(stage.presented(), vec![1; requests], "one request each");
    let told = stage.told().await;
    let count = |name| told.iter().filter(|told| *told == name).count();
    assert_eq!(count("REFRESHED"), requests, "{told:?}");
    assert_eq!(
        count("REFRESH_FAILED") + count("RECONNECT_REQUIRED"),
        0,
        "{told:?}"
    );
    stage.is_at_rest().await;
    assert!(stage.score().await.is_some(), "the next timer");
    stage.serves_a_good_token().await;
}

/// The one retry was refused; what that means was said once, and the old access token is served.
pub(crate) async fn condemned(stage: &Stage) {
    let status = stage.see("the verdict", |s| s.reason.is_some()).await;
    assert_eq!(status.state, "ReconnectRequired");
    assert_eq!(status.reason.as_deref(), Some("rotation_lost"));
    assert_eq!(stage.presented(), [2], "the request and its one retry");
    let told = stage.told().await;
    let count = |name| told.iter().filter(|told| *told == name).count();
    assert_eq!(
        (count("REFRESH_FAILED"), count("RECONNECT_REQUIRED")),
        (1, 1),
        "{told:?}"
    );
    let token = stage
        .api
        .token(&stage.target(), &TokenAsk::default())
        .await
        .unwrap();
    assert_eq!(
        token.access_token.expose_secret(),
        stage.grants[0].access_token
    );
    assert_eq!(token.warning.as_deref(), Some("rotation_lost"));
    stage.takes(&stage.grants[0].access_token).await;
    assert_eq!(stage.score().await, None, "no timer");
}

/// It was condemned, and what came late healed it: nothing was sent for that.
pub(crate) async fn healed(stage: &Stage) {
    let status = stage
        .see("health", |s| s.state == "Scheduled" && s.owner.is_none())
        .await;
    assert_eq!(
        (status.generation, status.reason, status.quarantined),
        (1, None, 0)
    );
    assert_eq!(status.unknown_since, None);
    assert_eq!(stage.presented(), [2]);
    assert_eq!(stage.count("RECOVERED").await, 1);
    assert_eq!(stage.count("RECONNECT_REQUIRED").await, 1);
    stage.serves_a_good_token().await;
}

/// Healthy in the end. The request was sent once, or once more by who took over.
pub(crate) async fn healthy(stage: &Stage) {
    let well = |state: &str, owner: &Option<String>| state == "Scheduled" && owner.is_none();
    let status = stage
        .see("health", |s| s.generation >= 1 && well(&s.state, &s.owner))
        .await;
    assert_eq!(
        (status.generation, status.reason, status.unknown_since),
        (1, None, None)
    );
    let presented = stage.presented();
    assert!(presented == [1] || presented == [2], "{presented:?}");
    stage.serves_a_good_token().await;
}

/// A worker has asked what is due since so much had passed.
pub(crate) async fn looked(machine: &Machine, since: usize) {
    let is_look = |passed: &Passed| {
        let command = passed.call.words.first();
        passed.side == Side::Answered && command.is_some_and(|command| command == "ZRANGE")
    };
    eventually("a look at what is due", PATIENCE, async || {
        machine.proxy.passed()[since..]
            .iter()
            .any(is_look)
            .then_some(())
    })
    .await;
}
