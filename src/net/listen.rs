//! Listeners and the acceptors; starting and stopping.
//!
//! One acceptor an address, and a Tokio task for each client until its session begins; then it moves to one of the
//! [worker threads](super::worker).

use super::cancel::CancelRegistry;
use super::databases::Databases;
use super::reception;
use super::upstream::Upstream;
use super::worker::Crew;
use crate::policy::file::Limits;
use crate::session::Shared;
use crate::session::handshake::TlsOffer;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Pause after accept failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Clients beyond the limit that are let as far as being told so, or cancelling something; more are closed at once.
const OVERFLOW: usize = 64;

/// TLS towards clients.
#[derive(Clone)]
pub struct ClientTls {
    /// Allow or require.
    pub offer: TlsOffer,
    /// Certificate, key, client authority; see [`super::tls::server_config`].
    pub config: Arc<rustls::ServerConfig>,
}

/// Called with a database's name when DDL went through one of its sessions.
pub type CatalogChanged = Box<dyn Fn(&Arc<str>) + Send + Sync>;

/// What a front is made of.
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub addresses: Vec<SocketAddr>,
    /// TLS towards clients; `None` is `off`.
    pub tls: Option<ClientTls>,
    /// The server.
    pub upstream: Upstream,
    /// The databases behind it.
    pub databases: Arc<Databases>,
    /// Whom DDL concerns.
    pub catalog_changed: CatalogChanged,
    /// Worker threads; `None`: one a CPU.
    pub workers: Option<usize>,
}

/// Why there is no front.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address can't be bound.
    #[error("can't listen on {address}: {source}{}", hint(source))]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No thread.
    #[error("can't start the worker threads: {0}")]
    Thread(io::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another process listens there: stop it, or change listen.addresses)",
        io::ErrorKind::AddrNotAvailable => " (no network interface has it: change listen.addresses)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
        _ => "",
    }
}

/// What all connections share.
pub(super) struct Front {
    pub(super) options: Options,
    pub(super) shared: Arc<Shared>,
    pub(super) cancel: Arc<CancelRegistry>,
    pub(super) stop: Stop,
    pub(super) crew: Crew<reception::Guest>,
    clients: AtomicUsize,
    all_gone: Notify,
}

impl Front {
    /// Those of the policy of this moment.
    pub(super) fn limits(&self) -> Limits {
        self.shared.policy.load().file().limits
    }
}

/// The wish to stop.
#[derive(Default)]
pub(super) struct Stop {
    flag: AtomicBool,
    notify: Notify,
}

impl Stop {
    pub(super) fn is_stopping(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
    /// Ready when it is wished; polled once, it then wakes its task.
    pub(super) async fn notified(&self) {
        let notified = self.notify.notified();
        // Registers (as a `Notified` is one from its creation on) before looking, so no wish is missed.
        if !self.is_stopping() {
            notified.await;
        }
    }
    fn wish(&self) {
        self.flag.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }
}

/// A client's place; given back when dropped.
pub(super) struct Admission {
    front: Arc<Front>,
    over_limit: bool,
    /// Came before the wish to stop, which waits for it.
    counted: bool,
}

impl Admission {
    fn new(front: &Arc<Front>) -> Option<Self> {
        let counted = !front.stop.is_stopping();
        let before = if counted {
            front.clients.fetch_add(1, Ordering::AcqRel)
        } else {
            front.clients.load(Ordering::Acquire)
        };
        let max_clients = front.limits().max_clients;
        front.shared.metrics.connections.inc();
        front.shared.metrics.connections_total.inc();
        let admission = Self {
            front: front.clone(),
            over_limit: before >= max_clients,
            counted,
        };
        (before < max_clients.saturating_add(OVERFLOW)).then_some(admission)
    }
    pub(super) fn is_over_limit(&self) -> bool {
        self.over_limit
    }
    pub(super) fn is_counted(&self) -> bool {
        self.counted
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.front.shared.metrics.connections.dec();
        if self.counted && self.front.clients.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.front.all_gone.notify_waiters();
        }
    }
}

/// A front at work.
pub struct Running {
    addresses: Vec<SocketAddr>,
    front: Arc<Front>,
    acceptors: Vec<JoinHandle<()>>,
}

/// Binds the addresses, calls `before` (what must be in place before anyone is let in, and needs no undoing if an address is taken), and starts
/// to serve. Must be called within a Tokio runtime with I/O and time, which then accepts and receives clients.
pub async fn start(options: Options, shared: Arc<Shared>, before: impl FnOnce()) -> Result<Running, ListenError> {
    let mut listeners = Vec::new();
    for address in &options.addresses {
        let listener = TcpListener::bind(address).await.map_err(|source| ListenError::Bind {
            address: *address,
            source,
        })?;
        listeners.push(listener);
    }
    before();
    let addresses = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let workers = options
        .workers
        .or_else(|| std::thread::available_parallelism().ok().map(Into::into))
        .unwrap_or(1)
        .max(1);
    let front = Arc::new(Front {
        options,
        shared,
        cancel: Arc::default(),
        stop: Stop::default(),
        crew: Crew::start(workers).map_err(ListenError::Thread)?,
        clients: AtomicUsize::new(0),
        all_gone: Notify::new(),
    });
    let acceptors = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept(listener, front.clone())))
        .collect();
    Ok(Running {
        addresses,
        front,
        acceptors,
    })
}

async fn accept(listener: TcpListener, front: Arc<Front>) {
    loop {
        let (stream, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(admission) = Admission::new(&front) else {
            tracing::warn!(client = %addr, "closed at once: far beyond limits.max_clients");
            continue;
        };
        match super::tune(&stream) {
            Ok(()) => drop(tokio::spawn(reception::receive(front.clone(), stream, addr, admission))),
            Err(error) => tracing::debug!(client = %addr, %error, "the client is gone already"),
        }
    }
}

impl Running {
    /// The addresses it listens on, with their real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Clients connected now.
    pub fn clients(&self) -> usize {
        self.front.clients.load(Ordering::Acquire)
    }

    /// Graceful stop: sessions end when their running statement does; new clients are told so; after the grace the rest is closed.
    pub async fn stop(self) {
        let front = self.front;
        front.stop.wish();
        front.crew.turn_all();
        let grace = Duration::from_secs(front.limits().shutdown_grace_seconds);
        let deadline = tokio::time::Instant::now() + grace;
        loop {
            let gone = front.all_gone.notified();
            let clients = front.clients.load(Ordering::Acquire);
            if clients == 0 {
                break;
            }
            if tokio::time::timeout_at(deadline, gone).await.is_err() {
                tracing::warn!(clients, "the grace is over: closing what still runs");
                break;
            }
        }
        for acceptor in self.acceptors {
            acceptor.abort();
            let _ = acceptor.await;
        }
        let _ = tokio::task::spawn_blocking(move || front.crew.quit()).await;
    }
}
