//! From a text to a plan and from a plan to permits: what Query and Parse have in common.

use super::encoding::{self, ClientEncoding};
use super::records::Draft;
use super::rows::{self, Shown};
use super::standing::unresolvable;
use super::state::Standing;
use super::{Session, Ticket};
use crate::metrics::Outcome;
use crate::plan::{
    self, Action, Effects, Output, Plan, PlanInput, Reason, Refusal, Script, Snapshot, Statement, StatementKind,
    SubjectSource, Use,
};
use crate::policy::{Circumstances, Permit};
use crate::value::Format;
use crate::wire::sqlstate::SqlState;
use crate::wire::startup::MAX_NAME_LENGTH;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// Bytes of a character in the server's encoding.
const MAX_CHARACTER: usize = 4;

/// A text as the planner reads it.
pub(super) enum Text {
    /// These bytes of the frame, UTF-8.
    Exact(Range<usize>),
    /// Not UTF-8, as [`encoding`] reads it: good enough to see whether it may touch anything protected.
    Lossy(Zeroizing<String>),
}

impl Text {
    pub(super) fn get<'a>(&'a self, frame: &'a [u8]) -> &'a str {
        match self {
            Text::Exact(range) => frame
                .get(range.clone())
                .and_then(|b| std::str::from_utf8(b).ok())
                .unwrap_or_default(),
            Text::Lossy(text) => text,
        }
    }
}

pub(super) struct Planned {
    pub(super) script: Arc<Script>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) text: Text,
    /// What names meant.
    pub(super) standing: Standing,
    /// Why nothing protected can be carried out now, whatever the plan.
    pub(super) obstacle: Option<Refusal>,
}

impl Session {
    /// The kind of a text that is plainly of no concern; see [`plan::plain`].
    pub(super) fn plain(&self, text: &[u8]) -> Option<StatementKind> {
        let settings = &self.settings;
        let utf8 = settings.client_encoding == ClientEncoding::Utf8;
        let standard = settings.standard_conforming_strings;
        self.with_snapshot(|snapshot| plan::plain(text, snapshot, standard, utf8))
    }

