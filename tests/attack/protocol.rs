//! Attacks with bytes that are no protocol, and with rights that change between messages.

use super::*;
use crate::support::raw::Send::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A small generator, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
    out
}

/// Frames of all kinds, sound ones.
fn frames() -> Vec<Vec<u8>> {
    vec![
        frame(b'Q', b"SELECT name FROM customers\0"),
        frame(b'Q', b"SELECT id FROM customers WHERE email = 'marker@example.com'\0"),
        frame(
            b'P',
            b"s\0SELECT name, email FROM customers WHERE id = $1\0\0\x01\0\0\0\x17",
        ),
        frame(b'P', b"\0UPDATE customers SET email = $1 WHERE id = 3\0\0\0"),
        frame(b'B', b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\x01\0\x01\0\0"),
        frame(b'B', b"p\0\0\0\0\0\x01\0\0\0\x03a@b\0\0"),
        frame(b'D', b"Ss\0"),
        frame(b'D', b"P\0"),
        frame(b'E', b"\0\0\0\0\x01"),
        frame(b'E', b"p\0\0\0\0\0"),
        frame(b'C', b"Ss\0"),
        frame(b'H', b""),
        frame(b'S', b""),
        frame(b'F', b"\0\0\0\x01\0\0\0\0\0\0"),
        frame(b'd', b"1\tx\n"),
        frame(b'c', b""),
        frame(b'f', b"no\0"),
        frame(b'Q', b"COPY orders FROM STDIN\0"),
        frame(b'Q', b"BEGIN; SAVEPOINT a\0"),
        frame(b'Q', b"ROLLBACK\0"),
    ]
}

#[test]
fn bytes_that_are_no_protocol_end_their_connection_and_nothing_else() {
    let world = world();
    let sound = frames();
    let mut dice = Dice(0x5eed_1234_5678_9abc);
    for round in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", world.port)).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_millis(60)))
            .expect("a time-out");
        stream
            .set_write_timeout(Some(Duration::from_secs(5)))
            .expect("a time-out");
        let start = b"\0\x03\0\0user\0masked\0database\0app\0\0";
        let mut bytes = ((start.len() + 4) as u32).to_be_bytes().to_vec();
        bytes.extend(start);
        let greeting = bytes.len();
        for _ in 0..dice.roll(12) {
            bytes.extend(&sound[dice.roll(sound.len())]);
        }
        for _ in 0..dice.roll(4) {
            let from = if round % 8 == 0 { 0 } else { greeting };
            if bytes.len() > from {
                let at = from + dice.roll(bytes.len() - from);
                match dice.roll(3) {
                    0 => bytes[at] = dice.roll(256) as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, [0, 255, 127, b'S', b'Q'][dice.roll(5)]),
                }
            }
        }
        let _ = stream.write_all(&bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let shown = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(secrets_in(&shown), Vec::<&str>::new(), "round {round}");
    }
    let log = world.log();
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(secrets_in(&log), Vec::<&str>::new());
    let mut raw = Raw::connect(world.port, "masked", "app");
    assert_eq!(raw.rows("SELECT 42"), vec![vec![Some("42".to_owned())]]);
    drop(raw);
    // No connection to the server is left over.
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let left = world
            .cluster
            .sql(
                "postgres",
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'masked'",
            )
            .expect("a count");
        if left.trim() == "0" {
            break;
        }
        assert!(Instant::now() < end, "{left} connections are left");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn rights_that_are_taken_away_end_at_once() {
    let world = world();
    let mut raw = Raw::connect(world.port, "masked", "app");
    raw.query("BEGIN");
    raw.send(&[
        Parse("s", "SELECT name FROM customers ORDER BY id", vec![]),
        Bind("p", "s", vec![], vec![], vec![]),
        Execute("p", 1),
        Sync,
    ]);
    let before = shown(&raw.until_ready());
    assert!(before.contains("Z"), "the mask shows the first character: {before}");
    let policy = POLICY.replace("groups = [\"masked\"]", "groups = [\"nobody\"]");
    world.write_policy(&policy);
    world.signal("HUP");
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        raw.send(&[Execute("p", 1), Sync]);
        let answer = raw.until_ready();
        if let Some(error) = support::raw::error(&answer) {
            assert_eq!(error.sqlstate, "42501", "{error:?}");
            break;
        }
        assert!(Instant::now() < end, "the right is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_protected_schema_keeps_its_name() {
    let world = world();
    let mut raw = Raw::connect(world.port, "app", "app");
    let answer = raw.query("ALTER SCHEMA public RENAME TO elsewhere");
    assert!(support::raw::error(&answer).is_some(), "{answer:?}");
}

#[test]
fn who_reads_a_row_leaves_a_record() {
    let world = world();
    let count = |world: &World| world.records().len();
    let before = count(&world);
    let mut raw = Raw::connect(world.port, "app", "app");
    for statement in [
        "SELECT name FROM customers WHERE id = 1",
        "SELECT count(*) FROM customers WHERE name = 'x'",
        "EXPLAIN SELECT name FROM customers",
        "SELECT id FROM customers ORDER BY name",
        "DELETE FROM customers WHERE id = 99",
        "WITH x AS (SELECT name FROM customers) SELECT count(x.name) FROM x",
        "SELECT 1 FROM orders o JOIN customers c ON c.name = o.item",
        "TABLE customers",
        "COPY customers TO STDOUT",
        "EXECUTE nothing_there(1); SELECT phone FROM customers",
        "SELECT name::int FROM customers",
    ] {
        let was = count(&world);
        raw.query(statement);
        // The first fails before the second is reached: nothing was read then.
        if !statement.starts_with("EXECUTE") {
            assert!(count(&world) > was, "no record: {statement}");
        }
    }
    assert!(count(&world) >= before + 10);
    assert!(world.pgward(&["audit", "verify"]).status.success());
}

#[test]
fn a_table_made_around_pgward_is_protected_from_its_first_statement() {
    let world = world();
    let copy = [
        "COPY customers (name) TO STDOUT",
        "COPY (SELECT name || '' FROM customers) TO STDOUT",
    ];
    let cursor = [
        "DECLARE c CURSOR WITH HOLD FOR SELECT name || '' FROM customers",
        "FETCH ALL FROM c",
    ];
    let query = ["SELECT name || '' FROM customers", "SELECT name FROM customers"];
    let merge = [
        "MERGE INTO orders o USING customers c ON o.id = 1 WHEN MATCHED THEN UPDATE SET item = c.name",
        "SELECT item FROM orders",
    ];
    for statements in [copy, cursor, query, merge] {
        let mut nobody = Raw::connect(world.port, "nobody", "app");
        let sql = |text: &str| world.cluster.sql("app", text).expect("set-up");
        sql("DROP TABLE customers CASCADE");
        std::thread::sleep(Duration::from_millis(1500)); // the catalog is read again
        nobody.query("SELECT 1 FROM customers");
        sql("CREATE TABLE customers (id int PRIMARY KEY, name text)");
        sql("INSERT INTO customers VALUES (1, 'Zaphod')");
        sql("GRANT ALL ON customers TO PUBLIC");
        let mut all = Vec::new();
        for statement in statements {
            all.extend(nobody.query(statement));
        }
        let text = shown(&all);
        assert_eq!(secrets_in(&text), Vec::<&str>::new(), "{text}");
    }
}
