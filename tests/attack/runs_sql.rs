//! Attacks by functions and statements that run SQL which they are given.

use super::Attack;

pub(super) const RUNS_SQL: &[Attack] = &[
    (
        "nobody",
        &["SELECT query_to_xml('SELECT name FROM customers', true, true, '')"],
    ),
    (
        "nobody",
        &["SELECT query_to_xml('SELECT na' || 'me FROM cust' || 'omers', true, true, '')"],
    ),
    (
        "nobody",
        &["SELECT pg_catalog.\"query_to_xml\"('SELECT name FROM customers', true, true, '')"],
    ),
    (
        "nobody",
        &["SELECT U&\"query_to\\005fxml\"('SELECT name FROM cust' || 'omers', true, true, '')"],
    ),
    (
        "nobody",
        &[
            "SELECT table_to_xml('customers', true, true, '')",
            "SELECT schema_to_xml('public', true, true, '')",
            "SELECT database_to_xml(true, true, '')",
        ],
    ),
    (
        "nobody",
        &["SELECT * FROM ts_stat('SELECT to_tsvector(''simple'', name) FROM cust' || 'omers')"],
    ),
    (
        "nobody",
        &["SELECT word FROM ts_stat('SELECT to_tsvector(''simple'', name) FROM customers')"],
    ),
    (
        "nobody",
        &["DO $$ BEGIN RAISE EXCEPTION '%', (SELECT name FROM customers LIMIT 1); END $$"],
    ),
    (
        "nobody",
        &[
            "DO $$ DECLARE x text; BEGIN EXECUTE 'SELECT na' || 'me FROM cust' || 'omers LIMIT 1' INTO x; RAISE NOTICE '%', x; END $$",
        ],
    ),
    (
        "nobody",
        &[
            "DO 'DECLARE x text; BEGIN EXECUTE ''SELECT na'' || ''me FROM cust'' || ''omers LIMIT 1'' INTO x; RAISE NOTICE ''%'', x; END'",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS 'SELECT name FROM customers LIMIT 1'",
            "SELECT pg_temp.f()",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE FUNCTION f1() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT name FROM customers LIMIT 1; END",
            "SELECT f1()",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE FUNCTION f2(q text) RETURNS text LANGUAGE plpgsql AS 'DECLARE r text; BEGIN EXECUTE q INTO r; RETURN r; END'",
            "SELECT f2('SELECT name FROM cust' || 'omers LIMIT 1')",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE FUNCTION f3() RETURNS SETOF text LANGUAGE plpgsql AS 'BEGIN RETURN QUERY EXECUTE ''SELECT name FROM cust'' || ''omers''; END'",
            "SELECT f3()",
            "SELECT * FROM f3()",
        ],
    ),
    (
        "nobody",
        &["CREATE VIEW v1 AS SELECT name FROM customers", "SELECT * FROM v1"],
    ),
    (
        "nobody",
        &[
            "CREATE MATERIALIZED VIEW v2 AS SELECT name FROM customers",
            "SELECT * FROM v2",
        ],
    ),
    (
        "nobody",
        &["CREATE TABLE t1 AS SELECT name FROM customers", "SELECT * FROM t1"],
    ),
    ("nobody", &["SELECT name INTO t2 FROM customers", "SELECT * FROM t2"]),
    (
        "nobody",
        &[
            "CREATE TABLE t3 (name text); CREATE RULE r AS ON SELECT TO t3 DO INSTEAD SELECT name FROM customers",
            "SELECT * FROM t3",
        ],
    ),
    (
        "nobody",
        &[
            "CREATE TABLE t4 (x text DEFAULT 'a', y text); CREATE RULE r4 AS ON INSERT TO t4 DO ALSO INSERT INTO t4b SELECT name FROM customers",
        ],
    ),
    (
        "nobody",
        &["CREATE RULE r5 AS ON UPDATE TO orders DO ALSO SELECT name FROM customers"],
    ),
    (
        "nobody",
        &[
            "COPY customers TO STDOUT",
            "COPY customers (name) TO STDOUT",
            "COPY (SELECT name FROM customers) TO STDOUT",
            "COPY (TABLE customers) TO STDOUT",
        ],
    ),
    (
        "nobody",
        &["COPY (SELECT query_to_xml('SELECT name FROM cust' || 'omers', true, true, '')) TO STDOUT"],
    ),
    (
        "nobody",
        &["BEGIN; DECLARE c CURSOR FOR SELECT name || '' FROM customers; FETCH ALL FROM c; COMMIT"],
    ),
    ("nobody", &["PREPARE p AS SELECT name || '' FROM customers; EXECUTE p"]),
    (
        "nobody",
        &["EXPLAIN ANALYZE SELECT name FROM customers WHERE name = 'x'"],
    ),
    (
        "nobody",
        &["EXPLAIN (ANALYZE, VERBOSE) UPDATE customers SET note = name"],
    ),
    (
        "nobody",
        &[
            "MERGE INTO orders o USING customers c ON o.customer = c.id WHEN MATCHED THEN UPDATE SET item = c.name",
            "SELECT item FROM orders",
        ],
    ),
    ("nobody", &["SELECT most_common_vals, histogram_bounds FROM pg_stats"]),
    ("app", &["SELECT 1"]),
    (
        "nobody",
        &["SELECT * FROM pg_catalog.pg_stats WHERE tablename = 'customers'"],
    ),
    ("nobody", &["SELECT xmlforest(name) FROM customers"]),
    (
        "nobody",
        &[
            "SELECT * FROM xmltable('//x' PASSING (SELECT xmlagg(xmlelement(name x, name)) FROM customers) COLUMNS a text PATH '.')",
        ],
    ),
    ("nobody", &["SELECT lo_from_bytea(0, name::bytea) FROM customers"]),
    (
        "nobody",
        &["INSERT INTO orders (id, item) VALUES (77, (SELECT name FROM customers WHERE id = 1)) RETURNING item"],
    ),
    (
        "nobody",
        &["DELETE FROM orders USING customers c WHERE customer = c.id AND c.name = 'Zaphod!' RETURNING c.name"],
    ),
    (
        "nobody",
        &["SELECT item FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = o.customer AND name = 'x')"],
    ),
    (
        "nobody",
        &["SELECT * FROM generate_series(1, (SELECT length(name) FROM customers LIMIT 1))"],
    ),
    ("nobody", &["VALUES ((SELECT name FROM customers LIMIT 1))"]),
    ("nobody", &["SELECT 1 FROM customers HAVING max(name) > 'a'"]),
    ("nobody", &["SELECT note FROM customers WHERE (id, name) > (0, 'a')"]),
    ("nobody", &["NOTIFY x, 'a'; SELECT pg_notify('x', name) FROM customers"]),
    ("nobody", &["SELECT set_config('x.y', name, false) FROM customers"]),
];
