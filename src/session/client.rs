//! Messages from the client, each to the step that deals with it.

use super::aside::known_as;
use super::refuse::Refuse;
use super::standing::Standing;
use super::state::{Keeping, Name, Portal, Prepared, PreparedBody, Reply};
use super::{Phase, Session, Stream};
use crate::plan::{Reason, Refusal};
use crate::wire::compose;
use crate::wire::frame::{self, HEADER, Malformed, Scan};
use crate::wire::inbuf::InBuf;
use crate::wire::read::{Bind, Parse};
use crate::wire::sqlstate::SqlState;
use std::collections::VecDeque;
use std::sync::Arc;

impl Session {
    /// Takes whole frames from the front of what the client sent; leaves an incomplete one (or, under back-pressure, more).
    pub fn from_client(&mut self, input: &mut InBuf) {
        loop {
            if self.phase == Phase::Closing {
                input.clear();
                return;
            }
            if !self.wants_client() {
                return;
            }
            if let Some((left, how)) = self.client_stream {
                let taken = left.min(input.len());
                self.client_stream = (left > taken).then(|| (left - taken, how));
                if how == Stream::Forward {
                    self.to_server.put_front(input, taken);
                } else {
                    input.advance(taken);
                }
                if self.client_stream.is_some() {
                    return;
                }
                continue;
            }
            let run = self.pass_from_client(input);
            if run > 0 {
                self.to_server.put_front(input, run);
                if input.is_empty() {
                    return;
                }
                continue;
            }
            let (tag, size) = match frame::scan(input) {
                Ok(Scan::Partial) => return,
                Ok(Scan::Frame { tag, size }) => (tag, size),
                Err(fault) => return self.malformed("client", &fault),
            };
            if tag == b'd' && self.phase == Phase::Ready && !self.discards() {
                self.pass_copy_data(input);
            } else if input.len() >= size {
                self.client_frame(tag, &input[..size]);
                input.advance(size);
            } else if !self.begin_stream(tag, size, input) {
                input.reserve((size - input.len()).min(1 << 20));
                return;
            }
        }
    }

    /// The beginning of a long frame: forwarded as it comes where nothing in it is rewritten; refused where it is too long to be.
    #[inline(never)] // Off the fast path, whose code stays small.
    pub(super) fn begin_stream(&mut self, tag: u8, size: usize, input: &mut InBuf) -> bool {
        let cap = self.limits.max_rewritten_message_bytes;
        if self.phase == Phase::Login {
            if size > 64 * 1024 {
                self.malformed("client", &Malformed::new("authentication message is too long"));
                return true;
            }
            return false;
        }
        let head = &input[HEADER.min(input.len())..];
        let named = match tag {
            b'P' => head.contains(&0),
            b'B' => Bind::names(head).is_ok(),
            _ => true,
        };
        if !named && head.len() < LONGEST_NAMES && size > head.len() {
            return false; // Which statement it is about is still to come.
        }
        let unprotected = match tag {
            b'd' => true,
            b'Q' | b'P' if size > 64 * 1024 => !self.database.catalog.load().protects_anything(),
            b'B' if size > 64 * 1024 => match Bind::names(head) {
                Ok((_, name)) => match self.statements.get(known_as(name)).cloned() {
                    _ if self.is_statement_unsettled(known_as(name)) => false,
                    Some(statement) => {
                        matches!(statement.body, PreparedBody::Forward { .. })
                            && self.standing(&statement) == Standing::Holds
                    }
                    None => true,
                },
                Err(_) => false,
            },
            _ => false,
        };
        if unprotected {
            if self.discards() {
                self.client_stream = Some((size, Stream::Discard));
                return true;
            }
            match tag {
                b'Q' => {
                    self.replies.push_back(Reply::Query(VecDeque::new()));
                    self.extended_open = false;
                }
                b'P' => {
                    let Some(end) = head.iter().position(|b| *b == 0) else {
                        return false;
                    };
                    let name: Name = known_as(&head[..end]).into();
                    let cost = Keeping::cost(&name, 0, &[]);
                    if let Err(refusal) = self.check_room(&name, cost) {
                        self.refuse_message(false, Refuse::plain(refusal));
                        self.client_stream = Some((size, Stream::Discard));
                        return true;
                    }
                    let kept = self.keeping.take(cost);
                    self.register_statement(name, Arc::new(Prepared::unread(kept)));
                    self.extended_open = true;
                }
                b'B' => {
                    let Ok((portal, statement)) = Bind::names(head) else {
                        return false;
                    };
                    let portal: Name = known_as(portal).into();
                    let statement = self.statements.get(known_as(statement)).cloned();
                    self.register_portal(portal, statement.map(Portal::plain));
                    self.extended_open = true;
                }
                _ => {}
            }
            self.client_stream = Some((size, Stream::Forward));
            return true;
        }
        if size > cap {
            let refusal = Refusal {
                sqlstate: SqlState::PROGRAM_LIMIT_EXCEEDED,
                reason: Reason::Limit,
                column: None,
                message: format!("a message of {size} bytes can't be looked through: the limit is {cap} bytes"),
                hint: Some("Send the data in smaller pieces, or raise [limits] max_rewritten_message_bytes.".into()),
            };
            if !self.discards() {
                self.refuse_message(tag == b'Q', Refuse::plain(refusal));
            }
            self.client_stream = Some((size, Stream::Discard));
            return true;
        }
        false
    }

