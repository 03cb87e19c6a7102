//! Prepared statements and portals that end without a Close of the protocol: by `DEALLOCATE`, `DISCARD ALL`, or with their transaction.
//!
//! What is kept too long costs memory, which is bounded. What is forgotten too early is dangerous: the server would carry out a protected statement
//! of which pgward knows no plan. So an entry goes only when the server has said that it did, and only by a name that reads the
//! same under all settings ([`plan::forgets`]). A statement that a function deallocated stays known.
//!
//! What stands in the maps is how it will be when everything sent is answered; the server is as far as its answers. So where a message that is not
//! answered yet (a Parse behind the DEALLOCATE in a pipeline) has taken the name, the entry stays, and what the name falls back to,
//! should that message fail, is nothing.

use super::Session;
use super::aside::known_as;
use super::names::{self, Named};
use super::state::{Expect, Name, Portal, Prepared, Reply};
use crate::plan::{self, Forgets, Refusal, Statement, StatementKind};
use crate::wire::sqlstate::SqlState;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Most portals at once. The server's own cost some kilobytes each.
const MAX_PORTALS: usize = 16_384;

/// Answers owed for which an idle session keeps room.
const ROOM: usize = 256;

/// Result columns that PostgreSQL can have; it refuses a Bind with more formats.
pub(super) const MAX_COLUMNS: usize = 1664;

/// How a message that isn't answered yet changes what a name means.
type Taken<'a, T> = (&'a Name, &'a mut Option<T>);

fn statement_taken(reply: &mut Reply) -> Option<Taken<'_, Arc<Prepared>>> {
    match reply {
        Reply::Parse { name, replaced } | Reply::CloseStatement { name, replaced } => Some((name, replaced)),
        _ => None,
    }
}

fn portal_taken(reply: &mut Reply) -> Option<Taken<'_, Portal>> {
    match reply {
        Reply::Bind { name, replaced } | Reply::ClosePortal { name, replaced } => Some((name, replaced)),
        _ => None,
    }
}

/// The server has none of those any more that `ends` by name.
fn forget<T>(
    map: &mut Named<T>,
    replies: &mut VecDeque<Reply>,
    taken: impl Fn(&mut Reply) -> Option<Taken<'_, T>>,
    ends: impl Fn(&[u8]) -> bool,
) {
    let mut pending: HashSet<&[u8]> = HashSet::new();
    for (name, replaced) in replies.iter_mut().filter_map(taken) {
        // The first message that takes the name found what the server had.
        if ends(name) && pending.insert(name) {
            *replaced = None;
        }
    }
    map.retain(|name| !ends(name) || pending.contains(name));
}

/// What each statement of a message in which nothing is protected answers with; empty where nothing has to be followed.
pub(super) fn followed(statements: &[Statement], source: &str) -> VecDeque<Expect> {
    let forgets = |s: &Statement| match s.kind {
        StatementKind::Session => plan::forgets(source, &s.span),
        _ => None,
    };
    if statements.iter().all(|s| forgets(s).is_none()) {
        return VecDeque::new();
    }
    let plain = |s| Expect::Plain {
        untouched: true,
        forgets: forgets(s),
    };
    statements.iter().map(plain).collect()
}

impl Session {
    /// A statement was carried out that takes prepared statements away; `body` is that of its CommandComplete.
    pub(super) fn forget_statements(&mut self, what: &Forgets, body: &[u8]) {
        match (body, what) {
            (b"DEALLOCATE ALL\0" | b"DISCARD ALL\0", _) => {
                forget(&mut self.statements, &mut self.replies, statement_taken, |name| {
                    !name.is_empty()
                });
            }
            (b"DEALLOCATE\0", Forgets::Named(named)) => {
                let named = known_as(named.as_bytes());
                forget(&mut self.statements, &mut self.replies, statement_taken, |name| {
                    *name == *named
                });
            }
            _ => {}
        }
    }

    /// The transaction ended, and with it all portals that were bound before.
    pub(super) fn forget_portals(&mut self) {
        if self.replies.is_empty() && self.replies.capacity() > ROOM {
            // A pipeline was long, and is over.
            self.replies.shrink_to(0);
        }
        if self.portals.len() <= 1 {
            // The usual case, also in a pipeline, whose next Bind takes the same name: not worth a look at all that is pending.
            let Some((name, _)) = self.portals.iter().next() else {
                return;
            };
            let mut pending = self.replies.iter_mut().filter_map(portal_taken);
            match pending.find(|(taken, _)| names::same(taken, name)) {
                Some((_, replaced)) => *replaced = None,
                None => self.portals.clear(),
            }
            return;
        }
        forget(&mut self.portals, &mut self.replies, portal_taken, |_| true);
    }

    /// Whether a statement of this size can be kept besides the others; what it replaces counts no more.
    pub(super) fn check_room(&self, name: &[u8], bytes: usize) -> Result<(), Refusal> {
        let cap = self.limits.max_prepared_bytes;
        let replaced = self.statements.get(name).map_or(0, |statement| statement.bytes());
        if self.keeping.bytes().saturating_sub(replaced).saturating_add(bytes) <= cap {
            return Ok(());
        }
        Err(too_much(format!("the prepared statements of a session may take {cap} bytes"))
            .hint("Close or DEALLOCATE prepared statements that are not used any more, or raise [limits] max_prepared_bytes."))
    }

    /// Whether one more portal can be kept.
    pub(super) fn check_portals(&self) -> Result<(), Refusal> {
        if self.portals.len() < MAX_PORTALS {
            return Ok(());
        }
        Err(too_much(format!("a session may have {MAX_PORTALS} portals open"))
            .hint("Close portals that are not used any more, or end the transaction."))
    }
}

fn too_much(message: String) -> Refusal {
    Refusal::unsupported(plan::Reason::Limit, message).sqlstate(SqlState::PROGRAM_LIMIT_EXCEEDED)
}
