//! `evergreen import`: take over credentials that other software has kept so far.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use chrono::{Local, Utc};
use futures::{StreamExt, stream};

use super::client::Api;
use super::client::bodies::{Offer, Offered};
use super::failure::{Ended, Exit, Failure};
use super::progress::Progress;
use super::ui::Ui;
use crate::import::report::{Line, Report, Verdict};
use crate::import::{Candidate, Error, Format, Row, TWO_OWNERS, alga, jsonl, tokens_json};
use crate::integration::IntegrationId;

/// Rows on their way at the same time.
const CONCURRENCY: usize = 8;

/// Takes over credentials that other software has kept so far.
///
/// A row that is already stored is left as it is, so the same import can be run again. One bad row
/// never stops the rest. Exit code 4 means that rows were refused; they are named with field and
/// reason.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  evergreen import --format alga /run/secrets --dry-run\n  \
    evergreen import --format jsonl grants.jsonl\n  \
    evergreen import --format tokens-json ./tokens.json --id acme/prod \\\n    \
    --instance-url https://eu.ninjarmm.com\n\n\
    A tokens.json that does not parse is moved aside, to NAME.unreadable-TIME beside it, because its owner \
    would overwrite it; not with --dry-run."
)]
pub(crate) struct Args {
    /// How PATH is to be read
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Format,
    /// The directory of Alga PSA's secrets, the tokens.json, or the file with one grant a line (- for standard input)
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Say what would happen, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the credentials although others are stored that work; never one that was spent
    #[arg(long)]
    replace: bool,
    /// For tokens-json: whose tokens they are, as TENANT/INTEGRATION
    #[arg(long, value_name = "ID")]
    id: Option<IntegrationId>,
    /// For tokens-json: the address that people open NinjaOne at
    #[arg(long, value_name = "URL")]
    instance_url: Option<String>,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    ui.note(&format!("note: {TWO_OWNERS}"));
    let rows = read(&args, ui).await?;
    let progress = Progress::new(rows.len(), ui);
    let mut report = Report::default();
    let mut away = None;
    let mut answers = stream::iter(&rows)
        .map(|row| offer(row, &args, api))
        .buffered(CONCURRENCY);
    while let Some(answer) = answers.next().await {
        let (line, failure) = answer?;
        progress.step(&line);
        report.push(line);
        away = away.or(failure);
    }
    progress.end();
    if ui.json {
        ui.document(&report)?;
    } else {
        if args.dry_run {
            ui.note("dry run: nothing was changed");
        }
        ui.say(&report.to_string())?;
    }
    match away {
        // Named in the report as well; the rest of the rows were done.
        Some(failure) => Err(failure),
        None if report.exit_code() == 0 => Ok(Exit::Ok),
        None => Ok(Exit::Attention),
    }
}

async fn read(args: &Args, ui: &mut Ui) -> Result<Vec<Row>, Failure> {
    let doing = "reading what is to be imported";
    if args.format != Format::TokensJson && (args.id.is_some() || args.instance_url.is_some()) {
        let why =
            "--id and --instance-url are for --format tokens-json; the others say it themselves";
        return Err(Failure::usage(doing, why));
    }
    let failed = |e: Error| Failure::of(Exit::Usage, doing, &e);
    match args.format {
        Format::Alga => alga::read(&args.path).map_err(|e| {
            failed(e)
                .help("PATH is the directory that holds Alga PSA's secrets, with tenants/ in it")
        }),
        Format::Jsonl if args.path == Path::new("-") => lines(std::io::stdin().lock(), &args.path),
        Format::Jsonl => {
            let failed = |source| {
                Failure::new(
                    Exit::Usage,
                    doing,
                    format!("{}: {source}", args.path.display()),
                )
            };
            lines(
                BufReader::new(File::open(&args.path).map_err(failed)?),
                &args.path,
            )
        }
        Format::TokensJson => {
            let id = args.id.clone().ok_or_else(|| {
                Failure::usage(doing, "tokens.json does not say whose tokens it holds")
                    .help("add --id TENANT/INTEGRATION --instance-url URL")
            })?;
            let source = tokens_json::Source {
                id,
                instance_url: args.instance_url.clone(),
                zone: Local,
                dry_run: args.dry_run,
            };
            let found = tokens_json::read(&args.path, &source, Utc::now())
                .await
                .map_err(failed)?;
            for note in &found.notes {
                ui.note(&format!("note: {note}"));
            }
            if let Some(aside) = &found.moved_aside {
                ui.note(&format!(
                    "note: the file does not parse and was moved to {}",
                    aside.display()
                ));
            }
            Ok(found.rows)
        }
    }
}

