//! One session's turns: both streams and the state machine between them, on one thread.
//!
//! What decides about speed here (a proxy's price is its system calls): a turn reads what is there, hands it to the session and writes
//! the other side at once, so a query costs two reads, two writes and the two waits between them. A short read ends the reading without
//! a second call. Read buffers belong to the thread, not to the session: an idle session holds none.
//!
//! Invariants: bytes leave only through the session's [`OutBuf`]s; a side from which the session does not want to read is not read (so memory
//! stays bounded); every effect is performed before a turn is over; a turn is bounded, so that no session keeps others waiting.

use super::socket::Readiness;
use super::stream::Stream;
use super::worker::{Resident, Turn};
use crate::audit::JournalError;
use crate::session::handshake::Fatal;
use crate::session::{Effect, Session, Status, Ticket};
use crate::wire::inbuf::InBuf;
use crate::wire::outbuf::OutBuf;
use crate::wire::sqlstate::SqlState;
use bytes::Buf;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Room for one read. Larger ones save few calls and fall out of the second-level cache.
const READ_SIZE: usize = 32 * 1024;

/// Reads and writes of each side in one turn; then others have theirs.
const ROUNDS: usize = 16;

/// How long the last bytes of an ending session may take to leave.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the closing notice may take. Who does not take it gets the sockets closed all the same.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);

thread_local! {
    /// The thread's read buffer while no session uses it.
    static SPARE: Cell<InBuf> = Cell::new(InBuf::default());
}

/// Largest buffer that a thread keeps. One grows with a message that is rewritten, which has to be there to its end.
const LARGEST_SPARE: usize = 4 * READ_SIZE;

/// Gives the thread its buffer back.
fn give_back(buffer: InBuf) {
    if (READ_SIZE..=LARGEST_SPARE).contains(&buffer.capacity()) {
        SPARE.set(buffer);
    }
}

