//! `evergreen bench torture`: whether a fleet loses anything while everything breaks.

use std::path::PathBuf;
use std::time::Duration;

use comfy_table::Table;
use evergreen_engine::store::redis::RedisOptions;
use tokio_util::sync::CancellationToken;

use super::super::failure::{Ended, Exit, Failure};
use super::super::ui::Ui;
use super::super::{settings_failure, shutdown, table};
use super::{failure, read};
use crate::bench::torture::{self, Ask, Report, Violation, Which};
use crate::config::{self, DurationRange, StoreFlags};

/// Violations that are told one by one; `--json` has all of them.
const TOLD_MAX: usize = 20;
/// The server that is looked for where no Redis is named.
const SERVER: &str = "redis-server";

/// Lets everything break under a fleet, and compares in the end what the provider knows with what the store has.
///
/// It starts workers, as `evergreen worker` is started, and a simulated NinjaOne as processes of its own, and
/// then kills workers (SIGKILL), stops them past their lease (SIGSTOP), cuts their way to Redis, fills the disk
/// under their journals, kills Redis, and lets the provider eat replies, answer late, throttle and fail, while
/// people connect and disconnect. The seed decides what goes wrong, and when; not how long things take.
///
/// Redis: the one that --redis-url or EVERGREEN_REDIS_URL names is somebody else's, so it is not killed; every
/// connection of the workers is reset at once instead, with whatever was under way. Where none is named, or
/// with --redis-server, a server of the run's own is started, and that one is killed (SIGKILL) and started again.
///
/// Exit codes: 0 if every promise was kept, 1 if not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evergreen bench torture --minutes 10 --seed 42\n  \
    evergreen bench torture --redis-url redis://127.0.0.1:6379 --minutes 1")]
pub(super) struct Args {
    /// For how many minutes things go wrong; setting up and mending take two more at most as a rule
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// What decides everything that goes wrong [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Workers
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=32))]
    workers: u8,
    /// Integrations
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    integrations: u64,
    /// Life of an access token, in whole seconds
    #[arg(long, default_value = "30s", value_parser = lifetime)]
    lifetime: Duration,
    /// The workers' lease, in whole seconds
    #[arg(long, default_value = "6s", value_parser = lease)]
    lease: Duration,
    /// Start this redis-server for the run, and kill it, whatever Redis is named elsewhere
    #[arg(long, value_name = "PATH", conflicts_with = "redis_url")]
    redis_server: Option<PathBuf>,
    /// Keep there what the workers said, and the whole ledger
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    #[command(flatten)]
    store: StoreFlags,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    whole_seconds(10, 3600, "30s", text)
}

fn lease(text: &str) -> Result<Duration, String> {
    whole_seconds(3, 60, "6s", text)
}

fn whole_seconds(
    min: u64,
    max: u64,
    example: &'static str,
    text: &str,
) -> Result<Duration, String> {
    let (min, max) = (Duration::from_secs(min), Duration::from_secs(max));
    let range = DurationRange { min, max, example };
    let span = read(range, text)?;
    if span.subsec_nanos() != 0 {
        return Err(format!(
            "is no whole number of seconds; allowed is {}",
            range.allowed()
        ));
    }
    Ok(span)
}

pub(super) async fn run(args: Args, ui: &mut Ui) -> Ended {
    let (which, options) = redis(&args)?;
    let ask = Ask {
        // Short enough to be typed again.
        seed: args.seed.unwrap_or_else(|| rand::random::<u32>().into()),
        minutes: args.minutes,
        workers: usize::from(args.workers),
        integrations: usize::try_from(args.integrations).unwrap_or(usize::MAX),
        life: args.lifetime,
        lease: args.lease,
        evidence: args.evidence,
    };
    let signalled = shutdown::signalled()?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        signalled.await;
        token.cancel();
    });
    // Before anything can go wrong, and wherever it is read: this is what repeats it.
    ui.note(&format!("seed {}", ask.seed));
    let mut note = |text: &str| {
        if !ui.json {
            ui.note(text);
        }
    };
    let told = torture::run(&ask, &which, options, &stop, &mut note).await;
    let report = told.map_err(|e| failure(&e))?;
    if ui.json {
        ui.document(&report)?;
    } else {
        let text = text(ui, &report);
        ui.say(&text)?;
    }
    Ok(if report.holds() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// Which Redis, and how to treat it.
fn redis(args: &Args) -> Result<(Which, RedisOptions), Failure> {
    let sources = args.store.sources();
    let sources = sources.map_err(|e| Failure::of(Exit::Usage, "reading the settings", &e))?;
    let named = match &args.redis_server {
        Some(_) => None,
        None => config::load_store_if_named(&sources).map_err(|e| settings_failure(&e))?,
    };
    if let Some(store) = named {
        let options = store.options();
        let url = options.url.clone();
        return Ok((Which::Given { url }, options));
    }
    let program = match &args.redis_server {
        Some(program) => program.clone(),
        None => in_path(SERVER).ok_or_else(|| {
            Failure::usage("looking for a Redis", format!("none is named, and no {SERVER} is in PATH")).help(
                "name one that runs with --redis-url, or a server to start with --redis-server PATH",
            )
        })?,
    };
    Ok((Which::Own { program }, RedisOptions::new("")))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|place| place.join(program));
    places.find(|place| place.is_file())
}

