//! Start-up, log-in, end of a connection, through a built pgward in front of a real PostgreSQL. Each test is named after its line in WIRE.md.

mod support;

use pgward::cli::cluster::Auth;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use support::raw::{Message, Raw, Send};
use support::{Options, PASSWORD, PEOPLE, World, text};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x30];

fn world() -> World {
    World::start(Options {
        policy: PEOPLE.into(),
        roles: vec!["app", "other"],
        ..Default::default()
    })
}

fn connect(world: &World) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", world.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn startup(protocol: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = protocol.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut bytes = (4 + body.len() as u32).to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

/// Everything until the other side closes.
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}; got {bytes:?}"),
    }
    bytes
}

fn read_exact<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// One frame: type and body.
fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let head: [u8; 5] = read_exact(stream);
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).unwrap();
    (head[0], body)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}

const V3_0: u32 = 3 << 16;

fn frames_until_ready(stream: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    loop {
        let frame = read_frame(stream);
        let last = matches!(frame.0, b'Z' | b'E');
        frames.push(frame);
        if last {
            return frames;
        }
    }
}

#[test]
fn wire_01_encryption_requests_are_turned_down_and_unknown_codes_refused() {
    let world = world();
    for requests in [[SSL_REQUEST, GSSENC_REQUEST], [GSSENC_REQUEST, SSL_REQUEST]] {
        let mut stream = connect(&world);
        for request in requests {
            stream.write_all(&request).unwrap();
            assert_eq!(read_exact(&mut stream), [b'N']);
        }
        stream
            .write_all(&startup(V3_0, &[("user", "app"), ("database", "app")]))
            .unwrap();
        assert_eq!(frames_until_ready(&mut stream).last().unwrap().0, b'Z');
    }
    let mut stream = connect(&world);
    stream.write_all(&SSL_REQUEST).unwrap();
    assert_eq!(read_exact(&mut stream), [b'N']);
    stream.write_all(&SSL_REQUEST).unwrap();
    assert!(contains(&read_to_end(&mut stream), "C08P01"));

    for (code, sqlstate) in [
        ((1234 << 16) | 5677, "C08P01"),
        (2 << 16, "C0A000"),
        (4 << 16, "C0A000"),
    ] {
        let mut stream = connect(&world);
        stream.write_all(&startup(code, &[("user", "app")])).unwrap();
        let answer = read_to_end(&mut stream);
        assert!(answer.starts_with(b"E") && contains(&answer, sqlstate), "{answer:?}");
    }
}

#[test]
fn wire_02_bytes_behind_ssl_request_close_the_connection() {
    let world = world();
    let behind = startup(V3_0, &[("user", "app"), ("database", "app")]);
    for request in [SSL_REQUEST, GSSENC_REQUEST] {
        let mut stream = connect(&world);
        stream.write_all(&[&request[..], &behind].concat()).unwrap();
        let answer = read_to_end(&mut stream);
        assert!(answer.starts_with(b"E") && contains(&answer, "C08P01"), "{answer:?}");
    }
}

#[test]
fn wire_04_newer_protocols_are_negotiated_by_the_server() {
    let world = world();
    let version = world.cluster.sql("app", "SHOW server_version_num").unwrap();
    let major = version.parse::<u32>().unwrap() / 10_000;
    for (minor, option) in [
        (0, "_pq_.unheard_of"),
        (2, ""),
        (9999, "_pq_.test_protocol_negotiation"),
    ] {
        let mut parameters = vec![("user", "app"), ("database", "app")];
        if !option.is_empty() {
            parameters.push((option, ""));
        }
        let hello = startup(V3_0 | minor, &parameters);
        let direct = {
            let mut stream = TcpStream::connect(world.cluster.addr()).unwrap();
            stream.write_all(&hello).unwrap();
            frames_until_ready(&mut stream)
        };
        let mut stream = connect(&world);
        stream.write_all(&hello).unwrap();
        let through = frames_until_ready(&mut stream);
        let negotiations = |frames: &[(u8, Vec<u8>)]| -> Vec<Vec<u8>> {
            frames
                .iter()
                .filter(|(tag, _)| *tag == b'v')
                .map(|(_, body)| body.clone())
                .collect()
        };
        assert_eq!(negotiations(&through), negotiations(&direct));
        // PostgreSQL 18 speaks 3.2 itself; up to 17 the server gives 3.0.
        let speaks_it = major >= 18 && minor == 2;
        assert_eq!(
            negotiations(&through).len(),
            usize::from(!speaks_it),
            "3.{minor} {option}"
        );
        let tags = |frames: &[(u8, Vec<u8>)]| frames.iter().map(|(tag, _)| *tag as char).collect::<String>();
        assert_eq!(tags(&through), tags(&direct));
        // Secrets have four bytes in 3.0, and 32 in the server's 3.2 (which it also gives who asks for more).
        let key = through.iter().find(|(tag, _)| *tag == b'K').unwrap();
        assert_eq!(key.1.len(), if major >= 18 && minor >= 2 { 36 } else { 8 });
    }
}

