//! Bytes ↔ protocol frames (PostgreSQL documentation, chapter 55). Own framer, zero-copy; sans-io.
//!
//! Nothing here knows SQL, keys or sockets.

pub mod compose;
pub mod frame;
pub mod inbuf;
pub mod outbuf;
pub mod read;
pub mod sqlstate;
pub mod startup;

#[cfg(test)]
mod tests;
