//! Every metric: name, help and labels declared together, handles resolved once. Labels are closed sets.
//!
//! A leaf: imports nothing of the other modules but value types for labels.

use crate::plan::{Reason, StatementKind};
use prometheus::{Histogram, IntCounter, IntGauge};
use std::time::Duration;

/// What became of a statement; a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing protected in it.
    Forwarded,
    /// Protected, in clear.
    Allowed,
    /// Protected, masked.
    Masked,
    /// Refused.
    Refused,
}

/// The metrics of a process.
pub struct Metrics {
    /// Open client connections.
    pub connections: IntGauge,
    /// Connections accepted since start.
    pub connections_total: IntCounter,
    /// Values opened.
    pub values_opened: IntCounter,
    /// Values sealed.
    pub values_sealed: IntCounter,
    /// Plan cache hits and misses.
    pub plan_cache_hits: IntCounter,
    /// Misses.
    pub plan_cache_misses: IntCounter,
    /// Bytes from clients.
    pub bytes_from_clients: IntCounter,
    /// Bytes from the server.
    pub bytes_from_server: IntCounter,
    /// Seconds a cold plan took.
    pub planning_seconds: Histogram,
    /// Seconds of sealing a statement's values.
    pub sealing_seconds: Histogram,
    /// Seconds from append to durable.
    pub journal_seconds: Histogram,
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        todo!()
    }
    /// Counts a statement.
    pub fn statement(&self, _kind: StatementKind, _outcome: Outcome) {
        todo!()
    }
    /// Counts a refusal.
    pub fn refusal(&self, _reason: Reason) {
        todo!()
    }
    /// Text exposition of all metrics.
    pub fn render(&self) -> String {
        todo!()
    }
    /// For tests and the demo: the duration type of the histograms.
    pub fn observe(histogram: &Histogram, took: Duration) {
        histogram.observe(took.as_secs_f64());
    }
}
