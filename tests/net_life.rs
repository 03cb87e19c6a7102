//! Cancelling, limits, stop and reload, through a built pgward in front of a real PostgreSQL. Each test is named after its line in WIRE.md.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::raw::{Message, Raw, Send, error};
use support::{Options, PEOPLE, World, http, text};

/// A world whose `[limits]` begin with these lines.
fn world(limits: &str) -> World {
    World::start(Options {
        policy: format!("{limits}\n{PEOPLE}"),
        ..Default::default()
    })
}

fn cancel_request(process_id: u32, secret: &[u8]) -> Vec<u8> {
    let mut bytes = (12 + secret.len() as u32).to_be_bytes().to_vec();
    bytes.extend(((1234u32 << 16) | 5678).to_be_bytes());
    bytes.extend(process_id.to_be_bytes());
    bytes.extend(secret);
    bytes
}

/// Sends a CancelRequest and waits for the end of the connection, on which nothing may come.
fn cancel(port: u16, process_id: u32, secret: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&cancel_request(process_id, secret)).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty(), "a cancel request is not answered: {answer:?}");
}

fn key(raw: &Raw) -> (u32, Vec<u8>) {
    raw.greeting
        .iter()
        .find_map(|message| match message {
            Message::Other('K', body) => Some((
                u32::from_be_bytes([body[0], body[1], body[2], body[3]]),
                body[4..].to_vec(),
            )),
            _ => None,
        })
        .expect("BackendKeyData")
}

