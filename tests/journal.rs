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
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::{Duration, Instant};

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

fn write_out(directory: &Path, segments: &[(String, Vec<u8>)]) {
    segments
        .iter()
        .for_each(|(name, bytes)| write_segment(directory, name, bytes));
}

fn read_in(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| (name.clone(), fs::read(directory.join(name)).unwrap());
    segments(directory)
        .unwrap()
        .into_iter()
        .map(|segment| read(segment.name))
        .collect()
}

/// A journal of several segments (two starts, and a size limit): the segments' bytes in order.
fn sample() -> &'static [(String, Vec<u8>)] {
    static SAMPLE: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
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

/// The sample's lines (without newlines) with the segment that each is in.
fn lines() -> Vec<(usize, Vec<u8>)> {
    let mut lines = Vec::new();
    for (position, (_, bytes)) in sample().iter().enumerate() {
        let whole = bytes.strip_suffix(b"\n").unwrap();
        lines.extend(whole.split(|c| *c == b'\n').map(|line| (position, line.to_vec())));
    }
    lines
}

/// Puts lines back into the segments they say they are in, and verifies.
fn verify_lines(lines: &[(usize, Vec<u8>)]) -> Result<pgward::audit::Report, pgward::audit::Broken> {
    let directory = fast_directory();
    for (position, (name, _)) in sample().iter().enumerate() {
        let mut bytes = Vec::new();
        for (_, line) in lines.iter().filter(|(segment, _)| *segment == position) {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        write_segment(directory.path(), name, &bytes);
    }
    verify(directory.path())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_bit_is_found(position in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut copy = sample().to_vec();
        // The very last newline is left out: without it the last line is as if cut off by a crash, and nothing but a noted head can tell.
        let total: usize = copy.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() - 1;
        let mut position = position.index(total);
        let mut before = 0;
        for (_, bytes) in &mut copy {
            if position < bytes.len() {
                before += bytes[..position].iter().filter(|c| **c == b'\n').count();
                bytes[position] ^= 1 << bit;
                break;
            }
            position -= bytes.len();
            before += bytes.iter().filter(|c| **c == b'\n').count();
        }
        let directory = fast_directory();
        write_out(directory.path(), &copy);
        let broken = verify(directory.path()).unwrap_err();
        prop_assert_eq!(broken.good, before as u64, "{}", broken);
        prop_assert_eq!(broken.index, before as u64, "{}", broken);
    }

    #[test]
    fn any_two_lines_swapped_are_found(a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let mut copy = lines();
        let (a, b) = (a.index(copy.len()), b.index(copy.len()));
        prop_assume!(a != b);
        let (x, y) = (copy[a].1.clone(), copy[b].1.clone());
        copy[a].1 = y;
        copy[b].1 = x;
        let broken = verify_lines(&copy).unwrap_err();
        prop_assert_eq!(broken.good, a.min(b) as u64);
        prop_assert_eq!(broken.fault, Fault::Reordered);
    }

    #[test]
    fn any_copied_line_is_found(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let mut copy = lines();
        let (from, to) = (from.index(copy.len()), to.index(copy.len()));
        let line = (copy[to].0, copy[from].1.clone());
        copy.insert(to, line);
        let broken = verify_lines(&copy).unwrap_err();
        // A copy right before the original: the second of the two is the one too many.
        prop_assert_eq!(broken.good, if from == to { to + 1 } else { to } as u64, "{}", broken);
        let right = matches!(broken.fault, Fault::Inserted | Fault::Reordered | Fault::Renamed);
        prop_assert!(right, "{}", broken);
    }
}

#[test]
fn any_deleted_line_but_the_last_is_found() {
    let all = lines();
    assert_eq!(verify_lines(&all).unwrap().records, all.len() as u64);
    for gone in 0..all.len() - 1 {
        let mut copy = all.clone();
        copy.remove(gone);
        let broken = verify_lines(&copy).unwrap_err();
        let expected = (gone as u64, Fault::Missing(gone as u64, gone as u64));
        assert_eq!((broken.good, broken.fault.clone()), expected, "{broken}");
    }
    // The last one: only a head that was noted elsewhere shows it.
    let directory = fast_directory();
    write_out(directory.path(), sample());
    let head = verify(directory.path()).unwrap().head.unwrap();
    assert_eq!(head.to_string().parse::<pgward::audit::Head>().unwrap(), head);
    verify_against(directory.path(), Some(head)).unwrap();
    let (name, bytes) = sample().last().unwrap();
    let end = bytes[..bytes.len() - 1]
        .iter()
        .rposition(|c| *c == b'\n')
        .map_or(0, |end| end + 1);
    write_segment(directory.path(), name, &bytes[..end]);
    verify(directory.path()).unwrap();
    assert_eq!(
        verify_against(directory.path(), Some(head)).unwrap_err().fault,
        Fault::CutOff
    );
}

/// A line that is sound in itself: what someone writes who knows the format.
fn forge(line: &[u8], edit: impl Fn(String) -> String) -> Vec<u8> {
    let link = Link::parse(line).unwrap();
    let body = edit(String::from_utf8(link.body.to_vec()).unwrap());
    let prev: Hash = body.split('"').nth(5).unwrap().parse().unwrap();
    let forged = format!("{body},\"hash\":\"{}\"}}", Hash::entry(prev, body.as_bytes())).into_bytes();
    assert!(Link::parse(&forged).unwrap().is_sound());
    forged
}

#[test]
fn forged_lines_are_found() {
    let all = lines();
    let edit = |body: String| body.replace("\"handler\":\"kim\"", "\"handler\":\"lee\"");
    // Replaced in place, with its own hash right: the next record does not link to it.
    let mut copy = all.clone();
    copy[2].1 = forge(&copy[2].1, edit);
    let broken = verify_lines(&copy).unwrap_err();
    assert_eq!(
        (broken.fault.clone(), broken.good, broken.index),
        (Fault::Replaced, 3, 3),
        "{broken}"
    );
    // Inserted with a right link and index: from there on there are two that follow record 1.
    let mut copy = all.clone();
    let inserted = (copy[2].0, forge(&copy[2].1, edit));
    copy.insert(2, inserted);
    let broken = verify_lines(&copy).unwrap_err();
    assert_eq!((broken.fault.clone(), broken.good), (Fault::Inserted, 3), "{broken}");
    // Inserted with a wrong link.
    let mut copy = all.clone();
    let wrong_link = |body: String| {
        format!(
            "{{\"index\":2,\"prev\":\"{}\"{}",
            "0".repeat(64),
            &body[body.find(",\"log\"").unwrap()..]
        )
    };
    let inserted = (copy[2].0, forge(&copy[2].1, wrong_link));
    copy.insert(2, inserted);
    let broken = verify_lines(&copy).unwrap_err();
    assert_eq!((broken.fault.clone(), broken.good), (Fault::Inserted, 2), "{broken}");
    // Of another log.
    let mut copy = all.clone();
    let other = |body: String| {
        let log = body.find("\"log\":\"").unwrap() + 7;
        format!("{}{}{}", &body[..log], uuid::Uuid::nil(), &body[log + 36..])
    };
    copy[3].1 = forge(&copy[3].1, other);
    assert_eq!(verify_lines(&copy).unwrap_err().fault, Fault::Foreign);
    // Written anew from the start: whole by itself, found by the noted head.
    let directory = fast_directory();
    write_out(directory.path(), sample());
    let head = verify(directory.path()).unwrap().head.unwrap();
    let mut prev = None;
    let mut bytes = Vec::new();
    for (_, line) in &all {
        let relink = |body: String| match prev {
            None => edit(body),
            Some(prev) => {
                let link = body.find("\"prev\":\"").unwrap() + 8;
                edit(format!("{}{prev}{}", &body[..link], &body[link + 64..]))
            }
        };
        let line = forge(line, relink);
        prev = Some(Link::parse(&line).unwrap().hash);
        bytes.extend_from_slice(&line);
        bytes.push(b'\n');
    }
    let directory = fast_directory();
    write_segment(directory.path(), &segment_name(0), &bytes);
    assert_eq!(verify(directory.path()).unwrap().records, all.len() as u64);
    assert_eq!(
        verify_against(directory.path(), Some(head)).unwrap_err().fault,
        Fault::OtherHead
    );
}

#[test]
fn faults_of_whole_segments_are_found() {
    let case = |edit: &dyn Fn(&mut Vec<(String, Vec<u8>)>)| {
        let directory = fast_directory();
        let mut copy = sample().to_vec();
        edit(&mut copy);
        write_out(directory.path(), &copy);
        verify(directory.path()).unwrap_err()
    };
    let first = case(&|segments| drop(segments.remove(0)));
    assert!(matches!(first.fault, Fault::Missing(0, _)), "{first}");
    let middle = case(&|segments| drop(segments.remove(1)));
    assert!(matches!(middle.fault, Fault::Missing(6, _)), "{middle}");
    let cut = case(&|segments| segments[0].1.truncate(100));
    assert_eq!((cut.fault.clone(), cut.good), (Fault::Truncated, 0), "{cut}");
    let emptied = case(&|segments| segments[1].1.clear());
    assert_eq!(emptied.fault, Fault::Truncated, "{emptied}");
    let renamed = case(&|segments| segments[1].0 = segment_name(7));
    assert_eq!((renamed.fault.clone(), renamed.good), (Fault::Renamed, 6), "{renamed}");
    let nothing = case(&|segments| segments.clear());
    assert_eq!(nothing.fault, Fault::NoJournal);
    assert_eq!(
        verify(Path::new("/nonexistent/journal")).unwrap_err().fault,
        Fault::Unreadable
    );
}

#[test]
fn a_crash_within_the_last_record_is_recovered_from_at_every_byte() {
    let directory = fast_directory();
    let journal = Journal::open(&options(directory.path())).unwrap();
    (1..4).for_each(|n| append(&journal, n).unwrap());
    let (name, bytes) = read_in(directory.path()).remove(0);
    drop(journal);
    let last = bytes[..bytes.len() - 1].iter().rposition(|c| *c == b'\n').unwrap() + 1;
    for cut in last..bytes.len() {
        let copy = fast_directory();
        write_segment(copy.path(), &name, &bytes[..cut]);
        let report = verify(copy.path()).unwrap();
        assert_eq!((report.records, report.unfinished), (3, (cut - last) as u64));
        let journal = Journal::open(&options(copy.path())).unwrap();
        append(&journal, 9).unwrap();
        drop(journal);
        let report = verify(copy.path()).unwrap_or_else(|broken| panic!("cut at {cut}: {broken}"));
        // Start, 1, 2; start, 9, stop.
        assert_eq!((report.records, report.unfinished), (6, 0));
        let next = fs::read_to_string(copy.path().join(segment_name(3))).unwrap();
        assert_eq!(next.contains("was cut off"), cut > last, "{next}");
        let kept: Vec<_> = fs::read_dir(copy.path())
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.starts_with("torn-"))
            .collect();
        match kept.as_slice() {
            [] => assert_eq!(cut, last),
            [kept] => assert_eq!(
                fs::read(copy.path().join(kept)).unwrap(),
                &bytes[last..cut],
                "what was cut is kept"
            ),
            more => panic!("{more:?}"),
        }
    }
}

