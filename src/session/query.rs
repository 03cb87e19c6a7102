//! The simple protocol: a Query with any number of statements.

use super::forget::followed;
use super::records::{self};
use super::refuse::{Refuse, no_keyring};
use super::state::{Expect, Reply, Running};
use super::transform::Sealer;
use super::{Session, Ticket};
use crate::metrics::Outcome;
use crate::plan::{self, Action, Plan, Refusal, Snapshot, Statement, SubjectSource};
use crate::policy::Permit;
use crate::value::Format;
use crate::wire::compose;
use crate::wire::frame::{HEADER, Malformed};
use crate::wire::read::{self};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

impl Session {
    pub(super) fn query(&mut self, frame: &[u8]) -> Result<(), Malformed> {
        let text = read::query(&frame[HEADER..])?;
        let sql = HEADER..HEADER + text.len();
        let Some(planned) = self.plan(b'Q', frame, sql, &[]) else {
            return Ok(());
        };
        self.extended_open = false;
        self.lookout.asked_enough();
        if let Some(refusal) = self.refuse_by_name(&planned.script, planned.text.get(frame)) {
            self.refuse_message(true, Refuse::plain(refusal));
            return Ok(());
        }
        let statements = &planned.script.statements;
        if let Some(refusal) = planned.obstacle.clone() {
            self.refuse_message(true, Refuse::plain(refusal));
            return Ok(());
        }
        if statements.iter().all(|s| matches!(s.action, Action::Forward)) {
            for statement in statements {
                self.note_effects(statement.kind, statement.effects);
                self.count(statement.kind, Outcome::Forwarded);
            }
            let expected = followed(statements, planned.text.get(frame));
            self.replies.push_back(Reply::Query(expected));
            self.forward(frame);
            return Ok(());
        }
        let source = planned.text.get(frame);
        let mut text = Zeroizing::new(Vec::with_capacity(source.len() + 256));
        let mut expected = VecDeque::with_capacity(statements.len());
        let mut tickets = Vec::new();
        for (index, statement) in statements.iter().enumerate() {
            if index > 0 {
                text.extend_from_slice(b";\n");
            }
            self.note_effects(statement.kind, statement.effects);
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

    pub(super) fn query_statement(
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
                expected.push_back(Expect::Plain {
                    untouched: false,
                    forgets: plan::forgets(source, &statement.span),
                });
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
            Err(why) => {
                text.truncate(start);
                let (refused, sql) = self.note_refusal(Refuse::planned(plan, kind, why));
                text.extend_from_slice(sql.as_bytes());
                expected.push_back(Expect::Refused(refused));
            }
        }
    }

    /// Decides and rewrites one protected statement of a Query.
    pub(super) fn carry_out(
        &mut self,
        source: &str,
        statement: &Statement,
        plan: &Arc<Plan>,
        snapshot: &Snapshot,
        text: &mut Vec<u8>,
    ) -> Result<Running, (Refusal, Option<Arc<str>>)> {
        let permits = self.decide(plan).map_err(|(refusal, rule)| (refusal, Some(rule)))?;
        let rewritten = self
            .rewrite(source, &statement.span, plan, &permits)
            .map_err(|refusal| (refusal, None))?;
        text.extend_from_slice(&rewritten);
        let mut draft = self.draft(plan, statement.kind, &permits);
        let pseudonyms = self.pseudonyms(plan, snapshot, |subject| match subject {
            SubjectSource::Literal { literal, .. } => {
                let text = plan::read_literal(source, literal)?;
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
            kind: statement.kind,
            shown,
            statement: None,
            draft,
            companions: 0,
            write: None,
            unrecorded_from: None,
            subjects: None,
        })
    }

    pub(super) fn rewrite(
        &self,
        source: &str,
        span: &Range<usize>,
        plan: &Plan,
        permits: &[Permit],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let keyring = self.database.keyring.load();
        let keyring = keyring.as_ref().as_ref().ok_or_else(no_keyring)?;
        let begun = Instant::now();
        let mut sealer = Sealer::new(keyring, &self.settings.style, &plan.accesses, permits);
        let text = sealer.rewrite(source, span, plan)?;
        self.note_sealed(sealer.sealed, begun);
        Ok(Zeroizing::new(text))
    }

    pub(super) fn note_sealed(&self, values: u64, begun: Instant) {
        if values > 0 {
            self.shared.metrics.values_sealed.inc_by(values);
            crate::metrics::Metrics::observe(&self.shared.metrics.sealing_seconds, begun.elapsed());
        }
    }
}
