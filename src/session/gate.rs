//! What waits for the journal. No record, no data: rows stay in the output to the client, and writes in the output to the
//! server, until the records that cover them are durable. Everything behind a held position stays with it, so order is kept.

use super::Ticket;
use std::collections::VecDeque;

/// The held positions of one direction, in stream order.
#[derive(Default)]
pub(super) struct Gate {
    waiting: VecDeque<(Ticket, u64)>,
    /// Where output begins that no record was submitted for yet.
    open: Option<u64>,
}

impl Gate {
    /// Bytes from `at` on wait for `ticket`.
    pub(super) fn wait(&mut self, ticket: Ticket, at: u64) {
        self.waiting.push_back((ticket, at));
    }
    /// Bytes from `at` on wait for a record that is still to be made, or no longer.
    pub(super) fn set_open(&mut self, at: Option<u64>) {
        self.open = at;
    }
    /// Where output waits for a record that is still to be made.
    pub(super) fn open_at(&self) -> Option<u64> {
        self.open
    }
    /// Takes a ticket out; its position, if it was here.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<u64> {
        let index = self.waiting.iter().position(|(t, _)| *t == ticket)?;
        self.waiting.remove(index).map(|(_, at)| at)
    }
    /// Forgets everything from `at` on: those bytes were cut off.
    pub(super) fn cut(&mut self, at: u64) {
        self.waiting.retain(|(_, position)| *position < at);
        self.open = self.open.filter(|open| *open < at);
    }
    /// A frame at `at` was replaced by one that is `grown` bytes longer (or shorter).
    pub(super) fn shift(&mut self, at: u64, grown: i64) {
        for (_, position) in &mut self.waiting {
            if *position > at {
                *position = position.saturating_add_signed(grown);
            }
        }
    }
    /// Forgets those that wait at exactly `at`.
    pub(super) fn drop_at(&mut self, at: u64) {
        self.waiting.retain(|(_, position)| *position != at);
    }
    /// From where on bytes must stay.
    pub(super) fn hold(&self) -> Option<u64> {
        let waiting = self.waiting.iter().map(|(_, at)| *at).min();
        match (waiting, self.open) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
    /// Whether anything waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
