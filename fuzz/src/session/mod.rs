//! A whole session between two peers whose bytes come from a fuzzer's input, and what must hold whatever they are.

pub mod driver;
pub mod reader;
pub mod server;
pub mod statements;
pub mod world;
