//! SQL text + catalog snapshot → what each statement reads, searches and writes, and how its text, parameters and
//! result columns change; or a [`Refusal`].
//!
//! Pure: no I/O, no keys, no rights, nothing of the wire. A [`Script`] holds **no literal**: only byte spans of the source, so it may be
//! cached while the text it was made from is wiped. Fail closed: what is not understood and may touch a protected
//! relation is a refusal; what can't touch one is forwarded untouched.

pub mod access;
mod calls;
mod classify;
mod ddl;
mod expr;
mod from;
mod grouping;
pub mod introspect;
mod lexer;
pub mod literal;
pub mod names;
mod operand;
pub mod overlay;
mod params;
mod plain;
mod planner;
mod query;
pub mod refusal;
pub mod schema;
mod scope;
pub mod script;
pub mod source;
#[cfg(test)]
mod tests;
mod with;
mod words;
mod write;

pub use access::{Access, Use};
pub use literal::rewrite;
pub use plain::plain;
pub use refusal::{Reason, Refusal};
pub use schema::{
    ColumnId, ColumnName, ColumnRef, Declaration, KeyDomain, Mode, NameScope, ProtectedColumn, RelationName, Snapshot,
};
pub use script::*;

use classify::{Touch, Verb};
use overlay::Overlay;
use planner::{Outcome, Planner};
use source::{Place, Source, ident_name};
use sqlparser::ast;
use std::sync::Arc;

/// Longest statement that is planned, in bytes. Longer ones that may touch a protected relation are refused.
pub const MAX_STATEMENT: usize = 1 << 20;
/// Most links of AND, OR, UNION and operators: each is a level of recursion in the parser's tree.
const MAX_CHAIN: usize = 10_000;
/// Deepest nesting of parentheses.
const MAX_NESTING: usize = 60;
/// Up to here the caller's stack is used; beyond, one of our own.
const SMALL_CHAIN: usize = 40;
const SMALL_NESTING: usize = 6;
/// Address space, of which only what is used costs memory.
const STACK: usize = 512 << 20;

/// What a plan depends on besides the text: the catalog snapshot, how names resolve in this session, what Parse declared.
#[derive(Clone, Copy)]
pub struct PlanInput<'a> {
    /// The statement text, UTF-8.
    pub sql: &'a str,
    /// The catalog as this session sees it.
    pub snapshot: &'a Snapshot,
    /// The effective search path.
    pub scope: &'a NameScope,
    /// Type OIDs that Parse declared (may be fewer than the parameters; 0: unspecified). Empty for the simple protocol.
    pub parameter_oids: &'a [u32],
    /// `standard_conforming_strings`
    pub standard_conforming_strings: bool,
    /// True for Parse (one statement, parameters), false for Query (any number of statements).
    pub extended: bool,
}

/// Plans every statement of `input.sql`. Total: never panics, whatever the text; runs in bounded stack and time.
pub fn plan(input: PlanInput<'_>) -> Script {
    let source = Source::new(input.sql, input.standard_conforming_strings);
    if !source.is_readable() {
        return unreadable(&source, &input);
    }
    let mut overlay = Overlay::default();
    // Whether an earlier statement of the script may have changed what names mean: all are planned before any is carried out.
    let mut moved = Moved::default();
    let statements = source
        .statements()
        .iter()
        .map(|place| statement(&source, place, &input, &mut overlay, &mut moved))
        .collect();
    Script { statements }
}

/// The script of a text whose words can't be told from its bytes, and which may touch something protected.
pub fn unread(length: usize) -> Script {
    refused_script(0..length)
}

/// Whether a plan of `sql` depends on how names resolve: false means that every statement of it is forwarded. Errs on the safe side.
pub fn may_touch(sql: &str, snapshot: &Snapshot) -> bool {
    classify::is_guarded(snapshot) && (sql.contains('\\') || classify::may_hide(sql, snapshot))
}