#[test]
fn wire_07_replication_is_refused_and_options_are_forwarded() {
    let world = world();
    for value in ["true", "database", "on"] {
        let mut stream = connect(&world);
        let parameters = [("user", "app"), ("database", "app"), ("replication", value)];
        stream.write_all(&startup(V3_0, &parameters)).unwrap();
        let answer = read_to_end(&mut stream);
        assert!(
            contains(&answer, "C0A000") && contains(&answer, "replication"),
            "{answer:?}"
        );
    }
    let parameters = [
        ("user", "app"),
        ("database", "app"),
        ("replication", "false"),
        ("options", "-c work_mem=3MB --enable_seqscan=off"),
    ];
    let mut raw = Raw::connect_with(world.port, &parameters);
    assert_eq!(raw.rows("SHOW work_mem"), [[Some("3MB".into())]]);
    assert_eq!(raw.rows("SHOW enable_seqscan"), [[Some("off".into())]]);
}

#[test]
fn wire_08_parameters_reach_the_server_as_they_are() {
    let world = world();
    let parameters = [
        ("application_name", "Zürich — 東京"),
        ("user", "app"),
        ("work_mem", "1MB"),
        ("database", "app"),
        ("work_mem", "2MB"),
        ("client_encoding", "LATIN1"),
    ];
    let mut raw = Raw::connect_with(world.port, &parameters);
    // The last of several wins, as in the server.
    assert_eq!(raw.rows("SHOW work_mem"), [[Some("2MB".into())]]);
    assert_eq!(raw.rows("SHOW client_encoding"), [[Some("LATIN1".into())]]);
    for twice in ["user", "database", "options"] {
        let mut stream = connect(&world);
        let parameters = [("user", "app"), ("database", "app"), (twice, "other")];
        let parameters = if twice == "options" {
            [("user", "app"), ("options", ""), (twice, "-c a.b=c")]
        } else {
            parameters
        };
        stream.write_all(&startup(V3_0, &parameters)).unwrap();
        assert!(contains(&read_to_end(&mut stream), "C08P01"), "{twice}");
    }
}

#[test]
fn wire_06_passwords_are_relayed() {
    for auth in [Auth::ScramSha256, Auth::Md5, Auth::Password] {
        let world = World::start(Options {
            auth,
            policy: PEOPLE.into(),
            ..Default::default()
        });
        let out = world.psql(&world.through("app"), &["-c", "SELECT current_user"]);
        assert_eq!(text(&out), "app\n", "{auth:?}");
        let wrong = world.through("app").replace("battery", "battering");
        assert!(wrong != world.through("app") && PASSWORD.contains("battery"));
        let out = world.psql(&wrong, &["-c", "SELECT 1"]);
        assert!(!out.status.success());
        assert!(text(&out).contains("password authentication failed"), "{}", text(&out));
    }
}

#[test]
fn wire_32_malformed_start_ups_are_errors() {
    let world = world();
    let hello = startup(V3_0, &[("user", "app"), ("database", "app")]);
    let mut no_terminator = hello.clone();
    no_terminator.pop();
    no_terminator[3] -= 1;
    let mut trailing = hello.clone();
    trailing.extend(b"x\0");
    trailing[3] += 2;
    for bytes in [no_terminator, trailing, vec![0, 0, 0, 8, 0, 3, 0, 0]] {
        let mut stream = connect(&world);
        stream.write_all(&bytes).unwrap();
        let answer = read_to_end(&mut stream);
        assert!(contains(&answer, "C08P01"), "{bytes:?}: {answer:?}");
    }
    // The server, too, closes without a word on a length that can't be. A Terminate is what node-postgres sends when it ends before its start-up.
    for port in [world.port, world.cluster.port()] {
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            vec![0xFF; 64],
            vec![0; 64],
            b"X\0\0\0\x04".to_vec(),
        ] {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(&bytes).unwrap();
            let mut answer = Vec::new();
            // Bytes that it didn't read make the kernel send a reset.
            let _ = stream.read_to_end(&mut answer);
            assert_eq!(answer, b"", "{bytes:?} to port {port}");
        }
    }
    let mut raw = Raw::connect(world.port, "app", "app");
    assert_eq!(raw.rows("SELECT 1"), [[Some("1".into())]]);
}

