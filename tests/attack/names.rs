//! Attacks by names that mean something else as soon as a transaction ends, sent before its end is answered.

use super::extended::{Flights, MASKED_TWICE, bind, parse, shows_nothing};
use crate::support::raw::Raw;
use crate::support::raw::Send::{self, *};
use crate::support::raw::error;
use crate::{secrets_in, shown};

/// In which a name means a table without protected columns.
const ELSEWHERE: [&str; 4] = [
    "SET LOCAL search_path = shadow",
    "SELECT set_config('search_path', 'shadow', true)",
    "CREATE TEMP TABLE customers (note text, name text) ON COMMIT DROP",
    "DO 'BEGIN SET LOCAL search_path = shadow; END'",
];
/// Makes pgward find out what names mean.
const HARMLESS: &str = "SELECT 'customers'";

/// Parse, Bind and Execute without Sync.
fn run<'a>(sql: &'a str) -> [Send<'a>; 3] {
    [parse("", sql), bind("", ""), Execute("", 0)]
}

fn batch<'a>(statements: &[&'a str]) -> Vec<Send<'a>> {
    let mut flight: Vec<Send<'_>> = statements.iter().flat_map(|sql| run(sql)).collect();
    flight.push(Sync);
    flight
}

fn queries<'a>(statements: &[&'a str]) -> Vec<Send<'a>> {
    statements.iter().map(|sql| Query(sql)).collect()
}

#[test]
fn no_name_is_taken_for_what_it_meant_in_a_transaction_that_ends() {
    let mut flights: Flights<'_> = Vec::new();
    for elsewhere in ELSEWHERE {
        for end in [
            "COMMIT",
            "END",
            "ROLLBACK",
            "COMMIT AND CHAIN",
            "ROLLBACK AND CHAIN",
            "ABORT",
        ] {
            flights.push((end, vec![queries(&["BEGIN", elsewhere, HARMLESS, end, MASKED_TWICE])]));
            // An earlier transaction's end is answered in between.
            flights.push((
                end,
                vec![queries(&["SELECT 1", "BEGIN", elsewhere, HARMLESS, end, MASKED_TWICE])],
            ));
            flights.push((
                end,
                vec![
                    [
                        batch(&["SELECT 1"]),
                        batch(&["BEGIN", elsewhere, HARMLESS]),
                        batch(&[end]),
                        batch(&[MASKED_TWICE]),
                    ]
                    .concat(),
                ],
            ));
            flights.push((
                end,
                vec![
                    batch(&["BEGIN"]),
                    batch(&[elsewhere]),
                    [batch(&[HARMLESS]), batch(&[end, MASKED_TWICE])].concat(),
                ],
            ));
            flights.push((end, vec![batch(&["BEGIN", elsewhere, HARMLESS, end, MASKED_TWICE])]));
            flights.push((
                end,
                vec![
                    batch(&["BEGIN"]),
                    [batch(&[end, elsewhere, HARMLESS]), batch(&[MASKED_TWICE])].concat(),
                ],
            ));
        }
        // The implicit transaction of a batch, with and without a failure.
        let mut ended = batch(&[elsewhere, HARMLESS]);
        let mut failed = batch(&[elsewhere, HARMLESS, "SELECT 1/0"]);
        let mut by_query: Vec<Send<'_>> = [run(elsewhere), run(HARMLESS)].concat();
        by_query.push(Query("SELECT 1"));
        for flight in [&mut ended, &mut failed, &mut by_query] {
            flight.extend(batch(&[MASKED_TWICE]));
        }
        let mut queried = batch(&[elsewhere, HARMLESS]);
        queried.push(Query(MASKED_TWICE));
        flights.push(("a batch", vec![ended]));
        flights.push(("a batch that fails", vec![failed]));
        flights.push(("a batch that a Query ends", vec![by_query]));
        flights.push(("a batch, and a Query", vec![queried]));
        flights.push((
            "a savepoint",
            vec![queries(&[
                "BEGIN",
                "SAVEPOINT a",
                elsewhere,
                HARMLESS,
                "ROLLBACK TO a",
                MASKED_TWICE,
            ])],
        ));
        // Prepared where the name meant something else.
        flights.push((
            "a statement that outlives it",
            vec![
                queries(&["BEGIN", elsewhere]),
                vec![
                    parse("s", MASKED_TWICE),
                    Sync,
                    Query("COMMIT"),
                    bind("", "s"),
                    Execute("", 0),
                    Sync,
                ],
            ],
        ));
    }
    shows_nothing(&flights);
}

