//! `evergreen migrate`: bring the key space up to date, where the fleet runs.

use evergreen_engine::limits::PARTITIONS_DEFAULT;
use evergreen_engine::store::redis;
use evergreen_engine::time::rfc3339;
use serde_json::json;

use super::failure::{Ended, Exit, Failure};
use super::ui::Ui;
use super::{settings_failure, store_failure};
use crate::config::{self, StoreFlags};

/// Brings the key space in Redis up to this program's version, or makes one.
///
/// Run it before the workers of a new version start; running it again changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    EVERGREEN_REDIS_URL=redis://127.0.0.1:6379 evergreen migrate")]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreFlags,
}

pub(super) async fn run(args: Args, ui: &mut Ui) -> Ended {
    let doing = "migrating the key space";
    let sources = args
        .store
        .sources()
        .map_err(|e| Failure::of(Exit::Usage, doing, &e))?;
    let store = config::load_store(&sources).map_err(|e| settings_failure(&e))?;
    let options = store.options();
    let partitions = match store.partitions {
        Some(partitions) => partitions,
        // What is there stays as it is.
        None => redis::RedisStore::connect(redis::RedisOptions {
            create: false,
            ..options.clone()
        })
        .await
        .map_or(PARTITIONS_DEFAULT, |store| {
            evergreen_engine::store::Store::partitions(&store)
        }),
    };
    let report = redis::migrate(&options, partitions)
        .await
        .map_err(|e| store_failure(doing, &e))?;
    let meta = &report.meta;
    if ui.json {
        ui.document(&json!({
            "applied": report.applied,
            "version": meta.version,
            "partitions": meta.partitions,
            "created_at": rfc3339(meta.created_at),
        }))?;
    } else {
        let applied = match report.applied.as_slice() {
            [] => "nothing to do".to_owned(),
            some => format!("applied {}", some.join(", ")),
        };
        ui.say(&format!(
            "{applied}; {} has version {} with {} partitions",
            options.masked_url(),
            meta.version,
            meta.partitions
        ))?;
    }
    Ok(Exit::Ok)
}
