//! The catalog of a real PostgreSQL as a snapshot, and the watch that keeps it fresh.

use arc_swap::ArcSwap;
use pgward::catalog::{self, Target};
use pgward::cli::cluster::{Cluster, ClusterOptions};
use pgward::control::install_domain;
use pgward::plan::introspect::{CATALOG_QUERY, Declarations, SCOPE_QUERY, ScopeProbe, SnapshotBuilder};
use pgward::plan::schema::{Relation, RelationKind};
use pgward::plan::{ColumnId, ColumnName, Declaration, KeyDomain, Mode, RelationName, Snapshot};
use pgward::policy::file::File;
use pgward::value::LogicalType;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

async fn client(cluster: &Cluster, role: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&cluster.connection_string(role, "app"), NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    client
}

async fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::start(ClusterOptions::default()).expect("a cluster");
    cluster.create_database("app").expect("a database");
    let mut admin = client(&cluster, "postgres").await;
    install_domain(&mut admin).await.expect("the domain");
    (cluster, admin)
}

fn name(schema: &str, table: &str) -> RelationName {
    RelationName {
        schema: schema.into(),
        name: table.into(),
    }
}

fn declare(columns: &[(&str, &str, Mode)]) -> Arc<Declarations> {
    let columns = columns.iter().zip(1..).map(|((table, column, mode), id)| {
        let name = ColumnName {
            relation: name("public", table),
            column: (*column).into(),
        };
        Arc::new(Declaration {
            id: ColumnId(id),
            key_domain: KeyDomain(name.to_string().into()),
            name,
            mode: *mode,
            category: "contact".into(),
        })
    });
    Arc::new(Declarations {
        columns: columns.collect(),
        subjects: vec![(name("public", "customers"), "id".into())],
    })
}

async fn snapshot(client: &Client, declarations: &Arc<Declarations>) -> Snapshot {
    catalog::load(client, declarations.clone()).await.expect("a snapshot")
}

fn relation<'a>(snapshot: &'a Snapshot, schema: &str, table: &str) -> &'a Relation {
    let found = snapshot.relations.get(&name(schema, table));
    found.unwrap_or_else(|| panic!("{schema}.{table} is not in the snapshot"))
}

const SCHEMA: &str = r#"
CREATE TABLE customers (
    id bigserial PRIMARY KEY, email pgward.sealed NOT NULL, dropped int, "Odd ""name" pgward.sealed,
    country varchar(2) DEFAULT 'KR', shadow int GENERATED ALWAYS AS (1) STORED, seq int GENERATED ALWAYS AS IDENTITY);
ALTER TABLE customers DROP COLUMN dropped;
CREATE UNIQUE INDEX customers_email_key ON customers ((substring(email from 11 for 16)));
CREATE UNIQUE INDEX odd ON customers (country, (substring("Odd ""name" from 11 for 16))) INCLUDE (id);
CREATE UNIQUE INDEX part ON customers (country) WHERE id > 1;
CREATE UNIQUE INDEX lowered ON customers (lower(country));
ALTER TABLE customers ADD CONSTRAINT paired UNIQUE (id, country);
COMMENT ON COLUMN customers.email IS E'pgward: character varying(320)\nwhere they are reached';
COMMENT ON COLUMN customers."Odd ""name" IS 'pgward: text';
CREATE TABLE events (day date, customer_email pgward.sealed) PARTITION BY RANGE (day);
CREATE TABLE events_2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
COMMENT ON COLUMN events.customer_email IS 'pgward: text';
CREATE VIEW people AS SELECT id, email FROM customers;
CREATE VIEW people_too AS SELECT id FROM people;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM customers;
CREATE VIEW unrelated AS SELECT 1 AS x;
CREATE TABLE elder (x int);
CREATE TABLE orders (id int);
CREATE RULE spread AS ON INSERT TO orders DO ALSO DELETE FROM customers;
CREATE FUNCTION reads() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public."customers"';
CREATE FUNCTION atomic() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM people; END;
CREATE FUNCTION calls() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN Reads(); END';
CREATE FUNCTION harmless() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE does() LANGUAGE plpgsql AS 'BEGIN DELETE FROM customers; END';
"#;

