//! The whole story against a real server: an application that knows nothing of pgward writes and reads; the database holds only envelopes;
//! a second handler sees masks, a third is refused; every access is in a record that can be verified, and can't be changed unseen.

mod support;

use futures_util::TryStreamExt;
use pgward::cli::cluster::Auth;
use std::fs;
use std::path::Path;
use std::time::Duration;
use support::raw::{Raw, error};
use support::{Options, World, http, text};
use tokio_postgres::{Client, NoTls};

const POLICY: &str = include_str!("end_to_end/policy.toml");
/// Nowhere at rest may this be found.
const MARKER: &str = "marker-7f3a91@example.com";
const MARKER_NAME: &str = "Zaphod Quillfeather-Marker";
const SCHEMA: &str =
    "CREATE TABLE customers (id int PRIMARY KEY, email varchar(100) UNIQUE NOT NULL, name text, birth date, iban text);
    GRANT SELECT ON customers TO support, marketing, analyst";

fn options() -> Options {
    Options {
        auth: Auth::ScramSha256,
        policy: POLICY.into(),
        roles: vec!["app", "support", "marketing", "analyst"],
        ..Default::default()
    }
}

async fn connect(parameters: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(parameters, NoTls).await.expect("a connection");
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// A world with a table and one customer in it.
async fn furnished() -> (World, Client) {
    let world = World::start(options());
    let app = connect(&world.through("app")).await;
    app.batch_execute(SCHEMA).await.expect("DDL");
    let birth = jiff::civil::date(1978, 3, 8);
    app.execute(
        "INSERT INTO customers VALUES ($1, $2, $3, $4, $5)",
        &[&1i32, &MARKER, &MARKER_NAME, &birth, &"DE02120300000000202051"],
    )
    .await
    .expect("INSERT");
    (world, app)
}

fn sqlstate<T: std::fmt::Debug>(result: Result<T, tokio_postgres::Error>) -> String {
    let error = result.expect_err("an error");
    error
        .code()
        .map_or_else(|| format!("no SQLSTATE: {error}"), |code| code.code().to_owned())
}

async fn one(client: &Client, sql: &str) -> Vec<Option<String>> {
    let messages = client
        .simple_query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    messages
        .iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
            }
            _ => None,
        })
        .expect("a row")
}

