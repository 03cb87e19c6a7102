//! Scripted sequences of the extended protocol, on a plain database and through pgward: every message that comes back must be the same.
//! What a statement means is compared in `differential.rs`; here it is the protocol's own states.

mod support;

use std::time::Duration;
use support::pair::{Pair, comparable};
use support::raw::{Message, Raw, Send, error};

fn text(value: &str) -> Option<Vec<u8>> {
    Some(value.as_bytes().to_vec())
}

const BY_EMAIL: &str = "SELECT id, name FROM people WHERE email = $1";
const ALL: &str = "SELECT id, email, name, birth FROM people ORDER BY id";

#[test]
fn a_pipeline_of_many_statements_with_one_sync() {
    let mut pair = Pair::new();
    let mut messages = vec![Send::Parse("s", BY_EMAIL, vec![]), Send::DescribeStatement("s")];
    for n in 1..=9 {
        messages.push(Send::Bind(
            "",
            "s",
            vec![],
            vec![text(&format!("p{n}@example.com"))],
            vec![],
        ));
        messages.push(Send::Execute("", 0));
    }
    messages.push(Send::Sync);
    let answers = pair.same(&messages, 1);
    assert_eq!(answers.iter().filter(|m| matches!(m, Message::DataRow(_))).count(), 9);
}

#[test]
fn wire_11_answers_come_promptly_after_flush() {
    let mut pair = Pair::new();
    for raw in [&mut pair.plain, &mut pair.sealed] {
        raw.send(&[
            Send::Parse("s", BY_EMAIL, vec![]),
            Send::DescribeStatement("s"),
            Send::Flush,
        ]);
        let answers = raw.take(3);
        assert!(
            matches!(answers.last(), Some(Message::RowDescription(_))),
            "{answers:?}"
        );
        raw.send(&[
            Send::Bind("", "s", vec![], vec![text("p1@example.com")], vec![]),
            Send::Execute("", 0),
            Send::Flush,
        ]);
        let answers = raw.take(3);
        assert!(
            matches!(answers.last(), Some(Message::CommandComplete(_))),
            "{answers:?}"
        );
        raw.send(&[Send::Sync]);
        assert_eq!(raw.until_ready(), [Message::Ready('I')]);
    }
}

#[test]
fn wire_23_portals_with_a_row_limit_interleave() {
    let mut pair = Pair::new();
    pair.same(&[Send::Query("BEGIN")], 1);
    pair.same(
        &[
            Send::Parse("all", ALL, vec![]),
            Send::Bind("a", "all", vec![], vec![], vec![]),
            Send::Bind("b", "all", vec![], vec![], vec![1]),
            Send::DescribePortal("b"),
            Send::Execute("a", 3),
            Send::Execute("b", 4),
            Send::Execute("a", 3),
            Send::Sync,
            Send::Execute("b", 100),
            Send::Execute("a", 0),
            Send::Execute("a", 0),
            Send::ClosePortal("a"),
            Send::Execute("a", 0),
            Send::Sync,
            Send::Sync,
        ],
        3,
    );
    pair.same(&[Send::Query("ROLLBACK")], 1);
}

#[test]
fn wire_13_after_an_error_everything_is_discarded_until_sync() {
    let mut pair = Pair::new();
    pair.same(
        &[
            Send::Parse("", "SELECT 1/0, name FROM people", vec![]),
            Send::Bind("", "", vec![], vec![], vec![]),
            Send::Execute("", 0),
            Send::Parse("never", ALL, vec![]),
            Send::Bind("", "never", vec![], vec![], vec![]),
            Send::Execute("", 0),
            Send::Sync,
            Send::Bind("", "never", vec![], vec![], vec![]),
            Send::Sync,
            Send::Parse("", ALL, vec![]),
            Send::Bind("", "", vec![], vec![], vec![]),
            Send::Execute("", 2),
            Send::Sync,
        ],
        3,
    );
}

