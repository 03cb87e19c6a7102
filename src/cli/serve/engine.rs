//! Everything that a proxy at work consists of, put together from a policy, on threads of its own. Used by `pgward serve`, the demo and
//! tests.

use super::load::{self, Loaded};
use crate::admin::{self, Readiness};
use crate::audit::journal::{JournalOptions, Observer};
use crate::audit::{AuditAction, Journal, JournalError};
use crate::catalog::{self, CatalogError, Watch};
use crate::control::{self, ControlError};
use crate::crypto::root::RootKey;
use crate::metrics::Metrics;
use crate::net::{self, Databases};
use crate::policy::Policy;
use crate::policy::file::{ClientTls, File, Limits};
use crate::session::Shared;
use crate::session::handshake::TlsOffer;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

/// A catalog that was not seen for this long makes pgward unready, however short the interval of looks is.
const CATALOG_AGE_MIN: Duration = Duration::from_secs(15);

/// Why pgward does not start. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server, the control database, the root key.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// TLS towards the server.
    #[error(transparent)]
    UpstreamTls(#[from] control::TlsError),
    /// TLS towards clients.
    #[error(transparent)]
    ClientTls(#[from] net::tls::TlsError),
    /// TLS is wanted without a certificate.
    #[error("[listen] tls needs tls_cert and tls_key")]
    NoCertificate,
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An address is taken.
    #[error(transparent)]
    Listen(#[from] net::ListenError),
    /// The admin port's address is taken.
    #[error("can't listen on {address} for the admin port: {source}; change admin.address, or stop what listens there")]
    Admin {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The catalog can't be read or understood.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The storage domain is missing.
    #[error("database {database} has no domain pgward.sealed, which sealed columns are stored as: run `pgward init`")]
    NoDomain {
        /// Where.
        database: Arc<str>,
    },
    /// Threads or runtime.
    #[error("can't start a thread: {0}")]
    Thread(#[from] io::Error),
    /// The engine's thread ended before it was ready.
    #[error("pgward ended while it started; the log says more")]
    Ended,
}

/// Why a policy does not take effect. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// What it needs can't be loaded.
    #[error(transparent)]
    Load(#[from] StartError),
    /// It is about to end.
    #[error("pgward is stopping")]
    Stopping,
}

enum Command {
    Reload(Box<Policy>, oneshot::Sender<Result<(), ReloadError>>),
    Stop,
}

/// A proxy at work. Dropping it stops it.
pub struct Running {
    addresses: Vec<SocketAddr>,
    admin_address: Option<SocketAddr>,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    ended: Arc<Ended>,
}

/// Tells whoever waits that the engine's thread is at its end.
#[derive(Default)]
struct Ended {
    flag: Mutex<bool>,
    changed: Condvar,
}

impl Ended {
    fn tell(&self) {
        *self.flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
    fn wait(&self) {
        let mut ended = self.flag.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            ended = self.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Tells it however the thread ends.
struct TellAtEnd(Arc<Ended>);

impl Drop for TellAtEnd {
    fn drop(&mut self) {
        self.0.tell();
    }
}

/// Starts a proxy; returns when it listens, or can't. Blocks: from async code, call it through `spawn_blocking`.
pub fn start(policy: Policy) -> Result<Running, StartError> {
    // Clients are received on its threads: TLS handshakes compute.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("pgward-reception")
        .enable_all()
        .build()?;
    let (commands, receiver) = mpsc::unbounded_channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let ended = Arc::<Ended>::default();
    let at_end = TellAtEnd(ended.clone());
    std::thread::Builder::new()
        .name("pgward-engine".into())
        .spawn(move || {
            let _at_end = at_end;
            runtime.block_on(async move {
                match Engine::start(policy).await {
                    Ok(engine) => {
                        let admin_address = engine.admin.as_ref().map(|admin| admin.address);
                        let addresses = engine.front.addresses().to_vec();
                        let _ = ready.send(Ok((addresses, admin_address, engine.shared.clone())));
                        engine.attend(receiver).await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        })?;
    let (addresses, admin_address, shared) = is_ready.recv().map_err(|_| StartError::Ended)??;
    Ok(Running {
        addresses,
        admin_address,
        shared,
        commands,
        ended,
    })
}

impl Running {
    /// Where it listens, with the ports that port 0 became.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
    /// Where /metrics, /healthz and /readyz are.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }
    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }
    /// Its journal.
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }
    /// Puts another policy in force. What the policy can't change while pgward runs (listeners, server, keys, journal, how
    /// often the catalog is looked at) is logged and stays; limits change for new connections. Blocks.
    pub fn reload(&self, policy: Policy) -> Result<(), ReloadError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Reload(Box::new(policy), answer);
        self.commands.send(command).map_err(|_| ReloadError::Stopping)?;
        let result = answered.blocking_recv().unwrap_or(Err(ReloadError::Stopping));
        if result.is_err() {
            self.metrics().policy_rejected();
        }
        result
    }
    /// Stops gracefully: running statements get `limits.shutdown_grace_seconds`; then the journal is closed. Blocks until all is done.
    pub fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
        self.ended.wait();
    }
    /// Blocks until it ends, whatever the reason.
    pub fn wait(&self) {
        self.ended.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The parts.
struct Engine {
    shared: Arc<Shared>,
    file: Arc<File>,
    root: Box<dyn RootKey>,
    databases: Arc<Databases>,
    nudges: Arc<Nudges>,
    watches: BTreeMap<Arc<str>, Watch>,
    admin: Option<Admin>,
    stopping: Arc<AtomicBool>,
    front: net::Running,
}

/// The admin port at work.
struct Admin {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

/// By which watches are woken.
type Nudges = Mutex<BTreeMap<Arc<str>, Arc<Notify>>>;

impl Engine {
    /// From a policy to listening sockets. What can fail is tried in the order in which it is easiest to understand.
    async fn start(policy: Policy) -> Result<Self, StartError> {
        let file = Arc::new(policy.file().clone());
        let tls = client_tls(&file)?;
        let upstream = net::Upstream::new(
            &file.upstream.host,
            file.upstream.port,
            file.upstream.tls,
            control::client_config(&file.upstream)?,
        );
        let metrics = Arc::new(Metrics::new());
        let root = control::load_root_key(&file.keys)?;
        let loaded = load_all(&policy, root.as_ref(), policy.databases().cloned().collect()).await?;

        let admin_listener = match file.admin.address {
            None => None,
            Some(address) => match TcpListener::bind(address).await {
                Ok(listener) => Some(listener),
                Err(source) => return Err(StartError::Admin { address, source }),
            },
        };
        let journal = Journal::open(&journal_options(&policy, &metrics)?)?;
        metrics.policy_loaded(policy.version());
        let shared = Arc::new(Shared {
            policy: ArcSwap::from_pointee(policy),
            metrics,
            journal,
            clock: now,
        });
        let databases = Arc::new(Databases::default());
        let nudges = Arc::<Nudges>::default();
        let front = net::start(
            net::Options {
                addresses: file.listen.addresses.clone(),
                tls,
                upstream,
                databases: databases.clone(),
                catalog_changed: {
                    let nudges = nudges.clone();
                    Box::new(move |name| nudge(&nudges, name))
                },
                workers: None,
            },
            shared.clone(),
            // Nobody is let in before the catalogs are in place.
            || install(loaded, &databases, &shared.metrics),
        )
        .await?;
        let stopping = Arc::<AtomicBool>::default();
        let admin = admin_listener.map(|listener| {
            let readiness = readiness(&file, &shared, &databases, &stopping);
            let address = listener.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
            let (stop, stopped) = oneshot::channel::<()>();
            let metrics = shared.metrics.clone();
            let task = tokio::spawn(admin::serve(listener, metrics, readiness, async move {
                let _ = stopped.await;
            }));
            Admin { address, stop, task }
        });
        let mut engine = Self {
            admin,
            stopping,
            shared,
            file,
            root,
            databases,
            nudges,
            watches: BTreeMap::new(),
            front,
        };
        engine.watch_all();
        for address in engine.front.addresses() {
            tracing::info!(%address, "listening");
        }
        Ok(engine)
    }

    /// Does as told, until told to stop or nobody is left who could tell.
    async fn attend(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Reload(policy, answer) => drop(answer.send(self.reload(*policy).await)),
                Command::Stop => break,
            }
        }
        self.stopping.store(true, Ordering::Release);
        self.front.stop().await;
        self.watches.clear();
        // Last, so that a stop can be watched.
        if let Some(admin) = self.admin {
            let _ = admin.stop.send(());
            let _ = admin.task.await;
        }
        self.shared.journal.close();
    }

    async fn reload(&mut self, policy: Policy) -> Result<(), ReloadError> {
        let before = self.shared.policy.load_full();
        // Against what this process began with: that is what still holds.
        for what in unchangeable(&self.file, policy.file()) {
            tracing::warn!("{what} differs: that takes effect at the next start");
        }
        let limits = policy.file().limits;
        // Databases that are no longer declared too: their columns must lose what they were declared as.
        let names = self
            .databases
            .declared()
            .iter()
            .map(|database| database.name.clone())
            .chain(policy.databases().cloned())
            .collect();
        // With the server and keys in force, whatever the new file says of them.
        let loaded = load_all_from(&self.file, &policy, self.root.as_ref(), names).await?;
        install(loaded, &self.databases, &self.shared.metrics);
        let version = policy.version().clone();
        self.shared.policy.store(Arc::new(policy));
        if other_limits(before.file().limits, limits) {
            tracing::info!("[limits] was changed: that takes effect for new connections");
        }
        self.shared.metrics.policy_loaded(&version);
        self.watch_all();
        tracing::info!(version = %version, before = %before.version(), "the policy was reloaded");
        let note = format!(
            "policy reloaded: version {:?} in place of {:?}",
            version,
            before.version()
        );
        self.shared.journal.append_event(
            AuditAction::Rights,
            None,
            &version,
            note,
            Box::new(|result| {
                if let Err(error) = result {
                    tracing::error!(%error, "the reload of the policy is not on record");
                }
            }),
        );
        Ok(())
    }

    /// A watch for every declared database that has none.
    fn watch_all(&mut self) {
        let poll = Duration::from_secs(self.file.limits.catalog_poll_seconds.max(1));
        let mut nudges = self.nudges.lock().unwrap_or_else(PoisonError::into_inner);
        for database in self.databases.declared() {
            let name = database.name.clone();
            if self.watches.contains_key(&name) {
                continue;
            }
            let metrics = self.shared.metrics.clone();
            let target = Arc::new(load::Watched { database, metrics });
            let watch = catalog::watch(self.file.clone(), name.clone(), target, poll);
            nudges.insert(name.clone(), watch.nudger());
            self.watches.insert(name, watch);
        }
    }
}

/// When a load balancer should send clients here.
fn readiness(file: &File, shared: &Arc<Shared>, databases: &Arc<Databases>, stopping: &Arc<AtomicBool>) -> Readiness {
    // Several looks may fail before it matters.
    let longest = CATALOG_AGE_MIN.max(Duration::from_secs(file.limits.catalog_poll_seconds) * 4);
    let (journal, metrics) = (shared.journal.clone(), shared.metrics.clone());
    let (databases, stopping) = (databases.clone(), stopping.clone());
    Readiness::new()
        .when("journal", move || match journal.is_healthy() {
            true => Ok(()),
            false => Err("can't be written".into()),
        })
        .when("catalog", move || match databases.protect_anything() {
            true => admin::catalog_is_fresh(&metrics, longest),
            false => Ok(()),
        })
        .when("running", move || match stopping.load(Ordering::Acquire) {
            true => Err("stopping".into()),
            false => Ok(()),
        })
}

fn nudge(nudges: &Nudges, database: &Arc<str>) {
    let nudges = nudges.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(notify) = nudges.get(database) {
        notify.notify_one();
    }
}

async fn load_all(policy: &Policy, root: &dyn RootKey, names: BTreeSet<Arc<str>>) -> Result<Vec<Loaded>, StartError> {
    load_all_from(policy.file(), policy, root, names).await
}

async fn load_all_from(
    file: &File,
    policy: &Policy,
    root: &dyn RootKey,
    names: BTreeSet<Arc<str>>,
) -> Result<Vec<Loaded>, StartError> {
    let mut store = control::connect_store(file).await?;
    let mut loaded = Vec::with_capacity(names.len());
    for name in &names {
        loaded.push(load::load(file, policy, &mut store, root, name).await?);
    }
    Ok(loaded)
}

fn install(loaded: Vec<Loaded>, databases: &Databases, metrics: &Metrics) {
    let ages: Vec<_> = loaded.iter().flat_map(Loaded::key_ages).collect();
    metrics.active_keys(ages);
    for one in loaded {
        let database = databases.declare(&one.name);
        one.install(&database, metrics);
    }
}

fn client_tls(file: &File) -> Result<Option<net::ClientTls>, StartError> {
    let offer = match file.listen.effective_tls() {
        ClientTls::Off => return Ok(None),
        ClientTls::Allow => TlsOffer::Allow,
        ClientTls::Require => TlsOffer::Require,
    };
    let (Some(cert), Some(key)) = (&file.listen.tls_cert, &file.listen.tls_key) else {
        return Err(StartError::NoCertificate);
    };
    let config = net::tls::server_config(cert, key, file.listen.client_ca.as_deref())?;
    Ok(Some(net::ClientTls { offer, config }))
}

/// What differs and can't be changed while pgward runs.
fn unchangeable(before: &File, after: &File) -> Vec<&'static str> {
    let text = |file: &File| {
        [
            ("[listen]", format!("{:?}", file.listen)),
            ("[upstream]", format!("{:?}", file.upstream)),
            ("[control]", format!("{:?}", file.control)),
            ("[keys]", format!("{:?}", file.keys)),
            ("[journal]", format!("{:?}", file.journal)),
            ("[admin]", format!("{:?}", file.admin)),
            (
                "limits.catalog_poll_seconds",
                file.limits.catalog_poll_seconds.to_string(),
            ),
        ]
    };
    text(before)
        .into_iter()
        .zip(text(after))
        .filter(|(before, after)| before != after)
        .map(|((what, _), _)| what)
        .collect()
}

/// Whether limits differ that do change while pgward runs.
fn other_limits(before: Limits, after: Limits) -> bool {
    let comparable = |limits| Limits {
        catalog_poll_seconds: 0,
        ..limits
    };
    comparable(before) != comparable(after)
}

fn journal_options(policy: &Policy, metrics: &Arc<Metrics>) -> Result<JournalOptions, StartError> {
    let journal = &policy.file().journal;
    let mut options = JournalOptions::new(&journal.directory);
    if let Some(node) = &journal.node {
        options.node = Arc::from(node.as_str());
    }
    options.retention_class = journal.retention_class.parse()?;
    options.policy_version = policy.version().clone();
    options.observer = Some(Arc::new(Measure(metrics.clone())));
    Ok(options)
}

/// The journal's numbers.
struct Measure(Arc<Metrics>);

impl Observer for Measure {
    fn committed(&self, records: usize, _: usize, _: Duration) {
        self.0.journal_records.inc_by(records as u64);
    }
    fn durable(&self, waited: Duration) {
        Metrics::observe(&self.0.journal_seconds, waited);
    }
    fn health(&self, healthy: bool) {
        if healthy {
            tracing::info!("the journal can be written again");
        } else {
            tracing::error!("the journal can't be written: protected statements are refused until it can");
        }
    }
}

/// Microseconds since the Unix epoch.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}
