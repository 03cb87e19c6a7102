//! One client/server pair as a state machine over bytes: frames in, frames and effects out. Sans-io: no sockets, no tasks, no
//! clock but the one it is given, so every interleaving can be tested.
//!
//! Owns: the reply queue, prepared statements, portals, transaction state, the held-back output that waits for the journal.
//!
//! | file | one step |
//! |---|---|
//! | `login` | start-up and authentication, relayed |
//! | `client` | messages from the client: `planning`, then `query` or `extended`, or `refuse` |
//! | `server` | messages from the server, matched with what it owes: `description`, `release`, `errors` |
//! | `pass` | those that go on as they came, client's and server's, in runs |
//! | `forget` | prepared statements and portals that end without a Close; how much is kept |
//! | `aside` | ways to a protected statement or portal past its plan, closed |
//! | `probe` | pgward's own questions about names and catalog, on the session's connection |
//! | `transform`, `rows` | values in, values out |
//! | `records`, `gate` | access records, and what waits for them |
//!
//! Deliberately absent: sockets, TLS, time-outs (module `net`), rights (module `policy`), SQL (module `plan`).

mod aside;
mod client;
mod description;
mod encoding;
mod errors;
mod extended;
mod forget;
mod gate;
pub mod handshake;
mod login;
mod names;
mod pass;
mod plan_cache;
mod planning;
mod probe;
mod query;
mod records;
mod refuse;
mod release;
mod rows;
mod server;
mod standing;
mod state;
mod transform;

pub use plan_cache::PlanCache;

use crate::audit::{AccessRecord, Journal, JournalError, Origin};
use crate::crypto::Keyring;
use crate::metrics::Metrics;
use crate::plan::introspect::Declarations;
use crate::plan::{Reason, Refusal, Snapshot};
use crate::policy::file::Limits;
use crate::policy::{HandlerProfile, Policy};
use crate::value::TextStyle;
use crate::wire::compose::{self, Severity};
use crate::wire::frame::Malformed;
use crate::wire::outbuf::OutBuf;
use crate::wire::sqlstate::SqlState;
use crate::wire::startup::StartupMessage;
use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use names::Named;
use state::{Keeping, Portal, Prepared, Reply};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// Most answers that the server may owe before reading from the client stops. A client that sends and doesn't read could otherwise make the session
/// remember far more than the bytes in flight. Not less than what a server may have answered and not flushed yet (8 KiB of answers, 5 bytes each):
/// it flushes at Sync, which must be able to come.
const MAX_OWED: usize = 16_384;

/// What all sessions of a process share.
pub struct Shared {
    /// The policy of the moment.
    pub policy: ArcSwap<Policy>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Whether the journal can be written; see [`Journal::is_healthy`].
    pub journal: Journal,
    /// Microseconds since the Unix epoch, UTC.
    pub clock: fn() -> i64,
}

/// What the sessions of one database share.
pub struct Database {
    /// Its name.
    pub name: Arc<str>,
    /// The catalog as last loaded by pgward's own connection.
    pub catalog: ArcSwap<Snapshot>,
    /// What the policy declares for it, for catalogs that a session loads on its own connection.
    pub declarations: ArcSwap<Declarations>,
    /// Its keyring; `None` where nothing is protected in this database.
    pub keyring: ArcSwap<Option<Keyring>>,
    /// Plans by text.
    pub plans: PlanCache,
}

/// Who is on the other side of the client socket.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Address; `None` for a Unix socket.
    pub addr: Option<SocketAddr>,
    /// Over TLS.
    pub tls: bool,
    /// SHA-256 of the client's certificate, hex.
    pub cert_fingerprint: Option<Arc<str>>,
}

/// A cancel key as it stands in BackendKeyData and CancelRequest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CancelKey {
    /// Process id.
    pub process_id: u32,
    /// Secret: 4 bytes in protocol 3.0, up to 256 in 3.2.
    pub secret: Bytes,
}

