//! Crashes, full disks, vanished directories, loose modes: nothing acknowledged is lost, nothing broken is built on.

use super::*;
use std::io::{BufRead, BufReader, Write};

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

/// The process that `a_killed_process_loses_nothing_acknowledged` starts and kills.
#[test]
#[ignore = "runs only as that test's child"]
fn process_that_writes_until_it_is_killed() {
    let directory = std::env::var_os(CHILD).expect("the parent names the directory");
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
            .args([
                "--exact",
                "crash::process_that_writes_until_it_is_killed",
                "--ignored",
                "--nocapture",
            ])
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

/// A segment replaced by another file of its name: the open one can be written on, and all of it would be lost.
#[test]
fn a_replaced_segment_is_noticed() {
    let directory = disk_directory();
    let journal = Journal::open(&options(directory.path())).unwrap();
    append(&journal, 1).unwrap();
    let (name, bytes) = read_in(directory.path()).remove(0);
    write_segment(directory.path(), "copy", &bytes);
    fs::rename(directory.path().join("copy"), directory.path().join(&name)).unwrap();
    assert!(append(&journal, 2).unwrap_err().message.contains("was replaced"));
    // The copy holds all that was acknowledged, so the log goes on behind it.
    wait_until("it recovers", || journal.is_healthy());
    append(&journal, 3).unwrap();
    // One that holds less is not built on.
    let last = read_in(directory.path()).pop().unwrap().0;
    write_segment(directory.path(), "short", b"");
    fs::rename(directory.path().join("short"), directory.path().join(last)).unwrap();
    assert!(append(&journal, 4).is_err());
    std::thread::sleep(Duration::from_millis(100));
    assert!(
        journal
            .failure()
            .unwrap()
            .message
            .contains("shorter than what was acknowledged")
    );
}
