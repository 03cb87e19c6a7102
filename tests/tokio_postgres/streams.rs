//! What comes in a stream of its own, or without being asked for: COPY, notices, notifications, cancellation.

use super::*;

/// COPY goes to and from unprotected tables; of protected ones pgward refuses it.
pub(super) async fn copies(client: &Client, story: &mut Story) {
    let error = |e| told(e, "things");
    client
        .batch_execute("CREATE TABLE copied (a int, b text, c timestamptz)")
        .await
        .expect("DDL");
    let mut sink = pin!(client.copy_in("COPY copied (a, b) FROM STDIN").await.expect("COPY"));
    // Not at the borders of rows.
    for part in ["1\ton", "e\n2\t\\N\n", "3\tthr\\tee\n"] {
        sink.send(Bytes::from_static(part.as_bytes())).await.expect("data");
    }
    story.result("text", sink.finish().await, error);
    let sink = client
        .copy_in("COPY copied FROM STDIN (FORMAT binary)")
        .await
        .expect("COPY");
    let mut writer = pin!(BinaryCopyInWriter::new(
        sink,
        &[Type::INT4, Type::TEXT, Type::TIMESTAMPTZ]
    ));
    let at: jiff::Timestamp = "2020-01-01T00:00:00.5Z".parse().expect("a timestamp");
    for n in 10..2010i32 {
        writer.as_mut().write(&[&n, &"x".repeat(50), &at]).await.expect("a row");
    }
    story.result("binary", writer.finish().await, error);
    let mut sink = pin!(client.copy_in("COPY copied (a) FROM STDIN").await.expect("COPY"));
    sink.send(Bytes::from_static(b"no number\n")).await.expect("data");
    story.result("malformed", sink.finish().await, error);
    {
        // Dropped without its end: CopyFail.
        let mut sink = pin!(client.copy_in("COPY copied (a) FROM STDIN").await.expect("COPY"));
        sink.send(Bytes::from_static(b"77\n")).await.expect("data");
    }
    let out = client
        .copy_out("COPY (SELECT a, b FROM copied WHERE a < 10 ORDER BY a) TO STDOUT (FORMAT csv, HEADER)")
        .await
        .expect("COPY");
    let all: Result<Vec<Bytes>, _> = out.try_collect().await;
    story.result("csv", all.map(|parts| parts.concat()), error);
    let out = client
        .copy_out("COPY copied TO STDOUT (FORMAT binary)")
        .await
        .expect("COPY");
    let rows: Result<Vec<_>, _> = BinaryCopyOutStream::new(out, &[Type::INT4, Type::TEXT, Type::TIMESTAMPTZ])
        .map_ok(|row| {
            (
                row.get::<i32>(0),
                row.get::<Option<String>>(1),
                row.get::<Option<jiff::Timestamp>>(2),
            )
        })
        .try_collect()
        .await;
    story.result("binary out", rows, error);
    let missing = client.copy_out("COPY no_such_table TO STDOUT").await.map(drop);
    story.result("no table", missing, error);
}

pub(super) async fn messages(client: &Client, mut came: Messages, parameters: &str, story: &mut Story) {
    let error = |e| told(e, "things");
    let (other, _) = connect(parameters).await;
    client
        .batch_execute("LISTEN one; LISTEN \"Two words\"")
        .await
        .expect("LISTEN");
    other
        .batch_execute("BEGIN; NOTIFY one, 'rolled back'; ROLLBACK")
        .await
        .expect("NOTIFY");
    other
        .batch_execute(
            "BEGIN; NOTIFY one, 'first'; NOTIFY \"Two words\"; SELECT pg_notify('one', repeat('x', 5000)); COMMIT",
        )
        .await
        .expect("NOTIFY");
    client.batch_execute("NOTIFY one, 'own'").await.expect("NOTIFY");
    client
        .batch_execute("DO $$ BEGIN RAISE NOTICE 'a notice'; RAISE WARNING 'a warning'; END $$")
        .await
        .expect("DO");
    for _ in 0..6 {
        let message = tokio::time::timeout(Duration::from_secs(20), came.recv()).await;
        story.note(message.expect("a message in time").expect("a message"));
    }
    // Cancelled while it runs, with a protected column in it, and in a transaction.
    for sql in ["SELECT pg_sleep(60)", "SELECT name, pg_sleep(60) FROM clients LIMIT 1"] {
        client.batch_execute("BEGIN").await.expect("BEGIN");
        let token = client.cancel_token();
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            token.cancel_query(NoTls).await
        };
        let (sleeping, cancelled) = tokio::join!(client.query(sql, &[]), cancel);
        story.result("cancelled", sleeping.map(drop), |e| told(e, "clients"));
        story.result("cancel", cancelled, error);
        client.batch_execute("ROLLBACK").await.expect("ROLLBACK");
    }
    let gone = other
        .query("SELECT pg_terminate_backend(pg_backend_pid())", &[])
        .await
        .map(drop);
    story.result("terminated", gone, error);
    tokio::time::timeout(Duration::from_secs(20), async {
        while !other.is_closed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the connection is closed");
}
