//! The way of a request through a fault to its answer, and of the answer to the wire.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};

use super::actions::{Action, When};
use super::alter::{altered, padded};
use super::connection::Connection;
use super::ledger::Delivery;
use super::queue::{Subject, Taken};
use super::reply::Reply;
use super::server::Shared;
use super::state::State;
use super::wire::Form;

/// What a request said, for faults that say it back.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    pub form: Form,
    pub raw: Bytes,
}

/// The fault that was taken for a request, if any.
pub(super) struct Fate(pub Option<Taken>);

impl Fate {
    pub(super) fn action(&self) -> Option<&Action> {
        self.0.as_ref().map(|taken| &taken.action)
    }

    /// Whether the request is carried out at all.
    pub(super) fn carries_out(&self) -> bool {
        self.action().is_none_or(Action::carries_out)
    }

    /// Whether a status will be on the wire, or was meant to be.
    pub(super) fn has_status(&self) -> bool {
        match self.action() {
            Some(Action::Drop { rotate, .. } | Action::Hang { rotate }) => *rotate,
            Some(Action::Close { .. }) => false,
            _ => true,
        }
    }

    /// The answer: that of the request if it is carried out, as the fault leaves it.
    pub(super) fn reply(&self, sent: &Sent, carry_out: impl FnOnce() -> Reply) -> Reply {
        let reply = if self.carries_out() {
            carry_out()
        } else {
            Reply::none()
        };
        match self.action() {
            Some(action) => altered(action, reply, sent),
            None => reply,
        }
    }

    async fn wait(&self, shared: &Shared, now: When) {
        let waits = async {
            match &self.0 {
                Some(Taken {
                    action: Action::Delay { time, when },
                    ..
                }) if *when == now => tokio::time::sleep(*time).await,
                Some(Taken {
                    action: Action::Hold { when },
                    released,
                }) if *when == now => released.cancelled().await,
                _ => {}
            }
        };
        shared.unless_stopping(waits).await;
    }
}

/// Cuts the connection of a request whose body nobody will read, if a fault says so.
pub(super) fn close_unread(
    shared: &Shared,
    connection: &Connection,
    subject: &Subject,
    record: impl FnOnce(&mut State, u64),
) -> Option<Response> {
    let mut state = shared.lock();
    let taken = state.faults.take_unread(subject, shared.now())?;
    connection.cut(matches!(taken.action, Action::Close { reset: true }));
    record(&mut state, shared.now());
    drop(state);
    shared.changed.notify_waiters();
    Some(StatusCode::SERVICE_UNAVAILABLE.into_response())
}

/// Carries a request out in one stroke, under its fault, and delivers the answer.
///
/// `carry_out` gets the state, the time and the fate; it answers the reply and, where the ledger
/// has an entry for it, its number.
pub(super) async fn answer(
    shared: Arc<Shared>,
    connection: Connection,
    subject: Subject,
    carry_out: impl FnOnce(&mut State, u64, &Fate) -> (Reply, Option<u64>),
) -> Response {
    let now = shared.now();
    let fate = Fate(shared.lock().faults.take(&subject, now));
    if fate.0.is_some() {
        shared.changed.notify_waiters();
    }
    fate.wait(&shared, When::Before).await;
    let (reply, receipt, delay) = {
        let mut state = shared.lock();
        let (reply, seq) = carry_out(&mut state, shared.now(), &fate);
        let delay = seq.map_or(Duration::ZERO, |_| state.options.response_delay);
        (reply, Receipt::new(&shared, seq), delay)
    };
    shared.changed.notify_waiters();
    if !delay.is_zero() {
        shared.unless_stopping(tokio::time::sleep(delay)).await;
    }
    fate.wait(&shared, When::After).await;
    deliver(&shared, connection, fate, reply, receipt).await
}

