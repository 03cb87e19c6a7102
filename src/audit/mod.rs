//! Access records and the journal that keeps them (see docs/RECORDS.md for the format).
//!
//! Invariants: [`Journal::append`]'s answer comes only when the record is on stable storage; a record that was acknowledged is
//! never rewritten or cut; whatever can't be proved whole stops the start-up or is named by [`verify()`]. What was cut off after a crash is
//! kept beside the journal, never thrown away.
//!
//! Deliberately absent yet: the transparency log (RFC 6962 tree, signed checkpoints) over the same lines, pruning of expired segments,
//! the projection into the control database.

pub mod entry;
pub mod journal;
pub mod read;
pub mod record;
pub mod retention;
pub mod segment;
pub mod verify;

#[cfg(test)]
mod tests;

pub use entry::{Entry, Hash};
pub use journal::{Ack, Journal, JournalError, JournalOptions, Lag, Observer};
pub use read::{Reading, read};
pub use record::*;
pub use retention::RetentionClass;
pub use verify::{Broken, Fault, Head, Report, verify, verify_against};
