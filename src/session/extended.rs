//! The extended protocol: Parse, Bind, Describe, Execute, Close.

use super::Session;
use super::aside::{known_as, unclear_name, unsettled};
use super::planning::Planned;
use super::records::{self};
use super::refuse::{Refuse, no_keyring, portal_read};
use super::standing::{Standing, outdated, unresolvable};
use super::state::{Name, Portal, Prepared, PreparedBody, Reply, Running, format_of};
use super::transform::Sealer;
use crate::metrics::Outcome;
use crate::plan::{self, Action, Effects, Output, Plan, Reason, Refusal, Statement, StatementKind, SubjectSource};
use crate::value::Format;
use crate::wire::compose;
use crate::wire::frame::{HEADER, Malformed};
use crate::wire::read::{Bind, Execute, Parse, Target};
use crate::wire::sqlstate::SqlState;
use bytes::BytesMut;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// Statement and portal of companions.
const COMPANION: &[u8] = b"pgward_companion";

impl Session {
    pub(super) fn parse(&mut self, mut frame: BytesMut) -> Result<(), Malformed> {
        let message = Parse::read(&frame[HEADER..])?;
        let name: Name = known_as(message.name).into();
        let start = HEADER + message.name.len() + 1;
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
                self.refuse_parse(name, Refuse::plain(refusal));
                return Ok(());
            }
            let body = PreparedBody::Forward {
                kind: StatementKind::Other,
                effects: Effects::default(),
            };
            self.register_statement(name, self.prepared(body, &planned, &frame, &oids));
            self.forward(frame);
            return Ok(());
        };
        let (kind, effects) = (statement.kind, statement.effects);
        match &statement.action {
            Action::Forward if let Some(refusal) = planned.obstacle.clone() => {
                self.refuse_parse(name, Refuse::plain(refusal));
            }
            Action::Forward => {
                let body = PreparedBody::Forward { kind, effects };
                self.register_statement(name, self.prepared(body, &planned, &frame, &oids));
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
                self.refuse_parse(name, refuse);
            }
            Action::Protected(plan) => {
                let source = planned.text.get(&frame);
                if let Err((refusal, rule)) = self.prepare(&name, source, statement, plan, &oids, &planned) {
                    let redacted = plan.redacted.clone();
                    self.refuse_parse(
                        name,
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

    pub(super) fn prepare(
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
        if !name.is_ascii() {
            return Err((unclear_name(), None));
        }
        let permits = self.decide(plan).map_err(|(refusal, rule)| (refusal, Some(rule)))?;
        let text = self
            .rewrite(source, &statement.span, plan, &permits)
            .map_err(|refusal| (refusal, None))?;
        let server_oids = plan.server_params.iter().map(|p| p.type_oid);
        compose::parse(self.to_server.tail(), name, &text, server_oids);
        let body = PreparedBody::Protected {
            plan: plan.clone(),
            kind: statement.kind,
            effects: statement.effects,
        };
        let sql = Zeroizing::new(source.to_owned());
        let prepared = Prepared::new(body, sql, oids.clone(), planned.standing);
        let prepared = self.register_statement(name.clone(), prepared);
        // The server's own description is held against the plan before a row is given out.
        compose::describe(self.to_server.tail(), b'S', name);
        self.replies.push_back(Reply::DescribeStatement {
            statement: Some(prepared),
            own: true,
        });
        Ok(())
    }

    fn prepared(&self, body: PreparedBody, planned: &Planned, frame: &BytesMut, oids: &Arc<[u32]>) -> Prepared {
        let sql = Zeroizing::new(planned.text.get(frame).to_owned());
        Prepared::new(body, sql, oids.clone(), planned.standing)
    }

    pub(super) fn register_statement(&mut self, name: Name, prepared: Prepared) -> Arc<Prepared> {
        let prepared = Arc::new(prepared);
        self.lost.forget(&name);
        let replaced = self.statements.insert(name.clone(), prepared.clone());
        self.replies.push_back(Reply::Parse { name, replaced });
        prepared
    }

    pub(super) fn bind(&mut self, frame: BytesMut) -> Result<(), Malformed> {
        let message = Bind::read(&frame[HEADER..])?;
        self.extended_open = true;
        let formats: Box<[u16]> = (0..message.result_formats.len())
            .map(|i| message.result_formats.code(i))
            .collect();
        let asked = known_as(message.statement);
        let statement = self.statements.get(asked).cloned();
        let name: Name = known_as(message.portal).into();
        if self.is_statement_unsettled(asked) {
            self.refuse_message(false, Refuse::plain(unsettled()));
            return Ok(());
        }
        let Some(statement) = statement else {
            // Unknown here: made by SQL-level PREPARE, or absent; the server says which.
            self.replies.push_back(Reply::Bind {
                name: name.clone(),
                replaced: self.portals.remove(&name),
            });
            if self.lost.holds(asked) {
                // The server has no such statement, whatever the values.
                compose::bind_plain(self.to_server.tail(), message.portal, message.statement);
            } else {
                self.forward(frame);
            }
            return Ok(());
        };
        match self.standing(&statement) {
            Standing::Holds => {}
            Standing::Unknown => {
                if self.ask(true) {
                    self.park(b'B', frame);
                } else {
                    self.refuse_message(false, Refuse::plain(unresolvable()));
                }
                return Ok(());
            }
            Standing::Changed => {
                self.refuse_message(false, Refuse::plain(outdated()));
                return Ok(());
            }
        }
        let PreparedBody::Protected { plan, kind, .. } = &statement.body else {
            let statement_name: Name = asked.into();
            self.register_portal(name, &statement_name, formats, Vec::new());
            self.forward(frame);
            return Ok(());
        };
        let (plan, kind) = (plan.clone(), *kind);
        let result = if name.is_ascii() {
            self.bind_protected(&message, &statement, &plan, formats, name)
        } else {
            Err((unclear_name(), None))
        };
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

    /// Decides, seals, and forwards the Bind. An error is a refusal, with the rule that denies.
    pub(super) fn bind_protected(
        &mut self,
        message: &Bind<'_>,
        statement: &Arc<Prepared>,
        plan: &Arc<Plan>,
        formats: Box<[u16]>,
        name: Name,
    ) -> Result<(), (Refusal, Option<Arc<str>>)> {
        let permits = self.decide(plan).map_err(|(refusal, rule)| (refusal, Some(rule)))?;
        let keyring = self.database.keyring.load_full();
        let keyring = keyring.as_ref().as_ref().ok_or_else(|| (no_keyring(), None))?;
        let begun = Instant::now();
        let mut sealer = Sealer::new(keyring, &self.settings.style, &plan.accesses, &permits);
        let server_formats = server_result_formats(plan, message);
        let mut rewritten = BytesMut::with_capacity(256);
        sealer
            .bind(message, plan, &server_formats, &mut rewritten)
            .map_err(|refusal| (refusal, None))?;
        let sealed = sealer.sealed;
        self.note_sealed(sealed, begun);
        let subjects = self.pseudonyms(plan, &self.snapshot(), |source| match source {
            SubjectSource::Param { index, .. } => {
                let value = message.values().nth(*index)??;
                Some((format_of(message.formats.code(*index)), value.into()))
            }
            SubjectSource::Literal { literal, .. } => {
                let text = plan::read_literal(&statement.sql, literal)?;
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
        Ok(())
    }

    pub(super) fn register_portal(
        &mut self,
        name: Name,
        statement: &Name,
        formats: Box<[u16]>,
        subjects: Vec<[u8; 16]>,
    ) {
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

    pub(super) fn describe(&mut self, frame: BytesMut) -> Result<(), Malformed> {
        let target = Target::read(&frame[HEADER..], "Describe")?;
        self.extended_open = true;
        let reply = if target.portal {
            Reply::DescribePortal {
                portal: self.portals.get(known_as(target.name)).cloned(),
            }
        } else {
            Reply::DescribeStatement {
                statement: self.statements.get(known_as(target.name)).cloned(),
                own: false,
            }
        };
        self.replies.push_back(reply);
        self.forward(frame);
        Ok(())
    }

    pub(super) fn execute(&mut self, frame: BytesMut) -> Result<(), Malformed> {
        let message = Execute::read(&frame[HEADER..])?;
        self.extended_open = true;
        let asked = known_as(message.portal);
        let portal = self.portals.get(asked).cloned();
        if self.is_portal_unsettled(asked) {
            self.refuse_message(false, Refuse::plain(unsettled()));
            return Ok(());
        }
        let Some(portal) = portal else {
            self.replies.push_back(Reply::Execute(None));
            self.forward(frame);
            return Ok(());
        };
        match &portal.statement.body {
            PreparedBody::Forward { effects, .. } if effects.portal && self.holds_protected_portal(true) => {
                self.refuse_message(false, Refuse::plain(portal_read()));
            }
            PreparedBody::Forward { kind, effects } => {
                if let Some(refusal) = self.refuse_prepared_by_name(*kind, &portal.statement) {
                    self.refuse_message(false, Refuse::plain(refusal));
                    return Ok(());
                }
                self.note_effects(*kind, *effects);
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
                self.note_effects(*kind, *effects);
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
                    kind: *kind,
                    shown,
                    statement: Some(portal.statement.clone()),
                    draft,
                    companions,
                    write,
                    unrecorded_from: None,
                    subjects: None,
                };
                self.replies.push_back(Reply::Execute(Some(Box::new(running))));
                self.forward(frame);
                for (index, companion) in plan.companions.iter().enumerate() {
                    let out = self.to_server.tail();
                    // One whose Parse went well and whose Execute failed is still there: statements outlive a rolled-back transaction.
                    compose::close(out, b'S', COMPANION);
                    compose::parse(out, COMPANION, companion.as_bytes(), std::iter::empty());
                    compose::bind_plain(out, COMPANION, COMPANION);
                    compose::execute(out, COMPANION, 0);
                    compose::close(out, b'P', COMPANION);
                    compose::close(out, b'S', COMPANION);
                    let last = index + 1 == companions;
                    self.replies.push_back(Reply::Own(b'3'));
                    self.replies
                        .extend([Reply::Own(b'1'), Reply::Own(b'2'), Reply::OwnCompanion { last }]);
                    self.replies.extend([Reply::Own(b'3'), Reply::Own(b'3')]);
                }
            }
        }
        Ok(())
    }

    pub(super) fn close_target(&mut self, frame: BytesMut) -> Result<(), Malformed> {
        let target = Target::read(&frame[HEADER..], "Close")?;
        self.extended_open = true;
        let name: Name = known_as(target.name).into();
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
}

/// The formats that the server is asked for: binary for sealed columns, for all others what the client asked for.
fn server_result_formats(plan: &Plan, message: &Bind<'_>) -> Vec<u16> {
    let given = message.result_formats.len();
    let shown = |outputs: &&Vec<Output>| {
        let visible = outputs
            .iter()
            .filter(|o| !matches!(o, Output::Column { hidden: true, .. }))
            .count();
        given <= 1 || given == visible
    };
    // A wrong number of codes is the server's to refuse.
    let Some(outputs) = plan.outputs.as_ref().filter(shown) else {
        return (0..given).map(|i| message.result_formats.code(i)).collect();
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
