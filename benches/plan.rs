//! Planning: a statement without protected names (the prefilter alone), and protected ones from cold.

use criterion::{Criterion, criterion_group, criterion_main};
use pgward::plan::schema::{Column, Relation, RelationKind};
use pgward::plan::{
    ColumnId, ColumnName, KeyDomain, Mode, NameScope, PlanInput, ProtectedColumn, RelationName, Snapshot, plan,
};
use pgward::value::LogicalType;
use std::hint::black_box;
use std::sync::Arc;

fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::default();
    // A catalog of some size, one table in ten protected.
    for table in 0..200u32 {
        let name = RelationName {
            schema: "public".into(),
            name: if table == 0 {
                "customers".into()
            } else {
                format!("table_{table}").into()
            },
        };
        let columns = ["id", "email", "name", "phone", "note"]
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let protected = (table % 10 == 0 && (1..4).contains(&index)).then(|| {
                    Arc::new(ProtectedColumn {
                        id: ColumnId(table * 10 + index as u32),
                        name: ColumnName {
                            relation: name.clone(),
                            column: (*column).into(),
                        },
                        mode: Mode::Eq,
                        key_domain: KeyDomain((*column).into()),
                        logical_type: LogicalType::Text,
                        category: "contact".into(),
                    })
                });
                Column {
                    name: (*column).into(),
                    attnum: index as i16 + 1,
                    type_oid: 25,
                    typmod: -1,
                    not_null: false,
                    has_default: false,
                    stored_sealed: protected.is_some(),
                    protected,
                    unusable: None,
                }
            })
            .collect();
        let relation = Arc::new(Relation {
            oid: 16_384 + table,
            name: name.clone(),
            kind: RelationKind::Table,
            columns,
            unique: Vec::new(),
            protected: table % 10 == 0,
            touches_protected: None,
            subject: None,
        });
        if relation.protected {
            snapshot.sensitive_names.insert(name.name.clone());
            snapshot.protected_by_oid.insert(relation.oid, relation.clone());
        }
        snapshot.relations.insert(name, relation);
    }
    snapshot
}

fn cold(c: &mut Criterion) {
    let snapshot = snapshot();
    let scope = NameScope {
        schemas: vec!["pg_catalog".into(), "public".into()],
        temp_schema: None,
    };
    let mut group = c.benchmark_group("plan");
    for (name, sql) in [
        (
            "forward/point select",
            "SELECT abalance FROM pgbench_accounts WHERE aid = 4711",
        ),
        (
            "forward/join",
            "SELECT o.id, o.total, i.name, i.price FROM orders o JOIN items i ON i.order_id = o.id LEFT JOIN shops s ON s.id = o.shop_id WHERE o.created > '2024-01-01' AND s.country = 'KR' ORDER BY o.id LIMIT 50",
        ),
        (
            "cold/point select",
            "SELECT id, email, name FROM customers WHERE email = $1",
        ),
        (
            "cold/join",
            "SELECT c.email, t.phone, t.note FROM customers c JOIN table_10 t ON t.email = c.email LEFT JOIN table_20 u ON u.id = t.id WHERE c.phone = 'x' AND u.note = 'y' ORDER BY c.id LIMIT 50",
        ),
        (
            "cold/insert",
            "INSERT INTO customers (id, email, name, phone, note) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (email) DO UPDATE SET name = EXCLUDED.name RETURNING id",
        ),
        ("cold/wildcard", "SELECT * FROM customers WHERE id = 3"),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                plan(PlanInput {
                    sql: black_box(sql),
                    snapshot: &snapshot,
                    scope: &scope,
                    parameter_oids: &[],
                    standard_conforming_strings: true,
                    extended: true,
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, cold);
criterion_main!(benches);