/// Identifies an append under way within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Something that the session asks of its surroundings.
pub enum Effect {
    /// Append a record; then call [`Session::appended`] with the ticket.
    Append(Ticket, Box<AccessRecord>),
    /// The server's own cancel key came: CancelRequests with its process id and the secret given to [`Session::new`] are to cancel this.
    ServerKey(CancelKey),
    /// DDL was committed through this session: the shared catalog should be looked at again soon.
    CatalogChanged,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Goes on.
    Open,
    /// What is in [`Session::to_client`] and [`Session::to_server`] is to be written as far as possible, then both sides closed.
    Closing,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until the first ReadyForQuery.
    Login,
    /// Statements.
    Ready,
    /// Ends.
    Closing,
}

/// What happens to the rest of a frame whose beginning was dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Forward,
    Discard,
}

/// Settings that the server reports and that the session follows.
struct Settings {
    style: TextStyle,
    client_encoding: encoding::ClientEncoding,
    server_utf8: bool,
    standard_conforming_strings: bool,
}

/// The state machine. Call it with bytes as they come; after each call write out, and perform the effects. After
/// [`Session::from_server`] and [`Session::appended`], input of the client that was left over is to be offered again.
#[repr(C)] // In the order of use: what a message that goes through touches stands together, in few cache lines.
pub struct Session {
    phase: Phase,
    /// Transaction state of the last ReadyForQuery: `I`, `T` or `E`.
    transaction: u8,
    /// Messages of the extended protocol were sent since the last Sync or Query.
    extended_open: bool,
    /// The server discards until Sync.
    skipping: bool,
    /// It will: a message was refused since the last Sync. What follows may hold values for what was refused, so it is not sent.
    refused: bool,
    /// The client was given an error that the server doesn't know of: nothing more reaches it until ReadyForQuery.
    mute: bool,
    /// A Parse or Close that may not be answered yet took a name from a protected statement.
    statement_taken: bool,
    /// A Bind or Close that may not be answered yet took a name from a portal over a protected statement.
    portal_taken: bool,
    /// The client is in COPY FROM STDIN.
    copy_in: bool,
    stopping: bool,
    /// The client said that it is done.
    leaving: bool,
    /// The server said why it ends the connection.
    said_goodbye: bool,
    /// The rest of a long frame.
    client_stream: Option<(usize, Stream)>,
    server_stream: Option<(usize, Stream)>,
    shared: Arc<Shared>,
    database: Arc<Database>,
    // What the server owes and the client has.
    replies: VecDeque<Reply>,
    effects: VecDeque<Effect>,
    /// A message of the client that waits for the answer to pgward's own question.
    parked: Option<(u8, BytesMut)>,
    /// Names and catalog.
    lookout: probe::Lookout,
    to_server: OutBuf,
    to_client: OutBuf,
    portals: Named<Portal>,
    statements: Named<Arc<Prepared>>,
    /// Those of the policy with which it began: what was promised to the client stays so.
    limits: Limits,
    keeping: Keeping,
    /// Names that the client may think prepared and that are not.
    lost: aside::Lost,
    settings: Settings,
    // The journal, and what waits for it.
    client_gate: gate::Gate,
    server_gate: gate::Gate,
    next_number: u64,
    scratch: rows::Scratch,
    /// The last message of a protected statement that waits for its companions.
    withheld: Option<BytesMut>,
    // Log-in.
    peer: Peer,
    cancel_secret: Bytes,
    login: login::Login,
    origin: Arc<Origin>,
    policy: Arc<Policy>,
    profile: HandlerProfile,
}

