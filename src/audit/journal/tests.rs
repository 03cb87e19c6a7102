//! Disks that fail, in every way that they can, between an append and its answer.

use super::*;
use crate::audit::segment::SegmentFile;
use crate::audit::tests::{append, options, private_directory, record};
use crate::audit::{Reading, read, verify};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc;

/// What fails from now on.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// After this many bytes of an append.
    append: Option<usize>,
    sync: bool,
    create: bool,
    open: bool,
    truncate: bool,
    /// Syncs wait as long as this is set.
    stuck: bool,
}

type Switch = Arc<(Mutex<Faults>, Condvar)>;

struct Faulty {
    inner: Directory,
    faults: Switch,
}

struct FaultyFile {
    inner: Box<dyn SegmentFile>,
    faults: Switch,
}

fn set(switch: &Switch, faults: Faults) {
    *lock(&switch.0) = faults;
    switch.1.notify_all();
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, format!("injected: {what}"))
}

impl Faulty {
    fn wrap(&self, inner: Box<dyn SegmentFile>) -> Box<dyn SegmentFile> {
        Box::new(FaultyFile {
            inner,
            faults: Arc::clone(&self.faults),
        })
    }
}

impl Storage for Faulty {
    fn create(&mut self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        if lock(&self.faults.0).create {
            return Err(broken("create"));
        }
        let file = self.inner.create(name)?;
        Ok(self.wrap(file))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        if lock(&self.faults.0).open {
            return Err(broken("open"));
        }
        let file = self.inner.open(name)?;
        Ok(self.wrap(file))
    }
}

impl SegmentFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fail = lock(&self.faults.0).append;
        match fail {
            Some(after) => {
                self.inner.append(&bytes[..after.min(bytes.len())])?;
                Err(broken("append"))
            }
            None => self.inner.append(bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut faults = lock(&self.faults.0);
        while faults.stuck {
            faults = self.faults.1.wait(faults).unwrap();
        }
        if faults.sync {
            return Err(broken("sync"));
        }
        drop(faults);
        self.inner.sync()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        if lock(&self.faults.0).truncate {
            return Err(broken("truncate"));
        }
        self.inner.truncate(len)
    }
}

