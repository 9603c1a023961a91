//! `evergreen journal replay`: what a machine left behind reaches the fleet.

use std::time::Duration;

use evergreen_engine::WorkflowId;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::super::failure::{Ended, Exit, Failure};
use super::super::ui::Ui;
use super::super::{fleet, table};
use super::{ReplayArgs, must_be_there};
use crate::config::Role;
use crate::journal;
use crate::lifecycle::Credential;
use crate::refresher::Delivered;
use crate::service::App;

/// How long it is waited until a worker has heard what was delivered.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(100);

/// What became of one entry.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    /// `TENANT/INTEGRATION@grant`.
    workflow: String,
    /// The generation that was spent to get it.
    base_generation: u64,
    /// The seal key that opens it.
    key_id: String,
    result: Delivered,
    /// Whether a worker has heard it already; then this is how the grant stands.
    heard: bool,
    state: Option<String>,
    generation: Option<u64>,
}

pub(super) async fn run(args: ReplayArgs, ui: &mut Ui) -> Ended {
    let doing = "replaying the journal";
    let mut config = fleet::quiet_settings(&args.settings, Role::Worker)?;
    let directory = args
        .dir
        .or_else(|| config.journal_dir.clone())
        .unwrap_or_default();
    must_be_there(doing, &directory)?;
    let held = journal::held_files(&directory).map_err(|e| Failure::of(Exit::Usage, doing, &e))?;
    if !held.is_empty() {
        let why = format!(
            "a live worker uses {}: it holds {}",
            directory.display(),
            held.join(", ")
        );
        return Err(Failure::usage(doing, why).help(
            "it delivers what waits there by itself; journal list shows what is left, and a worker \
             that hangs is to be stopped first",
        ));
    }
    let before = journal::read_dir(&directory).map_err(|e| Failure::of(Exit::Usage, doing, &e))?;
    if before.entries.is_empty() {
        return nothing(&directory, ui);
    }
    config.journal_dir = Some(directory);
    let (store, salt, _) = fleet::named_redis(&config).await?;
    let app = fleet::app(config, ([127, 0, 0, 1], 0).into(), store, salt)?;
    let mut rows = Vec::new();
    for (entry, result) in app.replay_journal_each().await {
        rows.push(Row {
            id: entry.id.to_string(),
            workflow: entry.workflow,
            base_generation: entry.base_generation,
            key_id: entry.sealed.key_id().to_owned(),
            result,
            heard: false,
            state: None,
            generation: None,
        });
    }
    let until = Instant::now() + PATIENCE;
    for row in &mut rows {
        hear(&app, row, until).await;
    }
    if ui.json {
        ui.document(&rows)?;
    } else {
        ui.say(&text(&rows, ui))?;
    }
    let any = |wanted: Delivered| rows.iter().any(|row| row.result == wanted);
    Ok(if any(Delivered::Unconfirmed) {
        Exit::Unavailable
    } else if any(Delivered::WithoutWorkflow) || any(Delivered::Undecryptable) {
        Exit::Attention
    } else {
        Exit::Ok
    })
}

fn nothing(directory: &std::path::Path, ui: &mut Ui) -> Ended {
    if ui.json {
        ui.document(&[(); 0])?;
    } else {
        ui.say(&format!("nothing waits in {}", directory.display()))?;
    }
    Ok(Exit::Ok)
}

/// Looks whether a worker has heard what was delivered, and how the grant stands then.
async fn hear(app: &App, row: &mut Row, until: Instant) {
    if row.result != Delivered::Delivered {
        return;
    }
    let Ok(id) = WorkflowId::new(crate::lifecycle::KIND, &row.workflow) else {
        return;
    };
    loop {
        // A store that has gone away meanwhile says nothing more; what was delivered is safe.
        let Ok(Some(view)) = app.engine().read::<Credential>(&id, false).await else {
            return;
        };
        if view.reading.inbox_len == 0 {
            row.heard = true;
            row.state = Some(view.reading.record.state);
            row.generation = view
                .machine
                .ok()
                .and_then(|(credential, _)| Some(credential.grant?.generation));
            return;
        }
        if Instant::now() >= until {
            return;
        }
        sleep(LOOK).await;
    }
}

fn text(rows: &[Row], ui: &Ui) -> String {
    let head = ["INTEGRATION", "FROM GENERATION", "RESULT", "NOW"];
    let mut table = table::table(ui, &head);
    for row in rows {
        table.add_row([
            row.workflow.clone(),
            row.base_generation.to_string(),
            words(row),
            now(row),
        ]);
    }
    table::text(&table)
}

fn words(row: &Row) -> String {
    let words = match row.result {
        Delivered::Delivered => "delivered",
        Delivered::WithoutWorkflow => "stays: there is no such integration in this Redis",
        Delivered::Unconfirmed => "stays: Redis did not confirm it; run this again",
        Delivered::Undecryptable => {
            return format!(
                "stays: no seal key here opens it; add the key {} that it was sealed with",
                row.key_id
            );
        }
    };
    words.to_owned()
}

fn now(row: &Row) -> String {
    match (&row.state, row.generation) {
        (Some(state), Some(generation)) => format!("{state}, generation {generation}"),
        (Some(state), None) => state.clone(),
        (None, _) if row.result == Delivered::Delivered => {
            "waits for a worker to hear it".to_owned()
        }
        (None, _) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::ui::Kept;
    use super::*;

    #[test]
    fn each_entry_says_what_became_of_it() {
        let row = |result, state: Option<&str>| Row {
            id: "00".to_owned(),
            workflow: "acme/prod@user".to_owned(),
            base_generation: 7,
            key_id: "k1".to_owned(),
            result,
            heard: state.is_some(),
            state: state.map(str::to_owned),
            generation: state.map(|_| 8),
        };
        let rows = [
            row(Delivered::Delivered, Some("Scheduled")),
            row(Delivered::Delivered, None),
            row(Delivered::Undecryptable, None),
        ];
        let ui = Ui::for_test(false, Kept::default(), Kept::default());
        let text = text(&rows, &ui);
        for line in [
            "acme/prod@user  7                delivered",
            "Scheduled, generation 8",
            "waits for a worker to hear it",
            "add the key k1 that",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
