//! Peers that are slow, vanish, come back or come in crowds, through a built pgward in front of a real PostgreSQL. What takes longer than some
//! seconds is ignored: `cargo test --release --test robust -- --ignored --nocapture --test-threads 1`.

mod support;

use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use support::raw::{Message, Raw, Send, error};
use support::{Options, PEOPLE, World, http};

/// A world whose server takes so many connections, with `people(id, email, note)` and `notes(id, note)` in it.
fn world(connections: u32) -> World {
    let other = "[handlers.other]\nkind = \"service\"\ngroups = [\"support\"]\npurpose = \"support\"\n";
    let policy = PEOPLE.replace("[[table]]", &format!("{other}\n[[table]]"));
    let world = World::start(Options {
        policy: format!("authentication_timeout_seconds = 20\nshutdown_grace_seconds = 2\n{policy}"),
        roles: vec!["app", "other"],
        settings: vec![
            ("max_connections".into(), connections.to_string()),
            // What was committed is there after a crash.
            ("synchronous_commit".into(), "on".into()),
        ],
        ..Default::default()
    });
    let mut raw = Raw::connect(world.port, "app", "app");
    let answer = raw.query(
        "CREATE TABLE people (id int, email text, note text); CREATE TABLE notes (id int, note text); \
         GRANT ALL ON people, notes TO other",
    );
    assert!(error(&answer).is_none(), "{answer:?}");
    world
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The same once pgward has settled.
fn calm_descriptors(world: &World) -> usize {
    wait_until("places are given back", || metric(world, "pgward_connections") == 0);
    let (mut last, mut same) = (0, 0);
    while same < 5 {
        let now = descriptors(world.pid());
        same = if now == last { same + 1 } else { 0 };
        last = now;
        std::thread::sleep(Duration::from_millis(100));
    }
    last
}

/// Backends of a role that are there.
fn backends(world: &World, role: &str) -> usize {
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'");
    world.cluster.sql("postgres", &count).unwrap().parse().unwrap()
}

fn metric(world: &World, name: &str) -> u64 {
    let (_, page) = http::get(world.admin_port, "/metrics");
    let line = page.lines().find(|line| line.split(' ').next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn start_up(role: &str) -> Vec<u8> {
    let body = format!("\0\u{3}\0\0user\0{role}\0database\0app\0\0");
    [&(body.len() as u32 + 4).to_be_bytes()[..], body.as_bytes()].concat()
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Closes with RST instead of FIN, as a host does that forgot the connection.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Logged in, as a socket.
fn logged_in(port: u16, role: &str) -> TcpStream {
    let mut stream = connect(port);
    stream.write_all(&start_up(role)).unwrap();
    read_until_ready(&mut stream);
    stream
}

fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
    stream.read_exact(&mut body).unwrap();
    (head[0], body)
}

fn read_until_ready(stream: &mut TcpStream) {
    while read_frame(stream).0 != b'Z' {}
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

#[test]
fn wire_35_200_mb_wait_in_the_server_for_a_reader_who_sleeps_then_come_whole() {
    const ROWS: usize = 200_000;
    let world = world(100);
    let pid = world.pid();
    let mut stream = logged_in(world.port, "app");
    let before = resident_kib(pid);
    let sql = format!("SELECT i, repeat('x', 1000) FROM generate_series(1, {ROWS}) AS i\0");
    stream.write_all(&frame(b'Q', sql.as_bytes())).unwrap();
    let mut most = 0;
    for _ in 0..15 {
        std::thread::sleep(Duration::from_millis(100));
        most = most.max(resident_kib(pid));
    }
    assert!(
        most < before + 4096,
        "{before} KiB before, {most} KiB while the client sleeps"
    );
    // Neither does it grow while all of it passes.
    let mut rows = 0;
    loop {
        let (tag, body) = read_frame(&mut stream);
        match tag {
            b'D' => {
                rows += 1;
                let number = rows.to_string();
                let expected = [
                    &[0, 2, 0, 0, 0, number.len() as u8][..],
                    number.as_bytes(),
                    b"\0\0\x03\xe8x",
                ]
                .concat();
                assert!(body.starts_with(&expected), "row {rows}");
                assert_eq!(body.len(), expected.len() + 999, "row {rows}");
            }
            b'Z' => break,
            _ => {}
        }
    }
    assert_eq!(rows, ROWS);
    let after = resident_kib(pid);
    assert!(after < before + 4096, "{before} KiB before, {after} KiB afterwards");
}

#[test]
fn wire_35_sealed_rows_wait_for_a_slow_reader_too() {
    let world = world(100);
    let pid = world.pid();
    let mut raw = Raw::connect(world.port, "app", "app");
    // Where nothing is sealed, rows may come around pgward.
    let around = "INSERT INTO people (id, note) SELECT 0, repeat('n', 4000) FROM generate_series(1, 10000)";
    world.cluster.sql("app", around).unwrap();
    let sealed = raw.query("INSERT INTO people (id, email) VALUES (1, 'kim@example.com')");
    assert!(error(&sealed).is_none(), "{sealed:?}");
    world
        .cluster
        .sql(
            "app",
            "UPDATE people SET email = (SELECT email FROM people WHERE id = 1)",
        )
        .unwrap();
    let mut stream = logged_in(world.port, "app");
    let before = resident_kib(pid);
    stream
        .write_all(&frame(b'Q', b"SELECT email, note FROM people\0"))
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let during = resident_kib(pid);
    assert!(
        during < before + 6144,
        "{before} KiB before, {during} KiB while the client sleeps"
    );
    let (mut rows, mut opened) = (0, 0);
    loop {
        let (tag, body) = read_frame(&mut stream);
        match tag {
            b'D' => {
                rows += 1;
                opened += usize::from(body.windows(15).any(|w| w == b"kim@example.com"));
            }
            b'Z' => break,
            b'E' => panic!("{}", String::from_utf8_lossy(&body)),
            _ => {}
        }
    }
    assert_eq!((rows, opened), (10_001, 10_001));
}

#[test]
fn wire_35_a_server_that_does_not_read_stops_a_client_who_copies_in() {
    const LINES: usize = 60_000;
    let world = world(100);
    let pid = world.pid();
    let mut raw = Raw::connect(world.port, "app", "app");
    // The first line waits for a lock that another session holds.
    let answer = raw.query(
        "CREATE TABLE lines (id int, text text); \
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NEW; END $$; \
         CREATE TRIGGER slow BEFORE INSERT ON lines FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION slow(); \
         SELECT pg_advisory_lock(7)",
    );
    assert!(error(&answer).is_none(), "{answer:?}");
    let mut stream = logged_in(world.port, "app");
    let before = resident_kib(pid);
    stream.write_all(&frame(b'Q', b"COPY lines FROM STDIN\0")).unwrap();
    assert_eq!(read_frame(&mut stream).0, b'G');
    let mut writer = stream.try_clone().unwrap();
    let copier = std::thread::spawn(move || {
        let text = "y".repeat(1000);
        for id in 1..=LINES {
            writer
                .write_all(&frame(b'd', format!("{id}\t{text}\n").as_bytes()))
                .unwrap();
        }
        writer.write_all(&frame(b'c', b"")).unwrap();
    });
    std::thread::sleep(Duration::from_secs(2));
    assert!(!copier.is_finished(), "60 MB vanished in buffers");
    let during = resident_kib(pid);
    assert!(
        during < before + 4096,
        "{before} KiB before, {during} KiB while the server does not read"
    );
    raw.query("SELECT pg_advisory_unlock(7)");
    copier.join().unwrap();
    read_until_ready(&mut stream);
    let sums = raw.rows("SELECT count(*), sum(id), sum(length(text)) FROM lines");
    let expected = [LINES, LINES * (LINES + 1) / 2, LINES * 1000].map(|n| Some(n.to_string()));
    assert_eq!(sums, [expected]);
}

#[test]
fn wire_34_a_client_that_vanishes_takes_its_backend_with_it() {
    let world = world(100);
    let gone = |what: &str| wait_until(what, || backends(&world, "other") == 0);
    let baseline = calm_descriptors(&world);
    // Reset: idle, in a transaction, in the middle of a message, behind one that nobody will read the answer of.
    let beginnings: [&[u8]; 4] = [
        b"",
        &frame(b'Q', b"BEGIN\0"),
        b"Q\0\0\0\xFFSELECT",
        &frame(b'Q', b"SELECT repeat('x', 1000) FROM generate_series(1, 100000)\0"),
    ];
    for beginning in beginnings {
        let mut stream = logged_in(world.port, "other");
        stream.write_all(beginning).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        reset(stream);
        gone("a reset ends the backend");
    }
    // In the middle of COPY FROM STDIN, between lines and within one: nothing is kept.
    for (rest, resets) in [
        (&b""[..], true),
        (b"d\0\0\0\x40half a li", true),
        (b"", false),
        (b"d\0\0\0\x40half a li", false),
    ] {
        let mut stream = logged_in(world.port, "other");
        stream.write_all(&frame(b'Q', b"COPY notes FROM STDIN\0")).unwrap();
        let (tag, body) = read_frame(&mut stream);
        assert_eq!(tag, b'G', "{}", String::from_utf8_lossy(&body));
        stream.write_all(&frame(b'd', b"7\tnot to be kept\n")).unwrap();
        stream.write_all(rest).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        if resets {
            reset(stream);
        } else {
            drop(stream);
        }
        gone("the end of a client in COPY ends the backend");
    }
    assert_eq!(world.cluster.sql("app", "SELECT count(*) FROM notes").unwrap(), "0");
    // Half-closed: the answers still come, then the end.
    let mut stream = logged_in(world.port, "other");
    stream.write_all(&frame(b'Q', b"SELECT pg_sleep(0.5), 42\0")).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_frame(&mut stream).0, b'T');
    let (tag, body) = read_frame(&mut stream);
    assert!(tag == b'D' && body.ends_with(b"42"));
    read_until_ready(&mut stream);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    gone("a half-closed client's backend ends");
    wait_until("descriptors are given back", || descriptors(world.pid()) <= baseline);
}

#[test]
fn wire_34_a_client_that_vanishes_in_the_tls_handshake_leaves_nothing() {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
        path.display().to_string()
    };
    let (cert, key) = (file("crt", certificate.pem()), file("key", key.serialize_pem()));
    let world = World::start(Options {
        listen: format!("tls = \"allow\"\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n"),
        ..Default::default()
    });
    let baseline = calm_descriptors(&world);
    for resets in [false, true] {
        for sent in [0, 3, 20] {
            let mut stream = connect(world.port);
            stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
            let mut answer = [0];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"S");
            // The beginning of a ClientHello of 512 bytes.
            let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 32]].concat();
            stream.write_all(&hello[..sent]).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            if resets {
                reset(stream);
            }
        }
    }
    wait_until("descriptors are given back", || descriptors(world.pid()) <= baseline);
    wait_until("places are given back", || metric(&world, "pgward_connections") == 0);
}

