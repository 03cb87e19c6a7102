//! Listeners, the acceptor and the worker threads.
//!
//! One acceptor hands each connection to the worker that has the fewest. The alternative, a listener a worker with SO_REUSEPORT, lets
//! the kernel choose by a hash of the addresses: with the few long-lived connections that a database has, one worker then easily gets most of
//! them while others idle. The price of the hand-over, one wake-up of another thread, is paid once a connection, not once a statement.
//!
//! Each worker is a thread with a Tokio runtime of its own, on which its sessions stay: no statement crosses threads on its way.

use super::cancel::CancelRegistry;
use super::databases::Databases;
use super::reception;
use super::upstream::Upstream;
use crate::policy::file::Limits;
use crate::session::Shared;
use crate::session::handshake::TlsOffer;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
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
    #[error("can't start a worker thread: {0}")]
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
    load: Arc<AtomicUsize>,
    over_limit: bool,
    /// Came before the wish to stop, which waits for it.
    counted: bool,
}

impl Admission {
    fn new(front: &Arc<Front>, load: &Arc<AtomicUsize>) -> Option<Self> {
        let counted = !front.stop.is_stopping();
        let before = if counted {
            front.clients.fetch_add(1, Ordering::AcqRel)
        } else {
            front.clients.load(Ordering::Acquire)
        };
        let max_clients = front.limits().max_clients;
        load.fetch_add(1, Ordering::Relaxed);
        front.shared.metrics.connections.inc();
        front.shared.metrics.connections_total.inc();
        let admission = Self {
            front: front.clone(),
            load: load.clone(),
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
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.front.shared.metrics.connections.dec();
        if self.counted && self.front.clients.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.front.all_gone.notify_waiters();
        }
    }
}

/// A worker thread as the acceptor sees it.
struct Worker {
    load: Arc<AtomicUsize>,
    connections: mpsc::UnboundedSender<Connection>,
    thread: std::thread::JoinHandle<()>,
}

struct Connection {
    stream: std::net::TcpStream,
    addr: SocketAddr,
    admission: Admission,
}

/// A front at work.
pub struct Running {
    addresses: Vec<SocketAddr>,
    front: Arc<Front>,
    acceptors: Vec<JoinHandle<()>>,
    workers: Arc<Vec<Worker>>,
}

/// Binds the addresses, calls `before` (what must be in place before anyone is let in, and needs no undoing if an address is taken), and starts
/// to serve. Must be called within a Tokio runtime with I/O and time, which then runs the acceptors.
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
        clients: AtomicUsize::new(0),
        all_gone: Notify::new(),
    });
    let workers = (0..workers)
        .map(|n| start_worker(n, &front))
        .collect::<Result<Vec<_>, _>>()
        .map_err(ListenError::Thread)?;
    let workers = Arc::new(workers);
    let acceptors = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept(listener, front.clone(), workers.clone())))
        .collect();
    Ok(Running {
        addresses,
        front,
        acceptors,
        workers,
    })
}

async fn accept(listener: TcpListener, front: Arc<Front>, workers: Arc<Vec<Worker>>) {
    let mut next = 0;
    loop {
        let (stream, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // The least loaded; of equals, in turn.
        next = (next + 1) % workers.len();
        let (before, after) = workers.split_at(next);
        let Some(worker) = after
            .iter()
            .chain(before)
            .min_by_key(|worker| worker.load.load(Ordering::Relaxed))
        else {
            return;
        };
        let Some(admission) = Admission::new(&front, &worker.load) else {
            tracing::warn!(client = %addr, "closed at once: far beyond limits.max_clients");
            continue;
        };
        match super::tune(&stream).and_then(|()| stream.into_std()) {
            Ok(stream) => {
                let connection = Connection {
                    stream,
                    addr,
                    admission,
                };
                if worker.connections.send(connection).is_err() {
                    tracing::error!("a worker thread is gone");
                }
            }
            Err(error) => tracing::debug!(client = %addr, %error, "the client is gone already"),
        }
    }
}

fn start_worker(n: usize, front: &Arc<Front>) -> io::Result<Worker> {
    let (sender, mut connections) = mpsc::unbounded_channel::<Connection>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let front = front.clone();
    let thread = std::thread::Builder::new().name(format!("pgward-{n}")).spawn(move || {
        runtime.block_on(async move {
            while let Some(connection) = connections.recv().await {
                let Connection {
                    stream,
                    addr,
                    admission,
                } = connection;
                match TcpStream::from_std(stream) {
                    Ok(stream) => {
                        tokio::spawn(reception::serve(front.clone(), stream, addr, admission));
                    }
                    Err(error) => tracing::warn!(%error, "can't take over a connection"),
                }
            }
        });
        // What still runs now is dropped with the runtime: its grace is over.
    })?;
    Ok(Worker {
        load: Arc::default(),
        connections: sender,
        thread,
    })
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
        let Some(workers) = Arc::into_inner(self.workers) else {
            return;
        };
        let threads: Vec<_> = workers.into_iter().map(|worker| worker.thread).collect();
        let _ = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        })
        .await;
    }
}
