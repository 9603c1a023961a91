//! `evergreen journal list`: what waits, without opening it.

use evergreen_engine::time::rfc3339;
use serde::Serialize;

use super::super::failure::{Ended, Exit, Failure};
use super::super::ui::Ui;
use super::super::{settings_failure, table};
use super::{ListArgs, must_be_there};
use crate::config;
use crate::journal::{self, Listed, Unreadable};
use crate::when::relative;

/// One entry as it is shown. What is sealed in it stays where it is.
#[derive(Serialize)]
struct Row<'a> {
    id: String,
    file: &'a str,
    kind: &'a str,
    /// `TENANT/INTEGRATION@grant`.
    workflow: &'a str,
    /// The consent that the pair belongs to.
    grant: String,
    /// The generation that was spent to get it.
    base_generation: u64,
    /// When the request that brought it was sent.
    written_at: String,
    /// When its access token expires, where that is known.
    expires_at: Option<String>,
    /// The seal key that opens it.
    key_id: &'a str,
}

impl<'a> Row<'a> {
    fn of(listed: &'a Listed) -> Self {
        let entry = &listed.entry;
        Self {
            id: entry.id.to_string(),
            file: &listed.file,
            kind: &entry.kind,
            workflow: &entry.workflow,
            grant: entry.grant.to_string(),
            base_generation: entry.base_generation,
            written_at: rfc3339(entry.written_at_ms),
            expires_at: entry.expires_at_ms.map(rfc3339),
            key_id: entry.sealed.key_id(),
        }
    }
}

pub(super) fn run(args: &ListArgs, ui: &mut Ui) -> Ended {
    let doing = "listing the journal";
    let directory = match &args.dir {
        Some(directory) => directory.clone(),
        None => {
            let flags = config::StoreFlags {
                config: args.config.clone(),
                ..config::StoreFlags::default()
            };
            let sources = flags
                .sources()
                .map_err(|e| Failure::of(Exit::Usage, doing, &e))?;
            config::load_journal_dir(&sources).map_err(|e| settings_failure(&e))?
        }
    };
    must_be_there(doing, &directory)?;
    let listing = journal::read_dir(&directory).map_err(|e| Failure::of(Exit::Usage, doing, &e))?;
    let rows: Vec<Row<'_>> = listing.entries.iter().map(Row::of).collect();
    if ui.json {
        ui.document(&rows)?;
    } else if rows.is_empty() {
        ui.say(&format!("nothing waits in {}", directory.display()))?;
    } else {
        ui.say(&text(&rows, ui))?;
    }
    // A record that was cut short is a write that nobody was told of; all else is a loss.
    let lost: Vec<&Unreadable> = listing
        .unreadable
        .iter()
        .filter(|one| one.error.is_some() || one.damaged_bytes > 0 || one.unknown_records > 0)
        .collect();
    for one in &lost {
        ui.note(&format!("warning: {}: {}", one.file, told(one)));
    }
    Ok(if lost.is_empty() {
        Exit::Ok
    } else {
        Exit::Attention
    })
}

