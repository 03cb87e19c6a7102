//! The fast path, which most of the traffic takes: whole messages that go on as they came, because nothing protected can be in them. They are taken in runs, by
//! their edges, and leave in the memory in which they were read; what has to be remembered of them is all that is done.
//!
//! A message that is not plainly of that kind, that is incomplete, or that comes in any other than the usual state, goes the way of `client` and
//! `server`, which decide about everything. Nothing is written to either side from here, so that a run stays one piece.

use super::aside::{known_as, shows_protected};
use super::description::shows_only_unprotected;
use super::server::row_run;
use super::state::{Keeping, Name, Portal, Prepared, PreparedBody, Reply, Standing};
use super::{MAX_OWED, Phase, Session};
use crate::metrics::Outcome;
use crate::plan::Effects;
use crate::wire::frame::{self, HEADER};
use crate::wire::read::{self, Bind, Execute, Parse};
use std::collections::VecDeque;
use std::sync::Arc;
use zeroize::Zeroizing;

/// In tests the fast path can be closed, so that it is compared with the slow one.
#[cfg(test)]
fn is_closed() -> bool {
    tests::SLOW.get()
}

#[cfg(not(test))]
const fn is_closed() -> bool {
    false
}

impl Session {
    /// Bytes of the messages at the front of `input` that go to the server as they came.
    pub(super) fn pass_from_client(&mut self, input: &[u8]) -> usize {
        if self.phase != Phase::Ready || self.copy_in || self.discards() || is_closed() {
            return 0;
        }
        let room = self.limits.buffer_bytes.saturating_sub(self.to_server.len());
        let mut run = 0;
        while run < room
            && self.replies.len() < MAX_OWED
            && let Some((tag, frame)) = frame::whole(&input[run..])
            && self.passes(tag, &frame[HEADER..])
        {
            run += frame.len();
        }
        run
    }

    /// Whether a message of the client goes on as it is; if so, what it means is remembered.
    fn passes(&mut self, tag: u8, body: &[u8]) -> bool {
        match tag {
            b'B' => self.passes_bind(body),
            b'E' => self.passes_execute(body),
            b'D' => self.note_describe(body).is_ok(),
            b'S' => {
                self.note_sync();
                true
            }
            b'Q' => self.passes_query(body),
            b'P' => self.passes_parse(body),
            b'C' => self.note_close(body).is_ok(),
            b'H' => true,
            _ => false,
        }
    }

    /// A Query of one statement that is plainly of no concern.
    fn passes_query(&mut self, body: &[u8]) -> bool {
        let Ok(text) = read::query(body) else {
            return false;
        };
        let Some(kind) = self.plain(text) else {
            return false;
        };
        self.extended_open = false;
        self.lookout.asked_enough();
        self.count(kind, Outcome::Forwarded);
        self.replies.push_back(Reply::Query(VecDeque::new()));
        self.transaction_may_end();
        true
    }

    /// A Parse of what stands under this name already, where nothing that it depends on changed; or of a text that is plainly of no concern.
    fn passes_parse(&mut self, body: &[u8]) -> bool {
        let Ok(message) = Parse::read(body) else {
            return false;
        };
        let name: Name = known_as(message.name).into();
        let Some(prepared) = self.plainly_prepared(&name, &message) else {
            return false;
        };
        self.extended_open = true;
        self.lookout.asked_enough();
        self.register_statement(name, prepared);
        true
    }

    fn plainly_prepared(&self, name: &[u8], message: &Parse<'_>) -> Option<Arc<Prepared>> {
        let version = self.with_snapshot(|snapshot| snapshot.version);
        if let Some(same) = self.statements.get(name)
            && same.is_forwarded_whatever_the_scope(version)
            && same.sql.as_bytes() == message.sql
            && message.oids().eq(same.oids.iter().copied())
        {
            return Some(same.clone());
        }
        let kind = self.plain(message.sql)?;
        let sql = std::str::from_utf8(message.sql).ok()?;
        let oids: Arc<[u32]> = message.oids().collect();
        let cost = Keeping::cost(name, sql.len(), &oids);
        // What there is no room for is refused on the way of all others.
        self.check_room(name, cost).ok()?;
        let body = PreparedBody::Forward {
            kind,
            effects: Effects::default(),
            forgets: None,
        };
        let standing = Standing { version, scope: None };
        let kept = self.keeping.take(cost);
        let sql = Zeroizing::new(sql.into());
        Some(Arc::new(Prepared::new(body, sql, oids, standing, kept)))
    }

