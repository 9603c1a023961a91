//! `evergreen bench`: measurements for whoever sizes a deployment, where the fleet runs.

mod torture;

use std::time::Duration;

use comfy_table::Table;
use evergreen_engine::store::redis::RedisOptions;
use tokio_util::sync::CancellationToken;

use super::failure::{Ended, Exit, Failure};
use super::ui::Ui;
use super::{settings_failure, shutdown, store_failure, table};
use crate::bench::worker::Duty;
use crate::bench::{BenchError, Space, idle, lateness, numbers::Spread, takeover, timers, worker};
use crate::config::{self, DurationRange, StoreFlags};

/// Measures this machine and its Redis: what scripts cost, how soon the dead are noticed, how late
/// timers fire, what an idle fleet asks; and whether a fleet loses anything while everything breaks.
///
/// Each run has a key space of its own, which begins with evergreen:bench: and is removed at its end,
/// also at Ctrl-C. It never touches the keys of a fleet; but it does keep their Redis busy.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// What a script costs, and how much memory a workflow takes, with so many of them asleep
    #[command(after_help = "Example:\n  \
        evergreen bench timers --count 1000000 --redis-url redis://127.0.0.1:6379")]
    Timers(TimersArgs),
    /// How long after a worker's death another commits what the dead one was at
    #[command(after_help = "Example:\n  evergreen bench takeover --lease 10s --rounds 25")]
    Takeover(TakeoverArgs),
    /// How late timers and signals are heard by a fleet that has nothing else to do
    #[command(after_help = "Example:\n  evergreen bench lateness --no-wakes")]
    Lateness(LatenessArgs),
    /// What a fleet that has nothing to do asks of Redis
    #[command(after_help = "Example:\n  evergreen bench idle --workers 3 --timers 1000000")]
    Idle(IdleArgs),
    /// Whether a fleet loses anything while everything breaks
    Torture(torture::Args),
    /// A worker of a measurement; the others start it
    #[command(hide = true)]
    Worker(WorkerArgs),
}

#[derive(Debug, clap::Args)]
struct TimersArgs {
    /// Workflows
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    count: u64,
    /// Calls at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    at_once: u64,
    /// Bytes of each workflow's data
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    data_bytes: usize,
    /// Bytes of each workflow's sealed blob; 0 for none
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    sealed_bytes: usize,
    #[command(flatten)]
    store: StoreFlags,
}

#[derive(Debug, clap::Args)]
struct TakeoverArgs {
    /// The workers' lease
    #[arg(long, default_value = "15s", value_parser = lease)]
    lease: Duration,
    /// Workers to kill, one after another
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rounds: u64,
    /// Workflows at work in each round
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=90))]
    at_work: u64,
    #[command(flatten)]
    store: StoreFlags,
}

#[derive(Debug, clap::Args)]
struct LatenessArgs {
    /// Timers, and as many signals
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    timers: u64,
    /// Workers
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=32))]
    workers: u8,
    /// Block the wake channel: the workers hear no messages
    #[arg(long)]
    no_wakes: bool,
    #[command(flatten)]
    store: StoreFlags,
}

#[derive(Debug, clap::Args)]
struct IdleArgs {
    /// Workers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    workers: u8,
    /// Workflows that sleep meanwhile
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    timers: u64,
    /// How long to count
    #[arg(long = "for", default_value = "2m", value_name = "DURATION", value_parser = span)]
    span: Duration,
    #[command(flatten)]
    store: StoreFlags,
}

#[derive(Debug, clap::Args)]
struct WorkerArgs {
    #[command(flatten)]
    duty: Duty,
    #[command(flatten)]
    store: StoreFlags,
}

fn lease(text: &str) -> Result<Duration, String> {
    let (min, max) = (Duration::from_secs(3), Duration::from_mins(5));
    read(
        DurationRange {
            min,
            max,
            example: "10s",
        },
        text,
    )
}

fn span(text: &str) -> Result<Duration, String> {
    let (min, max) = (Duration::from_secs(1), Duration::from_hours(24));
    read(
        DurationRange {
            min,
            max,
            example: "2m",
        },
        text,
    )
}

