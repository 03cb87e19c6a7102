//! `pgward audit` as people run it.

use pgward::audit::{
    AccessRecord, AuditAction, AuditDecision, AuditObject, How, Journal, JournalOptions, Origin, segment::segment_name,
};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, mpsc};

fn append(journal: &Journal, handler: &str, column: &str, decision: AuditDecision, edit: impl Fn(&mut AccessRecord)) {
    let now = jiff::Timestamp::now().as_microsecond();
    let mut record = AccessRecord {
        event_id: uuid::Uuid::now_v7(),
        part: 0,
        ts_start: now,
        ts_end: now,
        origin: Arc::new(Origin {
            handler: handler.into(),
            handler_kind: "staff".into(),
            login_role: handler.into(),
            auth_method: "scram-sha-256".into(),
            session_id: uuid::Uuid::now_v7(),
            client: None,
            client_cert_fp: None,
            application_name: "=HYPERLINK(\"http://evil\")\u{1b}[2J".into(),
            database: "shop".into(),
            purpose: Some("marketing".into()),
        }),
        action: AuditAction::Read,
        objects: vec![AuditObject {
            schema: "public".into(),
            table: "customers".into(),
            column: column.into(),
            category: "e-mail".into(),
            how: How::Clear,
        }],
        subjects: vec!["00ff".repeat(8)],
        subject_count: 1,
        aggregate: false,
        rows: Some(1),
        bytes: 20,
        decision,
        rule: "rule".into(),
        policy_version: "1".into(),
        sqlstate: String::new(),
        reason: String::new(),
        statement_fingerprint: "0123456789abcdef".into(),
        statement_text: "select email, 'two\nlines' from customers where id = $1".into(),
    };
    edit(&mut record);
    let (send, receive) = mpsc::channel();
    journal.append(record, Box::new(move |result| send.send(result).unwrap()));
    receive.recv().unwrap().unwrap();
}

