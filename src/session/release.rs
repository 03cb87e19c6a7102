//! Rows of protected statements: rewritten, and released when their record is durable.

use super::rows::{self, RowFault, Shown};
use super::state::{Expect, Reply, Running, SubjectAt, Verified};
use super::{Phase, Session};
use crate::crypto::Keyring;
use crate::plan::{Plan, SubjectSource};
use crate::wire::frame::{self, HEADER, Malformed, Scan};
use crate::wire::inbuf::InBuf;

/// Bytes of rows that one record covers at most before they are released. Less where less than that is buffered: rows that wait for a record stop
/// the server once the buffer is full.
const RELEASE_BYTES: u64 = 128 * 1024;

impl Session {
    /// One answer of a protected statement. Gives it back while more is to come.
    pub(super) fn running(
        &mut self,
        tag: u8,
        frame: &[u8],
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
                    self.withheld = Some(frame.into());
                } else {
                    self.emit(frame);
                }
                Ok(None)
            }
            _ => Err(Self::unexpected(tag)),
        }
    }

    /// Takes the whole DataRow frames of a protected statement from the front of `input`, in place: a row is neither split off nor does it
    /// go through the queue of replies. Whether there was any.
    #[inline(never)] // Off the fast path, whose code stays small.
    pub(super) fn take_rows(&mut self, input: &mut InBuf) -> Result<bool, Malformed> {
        let first = match self.replies.front_mut() {
            Some(Reply::Execute(running)) => running.take(),
            Some(Reply::Query(expected)) if matches!(expected.front(), Some(Expect::Protected(_))) => {
                match expected.pop_front() {
                    Some(Expect::Protected(running)) => Some(running),
                    _ => None,
                }
            }
            _ => None,
        };
        let Some(mut running) = first else { return Ok(false) };
        let mut taken = 0;
        let mut result = Ok(());
        while result.is_ok()
            && self.phase == Phase::Ready
            && self.wants_server()
            && let Some(rest) = input.get(taken..)
            && let Ok(Scan::Frame { tag: b'D', size }) = frame::scan(rest)
            && let Some(frame) = rest.get(..size)
        {
            result = self.row(frame, &mut running);
            taken += size;
        }
        input.advance(taken);
        match self.replies.front_mut() {
            Some(Reply::Execute(none)) => *none = Some(running),
            Some(Reply::Query(expected)) => expected.push_front(Expect::Protected(running)),
            _ => return Err(Self::unexpected(b'D')),
        }
        result.map(|()| taken > 0)
    }

    pub(super) fn row(&mut self, frame: &[u8], running: &mut Running) -> Result<(), Malformed> {
        if self.mute {
            return Ok(());
        }
        if running
            .statement
            .as_ref()
            .is_some_and(|s| s.verified() == Verified::Differs)
        {
            self.fail_running(running, rows::lineage_mismatch("its description differs from the plan"));
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
            self.fail_running(running, super::refuse::no_keyring());
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
                    RowFault::Refused(refusal) => self.fail_running(running, refusal),
                }
                return Ok(());
            }
        }
        self.row_subjects(body, keyring, running);
        self.release_when_full(running);
        Ok(())
    }

    /// The data subjects of a row, as pseudonyms.
    fn row_subjects(&mut self, body: &[u8], keyring: &Keyring, running: &mut Running) {
        if running.plan.subjects.is_empty() {
            return;
        }
        let Running {
            plan,
            shown,
            subjects,
            draft,
            ..
        } = running;
        let subjects = subjects.get_or_insert_with(|| self.subjects_at(plan, shown));
        for at in subjects {
            let key = &mut self.scratch.subject;
            let read = rows::column_value(body, at.index)
                .and_then(|value| rows::subject_key(at.type_oid, at.format, value, key));
            if read.is_some() {
                draft.subject(keyring.pseudonym(&at.table, key));
            }
        }
    }

    /// Where in the rows of a plan data subjects stand: the same for all its rows.
    fn subjects_at(&self, plan: &Plan, shown: &[Shown]) -> Box<[SubjectAt]> {
        let snapshot = self.snapshot();
        plan.subjects
            .iter()
            .filter_map(|source| {
                let SubjectSource::Output { index, table } = source else {
                    return None;
                };
                let Some(Shown::Unchanged { format }) = shown.get(*index) else {
                    return None;
                };
                Some(SubjectAt {
                    index: *index,
                    format: *format,
                    type_oid: rows::subject_type(source, &snapshot)?,
                    table: table.clone(),
                })
            })
            .collect()
    }

    /// From here on output waits for a record that is still to be made.
    pub(super) fn begin_unrecorded(&mut self, running: &mut Running) {
        if running.unrecorded_from.is_none() {
            let at = self.to_client.position();
            running.unrecorded_from = Some(at);
            self.client_gate.set_open(Some(at));
            self.hold_client();
        }
    }

    pub(super) fn release_when_full(&mut self, running: &mut Running) {
        let Some(from) = running.unrecorded_from else { return };
        let most = RELEASE_BYTES.min(self.policy.file().limits.buffer_bytes as u64 / 2);
        if running.draft.is_full() || self.to_client.position() - from >= most {
            self.submit(running, "");
        }
    }

    /// Submits the record of what has gathered; its rows are released when it is durable.
    pub(super) fn submit(&mut self, running: &mut Running, sqlstate: &str) {
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
    pub(super) fn finish(&mut self, running: &mut Running, sqlstate: &str) {
        if !self.mute && (running.unrecorded_from.is_some() || !running.draft.recorded) {
            self.submit(running, sqlstate);
        }
    }
}
