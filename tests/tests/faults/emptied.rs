//! Redis is emptied under a fleet that works.

use evergreen_tests::proxy::{Side, Step};
use ninjaone::provider::InstanceUrl;
use ninjaone::service::{Callback, Connected, ConsentAsk, ServiceError, TokenAsk};
use ninjaone::simulator::{SimulatorOptions, When};
use secrecy::ExposeSecret;
use url::Url;

use crate::stage::Stage;

const BROWSER: &str = "what its cookie says";

/// A person consents to the grant's integration, in a browser of the test's.
pub(crate) async fn consents(stage: &Stage) -> Connected {
    let instance = format!("http://{}", stage.provider.address());
    let ask = ConsentAsk {
        integration: stage.target().integration.clone(),
        instance_url: InstanceUrl::parse(&instance, stage.api.host_policy()).unwrap(),
        binding: BROWSER.to_owned(),
    };
    let start = stage.api.begin_consent(ask).await.unwrap();
    let browser = reqwest::Client::builder();
    let browser = browser
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = browser
        .get(start.authorize_url.as_str())
        .send()
        .await
        .unwrap();
    let back: Url = answer.headers()["location"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let member = |name: &str| {
        let found = back.query_pairs().find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    };
    let callback = Callback {
        state: member("state"),
        code: member("code").map(Into::into),
        error: None,
        error_description: None,
        iss: None,
    };
    stage
        .api
        .finish_consent(callback, Some(BROWSER))
        .await
        .unwrap()
}

/// A provider where everybody agrees to everything.
pub(crate) fn agreeable() -> SimulatorOptions {
    SimulatorOptions {
        auto_approve: true,
        ..SimulatorOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_an_emptied_store_loses_no_pair_and_a_new_consent_is_not_replaced_by_an_old_one() {
    let stage = Stage::of(1, agreeable()).await;
    let mut one = stage.working("one").await;
    let hold = stage.hold(When::After);
    stage.ask().await;
    stage.held(hold).await;
    let _: String = stage.redis.cli(&["FLUSHALL"]).await;
    stage.simulator.release(hold);
    // There is nobody to give it to: it stays where it is, and is shown.
    let nobody = |word: &str| word == "unknown";
    one.proxy
        .see("a signal to nobody", |passed| {
            passed.call.step == Step::Signal && nobody(&passed.word)
        })
        .await;
    one.see_count("evergreen_persist_pending", |pending| pending == 0)
        .await;
    one.see_entries(1).await;
    let nothing = stage.api.status(&stage.target()).await;
    assert!(
        matches!(nothing, Err(ServiceError::NotFound { .. })),
        "{nothing:?}"
    );

    // What the journal holds is of a grant that is none any more.
    let connected = consents(&stage).await;
    assert_eq!(
        (connected.status.epoch, connected.status.generation),
        (1, 0)
    );
    let before = stage
        .api
        .token(&stage.target(), &TokenAsk::default())
        .await
        .unwrap();
    one.see_entries(0).await;
    let status = stage.see("rest", |s| s.owner.is_none()).await;
    assert_eq!(
        (status.generation, status.quarantined, status.reason),
        (0, 0, None)
    );
    let after = stage
        .api
        .token(&stage.target(), &TokenAsk::default())
        .await
        .unwrap();
    assert_eq!(
        after.access_token.expose_secret(),
        before.access_token.expose_secret()
    );
    stage.serves_a_good_token().await;

    // And it lives on as any other.
    stage.ask().await;
    let status = stage
        .see("a refresh", |s| s.generation == 1 && s.owner.is_none())
        .await;
    assert_eq!((status.state.as_str(), status.reason), ("Scheduled", None));
    assert_eq!(stage.presented(), [1, 1]);
    stage.serves_a_good_token().await;
    one.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_starts_on_an_emptied_store_says_what_to_do() {
    let stage = Stage::new().await;
    let mut one = stage.working("one").await;
    let _: String = stage.redis.cli(&["FLUSHALL"]).await;
    // Who lives has written something since.
    one.proxy
        .see("a heartbeat or a turnstile", |passed| {
            passed.side == Side::Answered && passed.call.step == Step::Turnstile
        })
        .await;
    let _: u64 = stage
        .redis
        .cli(&["HSET", "evergreen:workers", "somebody", "{}"])
        .await;
    let two = stage.machine("two").await;
    let refused = two.run(&["worker"]).await;
    assert_eq!(refused.code(), Some(2), "{}", refused.stderr);
    for help in ["evergreen:meta", "restore it", "evergreen migrate"] {
        assert!(refused.stderr.contains(help), "{help}: {}", refused.stderr);
    }
    one.end().await;
}
