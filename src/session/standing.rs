//! Whether a prepared statement still means what it was planned for. Catalog, policy and search path may have changed since; PostgreSQL resolves
//! a prepared statement's names again when they do, so pgward plans it again, and carries it out only if it comes to the same plan.

use super::Session;
use super::state::{self, Prepared, PreparedBody};
use crate::plan::{self, Action, Plan, PlanInput, Reason, Refusal, Statement};

/// What is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Nothing that it depends on changed, or it comes to the same plan.
    Holds,
    /// How names resolve has to be asked first.
    Unknown,
    /// It would have to be carried out otherwise.
    Changed,
}

/// A statement that would have to be carried out otherwise than it was prepared.
pub(super) fn outdated() -> Refusal {
    Refusal::unsupported(
        Reason::Catalog,
        "the prepared statement no longer fits the catalog, the search path or the policy",
    )
    .hint("Prepare the statement again.")
}

/// Names can't be asked after now.
pub(super) fn unresolvable() -> Refusal {
    Refusal::unsupported(
        Reason::Catalog,
        "names can't be resolved now, so a statement that may touch protected columns is not carried out",
    )
    .hint("End the failed transaction first, in a message of its own.")
}

impl Session {
    /// Whether `statement` may be bound.
    pub(super) fn standing(&mut self, statement: &Prepared) -> Standing {
        let version = self.with_snapshot(|snapshot| snapshot.version);
        if statement.is_forwarded_whatever_the_scope(version) {
            return Standing::Holds;
        }
        let snapshot = self.snapshot();
        if statement.unread {
            // What it touches is not known: it stands as long as there is nothing to touch.
            return match snapshot.protects_anything() {
                true => Standing::Changed,
                false => Standing::Holds,
            };
        }
        let last = statement.standing();
        let version = snapshot.version;
        let touches = match last {
            state::Standing { version: seen, scope } if seen == version => scope.is_some(),
            _ => plan::may_touch(&statement.sql, &snapshot),
        };
        let protected = matches!(statement.body, PreparedBody::Protected { .. });
        if !touches && !protected {
            if last.version != version {
                statement.set_standing(state::Standing { version, scope: None });
            }
            return Standing::Holds;
        }
        if !self.is_current() {
            return if self.lookout.take_failed() {
                Standing::Changed
            } else {
                Standing::Unknown
            };
        }
        let now = state::Standing {
            version,
            scope: Some(self.lookout.scope_hash()),
        };
        if now == last {
            return Standing::Holds;
        }
        let script = plan::plan(PlanInput {
            sql: &statement.sql,
            snapshot: &snapshot,
            scope: self.lookout.scope(),
            parameter_oids: &statement.oids,
            standard_conforming_strings: self.settings.standard_conforming_strings,
            extended: true,
        });
        let same = match (&script.statements[..], &statement.body) {
            (
                [
                    Statement {
                        action: Action::Protected(again),
                        ..
                    },
                ],
                PreparedBody::Protected { plan, .. },
            ) => same_plan(plan, again),
            (
                []
                | [
                    Statement {
                        action: Action::Forward,
                        ..
                    },
                ],
                PreparedBody::Forward { .. },
            ) => true,
            _ => false,
        };
        if same {
            statement.set_standing(now);
            Standing::Holds
        } else {
            Standing::Changed
        }
    }
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
