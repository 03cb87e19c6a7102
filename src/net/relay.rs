//! The loop of one session: both sockets and the state machine between them, in one task on one thread.
//!
//! What decides about speed here (a proxy's price is its system calls): a wake-up reads what is there, hands it to the session and writes
//! the other side at once, so a query costs two reads, two writes and the two waits between them. Readiness is Tokio's edge-triggered one:
//! a short read ends the reading without a second call, and no interest is registered anew. Read buffers belong to the thread, not
//! to the session: an idle session holds none.
//!
//! Invariants: bytes leave only through the session's [`OutBuf`]s; a side from which the session does not want to read is not read (so memory
//! stays bounded); every effect is performed before the task waits or ends.

use crate::audit::JournalError;
use crate::session::handshake::Fatal;
use crate::session::{Effect, Session, Status, Ticket};
use crate::wire::outbuf::OutBuf;
use crate::wire::sqlstate::SqlState;
use bytes::{Buf, BytesMut};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Room for one read. Larger ones save few calls and fall out of the second-level cache.
const READ_SIZE: usize = 32 * 1024;

/// How long the last bytes of an ending session may take to leave.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(10);

thread_local! {
    /// The thread's read buffer while no session uses it.
    static SPARE: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// What the relay drives: [`Session`], or a stand-in in tests.
#[allow(clippy::wrong_self_convention)] // `from_client` says where bytes come from; nothing is converted
pub trait Machine {
    /// See [`Session::from_client`].
    fn from_client(&mut self, input: &mut BytesMut);
    /// See [`Session::from_server`].
    fn from_server(&mut self, input: &mut BytesMut);
    /// See [`Session::client_eof`].
    fn client_eof(&mut self);
    /// See [`Session::server_eof`].
    fn server_eof(&mut self);
    /// See [`Session::appended`].
    fn appended(&mut self, ticket: Ticket, result: Result<(), JournalError>);
    /// See [`Session::shutdown`].
    fn shutdown(&mut self);
    /// See [`Session::next_effect`].
    fn next_effect(&mut self) -> Option<Effect>;
    /// See [`Session::to_client`].
    fn to_client(&mut self) -> &mut OutBuf;
    /// See [`Session::to_server`].
    fn to_server(&mut self) -> &mut OutBuf;
    /// See [`Session::wants_client`].
    fn wants_client(&self) -> bool;
    /// See [`Session::wants_server`].
    fn wants_server(&self) -> bool;
    /// See [`Session::status`].
    fn status(&self) -> Status;
    /// See [`Session::is_authenticated`].
    fn is_authenticated(&self) -> bool;
}

impl Machine for Session {
    fn from_client(&mut self, input: &mut BytesMut) {
        Session::from_client(self, input);
    }
    fn from_server(&mut self, input: &mut BytesMut) {
        Session::from_server(self, input);
    }
    fn client_eof(&mut self) {
        Session::client_eof(self);
    }
    fn server_eof(&mut self) {
        Session::server_eof(self);
    }
    fn appended(&mut self, ticket: Ticket, result: Result<(), JournalError>) {
        Session::appended(self, ticket, result);
    }
    fn shutdown(&mut self) {
        Session::shutdown(self);
    }
    fn next_effect(&mut self) -> Option<Effect> {
        Session::next_effect(self)
    }
    fn to_client(&mut self) -> &mut OutBuf {
        Session::to_client(self)
    }
    fn to_server(&mut self) -> &mut OutBuf {
        Session::to_server(self)
    }
    fn wants_client(&self) -> bool {
        Session::wants_client(self)
    }
    fn wants_server(&self) -> bool {
        Session::wants_server(self)
    }
    fn status(&self) -> Status {
        Session::status(self)
    }
    fn is_authenticated(&self) -> bool {
        Session::is_authenticated(self)
    }
}

/// Where the fates of a session's appends go.
pub type AckSender = mpsc::UnboundedSender<(Ticket, Result<(), JournalError>)>;
type AckReceiver = mpsc::UnboundedReceiver<(Ticket, Result<(), JournalError>)>;

/// What a session lives in.
pub trait Surroundings {
    /// Performs an effect. The fate of an append is sent through `acks`.
    fn perform(&mut self, effect: Effect, acks: &AckSender);
    /// Bytes were read from the client.
    fn read_from_client(&mut self, bytes: usize);
    /// Bytes were read from the server.
    fn read_from_server(&mut self, bytes: usize);
    /// Whether pgward is about to stop. Whoever makes it true wakes the task.
    fn is_stopping(&self) -> bool;
}

/// One socket with what was read from it and not yet taken.
struct Side<S> {
    stream: S,
    input: BytesMut,
    reading: Reading,
    /// The last read in this wake-up found nothing: its waker is set, and asking again would find nothing.
    drained: bool,
    /// What is left in `input` is to be offered again: it was left because of back-pressure or because the session waited, not because it
    /// is incomplete.
    retry: bool,
    /// Nothing more can be written.
    broken: bool,
    /// Bytes were given to the stream (its TLS layer) and not flushed.
    unflushed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Open,
    /// End of file (or an error) was seen.
    Ended,
    /// The session was told.
    Told,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Side<S> {
    fn new(stream: S, input: BytesMut) -> Self {
        Self {
            stream,
            retry: !input.is_empty(),
            input,
            drained: false,
            reading: Reading::Open,
            broken: false,
            unflushed: false,
        }
    }

    /// Reads once, into the thread's buffer where nothing is left over. `None`: nothing there.
    fn read(&mut self, cx: &mut Context<'_>) -> Option<usize> {
        if self.input.is_empty() {
            self.input = SPARE.take();
            self.input.clear();
        }
        self.input.reserve(READ_SIZE);
        match pin!(self.stream.read_buf(&mut self.input)).poll(cx) {
            Poll::Ready(Ok(0)) => self.reading = Reading::Ended,
            Poll::Ready(Ok(n)) => return Some(n),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => return Some(0),
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "read failed");
                self.reading = Reading::Ended;
            }
            Poll::Pending => self.drained = true,
        }
        None
    }

    /// Whether to read once more in this wake-up.
    fn may_read(&self) -> bool {
        !self.retry && !self.drained && self.reading == Reading::Open
    }

    /// Gives the thread its buffer back when nothing is left in it.
    fn release(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            SPARE.set(std::mem::take(&mut self.input));
        }
    }

    /// Writes what may leave as far as possible; whether anything moved.
    fn write(&mut self, out: &mut OutBuf, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while out.has_remaining() && !self.broken {
            // One piece is the usual case, and send(2) costs the kernel less than writev(2).
            let written = if out.is_contiguous() {
                let written = Pin::new(&mut self.stream).poll_write(cx, out.chunk());
                if let Poll::Ready(Ok(n)) = written {
                    out.advance(n);
                }
                written
            } else {
                pin!(self.stream.write_buf(out)).poll(cx)
            };
            match written {
                Poll::Ready(Ok(n)) => {
                    self.broken = n == 0;
                    moved = true;
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => self.fail(&error),
                Poll::Pending => break,
            }
        }
        if self.unflushed && !self.broken {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => self.fail(&error),
                Poll::Pending => {}
            }
        }
        if self.broken && out.has_remaining() {
            // Nobody will ever read it.
            out.advance(out.remaining());
            moved = true;
        }
        moved
    }

    fn fail(&mut self, error: &io::Error) {
        tracing::debug!(%error, "write failed");
        self.broken = true;
    }

    fn is_done(&self, out: &OutBuf) -> bool {
        self.broken || (!out.has_remaining() && !self.unflushed)
    }
}

