//! What a record costs: encoding it, making one durable, making many durable together.
//!
//! The disk decides: compare with `append/raw_write_and_sync`, the same bytes written and synced without a journal.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pgward::audit::entry::{Chain, Item, Stamp};
use pgward::audit::{
    AccessRecord, AuditAction, AuditDecision, AuditObject, How, Journal, JournalOptions, Origin, RetentionClass, verify,
};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock, mpsc};
use std::time::Instant;

fn record(subjects: usize) -> AccessRecord {
    static ORIGIN: LazyLock<Arc<Origin>> = LazyLock::new(|| {
        Arc::new(Origin {
            handler: "kim".into(),
            handler_kind: "staff".into(),
            login_role: "kim".into(),
            auth_method: "scram-sha-256".into(),
            session_id: uuid::Uuid::from_u128(7),
            client: Some(([10, 0, 0, 9], 50_000).into()),
            client_cert_fp: None,
            application_name: "customer service".into(),
            database: "shop".into(),
            purpose: Some("customer-management".into()),
        })
    });
    AccessRecord {
        event_id: uuid::Uuid::from_u128(1),
        part: 0,
        ts_start: 1_767_225_600_000_000,
        ts_end: 1_767_225_600_000_100,
        origin: Arc::clone(&ORIGIN),
        action: AuditAction::Read,
        objects: ["email", "name", "phone"]
            .map(|column| AuditObject {
                schema: "public".into(),
                table: "customers".into(),
                column: column.into(),
                category: "name".into(),
                how: How::Clear,
            })
            .into(),
        subjects: (0..subjects).map(|n| format!("{n:032x}")).collect(),
        subject_count: subjects as u64,
        aggregate: false,
        rows: Some(subjects as u64),
        bytes: 60,
        decision: AuditDecision::Allowed,
        rule: "support/customer-management".into(),
        policy_version: "1".into(),
        sqlstate: String::new(),
        reason: String::new(),
        statement_fingerprint: "0123456789abcdef".into(),
        statement_text: "select email, name, phone from customers where id = $1".into(),
    }
}

/// JSON, link and hash, into a buffer that is there already.
fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let stamp = Stamp {
        node: "node".into(),
        retention_class: RetentionClass::Access2y,
    };
    for subjects in [1, 1_000] {
        let item = Item::Access(Box::new(record(subjects)));
        let (mut chain, mut buffer) = (Chain::new(), Vec::new());
        assert!(chain.push(&stamp, &item, &mut buffer).is_ok());
        group.throughput(Throughput::Bytes(buffer.len() as u64));
        group.bench_function(BenchmarkId::new("subjects", subjects), |b| {
            b.iter(|| {
                buffer.clear();
                black_box(chain.push(&stamp, &item, &mut buffer)).is_ok()
            });
        });
    }
}

fn directory() -> (tempfile::TempDir, JournalOptions) {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let options = JournalOptions::new(parent.path().join("journal"));
    (parent, options)
}

fn append(journal: &Journal, send: &mpsc::Sender<bool>, receive: &mpsc::Receiver<bool>) {
    let send = send.clone();
    journal.append(
        record(1),
        Box::new(move |result| send.send(result.is_ok()).expect("a receiver")),
    );
    assert_eq!(receive.recv(), Ok(true));
}

/// One appender that waits for each answer.
fn latency(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    let (_parent, options) = directory();
    let journal = Journal::open(&options).expect("a journal");
    let (send, receive) = mpsc::channel();
    group.bench_function("one", |b| b.iter(|| append(&journal, &send, &receive)));
    drop(journal);
    whole(&options.directory);

    let parent = tempfile::tempdir().expect("a temporary directory");
    let mut file = std::fs::File::create(parent.path().join("raw")).expect("a file");
    let bytes = [b'x'; 1_250];
    group.bench_function("raw_write_and_sync", |b| {
        b.iter(|| {
            file.write_all(&bytes).expect("a write");
            file.sync_data().expect("a sync");
        });
    });
}

/// Many appenders, each of which waits for its answers: records a second.
fn group_commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("group_commit");
    group.sample_size(20).throughput(Throughput::Elements(1));
    for appenders in [8_u64, 64] {
        let (_parent, options) = directory();
        let journal = Journal::open(&options).expect("a journal");
        group.bench_function(BenchmarkId::new("appenders", appenders), |b| {
            b.iter_custom(|iterations| {
                let started = Instant::now();
                std::thread::scope(|scope| {
                    for appender in 0..appenders {
                        let share = iterations / appenders + u64::from(appender < iterations % appenders);
                        let journal = &journal;
                        scope.spawn(move || {
                            let (send, receive) = mpsc::channel();
                            (0..share).for_each(|_| append(journal, &send, &receive));
                        });
                    }
                });
                started.elapsed()
            });
        });
        drop(journal);
        whole(&options.directory);
    }
}

/// A benchmark of something broken would be worth nothing.
fn whole(directory: &Path) {
    let report = verify(directory).expect("a whole journal");
    assert!(report.records > 2);
}

criterion_group!(benches, encode, latency, group_commit);
criterion_main!(benches);