fn text(ui: &Ui, report: &Report) -> String {
    let how = match report.redis {
        "killed" => "of the run's own, killed (SIGKILL) and started again",
        _ => "that was given, so not killed: every connection to it was reset instead",
    };
    let mut parts = vec![format!(
        "seed {}: {} min, {} workers, {} integrations, tokens of {} s, a lease of {} s\n{} {how}",
        report.seed,
        report.minutes,
        report.workers,
        report.integrations,
        report.lifetime_s,
        report.lease_s,
        report.server,
    )];
    parts.push(table::text(&done(ui, report)));
    parts.push(table::text(&ledger(ui, report)));
    let states: Vec<String> = report
        .states
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    parts.push(format!(
        "in the end, {:.1} s after all was put right: {}",
        report.mending_ms as f64 / 1000.0,
        states.join(", ")
    ));
    parts.push(verdict(report));
    parts.join("\n\n")
}

fn done(ui: &Ui, report: &Report) -> Table {
    let mut table = table::table(ui, &["WHAT WAS DONE", "TIMES"]);
    let done = &report.done;
    let rows = [
        ("worker killed (SIGKILL)", done.workers_killed),
        ("worker stopped (SIGSTOP)", done.workers_stopped),
        (
            "worker killed while it was stopped",
            done.workers_killed_while_stopped,
        ),
        ("worker cut off from Redis", done.workers_cut_off),
        ("disk full under a journal", done.disks_full),
        ("Redis gone", done.redis),
        (
            "worker restarted, Redis being away at its start",
            done.workers_restarted,
        ),
    ];
    for (what, times) in rows {
        table.add_row([what.to_owned(), times.to_string()]);
    }
    for (what, times) in &done.weather {
        table.add_row([format!("provider: {what}"), times.to_string()]);
    }
    for (what, times) in &done.people {
        table.add_row([format!("people: {what}"), times.to_string()]);
    }
    table
}

fn ledger(ui: &Ui, report: &Report) -> Table {
    let mut table = table::table(ui, &["LEDGER AGAINST STORE", ""]);
    let (ledger, lost, again) = (&report.ledger, &report.lost, &report.again);
    let mut add = |what: &str, number: u64| {
        table.add_row([what.to_owned(), number.to_string()]);
    };
    add("token requests", ledger.requests);
    add("refreshes", ledger.refreshed);
    for (what, number) in &ledger.replies {
        add(&format!("replies {what}"), *number);
    }
    add("lost grants, their reply eaten", lost.reply_eaten);
    add("lost grants, their client gone", lost.client_gone);
    add(
        "lost grants, their reply unread in a dead process",
        lost.reply_unread,
    );
    add(
        "lost grants, their reply read by a process that died of it",
        lost.died_with_reply,
    );
    add("verdicts healed by a pair that came later", report.healed);
    add(
        "sent again, the answer having said nothing of the token",
        again.nothing_said,
    );
    add("sent again, not having been answered", again.unanswered);
    for (cause, number) in &again.broken_off {
        let cause = serde_json::to_value(cause).ok();
        let cause = cause
            .as_ref()
            .and_then(|cause| cause.as_str())
            .unwrap_or_default();
        add(
            &format!(
                "sent again, the answer broken off: {}",
                cause.replace('_', " ")
            ),
            *number,
        );
    }
    let under_way = report.under_way_at_the_end_of_a_consent;
    add("requests under way when a consent ended", under_way);
    add(
        "longest time without a valid access token, ms",
        ledger.longest_gap_ms,
    );
    table
}

fn verdict(report: &Report) -> String {
    if report.holds() {
        return "every promise was kept: no grant is lost but those whose reply never reached a process, each of \
                them reported as rotation_lost; nobody else is asked to reconnect; no refresh token was sent again \
                but where that is permitted; nothing that was disconnected came back"
            .to_owned();
    }
    let told = |violation: &Violation| {
        let promise = serde_json::to_value(violation.broken).ok();
        let promise = promise
            .as_ref()
            .and_then(|word| word.as_str())
            .unwrap_or_default();
        format!("  {promise}  {}  {}", violation.integration, violation.what)
    };
    let mut lines = vec![format!("BROKEN: {} promises", report.violations.len())];
    lines.extend(report.violations.iter().take(TOLD_MAX).map(told));
    if report.violations.len() > TOLD_MAX {
        lines.push("  … (--json has all of them)".to_owned());
    }
    lines.push(format!(
        "the same faults at the same times: evergreen bench torture --seed {} --minutes {}",
        report.seed, report.minutes
    ));
    lines.join("\n")
}
