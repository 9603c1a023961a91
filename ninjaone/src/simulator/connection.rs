//! Connections that a fault can cut, and that know whether an answer was read.
//!
//! HTTP libraries answer or panic; a host that vanishes does neither, so the cut is made below HTTP, in
//! the socket.
//!
//! Below HTTP is also where one learns whether a client that dies had read its answer: a process that
//! closes a connection, or is killed, with bytes unread in its socket makes the system answer with a
//! reset (RFC 2525, 2.17); one that had read them all ends the connection in order.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

use super::server::Shared;

/// How long a client may take to end a connection on which it has been told everything.
const LAST_WORD: Duration = Duration::from_secs(30);

const OPEN: u8 = 0;
const CUT: u8 = 1;
const RESET: u8 = 2;

/// A handler's grip on the connection that its request came by.
#[derive(Clone, Default)]
pub(super) struct Connection(Arc<Grip>);

#[derive(Default)]
struct Grip {
    state: AtomicU8,
    /// The answer of which it is not known yet whether it was read.
    last: Mutex<Option<Answer>>,
}

/// An answer on its way to the client.
struct Answer {
    shared: Arc<Shared>,
    seq: u64,
    /// Something has been written since it was handed over.
    left: bool,
}

impl Connection {
    /// From now on nothing more is written: the answer that the handler returns, which may be any,
    /// fails to be sent, and the connection is closed.
    pub(super) fn cut(&self, reset: bool) {
        let state = if reset { RESET } else { CUT };
        self.0.state.store(state, Ordering::Release);
    }

    /// The answer to the request with this number of the ledger leaves next.
    pub(super) fn answered(&self, shared: &Arc<Shared>, seq: u64) {
        *self.last() = Some(Answer {
            shared: Arc::clone(shared),
            seq,
            left: false,
        });
    }

    fn state(&self) -> u8 {
        self.0.state.load(Ordering::Acquire)
    }

    fn last(&self) -> MutexGuard<'_, Option<Answer>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts connections that can be cut.
pub(super) struct Cuttable(pub TcpListener);

impl Listener for Cuttable {
    type Io = Socket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Socket, SocketAddr) {
        let (stream, from) = Listener::accept(&mut self.0).await;
        // Without this, the pieces of a slow body would be held back and sent together.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was not set");
        }
        let socket = Socket {
            stream,
            connection: Connection::default(),
            patience: None,
        };
        (socket, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Cuttable>> for Connection {
    fn connect_info(stream: IncomingStream<'_, Cuttable>) -> Self {
        stream.io().connection.clone()
    }
}

/// A TCP stream whose writes fail once it is cut.
pub(super) struct Socket {
    stream: TcpStream,
    connection: Connection,
    /// How long the client's last word is waited for, once nothing more is said to it.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// The client has ended the connection: in order, which it does when it has read everything, or
    /// not. An end that came before the answer looks orderly too, and what was written into it was
    /// reset, which the socket remembers.
    fn ended(&self, broken: bool) {
        let Some(answer) = self.connection.last().take() else {
            return;
        };
        let refused = matches!(self.stream.take_error(), Ok(Some(_)));
        if broken || refused || !answer.left {
            answer.shared.lock().ledger.unread(answer.seq);
            answer.shared.changed.notify_waiters();
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.ended(false);
        if self.connection.state() == RESET
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "a connection ends in order instead of by reset");
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match &polled {
            // Whoever asks again has read what came before.
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                self.connection.last().take();
            }
            Poll::Ready(Ok(())) if room > 0 => self.ended(false),
            Poll::Ready(Err(_)) => self.ended(true),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.connection.state() != OPEN {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        match &polled {
            Poll::Ready(Ok(1..)) => {
                if let Some(answer) = self.connection.last().as_mut() {
                    answer.left = true;
                }
            }
            Poll::Ready(Err(_)) => self.ended(true),
            Poll::Ready(Ok(_)) | Poll::Pending => {}
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// A client that wanted one answer and no more is told that this was all; what it says to that still
    /// tells whether it has read the answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = &mut *self;
        if socket.patience.is_none() {
            ready!(Pin::new(&mut socket.stream).poll_shutdown(cx))?;
        }
        let patience = (socket.patience).get_or_insert_with(|| Box::pin(sleep(LAST_WORD)));
        let patience = patience.as_mut().poll(cx);
        while socket.connection.state() == OPEN && socket.connection.last().is_some() {
            let mut room = [0; 64];
            let mut buffer = ReadBuf::new(&mut room);
            match Pin::new(&mut socket.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return patience.map(Ok),
                Poll::Ready(Err(_)) => socket.ended(true),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => socket.ended(false),
                Poll::Ready(Ok(())) => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}
