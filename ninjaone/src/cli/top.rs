//! `evergreen top`: the fleet, live.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::sleep;

use super::client::Api;
use super::failure::{Ended, Exit, Failure};
use super::ui::Ui;
use super::{shutdown, table};
use crate::config::DurationRange;
use crate::service::{FleetStatus, HostView};
use crate::when::{exact, relative};

/// Another screen, so that what was there before comes back; without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the top left; each line then erases what was behind it, and the last what was below.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

const EVERY: DurationRange = DurationRange {
    min: Duration::from_secs(1),
    max: Duration::from_hours(1),
    example: "5s",
};

/// The fleet at a glance, live: states, rates, what is next, what is late, who works.
///
/// Without a terminal, or with --json, it prints once and ends.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ctrl-C ends it.\n\nExamples:\n  evergreen top\n  evergreen top --every 2s\n  \
    evergreen top --once\n  evergreen top --json | jq .states"
)]
pub(crate) struct Args {
    /// How often to look again
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = every)]
    every: Duration,
    /// Print once and end
    #[arg(long)]
    once: bool,
}

fn every(text: &str) -> Result<Duration, String> {
    let wrong = |why| format!("{why}; allowed is {}", EVERY.allowed());
    EVERY.parse(text).map_err(wrong)
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    if ui.json {
        ui.document(&api.fleet().await?)?;
        return Ok(Exit::Ok);
    }
    let first = api.fleet().await?;
    if args.once || !ui.live {
        ui.say(&page(&first, ui))?;
        return Ok(Exit::Ok);
    }
    let stop = shutdown::signalled()?;
    ui.draw(ENTER)?;
    let ended = tokio::select! {
        ended = watch(first, &args, api, ui) => ended,
        () = stop => Ok(Exit::Ok),
    };
    ui.draw(LEAVE)?;
    ended
}

async fn watch(first: FleetStatus, args: &Args, api: &Api, ui: &mut Ui) -> Ended {
    let mut last = first;
    let mut trouble: Option<Failure> = None;
    loop {
        // What is wrong comes first, where no terminal is too short for it.
        let mut text = String::new();
        if let Some(failure) = &trouble {
            let _ = write!(text, "{failure}\n\n");
        }
        text.push_str(&page(&last, ui));
        ui.draw(&frame(&text, rows()))?;
        sleep(args.every).await;
        match api.fleet().await {
            Ok(fleet) => (last, trouble) = (fleet, None),
            // A server that restarts is back in a moment.
            Err(failure) if failure.exit == Exit::Unavailable => trouble = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
}

/// Rows of the terminal, if it says.
fn rows() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_row)).filter(|rows| *rows > 0)
}

/// A page over the one before, without a flicker between them. Of one that is longer than the terminal it is
/// the beginning that is shown.
fn frame(text: &str, rows: Option<usize>) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    // The last line feed would push the first line out.
    let fits = rows.map_or(usize::MAX, |rows| rows.saturating_sub(1).max(1));
    let more;
    if lines.len() > fits {
        let left_out = lines.len() - (fits - 1);
        more = format!("… {left_out} lines more: evergreen top --once prints all");
        lines.truncate(fits - 1);
        lines.push(&more);
    }
    let mut frame = HOME.to_owned();
    for line in lines {
        frame.push_str(line);
        frame.push_str(REST_OF_LINE);
        frame.push_str("\r\n");
    }
    frame.push_str(REST_OF_SCREEN);
    frame
}

fn page(fleet: &FleetStatus, ui: &Ui) -> String {
    let all: usize = fleet.states.values().sum();
    let mut lines = Vec::new();
    let mut row = |label: &str, text: String| lines.push(format!("{label:<11}{text}"));
    row(
        "grants",
        with_others(
            all.to_string(),
            &[
                (fleet.attention, "need attention"),
                (fleet.failing, "failing"),
                (fleet.parked, "parked"),
                (fleet.quarantined, "with pairs kept apart"),
            ],
        ),
    );
    row("refreshes", {
        let some = format!("{} in the last minute", fleet.refreshed_last_minute);
        with_others(some, &[(fleet.failed_last_minute, "failed")])
    });
    row("workers", workers(fleet));
    if let Some(oldest) = &fleet.oldest_overdue {
        row(
            "overdue",
            format!(
                "{}, the oldest is {}, due {}",
                fleet.overdue,
                oldest.id,
                relative(&oldest.at, ui.now())
            ),
        );
    }
    for host in &fleet.hosts {
        if let Some(text) = held_back(host, ui) {
            row("host", text);
        }
    }
    row("as of", exact(&fleet.at));
    let mut parts = vec![lines.join("\n")];
    let mut states = table::table(ui, &["STATE", "GRANTS"]);
    for (state, count) in &fleet.states {
        states.add_row([state.clone(), count.to_string()]);
    }
    parts.push(table::text(&states));
    if !fleet.next.is_empty() {
        let mut next = table::table(ui, &["NEXT REQUESTS", "WHEN"]);
        for one in &fleet.next {
            next.add_row([one.id.clone(), relative(&one.at, ui.now())]);
        }
        parts.push(table::text(&next));
    }
    if !fleet.troubles.is_empty() {
        let mut troubles = table::table(ui, &["TROUBLES", "WHY"]);
        for one in &fleet.troubles {
            troubles.add_row([one.id.clone(), one.word.clone()]);
        }
        parts.push(table::text(&troubles));
    }
    parts.join("\n\n")
}

