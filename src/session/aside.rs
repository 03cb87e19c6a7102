//! Ways to a prepared statement or portal past its plan: SQL that names it (EXECUTE, FETCH, cursor_to_xml), names that the server takes for one and the same, and
//! messages sent before the fate of an earlier one is known.

use super::Session;
use super::names;
use super::state::{Name, Portal, Prepared, PreparedBody, Reply};
use crate::plan::{self, Action, Effects, Reason, Refusal, Script, Statement, StatementKind};
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
        if !self.names.is_empty() {
            self.names.remove(name);
        }
    }
    pub(super) fn holds(&self, name: &[u8]) -> bool {
        self.all || self.names.contains(name)
    }
}

pub(super) fn is_protected(statement: &Prepared) -> bool {
    matches!(statement.body, PreparedBody::Protected { .. })
}

pub(super) fn shows_protected(portal: &Portal) -> bool {
    is_protected(&portal.statement)
}

/// Whether statements of this kind may name prepared statements or portals: EXECUTE, FETCH, MOVE, CREATE TABLE … AS EXECUTE.
pub(super) fn may_name_statements(kind: StatementKind) -> bool {
    matches!(kind, StatementKind::Other | StatementKind::Session | StatementKind::Ddl)
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
        "EXECUTE, FETCH, MOVE and cursor_to_xml can't be carried out on a prepared statement or portal that uses protected columns",
    )
    .hint("Use the protocol's Bind and Execute, as drivers do.")
}

impl Session {
    /// Whether the name may mean a protected statement all the same, because a message that took it away from one may yet fail or be discarded:
    /// one that stands before a Sync that isn't answered.
    pub(super) fn is_statement_unsettled(&self, name: &[u8]) -> bool {
        self.statement_taken
            && self.is_unsettled(|reply| match reply {
                Reply::Parse { name: taken, replaced } | Reply::CloseStatement { name: taken, replaced } => {
                    names::same(taken, name).then(|| replaced.as_deref().is_some_and(is_protected))
                }
                // Whoever sends values for it does not know yet that it is not there.
                Reply::Refused(refused) => (refused.prepares.as_deref() == Some(name)).then_some(true),
                _ => None,
            })
    }

    /// The same for a portal.
    pub(super) fn is_portal_unsettled(&self, name: &[u8]) -> bool {
        self.portal_taken
            && self.is_unsettled(|reply| match reply {
                Reply::Bind { name: taken, replaced } | Reply::ClosePortal { name: taken, replaced } => {
                    names::same(taken, name).then(|| replaced.as_ref().is_some_and(shows_protected))
                }
                _ => None,
            })
    }

    /// Only asked where something protected was taken away: else a pipeline of n statements would cost n² steps.
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

    /// Why a script must not be carried out: it reaches a protected statement or portal by its name.
    pub(super) fn refuse_by_name(&self, script: &Script, source: &str) -> Option<Refusal> {
        let reaches = |statement: &Statement| match statement.action {
            Action::Forward => self.reaches(statement.kind, statement.effects, source, false),
            // Its text was read whole; a function in it that reads portals wasn't.
            Action::Protected(_) => statement.effects.portal && self.holds_protected_portal(false),
            Action::Refuse(_) => false,
        };
        script.statements.iter().any(reaches).then(by_name)
    }

    /// The same for a prepared statement.
    pub(super) fn refuse_prepared_by_name(&self, statement: &Prepared) -> Option<Refusal> {
        let reaches = match &statement.body {
            PreparedBody::Forward { kind, effects, .. } => self.reaches(*kind, *effects, &statement.sql, true),
            PreparedBody::Protected { effects, .. } => effects.portal && self.holds_protected_portal(true),
        };
        reaches.then(by_name)
    }

    /// Whether a forwarded statement could take rows out of a protected statement or portal: by naming it, by naming a prepared statement that does, or by
    /// calling a function that reads portals.
    fn reaches(&self, kind: StatementKind, effects: Effects, source: &str, extended: bool) -> bool {
        if effects.portal && self.holds_protected_portal(extended) {
            return true;
        }
        let Some(names) = self.names_in(kind, source) else {
            return false;
        };
        let statements: Vec<(&[u8], &Prepared)> = self.statements_by_name().collect();
        let portals: Vec<(&[u8], &Portal)> = self.portals_by_name().collect();
        // What EXECUTE runs may be EXECUTE or FETCH again.
        let (mut texts, mut seen) = (vec![names], HashSet::new());
        while let Some(names) = texts.pop() {
            let named = |name: &[u8]| names.is_empty() || names.iter().any(|n| known_as(n.as_bytes()) == name);
            if portals
                .iter()
                .any(|(name, portal)| named(name) && shows_protected(portal))
            {
                return true;
            }
            for (name, statement) in statements.iter().filter(|(name, _)| named(name)) {
                match &statement.body {
                    PreparedBody::Protected { .. } => return true,
                    PreparedBody::Forward { effects, .. }
                        if effects.portal && self.holds_protected_portal(extended) =>
                    {
                        return true;
                    }
                    PreparedBody::Forward { kind, .. } if seen.insert(*name) => {
                        texts.extend(self.names_in(*kind, &statement.sql));
                    }
                    PreparedBody::Forward { .. } => {}
                }
            }
        }
        false
    }

    /// The names in a text with EXECUTE, FETCH or MOVE; empty where any may be meant.
    fn names_in(&self, kind: StatementKind, source: &str) -> Option<Vec<String>> {
        if !may_name_statements(kind) {
            return None;
        }
        plan::named_statements(source, self.settings.standard_conforming_strings)
    }

    /// Whether a portal over protected columns is open that a function could name. The unnamed one ends with a simple Query.
    fn holds_protected_portal(&self, extended: bool) -> bool {
        let mut portals = self.portals_by_name();
        portals.any(|(name, portal)| (extended || !name.is_empty()) && shows_protected(portal))
    }

    /// What was taken away by a message that may yet be discarded without the one that is sent now: it stands before a Sync.
    fn before_last_sync(&self) -> impl Iterator<Item = &Reply> {
        let last_sync = self.replies.iter().rposition(|reply| matches!(reply, Reply::Sync));
        self.replies.iter().take(last_sync.unwrap_or(0))
    }

    /// The prepared statements that a name may mean.
    fn statements_by_name(&self) -> impl Iterator<Item = (&[u8], &Prepared)> {
        let taken = self.before_last_sync().filter_map(|reply| match reply {
            Reply::Parse { name, replaced } | Reply::CloseStatement { name, replaced } => {
                Some((&**name, replaced.as_deref()?))
            }
            _ => None,
        });
        self.statements.iter().map(|(name, s)| (name, &**s)).chain(taken)
    }

    /// The portals that a name may mean.
    fn portals_by_name(&self) -> impl Iterator<Item = (&[u8], &Portal)> {
        let taken = self.before_last_sync().filter_map(|reply| match reply {
            Reply::Bind { name, replaced } | Reply::ClosePortal { name, replaced } => {
                Some((&**name, replaced.as_ref()?))
            }
            _ => None,
        });
        self.portals.iter().chain(taken)
    }
}