impl Session {
    /// A session whose client sent `startup`. The StartupMessage for the server stands in [`Self::to_server`] at once. `cancel_secret` is what the
    /// client gets in BackendKeyData in place of the server's own, with the server's process id.
    pub fn new(
        shared: Arc<Shared>,
        database: Arc<Database>,
        startup: StartupMessage,
        peer: Peer,
        cancel_secret: Bytes,
    ) -> Self {
        let policy = shared.policy.load_full();
        let (origin, profile) = login::identify(&policy, &database, &startup, &peer);
        let mut session = Self {
            login: login::Login::default(),
            origin: Arc::new(origin),
            limits: policy.file().limits,
            policy,
            profile,
            settings: Settings {
                style: TextStyle::default(),
                client_encoding: encoding::ClientEncoding::Utf8,
                server_utf8: true,
                standard_conforming_strings: true,
            },
            shared,
            database,
            peer,
            cancel_secret,
            phase: Phase::Login,
            to_client: OutBuf::default(),
            to_server: OutBuf::default(),
            effects: VecDeque::new(),
            replies: VecDeque::new(),
            statements: Named::default(),
            portals: Named::default(),
            keeping: Keeping::default(),
            lost: aside::Lost::default(),
            transaction: b'I',
            extended_open: false,
            skipping: false,
            refused: false,
            mute: false,
            statement_taken: false,
            portal_taken: false,
            copy_in: false,
            client_stream: None,
            server_stream: None,
            withheld: None,
            lookout: probe::Lookout::default(),
            parked: None,
            client_gate: gate::Gate::default(),
            server_gate: gate::Gate::default(),
            next_number: 0,
            scratch: rows::Scratch::default(),
            stopping: false,
            leaving: false,
            said_goodbye: false,
        };
        session.start(&startup);
        session
    }

    /// The client closed its side: the server gets a Terminate behind what was sent before, and its answers still go to the client, who may have
    /// closed only one direction. In the middle of a message or of COPY IN there is no place for one: both sides close.
    pub fn client_eof(&mut self) {
        if self.phase == Phase::Closing || self.leaving {
            return;
        }
        if self.phase == Phase::Login || self.client_stream.is_some() || self.copy_in {
            self.close();
        } else {
            self.terminate();
        }
    }

    /// The server closed its side: the client is told, the session ends.
    pub fn server_eof(&mut self) {
        // A server that ends says so itself (57P01 and the like); one that vanished does not.
        let owes = !self.replies.is_empty() && !self.leaving && !self.said_goodbye;
        if self.phase != Phase::Closing && owes {
            self.drop_unreleased();
            if !self.speaks_to_client() {
                compose::error(
                    self.to_client.tail(),
                    Severity::Fatal,
                    SqlState::CONNECTION_FAILURE,
                    "the database server closed the connection",
                    None,
                    Some("Connect again; whether the last transaction was committed must be checked."),
                );
            }
        }
        self.close();
    }

    /// Graceful stop: ends the session now if no statement runs (57P01 to the client), else as soon as none does.
    pub fn shutdown(&mut self) {
        self.stopping = true;
        self.stop_if_idle();
    }

    fn stop_if_idle(&mut self) {
        let idle = self.phase == Phase::Ready
            && self.replies.is_empty()
            && self.transaction == b'I'
            && !self.client_gate.is_waiting();
        if self.stopping && (idle || self.phase == Phase::Login) {
            compose::error(
                self.to_client.tail(),
                Severity::Fatal,
                SqlState::ADMIN_SHUTDOWN,
                "terminating connection because pgward is stopping",
                None,
                None,
            );
            if !matches!(self.client_stream, Some((_, Stream::Forward))) {
                compose::bare(self.to_server.tail(), b'X');
            }
            self.phase = Phase::Closing;
        }
    }

