//! SQL → what becomes of it.

use super::{accesses, outputs, plan_of, shown, shown_with};
use crate::plan::{Carry, SubjectSource, Transform};

type Case = (&'static str, String);

fn cases(cases: &[(&'static str, &str)]) -> Vec<Case> {
    cases
        .iter()
        .map(|(sql, expected)| (*sql, (*expected).to_owned()))
        .collect()
}

#[track_caller]
fn check(cases: &[Case]) {
    let mut wrong = String::new();
    for (sql, expected) in cases {
        let got = shown(sql);
        if got != *expected {
            wrong.push_str(&format!("\n  {sql}\n    expected {expected}\n    got      {got}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Every statement of this file's tables.
pub(super) fn all() -> Vec<&'static str> {
    [
        statements_without_protected_names_are_forwarded_cases(),
        equality_becomes_the_tag_cases(),
        everything_else_on_a_sealed_column_is_refused_cases(),
        names_are_found_through_joins_subqueries_and_ctes_cases(),
        groups_and_distinct_rows_go_by_the_tag_cases(),
        writes_seal_literals_and_parameters_cases(),
    ]
    .into_iter()
    .flatten()
    .map(|(sql, _)| sql)
    .collect()
}

const TAG: &str = "substring(email from 11 for 16)";

#[test]
fn statements_without_protected_names_are_forwarded() {
    check(&statements_without_protected_names_are_forwarded_cases());
}

fn statements_without_protected_names_are_forwarded_cases() -> Vec<Case> {
    cases(&[
        ("SELECT 1", "forward"),
        ("SELECT email FROM plain WHERE email = 'a'", "forward"),
        ("INSERT INTO plain VALUES (1, 'customers', 'x')", "forward"),
        ("SELECT 'customers'", "forward"),
        ("TABLE plain", "forward"),
        ("CREATE TABLE foo (a int)", "forward"),
        ("DO $$ BEGIN PERFORM 1; END $$", "forward"),
        ("SELECT * FROM other.customers", "forward"),
        ("SELECT customers FROM plain", "forward"),
        ("VACUUM (ANALYZE) customers", "forward"),
        ("LOCK TABLE customers", "forward"),
        ("SELECT id, org FROM customers", "forward"),
        ("SELECT count(*) FROM customers", "forward"),
        ("UPDATE customers SET org = 'x' WHERE id = 1", "forward"),
        ("INSERT INTO customers (id, org) VALUES (1, 'x')", "forward"),
        ("BEGIN", "forward"),
        ("SET search_path = customers", "forward"),
        ("COPY plain FROM STDIN WITH (DELIMITER E'\\t')", "forward"),
        ("COPY plain TO '/tmp/customers'", "forward"),
        ("CREATE TABLE foo (a text DEFAULT E'\\n')", "forward"),
        ("SELECT 1 FROM plain customers", "forward"),
        (
            "WITH customers AS (SELECT 1 AS email) SELECT lower(email) FROM customers",
            "forward",
        ),
        ("SELECT json_populate_record(NULL::customers, '{}')", "forward"),
    ])
}

#[test]
fn equality_becomes_the_tag() {
    check(&equality_becomes_the_tag_cases());
}

fn equality_becomes_the_tag_cases() -> Vec<Case> {
    cases(&[
        (
            "SELECT id, email FROM customers WHERE email = 'a@b.c'",
            &format!("SELECT id, email FROM customers WHERE {TAG} = ⟨term email⟩"),
        ),
        (
            "select c.email from customers c where 'a' = c.email and c.id = 3",
            "select c.email from customers c where ⟨term email⟩ = substring(c.email from 11 for 16) and c.id = 3",
        ),
        (
            "SELECT 1 FROM customers WHERE email <> $1 OR email != E'x' OR NOT email = $2::text",
            &format!("SELECT 1 FROM customers WHERE {TAG} <> $1 OR {TAG} != ⟨term email⟩ OR NOT {TAG} = $2"),
        ),
        (
            "SELECT 1 FROM customers WHERE email IN ('a', $1, NULL) AND phone NOT IN ('1')",
            &format!(
                "SELECT 1 FROM customers WHERE {TAG} IN (⟨term email⟩, $1, NULL) AND substring(phone from 11 for 16) NOT IN (⟨term phone⟩)"
            ),
        ),
        (
            "SELECT 1 FROM customers WHERE email = ANY($1) OR email = ANY('{a,b}') OR email = ANY('{a}'::text[]) OR email = ANY(ARRAY['a', 'b']) OR email <> ALL($2::text[])",
            &format!(
                "SELECT 1 FROM customers WHERE {TAG} = ANY($1) OR {TAG} = ANY(⟨term email[]⟩) OR {TAG} = ANY(⟨term email[]⟩) OR {TAG} = ANY(ARRAY[⟨term email⟩, ⟨term email⟩]) OR {TAG} <> ALL($2)"
            ),
        ),
        (
            "SELECT 1 FROM customers WHERE email = ANY(ARRAY['a']::text[])",
            &format!("SELECT 1 FROM customers WHERE {TAG} = ANY(ARRAY[⟨term email⟩])"),
        ),
        (
            "SELECT 1 FROM customers WHERE email IS NULL AND name IS NOT NULL",
            "SELECT 1 FROM customers WHERE email IS NULL AND name IS NOT NULL",
        ),
        (
            "SELECT 1 FROM customers WHERE email IS DISTINCT FROM 'x'",
            &format!("SELECT 1 FROM customers WHERE {TAG} IS DISTINCT FROM ⟨term email⟩"),
        ),
        (
            "SELECT 1 FROM accounts WHERE ref = '6f2c0000-0000-0000-0000-000000000000' AND amount = -5 AND amount = CAST(7 AS bigint)",
            "SELECT 1 FROM accounts WHERE ref = ⟨term ref⟩ AND substring(amount from 11 for 16) = ⟨term amount⟩ AND substring(amount from 11 for 16) = ⟨term amount⟩",
        ),
        (
            "SELECT 1 FROM customers WHERE name = 'x'",
            "refuse equality-not-enabled name",
        ),
        ("SELECT 1 FROM customers WHERE email = phone", "refuse key-domain email"),
        ("SELECT 1 FROM customers WHERE email = org", "refuse expression email"),
        (
            "SELECT 1 FROM customers WHERE email = lower('X')",
            "refuse expression email",
        ),
        (
            "SELECT 1 FROM customers WHERE (email, id) = ('a', 1)",
            "refuse expression email",
        ),
        ("SELECT 1 FROM customers WHERE email = 3", "refuse parameter-type email"),
        (
            "SELECT 1 FROM customers WHERE email = $1::varchar(3)",
            "refuse parameter-type email",
        ),
        (
            "SELECT 1 FROM customers WHERE email = 'x' COLLATE \"C\"",
            "refuse expression email",
        ),
    ])
}

#[test]
fn everything_else_on_a_sealed_column_is_refused() {
    check(&everything_else_on_a_sealed_column_is_refused_cases());
}

fn everything_else_on_a_sealed_column_is_refused_cases() -> Vec<Case> {
    cases(&[
        ("SET pgward.purpose = 'x'", "refuse statement-kind"),
        ("set local PGWARD.purpose TO x", "refuse statement-kind"),
        (
            "SELECT 1 FROM customers WHERE email LIKE 'a%'",
            "refuse text-search email",
        ),
        ("SELECT 1 FROM customers WHERE name ~ 'a'", "refuse text-search name"),
        ("SELECT 1 FROM customers WHERE born < now()", "refuse range born"),
        (
            "SELECT 1 FROM customers WHERE born BETWEEN '2000-01-01' AND '2001-01-01'",
            "refuse range born",
        ),
        ("SELECT id FROM customers ORDER BY email", "refuse ordering email"),
        ("SELECT email FROM customers ORDER BY 1", "refuse ordering email"),
        ("SELECT email AS e FROM customers ORDER BY e", "refuse ordering email"),
        ("SELECT min(email) FROM customers", "refuse range email"),
        ("SELECT lower(email) FROM customers", "refuse expression email"),
        ("SELECT email || 'x' FROM customers", "refuse expression email"),
        ("SELECT email::text FROM customers", "refuse expression email"),
        ("SELECT coalesce(email, '') FROM customers", "refuse expression email"),
        (
            "SELECT CASE WHEN id = 1 THEN email END FROM customers",
            "refuse expression email",
        ),
        (
            "SELECT substring(email from 1 for 2) FROM customers",
            "refuse expression email",
        ),
        ("SELECT 1 FROM customers WHERE vip", "refuse expression vip"),
        ("SELECT 1 FROM customers WHERE NOT vip", "refuse expression vip"),
        ("SELECT 1 FROM customers WHERE vip IS TRUE", "refuse expression vip"),
        ("SELECT customers FROM customers", "refuse expression email"),
        ("SELECT c FROM customers c", "refuse expression email"),
        ("SELECT row_to_json(c) FROM customers c", "refuse expression email"),
        ("SELECT count(c) FROM customers c", "refuse expression email"),
        ("SELECT count(c.*) FROM customers c", "refuse expression email"),
        ("SELECT c.row_to_json FROM customers c", "refuse expression email"),
        ("SELECT array_agg(email) FROM customers", "refuse expression email"),
        ("SELECT ARRAY[email] FROM customers", "refuse expression email"),
        ("SELECT ARRAY(SELECT email FROM customers)", "refuse expression email"),
        (
            "SELECT rank() OVER (ORDER BY email) FROM customers",
            "refuse ordering email",
        ),
        (
            "SELECT lag(email) OVER (ORDER BY id) FROM customers",
            "refuse expression email",
        ),
        ("SELECT mail_of(3)", "refuse statement-kind"),
        (
            "SELECT query_to_xml('select 1 from customers', true, true, '')",
            "refuse statement-kind",
        ),
        ("SELECT * FROM everyone", "refuse statement-kind"),
        ("SELECT email FROM halfway", "refuse catalog email"),
        ("SELECT * FROM halfway", "refuse catalog email"),
        ("INSERT INTO halfway VALUES (1, 'x')", "refuse catalog email"),
        ("SELECT * INTO copy FROM customers", "refuse statement-kind"),
        ("COPY customers TO STDOUT", "refuse statement-kind"),
        ("COPY (SELECT email FROM customers) TO STDOUT", "refuse statement-kind"),
        ("PREPARE p AS SELECT email FROM customers", "refuse statement-kind"),
        (
            "DECLARE c CURSOR FOR SELECT email FROM customers",
            "refuse statement-kind",
        ),
        ("DO $$ BEGIN DELETE FROM customers; END $$", "refuse statement-kind"),
        (
            "MERGE INTO customers USING plain ON true WHEN MATCHED THEN DELETE",
            "refuse statement-kind",
        ),
        ("SELECT email FROM customers WHERE", "refuse unparsable"),
        ("EXPLAIN ANALYZE SELECT email FROM customers", "refuse statement-kind"),
        ("EXPLAIN (ANALYZE) SELECT email FROM customers", "refuse statement-kind"),
        ("TABLE customers", "refuse unparsable"),
        ("SELECT email FROM ONLY customers", "refuse statement-kind"),
        ("SELECT * FROM ONLY customers", "refuse statement-kind"),
        ("UPDATE ONLY customers SET email = 'x'", "refuse statement-kind"),
        ("DELETE FROM ONLY customers", "refuse statement-kind"),
        ("SELECT * FROM nothing customers", "refuse statement-kind"),
        (
            "SELECT s FROM (SELECT email FROM customers) s",
            "refuse expression email",
        ),
        ("DELETE FROM customers c WHERE c IS NOT NULL", "refuse expression email"),
        (
            "INSERT INTO customers (id) VALUES (1) RETURNING customers",
            "refuse expression email",
        ),
        (
            "UPDATE customers SET (email, org) = ROW('a', 'b')",
            "refuse expression email",
        ),
        (
            "SELECT string_agg(org, ',' ORDER BY email) FROM customers",
            "refuse ordering email",
        ),
        (
            "SELECT sum(id) FILTER (WHERE vip) FROM customers",
            "refuse expression vip",
        ),
        (
            "SELECT sum(id) OVER w FROM customers WINDOW w AS (PARTITION BY email)",
            "refuse expression email",
        ),
        (
            "SELECT id FROM customers LIMIT (SELECT length(email) FROM contacts)",
            "refuse expression email",
        ),
        ("SELECT GREATEST(email, phone) FROM customers", "refuse range email"),
        (
            "SELECT extract(year FROM born) FROM customers",
            "refuse expression born",
        ),
        (
            "SELECT id FROM customers WHERE email = ANY(SELECT email FROM plain)",
            "refuse key-domain email",
        ),
        (
            "SELECT f.x FROM lower((SELECT email FROM customers)) f(x)",
            "refuse expression email",
        ),
        (
            "SELECT email FROM customers, LATERAL unnest(ARRAY[name]) u",
            "refuse expression name",
        ),
        ("SELECT u&\"em\\0061il\"\" FROM customers", "refuse unparsable"),
        ("CALL mail_of(1)", "refuse statement-kind"),
        ("COPY (SELECT mail_of(1)) TO STDOUT", "refuse statement-kind"),
        ("SELECT (customers).email FROM customers", "refuse expression email"),
        ("SELECT (customers.*)::text FROM customers", "refuse statement-kind"),
    ])
}

#[test]
fn names_are_found_through_joins_subqueries_and_ctes() {
    check(&names_are_found_through_joins_subqueries_and_ctes_cases());
}

fn names_are_found_through_joins_subqueries_and_ctes_cases() -> Vec<Case> {
    cases(&[
        (
            "SELECT c.email, k.email FROM customers c JOIN contacts k ON c.email = k.email",
            "SELECT c.email, k.email FROM customers c JOIN contacts k ON substring(c.email from 11 for 16) = substring(k.email from 11 for 16)",
        ),
        (
            "SELECT a.label FROM accounts a LEFT JOIN orders o ON a.ref = o.ref",
            "SELECT a.label FROM accounts a LEFT JOIN orders o ON a.ref = o.ref",
        ),
        (
            "SELECT 1 FROM customers JOIN contacts USING (email)",
            "refuse key-domain email",
        ),
        (
            "SELECT 1 FROM customers NATURAL JOIN contacts",
            "refuse key-domain email",
        ),
        ("SELECT id FROM customers JOIN orders USING (id)", "forward"),
        (
            "SELECT s.e FROM (SELECT email AS e FROM customers) s WHERE s.e = 'x'",
            "SELECT s.e FROM (SELECT email AS e FROM customers) s WHERE substring(s.e from 11 for 16) = ⟨term email⟩",
        ),
        (
            "WITH x AS (SELECT email, id FROM customers) SELECT email FROM x WHERE x.email = $1",
            "WITH x AS (SELECT email, id FROM customers) SELECT email FROM x WHERE substring(x.email from 11 for 16) = $1",
        ),
        (
            "WITH x(a, b) AS (SELECT email, id FROM customers) SELECT b FROM x WHERE a = $1",
            "WITH x(a, b) AS (SELECT email, id FROM customers) SELECT b FROM x WHERE substring(a from 11 for 16) = $1",
        ),
        (
            "SELECT (SELECT email FROM customers c WHERE c.id = o.customer_id) FROM orders o",
            "SELECT (SELECT email FROM customers c WHERE c.id = o.customer_id) FROM orders o",
        ),
        (
            "SELECT 1 FROM contacts WHERE email IN (SELECT email FROM customers WHERE id = 1)",
            &format!("SELECT 1 FROM contacts WHERE {TAG} IN (SELECT {TAG} FROM customers WHERE id = 1)"),
        ),
        (
            "SELECT 1 FROM orders WHERE ref IN (SELECT ref FROM accounts)",
            "SELECT 1 FROM orders WHERE ref IN (SELECT ref FROM accounts)",
        ),
        (
            "SELECT 1 FROM plain p WHERE EXISTS (SELECT 1 FROM customers c WHERE c.email = 'x' AND c.id = p.id)",
            "SELECT 1 FROM plain p WHERE EXISTS (SELECT 1 FROM customers c WHERE substring(c.email from 11 for 16) = ⟨term email⟩ AND c.id = p.id)",
        ),
        (
            "SELECT 1 FROM plain WHERE email IN (SELECT email FROM customers)",
            "refuse expression email",
        ),
        (
            "SELECT l.email FROM plain p, LATERAL (SELECT email FROM customers c WHERE c.id = p.id) l",
            "SELECT l.email FROM plain p, LATERAL (SELECT email FROM customers c WHERE c.id = p.id) l",
        ),
        (
            "SELECT email FROM customers UNION ALL SELECT email FROM customers WHERE id = 3",
            "SELECT email FROM customers UNION ALL SELECT email FROM customers WHERE id = 3",
        ),
        (
            "SELECT email FROM customers UNION SELECT email FROM customers",
            "refuse expression email",
        ),
        (
            "SELECT email FROM customers UNION ALL SELECT email FROM contacts",
            "refuse key-domain email",
        ),
        (
            "SELECT email FROM customers UNION ALL SELECT 'x'",
            "refuse key-domain email",
        ),
        (
            "SELECT ref FROM orders UNION SELECT ref FROM orders",
            "SELECT ref FROM orders UNION SELECT ref FROM orders",
        ),
        (
            "SELECT \"email\", \"customers\".\"name\" FROM \"customers\"",
            "SELECT \"email\", \"customers\".\"name\" FROM \"customers\"",
        ),
        (
            "SELECT EMAIL FROM PUBLIC.Customers",
            "SELECT EMAIL FROM PUBLIC.Customers",
        ),
        (
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT n, email FROM t JOIN customers c ON c.id = t.n",
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT n, email FROM t JOIN customers c ON c.id = t.n",
        ),
        (
            "WITH RECURSIVE t(e) AS (SELECT email FROM customers UNION ALL SELECT e FROM t) SELECT e FROM t",
            "refuse statement-kind email",
        ),
        (
            "SELECT g, c.email FROM generate_series(1, 3) g, customers c",
            "SELECT g, c.email FROM generate_series(1, 3) g, customers c",
        ),
        (
            "SELECT * FROM generate_series(1, 3) g, customers c",
            "refuse statement-kind",
        ),
    ])
}

#[test]
fn groups_and_distinct_rows_go_by_the_tag() {
    check(&groups_and_distinct_rows_go_by_the_tag_cases());
}

fn groups_and_distinct_rows_go_by_the_tag_cases() -> Vec<Case> {
    cases(&[
        (
            "SELECT email, count(*) FROM customers GROUP BY email",
            &format!("SELECT (pg_catalog.array_agg(email))[1] AS \"email\", count(*) FROM customers GROUP BY {TAG}"),
        ),
        (
            "SELECT c.email AS e, count(*) FROM customers c GROUP BY 1 HAVING count(*) > 1",
            "SELECT (pg_catalog.array_agg(c.email))[1] AS e, count(*) FROM customers c GROUP BY substring(c.email from 11 for 16) HAVING count(*) > 1",
        ),
        (
            "SELECT DISTINCT email, org FROM customers ORDER BY org LIMIT 3",
            &format!("SELECT DISTINCT ON ({TAG}, 2) email, org FROM customers ORDER BY org LIMIT 3"),
        ),
        (
            "SELECT DISTINCT name FROM customers",
            "refuse equality-not-enabled name",
        ),
        (
            "SELECT DISTINCT ON (email) email, id FROM customers",
            &format!("SELECT DISTINCT ON ({TAG}) email, id FROM customers"),
        ),
        (
            "SELECT count(DISTINCT email), count(phone), count(*) FROM customers",
            &format!("SELECT count(DISTINCT {TAG}), count(phone), count(*) FROM customers"),
        ),
        (
            "SELECT count(DISTINCT name) FROM customers",
            "refuse equality-not-enabled name",
        ),
        (
            "SELECT count(*) FROM customers GROUP BY name",
            "refuse equality-not-enabled name",
        ),
        (
            "SELECT ref, count(*) FROM orders GROUP BY ref",
            "SELECT ref, count(*) FROM orders GROUP BY ref",
        ),
        (
            "SELECT count(*) FROM customers GROUP BY ROLLUP (email)",
            "refuse expression email",
        ),
    ])
}

#[test]
fn writes_seal_literals_and_parameters() {
    check(&writes_seal_literals_and_parameters_cases());
}

fn writes_seal_literals_and_parameters_cases() -> Vec<Case> {
    cases(&[
        (
            "INSERT INTO customers (id, email, name, born) VALUES (1, 'a', $1, '2000-01-01'), (2, NULL, DEFAULT, date '2000-01-01')",
            "INSERT INTO customers (id, email, name, born) VALUES (1, ⟨seal email⟩, $1, ⟨seal born⟩), (2, NULL, DEFAULT, ⟨seal born⟩)",
        ),
        (
            "INSERT INTO accounts VALUES ($1, 42, 'x')",
            "INSERT INTO accounts VALUES ($1, ⟨seal amount⟩, 'x')",
        ),
        (
            "INSERT INTO customers (id, vip) VALUES (1, true)",
            "INSERT INTO customers (id, vip) VALUES (1, ⟨seal vip⟩)",
        ),
        (
            "INSERT INTO customers (id, email) VALUES (1, lower('A'))",
            "refuse expression email",
        ),
        (
            "INSERT INTO customers (id, email) VALUES (1, 'a' || 'b')",
            "refuse expression email",
        ),
        (
            "INSERT INTO customers (id, born) VALUES (1, 42)",
            "refuse parameter-type born",
        ),
        (
            "INSERT INTO customers (id, email) SELECT id, email FROM customers",
            "INSERT INTO customers (id, email) SELECT id, email FROM customers",
        ),
        (
            "INSERT INTO customers (id, email) SELECT id, 'x' FROM plain",
            "INSERT INTO customers (id, email) SELECT id, ⟨seal email⟩ FROM plain",
        ),
        (
            "INSERT INTO customers (id, email) SELECT id, email FROM plain",
            "refuse expression email",
        ),
        (
            "INSERT INTO customers (id, email) SELECT id, email FROM contacts",
            "refuse key-domain email",
        ),
        (
            "INSERT INTO plain (id, email) SELECT id, email FROM customers",
            "refuse expression email",
        ),
        (
            "INSERT INTO customers (id, email) VALUES (1, 'x') ON CONFLICT (email) DO UPDATE SET email = EXCLUDED.email, org = 'y' WHERE customers.email <> 'z' RETURNING *",
            "INSERT INTO customers (id, email) VALUES (1, ⟨seal email⟩) ON CONFLICT ((substring(email from 11 for 16))) DO UPDATE SET email = EXCLUDED.email, org = 'y' WHERE substring(customers.email from 11 for 16) <> ⟨term email⟩ RETURNING *",
        ),
        (
            "INSERT INTO customers (id, email) VALUES (1, 'x') ON CONFLICT ON CONSTRAINT customers_email DO NOTHING",
            "INSERT INTO customers (id, email) VALUES (1, ⟨seal email⟩) ON CONFLICT ((substring(\"email\" from 11 for 16))) DO NOTHING",
        ),
        (
            "INSERT INTO customers (id, name) VALUES (1, 'x') ON CONFLICT (name) DO NOTHING",
            "refuse equality-not-enabled name",
        ),
        (
            "UPDATE customers SET email = $1, name = 'x' WHERE email = $2 RETURNING id, email",
            "UPDATE customers SET email = $1, name = ⟨seal name⟩ WHERE substring(email from 11 for 16) = $2 RETURNING id, email",
        ),
        (
            "UPDATE customers SET (email, org) = ('a', 'b')",
            "UPDATE customers SET (email, org) = (⟨seal email⟩, 'b')",
        ),
        (
            "UPDATE customers c SET email = NULL FROM contacts k WHERE k.email = c.email",
            "UPDATE customers c SET email = NULL FROM contacts k WHERE substring(k.email from 11 for 16) = substring(c.email from 11 for 16)",
        ),
        ("UPDATE customers SET email = upper('x')", "refuse expression email"),
        ("UPDATE customers SET note = email", "refuse expression email"),
        ("UPDATE customers SET email = phone", "refuse key-domain email"),
        (
            "DELETE FROM customers WHERE email = 'x'",
            &format!("DELETE FROM customers WHERE {TAG} = ⟨term email⟩"),
        ),
        (
            "DELETE FROM customers USING contacts WHERE contacts.email = customers.email",
            "DELETE FROM customers USING contacts WHERE substring(contacts.email from 11 for 16) = substring(customers.email from 11 for 16)",
        ),
        ("TRUNCATE customers", "TRUNCATE customers"),
        (
            "WITH d AS (DELETE FROM customers WHERE id = 1 RETURNING email) SELECT email FROM d",
            "WITH d AS (DELETE FROM customers WHERE id = 1 RETURNING email) SELECT email FROM d",
        ),
        (
            "EXPLAIN SELECT id FROM customers WHERE email = 'x'",
            &format!("EXPLAIN SELECT id FROM customers WHERE {TAG} = ⟨term email⟩"),
        ),
    ])
}

#[test]
fn accesses_and_outputs() {
    for (sql, expected_accesses, expected_outputs) in [
        (
            "SELECT id, email FROM customers WHERE phone = 'x'",
            "s phone, r email",
            ". email!",
        ),
        (
            "SELECT * FROM customers",
            "r email, r name, r phone, r born, r vip, r ip",
            ". email! name! phone! . born! vip! ip! .",
        ),
        (
            "SELECT c.* FROM customers c, plain WHERE ip = 'x'",
            "s ip, r email, r name, r phone, r born, r vip, r ip",
            ". email! name! phone! . born! vip! ip! .",
        ),
        ("SELECT upper(ip) FROM customers", "r ip*", "."),
        ("SELECT ip FROM customers ORDER BY ip", "s ip, r ip", "ip!"),
        ("SELECT s.x FROM (SELECT ip AS x FROM customers) s", "r ip", "ip"),
        ("SELECT count(*) FROM customers WHERE ip LIKE 'x%'", "s ip", "."),
        ("DELETE FROM contacts", "w email", "none"),
        (
            "INSERT INTO contacts VALUES (1, 'x') RETURNING email, id",
            "w email, r email",
            "email! .",
        ),
        ("UPDATE contacts SET email = NULL", "w email", "none"),
        ("EXPLAIN SELECT email FROM contacts", "r email", "none"),
        ("SELECT email FROM contacts UNION ALL SELECT NULL", "r email", "email"),
    ] {
        let plan = plan_of(sql, &[]);
        assert_eq!(accesses(&plan), expected_accesses, "{sql}");
        assert_eq!(outputs(&plan), expected_outputs, "{sql}");
    }
}

#[test]
fn parameters_are_typed_split_and_fused() {
    let plan = plan_of("SELECT 1 FROM customers WHERE email = $1 AND id = $2", &[]);
    assert_eq!(
        plan.client_params.iter().map(|p| p.type_oid).collect::<Vec<_>>(),
        [Some(25), None]
    );
    assert_eq!(
        plan.server_params
            .iter()
            .map(|p| (p.from, p.type_oid))
            .collect::<Vec<_>>(),
        [(0, 17), (1, 0)]
    );

    let plan = plan_of("INSERT INTO customers (id, email) VALUES ($1, $2)", &[23, 1043]);
    assert_eq!(
        plan.client_params.iter().map(|p| p.type_oid).collect::<Vec<_>>(),
        [None, Some(1043)]
    );
    assert_eq!(
        plan.server_params
            .iter()
            .map(|p| (p.from, p.type_oid))
            .collect::<Vec<_>>(),
        [(0, 23), (1, 17)]
    );

    let plan = plan_of("SELECT 1 FROM customers WHERE email = ANY($1)", &[]);
    assert_eq!(plan.client_params[0].type_oid, Some(1009));
    assert_eq!(plan.server_params[0].type_oid, 1001);
    assert!(matches!(plan.server_params[0].carry, Carry::Array { .. }));

    // Stored, compared and used in clear: three parameters.
    let sql = "UPDATE customers SET email = $1, note = $1 WHERE email = $1 AND id = $2";
    assert_eq!(
        shown(sql),
        "UPDATE customers SET email = $1, note = $3 WHERE substring(email from 11 for 16) = $4 AND id = $2"
    );
    let plan = plan_of(sql, &[]);
    assert_eq!(plan.client_params.len(), 2);
    let from: Vec<_> = plan.server_params.iter().map(|p| (p.from, p.type_oid)).collect();
    assert_eq!(from, [(0, 17), (1, 0), (0, 1043), (0, 17)]);
    assert!(matches!(
        &plan.server_params[3].carry,
        Carry::Value {
            transform: Transform::Term(_),
            ..
        }
    ));

    // The same use twice stays one.
    assert_eq!(
        shown("SELECT 1 FROM customers WHERE email = $1 OR email = $1"),
        "SELECT 1 FROM customers WHERE substring(email from 11 for 16) = $1 OR substring(email from 11 for 16) = $1"
    );
    assert_eq!(
        shown_with("SELECT 1 FROM customers WHERE email = $1", &[23]),
        "refuse parameter-type email"
    );
    assert_eq!(
        shown_with("INSERT INTO accounts (amount) VALUES ($1)", &[23]),
        "INSERT INTO accounts (amount) VALUES ($1)"
    );
}

#[test]
fn subjects_are_found() {
    let plan = plan_of("SELECT email, id FROM customers WHERE id = $1 AND org = 'x'", &[]);
    assert!(matches!(plan.subjects[0], SubjectSource::Param { index: 0, .. }));
    assert!(matches!(plan.subjects[1], SubjectSource::Output { index: 1, .. }));
    let plan = plan_of("INSERT INTO customers (id, email) VALUES (7, 'x'), ($1, 'y')", &[]);
    assert!(matches!(plan.subjects[0], SubjectSource::Literal { .. }));
    assert!(matches!(plan.subjects[1], SubjectSource::Param { index: 0, .. }));
    let plan = plan_of("DELETE FROM customers WHERE id = 7 OR id = 8", &[]);
    assert!(plan.subjects.is_empty());
}
