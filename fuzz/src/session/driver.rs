//! Runs a session, keeps all that it puts out, and checks what must always hold:
//!
//! - what it puts out are frames, and nothing is put into the middle of one;
//! - it holds no more than its limit and what one message can become while a peer does not read;
//! - it never waits for nothing: while it is open and nobody owes it an answer, it reads from the server, and what it leaves of an input it was
//!   offered is no whole frame;
//! - what is sealed reaches no client without the right to it, and no record;
//! - how the bytes of an event are cut changes nothing of what comes out.

use super::world::{GIVEN, STORED, Setting};
use bytes::Buf;
use pgward::audit::JournalError;
use pgward::session::{Effect, Session, Status, Ticket};
use pgward::wire::frame::{HEADER, Scan, scan};
use pgward::wire::inbuf::InBuf;
use pgward::wire::outbuf::OutBuf;
use pgward::wire::read;
use std::collections::VecDeque;

/// One thing that happens to a session.
#[derive(Clone, Debug)]
pub enum Event {
    /// Bytes of the client.
    Client(Vec<u8>),
    /// Bytes of the server.
    Server(Vec<u8>),
    /// The journal answers the oldest (or the newest) append: durable or not.
    Appended { oldest: bool, durable: bool },
    /// The journal answers everything.
    AllAppended { durable: bool },
    /// The client closed its side.
    ClientEof,
    /// The server closed its side.
    ServerEof,
    /// pgward is about to stop.
    Shutdown,
    /// Whether the client reads from now on.
    ClientReads(bool),
    /// Whether the server reads from now on.
    ServerReads(bool),
}

/// What a session put out towards one peer.
#[derive(Default)]
pub struct Output {
    /// All of it, start-up included.
    pub bytes: Vec<u8>,
    /// Where whole frames begin, with their sizes.
    pub frames: Vec<(usize, usize)>,
    /// Where the first frame begins that is not whole.
    at: usize,
    ready: bool,
}

impl Output {
    fn take(&mut self, out: &mut OutBuf, known: &[u8]) {
        while out.has_remaining() {
            let chunk = out.chunk();
            self.bytes.extend_from_slice(chunk);
            let taken = chunk.len();
            out.advance(taken);
        }
        loop {
            match scan(&self.bytes[self.at..]) {
                Ok(Scan::Frame { tag, size }) => {
                    assert!(
                        !self.ready || known.contains(&tag),
                        "a frame of unknown type {tag:#x} goes out: what was put into the middle of another?"
                    );
                    if self.bytes.len() - self.at < size {
                        return;
                    }
                    self.frames.push((self.at, size));
                    self.ready |= tag == b'Z';
                    self.at += size;
                }
                Ok(Scan::Partial) => return,
                Err(fault) => panic!("no frame goes out: {fault}"),
            }
        }
    }

    /// The whole frames: type and body.
    pub fn frames(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let frame = |(at, size): &(usize, usize)| (self.bytes[*at], &self.bytes[at + HEADER..at + size]);
        self.frames.iter().map(frame)
    }

    /// What stands behind the last whole frame.
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }
}

const TO_CLIENT: &[u8] = b"123ACDEGHIKNRSTVWZcdnstv";
const TO_SERVER: &[u8] = b"QPBDECSHFXpdcf";

/// See the module.
pub struct Driver {
    setting: Setting,
    session: Session,
    client_in: InBuf,
    server_in: InBuf,
    client_sent: Vec<u8>,
    server_sent: Vec<u8>,
    /// Towards the client.
    pub to_client: Output,
    /// Towards the server.
    pub to_server: Output,
    tickets: VecDeque<Ticket>,
    client_reads: bool,
    server_reads: bool,
    largest: usize,
    records: String,
    /// Somebody had to wait: then the order in which the sides are heard depends on how their bytes were cut.
    congested: bool,
}