fn declarations() -> Arc<Declarations> {
    declare(&[
        ("customers", "email", Mode::Eq),
        ("customers", "Odd \"name", Mode::Eq),
        ("customers", "country", Mode::None),
        ("events", "customer_email", Mode::Sealed),
        ("elder", "x", Mode::Sealed),
    ])
}

#[tokio::test]
async fn tables_views_partitions_and_functions_of_a_real_server() {
    let (_cluster, admin) = cluster().await;
    admin.batch_execute(SCHEMA).await.expect("the schema");
    let snapshot = snapshot(&admin, &declarations()).await;

    let customers = relation(&snapshot, "public", "customers");
    let columns: Vec<(&str, bool, bool, bool)> = customers
        .columns
        .iter()
        .map(|c| (&*c.name, c.not_null, c.has_default, c.stored_sealed))
        .collect();
    assert_eq!(
        columns,
        [
            ("id", true, true, false),
            ("email", true, false, true),
            ("Odd \"name", false, false, true),
            ("country", false, true, false),
            ("shadow", false, true, false),
            ("seq", true, true, false)
        ]
    );
    assert_eq!(
        customers.columns.iter().map(|c| c.attnum).collect::<Vec<_>>(),
        [1, 2, 4, 5, 6, 7]
    );
    let types: Vec<Option<LogicalType>> = customers
        .columns
        .iter()
        .map(|c| c.protected.as_ref().map(|p| p.logical_type))
        .collect();
    let (varchar, two) = (LogicalType::Varchar(Some(320)), LogicalType::Varchar(Some(2)));
    assert_eq!(
        types,
        [None, Some(varchar), Some(LogicalType::Text), Some(two), None, None]
    );
    assert_eq!(customers.subject.as_deref(), Some("id"));
    let keys: Vec<(&str, Vec<&str>, bool)> = customers
        .unique
        .iter()
        .map(|key| (&*key.name, key.columns.iter().map(|c| &**c).collect(), key.constraint))
        .collect();
    assert_eq!(
        keys,
        [
            ("customers_email_key", vec!["email"], false),
            ("customers_pkey", vec!["id"], true),
            ("odd", vec!["country", "Odd \"name"], false),
            ("paired", vec!["id", "country"], true)
        ]
    );

    for touched in ["people", "people_too", "counted", "orders"] {
        let relation = relation(&snapshot, "public", touched);
        assert!(relation.touches_protected.is_some() && !relation.protected, "{touched}");
    }
    assert_eq!(relation(&snapshot, "public", "people").kind, RelationKind::View);
    assert_eq!(relation(&snapshot, "public", "counted").kind, RelationKind::View);
    assert!(relation(&snapshot, "public", "unrelated").touches_protected.is_none());
    assert!(relation(&snapshot, "public", "events").protected);
    // The partition holds sealed columns, and nobody declares them: nothing of it can be used.
    let partition = relation(&snapshot, "public", "events_2020");
    assert!(partition.protected && partition.column("customer_email").is_some_and(|c| c.unusable.is_some()));
    // Declared sealed, stored in clear.
    let elder = relation(&snapshot, "public", "elder");
    assert!(
        elder
            .column("x")
            .is_some_and(|c| c.unusable.as_deref().is_some_and(|why| why.contains("not sealed yet")))
    );

    let mut functions: Vec<&str> = snapshot.sensitive_functions.iter().map(|f| &**f).collect();
    functions.sort_unstable();
    assert_eq!(functions, ["atomic", "calls", "does", "reads"]);
    assert!(snapshot.sealed_domain_oid.is_some());
    assert!(
        !snapshot
            .relations
            .keys()
            .any(|n| n.schema.starts_with("pg_") || &*n.schema == "information_schema")
    );
    let oid: u32 = admin
        .query_one("SELECT 'customers'::regclass::oid", &[])
        .await
        .expect("an oid")
        .get(0);
    assert_eq!(
        snapshot.protected_by_oid.get(&oid).map(|r| r.name.clone()),
        Some(name("public", "customers"))
    );
}