/// The names that may be those of prepared statements and portals in a text with EXECUTE, FETCH or MOVE; `None` without these words. Empty where the text's
/// names can't be told: then any may be meant.
pub fn named_statements(sql: &str, standard_conforming_strings: bool) -> Option<Vec<String>> {
    const WORDS: [&str; 3] = ["EXECUTE", "FETCH", "MOVE"];
    let source = Source::new(sql, standard_conforming_strings);
    if !source.is_readable() || sql.contains(char::REPLACEMENT_CHARACTER) {
        let upper = sql.to_ascii_uppercase();
        return WORDS.iter().any(|word| upper.contains(word)).then(Vec::new);
    }
    let tokens = source.all_tokens();
    tokens
        .iter()
        .any(|token| WORDS.iter().any(|word| source.is_keyword(token, word)))
        .then(|| {
            tokens
                .iter()
                .filter_map(|t| source.name(t).map(|n| n.into_owned()))
                .collect()
        })
}

/// What a statement, once carried out, takes away of the session's prepared statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forgets {
    /// All but the unnamed one: `DEALLOCATE ALL`, `DISCARD ALL`. Also where the text does not read the same under all settings: then only the
    /// server's tag tells whether it was one of these.
    All,
    /// That of this name: `DEALLOCATE name`.
    Named(String),
}

/// What the statement at `span` of `sql` takes away of the session's prepared statements. Errs on the side of too little: a name is given only
/// where the whole text reads the same whatever the client's encoding and `standard_conforming_strings`.
pub fn forgets(sql: &str, span: &std::ops::Range<usize>) -> Option<Forgets> {
    let statement = sql.get(span.clone())?;
    let begins = |word: &str| {
        let bytes = statement.as_bytes();
        bytes
            .get(..word.len())
            .is_some_and(|b| b.eq_ignore_ascii_case(word.as_bytes()))
            && !bytes.get(word.len()).is_some_and(|b| lexer::continues_word(*b))
    };
    if begins("discard") {
        return Some(Forgets::All);
    }
    if !begins("deallocate") {
        return None;
    }
    if !sql.is_ascii() || sql.contains('\\') {
        return Some(Forgets::All);
    }
    let source = Source::new(statement, true);
    let name = match source.all_tokens() {
        [_, name] => name,
        [_, prepare, name] if source.is_keyword(prepare, "PREPARE") => name,
        _ => return None,
    };
    if source.is_keyword(name, "ALL") {
        return Some(Forgets::All);
    }
    source
        .name(name)
        .filter(|n| n.is_ascii())
        .map(|n| Forgets::Named(n.into_owned()))
}

/// The value of a literal that a plan points to, read as PostgreSQL reads it (documentation, 4.1.2); `None` where PostgreSQL would raise an error.
pub fn read_literal(source: &str, literal: &Literal) -> Option<zeroize::Zeroizing<String>> {
    literal::read(source, literal).ok()
}

/// Text that has no tokens: the server will raise a syntax error, unless it reads it otherwise than we do.
fn unreadable(source: &Source<'_>, input: &PlanInput<'_>) -> Script {
    let span = 0..source.whole().len();
    let mut script = refused_script(span);
    if source.is_refused_unread() || !classify::may_hide(source.whole(), input.snapshot) {
        script.statements.iter_mut().for_each(|s| s.action = Action::Forward);
    }
    script
}

fn refused_script(span: std::ops::Range<usize>) -> Script {
    Script {
        statements: vec![Statement {
            span,
            kind: StatementKind::Other,
            action: refuse_with(unparsable(), Vec::new(), String::new()),
            effects: Effects {
                catalog: true,
                scope: true,
                portal: false,
            },
        }],
    }
}

/// What earlier statements of the same text may have changed.
#[derive(Default)]
struct Moved {
    /// What names mean.
    names: bool,
    /// How values are written as text.
    style: bool,
}