/// What the relay drives: [`Session`], or a stand-in in tests.
#[allow(clippy::wrong_self_convention)] // `from_client` says where bytes come from; nothing is converted
pub trait Machine {
    /// See [`Session::from_client`].
    fn from_client(&mut self, input: &mut InBuf);
    /// See [`Session::from_server`].
    fn from_server(&mut self, input: &mut InBuf);
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
    fn from_client(&mut self, input: &mut InBuf) {
        Session::from_client(self, input);
    }
    fn from_server(&mut self, input: &mut InBuf) {
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

/// Where the fate of one append goes.
pub type AckSender = mpsc::UnboundedSender<(Ticket, Result<(), JournalError>)>;
type AckReceiver = mpsc::UnboundedReceiver<(Ticket, Result<(), JournalError>)>;

/// The appends whose fate is not known yet.
#[derive(Default)]
pub struct Acks {
    awaited: usize,
    /// Made at the first append: most sessions of an unprotected database never need it.
    channel: Option<(AckSender, AckReceiver)>,
}

impl Acks {
    /// One append is under way: its fate is sent here, once.
    pub fn expect(&mut self) -> AckSender {
        self.awaited += 1;
        self.channel.get_or_insert_with(mpsc::unbounded_channel).0.clone()
    }

    /// The next fate that is known. Nothing is asked, and no waker kept, while none is awaited.
    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<(Ticket, Result<(), JournalError>)> {
        (self.awaited > 0).then(|| self.poll_channel(cx))?
    }

    fn poll_channel(&mut self, cx: &mut Context<'_>) -> Option<(Ticket, Result<(), JournalError>)> {
        let (_, receiver) = self.channel.as_mut()?;
        match receiver.poll_recv(cx) {
            Poll::Ready(Some(fate)) => {
                self.awaited -= 1;
                Some(fate)
            }
            _ => None,
        }
    }
}

/// What a session lives in.
pub trait Surroundings {
    /// Performs an effect. The fate of an append is sent where `acks` says.
    fn perform(&mut self, effect: Effect, acks: &mut Acks);
    /// Bytes were read from the client.
    fn read_from_client(&mut self, bytes: usize);
    /// Bytes were read from the server.
    fn read_from_server(&mut self, bytes: usize);
    /// Whether pgward is about to stop. Whoever makes it true gives the session a turn.
    fn is_stopping(&self) -> bool;
}

/// A stream as the relay reads it.
pub trait Link: AsyncRead + AsyncWrite + Unpin {
    /// Whether reading may find something now.
    fn may_read(&self) -> bool {
        true
    }
    /// Reads once into the room behind `into`'s bytes.
    fn poll_fill(&mut self, into: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        fill(self, into, cx)
    }
}

/// [`Link::poll_fill`] of whatever can be read.
pub fn fill<S: AsyncRead + Unpin + ?Sized>(
    stream: &mut S,
    into: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    pin!(stream.read_buf(into)).poll(cx)
}

/// One socket with what was read from it and not yet taken.
struct Side<S> {
    stream: S,
    input: InBuf,
    reading: Reading,
    /// The last read in this turn found nothing: asking again would find nothing.
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

impl<S: Link> Side<S> {
    fn new(stream: S, input: InBuf) -> Self {
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
        }
        self.input.reserve(READ_SIZE);
        match self.stream.poll_fill(self.input.tail(), cx) {
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

    /// Whether there may be something that the session doesn't know of.
    fn has_news(&self) -> bool {
        match self.reading {
            Reading::Open => self.retry || self.may_read(),
            Reading::Ended => true,
            Reading::Told => false,
        }
    }

    /// Whether to read once more in this turn.
    fn may_read(&self) -> bool {
        !self.retry && !self.drained && self.reading == Reading::Open && self.stream.may_read()
    }

    /// Gives the thread its buffer back when nothing is left in it.
    fn release(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            give_back(std::mem::take(&mut self.input));
        }
    }

    /// Writes what may leave as far as possible; whether anything moved.
    #[inline]
    fn write(&mut self, out: &mut OutBuf, cx: &mut Context<'_>) -> bool {
        (out.has_remaining() || self.unflushed) && self.write_out(out, cx)
    }

    fn write_out(&mut self, out: &mut OutBuf, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while out.has_remaining() && !self.broken {
            // One piece is the usual case, and send(2) costs the kernel less than writev(2).
            let chunk = out.chunk();
            let written = if chunk.len() == out.remaining() {
                let written = Pin::new(&mut self.stream).poll_write(cx, chunk);
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
        if let Some(buffer) = out.take_memory() {
            give_back(buffer);
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

/// A session with its two streams.
#[repr(C)] // In the order of use, the session's own beginning included.
pub struct Relay<M, S, C> {
    client: Side<S>,
    server: Side<S>,
    /// When log-in must be done; `None`: it is.
    login_deadline: Option<Instant>,
    /// When the last bytes must have left; `None`: not closing.
    closing_deadline: Option<Instant>,
    /// When the closing notices must have left; `None`: not yet that far.
    parting_deadline: Option<Instant>,
    told_to_stop: bool,
    acks: Acks,
    surroundings: C,
    machine: M,
}

impl<M, S, C> Relay<M, S, C>
where
    M: Machine,
    S: Link,
    C: Surroundings,
{
    /// A session with its two streams; `early` is what the client sent behind its StartupMessage. Log-in must be done by `login_deadline`.
    pub fn new(machine: M, surroundings: C, client: S, early: InBuf, server: S, login_deadline: Instant) -> Self {
        Self {
            machine,
            surroundings,
            client: Side::new(client, early),
            server: Side::new(server, InBuf::default()),
            acks: Acks::default(),
            login_deadline: Some(login_deadline),
            closing_deadline: None,
            parting_deadline: None,
            told_to_stop: false,
        }
    }

    /// When it needs a turn though nothing else gives it one.
    pub fn deadline(&self) -> Option<Instant> {
        self.parting_deadline.or(self.closing_deadline).or(self.login_deadline)
    }

    /// Moves what can be moved now.
    pub fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        if self.parting_deadline.is_some() {
            return self.part(cx);
        }
        self.client.drained = false;
        self.server.drained = false;
        for _ in 0..ROUNDS {
            if !self.told_to_stop && self.surroundings.is_stopping() {
                self.told_to_stop = true;
                self.machine.shutdown();
            }
            let mut moved = self.take_acks(cx);
            moved |= self.pump_client(cx);
            moved |= self.perform();
            moved |= self.server.write(self.machine.to_server(), cx);
            if self.pump_server(cx) {
                moved = true;
                self.perform();
                // A message may have waited for an answer.
                self.server.write(self.machine.to_server(), cx);
            }
            moved |= self.client.write(self.machine.to_client(), cx);
            let failed = self.hear_failures();
            let over = if self.machine.status() == Status::Closing {
                self.is_closed()
            } else {
                self.is_login_too_long(cx)
            };
            if over {
                return self.part(cx);
            }
            let goes_on = failed || moved && self.may_go_on();
            if !goes_on {
                return Turn::Waits;
            }
        }
        Turn::Again
    }

    /// Whether another round may find more to do. Usually both sockets were read until nothing was left, and all that came of it was written.
    fn may_go_on(&self) -> bool {
        self.client.has_news()
            || self.server.has_news()
            || self.acks.awaited > 0
            || self.machine.status() == Status::Closing
    }

    /// Closing notices (TLS) and FIN.
    #[cold]
    fn part(&mut self, cx: &mut Context<'_>) -> Turn {
        let deadline = *self
            .parting_deadline
            .get_or_insert_with(|| Instant::now() + PARTING_TIMEOUT);
        let client = pin!(self.client.stream.shutdown()).poll(cx);
        let server = pin!(self.server.stream.shutdown()).poll(cx);
        if client.is_ready() && server.is_ready() || Instant::now() >= deadline {
            Turn::Ended
        } else {
            Turn::Waits
        }
    }

    fn take_acks(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some((ticket, result)) = self.acks.poll(cx) {
            self.machine.appended(ticket, result);
            moved = true;
        }
        self.client.retry |= moved && !self.client.input.is_empty();
        moved
    }

    fn pump_client(&mut self, cx: &mut Context<'_>) -> bool {
        let side = &mut self.client;
        if !side.has_news() || self.machine.status() == Status::Closing || !self.machine.wants_client() {
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
        if !side.has_news() || self.machine.status() == Status::Closing || !self.machine.wants_server() {
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
            self.surroundings.perform(effect, &mut self.acks);
            moved = true;
        }
        moved
    }

    #[inline]
    fn is_login_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        self.login_deadline
            .is_some_and(|deadline| self.is_too_late(deadline, cx))
    }

    #[cold]
    fn is_too_late(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        if self.machine.is_authenticated() {
            self.login_deadline = None;
            return false;
        }
        if Instant::now() < deadline {
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

    /// Whether the last bytes have left, or have had their time.
    #[cold]
    fn is_closed(&mut self) -> bool {
        if self.client.is_done(self.machine.to_client()) && self.server.is_done(self.machine.to_server()) {
            return true;
        }
        let now = Instant::now();
        now >= *self.closing_deadline.get_or_insert(now + CLOSING_TIMEOUT)
    }
}

impl<M, C> Resident for Relay<M, Stream, C>
where
    M: Machine + Send + 'static,
    C: Surroundings + Send + 'static,
{
    fn sockets(&self) -> Option<[BorrowedFd<'_>; 2]> {
        Some([self.client.stream.socket().fd()?, self.server.stream.socket().fd()?])
    }
    fn note(&mut self, socket: usize, readiness: Readiness) {
        let stream = match socket {
            0 => &mut self.client.stream,
            _ => &mut self.server.stream,
        };
        stream.socket_mut().note(readiness);
    }
    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        Relay::turn(self, cx)
    }
    fn deadline(&self) -> Option<Instant> {
        Relay::deadline(self)
    }
}

#[cfg(test)]
mod tests;