fn read(range: DurationRange, text: &str) -> Result<Duration, String> {
    let told = |why| format!("{why}; allowed is {}", range.allowed());
    range.parse(text).map_err(told)
}

pub(super) async fn run(args: Args, ui: &mut Ui) -> Ended {
    match args.verb {
        Verb::Timers(args) => {
            let ask = timers::Ask {
                count: args.count,
                at_once: args.at_once,
                data_bytes: args.data_bytes,
                sealed_bytes: args.sealed_bytes,
            };
            let measured = measure(&args.store, ui, async |space, stop, note| {
                timers::run(space, &ask, stop, note).await
            });
            let report = measured.await?;
            show(ui, &report, timers_table)
        }
        Verb::Takeover(args) => {
            let ask = takeover::Ask {
                lease: args.lease,
                rounds: args.rounds,
                at_work: args.at_work,
            };
            let measured = measure(&args.store, ui, async |space, stop, note| {
                takeover::run(space, &ask, stop, note).await
            });
            let report = measured.await?;
            show(ui, &report, |ui, report| {
                let mut table = spreads(ui, "ms");
                add(&mut table, "crash to commit", &report.crash_to_commit_ms);
                add(
                    &mut table,
                    "lease end to commit",
                    &report.lease_end_to_commit_ms,
                );
                table::text(&table)
            })
        }
        Verb::Lateness(args) => {
            let ask = lateness::Ask {
                timers: args.timers,
                workers: usize::from(args.workers),
                wakes: !args.no_wakes,
            };
            let measured = measure(&args.store, ui, async |space, stop, note| {
                lateness::run(space, &ask, stop, note).await
            });
            let report = measured.await?;
            show(ui, &report, |ui, report| {
                let mut table = spreads(ui, "ms late");
                add(&mut table, "timers", &report.timers_ms);
                add(&mut table, "signals", &report.signals_ms);
                table::text(&table)
            })
        }
        Verb::Idle(args) => {
            let ask = idle::Ask {
                workers: usize::from(args.workers),
                timers: args.timers,
                span: args.span,
            };
            let measured = measure(&args.store, ui, async |space, stop, note| {
                idle::run(space, &ask, stop, note).await
            });
            let report = measured.await?;
            show(ui, &report, idle_table)
        }
        Verb::Torture(args) => torture::run(args, ui).await,
        Verb::Worker(args) => work(&args, ui).await,
    }
}

fn options(flags: &StoreFlags) -> Result<RedisOptions, Failure> {
    let sources = flags.sources();
    let sources = sources.map_err(|e| Failure::of(Exit::Usage, "reading the settings", &e))?;
    let store = config::load_store(&sources).map_err(|e| settings_failure(&e))?;
    Ok(store.options())
}

/// Makes a key space, measures in it, and removes it whatever came of that.
async fn measure<T>(
    flags: &StoreFlags,
    ui: &mut Ui,
    bench: impl AsyncFnOnce(&Space, &CancellationToken, &mut dyn FnMut(&str)) -> Result<T, BenchError>,
) -> Result<T, Failure> {
    let options = options(flags)?;
    let signalled = shutdown::signalled()?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        signalled.await;
        token.cancel();
    });
    let space = Space::make(options).await.map_err(|e| failure(&e))?;
    let mut note = |text: &str| {
        if ui.watched && !ui.json {
            ui.note(text);
        }
    };
    let measured = bench(&space, &stop, &mut note).await;
    note("removing the keys of this run");
    let removed = space.remove().await;
    let report = measured.map_err(|e| failure(&e))?;
    removed.map_err(|e| failure(&e))?;
    Ok(report)
}

fn failure(error: &BenchError) -> Failure {
    let doing = "measuring";
    match error {
        BenchError::Store(error) => store_failure(doing, error),
        BenchError::Unsuitable(_) | BenchError::Limits(_) => Failure::of(Exit::Usage, doing, error),
        BenchError::LeftBehind { .. } => Failure::of(Exit::Unavailable, doing, error),
        BenchError::Worker(_)
        | BenchError::Process(_)
        | BenchError::Overdue(_)
        | BenchError::Interrupted => Failure::of(Exit::Failed, doing, error),
    }
}

