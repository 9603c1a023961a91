//! The provider of a run: the simulator as a process of its own, and its admin endpoint.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use super::plan::Weather;
use super::troupe::{Troupe, failed};
use crate::bench::BenchError;
use crate::provider::{HostPolicy, HttpOptions};
use crate::simulator::{
    Action, Entry, Fault, Page, Report, Respond, SeedRequest, SeededGrant, When,
};

/// How long it may take to say where it is.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long an answer of its admin endpoint may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// Between carrying out a token request and answering it: about as far away as a provider is, and long
/// enough for kills to find requests under way.
const ANSWER_DELAY: &str = "100ms";
/// How long weather lasts that a number of requests is to meet, if so many do not come.
const PASSES: Duration = Duration::from_secs(5);
/// Entries asked for at once.
const PAGE: usize = 5_000;
/// As many raw entries the simulator keeps; what a run needs more would be missed.
pub(super) const ENTRIES_MAX: u64 = 200_000;

/// The simulator.
pub(super) struct Provider {
    /// Its instance URL.
    pub url: String,
    http: reqwest::Client,
    _process: Child,
}

#[derive(serde::Deserialize)]
struct Told {
    url: String,
}

#[derive(serde::Deserialize)]
struct Seeded {
    grants: Vec<SeededGrant>,
}

impl Provider {
    /// Starts it, with tokens of this life, and waits until it says where it is.
    ///
    /// # Errors
    /// It could not be started, or says nothing.
    pub(super) async fn start(
        troupe: &Troupe,
        home: &Path,
        life: Duration,
        seed: u64,
    ) -> Result<Self, BenchError> {
        let (life, seed) = (format!("{}s", life.as_secs()), seed.to_string());
        let arguments = [
            "simulator",
            "--listen",
            "127.0.0.1:0",
            "--lifetime",
            &life,
            "--response-delay",
            ANSWER_DELAY,
            "--seed",
            &seed,
            "--json",
        ];
        let mut command = troupe.program(&arguments, home)?;
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = troupe.start("the simulator", &mut command)?;
        let silent = || BenchError::Process("the simulator did not say where it is".to_owned());
        let mut lines = BufReader::new(process.stdout.take().ok_or_else(silent)?).lines();
        let said = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
        let line = said
            .ok()
            .and_then(Result::ok)
            .flatten()
            .ok_or_else(silent)?;
        let told: Told = serde_json::from_str(&line).map_err(|_| silent())?;
        let http = HttpOptions {
            policy: HostPolicy::new().with_loopback(),
            ..HttpOptions::default()
        };
        Ok(Self {
            url: told.url,
            http: http.build().map_err(|e| failed("an HTTP client", &e))?,
            _process: process,
        })
    }

    /// Makes live grants.
    ///
    /// # Errors
    /// It does not answer as it should.
    pub(super) async fn seed(&self, request: &SeedRequest) -> Result<Vec<SeededGrant>, BenchError> {
        let seeded: Seeded = self.post("seed", request).await?;
        Ok(seeded.grants)
    }

    /// Makes it misbehave.
    ///
    /// # Errors
    /// It does not answer as it should.
    pub(super) async fn misbehave(&self, weather: Weather) -> Result<(), BenchError> {
        let _: serde_json::Value = self.post("faults", &fault(weather)).await?;
        Ok(())
    }

    /// Lets it behave again.
    ///
    /// # Errors
    /// It does not answer as it should.
    pub(super) async fn behave(&self) -> Result<(), BenchError> {
        let request = self.http.delete(self.admin("faults"));
        answered(request).await.map(drop)
    }

    /// The ledger summed up.
    ///
    /// # Errors
    /// It does not answer as it should.
    pub(super) async fn ledger(&self) -> Result<Report, BenchError> {
        self.get("ledger").await
    }