/// Until when a host is left alone, if it is.
fn held_back(host: &HostView, ui: &Ui) -> Option<String> {
    let until = |at: &str| relative(at, ui.now());
    let name = &host.host;
    if let Some(at) = &host.paused_until {
        return Some(format!(
            "{name} is left alone: the pause ends {}",
            until(at)
        ));
    }
    match (host.breaker.as_str(), &host.breaker_until) {
        ("closed", _) => None,
        (_, Some(at)) => Some(format!("{name} fails: the next try is {}", until(at))),
        (_, None) => Some(format!("{name} fails: one request tries")),
    }
}

fn with_others(first: String, others: &[(usize, &str)]) -> String {
    let some = others.iter().filter(|(count, _)| *count > 0);
    some.fold(first, |text, (count, what)| {
        format!("{text}, {count} {what}")
    })
}

fn workers(fleet: &FleetStatus) -> String {
    if fleet.workers_alive == 0 {
        return "none alive: nothing is refreshed by itself".to_owned();
    }
    let mut versions: Vec<&str> = fleet
        .workers
        .iter()
        .map(|one| one.version.as_str())
        .collect();
    versions.sort_unstable();
    versions.dedup();
    let text = match versions.as_slice() {
        [] => format!("{} alive", fleet.workers_alive),
        some => format!("{} alive, version {}", fleet.workers_alive, some.join(", ")),
    };
    let pending: usize = fleet.workers.iter().map(|one| one.pending).sum();
    with_others(text, &[(pending, "pairs not stored yet")])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::stub::Stub;
    use super::super::ui::Kept;
    use super::*;

    fn fleet() -> serde_json::Value {
        json!({
            "at": "2026-03-26T12:00:00.000Z", "states": {"ReconnectRequired": 1, "Scheduled": 2},
            "attention": 1, "failing": 0, "parked": 0, "quarantined": 0, "overdue": 1,
            "oldest_overdue": {"id": "acme/prod@user", "at": "2026-03-26T11:55:00.000Z"},
            "next": [{"id": "globex/prod@user", "at": "2026-03-26T12:00:12.000Z"}],
            "troubles": [{"id": "umbrella/prod@user", "word": "revoked"}],
            "refreshed_last_minute": 12, "failed_last_minute": 1, "workers_alive": 1,
            "workers": [{"id": "w-1", "host": "h", "version": "0.1.0",
                "heartbeat_at": "2026-03-26T11:59:58.000Z", "pending": 0}],
            "instances": ["https://eu.ninjarmm.com"],
            "hosts": [{"host": "eu.ninjarmm.com", "paused_until": "2026-03-26T12:02:00.000Z",
                "breaker": "closed", "breaker_until": null, "requests": 0}],
        })
    }

    #[tokio::test]
    async fn without_a_terminal_it_prints_once() {
        let stub = Stub::answering(&[(200, fleet())]).await;
        let (out, json_out) = (Kept::default(), Kept::default());
        let args = || Args {
            every: Duration::from_secs(5),
            once: false,
        };
        let mut ui = Ui::for_test(false, out.clone(), Kept::default());
        assert_eq!(run(args(), &stub.api, &mut ui).await, Ok(Exit::Ok));
        assert_eq!(
            out.text(),
            "grants     3, 1 need attention
refreshes  12 in the last minute, 1 failed
workers    1 alive, version 0.1.0
overdue    1, the oldest is acme/prod@user, due 5 min ago
host       eu.ninjarmm.com is left alone: the pause ends in 2 min
as of      2026-03-26 12:00:00 UTC

STATE              GRANTS
ReconnectRequired  1
Scheduled          2

NEXT REQUESTS     WHEN
globex/prod@user  in 12 s

TROUBLES            WHY
umbrella/prod@user  revoked
"
        );
        let mut ui = Ui::for_test(true, json_out.clone(), Kept::default());
        run(args(), &stub.api, &mut ui).await.unwrap();
        assert_eq!(json_out.json(), fleet());
        assert_eq!(stub.lines()[0], "GET /v1/fleet");
    }

    #[test]
    fn a_frame_leaves_nothing_of_the_one_before() {
        let whole = "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J";
        assert_eq!(frame("a\nb", None), whole);
        assert_eq!(frame("a\nb", Some(3)), whole);
    }

    #[test]
    fn a_page_that_is_longer_than_the_terminal_keeps_its_head() {
        let cut = frame("head\n1\n2\n3\n4", Some(4));
        let lines: Vec<&str> = cut.split("\x1b[K\r\n").collect();
        assert_eq!(lines[..2], ["\x1b[Hhead", "1"]);
        assert!(lines[2].starts_with("… 3 lines more"), "{cut:?}");
        assert_eq!(lines[3], REST_OF_SCREEN);
        assert!(frame("a\nb\nc", Some(1)).contains("3 lines more"));
    }
}
