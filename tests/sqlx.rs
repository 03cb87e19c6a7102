//! sqlx through pgward and directly: the same calls on a protected and on an unprotected table have the same outcome. sqlx prepares every statement and
//! keeps it, binds and reads in binary format, asks the catalog for types that it doesn't know, and sends what has no parameters as a Query.

mod support;

use futures_util::TryStreamExt;
use sqlx::postgres::{
    PgAdvisoryLock, PgConnectOptions, PgConnection, PgDatabaseError, PgListener, PgPool, PgPoolOptions, PgRow,
    PgSslMode,
};
use sqlx::types::{Json, Uuid};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Error, Executor, Row, SqlSafeStr, Statement, TypeInfo, ValueRef,
};
use std::time::Duration;
use support::story::{Story, TABLES, create, world};

/// A statement about a table, which stands in it as `%`.
fn about(table: &str, sql: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql.replace('%', table))
}

/// Everything that an error tells; but where the statement concerned a protected table, without what pgward takes out (docs/ERRORS.md), and without where
/// in the text it was.
fn told(error: Error, table: &str) -> String {
    let Some(db) = error
        .as_database_error()
        .and_then(|e| e.try_downcast_ref::<PgDatabaseError>())
    else {
        return error.to_string();
    };
    let told = (
        (db.severity(), db.code(), db.message()),
        (db.schema(), db.table(), db.column(), db.data_type(), db.constraint()),
    );
    match table {
        "things" => format!(
            "{told:?} {:?}",
            (
                db.detail(),
                db.hint(),
                db.position(),
                db.r#where(),
                db.file(),
                db.routine()
            )
        ),
        _ => format!("{told:?}"),
    }
}

fn whole(row: &PgRow) -> String {
    let types: Vec<String> = row
        .columns()
        .iter()
        .map(|c| format!("{} {}", c.name(), c.type_info().name()))
        .collect();
    let values = (
        (row.get::<i32, _>("id"), row.get::<Option<String>, _>("note")),
        row.get::<Option<Vec<Option<String>>>, _>("tags"),
        row.get::<Option<Vec<i32>>, _>("numbers"),
        row.get::<Option<String>, _>("email"),
        row.get::<String, _>("name"),
        row.get::<Option<String>, _>("code"),
        row.get::<Option<Uuid>, _>("key"),
        row.get::<Option<i64>, _>("amount"),
        row.get::<Option<f64>, _>("ratio"),
        row.get::<Option<bool>, _>("active"),
        row.get::<Option<Vec<u8>>, _>("photo"),
        row.get::<Option<Json<serde_json::Value>>, _>("settings")
            .map(|j| j.0.to_string()),
    );
    // Types that this test has no Rust types for: as they came.
    let raw: Vec<String> = ["born", "seen", "signed", "price"]
        .iter()
        .map(|name| {
            let value = row.try_get_raw(*name).expect("a column");
            format!(
                "{:?} {:?}",
                value.format(),
                (!value.is_null()).then(|| value.as_bytes().expect("bytes").to_owned())
            )
        })
        .collect();
    format!("{types:?} {values:?} {raw:?}")
}

