//! What an application sets, and what others do at the same time, neither deceives pgward's own questions nor makes them fail.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use support::raw::Send::{self, *};
use support::raw::{Message, Raw, error};
use support::{Options, World};

const POLICY: &str = include_str!("differential/policy.toml");

/// `people` with protected columns, `elsewhere.people` without; names that other encodings don't have.
const SCHEMA: [&str; 8] = [
    "CREATE TABLE people (id int PRIMARY KEY, email varchar(60) UNIQUE, name text, phone text, birth date)",
    "INSERT INTO people VALUES (1, 'p1@example.com', 'Zoë', '1', '2000-01-31'), (2, 'p2@example.com', 'Åsa', '2', '2000-02-28')",
    "CREATE SCHEMA elsewhere",
    "CREATE TABLE elsewhere.people (id int, name text)",
    "INSERT INTO elsewhere.people VALUES (7, 'seven')",
    "CREATE TABLE \"고객 Ω\" (id int)",
    "CREATE FUNCTION \"수\"() RETURNS int LANGUAGE sql AS $$ SELECT 1 /* 하나 Ω */ $$",
    "CREATE INDEX ON \"고객 Ω\" ((id + 1))",
];

fn world() -> World {
    let world = World::start(Options {
        policy: POLICY.into(),
        ..Default::default()
    });
    let mut raw = Raw::connect(world.port, "app", "app");
    for sql in SCHEMA {
        ok(&mut raw, sql);
    }
    world
}

fn ok(raw: &mut Raw, sql: &str) {
    let answer = raw.query(sql);
    assert!(error(&answer).is_none(), "{sql}: {answer:?}");
}

fn anchor(answer: &[Message]) -> Option<&str> {
    error(answer).and_then(|e| e.anchor())
}

/// Parse, Bind, Execute, without Sync.
fn run<'a>(sql: &'a str) -> [Send<'a>; 3] {
    [
        Parse("", sql, vec![]),
        Bind("", "", vec![], vec![], vec![]),
        Execute("", 0),
    ]
}

fn rows(answer: &[Message]) -> Vec<&[Option<Vec<u8>>]> {
    let mut rows = Vec::new();
    for message in answer {
        if let Message::DataRow(row) = message {
            rows.push(&row[..]);
        }
    }
    rows
}

/// Makes pgward ask for everything again: what this did is not known.
const ANYTHING: &str = "DO 'BEGIN END'";

