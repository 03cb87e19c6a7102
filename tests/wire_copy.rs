//! COPY in all its forms, and replication, over raw frames: the same goes to a plain database directly and, through pgward, to one with
//! protected columns (in other tables). Each test is named after its line in WIRE.md.

mod support;

use std::time::Duration;
use support::pair::{Pair, comparable};
use support::raw::{Message, Raw, Send, error};
use support::{Options, World, text as output};

fn pair() -> Pair {
    let mut pair = Pair::new();
    pair.same(&[Send::Query("CREATE TABLE notes (id int, body text)")], 1);
    pair
}

const COUNT: &str = "SELECT count(*), min(body), max(body) FROM notes";

/// What `COPY … BINARY` sends for these rows.
fn binary(rows: &[(i32, &str)]) -> Vec<u8> {
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for (id, body) in rows {
        data.extend(2i16.to_be_bytes());
        data.extend(4i32.to_be_bytes());
        data.extend(id.to_be_bytes());
        data.extend((body.len() as i32).to_be_bytes());
        data.extend(body.as_bytes());
    }
    data.extend((-1i16).to_be_bytes());
    data
}

fn execute(sql: &str) -> [Send<'_>; 3] {
    [
        Send::Parse("", sql, vec![]),
        Send::Bind("", "", vec![], vec![], vec![]),
        Send::Execute("", 0),
    ]
}

#[test]
fn wire_26_copy_in_every_format_and_in_both_protocols() {
    let mut pair = pair();
    let csv = "id,body\n1,\"a\nb\"\n2,\"say \"\"hi\"\"\"\n3,\n".as_bytes();
    let text = "1\tone\n2\t\\N\n3\ttab\\tnew\\n\n\\.\n".as_bytes();
    let binary = binary(&[(1, "one"), (2, ""), (3, "d\u{e9}j\u{e0}")]);
    for (options, data) in [
        ("", text),
        ("WITH (FORMAT csv, HEADER)", csv),
        ("WITH (FORMAT binary)", &binary[..]),
    ] {
        let sql = format!("COPY notes FROM STDIN {options}");
        // Frames that don't align with rows, down to one byte each, and empty ones.
        for size in [data.len(), 7, 1] {
            let mut frames = vec![Send::CopyData(b"")];
            frames.extend(data.chunks(size).map(Send::CopyData));
            let mut simple = vec![Send::Query(&sql)];
            simple.extend(frames.clone());
            simple.push(Send::CopyDone);
            let answer = pair.same(&simple, 1);
            assert!(
                matches!(answer.get(1), Some(Message::CommandComplete(tag)) if tag == "COPY 3"),
                "{sql} by {size}: {answer:?}"
            );
            let mut extended = execute(&sql).to_vec();
            extended.extend(frames);
            extended.extend([Send::CopyDone, Send::Sync]);
            pair.same(&extended, 1);
        }
        let out = format!("COPY (SELECT * FROM notes ORDER BY id, body LIMIT 5) TO STDOUT {options}");
        pair.same(&[Send::Query(&out)], 1);
        let mut extended = execute(&out).to_vec();
        extended.push(Send::Sync);
        let answer = pair.same(&extended, 1);
        assert!(answer.iter().any(|m| matches!(m, Message::Other('d', _))), "{answer:?}");
    }
    pair.same(&[Send::Query(COUNT)], 1);
}

