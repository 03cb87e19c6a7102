//! Nothing that a client sends makes the planner panic, overflow its stack, or keep a literal.

use super::{planned, shown};
use crate::plan::Action;
use proptest::prelude::*;

#[test]
fn long_chains_are_planned_or_refused() {
    let chain = |n: usize, link: &str| format!("SELECT id FROM customers WHERE {}", vec!["email = 'x'"; n].join(link));
    assert!(shown(&chain(1_000, " OR ")).starts_with("SELECT"));
    assert!(shown(&chain(4_000, " AND ")).starts_with("SELECT"));
    assert_eq!(shown(&chain(100_000, " OR ")), "refuse limit");
    let union = vec!["SELECT email FROM customers"; 3_000].join(" UNION ALL ");
    assert!(shown(&union).starts_with("SELECT"));
    assert_eq!(
        shown(&format!(
            "SELECT {}email{} FROM customers",
            "(".repeat(5_000),
            ")".repeat(5_000)
        )),
        "refuse limit"
    );
    let list = format!(
        "SELECT id FROM customers WHERE email IN ({})",
        vec!["'x'"; 20_000].join(",")
    );
    assert!(shown(&list).starts_with("SELECT"));
    assert_eq!(
        shown(&format!("SELECT '{}', email FROM customers", "x".repeat(2 << 20))),
        "refuse limit"
    );
    // Nothing protected: no limit.
    assert_eq!(
        shown(&format!("SELECT 1 WHERE {}", vec!["1 = 1"; 100_000].join(" OR "))),
        "forward"
    );
}

#[test]
fn no_plan_holds_a_literal() {
    for sql in [
        "SELECT email FROM customers WHERE email = 'SECRETVALUE' AND org = 'SECRETVALUE' -- SECRETVALUE",
        "INSERT INTO customers (id, email, name) VALUES (1, 'SECRETVALUE', E'SECRETVALUE\\n') RETURNING 'SECRETVALUE'",
        "SELECT email FROM customers WHERE email LIKE 'SECRETVALUE'",
        "SELECT /* SECRETVALUE */ email FROM customers WHERE 'SECRETVALUE'",
        "SELECT email FROM customers WHERE email = $$SECRETVALUE$$ ORDER BY",
        "DO $x$ SELECT customers SECRETVALUE $x$",
        "COPY customers FROM 'SECRETVALUE'",
    ] {
        let shown = format!("{:?}", planned(sql, &[]));
        assert!(!shown.contains("SECRETVALUE"), "{shown}");
    }
}

#[test]
fn a_script_is_planned_statement_by_statement() {
    let script = planned(
        "BEGIN; ; SELECT email FROM customers; SELECT 1; DELETE FROM customers; COMMIT",
        &[],
    );
    let actions: String = script
        .statements
        .iter()
        .map(|s| match s.action {
            Action::Forward => 'f',
            Action::Protected(_) => 'p',
            Action::Refuse(_) => 'r',
        })
        .collect();
    assert_eq!(actions, "fpfpf");
}

fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "SELECT", "FROM", "customers", "contacts", "email", "c", ".", ",", "(", ")", "=", "<>", "'x'", "$1", "$2", "WHERE",
            "AND", "OR", "NOT", "IN", "ANY", "ARRAY", "[", "]", "NULL", "IS", "INSERT", "INTO", "VALUES", "UPDATE", "SET",
            "DELETE", "RETURNING", "*", "WITH", "AS", "UNION", "ALL", "JOIN", "ON", "USING", "GROUP", "BY", "ORDER", "LIMIT",
            "DISTINCT", "count", "::", "text", "date", "CAST", "id", "name", "ip", "1", "-", "||", "CASE", "WHEN", "THEN",
            "END", "EXISTS", "LATERAL", "CONFLICT", "DO", "EXCLUDED", ";", "E'\\x'", "\"email\"", "$$x$$", "OVER", "excluded",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn token_soup_never_panics(tokens in prop::collection::vec(token(), 0..40)) {
        planned(&tokens.join(" "), &[]);
    }

    #[test]
    fn mutated_statements_never_panic(which in 0usize..6, at in 0usize..200, with in token(), drop in 0usize..3) {
        let sql = [
            "WITH x AS (SELECT email FROM customers) SELECT x.email, count(*) FROM x JOIN contacts k ON k.email = x.email GROUP BY x.email",
            "INSERT INTO customers (id, email) VALUES ($1, 'a'), (2, $2::text) ON CONFLICT (email) DO UPDATE SET email = excluded.email RETURNING *",
            "UPDATE customers c SET (email, name) = ('a', $1) FROM plain p WHERE c.email = ANY(ARRAY['x', $2]) AND p.id = c.id",
            "SELECT DISTINCT email, org FROM customers WHERE email IN (SELECT email FROM contacts) ORDER BY org",
            "DELETE FROM customers USING contacts k WHERE k.email = customers.email RETURNING customers.*",
            "SELECT CAST('x' AS text), date '2000-01-01', (email) FROM (customers) WHERE (email = ('x')) IS TRUE",
        ][which];
        let mut tokens: Vec<&str> = sql.split(' ').collect();
        let at = at % tokens.len();
        let end = (at + drop).min(tokens.len());
        tokens.splice(at..end, [with.as_str()]);
        planned(&tokens.join(" "), &[]);
    }
}

