//! Attacks by the order of messages.

use super::*;
use crate::support::raw::Send::{self, *};
use std::sync::LazyLock;

/// Everything up to the n-th ReadyForQuery.
fn ready(raw: &mut Raw, n: usize) -> Vec<Message> {
    (0..n).flat_map(|_| raw.until_ready()).collect()
}

pub(crate) fn bind<'a>(portal: &'a str, statement: &'a str) -> Send<'a> {
    Bind(portal, statement, vec![], vec![], vec![])
}

/// Twice, so that no result column names its table.
pub(crate) const MASKED_TWICE: &str = "SELECT name FROM customers UNION ALL SELECT name FROM customers";

pub(crate) fn parse<'a>(name: &'a str, sql: &'a str) -> Send<'a> {
    Parse(name, sql, vec![])
}

/// Two names that differ behind the 63rd byte only.
static LONG: LazyLock<String> = LazyLock::new(|| format!("{}a", "s".repeat(63)));
static LONG_OTHER: LazyLock<String> = LazyLock::new(|| format!("{}b", "s".repeat(63)));

/// What is sent, up to the answers that are waited for before the next flight.
pub(crate) type Flights<'a> = Vec<(&'a str, Vec<Vec<Send<'a>>>)>;

/// No flight shows a masked handler a secret.
pub(crate) fn shows_nothing(flights: &Flights<'_>) {
    let world = world();
    let mut leaks = Vec::new();
    for (what, flights) in flights {
        let mut raw = Raw::connect(world.port, "masked", "app");
        let mut all = Vec::new();
        for flight in flights {
            raw.send(flight);
            let answers = flight.iter().filter(|s| matches!(s, Sync | Query(_))).count();
            all.extend(ready(&mut raw, answers));
        }
        let text = shown(&all);
        if std::env::var("ATTACK_SHOW").is_ok() {
            eprintln!("== {what}\n{text}");
        }
        let found = secrets_in(&text);
        if !found.is_empty() {
            leaks.push(format!("== {what} shows {found:?}:\n{text}"));
        }
        // The connection is still in step.
        let mut after = raw.query("ROLLBACK; SELECT 42");
        if shown(&after).contains("StartTransactionCommand: unexpected state") {
            // PostgreSQL 18.4, after a Query behind messages without Sync.
            after = raw.query("ROLLBACK; SELECT 42");
        }
        assert!(shown(&after).contains("42"), "{what}: {after:?}");
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

/// Binds and executes.
fn run<'a>(statement: &'a str) -> [Send<'a>; 3] {
    [bind("", statement), Execute("", 0), Sync]
}

#[test]
fn no_statement_that_is_forgotten_is_carried_out_without_its_plan() {
    let prepared = || vec![parse("s", MASKED_TWICE), parse("t", "SELECT 1"), Sync];
    let flights: Flights<'_> = vec![
        (
            "deallocated",
            vec![prepared(), vec![Query("DEALLOCATE s")], run("s").into()],
        ),
        (
            "another one deallocated",
            vec![prepared(), vec![Query("DEALLOCATE t")], run("s").into()],
        ),
        (
            "a DEALLOCATE that fails",
            vec![prepared(), vec![Query("DEALLOCATE r; DEALLOCATE s")], run("s").into()],
        ),
        (
            "a DEALLOCATE that fails, all in one flight",
            vec![prepared(), {
                let mut flight = vec![Query("DEALLOCATE r; DEALLOCATE s")];
                flight.extend(run("s"));
                flight
            }],
        ),
        (
            "one in capitals, and DEALLOCATE of the name in small letters",
            vec![
                vec![parse("S", MASKED_TWICE), parse("s", "SELECT 1"), Sync],
                vec![Query("DEALLOCATE S")],
                run("S").into(),
            ],
        ),
        (
            "a DEALLOCATE in what is a string on the server",
            vec![
                prepared(),
                vec![
                    Query("SET standard_conforming_strings = off"),
                    Query("SELECT '\\'; DEALLOCATE s; --'; DEALLOCATE t"),
                ],
                run("s").into(),
            ],
        ),
        (
            "prepared again behind the DEALLOCATE in one flight",
            vec![
                prepared(),
                vec![Query("DEALLOCATE s"), parse("s", MASKED_TWICE), Sync],
                run("s").into(),
            ],
        ),
        (
            "the same with all",
            vec![
                prepared(),
                vec![
                    parse("d", "DEALLOCATE ALL"),
                    bind("", "d"),
                    Execute("", 0),
                    parse("s", MASKED_TWICE),
                    Sync,
                ],
                run("s").into(),
            ],
        ),
        (
            "the unnamed one, which ALL leaves",
            vec![
                vec![parse("", MASKED_TWICE), parse("d", "DEALLOCATE ALL"), Sync],
                run("d").into(),
                run("").into(),
            ],
        ),
        (
            "a Parse that fails behind a DEALLOCATE of another",
            vec![
                prepared(),
                vec![Query("DEALLOCATE t"), parse("s", "SELECT 1"), Sync],
                run("s").into(),
            ],
        ),
        (
            "DEALLOCATE in a transaction that is rolled back",
            vec![
                prepared(),
                vec![Query("BEGIN"), Query("DEALLOCATE s"), Query("ROLLBACK")],
                run("s").into(),
            ],
        ),
        (
            "a search path that a statement of SQL's moves, executed by the protocol",
            vec![
                vec![Query("SET search_path = shadow, public")],
                vec![Query("PREPARE m AS SELECT set_config('search_path', 'public', false)")],
                vec![Query("SELECT name || '' FROM customers")],
                run("m").into(),
                vec![Query("SELECT name || '' FROM customers")],
            ],
        ),
    ];
    shows_nothing(&flights);
}

