//! DDL against a real PostgreSQL: what is planned for a database with sealed columns leaves the same tables, columns, indexes and
//! constraints behind as the client's own text does on a plain database.

use pgward::catalog;
use pgward::cli::cluster::{Cluster, ClusterOptions};
use pgward::control::install_domain;
use pgward::plan::introspect::Declarations;
use pgward::plan::{
    Action, ColumnId, ColumnName, Declaration, KeyDomain, Mode, NameScope, Plan, PlanInput, Reason, RelationName,
    Replacement, Script, plan,
};
use pgward::value::LogicalType;
use std::sync::Arc;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// What the policy declares in schema `public`.
const DECLARED: [(&str, &str, Mode); 11] = [
    ("customers", "email", Mode::Eq),
    ("customers", "nick", Mode::Eq),
    ("customers", "phone", Mode::Sealed),
    ("customers", "code", Mode::Deterministic),
    ("customers", "country", Mode::None),
    ("orders", "customer", Mode::Deterministic),
    ("orders", "note", Mode::Sealed),
    (
        "a_table_whose_name_is_as_long_as_a_name_can_be_in_postgresql_15",
        "email",
        Mode::Eq,
    ),
    ("Odd \"table", "E mail", Mode::Eq),
    ("tree", "id", Mode::Deterministic),
    ("tree", "parent", Mode::Deterministic),
];

struct Databases {
    _cluster: Cluster,
    plain: Client,
    sealed: Client,
    declarations: Arc<Declarations>,
}

impl Databases {
    async fn new() -> Self {
        let cluster = Cluster::start(ClusterOptions::default()).expect("a cluster");
        let mut clients = Vec::new();
        for database in ["plain", "sealed"] {
            cluster.create_database(database).expect("a database");
            let (client, connection) = tokio_postgres::connect(&cluster.connection_string("postgres", database), NoTls)
                .await
                .expect("a connection");
            tokio::spawn(connection);
            clients.push(client);
        }
        let (Some(mut sealed), Some(plain)) = (clients.pop(), clients.pop()) else {
            unreachable!("two databases")
        };
        install_domain(&mut sealed).await.expect("the domain");
        let columns = DECLARED.iter().zip(1..).map(|((table, column, mode), id)| {
            let name = ColumnName {
                relation: RelationName {
                    schema: "public".into(),
                    name: (*table).into(),
                },
                column: (*column).into(),
            };
            let domain = match mode {
                Mode::Deterministic => "keys".to_owned(),
                _ => name.to_string(),
            };
            Arc::new(Declaration {
                id: ColumnId(id),
                key_domain: KeyDomain(domain.into()),
                name,
                mode: *mode,
                category: "contact".into(),
            })
        });
        let declarations = Arc::new(Declarations {
            columns: columns.collect(),
            subjects: Vec::new(),
        });
        Self {
            _cluster: cluster,
            plain,
            sealed,
            declarations,
        }
    }

    async fn plan(&self, sql: &str) -> Script {
        let snapshot = catalog::load(&self.sealed, self.declarations.clone())
            .await
            .expect("a snapshot");
        plan(PlanInput {
            sql,
            snapshot: &snapshot,
            scope: &NameScope {
                schemas: vec!["pg_catalog".into(), "public".into()],
                temp_schema: None,
            },
            parameter_oids: &[],
            standard_conforming_strings: true,
            extended: false,
        })
    }

    /// Carries out a script as the session does: each statement, its companions behind it, all in one Query.
    async fn run_sealed(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        let mut text = String::new();
        for statement in self.plan(sql).await.statements {
            match &statement.action {
                Action::Forward => text.push_str(&sql[statement.span.clone()]),
                Action::Protected(plan) => {
                    text.push_str(&spliced(sql, statement.span.clone(), plan));
                    for companion in &plan.companions {
                        text.push_str("; ");
                        text.push_str(companion);
                    }
                }
                Action::Refuse(refused) => panic!("{sql}\nis refused: {}", refused.refusal),
            }
            text.push_str(";\n");
        }
        self.sealed.batch_execute(&text).await
    }

