//! What is told without tokens is what the whole planner would say.

use super::schema::snapshot;
use super::scope;
use crate::plan::words;
use crate::plan::{Action, Effects, PlanInput, StatementKind, plain, plan};
use proptest::prelude::*;

/// Says something: then the planner must say the same.
fn told(sql: &str) -> Option<StatementKind> {
    let snapshot = snapshot();
    let kind = plain(sql.as_bytes(), &snapshot, true, true)?;
    for extended in [false, true] {
        let script = plan(PlanInput {
            sql,
            snapshot: &snapshot,
            scope: &scope(),
            parameter_oids: &[],
            standard_conforming_strings: true,
            extended,
        });
        let [statement] = &script.statements[..] else {
            panic!("{} statements: {sql}", script.statements.len());
        };
        assert!(matches!(statement.action, Action::Forward), "{sql}");
        assert_eq!(statement.effects, Effects::default(), "{sql}");
        assert_eq!(statement.kind, kind, "{sql}");
    }
    Some(kind)
}

#[test]
fn what_applications_send_is_told() {
    for sql in [
        "SELECT abalance FROM pgbench_accounts WHERE aid = 123456;",
        "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
        "select count(*), max(o.at) from shop.items as o where o.state in ('new', 'it''s') and total >= 1.50",
        "INSERT INTO audit.log (id, what) VALUES ($1, $2), (3, 'über')",
        "UPDATE \"Things\" SET \"n\" = \"n\" + 1 WHERE \"Things\".\"id\" = $1",
        "DELETE FROM things WHERE id = ANY ($1::int[]) AND at < now() - '1 day'::interval",
        "SELECT 'customers' AS word",
    ] {
        assert!(told(sql).is_some(), "{sql}");
    }
}

#[test]
fn what_may_concern_something_is_not() {
    for sql in [
        "",
        "; SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT name FROM customers",
        "SELECT name FROM CUSTOMERS",
        "SELECT name FROM \"Customers\"",
        "SELECT 1 INTO t",
        "SELECT f(1)",
        "SELECT mine.lower('x')",
        "SELECT \"lower\"('x')",
        "SELECT set_config('search_path', 'x', false)",
        "SELECT query_to_xml($1)",
        "SELECT E'\\''",
        "SELECT '\\'",
        "SELECT U&'x'",
        "SELECT U&\"x\"",
        "SELECT $$x$$",
        "SELECT /* ' */ 1",
        "SELECT 1 -- '",
        "SELECT 'x",
        "SELECT \"a\"\"b\"",
        "SELECT 1)",
        "SELECT $0",
        "SELECT $x$y$x$",
        "SELECT 1.e5",
        "WITH x AS (SELECT 1) SELECT 1",
        "SELECT 1 FETCH FIRST ROW ONLY",
        "SET search_path = x",
        "SELECT im\u{e4}ge",
    ] {
        assert_eq!(told(sql), None, "{sql}");
    }
    let snapshot = snapshot();
    assert_eq!(plain("SELECT 'ü'".as_bytes(), &snapshot, true, false), None);
    assert_eq!(plain(b"SELECT 'u'", &snapshot, false, true), None);
    assert_eq!(plain(b"SELECT 'u\0'", &snapshot, true, true), None);
}

#[test]
fn what_runs_sql_or_shows_values_is_notable() {
    for word in "query_to_xml table_to_xml_and_xmlschema schema_to_xml database_to_xml cursor_to_xml dblink_exec crosstab2 ts_stat ts_rewrite \
        connectby xpath_table pg_get_publication_tables pg_logical_slot_get_changes pg_logical_slot_peek_changes pg_stats pg_stats_ext \
        pg_stats_ext_exprs pg_statistic pg_statistic_ext_data"
        .split_whitespace()
    {
        assert!(words::runs_sql(word) || words::shows_values(word), "{word}");
        assert!(words::is_notable(word), "{word}");
    }
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "select", "insert into", "update", "delete from", "from", "where", "set", "values", "into", "as", "with", "recursive",
            "(", ")", ",", ".", "'", "''", "\"", ";", "$1", "$", "::", ":", "-", "--", "/*", "*/", "*", "=", "E'", "u&'", "\\", "in",
            "count", "lower", "f", "x", "t", "customers", "Customers", "\"customers\"", "mail_of", "plain", "1", "1.5", "1e5", "cursor_to_xml",
            "fetch", "begin", "atomic", "end", "public", "pg_catalog", "pg_stats", "ä", "\n", "'text'", "array", "[", "]",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn it_says_what_the_planner_says(
        verb in prop::sample::select(vec!["select ", "insert into ", "update ", "delete ", ""]),
        pieces in prop::collection::vec((piece(), prop::bool::weighted(0.7)), 0..12),
    ) {
        let text: String = pieces.iter().map(|(piece, blank)| format!("{piece}{}", if *blank { " " } else { "" })).collect();
        told(&format!("{verb}{text}"));
    }
}
