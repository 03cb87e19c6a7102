//! Every metric: name, help and labels declared together, handles resolved once. Labels are closed sets, or bounded by the policy.
//!
//! A leaf: imports nothing of the other modules but value types for labels. What each metric means and which alerts it carries
//! stands in `docs/METRICS.md`. No metric holds a value, a statement or a name that a client makes up.

use crate::plan::{KeyDomain, Reason, StatementKind};
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

#[cfg(test)]
mod tests;

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

impl Outcome {
    /// All, in declaration order.
    const ALL: [Outcome; 4] = [Outcome::Forwarded, Outcome::Allowed, Outcome::Masked, Outcome::Refused];

    fn label(self) -> &'static str {
        match self {
            Outcome::Forwarded => "forwarded",
            Outcome::Allowed => "allowed",
            Outcome::Masked => "masked",
            Outcome::Refused => "refused",
        }
    }
}

/// All kinds, in declaration order: a kind's place is its discriminant.
const KINDS: [StatementKind; 10] = [
    StatementKind::Select,
    StatementKind::Insert,
    StatementKind::Update,
    StatementKind::Delete,
    StatementKind::Merge,
    StatementKind::Copy,
    StatementKind::Ddl,
    StatementKind::Transaction,
    StatementKind::Session,
    StatementKind::Other,
];

fn kind_label(kind: StatementKind) -> &'static str {
    match kind {
        StatementKind::Select => "select",
        StatementKind::Insert => "insert",
        StatementKind::Update => "update",
        StatementKind::Delete => "delete",
        StatementKind::Merge => "merge",
        StatementKind::Copy => "copy",
        StatementKind::Ddl => "ddl",
        StatementKind::Transaction => "transaction",
        StatementKind::Session => "session",
        StatementKind::Other => "other",
    }
}

/// The metrics of a process. Counting with one of these handles costs about 5 ns; a loop over rows adds up by itself and counts once.
pub struct Metrics {
    registry: Registry,
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
    /// Records appended that are not durable yet: up by one with an append, down by one with its answer.
    pub journal_queued: IntGauge,
    /// Records made durable since start.
    pub journal_records: IntCounter,
    /// Records that could not be made durable.
    pub journal_failures: IntCounter,
    statements: [[IntCounter; Outcome::ALL.len()]; KINDS.len()],
    refusals: [IntCounter; Reason::ALL.len()],
    reloads_good: IntCounter,
    reloads_bad: IntCounter,
    policy_info: IntGaugeVec,
    key_age: GaugeVec,
    catalog_age: GaugeVec,
    started: Gauge,
    ages: Mutex<Ages>,
}

