//! tokio-postgres, which pgward itself uses, through pgward and directly: the same calls on a protected and on an unprotected table have the same outcome.

mod support;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use std::fmt::Write as _;
use std::pin::pin;
use std::time::Duration;
use support::story::{Story, TABLES, create, world};
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::types::{Json, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Error, IsolationLevel, NoTls, Row, SimpleQueryMessage, Statement};
use uuid::Uuid;

#[path = "tokio_postgres/streams.rs"]
mod streams;

type Messages = tokio::sync::mpsc::UnboundedReceiver<String>;

/// A client, and the notices and notifications that come to it.
async fn connect(parameters: &str) -> (Client, Messages) {
    let (client, mut connection) = tokio_postgres::connect(parameters, NoTls).await.expect("a connection");
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = future::poll_fn(|cx| connection.poll_message(cx)).await {
            let _ = sender.send(match message {
                AsyncMessage::Notice(notice) => format!("notice {} {}", notice.code().code(), notice.message()),
                AsyncMessage::Notification(n) => format!("notification {} {}", n.channel(), n.payload()),
                _ => "another message".into(),
            });
        }
    });
    (client, receiver)
}

/// Everything that an error tells; but where the statement concerned a protected table, without what pgward takes out (docs/ERRORS.md), and without
/// where in the text it was.
fn told(error: Error, table: &str) -> String {
    let Some(db) = error.as_db_error() else {
        return format!("{error:?}");
    };
    let mut line = format!(
        "{} {} {} {:?} {:?} {:?} {:?} {:?}",
        db.severity(),
        db.code().code(),
        db.message(),
        db.schema(),
        db.table(),
        db.column(),
        db.datatype(),
        db.constraint()
    );
    if table == "things" {
        let _ = write!(
            line,
            " {:?} {:?} {:?} {:?} {:?} {:?}",
            db.detail(),
            db.hint(),
            db.position(),
            db.where_(),
            db.routine(),
            db.file()
        );
    }
    line
}

fn types(statement: &Statement) -> String {
    let columns: Vec<String> = statement
        .columns()
        .iter()
        .map(|c| format!("{} {} {}", c.name(), c.type_(), c.type_modifier()))
        .collect();
    format!("{:?} -> {columns:?}", statement.params())
}

/// A row of the tables, in the types that drivers use.
fn whole(row: &Row) -> String {
    format!(
        "{:?}",
        (
            row.get::<_, i32>("id"),
            row.get::<_, Option<Vec<Option<String>>>>("tags"),
            row.get::<_, Option<Vec<i32>>>("numbers"),
            row.get::<_, Option<String>>("email"),
            row.get::<_, String>("name"),
            row.get::<_, Option<String>>("code"),
            row.get::<_, Option<Uuid>>("key"),
            row.get::<_, Option<i64>>("amount"),
            row.get::<_, Option<f64>>("ratio"),
            row.get::<_, Option<bool>>("active"),
            (
                row.get::<_, Option<jiff::civil::Date>>("born"),
                row.get::<_, Option<jiff::civil::DateTime>>("seen"),
                row.get::<_, Option<jiff::Timestamp>>("signed"),
                row.get::<_, Option<Vec<u8>>>("photo"),
                row.get::<_, Option<Json<serde_json::Value>>>("settings")
                    .map(|j| j.0.to_string()),
            ),
        )
    )
}

const INSERT: &str = "(id, tags, numbers, email, name, code, key, amount, ratio, active, born, seen, signed, photo, settings) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

async fn fill(client: &Client, table: &str, story: &mut Story) {
    let insert = client
        .prepare(&format!("INSERT INTO {table} {INSERT}"))
        .await
        .expect("INSERT");
    story.note(types(&insert));
    for id in 1..=20i32 {
        let email = format!("person{id}@example.com");
        let name = format!("Person “{id}”");
        let tags = vec![Some("a,b".to_owned()), None, Some(id.to_string())];
        let numbers = vec![id, -id];
        let key = Uuid::from_u128(id as u128);
        let amount = i64::MAX - i64::from(id);
        let ratio = 1.0 / f64::from(id);
        let born = jiff::civil::date(1990, 1, id as i8);
        let seen = born.at(1, 2, 3, 4_000);
        let signed: jiff::Timestamp = "2024-02-29T23:59:59.123456Z".parse().expect("a timestamp");
        let settings = Json(serde_json::json!({"n": id, "list": [1, null, "x"]}));
        let photo = vec![0u8, 255, id as u8];
        let active = id % 2 == 0;
        let (some, none) = (id % 5 != 0, &None::<i64> as &(dyn ToSql + Sync));
        let amount: &(dyn ToSql + Sync) = if some { &amount } else { none };
        let changed = client
            .execute(
                &insert,
                &[
                    &id, &tags, &numbers, &email, &name, &"CODE", &key, amount, &ratio, &active, &born, &seen, &signed,
                    &photo, &settings,
                ],
            )
            .await;
        story.result("insert", changed, |e| told(e, table));
    }
}