/// Backends of a role, as the server counts them.
fn backends(world: &World, role: &str) -> usize {
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'");
    world.cluster.sql("postgres", &count).unwrap().parse().unwrap()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn wire_34_terminate_and_end_of_file_close_the_upstream_connection() {
    let world = world();
    // Terminate, in a transaction.
    let mut raw = Raw::connect(world.port, "other", "app");
    raw.query("BEGIN");
    assert_eq!(backends(&world, "other"), 1);
    raw.send(&[Send::Terminate]);
    assert!(raw.next().is_none());
    wait_until("Terminate ends the backend", || backends(&world, "other") == 0);
    // End of file without a word.
    let mut raw = Raw::connect(world.port, "other", "app");
    raw.query("BEGIN");
    drop(raw);
    wait_until("end of file ends the backend", || backends(&world, "other") == 0);
    // In the middle of a message.
    let mut stream = connect(&world);
    stream
        .write_all(&startup(V3_0, &[("user", "other"), ("database", "app")]))
        .unwrap();
    frames_until_ready(&mut stream);
    stream.write_all(b"Q\0\0\0\xFFSELECT").unwrap();
    drop(stream);
    wait_until("a broken message ends the backend", || backends(&world, "other") == 0);
    // During log-in.
    let mut stream = connect(&world);
    stream
        .write_all(&startup(V3_0, &[("user", "other"), ("database", "app")])[..20])
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut stream), b"");
}

/// What comes when a client sends this and closes its direction at once.
fn answers_to_a_half_closed_client(port: u16, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
        .write_all(&startup(V3_0, &[("user", "app"), ("database", "app")]))
        .unwrap();
    frames_until_ready(&mut stream);
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_to_end(&mut stream);
    let mut frames = Vec::new();
    let mut rest = &answer[..];
    while let Some((head, body)) = rest.split_at_checked(5) {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        frames.push((head[0], body[..length].to_vec()));
        rest = &body[length..];
    }
    assert!(rest.is_empty(), "a frame that is cut off: {rest:?}");
    frames
}

#[test]
fn wire_38_a_half_closed_client_gets_its_answers() {
    let world = world();
    let query = |sql: &str| {
        [
            &[b'Q'][..],
            &(sql.len() as u32 + 5).to_be_bytes(),
            sql.as_bytes(),
            b"\0",
        ]
        .concat()
    };
    let extended = |sql: &str, end: u8| {
        let length = (sql.len() as u32 + 8).to_be_bytes();
        let parse = [&b"P"[..], &length, b"\0", sql.as_bytes(), b"\0\0\0"].concat();
        [
            &parse[..],
            b"B\0\0\0\x0C\0\0\0\0\0\0\0\0",
            b"E\0\0\0\x09\0\0\0\0\0",
            &[end],
            b"\0\0\0\x04",
        ]
        .concat()
    };
    let slow = "SELECT pg_sleep(0.4), 'late'";
    let long = "SELECT repeat('x', 1000) FROM generate_series(1, 5000)";
    for (bytes, last) in [
        (query(slow), b'Z'),
        (query(long), b'Z'),
        ([query("BEGIN"), query(slow), query("SELECT 'two'")].concat(), b'Z'),
        (extended(slow, b'S'), b'Z'),
        (extended(long, b'H'), b'C'),
        (Vec::new(), 0),
    ] {
        let direct = answers_to_a_half_closed_client(world.cluster.port(), &bytes);
        let through = answers_to_a_half_closed_client(world.port, &bytes);
        assert_eq!(through.len(), direct.len());
        assert!(through == direct);
        assert_eq!(through.last().map_or(0, |(tag, _)| *tag), last);
    }
    // In the middle of COPY nothing is kept, and nobody waits for the rest.
    let mut raw = Raw::connect(world.port, "app", "app");
    raw.query("CREATE TABLE notes (a int)");
    let bytes = [&query("COPY notes FROM STDIN")[..], b"d\0\0\0\x061\n"].concat();
    answers_to_a_half_closed_client(world.port, &bytes);
    assert_eq!(raw.rows("SELECT count(*) FROM notes"), [[Some("0".into())]]);
    wait_until("its backend ends", || backends(&world, "app") == 1);
}

