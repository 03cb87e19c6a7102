//! What the fuzz targets do with an input, apart from the fuzzer: `tests/corpus.rs` gives the same functions the inputs that are kept in the
//! repository, without it.

pub mod envelope;
pub mod frames;
pub mod journal;
pub mod messages;
pub mod plan;
pub mod policy;
pub mod session_bytes;
pub mod session_mutated;
pub mod startup;
pub mod value;

mod session;

/// What a target does with an input; it panics where something doesn't hold.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 10] = [
    ("envelope", envelope::run),
    ("frames", frames::run),
    ("journal", journal::run),
    ("messages", messages::run),
    ("plan", plan::run),
    ("policy", policy::run),
    ("session_bytes", session_bytes::run),
    ("session_mutated", session_mutated::run),
    ("startup", startup::run),
    ("value", value::run),
];
