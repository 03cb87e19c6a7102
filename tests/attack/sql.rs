//! Attacks in SQL, one session each.

use super::*;
use crate::support::raw::Send;

#[path = "runs_sql.rs"]
mod runs_sql;

/// Who; the Query messages of one session.
type Attack = (&'static str, &'static [&'static str]);

const SIMPLE: &[Attack] = &[
    // Errors that show rows.
    ("nobody", &["UPDATE customers SET size = 100 WHERE id = 1"]),
    ("nobody", &["UPDATE customers SET id = NULL WHERE id = 1"]),
    ("nobody", &["UPDATE customers SET id = 2 WHERE id = 1"]),
    ("searcher", &["SELECT id FROM customers WHERE name::int = 1"]),
    ("searcher", &["SELECT id FROM customers ORDER BY name::int"]),
    ("searcher", &["SELECT 1 FROM customers WHERE phone::date > now()"]),
    ("searcher", &["SELECT count(*) FROM customers GROUP BY name::json"]),
    (
        "searcher",
        &["SELECT id FROM customers WHERE to_date(name, 'YYYY') > now()"],
    ),
    (
        "searcher",
        &["SELECT id FROM customers WHERE ('{' || name || '}')::int[] IS NOT NULL"],
    ),
    (
        "searcher",
        &[
            "SELECT id FROM customers WHERE set_config('x.y', name, false) IS NOT NULL",
            "SHOW x.y",
        ],
    ),
    (
        "searcher",
        &["SELECT id FROM customers WHERE set_config('application_name', name, false) IS NOT NULL"],
    ),
    ("writer", &["UPDATE customers SET name = NULL WHERE name::int = 1"]),
    (
        "writer",
        &[
            "UPDATE customers SET note = name WHERE id = 1",
            "SELECT note FROM customers WHERE id = 1",
        ],
    ),
    (
        "writer",
        &[
            "UPDATE customers SET note = (SELECT name FROM customers WHERE id = 1)",
            "SELECT note FROM customers",
        ],
    ),
    (
        "writer",
        &[
            "INSERT INTO orders (id, item) SELECT 90, name FROM customers WHERE id = 1",
            "SELECT item FROM orders",
        ],
    ),
    (
        "writer",
        &[
            "INSERT INTO customers (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET note = customers.name",
            "SELECT note FROM customers",
        ],
    ),
    (
        "writer",
        &[
            "INSERT INTO customers (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING customers.name",
        ],
    ),
    ("writer", &["UPDATE customers SET note = 'a' WHERE id = 1 RETURNING *"]),
    ("writer", &["DELETE FROM customers WHERE id = 99 RETURNING customers"]),
    // Rows and fields.
    ("nobody", &["SELECT customers FROM customers"]),
    ("nobody", &["SELECT c FROM customers c"]),
    ("nobody", &["SELECT (c).name FROM customers c"]),
    ("nobody", &["SELECT (c.*)::text FROM customers c"]),
    ("nobody", &["SELECT ROW(c.*) FROM customers c"]),
    ("nobody", &["SELECT (SELECT c) FROM customers c"]),
    ("nobody", &["SELECT (SELECT customers).name FROM customers"]),
    ("nobody", &["SELECT ((SELECT c FROM customers c WHERE id = 1)).*"]),
    ("nobody", &["SELECT name(customers) FROM customers"]),
    ("nobody", &["SELECT to_json(c) FROM customers c"]),
    ("nobody", &["SELECT c.to_json FROM customers c"]),
    ("nobody", &["SELECT public.customers FROM public.customers"]),
    ("nobody", &["SELECT array_agg(c) FROM customers c"]),
    ("nobody", &["SELECT x.* FROM customers c, LATERAL (SELECT c.*) x"]),
    (
        "nobody",
        &["SELECT x.name FROM customers c, LATERAL (VALUES (c.name)) x(name)"],
    ),
    (
        "nobody",
        &["SELECT j.value FROM customers c, LATERAL jsonb_each_text(to_jsonb(c)) j"],
    ),
    ("nobody", &["SELECT hstore FROM customers AS hstore"]),
    ("nobody", &["SELECT a.b FROM customers AS a(x, y, z, w, b)"]),
    ("nobody", &["SELECT * FROM customers AS a(x, y, z, w, b)"]),
    (
        "nobody",
        &["SELECT j.x FROM (customers c JOIN orders o ON o.customer = c.id) AS j(a, b, d, e, x)"],
    ),
    (
        "nobody",
        &["SELECT x.name FROM customers a JOIN customers b USING (name) AS x"],
    ),
    (
        "nobody",
        &["SELECT o.* FROM orders o NATURAL FULL JOIN (SELECT id, name AS item FROM customers) c"],
    ),
    ("nobody", &["SELECT item FROM orders UNION SELECT name FROM customers"]),
    (
        "nobody",
        &["SELECT item FROM orders UNION ALL SELECT phone FROM customers"],
    ),
    ("nobody", &["SELECT id, note FROM customers ORDER BY name"]),
    ("nobody", &["TABLE customers"]),
    ("nobody", &["SELECT * FROM ONLY customers"]),
    ("nobody", &["SELECT * FROM customers *"]),
    (
        "nobody",
        &["WITH customers AS (SELECT * FROM customers) SELECT name FROM customers"],
    ),
    (
        "nobody",
        &["WITH x(a, b, c, d, e) AS (SELECT * FROM customers) SELECT e FROM x"],
    ),
    (
        "nobody",
        &["WITH RECURSIVE t AS (SELECT name FROM customers UNION SELECT * FROM t) SELECT * FROM t"],
    ),
    (
        "nobody",
        &[
            "WITH RECURSIVE t(n, s) AS (SELECT 1, '' UNION ALL SELECT n + 1, (SELECT name FROM customers WHERE id = 1) FROM t WHERE n < 3) SELECT s FROM t",
        ],
    ),
    ("nobody", &["SELECT max(name) FROM customers"]),
    ("nobody", &["SELECT first_value(name) OVER () FROM customers"]),
    ("nobody", &["SELECT CASE WHEN true THEN name END FROM customers"]),
    ("nobody", &["SELECT coalesce(nullif(name, ''), 'x') FROM customers"]),
    (
        "nobody",
        &["SELECT id FROM customers LIMIT (SELECT length(name) FROM customers WHERE id = 1)"],
    ),
    (
        "nobody",
        &["SELECT \"NAME\" FROM customers", "SELECT \"name\" FROM \"customers\""],
    ),
    ("nobody", &["SELECT U&\"n\\0061me\" FROM U&\"c\\0075stomers\""]),
    (
        "nobody",
        &["SELECT U&\"n!0061me\" UESCAPE '!' FROM U&\"c!0075stomers\" UESCAPE '!'"],
    ),
    ("nobody", &["SELECT/**/name/*/* */*/FROM/**/customers -- x"]),
    ("nobody", &["SELECT NAME FROM CUSTOMERS"]),
    ("nobody", &["SELECT name FROM app.public.customers"]),
    ("nobody", &["SELECT $$ $$, name FROM customers WHERE note <> $a$ ' $a$"]),
    (
        "nobody",
        &[
            "SET standard_conforming_strings = off",
            "SELECT '\\', name FROM customers --'",
        ],
    ),
    (
        "nobody",
        &["SET standard_conforming_strings = off; SELECT '\\', name FROM customers --'"],
    ),
    ("nobody", &["SELECT E'\\', name FROM customers --'"]),
    ("nobody", &["SELECT grund FROM \"kündigungen\""]),
    ("nobody", &["SELECT grund FROM kündigungen"]),
    (
        "nobody",
        &[
            "SET client_encoding = 'LATIN1'",
            "\u{1}SELECT grund FROM k\u{fc}ndigungen",
        ],
    ),
    (
        "nobody",
        &[
            "SET client_encoding = 'LATIN1'",
            "\u{1}SELECT grund || '' FROM k\u{fc}ndigungen",
        ],
    ),
    (
        "nobody",
        &[
            "SET client_encoding = 'LATIN1'",
            "\u{1}SELECT k FROM \"k\u{fc}ndigungen\" k",
        ],
    ),
    (
        "nobody",
        &[
            "SET client_encoding = 'SJIS'",
            "\u{1}SELECT E'\u{83}\u{5c}', name || '' FROM customers --'",
        ],
    ),
    // Names that change their meaning.
    (
        "nobody",
        &[
            "SET search_path = shadow; SELECT name || '' FROM customers",
            "SET search_path = public; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "SET search_path = shadow",
            "SELECT 1 FROM customers",
            "SET search_path = public; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "SET search_path = shadow",
            "SELECT 1 FROM customers",
            "SELECT set_config('search_path', 'public', false); SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "SET search_path = shadow",
            "SELECT 1 FROM customers",
            "RESET search_path; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "SET search_path = shadow",
            "SELECT 1 FROM customers",
            "DISCARD ALL",
            "SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "BEGIN; SET LOCAL search_path = shadow",
            "SELECT 1 FROM customers",
            "ROLLBACK; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "BEGIN",
            "SAVEPOINT a",
            "SET search_path = shadow",
            "SELECT 1 FROM customers",
            "ROLLBACK TO a; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "SET search_path = shadow",
            "PREPARE p AS SELECT name || '' FROM customers",
            "SET search_path = public",
            "EXECUTE p",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE TEMP TABLE customers (name text)",
            "PREPARE p AS SELECT name || '' FROM customers",
            "DROP TABLE pg_temp.customers",
            "EXECUTE p",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE TEMP TABLE customers (name text)",
            "SELECT name FROM customers; DROP TABLE customers; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE TEMP TABLE customers (name text)",
            "SELECT name FROM customers",
            "DISCARD TEMP; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE TEMP TABLE customers (name text)",
            "SELECT name FROM customers",
            "DISCARD TEMP",
            "SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "BEGIN",
            "CREATE TEMP TABLE customers (name text) ON COMMIT DROP",
            "SELECT name FROM customers",
            "COMMIT; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "BEGIN",
            "CREATE TEMP TABLE customers (name text) ON COMMIT DROP",
            "SELECT name FROM customers",
            "COMMIT",
            "SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "BEGIN",
            "SAVEPOINT s",
            "CREATE TEMP TABLE customers (name text)",
            "SELECT name FROM customers",
            "ROLLBACK TO s",
            "SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE SCHEMA mine; CREATE TABLE mine.customers (name text); SET search_path = mine, public",
            "SELECT name FROM customers",
            "ALTER SCHEMA mine RENAME TO other; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE SCHEMA mine2; CREATE TABLE mine2.customers (name text); SET search_path = mine2, public",
            "SELECT name FROM customers",
            "DROP SCHEMA mine2 CASCADE; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE SCHEMA mine3; CREATE TABLE mine3.customers (name text); SET search_path = mine3, public",
            "SELECT name FROM customers",
            "ALTER TABLE mine3.customers RENAME TO x; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE SCHEMA mine4; CREATE TABLE mine4.customers (name text); SET search_path = mine4, public",
            "SELECT name FROM customers",
            "ALTER TABLE mine4.customers SET SCHEMA shadow; SELECT name || '' FROM customers",
        ],
    ),
    (
        "nobody",
        &[
            "SET search_path = shadow",
            "SELECT 1 FROM customers",
            "DO $$ BEGIN SET search_path = public; END $$; SELECT name || '' FROM customers",
        ],
    ),
    // The owner's data definition, then a handler without rights.
    (
        "app",
        &["ALTER TABLE customers ADD COLUMN leak1 text GENERATED ALWAYS AS (name || '') STORED"],
    ),
    ("nobody", &["SELECT leak1 FROM customers"]),
    ("app", &["ALTER TABLE customers ALTER note TYPE text USING name"]),
    ("nobody", &["SELECT note FROM customers"]),
    ("app", &["ALTER TABLE customers RENAME name TO leak2"]),
    ("nobody", &["SELECT leak2 FROM customers"]),
    (
        "app",
        &[
            "CREATE TABLE child () INHERITS (customers)",
            "CREATE TABLE lik (LIKE customers INCLUDING ALL)",
        ],
    ),
    ("app", &["CREATE INDEX leak3 ON customers ((name || ''))"]),
    ("nobody", &["SELECT * FROM pg_stats WHERE tablename = 'leak3'"]),
    (
        "nobody",
        &["SELECT size FROM customers; SELECT name FROM customers; SELECT 1"],
    ),
];

fn encode(statement: &str) -> Vec<u8> {
    match statement.strip_prefix('\u{1}') {
        // One byte a character.
        Some(statement) => statement.chars().map(|c| c as u32 as u8).chain([0]).collect(),
        None => statement.bytes().chain([0]).collect(),
    }
}

#[test]
fn no_query_shows_a_handler_what_he_may_not_see() {
    let world = world();
    let mut leaks = Vec::new();
    for (role, script) in runs_sql::RUNS_SQL.iter().chain(SIMPLE) {
        let mut raw = Raw::connect(world.port, role, "app");
        let mut all = Vec::new();
        for statement in *script {
            raw.send(&[Send::Frame(b'Q', &encode(statement))]);
            all.extend(raw.until_ready());
        }
        if std::env::var("ATTACK_SHOW").is_ok() {
            eprintln!("== {role}: {script:?}\n{}", shown(&all));
        }
        if *role != "app" {
            let text = shown(&all);
            let found = secrets_in(&text);
            if !found.is_empty() {
                leaks.push(format!("== {role}: {script:?} shows {found:?}:\n{text}"));
            }
        }
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
    let log = world.log();
    assert_eq!(secrets_in(&log), Vec::<&str>::new(), "in the log");
    let records = text(&world.pgward(&["audit", "show", "--format", "json"]));
    assert_eq!(secrets_in(&records), Vec::<&str>::new(), "in the records");
}
