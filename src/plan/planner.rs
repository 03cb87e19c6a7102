//! The state of planning one statement: accesses, changes of the text, parameters; and what a name means.

use super::access::{Access, Use};
use super::overlay::Overlay;
use super::params::{ParamUse, Params};
use super::refusal::{Reason, Refusal};
use super::schema::{ColumnName, ColumnRef, Mode, Relation};
use super::scope::{Field, Item, Level, Lineage};
use super::script::{Action, Effects, Output, Plan, RefusedPlan, Replacement, Splice, SubjectSource};
use super::source::{Place, Source, byte_span, ident_name};
use super::{PlanInput, words};
use crate::wire::sqlstate::SqlState;
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// A step of planning.
pub(super) type Outcome<T> = Result<T, Box<Refusal>>;

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// To the client or into another table.
    Output,
    /// Into a condition, a join, a group, an order.
    Condition,
}

impl Goal {
    fn usage(self) -> Use {
        match self {
            Goal::Output => Use::Read,
            Goal::Condition => Use::Search,
        }
    }
}

/// What a name means.
#[derive(Clone, Debug)]
pub(super) enum Resolved {
    /// A column.
    Column(Field),
    /// A row of an item; its protected columns.
    WholeRow(Vec<Lineage>),
    /// Nothing that is known here: a system column, or an error that the server will raise.
    Unknown,
}

/// A common table expression that is in view.
#[derive(Clone, Debug)]
pub(super) struct KnownCte {
    pub(super) name: String,
    pub(super) item: Item,
}

