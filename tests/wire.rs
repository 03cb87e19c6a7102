//! Lines of the wire checklist that no other file tests, over raw frames. Where a line says that an application must notice nothing, the
//! same goes to a plain database directly and to a sealed one through pgward.

mod support;

use support::pair::{Pair, comparable};
use support::raw::{Message, Raw, Send, error};

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
fn wire_27_copy_both_is_refused() {
    let pair = Pair::new();
    let raw = Raw::connect_with(
        pair.world.port,
        &[("user", "app"), ("database", "app"), ("replication", "database")],
    );
    assert!(error(&raw.greeting).is_some(), "{:?}", raw.greeting);
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

#[test]
fn wire_33_other_client_encodings() {
    let mut pair = Pair::new();
    for encoding in ["LATIN1", "EUC_KR", "UHC"] {
        both(&mut pair, &format!("SET client_encoding = '{encoding}'"));
        // Unprotected: bytes go through as they came. 0xE9 is é in LATIN1; in the others it begins a character.
        for bytes in [&b"SELECT '\xb0\xa1' AS x\0"[..], b"SELECT '\xe9' AS x\0"] {
            pair.same(&[Send::Frame(b'Q', bytes)], 1);
        }
        // Protected: refused on purpose.
        let answer = pair.sealed.query("SELECT name FROM people WHERE id = 1");
        assert_eq!(error(&answer).and_then(|e| e.anchor()), Some("protocol"), "{encoding}");
    }
    both(&mut pair, "RESET client_encoding");
    both(&mut pair, "SELECT name FROM people WHERE id = 1");
}

#[test]
fn wire_33_the_name_unicode_means_utf8() {
    let mut pair = Pair::new();
    // The server reports this name as the client wrote it.
    both(&mut pair, "SET client_encoding = 'UNICODE'");
    both(&mut pair, r"SELECT E'é\n' AS x, name FROM people WHERE id = 1");
}

#[test]
fn wire_33_escapes_in_other_client_encodings() {
    let mut pair = Pair::new();
    let refused = |pair: &mut Pair, sql: &[u8]| {
        pair.sealed.send(&[Send::Frame(b'Q', sql)]);
        let answer = pair.sealed.until_ready();
        error(&answer).and_then(|e| e.anchor()).map(str::to_owned)
    };
    for encoding in ["LATIN1", "KOI8R", "EUC_KR", "EUC_JP"] {
        both(&mut pair, &format!("SET client_encoding = '{encoding}'"));
        for sql in [
            &b"SELECT E'\xb0\xa1\\n \\'' AS x\0"[..],
            b"SELECT 'people \xb0\xa1' AS people\0",
            b"SELECT '\xb0\xa1' FROM pg_class WHERE relname = 'people'\0",
        ] {
            pair.same(&[Send::Frame(b'Q', sql)], 1);
        }
        for sql in [
            &b"SELECT '\xb0\xa1\\', name FROM people\0"[..],
            b"DO E'BEGIN PERFORM n\\x61me FROM peopl\\x65; -- \xb0\xa1\\nEND'\0",
            b"SELECT '\xb0\xa1', query_to_xml(E'SELECT n\\x61me FROM peopl\\x65', true, true, '')\0",
        ] {
            assert!(refused(&mut pair, sql).is_some(), "{encoding}: {}", sql.escape_ascii());
        }
    }
    // Here a backslash may be the second byte of a character, and what looks like the end of a literal may be inside.
    for (encoding, character) in [
        ("SJIS", &b"\x83\\"[..]),
        ("BIG5", b"\xa5\\"),
        ("GBK", b"\x81\\"),
        ("GB18030", b"\x81\\\x81\x30\x81\x30"),
        ("UHC", b"\xb0\xa1"),
        ("JOHAB", b"\x88\x61"),
    ] {
        both(&mut pair, &format!("SET client_encoding = '{encoding}'"));
        for (before, after) in [
            (&b"SELECT '"[..], &b"' AS x, '\\' AS y"[..]),
            (b"SELECT E'", b"\\'people' AS x"),
            (b"SELECT E'", b"\\\\', 1 AS people -- '"),
        ] {
            pair.same(&[Send::Frame(b'Q', &[before, character, after, b"\0"].concat())], 1);
        }
        for (before, after) in [
            (&b"SELECT E'"[..], &b"', name FROM people -- '"[..]),
            (b"SELECT E'", b"\\' FROM pg_class -- ', name FROM people"),
            (b"DO E'BEGIN PERFORM '' ", b"'', n\\x61me FROM peopl\\x65; END'"),
        ] {
            let sql = [before, character, after, b"\0"].concat();
            let anchor = refused(&mut pair, &sql);
            assert!(anchor.is_some(), "{encoding}: {}", sql.escape_ascii());
        }
    }
    // Bytes that are no UTF-8: the server says so.
    both(&mut pair, "SET client_encoding = 'UTF8'");
    pair.same(&[Send::Frame(b'Q', b"SELECT E'\xff\\n', 'people'\0")], 1);
}

#[test]
fn wire_33_an_encoding_that_is_set_without_waiting() {
    let mut pair = Pair::new();
    // Read as it was before, the second text is one literal; in SJIS it is a statement on people.
    pair.sealed.send(&[
        Send::Query("SET client_encoding = 'SJIS'"),
        Send::Frame(b'Q', b"SELECT E'\x83\\', name FROM people -- '\0"),
    ]);
    assert!(error(&pair.sealed.until_ready()).is_none());
    let answer = pair.sealed.until_ready();
    assert_eq!(error(&answer).and_then(|e| e.anchor()), Some("protocol"), "{answer:?}");
    // And the other way round.
    pair.sealed.send(&[
        Send::Query("SELECT set_config('client_encoding', 'LATIN1', false)"),
        Send::Frame(b'Q', b"SELECT E'\x83\\' , ' , name FROM people -- '\0"),
    ]);
    assert!(error(&pair.sealed.until_ready()).is_none());
    let answer = pair.sealed.until_ready();
    assert_eq!(error(&answer).and_then(|e| e.anchor()), Some("protocol"), "{answer:?}");
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
    for literal in [
        "'p1@example.com'",
        r"E'p1\x40example.com'",
        r"U&'p1\0040example.com'",
        "$$p1@example.com$$",
        "$t$p1@example.com$t$",
        "'p1@'\n'example.com'",
        "'p1@' /* a comment */ 'example.com'",
        r#"'p1@example.com' AND U&"\0069d" = 1"#,
    ] {
        pair.plain
            .send(&[Send::Query(&format!("SELECT id FROM people WHERE email = {literal}"))]);
        pair.sealed
            .send(&[Send::Query(&format!("SELECT id FROM people WHERE email = {literal}"))]);
        let plain = comparable(pair.plain.until_ready());
        let sealed = comparable(pair.sealed.until_ready());
        // As the server answers, or refused on purpose: never another answer.
        let refused = error(&sealed).is_some_and(|e| e.message.contains("pgward") || e.sqlstate == "0A000");
        assert!(plain == sealed || refused, "{literal}: {plain:?} and {sealed:?}");
    }
}

#[test]
fn wire_39_sessions_plan_the_same_statements_while_the_policy_is_reloaded() {
    let pair = Pair::new();
    let world = &pair.world;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut raw = Raw::connect(world.port, "app", "app");
                    for n in 0..300 {
                        let id = n % 10 + 1;
                        let rows = raw.rows(&format!("SELECT name FROM people WHERE email = 'p{id}@example.com'"));
                        assert_eq!(rows, [[Some(format!("Person {id}"))]]);
                    }
                })
            })
            .collect();
        for _ in 0..8 {
            world.signal("HUP");
            std::thread::sleep(std::time::Duration::from_millis(60));
        }
        for client in clients {
            client.join().expect("every answer is right");
        }
    });
}
