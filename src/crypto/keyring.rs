//! The keyring: data keys by id, wrapped by the root key, with states and dates; sealing keys held ready-made.

/// The unwrapped data keys of one database: an immutable snapshot, shared by all sessions, replaced whole.
pub struct Keyring {}
