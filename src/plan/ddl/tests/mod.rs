mod forms;

use super::*;
use crate::plan::introspect::{Declarations, SnapshotBuilder};
use crate::plan::schema::{ColumnId, KeyDomain, Mode, NameScope, Snapshot};

fn declared(mode: Mode, table: &str, column: &str, id: u32) -> Arc<Declaration> {
    let name = ColumnName {
        relation: RelationName {
            schema: "public".into(),
            name: table.into(),
        },
        column: column.into(),
    };
    Arc::new(Declaration {
        id: ColumnId(id),
        key_domain: KeyDomain(if mode == Mode::Deterministic {
            "person".into()
        } else {
            name.to_string().into()
        }),
        name,
        mode,
        category: "contact".into(),
    })
}

/// `customers` (declared, not there yet) and `people` (there: id, email, phone, code, plain).
fn snapshot() -> Snapshot {
    let columns = vec![
        declared(Mode::Eq, "customers", "email", 1),
        declared(Mode::Sealed, "customers", "phone", 2),
        declared(Mode::Deterministic, "customers", "code", 3),
        declared(Mode::None, "customers", "country", 4),
        declared(Mode::Eq, "people", "email", 11),
        declared(Mode::Sealed, "people", "phone", 12),
        declared(Mode::Deterministic, "people", "code", 13),
        declared(Mode::None, "people", "country", 14),
        declared(Mode::Eq, "people", "nick", 15),
        declared(Mode::Sealed, "people", "late", 16),
    ];
    let rows = "\
d|99|~|~|~|~|~|~
r|1|~|people|public|r|~|~
c|1|1|id|23|-1|nd|~
c|1|2|email|99|-1|n|pgward: character varying(100)
c|1|3|phone|99|-1||pgward: text
c|1|4|code|99|-1|n|pgward: integer
c|1|5|country|25|-1||~
c|1|6|plain|25|-1||~
c|1|7|late|25|-1||~
r|2|~|people_email_key|public|i|~|~
k|1|1|people_email_key|0|({FUNCEXPR :funcid 2012 :args ({VAR :varno 1 :varattno 2 :varlevelsup 0} {CONST :consttype 23 :constvalue 4 [ 11 0 0 0 0 0 0 0 ]} {CONST :consttype 23 :constvalue 4 [ 16 0 0 0 0 0 0 0 ]})})|~|~
k|1|1|people_pkey|1|~|c|~
r|3|~|orders|public|r|~|~
c|3|1|id|23|-1|nd|~
r|4|~|shown|public|v|~|~
v|4|1|~|~|~|~|~";
    let mut builder = SnapshotBuilder::new(Arc::new(Declarations {
        columns,
        subjects: vec![],
    }));
    for line in rows.lines() {
        let row: Vec<Option<&[u8]>> = line.split('|').map(|v| (v != "~").then_some(v.as_bytes())).collect();
        builder.row(&row).expect("a good row");
    }
    builder.finish()
}

fn scope() -> NameScope {
    NameScope {
        schemas: vec!["pg_catalog".into(), "public".into()],
        temp_schema: None,
    }
}

/// What a statement becomes: `forward`, its text and companions joined by ` ; `, or `! reason (column): message`. A sealed literal
/// stands as `<id:literal>`.
fn carried(sql: &str) -> String {
    carried_after(sql, &mut Overlay::default())
}

fn carried_after(sql: &str, overlay: &mut Overlay) -> String {
    let snapshot = snapshot();
    let scope = scope();
    let input = PlanInput {
        sql,
        snapshot: &snapshot,
        scope: &scope,
        parameter_oids: &[],
        standard_conforming_strings: true,
        extended: false,
    };
    let source = Source::new(sql, true);
    match plan_ddl_text(&source, 0..sql.len(), &input, overlay).0 {
        Action::Forward => "forward".into(),
        Action::Refuse(refused) => {
            let refusal = &refused.refusal;
            let column = refusal.column.as_ref().map(|c| format!(" ({c})")).unwrap_or_default();
            assert!(!refused.redacted.contains('\''));
            format!("! {}{column}", refusal.reason.anchor())
        }
        Action::Protected(plan) => {
            let mut out = String::new();
            let mut at = 0;
            for splice in &plan.splices {
                assert!(splice.span.start >= at, "splices overlap: {:?}", plan.splices);
                out.push_str(&sql[at..splice.span.start]);
                match &splice.with {
                    Replacement::Text(text) => out.push_str(text),
                    Replacement::Literal { literal, transform } => {
                        assert!(
                            plan.accesses
                                .iter()
                                .any(|a| a.column.id == transform.column().id && a.usage == Use::Write)
                        );
                        out.push_str(&format!("<{}:{}>", transform.column().id.0, &sql[literal.span.clone()]));
                    }
                    Replacement::LiteralArray { .. } => panic!("no arrays in DDL"),
                }
                at = splice.span.end;
            }
            out.push_str(&sql[at..]);
            for companion in &plan.companions {
                out.push_str(" ; ");
                out.push_str(companion);
            }
            out
        }
    }
}

fn check(cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        assert_eq!(carried(sql), *expected, "{sql}");
    }
}

