//! DDL that names a protected or declared relation: carried out with sealed storage, or refused.
//!
//! A declared column's type becomes `pgward.sealed`; what can't stand in the client's own text (unique indexes over equality tags, type
//! markers) follows in companion statements of the same implicit transaction. Where a companion takes the place of an action of ALTER TABLE, the
//! action becomes `SET WITHOUT OIDS`, which since PostgreSQL 12 never has an effect, so that the command tag stays the client's.
//!
//! Statements are read from tokens (see [`cursor`]) and not from a syntax tree: every change is at exact bytes, and DDL that the parser does not know is
//! carried out too.
//! Closed: a form that is not known here, and names a sensitive relation, is refused.
//!
//! DDL needs no right on personal data, but one form uses it: a DEFAULT literal is sealed, which is a [`Use::Write`] of the column. TRUNCATE,
//! which removes values, is planned with DELETE.

mod alter;
mod constraints;
mod cursor;
mod grammar;
mod index;
mod names;
mod other;
mod table;
#[cfg(test)]
mod tests;

use super::PlanInput;
use super::access::{Access, Use};
use super::introspect::{marker, unfit};
use super::lexer::Lexeme;
use super::overlay::Overlay;
use super::refusal::{Reason, Refusal};
use super::schema::{Column, ColumnName, ColumnRef, Declaration, ProtectedColumn, Relation, RelationName};
use super::script::{Action, Effects, Plan, RefusedPlan, Replacement, Splice, Transform};
use super::source::{Source, quote_ident};
use super::words;
use crate::value::LogicalType;
use crate::wire::sqlstate::SqlState;
use cursor::{Cursor, Qualified};
use std::ops::Range;
use std::sync::Arc;

/// Stands in place of an action of ALTER TABLE that a companion carries out.
const NO_ACTION: &str = "SET WITHOUT OIDS";

/// Plans one statement of DDL in which a sensitive name occurs. It begins with a keyword of DDL.
pub(super) fn plan_ddl_text(
    source: &Source<'_>,
    span: Range<usize>,
    input: &PlanInput<'_>,
    overlay: &mut Overlay,
) -> (Action, Effects) {
    let effects = Effects {
        catalog: true,
        scope: false,
        portal: false,
    };
    let redacted: Arc<str> = source.redact(&span).into();
    let mut ddl = Ddl {
        source,
        input,
        overlay,
        changes: Vec::new(),
        plan: Plan::default(),
        protected: false,
        scope: false,
    };
    match ddl.statement(Cursor::new(source, source.tokens(&span))) {
        Ok(()) => {
            let Ddl {
                changes,
                mut plan,
                protected,
                scope,
                ..
            } = ddl;
            for change in changes {
                match change {
                    Change::Put(relation) => overlay.put(relation),
                    Change::Drop(name) => overlay.drop(&name),
                }
            }
            let effects = Effects { scope, ..effects };
            if !protected {
                return (Action::Forward, effects);
            }
            plan.splices.sort_by_key(|splice| (splice.span.start, splice.span.end));
            plan.redacted = redacted;
            (Action::Protected(Arc::new(plan)), effects)
        }
        Err(refusal) => (
            Action::Refuse(Arc::new(RefusedPlan {
                refusal,
                accesses: Vec::new(),
                redacted,
            })),
            effects,
        ),
    }
}

/// What a statement will have changed in the catalog, for later statements of the script.
enum Change {
    Put(Relation),
    Drop(RelationName),
}

/// One statement being planned.
struct Ddl<'a> {
    source: &'a Source<'a>,
    input: &'a PlanInput<'a>,
    overlay: &'a Overlay,
    changes: Vec<Change>,
    plan: Plan,
    /// It touches a protected or declared relation: it is recorded, and what is planned for it counts.
    protected: bool,
    /// It may change how names resolve.
    scope: bool,
}

type Outcome<T = ()> = Result<T, Refusal>;

impl<'a> Ddl<'a> {
    fn statement(&mut self, mut cursor: Cursor<'_, '_>) -> Outcome {
        if cursor.eat("CREATE") {
            self.create(cursor)
        } else if cursor.eat_all(&["ALTER", "TABLE"]) {
            self.alter_table(cursor)
        } else {
            self.other(cursor)
        }
    }