fn lines(source: impl std::io::BufRead, path: &Path) -> Result<Vec<Row>, Failure> {
    let failed = |e| {
        let doing = "reading what is to be imported";
        Failure::new(Exit::Usage, doing, format!("{}: {e}", path.display()))
    };
    jsonl::read(source)
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// What became of one row. A server that is away is told beside the line; what stops all rows, such
/// as a wrong key, is the error.
async fn offer(row: &Row, args: &Args, api: &Api) -> Result<(Line, Option<Failure>), Failure> {
    let candidate = match row {
        Ok(candidate) => candidate,
        Err(refused) => return Ok((Line::from(refused), None)),
    };
    let grant = &candidate.grant;
    let answer = api
        .offer(grant, &Offer::from(candidate), args.replace, args.dry_run)
        .await;
    Ok(match answer {
        Ok(offered) => (judged(candidate, offered), None),
        Err(failure) => match (failure.exit, failure.kind()) {
            (_, Some("unauthorized" | "forbidden")) => return Err(failure),
            (Exit::Unavailable, _) => {
                let reason = format!("not stored: {}; import again", failure.why);
                (Line::refused(grant, "store", &reason), Some(failure))
            }
            (_, Some(_)) => (Line::refused(grant, "row", &failure.why), None),
            // Not an answer of Evergreen's: none of the others would be, either.
            (_, None) => return Err(failure),
        },
    })
}

fn judged(candidate: &Candidate, offered: Offered) -> Line {
    let grant = &candidate.grant;
    let mut warnings = candidate.warnings.clone();
    let line = match offered {
        Offered::Minted(view) => {
            warnings.extend(
                view.attention
                    .map(|word| format!("needs attention: {word}")),
            );
            Line::adopted(grant)
        }
        Offered::Judged(judged) => match judged.result {
            Verdict::Adopted => Line::adopted(grant),
            Verdict::Unchanged => Line::unchanged(grant),
            Verdict::Refused => Line::refused(
                grant,
                judged.field.as_deref().unwrap_or("row"),
                judged.reason.as_deref().unwrap_or("refused"),
            ),
        },
    };
    line.with_warnings(&warnings)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::client::stub::{Stub, problem};
    use super::super::ui::Kept;
    use super::*;

    const ROWS: &str = r#"
{"tenant":"acme","integration":"a","access_token":"CANARY-a","refresh_token":"CANARY-r","expires_at":1774526400000,"instance_url":"https://eu.ninjarmm.com"}
{"tenant":"acme","integration":"b","refresh_token":"CANARY-r2","instance_url":"https://eu.ninjarmm.com"}
{"tenant":"acme","integration":"c","refresh_token":"CANARY-r3","instance_url":"https://eu.ninjarmm.com"}
{"tenant":"ac me","integration":"d"}
"#;

    fn args(path: &Path) -> Args {
        Args {
            format: Format::Jsonl,
            path: path.to_owned(),
            dry_run: false,
            replace: false,
            id: None,
            instance_url: None,
        }
    }

    async fn import(answers: &[(u16, Value)], json: bool) -> (Ended, Kept, Kept, Stub) {
        let stub = Stub::answering(answers).await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        std::fs::write(&path, ROWS).unwrap();
        let (out, err) = (Kept::default(), Kept::default());
        let mut ui = Ui::for_test(json, out.clone(), err.clone());
        let ended = run(args(&path), &stub.api, &mut ui).await;
        assert!(!format!("{}{}{ended:?}", out.text(), err.text()).contains("CANARY"));
        (ended, out, err, stub)
    }

    #[tokio::test]
    async fn every_row_is_offered_and_the_bad_one_stops_none() {
        let adopted = json!({"result": "adopted", "field": null, "reason": null});
        let (ended, out, err, stub) = import(&[(201, adopted)], true).await;
        assert_eq!(ended, Ok(Exit::Attention));
        assert!(err.text().contains("Two owners"));
        let report = out.json();
        assert_eq!(
            (report["adopted"].clone(), report["refused"].clone()),
            (json!(3), json!(1))
        );
        let ids: Vec<_> = report["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].clone())
            .collect();
        assert_eq!(
            ids,
            [
                json!("acme/a"),
                json!("acme/b"),
                json!("acme/c"),
                json!(null)
            ]
        );
        let mut lines = stub.lines();
        lines.sort();
        assert_eq!(lines[0], "PUT /v1/integrations/acme/a?grant=user");
        let first = stub
            .seen()
            .into_iter()
            .find(|seen| seen.line == lines[0])
            .unwrap();
        assert_eq!(first.body["refresh_token"], "CANARY-r");
        assert_eq!(first.body["expires_at"], 1_774_526_400_000_i64);
    }

    #[tokio::test]
    async fn a_refusal_by_the_server_has_field_and_reason() {
        let spent =
            json!({"result": "refused", "field": "refresh_token", "reason": "already spent"});
        let (ended, out, ..) = import(&[(409, spent)], false).await;
        assert_eq!(ended, Ok(Exit::Attention));
        let text = out.text();
        assert!(
            text.contains("refused  acme/a: refresh_token: already spent"),
            "{text}"
        );
        assert!(
            text.ends_with("0 adopted, 0 unchanged, 4 refused\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_store_that_is_away_exits_5_after_the_report() {
        let away = problem("store-unavailable", "the store does not answer", "wait");
        let (ended, out, ..) = import(&[(503, away)], true).await;
        assert_eq!(ended.unwrap_err().exit, Exit::Unavailable);
        assert_eq!(out.json()["refused"], 4);
        assert_eq!(out.json()["rows"][0]["field"], "store");
    }

    #[tokio::test]
    async fn a_wrong_key_stops_everything_at_once() {
        let wrong = problem("unauthorized", "this API key is not known", "none");
        let (ended, out, ..) = import(&[(401, wrong)], true).await;
        assert_eq!(ended.unwrap_err().exit, Exit::Usage);
        assert_eq!(out.text(), "");
    }

    #[tokio::test]
    async fn tokens_json_must_be_told_whose_it_is() {
        let stub = Stub::answering(&[(500, Value::Null)]).await;
        let mut ui = Ui::for_test(false, Kept::default(), Kept::default());
        let asked = Args {
            format: Format::TokensJson,
            ..args(Path::new("tokens.json"))
        };
        let failure = run(asked, &stub.api, &mut ui).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.help.unwrap().contains("--id"));
        assert!(stub.seen().is_empty());
    }
}
