//! Messages from the server, each matched with what it owes.

use super::errors::sqlstate_of;
use super::refuse::Refuse;
use super::state::{Expect, Question, Reply};
use super::{Phase, Session, Stream};
use crate::plan::{Reason, Refusal};
use crate::wire::frame::{self, HEADER, Malformed, Scan};
use crate::wire::inbuf::InBuf;
use crate::wire::read;
use std::collections::VecDeque;

/// Bytes of the DataRow and CopyData frames at the front of `input`, and what is still to come of the last one.
pub(super) fn row_run(input: &[u8]) -> (usize, usize) {
    frame::run(input, |tag| matches!(tag, b'D' | b'd'))
}

impl Session {
    /// Takes whole frames from the front of what the server sent.
    pub fn from_server(&mut self, input: &mut InBuf) {
        loop {
            if self.phase == Phase::Closing {
                input.clear();
                return;
            }
            if !self.wants_server() {
                return;
            }
            if let Some((left, how)) = self.server_stream {
                let taken = left.min(input.len());
                self.server_stream = (left > taken).then(|| (left - taken, how));
                if how == Stream::Forward {
                    self.to_client.put_front(input, taken);
                } else {
                    input.advance(taken);
                }
                if self.server_stream.is_some() {
                    return;
                }
                continue;
            }
            let (run, beyond) = self.pass_from_server(input);
            if run > 0 {
                self.to_client.put_front(input, run);
                self.server_stream = (beyond > 0).then_some((beyond, Stream::Forward));
                if input.is_empty() {
                    return;
                }
                continue;
            }
            if self.passes_rows() && self.pass_rows(input) {
                continue;
            }
            match self.take_rows(input) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(fault) => return self.malformed("server", &fault),
            }
            let (tag, size) = match frame::scan(input) {
                Ok(Scan::Partial) => return,
                Ok(Scan::Frame { tag, size }) => (tag, size),
                Err(fault) => return self.malformed("server", &fault),
            };
            if input.len() < size {
                if size > self.limits.max_rewritten_message_bytes {
                    self.too_long(size);
                    continue;
                }
                input.reserve((size - input.len()).min(1 << 20));
                return;
            }
            let result = self.server_frame(tag, &input[..size]);
            input.advance(size);
            if let Err(fault) = result {
                return self.malformed("server", &fault);
            }
        }
    }

    /// Whether rows go through as they come.
    pub(super) fn passes_rows(&self) -> bool {
        if self.phase != Phase::Ready {
            return false;
        }
        match self.replies.front() {
            Some(Reply::Execute(None)) => true,
            Some(Reply::Query(expected)) => matches!(expected.front(), None | Some(Expect::Plain { .. })),
            _ => false,
        }
    }

    /// Forwards a run of DataRow and CopyData frames, the last of which may be incomplete, or discards it where the client is to hear nothing.
    #[inline(never)]
    fn pass_rows(&mut self, input: &mut InBuf) -> bool {
        let (run, beyond) = row_run(input);
        let how = if self.mute { Stream::Discard } else { Stream::Forward };
        match how {
            Stream::Forward => self.to_client.put_front(input, run),
            Stream::Discard => input.advance(run),
        }
        self.server_stream = (beyond > 0).then_some((beyond, how));
        run > 0
    }

    /// A message that would have to be rewritten is longer than pgward buffers.
    #[cold]
    pub(super) fn too_long(&mut self, size: usize) {
        let cap = self.limits.max_rewritten_message_bytes;
        self.fail(Refuse::plain(
            Refusal::unsupported(
                Reason::Limit,
                format!("a row of {size} bytes can't be opened: the limit is {cap} bytes"),
            )
            .hint("Select fewer or shorter columns, or raise [limits] max_rewritten_message_bytes."),
        ));
        self.server_stream = Some((size, Stream::Discard));
    }

    /// Passes a frame on, unless the client is to hear nothing.
    pub(super) fn emit(&mut self, frame: &[u8]) {
        if !self.mute {
            self.to_client.put(frame);
        }
    }

    #[inline(never)] // Off the fast path, whose code stays small.
    pub(super) fn server_frame(&mut self, tag: u8, frame: &[u8]) -> Result<(), Malformed> {
        if self.phase == Phase::Login {
            return self.login_from_server(tag, frame);
        }
        let result = match tag {
            // A notice may quote a value ("identifier … will be truncated").
            b'N' if self.hides_notices() || self.is_about_a_question(frame) => Ok(()),
            b'N' | b'A' => {
                self.to_client.put(frame);
                Ok(())
            }
            b'S' => {
                self.follow(&frame[HEADER..])?;
                self.to_client.put(frame);
                Ok(())
            }
            b'E' => self.error(frame),
            b'Z' => self.ready(frame),
            _ => self.answer(tag, frame),
        };
        self.skip_copy_ends();
        result
    }

    pub(super) fn unexpected(tag: u8) -> Malformed {
        Malformed::new(format!("unexpected message of type {}", frame::show_tag(tag)))
    }

    /// Whether a statement runs that uses values in clear which the handler may not see.
    fn hides_notices(&self) -> bool {
        match self.replies.front() {
            Some(Reply::Execute(Some(running))) => self.hides_values(running),
            Some(Reply::Query(expected)) => match expected.front() {
                Some(Expect::Protected(running)) => self.hides_values(running),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether a notice is about one of pgward's own questions (`client_min_messages = debug`), and not of a server that is about to end.
    fn is_about_a_question(&self, frame: &[u8]) -> bool {
        let own = match self.replies.front() {
            Some(Reply::OwnRows(_) | Reply::OwnQuery(_) | Reply::OwnSync) => true,
            Some(Reply::Own(_)) => self.lookout.is_asking(),
            _ => false,
        };
        let ends = |fields: Vec<(u8, &[u8])>| sqlstate_of(&fields).starts_with(b"57");
        own && !read::error_fields(&frame[HEADER..]).is_ok_and(ends)
    }

    /// Anything but errors, notices and ReadyForQuery: by what the server owes.
    pub(super) fn answer(&mut self, tag: u8, frame: &[u8]) -> Result<(), Malformed> {
        let Some(reply) = self.replies.pop_front() else {
            return Err(Self::unexpected(tag));
        };
        let body = &frame[HEADER..];
        let keep = match reply {
            Reply::Parse { .. } if tag == b'1' => {
                self.emit(frame);
                None
            }
            Reply::Bind { .. } if tag == b'2' => {
                self.emit(frame);
                None
            }
            Reply::CloseStatement { .. } | Reply::ClosePortal { .. } if tag == b'3' => {
                self.emit(frame);
                None
            }
            Reply::DescribeStatement { statement, own } => self.described_statement(tag, frame, statement, own)?,
            Reply::DescribePortal { portal, own } => {
                self.described_portal(tag, frame, portal, own)?;
                None
            }
            Reply::Execute(None) => self.plain_execute(tag, frame)?,
            Reply::Forgets(what) => {
                self.forget_statements(&what, body);
                self.plain_execute(tag, frame)?
            }
            Reply::Execute(Some(running)) => self
                .running(tag, frame, running)?
                .map(|running| Reply::Execute(Some(running))),
            Reply::Own(expected) if expected == tag => {
                if !matches!(self.replies.back(), Some(Reply::OwnSync)) {
                    self.unpark();
                }
                None
            }
            Reply::OwnCompanion { last } if matches!(tag, b'C' | b'I') => {
                self.companion_done(last);
                None
            }
            Reply::OwnRows(question) => self.own_rows(tag, body, question)?.then_some(Reply::OwnRows(question)),
            Reply::OwnQuery(question) => {
                self.own_rows(tag, body, question)?;
                Some(Reply::OwnQuery(question))
            }
            Reply::Query(expected) => {
                let expected = self.query_answer(tag, frame, expected)?;
                Some(Reply::Query(expected))
            }
            Reply::FunctionCall if tag == b'V' => {
                self.emit(frame);
                Some(Reply::FunctionCall)
            }
            _ => return Err(Self::unexpected(tag)),
        };
        if let Some(reply) = keep {
            self.replies.push_front(reply);
        }
        Ok(())
    }

    /// A row (or the end) of pgward's own question. True: more is to come.
    pub(super) fn own_rows(&mut self, tag: u8, body: &[u8], question: Question) -> Result<bool, Malformed> {
        match tag {
            b'T' => Ok(true),
            b'D' => self.answer_row(question, body).map(|()| true),
            b'C' => {
                self.answered(question, true);
                Ok(false)
            }
            _ => Err(Self::unexpected(tag)),
        }
    }

    pub(super) fn plain_execute(&mut self, tag: u8, frame: &[u8]) -> Result<Option<Reply>, Malformed> {
        match tag {
            b'C' | b'I' | b's' => {
                self.emit(frame);
                Ok(None)
            }
            b'D' | b'd' | b'c' | b'H' => {
                self.emit(frame);
                Ok(Some(Reply::Execute(None)))
            }
            b'G' | b'W' => {
                self.begin_copy_in();
                self.emit(frame);
                Ok(Some(Reply::Execute(None)))
            }
            _ => Err(Self::unexpected(tag)),
        }
    }

    /// During COPY FROM STDIN the server ignores Sync (WIRE 26): those sent ahead get no answer. The end may have been sent ahead too.
    pub(super) fn begin_copy_in(&mut self) {
        while matches!(self.replies.front(), Some(Reply::Sync)) {
            self.replies.pop_front();
        }
        self.copy_in = !matches!(self.replies.front(), Some(Reply::CopyEnd));
        if !self.copy_in {
            self.replies.pop_front();
        }
    }

    pub(super) fn query_answer(
        &mut self,
        tag: u8,
        frame: &[u8],
        mut expected: VecDeque<Expect>,
    ) -> Result<VecDeque<Expect>, Malformed> {
        let next = expected.pop_front();
        match next {
            None | Some(Expect::Plain { .. }) => {
                if let Some(Expect::Plain {
                    forgets: Some(what), ..
                }) = &next
                    && tag == b'C'
                {
                    self.forget_statements(what, &frame[HEADER..]);
                }
                match tag {
                    b'T' => self.plain_description(frame, false)?,
                    b'G' | b'W' => {
                        self.begin_copy_in();
                        self.emit(frame);
                    }
                    b'D' | b'C' | b'I' | b'd' | b'c' | b'H' => self.emit(frame),
                    _ => return Err(Self::unexpected(tag)),
                }
                if let Some(next) = next
                    && !matches!(tag, b'C' | b'I')
                {
                    expected.push_front(next);
                }
            }
            Some(Expect::Protected(running)) => {
                if let Some(running) = self.running(tag, frame, running)? {
                    expected.push_front(Expect::Protected(running));
                }
            }
            // The server did not refuse what was made to fail, or something was carried out that wasn't planned.
            Some(Expect::Refused(_)) => return Err(Self::unexpected(tag)),
            Some(Expect::Companion { last }) => match tag {
                b'C' | b'I' => self.companion_done(last),
                b'T' | b'D' => expected.push_front(Expect::Companion { last }),
                _ => return Err(Self::unexpected(tag)),
            },
        }
        Ok(expected)
    }

    pub(super) fn companion_done(&mut self, last: bool) {
        if last && let Some(frame) = self.withheld.take() {
            self.emit(&frame);
        }
    }

    pub(super) fn ready(&mut self, frame: &[u8]) -> Result<(), Malformed> {
        let state = read::ready_for_query(&frame[HEADER..])?;
        let own = match self.replies.front() {
            Some(Reply::OwnQuery(_) | Reply::OwnSync) => true,
            Some(Reply::Query(_) | Reply::FunctionCall | Reply::Sync) => false,
            _ => return Err(Self::unexpected(b'Z')),
        };
        self.note_ready(state, own);
        if own {
            self.questions_over(frame);
        } else {
            self.to_client.put(frame);
        }
        self.stop_if_idle();
        Ok(())
    }

    /// ReadyForQuery, as owed. `own`: pgward asked for itself, and the client does not hear of it.
    pub(super) fn note_ready(&mut self, state: u8, own: bool) {
        self.transaction = state;
        self.copy_in = false;
        self.withheld = None;
        self.mute &= own;
        self.tick_off();
        if self.replies.is_empty() {
            // The queue begins at the front of its memory again: the same few cache lines are used over and over.
            self.replies.clear();
            self.statement_taken = false;
            self.portal_taken = false;
            self.lookout.settle();
        }
        if state == b'I' {
            self.forget_portals();
            if !own {
                self.transaction_ended();
            }
        }
    }

    /// What the server owed first has come.
    pub(super) fn tick_off(&mut self) {
        self.replies.pop_front();
        self.skip_copy_ends();
    }

    fn skip_copy_ends(&mut self) {
        while matches!(self.replies.front(), Some(Reply::CopyEnd)) {
            self.replies.pop_front();
        }
    }
}