    /// The next thing to do for it.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }
    /// Bytes for the client; its `Buf` view holds only what may leave now.
    pub fn to_client(&mut self) -> &mut OutBuf {
        &mut self.to_client
    }
    /// Bytes for the server.
    pub fn to_server(&mut self) -> &mut OutBuf {
        &mut self.to_server
    }
    /// Whether reading from the client makes sense now (back-pressure, waits).
    pub fn wants_client(&self) -> bool {
        self.phase != Phase::Closing
            && !self.leaving
            && !self.lookout.is_asking()
            && self.parked.is_none()
            && self.replies.len() < MAX_OWED
            && self.to_server.len() < self.limits.buffer_bytes
    }
    /// Whether reading from the server makes sense now.
    pub fn wants_server(&self) -> bool {
        self.phase != Phase::Closing && self.to_client.len() < self.limits.buffer_bytes
    }
    /// How far it is.
    pub fn status(&self) -> Status {
        if self.phase == Phase::Closing {
            Status::Closing
        } else {
            Status::Open
        }
    }
    /// Whether log-in is done (the authentication time-out ends).
    pub fn is_authenticated(&self) -> bool {
        self.phase != Phase::Login
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn now(&self) -> i64 {
        (self.shared.clock)()
    }

    fn close(&mut self) {
        self.phase = Phase::Closing;
        self.statements.clear();
        self.portals.clear();
        self.parked = None;
    }

    /// Takes back output to the client that no durable record covers.
    fn drop_unreleased(&mut self) {
        if let Some(at) = self.client_gate.hold() {
            self.to_client.cut(at);
            self.client_gate.cut(at);
            self.hold_client();
            self.discard_rest();
        }
    }

    /// Whether the client has the beginning of a message whose rest is still to come: nothing can be told it then.
    fn speaks_to_client(&self) -> bool {
        matches!(self.server_stream, Some((_, Stream::Forward)))
    }

    /// Held output was taken back, and with it the beginning of a message that is passed on as it comes: its rest must not stand alone.
    fn discard_rest(&mut self) {
        if let Some((_, how)) = &mut self.server_stream {
            *how = Stream::Discard;
        }
    }

    /// What the peer sent is not the protocol: say so and end.
    #[cold]
    fn malformed(&mut self, whose: &str, fault: &Malformed) {
        self.drop_unreleased();
        tracing::warn!(session = %self.origin.session_id, "malformed message from the {whose}: {fault}");
        if !self.speaks_to_client() {
            compose::error(
                self.to_client.tail(),
                Severity::Fatal,
                Malformed::SQLSTATE,
                &format!("{fault} (from the {whose})"),
                None,
                None,
            );
        }
        self.close();
    }

    fn hold_client(&mut self) {
        self.to_client.hold(self.client_gate.hold());
    }

    fn hold_server(&mut self) {
        self.to_server.hold(self.server_gate.hold());
    }

    /// Submits a record.
    fn append(&mut self, record: Box<AccessRecord>) -> Ticket {
        let ticket = Ticket(self.number());
        self.effects.push_back(Effect::Append(ticket, record));
        ticket
    }

    /// The fate of an append.
    pub fn appended(&mut self, ticket: Ticket, result: Result<(), JournalError>) {
        if self.phase == Phase::Closing {
            // What was held is not released after the end; the peers are gone.
            if result.is_ok() {
                self.client_gate.take(ticket);
                self.hold_client();
            }
            return;
        }
        if let Some(at) = self.server_gate.take(ticket) {
            if result.is_err() {
                self.unwrite(ticket, at);
            }
            self.hold_server();
        } else if let Some(at) = self.client_gate.take(ticket) {
            if result.is_err() {
                self.unread(at);
            }
            self.hold_client();
        }
        self.stop_if_idle();
    }

    fn journal_refusal() -> Refusal {
        Refusal {
            sqlstate: SqlState::IO_ERROR,
            reason: Reason::Journal,
            column: None,
            message: "the access record can't be written, so protected data is not given out or taken in".into(),
            hint: Some("Ask the operators to look at pgward's journal directory (full disk?).".into()),
        }
    }

    /// Appends the ErrorResponse of a refusal.
    fn put_refusal(out: &mut BytesMut, severity: Severity, refusal: &Refusal) {
        let pointer = format!("See docs/ERRORS.md#{}", refusal.reason.anchor());
        let hint = match &refusal.hint {
            Some(hint) => format!("{hint} {pointer}"),
            None => pointer,
        };
        let detail = refusal.column.as_ref().map(|c| format!("Column: {c}"));
        compose::error(
            out,
            severity,
            refusal.sqlstate,
            &refusal.message,
            detail.as_deref(),
            Some(&hint),
        );
    }
}