async fn prepared(client: &Client, table: &str, story: &mut Story) {
    let select = client
        .prepare(&format!("SELECT * FROM {table} WHERE email = $1"))
        .await
        .expect("a statement");
    story.note(types(&select));
    for email in ["person1@example.com", "person5@example.com", "nobody@example.com"] {
        let row = client
            .query_opt(&select, &[&email])
            .await
            .map(|row| row.as_ref().map(whole));
        story.result("query_opt", row, |e| told(e, table));
    }
    let rows = client
        .query(&format!("SELECT * FROM {table} ORDER BY id"), &[])
        .await
        .expect("rows");
    rows.iter().for_each(|row| story.note(whole(row)));
    // The same text again and again: a statement of its own each time, closed when dropped.
    for id in [1i32, 2, 3] {
        let name = client
            .query_one(&format!("SELECT name, note FROM {table} WHERE id = $1"), &[&id])
            .await
            .map(|row| (row.get::<_, String>(0), row.get::<_, Option<String>>(1)));
        story.result("query_one", name, |e| told(e, table));
    }
    let none = client
        .query_one(&format!("SELECT name FROM {table} WHERE id = 0"), &[])
        .await
        .map(drop);
    story.result("query_one without a row", none, |e| told(e, table));
    // Types declared: of Parse, and of a statement without a round trip of its own.
    let typed = client
        .prepare_typed(
            &format!("SELECT id FROM {table} WHERE email = $1 AND id < $2"),
            &[Type::VARCHAR, Type::INT4],
        )
        .await;
    story.result("prepare_typed", typed.map(|s| types(&s)), |e| told(e, table));
    let rows = client
        .query_typed(
            &format!("SELECT id, name FROM {table} WHERE email = $1 OR id = $2 ORDER BY id"),
            &[(&"person7@example.com", Type::TEXT), (&3i32, Type::INT4)],
        )
        .await
        .map(|rows| {
            rows.iter()
                .map(|r| (r.get::<_, i32>(0), r.get::<_, String>(1)))
                .collect::<Vec<_>>()
        });
    story.result("query_typed", rows, |e| told(e, table));
    let changed = client
        .execute_typed(
            &format!("UPDATE {table} SET name = $1, amount = $2 WHERE id = $3"),
            &[(&"Renamed", Type::TEXT), (&7i64, Type::INT8), (&3i32, Type::INT4)],
        )
        .await;
    story.result("execute_typed", changed, |e| told(e, table));
    // A list as one parameter, for what is not protected; and values one by one.
    let ids = client
        .query(
            &format!("SELECT id FROM {table} WHERE id = ANY($1) ORDER BY id"),
            &[&vec![2i32, 4, 99]],
        )
        .await
        .map(|rows| rows.iter().map(|r| r.get::<_, i32>(0)).collect::<Vec<_>>());
    story.result("= ANY", ids, |e| told(e, table));
    let ids = client
        .query(
            &format!("SELECT id FROM {table} WHERE email IN ($1, $2) ORDER BY id"),
            &[&"person2@example.com", &"person4@example.com"],
        )
        .await
        .map(|rows| rows.iter().map(|r| r.get::<_, i32>(0)).collect::<Vec<_>>());
    story.result("IN", ids, |e| told(e, table));
    let returned = client
        .query_one(
            &format!("UPDATE {table} SET email = $1 WHERE key = $2 RETURNING id, email, born"),
            &[&"moved@example.com", &Uuid::from_u128(6)],
        )
        .await
        .map(|r| {
            (
                r.get::<_, i32>(0),
                r.get::<_, String>(1),
                r.get::<_, jiff::civil::Date>(2),
            )
        });
    story.result("RETURNING", returned, |e| told(e, table));
}

