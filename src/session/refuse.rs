//! Refusals: in place of what is refused the server gets a statement that fails, and its error becomes the refusal.

use super::records::{self};
use super::state::{Expect, Name, Refused, Reply, Running, poison};
use super::{Session, Ticket};
use crate::metrics::Outcome;
use crate::plan::{Access, Plan, Reason, Refusal, StatementKind};
use crate::wire::compose;
use crate::wire::frame::{self, Scan};
use bytes::BytesMut;
use std::collections::VecDeque;
use std::sync::Arc;

/// Statement that never comes to be: its Parse fails in place of a refused message.
const REFUSAL: &[u8] = b"pgward_refusal";

/// A refusal with what its record says.
pub(super) struct Refuse<'a> {
    pub(super) refusal: Refusal,
    pub(super) kind: StatementKind,
    pub(super) accesses: &'a [Access],
    pub(super) redacted: Arc<str>,
    pub(super) rule: Option<Arc<str>>,
}

impl<'a> Refuse<'a> {
    /// Of a planned statement; `rule`: what denies it.
    pub(super) fn planned(plan: &'a Plan, kind: StatementKind, (refusal, rule): (Refusal, Option<Arc<str>>)) -> Self {
        Self {
            refusal,
            kind,
            accesses: &plan.accesses,
            redacted: plan.redacted.clone(),
            rule,
        }
    }
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

impl Session {
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
                prepares: None,
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
            self.refused = true;
        }
    }

    /// The same for a Parse: its name does not mean what the client's next messages take it to mean.
    pub(super) fn refuse_parse(&mut self, name: Name, refuse: Refuse<'_>) {
        self.refuse_message(false, refuse);
        self.lost.note(&name);
        if let Some(Reply::Refused(refused)) = self.replies.back_mut() {
            refused.prepares = Some(name);
            self.statement_taken = true;
        }
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
        let Ok(Scan::Frame { size, .. }) = frame::scan(&cut) else {
            return self.close(); // Can't happen while the gate's positions are right; nothing is forwarded then.
        };
        self.next_number += 1;
        let (marker, sql) = poison(self.next_number);
        let refused = Box::new(Refused {
            marker,
            refusal: Self::journal_refusal(),
            prepares: None,
        });
        let mut replacement = BytesMut::new();
        match reply {
            Some(reply @ Reply::Query(_)) => {
                compose::query(&mut replacement, sql.as_bytes());
                *reply = Reply::Query(VecDeque::from([Expect::Refused(refused)]));
            }
            Some(reply) => {
                compose::parse(&mut replacement, REFUSAL, sql.as_bytes(), std::iter::empty());
                *reply = Reply::Refused(refused);
            }
            // The server discards until Sync, this message too: it need not get it.
            None => {}
        }
        self.shared.metrics.refusal(Reason::Journal);
        self.to_server.put(&replacement);
        self.to_server.put(cut.get(size..).unwrap_or_default());
        self.server_gate.shift(at, replacement.len() as i64 - size as i64);
    }
}

pub(super) fn no_keyring() -> Refusal {
    Refusal::unsupported(Reason::Integrity, "this database has no keyring")
        .hint("Run `pgward init`, then restart pgward.")
}