    /// One whole frame.
    #[inline(never)]
    pub(super) fn client_frame(&mut self, tag: u8, frame: &[u8]) {
        if self.phase == Phase::Login {
            return self.login_from_client(tag, frame);
        }
        if self.discards() && !matches!(tag, b'S' | b'X') {
            // The server discards it: so can pgward.
            if tag == b'P'
                && let Ok(message) = Parse::read(&frame[HEADER..])
            {
                self.lost.note(message.name);
            }
            return;
        }
        let result = match tag {
            b'Q' => self.query(frame).inspect(|()| {
                if self.parked.is_none() {
                    self.transaction_may_end();
                }
            }),
            b'P' => self.parse(frame),
            b'B' => self.bind(frame),
            b'E' => self.execute(frame),
            b'D' => self.note_describe(&frame[HEADER..]).map(|()| self.forward(frame)),
            b'C' => self.note_close(&frame[HEADER..]).map(|()| self.forward(frame)),
            b'S' => {
                if !self.copy_in {
                    self.note_sync();
                }
                self.forward(frame);
                Ok(())
            }
            b'H' | b'd' | b'p' => {
                self.forward(frame);
                Ok(())
            }
            b'c' | b'f' => {
                if self.copy_in {
                    self.copy_in = false;
                } else if !self.replies.is_empty() {
                    self.replies.push_back(Reply::CopyEnd);
                }
                self.forward(frame);
                Ok(())
            }
            b'F' => {
                self.function_call(frame);
                self.transaction_may_end();
                Ok(())
            }
            b'X' => {
                self.terminate();
                Ok(())
            }
            _ => Err(Malformed::new(format!(
                "invalid frontend message type {}",
                frame::show_tag(tag)
            ))),
        };
        if let Err(fault) = result {
            self.malformed("client", &fault);
        }
    }

    /// A Sync that will be answered.
    pub(super) fn note_sync(&mut self) {
        self.skipping = false;
        self.refused = false;
        self.extended_open = false;
        self.replies.push_back(Reply::Sync);
        self.transaction_may_end();
    }

    /// Whether the server discards what the client sends, up to Sync.
    pub(super) fn discards(&self) -> bool {
        self.skipping || self.refused
    }

    pub(super) fn forward(&mut self, frame: &[u8]) {
        self.to_server.put(frame);
    }

    /// Forwards a run of CopyData frames, the last of which may be incomplete, in one piece.
    #[inline(never)]
    fn pass_copy_data(&mut self, input: &mut InBuf) {
        let (run, beyond) = frame::run(input, |tag| tag == b'd');
        self.to_server.put_front(input, run);
        self.client_stream = (beyond > 0).then_some((beyond, Stream::Forward));
    }

    /// Terminate, behind what the client sent before: the server carries that out first, then closes.
    pub(super) fn terminate(&mut self) {
        compose::bare(self.to_server.tail(), b'X');
        self.leaving = true;
    }

    pub(super) fn function_call(&mut self, frame: &[u8]) {
        let body = frame.get(HEADER..).unwrap_or_default();
        let oid = body.first_chunk().map(|oid| u32::from_be_bytes(*oid));
        let harmless = oid.is_some_and(|oid| LARGE_OBJECT_FUNCTIONS.contains(&oid));
        if !harmless && self.database.catalog.load().protects_anything() {
            let refusal = Refusal::unsupported(
                Reason::Protocol,
                "function calls by message are not relayed to a database with protected columns",
            )
            .hint("Call the function in a SELECT.");
            self.refuse_message(true, Refuse::plain(refusal));
        } else {
            self.replies.push_back(Reply::FunctionCall);
            self.extended_open = false;
            self.forward(frame);
        }
    }
}

/// What libpq calls by message for large objects, none of which are protected. OIDs of built-in functions never change (pg_proc.dat):
/// lo_open, lo_close, loread, lowrite, lo_lseek, lo_creat, lo_tell, lo_unlink, lo_create, lo_truncate, and the 64-bit ones.
const LARGE_OBJECT_FUNCTIONS: [u32; 13] = [952, 953, 954, 955, 956, 957, 958, 964, 715, 1004, 3170, 3171, 3172];

/// So much of a long Parse or Bind is waited for until its names are there.
const LONGEST_NAMES: usize = 64 * 1024;
