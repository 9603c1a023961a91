//! `evergreen events`: what happened, fleet-wide.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::client::Api;
use super::client::sse::{Event, Next};
use super::failure::{Ended, Exit, Failure};
use super::list::short;
use super::shutdown;
use super::ui::Ui;
use crate::service::EventView;
use crate::when::exact;

/// Without `--follow`: silence that means that everything kept has been told.
const SILENCE: Duration = Duration::from_millis(1_500);
/// Between two tries to get back to a server that went away.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Fields of payloads that stand in the line already, or say nothing to people.
const SHOWN: [&str; 4] = ["tenantId", "integrationId", "connectionId", "provider"];

/// Prints what happened, one event a line: all that is kept, or with --follow as it happens.
#[derive(Debug, clap::Args)]
#[command(after_help = "With --json, each line is one JSON object.\n\n\
    Examples:\n  evergreen events\n  evergreen events --follow\n  \
    evergreen events --follow --json | jq .event")]
pub(crate) struct Args {
    /// Go on as events happen, until told to stop
    #[arg(long, short)]
    follow: bool,
    /// Where to begin: start (the oldest kept) or now [default: start; with --follow now]
    #[arg(long, value_name = "PLACE", value_parser = ["start", "now"])]
    from: Option<String>,
    /// Where to begin: behind the event with this cursor
    #[arg(long, value_name = "CURSOR", conflicts_with = "from")]
    after: Option<String>,
}

pub(super) async fn run(args: Args, api: &Api, ui: &mut Ui) -> Ended {
    let begin = Place {
        from: args
            .from
            .unwrap_or_else(|| if args.follow { "now" } else { "start" }.to_owned()),
        after: args.after,
    };
    if args.follow {
        let stop = shutdown::signalled()?;
        tokio::select! {
            ended = follow(begin, api, ui, PAUSE_FIRST) => ended,
            () = stop => Ok(Exit::Ok),
        }
    } else {
        kept(begin, api, ui, SILENCE).await
    }
}

/// Where to go on.
struct Place {
    from: String,
    after: Option<String>,
}

/// All that is kept; ends with the stream, or when it falls silent.
async fn kept(place: Place, api: &Api, ui: &mut Ui, silence: Duration) -> Ended {
    let mut events = api.events(&place.from, place.after.as_deref()).await?;
    loop {
        match timeout(silence, events.next()).await {
            Ok(Ok(Next::Event(event))) => tell(&event, ui)?,
            Ok(Ok(Next::Alive | Next::End)) | Err(_) => return Ok(Exit::Ok),
            Ok(Err(why)) => return Err(Failure::new(Exit::Unavailable, "reading events", why)),
        }
    }
}

/// As they happen. A server that goes away is asked again, from the last event on.
async fn follow(mut place: Place, api: &Api, ui: &mut Ui, first: Duration) -> Ended {
    let mut pause = first;
    let mut met = false;
    loop {
        let broken = match api.events(&place.from, place.after.as_deref()).await {
            Ok(mut events) => {
                met = true;
                loop {
                    match events.next().await {
                        Ok(Next::Event(event)) => {
                            pause = first;
                            tell(&event, ui)?;
                            place.after = event.id.or(place.after);
                        }
                        Ok(Next::Alive) => pause = first,
                        Ok(Next::End) => break "the server ended the stream".to_owned(),
                        Err(why) => break why,
                    }
                }
            }
            // What never worked is not tried for ever.
            Err(failure) if met && failure.exit == Exit::Unavailable => failure.why,
            Err(failure) => return Err(failure),
        };
        ui.note(&format!("note: {broken}; going on from the last event"));
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn tell(event: &Event, ui: &mut Ui) -> Result<(), Failure> {
    let told: EventView = serde_json::from_str(&event.data).map_err(|_| {
        let why = "the server sent an event that is not Evergreen's";
        Failure::new(Exit::Failed, "reading events", why)
    })?;
    if ui.json {
        return ui.line(&told);
    }
    let name = told
        .event
        .strip_prefix("INTEGRATION_")
        .unwrap_or(&told.event);
    let line = format!(
        "{}  {}  {name}  {}",
        exact(&told.at),
        told.integration,
        details(&told.payload)
    );
    ui.say(line.trim_end())
}

/// The payload on one line, without what stands in the line already.
fn details(payload: &Value) -> String {
    let Some(fields) = payload.as_object() else {
        return short(payload);
    };
    let parts: Vec<String> = fields
        .iter()
        .filter(|(name, value)| !SHOWN.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| format!("{name}={}", short(value)))
        .collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::client::stub::{Stub, problem};
    use super::super::ui::Kept;
    use super::*;

    const STREAM: &str = "id: 3.1-0\nevent: INTEGRATION_TOKEN_REFRESHED\n\
        data: {\"cursor\":\"3.1-0\",\"id\":\"c0-0\",\"event\":\"INTEGRATION_TOKEN_REFRESHED\",\
        \"integration\":\"acme/prod\",\"at\":\"2026-03-26T12:00:00.000Z\",\
        \"payload\":{\"integrationId\":\"acme/prod\",\"generation\":5,\"old\":null}}\n\n";

    fn begin() -> Place {
        Place {
            from: "start".to_owned(),
            after: None,
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_told_and_that_is_all() {
        let stub = Stub::streaming(STREAM).await;
        let (out, json_out) = (Kept::default(), Kept::default());
        let mut ui = Ui::for_test(false, out.clone(), Kept::default());
        let ended = kept(begin(), &stub.api, &mut ui, SILENCE).await;
        assert_eq!(ended, Ok(Exit::Ok));
        assert_eq!(
            out.text(),
            "2026-03-26 12:00:00 UTC  acme/prod  TOKEN_REFRESHED  generation=5\n"
        );
        let mut ui = Ui::for_test(true, json_out.clone(), Kept::default());
        kept(begin(), &stub.api, &mut ui, SILENCE).await.unwrap();
        assert_eq!(json_out.json()["cursor"], "3.1-0");
        assert_eq!(stub.lines()[0], "GET /v1/events?from=start");
    }

    #[tokio::test]
    async fn following_goes_on_behind_the_last_event() {
        let stub = Stub::streaming(STREAM).await;
        let out = Kept::default();
        let mut ui = Ui::for_test(false, out.clone(), Kept::default());
        tokio::select! {
            ended = follow(begin(), &stub.api, &mut ui, Duration::ZERO) => panic!("{ended:?}"),
            () = async { while stub.seen().len() < 3 { tokio::task::yield_now().await; } } => {}
        }
        let lines = stub.lines();
        assert_eq!(lines[0], "GET /v1/events?from=start");
        assert_eq!(lines[1], "GET /v1/events?after=3.1-0");
    }

    #[tokio::test]
    async fn a_wrong_key_ends_it() {
        let wrong = problem("unauthorized", "no", "none");
        let stub = Stub::answering(&[(401, wrong)]).await;
        let mut ui = Ui::for_test(false, Kept::default(), Kept::default());
        let failure = follow(begin(), &stub.api, &mut ui, Duration::ZERO)
            .await
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
    }
}