#[test]
fn wire_14_a_refused_statement_discards_until_sync_too_and_rolls_the_implicit_transaction_back() {
    let mut pair = Pair::new();
    let refused = "SELECT id FROM people WHERE birth > '2000-01-01'";
    let raw = &mut pair.sealed;
    raw.send(&[
        Send::Parse("", "UPDATE people SET name = 'lost' WHERE id = 1", vec![]),
        Send::Bind("", "", vec![], vec![], vec![]),
        Send::Execute("", 0),
        Send::Parse("", refused, vec![]),
        Send::Bind("", "", vec![], vec![], vec![]),
        Send::Execute("", 0),
        Send::Parse("", "SELECT 1", vec![]),
        Send::Sync,
    ]);
    let answers = raw.until_ready();
    let refusal = error(&answers).expect("a refusal");
    assert_eq!((refusal.sqlstate.as_str(), refusal.anchor()), ("0A000", Some("range")));
    // Parse, Bind and Execute of the UPDATE, the error, and nothing else until ReadyForQuery.
    assert!(
        matches!(&answers[2], Message::CommandComplete(tag) if tag == "UPDATE 1"),
        "{answers:?}"
    );
    assert_eq!(answers.len(), 5, "{answers:?}");
    assert_eq!(answers.last(), Some(&Message::Ready('I')));
    let name = pair.sealed.rows("SELECT name FROM people WHERE id = 1");
    assert_eq!(name, [[Some("Person 1".to_owned())]]);
}

#[test]
fn wire_19_wire_20_names_of_statements_and_portals() {
    let mut pair = Pair::new();
    pair.same(
        &[
            Send::Parse("x", ALL, vec![]),
            Send::Bind("x", "x", vec![], vec![], vec![]),
            Send::CloseStatement("absent"),
            Send::ClosePortal("absent"),
            Send::DescribePortal("x"),
            Send::Sync,
            // A live named statement can't be parsed again.
            Send::Parse("x", BY_EMAIL, vec![]),
            Send::Sync,
            Send::CloseStatement("x"),
            Send::Parse("x", BY_EMAIL, vec![]),
            Send::DescribeStatement("x"),
            Send::Sync,
            // The unnamed one is gone even when the new text is wrong.
            Send::Parse("", ALL, vec![]),
            Send::Sync,
            Send::Parse("", "SELEC", vec![]),
            Send::Sync,
            Send::DescribeStatement(""),
            Send::Sync,
            Send::Bind("", "nowhere", vec![], vec![], vec![]),
            Send::Sync,
            Send::Execute("nowhere", 0),
            Send::Sync,
        ],
        8,
    );
}

#[test]
fn wire_22_formats_mixed_by_column_and_by_parameter() {
    let mut pair = Pair::new();
    pair.same(
        &[
            Send::Parse(
                "",
                "SELECT id, name, birth FROM people WHERE email = $1 AND id = $2",
                vec![0, 23],
            ),
            Send::DescribeStatement(""),
            Send::Bind(
                "",
                "",
                vec![0, 1],
                vec![text("p3@example.com"), Some(vec![0, 0, 0, 3])],
                vec![1, 0, 1],
            ),
            Send::DescribePortal(""),
            Send::Execute("", 0),
            Send::Bind(
                "",
                "",
                vec![1, 0],
                vec![text("p3@example.com"), text("3")],
                vec![0, 1, 0],
            ),
            Send::Execute("", 0),
            Send::Bind("", "", vec![], vec![None, text("3")], vec![]),
            Send::Execute("", 0),
            Send::Sync,
            // Too few parameters, and a wrong number of formats.
            Send::Bind("", "", vec![], vec![text("x")], vec![]),
            Send::Sync,
        ],
        2,
    );
}

#[test]
fn wire_25_empty_queries_and_scripts() {
    let mut pair = Pair::new();
    pair.same(&[Send::Query("")], 1);
    pair.same(&[Send::Query(" ; -- nothing\n")], 1);
    pair.same(&[Send::Query("SELECT name FROM people WHERE id = 1;; SELECT 2; ")], 1);
    pair.same(
        &[
            Send::Parse("", "", vec![]),
            Send::DescribeStatement(""),
            Send::Bind("", "", vec![], vec![], vec![]),
            Send::Execute("", 0),
            Send::Sync,
        ],
        1,
    );
    pair.same(
        &[
            Send::Query("SELECT id FROM people WHERE id = 1"),
            Send::Query("SELECT 2"),
            Send::Sync,
        ],
        3,
    );
}

