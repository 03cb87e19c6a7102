//! Output towards one peer: what goes on as it was read leaves in the memory in which it was read, frames of pgward's own are coalesced; a mark
//! holds back what must wait.

use super::inbuf::InBuf;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Chunks from this size on are kept as they are; smaller ones are copied into the tail.
const KEEP_WHOLE: usize = 8 * 1024;

/// Room that the tail keeps once all has left, and the most bytes that have left which it holds on to.
const KEEP_ROOM: usize = 64 * 1024;

/// A queue of bytes. As a [`Buf`] it shows only what may leave now; what lies behind the hold stays.
///
/// In this order: `front`, `chunks`, `tail`.
#[derive(Default)]
#[repr(C)] // The order of the fields is that of their use: those behind `tail` are not touched by a message that goes through.
pub struct OutBuf {
    /// What was read, taken over with its memory: filled only while nothing else is here.
    front: InBuf,
    /// Bytes consumed since the start.
    consumed: u64,
    /// Stream position (counted from the start) from which on bytes are held back.
    hold: Option<u64>,
    /// Bytes in `chunks`.
    whole: usize,
    tail: BytesMut,
    /// Bytes of `tail` that have left. The usual case, that all has, costs no more than setting two lengths back.
    gone: usize,
    chunks: VecDeque<Bytes>,
}

impl OutBuf {
    /// Everything that is in it, held back or not.
    pub fn len(&self) -> usize {
        self.front.len() + self.whole + self.tail.len() - self.gone
    }
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.front.is_empty() && self.whole == 0 && self.tail.len() == self.gone
    }
    /// Stream position of the next byte to be put in.
    pub fn position(&self) -> u64 {
        self.consumed + self.len() as u64
    }
    /// The tail, to encode into.
    pub fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }
    /// Appends bytes by copying.
    pub fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }
    /// Appends bytes, without a copy where they are many.
    pub fn put_bytes(&mut self, bytes: Bytes) {
        if bytes.len() < KEEP_WHOLE {
            return self.put(&bytes);
        }
        self.close_tail();
        self.whole += bytes.len();
        self.chunks.push_back(bytes);
    }
    /// Moves bytes over from the front of a read buffer: without a copy where they are all that is there and nothing stands before them, or where
    /// they are many.
    pub fn put_front(&mut self, input: &mut InBuf, count: usize) {
        if count == 0 {
            // Its memory is to be read into.
        } else if count == input.len() && self.is_empty() {
            std::mem::swap(&mut self.front, input);
        } else if count < KEEP_WHOLE {
            self.put(&input[..count]);
            input.advance(count);
        } else {
            self.put_bytes(input.split_to(count));
        }
    }
    /// The memory that was taken over from a read buffer, once all that was in it has left.
    pub fn take_memory(&mut self) -> Option<InBuf> {
        (self.front.is_empty() && self.front.capacity() > 0).then(|| std::mem::take(&mut self.front))
    }
    /// Sets or lifts the hold: bytes from stream position `at` on stay.
    pub fn hold(&mut self, at: Option<u64>) {
        self.hold = at;
    }
    /// Takes everything from stream position `from` on out again.
    pub fn cut(&mut self, from: u64) -> BytesMut {
        self.close_front();
        self.close_tail();
        let mut keep = usize::try_from(from.saturating_sub(self.consumed)).unwrap_or(usize::MAX);
        let mut cut = BytesMut::new();
        let mut kept = VecDeque::with_capacity(self.chunks.len());
        for mut chunk in std::mem::take(&mut self.chunks) {
            if keep < chunk.len() {
                cut.extend_from_slice(&chunk.split_off(keep));
            }
            keep -= chunk.len();
            if !chunk.is_empty() {
                kept.push_back(chunk);
            }
        }
        self.chunks = kept;
        self.whole -= cut.len();
        cut
    }
    fn close_front(&mut self) {
        if !self.front.is_empty() {
            let front = self.front.split_to(self.front.len());
            self.whole += front.len();
            self.chunks.push_front(front);
        }
    }
    fn close_tail(&mut self) {
        let mut tail = self.tail.split();
        tail.advance(std::mem::take(&mut self.gone));
        if !tail.is_empty() {
            self.whole += tail.len();
            self.chunks.push_back(tail.freeze());
        }
    }
    fn in_tail(&self) -> &[u8] {
        self.tail.get(self.gone..).unwrap_or_default()
    }
    fn limit(&self) -> usize {
        match self.hold {
            Some(at) => usize::try_from(at.saturating_sub(self.consumed))
                .unwrap_or(usize::MAX)
                .min(self.len()),
            None => self.len(),
        }
    }
}

impl Buf for OutBuf {
    fn remaining(&self) -> usize {
        self.limit()
    }

    fn has_remaining(&self) -> bool {
        !self.is_empty() && self.hold.is_none_or(|at| at > self.consumed)
    }

    fn chunk(&self) -> &[u8] {
        let first = if !self.front.is_empty() {
            &self.front[..]
        } else {
            self.chunks.front().map_or_else(|| self.in_tail(), |c| &c[..])
        };
        &first[..first.len().min(self.limit())]
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let mut left = self.limit();
        let mut n = 0;
        let chunks = self.chunks.iter().map(|c| &c[..]);
        let front = std::iter::once(&self.front[..]);
        for piece in front.chain(chunks).chain(std::iter::once(self.in_tail())) {
            if left == 0 || n == dst.len() {
                break;
            }
            let take = piece.len().min(left);
            if take > 0 {
                dst[n] = IoSlice::new(&piece[..take]);
                n += 1;
                left -= take;
            }
        }
        n
    }

    fn advance(&mut self, mut cnt: usize) {
        assert!(cnt <= self.limit(), "cannot advance past what may leave");
        self.consumed += cnt as u64;
        let of_front = cnt.min(self.front.len());
        self.front.advance(of_front);
        cnt -= of_front;
        if cnt == 0 {
            return;
        }
        while let Some(front) = self.chunks.front_mut() {
            if cnt < front.len() {
                front.advance(cnt);
                self.whole -= cnt;
                return;
            }
            cnt -= front.len();
            self.whole -= front.len();
            self.chunks.pop_front();
        }
        self.gone += cnt;
        if self.gone == self.tail.len() {
            self.gone = 0;
            if self.tail.capacity() > KEEP_ROOM {
                self.tail = BytesMut::new();
            } else {
                self.tail.clear();
            }
        } else if self.gone > KEEP_ROOM {
            self.tail.advance(std::mem::take(&mut self.gone));
        }
    }
}
