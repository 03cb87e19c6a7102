//! What sessions need to know of a protected database: ids from the control database, the opened keyring, the catalog.

use super::engine::StartError;
use crate::catalog;
use crate::control;
use crate::crypto::root::RootKey;
use crate::crypto::{KeyState, Keyring};
use crate::metrics::Metrics;
use crate::plan::introspect::Declarations;
use crate::plan::{KeyDomain, Snapshot};
use crate::policy::Policy;
use crate::policy::file::File;
use crate::session::Database;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_postgres::Client;

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
    let snapshot = catalog::load(&client, declarations.clone()).await?;
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

/// A database as its watch sees it.
pub(super) struct Watched {
    pub(super) database: Arc<Database>,
    pub(super) metrics: Arc<Metrics>,
}

impl catalog::Target for Watched {
    fn declarations(&self) -> Arc<Declarations> {
        self.database.declarations.load_full()
    }
    fn snapshot(&self) -> Arc<Snapshot> {
        self.database.catalog.load_full()
    }
    fn replace(&self, snapshot: Snapshot) {
        self.database.catalog.store(Arc::new(snapshot));
    }
    fn seen(&self) {
        self.metrics.catalog_seen(&self.database.name);
    }
}
