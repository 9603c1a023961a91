//! `evergreen keys rotate`: everything that is sealed is sealed anew with the first key of the ring.

use std::time::{Duration, Instant};

use super::super::failure::{Ended, Exit, Failure};
use super::super::ui::Ui;
use super::super::{fleet, service_failure, table};
use super::RotateArgs;
use crate::config::Role;
use crate::service::{Rotation, RotationProgress, Use, UsePlace};

/// Between two words about how far it is.
const WORD_EVERY: Duration = Duration::from_secs(2);
/// Rows that people are shown; programs get as many as are told.
const ROWS_MAX: usize = 50;

pub(super) async fn run(args: &RotateArgs, ui: &mut Ui) -> Ended {
    let doing = "rotating the seal keys";
    let mut config = fleet::quiet_settings(&args.settings, Role::Worker)?;
    let store = config
        .store
        .clone()
        .ok_or_else(|| Failure::usage("reading the settings", "no Redis is named"))?;
    // A key space is made by `migrate` or a worker, not by who rotates its keys.
    let found = fleet::look_at_redis(evergreen_engine::store::redis::RedisOptions {
        create: false,
        ..store.options()
    })
    .await?;
    // It neither works nor adopts what others left on this disk.
    config.journal_dir = None;
    let nowhere = ([127, 0, 0, 1], 0).into();
    let app = fleet::app(config, nowhere, found.store, found.meta.salt)?;
    let mut said = Instant::now();
    let rotated = app
        .rotate_seal_keys(|progress| {
            if ui.watched && !ui.json && said.elapsed() >= WORD_EVERY {
                said = Instant::now();
                ui.note(&so_far(progress));
            }
        })
        .await;
    let rotation = rotated.map_err(|error| {
        service_failure(doing, &error)
            .help("what was sealed anew stays so; run this again, it goes on from there")
    })?;
    if ui.json {
        ui.document(&rotation)?;
    } else {
        ui.say(&text(&rotation, ui))?;
    }
    Ok(if rotation.done {
        Exit::Ok
    } else {
        Exit::Attention
    })
}

fn so_far(progress: RotationProgress) -> String {
    format!(
        "{} looked at, {} sealed anew",
        progress.grants, progress.resealed
    )
}

fn text(rotation: &Rotation, ui: &Ui) -> String {
    let mut lines = Vec::new();
    if !rotation.still.is_empty() {
        let mut table = table::table(ui, &["WHERE", "WHOSE", "SEAL KEY", "WHAT TO DO"]);
        for one in rotation.still.iter().take(ROWS_MAX) {
            table.add_row([place(one), whose(one), key(one), one.why.clone()]);
        }
        lines.push(table::text(&table));
        let more = rotation.still_count.saturating_sub(ROWS_MAX);
        if more > 0 {
            lines.push(format!(
                "and {more} more; --json tells {} of them",
                rotation.still.len()
            ));
        }
        lines.push(String::new());
    }
    let counts = format!(
        "{} looked at, {} sealed anew with {}",
        grants(rotation.grants),
        rotation.resealed,
        rotation.key
    );
    lines.push(match (rotation.begun, rotation.done) {
        (false, _) => "Nothing was begun: see above.".to_owned(),
        (true, false) => format!("{counts}. Something still uses an older key: see above."),
        (true, true) => format!("{counts}. {}", unused(rotation)),
    });
    lines.join("\n")
}

fn unused(rotation: &Rotation) -> String {
    if rotation.unused.is_empty() {
        return "Nothing uses another key.".to_owned();
    }
    format!(
        "Nothing uses {} any more: take it out of every ring in ten minutes, when the consents that were \
         begun before are over. Disks of machines that are gone are not looked at: evergreen journal \
         replay needs the key that their entries were sealed with.",
        rotation.unused.join(", ")
    )
}

fn grants(count: usize) -> String {
    match count {
        1 => "1 grant".to_owned(),
        some => format!("{some} grants"),
    }
}

fn place(one: &Use) -> String {
    let place = match one.place {
        UsePlace::Sealed => "sealed",
        UsePlace::Quarantine => "kept apart",
        UsePlace::Inbox => "inbox",
        UsePlace::Journal => "journal",
        UsePlace::Worker => "worker",
    };
    match (&one.what, one.place) {
        (Some(what), UsePlace::Sealed | UsePlace::Inbox) => format!("{place} ({what})"),
        _ => place.to_owned(),
    }
}

fn whose(one: &Use) -> String {
    let whose = one.id.as_ref().or(one.worker.as_ref());
    whose.map_or_else(|| "-".to_owned(), Clone::clone)
}

fn key(one: &Use) -> String {
    one.key.clone().unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::super::ui::Kept;
    use super::*;

    fn rotation(still: Vec<Use>) -> Rotation {
        Rotation {
            key: "k2".to_owned(),
            begun: true,
            done: still.is_empty(),
            grants: 3,
            resealed: 2,
            still_count: still.len(),
            still,
            unused: vec!["k1".to_owned()],
        }
    }

    fn parked(n: usize) -> Use {
        Use {
            place: UsePlace::Sealed,
            id: Some(format!("acme/n{n}@user")),
            worker: None,
            key: Some("k1".to_owned()),
            what: Some("pair".to_owned()),
            why: "it waits for a human".to_owned(),
        }
    }

    fn told(rotation: &Rotation) -> String {
        text(
            rotation,
            &Ui::for_test(false, Kept::default(), Kept::default()),
        )
    }

    #[test]
    fn the_end_names_the_key_that_can_go() {
        let text = told(&rotation(Vec::new()));
        assert!(
            text.starts_with("3 grants looked at, 2 sealed anew with k2. Nothing uses k1 any more"),
            "{text}"
        );
    }

    #[test]
    fn what_still_uses_a_key_is_told_by_name_and_not_without_end() {
        let text = told(&rotation((0..60).map(parked).collect()));
        assert!(
            text.contains("sealed (pair)") && text.contains("acme/n49@user"),
            "{text}"
        );
        assert!(!text.contains("acme/n50@user"), "{text}");
        assert!(
            text.contains("and 10 more; --json tells 60 of them"),
            "{text}"
        );
        assert!(!text.contains("any more:"), "{text}");
        let worker = Use {
            place: UsePlace::Worker,
            id: None,
            worker: Some("host-1".to_owned()),
            key: None,
            ..parked(0)
        };
        let refused = Rotation {
            begun: false,
            ..rotation(vec![worker])
        };
        let text = told(&refused);
        assert!(
            text.contains("host-1") && text.ends_with("Nothing was begun: see above."),
            "{text}"
        );
    }
}
