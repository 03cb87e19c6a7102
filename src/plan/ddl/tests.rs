use super::*;
use crate::plan::introspect::{Declarations, SnapshotBuilder};
use crate::plan::schema::{ColumnId, KeyDomain, NameScope, Snapshot};

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
k|1|1|people_email_key|0|[\"SUBSTRING(email FROM 11 FOR 16)\"]|~|~
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
fn create_table_seals_declared_columns() {
    check(&[
        (
            "CREATE TABLE customers (id serial PRIMARY KEY, email varchar(320) COLLATE \"C\" NOT NULL, name text)",
            "CREATE TABLE customers (id serial PRIMARY KEY, email pgward.sealed  NOT NULL, name text) ; \
             COMMENT ON COLUMN \"public\".\"customers\".\"email\" IS 'pgward: character varying(320)'",
        ),
        (
            "create table public.Customers (\"email\" text unique, note text check (note <> ''), phone timestamp ( 3 )with time zone)",
            "create table public.Customers (\"email\" pgward.sealed , note text check (note <> ''), phone pgward.sealed) ; \
             COMMENT ON COLUMN \"public\".\"customers\".\"email\" IS 'pgward: text' ; \
             COMMENT ON COLUMN \"public\".\"customers\".\"phone\" IS 'pgward: timestamp(3) with time zone' ; \
             CREATE UNIQUE INDEX \"customers_email_key\" ON \"public\".\"customers\" ((substring(\"email\" from 11 for 16)))",
        ),
        (
            "CREATE TABLE customers (UNIQUE (email), id int, email text, CONSTRAINT both UNIQUE NULLS NOT DISTINCT (id, email), country text UNIQUE)",
            "CREATE TABLE customers ( id int, email pgward.sealed, country text UNIQUE) ; \
             COMMENT ON COLUMN \"public\".\"customers\".\"email\" IS 'pgward: text' ; \
             CREATE UNIQUE INDEX \"customers_email_key\" ON \"public\".\"customers\" ((substring(\"email\" from 11 for 16))) ; \
             CREATE UNIQUE INDEX \"both\" ON \"public\".\"customers\" (\"id\", (substring(\"email\" from 11 for 16))) NULLS NOT DISTINCT",
        ),
        (
            "CREATE TABLE customers (code uuid PRIMARY KEY, parent uuid, country text DEFAULT 'x')",
            "CREATE TABLE customers (code pgward.sealed PRIMARY KEY, parent uuid, country text DEFAULT 'x') ; \
             COMMENT ON COLUMN \"public\".\"customers\".\"code\" IS 'pgward: uuid'",
        ),
        (
            "CREATE TABLE customers (phone text DEFAULT 'none'::text NOT NULL, email text DEFAULT NULL, code int DEFAULT -1)",
            "CREATE TABLE customers (phone pgward.sealed DEFAULT <2:'none'> NOT NULL, email pgward.sealed , code pgward.sealed DEFAULT <3:-1>) ; \
             COMMENT ON COLUMN \"public\".\"customers\".\"phone\" IS 'pgward: text' ; \
             COMMENT ON COLUMN \"public\".\"customers\".\"email\" IS 'pgward: text' ; \
             COMMENT ON COLUMN \"public\".\"customers\".\"code\" IS 'pgward: integer'",
        ),
        (
            "CREATE TABLE customers (email text, CHECK (email IS NOT NULL OR id > 0), id int) PARTITION BY RANGE (id)",
            "CREATE TABLE customers (email pgward.sealed, CHECK (email IS NOT NULL OR id > 0), id int) PARTITION BY RANGE (id) ; \
             COMMENT ON COLUMN \"public\".\"customers\".\"email\" IS 'pgward: text'",
        ),
        // It is there already: the server skips it, and nothing else happens.
        (
            "CREATE TABLE IF NOT EXISTS people (id int, email varchar(9) UNIQUE)",
            "CREATE TABLE IF NOT EXISTS people (id int, email pgward.sealed )",
        ),
        ("CREATE TEMP TABLE customers (email text)", "forward"),
        ("CREATE TABLE app.customers (email text)", "forward"),
        ("CREATE TABLE pg_temp.customers (email text)", "forward"),
        (
            "CREATE TABLE bills (id int, customer int REFERENCES people(id) ON DELETE CASCADE)",
            "forward",
        ),
        ("CREATE TABLE customers AS SELECT 1", "! ddl"),
        ("CREATE TABLE copies AS SELECT * FROM people", "! statement-kind"),
        ("CREATE TABLE copies (LIKE people INCLUDING ALL)", "! ddl"),
        ("CREATE TABLE customers (LIKE orders)", "! ddl"),
        ("CREATE TEMP TABLE customers (LIKE people)", "! ddl"),
        ("CREATE TABLE part PARTITION OF people FOR VALUES IN (1)", "! ddl"),
        ("CREATE TABLE child (x int) INHERITS (people)", "! ddl"),
    ]);
}

#[test]
fn create_table_refuses_what_envelopes_cannot_carry() {
    check(&[
        (
            "CREATE TABLE customers (email text PRIMARY KEY)",
            "! ddl (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (phone text UNIQUE)",
            "! equality-not-enabled (public.customers.phone)",
        ),
        (
            "CREATE TABLE customers (id int, phone text, UNIQUE (id, phone))",
            "! equality-not-enabled (public.customers.phone)",
        ),
        (
            "CREATE TABLE customers (email text UNIQUE DEFERRABLE)",
            "! ddl (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (email text DEFAULT lower('X'))",
            "! ddl (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (email text DEFAULT current_user)",
            "! ddl (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (email text DEFAULT 'a'::varchar(1))",
            "! ddl (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (email text CHECK (email LIKE '%@%'))",
            "! expression (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (email text, CHECK ((email || 'x') IS NULL))",
            "! expression (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (email text, CHECK (customers IS NULL))",
            "! expression",
        ),
        (
            "CREATE TABLE customers (email text, low text GENERATED ALWAYS AS (lower(email)) STORED)",
            "! expression (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (email text, EXCLUDE USING gist (email WITH =))",
            "! expression (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (code int GENERATED ALWAYS AS IDENTITY)",
            "! ddl (public.customers.code)",
        ),
        (
            "CREATE TABLE customers (code bigserial)",
            "! ddl (public.customers.code)",
        ),
        (
            "CREATE TABLE customers (email citext)",
            "! ddl (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (email text[])",
            "! ddl (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (country inet)",
            "! ddl (public.customers.country)",
        ),
        ("CREATE TABLE customers (email jsonb)", "! ddl (public.customers.email)"),
        (
            "CREATE TABLE customers (email boolean)",
            "! ddl (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (code numeric(3,1))",
            "! ddl (public.customers.code)",
        ),
        (
            "CREATE TABLE customers (email text REFERENCES people(email))",
            "! key-domain (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (code int REFERENCES people)",
            "! key-domain (public.customers.code)",
        ),
        (
            "CREATE TABLE bills (code bytea REFERENCES people(code))",
            "! key-domain (public.people.code)",
        ),
        (
            "CREATE TABLE customers (email text) PARTITION BY HASH (email)",
            "! ddl (public.customers.email)",
        ),
        (
            "CREATE TABLE customers (email text nonsense)",
            "! ddl (public.customers.email)",
        ),
        ("CREATE TABLE customers (email text NOT)", "! ddl"),
        ("CREATE TABLE customers", "! ddl"),
        ("CREATE TABLE", "! ddl"),
    ]);
    let references =
        "CREATE TABLE customers (code int REFERENCES people(code), FOREIGN KEY (code) REFERENCES people (code))";
    assert!(
        carried(references).starts_with("CREATE TABLE customers (code pgward.sealed REFERENCES people(code), FOREIGN")
    );
}

#[test]
fn alter_table_follows_the_same_rules() {
    check(&[
        (
            "ALTER TABLE customers ADD email text UNIQUE, ADD COLUMN note text",
            "ALTER TABLE customers ADD email pgward.sealed , ADD COLUMN note text ; \
             COMMENT ON COLUMN \"public\".\"customers\".\"email\" IS 'pgward: text' ; \
             CREATE UNIQUE INDEX \"customers_email_key\" ON \"public\".\"customers\" ((substring(\"email\" from 11 for 16)))",
        ),
        (
            "ALTER TABLE people ADD CONSTRAINT one UNIQUE (id, email), ADD COLUMN nick varchar DEFAULT 'x'",
            "ALTER TABLE people SET WITHOUT OIDS, ADD COLUMN nick pgward.sealed DEFAULT <15:'x'> ; \
             COMMENT ON COLUMN \"public\".\"people\".\"nick\" IS 'pgward: character varying' ; \
             CREATE UNIQUE INDEX \"one\" ON \"public\".\"people\" (\"id\", (substring(\"email\" from 11 for 16)))",
        ),
        (
            // The name is taken.
            "ALTER TABLE ONLY public.people ADD UNIQUE (email)",
            "ALTER TABLE ONLY public.people SET WITHOUT OIDS ; \
             CREATE UNIQUE INDEX \"people_email_key1\" ON \"public\".\"people\" ((substring(\"email\" from 11 for 16)))",
        ),
        (
            "ALTER TABLE people ALTER COLUMN email TYPE varchar(320), ALTER phone SET DEFAULT 'a', ALTER phone DROP DEFAULT",
            "ALTER TABLE people SET WITHOUT OIDS, ALTER phone SET DEFAULT <12:'a'>, ALTER phone DROP DEFAULT ; \
             COMMENT ON COLUMN \"public\".\"people\".\"email\" IS 'pgward: character varying(320)'",
        ),
        (
            "ALTER TABLE people ALTER email TYPE text USING email::text",
            "ALTER TABLE people SET WITHOUT OIDS ; COMMENT ON COLUMN \"public\".\"people\".\"email\" IS 'pgward: text'",
        ),
        (
            "ALTER TABLE people ALTER code TYPE bigint",
            "ALTER TABLE people SET WITHOUT OIDS ; COMMENT ON COLUMN \"public\".\"people\".\"code\" IS 'pgward: bigint'",
        ),
        (
            "ALTER TABLE people DROP CONSTRAINT IF EXISTS people_email_key CASCADE",
            "ALTER TABLE people SET WITHOUT OIDS ; DROP INDEX \"public\".\"people_email_key\" CASCADE",
        ),
        (
            "ALTER TABLE people RENAME CONSTRAINT people_email_key TO uq",
            "ALTER TABLE people SET WITHOUT OIDS ; ALTER INDEX \"public\".\"people_email_key\" RENAME TO \"uq\"",
        ),
        (
            "ALTER TABLE people ALTER email DROP NOT NULL",
            "ALTER TABLE people ALTER email DROP NOT NULL",
        ),
        (
            "ALTER TABLE people ALTER email SET DEFAULT NULL::text",
            "ALTER TABLE people ALTER email DROP DEFAULT",
        ),
        (
            "ALTER TABLE people ALTER email SET STATISTICS 100",
            "ALTER TABLE people ALTER email SET STATISTICS 100",
        ),
        (
            "ALTER TABLE people DROP COLUMN email",
            "ALTER TABLE people DROP COLUMN email",
        ),
        ("ALTER TABLE people DROP late", "ALTER TABLE people DROP late"),
        ("ALTER TABLE people OWNER TO app", "ALTER TABLE people OWNER TO app"),
        (
            "ALTER TABLE people RENAME plain TO clear",
            "ALTER TABLE people RENAME plain TO clear",
        ),
        (
            "ALTER TABLE IF EXISTS customers ADD email text",
            "ALTER TABLE IF EXISTS customers ADD email pgward.sealed",
        ),
        (
            "ALTER TABLE people ADD COLUMN IF NOT EXISTS email varchar(9)",
            "ALTER TABLE people ADD COLUMN IF NOT EXISTS email pgward.sealed",
        ),
        ("ALTER TABLE orders ADD person int REFERENCES people(id)", "forward"),
    ]);
}

#[test]
fn alter_table_refuses_what_it_cannot_keep() {
    check(&[
        (
            "ALTER TABLE people ALTER email TYPE varchar(10)",
            "! ddl (public.people.email)",
        ),
        (
            "ALTER TABLE people ALTER email TYPE int USING email::int",
            "! ddl (public.people.email)",
        ),
        (
            "ALTER TABLE people ALTER email TYPE text USING lower(email)",
            "! ddl (public.people.email)",
        ),
        (
            "ALTER TABLE people ALTER plain TYPE int USING length(email)",
            "! expression (public.people.email)",
        ),
        (
            "ALTER TABLE people ALTER late TYPE varchar",
            "! catalog (public.people.late)",
        ),
        (
            "ALTER TABLE people ALTER phone SET DEFAULT now()",
            "! ddl (public.people.phone)",
        ),
        (
            "ALTER TABLE people ALTER code ADD GENERATED ALWAYS AS IDENTITY",
            "! ddl (public.people.code)",
        ),
        (
            "ALTER TABLE people ADD UNIQUE (phone)",
            "! equality-not-enabled (public.people.phone)",
        ),
        (
            "ALTER TABLE people ADD PRIMARY KEY (email)",
            "! ddl (public.people.email)",
        ),
        (
            "ALTER TABLE people ADD CHECK (length(phone) > 3)",
            "! expression (public.people.phone)",
        ),
        ("ALTER TABLE people ADD UNIQUE (late)", "! catalog (public.people.late)"),
        ("ALTER TABLE people ADD nick jsonb", "! ddl (public.people.nick)"),
        (
            "ALTER TABLE people RENAME COLUMN email TO mail",
            "! ddl (public.people.email)",
        ),
        ("ALTER TABLE people RENAME plain TO nick", "! ddl (public.people.nick)"),
        ("ALTER TABLE people RENAME TO persons", "! ddl"),
        ("ALTER TABLE orders RENAME TO customers", "! ddl"),
        ("ALTER TABLE people SET SCHEMA other", "! ddl"),
        ("ALTER TABLE people INHERIT orders", "! ddl"),
        ("ALTER TABLE orders INHERIT people", "! ddl"),
        ("ALTER TABLE people FROBNICATE", "! ddl"),
        ("ALTER TABLE people", "ALTER TABLE people"),
    ]);
}

#[test]
fn indexes_are_over_tags() {
    check(&[
        (
            "CREATE INDEX ON people (email)",
            "CREATE INDEX \"people_email_idx\" ON people ((substring(\"email\" from 11 for 16)))",
        ),
        (
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq ON people USING btree (id, email COLLATE \"C\" varchar_ops DESC NULLS LAST)",
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq ON people USING btree (id, (substring(\"email\" from 11 for 16))  DESC NULLS LAST)",
        ),
        (
            "CREATE INDEX ON people (id, (email)) INCLUDE (phone) WHERE phone IS NOT NULL",
            "CREATE INDEX \"people_id_email_phone_idx\" ON people (id, (substring(\"email\" from 11 for 16))) INCLUDE (phone) WHERE phone IS NOT NULL",
        ),
        ("CREATE INDEX x ON people (code)", "CREATE INDEX x ON people (code)"),
        (
            "CREATE INDEX ON people (lower(plain))",
            "CREATE INDEX ON people (lower(plain))",
        ),
        ("CREATE INDEX ON orders (id)", "forward"),
        (
            "CREATE INDEX ON people (phone)",
            "! equality-not-enabled (public.people.phone)",
        ),
        (
            "CREATE INDEX ON people (lower(email))",
            "! expression (public.people.email)",
        ),
        (
            "CREATE INDEX ON people ((email || 'x'))",
            "! expression (public.people.email)",
        ),
        (
            "CREATE INDEX ON people (plain) WHERE email = 'a'",
            "! expression (public.people.email)",
        ),
        (
            "CREATE INDEX ON people (email text_pattern_ops)",
            "! text-search (public.people.email)",
        ),
        (
            "CREATE INDEX ON people USING gin (email gin_trgm_ops)",
            "! text-search (public.people.email)",
        ),
        (
            "CREATE INDEX ON people USING gin (email)",
            "! ddl (public.people.email)",
        ),
        (
            "CREATE INDEX ON people (email, lower(plain))",
            "! ddl (public.people.email)",
        ),
        ("CREATE INDEX ON people (late)", "! catalog (public.people.late)"),
        ("CREATE INDEX ON shown (email)", "! ddl"),
        ("CREATE INDEX", "! ddl"),
    ]);
}

#[test]
fn the_marker_stays_first_in_comments() {
    check(&[
        (
            "COMMENT ON COLUMN people.email IS 'where they''re reached'",
            "COMMENT ON COLUMN people.email IS 'pgward: character varying(100)\nwhere they''re reached'",
        ),
        (
            "COMMENT ON COLUMN public.people.phone IS E'a\\tb'",
            "COMMENT ON COLUMN public.people.phone IS E'pgward: text\na\\tb'",
        ),
        (
            "COMMENT ON COLUMN people.phone IS $t$x$t$",
            "COMMENT ON COLUMN people.phone IS $t$pgward: text\nx$t$",
        ),
        (
            "COMMENT ON COLUMN people.phone IS NULL",
            "COMMENT ON COLUMN people.phone IS 'pgward: text'",
        ),
        (
            "COMMENT ON COLUMN people.plain IS 'x'",
            "COMMENT ON COLUMN people.plain IS 'x'",
        ),
        ("COMMENT ON TABLE people IS 'x'", "COMMENT ON TABLE people IS 'x'"),
        ("COMMENT ON COLUMN orders.id IS 'people'", "forward"),
    ]);
}

#[test]
fn other_definitions_are_carried_out_or_refused() {
    check(&[
        ("DROP TABLE people CASCADE", "DROP TABLE people CASCADE"),
        ("DROP TABLE orders, people", "DROP TABLE orders, people"),
        ("GRANT SELECT ON people TO app", "GRANT SELECT ON people TO app"),
        (
            "TRUNCATE people, orders RESTART IDENTITY",
            "TRUNCATE people, orders RESTART IDENTITY",
        ),
        ("CREATE ROLE people", "forward"),
        ("CREATE SCHEMA people", "forward"),
        (
            "CREATE SCHEMA s CREATE TABLE customers (email text)",
            "! statement-kind",
        ),
        ("CREATE VIEW v AS SELECT id FROM people", "! statement-kind"),
        (
            "CREATE OR REPLACE TEMP VIEW v AS SELECT id FROM \"people\"",
            "! statement-kind",
        ),
        ("CREATE MATERIALIZED VIEW v AS SELECT id FROM shown", "! statement-kind"),
        ("CREATE VIEW people_ids AS SELECT id FROM orders", "forward"),
        (
            "CREATE VIEW v AS SELECT query_to_xml('TABLE People', true, true, '')",
            "! statement-kind",
        ),
        (
            "CREATE VIEW v AS SELECT query_to_xml(E'TABLE p\\145ople', true, true, '')",
            "! statement-kind",
        ),
        ("CREATE VIEW v AS SELECT 'people-like' FROM orders", "! statement-kind"),
        (
            "CREATE TRIGGER t BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touch()",
            "CREATE TRIGGER t BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touch()",
        ),
        (
            "CREATE TRIGGER t BEFORE UPDATE OF email ON people FOR EACH ROW EXECUTE FUNCTION touch()",
            "! statement-kind",
        ),
        (
            "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$SELECT Email FROM people$$",
            "! statement-kind",
        ),
        (
            "CREATE RULE r AS ON SELECT TO people DO INSTEAD SELECT 1",
            "! statement-kind",
        ),
        ("CREATE PUBLICATION p FOR TABLE people", "! statement-kind"),
        ("ALTER PUBLICATION p ADD TABLE people", "! statement-kind"),
        ("SECURITY LABEL ON TABLE people IS 'x'", "! statement-kind"),
    ]);
}

#[test]
fn truncate_is_a_write_and_other_definitions_need_no_right() {
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
    assert_eq!(accesses("TRUNCATE people"), 4);
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
        "TRUNCATE TABLE ONLY people *, orders CASCADE",
    ] {
        for end in 0..=sql.len() {
            carried(&sql[..end]);
            carried(&format!("{})", &sql[..end]));
        }
    }
}