    /// Runs a script in both; both succeed, and leave the same behind.
    async fn same(&self, sql: &str) {
        self.plain
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("plain: {sql}\n{error:?}"));
        self.run_sealed(sql)
            .await
            .unwrap_or_else(|error| panic!("sealed: {sql}\n{error:?}"));
        let (plain, sealed) = (shape(&self.plain).await, shape(&self.sealed).await);
        let only = |these: &[String], those: &[String]| -> Vec<String> {
            these.iter().filter(|line| !those.contains(line)).cloned().collect()
        };
        assert_eq!(only(&plain, &sealed), only(&sealed, &plain), "after {sql}");
        assert_eq!(plain.len(), sealed.len(), "after {sql}");
        assert!(!plain.is_empty());
    }

    /// Runs a script in both; both fail with the same SQLSTATE.
    async fn same_error(&self, sql: &str, state: SqlState) {
        let plain = self.plain.batch_execute(sql).await.expect_err("plain fails");
        let sealed = self.run_sealed(sql).await.expect_err("sealed fails");
        assert_eq!(plain.code(), Some(&state), "{sql}");
        assert_eq!(sealed.code(), Some(&state), "{sql}");
        assert_eq!(shape(&self.plain).await, shape(&self.sealed).await, "after {sql}");
    }

    async fn refused(&self, sql: &str, reason: Reason) {
        let script = self.plan(sql).await;
        match script.statements.as_slice() {
            [statement] => match &statement.action {
                Action::Refuse(refused) => {
                    assert_eq!(refused.refusal.reason, reason, "{sql}: {}", refused.refusal);
                    assert!(refused.refusal.hint.is_some(), "{sql}");
                }
                other => panic!("{sql} is not refused: {other:?}"),
            },
            other => panic!("{sql}: {} statements", other.len()),
        }
    }
}

/// The statement's text as the server gets it, with made-up envelopes.
fn spliced(sql: &str, span: std::ops::Range<usize>, plan: &Plan) -> String {
    let mut out = String::new();
    let mut at = span.start;
    for splice in &plan.splices {
        out.push_str(&sql[at..splice.span.start]);
        match &splice.with {
            Replacement::Text(text) => out.push_str(text),
            Replacement::Literal { transform, .. } => {
                let byte = match transform.column().mode {
                    Mode::Eq => "21",
                    Mode::Deterministic => "28",
                    _ => "20",
                };
                out.push_str(&format!("'\\xfa{byte}{}'::pg_catalog.bytea", "07".repeat(60)));
            }
            Replacement::LiteralArray { .. } => panic!("no arrays in DDL"),
        }
        at = splice.span.end;
    }
    out.push_str(&sql[at..span.end]);
    out
}

/// Tables, columns with their logical types, indexes with tags read as their columns, constraints; as lines.
async fn shape(client: &Client) -> Vec<String> {
    let query = r#"
SELECT 'column', c.relname, a.attnum::text, a.attname,
       coalesce((regexp_match(col_description(c.oid, a.attnum), '^pgward: ([^\n]*)'))[1], format_type(a.atttypid, a.atttypmod)),
       concat(a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'comment', c.relname, a.attname, nullif(regexp_replace(col_description(c.oid, a.attnum), '^pgward: [^\n]*\n?', ''), ''), '', ''
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'index', c.relname, t.relname, concat(x.indisunique, x.indisprimary, x.indnullsnotdistinct, x.indisvalid, x.indoption, m.amname),
       (SELECT string_agg(regexp_replace(pg_get_indexdef(x.indexrelid, k, false), '^SUBSTRING\((.*) FROM 11 FOR 16\)$', '\1'), ',' ORDER BY k)
        FROM generate_series(1, x.indnatts) AS k), pg_get_expr(x.indpred, x.indrelid)
FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid JOIN pg_am m ON m.oid = c.relam
WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
-- A unique constraint may be a mere unique index; every other one must be itself.
SELECT 'constraint', t.relname, o.conname, o.contype::text, pg_get_constraintdef(o.oid), ''
FROM pg_constraint o JOIN pg_class t ON t.oid = o.conrelid
WHERE t.relnamespace = 'public'::regnamespace AND o.contype <> 'u'
ORDER BY 1, 2, 3, 4"#;
    let messages = client.simple_query(query).await.expect("the catalog");
    let mut lines = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("")).collect();
            lines.push(values.join(" | "));
        }
    }
    lines
}