#[test]
fn no_portal_is_read_by_its_name() {
    let open = || vec![Query("BEGIN"), parse("s", MASKED_TWICE), bind("p", "s"), Sync];
    let to_xml = "SELECT cursor_to_xml('p', 10, false, true, '')";
    let flights: Flights<'_> = vec![
        (
            "FETCH, prepared and then EXECUTEd by SQL",
            vec![open(), vec![parse("x", "FETCH ALL p"), Sync], vec![Query("EXECUTE x")]],
        ),
        (
            "the same by EXECUTE of EXECUTE",
            vec![
                open(),
                vec![parse("x", "FETCH ALL p"), parse("y", "EXECUTE x"), Sync],
                vec![Query("EXECUTE y")],
            ],
        ),
        (
            "EXECUTE of EXECUTE of a statement",
            vec![
                vec![parse("s", MASKED_TWICE), parse("x", "EXECUTE s"), Sync],
                vec![Query("EXECUTE x")],
            ],
        ),
        ("cursor_to_xml", vec![open(), vec![Query(to_xml)]]),
        (
            "cursor_to_xml, extended",
            vec![open(), vec![parse("x", to_xml), Sync], run("x").into()],
        ),
        (
            "cursor_to_xml, prepared and then EXECUTEd by SQL",
            vec![open(), vec![parse("x", to_xml), Sync], vec![Query("EXECUTE x")]],
        ),
        (
            "cursor_to_xml beside a masked column",
            vec![
                open(),
                vec![Query(
                    "SELECT name, cursor_to_xml('p', 10, false, true, '') FROM customers",
                )],
            ],
        ),
        (
            "cursor_to_xml beside a masked column, extended",
            vec![
                open(),
                vec![
                    parse(
                        "x",
                        "SELECT name, cursor_to_xml('p', 10, false, true, '') FROM customers",
                    ),
                    Sync,
                ],
                run("x").into(),
            ],
        ),
    ];
    shows_nothing(&flights);
}

