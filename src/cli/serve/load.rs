//! What sessions need to know of a protected database: ids from the control database, the opened keyring, the catalog; and the task that
//! keeps the catalog fresh.

use super::engine::StartError;
use crate::control;
use crate::crypto::root::RootKey;
use crate::crypto::{KeyState, Keyring};
use crate::metrics::Metrics;
use crate::plan::introspect::{CATALOG_QUERY, Declarations, SnapshotBuilder};
use crate::plan::{KeyDomain, Snapshot};
use crate::policy::Policy;
use crate::policy::file::File;
use crate::session::Database;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Pause before pgward tries to reach a database again whose connection it lost.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Everything about one database, ready to be put in place.
pub(super) struct Loaded {
    pub(super) name: Arc<str>,
    declarations: Arc<Declarations>,
    keyring: Keyring,
    snapshot: Snapshot,
}

/// Loads a database that the policy protects something in. `file` says where the server is, `store` is the control database.
pub(super) async fn load(
    file: &File,
    policy: &Policy,
    store: &mut Client,
    root: &dyn RootKey,
    name: &Arc<str>,
) -> Result<Loaded, StartError> {
    let registered = control::ensure_registered(store, root, name, &policy.declared(name)).await?;
    if registered.new_columns > 0 || registered.new_keys > 0 {
        tracing::info!(
            database = %name,
            columns = registered.new_columns,
            keys = registered.new_keys,
            "registered what the policy declares anew"
        );
    }
    let keyring = control::load_keyring(store, root, name).await?;
    let declarations = Arc::new(Declarations {
        columns: registered.declarations.into_iter().map(Arc::new).collect(),
        subjects: policy.subjects(name).to_vec(),
    });
    let client = control::connect(file, name).await?;
    let snapshot = read_catalog(&client, &declarations).await?;
    let needs_domain = declarations.columns.iter().any(|column| column.mode.is_sealed());
    if needs_domain && snapshot.sealed_domain_oid.is_none() {
        return Err(StartError::NoDomain { database: name.clone() });
    }
    Ok(Loaded {
        name: name.clone(),
        declarations,
        keyring,
        snapshot,
    })
}

impl Loaded {
    /// What is told of its active keys.
    pub(super) fn key_ages(&self) -> impl Iterator<Item = (KeyDomain, SystemTime)> + use<'_> {
        self.keyring
            .keys()
            .filter(|key| key.state == KeyState::Active)
            .map(|key| {
                let since_epoch = Duration::from_secs(u64::try_from(key.created_at).unwrap_or(0));
                (key.domain.clone(), SystemTime::UNIX_EPOCH + since_epoch)
            })
    }

    /// Puts it in place. The keyring first: a catalog must not name a column whose key is not there.
    pub(super) fn install(self, database: &Database, metrics: &Metrics) {
        database.keyring.store(Arc::new(Some(self.keyring)));
        database.declarations.store(self.declarations);
        database.catalog.store(Arc::new(self.snapshot));
        metrics.catalog_seen(&self.name);
    }
}

/// One look at the catalog.
pub(super) async fn read_catalog(client: &Client, declarations: &Arc<Declarations>) -> Result<Snapshot, StartError> {
    let fault = |detail: String| StartError::Catalog { detail };
    let messages = client
        .simple_query(CATALOG_QUERY)
        .await
        .map_err(|error| fault(crate::control::ControlError::statement("read the catalog", error).to_string()))?;
    let mut builder = SnapshotBuilder::new(declarations.clone());
    let mut values = Vec::new();
    for message in &messages {
        if let SimpleQueryMessage::Row(row) = message {
            values.clear();
            values.extend((0..row.len()).map(|column| row.get(column).map(str::as_bytes)));
            builder.row(&values).map_err(fault)?;
        }
    }
    Ok(builder.finish())
}

/// Keeps a database's catalog fresh: looks every `limits.catalog_poll_seconds`, and at once when nudged.
pub(super) async fn watch(file: Arc<File>, database: Arc<Database>, metrics: Arc<Metrics>, nudge: Arc<Notify>) {
    let poll = Duration::from_secs(file.limits.catalog_poll_seconds.max(1));
    let mut connection = None;
    loop {
        // A nudge that comes while we look is kept: the next wait ends at once.
        let _ = tokio::time::timeout(poll, nudge.notified()).await;
        let client = match &connection {
            Some(client) => client,
            None => match control::connect(&file, &database.name).await {
                Ok(client) => connection.insert(client),
                Err(error) => {
                    tracing::warn!(database = %database.name, error = &error as &dyn std::error::Error, "can't look at the catalog");
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                    continue;
                }
            },
        };
        let declarations = database.declarations.load_full();
        match read_catalog(client, &declarations).await {
            Ok(snapshot) => {
                // A reload may have put other declarations in place meanwhile, with a catalog of its own.
                if Arc::ptr_eq(&declarations, &database.declarations.load_full()) {
                    if snapshot.fingerprint != database.catalog.load().fingerprint {
                        tracing::debug!(database = %database.name, "the catalog changed");
                        database.catalog.store(Arc::new(snapshot));
                    }
                    metrics.catalog_seen(&database.name);
                }
            }
            Err(error) => {
                tracing::warn!(database = %database.name, %error, "can't look at the catalog");
                connection = None;
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }
}
