//! Lines of the wire checklist that no other file tests, over raw frames. Where a line says that an application must notice nothing, the
//! same goes to a plain database directly and to a sealed one through pgward.

mod support;

use std::time::{Duration, Instant};
use support::pair::{Pair, comparable};
use support::raw::{Message, Send, error};

const BY_EMAIL: &str = "SELECT id, name FROM people WHERE email = $1";

fn text(value: &str) -> Option<Vec<u8>> {
    Some(value.as_bytes().to_vec())
}

/// What comes to mean the same on both sides.
fn both(pair: &mut Pair, sql: &str) -> Vec<Message> {
    pair.same(&[Send::Query(sql)], 1)
}

#[test]
fn wire_09_settings_that_change_are_followed() {
    let mut pair = Pair::new();
    for setting in [
        "DateStyle = 'SQL, DMY'",
        "DateStyle = 'German'",
        "DateStyle = 'Postgres, MDY'",
        "IntervalStyle = 'iso_8601'",
        "TimeZone = 'Asia/Seoul'",
    ] {
        let answer = both(&mut pair, &format!("SET {setting}"));
        assert!(
            answer.iter().any(|m| matches!(m, Message::ParameterStatus(..))),
            "{setting}: {answer:?}"
        );
        both(&mut pair, "SELECT birth, '2000-01-02'::date FROM people WHERE id = 2");
    }
    // A literal is read as the setting of the moment says.
    both(&mut pair, "SET DateStyle = 'SQL, DMY'");
    both(&mut pair, "UPDATE people SET birth = '03/02/1999' WHERE id = 2");
    both(&mut pair, "SET DateStyle = 'ISO'");
    both(&mut pair, "SELECT birth FROM people WHERE id = 2");
    // The server's warning about such literals is about its own text, where the sealed value stands.
    both(&mut pair, "SET escape_string_warning = off");
    both(&mut pair, "SET standard_conforming_strings = off");
    both(&mut pair, r"UPDATE people SET name = 'a\'b\\c' WHERE id = 3");
    both(&mut pair, "SET standard_conforming_strings = on");
    both(&mut pair, r"SELECT name, 'x\' FROM people WHERE id = 3");
}

/// The server reports a setting only with the next ReadyForQuery: what comes out before that is as the server would show it, or refused.
#[test]
fn wire_09_a_setting_that_is_not_reported_yet() {
    let mut pair = Pair::new();
    let same_or_refused = |pair: &mut Pair, messages: &[Send<'_>]| {
        pair.plain.send(messages);
        pair.sealed.send(messages);
        let (plain, sealed) = (
            comparable(pair.plain.until_ready()),
            comparable(pair.sealed.until_ready()),
        );
        let refused = error(&sealed).is_some_and(|e| e.sqlstate == "0A000");
        assert!(refused || plain == sealed, "{messages:?}: {plain:?} and {sealed:?}");
        // A refusal takes the setting back, so the reports of this differ.
        pair.plain.query("RESET ALL");
        pair.sealed.query("RESET ALL");
        both(pair, "SELECT birth, '2000-01-02'::date FROM people WHERE id = 1");
        pair.plain.query("UPDATE people SET birth = '2001-01-01' WHERE id = 2");
        pair.sealed.query("UPDATE people SET birth = '2001-01-01' WHERE id = 2");
    };
    for setting in ["DateStyle = 'German'", "DateStyle = 'SQL, DMY'"] {
        let set = format!("SET {setting}");
        let select = "SELECT birth, '2000-01-02'::date FROM people WHERE id = 2";
        same_or_refused(&mut pair, &[Send::Query(&format!("{set}; {select}"))]);
        same_or_refused(
            &mut pair,
            &[Send::Query(&format!("DO $$ BEGIN {set}; END $$; {select}"))],
        );
        let update = "UPDATE people SET birth = '03/02/1999' WHERE id = 2 RETURNING birth";
        for statement in [select, update] {
            same_or_refused(
                &mut pair,
                &[
                    Send::Parse("", &set, vec![]),
                    Send::Bind("", "", vec![], vec![], vec![]),
                    Send::Execute("", 0),
                    Send::Parse("", statement, vec![]),
                    Send::Bind("", "", vec![], vec![], vec![]),
                    Send::Execute("", 0),
                    Send::Sync,
                ],
            );
        }
        // Prepared before.
        let prepare = [Send::Parse("before", select, vec![]), Send::Sync];
        pair.same(&prepare, 1);
        same_or_refused(
            &mut pair,
            &[
                Send::Parse("", &set, vec![]),
                Send::Bind("", "", vec![], vec![], vec![]),
                Send::Execute("", 0),
                Send::Bind("", "before", vec![], vec![], vec![]),
                Send::Execute("", 0),
                Send::Sync,
            ],
        );
        pair.same(&[Send::CloseStatement("before"), Send::Sync], 1);
    }
}