async fn errors(client: &Client, table: &str, story: &mut Story) {
    let twice = client
        .execute(
            &format!("INSERT INTO {table} (id, email, name) VALUES (100, $1, 'x')"),
            &[&"person2@example.com"],
        )
        .await;
    story.result("unique", twice, |e| told(e, table));
    let twice = client
        .execute(&format!("INSERT INTO {table} (id, name) VALUES ($1, 'x')"), &[&2i32])
        .await;
    story.result("primary key", twice, |e| told(e, table));
    let none = client
        .execute(
            &format!("INSERT INTO {table} (id, name) VALUES (101, $1)"),
            &[&None::<String>],
        )
        .await;
    story.result("not null", none, |e| told(e, table));
    let long = client
        .execute(
            &format!("INSERT INTO {table} (id, name, code) VALUES (102, 'x', $1)"),
            &[&"longer than ten"],
        )
        .await;
    story.result("too long", long, |e| told(e, table));
    let no_column = client.prepare(&format!("SELECT nothing FROM {table}")).await.map(drop);
    story.result("no column", no_column, |e| told(e, table));
    let wrong = client
        .query(
            &format!("SELECT name FROM {table} WHERE id = $1"),
            &[&"text for a number"],
        )
        .await
        .map(drop);
    story.note(format!(
        "wrong type of a parameter: {}",
        wrong.expect_err("a conversion")
    ));
    let division = client
        .query(&format!("SELECT name, 1 / (id - id) FROM {table}"), &[])
        .await
        .map(drop);
    story.result("while it runs", division, |e| told(e, table));
    let split = client
        .simple_query(&format!(
            "SELECT name FROM {table} WHERE id = 1; SELECT 1 / 0; SELECT 2"
        ))
        .await;
    story.result("within a script", split.map(|m| m.len()), |e| told(e, table));
    story.result("afterwards", client.check_connection().await, |e| told(e, table));
}

async fn transactions(client: &mut Client, table: &str, story: &mut Story) {
    let count = format!("SELECT count(*) FROM {table} WHERE name = $1");
    let update = format!("UPDATE {table} SET name = $1 WHERE id = $2");
    {
        let mut outer = client.transaction().await.expect("BEGIN");
        let statement = outer.prepare(&update).await.expect("a statement");
        outer.execute(&statement, &[&"outer", &1i32]).await.expect("UPDATE");
        {
            let inner = outer.savepoint("\"deeper down\"").await.expect("SAVEPOINT");
            inner.execute(&statement, &[&"inner", &2i32]).await.expect("UPDATE");
            let failed = inner
                .execute(&format!("INSERT INTO {table} (id, name) VALUES (1, $1)"), &[&"x"])
                .await;
            story.result("inner", failed, |e| told(e, table));
            let aborted = inner.query(&count, &[&"inner"]).await.map(drop);
            story.result("aborted", aborted, |e| told(e, table));
            inner.rollback().await.expect("ROLLBACK TO");
        }
        {
            let inner = outer.transaction().await.expect("SAVEPOINT");
            inner.execute(&statement, &[&"kept", &3i32]).await.expect("UPDATE");
            inner.commit().await.expect("RELEASE");
        }
        for name in ["outer", "inner", "kept"] {
            if table == "things" {
                let n = outer.query_one(&count, &[&name]).await.map(|r| r.get::<_, i64>(0));
                story.result(name, n, |e| told(e, table));
            }
        }
        outer.commit().await.expect("COMMIT");
    }
    {
        let dropped = client.transaction().await.expect("BEGIN");
        dropped.execute(&update, &[&"dropped", &4i32]).await.expect("UPDATE");
    }
    {
        let reading = client
            .build_transaction()
            .isolation_level(IsolationLevel::Serializable)
            .read_only(true)
            .deferrable(true)
            .start()
            .await
            .expect("BEGIN");
        let failed = reading.execute(&update, &[&"never", &4i32]).await;
        story.result("read only", failed, |e| told(e, table));
    }
    let names = client
        .query(&format!("SELECT id, name FROM {table} WHERE id < 5 ORDER BY id"), &[])
        .await
        .map(|rows| {
            rows.iter()
                .map(|r| (r.get::<_, i32>(0), r.get::<_, String>(1)))
                .collect::<Vec<_>>()
        });
    story.result("names", names, |e| told(e, table));
}