/// Length without content: what some file systems leave behind a power loss.
#[test]
fn zeros_at_the_end_are_an_unfinished_line() {
    let directory = fast_directory();
    let mut copy = sample().to_vec();
    copy.last_mut().unwrap().1.extend_from_slice(&[0; 5_000]);
    write_out(directory.path(), &copy);
    let records = verify(directory.path()).unwrap().records;
    drop(Journal::open(&options(directory.path())).unwrap());
    assert_eq!(verify(directory.path()).unwrap().records, records + 2);
}

#[test]
fn a_journal_that_is_not_whole_is_not_appended_to() {
    let last = sample().len() - 1;
    for (segment, offset) in [(0, 300), (1, 300), (last, 20)] {
        let directory = fast_directory();
        let mut copy = sample().to_vec();
        copy[segment].1[offset] ^= 1;
        write_out(directory.path(), &copy);
        let error = Journal::open(&options(directory.path())).err().unwrap();
        assert!(
            error.message.contains("it is not whole") && error.message.contains(&copy[segment].0),
            "{error}"
        );
        // Only the newest segments are verified at the start where there is much; what is older, `verify` finds.
        let little = JournalOptions {
            verify_bytes: 1,
            ..options(directory.path())
        };
        assert_eq!(Journal::open(&little).is_ok(), segment < last, "segment {segment}");
        assert!(verify(directory.path()).is_err());
    }
}