fn open_faulty(options: &JournalOptions, faults: Faults) -> Result<(Journal, Switch), JournalError> {
    let switch = Switch::default();
    set(&switch, faults);
    let inner = Directory::open(&options.directory)?;
    let found = open::examine(&inner, options)?;
    let journal = Journal::start(
        Box::new(Faulty {
            inner,
            faults: Arc::clone(&switch),
        }),
        options,
        found,
    )?;
    Ok((journal, switch))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The subjects of all access records on disk: each test record has one of its own.
fn on_disk(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    read(directory, &mut |reading| {
        match reading {
            Reading::Good(_, entry) => found.extend(entry.subjects.iter().cloned()),
            Reading::Bad(what) => panic!("{what}"),
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

fn quick(directory: &Path) -> JournalOptions {
    JournalOptions {
        retry: Duration::from_millis(2),
        ..options(directory)
    }
}

#[test]
fn every_kind_of_fault_is_told_and_recovered_from_without_a_client() {
    let kinds = [
        Faults {
            append: Some(0),
            ..Faults::default()
        },
        Faults {
            append: Some(100),
            ..Faults::default()
        },
        Faults {
            append: Some(usize::MAX),
            ..Faults::default()
        },
        Faults {
            sync: true,
            ..Faults::default()
        },
        Faults {
            append: Some(100),
            truncate: true,
            ..Faults::default()
        },
        Faults {
            sync: true,
            truncate: true,
            open: true,
            create: true,
            ..Faults::default()
        },
    ];
    for faults in kinds {
        let directory = private_directory();
        let (journal, switch) = open_faulty(&quick(directory.path()), Faults::default()).unwrap();
        append(&journal, 1).unwrap();
        set(&switch, faults);
        let error = append(&journal, 2).unwrap_err();
        assert!(error.message.contains("injected"), "{faults:?}: {error}");
        assert!(!journal.is_healthy());
        assert!(journal.failure().is_some());
        // Refused at once, without being tried.
        assert!(append(&journal, 3).is_err());
        std::thread::sleep(Duration::from_millis(10));
        assert!(!journal.is_healthy(), "{faults:?}: attempts fail too");
        set(&switch, Faults::default());
        wait_until("it recovers by itself", || journal.is_healthy());
        append(&journal, 4).unwrap();
        journal.close();
        verify(directory.path()).unwrap();
        let subjects = on_disk(directory.path());
        assert_eq!(subjects, [format!("{:032x}", 1), format!("{:032x}", 4)], "{faults:?}");
        let notes = std::fs::read_to_string(directory.path().join(crate::audit::segment::segment_name(2))).unwrap();
        assert!(
            notes.contains("writable again") && notes.contains("injected"),
            "{notes}"
        );
    }
}

#[test]
fn a_segment_that_cannot_be_begun_fails_the_batch_only() {
    let directory = private_directory();
    let options = JournalOptions {
        segment_bytes: 1,
        ..quick(directory.path())
    };
    let (journal, switch) = open_faulty(&options, Faults::default()).unwrap();
    append(&journal, 1).unwrap();
    set(
        &switch,
        Faults {
            create: true,
            ..Faults::default()
        },
    );
    assert!(append(&journal, 2).is_err());
    set(&switch, Faults::default());
    wait_until("it recovers by itself", || journal.is_healthy());
    append(&journal, 3).unwrap();
    drop(journal);
    let report = verify(directory.path()).unwrap();
    // Start, 1, recovery, 3, stop; each in a segment of its own.
    assert_eq!((report.records, report.segments), (5, 5));
}

#[test]
fn a_disk_that_fails_at_the_start_stops_it() {
    let directory = private_directory();
    let error = open_faulty(
        &quick(directory.path()),
        Faults {
            sync: true,
            ..Faults::default()
        },
    )
    .err()
    .unwrap();
    assert!(error.message.contains("can't be written"), "{error}");
    // What the attempt left does not hinder the next one.
    let journal = Journal::open(&quick(directory.path())).unwrap();
    append(&journal, 1).unwrap();
    drop(journal);
    assert_eq!(verify(directory.path()).unwrap().records, 3);
}

#[test]
fn a_full_queue_refuses_and_the_lag_shows() {
    let directory = private_directory();
    let options = JournalOptions {
        queue_records: 4,
        ..quick(directory.path())
    };
    let (journal, switch) = open_faulty(&options, Faults::default()).unwrap();
    set(
        &switch,
        Faults {
            stuck: true,
            ..Faults::default()
        },
    );
    let (send, receive) = mpsc::channel();
    let push = |n| {
        let send = send.clone();
        journal.append(
            record(n),
            Box::new(move |result| send.send((n, result.is_ok())).unwrap()),
        );
    };
    push(0);
    wait_until("the thread has it", || {
        lock(&journal.handle.shared.queue).items.is_empty()
    });
    (1..=4).for_each(push);
    assert_eq!(journal.lag().records, 5);
    wait_until("it ages", || journal.lag().oldest > Duration::from_millis(3));
    push(5);
    assert_eq!(receive.recv().unwrap(), (5, false), "refused at once");
    assert!(journal.is_healthy(), "full is not failed");
    set(&switch, Faults::default());
    let mut rest: Vec<_> = receive.iter().take(5).collect();
    rest.sort_unstable();
    assert_eq!(rest, (0..5).map(|n| (n, true)).collect::<Vec<_>>());
    wait_until("nothing lags", || journal.lag() == Lag::default());
    let by_bytes = JournalOptions {
        queue_bytes: 10,
        ..quick(&directory.path().join("other"))
    };
    let (journal, _) = open_faulty(&by_bytes, Faults::default()).unwrap();
    assert!(append(&journal, 1).unwrap_err().message.contains("wait for the disk"));
}

#[test]
fn acks_may_panic_append_and_drop_the_journal() {
    let directory = private_directory();
    let journal = Journal::open(&quick(directory.path())).unwrap();
    journal.append(record(1), Box::new(|_| panic!("an ack's own fault")));
    let (send, receive) = mpsc::channel();
    let again = journal.clone();
    journal.append(
        record(2),
        Box::new(move |_| {
            let last = again.clone();
            again.append(
                record(3),
                Box::new(move |result| {
                    drop(last);
                    send.send(result.is_ok()).unwrap();
                }),
            );
        }),
    );
    drop(journal);
    assert!(receive.recv().unwrap());
    // The thread ends by itself; its stop record is the last.
    wait_until("it is closed", || {
        verify(directory.path()).is_ok_and(|report| report.records == 5 && report.unfinished == 0)
    });
}

#[test]
fn a_record_beyond_the_longest_line_is_refused_alone() {
    let directory = private_directory();
    let journal = Journal::open(&quick(directory.path())).unwrap();
    let mut long = record(1);
    long.statement_text = "\u{1}".repeat(crate::audit::entry::MAX_LINE / 6).into();
    let (send, receive) = mpsc::channel();
    journal.append(long, Box::new(move |result| send.send(result).unwrap()));
    assert!(receive.recv().unwrap().unwrap_err().message.contains("too long"));
    append(&journal, 2).unwrap();
    drop(journal);
    assert_eq!(verify(directory.path()).unwrap().records, 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever fails when: what was acknowledged is there, what was refused is not, and the log is whole, also at the next start.
    #[test]
    fn what_was_acknowledged_and_nothing_else_is_on_disk(
        steps in prop::collection::vec((0_u8..8, 0_usize..3_000, 1_usize..6), 1..25),
        segment_bytes in prop_oneof![Just(1_u64), Just(3_000), Just(64 << 20)],
    ) {
        let directory = private_directory();
        let options = JournalOptions { segment_bytes, ..quick(directory.path()) };
        let (journal, switch) = open_faulty(&options, Faults::default()).unwrap();
        let (send, receive) = mpsc::channel();
        let mut n = 0;
        for (kind, after, records) in steps {
            set(&switch, match kind {
                0 => Faults { append: Some(after), ..Faults::default() },
                1 => Faults { sync: true, ..Faults::default() },
                2 => Faults { append: Some(after), truncate: true, ..Faults::default() },
                3 => Faults { create: true, sync: after % 2 == 0, ..Faults::default() },
                _ => Faults::default(),
            });
            for _ in 0..records {
                n += 1;
                let (send, subject) = (send.clone(), format!("{n:032x}"));
                journal.append(record(n), Box::new(move |result| send.send((subject, result.is_ok())).unwrap()));
            }
            std::thread::sleep(Duration::from_micros(after as u64));
        }
        set(&switch, Faults::default());
        let answers: Vec<_> = receive.iter().take(n as usize).collect();
        wait_until("it is healthy", || journal.is_healthy());
        drop(journal);
        let acknowledged: BTreeSet<_> = answers.into_iter().filter(|(_, ok)| *ok).map(|(subject, _)| subject).collect();
        verify(directory.path()).unwrap();
        let found = on_disk(directory.path());
        prop_assert_eq!(found.len(), acknowledged.len());
        prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), acknowledged);
        drop(Journal::open(&options).unwrap());
        verify(directory.path()).unwrap();
    }
}
