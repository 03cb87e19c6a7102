//! One socket, in its two lives: awaited on the Tokio runtime while its client is received, then turned by a [worker](super::worker).
//!
//! In the second, readiness is edge-triggered and kept here as two flags: a call that would find nothing is not made, nothing is registered
//! anew, no lock is taken and no waker is kept.

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected stream socket, TCP or Unix.
pub struct Socket(Life);

enum Life {
    Tcp(TcpStream),
    Unix(UnixStream),
    Turned(Turned),
    /// Detaching failed; it can't be used any more.
    Lost,
}

struct Turned {
    fd: OwnedFd,
    /// A read may find something.
    readable: bool,
    /// Nothing will come behind what is there: a short read says nothing then, and no further event tells of the end.
    ended: bool,
    /// A write may find room.
    writable: bool,
}

/// What an event says of a socket.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    /// Bytes are there, or the end of file.
    pub readable: bool,
    /// The peer sends no more, or the connection is broken.
    pub ended: bool,
    /// There is room.
    pub writable: bool,
}

impl Readiness {
    /// Whatever it is, it must be tried.
    pub const UNKNOWN: Self = Self {
        readable: true,
        ended: false,
        writable: true,
    };
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(Life::Tcp(stream))
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self(Life::Unix(stream))
    }
}

impl Socket {
    /// Leaves Tokio; whoever calls this turns it from now on.
    ///
    /// # Errors
    /// Of the system, on taking it out of Tokio's set. The socket is closed then.
    pub fn detach(&mut self) -> io::Result<()> {
        let fd = match std::mem::replace(&mut self.0, Life::Lost) {
            Life::Tcp(stream) => stream.into_std()?.into(),
            Life::Unix(stream) => stream.into_std()?.into(),
            Life::Turned(turned) => turned.fd,
            Life::Lost => return Err(lost()),
        };
        self.0 = Life::Turned(Turned {
            fd,
            readable: true,
            ended: false,
            writable: true,
        });
        Ok(())
    }

    /// The descriptor, once detached.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Life::Turned(turned) => Some(turned.fd.as_fd()),
            _ => None,
        }
    }

    /// Takes note of an event. Nothing is called.
    pub fn note(&mut self, readiness: Readiness) {
        if let Life::Turned(turned) = &mut self.0 {
            turned.readable |= readiness.readable | readiness.ended;
            turned.ended |= readiness.ended;
            turned.writable |= readiness.writable;
        }
    }

    /// Whether reading may find something.
    pub fn may_read(&self) -> bool {
        match &self.0 {
            Life::Turned(turned) => turned.readable,
            _ => true,
        }
    }

    /// Reads once into the room behind `into`'s bytes, of which there must be some.
    pub fn poll_fill(&mut self, into: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let asked = into.capacity() - into.len();
        match &mut self.0 {
            Life::Turned(turned) => turned.read(asked, |fd| {
                rustix::net::recv(fd, spare_capacity(into), RecvFlags::empty()).map(|(_, n)| n)
            }),
            life => {
                let mut reading = std::pin::pin!(tokio::io::AsyncReadExt::read_buf(life, into));
                reading.as_mut().poll(cx)
            }
        }
    }
}

impl Turned {
    fn read(
        &mut self,
        asked: usize,
        mut receive: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        if !self.readable {
            return Poll::Pending;
        }
        loop {
            match receive(self.fd.as_fd()) {
                Ok(n) => {
                    // All that was there: what comes later makes an event, except an end that was announced already.
                    self.readable = n == asked || self.ended;
                    return Poll::Ready(Ok(n));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    return Poll::Pending;
                }
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }

    fn write(&mut self, mut send: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>) -> Poll<io::Result<usize>> {
        if !self.writable {
            return Poll::Pending;
        }
        loop {
            match send(self.fd.as_fd()) {
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.writable = false;
                    return Poll::Pending;
                }
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the socket is gone")
}

impl AsyncRead for Life {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Life::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Life::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Life::Turned(turned) => {
                let room = buf.initialize_unfilled();
                let read = turned.read(room.len(), |fd| {
                    rustix::net::recv(fd, &mut *room, RecvFlags::empty()).map(|(_, n)| n)
                });
                read.map_ok(|n| buf.advance(n))
            }
            Life::Lost => Poll::Ready(Err(lost())),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Life::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Life::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Life::Turned(turned) => turned.write(|fd| rustix::net::send(fd, buf, SendFlags::NOSIGNAL)),
            Life::Lost => Poll::Ready(Err(lost())),
        }
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Life::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Life::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Life::Turned(turned) => turned.write(|fd| rustix::io::writev(fd, bufs)),
            Life::Lost => Poll::Ready(Err(lost())),
        }
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The kernel keeps what it took.
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Life::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Life::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Life::Turned(turned) => Poll::Ready(rustix::net::shutdown(&turned.fd, Shutdown::Write).map_err(Into::into)),
            Life::Lost => Poll::Ready(Err(lost())),
        }
    }
}

#[cfg(test)]
mod tests;