fn statement(
    source: &Source<'_>,
    place: &Place,
    input: &PlanInput<'_>,
    overlay: &mut Overlay,
    moved: &mut Moved,
) -> Statement {
    let class = classify::classify(source, place);
    let touch = classify::touch(source, place, input, &class);
    let (action, effects) = if input.snapshot.protects_anything() && classify::sets_own_setting(source, place) {
        // The server would take it as a setting that nobody reads, and the application would believe it.
        let refusal = Refusal::unsupported(
            Reason::StatementKind,
            "settings of pgward can't be changed within a connection",
        )
        .hint("Give the purpose when connecting: options=-c pgward.purpose=….");
        let redacted = source.redact(&place.span);
        (refuse_with(refusal, Vec::new(), redacted), Effects::default())
    } else if classify::renames_protected_schema(source, place, input.snapshot) {
        let refusal = Refusal::unsupported(
            Reason::Ddl,
            "a schema with tables that the policy names can't be renamed",
        )
        .hint("Keep the name: keys and rights follow it.");
        let redacted = source.redact(&place.span);
        (refuse_with(refusal, Vec::new(), redacted), Effects::default())
    } else if moved.names && touch.any() && classify::needs_scope(source, place, input) {
        let accesses = classify::accesses(source, place, input, overlay);
        (
            refuse_with(names_moved(), accesses, source.redact(&place.span)),
            Effects::default(),
        )
    } else if touch.name && classify::may_fall_through(source, place, input, overlay, &class) {
        (
            refuse_with(falls_through(), Vec::new(), source.redact(&place.span)),
            Effects::default(),
        )
    } else if touch.any() {
        careful(source, place, input, overlay, &class, touch)
    } else {
        (Action::Forward, Effects::default())
    };
    let action = match action {
        Action::Protected(plan) if moved.style && depends_on_style(&plan.accesses) => {
            refuse_with(style_moved(), plan.accesses.clone(), source.redact(&place.span))
        }
        action => action,
    };
    moved.names |= classify::moves_names(source, place, &class, touch);
    moved.style |= class.effects.scope;
    Statement {
        span: place.span.clone(),
        kind: class.kind,
        action,
        effects: Effects {
            catalog: class.effects.catalog || effects.catalog,
            scope: class.effects.scope || effects.scope,
            portal: class.effects.portal,
        },
    }
}

/// A statement in which a name occurs that may mean something protected.
fn careful(
    source: &Source<'_>,
    place: &Place,
    input: &PlanInput<'_>,
    overlay: &mut Overlay,
    class: &classify::Class,
    touch: Touch,
) -> (Action, Effects) {
    let refuse = |refusal: Refusal| {
        (
            refuse_with(
                refusal,
                classify::accesses(source, place, input, overlay),
                source.redact(&place.span),
            ),
            Effects::default(),
        )
    };
    match class.verb {
        // Nothing of a table's content goes through these.
        Verb::Harmless => return (Action::Forward, Effects::default()),
        // DDL is read from its tokens.
        Verb::Ddl => return ddl::plan_ddl_text(source, place.span.clone(), input, overlay),
        Verb::Query | Verb::Explain => {}
        Verb::Copy if !classify::names_protected(source, place, input, overlay) && !touch.function => {
            return (Action::Forward, classify::unknown_names(source, place, input, overlay));
        }
        Verb::Copy => {
            return refuse(
                Refusal::unsupported(Reason::StatementKind, "COPY can't be carried out on a protected table")
                    .hint("Use INSERT with many rows, or SELECT."),
            );
        }
        Verb::Other => {
            // A prepared statement's names are resolved again when the search path or the catalog changes.
            let lasting = touch.name && classify::is_prepare(source, place);
            return if lasting
                || touch.text
                || touch.function
                || classify::names_protected(source, place, input, overlay)
            {
                refuse(
                    Refusal::unsupported(
                        Reason::StatementKind,
                        "this kind of statement can't be carried out on a protected table",
                    )
                    .hint("Send the statement itself, as plain SELECT, INSERT, UPDATE or DELETE."),
                )
            } else {
                (Action::Forward, classify::unknown_names(source, place, input, overlay))
            };
        }
    }
    if place.span.len() > MAX_STATEMENT {
        return refuse(
            limit("the statement is too long to be planned")
                .hint("Send large values as parameters, or fewer rows at once."),
        );
    }
    let shape = classify::shape(source, place);
    if shape.chain > MAX_CHAIN || shape.nesting > MAX_NESTING {
        return refuse(
            limit("the statement is too deep to be planned").hint("Use IN or = ANY in place of long chains of OR."),
        );
    }
    if shape.chain <= SMALL_CHAIN && shape.nesting <= SMALL_NESTING {
        return parse_and_plan(source, place, input, overlay, touch);
    }
    std::thread::scope(|scope| {
        let run = || parse_and_plan(source, place, input, overlay, touch);
        match std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run) {
            Ok(thread) => thread.join().unwrap_or_else(|_| {
                (
                    refuse_with(limit("the statement could not be planned"), Vec::new(), String::new()),
                    Effects::default(),
                )
            }),
            Err(_) => (
                refuse_with(limit("no stack to plan the statement on"), Vec::new(), String::new()),
                Effects::default(),
            ),
        }
    })
}

