//! pgward's own connections to the server: one role (`[control] user`), TCP or Unix socket, TLS as for the clients' sessions.

use super::ControlError;
use super::binding::MakeBound;
use super::tls::client_config;
use crate::policy::file::{File, UpstreamTls};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};
use zeroize::Zeroizing;

/// How long a log-in may take, name resolution and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Passwords longer than this are a wrong file.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// Logs in at the server as pgward itself, at `database`, and spawns the connection's task on the current Tokio runtime; it ends when the
/// client is dropped or the server goes away.
///
/// The session's `search_path` is `pg_catalog` alone, so that nobody can slip a function or an operator under pgward's own
/// statements: name application tables with their schema.
pub async fn connect(file: &File, database: &str) -> Result<Client, ControlError> {
    let upstream = &file.upstream;
    let mut config = Config::new();
    config
        .user(&file.control.user)
        .dbname(database)
        .application_name("pgward")
        .port(upstream.port)
        .connect_timeout(CONNECT_TIMEOUT)
        .host(&upstream.host);
    if let Some(path) = &file.control.password_file {
        config.password(read_password(path)?.as_slice());
    }
    let fault = |source| ControlError::Connect {
        user: file.control.user.clone(),
        database: database.into(),
        host: upstream.host.clone(),
        port: upstream.port,
        source,
    };

    // No TLS inside a Unix socket: PostgreSQL does not offer it there.
    let tls = match upstream.host.starts_with('/') {
        true => None,
        false => client_config(upstream)?,
    };
    let log_in = async {
        match tls {
            Some(tls) => {
                config.ssl_mode(match upstream.tls {
                    UpstreamTls::Prefer | UpstreamTls::Disable => SslMode::Prefer,
                    UpstreamTls::Require | UpstreamTls::VerifyFull => SslMode::Require,
                });
                let (client, connection) = config.connect(MakeBound(tls)).await.map_err(fault)?;
                spawn(connection);
                Ok::<Client, ControlError>(client)
            }
            None => {
                config.ssl_mode(SslMode::Disable);
                let (client, connection) = config.connect(NoTls).await.map_err(fault)?;
                spawn(connection);
                Ok::<Client, ControlError>(client)
            }
        }
    };
    let client = tokio::time::timeout(CONNECT_TIMEOUT, log_in)
        .await
        .map_err(|_| ControlError::ConnectTimeout {
            host: upstream.host.clone(),
            port: upstream.port,
            seconds: CONNECT_TIMEOUT.as_secs(),
        })??;
    client
        .batch_execute("SET search_path TO pg_catalog; SET standard_conforming_strings TO on")
        .await
        .map_err(|source| ControlError::statement("set up the session", source))?;
    Ok(client)
}

/// Drives a connection until it ends.
fn spawn<F>(connection: F)
where
    F: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(%error, "pgward's own connection to the server ended");
        }
    });
}

/// The password of a file: its first line, without the line's end.
fn read_password(path: &Path) -> Result<Zeroizing<Vec<u8>>, ControlError> {
    let fault = |detail: String| ControlError::PasswordFile {
        path: path.into(),
        detail,
    };
    let metadata = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?;
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(fault("others may read it; chmod 0600 it".into()));
    }
    if metadata.len() > MAX_PASSWORD_BYTES {
        return Err(fault(format!("longer than {MAX_PASSWORD_BYTES} bytes")));
    }
    let mut password = Zeroizing::new(std::fs::read(path).map_err(|error| fault(error.to_string()))?);
    let end = password
        .iter()
        .position(|byte| matches!(byte, b'\n' | b'\r'))
        .unwrap_or(password.len());
    password.truncate(end);
    if password.is_empty() {
        return Err(fault("its first line is empty".into()));
    }
    Ok(password)
}