#[test]
fn frames_may_arrive_in_pieces_of_any_size() {
    let mut pair = Pair::new();
    let messages = [
        Send::Parse("", BY_EMAIL, vec![]),
        Send::DescribeStatement(""),
        Send::Bind("", "", vec![], vec![text("p7@example.com")], vec![]),
        Send::Execute("", 0),
        Send::Sync,
        Send::Query("SELECT name FROM people WHERE email = 'p8@example.com'"),
    ];
    let whole = pair.same(&messages, 2);
    for step in [1, 2, 3, 5, 7, 13] {
        pair.sealed.send_split(&messages, step);
        let answers: Vec<Message> = (0..2).flat_map(|_| comparable(pair.sealed.until_ready())).collect();
        assert_eq!(whole, answers, "in pieces of {step}");
    }
}

#[test]
fn wire_32_a_malformed_frame_is_an_error_and_the_end_and_others_go_on() {
    let pair = Pair::new();
    let cases: [&[u8]; 5] = [
        b"Q\0\0\0\x02",                 // shorter than its own length
        b"P\0\0\0\x08abcd",             // no NUL
        b"B\0\0\0\x0a\0\0\0\x01\0\x05", // formats announced and not there
        b"D\0\0\0\x06X\0",              // neither statement nor portal
        b"Q\0\0\0\x0eSELECT 1\0x",      // bytes behind the end
    ];
    for case in cases {
        let mut raw = Raw::connect(pair.world.port, "app", "app");
        raw.send_bytes(case);
        raw.send(&[Send::Sync]);
        let mut answers = Vec::new();
        while let Some(message) = raw.next() {
            let more = !matches!(message, Message::Ready(_));
            answers.push(message);
            if !more {
                break;
            }
        }
        let fault = error(&answers).unwrap_or_else(|| panic!("no error for {case:?}: {answers:?}"));
        assert!(
            fault.sqlstate.starts_with("08") || fault.sqlstate == "42601",
            "{case:?}: {fault:?}"
        );
    }
    let mut raw = Raw::connect(pair.world.port, "app", "app");
    assert_eq!(raw.rows("SELECT 1"), [[Some("1".to_owned())]]);
}

#[test]
fn wire_40_notifications_reach_an_idle_client() {
    let mut pair = Pair::new();
    pair.sealed.query("LISTEN here");
    assert!(pair.sealed.is_silent(Duration::from_millis(200)));
    pair.world.cluster.sql("app", "NOTIFY here, 'hello'").expect("NOTIFY");
    let Some(Message::Other('A', body)) = pair.sealed.next() else {
        panic!("no NotificationResponse");
    };
    assert!(body.windows(5).any(|w| w == b"hello"));
}

#[test]
fn wire_28_the_function_call_message_is_refused_where_columns_are_protected() {
    let pair = Pair::new();
    let mut raw = Raw::connect(pair.world.port, "app", "app");
    // pg_backend_pid(), OID 2026, no arguments.
    raw.send(&[Send::Frame(b'F', &[0, 0, 0x07, 0xEA, 0, 0, 0, 0, 0, 0])]);
    let answers = raw.until_ready();
    assert_eq!(
        error(&answers).and_then(|e| e.anchor()),
        Some("protocol"),
        "{answers:?}"
    );
    assert_eq!(raw.rows("SELECT 1"), [[Some("1".to_owned())]]);
}

