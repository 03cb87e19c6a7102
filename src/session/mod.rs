//! One client/server pair as a state machine over bytes: frames in, frames and effects out. Sans-io: no sockets, no tasks, no
//! clock but the one it is given, so every interleaving can be tested.
//!
//! Owns: the reply queue, prepared statements, portals, transaction state, the held-back output that waits for the journal.

pub mod handshake;

use crate::audit::{AccessRecord, JournalError};
use crate::crypto::Keyring;
use crate::metrics::Metrics;
use crate::plan::Snapshot;
use crate::policy::Policy;
use crate::wire::outbuf::OutBuf;
use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use std::net::SocketAddr;
use std::sync::Arc;

/// What all sessions of a process share.
pub struct Shared {
    /// The policy of the moment.
    pub policy: ArcSwap<Policy>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Whether the journal can be written; see [`crate::audit::Journal::is_healthy`].
    pub journal: crate::audit::Journal,
}

/// What the sessions of one database share.
pub struct Database {
    /// Its name.
    pub name: Arc<str>,
    /// The catalog as last loaded by pgward's own connection.
    pub catalog: ArcSwap<Snapshot>,
    /// Its keyring; `None` where nothing is protected in this database.
    pub keyring: ArcSwap<Option<Keyring>>,
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
    /// The server's own cancel key came: CancelRequests with the key given to [`Session::new`] are to cancel this.
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

/// The state machine. Call it with bytes as they come; after each call write out, and perform the effects.
pub struct Session {
    to_client: OutBuf,
    to_server: OutBuf,
}

impl Session {
    /// A session whose client sent `startup`. The StartupMessage for the server stands in [`Self::to_server`] at once. `cancel_key` is what the client
    /// gets in place of the server's own BackendKeyData.
    pub fn new(
        _shared: Arc<Shared>,
        _database: Arc<Database>,
        _startup: crate::wire::startup::StartupMessage,
        _peer: Peer,
        _cancel_key: CancelKey,
    ) -> Self {
        todo!()
    }
    /// Takes whole frames from the front of what the client sent; leaves an incomplete one (or, under back-pressure, more).
    pub fn from_client(&mut self, _input: &mut BytesMut) {
        todo!()
    }
    /// The same from the server.
    pub fn from_server(&mut self, _input: &mut BytesMut) {
        todo!()
    }
    /// The client closed its side: the server gets a Terminate, the session ends.
    pub fn client_eof(&mut self) {
        todo!()
    }
    /// The server closed its side: the client is told, the session ends.
    pub fn server_eof(&mut self) {
        todo!()
    }
    /// The fate of an append.
    pub fn appended(&mut self, _ticket: Ticket, _result: Result<(), JournalError>) {
        todo!()
    }
    /// Graceful stop: ends the session now if no statement runs (57P01 to the client), else as soon as none does.
    pub fn shutdown(&mut self) {
        todo!()
    }
    /// The next thing to do for it.
    pub fn next_effect(&mut self) -> Option<Effect> {
        todo!()
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
        todo!()
    }
    /// Whether reading from the server makes sense now.
    pub fn wants_server(&self) -> bool {
        todo!()
    }
    /// How far it is.
    pub fn status(&self) -> Status {
        todo!()
    }
    /// Whether log-in is done (the authentication time-out ends).
    pub fn is_authenticated(&self) -> bool {
        todo!()
    }
}