impl Driver {
    /// A session that has its client's start-up and nothing of its server.
    pub fn new(setting: Setting) -> Self {
        let mut session = setting.session();
        // The start-up message is no typed frame.
        let startup = session.to_server().remaining();
        session.to_server().advance(startup);
        Self {
            setting,
            session,
            client_in: InBuf::default(),
            server_in: InBuf::default(),
            client_sent: Vec::new(),
            server_sent: Vec::new(),
            to_client: Output::default(),
            to_server: Output::default(),
            tickets: VecDeque::new(),
            client_reads: true,
            server_reads: true,
            largest: 0,
            records: String::new(),
            congested: false,
        }
    }

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.session.status() == Status::Open
    }

    /// What nobody has answered yet: appends.
    pub fn waits_for_journal(&self) -> bool {
        !self.tickets.is_empty()
    }

    fn collect(&mut self) {
        while let Some(effect) = self.session.next_effect() {
            if let Effect::Append(ticket, record) = effect {
                use std::fmt::Write;
                let _ = write!(self.records, "{record:?}");
                self.tickets.push_back(ticket);
            }
        }
        // One message may become longer: a literal of two bytes becomes an envelope in hexadecimal digits.
        let bound = self.setting.buffer_bytes() + (32 << 10) + 100 * self.largest;
        for held in [self.session.to_client().len(), self.session.to_server().len()] {
            assert!(held <= bound, "{held} bytes are held, more than {bound}");
        }
        if self.client_reads {
            self.to_client.take(self.session.to_client(), TO_CLIENT);
        }
        if self.server_reads {
            self.to_server.take(self.session.to_server(), TO_SERVER);
        }
    }

    fn offer_client(&mut self) {
        self.session.from_client(&mut self.client_in);
        self.collect();
    }

    fn offer_server(&mut self) {
        self.session.from_server(&mut self.server_in);
        self.collect();
    }

    /// Offers again what was left over, until nothing moves: first the server's, as its answers decide what the client's mean.
    fn settle(&mut self) {
        loop {
            let state = |d: &Self| {
                let sizes = (
                    d.client_in.len(),
                    d.server_in.len(),
                    d.to_client.bytes.len(),
                    d.to_server.bytes.len(),
                );
                (
                    sizes,
                    d.session.wants_client(),
                    d.session.wants_server(),
                    d.session.status(),
                )
            };
            let before = state(self);
            loop {
                let left = self.server_in.len();
                self.offer_server();
                if self.server_in.len() == left {
                    break;
                }
            }
            self.offer_client();
            if state(self) == before {
                return;
            }
        }
    }

    /// Carries an event out; bytes in pieces of these sizes, again and again.
    pub fn step(&mut self, event: &Event, cuts: &[usize]) {
        match event {
            Event::Client(bytes) => {
                self.client_sent.extend_from_slice(bytes);
                self.largest = self.largest.max(self.client_in.len() + bytes.len());
                for piece in pieces(bytes, cuts) {
                    self.client_in.extend_from_slice(piece);
                    self.offer_client();
                }
            }
            Event::Server(bytes) => {
                self.server_sent.extend_from_slice(bytes);
                self.largest = self.largest.max(self.server_in.len() + bytes.len());
                for piece in pieces(bytes, cuts) {
                    self.server_in.extend_from_slice(piece);
                    self.offer_server();
                }
            }
            Event::Appended { oldest, durable } => {
                let ticket = if *oldest {
                    self.tickets.pop_front()
                } else {
                    self.tickets.pop_back()
                };
                self.appended(ticket, *durable);
            }
            Event::AllAppended { durable } => {
                while let ticket @ Some(_) = self.tickets.pop_front() {
                    self.appended(ticket, *durable);
                }
            }
            Event::ClientEof => self.session.client_eof(),
            Event::ServerEof => self.session.server_eof(),
            Event::Shutdown => self.session.shutdown(),
            Event::ClientReads(reads) => self.client_reads = *reads,
            Event::ServerReads(reads) => self.server_reads = *reads,
        }
        self.collect();
        self.settle();
        self.check();
    }

    fn appended(&mut self, ticket: Option<Ticket>, durable: bool) {
        let Some(ticket) = ticket else { return };
        let fault = || JournalError {
            message: "no space".into(),
        };
        self.session.appended(ticket, durable.then_some(()).ok_or_else(fault));
        self.collect();
    }

    fn check(&mut self) {
        if !self.is_open() {
            assert!(!self.session.wants_client() && !self.session.wants_server());
            assert!(
                self.client_in.is_empty() && self.server_in.is_empty(),
                "input is dropped at the end"
            );
            return;
        }
        let (wants_client, wants_server) = (self.session.wants_client(), self.session.wants_server());
        assert!(
            !wants_client || !is_whole(&self.client_in),
            "a whole message of the client is left over"
        );
        assert!(
            !wants_server || !is_whole(&self.server_in),
            "a whole message of the server is left over"
        );
        // Nobody owes it anything but the server: so it has to listen to it.
        if self.client_reads && self.server_reads && self.tickets.is_empty() {
            assert!(wants_server, "stuck: it waits for nothing");
        }
        self.congested |= !wants_server
            || !self.client_in.is_empty()
                && is_whole(&self.client_in)
                && !wants_client
                && self.session.to_server().len() > self.setting.buffer_bytes();
        self.congested |= !self.client_reads || !self.server_reads;
    }

    /// The end: everything that is owed comes, then the server closes.
    pub fn finish(&mut self) {
        for event in [
            Event::ClientReads(true),
            Event::ServerReads(true),
            Event::AllAppended { durable: true },
            Event::ServerEof,
        ] {
            self.step(&event, &[]);
        }
        assert!(!self.is_open(), "open after the server's end");
        let rest = self.to_client.rest();
        assert!(
            is_in(rest, &self.server_sent),
            "the last message to the client was broken off by another"
        );
        let rest = self.to_server.rest();
        assert!(
            is_in(rest, &self.client_sent),
            "the last message to the server was broken off by another"
        );
        self.check_secrets();
    }

    fn check_secrets(&self) {
        let was_sent = |secret: &[u8]| is_in(secret, &self.server_sent) || is_in(secret, &self.client_sent);
        if !was_sent(STORED) {
            assert!(
                !is_in(STORED, self.records.as_bytes()),
                "a stored value stands in a record"
            );
            assert!(
                !is_in(STORED, &self.to_server.bytes),
                "a stored value goes to the server"
            );
            assert!(
                self.setting.may_see() || !is_in(STORED, &self.to_client.bytes),
                "a client without the right sees a stored value"
            );
        }
    }

    /// What the client gave for protected columns in statements that were not altered, to a server that tells the truth about names: it stays here.
    pub fn check_given(&self) {
        assert!(
            !is_in(GIVEN, &self.to_server.bytes),
            "a value goes to the server in clear"
        );
        assert!(!is_in(GIVEN, self.records.as_bytes()), "a value stands in a record");
        assert!(!is_in(GIVEN, &self.to_client.bytes), "a value is echoed");
    }

    /// Both peers keep to the protocol: then everything that comes out can be read.
    pub fn check_readable(&self) {
        for (tag, body) in self.to_client.frames() {
            let readable = match tag {
                b'T' => read::row_description(body).is_ok(),
                b'D' => read::DataRow::read(body)
                    .is_ok_and(|mut row| (0..row.count).all(|_| row.value().is_ok()) && row.done().is_ok()),
                b'E' | b'N' => read::error_fields(body).is_ok(),
                b'Z' => read::ready_for_query(body).is_ok(),
                b't' => read::parameter_description(body).is_ok(),
                b'S' => read::parameter_status(body).is_ok(),
                _ => true,
            };
            assert!(
                readable,
                "the client can't read a message of type {:?}",
                char::from(tag)
            );
        }
        for (tag, body) in self.to_server.frames() {
            let readable = match tag {
                b'Q' => read::query(body).is_ok(),
                b'P' => read::Parse::read(body).is_ok(),
                b'B' => read::Bind::read(body).is_ok(),
                b'D' => read::Target::read(body, "Describe").is_ok(),
                b'C' => read::Target::read(body, "Close").is_ok(),
                b'E' => read::Execute::read(body).is_ok(),
                b'S' | b'H' | b'X' | b'c' => body.is_empty(),
                _ => true,
            };
            assert!(
                readable,
                "the server can't read a message of type {:?}",
                char::from(tag)
            );
        }
    }
}

