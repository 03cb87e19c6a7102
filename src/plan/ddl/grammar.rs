//! Column definitions and constraints, as CREATE TABLE and ALTER TABLE have them, read from tokens.

use super::cursor::{Cursor, Name, Qualified};
use std::ops::Range;
use std::sync::Arc;

/// A column definition.
pub(super) struct ColumnDef<'s, 't> {
    pub(super) name: Name,
    /// The type's tokens, without COLLATE.
    pub(super) ty: Cursor<'s, 't>,
    pub(super) clauses: Vec<Clause<'s, 't>>,
}

/// One clause behind a column's type.
pub(super) struct Clause<'s, 't> {
    pub(super) kind: ClauseKind<'s, 't>,
    /// From CONSTRAINT, where it has a name, to the end of its attributes.
    pub(super) span: Range<usize>,
    pub(super) name: Option<Name>,
}

pub(super) enum ClauseKind<'s, 't> {
    NotNull,
    Null,
    Check(Cursor<'s, 't>),
    Default(Cursor<'s, 't>),
    /// `GENERATED ALWAYS AS (…) STORED`
    Generated(Cursor<'s, 't>),
    Identity,
    Unique(KeyOptions),
    PrimaryKey,
    References(Qualified, Vec<Name>),
    Collate,
    Storage,
}

/// What may stand behind UNIQUE.
#[derive(Default)]
pub(super) struct KeyOptions {
    pub(super) nulls_not_distinct: bool,
    /// INCLUDE, WITH, USING INDEX TABLESPACE, DEFERRABLE, …: what a companion index can't copy.
    pub(super) other: bool,
}

/// A table constraint.
pub(super) struct TableConstraint<'s, 't> {
    pub(super) kind: ConstraintKind<'s, 't>,
    pub(super) name: Option<Name>,
}

pub(super) enum ConstraintKind<'s, 't> {
    Unique(Vec<Name>, KeyOptions),
    PrimaryKey(Vec<Name>),
    ForeignKey(Vec<Name>, Qualified, Vec<Name>),
    /// CHECK, EXCLUDE, NOT NULL and what later versions add: everything between here and the end is looked through.
    Other(Cursor<'s, 't>),
    /// `UNIQUE USING INDEX`, `PRIMARY KEY USING INDEX`
    UsingIndex,
}

const CLAUSE_STARTS: [&str; 15] = [
    "COLLATE",
    "CONSTRAINT",
    "NOT",
    "NULL",
    "CHECK",
    "DEFAULT",
    "GENERATED",
    "UNIQUE",
    "PRIMARY",
    "REFERENCES",
    "DEFERRABLE",
    "INITIALLY",
    "STORAGE",
    "COMPRESSION",
    "OPTIONS",
];

/// Whether a table element is a constraint and not a column. A column called `exclude` is one that PostgreSQL allows.
pub(super) fn is_table_constraint(element: &Cursor<'_, '_>) -> bool {
    if element.is("EXCLUDE") {
        let mut ahead = *element;
        ahead.advance();
        return ahead.is("USING") || ahead.is_symbol("(");
    }
    element.is_one_of(&["CONSTRAINT", "UNIQUE", "PRIMARY", "FOREIGN", "CHECK"])
        || (element.is("NOT") && element.looks_at(1, "NULL"))
}

/// `name type clauses`; `None` where it is not understood to its end.
pub(super) fn column_def<'s, 't>(mut cursor: Cursor<'s, 't>) -> Option<ColumnDef<'s, 't>> {
    let name = cursor.name()?;
    let ty = cursor.take_until(|c| c.is_one_of(&CLAUSE_STARTS));
    let mut clauses = Vec::new();
    while !cursor.is_end() {
        clauses.push(clause(&mut cursor)?);
    }
    (!ty.all().is_empty()).then_some(ColumnDef { name, ty, clauses })
}

fn clause<'s, 't>(cursor: &mut Cursor<'s, 't>) -> Option<Clause<'s, 't>> {
    let start = cursor.offset();
    let name = match cursor.eat("CONSTRAINT") {
        true => Some(cursor.name()?),
        false => None,
    };
    let kind = if cursor.eat_all(&["NOT", "NULL"]) {
        cursor.eat_all(&["NO", "INHERIT"]);
        ClauseKind::NotNull
    } else if cursor.eat("NULL") {
        ClauseKind::Null
    } else if cursor.eat("CHECK") {
        let inside = cursor.parens()?;
        cursor.eat_all(&["NO", "INHERIT"]);
        ClauseKind::Check(inside)
    } else if cursor.eat("DEFAULT") {
        // The first token always belongs to the expression: it may be NULL or NOT.
        let rest = cursor.rest();
        let mut first = true;
        let expression = cursor.take_until(|c| !std::mem::take(&mut first) && c.is_one_of(&CLAUSE_STARTS));
        if rest.is_empty() {
            return None;
        }
        ClauseKind::Default(expression)
    } else if cursor.eat("GENERATED") {
        if !cursor.eat_all(&["BY", "DEFAULT"]) && !cursor.eat("ALWAYS") {
            return None;
        }
        if !cursor.eat("AS") {
            return None;
        }
        if cursor.eat("IDENTITY") {
            cursor.parens();
            ClauseKind::Identity
        } else {
            let inside = cursor.parens()?;
            cursor.eat_one_of(&["STORED", "VIRTUAL"]);
            ClauseKind::Generated(inside)
        }
    } else if cursor.eat("UNIQUE") {
        ClauseKind::Unique(key_options(cursor)?)
    } else if cursor.eat_all(&["PRIMARY", "KEY"]) {
        key_options(cursor)?;
        ClauseKind::PrimaryKey
    } else if cursor.eat("REFERENCES") {
        let (table, columns) = reference(cursor)?;
        ClauseKind::References(table, columns)
    } else if cursor.eat("COLLATE") {
        cursor.qualified()?;
        ClauseKind::Collate
    } else if cursor.eat_one_of(&["STORAGE", "COMPRESSION"]) {
        cursor.advance()?;
        ClauseKind::Storage
    } else {
        return None;
    };
    let other = constraint_attributes(cursor);
    let kind = match kind {
        ClauseKind::Unique(options) => ClauseKind::Unique(KeyOptions {
            other: options.other || other,
            ..options
        }),
        kind => kind,
    };
    Some(Clause {
        kind,
        span: start..cursor.previous_end(),
        name,
    })
}