    /// A Bind to a statement that stands, and in which nothing is protected.
    fn passes_bind(&mut self, body: &[u8]) -> bool {
        let Ok(message) = Bind::read(body) else {
            return false;
        };
        let Some(statement) = self.statements.get(known_as(message.statement)) else {
            return false;
        };
        let version = self.with_snapshot(|snapshot| snapshot.version);
        // A name that was taken from a protected statement may yet mean that one.
        if self.statement_taken || !statement.is_forwarded_whatever_the_scope(version) {
            return false;
        }
        let portal = known_as(message.portal);
        if !self.portals.contains(portal) && self.check_portals().is_err() {
            return false;
        }
        let bound = Portal::plain(statement.clone());
        self.extended_open = true;
        self.register_portal(portal.into(), Some(bound));
        true
    }

    /// An Execute of a portal in which nothing is protected and by which nothing changes that pgward follows.
    fn passes_execute(&mut self, body: &[u8]) -> bool {
        let Ok(Execute { portal: name, .. }) = Execute::read(body) else {
            return false;
        };
        let name = known_as(name);
        let kind = self.portals.get(name).and_then(|portal| portal.statement.plain());
        // A name that was taken from a protected portal may yet mean that one.
        let Some(kind) = kind.filter(|_| !self.portal_taken) else {
            return false;
        };
        self.extended_open = true;
        self.count(kind, Outcome::Forwarded);
        self.replies.push_back(Reply::Execute(None));
        true
    }

    /// Bytes of the messages at the front of `input` that go to the client as they came, and how much is still to come of the last one: a row need not be
    /// there to its end.
    pub(super) fn pass_from_server(&mut self, input: &[u8]) -> (usize, usize) {
        if self.phase != Phase::Ready || self.mute || self.stopping || is_closed() {
            return (0, 0);
        }
        let mut run = 0;
        while let Some(rest) = input.get(run..) {
            let passed = if let [b'D' | b'd', ..] = rest
                && self.passes_rows()
            {
                let (rows, beyond) = row_run(rest);
                if beyond > 0 {
                    return (run + rows, beyond);
                }
                rows
            } else if let Some((tag, frame)) = frame::whole(rest)
                && self.passes_answer(tag, &frame[HEADER..])
            {
                frame.len()
            } else {
                0
            };
            if passed == 0 {
                break;
            }
            run += passed;
        }
        (run, 0)
    }

    /// Whether a message of the server goes on as it is; if so, it is ticked off.
    fn passes_answer(&mut self, tag: u8, body: &[u8]) -> bool {
        let Some(reply) = self.replies.front() else {
            return false;
        };
        match (tag, reply) {
            (b'1', Reply::Parse { .. })
            | (b'2', Reply::Bind { .. })
            | (b'3', Reply::CloseStatement { .. } | Reply::ClosePortal { .. })
            | (b'n', Reply::DescribePortal { own: false, .. })
            | (b'C' | b'I' | b's', Reply::Execute(None)) => self.tick_off(),
            (b'T', Reply::DescribePortal { portal, own: false }) => {
                if portal.as_ref().is_some_and(shows_protected) || !self.shows_only_unprotected(body) {
                    return false;
                }
                self.tick_off();
            }
            (b'C' | b'I', Reply::Query(expected)) => return expected.is_empty(),
            (b'T', Reply::Query(expected)) => return expected.is_empty() && self.shows_only_unprotected(body),
            (b'Z', Reply::Sync | Reply::Query(_)) => match read::ready_for_query(body) {
                Ok(state) => self.note_ready(state, false),
                Err(_) => return false,
            },
            _ => return false,
        }
        true
    }

    /// Whether a RowDescription names no protected column.
    fn shows_only_unprotected(&self, body: &[u8]) -> bool {
        self.with_snapshot(|snapshot| matches!(shows_only_unprotected(body, snapshot), Ok(Ok(()))))
    }
}

#[cfg(test)]
mod tests;