/// The rest of what a client hears until its connection ends: SQLSTATEs of errors and notices.
fn last_words(raw: &mut Raw) -> Vec<String> {
    std::iter::from_fn(|| raw.next())
        .filter_map(|message| match message {
            Message::Error(said) | Message::Notice(said) => Some(said.sqlstate),
            _ => None,
        })
        .collect()
}

fn kill(pid: &str, signal: &str) {
    assert!(
        Command::new("kill")
            .args(["-s", signal, pid])
            .status()
            .unwrap()
            .success()
    );
}

fn backend_pid(raw: &mut Raw) -> String {
    raw.rows("SELECT pg_backend_pid()")[0][0].clone().unwrap()
}

/// Comes again until it is let in.
fn connects_again(world: &World) {
    wait_until("clients are served again", || {
        let mut stream = connect(world.port);
        stream.write_all(&start_up("app")).unwrap();
        let mut head = [0; 1];
        stream.read_exact(&mut head).is_ok() && head == *b"R"
    });
    let mut raw = Raw::connect(world.port, "app", "app");
    assert_eq!(raw.rows("SELECT email FROM people WHERE id = -1").len(), 0);
}

#[test]
fn wire_34_a_backend_that_is_killed_is_reported_and_the_next_client_is_served() {
    let world = world(100);
    let mut idle = Raw::connect(world.port, "app", "app");
    let mut busy = Raw::connect(world.port, "app", "app");
    let victim = backend_pid(&mut busy);
    busy.send(&[Send::Query("SELECT pg_sleep(60)")]);
    std::thread::sleep(Duration::from_millis(200));
    kill(&victim, "KILL");
    // Its own client gets no word of the server's, so pgward says what happened; the server tells the others itself.
    assert_eq!(last_words(&mut busy), ["08006"]);
    assert_eq!(last_words(&mut idle), ["57P02"]);
    connects_again(&world);
}

