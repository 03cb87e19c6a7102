//! First set-up, as often as one likes: root key, control database, keyring, storage domain. What exists is left as it is.

use super::lock::{self, Lock};
use super::store::{self, Registered};
use super::{ControlError, connect, install_domain};
use crate::crypto::root::{KeyFile, RootKey, RootKeyError};
use crate::policy::file::{DeclaredColumn, File, Keys};
use std::collections::BTreeSet;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// What `init` did to one application database.
#[derive(Clone, Debug)]
pub struct DatabaseReport {
    /// Its name.
    pub name: String,
    /// The storage domain was made just now.
    pub new_domain: bool,
    /// Its ids and keys.
    pub registered: Registered,
}

/// What `init` did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The root key was made just now.
    pub new_root_key: bool,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The control database was made just now.
    pub new_control_database: bool,
    /// Its tables were made just now.
    pub new_store: bool,
    /// Application databases.
    pub databases: Vec<DatabaseReport>,
}

/// Loads the root key from the provider that the policy names.
pub fn load_root_key(keys: &Keys) -> Result<Box<dyn RootKey>, ControlError> {
    match keys {
        Keys::File { path } => Ok(Box::new(KeyFile::load(path)?)),
    }
}

/// Logs in at the control database. [`ControlError::NotInitialised`] where it does not exist.
pub async fn connect_store(file: &File) -> Result<Client, ControlError> {
    connect(file, &file.control.database)
        .await
        .map_err(|error| match error.sqlstate() {
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => ControlError::NotInitialised,
            _ => error,
        })
}

/// Application databases that the policy protects something in, or is connected to by default; sorted.
pub fn protected_databases(file: &File) -> BTreeSet<String> {
    file.tables
        .iter()
        .filter_map(|table| table.database.clone())
        .chain([file.upstream.database.clone()])
        .collect()
}

/// Makes what is missing of: root key, control database, its tables, the ids and keys of declared columns, the storage domain in each
/// protected database. Several may run at once: they take turns.
///
/// A root key is made only where there is no keyring yet, and never in place of one.
///
/// `declared` gives the columns that the policy declares in a database ([`crate::policy::Policy::declared`]).
pub async fn init(
    file: &File,
    declared: &(dyn Fn(&str) -> Vec<DeclaredColumn> + Sync),
) -> Result<Report, ControlError> {
    // Held until it is dropped, at the end.
    let turn = connect(file, &file.upstream.database).await?;
    lock::for_connection(&turn, Lock::Init).await?;

    let (mut store, new_control_database) = match connect_store(file).await {
        Ok(client) => (client, false),
        Err(ControlError::NotInitialised) => {
            create_database(&turn, file).await?;
            (connect_store(file).await?, true)
        }
        Err(error) => return Err(error),
    };
    let stored = store::stored_fingerprint(&store).await?;
    let (root, new_root_key) = match (load_root_key(&file.keys), stored) {
        (Ok(root), _) => (root, false),
        (Err(ControlError::RootKey(source @ RootKeyError::Missing(_))), Some(stored)) => {
            return Err(ControlError::RootKeyLost { stored, source });
        }
        (Err(ControlError::RootKey(RootKeyError::Missing(_))), None) => {
            let Keys::File { path } = &file.keys;
            (Box::new(KeyFile::create(path)?) as Box<dyn RootKey>, true)
        }
        (Err(error), _) => return Err(error),
    };
    let new_store = store::install(&mut store, root.as_ref()).await?;

    let mut databases = Vec::new();
    for name in protected_databases(file) {
        let registered = store::ensure_registered(&mut store, root.as_ref(), &name, &declared(&name)).await?;
        // Proves that what is stored can be read back, before anybody relies on it.
        store::load_keyring(&store, root.as_ref(), &name).await?;
        let mut application = connect(file, &name).await?;
        databases.push(DatabaseReport {
            new_domain: install_domain(&mut application).await?,
            registered,
            name,
        });
    }
    drop(turn);
    Ok(Report {
        new_root_key,
        fingerprint: root.fingerprint(),
        new_control_database,
        new_store,
        databases,
    })
}

/// Makes the control database, which nobody but its owner may connect to.
async fn create_database(client: &Client, file: &File) -> Result<(), ControlError> {
    let database = &file.control.database;
    let quoted = quote_identifier(database);
    // From template0, as template1 may be in use, or hold things of others.
    client
        .batch_execute(&format!("CREATE DATABASE {quoted} TEMPLATE template0"))
        .await
        .map_err(|source| {
            if source.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
                ControlError::MayNotCreateDatabase {
                    user: file.control.user.clone(),
                    database: database.clone(),
                    source,
                }
            } else {
                ControlError::statement(format!("create the control database {database}"), source)
            }
        })?;
    client
        .batch_execute(&format!("REVOKE ALL ON DATABASE {quoted} FROM PUBLIC"))
        .await
        .map_err(|source| ControlError::statement("keep others out of the control database", source))
}

fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