#[test]
fn functions_that_run_sql_are_called_where_their_literals_concern_nothing_protected() {
    for sql in [
        "SELECT * FROM ts_stat('SELECT v FROM documents') WHERE ndoc > 1",
        "SELECT * FROM ts_stat('SELECT v FROM documents', 'AB')",
        "SELECT ts_rewrite(ts_rewrite(q, 'york', '!jersey'), 'jersey', 'mexico') FROM documents",
        "SELECT ts_rewrite(q, 'SELECT keyword, sample FROM words'::text) FROM documents",
        "SELECT table_to_xml('other.documents', false, false, '')",
        r"SELECT query_to_xml(E'SELECT *\nFROM documents', false, false, '')",
        "SELECT schema_to_xml('other', false, false, '')",
        "SELECT cursor_to_xml('c'::refcursor, 5, false, true, '')",
    ] {
        assert_eq!(shown(sql), "forward", "{sql}");
    }
    for sql in [
        "SELECT * FROM ts_stat('SELECT v FROM customers')",
        r"SELECT * FROM ts_stat(E'SELECT v FROM \x63ustomers')",
        "SELECT * FROM ts_stat('SELECT v FROM ' || 'cust' || 'omers')",
        "SELECT * FROM ts_stat($1)",
        "SELECT * FROM ts_stat(weights => '', query => 'SELECT 1')",
        "SELECT ts_rewrite(q, (SELECT text FROM documents)) FROM documents",
        "SELECT ts_rewrite(q, 'SELECT query_to_xml(''SELECT 1'', true, true, '''')') FROM documents",
        "SELECT table_to_xml('public.customers', false, false, '')",
        "SELECT table_to_xml('16400', false, false, '')",
        "SELECT table_to_xml(16400, false, false, '')",
        r#"SELECT query_to_xml('SELECT * FROM U&"\0063ustomers"', false, false, '')"#,
        "SELECT schema_to_xml('public', false, false, '')",
        "SELECT schema_to_xml('PUBLIC', false, false, '')",
        "SELECT database_to_xml(true, true, '')",
        "CREATE TABLE t AS SELECT cursor_to_xml('c', 5, false, true, '')",
    ] {
        assert_eq!(shown(sql), "refuse statement-kind", "{sql}");
    }
}

#[test]
fn strings_in_definitions_are_read_before_they_are_feared() {
    for sql in [
        "CREATE TABLE bits (a bit(4) DEFAULT B'0101', b bit(4) DEFAULT X'F')",
        r"CREATE TABLE t AS SELECT E'\\xDEADBEEF'::bytea",
        r"CREATE VIEW v AS SELECT trim(E'\\000'::bytea from E'\\000Tom\\000'::bytea)",
    ] {
        assert_eq!(shown(sql), "forward", "{sql}");
    }
    for sql in [
        r"CREATE FUNCTION f() RETURNS void LANGUAGE sql AS E'DELETE FROM \x63ustomers WHERE \x65mail IS NULL'",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS U&'SELECT !0065mail FROM !0063ustomers' UESCAPE '!'",
    ] {
        assert!(shown(sql).starts_with("refuse"), "{sql}");
    }
}

#[test]
fn unicode_identifiers_mean_the_columns_that_they_name() {
    // Planned, and not forwarded.
    let read = r#"SELECT U&"em\0061il" FROM customers"#;
    assert_eq!(shown(read), read);
    let searched = shown(r#"SELECT id FROM U&"customer!0073" UESCAPE '!' WHERE U&"em!0061il" UESCAPE '!' = 'x'"#);
    assert!(
        searched.contains(r#"substring(U&"em!0061il" UESCAPE '!' from 11 for 16)"#),
        "{searched}"
    );
}
