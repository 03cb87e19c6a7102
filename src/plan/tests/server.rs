//! What the planner writes is SQL that PostgreSQL accepts, over tables with sealed storage.

use super::schema::TABLES;
use super::{golden, planned};
use crate::cli::cluster::{Cluster, ClusterOptions, Installation};
use crate::plan::{Action, Replacement, Statement, StatementKind, rewrite};

fn text(sql: &str, statement: &Statement) -> Option<(String, Vec<u32>)> {
    let Action::Protected(plan) = &statement.action else {
        return None;
    };
    let mut value = |replacement: &Replacement, out: &mut Vec<u8>| {
        out.extend_from_slice(match replacement {
            Replacement::LiteralArray { .. } => b"'{}'::pg_catalog.bytea[]".as_slice(),
            _ => b"'\\xfa00'::pg_catalog.bytea".as_slice(),
        });
        Ok(())
    };
    let bytes = rewrite(sql, statement.span.clone(), &plan.splices, &mut value).expect("splices fit");
    let oids = plan.server_params.iter().map(|p| p.type_oid).collect();
    Some((String::from_utf8(bytes).expect("UTF-8"), oids))
}

#[test]
fn a_server_accepts_every_rewritten_statement() {
    if Installation::find().is_err() {
        return;
    }
    let cluster = Cluster::start(ClusterOptions::default()).expect("a cluster starts");
    cluster.sql("postgres", TABLES).expect("tables are made");
    let mut script = String::new();
    let mut count = 0;
    for sql in golden::all() {
        let script_plan = planned(sql, &[]);
        let [statement] = script_plan.statements.as_slice() else {
            continue;
        };
        let Some((text, oids)) = text(sql, statement) else {
            continue;
        };
        count += 1;
        if !sql.to_ascii_uppercase().starts_with("EXPLAIN") && statement.kind != StatementKind::Ddl {
            let types: Vec<&str> = oids
                .iter()
                .map(|oid| match oid {
                    17 => "bytea",
                    1001 => "bytea[]",
                    1043 => "varchar",
                    25 => "text",
                    _ => "unknown",
                })
                .collect();
            let types = if types.is_empty() {
                String::new()
            } else {
                format!("({})", types.join(", "))
            };
            script.push_str(&format!("PREPARE p{count}{types} AS {text};\n"));
        } else {
            script.push_str(&format!("BEGIN; {text}; ROLLBACK;\n"));
        }
    }
    assert!(count >= 46, "{count}");
    cluster.sql("postgres", &script).expect("the server accepts them");
}

#[test]
fn groups_and_distinct_rows_are_those_of_the_values() {
    if Installation::find().is_err() {
        return;
    }
    let cluster = Cluster::start(ClusterOptions::default()).expect("a cluster starts");
    cluster.sql("postgres", TABLES).expect("tables are made");
    // Envelopes of two values: same tags (bytes 11 to 26), other nonces.
    let envelope = |tag: &str, nonce: &str| format!("'\\xfa{}{}{nonce}'", "00".repeat(9), tag.repeat(16));
    let rows = format!(
        "DROP INDEX customers_email; INSERT INTO customers (id, email, org) VALUES (1, {}, 'x'), (2, {}, 'x'), (3, {}, 'y'), (4, NULL, 'y'), (5, NULL, 'y')",
        envelope("aa", "01"),
        envelope("aa", "02"),
        envelope("bb", "03"),
    );
    cluster.sql("postgres", &rows).expect("rows are made");
    for (sql, expected) in [
        ("SELECT email, count(*) FROM customers GROUP BY email", "2|aa,1|bb,2|"),
        ("SELECT DISTINCT email, org FROM customers", "x|aa,y|bb,y|"),
        ("SELECT count(DISTINCT email), count(email) FROM customers", "2|3"),
    ] {
        let script = planned(sql, &[]);
        let (text, _) = text(sql, &script.statements[0]).expect("it is rewritten");
        let wrapped = if sql.contains("GROUP") {
            format!(
                "SELECT string_agg(count || '|' || coalesce(substr(encode(email, 'hex'), 21, 2), ''), ',' ORDER BY email NULLS LAST) FROM ({text}) s"
            )
        } else if sql.contains("org") {
            format!(
                "SELECT string_agg(org || '|' || coalesce(substr(encode(email, 'hex'), 21, 2), ''), ',' ORDER BY org, email NULLS LAST) FROM ({text}) s"
            )
        } else {
            text
        };
        let got = cluster.sql("postgres", &wrapped).expect("it runs");
        assert_eq!(got.trim(), expected, "{sql}");
    }
}