/// Moments from which ages are told when the metrics are read.
#[derive(Default)]
struct Ages {
    keys: BTreeMap<KeyDomain, SystemTime>,
    catalogs: BTreeMap<Arc<str>, Instant>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        let registry = Registry::new();
        let r = &registry;
        let statements = vector(
            r,
            "pgward_statements_total",
            "Statements by kind and by what became of them.",
            &["kind", "decision"],
        );
        let refusals = vector(
            r,
            "pgward_refusals_total",
            "Statements not carried out, by reason (the anchors of docs/ERRORS.md).",
            &["reason"],
        );
        let reloads = vector(
            r,
            "pgward_policy_reloads_total",
            "Reloads of the policy file; a bad one changes nothing.",
            &["result"],
        );
        let build_info = register(
            r,
            IntGaugeVec::new(
                Opts::new("pgward_build_info", "Constant 1; the label is pgward's version."),
                &["version"],
            ),
        );
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            connections: register(r, IntGauge::new("pgward_connections", "Open client connections.")),
            connections_total: counter(r, "pgward_connections_total", "Client connections accepted."),
            values_opened: counter(r, "pgward_values_opened_total", "Sealed values opened."),
            values_sealed: counter(
                r,
                "pgward_values_sealed_total",
                "Values sealed, or turned into an index term.",
            ),
            plan_cache_hits: counter(
                r,
                "pgward_plan_cache_hits_total",
                "Statements whose plan was in the cache.",
            ),
            plan_cache_misses: counter(
                r,
                "pgward_plan_cache_misses_total",
                "Statements that had to be planned.",
            ),
            bytes_from_clients: counter(r, "pgward_client_received_bytes_total", "Bytes received from clients."),
            bytes_from_server: counter(
                r,
                "pgward_server_received_bytes_total",
                "Bytes received from the server.",
            ),
            planning_seconds: histogram(
                r,
                "pgward_planning_duration_seconds",
                "Time to plan a statement that was not in the cache.",
                5e-6,
            ),
            sealing_seconds: histogram(
                r,
                "pgward_sealing_duration_seconds",
                "Time to seal the values of one statement.",
                1e-6,
            ),
            journal_seconds: histogram(
                r,
                "pgward_journal_duration_seconds",
                "Time from the append of an access record until it is durable.",
                50e-6,
            ),
            journal_queued: register(
                r,
                IntGauge::new(
                    "pgward_journal_queued_records",
                    "Access records appended that are not durable yet.",
                ),
            ),
            journal_records: counter(r, "pgward_journal_records_total", "Access records made durable."),
            journal_failures: counter(
                r,
                "pgward_journal_failures_total",
                "Access records that could not be made durable; their statements were refused.",
            ),
            statements: KINDS.map(|kind| {
                Outcome::ALL.map(|outcome| statements.with_label_values(&[kind_label(kind), outcome.label()]))
            }),
            refusals: Reason::ALL.map(|reason| refusals.with_label_values(&[reason.anchor()])),
            reloads_good: reloads.with_label_values(&["loaded"]),
            reloads_bad: reloads.with_label_values(&["rejected"]),
            policy_info: register(
                r,
                IntGaugeVec::new(
                    Opts::new(
                        "pgward_policy_info",
                        "Constant 1; the label is the version of the policy in force.",
                    ),
                    &["version"],
                ),
            ),
            key_age: register(
                r,
                GaugeVec::new(
                    Opts::new("pgward_key_age_seconds", "Age of each key domain's active data key."),
                    &["key_domain"],
                ),
            ),
            catalog_age: register(
                r,
                GaugeVec::new(
                    Opts::new(
                        "pgward_catalog_age_seconds",
                        "Time since the catalog was last seen to be up to date.",
                    ),
                    &["database"],
                ),
            ),
            started: register(
                r,
                Gauge::new(
                    "pgward_start_time_seconds",
                    "When the process started, in seconds since the Unix epoch.",
                ),
            ),
            ages: Mutex::default(),
            registry,
        };
        metrics.started.set(seconds_since_epoch(SystemTime::now()));
        metrics
    }

    /// Counts a statement.
    pub fn statement(&self, kind: StatementKind, outcome: Outcome) {
        if let Some(counter) = self
            .statements
            .get(kind as usize)
            .and_then(|of_kind| of_kind.get(outcome as usize))
        {
            counter.inc();
        }
    }

    /// Counts a refusal.
    pub fn refusal(&self, reason: Reason) {
        if let Some(counter) = self.refusals.get(reason as usize) {
            counter.inc();
        }
    }

    /// The policy now in force, by version; the one before is no longer shown.
    pub fn policy_loaded(&self, version: &str) {
        self.policy_info.reset();
        self.policy_info.with_label_values(&[version]).set(1);
        self.reloads_good.inc();
    }

    /// A policy file was bad and did not replace the one in force.
    pub fn policy_rejected(&self) {
        self.reloads_bad.inc();
    }

    /// When the active data key of each key domain was made. Takes the place of what was said before: one time series a key domain of the policy.
    pub fn active_keys(&self, keys: impl IntoIterator<Item = (KeyDomain, SystemTime)>) {
        let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        ages.keys = keys.into_iter().collect();
    }

    /// The catalog of a database was just seen to be up to date.
    pub fn catalog_seen(&self, database: &Arc<str>) {
        let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        ages.catalogs.insert(database.clone(), Instant::now());
    }

    /// How long ago the catalog that has not been seen for longest was seen; `None` before the first.
    pub fn oldest_catalog(&self) -> Option<Duration> {
        let ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        ages.catalogs.values().map(Instant::elapsed).max()
    }

    /// Text exposition of all metrics (Prometheus text format 0.0.4).
    pub fn render(&self) -> String {
        self.tell_ages();
        let mut text = String::new();
        match TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            Ok(()) => text,
            // Half a page would look like a whole one to Prometheus.
            Err(error) => format!("# metrics could not be written: {error}\n"),
        }
    }

    fn tell_ages(&self) {
        let ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        self.key_age.reset();
        for (domain, made) in &ages.keys {
            // A key made in the future is a clock set back, not an age.
            let age = now.duration_since(*made).unwrap_or_default();
            self.key_age.with_label_values(&[&*domain.0]).set(age.as_secs_f64());
        }
        self.catalog_age.reset();
        for (database, seen) in &ages.catalogs {
            self.catalog_age
                .with_label_values(&[&**database])
                .set(seen.elapsed().as_secs_f64());
        }
    }

    /// Adds a duration to a histogram.
    pub fn observe(histogram: &Histogram, took: Duration) {
        histogram.observe(took.as_secs_f64());
    }
}

fn seconds_since_epoch(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// Registers a metric. Names and labels are constants of this file: a fault in them is one of ours, and every test would show it.
fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("a metric's name and labels are constants and valid");
    registry
        .register(Box::new(metric.clone()))
        .expect("every metric has a name of its own");
    metric
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

fn vector(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// Eleven buckets, each 3.2 times (half a power of ten) wider than the one before: five decades from `first` seconds on.
fn histogram(registry: &Registry, name: &str, help: &str, first: f64) -> Histogram {
    let buckets = (0..11)
        .map(|n| first * 10f64.powf(f64::from(n) / 2.0))
        .map(rounded)
        .collect();
    register(
        registry,
        Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)),
    )
}

/// Two significant digits, so that bucket bounds stay readable.
fn rounded(seconds: f64) -> f64 {
    format!("{seconds:.1e}").parse().unwrap_or(seconds)
}
