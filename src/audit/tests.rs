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