#[test]
fn wire_34_an_immediate_stop_is_told_to_clients_and_a_restart_is_seen() {
    let mut world = world(100);
    let ready = |world: &World| http::get(world.admin_port, "/readyz").0;
    assert_eq!(ready(&world), 200);
    let mut idle = Raw::connect(world.port, "app", "app");
    let mut busy = Raw::connect(world.port, "app", "app");
    let mut copying = Raw::connect(world.port, "app", "app");
    copying.send(&[Send::Query("COPY notes FROM STDIN")]);
    assert!(matches!(copying.next(), Some(Message::Other('G', _))));
    busy.send(&[Send::Query("SELECT pg_sleep(60)")]);
    std::thread::sleep(Duration::from_millis(200));
    let postmaster = std::fs::read_to_string(world.cluster.data_directory().join("postmaster.pid")).unwrap();
    kill(postmaster.lines().next().unwrap(), "QUIT");
    // The server says it in a warning and goes; who waits for an answer is told that there will be none.
    assert_eq!(last_words(&mut idle), ["57P01"]);
    assert_eq!(last_words(&mut busy), ["57P01", "08006"]);
    assert_eq!(last_words(&mut copying), ["57P01", "08006"]);
    world.cluster.stop();
    let late = Raw::connect(world.port, "app", "app");
    assert_eq!(error(&late.greeting).unwrap().sqlstate, "08001");
    wait_until("a server that is gone makes pgward unready", || ready(&world) == 503);
    world.cluster.restart().unwrap();
    wait_until("ready again", || ready(&world) == 200);
    connects_again(&world);
}

