//! Messages from the server: matched with what it owes, rewritten, released when their record is durable.

use super::rows::{self, RowFault, Shown};
use super::state::{Expect, Name, Portal, Prepared, PreparedBody, Question, Refused, Reply, Running, Verified};
use super::{Phase, Session, Stream};
use crate::plan::{Output, Reason, Refusal, SubjectSource};
use crate::wire::compose::{self, Severity};
use crate::wire::frame::{self, HEADER, Malformed, Scan};
use crate::wire::read;
use bytes::BytesMut;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Bytes of rows that one record covers at most before they are released.
const RELEASE_BYTES: u64 = 128 * 1024;

/// Fields of an ErrorResponse that may hold stored or spliced values, or positions in a text that the client did not write.
const REVEALING: &[u8] = b"DWqpP";

impl Session {
    /// Takes whole frames from the front of what the server sent.
    pub fn from_server(&mut self, input: &mut BytesMut) {
        loop {
            if self.phase == Phase::Closing {
                input.clear();
                return;
            }
            if !self.wants_server() {
                return;
            }
            if let Some((left, how)) = self.server_stream {
                let taken = input.split_to(left.min(input.len()));
                self.server_stream = (left > taken.len()).then(|| (left - taken.len(), how));
                if how == Stream::Forward {
                    self.to_client.put_bytes(taken.freeze());
                }
                if self.server_stream.is_some() {
                    return;
                }
                continue;
            }
            if self.passes_rows() && self.pass_run(input) {
                continue;
            }
            let (tag, size) = match frame::scan(input) {
                Ok(Scan::Partial) => return,
                Ok(Scan::Frame { tag, size }) => (tag, size),
                Err(fault) => return self.malformed("server", &fault),
            };
            if input.len() < size {
                if size > self.policy.file().limits.max_rewritten_message_bytes {
                    self.too_long(size);
                    continue;
                }
                input.reserve((size - input.len()).min(1 << 20));
                return;
            }
            let frame = input.split_to(size);
            if let Err(fault) = self.server_frame(tag, frame) {
                return self.malformed("server", &fault);
            }
        }
    }

    /// Whether rows go through as they come.
    fn passes_rows(&self) -> bool {
        if self.phase != Phase::Ready {
            return false;
        }
        match self.replies.front() {
            Some(Reply::Execute(None)) => true,
            Some(Reply::Query(expected)) => matches!(expected.front(), None | Some(Expect::Plain)),
            _ => false,
        }
    }

    /// Forwards a run of DataRow and CopyData frames, the last of which may be incomplete, in one piece.
    fn pass_run(&mut self, input: &mut BytesMut) -> bool {
        let mut run = 0;
        let mut beyond = 0;
        while let Ok(Scan::Frame { tag: b'D' | b'd', size }) = frame::scan(&input[run..]) {
            if input.len() - run < size {
                beyond = size - (input.len() - run);
                run = input.len();
                break;
            }
            run += size;
        }
        if run == 0 {
            return false;
        }
        let how = if self.mute { Stream::Discard } else { Stream::Forward };
        let taken = input.split_to(run);
        if how == Stream::Forward {
            self.to_client.put_bytes(taken.freeze());
        }
        self.server_stream = (beyond > 0).then_some((beyond, how));
        true
    }

    /// A message that would have to be rewritten is longer than pgward buffers.
    fn too_long(&mut self, size: usize) {
        let cap = self.policy.file().limits.max_rewritten_message_bytes;
        self.fail(
            Refusal::unsupported(
                Reason::Limit,
                format!("a row of {size} bytes can't be opened: the limit is {cap} bytes"),
            )
            .hint("Select fewer or shorter columns, or raise [limits] max_rewritten_message_bytes."),
        );
        self.server_stream = Some((size, Stream::Discard));
    }

    /// Passes a frame on, unless the client is to hear nothing.
    fn emit(&mut self, frame: &[u8]) {
        if !self.mute {
            self.to_client.put(frame);
        }
    }

