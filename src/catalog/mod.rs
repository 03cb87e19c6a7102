//! Loads the catalog of a database from its server, and keeps the snapshot that sessions plan with fresh.
//!
//! Invariants: a snapshot is replaced whole, and only when its content changed (a new version empties plan caches); a look that fails keeps the last
//! good one; a snapshot that was read for declarations which were replaced meanwhile is thrown away. What is read and how it becomes a snapshot
//! stands in [`crate::plan::introspect`]; here is only the I/O.
//!
//! Deliberately absent: a session that is in a transaction with DDL of its own reads the catalog through its own connection, which this
//! module's can't see into.

use crate::control::{self, ControlError};
use crate::plan::Snapshot;
use crate::plan::introspect::{CATALOG_QUERY, Declarations, SnapshotBuilder};
use crate::policy::file::File;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

/// How long one look may take before the connection counts as lost.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// First pause after a look that failed; doubled up to [`LONGEST_PAUSE`], and never longer than the poll interval where that is longer than this.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause after looks that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Why the catalog was not read. Holds nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No connection, or the query failed.
    #[error(transparent)]
    Server(#[from] ControlError),
    /// The answer is not what this version understands.
    #[error("the server's catalog can't be understood: {0}")]
    Row(String),
    /// No answer in time.
    #[error("the server did not answer within {} seconds", LOOK_TIMEOUT.as_secs())]
    TimedOut,
    /// The watch has ended.
    #[error("the catalog is no longer watched")]
    Ended,
    /// The same fault as somebody else's who asked at the same time.
    #[error("{0}")]
    Shared(Arc<str>),
}

/// One look at the catalog. `client` is connected to the database; any role and any `search_path` will do.
pub async fn load(client: &Client, declarations: Arc<Declarations>) -> Result<Snapshot, CatalogError> {
    let messages = tokio::time::timeout(LOOK_TIMEOUT, client.simple_query(CATALOG_QUERY))
        .await
        .map_err(|_| CatalogError::TimedOut)?
        .map_err(|error| ControlError::statement("read the catalog", error))?;
    let mut builder = SnapshotBuilder::new(declarations);
    let mut values: Vec<Option<&[u8]>> = Vec::new();
    for message in &messages {
        if let SimpleQueryMessage::Row(row) = message {
            values.clear();
            for column in 0..row.len() {
                let value = row
                    .try_get(column)
                    .map_err(|_| CatalogError::Row("a value is not UTF-8".into()))?;
                values.push(value.map(str::as_bytes));
            }
            builder.row(&values).map_err(CatalogError::Row)?;
        }
    }
    Ok(builder.finish())
}

/// Where the snapshot of a watched database stands, and what the policy declares for it at the moment.
pub trait Target: Send + Sync + 'static {
    /// The declarations in force.
    fn declarations(&self) -> Arc<Declarations>;
    /// The snapshot in force.
    fn snapshot(&self) -> Arc<Snapshot>;
    /// Replaces the snapshot, whose content changed.
    fn replace(&self, snapshot: Snapshot);
    /// The snapshot was just seen to be up to date (for metrics).
    fn seen(&self) {}
}

/// A task that keeps a snapshot fresh; it ends when this is dropped.
pub struct Watch {
    nudge: Arc<Notify>,
    requests: mpsc::UnboundedSender<oneshot::Sender<Result<bool, CatalogError>>>,
    task: JoinHandle<()>,
}

/// Looks at the catalog of `database` every `poll`, at once when nudged, and whenever somebody waits for it. Call it on a Tokio runtime.
pub fn watch(file: Arc<File>, database: Arc<str>, target: Arc<dyn Target>, poll: Duration) -> Watch {
    let nudge = Arc::new(Notify::new());
    let (requests, waiting) = mpsc::unbounded_channel();
    let watcher = Watcher {
        file,
        database,
        target,
        connection: None,
    };
    let task = tokio::spawn(watcher.run(poll, nudge.clone(), waiting));
    Watch { nudge, requests, task }
}

impl Watch {
    /// The catalog may have changed: look soon. Never waits; many nudges are one look.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// A handle with which others nudge.
    pub fn nudger(&self) -> Arc<Notify> {
        self.nudge.clone()
    }

    /// Looks now, and waits until the snapshot is one that was read after this call began. True where it was replaced.
    pub async fn refresh_now(&self) -> Result<bool, CatalogError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(answer).map_err(|_| CatalogError::Ended)?;
        answered.await.map_err(|_| CatalogError::Ended)?
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watcher {
    file: Arc<File>,
    database: Arc<str>,
    target: Arc<dyn Target>,
    connection: Option<Client>,
}

impl Watcher {
    async fn run(
        mut self,
        poll: Duration,
        nudge: Arc<Notify>,
        mut waiting: mpsc::UnboundedReceiver<oneshot::Sender<Result<bool, CatalogError>>>,
    ) {
        let mut pause: Option<Duration> = None;
        loop {
            let mut asked = Vec::new();
            tokio::select! {
                () = nudge.notified() => {}
                () = tokio::time::sleep(pause.unwrap_or(poll)) => {}
                request = waiting.recv() => match request {
                    Some(request) => asked.push(request),
                    None => return,
                },
            }
            // Who asked before the look begins is served by it.
            while let Ok(request) = waiting.try_recv() {
                asked.push(request);
            }
            let result = self.look().await;
            match &result {
                Ok(changed) => {
                    if pause.take().is_some() {
                        tracing::info!(database = %self.database, "the catalog can be read again");
                    }
                    if *changed {
                        tracing::debug!(database = %self.database, "the catalog changed");
                    }
                }
                Err(error) => {
                    self.connection = None;
                    // Said once: the same fault every second helps nobody.
                    if pause.is_none() {
                        let error: &dyn std::error::Error = error;
                        tracing::warn!(database = %self.database, error, "can't look at the catalog; the last picture of it stays");
                    }
                    let longer = pause.map_or(FIRST_PAUSE, |pause| pause.saturating_mul(2));
                    pause = Some(longer.min(LONGEST_PAUSE).min(poll.max(FIRST_PAUSE)));
                }
            }
            answer(asked, result);
        }
    }

    /// One look; true where the snapshot was replaced.
    async fn look(&mut self) -> Result<bool, CatalogError> {
        let open = self.connection.take().filter(|client| !client.is_closed());
        let client = match open {
            Some(client) => client,
            None => control::connect(&self.file, &self.database).await?,
        };
        let client = self.connection.insert(client);
        let declarations = self.target.declarations();
        let snapshot = load(client, declarations.clone()).await?;
        // A reload put other declarations in place, with a snapshot of its own: this one is late.
        if !Arc::ptr_eq(&declarations, &self.target.declarations()) {
            return Ok(false);
        }
        let changed = snapshot.fingerprint != self.target.snapshot().fingerprint;
        if changed {
            self.target.replace(snapshot);
        }
        self.target.seen();
        Ok(changed)
    }
}

/// Gives everybody who waits the result of the look.
fn answer(asked: Vec<oneshot::Sender<Result<bool, CatalogError>>>, result: Result<bool, CatalogError>) {
    match result {
        Ok(changed) => {
            for request in asked {
                // Who no longer waits needs no answer.
                let _ = request.send(Ok(changed));
            }
        }
        Err(error) => {
            let text: Arc<str> = Arc::from(error.to_string());
            let mut asked = asked.into_iter();
            let first = asked.next();
            for request in asked {
                let _ = request.send(Err(CatalogError::Shared(text.clone())));
            }
            if let Some(request) = first {
                let _ = request.send(Err(error));
            }
        }
    }
}