async fn fill(c: &mut PgConnection, table: &str, story: &mut Story) {
    for id in 1..=12i32 {
        let done = sqlx::query(about(
            table,
            "INSERT INTO % (id, tags, numbers, email, name, code, key, amount, ratio, active, photo, settings) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        ))
        .bind(id)
        .bind(vec![Some("a b"), None, Some("ü")])
        .bind(vec![id, -id])
        .bind(format!("person{id}@example.com"))
        .bind(format!("Person {id}"))
        .bind("CODE")
        .bind(Uuid::from_u128(id as u128))
        .bind((id % 3 != 0).then_some(i64::MIN + i64::from(id)))
        .bind(f64::from(id) / 7.0)
        .bind(id % 2 == 0)
        .bind(vec![0u8, id as u8])
        .bind(Json(serde_json::json!({"id": id})))
        .execute(&mut *c)
        .await;
        story.result("insert", done.map(|d| d.rows_affected()), |e| told(e, table));
    }
    // Without parameters: a Query, whose rows come in text.
    let done = sqlx::raw_sql(about(
        table,
        "UPDATE % SET born = '1999-12-31', seen = '2024-02-29 12:30:00.5', signed = '2024-02-29 12:30:00.5+02', price = 12.3456 WHERE id <= 3;
         UPDATE % SET born = 'infinity', price = 'NaN' WHERE id = 4; SELECT * FROM % WHERE id = 3",
    ))
    .execute(&mut *c)
    .await;
    story.result("script", done.map(|d| d.rows_affected()), |e| told(e, table));
}

async fn queries(c: &mut PgConnection, table: &str, story: &mut Story) {
    // Twice: prepared at first, from the cache then.
    for round in 0..2 {
        let rows = sqlx::query(about(table, "SELECT * FROM % ORDER BY id"))
            .fetch_all(&mut *c)
            .await
            .expect("rows");
        rows.iter().for_each(|row| story.note(whole(row)));
        for email in ["person1@example.com", "nobody@example.com"] {
            let row = sqlx::query(about(table, "SELECT * FROM % WHERE email = $1"))
                .bind(email)
                .fetch_optional(&mut *c)
                .await;
            story.result("fetch_optional", row.map(|r| r.as_ref().map(whole)), |e| told(e, table));
        }
        let name: Result<(String, Option<i64>), _> =
            sqlx::query_as(about(table, "SELECT name, amount FROM % WHERE key = $1"))
                .bind(Uuid::from_u128(2))
                .fetch_one(&mut *c)
                .await;
        story.result("query_as", name, |e| told(e, table));
        let count: Result<i64, _> =
            sqlx::query_scalar(about(table, "SELECT count(*) FROM % WHERE email = $1 OR id = $2"))
                .bind("person3@example.com")
                .bind(4)
                .fetch_one(&mut *c)
                .await;
        story.result("query_scalar", count, |e| told(e, table));
        let gone = sqlx::query(about(table, "SELECT name FROM % WHERE id = $1"))
            .bind(0)
            .fetch_one(&mut *c)
            .await
            .map(drop);
        story.result("no row", gone, |e| told(e, table));
        // Not kept: the unnamed statement.
        let once: Result<String, _> = sqlx::query_scalar(about(table, "SELECT name FROM % WHERE id = $1"))
            .bind(round + 1)
            .persistent(false)
            .fetch_one(&mut *c)
            .await;
        story.result("not persistent", once, |e| told(e, table));
        story.note(format!("cached {}", c.cached_statements_size()));
    }
    let rows = sqlx::raw_sql(about(table, "SELECT * FROM % WHERE id < 4 ORDER BY id"))
        .fetch_all(&mut *c)
        .await
        .expect("rows");
    for row in rows {
        let values: Vec<String> = (0..row.len())
            .map(|i| {
                row.try_get_raw(i)
                    .map(|v| {
                        if v.is_null() {
                            "NULL".into()
                        } else {
                            v.as_str().expect("text").to_owned()
                        }
                    })
                    .expect("a column")
            })
            .collect();
        story.note(format!("text {values:?}"));
    }
    let mut stream = sqlx::query(about(table, "SELECT name FROM % ORDER BY id")).fetch(&mut *c);
    for _ in 0..3 {
        let row = stream.try_next().await;
        story.result("streamed", row.map(|r| r.map(|r| r.get::<String, _>(0))), |e| {
            told(e, table)
        });
    }
    // Dropped with rows still to come: sqlx reads them away before the next statement.
    drop(stream);
    let returned = sqlx::query(about(
        table,
        "UPDATE % SET name = $1, email = $2 WHERE id = $3 RETURNING id, name, email",
    ))
    .bind("New name")
    .bind("new@example.com")
    .bind(5)
    .fetch_one(&mut *c)
    .await
    .map(|r| (r.get::<i32, _>(0), r.get::<String, _>(1), r.get::<String, _>(2)));
    story.result("returning", returned, |e| told(e, table));
    let upsert = sqlx::query(about(
        table,
        "INSERT INTO % (id, email, name) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name",
    ))
    .bind(5)
    .bind("ignored@example.com")
    .bind("Upserted")
    .execute(&mut *c)
    .await
    .map(|d| d.rows_affected());
    story.result("upsert", upsert, |e| told(e, table));
    let statement = c
        .prepare(about(table, "SELECT id, name, settings FROM % WHERE email = $1").into_sql_str())
        .await;
    let told_of = statement.map(|s| {
        let columns: Vec<String> = s
            .columns()
            .iter()
            .map(|c| format!("{} {}", c.name(), c.type_info().name()))
            .collect();
        format!(
            "{:?} {columns:?}",
            s.parameters()
                .map(|p| p.map_left(|types| types.iter().map(|t| t.name().to_owned()).collect::<Vec<_>>()))
        )
    });
    story.result("prepare", told_of, |e| told(e, table));
}

async fn errors(c: &mut PgConnection, table: &str, story: &mut Story) {
    for (what, sql) in [
        ("unique", "INSERT INTO % (id, email, name) VALUES (50, $1, 'x')"),
        ("not null", "INSERT INTO % (id, email) VALUES (51, $1)"),
        ("too long", "INSERT INTO % (id, name, code) VALUES (52, 'x', $1)"),
        ("no column", "SELECT nothing FROM % WHERE email = $1"),
        ("while it runs", "SELECT name, 1 / (id - 1) FROM % WHERE email <> $1"),
    ] {
        let result = sqlx::query(about(table, sql))
            .bind("person2@example.com")
            .execute(&mut *c)
            .await;
        story.result(what, result.map(|d| d.rows_affected()), |e| told(e, table));
    }
    story.result("ping", c.ping().await, |e| told(e, table));
}

async fn transactions(c: &mut PgConnection, table: &str, story: &mut Story) {
    let set = |name: &'static str, id: i32| {
        sqlx::query(about(table, "UPDATE % SET name = $1 WHERE id = $2"))
            .bind(name)
            .bind(id)
    };
    let mut outer = c.begin().await.expect("BEGIN");
    set("outer", 1).execute(&mut *outer).await.expect("UPDATE");
    {
        let mut inner = outer.begin().await.expect("SAVEPOINT");
        set("inner", 2).execute(&mut *inner).await.expect("UPDATE");
        let mut innermost = inner.begin().await.expect("SAVEPOINT");
        let failed = sqlx::query(about(table, "INSERT INTO % (id, name) VALUES ($1, 'x')"))
            .bind(1)
            .execute(&mut *innermost)
            .await;
        story.result("failed", failed.map(|d| d.rows_affected()), |e| told(e, table));
        let aborted = set("never", 3).execute(&mut *innermost).await;
        story.result("aborted", aborted.map(|d| d.rows_affected()), |e| told(e, table));
        innermost.rollback().await.expect("ROLLBACK TO");
        set("kept", 3).execute(&mut *inner).await.expect("UPDATE");
        inner.commit().await.expect("RELEASE");
    }
    outer.commit().await.expect("COMMIT");
    {
        let mut dropped = c.begin().await.expect("BEGIN");
        set("dropped", 4).execute(&mut *dropped).await.expect("UPDATE");
    }
    let mut reading = c
        .begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY")
        .await
        .expect("BEGIN");
    let failed = set("never", 4).execute(&mut *reading).await;
    story.result("read only", failed.map(|d| d.rows_affected()), |e| told(e, table));
    drop(reading);
    let names: Result<Vec<(i32, String)>, _> =
        sqlx::query_as(about(table, "SELECT id, name FROM % WHERE id < 5 ORDER BY id"))
            .fetch_all(&mut *c)
            .await;
    story.result("names", names, |e| told(e, table));
}

/// Types that sqlx looks up; DDL between uses of a kept statement; a cache that is too small.
async fn catalog(c: &mut PgConnection, table: &str, story: &mut Story) {
    let ddl = about(
        table,
        "CREATE TYPE mood_% AS ENUM ('sad', 'glad'); ALTER TABLE % ADD mood mood_% DEFAULT 'glad', ADD moods mood_%[]",
    );
    sqlx::raw_sql(ddl).execute(&mut *c).await.expect("DDL");
    let read = async |c: &mut PgConnection, story: &mut Story| {
        let row = sqlx::query(about(table, "SELECT name, mood, moods FROM % WHERE id = $1"))
            .bind(1)
            .fetch_one(c)
            .await
            .map(|row| {
                let types: Vec<String> = row.columns().iter().map(|c| c.type_info().name().to_owned()).collect();
                let mood = row.try_get_raw(1).map(|v| v.as_str().map(str::to_owned).ok());
                format!("{types:?} {} {:?}", row.get::<String, _>(0), mood.ok().flatten())
            });
        story.result("kinds", row, |e| told(e, table));
    };
    read(c, story).await;
    sqlx::raw_sql(about(table, "ALTER TABLE % DROP note"))
        .execute(&mut *c)
        .await
        .expect("DDL");
    // The kept statement's result is no other one: it is planned anew, here as there.
    read(c, story).await;
    c.clear_cached_statements().await.expect("Close");
    read(c, story).await;
    sqlx::raw_sql(about(table, "DROP TABLE %; DROP TYPE mood_%"))
        .execute(&mut *c)
        .await
        .expect("DDL");
}

async fn copies(c: &mut PgConnection, story: &mut Story) {
    let error = |e| told(e, "things");
    c.execute("CREATE TABLE copied (a int, b text)").await.expect("DDL");
    let mut copy = c.copy_in_raw("COPY copied FROM STDIN").await.expect("COPY");
    for part in ["1\ton", "e\n2\t\\N\n"] {
        copy.send(part.as_bytes()).await.expect("data");
    }
    story.result("in", copy.finish().await, error);
    let mut copy = c
        .copy_in_raw("COPY copied FROM STDIN (FORMAT csv)")
        .await
        .expect("COPY");
    copy.read_from(&b"3,three\n4,\"f,our\"\n"[..]).await.expect("data");
    story.result("csv", copy.finish().await, error);
    let mut copy = c.copy_in_raw("COPY copied FROM STDIN").await.expect("COPY");
    copy.send(&b"9\tnine\n"[..]).await.expect("data");
    story.result("abort", copy.abort("changed my mind").await, error);
    let mut copy = c.copy_in_raw("COPY copied FROM STDIN").await.expect("COPY");
    copy.send(&b"x\ty\n"[..]).await.expect("data");
    story.result("malformed", copy.finish().await, error);
    let out: Result<Vec<_>, _> = c
        .copy_out_raw("COPY copied TO STDOUT")
        .await
        .expect("COPY")
        .try_collect()
        .await;
    story.result("out", out.map(|parts| parts.concat()), error);
}

async fn pool(options: PgConnectOptions, story: &mut Story) {
    let error = |e| told(e, "things");
    let pool: PgPool = PgPoolOptions::new()
        .max_connections(3)
        .connect_with(options)
        .await
        .expect("a pool");
    let mut tasks = Vec::new();
    for n in 0..30i32 {
        let pool = pool.clone();
        let table = TABLES[n as usize % 2];
        tasks.push(tokio::spawn(async move {
            sqlx::query_scalar::<_, String>(about(table, "SELECT name FROM % WHERE id = $1"))
                .bind(n % 12 + 1)
                .fetch_one(&pool)
                .await
        }));
    }
    for task in tasks {
        story.result("pooled", task.await.expect("a task"), error);
    }
    let mut listener = PgListener::connect_with(&pool).await.expect("a listener");
    listener
        .listen_all(["here", "there and \"there\""])
        .await
        .expect("LISTEN");
    let mut transaction = pool.begin().await.expect("BEGIN");
    for (channel, payload) in [
        ("here", "1"),
        ("there and \"there\"", "2"),
        ("nowhere", "3"),
        ("here", "4"),
    ] {
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(channel)
            .bind(payload)
            .execute(&mut *transaction)
            .await
            .expect("pg_notify");
    }
    transaction.commit().await.expect("COMMIT");
    for _ in 0..3 {
        let came = tokio::time::timeout(Duration::from_secs(20), listener.recv())
            .await
            .expect("in time");
        story.result(
            "notified",
            came.map(|n| (n.channel().to_owned(), n.payload().to_owned())),
            error,
        );
    }
    let lock = PgAdvisoryLock::new("pgward");
    let held = lock
        .acquire(pool.acquire().await.expect("a connection"))
        .await
        .expect("a lock");
    let second = lock
        .try_acquire(pool.acquire().await.expect("a connection"))
        .await
        .expect("an answer");
    story.note(format!("locked twice {}", second.is_left()));
    held.release_now().await.expect("unlocked");
    drop((second, listener));
    pool.close().await;
}

fn options(port: u16, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("app")
        .database(database)
        .application_name("sqlx")
        .ssl_mode(PgSslMode::Disable)
        .statement_cache_capacity(8)
}

async fn story(options: PgConnectOptions) -> Story {
    let mut story = Story::default();
    let mut c = options.connect().await.expect("a connection");
    for table in TABLES {
        sqlx::raw_sql(AssertSqlSafe(create(table)))
            .execute(&mut c)
            .await
            .expect("DDL");
        story.chapter(format!("{table}, fill"));
        fill(&mut c, table, &mut story).await;
        story.chapter(format!("{table}, queries"));
        queries(&mut c, table, &mut story).await;
        story.chapter(format!("{table}, errors"));
        errors(&mut c, table, &mut story).await;
        story.chapter(format!("{table}, transactions"));
        transactions(&mut c, table, &mut story).await;
    }
    story.chapter("copies");
    copies(&mut c, &mut story).await;
    story.chapter("pool");
    pool(options, &mut story).await;
    for table in TABLES {
        story.chapter(format!("{table}, catalog"));
        catalog(&mut c, table, &mut story).await;
    }
    c.close().await.expect("Terminate");
    story
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_the_outcome_that_it_has_without_pgward() {
    let world = world();
    let direct = story(options(world.cluster.port(), "plain")).await;
    let through = story(options(world.port, "app")).await;
    Story::same(&direct, &through, 180);
}