fn backend_pid(raw: &mut Raw) -> u32 {
    raw.rows("SELECT pg_backend_pid()")[0][0]
        .as_ref()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn wire_05_a_cancel_request_cancels_its_own_session_and_no_other() {
    let world = world("");
    let mut one = Raw::connect(world.port, "app", "app");
    let mut other = Raw::connect(world.port, "app", "app");
    let (process_id, secret) = key(&one);
    assert_eq!(secret.len(), 4);
    assert_ne!(process_id, key(&other).0);
    assert_ne!(secret, key(&other).1, "secrets are random");
    // As libpq's applications take it to be: LISTEN's own notifications and pg_stat_activity are told by it.
    assert_eq!(process_id, backend_pid(&mut one));

    one.send(&[Send::Query("SELECT pg_sleep(20)")]);
    other.send(&[Send::Query("SELECT pg_sleep(1.5)")]);
    std::thread::sleep(Duration::from_millis(300));
    // Wrong secret, the other's secret, unknown process, wrong length: nothing happens.
    let mut wrong = secret.clone();
    wrong[0] ^= 1;
    cancel(world.port, process_id, &wrong);
    cancel(world.port, process_id, &key(&other).1);
    cancel(world.port, process_id ^ 1, &secret);
    cancel(world.port, process_id, &[&secret[..], &secret].concat());
    assert!(one.is_silent(Duration::from_millis(300)));
    let begun = Instant::now();
    cancel(world.port, process_id, &secret);
    let answer = one.until_ready();
    assert_eq!(error(&answer).unwrap().sqlstate, "57014");
    assert!(begun.elapsed() < Duration::from_secs(5));
    // The other session and this one go on.
    assert!(error(&other.until_ready()).is_none());
    assert_eq!(one.rows("SELECT 1"), [[Some("1".into())]]);
}

#[test]
fn wire_05_a_key_dies_with_its_session() {
    let world = world("");
    let one = Raw::connect(world.port, "app", "app");
    let (process_id, secret) = key(&one);
    drop(one);
    std::thread::sleep(Duration::from_millis(300));
    let mut next = Raw::connect(world.port, "app", "app");
    next.send(&[Send::Query("SELECT pg_sleep(0.5)")]);
    cancel(world.port, process_id, &secret);
    assert!(error(&next.until_ready()).is_none());
    // Not the server's own process id either.
    let pid = backend_pid(&mut next);
    cancel(world.port, pid, &secret);
    assert_eq!(next.rows("SELECT 1"), [[Some("1".into())]]);
}

#[test]
fn wire_38_more_clients_than_allowed_are_told_so() {
    let world = world("max_clients = 2");
    let one = Raw::connect(world.port, "app", "app");
    let _two = Raw::connect(world.port, "app", "app");
    let three = Raw::connect(world.port, "app", "app");
    assert_eq!(error(&three.greeting).unwrap().sqlstate, "53300");
    // Cancelling still works then.
    let (process_id, secret) = key(&one);
    cancel(world.port, process_id, &secret);
    drop(one);
    let end = Instant::now() + Duration::from_secs(5);
    while error(&Raw::connect(world.port, "app", "app").greeting).is_some() {
        assert!(Instant::now() < end, "a place is given back");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn wire_38_start_up_and_log_in_take_no_longer_than_they_may() {
    let world = world("authentication_timeout_seconds = 1");
    let begun = Instant::now();
    for bytes in [&b""[..], b"\0\0\0\x50\0\x03\0\0user"] {
        let mut stream = TcpStream::connect(("127.0.0.1", world.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.is_empty());
    }
    assert!(begun.elapsed() < Duration::from_secs(6));
    // Who is logged in may be idle for longer.
    let mut raw = Raw::connect(world.port, "app", "app");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(raw.rows("SELECT 1"), [[Some("1".into())]]);
}

#[test]
fn wire_38_a_graceful_stop_lets_running_statements_end() {
    let mut world = world("shutdown_grace_seconds = 20");
    let port = world.port;
    let mut idle = Raw::connect(port, "app", "app");
    let mut busy = Raw::connect(port, "app", "app");
    let _silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
    busy.send(&[Send::Query("SELECT pg_sleep(1.5), 'done'")]);
    std::thread::sleep(Duration::from_millis(300));
    world.signal("TERM");
    let Some(Message::Error(told)) = idle.next() else {
        panic!("an idle session is told")
    };
    assert_eq!(told.sqlstate, "57P01");
    assert!(idle.next().is_none());
    // Meanwhile: not ready, and new clients are turned away.
    let late = Raw::connect(port, "app", "app");
    assert_eq!(error(&late.greeting).unwrap().sqlstate, "57P03");
    let (status, report) = http::get(world.admin_port, "/readyz");
    assert_eq!(status, 503, "{report}");
    let answer = busy.until_ready();
    assert!(
        matches!(answer.get(1), Some(Message::DataRow(row)) if row[1].as_deref() == Some(b"done")),
        "{answer:?}"
    );
    let status = world.wait_for_end();
    assert!(status.success(), "{status}");
}

#[test]
fn wire_38_after_the_grace_everything_is_closed() {
    let mut world = world("shutdown_grace_seconds = 1");
    let mut busy = Raw::connect(world.port, "app", "app");
    busy.send(&[Send::Query("SELECT pg_sleep(60)")]);
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    assert!(world.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(busy.next().is_none());
}

#[test]
fn a_reload_takes_a_good_policy_and_keeps_the_old_one_before_a_bad_one() {
    let world = world("");
    let metric = |name: &str| {
        let (_, page) = http::get(world.admin_port, "/metrics");
        page.lines().any(|line| line == name)
    };
    let wait_for = |name: &str| {
        let end = Instant::now() + Duration::from_secs(10);
        while !metric(name) {
            assert!(Instant::now() < end, "{name} does not come; the log:\n{}", world.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait_for("pgward_policy_info{version=\"test-1\"} 1");
    world.write_policy("version = \"test-2\"\n[purposes.support]\nno_such_key = true\n");
    world.signal("HUP");
    wait_for("pgward_policy_reloads_total{result=\"rejected\"} 1");
    assert!(metric("pgward_policy_info{version=\"test-1\"} 1"));
    assert!(world.log().contains("no_such_key"), "{}", world.log());
    // A column more: it is registered, and protected from now on, also for sessions that are there already.
    let mut raw = Raw::connect(world.port, "app", "app");
    let more = PEOPLE.replace(
        "mode = \"eq\"\n",
        "mode = \"eq\"\n[table.columns.phone]\ncategory = \"mobile-phone\"\n",
    );
    world.write_policy(&format!("version = \"test-3\"\n{more}"));
    world.signal("HUP");
    wait_for("pgward_policy_info{version=\"test-3\"} 1");
    let answer = raw.query("CREATE TABLE people (id int, email text, phone text)");
    assert!(error(&answer).is_none(), "{answer:?}");
    let stored = "SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attnum) FROM pg_attribute \
                  WHERE attrelid = 'people'::regclass AND attnum > 0";
    assert_eq!(
        world.cluster.sql("app", stored).unwrap(),
        "integer pgward.sealed pgward.sealed"
    );
    assert!(world.log().contains("the policy was reloaded"));
}

#[test]
fn a_reload_changes_limits_for_new_connections() {
    let world = world("");
    let reloads = || world.log().matches("the policy was reloaded").count();
    let reload = || {
        let before = reloads();
        world.signal("HUP");
        let end = Instant::now() + Duration::from_secs(10);
        while reloads() == before {
            assert!(Instant::now() < end, "{}", world.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let mut first = Raw::connect(world.port, "app", "app");
    let long = format!("SELECT '{}'", "x".repeat(100 * 1024));
    let parse = [Send::Parse("s", &long, vec![]), Send::Sync];
    world.write_policy(&format!(
        "version = \"test-2\"\nmax_clients = 1\nmax_prepared_bytes = 65536\n{PEOPLE}"
    ));
    reload();
    let log = world.log();
    assert!(
        log.contains("[limits] was changed: that takes effect for new connections"),
        "{log}"
    );
    assert!(!log.contains("next start"), "{log}");
    // One that is there goes on with what it began with.
    first.send(&parse);
    assert!(error(&first.until_ready()).is_none());
    let refused = Raw::connect(world.port, "app", "app");
    assert_eq!(error(&refused.greeting).expect("one too many").sqlstate, "53300");
    drop((first, refused));
    let end = Instant::now() + Duration::from_secs(10);
    let mut second = Raw::connect(world.port, "app", "app");
    while error(&second.greeting).is_some() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(50));
        second = Raw::connect(world.port, "app", "app");
    }
    second.send(&parse);
    assert_eq!(error(&second.until_ready()).expect("too much").sqlstate, "54000");
    // What does not change says so.
    let config = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(
        world.config(),
        config.replace("catalog_poll_seconds = 1", "catalog_poll_seconds = 7"),
    )
    .unwrap();
    reload();
    let log = world.log();
    assert!(
        log.contains("limits.catalog_poll_seconds differs: that takes effect at the next start"),
        "{log}"
    );
}

#[test]
fn start_up_errors_say_what_to_do() {
    let expect = |world: &World, words: &[&str]| {
        let out = world.pgward(&["serve"]);
        assert_eq!(out.status.code(), Some(1), "{}", text(&out));
        for word in words {
            assert!(text(&out).contains(word), "{word:?} is missing in:\n{}", text(&out));
        }
    };
    let options = || Options {
        policy: PEOPLE.into(),
        ..Default::default()
    };
    // No keys yet.
    expect(&World::without_keys(options()), &["pgward init"]);
    let mut world = World::prepare(options());
    // The port is taken.
    let taken = std::net::TcpListener::bind(("127.0.0.1", world.port)).unwrap();
    expect(&world, &["can't listen on", "listen.addresses"]);
    drop(taken);
    // No domain.
    world.cluster.sql("app", "DROP DOMAIN pgward.sealed").unwrap();
    expect(&world, &["pgward.sealed", "pgward init"]);
    world.pgward_ok(&["init"]);
    // Another key.
    let key = std::fs::read(world.key_file()).unwrap();
    let other = World::prepare(options());
    std::fs::copy(other.key_file(), world.key_file()).unwrap();
    expect(&world, &["root key"]);
    std::fs::write(world.key_file(), key).unwrap();
    // A dead server.
    world.cluster.stop();
    expect(&world, &["can't log in at 127.0.0.1"]);
    world.cluster.restart().unwrap();
    world.serve();
    let mut raw = Raw::connect(world.port, "app", "app");
    assert_eq!(raw.rows("SELECT 1"), [[Some("1".into())]]);
}

#[test]
fn upstream_through_a_unix_socket() {
    let mut world = World::prepare(Options {
        policy: PEOPLE.into(),
        ..Default::default()
    });
    let config = std::fs::read_to_string(world.config()).unwrap();
    let directory = world.cluster.socket_directory().display().to_string();
    let config = config.replace("host = \"127.0.0.1\"", &format!("host = \"{directory}\""));
    std::fs::write(world.config(), config).unwrap();
    world.serve();
    let mut raw = Raw::connect(world.port, "app", "app");
    assert_eq!(raw.rows("SELECT inet_server_addr() IS NULL"), [[Some("t".into())]]);
    let (process_id, secret) = key(&raw);
    raw.send(&[Send::Query("SELECT pg_sleep(20)")]);
    std::thread::sleep(Duration::from_millis(300));
    cancel(world.port, process_id, &secret);
    assert_eq!(error(&raw.until_ready()).unwrap().sqlstate, "57014");
}
