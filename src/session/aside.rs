//! Ways to a prepared statement or portal past its plan: SQL that names it (EXECUTE, FETCH), names that the server takes for one and the same, and
//! messages sent before the fate of an earlier one is known.

use super::Session;
use super::state::{Name, Portal, Prepared, PreparedBody, Reply};
use crate::plan::{self, Action, Reason, Refusal, Script, StatementKind};
use crate::wire::sqlstate::SqlState;
use std::collections::HashSet;

/// The server cuts names of statements and portals at NAMEDATALEN - 1 bytes.
const MAX_NAME: usize = 63;

/// A statement's or portal's name as the server knows it.
pub(super) fn known_as(name: &[u8]) -> &[u8] {
    name.get(..MAX_NAME).unwrap_or(name)
}

/// Names kept of [`Lost`].
const MAX_LOST: usize = 1024;

/// Names whose Parse failed or was discarded. A client that pipelines learns that late: its values for such a name were meant for a statement that
/// pgward would have sealed them for.
#[derive(Default)]
pub(super) struct Lost {
    names: HashSet<Name>,
    /// There were too many: any name may be one.
    all: bool,
}

impl Lost {
    pub(super) fn note(&mut self, name: &[u8]) {
        self.all |= self.names.len() >= MAX_LOST;
        if !self.all {
            self.names.insert(known_as(name).into());
        }
    }
    pub(super) fn forget(&mut self, name: &[u8]) {
        self.names.remove(name);
    }
    pub(super) fn holds(&self, name: &[u8]) -> bool {
        self.all || self.names.contains(name)
    }
}

fn is_protected(statement: &Prepared) -> bool {
    matches!(statement.body, PreparedBody::Protected { .. })
}

fn shows_protected(portal: &Portal) -> bool {
    is_protected(&portal.statement)
}

/// A name whose bytes depend on `client_encoding` may mean the same on the server as another one.
pub(super) fn unclear_name() -> Refusal {
    Refusal::unsupported(
        Reason::Protocol,
        "names of prepared statements and portals that use protected columns have to be ASCII",
    )
    .hint("Give it another name.")
}

/// What a name means can't be told yet.
pub(super) fn unsettled() -> Refusal {
    Refusal::unsupported(
        Reason::Protocol,
        "the statement or portal was replaced or closed by a message that is not answered yet",
    )
    .sqlstate(SqlState::FEATURE_NOT_SUPPORTED)
    .hint("Wait for the answer to Parse, Bind or Close before the name is used behind another Sync.")
}

fn by_name() -> Refusal {
    Refusal::unsupported(
        Reason::StatementKind,
        "EXECUTE, FETCH and MOVE can't be carried out on a prepared statement or portal that uses protected columns",
    )
    .hint("Use the protocol's Bind and Execute, as drivers do.")
}

impl Session {
    /// Whether the name may mean a protected statement all the same, because a message that took it away from one may yet fail or be discarded:
    /// one that stands before a Sync that isn't answered.
    pub(super) fn is_statement_unsettled(&self, name: &[u8]) -> bool {
        self.is_unsettled(|reply| match reply {
            Reply::Parse { name: taken, replaced } | Reply::CloseStatement { name: taken, replaced } => {
                (**taken == *name).then(|| replaced.as_deref().is_some_and(is_protected))
            }
            // Whoever sends values for it does not know yet that it is not there.
            Reply::Refused(refused) => (refused.prepares.as_deref() == Some(name)).then_some(true),
            _ => None,
        })
    }

    /// The same for a portal.
    pub(super) fn is_portal_unsettled(&self, name: &[u8]) -> bool {
        self.is_unsettled(|reply| match reply {
            Reply::Bind { name: taken, replaced } | Reply::ClosePortal { name: taken, replaced } => {
                (**taken == *name).then(|| replaced.as_deref().is_some_and(shows_protected))
            }
            _ => None,
        })
    }

    /// `took`: whether a reply changes what the name means, and if so whether it was something protected before.
    fn is_unsettled(&self, took: impl Fn(&Reply) -> Option<bool>) -> bool {
        let mut behind_sync = false;
        for reply in self.replies.iter().rev() {
            match took(reply) {
                Some(true) if behind_sync => return true,
                // In the batch of the message that uses it: they fail together.
                Some(_) if !behind_sync => return false,
                _ => behind_sync |= matches!(reply, Reply::Sync),
            }
        }
        false
    }

    /// Why a script of statements that are forwarded must not be: it names a protected statement or portal.
    pub(super) fn refuse_by_name(&self, script: &Script, source: &str) -> Option<Refusal> {
        let reaches = script.statements.iter().any(|statement| {
            matches!(statement.action, Action::Forward) && self.reaches_by_name(statement.kind, source)
        });
        reaches.then(by_name)
    }

    /// The same for a prepared statement.
    pub(super) fn refuse_prepared_by_name(&self, kind: StatementKind, statement: &Prepared) -> Option<Refusal> {
        self.reaches_by_name(kind, &statement.sql).then(by_name)
    }

    fn reaches_by_name(&self, kind: StatementKind, source: &str) -> bool {
        if !matches!(kind, StatementKind::Other | StatementKind::Session | StatementKind::Ddl) {
            return false;
        }
        let Some(names) = plan::named_statements(source, self.settings.standard_conforming_strings) else {
            return false;
        };
        let named = |name: &[u8]| names.is_empty() || names.iter().any(|n| known_as(n.as_bytes()) == name);
        let statements = self.statements.iter().any(|(name, s)| named(name) && is_protected(s));
        let portals = self.portals.iter().any(|(name, p)| named(name) && shows_protected(p));
        // Taken away by a message that may yet be discarded without this one: it stands before a Sync.
        let last_sync = self.replies.iter().rposition(|reply| matches!(reply, Reply::Sync));
        let pending = self
            .replies
            .iter()
            .take(last_sync.unwrap_or(0))
            .any(|reply| match reply {
                Reply::Parse { name, replaced } | Reply::CloseStatement { name, replaced } => {
                    named(name) && replaced.as_deref().is_some_and(is_protected)
                }
                Reply::Bind { name, replaced } | Reply::ClosePortal { name, replaced } => {
                    named(name) && replaced.as_deref().is_some_and(shows_protected)
                }
                _ => false,
            });
        statements || portals || pending
    }
}