    /// Plans a text, or parks the message until names can be resolved. `None`: parked.
    pub(super) fn plan(&mut self, tag: u8, frame: &[u8], sql: Range<usize>, oids: &[u32]) -> Option<Planned> {
        let extended = tag == b'P';
        let snapshot = self.snapshot();
        let encoding = self.settings.client_encoding;
        let bytes = &frame[sql.clone()];
        let readable = bytes.is_ascii() || encoding == ClientEncoding::Utf8 && std::str::from_utf8(bytes).is_ok();
        let known = readable || encoding != ClientEncoding::Unknown;
        // Until the encoding is certain, which `touches` sees to, every word counts that the text may have.
        let may_touch = |text: &str| plan::may_touch(text, &snapshot);
        let in_any_encoding = !readable && may_touch(&Zeroizing::new(encoding::bytewise(bytes)));
        let text = if readable {
            Text::Exact(sql)
        } else {
            let read = encoding.read(bytes).unwrap_or_else(|| encoding::bytewise(bytes));
            Text::Lossy(Zeroizing::new(read))
        };
        // In other encodings a name may be written in other bytes. A name that begins with a long one means that one, too: the server cuts
        // it before a character that doesn't fit.
        let has_odd_names = || {
            let names = snapshot
                .sensitive_names
                .iter()
                .chain(snapshot.sensitive_functions.iter());
            names
                .into_iter()
                .any(|name| !name.is_ascii() || name.len() > MAX_NAME_LENGTH - MAX_CHARACTER)
        };
        let odd_names = !readable && has_odd_names();
        // What reads as UTF-8 may not be meant so, after a SET that the server has not reported yet.
        let unsettled = readable && !self.lookout.is_scope_known() && !bytes.is_ascii() && has_odd_names();
        let touches = odd_names || unsettled || in_any_encoding || may_touch(text.get(frame));
        if touches && !self.is_current() && !self.lookout.take_failed() && self.ask(extended) {
            self.park(tag, frame);
            return None;
        }
        let unresolved = touches && !self.is_current();
        let source = text.get(frame);
        let input = PlanInput {
            sql: source,
            snapshot: &snapshot,
            scope: self.lookout.scope(),
            parameter_oids: oids,
            standard_conforming_strings: self.settings.standard_conforming_strings,
            extended,
        };
        let script = if odd_names || touches && !known {
            Arc::new(plan::unread(source.len()))
        } else if touches {
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
                                | StatementKind::Merge
                                | StatementKind::Copy
                                | StatementKind::Other
                        )
                }
                Action::Refuse(refused) => refused.refusal.reason == Reason::Catalog,
                Action::Protected(_) => false,
            });
        if unknown && !unresolved && !self.lookout.take_asked_again() {
            self.lookout.catalog_stale();
            self.lookout.ask_once_more();
            if self.ask(extended) {
                self.park(tag, frame);
                return None;
            }
        }
        // What looks unprotected may mean something protected then; only how transactions go on doesn't depend on names.
        let unclear = unresolved && script.statements.iter().any(|s| s.kind != StatementKind::Transaction);
        let obstacle = if !protected && !unclear {
            None
        } else if let Some(refusal) = self.too_long_to_plan(&script) {
            Some(refusal)
        } else if protected && !readable {
            Some(not_in_utf8())
        } else if let Some(refusal) = self.foreign().filter(|_| protected) {
            Some(refusal)
        } else {
            unresolved.then(unresolvable)
        };
        let standing = Standing {
            version: snapshot.version,
            scope: touches.then(|| self.lookout.scope_hash()),
        };
        Some(Planned {
            standing,
            script,
            snapshot,
            text,
            obstacle,
        })
    }

    /// Why nothing protected is carried out in the encodings of this connection, if so.
    pub(super) fn foreign(&self) -> Option<Refusal> {
        let utf8 = self.settings.client_encoding == ClientEncoding::Utf8 && self.settings.server_utf8;
        (!utf8).then(not_in_utf8)
    }

    /// Why a script is not carried out that has a statement on protected columns which is longer than this session's limit.
    fn too_long_to_plan(&self, script: &Script) -> Option<Refusal> {
        let cap = self.limits.max_statement_bytes;
        let long = |s: &Statement| !matches!(s.action, Action::Forward) && s.span.len() > cap;
        script.statements.iter().any(long).then(|| {
            let what = format!("a statement on protected columns is longer than {cap} bytes");
            Refusal::unsupported(Reason::Limit, what)
                .sqlstate(SqlState::PROGRAM_LIMIT_EXCEEDED)
                .hint("Send large values as parameters, or fewer rows at once; or raise [limits] max_statement_bytes.")
        })
    }

    /// Notes what a statement may change of the state that the session keeps.
    pub(super) fn note_effects(&mut self, kind: StatementKind, effects: Effects) {
        if kind == StatementKind::Transaction {
            if effects.scope {
                self.lookout.leave_block();
            }
            return;
        }
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

    /// Asks the policy. The profile follows a reload.
    pub(super) fn decide(&mut self, plan: &Plan) -> Result<Vec<Permit>, (Refusal, Arc<str>)> {
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

    pub(super) fn shown(
        plan: &Plan,
        permits: &[Permit],
        format: impl Fn(usize) -> Format,
        simple: bool,
    ) -> Arc<[Shown]> {
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

    pub(super) fn draft(&self, plan: &Plan, kind: StatementKind, permits: &[Permit]) -> Draft {
        Draft::new(self.now(), self.origin.clone(), &self.policy, kind, plan, permits)
    }

    pub(super) fn pseudonyms<'v>(
        &self,
        plan: &Plan,
        snapshot: &Snapshot,
        value: impl Fn(&SubjectSource) -> Option<(Format, std::borrow::Cow<'v, [u8]>)>,
    ) -> Vec<[u8; 16]> {
        let keyring = self.database.keyring.load();
        let Some(keyring) = keyring.as_ref() else {
            return Vec::new();
        };
        let mut key = Vec::new();
        plan.subjects
            .iter()
            .filter_map(|source| {
                let (SubjectSource::Param { table, .. }
                | SubjectSource::Literal { table, .. }
                | SubjectSource::Output { table, .. }) = source;
                let (format, bytes) = value(source)?;
                rows::subject_key(rows::subject_type(source, snapshot)?, format, &bytes, &mut key)?;
                Some(keyring.pseudonym(table, &key))
            })
            .collect()
    }

    pub(super) fn count(&self, kind: StatementKind, outcome: Outcome) {
        self.shared.metrics.statement(kind, outcome);
    }

    pub(super) fn append_write(&mut self, draft: &mut Draft) -> Ticket {
        let record = draft.record(self.now(), None, "");
        self.append(record)
    }
}

fn not_in_utf8() -> Refusal {
    Refusal::unsupported(
        Reason::Protocol,
        "statements on protected columns need client_encoding and server_encoding UTF8",
    )
    .hint("SET client_encoding = 'UTF8'.")
}