async fn portals(client: &mut Client, table: &str, story: &mut Story) {
    let transaction = client.transaction().await.expect("BEGIN");
    let one = transaction
        .bind(
            &format!("SELECT id, name FROM {table} WHERE id > $1 ORDER BY id"),
            &[&2i32],
        )
        .await
        .expect("a portal");
    let two = transaction
        .bind(&format!("SELECT email FROM {table} ORDER BY id DESC"), &[])
        .await
        .expect("a portal");
    for limit in [3, 1, 5, 0, 2] {
        let rows = transaction.query_portal(&one, limit).await.map(|rows| {
            rows.iter()
                .map(|r| (r.get::<_, i32>(0), r.get::<_, String>(1)))
                .collect::<Vec<_>>()
        });
        story.result("first portal", rows, |e| told(e, table));
        let mut rows = pin!(transaction.query_portal_raw(&two, limit).await.expect("rows"));
        while let Some(row) = rows.next().await {
            story.result("second portal", row.map(|r| r.get::<_, String>(0)), |e| told(e, table));
        }
        story.note(format!("tag {:?}", rows.rows_affected()));
    }
    transaction.commit().await.expect("COMMIT");
}

async fn pipelines(client: &Client, table: &str, story: &mut Story) {
    let select = client
        .prepare(&format!("SELECT name FROM {table} WHERE id = $1"))
        .await
        .expect("a statement");
    let update = client
        .prepare(&format!("UPDATE {table} SET note = $1, name = $2 WHERE id = $3"))
        .await
        .expect("a statement");
    let read = |id: i32| {
        let select = &select;
        async move { client.query_one(select, &[&id]).await.map(|r| r.get::<_, String>(0)) }
    };
    let write = |id: i32, name: &'static str| {
        let update = &update;
        async move { client.execute(update, &[&"piped", &name, &id]).await }
    };
    let bad = async {
        let sql = format!("INSERT INTO {table} (id, name) VALUES (1, 'x')");
        client.execute(&sql, &[]).await
    };
    // One after another on the wire, without waiting.
    let (a, b, c, d, e, f) = tokio::join!(read(10), write(10, "Ten"), read(10), bad, write(11, "Eleven"), read(11));
    story.result("1", a, |e| told(e, table));
    story.result("2", b, |e| told(e, table));
    story.result("3", c, |e| told(e, table));
    story.result("4", d, |e| told(e, table));
    story.result("5", e, |e| told(e, table));
    story.result("6", f, |e| told(e, table));
    let all = future::join_all((1..=20).map(read)).await;
    for name in all {
        story.result("all", name, |e| told(e, table));
    }
    // A stream that is dropped before its end, with another statement behind it.
    let mut rows = Box::pin(
        client
            .query_raw(&format!("SELECT name FROM {table} ORDER BY id"), Vec::<i32>::new())
            .await
            .expect("rows"),
    );
    let first = rows.try_next().await.map(|row| row.map(|r| r.get::<_, String>(0)));
    story.result("first of many", first, |e| told(e, table));
    drop(rows);
    story.result("behind it", read(12).await, |e| told(e, table));
}

async fn scripts(client: &Client, table: &str, story: &mut Story) {
    let script = format!(
        "SELECT id, name, price, tags FROM {table} WHERE id < 3 ORDER BY id; UPDATE {table} SET price = 1.5 WHERE id = 1; ; \
         INSERT INTO {table} (id, name, price) VALUES (200, 'it''s', 12345.6789), (201, E'back\\\\slash', 'NaN'); SELECT id, name, price FROM {table} WHERE id >= 200 ORDER BY id; \
         DELETE FROM {table} WHERE id >= 200"
    );
    for message in client.simple_query(&script).await.expect("a script") {
        story.note(match message {
            SimpleQueryMessage::Row(row) => format!("{:?}", (0..row.len()).map(|i| row.get(i)).collect::<Vec<_>>()),
            SimpleQueryMessage::CommandComplete(n) => format!("complete {n}"),
            SimpleQueryMessage::RowDescription(columns) => {
                format!("{:?}", columns.iter().map(|c| c.name().to_owned()).collect::<Vec<_>>())
            }
            _ => "something else".into(),
        });
    }
    let done = client
        .batch_execute(&format!(
            "BEGIN; UPDATE {table} SET name = 'batch' WHERE id = 20; COMMIT"
        ))
        .await;
    story.result("batch", done, |e| told(e, table));
}

