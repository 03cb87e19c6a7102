//! Planning any text over a catalog with a protected table: total, and splices lie within the text, in order, on character boundaries.
use pgward::plan::schema::{Column, Relation, RelationKind};
use pgward::plan::{
    Action, ColumnId, ColumnName, KeyDomain, Mode, NameScope, PlanInput, ProtectedColumn, RelationName, Snapshot, plan,
};
use pgward::value::LogicalType;
use std::sync::{Arc, LazyLock};

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let name = RelationName {
        schema: "public".into(),
        name: "t".into(),
    };
    let column = |n: i16, column: &str, mode: Option<Mode>| Column {
        name: column.into(),
        attnum: n,
        type_oid: if mode.is_some() { 17 } else { 23 },
        typmod: -1,
        not_null: false,
        has_default: false,
        stored_sealed: mode.is_some_and(Mode::is_sealed),
        protected: mode.map(|mode| {
            Arc::new(ProtectedColumn {
                id: ColumnId(n as u32),
                name: ColumnName {
                    relation: name.clone(),
                    column: column.into(),
                },
                mode,
                key_domain: KeyDomain(column.into()),
                logical_type: LogicalType::Text,
                category: "name".into(),
            })
        }),
        unusable: None,
    };
    let columns = vec![
        column(1, "id", None),
        column(2, "e", Some(Mode::Eq)),
        column(3, "s", Some(Mode::Sealed)),
        column(4, "d", Some(Mode::Deterministic)),
        column(5, "n", Some(Mode::None)),
    ];
    let relation = Arc::new(Relation {
        oid: 16_400,
        name: name.clone(),
        kind: RelationKind::Table,
        columns,
        unique: Vec::new(),
        protected: true,
        touches_protected: None,
        subject: Some("id".into()),
    });
    let mut snapshot = Snapshot {
        version: 1,
        ..Default::default()
    };
    snapshot.relations.insert(name, relation.clone());
    snapshot.protected_by_oid.insert(16_400, relation);
    snapshot.sensitive_names.insert("t".into());
    snapshot
});

/// One input.
pub fn run(data: &[u8]) {
    let Some((how, sql)) = data.split_first() else { return };
    let Ok(sql) = std::str::from_utf8(sql) else { return };
    let scope = NameScope {
        schemas: vec!["pg_catalog".into(), "public".into()],
        temp_schema: None,
    };
    let script = plan(PlanInput {
        sql,
        snapshot: &SNAPSHOT,
        scope: &scope,
        parameter_oids: &[],
        standard_conforming_strings: how & 1 != 0,
        extended: how & 2 != 0,
    });
    let mut end = 0;
    for statement in &script.statements {
        assert!(
            sql.get(statement.span.clone()).is_some() && statement.span.start >= end,
            "statements in order"
        );
        end = statement.span.end;
        if let Action::Protected(plan) = &statement.action {
            let mut at = statement.span.start;
            for splice in &plan.splices {
                assert!(
                    sql.get(splice.span.clone()).is_some() && splice.span.start >= at,
                    "splices in order"
                );
                at = splice.span.end;
            }
            assert!(at <= statement.span.end);
        }
    }
}
