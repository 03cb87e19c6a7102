//! Access records and the journal that keeps them (see docs/RECORDS.md for the format).
//!
//! Invariant: [`Journal::append`]'s answer comes only when the record is on stable storage.

pub mod journal;
pub mod record;

pub use journal::{Journal, JournalError};
pub use record::*;