/// Established connections with this local or remote port whose next event is a keep-alive probe within a minute, as the kernel lists them.
fn kept_alive(local: Option<u16>, remote: Option<u16>) -> (usize, usize) {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.split(':').nth(1).unwrap_or_default(), 16).ok();
    let (mut all, mut kept) = (0, 0);
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let matches =
            |field: usize, wanted: Option<u16>| wanted.is_none_or(|wanted| port(fields[field]) == Some(wanted));
        if fields[3] == "01" && matches(1, local) && matches(2, remote) {
            all += 1;
            let (timer, when) = fields[5].split_once(':').unwrap();
            // 2 is the keep-alive timer; the time is in hundredths of a second.
            let soon = u64::from_str_radix(when, 16).unwrap() <= 6_000;
            kept += usize::from(timer == "02" && soon);
        }
    }
    (all, kept)
}

#[test]
fn wire_38_both_sockets_are_kept_alive() {
    let world = world();
    // pgward's own connections to the server are kept alive by the driver's own, longer time.
    let before = kept_alive(None, Some(world.cluster.port())).1;
    let sessions: Vec<Raw> = (0..3).map(|_| Raw::connect(world.port, "app", "app")).collect();
    wait_until("each client's socket", || kept_alive(Some(world.port), None) == (3, 3));
    wait_until("each server's socket", || {
        kept_alive(None, Some(world.cluster.port())).1 == before + 3
    });
    drop(sessions);
}

#[test]
fn wire_34_a_server_that_ends_is_reported_to_the_client() {
    let world = world();
    let mut raw = Raw::connect(world.port, "other", "app");
    let pid = raw.rows("SELECT pg_backend_pid()")[0][0].clone().unwrap();
    world
        .cluster
        .sql("postgres", &format!("SELECT pg_terminate_backend({pid})"))
        .unwrap();
    let Some(Message::Error(error)) = raw.next() else {
        panic!("the server's own words are relayed")
    };
    assert_eq!(error.sqlstate, "57P01");
    assert!(raw.next().is_none());
}

#[test]
fn wire_35_a_large_result_to_a_slow_reader_does_not_fill_memory() {
    let world = world();
    let pid = world.pid();
    let before = resident_kib(pid);
    let mut raw = Raw::connect(world.port, "app", "plain");
    raw.send(&[Send::Query("SELECT repeat('x', 1000) FROM generate_series(1, 300000)")]);
    std::thread::sleep(Duration::from_millis(1500));
    let after = resident_kib(pid);
    assert!(
        after < before + 20_000,
        "{before} KiB before, {after} KiB while the client does not read"
    );
    let rows = raw
        .until_ready()
        .iter()
        .filter(|message| matches!(message, Message::DataRow(_)))
        .count();
    assert_eq!(rows, 300_000);
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn wire_40_notifications_come_through_an_idle_connection() {
    let world = world();
    let mut raw = Raw::connect(world.port, "app", "app");
    raw.query("LISTEN news");
    assert!(raw.is_silent(Duration::from_millis(50)));
    world.cluster.sql("app", "NOTIFY news, 'hello'").unwrap();
    let Some(Message::Other('A', body)) = raw.next() else {
        panic!("no NotificationResponse")
    };
    assert!(contains(&body, "hello"));
}

#[test]
fn an_unreachable_server_is_reported_with_08001() {
    let mut world = world();
    world.cluster.stop();
    let mut stream = connect(&world);
    stream
        .write_all(&startup(V3_0, &[("user", "app"), ("database", "app")]))
        .unwrap();
    let answer = read_to_end(&mut stream);
    assert!(contains(&answer, "C08001") && contains(&answer, "pgward"), "{answer:?}");
    assert!(!contains(&answer, &world.cluster.port().to_string()));
    world.cluster.restart().unwrap();
    let mut raw = Raw::connect(world.port, "app", "app");
    assert_eq!(raw.rows("SELECT 1"), [[Some("1".into())]]);
}

#[test]
fn an_early_statement_behind_the_start_up_is_not_lost() {
    let world = world();
    let mut stream = connect(&world);
    let mut bytes = startup(V3_0, &[("user", "app"), ("database", "plain")]);
    bytes.extend(b"Q\0\0\0\x0ESELECT 42\0");
    stream.write_all(&bytes).unwrap();
    let login = frames_until_ready(&mut stream);
    // PostgreSQL takes it so under trust; pgward may refuse what it can't place, but says so.
    let answer = if login.last().unwrap().0 == b'Z' {
        frames_until_ready(&mut stream)
    } else {
        login
    };
    assert!(
        answer.iter().any(|(tag, body)| *tag == b'D' && contains(body, "42"))
            || answer.iter().any(|(tag, body)| *tag == b'E' && contains(body, "08P01")),
        "{answer:?}"
    );
}
