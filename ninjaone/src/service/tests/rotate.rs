//! Rotating seal keys: what is refused, what is done, what is told.

use evergreen_engine::store::{Claim, ClaimMode, Claimed, Store};
use tokio::time::sleep;

use super::stage::{Process, SECOND, Stage, key, target, workflow};
use crate::lifecycle::{Credential, Rescued, Signal};
use crate::refresher::workflow as place_of;
use crate::service::{Rotation, TokenAsk, Use, UsePlace};
use crate::vault::{KeyRing, Pair, Place};

const ACME: &str = "acme/prod@user";

async fn rotate(process: &Process) -> Rotation {
    process.app.rotate_seal_keys(|_| {}).await.unwrap()
}

fn only(rotation: &Rotation) -> &Use {
    assert_eq!(rotation.still_count, 1, "{rotation:#?}");
    &rotation.still[0]
}

#[tokio::test(start_paused = true)]
async fn s66_a_rotation_begins_when_every_worker_has_the_key_and_ends_when_nothing_uses_another() {
    let (stage, old) = (Stage::new(), key("k1"));
    let both = format!("{},{old}", key("k2"));
    let (one, two) = (stage.process("one", &both), stage.process("two", &old));
    let operator = stage.process("operator", &both);
    assert!(
        only(&rotate(&operator).await)
            .why
            .contains("no worker is alive")
    );

    let second = two.work();
    sleep(SECOND).await;
    let first = one.work();
    sleep(SECOND).await;
    one.adopts(ACME, "A0").await;
    assert_eq!(
        stage.key_of(ACME, "pair"),
        "k1",
        "what the other could not open is not sealed"
    );
    let refused = rotate(&operator).await;
    assert!(!refused.begun && !refused.done, "{refused:#?}");
    let use_ = only(&refused);
    assert_eq!(
        (use_.place, use_.worker.as_deref()),
        (UsePlace::Worker, Some("two"))
    );
    assert!(
        use_.why.contains("does not have the key k2"),
        "{}",
        use_.why
    );

    second.stop().await;
    let two = stage.process("two-again", &both);
    let second = two.work();
    one.adopts("globex/prod@client", "C0").await;
    let before = one.credential(ACME).await;
    let due = stage.memory.inspect(&workflow(ACME)).due;
    let done = rotate(&operator).await;
    assert!(done.begun && done.done, "{done:#?}");
    assert_eq!((done.grants, done.key.as_str()), (2, "k2"));
    assert_eq!(done.unused, ["k1"]);
    for id in [ACME, "globex/prod@client"] {
        assert_eq!(stage.key_of(id, "pair"), "k2");
    }
    assert_eq!(
        one.credential(ACME).await,
        before,
        "nothing else has changed"
    );
    assert_eq!(stage.memory.inspect(&workflow(ACME)).due, due);
    let again = rotate(&operator).await;
    assert_eq!((again.done, again.resealed), (true, 0));
    let log = stage.memory.log(&workflow(ACME)).await.unwrap();
    let heard = log.iter().filter(|line| line.contains("Reseal")).count();
    assert!(heard <= 1, "who has nothing to seal anew is left alone");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_has_the_key_behind_another_is_named_and_one_of_an_older_version_too() {
    let (stage, old, new) = (Stage::new(), key("k1"), key("k2"));
    let behind = stage.process("behind", &format!("{old},{new}"));
    let working = behind.work();
    sleep(SECOND).await;
    let operator = stage.process("operator", &format!("{new},{old}"));
    let refused = rotate(&operator).await;
    assert!(
        only(&refused).why.contains("put k2 in front"),
        "{refused:#?}"
    );
    working.stop().await;
    let line = serde_json::json!({"host": "h", "version": "0", "heartbeat": stage.now().await});
    let line = line.to_string();
    let put = stage.memory.table_put("workers", "ancient", &line);
    put.await.unwrap();
    let refused = rotate(&operator).await;
    assert!(only(&refused).why.contains("older version"), "{refused:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_opened_stays_untouched_and_is_told() {
    let (stage, old) = (Stage::new(), key("k1"));
    let both = format!("{},{old}", key("k2"));
    // Sealed with a key that nobody has, with another key of a known id, and parked.
    stage
        .process("lost", &key("k0"))
        .adopts("lost/prod@user", "L0")
        .await;
    stage
        .process("twin", &key("k1"))
        .adopts("twin/prod@user", "T0")
        .await;
    stage
        .process("early", &old)
        .adopts("parked/prod@user", "P0")
        .await;
    park(&stage, "parked/prod@user").await;
    let one = stage.process("one", &both);
    let working = one.work();
    sleep(SECOND).await;
    let ended = rotate(&stage.process("operator", &both)).await;
    assert!(ended.begun && !ended.done, "{ended:#?}");
    assert_eq!((ended.still_count, ended.resealed), (3, 0), "{ended:#?}");
    assert_eq!(ended.unused, [] as [&str; 0], "k1 is used");
    for (id, used, words) in [
        ("lost/prod@user", "k0", "k0 is not in this ring"),
        ("twin/prod@user", "k1", "cannot open it"),
        (
            "parked/prod@user",
            "k1",
            "evergreen requeue parked/prod@user",
        ),
    ] {
        let told = ended
            .still
            .iter()
            .find(|u| u.id.as_deref() == Some(id))
            .unwrap();
        assert_eq!(
            (told.key.as_deref(), told.what.as_deref()),
            (Some(used), Some("pair"))
        );
        assert!(told.why.contains(words), "{}", told.why);
        assert_eq!(stage.key_of(id, "pair"), used, "untouched");
        let record = stage.memory.inspect(&workflow(id)).record.unwrap();
        assert_eq!(record.state, "Scheduled");
        assert!(record.attempt <= 8 && (id == "parked/prod@user" || record.attempt == 0));
    }
    working.stop().await;
}

/// Claims it until its holders have vanished too often.
async fn park(stage: &Stage, id: &str) {
    loop {
        let claim = Claim {
            id: workflow(id),
            claim: format!("{:016x}", rand::random::<u64>()),
            owner: "vanishing".to_owned(),
            lease: SECOND,
            mode: ClaimMode::Drive,
            spare_owned: false,
        };
        let told = stage.memory.claim(&claim).await.unwrap();
        match told.answer {
            Claimed::Parked { .. } => return,
            Claimed::Delayed { until }
            | Claimed::Held {
                lease_until: until, ..
            } => {
                let rest = until.saturating_sub(told.now) + 1;
                sleep(std::time::Duration::from_millis(rest)).await;
            }
            _ => sleep(2 * SECOND).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_an_inbox_and_what_is_kept_apart_counts_as_well() {
    let (stage, old) = (Stage::new(), key("k1"));
    let both = format!("{},{old}", key("k2"));
    let early = stage.process("early", &old);
    early.adopts(ACME, "A0").await;
    early.adopts("other/prod@user", "B0").await;
    for id in [ACME, "other/prod@user"] {
        // A pair of an older generation than the stored one is kept apart.
        rescued(&early, &old, id, 4, "A5").await;
        early.app.engine().drive(&workflow(id)).await;
        rescued(&early, &old, id, 2, "A3").await;
    }
    early.app.engine().drive(&workflow("other/prod@user")).await;
    park(&stage, ACME).await;
    let one = stage.process("one", &both);
    let working = one.work();
    sleep(SECOND).await;
    let operator = stage.process("operator", &both);
    let ended = rotate(&operator).await;
    let of = |u: &Use| (u.id.clone().unwrap(), u.place);
    let mut still: Vec<_> = ended.still.iter().map(of).collect();
    still.sort_by_key(|(_, place)| *place as u8);
    let acme = || ACME.to_owned();
    assert_eq!(
        still,
        [(acme(), UsePlace::Sealed), (acme(), UsePlace::Inbox)],
        "{ended:#?}"
    );
    let apart = stage.memory.inspect(&workflow("other/prod@user")).sealed;
    assert_eq!(apart.len(), 2, "{:?}", apart.keys());
    for sealed in apart.values() {
        assert!(sealed.starts_with("v1.k2."), "{sealed}");
    }
    one.app.requeue(&target("acme/prod")).await.unwrap();
    let done = rotate(&operator).await;
    assert!(done.done, "{done:#?}");
    let sealed = stage.memory.inspect(&workflow(ACME)).sealed;
    assert_eq!(sealed.len(), 2);
    assert!(sealed.values().all(|text| text.starts_with("v1.k2.")));
    let token = one
        .app
        .token(&target("acme/prod"), &TokenAsk::default())
        .await;
    assert_eq!(token.unwrap().generation, 5);
    working.stop().await;
}

/// A rotated pair on its way to a grant, sealed with this ring.
async fn rescued(process: &Process, ring: &str, id: &str, base_generation: u64, token: &str) {
    let ring = KeyRing::parse(ring).unwrap();
    let workflow = workflow(id);
    let grant = process.credential(id).await.grant.unwrap();
    let pair = Pair {
        access_token: token.into(),
        refresh_token: Some(format!("R-{token}").into()),
    };
    let place = Place::Signal {
        workflow: place_of(&workflow),
        grant: grant.id,
    };
    let fingerprints = &process.app.0.refresher.fingerprints;
    let signal = Signal::Rescued(Rescued {
        grant: grant.id,
        base_generation,
        refresh_token: pair
            .refresh_token
            .as_ref()
            .map(|t| fingerprints.fingerprint(t)),
        pair: ring.seal_pair(&place, &pair),
        obtained_at: grant.obtained_at,
        expires_at: grant.expires_at,
        bearer: true,
    });
    let engine = process.app.engine();
    let told = engine.signal::<Credential>(&workflow, &signal, Default::default());
    assert!(told.await.unwrap().is_queued());
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_the_store_does_not_answer_says_so() {
    let stage = Stage::new();
    let operator = stage.process("operator", &key("k1"));
    operator.cut_off();
    let error = operator.app.rotate_seal_keys(|_| {}).await.unwrap_err();
    assert_eq!(error.status(), 503);
}
