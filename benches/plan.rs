//! Planning: a statement without protected names (the prefilter alone), and protected ones from cold and from the cache.

use criterion::{Criterion, criterion_group, criterion_main};
use pgward::plan::schema::{Column, Relation, RelationKind};
use pgward::plan::{
    ColumnId, ColumnName, KeyDomain, Mode, NameScope, PlanInput, ProtectedColumn, RelationName, Snapshot, may_touch,
    plan,
};
use pgward::session::PlanCache;
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

const POINT_SELECT: &str = "SELECT id, email, name FROM customers WHERE email = $1";
const JOIN: &str = "SELECT c.email, t.phone, t.note FROM customers c JOIN table_10 t ON t.email = c.email LEFT JOIN table_20 u ON u.id = t.id WHERE c.phone = 'x' AND u.note = 'y' ORDER BY c.id LIMIT 50";
const INSERT: &str = "INSERT INTO customers (id, email, name, phone, note) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (email) DO UPDATE SET name = EXCLUDED.name RETURNING id";
const FOREIGN_POINT_SELECT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 4711";
const FOREIGN_JOIN: &str = "SELECT o.id, o.total, i.name, i.price FROM orders o JOIN items i ON i.order_id = o.id LEFT JOIN shops s ON s.id = o.shop_id WHERE o.created > '2024-01-01' AND s.country = 'KR' ORDER BY o.id LIMIT 50";

fn scope() -> NameScope {
    NameScope {
        schemas: vec!["pg_catalog".into(), "public".into()],
        temp_schema: None,
    }
}

fn input<'a>(sql: &'a str, snapshot: &'a Snapshot, scope: &'a NameScope) -> PlanInput<'a> {
    PlanInput {
        sql,
        snapshot,
        scope,
        parameter_oids: &[],
        standard_conforming_strings: true,
        extended: true,
    }
}

fn cold(c: &mut Criterion) {
    let (snapshot, scope) = (snapshot(), scope());
    let mut group = c.benchmark_group("plan");
    for (name, sql) in [
        ("forward/point select", FOREIGN_POINT_SELECT),
        ("forward/join", FOREIGN_JOIN),
        ("cold/point select", POINT_SELECT),
        ("cold/join", JOIN),
        ("cold/insert", INSERT),
        ("cold/wildcard", "SELECT * FROM customers WHERE id = 3"),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| plan(input(black_box(sql), &snapshot, &scope)));
        });
    }
    group.finish();
}

/// What a session does for a text that was planned before: is a sensitive name in it, the key, the look-up.
fn cached(c: &mut Criterion) {
    let (snapshot, scope, cache) = (snapshot(), scope(), PlanCache::default());
    let mut group = c.benchmark_group("plan/cached");
    // The cache of a busy database.
    for other in 0..1_000 {
        let sql = format!("SELECT id, email, name FROM customers WHERE email = $1 AND id <> {other}");
        let input = input(&sql, &snapshot, &scope);
        cache.put(cache.key(&input), Arc::new(plan(input)));
    }
    for (name, sql) in [("point select", POINT_SELECT), ("join", JOIN), ("insert", INSERT)] {
        let first = input(sql, &snapshot, &scope);
        cache.put(cache.key(&first), Arc::new(plan(first)));
        group.bench_function(name, |b| {
            b.iter(|| {
                assert!(may_touch(black_box(sql), &snapshot));
                let input = input(black_box(sql), &snapshot, &scope);
                cache.get(&cache.key(&input)).expect("a plan")
            });
        });
        group.bench_function(format!("{name}, key and look-up alone"), |b| {
            b.iter(|| {
                let input = input(black_box(sql), &snapshot, &scope);
                cache.get(&cache.key(&input)).expect("a plan")
            });
        });
    }
    for (name, sql) in [("point select", FOREIGN_POINT_SELECT), ("join", FOREIGN_JOIN)] {
        group.bench_function(format!("no sensitive name/{name}"), |b| {
            b.iter(|| assert!(!may_touch(black_box(sql), &snapshot)));
        });
    }
    group.finish();
}

criterion_group!(benches, cold, cached);
criterion_main!(benches);