#[test]
fn no_order_of_messages_shows_a_masked_handler_what_he_may_not_see() {
    let flights: Flights<'_> = vec![
        (
            "plain",
            vec![vec![parse("s", MASKED_TWICE), bind("", "s"), Execute("", 0), Sync]],
        ),
        (
            "SQL EXECUTE of a statement of the protocol",
            vec![vec![parse("s", MASKED_TWICE), Sync], vec![Query("EXECUTE s")]],
        ),
        (
            "the same, quoted, behind a comment",
            vec![
                vec![parse("S s", MASKED_TWICE), Sync],
                vec![Query("/* */ EXECUTE \"S s\"")],
            ],
        ),
        (
            "the same, U&",
            vec![
                vec![parse("s", MASKED_TWICE), Sync],
                vec![Query("EXECUTE U&\"\\0073\"")],
            ],
        ),
        (
            "CREATE TABLE AS EXECUTE",
            vec![
                vec![parse("s", MASKED_TWICE), Sync],
                vec![Query("CREATE TEMP TABLE leak AS EXECUTE s")],
                vec![Query("SELECT * FROM leak")],
            ],
        ),
        (
            "EXPLAIN ANALYZE EXECUTE",
            vec![
                vec![parse("s", MASKED_TWICE), Sync],
                vec![Query("EXPLAIN ANALYZE EXECUTE s")],
            ],
        ),
        (
            "EXECUTE in the extended protocol",
            vec![
                vec![parse("s", MASKED_TWICE), Sync],
                vec![parse("x", "EXECUTE s"), bind("", "x"), Execute("", 0), Sync],
            ],
        ),
        (
            "EXECUTE prepared before what it executes",
            vec![vec![
                parse("x", "EXECUTE s"),
                parse("s", MASKED_TWICE),
                bind("", "x"),
                Execute("", 0),
                Sync,
            ]],
        ),
        (
            "FETCH from a portal",
            vec![
                vec![Query("BEGIN")],
                vec![parse("s", MASKED_TWICE), bind("p", "s"), Sync],
                vec![Query("FETCH ALL FROM p")],
            ],
        ),
        (
            "FETCH from a portal, extended",
            vec![
                vec![Query("BEGIN")],
                vec![
                    parse("s", MASKED_TWICE),
                    bind("p", "s"),
                    parse("", "FETCH ALL p"),
                    bind("", ""),
                    Execute("", 0),
                    Sync,
                ],
            ],
        ),
        (
            "FETCH in DO",
            vec![
                vec![Query("BEGIN")],
                vec![parse("s", MASKED_TWICE), bind("p", "s"), Sync],
                vec![Query(
                    "DO $$ DECLARE c refcursor := 'p'; r record; BEGIN FETCH c INTO r; RAISE NOTICE '%', r; END $$",
                )],
            ],
        ),
        (
            "a Parse that fails because the name is taken, and its Bind in one flight",
            vec![
                vec![parse("s", MASKED_TWICE), Sync],
                vec![parse("s", "SELECT 1"), Sync, bind("", "s"), Execute("", 0), Sync],
            ],
        ),
        (
            "a Close that the server discards, and a Bind in one flight",
            vec![
                vec![parse("s", MASKED_TWICE), Sync],
                vec![
                    parse("", "SELEC"),
                    CloseStatement("s"),
                    Sync,
                    bind("", "s"),
                    Execute("", 0),
                    Sync,
                ],
            ],
        ),
        (
            "the same with EXECUTE",
            vec![
                vec![parse("s", MASKED_TWICE), Sync],
                vec![parse("", "SELEC"), CloseStatement("s"), Sync, Query("EXECUTE s")],
            ],
        ),
        (
            "the same with a Parse",
            vec![
                vec![parse("s", MASKED_TWICE), Sync],
                vec![parse("s", "SELECT 1"), Sync, Query("EXECUTE s")],
            ],
        ),
        (
            "a search path that changes within a flight",
            vec![
                vec![Query("SET search_path = shadow")],
                vec![
                    parse("a", "SELECT name || '' FROM customers"),
                    parse("b", "SET search_path = public"),
                    bind("", "b"),
                    Execute("", 0),
                    bind("", "a"),
                    Execute("", 0),
                    Sync,
                ],
            ],
        ),
        (
            "a search path that a function changes within a flight",
            vec![
                vec![Query("SET search_path = shadow")],
                vec![
                    parse("a", "SELECT name || '' FROM customers"),
                    parse("b", "SELECT set_config('search_path', 'public', false)"),
                    bind("", "b"),
                    Execute("", 0),
                    bind("", "a"),
                    Execute("", 0),
                    Sync,
                ],
            ],
        ),
        (
            "a search path that comes back at the end of a failed transaction",
            vec![
                vec![Query("BEGIN"), Query("SET search_path = shadow")],
                vec![parse("a", "SELECT name || '' FROM customers"), Sync],
                vec![Query("SELEC"), Query("ROLLBACK"), bind("", "a"), Execute("", 0), Sync],
            ],
        ),
        (
            "a portal that is executed bit by bit",
            vec![vec![
                parse("s", MASKED_TWICE),
                bind("p", "s"),
                Execute("p", 1),
                Flush,
                Execute("p", 1),
                Query("SELECT 1"),
            ]],
        ),
        (
            "a temporary table that goes",
            vec![
                vec![Query("CREATE TEMP TABLE customers (name text)")],
                vec![parse("a", "SELECT name || '' FROM customers"), Sync],
                vec![
                    parse("b", "DROP TABLE pg_temp.customers"),
                    bind("", "b"),
                    Execute("", 0),
                    bind("", "a"),
                    Execute("", 0),
                    Sync,
                ],
            ],
        ),
        (
            "a temporary table that goes, by DISCARD",
            vec![
                vec![Query("CREATE TEMP TABLE customers (name text)")],
                vec![parse("a", "SELECT name || '' FROM customers"), Sync],
                vec![Query("DISCARD TEMP"), bind("", "a"), Execute("", 0), Sync],
            ],
        ),
        (
            "DEALLOCATE and PREPARE by SQL",
            vec![
                vec![parse("s", "SELECT note, name FROM customers"), Sync],
                vec![
                    Query("DEALLOCATE s"),
                    Query("PREPARE s AS SELECT note, note FROM customers"),
                ],
                vec![bind("", "s"), Execute("", 0), Sync],
            ],
        ),
        (
            "names that the server cuts",
            vec![
                vec![parse(&LONG, MASKED_TWICE), Sync],
                vec![bind("", &LONG_OTHER), Execute("", 0), Sync],
                vec![Query("BEGIN")],
                vec![bind(&LONG, &LONG), Sync],
                vec![Execute(&LONG_OTHER, 0), Sync],
            ],
        ),
        (
            "a name in another encoding",
            vec![
                vec![
                    Query("SET client_encoding = LATIN1"),
                    Frame(
                        b'P',
                        b"\xe9\0SELECT name FROM customers UNION ALL SELECT name FROM customers\0\0\0",
                    ),
                    Sync,
                ],
                vec![
                    Query("SET client_encoding = UTF8"),
                    bind("", "\u{e9}"),
                    Execute("", 0),
                    Sync,
                ],
            ],
        ),
        (
            "a portal that outlives a failed subtransaction",
            vec![
                vec![Query("BEGIN")],
                vec![parse("s", MASKED_TWICE), bind("p", "s"), Sync],
                vec![Query("SAVEPOINT a")],
                vec![
                    parse("", "SELEC"),
                    ClosePortal("p"),
                    Sync,
                    parse("r", "ROLLBACK TO a"),
                    bind("", "r"),
                    Execute("", 0),
                    Execute("p", 0),
                    Sync,
                ],
            ],
        ),
        (
            "a portal whose name is taken",
            vec![
                vec![Query("BEGIN")],
                vec![parse("s", MASKED_TWICE), parse("t", "SELECT 1"), bind("p", "s"), Sync],
                vec![Query("SAVEPOINT a")],
                vec![
                    bind("p", "t"),
                    Sync,
                    parse("r", "ROLLBACK TO a"),
                    bind("", "r"),
                    Execute("", 0),
                    Execute("p", 0),
                    Sync,
                ],
            ],
        ),
        (
            "an unnamed statement whose Parse the server discards",
            vec![
                vec![parse("", MASKED_TWICE), Sync],
                vec![
                    parse("x", "SELEC"),
                    parse("", "SELECT 1"),
                    Sync,
                    bind("", ""),
                    Execute("", 0),
                    Sync,
                ],
            ],
        ),
        (
            "formats of all kinds",
            vec![
                vec![
                    parse("s", "SELECT name, phone FROM customers"),
                    Bind("", "s", vec![], vec![], vec![1]),
                    Execute("", 0),
                    Sync,
                ],
                vec![
                    Bind("", "s", vec![], vec![], vec![1, 0]),
                    DescribePortal(""),
                    Execute("", 0),
                    Sync,
                ],
                vec![
                    Bind("", "s", vec![], vec![], vec![0, 1]),
                    Execute("", 1),
                    Execute("", 0),
                    Sync,
                ],
                vec![Bind("", "s", vec![], vec![], vec![7]), Execute("", 0), Sync],
                vec![Bind("", "s", vec![], vec![], vec![1, 0, 0]), Execute("", 0), Sync],
            ],
        ),
    ];
    shows_nothing(&flights);
}