async fn work(args: &WorkerArgs, ui: &mut Ui) -> Ended {
    let options = options(&args.store)?;
    // Ctrl-C reaches all processes of a terminal; a worker ends when whoever started it wants it to.
    let _signals = shutdown::signalled()?;
    let ready = || {
        let said = ui.say("ready");
        said.map_err(|e| BenchError::Worker(e.to_string()))
    };
    let worked = worker::run(options, &args.duty, ready).await;
    worked.map_err(|e| failure(&e))?;
    Ok(Exit::Ok)
}

fn show<T: serde::Serialize>(
    ui: &mut Ui,
    report: &T,
    text: impl FnOnce(&Ui, &T) -> String,
) -> Ended {
    if ui.json {
        ui.document(report)?;
    } else {
        let text = text(ui, report);
        ui.say(&text)?;
    }
    Ok(Exit::Ok)
}

fn spreads(ui: &Ui, unit: &str) -> Table {
    let head = ["", "COUNT", "MEDIAN", "P99", "MAX"];
    let mut table = table::table(ui, &head);
    table.set_header([unit, "COUNT", "MEDIAN", "P99", "MAX"]);
    table
}

fn add(table: &mut Table, name: &str, spread: &Spread) {
    let shown = |number: f64| format!("{number:.1}");
    table.add_row([
        name.to_owned(),
        spread.count.to_string(),
        shown(spread.median),
        shown(spread.p99),
        shown(spread.max),
    ]);
}

fn timers_table(ui: &Ui, report: &timers::Report) -> String {
    let head = [
        "µs",
        "CALLS",
        "MEDIAN",
        "P99",
        "MAX",
        "SERVER MEDIAN",
        "P99",
        "MAX",
    ];
    let mut all = table::table(ui, &head);
    for (name, cost) in &report.scripts {
        let client = &cost.client_us;
        let mut row = vec![(*name).to_owned(), client.count.to_string()];
        row.extend([client.median, client.p99, client.max].map(|us| format!("{us:.0}")));
        if let Some(server) = &cost.server {
            let at_most = [server.median_us, server.p99_us, server.max_us];
            row.extend(at_most.map(|us| format!("≤ {us}")));
        }
        all.add_row(row);
    }
    let (memory, reconcile) = (&report.memory, &report.reconcile);
    let slow = match (&report.slow.calls, report.slow.from_us) {
        (Some(calls), Some(from)) => {
            let mut text = format!("slow calls (from {from} µs): {}", calls.len());
            for call in calls {
                text += &format!("\n  {} µs  {}", call.us, call.command);
            }
            text
        }
        _ => "slow calls: the server does not show its slow log to this role".to_owned(),
    };
    format!(
        "{}, {} workflows asleep, {} calls at once\n\n{}\n\n\
         memory of one idle workflow: {} bytes\n\
         comparing all: {:.1} s for {} records and {} entries, {} put right\n{slow}",
        report.server,
        report.workflows,
        report.at_once,
        table::text(&all),
        memory.bytes_per_workflow,
        reconcile.seconds,
        reconcile.records,
        reconcile.entries,
        reconcile.repaired,
    )
}

fn idle_table(ui: &Ui, report: &idle::Report) -> String {
    let head = [
        "A SECOND",
        "ROUND TRIPS",
        "COMMANDS",
        "BYTES OUT",
        "BYTES IN",
        "CONNECTIONS",
    ];
    let mut table = table::table(ui, &head);
    for (number, asked) in report.workers.iter().enumerate() {
        table.add_row([
            format!("worker {}", number + 1),
            format!("{:.2}", asked.round_trips_per_second),
            format!("{:.1}", asked.commands_per_second),
            format!("{:.0}", asked.sent_per_second),
            format!("{:.0}", asked.received_per_second),
            asked.connections.to_string(),
        ]);
    }
    format!(
        "{}, {} workflows asleep, counted for {:.0} s\n\n{}",
        report.server,
        report.timers,
        report.seconds,
        table::text(&table)
    )
}
