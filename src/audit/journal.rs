//! The journal: an append-only, hash-linked local log, group-committed with fdatasync.

use super::record::AccessRecord;

/// Why a record could not be made durable, or the journal not opened or read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct JournalError {
    /// What happened, where, what to do.
    pub message: String,
}

/// What [`Journal::append`] calls when the fate of a record is known. Called from the journal's thread: must be quick and not block.
pub type Ack = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// An open journal; cheap to clone.
#[derive(Clone)]
pub struct Journal {}

impl Journal {
    /// Queues a record. `ack` is called exactly once, after the fdatasync that covers the record, or when it failed.
    pub fn append(&self, _record: AccessRecord, _ack: Ack) {
        todo!()
    }
    /// False while the last write failed: protected statements are then refused before they start. Retried by the journal itself.
    pub fn is_healthy(&self) -> bool {
        todo!()
    }
}
