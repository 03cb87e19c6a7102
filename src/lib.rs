//! pgward: a PostgreSQL proxy that seals personal data on its way into the database, opens it on its way out for the
//! handlers whom the policy allows, and leaves a tamper-evident record of every access.
//!
//! The modules stand in the order in which data travels; imports form a directed acyclic graph, which
//! `tests/layering.rs` enforces. `docs/ARCHITECTURE.md` follows two statements through them.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

// The fuzz targets, which some unit tests use, are written for whoever uses this crate.
#[cfg(test)]
extern crate self as pgward;

pub mod wire;

pub mod value;

pub mod plan;

pub mod policy;

pub mod crypto;

pub mod audit;

pub mod metrics;

pub mod session;

pub mod control;

pub mod catalog;

pub mod net;

pub mod admin;

pub mod cli;