#[tokio::test]
async fn any_role_and_any_search_path_read_the_same() {
    let (cluster, admin) = cluster().await;
    admin.batch_execute(SCHEMA).await.expect("the schema");
    admin
        .batch_execute(
            "CREATE ROLE powerless LOGIN; CREATE SCHEMA evil;
             CREATE FUNCTION evil.never(oid, oid) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
             CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.never);
             CREATE FUNCTION evil.names(name, name) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
             CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.names);
             CREATE OPERATOR evil.<> (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.names);
             CREATE FUNCTION evil.concat(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'nd'$$;
             CREATE FUNCTION evil.starts_with(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
             CREATE TABLE evil.pg_class (oid oid, relname name, relnamespace oid, relkind \"char\");
             CREATE VIEW evil.pg_attribute AS SELECT 1 AS attrelid;
             CREATE DOMAIN evil.text AS int;
             GRANT USAGE ON SCHEMA evil TO PUBLIC",
        )
        .await
        .expect("look-alikes");
    let declarations = declarations();
    let honest = snapshot(&admin, &declarations).await;
    let powerless = client(&cluster, "powerless").await;
    assert_eq!(
        snapshot(&powerless, &declarations).await.fingerprint,
        honest.fingerprint
    );
    powerless
        .batch_execute("SET search_path TO evil, pg_catalog, public")
        .await
        .expect("set");
    let deceived = snapshot(&powerless, &declarations).await;
    assert_eq!(deceived.relations, honest.relations);
    assert_eq!(deceived.sensitive_functions, honest.sensitive_functions);
}

/// Each round leaves nothing behind.
const MAKE_AND_DROP: &str = "
CREATE TABLE passing (a int, b text, c pgward.sealed);
CREATE UNIQUE INDEX passing_tag ON passing (a, (substring(c from 11 for 16)));
CREATE UNIQUE INDEX passing_lower ON passing (lower(b), a);
COMMENT ON COLUMN passing.c IS 'pgward: text';
CREATE VIEW passing_view AS SELECT a, lower(b) FROM passing;
CREATE FUNCTION passing_function(passing) RETURNS int LANGUAGE sql RETURN ($1).a;
ALTER TABLE passing ADD COLUMN e int DEFAULT 5, DROP COLUMN b CASCADE;
DROP TABLE passing CASCADE";

#[tokio::test]
async fn it_waits_for_no_lock_and_does_not_fail_on_what_is_dropped_meanwhile() {
    let (cluster, admin) = cluster().await;
    admin.batch_execute(SCHEMA).await.expect("the schema");
    let declarations = declarations();
    let before = snapshot(&admin, &declarations).await;
    // Another session holds what it alters, and would hold whoever opens it.
    let other = client(&cluster, "postgres").await;
    other
        .batch_execute(
            "BEGIN; ALTER TABLE customers ADD COLUMN late int; DROP INDEX customers_email_key; DROP VIEW people_too;
             LOCK customers, events, orders, people IN ACCESS EXCLUSIVE MODE",
        )
        .await
        .expect("a transaction");
    admin
        .batch_execute("SET lock_timeout = '1s'; SET statement_timeout = '20s'")
        .await
        .expect("settings");
    assert_eq!(snapshot(&admin, &declarations).await.relations, before.relations);
    other.batch_execute("ROLLBACK").await.expect("rolled back");

    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let busy = {
        let done = done.clone();
        tokio::spawn(async move {
            let mut rounds = 0;
            while !done.load(Ordering::SeqCst) {
                for statement in MAKE_AND_DROP.split(';') {
                    other.batch_execute(statement).await.expect("DDL");
                }
                rounds += 1;
            }
            rounds
        })
    };
    for _ in 0..100 {
        // A connection that knows nothing of the catalog asks for all of it.
        let fresh = client(&cluster, "postgres").await;
        fresh.simple_query(CATALOG_QUERY).await.expect("the catalog");
        fresh.simple_query(SCOPE_QUERY).await.expect("the scope");
    }
    done.store(true, Ordering::SeqCst);
    assert!(busy.await.expect("rounds") > 1);
    assert_eq!(snapshot(&admin, &declarations).await.relations, before.relations);
}

#[tokio::test]
async fn a_session_s_own_temporary_tables_are_seen_and_no_others() {
    let (cluster, admin) = cluster().await;
    let (one, two) = (client(&cluster, "postgres").await, client(&cluster, "postgres").await);
    drop(admin);
    let probe = async |client: &Client| {
        let messages = client.simple_query(SCOPE_QUERY).await.expect("a row");
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.expect("a row");
        let values: Vec<Option<&[u8]>> = (0..row.len()).map(|at| row.get(at).map(str::as_bytes)).collect();
        ScopeProbe::parse(&values).expect("a probe")
    };
    let before = probe(&one).await;
    assert!(!before.temp_relations && before.scope.temp_schema.is_none());
    assert_eq!(
        before.scope.schemas.iter().map(|s| &**s).collect::<Vec<_>>(),
        ["pg_catalog", "public"]
    );
    assert!(before.bytea_hex && before.extra_float_digits == 1);
    one.batch_execute(
        "CREATE TEMP TABLE customers (email text); CREATE SCHEMA \"Own, \"\"schema\"; SET bytea_output = escape; SET extra_float_digits = -2;
         SET search_path TO \"Own, \"\"schema\", public, missing",
    )
    .await
    .expect("a table");
    let after = probe(&one).await;
    let temp = after.scope.temp_schema.clone().expect("a temporary schema");
    assert!(after.temp_relations && !after.bytea_hex && after.extra_float_digits == -2);
    assert_eq!(
        after.scope.schemas.iter().map(|s| &**s).collect::<Vec<_>>(),
        [&*temp, "pg_catalog", "Own, \"schema", "public"]
    );
    let declarations = declare(&[("customers", "email", Mode::Eq)]);
    let own = snapshot(&one, &declarations).await;
    let found = own
        .resolve(&after.scope, None, "customers")
        .expect("the temporary table");
    assert_eq!(found.name, name(&temp, "customers"));
    assert!(!found.protected);
    let others = snapshot(&two, &declarations).await;
    assert!(!others.relations.keys().any(|n| &*n.name == "customers"));
}

/// A target in memory that counts.
struct Place {
    declarations: Arc<Declarations>,
    snapshot: ArcSwap<Snapshot>,
    replaced: AtomicUsize,
    seen: AtomicUsize,
}

impl Target for Place {
    fn declarations(&self) -> Arc<Declarations> {
        self.declarations.clone()
    }
    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
    fn replace(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.replaced.fetch_add(1, Ordering::SeqCst);
    }
    fn seen(&self) {
        self.seen.fetch_add(1, Ordering::SeqCst);
    }
}

fn file(cluster: &Cluster) -> Arc<File> {
    let text = format!(
        "version = \"1\"
         [listen]
         addresses = [\"127.0.0.1:0\"]
         [upstream]
         host = \"127.0.0.1\"
         port = {}
         tls = \"disable\"
         database = \"app\"
         [control]
         user = \"postgres\"
         [keys]
         provider = \"file\"
         path = \"unused\"
         [journal]
         directory = \"unused\"",
        cluster.port()
    );
    Arc::new(toml::from_str(&text).expect("a policy file"))
}

/// Waits for something that another task does.
async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not come about");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watch_follows_ddl_and_survives_a_restart() {
    let (mut cluster, admin) = cluster().await;
    let place = Arc::new(Place {
        declarations: declare(&[("customers", "email", Mode::Eq)]),
        snapshot: ArcSwap::from_pointee(Snapshot::default()),
        replaced: AtomicUsize::new(0),
        seen: AtomicUsize::new(0),
    });
    let has = |table: &str| place.snapshot.load().relations.contains_key(&name("public", table));

    // A poll so rare that only nudges and requests can be what is seen.
    let watch = catalog::watch(file(&cluster), "app".into(), place.clone(), Duration::from_secs(3600));
    assert!(watch.refresh_now().await.expect("a look"));
    assert!(!watch.refresh_now().await.expect("a look"), "nothing changed");
    assert_eq!(
        (place.replaced.load(Ordering::SeqCst), place.seen.load(Ordering::SeqCst)),
        (1, 2)
    );
    let version = place.snapshot.load().version;

    admin
        .batch_execute("CREATE TABLE customers (id int)")
        .await
        .expect("DDL");
    watch.nudge();
    eventually("the nudge", || has("customers")).await;
    assert!(place.snapshot.load().version > version);
    admin.batch_execute("CREATE TABLE second (id int)").await.expect("DDL");
    assert!(watch.refresh_now().await.expect("a look") && has("second"));

    // While the server is away the last picture stays, and who asks is told.
    drop(admin);
    cluster.sql("app", "CREATE TABLE third (id int)").expect("DDL");
    cluster.restart().expect("a restart");
    // The first look may find the lost connection; the watch comes back by itself.
    let mut result = watch.refresh_now().await;
    for _ in 0..100 {
        assert!(has("second"));
        if result.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        result = watch.refresh_now().await;
    }
    result.expect("a look after the restart");
    assert!(has("third"));
    drop(watch);

    // DDL that did not pass through pgward, found by polling.
    let _polling = catalog::watch(file(&cluster), "app".into(), place.clone(), Duration::from_millis(100));
    cluster.sql("app", "CREATE TABLE fourth (id int)").expect("DDL");
    eventually("the poll", || has("fourth")).await;

    cluster.stop();
    let stopped = catalog::watch(file(&cluster), "app".into(), place.clone(), Duration::from_secs(3600));
    assert!(stopped.refresh_now().await.is_err());
    assert!(has("fourth"), "the last good picture stays");
}

#[tokio::test]
async fn a_thousand_tables_are_read_in_a_moment() {
    let (_cluster, admin) = cluster().await;
    admin
        .batch_execute(
            "DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format(
               'CREATE TABLE t_%s (id bigserial PRIMARY KEY, a text UNIQUE, b int NOT NULL, c timestamptz DEFAULT now(), d numeric, e text, f uuid)', i);
             END LOOP; END $$; ANALYZE",
        )
        .await
        .expect("tables");
    let declarations = declare(&[("t_7", "a", Mode::Sealed)]);
    // The server's share, without transfer and without building, which in a test build are slow.
    let mut best = f64::MAX;
    for _ in 0..5 {
        let row = admin
            .query_one(
                &format!("SELECT count(*), clock_timestamp() FROM ({CATALOG_QUERY}) AS q"),
                &[],
            )
            .await
            .expect("rows");
        assert!(row.get::<_, i64>(0) > 10_000);
        let start = std::time::Instant::now();
        admin.simple_query(CATALOG_QUERY).await.expect("rows");
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("1,000 tables: {:.1} ms", best * 1000.0);
    assert!(best < 1.0, "{best} s: a plan with JIT or a nested loop over everything");
    let snapshot = snapshot(&admin, &declarations).await;
    assert_eq!(snapshot.protected_by_oid.len(), 1);
    assert!(SnapshotBuilder::new(declarations).finish().relations.is_empty());
}