/// A setting that changes because the server's configuration does.
#[test]
fn wire_09_a_setting_that_nobody_here_changed_is_followed() {
    let mut pair = Pair::new();
    for style in ["German, DMY", "SQL, MDY"] {
        for sql in [
            &format!("ALTER SYSTEM SET datestyle = '{style}'"),
            "SELECT pg_reload_conf()",
        ] {
            pair.world.cluster.sql("postgres", sql).expect("a setting");
        }
        for raw in [&mut pair.plain, &mut pair.sealed] {
            let end = Instant::now() + Duration::from_secs(10);
            while raw.rows("SHOW DateStyle") != [[Some(style.to_owned())]] {
                assert!(Instant::now() < end, "the server reads its configuration");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        both(&mut pair, "SELECT birth, '2000-01-02'::date FROM people WHERE id = 2");
    }
}

#[test]
fn wire_10_notices_between_rows_complete_no_request() {
    let mut pair = Pair::new();
    both(
        &mut pair,
        "CREATE FUNCTION tell(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'row %', n; RETURN n; END $$",
    );
    let answer = both(&mut pair, "SELECT tell(g) FROM generate_series(1, 3) g");
    assert_eq!(answer.iter().filter(|m| matches!(m, Message::Notice(_))).count(), 3);
    let answer = pair.same(
        &[
            Send::Parse("", "SELECT tell(id), name FROM people ORDER BY id", vec![]),
            Send::Bind("", "", vec![], vec![], vec![]),
            Send::Execute("", 4),
            Send::Execute("", 0),
            Send::Sync,
        ],
        1,
    );
    assert_eq!(answer.iter().filter(|m| matches!(m, Message::DataRow(_))).count(), 10);
}

#[test]
fn wire_12_portals_and_the_implicit_transaction_live_past_flush() {
    let mut pair = Pair::new();
    for raw in [&mut pair.plain, &mut pair.sealed] {
        raw.send(&[
            Send::Parse("", "INSERT INTO people (id, name) VALUES (11, 'Eleven')", vec![]),
            Send::Bind("", "", vec![], vec![], vec![]),
            Send::Execute("", 0),
            Send::Parse("all", "SELECT name FROM people ORDER BY id DESC", vec![]),
            Send::Bind("all", "all", vec![], vec![], vec![]),
            Send::Execute("all", 1),
            Send::Flush,
        ]);
        let answers = raw.take(7);
        assert!(answers.contains(&Message::DataRow(vec![text("Eleven")])), "{answers:?}");
        // What fails now takes the insert with it: nothing was committed in between.
        raw.send(&[
            Send::Execute("all", 1),
            Send::Parse("", "SELECT 1/0", vec![]),
            Send::Bind("", "", vec![], vec![], vec![]),
            Send::Execute("", 0),
            Send::Sync,
        ]);
        let answers = raw.until_ready();
        assert!(
            answers.contains(&Message::DataRow(vec![text("Person 10")])),
            "{answers:?}"
        );
        assert_eq!(error(&answers).map(|e| e.sqlstate.as_str()), Some("22012"));
        assert_eq!(
            raw.rows("SELECT count(*) FROM people WHERE id = 11"),
            [[Some("0".into())]]
        );
    }
}

#[test]
fn wire_14_a_refusal_takes_its_place_and_fails_the_transaction() {
    let mut pair = Pair::new();
    let refused = "SELECT id FROM people WHERE birth > '2000-01-01'";
    // Behind answers that are under way, and take their time.
    pair.sealed.send(&[
        Send::Query("SELECT pg_sleep(0.3), 'first'"),
        Send::Query(refused),
        Send::Query("SELECT 'third'"),
    ]);
    let first = pair.sealed.until_ready();
    assert!(
        matches!(&first[1], Message::DataRow(row) if row[1].as_deref() == Some(b"first")),
        "{first:?}"
    );
    let second = pair.sealed.until_ready();
    assert_eq!(error(&second).and_then(|e| e.anchor()), Some("range"));
    assert_eq!(second.len(), 2);
    assert!(
        pair.sealed
            .until_ready()
            .contains(&Message::DataRow(vec![text("third")]))
    );
    // The server believes what the client believes: the transaction failed, for both.
    for (in_query, in_extended) in [(true, false), (false, true)] {
        pair.sealed.query("BEGIN");
        pair.sealed.query("UPDATE people SET name = 'lost' WHERE id = 1");
        let answer = if in_query {
            pair.sealed.query(refused)
        } else {
            assert!(in_extended);
            pair.sealed.send(&[Send::Parse("", refused, vec![]), Send::Sync]);
            pair.sealed.until_ready()
        };
        assert_eq!(error(&answer).and_then(|e| e.anchor()), Some("range"));
        assert_eq!(answer.last(), Some(&Message::Ready('E')));
        let answer = pair.sealed.query("SELECT 1");
        assert_eq!(error(&answer).map(|e| e.sqlstate.as_str()), Some("25P02"), "{answer:?}");
        let answer = pair.sealed.query("COMMIT");
        assert_eq!(
            answer,
            [Message::CommandComplete("ROLLBACK".into()), Message::Ready('I')]
        );
        both(&mut pair, "SELECT name FROM people WHERE id = 1");
        // A savepoint takes it back.
        pair.sealed.query("BEGIN");
        pair.sealed.query("SAVEPOINT s");
        pair.sealed.query(refused);
        pair.sealed.query("ROLLBACK TO s");
        assert_eq!(
            pair.sealed.rows("SELECT name FROM people WHERE id = 1"),
            [[Some("Person 1".into())]]
        );
        pair.sealed.query("COMMIT");
    }
}

#[test]
fn wire_15_wire_16_wire_17_descriptions_are_of_what_the_client_wrote() {
    let mut pair = Pair::new();
    let answer = pair.same(
        &[
            Send::Parse(
                "s",
                "SELECT id, email, name, birth, $2::int FROM people WHERE email = $1 AND id > $2",
                vec![],
            ),
            Send::DescribeStatement("s"),
            Send::Bind("p", "s", vec![], vec![text("p1@example.com"), text("0")], vec![1]),
            Send::DescribePortal("p"),
            Send::Parse("w", "UPDATE people SET name = $1 WHERE email = $2", vec![]),
            Send::DescribeStatement("w"),
            Send::Sync,
        ],
        1,
    );
    let kinds: Vec<&str> = answer
        .iter()
        .map(|m| match m {
            Message::ParameterDescription(_) => "parameters",
            Message::RowDescription(_) => "rows",
            Message::Other('n', _) => "none",
            _ => "",
        })
        .filter(|kind| !kind.is_empty())
        .collect();
    assert_eq!(kinds, ["parameters", "rows", "rows", "parameters", "none"]);
}

#[test]
fn wire_18_parameter_types_may_be_declared_or_not() {
    let mut pair = Pair::new();
    let sql = "SELECT id FROM people WHERE email = $1 AND id >= $2";
    for types in [vec![], vec![0], vec![0, 0], vec![25], vec![1043, 20], vec![25, 23]] {
        pair.same(
            &[
                Send::Parse("", sql, types),
                Send::Bind("", "", vec![], vec![text("p4@example.com"), text("1")], vec![]),
                Send::Execute("", 0),
                Send::Sync,
            ],
            1,
        );
    }
    // A type that does not go with the column is refused, by whichever of the two.
    pair.sealed.send(&[Send::Parse("", BY_EMAIL, vec![17]), Send::Sync]);
    assert!(error(&pair.sealed.until_ready()).is_some());
}

#[test]
fn wire_21_rights_and_schema_are_looked_at_again_when_a_prepared_statement_is_used() {
    let mut pair = Pair::new();
    let prepare = [Send::Parse("s", BY_EMAIL, vec![]), Send::Sync];
    let run = [
        Send::Bind("", "s", vec![], vec![text("p5@example.com")], vec![]),
        Send::Execute("", 0),
        Send::Sync,
    ];
    pair.same(&prepare, 1);
    pair.same(&run, 1);
    // Another relation takes the name: what was planned for the table is not carried out on it.
    both(&mut pair, "CREATE TEMP TABLE people (id int, email text, name text)");
    both(
        &mut pair,
        "INSERT INTO people VALUES (1, 'p5@example.com', 'temporary')",
    );
    pair.sealed.send(&run);
    let answer = pair.sealed.until_ready();
    assert!(
        error(&answer).is_some() || answer.contains(&Message::DataRow(vec![text("1"), text("temporary")])),
        "{answer:?}"
    );
    both(&mut pair, "DROP TABLE pg_temp.people");
    both(&mut pair, "SELECT name FROM people WHERE id = 5");
}

#[test]
fn wire_24_every_statement_of_a_query_is_carried_out() {
    let mut pair = Pair::new();
    for sql in [
        "SELECT 1; SELECT name FROM people WHERE id = 1; SELECT 2",
        "INSERT INTO people (id, name) VALUES (21, 'a'); INSERT INTO people (id, name) VALUES (22, 'b'); SELECT name FROM people WHERE id > 20 ORDER BY id",
        // All of it is one transaction: the error takes the insert back, and what stands behind is not carried out.
        "INSERT INTO people (id, name) VALUES (23, 'c'); SELECT 1/0; INSERT INTO people (id, name) VALUES (24, 'd')",
        "SELECT id, name FROM people WHERE id > 20 ORDER BY id",
        // But for what is committed in between. (Behind COMMIT names may mean something else: docs/ERRORS.md#catalog.)
        "BEGIN; INSERT INTO people (id, name) VALUES (25, 'e'); COMMIT; INSERT INTO public.people (id, name) VALUES (26, 'f'); SELECT 1/0",
        "SELECT id, name FROM people WHERE id > 20 ORDER BY id",
        "; ;SELECT name FROM people WHERE id = 2;;",
        "DELETE FROM people WHERE id > 20; SELECT count(*) FROM people",
    ] {
        both(&mut pair, sql);
    }
    // A refused one in the middle: what stands before it is rolled back with it.
    let answer = pair
        .sealed
        .query("INSERT INTO people (id, name) VALUES (27, 'g'); SELECT lower(name) FROM people; SELECT 3");
    assert_eq!(
        error(&answer).and_then(|e| e.anchor()),
        Some("expression"),
        "{answer:?}"
    );
    assert_eq!(answer.iter().filter(|m| matches!(m, Message::Ready(_))).count(), 1);
    assert!(!answer.contains(&Message::DataRow(vec![text("3")])));
    both(&mut pair, "SELECT count(*) FROM people");
}

#[test]
fn wire_29_state_set_in_sql_is_followed_and_forgotten_with_its_transaction() {
    let mut pair = Pair::new();
    let steps = [
        "CREATE SCHEMA decoy",
        "CREATE TABLE decoy.people (id int, email text, name text)",
        "INSERT INTO decoy.people VALUES (1, 'p1@example.com', 'decoy')",
        "BEGIN",
        "SET LOCAL search_path = decoy, public",
        "SELECT name FROM people WHERE id = 1",
        "SAVEPOINT s",
        "SET search_path = public",
        "SELECT name FROM people WHERE id = 1",
        "ROLLBACK TO s",
        "SELECT name FROM people WHERE id = 1",
        "COMMIT",
        "SELECT name FROM people WHERE id = 1",
        "SELECT set_config('search_path', 'decoy', false)",
        "SELECT name FROM people WHERE id = 1",
        "RESET search_path",
        "SELECT name FROM people WHERE id = 1",
        "SET search_path = decoy",
        "DISCARD ALL",
        "SELECT name FROM people WHERE id = 1",
        "BEGIN",
        "DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 5) g",
        "FETCH 2 FROM c",
        "MOVE c",
        "FETCH ALL FROM c",
        "CLOSE c",
        "COMMIT",
        "PREPARE q(int) AS SELECT $1 + 1",
        "EXECUTE q(41)",
        "DEALLOCATE q",
        "EXECUTE q(1)",
    ];
    for step in steps {
        both(&mut pair, step);
    }
}

#[test]
fn wire_30_long_messages_come_through_where_nothing_needs_rewriting() {
    let mut pair = Pair::new();
    // Texts are looked through up to the limit (64 MiB); parameters of unprotected statements need not be.
    let long = "x".repeat(20 << 20);
    let answer = pair.same(&[Send::Query(&format!("SELECT length('{long}')"))], 1);
    assert!(answer.contains(&Message::DataRow(vec![text("20971520")])));
    let long = "x".repeat(80 << 20);
    let statement = [
        Send::Parse("", "SELECT length($1::text)", vec![]),
        Send::Bind("", "", vec![], vec![text(&long)], vec![]),
        Send::Execute("", 0),
        Send::Sync,
    ];
    pair.same(&statement, 1);
    // Beyond it they are refused, and the session goes on.
    let update = format!("UPDATE people SET name = '{long}' WHERE id = 1");
    let answer = pair.sealed.query(&update);
    assert_eq!(error(&answer).and_then(|e| e.anchor()), Some("limit"));
    let write = [
        Send::Parse("", "UPDATE people SET name = $1 WHERE id = 1", vec![]),
        Send::Bind("", "", vec![], vec![text(&long)], vec![]),
        Send::Execute("", 0),
        Send::Sync,
    ];
    pair.sealed.send(&write);
    let answer = pair.sealed.until_ready();
    assert_eq!(error(&answer).and_then(|e| e.anchor()), Some("limit"));
    both(&mut pair, "SELECT name FROM people WHERE id = 1");
}

/// As many parameters as there can be.
#[test]
fn wire_31_65535_parameters() {
    let mut pair = Pair::new();
    let values = |value: &str| -> Vec<Option<Vec<u8>>> {
        let mut values = vec![text("1"); 65_535];
        values[65_534] = text(value);
        values
    };
    let mut types = vec![23; 65_535];
    types[65_534] = 25;
    for sql in ["SELECT $65535", "SELECT id, name FROM people WHERE email = $65535"] {
        let answer = pair.same(
            &[
                Send::Parse("", sql, types.clone()),
                Send::DescribeStatement(""),
                Send::Bind("", "", vec![], values("p3@example.com"), vec![]),
                Send::Execute("", 0),
                Send::Sync,
            ],
            1,
        );
        assert!(
            matches!(&answer[1], Message::ParameterDescription(types) if types.len() == 65_535),
            "{sql}"
        );
        assert!(
            answer.iter().any(|m| matches!(m, Message::DataRow(_))),
            "{sql}: {answer:?}"
        );
    }
}

#[test]
fn wire_36_errors_show_no_sealed_bytes_and_no_position_in_another_text() {
    let mut pair = Pair::new();
    for sql in [
        "INSERT INTO people (id, email) VALUES (99, 'p1@example.com')",
        "INSERT INTO people (id, email, name) VALUES (1, 'new@example.com', 'SECRET')",
        "SELECT name, nonsense FROM people WHERE email = 'p1@example.com'",
    ] {
        let answer = both(&mut pair, sql);
        assert!(error(&answer).is_some(), "{answer:?}");
        let answer = pair.sealed.query(sql);
        let error = error(&answer).expect("an error");
        assert!(!error.detail.contains("fa") && !error.detail.contains("@"), "{error:?}");
        assert_eq!(error.position, "", "of the rewritten text");
    }
    // Nothing was rewritten here: the position is the server's.
    for raw in [&mut pair.plain, &mut pair.sealed] {
        let answer = raw.query("SELECT  nonsense");
        assert_eq!(error(&answer).map(|e| e.position.as_str()), Some("9"));
    }
}

#[test]
fn wire_37_literals_in_every_spelling() {
    let mut pair = Pair::new();
    let found = |answer: &[Message]| answer.contains(&Message::DataRow(vec![text("1")]));
    let sql = |literal: &str| format!("SELECT id FROM people WHERE email = {literal}");
    for literal in [
        "'p1@example.com'",
        r"E'p1\x40example.com'",
        r"U&'p1\0040example.com'",
        "$$p1@example.com$$",
        "$t$p1@example.com$t$",
        r#"'p1@example.com' AND U&"\0069d" = 1"#,
    ] {
        let answer = both(&mut pair, &sql(literal));
        assert!(found(&answer), "{literal}: {answer:?}");
    }
    // In several pieces: refused on purpose. Where the server finds the row pgward may do so too; it never answers otherwise.
    for literal in ["'p1@'\n'example.com'", "'p1@'\n -- a comment\n'example.com'"] {
        assert!(found(&pair.plain.query(&sql(literal))));
        let answer = pair.sealed.query(&sql(literal));
        let refused = error(&answer).is_some_and(|e| e.anchor() == Some("expression"));
        assert!(refused || found(&answer), "{literal}: {answer:?}");
    }
    // And one that is none: the same fault on both sides.
    let answer = pair.sealed.query(&sql("'p1@' /* a comment */ 'example.com'"));
    assert!(error(&answer).is_some(), "{answer:?}");
    // With backslashes that escape in plain literals too.
    both(
        &mut pair,
        "SET escape_string_warning = off; SET standard_conforming_strings = off",
    );
    let answer = both(&mut pair, &sql(r"'p1\x40example.com'"));
    assert!(found(&answer), "{answer:?}");
}