/// Types that the driver looks up in the catalog when it meets them; DDL between uses of a statement.
async fn catalog(client: &Client, table: &str, story: &mut Story) {
    client
        .batch_execute(&format!(
            "CREATE TYPE mood_{table} AS ENUM ('sad', 'glad'); CREATE TYPE pair_{table} AS (a int, b text); CREATE DOMAIN small_{table} AS int CHECK (VALUE < 10);
             ALTER TABLE {table} ADD mood mood_{table}, ADD pair pair_{table}, ADD small small_{table}, ADD moods mood_{table}[], ADD span int4range"
        ))
        .await
        .expect("DDL");
    let kinds = client
        .prepare(&format!("SELECT name, mood, pair, small, moods, span FROM {table}"))
        .await;
    story.result("kinds", kinds.map(|s| types(&s)), |e| told(e, table));
    let held = client
        .prepare(&format!("SELECT * FROM {table} WHERE id = 1"))
        .await
        .expect("a statement");
    let row = client.query_one(&held, &[]).await.map(|r| whole(&r));
    story.result("held", row, |e| told(e, table));
    client
        .batch_execute(&format!("ALTER TABLE {table} DROP note"))
        .await
        .expect("DDL");
    let changed = client.query_one(&held, &[]).await.map(drop);
    match table {
        "things" => story.result("changed", changed, |e| told(e, table)),
        // pgward says it in its own words.
        _ => story.note(
            changed
                .expect_err("another result type")
                .code()
                .map_or("none", |c| c.code())
                .to_owned(),
        ),
    }
    let again = client
        .query_one(&format!("SELECT * FROM {table} WHERE id = 1"), &[])
        .await
        .map(|r| whole(&r));
    story.result("again", again, |e| told(e, table));
    client.batch_execute("DISCARD ALL").await.expect("DISCARD");
    let gone = client.query_one(&held, &[]).await.map(drop);
    match table {
        // Not its message: it has the name that the driver gave, of a counter for all of the process.
        "things" => story.note(gone.expect_err("no statement").code().map_or("none", |c| c.code())),
        // Of its plan pgward knows since the ALTER TABLE that it is over.
        _ => assert!(gone.is_err()),
    }
    client
        .batch_execute(&format!("TRUNCATE {table}; DROP TABLE {table}"))
        .await
        .expect("DDL");
}

async fn story(parameters: &str) -> Story {
    let mut story = Story::default();
    let (mut client, came) = connect(parameters).await;
    for table in TABLES {
        client.batch_execute(&create(table)).await.expect("DDL");
        story.chapter(format!("{table}, fill"));
        fill(&client, table, &mut story).await;
        story.chapter(format!("{table}, prepared"));
        prepared(&client, table, &mut story).await;
        story.chapter(format!("{table}, errors"));
        errors(&client, table, &mut story).await;
        story.chapter(format!("{table}, transactions"));
        transactions(&mut client, table, &mut story).await;
        story.chapter(format!("{table}, portals"));
        portals(&mut client, table, &mut story).await;
        story.chapter(format!("{table}, pipelines"));
        pipelines(&client, table, &mut story).await;
        story.chapter(format!("{table}, scripts"));
        scripts(&client, table, &mut story).await;
    }
    story.chapter("copies");
    streams::copies(&client, &mut story).await;
    story.chapter("messages");
    streams::messages(&client, came, parameters, &mut story).await;
    for table in TABLES {
        story.chapter(format!("{table}, catalog"));
        // A client each: DISCARD ALL takes the driver's own statements away, too.
        let (client, _messages) = connect(parameters).await;
        catalog(&client, table, &mut story).await;
    }
    story
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_the_outcome_that_it_has_without_pgward() {
    let world = world();
    let direct = story(&world.plain("app")).await;
    let through = story(&world.through("app")).await;
    Story::same(&direct, &through, 250);
}