/// Who looks for the fault wants to see what was said.
impl Drop for Driver {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (whom, output) in [("client", &self.to_client), ("server", &self.to_server)] {
            for (tag, body) in output.frames() {
                let body = &body[..body.len().min(200)];
                eprintln!("to the {whom}: {} \"{}\"", char::from(tag), body.escape_ascii());
            }
            eprintln!("to the {whom}, behind it: \"{}\"", output.rest().escape_ascii());
        }
    }
}

/// The same events in other pieces: what comes out is the same, but for the randomness of what is sealed.
pub fn check_cuts(setting: Setting, events: &[Event], first: &Driver, cuts: &[usize]) {
    if first.congested {
        return;
    }
    let mut again = Driver::new(setting);
    for event in events {
        again.step(event, cuts);
    }
    again.finish();
    check_same(first, &again, "cuts change");
}

/// What came out of two sessions that should do the same is the same, but for the randomness of what is sealed. `what` would change it.
pub fn check_same(first: &Driver, again: &Driver, what: &str) {
    if first.congested || again.congested {
        return;
    }
    let tags = |output: &Output| output.frames().map(|(tag, _)| char::from(tag)).collect::<String>();
    assert_eq!(
        tags(&first.to_client),
        tags(&again.to_client),
        "{what} what the client gets"
    );
    assert!(
        first.to_client.bytes == again.to_client.bytes,
        "{what} what the client gets"
    );
    assert_eq!(
        tags(&first.to_server),
        tags(&again.to_server),
        "{what} what the server gets"
    );
    for ((tag, one), (_, other)) in first.to_server.frames().zip(again.to_server.frames()) {
        assert_eq!(one.len(), other.len(), "{what} what the server gets");
        assert!(
            matches!(tag, b'Q' | b'P' | b'B') || one == other,
            "{what} what the server gets"
        );
    }
}

fn pieces<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle().take(bytes.len()) {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*cut).clamp(1, bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    if !bytes.is_empty() || pieces.is_empty() {
        pieces.push(bytes);
    }
    pieces
}

fn is_whole(input: &[u8]) -> bool {
    matches!(scan(input), Ok(Scan::Frame { size, .. }) if input.len() >= size)
}

/// Whether `needle` stands in `haystack`.
pub fn is_in(needle: &[u8], haystack: &[u8]) -> bool {
    let Some((first, _)) = needle.split_first() else {
        return true;
    };
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}