#[tokio::test]
async fn definitions_leave_the_same_behind() {
    let databases = Databases::new().await;
    for sql in [
        "CREATE TABLE customers (
            id bigserial PRIMARY KEY,
            email varchar(320) COLLATE \"C\" NOT NULL UNIQUE, -- where they are reached
            phone text DEFAULT 'none'::text,
            code uuid CONSTRAINT one_code UNIQUE,
            country char(2) NOT NULL DEFAULT 'KR' CHECK (country <> ''),
            created timestamptz DEFAULT now(),
            CONSTRAINT reachable CHECK (email IS NOT NULL OR phone IS NOT NULL),
            UNIQUE (country, email))",
        "CREATE TABLE IF NOT EXISTS customers (id int, email text UNIQUE, extra int)",
        "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, customer uuid REFERENCES customers (code) ON DELETE CASCADE,
            by_id bigint REFERENCES customers, note json, total numeric(12,2))",
        "CREATE TABLE a_table_whose_name_is_as_long_as_a_name_can_be_in_postgresql_15 (UNIQUE (email), id int, email text)",
        "CREATE TABLE \"Odd \"\"table\" (\"E mail\" text UNIQUE NULLS NOT DISTINCT, UNIQUE (\"E mail\", x), x int)",
        "CREATE TABLE tree (id bigint PRIMARY KEY, parent bigint, FOREIGN KEY (parent) REFERENCES tree (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE apart (customer bigint REFERENCES customers)",
        "ALTER TABLE customers ADD COLUMN nick text UNIQUE, ADD since date NOT NULL DEFAULT '2020-01-01', ALTER email DROP NOT NULL",
        "ALTER TABLE customers ADD COLUMN IF NOT EXISTS nick varchar(10) UNIQUE",
        "ALTER TABLE customers ADD UNIQUE (email), ADD CONSTRAINT named UNIQUE NULLS NOT DISTINCT (nick, phone_count), ADD phone_count int",
        "ALTER TABLE customers ALTER COLUMN nick TYPE varchar, ALTER phone SET DEFAULT 'other', ALTER country TYPE varchar(3)",
        "ALTER TABLE customers ALTER email TYPE varchar(400) USING email::varchar(400), ALTER COLUMN phone SET NOT NULL",
        "ALTER TABLE tree ALTER COLUMN id SET STATISTICS 100, ALTER parent SET STORAGE PLAIN",
        "ALTER TABLE customers RENAME CONSTRAINT customers_nick_key TO nick_once",
        "ALTER TABLE customers DROP CONSTRAINT named, DROP CONSTRAINT IF EXISTS never, ADD CHECK (phone_count > 0)",
        "ALTER TABLE IF EXISTS missing ADD x int",
        "CREATE INDEX ON customers (email)",
        "CREATE INDEX ON customers (email)",
        "CREATE INDEX ON customers (country DESC, email COLLATE \"C\" varchar_ops ASC NULLS FIRST) INCLUDE (phone)",
        "CREATE UNIQUE INDEX IF NOT EXISTS by_nick ON public.customers USING btree (nick) WHERE nick IS NOT NULL",
        "CREATE INDEX hashed ON customers USING hash (email)",
        "CREATE INDEX ON customers (code); CREATE INDEX ON customers (lower(country))",
        "CREATE INDEX CONCURRENTLY later ON customers (nick)",
        "COMMENT ON COLUMN customers.email IS 'where they''re reached'; COMMENT ON COLUMN customers.phone IS E'two\\nlines'",
        "COMMENT ON COLUMN customers.nick IS $c$what they're called$c$; COMMENT ON TABLE customers IS 'x'",
        "COMMENT ON COLUMN customers.email IS NULL",
        "ALTER TABLE customers RENAME created TO made; ALTER TABLE customers DROP COLUMN nick CASCADE",
        "DROP INDEX hashed",
    ] {
        databases.same(sql).await;
    }
    // A migration in one script, as tools send it.
    databases
        .same(
            "BEGIN; DROP TABLE orders; CREATE TABLE orders (id int PRIMARY KEY, customer uuid, note text DEFAULT NULL);
             ALTER TABLE orders ADD CONSTRAINT own FOREIGN KEY (customer) REFERENCES public.customers (code);
             CREATE INDEX ON orders (customer, id); COMMENT ON COLUMN orders.note IS 'free text'; COMMIT",
        )
        .await;
    databases
        .same("TRUNCATE customers, orders, apart; DROP TABLE customers CASCADE")
        .await;
}

