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
