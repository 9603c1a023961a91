//! The way from one process to the provider: what HTTP is in production.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evergreen_engine::WorkflowId;
use futures::StreamExt;
use ninjaone::lifecycle::KIND;
use ninjaone::provider::{Arriving, Cut, Form, Transport, Why};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep_until};

use super::process::Process;
use super::provider::{Answer, Tells};

pub(crate) struct Link(pub(crate) Arc<Process>);

/// What the way does to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Refused,
    LostThere,
    BrokenBack,
    /// The answer comes, but late: perhaps after the deadline.
    Slow,
    /// The body is cut somewhere.
    CutBody,
}

#[async_trait]
impl Transport for Link {
    async fn post(&self, url: &str, form: Form) -> Result<Arriving, Why> {
        let process = &self.0;
        let scene = &process.scene;
        let way = self.way();
        if way == Way::Refused {
            return Err(Why::Connect);
        }
        pass(process, 1, 50).await;
        assert!(url.ends_with("/ws/oauth/token"), "{url}");
        let Some(text) = form.release() else {
            return Err(Why::BrokenOff);
        };
        let presented = scene.provider.presented(text.expose_secret());
        let (family, place) = presented.expect("a refresh token that was issued");
        if way == Way::LostThere {
            scene.trace.say(
                &process.name,
                format!("sends {family}.{place}, which is lost on the way"),
            );
            scene.sent(process, family, place);
            pass(process, 500, 20_000).await;
            return Err(Why::BrokenOff);
        }
        let sent = scene.sent(process, family, place);
        // What has left arrives, whatever becomes of its sender.
        travel(process, 1, 200).await;
        let answer = scene
            .provider
            .answer(family, place, scene.trace.elapsed_ms(), scene.is_bad());
        let Answer {
            status,
            body,
            carries,
            ..
        } = &answer;
        let brings = carries.map_or(String::new(), |(_, place)| {
            format!(", brings {family}.{place}")
        });
        scene.trace.say(
            &process.name,
            format!("sends {family}.{place}: {status} {way:?}{brings}"),
        );
        match way {
            Way::BrokenBack => {
                pass(process, 100, 12_000).await;
                return Err(Why::BrokenOff);
            }
            Way::Slow => pass(process, 2_000, 40_000).await,
            _ => pass(process, 1, 200).await,
        }
        let mut headers = HeaderMap::new();
        if let Some(after) = answer.retry_after {
            headers.insert(RETRY_AFTER, after.into());
        }
        let cut = (way == Way::CutBody)
            .then(|| process.dice.number(0, body.len() as u64))
            .and_then(|at| usize::try_from(at).ok());
        Ok(Arriving {
            status: *status,
            headers,
            body: self.body(answer, sent, cut),
        })
    }
}

impl Link {
    fn way(&self) -> Way {
        let process = &self.0;
        if !process.scene.is_bad() || !process.dice.chance(process.scene.plan.provider / 2.0) {
            return Way::Open;
        }
        *process.dice.pick(&[
            Way::Refused,
            Way::LostThere,
            Way::BrokenBack,
            Way::Slow,
            Way::Slow,
            Way::CutBody,
        ])
    }

    /// The body as it comes. When the process reads it, it knows what it says.
    fn body(
        &self,
        answer: Answer,
        sent: usize,
        cut: Option<usize>,
    ) -> futures::stream::BoxStream<'static, Result<Bytes, Cut>> {
        let process = Arc::clone(&self.0);
        let arrived = async move {
            process.goes_on().await;
            let whole = cut.is_none();
            let text = &answer.body[..cut.unwrap_or(answer.body.len())];
            // A refresh token that arrived whole can be salvaged from a body that did not.
            let salvaged = answer.carries.is_some_and(|(family, place)| {
                let token = &process.scene.provider.family(family).pairs[place].refresh;
                text.contains(&format!("\"{token}\""))
            });
            if let Some(pair) = answer.carries.filter(|_| salvaged) {
                let now_ms = process.scene.trace.elapsed_ms();
                process.scene.provider.read(pair, process.number, now_ms);
            }
            let tells = match answer.tells {
                Tells::Rejected if !whole => Tells::Nothing,
                // What was salvaged may be wrong: the old token may have one more try behind it.
                Tells::Spent if !whole => Tells::Nothing,
                tells => tells,
            };
            process.scene.learnt(sent, tells);
            Ok(Bytes::copy_from_slice(text.as_bytes()))
        };
        let end = futures::stream::iter(cut.map(|_| Err(Cut)));
        futures::stream::once(arrived).chain(end).boxed()
    }
}

async fn travel(process: &Process, from_ms: u64, to_ms: u64) {
    sleep_until(Instant::now() + process.dice.millis(from_ms, to_ms)).await;
}

/// Time passes, and the process may come to its end meanwhile.
async fn pass(process: &Process, from_ms: u64, to_ms: u64) {
    travel(process, from_ms, to_ms).await;
    process.goes_on().await;
}

/// The workflow of an integration.
pub(crate) fn workflow(integration: &str) -> WorkflowId {
    WorkflowId::new(KIND, integration).expect("a name")
}
