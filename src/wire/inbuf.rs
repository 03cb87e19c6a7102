//! Input from one peer: what was read and not yet taken. Frames are looked at in place; long runs are handed on without a copy.

use bytes::Bytes;
use std::ops::Deref;

/// A queue of bytes, seen as the slice of those that are left.
///
/// Its memory is one `Vec`: unlike a reference-counted buffer, taking a small message moves one index. Invariant: whoever has taken all finds it
/// empty from the beginning again.
#[derive(Default)]
pub struct InBuf {
    bytes: Vec<u8>,
    /// Bytes taken from the front of `bytes`.
    taken: usize,
}

impl InBuf {
    /// Takes the first `count` bytes away, all if there are fewer.
    pub fn advance(&mut self, count: usize) {
        self.taken += count;
        if self.taken >= self.bytes.len() {
            self.clear();
        }
    }

    /// Takes the first `count` bytes out (all if there are fewer), without copying them: the memory goes with them, and what is left moves.
    pub fn split_to(&mut self, count: usize) -> Bytes {
        let end = self.taken.saturating_add(count).min(self.bytes.len());
        let mut rest = Vec::new();
        if end < self.bytes.len() {
            // As much as one read needs: it is read into next.
            rest.reserve(self.bytes.capacity());
            rest.extend_from_slice(&self.bytes[end..]);
            self.bytes.truncate(end);
        }
        let mut front = Bytes::from(std::mem::replace(&mut self.bytes, rest));
        bytes::Buf::advance(&mut front, self.taken);
        self.taken = 0;
        front
    }

    /// Bytes that are left.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == self.taken
    }

    /// Forgets everything; keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
    }

    /// Makes room for so many bytes behind those that are left.
    pub fn reserve(&mut self, additional: usize) {
        if self.taken > 0 && self.bytes.capacity() - self.bytes.len() < additional {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.reserve(additional);
    }

    /// Where more is put, behind what is there; only appending is allowed.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends by copying.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that it has room for without asking for more memory.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Deref for InBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }
}

impl From<&[u8]> for InBuf {
    fn from(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            taken: 0,
        }
    }
}
