//! Messages from the client: planned, decided, rewritten, forwarded.

use super::records::{self, Draft};
use super::rows::{self, Shown};
use super::state::{Expect, Name, Portal, Prepared, PreparedBody, Refused, Reply, Running, format_of, poison};
use super::transform::{Sealer, read_literal};
use super::{Phase, Session, Stream, Ticket};
use crate::metrics::Outcome;
use crate::plan::{
    self, Access, Action, Effects, Output, Plan, PlanInput, Reason, Refusal, Script, Snapshot, Statement,
    StatementKind, SubjectSource, Use,
};
use crate::policy::{Circumstances, Permit};
use crate::value::Format;
use crate::wire::compose;
use crate::wire::frame::{self, HEADER, Malformed, Scan};
use crate::wire::read::{self, Bind, Execute, Parse, Target};
use crate::wire::sqlstate::SqlState;
use bytes::BytesMut;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// Statement that never comes to be: its Parse fails in place of a refused message.
const REFUSAL: &[u8] = b"pgward_refusal";
/// Statement and portal of companions.
const COMPANION: &[u8] = b"pgward_companion";

/// A refusal with what its record says.
pub(super) struct Refuse<'a> {
    pub(super) refusal: Refusal,
    pub(super) kind: StatementKind,
    pub(super) accesses: &'a [Access],
    pub(super) redacted: Arc<str>,
    pub(super) rule: Option<Arc<str>>,
}

impl Session {
    /// Takes whole frames from the front of what the client sent; leaves an incomplete one (or, under back-pressure, more).
    pub fn from_client(&mut self, input: &mut BytesMut) {
        loop {
            if self.phase == Phase::Closing {
                input.clear();
                return;
            }
            if !self.wants_client() {
                return;
            }
            if let Some((left, how)) = self.client_stream {
                let taken = input.split_to(left.min(input.len()));
                self.client_stream = (left > taken.len()).then(|| (left - taken.len(), how));
                if how == Stream::Forward {
                    self.to_server.put_bytes(taken.freeze());
                }
                if self.client_stream.is_some() {
                    return;
                }
                continue;
            }
            let (tag, size) = match frame::scan(input) {
                Ok(Scan::Partial) => return,
                Ok(Scan::Frame { tag, size }) => (tag, size),
                Err(fault) => return self.malformed("client", &fault),
            };
            if input.len() >= size {
                let frame = input.split_to(size);
                self.client_frame(tag, frame);
            } else if !self.begin_stream(tag, size, input) {
                input.reserve((size - input.len()).min(1 << 20));
                return;
            }
        }
    }

    /// The beginning of a long frame: forwarded as it comes where nothing in it is rewritten; refused where it is too long to be.
    fn begin_stream(&mut self, tag: u8, size: usize, input: &mut BytesMut) -> bool {
        let limits = &self.policy.file().limits;
        if self.phase == Phase::Login {
            if size > 64 * 1024 {
                self.malformed("client", &Malformed::new("authentication message is too long"));
                return true;
            }
            return false;
        }
        let head = &input[HEADER.min(input.len())..];
        let unprotected = match tag {
            b'd' => true,
            b'Q' | b'P' => !self.database.catalog.load().protects_anything() && size > 64 * 1024 && tag == b'Q',
            b'B' if size > 64 * 1024 => match two_names(head) {
                Some((_, statement)) => self
                    .statements
                    .get(statement)
                    .is_none_or(|s| matches!(s.body, PreparedBody::Forward { .. })),
                None => false,
            },
            _ => false,
        };
        if unprotected {
            if self.skipping && tag != b'd' {
                self.client_stream = Some((size, Stream::Discard));
                return true;
            }
            match tag {
                b'Q' => {
                    self.replies.push_back(Reply::Query(VecDeque::new()));
                    self.extended_open = false;
                }
                b'B' => {
                    let Some((portal, statement)) = two_names(head) else {
                        return false;
                    };
                    let (portal, statement): (Name, Name) = (portal.into(), statement.into());
                    self.register_portal(portal, &statement, Box::default(), Vec::new());
                    self.extended_open = true;
                }
                _ => {}
            }
            self.client_stream = Some((size, Stream::Forward));
            return true;
        }
        if size > limits.max_rewritten_message_bytes {
            let cap = limits.max_rewritten_message_bytes;
            let refusal = Refusal {
                sqlstate: SqlState::PROGRAM_LIMIT_EXCEEDED,
                reason: Reason::Limit,
                column: None,
                message: format!("a message of {size} bytes can't be looked through: the limit is {cap} bytes"),
                hint: Some("Send the data in smaller pieces, or raise [limits] max_rewritten_message_bytes.".into()),
            };
            if !self.skipping {
                self.refuse_message(tag == b'Q', Refuse::plain(refusal));
            }
            self.client_stream = Some((size, Stream::Discard));
            return true;
        }
        false
    }