    /// Refuses calls, in defaults and the like, of functions that read protected relations or run SQL that they are given: the server would store
    /// what they give in clear.
    fn check_calls(&self, tokens: &[Lexeme]) -> Outcome {
        let snapshot = self.input.snapshot;
        for pair in tokens.windows(2) {
            if let [name, parenthesis] = pair
                && self.source.is_symbol(parenthesis, "(")
                && let Some(name) = self.source.name(name)
                && (words::runs_sql(&name) || snapshot.sensitive_functions.contains(name.to_lowercase().as_str()))
            {
                return Err(Refusal::unsupported(
                    Reason::StatementKind,
                    "a definition that calls a function over protected relations is not carried out",
                )
                .hint("Let the application compute the value."));
            }
        }
        Ok(())
    }

    fn create(&mut self, mut cursor: Cursor<'_, '_>) -> Outcome {
        let start = cursor;
        let mut temporary = false;
        if cursor.is_one_of(&["GLOBAL", "LOCAL"]) {
            cursor.advance();
        }
        if cursor.eat_one_of(&["TEMP", "TEMPORARY"]) {
            temporary = true;
        } else {
            cursor.eat("UNLOGGED");
        }
        if cursor.eat("TABLE") {
            return self.create_table(cursor, temporary);
        }
        cursor = start;
        let unique = cursor.eat("UNIQUE");
        if cursor.eat("INDEX") {
            return self.create_index(cursor, unique);
        }
        self.create_other(start)
    }

    /// Finds the relation that a name means.
    fn resolve(&self, name: &Qualified) -> Option<Arc<Relation>> {
        let (schema, name) = name.split()?;
        self.overlay
            .resolve(self.input.snapshot, self.input.scope, schema, name)
            .cloned()
    }

    /// The relation of exactly that name.
    fn existing(&self, name: &RelationName) -> Option<Arc<Relation>> {
        self.overlay.get(self.input.snapshot, name).cloned()
    }

    /// Whether a relation of that name (an index, too) is there already or was just planned.
    fn is_taken(&self, schema: &Arc<str>, name: &str) -> bool {
        let name = RelationName {
            schema: schema.clone(),
            name: Arc::from(name),
        };
        self.existing(&name).is_some()
            || self
                .changes
                .iter()
                .any(|change| matches!(change, Change::Put(relation) if relation.name == name))
    }

    /// The name under which CREATE makes a relation that is not temporary.
    fn creation_name(&self, name: &Qualified) -> Option<RelationName> {
        let (schema, name) = name.split()?;
        let schema = match schema {
            Some(schema) => Arc::from(schema),
            None => self
                .input
                .scope
                .schemas
                .iter()
                .find(|schema| &***schema != "pg_catalog" && !schema.starts_with("pg_temp"))?
                .clone(),
        };
        Some(RelationName {
            schema,
            name: Arc::from(name),
        })
    }