/// Files below a directory whose bytes contain one of the needles.
fn files_with(directory: &Path, needles: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, needles));
        } else if let Ok(bytes) = fs::read(&path) {
            for needle in needles {
                if bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                    found.push(format!("{needle} in {}", path.display()));
                }
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_reads_what_it_wrote_and_the_database_holds_only_envelopes() {
    let (world, app) = furnished().await;
    let row = app
        .query_one(
            "SELECT id, email, name, birth, iban FROM customers WHERE email = $1",
            &[&MARKER],
        )
        .await
        .expect("a row");
    assert_eq!(row.get::<_, &str>("email"), MARKER);
    assert_eq!(row.get::<_, &str>("name"), MARKER_NAME);
    assert_eq!(row.get::<_, jiff::civil::Date>("birth"), jiff::civil::date(1978, 3, 8));
    assert_eq!(row.columns()[1].type_(), &tokio_postgres::types::Type::VARCHAR);
    assert_eq!(row.columns()[3].type_(), &tokio_postgres::types::Type::DATE);

    let direct = connect(&world.around("app")).await;
    let row = one(&direct, "SELECT email, name, birth, iban FROM customers").await;
    for value in row {
        assert!(value.expect("not NULL").starts_with("\\xfa"));
    }
    world.cluster.sql("app", "CHECKPOINT").expect("CHECKPOINT");
    let found = files_with(
        &world.cluster.data_directory(),
        &[MARKER, MARKER_NAME, "DE02120300000000202051"],
    );
    assert_eq!(
        found,
        Vec::<String>::new(),
        "plaintext in the data directory or the server's log"
    );
    let found = files_with(world.directory(), &[MARKER, MARKER_NAME, "DE02120300000000202051"]);
    assert_eq!(
        found,
        Vec::<String>::new(),
        "plaintext in the journal, the log or beside the keys"
    );
    assert!(
        !fs::read_to_string(world.cluster.log_file())
            .expect("log")
            .contains("Zaphod")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn three_handlers_see_what_the_policy_says() {
    let (world, _app) = furnished().await;
    let support = connect(&world.through("support")).await;
    let row = support
        .query_one("SELECT email, name FROM customers WHERE email = $1", &[&MARKER])
        .await
        .expect("a row");
    assert_eq!((row.get(0), row.get(1)), (MARKER, MARKER_NAME));
    assert_eq!(
        sqlstate(support.query("SELECT birth FROM customers", &[]).await),
        "42501"
    );
    assert_eq!(
        sqlstate(support.execute("UPDATE customers SET name = 'x'", &[]).await),
        "42501"
    );

    let marketing = connect(&world.through("marketing")).await;
    let row = marketing
        .query_one("SELECT email, name, birth, iban FROM customers", &[])
        .await
        .expect("a row");
    assert_eq!(row.get::<_, &str>(0), "m***@example.com");
    assert_ne!(row.get::<_, &str>(1), MARKER_NAME);
    assert_eq!(row.get::<_, jiff::civil::Date>(2), jiff::civil::date(1978, 1, 1));
    assert_ne!(row.get::<_, &str>(3), "DE02120300000000202051");
    let oracle = marketing
        .query("SELECT id FROM customers WHERE email = $1", &[&MARKER])
        .await;
    assert_eq!(
        sqlstate(oracle),
        "42501",
        "a masked reader who may search has an oracle"
    );

    let analyst = connect(&world.through("analyst")).await;
    assert_eq!(
        sqlstate(analyst.query("SELECT name FROM customers", &[]).await),
        "42501"
    );
    let ids = analyst
        .query("SELECT id FROM customers", &[])
        .await
        .expect("unprotected columns");
    assert_eq!(ids.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_access_leaves_a_record_without_values() {
    let (world, app) = furnished().await;
    app.query("SELECT name FROM customers WHERE email = $1", &[&MARKER])
        .await
        .expect("rows");
    app.simple_query(&format!("SELECT name FROM customers WHERE email = '{MARKER}'"))
        .await
        .expect("rows");
    let analyst = connect(&world.through("analyst")).await;
    sqlstate(analyst.query("SELECT name FROM customers", &[]).await);
    let marketing = connect(&world.through("marketing")).await;
    marketing.query("SELECT name FROM customers", &[]).await.expect("rows");

    let records = world.records();
    let of = |handler: &str, action: &str, decision: &str| {
        records
            .iter()
            .filter(|r| r["handler"] == handler && r["action"] == action && r["decision"] == decision)
            .count()
    };
    assert_eq!(of("app", "create", "allowed"), 1);
    assert_eq!(of("app", "read", "allowed"), 2);
    assert_eq!(of("marketing", "read", "masked"), 1);
    assert_eq!(of("analyst", "read", "refused"), 1);
    let read = records
        .iter()
        .find(|r| r["action"] == "read" && r["decision"] == "allowed")
        .expect("a read");
    assert_eq!(read["rows"], 1);
    assert_eq!(read["purpose"], "sales");
    assert_eq!(read["policy_version"], "test-1");
    assert_eq!(read["auth_method"], "scram-sha-256");
    assert_eq!(read["kind"].as_str().or(read["handler_kind"].as_str()), Some("service"));
    let all = serde_json::to_string(&records).expect("JSON");
    assert!(!all.contains(MARKER) && !all.contains("Zaphod"), "a value in a record");
    let refusal = records.iter().find(|r| r["decision"] == "refused").expect("a refusal");
    assert_eq!(refusal["sqlstate"], "42501");
    assert_eq!(refusal["handler_kind"], "contractor");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_verifies_and_a_change_is_found() {
    let (mut world, app) = furnished().await;
    for _ in 0..5 {
        app.query("SELECT name FROM customers", &[]).await.expect("rows");
    }
    world.pgward_ok(&["audit", "verify"]);
    drop(app);
    assert!(world.stop().success(), "a graceful stop: {}", world.log());
    world.pgward_ok(&["audit", "verify"]);
    let changed = change_one_byte(&world.journal_directory(), b"\"read\"", 2);
    assert!(changed, "no read in the journal");
    let out = world.pgward(&["audit", "verify"]);
    assert!(!out.status.success(), "a changed record passed: {}", text(&out));
}

fn change_one_byte(directory: &Path, at: &[u8], offset: usize) -> bool {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            if change_one_byte(&path, at, offset) {
                return true;
            }
            continue;
        }
        let mut bytes = fs::read(&path).expect("a file");
        if let Some(found) = bytes.windows(at.len()).position(|window| window == at) {
            bytes[found + offset] ^= 1;
            fs::write(&path, bytes).expect("a changed file");
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn going_around_the_proxy_gets_envelopes_and_stores_nothing_in_clear() {
    let (world, app) = furnished().await;
    let direct = connect(&world.around("app")).await;
    let plain = direct.simple_query("UPDATE customers SET name = 'in clear'").await;
    assert_eq!(sqlstate(plain), "23514", "the domain's CHECK");
    // An envelope of another column, put there around the proxy, does not open.
    direct
        .execute("UPDATE customers SET name = iban", &[])
        .await
        .expect("envelopes can be moved around the proxy");
    assert_eq!(sqlstate(app.query("SELECT name FROM customers", &[]).await), "XX001");
    // A flipped bit neither.
    direct
        .execute("UPDATE customers SET iban = set_byte(iban::bytea, length(iban::bytea) - 1, 255 - get_byte(iban::bytea, length(iban::bytea) - 1))", &[])
        .await
        .expect("and changed");
    assert_eq!(sqlstate(app.query("SELECT iban FROM customers", &[]).await), "XX001");
    // The session goes on.
    app.query_one("SELECT email FROM customers", &[])
        .await
        .expect("other columns open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_a_lost_and_an_open_key_file_are_clear_errors() {
    let (mut world, app) = furnished().await;
    drop(app);
    world.stop();
    let key = fs::read(world.key_file()).expect("the key file");
    let serve = |world: &World| text(&world.pgward(&["serve"]));

    fs::remove_file(world.key_file()).expect("the key file");
    let lost = serve(&world);
    assert!(lost.contains("key"), "{lost}");

    let other = World::prepare(options());
    fs::copy(other.key_file(), world.key_file()).expect("another key file");
    let wrong = serve(&world);
    assert!(wrong.contains("wrong root key"), "{wrong}");
    assert!(!wrong.contains("panicked"), "{wrong}");

    fs::write(world.key_file(), &key).expect("the right key");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(world.key_file(), mode).expect("chmod");
    let open = serve(&world);
    assert!(open.contains("0600") || open.contains("permission"), "{open}");
    assert!(lost != wrong && wrong != open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_rights_away_at_once_and_a_bad_file_changes_nothing() {
    let (world, _app) = furnished().await;
    let support = connect(&world.through("support")).await;
    let statement = support
        .prepare("SELECT name FROM customers")
        .await
        .expect("a statement");
    support.query(&statement, &[]).await.expect("rows");

    world.write_policy("this is no policy");
    world.signal("HUP");
    tokio::time::sleep(Duration::from_millis(500)).await;
    support
        .query(&statement, &[])
        .await
        .expect("the old policy still holds");

    world.write_policy(&format!(
        "version = \"test-2\"\n{}",
        POLICY.replace("categories = [\"email\", \"name\"]", "categories = [\"email\"]")
    ));
    world.signal("HUP");
    let mut state = String::new();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Err(error) = support.query(&statement, &[]).await {
            state = error.code().map(|c| c.code().to_owned()).unwrap_or_default();
            break;
        }
    }
    assert_eq!(state, "42501", "a statement prepared earlier is checked again");
    assert_eq!(world.records().last().expect("a record")["policy_version"], "test-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn protected_statements_fail_when_the_journal_can_not_be_written_and_others_go_on() {
    let (world, app) = furnished().await;
    // A directory that is gone can't take records; the open file would still take them, so the file goes too.
    let journal = world.journal_directory();
    let aside = world.directory().join("aside");
    fs::rename(&journal, &aside).expect("rename");
    fs::write(&journal, b"no directory").expect("a file in its place");
    // Not every way to break a disk can be played here; what counts is that nothing is released without a record.
    let before = count_lines(&aside);
    let answer = app.query("SELECT name FROM customers", &[]).await;
    let after = count_lines(&aside);
    assert!(answer.is_err() || after > before, "released without a record");
    app.query_one("SELECT count(*) FROM customers", &[])
        .await
        .expect("nothing protected in it");
}

fn count_lines(directory: &Path) -> usize {
    fs::read_dir(directory)
        .expect("a directory")
        .flatten()
        .filter_map(|entry| fs::read(entry.path()).ok())
        .map(|bytes| bytes.iter().filter(|b| **b == b'\n').count())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_and_notifications_of_unprotected_tables_pass() {
    let (world, app) = furnished().await;
    app.batch_execute("CREATE TABLE things (a int, b text)")
        .await
        .expect("DDL");
    let sink = app.copy_in("COPY things FROM STDIN").await.expect("COPY IN");
    let mut sink = std::pin::pin!(sink);
    futures_util::SinkExt::send(&mut sink, bytes::Bytes::from_static(b"1\tone\n2\ttwo\n"))
        .await
        .expect("data");
    assert_eq!(sink.finish().await.expect("the end"), 2);
    let out = app.copy_out("COPY things TO STDOUT").await.expect("COPY OUT");
    let chunks: Vec<bytes::Bytes> = out.try_collect().await.expect("data");
    assert_eq!(chunks.concat(), b"1\tone\n2\ttwo\n");
    assert!(app.simple_query("COPY customers TO STDOUT").await.is_err());

    let (listener, mut connection) = tokio_postgres::connect(&world.through("app"), NoTls)
        .await
        .expect("a connection");
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let tokio_postgres::AsyncMessage::Notification(notification) = message {
                let _ = sender.send(notification.payload().to_owned());
            }
        }
    });
    listener.batch_execute("LISTEN here").await.expect("LISTEN");
    app.batch_execute("NOTIFY here, 'hello'").await.expect("NOTIFY");
    let payload = tokio::time::timeout(Duration::from_secs(5), receiver.recv())
        .await
        .expect("in time");
    assert_eq!(payload.as_deref(), Some("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_statement_can_be_cancelled_and_only_it() {
    let (world, app) = furnished().await;
    let other = connect(&world.through("app")).await;
    let token = app.cancel_token();
    let running = tokio::spawn(async move { app.simple_query("SELECT pg_sleep(30)").await.map(drop) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    token.cancel_query(NoTls).await.expect("a CancelRequest");
    let result = tokio::time::timeout(Duration::from_secs(10), running)
        .await
        .expect("in time")
        .expect("the task");
    assert_eq!(sqlstate(result), "57014");
    other.query_one("SELECT 1", &[]).await.expect("untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_log_in_method_is_relayed_and_a_wrong_password_is_the_servers_error() {
    for auth in [Auth::ScramSha256, Auth::Md5, Auth::Password] {
        let world = World::start(Options { auth, ..options() });
        let app = connect(&world.through("app")).await;
        assert_eq!(one(&app, "SELECT current_user").await, [Some("app".to_owned())]);
        let wrong = world.through("app").replace("password='", "password='not ");
        let error = tokio_postgres::connect(&wrong, NoTls).await.err().expect("no log-in");
        assert_eq!(error.code().map(|c| c.code()), Some("28P01"), "{auth:?}");
        let nobody = world.through("nosuchrole");
        assert!(tokio_postgres::connect(&nobody, NoTls).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_tells_health_and_metrics() {
    let (world, app) = furnished().await;
    app.query("SELECT name FROM customers", &[]).await.expect("rows");
    app.query("SELECT 1", &[]).await.expect("rows");
    assert_eq!(http::get(world.admin_port, "/healthz").0, 200);
    assert_eq!(http::get(world.admin_port, "/readyz").0, 200);
    let (status, metrics) = http::get(world.admin_port, "/metrics");
    assert_eq!(status, 200);
    let value = |name: &str| {
        metrics
            .lines()
            .filter(|line| line.starts_with(name) && !line.starts_with('#'))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>()
    };
    assert!(value("pgward_values_opened") >= 1.0, "{metrics}");
    assert!(value("pgward_values_sealed") >= 4.0, "{metrics}");
    assert!(value("pgward_connections") >= 1.0, "{metrics}");
    assert!(!metrics.contains(MARKER));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_protected_and_for_whom() {
    let (world, _app) = furnished().await;
    let report = world.pgward_ok(&["check"]);
    for word in ["customers", "email", "deterministic", "support", "marketing", "masked"] {
        assert!(report.contains(word), "{word} is not in:\n{report}");
    }
    world.write_policy(&POLICY.replace("category = \"name\"", "category = \"nmae\""));
    let bad = world.pgward(&["check"]);
    assert!(!bad.status.success());
    assert!(text(&bad).contains("nmae"), "{}", text(&bad));
}

#[test]
fn ddl_that_bypasses_pgward_is_noticed() {
    let world = World::start(Options {
        policy: POLICY.into(),
        ..options_trust()
    });
    let mut app = Raw::connect(world.port, "app", "app");
    app.query(SCHEMA);
    app.query("INSERT INTO customers VALUES (1, 'a@example.com', 'A', NULL, NULL)");
    world
        .cluster
        .sql("app", "ALTER TABLE customers RENAME TO clients")
        .expect("DDL around pgward");
    std::thread::sleep(Duration::from_millis(2_500));
    let answer = app.query("SELECT name FROM clients");
    assert!(
        error(&answer).is_some() || !format!("{answer:?}").contains("250"),
        "envelopes shown to a client: {answer:?}"
    );
    world
        .cluster
        .sql("app", "ALTER TABLE clients RENAME TO customers")
        .expect("DDL around pgward");
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(app.rows("SELECT name FROM customers"), [[Some("A".to_owned())]]);
}

fn options_trust() -> Options {
    Options {
        auth: Auth::Trust,
        ..options()
    }
}
