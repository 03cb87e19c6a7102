//! A client from its connection until its session runs: handshake, TLS, whether it is let in, the way to the server.

use super::cancel::CancelEntry;
use super::listen::{Admission, Front};
use super::relay::{Acks, Relay, Surroundings};
use super::socket::Socket;
use super::stream::Stream;
use super::tls;
use crate::session::handshake::{Fatal, Handshake, Step, TlsOffer};
use crate::session::{Effect, Peer, Session};
use crate::wire::inbuf::InBuf;
use crate::wire::sqlstate::SqlState;
use crate::wire::startup::{CancelRequest, MAX_STARTUP_LENGTH, StartupMessage};
use bytes::BytesMut;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// A client that asked for a session.
struct Caller {
    stream: Stream,
    startup: StartupMessage,
    /// What it sent behind its StartupMessage.
    early: BytesMut,
    peer: Peer,
}

/// What a client wants.
enum Wish {
    Session(Box<Caller>),
    Cancel(Stream, CancelRequest),
}

/// What lives on the worker threads.
pub(super) type Guest = Relay<Session, Stream, Home>;

/// Receives one client, from accept to where its session begins.
pub(super) async fn receive(front: Arc<Front>, stream: TcpStream, addr: SocketAddr, admission: Admission) {
    let deadline = Instant::now() + Duration::from_secs(front.limits().authentication_timeout_seconds);
    let is_counted = admission.is_counted();
    let opening = tokio::time::timeout_at(deadline, open(&front, stream, addr, admission, deadline.into_std()));
    let opened = tokio::select! {
        biased;
        opened = opening => opened,
        // Who has not asked for anything yet does not hold up a stop. Who comes during one is told so.
        () = front.stop.notified(), if is_counted => return,
    };
    match opened {
        Ok(Some(guest)) => front.crew.adopt(guest),
        Ok(None) => {}
        Err(_) => tracing::debug!(client = %addr, "no start-up within the authentication time-out"),
    }
}

/// Everything before the session. `None`: over.
async fn open(
    front: &Arc<Front>,
    stream: TcpStream,
    addr: SocketAddr,
    admission: Admission,
    deadline: std::time::Instant,
) -> Option<Box<Guest>> {
    let wish = match greet(front, stream, addr).await {
        Ok(wish) => wish?,
        Err(error) => {
            tracing::debug!(client = %addr, %error, "the client went away before its start-up");
            return None;
        }
    };
    let mut caller = match wish {
        Wish::Session(caller) => caller,
        Wish::Cancel(stream, request) => {
            cancel(front, &request).await;
            // The client waits for the end of file: only now is the request on its way.
            drop(stream);
            return None;
        }
    };
    if let Err(fatal) = front.lets_in(&caller.startup, &admission) {
        refuse(&mut caller.stream, &fatal, addr).await;
        return None;
    }
    let mut server = match front.options.upstream.connect().await {
        Ok(server) => server,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no connection to the server");
            refuse(&mut caller.stream, &error.for_client(), addr).await;
            return None;
        }
    };
    let Caller {
        mut stream,
        startup,
        early,
        peer,
    } = *caller;
    for stream in [&mut stream, &mut server] {
        if let Err(error) = stream.socket_mut().detach() {
            tracing::error!(%error, "can't hand a connection over to a worker");
            return None;
        }
    }
    // `lets_in` saw that it is there.
    let database = front.options.databases.get(startup.database().unwrap_or_default());
    let cancel = front.cancel.enter(startup.minor());
    let session = Session::new(
        front.shared.clone(),
        database.clone(),
        startup,
        peer,
        cancel.secret().clone(),
    );
    let home = Home {
        front: front.clone(),
        database,
        cancel,
        _admission: admission,
    };
    let early = InBuf::from(&early[..]);
    Some(Box::new(Relay::new(session, home, stream, early, server, deadline)))
}