    /// One whole frame.
    pub(super) fn client_frame(&mut self, tag: u8, frame: BytesMut) {
        if self.phase == Phase::Login {
            return self.login_from_client(tag, frame);
        }
        if self.skipping && !matches!(tag, b'S' | b'X') {
            return; // The server discards it: so can pgward.
        }
        let result = match tag {
            b'Q' => self.query(frame),
            b'P' => self.parse(frame),
            b'B' => self.bind(frame),
            b'D' => self.describe(frame),
            b'E' => self.execute(frame),
            b'C' => self.close_target(frame),
            b'S' => {
                if !self.copy_in {
                    self.skipping = false;
                    self.extended_open = false;
                    self.replies.push_back(Reply::Sync);
                }
                self.forward(frame);
                Ok(())
            }
            b'H' | b'd' | b'p' => {
                self.forward(frame);
                Ok(())
            }
            b'c' | b'f' => {
                self.copy_in = false;
                self.forward(frame);
                Ok(())
            }
            b'F' => {
                self.function_call(frame);
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

    fn forward(&mut self, frame: BytesMut) {
        self.to_server.put_bytes(frame.freeze());
    }

    pub(super) fn terminate(&mut self) {
        compose::bare(self.to_server.tail(), b'X');
        self.phase = Phase::Closing;
    }

    fn function_call(&mut self, frame: BytesMut) {
        if self.database.catalog.load().protects_anything() {
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

    // ---- planning ----

    /// Plans a text, or parks the message until names can be resolved. `None`: parked.
    fn plan(&mut self, tag: u8, frame: &mut BytesMut, sql: Range<usize>, oids: &[u32]) -> Option<Planned> {
        let extended = tag == b'P';
        let snapshot = self.snapshot();
        let (text, readable) = match std::str::from_utf8(&frame[sql.clone()]) {
            Ok(text) if self.settings.client_utf8 || text.is_ascii() => (Text::Exact(sql), true),
            _ => (
                Text::Lossy(Zeroizing::new(String::from_utf8_lossy(&frame[sql]).into_owned())),
                false,
            ),
        };
        let touches = plan::may_touch(text.get(frame), &snapshot);
        if touches && !self.lookout.is_current() && !self.lookout.take_failed() && self.ask(extended) {
            let frame = std::mem::take(frame);
            self.park(tag, frame);
            return None;
        }
        let unresolved = touches && !self.lookout.is_current();
        let source = text.get(frame);
        let input = PlanInput {
            sql: source,
            snapshot: &snapshot,
            scope: self.lookout.scope(),
            parameter_oids: oids,
            standard_conforming_strings: self.settings.standard_conforming_strings,
            extended,
        };
        let script = if touches {
            let key = self.database.plans.key(&input);
            match self.database.plans.get(&key) {
                Some(script) => {
                    self.shared.metrics.plan_cache_hits.inc();
                    script
                }
                None => {
                    self.shared.metrics.plan_cache_misses.inc();
                    let begun = Instant::now();
                    let script = Arc::new(plan::plan(input));
                    crate::metrics::Metrics::observe(&self.shared.metrics.planning_seconds, begun.elapsed());
                    self.database.plans.put(key, script.clone());
                    script
                }
            }
        } else {
            Arc::new(plan::plan(input))
        };
        let protected = script.statements.iter().any(|s| !matches!(s.action, Action::Forward));
        // A name that the catalog does not have yet may have come to be through another connection just now.
        let unknown = touches
            && script.statements.iter().any(|s| match &s.action {
                Action::Forward => {
                    s.effects.catalog
                        && matches!(
                            s.kind,
                            StatementKind::Select
                                | StatementKind::Insert
                                | StatementKind::Update
                                | StatementKind::Delete
                        )
                }
                Action::Refuse(refused) => refused.refusal.reason == Reason::Catalog,
                Action::Protected(_) => false,
            });
        if unknown && !unresolved && !self.lookout.take_asked_again() {
            self.lookout.catalog_stale();
            self.lookout.ask_once_more();
            if self.ask(extended) {
                let frame = std::mem::take(frame);
                self.park(tag, frame);
                return None;
            }
        }
        let obstacle = if !protected {
            None
        } else if unresolved {
            Some(
                Refusal::unsupported(
                    Reason::Catalog,
                    "names can't be resolved now, so a statement that may touch protected columns is not carried out",
                )
                .hint("End the failed transaction first, in a message of its own."),
            )
        } else if !readable || !self.settings.client_utf8 || !self.settings.server_utf8 {
            Some(
                Refusal::unsupported(
                    Reason::Protocol,
                    "statements on protected columns need client_encoding and server_encoding UTF8",
                )
                .hint("SET client_encoding = 'UTF8'."),
            )
        } else {
            None
        };
        Some(Planned {
            script,
            snapshot,
            text,
            obstacle,
        })
    }

    /// Notes what a statement may change of the state that the session keeps.
    fn note_effects(&mut self, effects: Effects) {
        if effects.catalog {
            self.lookout.catalog_stale();
        }
        if effects.scope {
            self.lookout.scope_stale();
        }
        if effects.catalog || effects.scope {
            self.lookout.changed();
        }
    }

    // ---- deciding ----

    /// Asks the policy. The profile follows a reload.
    fn decide(&mut self, plan: &Plan) -> Result<Vec<Permit>, (Refusal, Arc<str>)> {
        let policy = self.shared.policy.load_full();
        if !Arc::ptr_eq(&policy, &self.policy) {
            self.profile = policy.handler(
                &self.database.name,
                &self.origin.login_role,
                self.origin.purpose.as_deref(),
            );
            let mut origin = (*self.origin).clone();
            origin.handler = self.profile.handler.clone();
            origin.handler_kind = self.profile.kind.clone();
            origin.purpose = self.profile.purpose.clone();
            self.origin = Arc::new(origin);
            self.policy = policy;
        }
        let circumstances = Circumstances {
            client_addr: self.peer.addr.map(|a| a.ip()),
            now: self.now() / 1_000_000,
        };
        let permits = self
            .policy
            .decide(&self.profile, &circumstances, &plan.accesses)
            .map_err(|denied| {
                let refusal = Refusal {
                    sqlstate: SqlState::INSUFFICIENT_PRIVILEGE,
                    reason: if denied.masked_only {
                        Reason::MaskedExpression
                    } else {
                        Reason::Denied
                    },
                    column: plan.accesses.get(denied.access).map(|a| a.column.name.clone()),
                    message: denied.message,
                    hint: Some(denied.hint),
                };
                (refusal, denied.rule)
            })?;
        if !self.shared.journal.is_healthy() {
            return Err((Self::journal_refusal(), Arc::from("journal")));
        }
        Ok(permits)
    }

    fn shown(plan: &Plan, permits: &[Permit], format: impl Fn(usize) -> Format, simple: bool) -> Arc<[Shown]> {
        let Some(outputs) = &plan.outputs else {
            return Arc::from([]);
        };
        let read = |id| {
            plan.accesses
                .iter()
                .zip(permits)
                .find(|(a, _)| a.column.id == id && a.usage == Use::Read)
                .map(|(_, p)| p)
        };
        let mut visible = 0;
        outputs
            .iter()
            .map(|output| match output {
                Output::Column { hidden: true, .. } => Shown::Hidden,
                Output::Clear => {
                    visible += 1;
                    Shown::Unchanged {
                        format: format(visible - 1),
                    }
                }
                Output::Column { column, .. } => {
                    let format = format(visible);
                    visible += 1;
                    match read(column.id) {
                        Some(permit) => {
                            let stored = match (simple, column.mode.is_sealed()) {
                                (true, _) => Format::Text,
                                (false, true) => Format::Binary,
                                (false, false) => format,
                            };
                            Shown::Value {
                                column: column.clone(),
                                permit: permit.clone(),
                                format,
                                stored,
                            }
                        }
                        // No access was declared for a column that comes out: never shown.
                        None => Shown::Hidden,
                    }
                }
            })
            .collect()
    }

    fn draft(&self, plan: &Plan, kind: StatementKind, permits: &[Permit]) -> Draft {
        let text = &plan.redacted;
        let origin = self.origin.clone();
        Draft::new(
            self.now(),
            origin,
            &self.policy,
            kind,
            &plan.accesses,
            permits,
            text,
            plan.aggregate,
        )
    }

    fn pseudonyms<'v>(
        &self,
        plan: &Plan,
        snapshot: &Snapshot,
        value: impl Fn(&SubjectSource) -> Option<(Format, std::borrow::Cow<'v, [u8]>)>,
    ) -> Vec<[u8; 16]> {
        let keyring = self.database.keyring.load();
        let Some(keyring) = keyring.as_ref() else {
            return Vec::new();
        };
        plan.subjects
            .iter()
            .filter_map(|source| {
                let (SubjectSource::Param { table, .. }
                | SubjectSource::Literal { table, .. }
                | SubjectSource::Output { table, .. }) = source;
                let (format, bytes) = value(source)?;
                let key = rows::subject_key(rows::subject_type(source, snapshot)?, format, &bytes)?;
                Some(keyring.pseudonym(table, &key))
            })
            .collect()
    }

    fn count(&self, kind: StatementKind, outcome: Outcome) {
        self.shared.metrics.statement(kind, outcome);
    }

    // ---- refusing ----

    /// Notes a refusal (metrics, record) and gives what the reply queue keeps.
    pub(super) fn note_refusal(&mut self, refuse: Refuse<'_>) -> (Box<Refused>, String) {
        let (marker, sql) = poison(self.number());
        self.shared.metrics.refusal(refuse.refusal.reason);
        self.count(refuse.kind, Outcome::Refused);
        let record = records::refused(
            self.now(),
            &self.origin,
            &self.policy,
            refuse.kind,
            refuse.accesses,
            &refuse.redacted,
            refuse.rule,
            &refuse.refusal,
        );
        self.append(record);
        (
            Box::new(Refused {
                marker,
                refusal: refuse.refusal,
            }),
            sql,
        )
    }

    /// In place of a whole message the server gets one that fails.
    pub(super) fn refuse_message(&mut self, simple: bool, refuse: Refuse<'_>) {
        let (refused, sql) = self.note_refusal(refuse);
        if simple {
            compose::query(self.to_server.tail(), sql.as_bytes());
            self.replies
                .push_back(Reply::Query(VecDeque::from([Expect::Refused(refused)])));
            self.extended_open = false;
        } else {
            compose::parse(self.to_server.tail(), REFUSAL, sql.as_bytes(), std::iter::empty());
            self.replies.push_back(Reply::Refused(refused));
            self.extended_open = true;
        }
    }

    // ---- Query ----

    fn query(&mut self, mut frame: BytesMut) -> Result<(), Malformed> {
        let text = read::query(&frame[HEADER..])?;
        let sql = HEADER..HEADER + text.len();
        let Some(planned) = self.plan(b'Q', &mut frame, sql, &[]) else {
            return Ok(());
        };
        self.extended_open = false;
        self.lookout.asked_enough();
        let statements = &planned.script.statements;
        if statements.iter().all(|s| matches!(s.action, Action::Forward)) {
            for statement in statements {
                self.note_effects(statement.effects);
                self.count(statement.kind, Outcome::Forwarded);
            }
            self.replies.push_back(Reply::Query(VecDeque::new()));
            self.forward(frame);
            return Ok(());
        }
        if let Some(refusal) = planned.obstacle.clone() {
            self.refuse_message(true, Refuse::plain(refusal));
            return Ok(());
        }
        let source = planned.text.get(&frame);
        let mut text = Zeroizing::new(Vec::with_capacity(source.len() + 256));
        let mut expected = VecDeque::with_capacity(statements.len());
        let mut tickets = Vec::new();
        for (index, statement) in statements.iter().enumerate() {
            if index > 0 {
                text.extend_from_slice(b";\n");
            }
            self.note_effects(statement.effects);
            self.query_statement(
                source,
                statement,
                &planned.snapshot,
                &mut text,
                &mut expected,
                &mut tickets,
            );
            if matches!(expected.back(), Some(Expect::Refused(_))) {
                break; // What stands behind is not carried out by the server either.
            }
        }
        let at = self.to_server.position();
        compose::query(self.to_server.tail(), &text);
        for ticket in tickets {
            self.server_gate.wait(ticket, at);
        }
        self.hold_server();
        self.replies.push_back(Reply::Query(expected));
        Ok(())
    }

    fn query_statement(
        &mut self,
        source: &str,
        statement: &Statement,
        snapshot: &Snapshot,
        text: &mut Vec<u8>,
        expected: &mut VecDeque<Expect>,
        tickets: &mut Vec<Ticket>,
    ) {
        let kind = statement.kind;
        let plan = match &statement.action {
            Action::Forward => {
                self.count(kind, Outcome::Forwarded);
                text.extend_from_slice(source.get(statement.span.clone()).unwrap_or_default().as_bytes());
                expected.push_back(Expect::Plain);
                return;
            }
            Action::Refuse(refused) => {
                let refuse = Refuse {
                    refusal: refused.refusal.clone(),
                    kind,
                    accesses: &refused.accesses,
                    redacted: refused.redacted.clone(),
                    rule: None,
                };
                let (refused, sql) = self.note_refusal(refuse);
                text.extend_from_slice(sql.as_bytes());
                expected.push_back(Expect::Refused(refused));
                return;
            }
            Action::Protected(plan) => plan,
        };
        let start = text.len();
        match self.carry_out(source, statement, plan, snapshot, text) {
            Ok(mut running) => {
                for companion in &plan.companions {
                    text.extend_from_slice(b";\n");
                    text.extend_from_slice(companion.as_bytes());
                }
                if records::writes(&plan.accesses) {
                    let ticket = self.append_write(&mut running.draft);
                    running.write = Some(ticket);
                    tickets.push(ticket);
                }
                running.companions = plan.companions.len();
                let companions = running.companions;
                expected.push_back(Expect::Protected(Box::new(running)));
                expected.extend((1..=companions).map(|n| Expect::Companion { last: n == companions }));
            }
            Err((refusal, rule)) => {
                text.truncate(start);
                let refuse = Refuse {
                    refusal,
                    kind,
                    accesses: &plan.accesses,
                    redacted: plan.redacted.clone(),
                    rule,
                };
                let (refused, sql) = self.note_refusal(refuse);
                text.extend_from_slice(sql.as_bytes());
                expected.push_back(Expect::Refused(refused));
            }
        }
    }

    /// Decides and rewrites one protected statement of a Query.
    fn carry_out(
        &mut self,
        source: &str,
        statement: &Statement,
        plan: &Arc<Plan>,
        snapshot: &Snapshot,
        text: &mut Vec<u8>,
    ) -> Result<Running, (Refusal, Option<Arc<str>>)> {
        let permits = self.decide(plan).map_err(|(refusal, rule)| (refusal, Some(rule)))?;
        self.rewrite(source, &statement.span, plan, &permits, text)
            .map_err(|refusal| (refusal, None))?;
        let mut draft = self.draft(plan, statement.kind, &permits);
        let pseudonyms = self.pseudonyms(plan, snapshot, |subject| match subject {
            SubjectSource::Literal { literal, .. } => {
                let text = read_literal(source, literal).ok()?;
                Some((Format::Text, text.as_bytes().to_vec().into()))
            }
            _ => None,
        });
        pseudonyms.into_iter().for_each(|p| draft.subject(p));
        let outcome = if draft.masked() {
            Outcome::Masked
        } else {
            Outcome::Allowed
        };
        self.count(statement.kind, outcome);
        let shown = Self::shown(plan, &permits, |_| Format::Text, true);
        Ok(Running {
            plan: plan.clone(),
            shown,
            statement: None,
            draft,
            companions: 0,
            write: None,
            unrecorded_from: None,
        })
    }

    fn rewrite(
        &self,
        source: &str,
        span: &Range<usize>,
        plan: &Plan,
        permits: &[Permit],
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let keyring = self.database.keyring.load();
        let keyring = keyring.as_ref().as_ref().ok_or_else(no_keyring)?;
        let begun = Instant::now();
        let mut sealer = Sealer::new(keyring, &self.settings.style, &plan.accesses, permits);
        sealer.rewrite(source, span, plan, out)?;
        self.note_sealed(sealer.sealed, begun);
        Ok(())
    }

    fn note_sealed(&self, values: u64, begun: Instant) {
        if values > 0 {
            self.shared.metrics.values_sealed.inc_by(values);
            crate::metrics::Metrics::observe(&self.shared.metrics.sealing_seconds, begun.elapsed());
        }
    }

    // ---- Parse ----

    fn parse(&mut self, mut frame: BytesMut) -> Result<(), Malformed> {
        let message = Parse::read(&frame[HEADER..])?;
        let name: Name = message.name.into();
        let start = HEADER + name.len() + 1;
        let sql = start..start + message.sql.len();
        let oids: Arc<[u32]> = message.oids().collect();
        let Some(planned) = self.plan(b'P', &mut frame, sql, &oids) else {
            return Ok(());
        };
        self.extended_open = true;
        self.lookout.asked_enough();
        // The server takes one statement in a Parse and refuses more: nothing to plan then.
        let [statement] = &planned.script.statements[..] else {
            if planned
                .script
                .statements
                .iter()
                .any(|s| !matches!(s.action, Action::Forward))
            {
                let refusal = Refusal {
                    sqlstate: SqlState::SYNTAX_ERROR,
                    reason: Reason::StatementKind,
                    column: None,
                    message: "cannot insert multiple commands into a prepared statement".into(),
                    hint: None,
                };
                self.refuse_message(false, Refuse::plain(refusal));
                return Ok(());
            }
            let body = PreparedBody::Forward {
                kind: StatementKind::Other,
                effects: Effects::default(),
            };
            self.register_statement(name, Prepared::new(body));
            self.forward(frame);
            return Ok(());
        };
        let (kind, effects) = (statement.kind, statement.effects);
        match &statement.action {
            Action::Forward => {
                self.register_statement(name, Prepared::new(PreparedBody::Forward { kind, effects }));
                self.forward(frame);
            }
            Action::Refuse(refused) => {
                let refusal = planned.obstacle.clone().unwrap_or_else(|| refused.refusal.clone());
                let redacted = refused.redacted.clone();
                let refuse = Refuse {
                    refusal,
                    kind,
                    accesses: &refused.accesses,
                    redacted,
                    rule: None,
                };
                self.refuse_message(false, refuse);
            }
            Action::Protected(plan) => {
                let source = planned.text.get(&frame);
                if let Err((refusal, rule)) = self.prepare(&name, source, statement, plan, &oids, &planned) {
                    let redacted = plan.redacted.clone();
                    self.refuse_message(
                        false,
                        Refuse {
                            refusal,
                            kind,
                            accesses: &plan.accesses,
                            redacted,
                            rule,
                        },
                    );
                }
            }
        }
        Ok(())
    }

    fn prepare(
        &mut self,
        name: &Name,
        source: &str,
        statement: &Statement,
        plan: &Arc<Plan>,
        oids: &Arc<[u32]>,
        planned: &Planned,
    ) -> Result<(), (Refusal, Option<Arc<str>>)> {
        if let Some(refusal) = planned.obstacle.clone() {
            return Err((refusal, None));
        }
        let permits = self.decide(plan).map_err(|(refusal, rule)| (refusal, Some(rule)))?;
        let mut text = Zeroizing::new(Vec::with_capacity(source.len() + 128));
        self.rewrite(source, &statement.span, plan, &permits, &mut text)
            .map_err(|refusal| (refusal, None))?;
        let server_oids = plan.server_params.iter().map(|p| p.type_oid);
        compose::parse(self.to_server.tail(), name, &text, server_oids);
        let prepared = Prepared::new(PreparedBody::Protected {
            plan: plan.clone(),
            kind: statement.kind,
            effects: statement.effects,
            sql: Arc::new(Zeroizing::new(source.to_owned())),
            oids: oids.clone(),
            version: planned.snapshot.version,
        });
        let prepared = self.register_statement(name.clone(), prepared);
        // The server's own description is held against the plan before a row is given out.
        compose::describe(self.to_server.tail(), b'S', name);
        self.replies.push_back(Reply::DescribeStatement {
            statement: Some(prepared),
            own: true,
        });
        Ok(())
    }

    fn register_statement(&mut self, name: Name, prepared: Prepared) -> Arc<Prepared> {
        let prepared = Arc::new(prepared);
        let replaced = self.statements.insert(name.clone(), prepared.clone());
        self.replies.push_back(Reply::Parse { name, replaced });
        prepared
    }

    // ---- Bind ----

    fn bind(&mut self, frame: BytesMut) -> Result<(), Malformed> {
        let message = Bind::read(&frame[HEADER..])?;
        self.extended_open = true;
        let formats: Box<[u16]> = (0..message.result_formats.len())
            .map(|i| message.result_formats.code(i))
            .collect();
        let statement = self.statements.get(message.statement).cloned();
        let name: Name = message.portal.into();
        let Some(statement) = statement else {
            // Unknown here: made by SQL-level PREPARE, or absent; the server says which.
            self.replies.push_back(Reply::Bind {
                name: name.clone(),
                replaced: self.portals.remove(&name),
            });
            self.forward(frame);
            return Ok(());
        };
        let PreparedBody::Protected { plan, kind, .. } = &statement.body else {
            let statement_name: Name = message.statement.into();
            self.register_portal(name, &statement_name, formats, Vec::new());
            self.forward(frame);
            return Ok(());
        };
        let (plan, kind) = (plan.clone(), *kind);
        let result = self.bind_protected(&message, &statement, &plan, formats, name)?;
        if let Err((refusal, rule)) = result {
            let redacted = plan.redacted.clone();
            self.refuse_message(
                false,
                Refuse {
                    refusal,
                    kind,
                    accesses: &plan.accesses,
                    redacted,
                    rule,
                },
            );
        }
        Ok(())
    }

    #[allow(clippy::type_complexity)] // protocol faults outside, refusals inside: two kinds of failure that end differently
    fn bind_protected(
        &mut self,
        message: &Bind<'_>,
        statement: &Arc<Prepared>,
        plan: &Arc<Plan>,
        formats: Box<[u16]>,
        name: Name,
    ) -> Result<Result<(), (Refusal, Option<Arc<str>>)>, Malformed> {
        if let Err(refusal) = self.revalidate(statement) {
            return Ok(Err((refusal, None)));
        }
        let permits = match self.decide(plan) {
            Ok(permits) => permits,
            Err((refusal, rule)) => return Ok(Err((refusal, Some(rule)))),
        };
        let keyring = self.database.keyring.load_full();
        let Some(keyring) = keyring.as_ref() else {
            return Ok(Err((no_keyring(), None)));
        };
        let begun = Instant::now();
        let mut sealer = Sealer::new(keyring, &self.settings.style, &plan.accesses, &permits);
        let server_formats = server_result_formats(plan, message);
        let mut rewritten = BytesMut::with_capacity(256);
        if let Err(refusal) = sealer.bind(message, plan, &server_formats, &mut rewritten)? {
            return Ok(Err((refusal, None)));
        }
        let sealed = sealer.sealed;
        self.note_sealed(sealed, begun);
        let subjects = self.pseudonyms(plan, &self.snapshot(), |source| match source {
            SubjectSource::Param { index, .. } => {
                let value = message.values().nth(*index)??;
                Some((format_of(message.formats.code(*index)), value.into()))
            }
            SubjectSource::Literal { literal, .. } => {
                let PreparedBody::Protected { sql, .. } = &statement.body else {
                    return None;
                };
                let text = read_literal(sql, literal).ok()?;
                Some((Format::Text, text.as_bytes().to_vec().into()))
            }
            SubjectSource::Output { .. } => None,
        });
        self.to_server.put_bytes(rewritten.freeze());
        let portal = Arc::new(Portal {
            statement: statement.clone(),
            formats,
            subjects,
        });
        let replaced = self.portals.insert(name.clone(), portal);
        self.replies.push_back(Reply::Bind { name, replaced });
        Ok(Ok(()))
    }

    fn register_portal(&mut self, name: Name, statement: &Name, formats: Box<[u16]>, subjects: Vec<[u8; 16]>) {
        let replaced = match self.statements.get(statement) {
            Some(statement) => {
                let portal = Arc::new(Portal {
                    statement: statement.clone(),
                    formats,
                    subjects,
                });
                self.portals.insert(name.clone(), portal)
            }
            None => self.portals.remove(&name),
        };
        self.replies.push_back(Reply::Bind { name, replaced });
    }

    /// A statement that was prepared under another catalog is planned again; it must come to the same plan.
    fn revalidate(&mut self, statement: &Arc<Prepared>) -> Result<(), Refusal> {
        let PreparedBody::Protected {
            plan,
            sql,
            oids,
            version,
            ..
        } = &statement.body
        else {
            return Ok(());
        };
        let snapshot = self.snapshot();
        if snapshot.version == *version {
            return Ok(());
        }
        let script = plan::plan(PlanInput {
            sql,
            snapshot: &snapshot,
            scope: self.lookout.scope(),
            parameter_oids: oids,
            standard_conforming_strings: self.settings.standard_conforming_strings,
            extended: true,
        });
        let same = match &script.statements[..] {
            [
                Statement {
                    action: Action::Protected(again),
                    ..
                },
            ] => same_plan(plan, again),
            _ => false,
        };
        if same {
            Ok(())
        } else {
            Err(Refusal::unsupported(
                Reason::Catalog,
                "the prepared statement no longer fits the catalog or the policy",
            )
            .hint("Prepare the statement again."))
        }
    }

    // ---- Describe, Execute, Close ----

    fn describe(&mut self, frame: BytesMut) -> Result<(), Malformed> {
        let target = Target::read(&frame[HEADER..], "Describe")?;
        self.extended_open = true;
        let reply = if target.portal {
            Reply::DescribePortal {
                portal: self.portals.get(target.name).cloned(),
            }
        } else {
            Reply::DescribeStatement {
                statement: self.statements.get(target.name).cloned(),
                own: false,
            }
        };
        self.replies.push_back(reply);
        self.forward(frame);
        Ok(())
    }

    fn execute(&mut self, frame: BytesMut) -> Result<(), Malformed> {
        let message = Execute::read(&frame[HEADER..])?;
        self.extended_open = true;
        let portal = self.portals.get(message.portal).cloned();
        let Some(portal) = portal else {
            self.replies.push_back(Reply::Execute(None));
            self.forward(frame);
            return Ok(());
        };
        match &portal.statement.body {
            PreparedBody::Forward { kind, effects } => {
                self.note_effects(*effects);
                self.count(*kind, Outcome::Forwarded);
                self.replies.push_back(Reply::Execute(None));
                self.forward(frame);
            }
            PreparedBody::Protected {
                plan, kind, effects, ..
            } => {
                let permits = match self.decide(plan) {
                    Ok(permits) => permits,
                    Err((refusal, rule)) => {
                        let (redacted, rule) = (plan.redacted.clone(), Some(rule));
                        let refuse = Refuse {
                            refusal,
                            kind: *kind,
                            accesses: &plan.accesses,
                            redacted,
                            rule,
                        };
                        self.refuse_message(false, refuse);
                        return Ok(());
                    }
                };
                self.note_effects(*effects);
                let mut draft = self.draft(plan, *kind, &permits);
                portal.subjects.iter().for_each(|p| draft.subject(*p));
                self.count(
                    *kind,
                    if draft.masked() {
                        Outcome::Masked
                    } else {
                        Outcome::Allowed
                    },
                );
                let mut write = None;
                if records::writes(&plan.accesses) {
                    let ticket = self.append_write(&mut draft);
                    self.server_gate.wait(ticket, self.to_server.position());
                    self.hold_server();
                    write = Some(ticket);
                }
                let shown = Self::shown(plan, &permits, |i| format_of(portal.format_code(i)), false);
                let companions = plan.companions.len();
                let running = Running {
                    plan: plan.clone(),
                    shown,
                    statement: Some(portal.statement.clone()),
                    draft,
                    companions,
                    write,
                    unrecorded_from: None,
                };
                self.replies.push_back(Reply::Execute(Some(Box::new(running))));
                self.forward(frame);
                for (index, companion) in plan.companions.iter().enumerate() {
                    let out = self.to_server.tail();
                    compose::parse(out, COMPANION, companion.as_bytes(), std::iter::empty());
                    compose::bind_plain(out, COMPANION, COMPANION);
                    compose::execute(out, COMPANION, 0);
                    compose::close(out, b'S', COMPANION);
                    let last = index + 1 == companions;
                    self.replies
                        .extend([Reply::Own(b'1'), Reply::Own(b'2'), Reply::OwnCompanion { last }]);
                    self.replies.push_back(Reply::Own(b'3'));
                }
            }
        }
        Ok(())
    }

    fn close_target(&mut self, frame: BytesMut) -> Result<(), Malformed> {
        let target = Target::read(&frame[HEADER..], "Close")?;
        self.extended_open = true;
        let name: Name = target.name.into();
        let reply = if target.portal {
            let replaced = self.portals.remove(&name);
            Reply::ClosePortal { name, replaced }
        } else {
            let replaced = self.statements.remove(&name);
            Reply::CloseStatement { name, replaced }
        };
        self.replies.push_back(reply);
        self.forward(frame);
        Ok(())
    }

    // ---- a write whose record failed ----

    fn append_write(&mut self, draft: &mut Draft) -> Ticket {
        let record = draft.record(self.now(), None, "");
        self.append(record)
    }

    /// The record of a write can't be made: the message that carries it, held back at stream position `at`, is replaced by one that fails.
    pub(super) fn unwrite(&mut self, ticket: Ticket, at: u64) {
        self.server_gate.drop_at(at);
        let is_it = |running: &Running| running.write == Some(ticket);
        let reply = self.replies.iter_mut().find(|reply| match reply {
            Reply::Execute(Some(running)) => is_it(running),
            Reply::Query(expected) => expected
                .iter()
                .any(|e| matches!(e, Expect::Protected(running) if is_it(running))),
            _ => false,
        });
        let cut = self.to_server.cut(at);
        let (Some(reply), Ok(Scan::Frame { size, .. })) = (reply, frame::scan(&cut)) else {
            return self.close(); // Neither can happen while the gate's positions are right; nothing is forwarded then.
        };
        self.next_number += 1;
        let (marker, sql) = poison(self.next_number);
        let refused = Box::new(Refused {
            marker,
            refusal: Self::journal_refusal(),
        });
        let mut replacement = BytesMut::new();
        if matches!(reply, Reply::Query(_)) {
            compose::query(&mut replacement, sql.as_bytes());
            *reply = Reply::Query(VecDeque::from([Expect::Refused(refused)]));
        } else {
            compose::parse(&mut replacement, REFUSAL, sql.as_bytes(), std::iter::empty());
            *reply = Reply::Refused(refused);
        }
        self.shared.metrics.refusal(Reason::Journal);
        self.to_server.put(&replacement);
        self.to_server.put(cut.get(size..).unwrap_or_default());
        self.server_gate.shift(at, replacement.len() as i64 - size as i64);
    }
}

impl Refuse<'_> {
    pub(super) fn plain(refusal: Refusal) -> Self {
        Self {
            refusal,
            kind: StatementKind::Other,
            accesses: &[],
            redacted: Arc::from(""),
            rule: None,
        }
    }
}

/// A text as the planner reads it.
enum Text {
    /// These bytes of the frame, UTF-8.
    Exact(Range<usize>),
    /// Not UTF-8: good enough to see whether it may touch anything protected.
    Lossy(Zeroizing<String>),
}

impl Text {
    fn get<'a>(&'a self, frame: &'a [u8]) -> &'a str {
        match self {
            Text::Exact(range) => frame
                .get(range.clone())
                .and_then(|b| std::str::from_utf8(b).ok())
                .unwrap_or_default(),
            Text::Lossy(text) => text,
        }
    }
}

struct Planned {
    script: Arc<Script>,
    snapshot: Arc<Snapshot>,
    text: Text,
    /// Why nothing protected can be carried out now, whatever the plan.
    obstacle: Option<Refusal>,
}

pub(super) fn no_keyring() -> Refusal {
    Refusal::unsupported(Reason::Integrity, "this database has no keyring")
        .hint("Run `pgward init`, then restart pgward.")
}

fn same_plan(a: &Plan, b: &Plan) -> bool {
    a.splices == b.splices
        && a.client_params == b.client_params
        && a.server_params == b.server_params
        && a.outputs == b.outputs
        && a.companions == b.companions
        && a.accesses.len() == b.accesses.len()
        && a.accesses
            .iter()
            .zip(&b.accesses)
            .all(|(a, b)| a.column == b.column && a.usage == b.usage && a.derived == b.derived)
}

/// The formats that the server is asked for: binary for sealed columns, for all others what the client asked for.
fn server_result_formats(plan: &Plan, message: &Bind<'_>) -> Vec<u16> {
    let Some(outputs) = &plan.outputs else {
        return (0..message.result_formats.len())
            .map(|i| message.result_formats.code(i))
            .collect();
    };
    let mut visible = 0;
    outputs
        .iter()
        .map(|output| match output {
            Output::Column { hidden: true, .. } => 1,
            Output::Column { column, .. } if column.mode.is_sealed() => {
                visible += 1;
                1
            }
            Output::Clear | Output::Column { .. } => {
                visible += 1;
                message.result_formats.code(visible - 1)
            }
        })
        .collect()
}

/// The two names at the front of a Bind, once both are there.
fn two_names(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = head.iter().position(|b| *b == 0)?;
    let rest = &head[first + 1..];
    let second = rest.iter().position(|b| *b == 0)?;
    Some((&head[..first], &rest[..second]))
}