fn text(rows: &[Row<'_>], ui: &Ui) -> String {
    let head = [
        "INTEGRATION",
        "FROM GENERATION",
        "WRITTEN",
        "ACCESS TOKEN",
        "SEAL KEY",
        "ENTRY",
        "FILE",
    ];
    let mut table = table::table(ui, &head);
    for row in rows {
        let expires = row.expires_at.as_deref();
        table.add_row([
            row.workflow.to_owned(),
            row.base_generation.to_string(),
            relative(&row.written_at, ui.now()),
            expires.map_or("-".to_owned(), |at| {
                format!("expires {}", relative(at, ui.now()))
            }),
            row.key_id.to_owned(),
            row.id.clone(),
            row.file.to_owned(),
        ]);
    }
    let count = match rows.len() {
        1 => "1 entry".to_owned(),
        some => format!("{some} entries"),
    };
    format!("{}\n\n{count}", table::text(&table))
}

fn told(one: &Unreadable) -> String {
    if let Some(error) = &one.error {
        return format!("cannot be read: {error}");
    }
    let mut parts = Vec::new();
    if one.damaged_bytes > 0 {
        parts.push(format!("{} bytes are damaged", one.damaged_bytes));
    }
    if one.unknown_records > 0 {
        parts.push(format!(
            "{} records are of a newer release, which must read them",
            one.unknown_records
        ));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::ui::Kept;
    use super::*;
    use crate::journal::{Entry, EntryId, Journal, Limits};
    use crate::vault::{GrantId, KeyRing, Pair, Place, Workflow};

    async fn one_entry(directory: &std::path::Path) -> Entry {
        use secrecy::ExposeSecret as _;
        let key = KeyRing::generate().unwrap();
        let ring = KeyRing::parse(key.printable.expose_secret()).unwrap();
        let grant = GrantId::random();
        let place = Place::Journal {
            workflow: Workflow {
                kind: crate::lifecycle::KIND,
                id: "acme/prod@user",
            },
            grant,
            base_generation: 7,
        };
        let pair = Pair {
            access_token: "CANARY-a".into(),
            refresh_token: Some("CANARY-r".into()),
        };
        let entry = Entry {
            id: EntryId::random(),
            kind: crate::lifecycle::KIND.to_owned(),
            workflow: "acme/prod@user".to_owned(),
            grant,
            base_generation: 7,
            claim: "0123456789abcdef".to_owned(),
            commit: None,
            written_at_ms: 1_774_526_100_000,
            expires_at_ms: Some(1_774_529_700_000),
            bearer: true,
            stamp: 0,
            sealed: ring.seal_pair(&place, &pair),
        };
        let journal = Journal::open(directory, "one", Limits::default()).unwrap();
        journal.put(entry.clone()).await.unwrap();
        entry
    }

    fn list(directory: &std::path::Path, json: bool) -> (Ended, Kept, Kept) {
        let (out, err) = (Kept::default(), Kept::default());
        let mut ui = Ui::for_test(json, out.clone(), err.clone());
        ui.width = Some(200);
        let args = ListArgs {
            dir: Some(directory.to_owned()),
            config: None,
        };
        (run(&args, &mut ui), out, err)
    }

    #[tokio::test]
    async fn what_waits_is_a_table_or_a_list_and_stays_sealed() {
        let directory = tempfile::tempdir().unwrap();
        let entry = one_entry(directory.path()).await;
        let sealed = entry.sealed.to_string();
        let (ended, out, _) = list(directory.path(), false);
        assert_eq!(ended, Ok(Exit::Ok));
        let text = out.text();
        assert!(
            text.contains("acme/prod@user  7                5 min ago  expires in 55 min"),
            "{text}"
        );
        assert!(text.ends_with("\n1 entry\n"), "{text}");
        let (_, json_out, _) = list(directory.path(), true);
        let told = json_out.json();
        assert_eq!(told.as_array().unwrap().len(), 1);
        assert_eq!(told[0]["workflow"], "acme/prod@user");
        assert_eq!(told[0]["written_at"], "2026-03-26T11:55:00.000Z");
        assert_eq!(told[0]["key_id"], entry.sealed.key_id());
        for shown in [text, json_out.text()] {
            assert!(
                !shown.contains("CANARY") && !shown.contains(&sealed),
                "{shown}"
            );
        }
    }

    #[tokio::test]
    async fn damage_is_told_and_costs_no_other_entry() {
        let directory = tempfile::tempdir().unwrap();
        one_entry(directory.path()).await;
        std::fs::write(directory.path().join("two.journal"), "rubbish\nrubbish\n").unwrap();
        let (ended, out, err) = list(directory.path(), true);
        assert_eq!(ended, Ok(Exit::Attention));
        assert_eq!(out.json().as_array().unwrap().len(), 1);
        assert!(err.text().contains("two.journal: "), "{}", err.text());
    }

    #[test]
    fn an_empty_directory_is_an_empty_list_and_a_missing_one_a_slip() {
        let directory = tempfile::tempdir().unwrap();
        let (ended, out, _) = list(directory.path(), true);
        assert_eq!((ended, out.json()), (Ok(Exit::Ok), json!([])));
        let (ended, ..) = list(&directory.path().join("no"), true);
        let failure = ended.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("--dir"), "{failure}");
    }
}