/// The handshake. `None`: refused.
async fn greet(front: &Front, tcp: TcpStream, addr: SocketAddr) -> io::Result<Option<Wish>> {
    let tls_config = front.options.tls.as_ref();
    let mut handshake = Handshake::new(tls_config.map_or(TlsOffer::Off, |tls| tls.offer));
    let mut stream = Stream::Plain(tcp.into());
    let mut input = BytesMut::new();
    let mut peer = Peer {
        addr: Some(addr),
        tls: false,
        cert_fingerprint: None,
    };
    loop {
        match handshake.advance(&mut input) {
            Step::Read => {
                // Bounded: a longer start-up packet is an error before it is complete.
                input.reserve(1024);
                if stream.read_buf(&mut input).await? == 0 || input.len() > 4 * MAX_STARTUP_LENGTH {
                    return Ok(None);
                }
            }
            Step::Answer(byte) => stream.write_all(&[byte]).await?,
            step @ (Step::Secure | Step::AnswerAndSecure) => {
                let (Some(tls), Stream::Plain(mut tcp)) = (tls_config, stream) else {
                    return Err(io::Error::other("TLS was neither offered nor possible"));
                };
                if matches!(step, Step::AnswerAndSecure) {
                    tcp.write_all(b"S").await?;
                }
                let secured = secure(tls.config.clone(), tcp, &mut input).await?;
                let connection = secured.get_ref().1;
                peer.tls = true;
                peer.cert_fingerprint = connection
                    .peer_certificates()
                    .and_then(|chain| chain.first())
                    .map(tls::fingerprint);
                let checked = handshake.secured(connection.alpn_protocol());
                stream = Stream::TlsClient(Box::new(secured));
                if let Err(Step::Refuse(fatal)) = checked {
                    refuse(&mut stream, &fatal, addr).await;
                    return Ok(None);
                }
            }
            Step::Startup(startup) => {
                return Ok(Some(Wish::Session(Box::new(Caller {
                    stream,
                    startup,
                    early: input,
                    peer,
                }))));
            }
            Step::Cancel(request) => return Ok(Some(Wish::Cancel(stream, request))),
            Step::Refuse(fatal) => {
                refuse(&mut stream, &fatal, addr).await;
                return Ok(None);
            }
            Step::Close => return Ok(None),
        }
    }
}

/// The TLS handshake, `input` being the part of it that was read already.
async fn secure(
    config: Arc<rustls::ServerConfig>,
    tcp: Socket,
    input: &mut BytesMut,
) -> io::Result<tokio_rustls::server::TlsStream<Socket>> {
    let early = input.split();
    TlsAcceptor::from(config)
        .accept_with(tcp, |connection| {
            let mut early = &early[..];
            // An error comes up again, and is told to the client, where the handshake goes on.
            while !early.is_empty() && matches!(connection.read_tls(&mut early), Ok(1..)) {
                if connection.process_new_packets().is_err() {
                    break;
                }
            }
        })
        .await
}

/// Tells the client why not, as far as it listens.
async fn refuse(stream: &mut Stream, fatal: &Fatal, addr: SocketAddr) {
    tracing::info!(client = %addr, sqlstate = %fatal.sqlstate, message = %fatal.message, "connection refused");
    let _ = stream.write_all(&fatal.encode()).await;
    let _ = stream.shutdown().await;
}

/// Passes a CancelRequest on, where its key is known. Strangers learn nothing either way.
async fn cancel(front: &Front, request: &CancelRequest) {
    let Some(server) = front.cancel.look_up(request.process_id, &request.secret) else {
        tracing::debug!("cancel request with an unknown key");
        return;
    };
    if let Err(error) = front.options.upstream.cancel(server.process_id, &server.secret).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a cancel request did not reach the server"
        );
    }
}

impl Front {
    /// Whether a client may have a session.
    fn lets_in(&self, startup: &StartupMessage, admission: &Admission) -> Result<(), Fatal> {
        if self.stop.is_stopping() {
            return Err(Fatal::new(SqlState::CANNOT_CONNECT_NOW, "pgward is shutting down"));
        }
        if admission.is_over_limit() {
            return Err(
                Fatal::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
                    .hint("pgward lets limits.max_clients clients in."),
            );
        }
        // A walsender sees every database of the server, around SQL: stored bytes of mode `none`, and no record of it.
        if startup.asks_for_replication() && self.options.databases.protect_anything() {
            return Err(Fatal::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "replication connections are refused where columns are protected",
            )
            .hint("Let replication connect to the PostgreSQL server itself. See docs/ERRORS.md#protocol"));
        }
        Ok(())
    }
}

/// What a session lives in; dropped with it.
pub(super) struct Home {
    front: Arc<Front>,
    database: Arc<crate::session::Database>,
    cancel: CancelEntry,
    _admission: Admission,
}

impl Surroundings for Home {
    fn perform(&mut self, effect: Effect, acks: &mut Acks) {
        match effect {
            Effect::Append(ticket, record) => {
                let acks = acks.expect();
                let metrics = self.front.shared.metrics.clone();
                metrics.journal_queued.inc();
                self.front.shared.journal.append(
                    *record,
                    Box::new(move |result| {
                        metrics.journal_queued.dec();
                        if result.is_err() {
                            metrics.journal_failures.inc();
                        }
                        // Fails when the session is gone; then nobody waits for it.
                        let _ = acks.send((ticket, result));
                    }),
                );
            }
            Effect::ServerKey(key) => self.cancel.stands_for(key),
            Effect::CatalogChanged => (self.front.options.catalog_changed)(&self.database.name),
        }
    }
    fn read_from_client(&mut self, bytes: usize) {
        self.front.shared.metrics.bytes_from_clients.inc_by(bytes as u64);
    }
    fn read_from_server(&mut self, bytes: usize) {
        self.front.shared.metrics.bytes_from_server.inc_by(bytes as u64);
    }
    fn is_stopping(&self) -> bool {
        self.front.stop.is_stopping()
    }
}