/// Plans one statement.
pub(super) struct Planner<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) input: &'a PlanInput<'a>,
    pub(super) overlay: &'a Overlay,
    pub(super) place: &'a Place,
    pub(super) levels: Vec<Level>,
    pub(super) ctes: Vec<KnownCte>,
    /// Names of common table expressions that WITH RECURSIVE lets one refer to before they are planned.
    pub(super) later_ctes: Vec<String>,
    pub(super) splices: Vec<Splice>,
    pub(super) params: Params,
    pub(super) accesses: Vec<Access>,
    pub(super) subjects: Vec<SubjectSource>,
    pub(super) aggregate: bool,
    /// INSERT … SELECT: the sealed columns that the query's result is stored in, by position, for literals and parameters of its target list.
    pub(super) seal_targets: Option<Vec<Option<ColumnRef>>>,
    /// A relation was named that the snapshot does not have.
    pub(super) unknown_relation: bool,
    /// Where the identifiers stand whose meaning was established (byte offsets).
    seen: HashSet<usize>,
    /// Names that mean something protected in this statement: none of them may stand at a place that was not looked at.
    watched: HashSet<Arc<str>>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        source: &'a Source<'a>,
        input: &'a PlanInput<'a>,
        overlay: &'a Overlay,
        place: &'a Place,
    ) -> Self {
        Self {
            source,
            input,
            overlay,
            place,
            levels: Vec::new(),
            ctes: Vec::new(),
            later_ctes: Vec::new(),
            splices: Vec::new(),
            params: Params::default(),
            accesses: Vec::new(),
            subjects: Vec::new(),
            aggregate: false,
            seal_targets: None,
            unknown_relation: false,
            seen: HashSet::new(),
            watched: input.snapshot.sensitive_names.iter().cloned().collect(),
        }
    }

    // ---- names ----

    /// The identifier's meaning has been established.
    pub(super) fn see(&mut self, ident: &Ident) {
        if let Some(span) = byte_span(ident.span) {
            self.seen.insert(span.start);
        }
    }

    /// All tokens of a span have been looked at.
    pub(super) fn see_span(&mut self, span: &Range<usize>) {
        for token in self.source.tokens(span) {
            self.seen.insert(token.span.start);
        }
    }

    pub(super) fn see_name(&mut self, name: &ObjectName) {
        for part in &name.0 {
            if let ObjectNamePart::Identifier(ident) = part {
                self.see(ident);
            }
        }
    }

    /// Watches the names of an item that holds something protected.
    pub(super) fn watch(&mut self, item: &Item) {
        for field in &item.fields {
            if field.lineage.is_protected() {
                self.watched.insert(field.name.clone());
            }
        }
        if item.is_protected()
            && let Some(name) = &item.name
        {
            self.watched.insert(name.clone());
        }
    }

    /// The relation of that name; `None` where the snapshot has none.
    pub(super) fn relation(&mut self, name: &ObjectName) -> Outcome<Option<Arc<Relation>>> {
        self.see_name(name);
        let Some(parts) = name_parts(name) else {
            return Err(self.not_understood());
        };
        let (schema, table) = match parts.as_slice() {
            [table] => (None, *table),
            [schema, table] | [_, schema, table] => (Some(ident_name(schema)), *table),
            _ => return Err(self.not_understood()),
        };
        // What PostgreSQL reserves is no name: the parser took it for one (`FROM ONLY customers` as a table with an alias).
        if parts
            .iter()
            .any(|part| part.quote_style.is_none() && words::is_reserved(&ident_name(part)))
        {
            return Err(self.not_understood());
        }
        let table = ident_name(table);
        if words::shows_values(&table) && self.input.snapshot.holds_clear() {
            return Err(Box::new(
                Refusal::unsupported(
                    Reason::StatementKind,
                    format!("{table} shows values of protected columns that are stored in clear"),
                )
                .hint("Read statistics on a connection of the database's administrators, around pgward."),
            ));
        }
        let found = self
            .overlay
            .resolve(self.input.snapshot, self.input.scope, schema.as_deref(), &table)
            .cloned();
        match &found {
            None => self.unknown_relation = true,
            Some(relation) => {
                if let Some(why) = &relation.touches_protected {
                    return Err(Box::new(
                        Refusal::unsupported(
                            Reason::StatementKind,
                            format!("{} can't be used here: {why}", relation.name),
                        )
                        .hint("Name the protected table itself."),
                    ));
                }
            }
        }
        Ok(found)
    }

    /// What a possibly qualified name means in an expression.
    pub(super) fn resolve(&mut self, idents: &[Ident]) -> Outcome<Resolved> {
        for ident in idents {
            self.see(ident);
        }
        match idents {
            [] => Ok(Resolved::Unknown),
            [column] => {
                let name = ident_name(column);
                let resolved = self.resolve_unqualified(&name)?;
                if matches!(&resolved, Resolved::Column(field) if !field.lineage.is_protected()) {
                    self.note_hidden(&name);
                }
                Ok(resolved)
            }
            [.., schema, table, column] => {
                self.resolve_qualified(Some(&ident_name(schema)), &ident_name(table), &ident_name(column))
            }
            [table, column] => self.resolve_qualified(None, &ident_name(table), &ident_name(column)),
        }
    }

    /// The server resolves names when it has the tables' locks: if somebody drops a column just then, its name means the one outside that it hid, or the
    /// whole row of a table so called. Where that is in clear, it counts as read.
    fn note_hidden(&mut self, name: &str) {
        let rows = self.levels.iter().flat_map(|level| &level.items);
        let rows = rows.filter(|item| item.name.as_deref() == Some(name));
        let columns = self.levels.iter().flat_map(|level| level.unqualified(name));
        let hidden: Vec<ColumnRef> = columns
            .chain(rows.flat_map(|item| &item.fields))
            .filter_map(|field| match &field.lineage {
                Lineage::Stored { column, .. } if column.mode == Mode::None => Some(column.clone()),
                _ => None,
            })
            .collect();
        for column in hidden {
            self.access(&column, Use::Read, true);
        }
    }

    fn resolve_unqualified(&self, name: &str) -> Outcome<Resolved> {
        let mut opaque = false;
        for level in self.levels.iter().rev() {
            let mut found: Option<&Field> = None;
            for field in level.unqualified(name) {
                // Where a name is ambiguous the server says so; until then it means the protected one.
                if found.is_none() || field.lineage.is_protected() {
                    found = Some(field);
                }
            }
            if let Some(field) = found {
                if opaque && field.lineage.is_protected() {
                    return Err(self.not_understood_name());
                }
                return Ok(Resolved::Column(field.clone()));
            }
            opaque |= level.has_opaque();
        }
        for level in self.levels.iter().rev() {
            if let Some(item) = level.items.iter().find(|item| item.name.as_deref() == Some(name)) {
                return Ok(whole_row(item));
            }
        }
        Ok(Resolved::Unknown)
    }

    fn resolve_qualified(&self, schema: Option<&str>, table: &str, column: &str) -> Outcome<Resolved> {
        for level in self.levels.iter().rev() {
            let item = level.items.iter().find(|item| {
                item.name.as_deref() == Some(table)
                    && schema.is_none_or(|schema| item.schema.as_deref() == Some(schema))
            });
            let Some(item) = item else { continue };
            let mut found: Option<&Field> = None;
            for field in item.fields.iter().filter(|f| &*f.name == column) {
                if found.is_none() || field.lineage.is_protected() {
                    found = Some(field);
                }
            }
            return Ok(match found {
                Some(field) => Resolved::Column(field.clone()),
                None if words::is_system_column(column) => Resolved::Unknown,
                // `item.function` calls the function on the whole row.
                None => whole_row(item),
            });
        }
        // `schema.table` as an expression is the whole row, too.
        if schema.is_none() {
            for level in self.levels.iter().rev() {
                if let Some(item) = level
                    .items
                    .iter()
                    .find(|item| item.schema.as_deref() == Some(table) && item.name.as_deref() == Some(column))
                {
                    return Ok(whole_row(item));
                }
            }
        }
        Ok(Resolved::Unknown)
    }

    // ---- accesses ----

    pub(super) fn access(&mut self, column: &ColumnRef, usage: Use, derived: bool) {
        match self
            .accesses
            .iter_mut()
            .find(|a| a.column.id == column.id && a.usage == usage)
        {
            Some(access) => access.derived |= derived,
            None => self.accesses.push(Access {
                column: column.clone(),
                usage,
                derived,
            }),
        }
    }

    /// A value is used in an expression that PostgreSQL computes: fine for a column in clear, refused for a sealed one.
    pub(super) fn compute(&mut self, lineage: &Lineage, goal: Goal, reason: Reason) -> Outcome<()> {
        match lineage {
            Lineage::Clear | Lineage::Null => Ok(()),
            Lineage::Stored { column, .. } if column.mode == Mode::None => {
                self.access(column, goal.usage(), goal == Goal::Output);
                Ok(())
            }
            Lineage::Stored { column, .. } => {
                let column = column.clone();
                self.access(&column, goal.usage(), true);
                Err(refuse(reason, &column))
            }
            Lineage::Unusable(name, why) => Err(unusable(name, why)),
        }
    }

    /// The rows' whole content is used.
    pub(super) fn compute_whole_row(&mut self, row: &[Lineage], goal: Goal) -> Outcome<()> {
        for lineage in row {
            self.compute(lineage, goal, Reason::Expression).map_err(|mut refusal| {
                if refusal.reason == Reason::Expression {
                    refusal.message = format!(
                        "a reference to the whole row takes the sealed column {} into an expression",
                        refusal.column.as_ref().map(ToString::to_string).unwrap_or_default()
                    );
                    refusal.hint =
                        Some("Name the columns that are needed, or write table.* in the target list.".into());
                }
                refusal
            })?;
        }
        Ok(())
    }

    // ---- text ----

    pub(super) fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.splice(at..at, Replacement::Text(text.into()));
    }

    pub(super) fn splice(&mut self, span: Range<usize>, with: Replacement) {
        self.splices.push(Splice { span, with });
    }

    /// Splices the tag's expression around a column reference.
    pub(super) fn tag(&mut self, span: &Range<usize>) {
        self.insert(span.start, "substring(");
        self.insert(span.end, " from 11 for 16)");
    }

    pub(super) fn param(&mut self, usage: ParamUse) {
        self.params.uses.push(usage);
    }

    // ---- refusals ----

    pub(super) fn not_understood(&self) -> Box<Refusal> {
        Box::new(
            Refusal::unsupported(
                Reason::StatementKind,
                "this statement touches a protected table in a way that pgward does not understand",
            )
            .hint("Write it more simply, or take the protected table into a statement of its own."),
        )
    }

    fn not_understood_name(&self) -> Box<Refusal> {
        Box::new(
            Refusal::unsupported(
                Reason::Expression,
                "it can't be told whether an unqualified name means a protected column here",
            )
            .hint("Qualify the column with its table's name or alias."),
        )
    }

    // ---- the end ----

    /// Every identifier that may mean something protected must have been looked at. This catches whatever part of the syntax tree
    /// the planner does not walk.
    fn check_everything_was_seen(&self) -> Outcome<()> {
        for token in self.source.tokens(&self.place.span) {
            let Some(name) = self.source.name(token) else { continue };
            if self.watched.contains(&*name) && !self.seen.contains(&token.span.start) {
                if token.kind == super::lexer::LexemeKind::Word && words::is_reserved(&name) {
                    continue;
                }
                return Err(self.not_understood());
            }
        }
        Ok(())
    }

    /// The result: a plan, or nothing to do, or a refusal.
    pub(super) fn finish(mut self, outcome: Outcome<Option<Vec<Output>>>) -> (Action, Effects) {
        let effects = Effects {
            catalog: self.unknown_relation,
            scope: false,
            portal: false,
        };
        let outcome = outcome.and_then(|outputs| {
            self.check_everything_was_seen()?;
            self.params
                .assign(self.source, self.place, self.input, &mut self.splices)
                .map(|params| (outputs, params))
        });
        let redacted: Arc<str> = self.source.redact(&self.place.span).into();
        match outcome {
            Ok(_) if self.accesses.is_empty() && self.splices.is_empty() => (Action::Forward, effects),
            Ok((outputs, (client_params, server_params))) => {
                // Stable: insertions at one place stay in the order in which they were made.
                self.splices.sort_by_key(|s| (s.span.start, s.span.end));
                let overlap = self.splices.windows(2).any(|pair| match pair {
                    [a, b] => a.span.end > b.span.start,
                    _ => false,
                });
                if overlap {
                    let refusal = *self.not_understood();
                    return (self.refused(refusal, redacted), effects);
                }
                let plan = Plan {
                    splices: self.splices,
                    client_params,
                    server_params,
                    outputs,
                    accesses: self.accesses,
                    subjects: self.subjects,
                    companions: Vec::new(),
                    redacted,
                    aggregate: self.aggregate,
                };
                (Action::Protected(Arc::new(plan)), effects)
            }
            Err(refusal) => (self.refused(*refusal, redacted), effects),
        }
    }

    fn refused(self, refusal: Refusal, redacted: Arc<str>) -> Action {
        Action::Refuse(Arc::new(RefusedPlan {
            refusal,
            accesses: self.accesses,
            redacted,
        }))
    }
}

