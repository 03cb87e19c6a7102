//! Bytes ↔ protocol frames (PostgreSQL documentation, chapter 55). Own framer, zero-copy; sans-io.
//!
//! Nothing here knows SQL, keys or sockets.

pub mod outbuf;
pub mod sqlstate;
pub mod startup;
