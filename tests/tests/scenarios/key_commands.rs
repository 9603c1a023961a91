//! Seal keys as processes and commands of the program meet them.

use evergreen_tests::bench::PATIENCE;
use evergreen_tests::site::Site;
use evergreen_tests::{Evergreen, RedisServer, eventually};
use ninjaone::journal::{self, Journal, Limits};
use serde_json::Value;

use crate::keys::{fresh, id_of, stranded};

#[tokio::test]
async fn s66_without_a_key_nothing_starts() {
    let redis = RedisServer::start().await;
    for command in ["worker", "serve"] {
        for ring in [None, Some("")] {
            let mut program = Evergreen::with([command]).redis(&redis);
            if let Some(ring) = ring {
                program = program.env("EVERGREEN_SEAL_KEYS", ring);
            }
            let refused = program.run(PATIENCE).await.expect_code(2);
            assert!(
                refused.stderr.contains("EVERGREEN_SEAL_KEYS"),
                "{}",
                refused.stderr
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s66_the_command_refuses_early_ends_well_and_says_when_redis_is_away() {
    let mut site = Site::start("a-secret-of-the-app").await;
    let both = format!("{},{}", fresh(), site.seal_keys);
    let rotate = |site: &Site, ring: &str| {
        let program = site.here(&["keys", "rotate", "--json"]);
        program.env("EVERGREEN_SEAL_KEYS", ring)
    };
    eventually("the worker's line", PATIENCE, async || {
        let lines: Vec<String> = site.redis.cli(&["HVALS", "evergreen:workers"]).await;
        lines.first()?.contains("seal_keys").then_some(())
    })
    .await;
    let refused = site.run(rotate(&site, &both)).await.expect_code(4);
    let told = refused.json();
    assert_eq!(
        (&told["begun"], &told["done"]),
        (&Value::Bool(false), &Value::Bool(false))
    );
    let why = told["still"][0]["why"].as_str().unwrap();
    let wanted = format!("does not have the key {}", id_of(&both));
    assert!(why.contains(&wanted), "{told:#}");
    let done = site
        .run(rotate(&site, &site.seal_keys))
        .await
        .expect_code(0);
    assert_eq!(done.json()["done"], true);
    let text = site
        .run(site.here(&["keys", "rotate"]))
        .await
        .expect_code(0);
    assert!(
        text.stdout.contains("Nothing uses another key"),
        "{}",
        text.stdout
    );
    site.redis.kill().await;
    let away = site
        .run(rotate(&site, &site.seal_keys))
        .await
        .expect_code(5);
    for shown in [refused, done, text, away] {
        for key in both.split(',') {
            let (_, material) = key.split_once(':').unwrap();
            assert!(!format!("{}{}", shown.stdout, shown.stderr).contains(material));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_sealed_with_a_key_that_is_not_there_stays_and_says_which_key_it_wants() {
    let site = Site::start("a-secret-of-the-app").await;
    let (disk, lost) = (site.file("another-machine"), fresh());
    let journal = Journal::open(&disk, "gone", Limits::default()).unwrap();
    journal.put(stranded(&lost)).await.unwrap();
    journal.close().await.unwrap();
    let dir = disk.to_str().unwrap();
    let listed = Evergreen::with(["journal", "list", "--dir", dir, "--json"]);
    let listed = site.run(listed).await.expect_code(0).json();
    assert_eq!(listed[0]["key_id"], id_of(&lost));
    let replay = || site.here(&["journal", "replay", "--dir", dir, "--json"]);
    let told = site.run(replay()).await.expect_code(4).json();
    assert_eq!(told[0]["result"], "undecryptable");
    assert_eq!(told[0]["key_id"], id_of(&lost));
    let text = site
        .run(site.here(&["journal", "replay", "--dir", dir]))
        .await;
    let text = text.expect_code(4).stdout;
    assert!(text.contains(id_of(&lost)), "{text}");
    // With the key it is told what else keeps it; it never gets lost.
    let ring = format!("{},{lost}", site.seal_keys);
    let told = site.run(replay().env("EVERGREEN_SEAL_KEYS", ring)).await;
    assert_eq!(told.expect_code(4).json()[0]["result"], "without_workflow");
    assert_eq!(journal::read_dir(&disk).unwrap().entries.len(), 1);
}