fn whole_row(item: &Item) -> Resolved {
    Resolved::WholeRow(item.fields.iter().map(|f| f.lineage.clone()).collect())
}

/// The parts of a name, where all are identifiers.
pub(super) fn name_parts(name: &ObjectName) -> Option<Vec<&Ident>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Some(ident),
            ObjectNamePart::Function(_) => None,
        })
        .collect()
}

/// A declared column that can't be used.
pub(super) fn unusable(name: &ColumnName, why: &str) -> Box<Refusal> {
    Box::new(
        Refusal::unsupported(Reason::Catalog, format!("column {name} can't be used: {why}"))
            .column(name)
            .hint("Run pgward check to see what the column needs."),
    )
}

/// The refusal of a use of a sealed column.
pub(super) fn refuse(reason: Reason, column: &ColumnRef) -> Box<Refusal> {
    let name = &column.name;
    let (message, hint) = match reason {
        Reason::TextSearch => (
            format!("column {name} is sealed: LIKE and other text searches can't be carried out on it"),
            "Search for the exact value, or fetch the rows and search in the application.".to_owned(),
        ),
        Reason::Range => (
            format!("column {name} is sealed: it has no order to compare by"),
            "Compare it with = or IN, or fetch the rows and compare in the application.".to_owned(),
        ),
        Reason::Ordering => (
            format!("column {name} is sealed: rows can't be ordered by it"),
            "Order by a column in clear, or sort in the application.".to_owned(),
        ),
        Reason::EqualityNotEnabled => (
            format!("column {name} is sealed without an equality tag: it can't be compared, grouped or made distinct"),
            "Give the column mode \"eq\" or \"deterministic\" in the policy.".to_owned(),
        ),
        Reason::KeyDomain => (
            format!("column {name} is combined with a column that is sealed under another key or in another way"),
            "Give both columns the same key_domain and the same mode in the policy.".to_owned(),
        ),
        Reason::StatementKind => (
            format!("this statement can't be carried out on the sealed column {name}"),
            "Write it as a plain SELECT, INSERT, UPDATE or DELETE.".to_owned(),
        ),
        _ => (
            format!("column {name} is sealed: it can't stand in this expression"),
            "Select the column itself and compute in the application, or compare it with = to a literal or parameter."
                .to_owned(),
        ),
    };
    Box::new(Refusal::unsupported(reason, message).column(name).hint(hint))
}

/// The refusal of a statement that would move values of one sealed column into another one, or show them as one column.
pub(super) fn refuse_move(column: &ColumnRef, from: &ColumnRef, hint: &str) -> Box<Refusal> {
    let message = format!(
        "values of column {} can't be moved into or united with column {} inside the database: a sealed value names its column",
        from.name, column.name
    );
    Box::new(
        Refusal::unsupported(Reason::KeyDomain, message)
            .column(&column.name)
            .hint(hint),
    )
}

/// A type error, as PostgreSQL would raise it.
pub(super) fn mismatch(column: &ColumnRef, what: &str) -> Box<Refusal> {
    Box::new(
        Refusal::unsupported(
            Reason::ParameterType,
            format!("column {} does not take {what} here", column.name),
        )
        .sqlstate(SqlState::DATATYPE_MISMATCH)
        .column(&column.name)
        .hint("Give the value in the column's own type, without a cast."),
    )
}