fn pgward(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pgward"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A journal that is still open: the command reads beside it.
fn journal(parent: &Path) -> (Journal, String) {
    let directory = parent.join("journal");
    let journal = Journal::open(&JournalOptions::new(&directory)).unwrap();
    append(&journal, "kim", "email", AuditDecision::Allowed, |_| {});
    append(&journal, "lee", "email", AuditDecision::Masked, |_| {});
    append(&journal, "park", "phone", AuditDecision::Refused, |record| {
        record.reason = "denied".into();
        record.sqlstate = "42501".into();
        record.ts_start -= 3 * 3_600_000_000;
        record.ts_end -= 3 * 3_600_000_000;
    });
    (journal, directory.to_str().unwrap().to_owned())
}

#[test]
fn verify_proves_and_names_the_first_bad_record() {
    let parent = tempfile::tempdir().unwrap();
    let (_journal, directory) = journal(parent.path());
    let output = pgward(&["audit", "verify", "--journal", &directory]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        stdout(&output).contains("records  4 in 1 segments") && stdout(&output).contains("WHOLE"),
        "{output:?}"
    );
    let head = stdout(&output)
        .lines()
        .find_map(|line| line.strip_prefix("head     "))
        .unwrap()
        .to_owned();
    let output = pgward(&[
        "audit",
        "verify",
        "--journal",
        &directory,
        "--expect-head",
        &head,
        "--json",
    ]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (json["whole"].as_bool(), json["head"].as_str()),
        (Some(true), Some(head.as_str()))
    );

    let segment = parent.path().join("journal").join(segment_name(0));
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replace("\"handler\":\"lee\"", "\"handler\":\"kim\"")).unwrap();
    let output = pgward(&["audit", "verify", "--journal", &directory]);
    assert_eq!(output.status.code(), Some(1));
    let said = stdout(&output);
    assert!(
        said.contains("BROKEN") && said.contains("line 3 (record 2)") && said.contains("altered"),
        "{said}"
    );
    assert!(said.contains("2 records before it are whole"), "{said}");
    let output = pgward(&["audit", "show", "--journal", &directory, "--format", "json"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "an altered record is not shown as a good one"
    );
    assert_eq!(stdout(&output).lines().count(), 3);

    let without: String = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    std::fs::write(&segment, without).unwrap();
    assert!(
        pgward(&["audit", "verify", "--journal", &directory]).status.success(),
        "a cut end alone can't be seen"
    );
    let output = pgward(&["audit", "verify", "--journal", &directory, "--expect-head", &head]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("its end was cut off"), "{output:?}");
}

#[test]
fn show_filters_and_prints_in_every_format() {
    let parent = tempfile::tempdir().unwrap();
    let (journal, directory) = journal(parent.path());
    let show = |more: &[&str]| pgward(&[&["audit", "show", "--journal", &directory], more].concat());
    let count = |more: &[&str]| stdout(&show(&[more, &["--format", "json"]].concat())).lines().count();
    assert_eq!(count(&[]), 4);
    assert_eq!(count(&["--handler", "kim"]), 1);
    assert_eq!(count(&["--decision", "refused"]), 1);
    assert_eq!(count(&["--table", "customers", "--column", "email"]), 2);
    assert_eq!(count(&["--action", "log"]), 1);
    assert_eq!(count(&["--since", "2h"]), 3);
    assert_eq!(count(&["--until", "2h"]), 1);
    assert_eq!(count(&["--limit", "2"]), 2);
    // The lines as they are, in order, so that an independent verifier can take them.
    let segment = parent.path().join("journal").join(segment_name(0));
    assert_eq!(
        stdout(&show(&["--format", "json"])),
        std::fs::read_to_string(segment).unwrap()
    );

    let table = show(&[]);
    let text = stdout(&table);
    assert!(
        text.contains("refused: denied") && text.contains("public.customers: phone (clear)"),
        "{text}"
    );
    assert!(text.contains("journal started") && !text.contains('\u{1b}'), "{text}");
    assert!(stdout(&show(&["--handler", "nobody"])).contains("no record matches"));
    assert!(stderr(&show(&["--limit", "1"])).contains("the newest 1 of 4"));

    let csv = show(&["--format", "csv", "--handler", "kim"]);
    let csv = stdout(&csv);
    assert!(csv.starts_with("index,log,node,"), "{csv}");
    assert!(csv.contains("\"'=HYPERLINK(\"\"http://evil\"\")"), "{csv}");
    assert!(
        csv.contains("\"select email, 'two\nlines' from customers where id = $1\""),
        "{csv}"
    );
    drop(journal);
}

#[test]
fn the_journal_is_found_through_the_policy_file_and_mistakes_are_explained() {
    let parent = tempfile::tempdir().unwrap();
    let (_journal, directory) = journal(parent.path());
    let config = parent.path().join("pgward.toml");
    std::fs::write(
        &config,
        format!("version = \"1\"\n[journal]\ndirectory = {directory:?}\n"),
    )
    .unwrap();
    let output = pgward(&["audit", "verify", "--config", config.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let output = pgward(&["audit", "show", "--config", "/nonexistent.toml"]);
    assert!(
        output.status.code() == Some(1) && stderr(&output).contains("--journal"),
        "{output:?}"
    );
    let empty = tempfile::tempdir().unwrap();
    let output = pgward(&["audit", "show", "--journal", empty.path().to_str().unwrap()]);
    assert!(
        output.status.code() == Some(1) && stderr(&output).contains("holds no journal"),
        "{output:?}"
    );
    let output = pgward(&["audit", "verify", "--journal", empty.path().to_str().unwrap()]);
    assert!(
        output.status.code() == Some(1) && stdout(&output).contains("BROKEN"),
        "{output:?}"
    );
    assert_eq!(pgward(&["audit", "show", "--since", "someday"]).status.code(), Some(2));
    assert_eq!(
        pgward(&["audit", "verify", "--expect-head", "7"]).status.code(),
        Some(2)
    );
}

/// `pgward audit show | head -1`: the reader goes away, and that is no error.
#[test]
fn a_closed_pipe_is_no_error() {
    let parent = tempfile::tempdir().unwrap();
    let (journal, directory) = journal(parent.path());
    for _ in 0..200 {
        append(&journal, "kim", "email", AuditDecision::Allowed, |record| {
            record.statement_text = "x".repeat(2_000).into();
        });
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_pgward"))
        .args(["audit", "show", "--format", "json", "--journal", &directory])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