#[test]
fn definitions_need_no_right() {
    let accesses = |sql: &str| {
        let (snapshot, scope) = (snapshot(), scope());
        let input = PlanInput {
            sql,
            snapshot: &snapshot,
            scope: &scope,
            parameter_oids: &[],
            standard_conforming_strings: true,
            extended: false,
        };
        match plan_ddl_text(&Source::new(sql, true), 0..sql.len(), &input, &mut Overlay::default()).0 {
            Action::Protected(plan) => plan.accesses.len(),
            other => panic!("{sql}: {other:?}"),
        }
    };
    assert_eq!(accesses("ALTER TABLE people ALTER phone SET DEFAULT 'x'"), 1);
    for sql in [
        "DROP TABLE people",
        "ALTER TABLE people ADD nick text",
        "CREATE TABLE customers (email text)",
        "GRANT ALL ON people TO a",
    ] {
        assert_eq!(accesses(sql), 0, "{sql}");
    }
}

#[test]
fn later_statements_of_a_script_see_what_earlier_ones_made() {
    let mut overlay = Overlay::default();
    carried_after(
        "CREATE TABLE customers (id int PRIMARY KEY, email text UNIQUE)",
        &mut overlay,
    );
    let snapshot = snapshot();
    let name = RelationName {
        schema: "public".into(),
        name: "customers".into(),
    };
    let table = overlay.get(&snapshot, &name).expect("made").clone();
    assert!(table.protected && table.oid == 0);
    let email = table.column("email").expect("email");
    assert_eq!((email.type_oid, email.stored_sealed), (99, true));
    assert!(email.protected.is_some());
    let keys: Vec<(&str, bool)> = table.unique.iter().map(|k| (&*k.name, k.constraint)).collect();
    assert_eq!(keys, [("customers_pkey", true), ("customers_email_key", false)]);
    assert_eq!(
        carried_after("CREATE INDEX ON customers (email)", &mut overlay),
        "CREATE INDEX \"customers_email_idx\" ON customers ((substring(\"email\" from 11 for 16)))"
    );
    assert_eq!(
        carried_after("CREATE INDEX ON customers (email)", &mut overlay),
        "CREATE INDEX \"customers_email_idx1\" ON customers ((substring(\"email\" from 11 for 16)))"
    );
    carried_after(
        "ALTER TABLE customers ADD phone text, ALTER email TYPE varchar, DROP id",
        &mut overlay,
    );
    let table = overlay.get(&snapshot, &name).expect("changed").clone();
    let names: Vec<&str> = table.columns.iter().map(|c| &*c.name).collect();
    assert_eq!(names, ["email", "phone"]);
    assert_eq!(
        table
            .column("email")
            .and_then(|c| c.protected.clone())
            .map(|p| p.logical_type),
        Some(LogicalType::Varchar(None))
    );
    carried_after("DROP TABLE customers", &mut overlay);
    assert!(overlay.get(&snapshot, &name).is_none());

    // A refused statement changes nothing.
    let mut overlay = Overlay::default();
    carried_after("CREATE TABLE customers (email text PRIMARY KEY)", &mut overlay);
    assert!(overlay.is_empty());

    // A temporary table hides the protected one.
    carried_after("CREATE TEMP TABLE people (email text)", &mut overlay);
    let hidden = overlay.resolve(&snapshot, &scope(), None, "people").expect("people");
    assert!(!hidden.protected && hidden.touches_protected.is_some());
}

#[test]
fn names_are_chosen_as_the_server_chooses_them() {
    let columns = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>();
    let name = |table: &str, names: &[&str], label: &str| {
        names::index_name(table, &columns(names), label, |_| false).to_string()
    };
    assert_eq!(name("customers", &["email"], "key"), "customers_email_key");
    assert_eq!(name("t", &["a", "b"], "idx"), "t_a_b_idx");
    let long = "x".repeat(63);
    assert_eq!(name(&long, &["email"], "key"), format!("{}_email_key", "x".repeat(53)));
    assert_eq!(
        name(&long, &[&long], "key"),
        format!("{}_{}_key", "x".repeat(29), "x".repeat(29))
    );
    assert_eq!(
        name(&"가".repeat(21), &["email"], "key"),
        format!("{}_email_key", "가".repeat(17))
    );
}

#[test]
fn any_prefix_of_a_definition_is_planned_without_panic() {
    for sql in [
        "CREATE TABLE IF NOT EXISTS customers (id int, email varchar(3) COLLATE \"C\" DEFAULT 'a'::text UNIQUE, CONSTRAINT c UNIQUE (email), EXCLUDE USING gist (id WITH =)) PARTITION BY RANGE (id)",
        "ALTER TABLE ONLY people * ADD COLUMN nick text REFERENCES people(code) ON DELETE SET NULL, ALTER email TYPE text USING email::text, DROP CONSTRAINT people_email_key",
        "CREATE UNIQUE INDEX CONCURRENTLY x ON people USING btree ((email) COLLATE \"C\" text_ops DESC NULLS LAST) INCLUDE (phone) WHERE phone IS NULL",
        "COMMENT ON COLUMN public.people.email IS $a$b$a$",
        "DROP TABLE IF EXISTS ONLY people *, orders CASCADE",
    ] {
        for end in 0..=sql.len() {
            carried(&sql[..end]);
            carried(&format!("{})", &sql[..end]));
        }
    }
}