/// A client may send everything at once, or wait for the CopyInResponse first; a Sync may come before it (node-postgres, JDBC).
#[test]
fn wire_26_a_sync_sent_early_is_ignored_wherever_the_answers_are() {
    let mut pair = pair();
    let copy = execute("COPY notes FROM STDIN");
    let parts: [&[Send<'_>]; 3] = [
        &[Send::CopyData(b"1\tone\n"), Send::CopyDone, Send::Sync],
        &[
            Send::Sync,
            Send::Sync,
            Send::CopyData(b"2\ttwo\n"),
            Send::Flush,
            Send::Sync,
            Send::CopyDone,
            Send::Sync,
        ],
        &[Send::Sync, Send::CopyFail("enough"), Send::Sync],
    ];
    for part in parts {
        // All at once.
        let whole: Vec<Send<'_>> = copy.iter().chain(part).cloned().collect();
        pair.same(&whole, 1);
        // Message by message, the server's answers in between.
        for pause_at in 0..=whole.len() {
            for raw in [&mut pair.plain, &mut pair.sealed] {
                raw.send(&whole[..pause_at]);
            }
            std::thread::sleep(Duration::from_millis(20));
            pair.same(&whole[pause_at..], 1);
        }
        pair.same(&[Send::Query(COUNT)], 1);
    }
    // Two behind each other, and a statement behind them before the answers are read.
    let mut many: Vec<Send<'_>> = Vec::new();
    for n in 0..3 {
        many.extend(copy.iter().cloned());
        many.extend([
            Send::CopyData(if n == 1 { b"4\tfour\n5\tfive\n" } else { b"3\tthree\n" }),
            Send::CopyDone,
        ]);
    }
    many.extend(execute(COUNT));
    many.push(Send::Sync);
    many.extend([
        Send::Query("COPY notes FROM STDIN"),
        Send::CopyData(b"6\tsix\n"),
        Send::CopyDone,
        Send::Query("SELECT name FROM people WHERE id = 1"),
    ]);
    pair.same(&many, 3);
    for pause_at in (0..many.len()).step_by(2) {
        for raw in [&mut pair.plain, &mut pair.sealed] {
            raw.send(&many[..pause_at]);
        }
        std::thread::sleep(Duration::from_millis(20));
        pair.same(&many[pause_at..], 3);
    }
}

#[test]
fn wire_26_failures_in_mid_stream() {
    let mut pair = pair();
    let sql = "COPY notes FROM STDIN";
    let bad: [&[Send<'_>]; 4] = [
        &[Send::CopyData(b"1\tone\n"), Send::CopyFail("the file ended")],
        // The server is through with it at the second row, and takes no notice of what comes behind.
        &[
            Send::CopyData(b"1\tone\nx\ttwo\n"),
            Send::CopyData(b"3\tthree\n"),
            Send::CopyDone,
        ],
        &[Send::CopyData(b"1\tone\textra\n"), Send::CopyFail("too late")],
        &[Send::CopyData(b"1\t\xff\xfe\n"), Send::CopyDone],
    ];
    for frames in bad {
        let mut simple = vec![Send::Query(sql)];
        simple.extend(frames.iter().cloned());
        let answer = pair.same(&simple, 1);
        assert!(error(&answer).is_some(), "{answer:?}");
        let mut extended = execute(sql).to_vec();
        extended.extend(frames.iter().cloned());
        extended.push(Send::Sync);
        let answer = pair.same(&extended, 1);
        assert!(error(&answer).is_some(), "{answer:?}");
        // Slowly: the error is there before the rest is sent.
        for raw in [&mut pair.plain, &mut pair.sealed] {
            raw.send(&simple[..2]);
        }
        std::thread::sleep(Duration::from_millis(50));
        pair.same(&simple[2..], 1);
        pair.same(&[Send::Query("SELECT name FROM people WHERE id = 2")], 1);
        // In a transaction it fails the transaction.
        pair.same(&[Send::Query("BEGIN")], 1);
        let answer = pair.same(&simple, 1);
        assert_eq!(answer.last(), Some(&Message::Ready('E')));
        pair.same(&[Send::Query("SELECT 1"), Send::Query("ROLLBACK")], 2);
    }
    let answer = pair.same(&[Send::Query(COUNT)], 1);
    assert!(
        matches!(&answer[1], Message::DataRow(row) if row[0].as_deref() == Some(b"0")),
        "nothing was kept: {answer:?}"
    );
}

#[test]
fn wire_26_several_copies_in_one_query() {
    let mut pair = pair();
    let sql = "COPY notes FROM STDIN; SELECT count(*) FROM notes; COPY notes TO STDOUT; COPY notes FROM STDIN (FORMAT csv); SELECT name FROM people WHERE id = 3; SELECT 1";
    // With a statement on protected columns in it the text is rewritten; the rest stays as it is.
    for sql in [sql, &sql.replace("SELECT name FROM people WHERE id = 3; ", "")] {
        let answer = pair.same(
            &[
                Send::Query(sql),
                Send::CopyData(b"1\tone\n2\ttwo\n"),
                Send::CopyDone,
                Send::CopyData(b"3,three\n"),
                Send::CopyDone,
            ],
            1,
        );
        assert!(error(&answer).is_none(), "{answer:?}");
        // The first one fails: the second is not asked for, and its data not taken for anything else.
        let answer = pair.same(
            &[
                Send::Query(sql),
                Send::CopyFail("no"),
                Send::CopyData(b"3,three\n"),
                Send::CopyDone,
            ],
            1,
        );
        assert!(error(&answer).is_some(), "{answer:?}");
    }
    pair.same(&[Send::Query(COUNT)], 1);
}

/// Anything else during COPY FROM STDIN ends the connection: the server can't tell where the next message begins.
#[test]
fn wire_26_other_messages_during_copy_in() {
    for other in [
        Send::Query("SELECT 1"),
        Send::Parse("", "SELECT 1", vec![]),
        Send::Execute("", 0),
        Send::Terminate,
    ] {
        for wait in [false, true] {
            // A portal that pgward does not know is described first: the server's error names that message, unless the COPY is known of.
            if matches!(other, Send::Execute(..)) && !wait {
                continue;
            }
            let mut pair = pair();
            let mut answers = Vec::new();
            for raw in [&mut pair.plain, &mut pair.sealed] {
                raw.send(&[Send::Query("COPY notes FROM STDIN"), Send::CopyData(b"1\tone\n")]);
                if wait {
                    std::thread::sleep(Duration::from_millis(50));
                }
                raw.send(std::slice::from_ref(&other));
                let mut answer = Vec::new();
                while let Some(message) = raw.next() {
                    assert!(!matches!(message, Message::Ready(_)), "{other:?}: {message:?}");
                    answer.push(message);
                }
                answers.push(comparable(answer));
            }
            assert_eq!(answers[0], answers[1], "{other:?}");
            // Nothing was kept.
            let kept = pair
                .world
                .cluster
                .sql("app", "SELECT count(*) FROM notes")
                .expect("a count");
            assert_eq!(kept, "0");
        }
    }
}

#[test]
fn wire_26_copy_of_a_protected_table_is_refused_and_the_session_goes_on() {
    let mut pair = pair();
    for sql in [
        "COPY people FROM STDIN",
        "COPY people TO STDOUT",
        "COPY people (id, name) TO STDOUT (FORMAT binary)",
        "COPY (SELECT name FROM people) TO STDOUT",
    ] {
        let answer = pair.sealed.query(sql);
        assert_eq!(
            error(&answer).and_then(|e| e.anchor()),
            Some("statement-kind"),
            "{sql}: {answer:?}"
        );
        // A client that sent its data all the same.
        pair.sealed
            .send(&[Send::Query(sql), Send::CopyData(b"1\tx\n"), Send::CopyDone]);
        assert!(error(&pair.sealed.until_ready()).is_some());
        let mut messages = execute(sql).to_vec();
        messages.extend([Send::CopyData(b"1\tx\n"), Send::CopyDone, Send::Sync]);
        pair.sealed.send(&messages);
        let answer = pair.sealed.until_ready();
        assert_eq!(
            error(&answer).and_then(|e| e.anchor()),
            Some("statement-kind"),
            "{sql}: {answer:?}"
        );
        pair.same(&[Send::Query("SELECT name FROM people WHERE id = 4")], 1);
    }
}

/// A walsender reads the whole server's log: while any column of the server is protected, nobody gets one through pgward.
#[test]
fn wire_27_replication_is_refused_where_anything_is_protected() {
    let pair = Pair::new();
    for replication in ["database", "true", "on", "1"] {
        for database in ["app", "plain", "postgres"] {
            let raw = Raw::connect_with(
                pair.world.port,
                &[("user", "app"), ("database", database), ("replication", replication)],
            );
            let refusal = error(&raw.greeting).expect("a refusal");
            assert_eq!(
                (refusal.sqlstate.as_str(), refusal.anchor()),
                ("0A000", Some("protocol")),
                "{refusal:?}"
            );
        }
    }
    let page = include_str!("../docs/ERRORS.md");
    let (_, section) = page.split_once("\n## protocol\n").expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    assert!(
        section.contains("replication connection"),
        "docs/ERRORS.md#protocol says so"
    );
}

/// Where nothing is protected they go through: logical and physical, both directions of CopyBoth, each ended by itself.
#[test]
fn wire_27_replication_goes_through_where_nothing_is_protected() {
    let world = World::start(Options {
        roles: vec!["app", "walker"],
        settings: vec![("wal_level".into(), "logical".into())],
        ..Default::default()
    });
    let sql = |statement: &str| world.cluster.sql("app", statement).expect("a statement");
    sql(
        "ALTER ROLE walker REPLICATION; CREATE TABLE news (id int PRIMARY KEY, body text); CREATE PUBLICATION all_news FOR TABLE news",
    );
    let connect = |port, replication| {
        Raw::connect_with(
            port,
            &[("user", "walker"), ("database", "app"), ("replication", replication)],
        )
    };
    for (way, port) in [("direct", world.cluster.port()), ("pgward", world.port)] {
        let mut next = connect(port, "database");
        // A session streams once (a quirk of the server's), so there are two.
        for round in 0..2 {
            let mut raw = std::mem::replace(&mut next, connect(port, "database"));
            assert!(error(&raw.greeting).is_none(), "{:?}", raw.greeting);
            assert_eq!(raw.rows("IDENTIFY_SYSTEM").len(), 1);
            // SQL works here too.
            assert_eq!(raw.rows("SELECT 41 + 1"), [[Some("42".into())]]);
            let slot = raw.rows(&format!("CREATE_REPLICATION_SLOT {way} TEMPORARY LOGICAL pgoutput"));
            assert_eq!(slot[0][0].as_deref(), Some(way));
            sql(&format!(
                "INSERT INTO news VALUES ((SELECT count(*) FROM news), '{way} {round}')"
            ));
            raw.send(&[Send::Query(&format!(
                "START_REPLICATION SLOT {way} LOGICAL 0/0 (proto_version '1', publication_names 'all_news')"
            ))]);
            assert!(matches!(raw.next(), Some(Message::Other('W', _))), "CopyBothResponse");
            let expected = format!("{way} {round}");
            let mut end = 0;
            loop {
                let message = raw.next();
                let Some(Message::Other('d', body)) = &message else {
                    panic!("{way}, round {round}: CopyData is what comes now, not {message:?}")
                };
                if body[0] == b'w' {
                    end = u64::from_be_bytes(body[9..17].try_into().expect("eight bytes"));
                }
                if body.windows(expected.len()).any(|w| w == expected.as_bytes()) {
                    break;
                }
            }
            // The client goes on sending while the server does: a status, then its own end.
            let mut status = vec![b'r'];
            for _ in 0..3 {
                status.extend((end + 1).to_be_bytes());
            }
            status.extend([0; 8]);
            status.push(1); // asks for a keep-alive
            raw.send(&[Send::CopyData(&status)]);
            raw.send(&[Send::CopyDone]);
            let rest = raw.until_ready();
            let tags: String = rest
                .iter()
                .map(|m| match m {
                    Message::Other(tag, _) => *tag,
                    Message::CommandComplete(_) => 'C',
                    Message::Ready(_) => 'Z',
                    other => panic!("{other:?}"),
                })
                .filter(|tag| *tag != 'd')
                .collect();
            assert!(tags == "cCCZ" || tags == "cCZ", "{way}: {tags}");
            assert_eq!(raw.rows("SELECT 1"), [[Some("1".into())]]);
            raw.query(&format!("DROP_REPLICATION_SLOT {way}"));
        }
        // And the end of the client's side as a whole, in mid-stream: the server's process goes too.
        let start = next.rows("IDENTIFY_SYSTEM")[0][2].clone().expect("a position");
        next.send(&[Send::Query(&format!("START_REPLICATION {start}"))]);
        assert!(matches!(next.next(), Some(Message::Other('W', _))));
        drop(next);
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while sql("SELECT count(*) FROM pg_stat_replication") != "0" {
            assert!(std::time::Instant::now() < end, "{way}: the walsender stays");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // A whole base backup with its write-ahead log, by PostgreSQL's own program, where it comes with the server.
    let program = world.cluster.installation().bindir.join("pg_basebackup");
    if !program.exists() {
        eprintln!("SKIPPED: there is no {}", program.display());
        return;
    }
    let target = world.directory().join("backup");
    let connection = world.through("walker").replace("dbname=app", "");
    let out = world
        .cluster
        .installation()
        .command("pg_basebackup")
        .args(["--no-sync", "--checkpoint=fast", "--wal-method=stream", "--pgdata"])
        .arg(&target)
        .arg("--dbname")
        .arg(connection)
        .output()
        .expect("pg_basebackup");
    assert!(out.status.success(), "{}", output(&out));
    assert!(target.join("PG_VERSION").exists() && target.join("pg_wal").exists());
}