    fn server_frame(&mut self, tag: u8, frame: BytesMut) -> Result<(), Malformed> {
        if self.phase == Phase::Login {
            return self.login_from_server(tag, frame);
        }
        match tag {
            b'N' | b'A' => {
                self.to_client.put(&frame);
                Ok(())
            }
            b'S' => {
                self.follow(&frame[HEADER..])?;
                self.to_client.put(&frame);
                Ok(())
            }
            b'E' => self.error(frame),
            b'Z' => self.ready(frame),
            _ => self.answer(tag, frame),
        }
    }

    fn unexpected(tag: u8) -> Malformed {
        Malformed::new(format!("unexpected message of type {}", frame::show_tag(tag)))
    }

    /// Anything but errors, notices and ReadyForQuery: by what the server owes.
    fn answer(&mut self, tag: u8, frame: BytesMut) -> Result<(), Malformed> {
        let Some(reply) = self.replies.pop_front() else {
            return Err(Self::unexpected(tag));
        };
        let body = &frame[HEADER..];
        let keep = match reply {
            Reply::Parse { .. } if tag == b'1' => {
                self.emit(&frame);
                None
            }
            Reply::Bind { .. } if tag == b'2' => {
                self.emit(&frame);
                None
            }
            Reply::CloseStatement { .. } | Reply::ClosePortal { .. } if tag == b'3' => {
                self.emit(&frame);
                None
            }
            Reply::DescribeStatement { statement, own } => self.described_statement(tag, &frame, statement, own)?,
            Reply::DescribePortal { portal } => {
                self.described_portal(tag, &frame, portal)?;
                None
            }
            Reply::Execute(None) => self.plain_execute(tag, &frame)?,
            Reply::Execute(Some(running)) => self
                .running(tag, &frame, running)?
                .map(|running| Reply::Execute(Some(running))),
            Reply::Own(expected) if expected == tag => {
                self.unpark();
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
                let expected = self.query_answer(tag, &frame, expected)?;
                Some(Reply::Query(expected))
            }
            Reply::FunctionCall if tag == b'V' => {
                self.emit(&frame);
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
    fn own_rows(&mut self, tag: u8, body: &[u8], question: Question) -> Result<bool, Malformed> {
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

    // ---- nothing protected ----

    fn plain_execute(&mut self, tag: u8, frame: &BytesMut) -> Result<Option<Reply>, Malformed> {
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

    /// During COPY FROM STDIN the server ignores Sync (WIRE 26): those sent ahead get no answer.
    fn begin_copy_in(&mut self) {
        self.copy_in = true;
        while matches!(self.replies.front(), Some(Reply::Sync)) {
            self.replies.pop_front();
        }
    }

    fn query_answer(
        &mut self,
        tag: u8,
        frame: &BytesMut,
        mut expected: VecDeque<Expect>,
    ) -> Result<VecDeque<Expect>, Malformed> {
        let next = expected.pop_front();
        match next {
            None | Some(Expect::Plain) => {
                let tracked = next.is_some();
                match tag {
                    b'T' => self.plain_description(frame)?,
                    b'G' | b'W' => {
                        self.copy_in = true;
                        self.emit(frame);
                    }
                    b'D' | b'C' | b'I' | b'd' | b'c' | b'H' => self.emit(frame),
                    _ => return Err(Self::unexpected(tag)),
                }
                if tracked && !matches!(tag, b'C' | b'I') {
                    expected.push_front(Expect::Plain);
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

    fn plain_description(&mut self, frame: &BytesMut) -> Result<(), Malformed> {
        let snapshot = self.snapshot();
        if !snapshot.protected_by_oid.is_empty() {
            let fields = read::row_description(&frame[HEADER..])?;
            if let Err(refusal) = rows::check_unprotected(&fields, &snapshot) {
                self.fail(refusal);
                return Ok(());
            }
        }
        self.emit(frame);
        Ok(())
    }

    // ---- descriptions ----

    fn described_statement(
        &mut self,
        tag: u8,
        frame: &BytesMut,
        statement: Option<Arc<Prepared>>,
        own: bool,
    ) -> Result<Option<Reply>, Malformed> {
        let body = &frame[HEADER..];
        let plan = match statement.as_deref() {
            Some(Prepared {
                body: PreparedBody::Protected { plan, .. },
                ..
            }) => Some(plan.clone()),
            _ => None,
        };
        match (tag, plan) {
            (b't', None) => {
                self.emit(frame);
                Ok(Some(Reply::DescribeStatement { statement, own }))
            }
            (b't', Some(plan)) => {
                let server = read::parameter_description(body)?;
                if server.len() != plan.server_params.len() {
                    if let Some(statement) = &statement {
                        statement.set_verified(false);
                    }
                }
                if !own && !self.mute {
                    let shown: Vec<u32> = plan
                        .client_params
                        .iter()
                        .enumerate()
                        .map(|(index, param)| {
                            param.type_oid.unwrap_or_else(|| {
                                let carrier = plan.server_params.iter().position(|p| p.from == index);
                                carrier.and_then(|at| server.get(at)).copied().unwrap_or(25)
                            })
                        })
                        .collect();
                    compose::parameter_description(self.to_client.tail(), &shown);
                }
                Ok(Some(Reply::DescribeStatement { statement, own }))
            }
            (b'n', None) => {
                self.emit(frame);
                Ok(None)
            }
            (b'T', None) => {
                self.plain_description(frame)?;
                Ok(None)
            }
            (b'n', Some(plan)) => {
                if let Some(statement) = &statement
                    && statement.verified() == Verified::Open
                {
                    statement.set_verified(plan.outputs.as_ref().is_none_or(Vec::is_empty));
                }
                if !own {
                    self.emit(frame);
                }
                Ok(None)
            }
            (b'T', Some(plan)) => {
                self.protected_description(frame, plan.outputs.as_deref(), statement.as_deref(), own, |_| 0)?;
                Ok(None)
            }
            _ => Err(Self::unexpected(tag)),
        }
    }

    fn described_portal(&mut self, tag: u8, frame: &BytesMut, portal: Option<Arc<Portal>>) -> Result<(), Malformed> {
        let plan = portal.as_deref().and_then(|p| match &p.statement.body {
            PreparedBody::Protected { plan, .. } => Some((p, plan)),
            PreparedBody::Forward { .. } => None,
        });
        match (tag, plan) {
            (b'n', _) => self.emit(frame),
            (b'T', None) => self.plain_description(frame)?,
            (b'T', Some((portal, plan))) => {
                let format = |index| portal.format_code(index);
                self.protected_description(frame, plan.outputs.as_deref(), Some(&portal.statement), false, format)?;
            }
            _ => return Err(Self::unexpected(tag)),
        }
        Ok(())
    }

    /// A RowDescription of a protected statement: held against the plan, shown with the logical types.
    fn protected_description(
        &mut self,
        frame: &BytesMut,
        outputs: Option<&[Output]>,
        statement: Option<&Prepared>,
        own: bool,
        format: impl Fn(usize) -> u16,
    ) -> Result<(), Malformed> {
        let fields = read::row_description(&frame[HEADER..])?;
        let snapshot = self.snapshot();
        let described = match outputs {
            Some(outputs) => {
                // Formats count visible columns.
                let mut visible = 0;
                let codes: Vec<u16> = outputs
                    .iter()
                    .map(|output| {
                        let hidden = matches!(output, Output::Column { hidden: true, .. });
                        let code = format(visible);
                        visible += usize::from(!hidden);
                        code
                    })
                    .collect();
                rows::describe(&fields, outputs, &snapshot, |index| {
                    codes.get(index).copied().unwrap_or(0)
                })
            }
            None => rows::check_unprotected(&fields, &snapshot).map(|()| fields),
        };
        match described {
            Ok(shown) => {
                if let Some(statement) = statement
                    && statement.verified() == Verified::Open
                {
                    statement.set_verified(true);
                }
                if !own && !self.mute {
                    compose::row_description(self.to_client.tail(), shown.into_iter());
                }
            }
            Err(refusal) => {
                if let Some(statement) = statement {
                    statement.set_verified(false);
                }
                self.effects.push_back(super::Effect::CatalogChanged);
                // pgward's own question is not the client's statement: it fails when its rows come.
                if !own {
                    self.fail(refusal);
                }
            }
        }
        Ok(())
    }

    // ---- protected statements under way ----

    /// One answer of a protected statement. Gives it back while more is to come.
    fn running(
        &mut self,
        tag: u8,
        frame: &BytesMut,
        mut running: Box<Running>,
    ) -> Result<Option<Box<Running>>, Malformed> {
        match tag {
            b'T' => {
                let outputs = running.plan.outputs.clone();
                self.protected_description(frame, outputs.as_deref(), None, false, |_| 0)?;
                Ok(Some(running))
            }
            b'D' => {
                self.row(frame, &mut running)?;
                Ok(Some(running))
            }
            b'C' | b'I' | b's' => {
                self.finish(&mut running, "");
                if running.companions > 0 {
                    self.withheld = Some(frame.clone());
                } else {
                    self.emit(frame);
                }
                Ok(None)
            }
            _ => Err(Self::unexpected(tag)),
        }
    }

    fn row(&mut self, frame: &BytesMut, running: &mut Running) -> Result<(), Malformed> {
        if self.mute {
            return Ok(());
        }
        if running
            .statement
            .as_ref()
            .is_some_and(|s| s.verified() == Verified::Differs)
        {
            self.fail(rows::lineage_mismatch("its description differs from the plan"));
            return Ok(());
        }
        let body = &frame[HEADER..];
        if running.plan.outputs.is_none() {
            // Nothing protected comes out; yet the record of what was searched is durable before.
            self.begin_unrecorded(running);
            self.to_client.put(frame);
            running.draft.rows += 1;
            self.release_when_full(running);
            return Ok(());
        }
        let keyring = self.database.keyring.load();
        let Some(keyring) = keyring.as_ref() else {
            drop(keyring);
            self.fail(super::client::no_keyring());
            return Ok(());
        };
        self.begin_unrecorded(running);
        let out = self.to_client.tail();
        let start = frame::begin(out, b'D');
        let style = &self.settings.style;
        match rows::rewrite(body, &running.shown, keyring, style, &mut self.scratch, out) {
            Ok(tally) => {
                frame::end(out, start);
                self.shared.metrics.values_opened.inc_by(tally.opened);
                running.draft.bytes += tally.bytes;
                running.draft.rows += 1;
            }
            Err(fault) => {
                out.truncate(start);
                match fault {
                    RowFault::Malformed(fault) => return Err(fault),
                    RowFault::Refused(refusal) => self.fail(refusal),
                }
                return Ok(());
            }
        }
        self.row_subjects(body, running);
        self.release_when_full(running);
        Ok(())
    }

    fn row_subjects(&mut self, body: &[u8], running: &mut Running) {
        if running.plan.subjects.is_empty() {
            return;
        }
        let snapshot = self.snapshot();
        let keyring = self.database.keyring.load();
        let Some(keyring) = keyring.as_ref() else { return };
        for source in &running.plan.subjects {
            let SubjectSource::Output { index, table } = source else {
                continue;
            };
            let format = match running.shown.get(*index) {
                Some(Shown::Unchanged { format }) => *format,
                _ => continue,
            };
            let key = rows::column_value(body, *index)
                .zip(rows::subject_type(source, &snapshot))
                .and_then(|(value, oid)| rows::subject_key(oid, format, value));
            if let Some(key) = key {
                running.draft.subject(keyring.pseudonym(table, &key));
            }
        }
    }

    /// From here on output waits for a record that is still to be made.
    fn begin_unrecorded(&mut self, running: &mut Running) {
        if running.unrecorded_from.is_none() {
            let at = self.to_client.position();
            running.unrecorded_from = Some(at);
            self.client_gate.set_open(Some(at));
            self.hold_client();
        }
    }

    fn release_when_full(&mut self, running: &mut Running) {
        let Some(from) = running.unrecorded_from else { return };
        if running.draft.is_full() || self.to_client.position() - from >= RELEASE_BYTES {
            self.submit(running, "");
        }
    }

    /// Submits the record of what has gathered; its rows are released when it is durable.
    fn submit(&mut self, running: &mut Running, sqlstate: &str) {
        let rows = Some(running.draft.rows);
        let record = running.draft.record(self.now(), rows, sqlstate);
        let ticket = self.append(record);
        let at = running
            .unrecorded_from
            .take()
            .unwrap_or_else(|| self.to_client.position());
        self.client_gate.set_open(None);
        self.client_gate.wait(ticket, at);
        self.hold_client();
    }

    /// The end of a protected statement: what no record covers yet gets one.
    fn finish(&mut self, running: &mut Running, sqlstate: &str) {
        if !self.mute && (running.unrecorded_from.is_some() || !running.draft.recorded) {
            self.submit(running, sqlstate);
        }
    }

    fn companion_done(&mut self, last: bool) {
        if last && let Some(frame) = self.withheld.take() {
            self.emit(&frame);
        }
    }

    // ---- errors ----

    /// The client gets this error, and nothing more until ReadyForQuery; the server goes on.
    pub(super) fn fail(&mut self, refusal: Refusal) {
        if self.mute {
            return;
        }
        // Rows that wait for a record that is still to be made are not given out.
        if let Some(at) = self.client_gate.open_at() {
            self.to_client.cut(at);
            self.client_gate.set_open(None);
            self.hold_client();
        }
        let refuse = super::client::Refuse::plain(refusal);
        let (refused, _) = self.note_refusal(refuse);
        Self::put_refusal(self.to_client.tail(), Severity::Error, &refused.refusal);
        self.mute = true;
    }

    /// The record of a read can't be made: what stands behind `at` in the output is taken back, up to the next ReadyForQuery.
    pub(super) fn unread(&mut self, at: u64) {
        let cut = self.to_client.cut(at);
        self.client_gate.cut(at);
        let refusal = Self::journal_refusal();
        self.shared.metrics.refusal(refusal.reason);
        Self::put_refusal(self.to_client.tail(), Severity::Error, &refusal);
        let mut rest = &cut[..];
        while let Ok(Scan::Frame { tag, size }) = frame::scan(rest) {
            let Some((frame, tail)) = rest.split_at_checked(size) else {
                break;
            };
            match tag {
                b'N' | b'A' | b'S' => self.to_client.put(frame),
                b'Z' => {
                    // Everything behind belongs to later messages. Rows of later statements had records of their own; those are
                    // forgotten with the cut, so nothing of them may leave: the session ends after this answer.
                    self.to_client.put(frame);
                    if !tail.is_empty() {
                        self.close();
                    }
                    return;
                }
                _ => {}
            }
            rest = tail;
        }
        self.mute = true;
    }

    fn error(&mut self, frame: BytesMut) -> Result<(), Malformed> {
        self.withheld = None;
        self.copy_in = false;
        let fields = read::error_fields(&frame[HEADER..])?;
        match self.replies.pop_front() {
            // Between statements: the server ends the connection (57P01, an idle time-out).
            None => self.emit(&frame),
            Some(Reply::Query(mut expected)) => {
                match expected.pop_front() {
                    None => self.emit(&frame),
                    Some(Expect::Protected(mut running)) => self.protected_error(&fields, &mut running),
                    Some(Expect::Refused(refused)) => self.refused_error(&fields, &refused),
                    Some(Expect::Plain | Expect::Companion { .. }) => self.emit_sanitised(&fields),
                }
                self.replies.push_front(Reply::Query(VecDeque::new()));
            }
            Some(Reply::OwnQuery(question)) => {
                self.answered(question, false);
                self.replies.push_front(Reply::OwnQuery(question));
            }
            // ReadyForQuery follows. At Sync: the implicit transaction can't be committed.
            Some(reply @ (Reply::FunctionCall | Reply::Sync)) => {
                self.emit(&frame);
                self.replies.push_front(reply);
            }
            Some(mut reply) => {
                match &mut reply {
                    Reply::Execute(Some(running)) => self.protected_error(&fields, running),
                    Reply::Refused(refused) => self.refused_error(&fields, refused),
                    reply if self.is_unprotected(reply) => self.emit(&frame),
                    // Among them pgward's own questions and companions: their error stands for the client's message, which the server now discards.
                    _ => self.emit_sanitised(&fields),
                }
                self.discard_until_sync(reply);
            }
        }
        Ok(())
    }

    fn is_unprotected(&self, reply: &Reply) -> bool {
        let forward = |s: &Prepared| matches!(s.body, PreparedBody::Forward { .. });
        match reply {
            Reply::Parse { name, .. } => self.statements.get(name).is_none_or(|s| forward(s)),
            Reply::Bind { name, .. } => self.portals.get(name).is_none_or(|p| forward(&p.statement)),
            Reply::DescribeStatement { statement, own: false } => statement.as_deref().is_none_or(forward),
            Reply::DescribePortal { portal } => portal.as_deref().is_none_or(|p| forward(&p.statement)),
            Reply::Execute(None) | Reply::CloseStatement { .. } | Reply::ClosePortal { .. } => true,
            _ => false,
        }
    }

    /// After an error in the extended protocol the server discards until Sync: what it owed before that does not come, and names
    /// mean again what they meant.
    fn discard_until_sync(&mut self, failed: Reply) {
        let mut discarded = vec![failed];
        while let Some(reply) = self.replies.pop_front_if(|reply| !matches!(reply, Reply::Sync)) {
            discarded.push(reply);
        }
        self.skipping = self.replies.is_empty();
        for reply in discarded.into_iter().rev() {
            match reply {
                Reply::Parse { name, replaced } => restore(&mut self.statements, name, replaced),
                Reply::CloseStatement { name, replaced } if replaced.is_some() => {
                    restore(&mut self.statements, name, replaced);
                }
                Reply::Bind { name, replaced } => restore(&mut self.portals, name, replaced),
                Reply::ClosePortal { name, replaced } if replaced.is_some() => {
                    restore(&mut self.portals, name, replaced);
                }
                Reply::OwnRows(question) => self.answered(question, false),
                _ => {}
            }
        }
        self.lookout.give_up();
        self.unpark();
    }

    fn refused_error(&mut self, fields: &[(u8, &[u8])], refused: &Refused) {
        let message = fields
            .iter()
            .find(|(code, _)| *code == b'M')
            .map_or(&b""[..], |(_, text)| text);
        if self.mute {
            return;
        }
        // In a failed transaction the server says so instead (25P02), as it would have said to the client's own statement.
        if contains(message, refused.marker.as_bytes()) {
            Self::put_refusal(self.to_client.tail(), Severity::Error, &refused.refusal);
        } else {
            self.emit_sanitised(fields);
        }
    }

    /// An error of the server's in a protected statement: recorded, and shown without what may hold values.
    fn protected_error(&mut self, fields: &[(u8, &[u8])], running: &mut Running) {
        let sqlstate = fields
            .iter()
            .find(|(code, _)| *code == b'C')
            .map_or(&b""[..], |(_, text)| text);
        let sqlstate = String::from_utf8_lossy(sqlstate).into_owned();
        self.finish(running, &sqlstate);
        self.emit_sanitised(fields);
    }

    fn emit_sanitised(&mut self, fields: &[(u8, &[u8])]) {
        if self.mute {
            return;
        }
        let kept: Vec<(u8, &[u8])> = fields
            .iter()
            .filter(|(code, _)| !REVEALING.contains(code))
            .copied()
            .collect();
        compose::fields(self.to_client.tail(), b'E', &kept);
    }

    // ---- the end of a message ----

    fn ready(&mut self, frame: BytesMut) -> Result<(), Malformed> {
        let state = read::ready_for_query(&frame[HEADER..])?;
        let ended = state == b'I';
        self.transaction = state;
        self.copy_in = false;
        self.withheld = None;
        let own = match self.replies.pop_front() {
            Some(Reply::OwnQuery(_)) => true,
            Some(Reply::Query(_) | Reply::FunctionCall | Reply::Sync) => false,
            _ => return Err(Self::unexpected(b'Z')),
        };
        if ended {
            // Portals do not outlive their transaction.
            if !self.replies.iter().any(|r| matches!(r, Reply::Bind { .. })) {
                self.portals.clear();
            }
            if !own {
                self.transaction_ended();
            }
        }
        if own {
            if let Some(Reply::OwnQuery(_)) = self.replies.front() {
                return Ok(());
            }
            self.lookout.give_up();
            self.unpark();
        } else {
            self.to_client.put(&frame);
            self.mute = false;
        }
        self.stop_if_idle();
        Ok(())
    }
}

fn restore<T>(map: &mut HashMap<Name, T>, name: Name, replaced: Option<T>) {
    match replaced {
        Some(replaced) => map.insert(name, replaced),
        None => map.remove(&name),
    };
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len().max(1)).any(|window| window == needle)
}
