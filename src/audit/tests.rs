//! What the parts of the journal promise, on real files in temporary directories.

use super::entry::Link;
use super::*;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, mpsc};

pub(super) fn record(n: u64) -> AccessRecord {
    AccessRecord {
        event_id: uuid::Uuid::now_v7(),
        part: 0,
        ts_start: 1_767_225_600_000_000 + n as i64,
        ts_end: 1_767_225_600_000_100 + n as i64,
        origin: Arc::new(Origin {
            handler: "kim".into(),
            handler_kind: "staff".into(),
            login_role: "kim".into(),
            auth_method: "scram-sha-256".into(),
            session_id: uuid::Uuid::from_u128(7),
            client: Some(SocketAddr::from((Ipv4Addr::new(10, 0, 0, 9), 50_000))),
            client_cert_fp: None,
            application_name: "psql \"x\"\n".into(),
            database: "shop".into(),
            purpose: Some("customer-management".into()),
        }),
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

/// A temporary directory that a journal accepts.
pub(super) fn private_directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

pub(super) fn options(directory: &Path) -> JournalOptions {
    JournalOptions {
        node: "test".into(),
        ..JournalOptions::new(directory)
    }
}

/// Appends and waits for the answer.
pub(super) fn append(journal: &Journal, n: u64) -> Result<(), JournalError> {
    let (send, receive) = mpsc::channel();
    journal.append(record(n), Box::new(move |result| send.send(result).unwrap()));
    receive.recv().expect("an answer")
}

#[test]
fn a_record_is_on_disk_when_it_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(&options(&directory.path().join("journal"))).unwrap();
    append(&journal, 1).unwrap();
    assert!(journal.is_healthy());
    let report = verify(&directory.path().join("journal")).unwrap();
    assert_eq!(report.records, 2);
    journal.close();
    let report = verify(&directory.path().join("journal")).unwrap();
    assert_eq!(report.records, 3);
    assert!(append(&journal, 2).unwrap_err().message.contains("closed"));
    let journal = Journal::open(&options(&directory.path().join("journal"))).unwrap();
    append(&journal, 3).unwrap();
    drop(journal);
    let report = verify(&directory.path().join("journal")).unwrap();
    assert_eq!((report.records, report.segments), (6, 2));
    let text = std::fs::read_to_string(directory.path().join("journal").join(segment::segment_name(0))).unwrap();
    let entry: Entry = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!((entry.index, entry.handler.as_str(), entry.rows), (1, "kim", Some(1)));
    assert!(Link::parse(text.lines().nth(1).unwrap().as_bytes()).unwrap().is_sound());
}

#[test]
fn records_expire_on_the_same_date_years_later() {
    let micros = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let two = RetentionClass::Access2y;
    assert_eq!(
        two.expires_at(micros("2026-03-01T12:00:00.000001Z")),
        micros("2028-03-01T12:00:00.000001Z")
    );
    assert_eq!(
        two.expires_at(micros("2028-02-29T00:00:00Z")),
        micros("2030-02-28T00:00:00Z")
    );
    assert_eq!(
        RetentionClass::Access1y.expires_at(micros("2026-12-31T23:59:59Z")),
        micros("2027-12-31T23:59:59Z")
    );
    assert_eq!(two.expires_at(i64::MAX), i64::MAX, "never, rather than at once");
    assert_eq!("access-1y".parse::<RetentionClass>().unwrap(), RetentionClass::Access1y);
    assert!(
        "access-6m"
            .parse::<RetentionClass>()
            .unwrap_err()
            .message
            .contains("less than a year")
    );
}

#[test]
fn an_event_says_who_caused_it_and_what_it_was() {
    let directory = private_directory();
    let journal = Journal::open(&options(directory.path())).unwrap();
    let (send, receive) = mpsc::channel();
    let (origin, version) = (record(1).origin, Arc::from("7"));
    let ack = Box::new(move |result| send.send(result).unwrap());
    journal.append_event(
        AuditAction::Rights,
        Some(origin),
        &version,
        "support may read public.customers.phone".into(),
        ack,
    );
    receive.recv().unwrap().unwrap();
    drop(journal);
    let mut found = None;
    read(directory.path(), &mut |reading| {
        if let Reading::Good(_, entry) = reading
            && entry.action == AuditAction::Rights
        {
            found = Some(entry);
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let found = found.unwrap();
    assert_eq!((found.handler.as_str(), found.policy_version.as_str()), ("kim", "7"));
    assert_eq!(found.note.as_deref(), Some("support may read public.customers.phone"));
    let (end, expires) = (
        found.ts_end.unwrap().as_microsecond(),
        found.expires_at.unwrap().as_microsecond(),
    );
    assert_eq!(expires, RetentionClass::Access2y.expires_at(end));
}

proptest::proptest! {
    /// A line may be anything: it is taken apart or refused, and what is taken apart is spelled in the one right way.
    #[test]
    fn any_bytes_can_be_looked_at(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        proptest::prop_assert!(Link::parse(&bytes).is_none());
        let _ = Hash::genesis(uuid::Uuid::nil()).to_string().parse::<Hash>().unwrap();
    }

    #[test]
    fn near_lines_are_refused_or_equal(cut in 0_usize..1_000, at in 0_usize..1_000, byte in proptest::prelude::any::<u8>()) {
        let mut line = Vec::new();
        let stamp = entry::Stamp { node: "n".into(), retention_class: RetentionClass::Access2y };
        entry::Chain::new().push(&stamp, &entry::Item::Access(Box::new(record(1))), &mut line).unwrap();
        line.pop();
        proptest::prop_assert!(Link::parse(&line).unwrap().is_sound());
        let mut other = line.clone();
        other.truncate(line.len() - cut.min(line.len()));
        if let Some(place) = other.get_mut(at) {
            *place = byte;
        }
        let sound = Link::parse(&other).is_some_and(|link| link.is_sound());
        proptest::prop_assert_eq!(sound, other == line);
    }
}
