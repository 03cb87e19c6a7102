//! A frontend that speaks frames and keeps every message that comes back: the most exact comparer.
//!
//! Logs in under trust only.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A message from the server, as far as a comparison needs it taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Message {
    /// `T`
    RowDescription(Vec<Field>),
    /// `D`
    DataRow(Vec<Option<Vec<u8>>>),
    /// `C`
    CommandComplete(String),
    /// `E`
    Error(Notice),
    /// `N`
    Notice(Notice),
    /// `t`
    ParameterDescription(Vec<u32>),
    /// `Z`
    Ready(char),
    /// `S`
    ParameterStatus(String, String),
    /// Anything else: type and body.
    Other(char, Vec<u8>),
}

/// A column of a RowDescription. The table's OID is left out: it differs between databases.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Whether a table is named, and the column's number in it.
    pub attnum: i16,
    /// Type.
    pub type_oid: u32,
    /// Its length.
    pub typlen: i16,
    /// Its modifier.
    pub typmod: i32,
    /// 0 text, 1 binary.
    pub format: i16,
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Field {
            name,
            attnum,
            type_oid,
            typlen,
            typmod,
            format,
        } = self;
        write!(
            f,
            "{name}(att {attnum} type {type_oid} len {typlen} mod {typmod} fmt {format})"
        )
    }
}

/// The parts of an error or notice that are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Notice {
    /// SQLSTATE.
    pub sqlstate: String,
    /// Message.
    pub message: String,
    /// Constraint name.
    pub constraint: String,
    /// Hint; not compared.
    pub hint: String,
    /// Detail; not compared.
    pub detail: String,
    /// Position in the statement; not compared.
    pub position: String,
}

impl Notice {
    /// The anchor in docs/ERRORS.md that a refusal of pgward's names.
    pub fn anchor(&self) -> Option<&str> {
        let (_, rest) = self.hint.split_once("ERRORS.md#")?;
        rest.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next()
    }
}

