//! The extended protocol: Parse, Bind, Describe, Execute, Close.

use super::Session;
use super::aside::{is_protected, known_as, shows_protected, unclear_name, unsettled};
use super::forget::MAX_COLUMNS;
use super::planning::Planned;
use super::records::{self};
use super::refuse::{Refuse, no_keyring};
use super::standing::{Standing, outdated, unresolvable};
use super::state::{Bound, Keeping, Name, Portal, Prepared, PreparedBody, Reply, Running, format_of};
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
    pub(super) fn parse(&mut self, frame: &[u8]) -> Result<(), Malformed> {
        let message = Parse::read(&frame[HEADER..])?;
        let name: Name = known_as(message.name).into();
        let start = HEADER + message.name.len() + 1;
        let sql = start..start + message.sql.len();
        let oids: Arc<[u32]> = message.oids().collect();
        let cost = Keeping::cost(&name, message.sql.len(), &oids);
        if let Err(refusal) = self.check_room(&name, cost) {
            self.refuse_message(false, Refuse::plain(refusal));
            return Ok(());
        }
        let Some(planned) = self.plan(b'P', frame, sql, &oids) else {
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
                forgets: None,
            };
            self.keep_statement(name, body, planned.text.get(frame), &oids, &planned);
            self.forward(frame);
            return Ok(());
        };
        let (kind, effects) = (statement.kind, statement.effects);
        match &statement.action {
            Action::Forward if let Some(refusal) = planned.obstacle.clone() => {
                self.refuse_parse(name, Refuse::plain(refusal));
            }
            Action::Forward => {
                let forgets = plan::forgets(planned.text.get(frame), &statement.span);
                let body = PreparedBody::Forward { kind, effects, forgets };
                self.keep_statement(name, body, planned.text.get(frame), &oids, &planned);
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
                let source = planned.text.get(frame);
                if let Err(why) = self.prepare(&name, source, statement, plan, &oids, &planned) {
                    self.refuse_parse(name, Refuse::planned(plan, kind, why));
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
        let body = PreparedBody::Protected {
            plan: plan.clone(),
            kind: statement.kind,
            effects: statement.effects,
        };
        self.check_room(name, Keeping::cost(name, source.len(), oids) + body.bytes())
            .map_err(|refusal| (refusal, None))?;
        let server_oids = plan.server_params.iter().map(|p| p.type_oid);
        compose::parse(self.to_server.tail(), name, &text, server_oids);
        let prepared = self.keep_statement(name.clone(), body, source, oids, planned);
        // The server's own description is held against the plan before a row is given out.
        compose::describe(self.to_server.tail(), b'S', name);
        self.replies.push_back(Reply::DescribeStatement {
            statement: Some(prepared),
            own: true,
        });
        Ok(())
    }

    /// Keeps a statement whose Parse goes to the server now.
    fn keep_statement(
        &mut self,
        name: Name,
        body: PreparedBody,
        sql: &str,
        oids: &Arc<[u32]>,
        planned: &Planned,
    ) -> Arc<Prepared> {
        let kept = self.keeping.take(Keeping::cost(&name, sql.len(), oids) + body.bytes());
        let sql = Zeroizing::new(Box::from(sql));
        let prepared = Arc::new(Prepared::new(body, sql, oids.clone(), planned.standing, kept));
        self.register_statement(name, prepared.clone());
        prepared
    }

    pub(super) fn register_statement(&mut self, name: Name, prepared: Arc<Prepared>) {
        self.lost.forget(&name);
        let replaced = self.statements.insert(name.clone(), prepared);
        self.statement_taken |= replaced.as_deref().is_some_and(is_protected);
        self.replies.push_back(Reply::Parse { name, replaced });
    }

    pub(super) fn bind(&mut self, frame: &[u8]) -> Result<(), Malformed> {
        let message = Bind::read(&frame[HEADER..])?;
        self.extended_open = true;
        let asked = known_as(message.statement);
        let statement = self.statements.get(asked).cloned();
        let name: Name = known_as(message.portal).into();
        if self.is_statement_unsettled(asked) {
            self.refuse_message(false, Refuse::plain(unsettled()));
            return Ok(());
        }
        if !self.portals.contains(&name)
            && let Err(refusal) = self.check_portals()
        {
            self.refuse_message(false, Refuse::plain(refusal));
            return Ok(());
        }
        let Some(statement) = statement else {
            // Unknown here: made by SQL-level PREPARE, or absent; the server says which. What comes out of it is looked at before it is executed.
            self.register_portal(name, None);
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
            self.register_portal(name, Some(Portal::plain(statement)));
            self.forward(frame);
            return Ok(());
        };
        let (plan, kind) = (plan.clone(), *kind);
        let result = if let Some(refusal) = self.foreign() {
            Err((refusal, None))
        } else if name.is_ascii() {
            self.bind_protected(&message, &statement, &plan, name)
        } else {
            Err((unclear_name(), None))
        };
        if let Err(why) = result {
            self.refuse_message(false, Refuse::planned(&plan, kind, why));
        }
        Ok(())
    }

    /// Decides, seals, and forwards the Bind. An error is a refusal, with the rule that denies.
    pub(super) fn bind_protected(
        &mut self,
        message: &Bind<'_>,
        statement: &Arc<Prepared>,
        plan: &Arc<Plan>,
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
        let formats = message.result_formats;
        let bound = Bound {
            formats: (0..formats.len().min(MAX_COLUMNS)).map(|i| formats.code(i)).collect(),
            subjects,
        };
        let portal = Portal::protected(statement.clone(), bound);
        self.register_portal(name, Some(portal));
        Ok(())
    }

    /// What a portal means from now on; `None`: nothing.
    pub(super) fn register_portal(&mut self, name: Name, portal: Option<Portal>) {
        let replaced = match portal {
            Some(portal) => self.portals.insert(name.clone(), portal),
            None => self.portals.remove(&name),
        };
        self.portal_taken |= replaced.as_ref().is_some_and(shows_protected);
        self.replies.push_back(Reply::Bind { name, replaced });
    }

    /// A Describe: what the server will owe. The message is the caller's to forward.
    pub(super) fn note_describe(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let target = Target::read(body, "Describe")?;
        self.extended_open = true;
        let reply = if target.portal {
            Reply::DescribePortal {
                portal: self.portals.get(known_as(target.name)).cloned(),
                own: false,
            }
        } else {
            Reply::DescribeStatement {
                statement: self.statements.get(known_as(target.name)).cloned(),
                own: false,
            }
        };
        self.replies.push_back(reply);
        Ok(())
    }

    pub(super) fn execute(&mut self, frame: &[u8]) -> Result<(), Malformed> {
        let message = Execute::read(&frame[HEADER..])?;
        self.extended_open = true;
        let asked = known_as(message.portal);
        let portal = self.portals.get(asked).cloned();
        if self.is_portal_unsettled(asked) {
            self.refuse_message(false, Refuse::plain(unsettled()));
            return Ok(());
        }
        let Some(portal) = portal else {
            // While the server takes in a COPY it accepts neither of the two, and its error names the first.
            if !self.copy_in {
                self.look_at_unknown_portal(message.portal);
            }
            self.replies.push_back(Reply::Execute(None));
            self.forward(frame);
            return Ok(());
        };
        if let Some(refusal) = self.refuse_prepared_by_name(&portal.statement) {
            self.refuse_message(false, Refuse::plain(refusal));
            return Ok(());
        }
        match &portal.statement.body {
            PreparedBody::Forward { kind, effects, forgets } => {
                self.note_effects(*kind, *effects);
                self.count(*kind, Outcome::Forwarded);
                let reply = forgets.clone().map_or(Reply::Execute(None), Reply::Forgets);
                self.replies.push_back(reply);
                self.forward(frame);
            }
            PreparedBody::Protected {
                plan, kind, effects, ..
            } => {
                // The server makes text of values, and values of text, by the settings of this moment.
                if !self.lookout.is_scope_known() && !self.lookout.take_failed() && self.ask(true) {
                    self.park(b'E', frame);
                    return Ok(());
                }
                let unknown = (!self.lookout.is_scope_known()).then(unresolvable);
                let permits = match unknown.or_else(|| self.foreign()) {
                    Some(refusal) => Err((refusal, None)),
                    None => self.decide(plan).map_err(|(refusal, rule)| (refusal, Some(rule))),
                };
                let permits = match permits {
                    Ok(permits) => permits,
                    Err(why) => {
                        self.refuse_message(false, Refuse::planned(plan, *kind, why));
                        return Ok(());
                    }
                };
                self.note_effects(*kind, *effects);
                let mut draft = self.draft(plan, *kind, &permits);
                portal.subjects().iter().for_each(|p| draft.subject(*p));
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

    /// A portal that isn't known is one over a statement that SQL prepared, a cursor of SQL's, or none at all. Nothing protected was named when it
    /// was made, so nothing protected may come out now; what it does to names and catalog isn't known.
    fn look_at_unknown_portal(&mut self, name: &[u8]) {
        if !self.snapshot().protects_anything() {
            return;
        }
        let effects = Effects {
            catalog: true,
            scope: true,
            portal: false,
        };
        self.note_effects(StatementKind::Other, effects);
        // An absent portal fails here with the error with which Execute would.
        compose::describe(self.to_server.tail(), b'P', name);
        self.replies.push_back(Reply::DescribePortal {
            portal: None,
            own: true,
        });
    }

    /// A Close: what the server will owe. The message is the caller's to forward.
    pub(super) fn note_close(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let target = Target::read(body, "Close")?;
        self.extended_open = true;
        let name: Name = known_as(target.name).into();
        let reply = if target.portal {
            let replaced = self.portals.remove(&name);
            self.portal_taken |= replaced.as_ref().is_some_and(shows_protected);
            Reply::ClosePortal { name, replaced }
        } else {
            let replaced = self.statements.remove(&name);
            self.statement_taken |= replaced.as_deref().is_some_and(is_protected);
            Reply::CloseStatement { name, replaced }
        };
        self.replies.push_back(reply);
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
