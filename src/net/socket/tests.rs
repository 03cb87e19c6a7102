use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::task::Waker;

/// A detached socket and its peer.
fn detached() -> (Socket, StdUnixStream) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let (near, far) = StdUnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut socket = Socket::from(UnixStream::from_std(near).unwrap());
    assert!(socket.fd().is_none());
    socket.detach().unwrap();
    assert!(socket.fd().is_some());
    (socket, far)
}

fn fill(socket: &mut Socket, room: usize) -> (Poll<io::Result<usize>>, Vec<u8>) {
    let mut into = Vec::with_capacity(room);
    let mut cx = Context::from_waker(Waker::noop());
    (socket.poll_fill(&mut into, &mut cx), into)
}

const EVENT: Readiness = Readiness {
    readable: true,
    ended: false,
    writable: false,
};

#[test]
fn a_short_read_says_that_all_is_read() {
    let (mut socket, mut far) = detached();
    far.write_all(b"abc").unwrap();
    let (read, bytes) = fill(&mut socket, 16);
    assert!(matches!(read, Poll::Ready(Ok(3))) && bytes == b"abc");
    assert!(!socket.may_read());
    // Without an event nothing is asked, though there would be something.
    far.write_all(b"def").unwrap();
    assert!(fill(&mut socket, 16).0.is_pending());
    socket.note(EVENT);
    assert_eq!(fill(&mut socket, 16).1, b"def");
}

#[test]
fn a_full_read_says_nothing() {
    let (mut socket, mut far) = detached();
    far.write_all(b"abcdef").unwrap();
    let mut into = Vec::with_capacity(4);
    let room = into.capacity();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(socket.poll_fill(&mut into, &mut cx), Poll::Ready(Ok(n)) if n == room));
    assert!(socket.may_read());
    assert!(fill(&mut socket, 64).0.is_ready());
    assert!(!socket.may_read());
}

#[test]
fn an_announced_end_is_read_behind_a_short_read() {
    let (mut socket, mut far) = detached();
    far.write_all(b"abc").unwrap();
    drop(far);
    // Bytes and end came in one event; no other follows.
    socket.note(Readiness { ended: true, ..EVENT });
    assert!(matches!(fill(&mut socket, 16).0, Poll::Ready(Ok(3))));
    assert!(socket.may_read());
    assert!(matches!(fill(&mut socket, 16).0, Poll::Ready(Ok(0))));
}

#[test]
fn nothing_there_waits_for_an_event() {
    let (mut socket, _far) = detached();
    assert!(fill(&mut socket, 16).0.is_pending());
    assert!(!socket.may_read());
}

#[test]
fn a_full_socket_waits_for_an_event() {
    let (mut socket, mut far) = detached();
    let mut cx = Context::from_waker(Waker::noop());
    let piece = [7; 4096];
    let mut sent = 0;
    while let Poll::Ready(written) = Pin::new(&mut socket).poll_write(&mut cx, &piece) {
        sent += written.unwrap();
    }
    let mut read = vec![0; sent];
    far.read_exact(&mut read).unwrap();
    assert!(Pin::new(&mut socket).poll_write(&mut cx, &piece).is_pending());
    socket.note(Readiness {
        writable: true,
        readable: false,
        ended: false,
    });
    assert!(Pin::new(&mut socket).poll_write(&mut cx, &piece).is_ready());
    let pieces = [io::IoSlice::new(b"ab"), io::IoSlice::new(b"c")];
    assert!(matches!(
        Pin::new(&mut socket).poll_write_vectored(&mut cx, &pieces),
        Poll::Ready(Ok(3))
    ));
}

#[test]
fn writing_to_one_who_is_gone_is_an_error_and_no_signal() {
    let (mut socket, far) = detached();
    drop(far);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(
        Pin::new(&mut socket).poll_write(&mut cx, b"x"),
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe
    ));
}

#[tokio::test]
async fn what_was_awaited_can_be_turned() {
    let (near, mut far) = StdUnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut socket = Socket::from(UnixStream::from_std(near).unwrap());
    far.write_all(b"first").unwrap();
    let mut word = [0; 5];
    tokio::io::AsyncReadExt::read_exact(&mut socket, &mut word)
        .await
        .unwrap();
    assert_eq!(&word, b"first");
    far.write_all(b"second").unwrap();
    socket.detach().unwrap();
    assert_eq!(fill(&mut socket, 16).1, b"second");
    tokio::io::AsyncWriteExt::shutdown(&mut socket).await.unwrap();
    assert_eq!(far.read(&mut word).unwrap(), 0);
    socket.detach().unwrap();
    assert!(socket.fd().is_some(), "a second time changes nothing");
}