/// What a frontend sends.
#[derive(Clone, Debug)]
pub enum Send<'a> {
    /// Q
    Query(&'a str),
    /// P: name, text, type OIDs
    Parse(&'a str, &'a str, Vec<u32>),
    /// B: portal, statement, parameter formats, parameters, result formats
    Bind(&'a str, &'a str, Vec<i16>, Vec<Option<Vec<u8>>>, Vec<i16>),
    /// D of a statement
    DescribeStatement(&'a str),
    /// D of a portal
    DescribePortal(&'a str),
    /// E: portal, row limit
    Execute(&'a str, i32),
    /// C of a statement
    CloseStatement(&'a str),
    /// C of a portal
    ClosePortal(&'a str),
    /// H
    Flush,
    /// S
    Sync,
    /// X
    Terminate,
    /// d
    CopyData(&'a [u8]),
    /// c
    CopyDone,
    /// f
    CopyFail(&'a str),
    /// Any frame.
    Frame(u8, &'a [u8]),
}

/// A connection.
pub struct Raw {
    stream: TcpStream,
    /// What came before the first ReadyForQuery.
    pub greeting: Vec<Message>,
}

impl Raw {
    /// Connects and logs in without a password.
    pub fn connect(port: u16, role: &str, database: &str) -> Self {
        Self::connect_with(
            port,
            &[("user", role), ("database", database), ("application_name", "raw")],
        )
    }

    /// The same with these start-up parameters.
    pub fn connect_with(port: u16, parameters: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time-out");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut body = vec![0, 3, 0, 0];
        for (name, value) in parameters {
            cstr(&mut body, name);
            cstr(&mut body, value);
        }
        body.push(0);
        let mut frame = ((body.len() + 4) as u32).to_be_bytes().to_vec();
        frame.extend(body);
        stream.write_all(&frame).expect("StartupMessage");
        let mut raw = Self {
            stream,
            greeting: Vec::new(),
        };
        raw.greeting = raw.until_ready();
        raw
    }

    /// Sends messages in one write.
    pub fn send(&mut self, messages: &[Send<'_>]) {
        let mut out = Vec::new();
        for message in messages {
            encode(&mut out, message);
        }
        self.stream.write_all(&out).expect("the server reads");
    }

    /// Sends the same bytes, but one or a few a write, so that every receiver sees split frames.
    pub fn send_split(&mut self, messages: &[Send<'_>], step: usize) {
        let mut out = Vec::new();
        for message in messages {
            encode(&mut out, message);
        }
        for piece in out.chunks(step.max(1)) {
            self.stream.write_all(piece).expect("the server reads");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// The next message; `None` at the end of the stream.
    pub fn next(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        if let Err(error) = self.stream.read_exact(&mut head) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "no answer in 20 s");
            return None;
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).expect("a whole frame");
        Some(decode(head[0], body))
    }

    /// Everything up to and with the next ReadyForQuery (or the end of the stream).
    pub fn until_ready(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        while let Some(message) = self.next() {
            let ready = matches!(message, Message::Ready(_));
            all.push(message);
            if ready {
                break;
            }
        }
        all
    }

    /// The next `n` messages.
    pub fn take(&mut self, n: usize) -> Vec<Message> {
        (0..n).map_while(|_| self.next()).collect()
    }

    /// Whether nothing comes for this long.
    pub fn is_silent(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("a time-out");
        let silent = self.stream.peek(&mut [0]).is_err();
        self.stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time-out");
        silent
    }

    /// A simple Query, whole.
    pub fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(&[Send::Query(sql)]);
        self.until_ready()
    }

    /// The rows of a simple Query as text; panics on an error.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let messages = self.query(sql);
        messages
            .into_iter()
            .filter_map(|m| match m {
                Message::DataRow(row) => Some(
                    row.into_iter()
                        .map(|v| v.map(|v| String::from_utf8_lossy(&v).into_owned()))
                        .collect(),
                ),
                Message::Error(error) => panic!("{sql}: {error:?}"),
                _ => None,
            })
            .collect()
    }
}

/// The first error among messages.
pub fn error(messages: &[Message]) -> Option<&Notice> {
    messages.iter().find_map(|m| match m {
        Message::Error(error) => Some(error),
        _ => None,
    })
}

fn cstr(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn encode(out: &mut Vec<u8>, message: &Send<'_>) {
    let mut body = Vec::new();
    let tag = match message {
        Send::Query(sql) => {
            cstr(&mut body, sql);
            b'Q'
        }
        Send::Parse(name, sql, types) => {
            cstr(&mut body, name);
            cstr(&mut body, sql);
            body.extend((types.len() as u16).to_be_bytes());
            types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
            b'P'
        }
        Send::Bind(portal, statement, formats, values, results) => {
            cstr(&mut body, portal);
            cstr(&mut body, statement);
            body.extend((formats.len() as u16).to_be_bytes());
            formats.iter().for_each(|f| body.extend(f.to_be_bytes()));
            body.extend((values.len() as u16).to_be_bytes());
            for value in values {
                match value {
                    Some(value) => {
                        body.extend((value.len() as u32).to_be_bytes());
                        body.extend(value);
                    }
                    None => body.extend((-1i32).to_be_bytes()),
                }
            }
            body.extend((results.len() as u16).to_be_bytes());
            results.iter().for_each(|f| body.extend(f.to_be_bytes()));
            b'B'
        }
        Send::DescribeStatement(name) => kind(&mut body, b'S', name, b'D'),
        Send::DescribePortal(name) => kind(&mut body, b'P', name, b'D'),
        Send::CloseStatement(name) => kind(&mut body, b'S', name, b'C'),
        Send::ClosePortal(name) => kind(&mut body, b'P', name, b'C'),
        Send::Execute(portal, limit) => {
            cstr(&mut body, portal);
            body.extend(limit.to_be_bytes());
            b'E'
        }
        Send::Flush => b'H',
        Send::Sync => b'S',
        Send::Terminate => b'X',
        Send::CopyData(data) => {
            body.extend_from_slice(data);
            b'd'
        }
        Send::CopyDone => b'c',
        Send::CopyFail(why) => {
            cstr(&mut body, why);
            b'f'
        }
        Send::Frame(tag, bytes) => {
            body.extend_from_slice(bytes);
            *tag
        }
    };
    out.push(tag);
    out.extend(((body.len() + 4) as u32).to_be_bytes());
    out.extend(body);
}

fn kind(body: &mut Vec<u8>, kind: u8, name: &str, tag: u8) -> u8 {
    body.push(kind);
    cstr(body, name);
    tag
}

/// Reads what is there; panics on a malformed message, which is a fault of the peer under test.
struct Reader(Vec<u8>, usize);

impl Reader {
    fn bytes(&mut self, n: usize) -> &[u8] {
        self.1 += n;
        &self.0[self.1 - n..self.1]
    }
    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.bytes(2).try_into().expect("two bytes"))
    }
    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.bytes(4).try_into().expect("four bytes"))
    }
    fn cstr(&mut self) -> String {
        let n = self.0[self.1..].iter().position(|b| *b == 0).expect("a NUL");
        let text = String::from_utf8_lossy(self.bytes(n)).into_owned();
        self.1 += 1;
        text
    }
    fn end(&self) {
        assert_eq!(self.1, self.0.len(), "trailing bytes in a message");
    }
}

fn decode(tag: u8, body: Vec<u8>) -> Message {
    let mut r = Reader(body, 0);
    let message = match tag {
        b'T' => {
            let n = r.i16();
            let field = |r: &mut Reader| {
                let name = r.cstr();
                let _table = r.i32();
                Field {
                    name,
                    attnum: r.i16(),
                    type_oid: r.i32() as u32,
                    typlen: r.i16(),
                    typmod: r.i32(),
                    format: r.i16(),
                }
            };
            Message::RowDescription((0..n).map(|_| field(&mut r)).collect())
        }
        b'D' => {
            let n = r.i16();
            let value = |r: &mut Reader| match r.i32() {
                -1 => None,
                n => Some(r.bytes(n as usize).to_vec()),
            };
            Message::DataRow((0..n).map(|_| value(&mut r)).collect())
        }
        b'C' => Message::CommandComplete(r.cstr()),
        b't' => {
            let n = r.i16() as u16;
            Message::ParameterDescription((0..n).map(|_| r.i32() as u32).collect())
        }
        b'S' => Message::ParameterStatus(r.cstr(), r.cstr()),
        b'Z' => Message::Ready(r.bytes(1)[0] as char),
        b'E' | b'N' => {
            let mut notice = Notice::default();
            loop {
                let field = r.bytes(1)[0];
                if field == 0 {
                    break;
                }
                let text = r.cstr();
                match field {
                    b'C' => notice.sqlstate = text,
                    b'M' => notice.message = text,
                    b'n' => notice.constraint = text,
                    b'H' => notice.hint = text,
                    b'D' => notice.detail = text,
                    b'P' => notice.position = text,
                    _ => {}
                }
            }
            if tag == b'E' {
                Message::Error(notice)
            } else {
                Message::Notice(notice)
            }
        }
        _ => return Message::Other(tag as char, r.0),
    };
    r.end();
    message
}
