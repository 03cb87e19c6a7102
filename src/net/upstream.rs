//! Connecting to the PostgreSQL server: TCP or Unix socket, TLS as configured.

use super::stream::Stream;
use crate::policy::file::UpstreamTls;
use crate::session::handshake::Fatal;
use crate::wire::sqlstate::SqlState;
use crate::wire::startup;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// A server that does not answer within this time is taken for unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the server is and how it is spoken to.
#[derive(Clone)]
pub struct Upstream {
    target: Target,
    tls: UpstreamTls,
    config: Option<Arc<ClientConfig>>,
}

#[derive(Clone)]
enum Target {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// Why there is no connection to the server. The text is for pgward's log; clients get [`UpstreamError::for_client`].
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No socket.
    #[error("can't connect to the PostgreSQL server at {at}: {source}")]
    Connect {
        /// Where.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// It does not answer in time.
    #[error("the PostgreSQL server at {at} does not answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Silent {
        /// Where.
        at: String,
    },
    /// TLS is demanded and it offers none.
    #[error("the PostgreSQL server at {at} does not offer TLS, but [upstream] tls demands it")]
    NoTls {
        /// Where.
        at: String,
    },
    /// It answers an SSLRequest with something else, or with more than that.
    #[error("the server at {at} answers an SSLRequest with {what}")]
    BadAnswer {
        /// Where.
        at: String,
        /// With what.
        what: &'static str,
    },
    /// The TLS handshake fails.
    #[error("TLS with the PostgreSQL server at {at} fails: {source}")]
    Tls {
        /// Where.
        at: String,
        /// Why.
        source: io::Error,
    },
}

impl UpstreamError {
    /// What the client is told: not where the server is.
    pub fn for_client(&self) -> Fatal {
        let message = match self {
            Self::Connect { .. } | Self::Silent { .. } => "pgward can't reach the PostgreSQL server",
            Self::NoTls { .. } | Self::BadAnswer { .. } | Self::Tls { .. } => {
                "pgward can't set up TLS with the PostgreSQL server"
            }
        };
        Fatal::new(SqlState::CANNOT_CONNECT, message).hint("The reason stands in pgward's log.")
    }
}

impl Upstream {
    /// `host` beginning with `/` is a socket directory. `config` is needed for every TLS mode but `disable`; it must already be what
    /// the mode asks for (a verifier that checks nothing for `prefer` and `require`).
    pub fn new(host: &str, port: u16, tls: UpstreamTls, config: Option<Arc<ClientConfig>>) -> Self {
        let target = if host.starts_with('/') {
            Target::Unix(PathBuf::from(host).join(format!(".s.PGSQL.{port}")))
        } else {
            Target::Tcp {
                host: host.into(),
                port,
            }
        };
        Self { target, tls, config }
    }

    /// Connects, and speaks TLS where configured.
    pub async fn connect(&self) -> Result<Stream, UpstreamError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.try_connect())
            .await
            .unwrap_or_else(|_| Err(UpstreamError::Silent { at: self.at() }))
    }

    /// Where it is, for messages.
    pub fn at(&self) -> String {
        match &self.target {
            Target::Tcp { host, port } => format!("{host}:{port}"),
            Target::Unix(path) => path.display().to_string(),
        }
    }

    async fn try_connect(&self) -> Result<Stream, UpstreamError> {
        let no_socket = |source| UpstreamError::Connect { at: self.at(), source };
        let (mut stream, host) = match &self.target {
            // Like libpq, no TLS within a Unix socket.
            Target::Unix(path) => {
                return Ok(Stream::Plain(
                    UnixStream::connect(path).await.map_err(no_socket)?.into(),
                ));
            }
            Target::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(no_socket)?;
                super::tune(&stream).map_err(no_socket)?;
                (stream, host)
            }
        };
        let config = match (&self.config, self.tls) {
            (_, UpstreamTls::Disable) => return Ok(Stream::Plain(stream.into())),
            (Some(config), _) => config.clone(),
            (None, _) => return Err(UpstreamError::NoTls { at: self.at() }),
        };
        let broken = |source| UpstreamError::Tls { at: self.at(), source };
        stream.write_all(&startup::ssl_request()).await.map_err(broken)?;
        // Room for two bytes: a second one can only have been injected (CVE-2021-23222's other half).
        let mut answer = [0; 2];
        let read = stream.read(&mut answer).await.map_err(broken)?;
        let bad = |what| Err(UpstreamError::BadAnswer { at: self.at(), what });
        match (read, answer[0]) {
            (0, _) => bad("nothing"),
            (2.., _) => bad("more than one byte"),
            (_, b'S') => {
                let name = ServerName::try_from(host.clone()).map_err(|e| broken(io::Error::other(e)))?;
                let stream = TlsConnector::from(config)
                    .connect(name, stream.into())
                    .await
                    .map_err(broken)?;
                Ok(Stream::TlsServer(Box::new(stream)))
            }
            (_, b'N') if self.tls == UpstreamTls::Prefer => Ok(Stream::Plain(stream.into())),
            (_, b'N') => Err(UpstreamError::NoTls { at: self.at() }),
            (_, b'E') => bad("an error"),
            _ => bad("a byte that is no answer; is it a PostgreSQL server?"),
        }
    }

    /// Asks the server to cancel, and waits until it has taken note (it then closes the connection).
    pub async fn cancel(&self, process_id: u32, secret: &[u8]) -> Result<(), UpstreamError> {
        let mut stream = self.connect().await?;
        let lost = |source| UpstreamError::Connect { at: self.at(), source };
        stream
            .write_all(&startup::cancel_request(process_id, secret))
            .await
            .map_err(lost)?;
        stream.flush().await.map_err(lost)?;
        let mut nothing = [0; 16];
        // How it closes does not matter.
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, stream.read(&mut nothing)).await;
        Ok(())
    }
}
