//! Long messages where nothing needs rewriting go through in pieces: pgward's memory does not grow with them. Named after line 30 of WIRE.md.
//!
//! The usual run sends messages of 256 MiB. With messages of nearly 1 GiB, the longest that PostgreSQL takes (needs 4 GB of memory for
//! the server): `cargo test --test wire_long -- --ignored`.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use support::{Options, World};

/// What pgward may need more than before, whatever passes.
const SLACK_KIB: u64 = 16 * 1024;

const PIECE: usize = 1 << 20;

/// A connection that holds no message whole.
struct Long(TcpStream);

/// A frame as it came, its body only looked at.
#[derive(Debug)]
struct Seen {
    tag: char,
    length: usize,
    beginning: Vec<u8>,
    /// Bytes of the body that are the filler's.
    filler: usize,
}

const FILLER: u8 = b'x';

impl Long {
    fn connect(port: u16, database: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
        let body = format!("\0\x03\0\0user\0app\0database\0{database}\0\0");
        stream.write_all(&(body.len() as u32 + 4).to_be_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut long = Self(stream);
        assert_eq!(long.until_ready().last().map(|seen| seen.tag), Some('Z'));
        long
    }

    /// A frame: `head`, so many bytes of the filler, `tail`.
    fn send(&mut self, tag: u8, head: &[u8], filler: usize, tail: &[u8]) {
        let length = 4 + head.len() + filler + tail.len();
        self.0.write_all(&[tag]).unwrap();
        self.0.write_all(&(length as u32).to_be_bytes()).unwrap();
        self.0.write_all(head).unwrap();
        let piece = vec![FILLER; PIECE];
        let mut left = filler;
        while left > 0 {
            let n = left.min(PIECE);
            self.0.write_all(&piece[..n]).unwrap();
            left -= n;
        }
        self.0.write_all(tail).unwrap();
    }

    fn short(&mut self, tag: u8, body: &[u8]) {
        self.send(tag, body, 0, b"");
    }

    fn until_ready(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        let (mut piece, filled) = (vec![0; PIECE], vec![FILLER; PIECE]);
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).expect("a message");
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            let mut seen = Seen {
                tag: head[0] as char,
                length,
                beginning: Vec::new(),
                filler: 0,
            };
            let mut left = length;
            while left > 0 {
                let n = left.min(PIECE);
                self.0.read_exact(&mut piece[..n]).expect("a whole message");
                // Comparing is quicker than counting.
                seen.filler += match piece[..n] == filled[..n] {
                    true => n,
                    false => piece[..n].iter().filter(|b| **b == FILLER).count(),
                };
                if seen.beginning.is_empty() {
                    seen.beginning = piece[..n.min(600)].to_vec();
                }
                left -= n;
            }
            let last = seen.tag == 'Z';
            all.push(seen);
            if last {
                return all;
            }
        }
    }

    /// The answer must be these messages.
    fn expect(&mut self, tags: &str) -> Vec<Seen> {
        let answer = self.until_ready();
        let found: String = answer.iter().map(|seen| seen.tag).collect();
        let error = answer.iter().find(|seen| seen.tag == 'E');
        assert_eq!(
            found,
            tags,
            "{:?}",
            error.map(|e| String::from_utf8_lossy(&e.beginning).into_owned())
        );
        answer
    }
}