    fn declaration(&self, table: &RelationName, column: &Arc<str>) -> Option<&'a Arc<Declaration>> {
        self.input.snapshot.declarations.get(&ColumnName {
            relation: table.clone(),
            column: column.clone(),
        })
    }

    /// Whether the policy names the table.
    fn is_declared(&self, table: &RelationName) -> bool {
        self.input.snapshot.subjects.contains_key(table)
            || self
                .input
                .snapshot
                .declarations
                .keys()
                .any(|name| name.relation == *table)
    }

    fn splice(&mut self, span: Range<usize>, text: impl Into<String>) {
        self.plan.splices.push(Splice {
            span,
            with: Replacement::Text(text.into()),
        });
    }

    /// A statement of pgward's own behind the client's.
    fn companion(&mut self, text: String) {
        self.plan.companions.push(text);
    }

    /// Sets the marker of a column's logical type.
    fn mark(&mut self, table: &RelationName, column: &str, logical_type: LogicalType) {
        let text = format!(
            "COMMENT ON COLUMN {}.{} IS '{}'",
            quote_relation(table),
            quote_ident(column),
            marker(logical_type, None)
        );
        self.companion(text);
    }

    /// Seals a DEFAULT's literal; `expression` is what is replaced. For NULL, which is no default at all, `clause` is replaced by `without`: a
    /// domain would keep it as one.
    fn seal_default(
        &mut self,
        expression: &Cursor<'_, '_>,
        column: &ColumnRef,
        clause: Range<usize>,
        without: &str,
    ) -> Outcome {
        let mut literal = *expression;
        let value = literal.take_until(|c| c.is_symbol("::"));
        let cast = literal
            .eat_symbol("::")
            .then(|| Cursor::new(self.source, literal.rest()));
        let harmless = cast.is_none_or(|ty| {
            LogicalType::from_sql(&ty.normalised()).is_some_and(|ty| {
                ty == column.logical_type
                    || (is_text(column.logical_type) && matches!(ty, LogicalType::Text | LogicalType::Varchar(None)))
            })
        });
        let null = matches!(value.all(), [token] if self.source.is_keyword(token, "NULL"));
        if null && harmless {
            self.splice(clause, without);
            return Ok(());
        }
        let Some(literal) = self.source.literal(&value.span()).filter(|_| harmless) else {
            return Err(refuse(
                Reason::Ddl,
                &column.name,
                format!("the default of sealed column \"{}\" is not a literal", column.name),
                "Give the default as a literal of the column's type, or let the application set the value.",
            ));
        };
        self.plan.splices.push(Splice {
            span: expression.span(),
            with: Replacement::Literal {
                literal,
                transform: Transform::Seal(column.clone()),
            },
        });
        self.write(column);
        Ok(())
    }

    fn write(&mut self, column: &ColumnRef) {
        if !self.plan.accesses.iter().any(|access| access.column.id == column.id) {
            self.plan.accesses.push(Access {
                column: column.clone(),
                usage: Use::Write,
                derived: false,
            });
        }
    }

    /// What a column of this type is, if the policy declares it: how it is stored and shown. Refuses where mode and type do not go together.
    fn new_column(&self, table: &RelationName, name: &Arc<str>, ty: &Cursor<'_, '_>) -> Outcome<Column> {
        let text = ty.normalised();
        let logical_type = LogicalType::from_sql(&text);
        let mut column = Column {
            name: name.clone(),
            attnum: 0,
            type_oid: logical_type.map_or(0, LogicalType::oid),
            typmod: logical_type.map_or(-1, LogicalType::typmod),
            not_null: is_serial(&text),
            has_default: is_serial(&text),
            stored_sealed: false,
            protected: None,
            unusable: None,
        };
        let Some(declaration) = self.declaration(table, name) else {
            return Ok(column);
        };
        if is_serial(&text) && declaration.mode.is_sealed() {
            return Err(refuse(
                Reason::Ddl,
                &declaration.name,
                format!(
                    "column \"{}\" is to be sealed, so the server can't count it up",
                    declaration.name
                ),
                "Declare it with mode none, or use an integer type and let the application set the value.",
            ));
        }
        let Some(logical_type) = logical_type else {
            return Err(refuse(
                Reason::Ddl,
                &declaration.name,
                format!(
                    "the type of protected column \"{}\" is not one that pgward supports",
                    declaration.name
                ),
                "Use text, varchar, char, smallint, integer, bigint, numeric, double precision, boolean, date, timestamp, timestamptz, uuid, bytea, json or jsonb.",
            ));
        };
        if let Some(why) = unfit(declaration.mode, logical_type) {
            return Err(refuse(
                Reason::Ddl,
                &declaration.name,
                format!(
                    "protected column \"{}\" can't have type {} with its mode",
                    declaration.name,
                    logical_type.to_sql()
                ),
                format!("In the policy: {why}."),
            ));
        }
        if declaration.mode.is_sealed() {
            let Some(domain) = self.input.snapshot.sealed_domain_oid else {
                return Err(refuse(
                    Reason::Catalog,
                    &declaration.name,
                    "this database has no domain pgward.sealed to store sealed columns in",
                    "Run `pgward init` for this database.",
                ));
            };
            column.type_oid = domain;
            column.typmod = -1;
            column.stored_sealed = true;
        }
        column.protected = Some(Arc::new(ProtectedColumn {
            id: declaration.id,
            name: declaration.name.clone(),
            mode: declaration.mode,
            key_domain: declaration.key_domain.clone(),
            logical_type,
            category: declaration.category.clone(),
        }));
        Ok(column)
    }
}

/// A refusal of DDL that names a column.
fn refuse(reason: Reason, column: &ColumnName, message: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal::unsupported(reason, message).column(column).hint(hint)
}

/// The statement is not understood.
fn not_understood() -> Refusal {
    Refusal::unsupported(
        Reason::Ddl,
        "this definition of a protected relation can't be carried out",
    )
    .hint("Write it in a simpler form, or send it to the database directly if it does not concern protected columns.")
}

