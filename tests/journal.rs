//! The journal through its public interface: whatever is done to its files is found, whatever crashes loses nothing acknowledged.

use pgward::audit::entry::Link;
use pgward::audit::segment::{segment_name, segments};
use pgward::audit::{
    AccessRecord, AuditAction, AuditDecision, AuditObject, Fault, Hash, How, Journal, JournalError, JournalOptions,
    Observer, Origin, Reading, read, verify, verify_against,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::{Duration, Instant};

#[path = "journal/crash.rs"]
mod crash;
#[path = "journal/tamper.rs"]
mod tamper;
#[path = "journal/vectors.rs"]
mod vectors;

fn record(n: u64) -> AccessRecord {
    static ORIGIN: LazyLock<Arc<Origin>> = LazyLock::new(|| {
        Arc::new(Origin {
            handler: "kim".into(),
            handler_kind: "staff".into(),
            login_role: "kim".into(),
            auth_method: "scram-sha-256".into(),
            session_id: uuid::Uuid::from_u128(7),
            client: Some("10.0.0.9:50000".parse().unwrap()),
            client_cert_fp: None,
            application_name: "a \"quoted\"\nname".into(),
            database: "shop".into(),
            purpose: Some("customer-management".into()),
        })
    });
    AccessRecord {
        event_id: uuid::Uuid::from_u128(u128::from(n)),
        part: 0,
        ts_start: 1_767_225_600_000_000 + i64::from(n as u32),
        ts_end: 1_767_225_600_000_100 + i64::from(n as u32),
        origin: Arc::clone(&ORIGIN),
        action: AuditAction::Read,
        objects: vec![AuditObject {
            schema: "public".into(),
            table: "customers".into(),
            column: "email".into(),
            category: "e-mail".into(),
            how: How::Clear,
        }],
        subjects: vec![format!("{n:032x}")],
        subject_count: 1,
        aggregate: false,
        rows: Some(1),
        bytes: 20,
        decision: AuditDecision::Allowed,
        rule: "support/customer-management".into(),
        policy_version: "1".into(),
        sqlstate: String::new(),
        reason: String::new(),
        statement_fingerprint: "0123456789abcdef".into(),
        statement_text: "select email from customers where id = $1".into(),
    }
}

fn options(directory: &Path) -> JournalOptions {
    JournalOptions {
        node: "test".into(),
        retry: Duration::from_millis(20),
        ..JournalOptions::new(directory)
    }
}

fn append(journal: &Journal, n: u64) -> Result<(), JournalError> {
    let (send, receive) = mpsc::channel();
    journal.append(record(n), Box::new(move |result| send.send(result).unwrap()));
    receive.recv().expect("an answer")
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn private(directory: tempfile::TempDir) -> tempfile::TempDir {
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

/// On a disk.
fn disk_directory() -> tempfile::TempDir {
    private(tempfile::tempdir().unwrap())
}

/// Memory-backed where there is such a place: these tests open journals thousands of times.
fn fast_directory() -> tempfile::TempDir {
    private(
        tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap(),
    )
}

fn write_segment(directory: &Path, name: &str, bytes: &[u8]) {
    fs::write(directory.join(name), bytes).unwrap();
    fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o600)).unwrap();
}

/// A segment's name and bytes.
type Named = (String, Vec<u8>);

fn write_out(directory: &Path, segments: &[Named]) {
    segments
        .iter()
        .for_each(|(name, bytes)| write_segment(directory, name, bytes));
}

fn read_in(directory: &Path) -> Vec<Named> {
    let read = |name: String| (name.clone(), fs::read(directory.join(name)).unwrap());
    segments(directory)
        .unwrap()
        .into_iter()
        .map(|segment| read(segment.name))
        .collect()
}

/// A journal of several segments (two starts, and a size limit): the segments' bytes in order.
fn sample() -> &'static [Named] {
    static SAMPLE: LazyLock<Vec<Named>> = LazyLock::new(|| {
        let directory = fast_directory();
        let journal = Journal::open(&options(directory.path())).unwrap();
        (0..4).for_each(|n| append(&journal, n).unwrap());
        drop(journal);
        let small = JournalOptions {
            segment_bytes: 4_000,
            ..options(directory.path())
        };
        let journal = Journal::open(&small).unwrap();
        (4..9).for_each(|n| append(&journal, n).unwrap());
        drop(journal);
        let sample = read_in(directory.path());
        assert!(sample.len() >= 3, "{}", sample.len());
        sample
    });
    &SAMPLE
}

#[derive(Default)]
struct Counter {
    syncs: AtomicUsize,
    records: AtomicUsize,
    durable: AtomicUsize,
}

impl Observer for Counter {
    fn committed(&self, records: usize, bytes: usize, _sync: Duration) {
        assert!(bytes > records * 500);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }
    fn durable(&self, _waited: Duration) {
        self.durable.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn many_appenders_share_a_sync() {
    const THREADS: u64 = 8;
    const EACH: u64 = 1_000;
    let directory = disk_directory();
    let counter = Arc::new(Counter::default());
    let journal = Journal::open(&JournalOptions {
        observer: Some(Arc::clone(&counter) as Arc<dyn Observer>),
        segment_bytes: 1 << 20,
        ..options(directory.path())
    })
    .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let journal = journal.clone();
            scope.spawn(move || {
                let (send, receive) = mpsc::channel();
                for n in 0..EACH {
                    let send = send.clone();
                    let ack = Box::new(move |result: Result<(), JournalError>| send.send(result.is_ok()).unwrap());
                    journal.append(record(thread * EACH + n), ack);
                }
                assert_eq!(
                    receive.iter().take(EACH as usize).filter(|ok| *ok).count(),
                    EACH as usize
                );
            });
        }
    });
    journal.close();
    let report = verify(directory.path()).unwrap();
    assert_eq!(report.records, THREADS * EACH + 2);
    let syncs = counter.syncs.load(Ordering::Relaxed);
    assert_eq!(counter.records.load(Ordering::Relaxed) as u64, THREADS * EACH);
    assert_eq!(counter.durable.load(Ordering::Relaxed) as u64, THREADS * EACH);
    assert!(syncs as u64 * 10 < THREADS * EACH, "{syncs} syncs");
    assert_eq!(subjects(directory.path()).len() as u64, THREADS * EACH);
}

fn subjects(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    read(directory, &mut |reading| {
        match reading {
            Reading::Good(_, entry) => found.extend(entry.subjects),
            Reading::Bad(what) => panic!("{what}"),
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}
