//! Sockets, TLS, tasks: performs what the [session](crate::session) decides.
//!
//! | file | step of a connection |
//! |---|---|
//! | `listen` | accepted |
//! | `reception` | handshake, TLS, let in or not, on Tokio's threads |
//! | `upstream` | the connection to the server |
//! | `worker`, `balance` | the threads on which sessions live, and who lives where |
//! | `relay` | a session's turn: moves its bytes and performs its effects |
//! | `stream`, `socket` | what it reads and writes |
//! | `cancel` | the keys by which another connection cancels its statement |
//!
//! Invariant: a session, its two sockets and its buffers are turned by one thread at a time. Deliberately absent: anything that reads SQL or
//! knows a key.

mod balance;
mod cancel;
mod databases;
mod listen;
mod reception;
mod relay;
mod socket;
mod stream;
pub mod tls;
mod upstream;
mod worker;

pub use databases::Databases;
pub use listen::{CatalogChanged, ClientTls, ListenError, Options, Running, start};
pub use upstream::{Upstream, UpstreamError};

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// First keep-alive probe after this idle time, further ones in this interval: a vanished peer is noticed within three minutes, also
/// behind firewalls that forget silent connections.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(20))
    .with_retries(6);

/// No delay (messages are coalesced before they are written), and keep-alive.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&KEEP_ALIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wire_38_sockets_have_no_delay_and_are_kept_alive() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(20));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 6);
    }
}