/// Under one setting this is a literal, under the other a statement on customers.
const LITERAL_IF_STANDARD: &str = "SELECT '\\'' AS x, name || name FROM customers --'";
const LITERAL_IF_NOT: &str = "SELECT '\\', name || name FROM customers --'";

#[test]
fn no_literal_is_read_by_settings_that_the_server_has_not_reported_yet() {
    let mut flights: Flights<'_> = Vec::new();
    for (value, text) in [("off", LITERAL_IF_STANDARD), ("on", LITERAL_IF_NOT)] {
        let (other, set, set_local, function, code) = match value {
            "off" => (
                "SET standard_conforming_strings = on",
                "SET standard_conforming_strings = off",
                "SET LOCAL standard_conforming_strings = on",
                "SELECT set_config('standard_conforming_strings', 'off', false)",
                "DO 'BEGIN SET standard_conforming_strings = off; END'",
            ),
            _ => (
                "SET standard_conforming_strings = off",
                "SET standard_conforming_strings = on",
                "SET LOCAL standard_conforming_strings = off",
                "SELECT set_config('standard_conforming_strings', 'on', false)",
                "DO 'BEGIN SET standard_conforming_strings = on; END'",
            ),
        };
        for set in [set, function, code, "RESET standard_conforming_strings"] {
            flights.push((value, vec![queries(&[other]), batch(&[set, text])]));
            flights.push((value, vec![queries(&[other]), queries(&[set, text])]));
            let then_query = [&run(set)[..], &[Query(text), Sync]].concat();
            flights.push((value, vec![queries(&[other]), then_query]));
        }
        for end in ["COMMIT", "ROLLBACK"] {
            flights.push((value, vec![queries(&[set, "BEGIN", set_local, HARMLESS, end, text])]));
            flights.push((
                value,
                vec![
                    queries(&[set]),
                    batch(&["BEGIN", set_local]),
                    [batch(&[HARMLESS]), batch(&[end, text])].concat(),
                ],
            ));
        }
        // A portal's statement, and one that was prepared before.
        flights.push((
            value,
            vec![
                vec![Query(other), parse("set", set), Sync],
                [vec![bind("", "set"), Execute("", 0)], batch(&[text])].concat(),
            ],
        ));
    }
    shows_nothing(&flights);
}

