//! pgward's own log-in at the server: the connection, the stored keyring and the column ids in the control database, the storage
//! domain in the application database.

pub mod connect;
pub mod tls;

pub use connect::connect;
pub use tls::{TlsError, client_config};

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
}

impl ControlError {
    /// A failed statement of pgward's own.
    pub(crate) fn statement(action: impl Into<String>, source: tokio_postgres::Error) -> Self {
        Self::Statement {
            action: action.into(),
            source,
        }
    }

    /// The SQLSTATE behind it, where the server gave one.
    pub fn sqlstate(&self) -> Option<&tokio_postgres::error::SqlState> {
        match self {
            Self::Connect { source, .. } | Self::Statement { source, .. } => source.code(),
            _ => None,
        }
    }
}