/// DEFERRABLE and its kin; true where one was there that is not the default.
fn constraint_attributes(cursor: &mut Cursor<'_, '_>) -> bool {
    let mut other = false;
    loop {
        if cursor.eat_all(&["NOT", "DEFERRABLE"])
            || cursor.eat_all(&["INITIALLY", "IMMEDIATE"])
            || cursor.eat("ENFORCED")
        {
            continue;
        }
        if cursor.eat("DEFERRABLE")
            || cursor.eat_all(&["INITIALLY", "DEFERRED"])
            || cursor.eat_all(&["NOT", "VALID"])
            || cursor.eat_all(&["NOT", "ENFORCED"])
            || cursor.eat_all(&["NO", "INHERIT"])
        {
            other = true;
            continue;
        }
        return other;
    }
}

fn key_options(cursor: &mut Cursor<'_, '_>) -> Option<KeyOptions> {
    let mut options = KeyOptions::default();
    if cursor.eat_all(&["NULLS", "NOT", "DISTINCT"]) {
        options.nulls_not_distinct = true;
    } else {
        cursor.eat_all(&["NULLS", "DISTINCT"]);
    }
    if cursor.eat("INCLUDE") || cursor.eat("WITH") {
        cursor.parens()?;
        options.other = true;
        if cursor.eat("WITH") {
            cursor.parens()?;
        }
    }
    if cursor.eat_all(&["USING", "INDEX", "TABLESPACE"]) {
        cursor.name()?;
        options.other = true;
    }
    Some(options)
}

/// What stands behind REFERENCES, up to the constraint's attributes.
fn reference(cursor: &mut Cursor<'_, '_>) -> Option<(Qualified, Vec<Name>)> {
    let table = cursor.qualified()?;
    let columns = match cursor.parens() {
        Some(inside) => inside.names()?,
        None => Vec::new(),
    };
    loop {
        if cursor.eat("MATCH") {
            cursor.advance()?;
        } else if cursor.eat_all(&["ON", "DELETE"]) || cursor.eat_all(&["ON", "UPDATE"]) {
            if cursor.eat_all(&["NO", "ACTION"]) || cursor.eat_one_of(&["RESTRICT", "CASCADE"]) {
                continue;
            }
            if !cursor.eat("SET") || !cursor.eat_one_of(&["NULL", "DEFAULT"]) {
                return None;
            }
            cursor.parens();
        } else {
            return Some((table, columns));
        }
    }
}

/// `[CONSTRAINT name] UNIQUE (…)` and its kin; `None` where it is not understood to its end.
pub(super) fn table_constraint<'s, 't>(mut cursor: Cursor<'s, 't>) -> Option<TableConstraint<'s, 't>> {
    let name = match cursor.eat("CONSTRAINT") {
        true => Some(cursor.name()?),
        false => None,
    };
    let whole = cursor;
    let kind = if cursor.eat("UNIQUE") {
        if cursor.eat_all(&["USING", "INDEX"]) {
            return Some(TableConstraint {
                kind: ConstraintKind::UsingIndex,
                name,
            });
        }
        // PostgreSQL 15 has NULLS NOT DISTINCT before the columns.
        let nulls_not_distinct = cursor.eat_all(&["NULLS", "NOT", "DISTINCT"]);
        cursor.eat_all(&["NULLS", "DISTINCT"]);
        let Some(columns) = cursor.parens()?.names() else {
            return other(whole, name);
        };
        let mut options = key_options(&mut cursor)?;
        options.nulls_not_distinct |= nulls_not_distinct;
        options.other |= constraint_attributes(&mut cursor);
        ConstraintKind::Unique(columns, options)
    } else if cursor.eat_all(&["PRIMARY", "KEY"]) {
        if cursor.eat_all(&["USING", "INDEX"]) {
            return Some(TableConstraint {
                kind: ConstraintKind::UsingIndex,
                name,
            });
        }
        let Some(columns) = cursor.parens()?.names() else {
            return other(whole, name);
        };
        key_options(&mut cursor)?;
        constraint_attributes(&mut cursor);
        ConstraintKind::PrimaryKey(columns)
    } else if cursor.eat_all(&["FOREIGN", "KEY"]) {
        let Some(columns) = cursor.parens()?.names() else {
            return other(whole, name);
        };
        if !cursor.eat("REFERENCES") {
            return None;
        }
        let (table, target) = reference(&mut cursor)?;
        constraint_attributes(&mut cursor);
        ConstraintKind::ForeignKey(columns, table, target)
    } else {
        return other(whole, name);
    };
    cursor.is_end().then_some(TableConstraint { kind, name })
}

fn other<'s, 't>(cursor: Cursor<'s, 't>, name: Option<Name>) -> Option<TableConstraint<'s, 't>> {
    Some(TableConstraint {
        kind: ConstraintKind::Other(Cursor::new(cursor.source, cursor.rest())),
        name,
    })
}

/// The names alone.
pub(super) fn texts(names: &[Name]) -> Vec<Arc<str>> {
    names.iter().map(|name| name.text.clone()).collect()
}