fn parse_and_plan(
    source: &Source<'_>,
    place: &Place,
    input: &PlanInput<'_>,
    overlay: &mut Overlay,
    touch: Touch,
) -> (Action, Effects) {
    let Ok(statement) = source.parse(place) else {
        // What it means isn't known; but its names are, and functions, and strings that may be run.
        return if touch.function || touch.text || classify::names_protected(source, place, input, overlay) {
            (
                refuse_with(
                    unparsable(),
                    classify::accesses(source, place, input, overlay),
                    source.redact(&place.span),
                ),
                Effects::default(),
            )
        } else {
            (
                Action::Forward,
                Effects {
                    catalog: true,
                    scope: false,
                    portal: false,
                },
            )
        };
    };
    match &statement {
        ast::Statement::Query(_)
        | ast::Statement::Insert(_)
        | ast::Statement::Update(_)
        | ast::Statement::Delete(_)
        | ast::Statement::Truncate(_)
        | ast::Statement::Explain { .. } => dml(source, place, input, overlay, &statement),
        _ if classify::names_protected(source, place, input, overlay) || touch.function || touch.text => (
            refuse_with(
                Refusal::unsupported(
                    Reason::StatementKind,
                    "this kind of statement can't be carried out on a protected table",
                )
                .hint("Write it as SELECT, INSERT, UPDATE or DELETE."),
                classify::accesses(source, place, input, overlay),
                source.redact(&place.span),
            ),
            Effects::default(),
        ),
        _ => (Action::Forward, Effects::default()),
    }
}

fn dml(
    source: &Source<'_>,
    place: &Place,
    input: &PlanInput<'_>,
    overlay: &Overlay,
    statement: &ast::Statement,
) -> (Action, Effects) {
    let mut planner = Planner::new(source, input, overlay, place);
    let outcome = planner.top(statement);
    planner.finish(outcome)
}

