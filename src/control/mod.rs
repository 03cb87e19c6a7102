//! pgward's own log-in at the server: the connection, the stored keyring and the column ids in the control database, the storage
//! domain in the application database.

mod binding;
pub mod connect;
pub mod domain;
pub mod init;
mod lock;
pub mod store;
pub mod tls;

pub use connect::connect;
pub use domain::install_domain;
pub use init::{connect_store, init, load_root_key};
pub use store::{Registered, ensure_registered, load_keyring};
pub use tls::{TlsError, client_config};

use crate::crypto::CryptoError;
use crate::crypto::root::RootKeyError;
use std::path::PathBuf;

/// Why something at the server, the control database or the root key does not work: what, and what to do. Holds no key.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No connection or no log-in.
    #[error("can't log in at {host}:{port} as {user} to database {database}")]
    Connect {
        /// Role.
        user: String,
        /// Database.
        database: String,
        /// Host or socket directory.
        host: String,
        /// Port.
        port: u16,
        /// What the driver said.
        source: tokio_postgres::Error,
    },
    /// No answer in time.
    #[error("no log-in at {host}:{port} within {seconds} seconds")]
    ConnectTimeout {
        /// Host or socket directory.
        host: String,
        /// Port.
        port: u16,
        /// How long it was waited.
        seconds: u64,
    },
    /// `control.password_file` can't be used.
    #[error("control.password_file: {path}: {detail}")]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        detail: String,
    },
    /// TLS towards the server.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A statement of pgward's own failed.
    #[error("can't {action}")]
    Statement {
        /// What it was for.
        action: String,
        /// What the driver said.
        source: tokio_postgres::Error,
    },
    /// The control database or its tables are missing.
    #[error("there is no keyring yet; run `pgward init` first")]
    NotInitialised,
    /// The control database can't be made for want of rights.
    #[error(
        "role {user} may not create the control database; have an administrator run CREATE DATABASE \"{database}\" OWNER \"{user}\", then run `pgward init` again"
    )]
    MayNotCreateDatabase {
        /// Role.
        user: String,
        /// Control database.
        database: String,
        /// What the driver said.
        source: tokio_postgres::Error,
    },
    /// Tables of another version of pgward.
    #[error(
        "the control database has tables of version {found}, this pgward knows version {expected}; use the pgward that made them, or a newer one"
    )]
    SchemaVersion {
        /// There.
        found: i32,
        /// Here.
        expected: i32,
    },
    /// Another root key than the one that the keyring was made with.
    #[error(
        "wrong root key: the keyring was made with the root key {stored}, the given one is {given}; nothing was changed; restore the right key"
    )]
    WrongRootKey {
        /// Fingerprint in the control database.
        stored: String,
        /// Fingerprint of the given one.
        given: String,
    },
    /// There is a keyring, but no root key.
    #[error(
        "the control database holds a keyring made with the root key {stored}, and there is no root key here; a new one would not open it: restore the key (on a further node: copy it from the first)"
    )]
    RootKeyLost {
        /// Fingerprint in the control database.
        stored: String,
        /// What is missing.
        source: RootKeyError,
    },
    /// The root key can't be used.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// A wrapped data key does not unwrap under the right root key.
    #[error(
        "the keyring is damaged: data key {key} of database {database} does not unwrap, though the root key is the right one; restore the control database from its backup"
    )]
    DamagedKey {
        /// Its id.
        key: u32,
        /// Whose.
        database: String,
    },
    /// Something else in the control database is not as pgward wrote it.
    #[error("the control database is damaged: {what}; restore it from its backup")]
    Damaged {
        /// What.
        what: &'static str,
    },
    /// The database has no id yet.
    #[error("database {0} is not registered; run `pgward init`")]
    UnknownDatabase(String),
    /// Keys that can't be used.
    #[error("the keyring can't be used")]
    Crypto(#[from] CryptoError),
    /// Somebody else's schema.
    #[error(
        "the schema pgward belongs to role {owner}, of which pgward's own role is no member; whoever made it could change what is in it: drop or rename it, or grant that role"
    )]
    ForeignSchema {
        /// Its owner.
        owner: String,
    },
    /// Not our domain.
    #[error(
        "pgward.sealed exists but is not the storage domain of this version of pgward; drop it where nothing uses it, then run `pgward init` again"
    )]
    ForeignDomain,
}

impl ControlError {
    /// A failed statement of pgward's own.
    pub(crate) fn statement(action: impl Into<String>, source: tokio_postgres::Error) -> Self {
        Self::Statement {
            action: action.into(),
            source,
        }
    }

    /// Damage of the control database.
    pub(crate) fn damaged(what: &'static str) -> Self {
        Self::Damaged { what }
    }

    /// The SQLSTATE behind it, where the server gave one.
    pub fn sqlstate(&self) -> Option<&tokio_postgres::error::SqlState> {
        match self {
            Self::Connect { source, .. } | Self::Statement { source, .. } => source.code(),
            _ => None,
        }
    }
}