#[tokio::test]
async fn errors_are_the_server_s_own() {
    let databases = Databases::new().await;
    databases
        .same("CREATE TABLE customers (id int, email text UNIQUE, phone text)")
        .await;
    for (sql, state) in [
        ("CREATE TABLE customers (email text UNIQUE)", SqlState::DUPLICATE_TABLE),
        ("ALTER TABLE customers ADD email text", SqlState::DUPLICATE_COLUMN),
        ("ALTER TABLE orders ADD note text", SqlState::UNDEFINED_TABLE),
        (
            "ALTER TABLE customers ADD UNIQUE (email, missing)",
            SqlState::UNDEFINED_COLUMN,
        ),
        ("CREATE INDEX ON customers (missing, email)", SqlState::UNDEFINED_COLUMN),
        (
            "CREATE INDEX customers_email_key ON customers (email)",
            SqlState::DUPLICATE_TABLE,
        ),
        (
            "ALTER TABLE customers DROP CONSTRAINT missing",
            SqlState::UNDEFINED_OBJECT,
        ),
        ("ALTER TABLE customers DROP COLUMN missing", SqlState::UNDEFINED_COLUMN),
        ("COMMENT ON COLUMN customers.missing IS 'x'", SqlState::UNDEFINED_COLUMN),
    ] {
        databases.same_error(sql, state).await;
    }
    // The unique index over tags does its work, under the constraint's name; and what goes around pgward in clear fails.
    let envelope = |nonce: &str| format!("'\\xfa21{}{}{nonce}'::bytea", "00".repeat(8), "07".repeat(16));
    let (one, two) = (envelope(&"01".repeat(28)), envelope(&"02".repeat(28)));
    let sealed = &databases.sealed;
    sealed
        .batch_execute(&format!("INSERT INTO customers (email) VALUES ({one})"))
        .await
        .expect("a row");
    let again = format!("INSERT INTO customers (email) VALUES ({two})");
    let error = sealed.batch_execute(&again).await.expect_err("the same tag");
    let error = error.as_db_error().expect("from the server");
    assert_eq!(error.code(), &SqlState::UNIQUE_VIOLATION);
    assert_eq!(error.constraint(), Some("customers_email_key"));
    let error = sealed
        .batch_execute("INSERT INTO customers (email) VALUES ('in clear')")
        .await;
    assert_eq!(error.expect_err("clear text").code(), Some(&SqlState::CHECK_VIOLATION));
    // A unique key that the rows do not allow.
    sealed
        .batch_execute(&format!("ALTER TABLE customers ADD nick pgward.sealed; UPDATE customers SET nick = {one}; DROP INDEX customers_email_key; {again}; UPDATE customers SET nick = {two}; COMMENT ON COLUMN customers.nick IS 'pgward: text'"))
        .await
        .expect("rows");
    let error = databases.run_sealed("ALTER TABLE customers ADD UNIQUE (nick)").await;
    assert_eq!(error.expect_err("duplicates").code(), Some(&SqlState::UNIQUE_VIOLATION));
}

#[tokio::test]
async fn what_is_made_is_known_by_its_logical_type() {
    let databases = Databases::new().await;
    databases
        .run_sealed("CREATE TABLE customers (email varchar(320) UNIQUE, phone timestamp(3) with time zone, code bigint, country char(2))")
        .await
        .expect("a table");
    let snapshot = catalog::load(&databases.sealed, databases.declarations.clone())
        .await
        .expect("a snapshot");
    let customers = snapshot.protected_by_oid.values().next().expect("the table");
    let types: Vec<LogicalType> = customers
        .columns
        .iter()
        .filter_map(|column| column.protected.as_ref())
        .map(|protected| protected.logical_type)
        .collect();
    let expected = [
        LogicalType::Varchar(Some(320)),
        LogicalType::Timestamptz(Some(3)),
        LogicalType::Int8,
        LogicalType::Char(2),
    ];
    assert_eq!(types, expected);
    let keys: Vec<&str> = customers.unique.iter().map(|key| &*key.name).collect();
    assert_eq!(keys, ["customers_email_key"]);
}

#[tokio::test]
async fn what_envelopes_cannot_carry_is_refused() {
    let databases = Databases::new().await;
    databases
        .same("CREATE TABLE customers (id int, email varchar(100) UNIQUE, phone text, code int, country text)")
        .await;
    for (sql, reason) in [
        (
            "CREATE TABLE orders (customer int PRIMARY KEY, note text UNIQUE)",
            Reason::EqualityNotEnabled,
        ),
        ("CREATE TABLE orders (customer int, note text PRIMARY KEY)", Reason::Ddl),
        ("CREATE TABLE orders (note text DEFAULT upper('x'))", Reason::Ddl),
        (
            "CREATE TABLE orders (note text CHECK (length(note) < 9))",
            Reason::Expression,
        ),
        ("CREATE TABLE orders (customer serial)", Reason::Ddl),
        ("CREATE TABLE orders (note int[])", Reason::Ddl),
        ("CREATE TABLE orders (customer float8)", Reason::Ddl),
        ("CREATE TABLE copies AS SELECT * FROM customers", Reason::StatementKind),
        (
            "CREATE VIEW shown AS SELECT email FROM customers",
            Reason::StatementKind,
        ),
        ("CREATE TABLE copies (LIKE customers)", Reason::Ddl),
        ("ALTER TABLE customers ALTER email TYPE varchar(10)", Reason::Ddl),
        ("ALTER TABLE customers RENAME email TO mail", Reason::Ddl),
        ("ALTER TABLE customers RENAME TO clients", Reason::Ddl),
        ("CREATE INDEX ON customers (phone)", Reason::EqualityNotEnabled),
        ("CREATE INDEX ON customers (lower(email))", Reason::Expression),
        ("CREATE INDEX ON customers (email text_pattern_ops)", Reason::TextSearch),
    ] {
        databases.refused(sql, reason).await;
    }
}