#[test]
fn others_may_not_read_or_write_it() {
    let directory = fast_directory();
    let path = directory.path().join("journal");
    drop(Journal::open(&options(&path)).unwrap());
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let chmod = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(mode(path.clone()), 0o700);
    assert_eq!(mode(path.join(segment_name(0))), 0o600);
    assert_eq!(mode(path.join("lock")), 0o600);
    chmod(path.join(segment_name(0)), 0o640);
    assert!(
        Journal::open(&options(&path))
            .err()
            .unwrap()
            .message
            .contains("chmod 600")
    );
    chmod(path.join(segment_name(0)), 0o600);
    chmod(path.clone(), 0o750);
    assert!(
        Journal::open(&options(&path))
            .err()
            .unwrap()
            .message
            .contains("chmod 700")
    );
    chmod(path.clone(), 0o700);
    let journal = Journal::open(&options(&path)).unwrap();
    assert!(
        Journal::open(&options(&path))
            .err()
            .unwrap()
            .message
            .contains("another pgward")
    );
    journal.close();
    Journal::open(&options(&path)).expect("the lock goes with the journal");
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

/// A directory that vanishes while the journal is open: an unlinked or moved file can be written on, and all of it would be lost.
#[test]
fn a_vanished_directory_is_noticed_and_its_return_too() {
    let parent = disk_directory();
    let (path, away) = (parent.path().join("journal"), parent.path().join("away"));
    let journal = Journal::open(&options(&path)).unwrap();
    append(&journal, 1).unwrap();
    fs::rename(&path, &away).unwrap();
    assert!(append(&journal, 2).is_err());
    assert!(!journal.is_healthy());
    // An empty directory in its place is not the journal.
    fs::create_dir(&path).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(!journal.is_healthy());
    fs::remove_dir(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    wait_until("it recovers", || journal.is_healthy());
    append(&journal, 3).unwrap();
    drop(journal);
    verify(&path).unwrap();
    assert_eq!(subjects(&path), [1, 3].map(|n| format!("{n:032x}")).into());
}

struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_full_disk_refuses_and_recovers_by_itself() {
    let parent = disk_directory();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs"])
        .arg(parent.path())
        .stderr(Stdio::null())
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        eprintln!(
            "skipped: mounting a small tmpfs is not permitted here (the fault-injecting tests cover the same path)"
        );
        return;
    }
    let _mount = Mount(parent.path().to_owned());
    let path = parent.path().join("journal");
    let journal = Journal::open(&options(&path)).unwrap();
    let ballast = parent.path().join("ballast");
    fs::write(&ballast, vec![0; 100 << 10]).unwrap();
    let (mut acknowledged, mut error) = (BTreeSet::new(), None);
    for n in 0..2_000 {
        match append(&journal, n) {
            Ok(()) => drop(acknowledged.insert(format!("{n:032x}"))),
            Err(e) => {
                error = Some(e);
                break;
            }
        }
    }
    assert!(
        error.expect("the disk fills up").message.contains("os error 28"),
        "ENOSPC"
    );
    assert!(!journal.is_healthy());
    assert_eq!(
        verify(&path).unwrap().records,
        1 + acknowledged.len() as u64,
        "whole even now"
    );
    fs::remove_file(&ballast).unwrap();
    wait_until("it recovers", || journal.is_healthy());
    append(&journal, 5_000).unwrap();
    acknowledged.insert(format!("{:032x}", 5_000));
    drop(journal);
    verify(&path).unwrap();
    assert_eq!(subjects(&path), acknowledged);
}

const CHILD: &str = "PGWARD_TEST_JOURNAL_TO_WRITE";

/// The process that `a_killed_process_loses_nothing_acknowledged` starts and kills; does nothing by itself.
#[test]
fn process_that_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let journal = Journal::open(&options(Path::new(&directory))).unwrap();
    let (send, receive) = mpsc::channel();
    for n in 0.. {
        let send = send.clone();
        journal.append(
            record(n),
            Box::new(move |result| send.send((n, result.is_ok())).unwrap()),
        );
        // Thirty-two under way at any time.
        if n >= 32 {
            let (n, ok) = receive.recv().unwrap();
            assert!(ok);
            let mut out = std::io::stdout().lock();
            writeln!(out, "acknowledged {n:032x}").unwrap();
            out.flush().unwrap();
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    for wait in [30, 120, 300] {
        let directory = disk_directory();
        let path = directory.path().join("journal");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process_that_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut acknowledged = BTreeSet::new();
        let mut take = |line: &str| {
            // The harness prints its own words around ours; a line cut by the kill was not complete.
            if let Some((_, subject)) = line
                .split_once("acknowledged ")
                .filter(|(_, subject)| subject.len() == 32)
            {
                acknowledged.insert(subject.to_owned());
            }
        };
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(wait) {
            let mut line = String::new();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the child ended by itself");
            take(line.trim_end());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        output.lines().map_while(Result::ok).for_each(|line| take(&line));
        assert!(!acknowledged.is_empty());
        // Another process may go on at once: the lock died with its holder.
        let journal = Journal::open(&options(&path)).unwrap();
        append(&journal, u64::MAX).unwrap();
        drop(journal);
        verify(&path).unwrap();
        let found = subjects(&path);
        let lost = acknowledged.difference(&found).count();
        assert_eq!(lost, 0, "{lost} of {} are missing", acknowledged.len());
    }
}