    /// All raw entries after a number.
    ///
    /// # Errors
    /// It does not answer as it should, or has forgotten some.
    pub(super) async fn entries(&self, mut after: u64) -> Result<Vec<Entry>, BenchError> {
        let mut all = Vec::new();
        loop {
            let path = format!("ledger/entries?after={after}&limit={PAGE}");
            let page: Page = self.get(&path).await?;
            if page.lost > 0 {
                let why = "the ledger did not hold all requests: run it for fewer minutes, or with \
                           fewer integrations";
                return Err(BenchError::Unsuitable(why.to_owned()));
            }
            if page.entries.is_empty() {
                return Ok(all);
            }
            after = page.next_after;
            all.extend(page.entries);
        }
    }

    fn admin(&self, path: &str) -> String {
        format!("{}/simulator/{path}", self.url)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, BenchError> {
        read(answered(self.http.get(self.admin(path))).await?).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, BenchError> {
        read(answered(self.http.post(self.admin(path)).json(body)).await?).await
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Result<reqwest::Response, BenchError> {
    let answer = request.timeout(ANSWERS_WITHIN).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status);
    answer.map_err(|e| failed("asking the simulator", &e))
}

async fn read<T: DeserializeOwned>(answer: reqwest::Response) -> Result<T, BenchError> {
    let read = answer.json().await;
    read.map_err(|e| failed("reading what the simulator says", &e))
}

/// The scripted fault, on refreshes alone.
fn fault(weather: Weather) -> Fault {
    let (action, times) = match weather {
        // What is asked for is never shorter than the storm.
        Weather::Throttled { span } => {
            let asked = span.as_secs() + 1;
            return Fault::new(says(429, false, Some(asked))).lasts(span);
        }
        Weather::Broken { status, span } => {
            return Fault::new(says(status, false, None)).lasts(span);
        }
        Weather::Eaten { hangs: true, times } => (Action::Hang { rotate: true }, times),
        Weather::Eaten {
            hangs: false,
            times,
        } => {
            let (rotate, reset) = (true, false);
            (Action::Drop { rotate, reset }, times)
        }
        Weather::Late { by, times } => {
            let (time, when) = (by, When::After);
            (Action::Delay { time, when }, times)
        }
        Weather::Gateway { times } => (says(502, true, None), times),
        Weather::Page => (Action::ThrottlePage { status: 200 }, 1),
        Weather::Refused { times } => (Action::Close { reset: true }, times),
    };
    // Whatever nobody has asked for by then is over: a fleet that stays away for a while must not find all the
    // weather of that while waiting for it, one failure after the other.
    let passing = Fault::new(action).lasts(PASSES);
    Fault {
        times: Some(times),
        ..passing
    }
}

fn says(status: u16, rotate: bool, retry_after: Option<u64>) -> Action {
    let header = |seconds: u64| ("retry-after".to_owned(), seconds.to_string());
    Action::Respond(Respond {
        status,
        headers: retry_after.map(header).into_iter().collect(),
        rotate,
        ..Respond::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::{Simulator, SimulatorOptions};

    #[tokio::test]
    async fn every_kind_of_weather_is_one_that_the_simulator_knows() {
        let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
        let all = [
            Weather::Eaten {
                hangs: true,
                times: 2,
            },
            Weather::Eaten {
                hangs: false,
                times: 2,
            },
            Weather::Late {
                by: Duration::from_secs(9),
                times: 1,
            },
            Weather::Gateway { times: 1 },
            Weather::Throttled {
                span: Duration::from_millis(2_500),
            },
            Weather::Page,
            Weather::Broken {
                status: 500,
                span: Duration::from_secs(3),
            },
            Weather::Refused { times: 1 },
        ];
        for weather in all {
            simulator.handle().script(fault(weather)).unwrap();
            // Over the wire as well.
            let text = serde_json::to_string(&fault(weather)).unwrap();
            serde_json::from_str::<Fault>(&text).unwrap();
        }
        assert_eq!(simulator.handle().faults().len(), all.len());
    }
}