/// The most memory that the process ever had.
fn peak_kib(world: &World) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn messages_of(size: usize) {
    let world = World::start(Options {
        policy: include_str!("differential/policy.toml").into(),
        ..Default::default()
    });
    let mut protected = Long::connect(world.port, "app");
    protected.short(
        b'Q',
        b"CREATE TABLE people (id int PRIMARY KEY, email text, name text)\0",
    );
    protected.expect("CZ");
    protected.short(b'Q', b"CREATE TABLE notes (body text)\0");
    protected.expect("CZ");
    protected.short(b'Q', b"INSERT INTO people VALUES (1, 'a@example.com', 'Kim')\0");
    protected.expect("CZ");
    let mut plain = Long::connect(world.port, "plain");
    let before = peak_kib(&world);
    let check = |what: &str| {
        let now = peak_kib(&world);
        assert!(
            now < before + SLACK_KIB,
            "{what} of {size} bytes: {before} KiB before, at most {now} KiB since"
        );
    };

    // Bind up, DataRow down.
    protected.short(b'P', b"echo\0SELECT $1\0\0\x01\0\0\0\x11");
    let mut head = b"\0echo\0\0\x01\0\x01\0\x01".to_vec();
    head.extend((size as u32).to_be_bytes());
    protected.send(b'B', &head, size, b"\0\x01\0\x01");
    protected.short(b'E', b"\0\0\0\0\0");
    protected.short(b'S', b"");
    let answer = protected.expect("12DCZ");
    assert_eq!((answer[2].length, answer[2].filler), (size + 6, size));
    check("Bind and DataRow");

    // CopyData up (one row, which the condition keeps from being stored) and down.
    protected.short(b'Q', b"COPY notes FROM STDIN WHERE body < 'a'\0");
    protected.send(b'd', b"", size, b"\n");
    protected.short(b'c', b"");
    protected.expect("GCZ");
    check("CopyData to the server");
    let sql = format!("COPY (SELECT repeat('x', {})) TO STDOUT\0", size - 1);
    protected.short(b'Q', sql.as_bytes());
    let answer = protected.expect("HdcCZ");
    assert_eq!((answer[1].length, answer[1].filler), (size, size - 1));
    check("CopyData from the server");

    // Texts, where nothing is protected.
    plain.send(b'Q', b"SELECT 'short' /* ", size, b" */\0");
    plain.expect("TDCZ");
    check("Query");
    for name in ["", "named"] {
        let name = [name.as_bytes(), b"\0"].concat();
        plain.send(b'P', &[&name[..], b"SELECT 'short' /* "].concat(), size, b" */\0\0\0");
        plain.short(b'B', &[b"\0", &name[..], b"\0\0\0\0\0\0"].concat());
        plain.short(b'E', b"\0\0\0\0\0");
        plain.short(b'S', b"");
        plain.expect("12DCZ");
        check("Parse");
    }

    // And what would have to be looked through, or sealed: refused without being held.
    let limit = |answer: &[Seen]| {
        let error = String::from_utf8_lossy(&answer[0].beginning).into_owned();
        assert!(
            error.contains("C54000") && error.contains("docs/ERRORS.md#limit"),
            "{error}"
        );
    };
    protected.send(b'Q', b"SELECT 'short' /* ", size, b" */\0");
    limit(&protected.expect("EZ"));
    protected.send(b'P', b"\0SELECT 'short' /* ", size, b" */\0\0\0");
    protected.short(b'S', b"");
    limit(&protected.expect("EZ"));
    protected.short(b'P', b"write\0UPDATE people SET name = $1\0\0\0");
    protected.short(b'S', b"");
    protected.expect("1Z");
    let mut head = b"\0write\0\0\0\0\x01".to_vec();
    head.extend((size as u32).to_be_bytes());
    protected.send(b'B', &head, size, b"\0\0");
    protected.short(b'E', b"\0\0\0\0\0");
    protected.short(b'S', b"");
    limit(&protected.expect("EZ"));
    check("what is refused");
    protected.short(b'Q', b"SELECT name FROM people\0");
    let answer = protected.expect("TDCZ");
    assert!(answer[1].beginning.ends_with(b"Kim"));
}

#[test]
fn wire_30_messages_of_256_mib_need_no_memory() {
    messages_of(256 << 20);
}

#[test]
#[ignore = "4 GB of memory and a minute or two; see above"]
fn wire_30_messages_of_1_gib_need_no_memory() {
    // What the server takes: its strings are shorter than 2^30 - 1 bytes with everything around them.
    messages_of((1 << 30) - 4096);
}