/// The loop.
pub struct Relay<M, S, C> {
    machine: M,
    surroundings: C,
    client: Side<S>,
    server: Side<S>,
    /// Made at the first append: most sessions of an unprotected database never need it.
    acks: Option<(AckSender, AckReceiver)>,
    /// Until log-in is done.
    login_deadline: Option<Pin<Box<Sleep>>>,
    /// While closing.
    closing_deadline: Option<Pin<Box<Sleep>>>,
    told_to_stop: bool,
}

impl<M, S, C> Relay<M, S, C>
where
    M: Machine,
    S: AsyncRead + AsyncWrite + Unpin,
    C: Surroundings,
{
    /// A session with its two sockets; `early` is what the client sent behind its StartupMessage. Log-in must be done by `login_deadline`.
    pub fn new(machine: M, surroundings: C, client: S, early: BytesMut, server: S, login_deadline: Instant) -> Self {
        Self {
            machine,
            surroundings,
            client: Side::new(client, early),
            server: Side::new(server, BytesMut::new()),
            acks: None,
            login_deadline: Some(Box::pin(sleep_until(login_deadline))),
            closing_deadline: None,
            told_to_stop: false,
        }
    }

    /// Runs it to its end. `stopping` wakes the task when pgward is about to stop.
    pub async fn run(mut self, stopping: impl Future<Output = ()>) {
        let mut stopping = pin!(stopping);
        // Its waker stays ours for the task's life, so it is asked only once: no lock a wake-up.
        let mut asked = false;
        poll_fn(|cx| {
            if !asked {
                asked = true;
                let _ = stopping.as_mut().poll(cx);
            }
            self.poll(cx)
        })
        .await;
        // Closing notice (TLS) and FIN; whoever does not take them gets the sockets closed all the same.
        let _ = tokio::time::timeout(Duration::from_secs(1), async {
            let _ = self.client.stream.shutdown().await;
            let _ = self.server.stream.shutdown().await;
        })
        .await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.client.drained = false;
        self.server.drained = false;
        loop {
            if !self.told_to_stop && self.surroundings.is_stopping() {
                self.told_to_stop = true;
                self.machine.shutdown();
            }
            let mut moved = self.take_acks(cx);
            moved |= self.pump_client(cx);
            moved |= self.perform();
            moved |= self.server.write(self.machine.to_server(), cx);
            moved |= self.pump_server(cx);
            moved |= self.perform();
            moved |= self.client.write(self.machine.to_client(), cx);
            moved |= self.server.write(self.machine.to_server(), cx);
            moved |= self.hear_failures();
            if self.machine.status() == Status::Closing {
                if self.poll_closing(cx).is_ready() {
                    return Poll::Ready(());
                }
            } else if self.poll_login(cx) {
                return Poll::Ready(());
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    fn take_acks(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        if let Some((_, acks)) = &mut self.acks {
            while let Poll::Ready(Some((ticket, result))) = acks.poll_recv(cx) {
                self.machine.appended(ticket, result);
                moved = true;
            }
        }
        self.client.retry |= moved && !self.client.input.is_empty();
        moved
    }

    fn pump_client(&mut self, cx: &mut Context<'_>) -> bool {
        let side = &mut self.client;
        if self.machine.status() == Status::Closing || side.reading == Reading::Told || !self.machine.wants_client() {
            return false;
        }
        let mut moved = false;
        if side.may_read()
            && let Some(n) = side.read(cx)
        {
            self.surroundings.read_from_client(n);
            moved = true;
        }
        if moved || side.retry {
            let before = side.input.len();
            self.machine.from_client(&mut side.input);
            side.retry = !side.input.is_empty() && !self.machine.wants_client();
            moved |= side.input.len() != before || !side.retry;
        }
        side.release();
        if side.reading == Reading::Ended && !side.retry {
            side.reading = Reading::Told;
            self.machine.client_eof();
            moved = true;
        }
        moved
    }

    fn pump_server(&mut self, cx: &mut Context<'_>) -> bool {
        let side = &mut self.server;
        if self.machine.status() == Status::Closing || side.reading == Reading::Told || !self.machine.wants_server() {
            return false;
        }
        let mut moved = false;
        if side.may_read()
            && let Some(n) = side.read(cx)
        {
            self.surroundings.read_from_server(n);
            moved = true;
        }
        if moved || side.retry {
            let before = side.input.len();
            self.machine.from_server(&mut side.input);
            side.retry = !side.input.is_empty() && !self.machine.wants_server();
            // The client's next message may have waited for that.
            self.client.retry |= !self.client.input.is_empty();
            moved |= side.input.len() != before || !side.retry;
        }
        side.release();
        if side.reading == Reading::Ended && !side.retry {
            side.reading = Reading::Told;
            self.machine.server_eof();
            moved = true;
        }
        moved
    }

    /// A client who can't be written to is gone. A server that can't be written to may still have said why: that is read first.
    fn hear_failures(&mut self) -> bool {
        if self.client.broken && self.client.reading != Reading::Told {
            self.client.reading = Reading::Told;
            self.machine.client_eof();
            return true;
        }
        false
    }

    fn perform(&mut self) -> bool {
        let mut moved = false;
        while let Some(effect) = self.machine.next_effect() {
            let (acks, _) = self.acks.get_or_insert_with(mpsc::unbounded_channel);
            self.surroundings.perform(effect, acks);
            moved = true;
        }
        moved
    }

    /// Whether log-in took too long.
    fn poll_login(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = &mut self.login_deadline else {
            return false;
        };
        if self.machine.is_authenticated() {
            self.login_deadline = None;
            return false;
        }
        if deadline.as_mut().poll(cx).is_pending() {
            return false;
        }
        // Nothing is half-written while a client logs in, unless he does not read; then he does not read this either.
        let out = self.machine.to_client();
        if out.is_empty() {
            out.put(
                &Fatal::new(
                    SqlState::INVALID_AUTHORIZATION,
                    "canceling authentication due to timeout",
                )
                .encode(),
            );
            self.client.write(out, cx);
        }
        true
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.client.is_done(self.machine.to_client()) && self.server.is_done(self.machine.to_server()) {
            return Poll::Ready(());
        }
        self.closing_deadline
            .get_or_insert_with(|| Box::pin(sleep(CLOSING_TIMEOUT)))
            .as_mut()
            .poll(cx)
    }
}

#[cfg(test)]
mod tests;