impl Planner<'_> {
    /// A whole statement; its result columns.
    fn top(&mut self, statement: &ast::Statement) -> Outcome<Option<Vec<Output>>> {
        match statement {
            ast::Statement::Query(query) => {
                let rows = self.query(query, planner::Goal::Output)?;
                self.outputs(rows)
            }
            ast::Statement::Insert(_) | ast::Statement::Update(_) | ast::Statement::Delete(_) => {
                let rows = self.write(statement)?;
                self.outputs(rows)
            }
            ast::Statement::Truncate(truncate) => {
                for table in &truncate.table_names {
                    let relation = self.relation(&table.name)?;
                    self.removes(relation.as_deref());
                }
                self.aggregate = true;
                Ok(None)
            }
            ast::Statement::Explain {
                statement,
                analyze,
                options,
                ..
            } => {
                match &**statement {
                    ast::Statement::Query(query) => {
                        let rows = self.query(query, planner::Goal::Output)?;
                        self.outputs(rows)?;
                    }
                    inner @ (ast::Statement::Insert(_) | ast::Statement::Update(_) | ast::Statement::Delete(_)) => {
                        let rows = self.write(inner)?;
                        self.outputs(rows)?;
                    }
                    _ => return Err(self.not_understood()),
                }
                // It would carry the statement out and not show that in its answer.
                let runs = *analyze || options.iter().flatten().any(|o| ident_name(&o.name) == "analyze");
                if runs && !self.accesses.is_empty() {
                    return Err(self.refuse_kind("EXPLAIN ANALYZE", "Use EXPLAIN without ANALYZE."));
                }
                // The answer is the server's plan, in which values stand only as terms.
                self.subjects.retain(|s| !matches!(s, SubjectSource::Output { .. }));
                Ok(None)
            }
            _ => Err(self.not_understood()),
        }
    }

    /// What reaches the client.
    fn outputs(&mut self, rows: query::Rows) -> Outcome<Option<Vec<Output>>> {
        let protected = rows.fields.iter().any(|f| f.lineage.is_protected());
        if rows.opaque {
            return if protected {
                Err(self.unknown_positions())
            } else {
                Ok(None)
            };
        }
        if rows.fields.is_empty() {
            return Ok(None);
        }
        let mut outputs = Vec::with_capacity(rows.fields.len());
        for (index, field) in rows.fields.into_iter().enumerate() {
            if let Some(table) = field.subject_of {
                self.subjects.push(SubjectSource::Output { index, table });
            }
            outputs.push(match field.lineage {
                scope::Lineage::Stored {
                    column,
                    direct,
                    grouped,
                } => {
                    self.access(&column, Use::Read, false);
                    Output::Column {
                        column,
                        direct,
                        grouped,
                        hidden: false,
                    }
                }
                scope::Lineage::Unusable(name, why) => return Err(planner::unusable(&name, &why)),
                scope::Lineage::Clear | scope::Lineage::Null => Output::Clear,
            });
        }
        Ok(Some(outputs))
    }

    fn unknown_positions(&self) -> Box<Refusal> {
        Box::new(
            Refusal::unsupported(
                Reason::StatementKind,
                "* takes in columns of a relation or function that pgward does not know beside protected ones",
            )
            .hint("Name the columns instead of writing *."),
        )
    }
}

fn unparsable() -> Refusal {
    Refusal::unsupported(
        Reason::Unparsable,
        "the statement names a protected table and uses syntax that pgward does not read",
    )
    .hint("Write the statement in simpler SQL, or take the protected table into a statement of its own.")
}

/// Whether what is read, searched or written has a text form that settings decide on.
pub fn depends_on_style(accesses: &[Access]) -> bool {
    accesses
        .iter()
        .any(|access| access.column.logical_type.depends_on_style())
}

fn style_moved() -> Refusal {
    Refusal::unsupported(
        Reason::Catalog,
        "an earlier statement of the same message may change how the protected values are written (DateStyle, TimeZone, …)",
    )
    .hint("Send the statements in messages of their own.")
}

fn names_moved() -> Refusal {
    Refusal::unsupported(
        Reason::Catalog,
        "an earlier statement of the same message may change what the protected table's name means",
    )
    .hint("Send the statements in messages of their own, or write the table's name with its schema.")
}

fn falls_through() -> Refusal {
    Refusal::unsupported(
        Reason::Catalog,
        "the name means a table that hides a protected one of the same name, which it would mean if that were dropped",
    )
    .hint("Write the table's name with its schema (pg_temp for a temporary table).")
}

fn limit(message: &str) -> Refusal {
    Refusal::unsupported(Reason::Limit, message).sqlstate(crate::wire::sqlstate::SqlState::PROGRAM_LIMIT_EXCEEDED)
}

fn refuse_with(refusal: Refusal, accesses: Vec<Access>, redacted: String) -> Action {
    Action::Refuse(Arc::new(RefusedPlan {
        refusal,
        accesses,
        redacted: redacted.into(),
    }))
}
