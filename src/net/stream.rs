//! One side's stream, whatever it is: the relay is written (and compiled) once.

use super::relay::Link;
use super::socket::Socket;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{client, server};

/// A connected socket, perhaps with TLS on it. The branch a call costs is nothing beside the system call behind it.
pub enum Stream {
    /// No TLS.
    Plain(Socket),
    /// A client over TLS.
    TlsClient(Box<server::TlsStream<Socket>>),
    /// The server over TLS.
    TlsServer(Box<client::TlsStream<Socket>>),
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Stream::Plain($stream) => $call,
            Stream::TlsClient($stream) => $call,
            Stream::TlsServer($stream) => $call,
        }
    };
}

impl Stream {
    /// The socket below.
    pub fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::TlsClient(stream) => stream.get_ref().0,
            Stream::TlsServer(stream) => stream.get_ref().0,
        }
    }
    /// The socket below, to be detached or told of events; reading and writing go through the stream.
    pub fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::TlsClient(stream) => stream.get_mut().0,
            Stream::TlsServer(stream) => stream.get_mut().0,
        }
    }
}

impl Link for Stream {
    fn may_read(&self) -> bool {
        // A TLS layer may hold what its socket has given long ago.
        !matches!(self, Stream::Plain(socket) if !socket.may_read())
    }
    fn poll_fill(&mut self, into: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(socket) => socket.poll_fill(into, cx),
            stream => super::relay::fill(stream, into, cx),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