#[test]
fn questions_are_answered_under_whatever_settings() {
    let world = world();
    let look_alikes = "
        CREATE SCHEMA evil;
        CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'nonsense'$$;
        CREATE FUNCTION evil.current_schemas(bool) RETURNS name[] LANGUAGE sql IMMUTABLE AS $$SELECT '{elsewhere}'::pg_catalog.name[]$$;
        CREATE FUNCTION evil.array_to_json(anyarray) RETURNS json LANGUAGE sql IMMUTABLE AS $$SELECT '[\"elsewhere\"]'::pg_catalog.json$$;
        CREATE FUNCTION evil.format_type(oid, int) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'int'$$;
        CREATE FUNCTION evil.col_description(oid, int) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT NULL$$;
        CREATE FUNCTION evil.encode(bytea, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT '5b5d'$$;
        CREATE FUNCTION evil.convert_to(text, name) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$SELECT ''::pg_catalog.bytea$$;
        CREATE FUNCTION evil.never(oid, oid) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
        CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.never);
        CREATE TABLE evil.pg_namespace (oid oid, nspname name);
        CREATE TABLE evil.pg_class (oid oid, relname name, relnamespace oid, relkind \"char\");
        CREATE DOMAIN evil.text AS int; CREATE DOMAIN evil.name AS int; CREATE DOMAIN evil.bool AS int";
    let mut raw = Raw::connect(world.port, "app", "app");
    ok(&mut raw, look_alikes);
    // Somebody is in the middle of a migration.
    let mut migration = Raw::connect(world.cluster.port(), "app", "app");
    ok(
        &mut migration,
        "BEGIN; ALTER TABLE \"고객 Ω\" ADD COLUMN x int; CREATE UNIQUE INDEX ON \"고객 Ω\" ((x + 1)); DROP FUNCTION \"수\"()",
    );
    for (settings, is_utf8) in [
        ("SET search_path = ''", true),
        ("SET search_path = evil, pg_catalog", true),
        (
            "SET search_path = elsewhere, evil, pg_catalog, missing, \"$user\"",
            true,
        ),
        ("SET default_transaction_read_only = on", true),
        (
            "SET default_transaction_isolation = 'serializable'; SET default_transaction_read_only = on; SET default_transaction_deferrable = on",
            true,
        ),
        ("SET lock_timeout = '1ms'", true),
        ("SET row_security = off", true),
        (
            "SET standard_conforming_strings = off; SET escape_string_warning = on; SET backslash_quote = off",
            true,
        ),
        ("SET quote_all_identifiers = on", true),
        (
            "SET bytea_output = 'escape'; SET extra_float_digits = -15; SET DateStyle = 'German'; SET TimeZone = 'Asia/Seoul'",
            true,
        ),
        ("SET client_min_messages = 'debug5'", true),
        (
            "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_nestloop = off; SET enable_sort = off",
            true,
        ),
        (
            "SET work_mem = '64kB'; SET plan_cache_mode = 'force_generic_plan'",
            true,
        ),
        (
            "SET constraint_exclusion = on; SET transform_null_equals = on; SET array_nulls = off",
            true,
        ),
        ("SET client_encoding = 'LATIN1'", false),
        ("SET client_encoding = 'EUC_KR'", false),
        ("SET client_encoding = 'SJIS'", false),
        ("SET client_encoding = 'SQL_ASCII'", true),
    ] {
        let mut raw = Raw::connect(world.port, "app", "app");
        ok(&mut raw, settings);
        for extended in [false, true] {
            let mut said = |sql: &str| {
                ok(&mut raw, ANYTHING);
                if extended {
                    raw.send(&run(sql));
                    raw.send(&[Sync]);
                } else {
                    raw.send(&[Query(sql)]);
                }
                let answer = raw.until_ready();
                let notices = answer.iter().filter(|m| match m {
                    Message::Notice(n) => n.message.contains("pgward") || n.message.contains("nspname"),
                    _ => false,
                });
                assert_eq!(notices.count(), 0, "{settings}: {answer:?}");
                answer
            };
            let what = format!("{settings} (extended: {extended})");
            let answer = said("SELECT id, name FROM public.people WHERE email = 'p2@example.com'");
            if is_utf8 {
                let row = [Some(b"2".to_vec()), Some("Åsa".into())];
                assert_eq!(rows(&answer), [&row[..]], "{what}: {answer:?}");
            } else {
                assert_eq!(anchor(&answer), Some("protocol"), "{what}: {answer:?}");
            }
            let row = [Some(b"7".to_vec()), Some(b"seven".to_vec())];
            let answer = said("SELECT * FROM elsewhere.people");
            assert_eq!(rows(&answer), [&row[..]], "{what}: {answer:?}");
            let answer = said(r"SELECT E'a\\b' AS people");
            assert_eq!(rows(&answer), [&[Some(br"a\b".to_vec())][..]], "{what}: {answer:?}");
        }
    }
    ok(&mut migration, "ROLLBACK");
}

#[test]
fn a_time_out_is_the_servers_own_error() {
    let world = world();
    let mut cancelled = 0;
    for round in 0..40 {
        let mut raw = Raw::connect(world.port, "app", "app");
        ok(&mut raw, ANYTHING);
        ok(&mut raw, "SET statement_timeout = '1ms'");
        let sql = "SELECT name FROM people WHERE email = 'p1@example.com'";
        if round % 2 == 0 {
            raw.send(&[Query(sql)]);
        } else {
            raw.send(&run(sql));
            raw.send(&[Sync]);
        }
        let answer = raw.until_ready();
        match error(&answer) {
            Some(error) => {
                assert_eq!(error.sqlstate, "57014", "{answer:?}");
                cancelled += 1;
            }
            None => assert_eq!(rows(&answer), [&[Some("Zoë".into())][..]]),
        }
        assert!(matches!(answer.last(), Some(Message::Ready('I'))), "{answer:?}");
    }
    println!("{cancelled} of 40 were cancelled");
    // In a transaction it is lost, as with any error, and nothing is carried out in its place.
    let mut raw = Raw::connect(world.port, "app", "app");
    ok(&mut raw, "BEGIN");
    ok(&mut raw, ANYTHING);
    ok(&mut raw, "SET LOCAL statement_timeout = '1ms'");
    let answer = raw.query("UPDATE people SET name = 'x' WHERE id = 1");
    assert!(error(&answer).is_none_or(|e| e.sqlstate == "57014"), "{answer:?}");
    let lost = error(&answer).is_some();
    assert_eq!(
        answer.last(),
        Some(&Message::Ready(if lost { 'E' } else { 'T' })),
        "{answer:?}"
    );
    let mut raw = Raw::connect(world.port, "app", "app");
    assert_eq!(raw.rows("SELECT name FROM people WHERE id = 1"), [[Some("Zoë".into())]]);
}

#[test]
fn ddl_of_others_refuses_nothing() {
    const ROUNDS: usize = 60;
    let world = world();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (world, done) = (&world, &done);
            scope.spawn(move || {
                // One around pgward, one through it.
                let port = if number == 0 { world.cluster.port() } else { world.port };
                let mut raw = Raw::connect(port, "app", "app");
                while !done.load(Ordering::SeqCst) {
                    for sql in [
                        "CREATE TABLE t (a int, b text)",
                        "CREATE UNIQUE INDEX ON t (a, lower(b))",
                        "CREATE VIEW v AS SELECT a, lower(b) FROM t",
                        "CREATE FUNCTION f(t) RETURNS int LANGUAGE sql AS 'SELECT 1'",
                        "ALTER TABLE t ADD COLUMN c int DEFAULT 5",
                        "CREATE TYPE y AS (x int)",
                        "DROP TYPE y",
                        "DROP TABLE t CASCADE",
                    ] {
                        let word = |name: &str| format!("{name}{number}");
                        let sql = sql
                            .split(' ')
                            .map(|w| match w {
                                "t" | "v" | "y" => word(w),
                                "f(t)" => format!("f{number}(t{number})"),
                                _ => w.to_owned(),
                            })
                            .collect::<Vec<_>>()
                            .join(" ");
                        ok(&mut raw, &sql);
                    }
                }
            });
        }
        let work = || {
            let mut raw = Raw::connect(world.port, "app", "app");
            for round in 0..ROUNDS {
                ok(&mut raw, "CREATE TABLE own (a int)");
                // As PostgreSQL's own test of passwords has it: a backslash may hide a name.
                let sql = r"SELECT regexp_replace('a$1', '(a)\$(\d+)', '\2\1')";
                if round % 2 == 0 {
                    assert_eq!(raw.rows(sql), [[Some("1a".into())]]);
                    ok(&mut raw, "BEGIN");
                    assert_eq!(raw.rows("SELECT count(*) FROM people"), [[Some("2".into())]]);
                    ok(&mut raw, "COMMIT");
                } else {
                    let [parse, bind, execute] = run(sql);
                    raw.send(&[parse, bind, execute, Sync]);
                    let answer = raw.until_ready();
                    assert_eq!(rows(&answer), [&[Some(b"1a".to_vec())][..]], "{answer:?}");
                }
                ok(&mut raw, "DROP TABLE own");
            }
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::SeqCst);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

const NAME: &str = "SELECT name FROM people WHERE id = 1";

#[test]
fn no_protected_value_is_read_or_shown_in_another_encoding_than_utf8() {
    let world = world();
    // Prepared before, bound and executed after.
    for (change, back) in [
        ("SET client_encoding = 'LATIN1'", "RESET client_encoding"),
        (
            "SELECT set_config('client_encoding', 'LATIN1', false)",
            "SET client_encoding = 'UTF8'",
        ),
        ("SET NAMES 'WIN1252'", "RESET ALL"),
        (
            "DO $$ BEGIN SET client_encoding = 'LATIN1'; END $$",
            "DISCARD TEMP; RESET client_encoding",
        ),
    ] {
        for waits in [true, false] {
            let mut raw = Raw::connect(world.port, "app", "app");
            raw.send(&[
                Parse("read", NAME, vec![]),
                Parse("write", "INSERT INTO people (id, name) VALUES (9, $1)", vec![]),
                Sync,
            ]);
            assert!(error(&raw.until_ready()).is_none());
            let value = vec![Some(b"\xc3\xa9".to_vec())];
            for last in [
                vec![Bind("", "read", vec![], vec![], vec![]), Execute("", 0)],
                vec![Bind("", "write", vec![], value, vec![]), Execute("", 0)],
            ] {
                let answer = if waits {
                    ok(&mut raw, change);
                    raw.send(&last);
                    raw.send(&[Sync]);
                    raw.until_ready()
                } else {
                    raw.send(&[&run(change)[..], &last, &[Sync]].concat());
                    raw.until_ready()
                };
                assert_eq!(anchor(&answer), Some("protocol"), "{change}: {answer:?}");
                ok(&mut raw, back);
            }
            assert_eq!(raw.rows(NAME), [[Some("Zoë".into())]]);
            assert_eq!(raw.rows("SELECT count(*) FROM people"), [[Some("2".into())]]);
        }
    }
    // A portal that is executed twice.
    let mut raw = Raw::connect(world.port, "app", "app");
    ok(&mut raw, "BEGIN");
    raw.send(&[
        Parse("", "SELECT name FROM people ORDER BY id", vec![]),
        Bind("p", "", vec![], vec![], vec![]),
        Execute("p", 1),
        Sync,
    ]);
    let answer = raw.until_ready();
    assert_eq!(rows(&answer), [&[Some("Zoë".into())][..]]);
    ok(&mut raw, "SET LOCAL client_encoding = 'LATIN1'");
    raw.send(&[Execute("p", 1), Sync]);
    let answer = raw.until_ready();
    assert_eq!(anchor(&answer), Some("protocol"), "{answer:?}");
    // What was set for the transaction ends with it, also where nobody waits for its end.
    raw.send(&[Query("ROLLBACK"), Query(NAME)]);
    raw.until_ready();
    let answer = raw.until_ready();
    assert_eq!(rows(&answer), [&[Some("Zoë".into())][..]], "{answer:?}");
    ok(&mut raw, "BEGIN");
    ok(&mut raw, "SET LOCAL client_encoding = 'LATIN1'");
    raw.send(&[&run("COMMIT")[..], &run(NAME), &[Sync]].concat());
    let answer = raw.until_ready();
    assert_eq!(rows(&answer), [&[Some("Zoë".into())][..]], "{answer:?}");
}

#[test]
fn an_encoding_from_elsewhere_is_known_at_once() {
    let world = world();
    let protected = |raw: &mut Raw| {
        let answer = raw.query(NAME);
        assert_eq!(anchor(&answer), Some("protocol"), "{answer:?}");
        ok(raw, "SET client_encoding = 'UTF8'");
        assert_eq!(raw.rows(NAME), [[Some("Zoë".into())]]);
    };
    let parameters = [("user", "app"), ("database", "app"), ("client_encoding", "LATIN1")];
    protected(&mut Raw::connect_with(world.port, &parameters));
    let parameters = [
        ("user", "app"),
        ("database", "app"),
        ("options", "-c client_encoding=LATIN1"),
    ];
    protected(&mut Raw::connect_with(world.port, &parameters));
    for (set, reset) in [
        (
            "ALTER ROLE app SET client_encoding = 'LATIN1'",
            "ALTER ROLE app RESET client_encoding",
        ),
        (
            "ALTER DATABASE app SET client_encoding = 'LATIN1'",
            "ALTER DATABASE app RESET client_encoding",
        ),
    ] {
        world.cluster.sql("app", set).expect("set");
        protected(&mut Raw::connect(world.port, "app", "app"));
        world.cluster.sql("app", reset).expect("reset");
    }
    // Inside of a function it is over when rows are sent; a function that leaves it changed is noticed behind the statement that called it.
    let mut raw = Raw::connect(world.port, "app", "app");
    ok(
        &mut raw,
        "CREATE FUNCTION within() RETURNS int LANGUAGE sql SET client_encoding = 'LATIN1' AS 'SELECT 1'",
    );
    ok(
        &mut raw,
        "CREATE FUNCTION lasting() RETURNS text LANGUAGE sql AS $$SELECT set_config('client_encoding', 'LATIN1', false)$$",
    );
    let within = "SELECT within()::text, name FROM people WHERE id = 1";
    assert_eq!(raw.rows(within), [[Some("1".into()), Some("Zoë".into())]]);
    raw.send(&[Query("SELECT lasting()"), Query(NAME)]);
    raw.until_ready();
    let answer = raw.until_ready();
    assert_eq!(anchor(&answer), Some("protocol"), "{answer:?}");
    ok(&mut raw, "RESET client_encoding");
    raw.send(&[&run("SELECT lasting()")[..], &run(NAME), &[Sync]].concat());
    let answer = raw.until_ready();
    assert_eq!(anchor(&answer), Some("protocol"), "{answer:?}");
}