#[test]
fn parameters_are_described_as_by_the_server() {
    let mut pair = Pair::new();
    for condition in [
        "email = $1",
        "$1 = email",
        "email <> $1",
        "email IN ($1)",
        "email IN ($1, $2)",
        "email NOT IN ($1, $2)",
        "email IN ($1, 'p1@example.com')",
        "email IN ('p1@example.com', NULL, $1)",
        "email IN ($1, $2::text)",
        "email = ANY($1)",
        "email = ANY(ARRAY[$1, $2])",
        "email = $1 OR email IN ($1, $2)",
        "phone IN ($1, $2)",
    ] {
        let sql = format!("SELECT id FROM people WHERE {condition} ORDER BY id");
        let parse = || Send::Parse("", &sql, vec![]);
        pair.same(&[parse(), Send::DescribeStatement(""), Send::Sync], 1);
        if !condition.contains("ANY") {
            // Longer than the column is nothing that can't be compared.
            let long = "x".repeat(70);
            let values = [text(&long), text("p1@example.com")];
            let count = if condition.contains("$2") { 2 } else { 1 };
            pair.same(
                &[
                    parse(),
                    Send::Bind("", "", vec![], values[..count].to_vec(), vec![]),
                    Send::Execute("", 0),
                    Send::Sync,
                ],
                1,
            );
        }
    }
}

#[test]
fn prepared_statements_end_as_on_the_server_when_sql_takes_them_away() {
    let mut pair = Pair::new();
    let prepare = |name| Send::Parse(name, BY_EMAIL, vec![]);
    let bind = |name| Send::Bind("", name, vec![], vec![text("p1@example.com")], vec![]);
    let execute = || Send::Execute("", 0);
    // Not undone with its transaction; names fold; one that isn't there is an error, and takes nothing away.
    pair.same(&[prepare("s"), prepare("T"), prepare("u"), Send::Sync], 1);
    pair.same(
        &[
            Send::Query("BEGIN"),
            Send::Query("DEALLOCATE s"),
            Send::Query("ROLLBACK"),
            Send::Query("DEALLOCATE T"),
            Send::Query("DEALLOCATE t; DEALLOCATE u"),
        ],
        5,
    );
    for name in ["s", "T", "u"] {
        pair.same(&[bind(name), execute(), Send::Sync], 1);
    }
    // Among others, and in pipelines, where the same name comes back.
    for deallocate in ["DEALLOCATE ALL", "DEALLOCATE u", "DISCARD ALL"] {
        if deallocate != "DISCARD ALL" {
            let script = format!("SELECT name FROM people WHERE id = 1; {deallocate}; SELECT 2");
            pair.same(&[Send::Query(&script)], 1);
            pair.same(&[bind("u"), execute(), Send::Sync], 1);
            pair.same(&[prepare("u"), Send::Sync], 1);
        }
        pair.same(
            &[
                Send::Parse("", deallocate, vec![]),
                Send::Bind("", "", vec![], vec![], vec![]),
                execute(),
                Send::Sync,
                prepare("u"),
                bind("u"),
                execute(),
                Send::Sync,
            ],
            2,
        );
        // In flights of their own: a name that a message changes which isn't answered yet is not used behind a Sync (docs/ERRORS.md#protocol).
        pair.same(&[Send::Query(deallocate), bind("u"), Send::Sync], 2);
        pair.same(&[prepare("u"), bind("u"), execute(), Send::Sync], 1);
    }
    // ALL leaves the unnamed one.
    pair.same(
        &[
            Send::Parse("d", "DEALLOCATE ALL", vec![]),
            prepare(""),
            Send::Bind("", "d", vec![], vec![], vec![]),
            execute(),
            bind(""),
            execute(),
            Send::Sync,
            bind(""),
            execute(),
            bind("d"),
            Send::Sync,
        ],
        2,
    );
    // What SQL prepared is bound by the protocol, and what SQL declared is executed by it.
    pair.same(
        &[
            Send::Query("PREPARE own AS SELECT 1 AS one, $1::text"),
            bind("own"),
            execute(),
            Send::Sync,
            Send::Query("BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, 5)"),
            Send::Execute("c", 2),
            Send::Execute("c", 0),
            Send::Execute("nothing", 0),
            Send::Sync,
            Send::Execute("c", 0),
            Send::Sync,
            Send::Query("ROLLBACK"),
        ],
        6,
    );
}
