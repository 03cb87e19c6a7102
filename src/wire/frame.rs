//! Typed frames: one type byte, a length of four bytes that counts itself, a body (PostgreSQL documentation, 55.1.1).
//!
//! The scanner only finds a frame's edges; it never allocates and never waits for a body that it isn't asked to hold.

use super::sqlstate::SqlState;
use bytes::BytesMut;

/// Bytes of a frame's header: type and length.
pub const HEADER: usize = 5;

/// The longest frame that PostgreSQL's own limits allow (1 GiB and its header).
pub const MAX_FRAME: usize = (1 << 30) + HEADER;

/// The first frame's edges, as far as they can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Fewer bytes than a header.
    Partial,
    /// A frame of this type and total size, header included. The input may hold less of it.
    Frame {
        /// Type byte.
        tag: u8,
        /// Bytes, header included; at least [`HEADER`].
        size: usize,
    },
}

/// What a peer sent is not the protocol. The message names the fault, never content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    /// SQLSTATE for the peer that caused it.
    pub const SQLSTATE: SqlState = SqlState::PROTOCOL_VIOLATION;

    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Finds the edges of the first frame of `input`.
///
/// # Errors
/// A length below four, or above [`MAX_FRAME`].
pub fn scan(input: &[u8]) -> Result<Scan, Malformed> {
    let Some((header, _)) = input.split_first_chunk::<HEADER>() else {
        return Ok(Scan::Partial);
    };
    let [tag, length @ ..] = *header;
    let length = u32::from_be_bytes(length) as usize;
    if !(4..MAX_FRAME).contains(&length) {
        return Err(out_of_range(tag));
    }
    Ok(Scan::Frame { tag, size: 1 + length })
}

#[cold]
fn out_of_range(tag: u8) -> Malformed {
    Malformed::new(format!("invalid length of a message of type {}", show_tag(tag)))
}

/// The first frame of `input` (type, and all its bytes, header included), if it is there to its end and its length is in range.
pub fn whole(input: &[u8]) -> Option<(u8, &[u8])> {
    let &[tag, ref length @ ..] = input.first_chunk::<HEADER>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let frame = input.get(..1 + length)?;
    (4..MAX_FRAME).contains(&length).then_some((tag, frame))
}

/// Bytes of the frames at the front of `input` whose type `wanted` names, and what is still to come of the last one. No frame is looked into.
pub fn run(input: &[u8], wanted: impl Fn(u8) -> bool) -> (usize, usize) {
    let mut run = 0;
    while let Some(rest) = input.get(run..)
        && let Ok(Scan::Frame { tag, size }) = scan(rest)
        && wanted(tag)
    {
        if rest.len() < size {
            return (input.len(), size - rest.len());
        }
        run += size;
    }
    (run, 0)
}

/// A type byte for people.
pub fn show_tag(tag: u8) -> String {
    if tag.is_ascii_alphanumeric() {
        format!("'{}'", char::from(tag))
    } else {
        format!("0x{tag:02x}")
    }
}

/// Appends a frame whose body `fill` writes. The length is put in afterwards.
pub fn write(out: &mut BytesMut, tag: u8, fill: impl FnOnce(&mut BytesMut)) {
    let start = begin(out, tag);
    fill(out);
    end(out, start);
}

/// Starts a frame; [`end`] closes it. Between them only appending to `out` is allowed.
pub fn begin(out: &mut BytesMut, tag: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[tag, 0, 0, 0, 0]);
    start
}

/// Closes the frame that [`begin`] started at `start`.
pub fn end(out: &mut BytesMut, start: usize) {
    let length = u32::try_from(out.len() - start - 1).unwrap_or(u32::MAX);
    out[start + 1..start + HEADER].copy_from_slice(&length.to_be_bytes());
}
