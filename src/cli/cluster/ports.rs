//! Free ports.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Ports for servers of one's own: below those from which systems take the near end of outgoing connections, any of which could take a port away
/// between the look and the use.
const SERVER_PORTS: std::ops::Range<u16> = 12_000..30_000;

/// A TCP port on which nothing listens on the loopback interface now.
pub fn free_port() -> io::Result<u16> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut chosen = (0..100).map(|_| rand::random_range(SERVER_PORTS));
    match chosen.find(is_free) {
        Some(port) => Ok(port),
        None => Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port()),
    }
}