#[test]
fn wire_34_a_postmaster_that_is_killed_is_survived() {
    let mut world = world(100);
    let mut idle = Raw::connect(world.port, "app", "app");
    let mut busy = Raw::connect(world.port, "app", "app");
    busy.send(&[Send::Query("SELECT pg_sleep(1), 'done'")]);
    std::thread::sleep(Duration::from_millis(200));
    let pid_file = world.cluster.data_directory().join("postmaster.pid");
    let postmaster = std::fs::read_to_string(pid_file).unwrap();
    kill(postmaster.lines().next().unwrap(), "KILL");
    // Backends notice when they wait: they end without a word, or carry on to the end of their statement.
    let said = last_words(&mut busy).concat();
    assert!(["", "08006", "57P01", "57P0108006"].contains(&&*said), "{said}");
    let said = last_words(&mut idle).concat();
    assert!(["", "57P01"].contains(&&*said), "{said}");
    wait_until("the killed server's processes end", || world.cluster.restart().is_ok());
    connects_again(&world);
}

/// Connects so many at once, each thread a part of them; every other one goes away at some point of its log-in.
fn storm(world: &World, clients: usize) -> usize {
    let threads: Vec<_> = (0..25)
        .map(|thread| {
            let (port, clients) = (world.port, clients / 25);
            std::thread::spawn(move || {
                let streams: Vec<TcpStream> = (0..clients).map(|_| connect(port)).collect();
                let mut served = 0;
                let mut kept = Vec::new();
                for (n, mut stream) in streams.into_iter().enumerate() {
                    let start_up = start_up("other");
                    if n % 2 == 1 {
                        // Nothing, a part, all of it, or a part and a reset.
                        let sent = [0, 20, start_up.len(), 10][(n / 2 + thread) % 4];
                        stream.write_all(&start_up[..sent]).unwrap();
                        if sent == 10 {
                            reset(stream);
                        }
                        continue;
                    }
                    stream.write_all(&start_up).unwrap();
                    kept.push(stream);
                }
                for mut stream in kept {
                    loop {
                        match read_frame(&mut stream) {
                            (b'Z', _) => {
                                served += 1;
                                break;
                            }
                            (b'E', body) => panic!("{}", String::from_utf8_lossy(&body)),
                            _ => {}
                        }
                    }
                }
                served
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}

fn weather_storms(clients: usize, times: usize) {
    let world = world(clients as u32 + 50);
    raise_descriptors(world.pid());
    let calm = || {
        wait_until("backends end", || backends(&world, "other") == 0);
        wait_until("places are given back", || metric(&world, "pgward_connections") == 0);
    };
    assert_eq!(storm(&world, clients), clients / 2);
    calm();
    // What the first one needed (buffers of threads, tables) stays; nothing is added by the next.
    let (open, memory) = (calm_descriptors(&world), resident_kib(world.pid()));
    for _ in 0..times {
        assert_eq!(storm(&world, clients), clients / 2);
        calm();
    }
    wait_until("descriptors are given back", || descriptors(world.pid()) <= open);
    let after = resident_kib(world.pid());
    assert!(
        after < memory + 4096,
        "{memory} KiB after one storm, {after} KiB after {}",
        times + 1
    );
    assert!(Raw::connect(world.port, "app", "app").rows("SELECT 1").len() == 1);
}

#[test]
fn a_storm_of_100_clients_of_whom_half_give_up_leaves_nothing() {
    weather_storms(100, 3);
}

#[test]
#[ignore = "takes a minute"]
fn a_storm_of_500_clients_of_whom_half_give_up_leaves_nothing() {
    weather_storms(500, 5);
}

/// Lets a process open as many files as it may.
fn raise_descriptors(pid: u32) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard = line.split_whitespace().nth(4).unwrap();
    let raised = Command::new("prlimit")
        .args([&format!("--pid={pid}"), &format!("--nofile={hard}:{hard}")])
        .status();
    assert!(
        raised.is_ok_and(|status| status.success()),
        "prlimit (Debian package util-linux)"
    );
}

/// What an idle connection costs pgward, its two sockets in the kernel not counted.
#[test]
#[ignore = "takes a minute and 2,000 server processes: PGWARD_IDLE=… sets another number"]
fn memory_of_2000_idle_connections() {
    let count: usize = std::env::var("PGWARD_IDLE").map_or(2000, |count| count.parse().unwrap());
    let world = world(count as u32 + 100);
    raise_descriptors(world.pid());
    raise_descriptors(std::process::id());
    let pid = world.pid();
    drop(logged_in(world.port, "other"));
    let before = resident_kib(pid);
    let mut clients: Vec<TcpStream> = (0..count).map(|_| logged_in(world.port, "other")).collect();
    let fresh = resident_kib(pid);
    // Each has done something.
    for stream in &mut clients {
        let sql: [&[u8]; 2] = [
            b"SELECT 1\0",
            b"SELECT email FROM people WHERE email = 'kim@example.com'\0",
        ];
        for sql in sql {
            stream.write_all(&frame(b'Q', sql)).unwrap();
            read_until_ready(stream);
        }
    }
    let used = resident_kib(pid);
    let each = |now: u64| (now.saturating_sub(before)) as f64 / count as f64;
    println!(
        "{count} idle connections: {before} KiB before; {:.1} KiB each once logged in, {:.1} KiB each after a statement on protected columns",
        each(fresh),
        each(used),
    );
    assert!(each(used) < 32.0, "{:.1} KiB a connection", each(used));
    // All of them are still served, and leave nothing.
    for stream in &mut clients {
        stream.write_all(&frame(b'Q', b"SELECT 1\0")).unwrap();
        read_until_ready(stream);
    }
    drop(clients);
    wait_until("places are given back", || metric(&world, "pgward_connections") == 0);
}