/// A column that is declared but not stored as declared.
fn unusable(name: &RelationName, column: &Column, why: &str) -> Refusal {
    let name = ColumnName {
        relation: name.clone(),
        column: column.name.clone(),
    };
    Refusal::unsupported(Reason::Catalog, format!("column \"{name}\" can't be used: {why}"))
        .column(&name)
        .hint("`pgward check` says what is to be done.")
        .sqlstate(SqlState::FEATURE_NOT_SUPPORTED)
}

/// The sealed column of that name, if it is one; refuses where it is unusable.
fn sealed<'r>(relation: &'r Relation, name: &str) -> Outcome<Option<&'r ColumnRef>> {
    let Some(column) = relation.column(name) else {
        return Ok(None);
    };
    match (&column.protected, &column.unusable) {
        (_, Some(why)) => Err(unusable(&relation.name, column, why)),
        (Some(protected), None) => Ok(protected.mode.is_sealed().then_some(protected)),
        (None, None) => Ok(None),
    }
}

/// The names of a relation's sealed and unusable columns: nothing may be computed from them on the server.
fn opaque_columns(relation: &Relation) -> impl Iterator<Item = &Column> {
    relation
        .columns
        .iter()
        .filter(|column| column.unusable.is_some() || column.protected.as_ref().is_some_and(|p| p.mode.is_sealed()))
}

/// Refuses an expression over the relation's sealed columns; tests for NULL are exact on envelopes too.
fn check_expression(relation: &Relation, expression: &Cursor<'_, '_>, what: &str) -> Outcome {
    for column in opaque_columns(relation) {
        if expression.mentions(&column.name) && !expression.only_tests_null(&column.name) {
            let name = ColumnName {
                relation: relation.name.clone(),
                column: column.name.clone(),
            };
            return Err(refuse(
                Reason::Expression,
                &name,
                format!("{what} computes with sealed column \"{name}\""),
                "The server sees envelopes only: check it in the application, or declare the column with mode none.",
            ));
        }
    }
    let whole_row = expression.all().iter().enumerate().any(|(at, token)| {
        let next = expression.all().get(at + 1);
        expression
            .source
            .name(token)
            .is_some_and(|name| *name == *relation.name.name)
            && !next.is_some_and(|next| expression.source.is_symbol(next, "."))
            || expression.source.is_symbol(token, "*")
                && at > 0
                && expression
                    .all()
                    .get(at - 1)
                    .is_some_and(|before| expression.source.is_symbol(before, "."))
    });
    if whole_row && opaque_columns(relation).next().is_some() {
        return Err(Refusal::unsupported(
            Reason::Expression,
            format!(
                "{what} computes with whole rows of \"{}\", which has sealed columns",
                relation.name
            ),
        )
        .hint("Name the columns that it needs."));
    }
    Ok(())
}

/// Refuses an expression whose value is stored in another column, in clear: no protected column may be in it, whatever its mode.
fn check_copy(relation: &Relation, expression: &Cursor<'_, '_>, into: &str, what: &str) -> Outcome {
    check_expression(relation, expression, what)?;
    for column in relation.columns.iter().filter_map(|column| column.protected.as_ref()) {
        if *column.name.column != *into && expression.mentions(&column.name.column) {
            return Err(refuse(
                Reason::Expression,
                &column.name,
                format!(
                    "{what} copies protected column \"{}\" into one that is not",
                    column.name
                ),
                "Declare both columns in the policy, and let the application copy the values.",
            ));
        }
    }
    Ok(())
}

/// Refuses what needs equality on a column that has none.
fn no_equality(column: &ProtectedColumn, what: &str) -> Refusal {
    refuse(
        Reason::EqualityNotEnabled,
        &column.name,
        format!(
            "{what} needs to compare sealed column \"{}\", whose mode is sealed",
            column.name
        ),
        "Declare the column with mode eq (or deterministic, for keys) in the policy.",
    )
}

/// `((substring("email" from 11 for 16)))` without the outer parentheses: what an index over a column of mode eq is over.
fn tag_expression(column: &str) -> String {
    format!("(substring({} from 11 for 16))", quote_ident(column))
}

fn quote_relation(name: &RelationName) -> String {
    format!("{}.{}", quote_ident(&name.schema), quote_ident(&name.name))
}

fn is_text(ty: LogicalType) -> bool {
    matches!(ty, LogicalType::Text | LogicalType::Varchar(_))
}

fn is_serial(ty: &str) -> bool {
    matches!(
        ty.to_ascii_lowercase().as_str(),
        "serial" | "serial2" | "serial4" | "serial8" | "bigserial" | "smallserial"
    )
}