/// A name is resolved by the server when it has the table's lock: what it meant when pgward looked may be gone by then.
#[test]
fn no_name_falls_through_to_a_protected_table_when_what_hid_it_is_dropped() {
    let world = crate::world();
    let mut leaks = Vec::new();
    for (make, schema, drop) in [
        (
            "CREATE TEMP TABLE customers (note text, name text)",
            None,
            "DROP OWNED BY CURRENT_USER",
        ),
        (
            "CREATE SCHEMA IF NOT EXISTS ahead; CREATE TABLE ahead.customers (note text, name text); SET search_path = ahead, public",
            Some("ahead"),
            "DROP TABLE ahead.customers",
        ),
    ] {
        let mut victim = Raw::connect(world.port, "masked", "app");
        let mut dropper = Raw::connect(world.port, "masked", "app");
        if schema.is_some() {
            world
                .cluster
                .sql("app", "GRANT CREATE ON DATABASE app TO masked")
                .expect("a right");
        }
        for sql in make.split("; ") {
            let answer = victim.query(sql);
            assert!(error(&answer).is_none(), "{sql}: {answer:?}");
        }
        let found = victim.rows("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()");
        let schema = match schema {
            Some(schema) => schema.to_owned(),
            None => found[0][0].clone().expect("a name"),
        };
        // With its schema it can't mean another table.
        let answer = victim.query(&format!("SELECT note || '' FROM {schema}.customers"));
        assert!(error(&answer).is_none(), "{answer:?}");
        // Nor does a definition without a query read anything.
        for sql in [
            "ALTER TABLE customers ADD more int",
            "CREATE TEMP TABLE IF NOT EXISTS customers (note text, name text)",
        ] {
            let answer = victim.query(sql);
            assert!(error(&answer).is_none(), "{sql}: {answer:?}");
        }
        if drop.contains("ahead") {
            victim.query("DROP TABLE pg_temp.customers");
        }
        dropper.query("BEGIN");
        // The first may drop what is its own by name, both all that is theirs.
        let dropped = dropper.query(drop);
        assert!(error(&dropped).is_none(), "{dropped:?}");
        victim.send(&[Query(MASKED_TWICE)]);
        std::thread::sleep(std::time::Duration::from_millis(500));
        dropper.query("COMMIT");
        let text = shown(&victim.until_ready());
        if !secrets_in(&text).is_empty() {
            leaks.push(format!("{make}: {text}"));
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// The same with a column: a name in a subquery means one of the table outside if the table inside has none.
#[test]
fn no_column_falls_through_to_a_protected_one_outside() {
    let world = crate::world();
    world
        .cluster
        .sql("app", "GRANT CREATE ON DATABASE app TO masked")
        .expect("a right");
    let mut victim = Raw::connect(world.port, "masked", "app");
    let mut dropper = Raw::connect(world.port, "masked", "app");
    let answer = victim.query("CREATE SCHEMA own");
    assert!(error(&answer).is_none(), "{answer:?}");
    let mut leaks = Vec::new();
    for sql in [
        "SELECT (SELECT name || '' FROM own.t LIMIT 1) FROM customers",
        "SELECT x.n FROM customers c, LATERAL (SELECT name || '' AS n FROM own.t) x",
        "SELECT id FROM customers WHERE EXISTS (SELECT FROM own.t WHERE 1 / (CASE WHEN name LIKE 'Za%' THEN 0 ELSE 1 END) = 1)",
        "SELECT ARRAY(SELECT phone FROM own.t) FROM customers",
        "SELECT c::text FROM own.t, customers c",
    ] {
        for statement in [
            "DROP TABLE IF EXISTS own.t",
            "CREATE TABLE own.t (name text, phone text, c text)",
            "INSERT INTO own.t VALUES ('own', 'own', 'own')",
        ] {
            let answer = victim.query(statement);
            assert!(error(&answer).is_none(), "{answer:?}");
        }
        victim.query(HARMLESS);
        dropper.query("BEGIN");
        let dropped = dropper.query("ALTER TABLE own.t DROP COLUMN name, DROP COLUMN phone, DROP COLUMN c");
        assert!(error(&dropped).is_none(), "{dropped:?}");
        victim.send(&[Query(sql)]);
        std::thread::sleep(std::time::Duration::from_millis(300));
        dropper.query("COMMIT");
        let text = shown(&victim.until_ready());
        if !secrets_in(&text).is_empty() || text.contains("division by zero") {
            leaks.push(format!("{sql}: {text}"));
        }
        // With the table's name it can't mean another column.
        victim.query("ALTER TABLE own.t ADD name text, ADD phone text, ADD c text");
        let qualified = sql
            .replace("name", "t.name")
            .replace("phone", "t.phone")
            .replace("c::", "t.c::");
        let answer = victim.query(&qualified);
        assert!(error(&answer).is_none(), "{qualified}: {answer:?}");
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}