async fn deliver(
    shared: &Arc<Shared>,
    connection: Connection,
    fate: Fate,
    reply: Reply,
    receipt: Receipt,
) -> Response {
    match fate.action() {
        Some(Action::Drop { reset, .. }) => {
            receipt.settle(Delivery::Eaten);
            connection.cut(*reset);
            reply.into_response()
        }
        Some(Action::Hang { .. }) => {
            receipt.settle(Delivery::Eaten);
            shared.unless_stopping(std::future::pending()).await;
            connection.cut(false);
            reply.into_response()
        }
        Some(Action::Truncate { keep }) => {
            receipt.settle(Delivery::Eaten);
            let whole = reply.bytes();
            let part = Bytes::copy_from_slice(&whole[..whole.len().min(*keep)]);
            announced(reply, whole.len(), truncated(part))
        }
        Some(Action::SlowBody { piece, pause }) => {
            let whole = Bytes::from(reply.bytes());
            let length = whole.len();
            let piece = *piece;
            let pieces = (0..length)
                .step_by(piece)
                .map(move |from| whole.slice(from..length.min(from + piece)));
            announced(
                reply,
                length,
                paced(shared, connection, receipt, pieces, *pause),
            )
        }
        Some(Action::HugeBody { bytes }) => {
            let (length, pieces) = padded(&reply.bytes(), *bytes);
            announced(
                reply,
                length,
                paced(shared, connection, receipt, pieces, Duration::ZERO),
            )
        }
        Some(Action::Respond(respond)) if respond.rotate => {
            receipt.settle(Delivery::Eaten);
            reply.into_response()
        }
        _ => {
            receipt.hand_over(&connection);
            reply.into_response()
        }
    }
}

/// An answer whose length is told before its body comes.
fn announced<S>(reply: Reply, length: usize, pieces: S) -> Response
where
    S: Stream<Item = Result<Bytes, Broken>> + Send + 'static,
{
    let mut response = reply.with_body(Body::from_stream(pieces));
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// The end of a body before its end; the connection is closed on it.
#[derive(Debug, thiserror::Error)]
#[error("a scripted fault cut the body")]
struct Broken;

/// The beginning of a body. It is handed over one poll before the break, so that it leaves first.
fn truncated(part: Bytes) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    stream::unfold(Some(part), |part| async move {
        match part {
            Some(part) if !part.is_empty() => Some((Ok(part), Some(Bytes::new()))),
            Some(_) => {
                tokio::task::yield_now().await;
                Some((Err(Broken), None))
            }
            None => None,
        }
    })
}

/// A body in pieces, with a pause before each. The receipt goes along: it says `sent` when the last
/// piece has been taken, and `abandoned` if the client leaves before.
fn paced<I>(
    shared: &Arc<Shared>,
    connection: Connection,
    receipt: Receipt,
    pieces: I,
    pause: Duration,
) -> impl Stream<Item = Result<Bytes, Broken>> + Send + use<I>
where
    I: Iterator<Item = Bytes> + Send + 'static,
{
    let start = (shared.clone(), connection, receipt, pieces.peekable());
    stream::unfold(Some(start), move |going_on| async move {
        let (shared, connection, receipt, mut pieces) = going_on?;
        if !pause.is_zero() {
            shared.unless_stopping(tokio::time::sleep(pause)).await;
        }
        if shared.stopping.is_cancelled() {
            return Some((Err(Broken), None));
        }
        let piece = pieces.next()?;
        if pieces.peek().is_some() {
            Some((Ok(piece), Some((shared, connection, receipt, pieces))))
        } else {
            receipt.hand_over(&connection);
            Some((Ok(piece), None))
        }
    })
}

/// Tells the ledger what became of an answer; dropped unsettled, the client had gone.
struct Receipt {
    shared: Arc<Shared>,
    seq: Option<u64>,
}

impl Receipt {
    fn new(shared: &Arc<Shared>, seq: Option<u64>) -> Self {
        Self {
            shared: shared.clone(),
            seq,
        }
    }

    fn settle(mut self, delivery: Delivery) {
        self.tell(delivery);
    }

    /// The answer leaves whole. Whether it is read, the connection will tell.
    fn hand_over(mut self, connection: &Connection) {
        let seq = self.seq;
        self.tell(Delivery::Sent);
        if let Some(seq) = seq {
            connection.answered(&self.shared, seq);
        }
    }

    fn tell(&mut self, delivery: Delivery) {
        if let Some(seq) = self.seq.take() {
            let now = self.shared.now();
            self.shared.lock().ledger.settle(seq, now, delivery);
            self.shared.changed.notify_waiters();
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.tell(Delivery::Abandoned);
    }
}
