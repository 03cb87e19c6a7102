//! CREATE TABLE.

use super::constraints::{Fate, check_partition_key};
use super::cursor::{Cursor, Qualified};
use super::grammar::{ClauseKind, ColumnDef, column_def, is_table_constraint, table_constraint};
use super::{Change, Ddl, Outcome, check_expression, not_understood, refuse};
use crate::plan::refusal::{Reason, Refusal};
use crate::plan::schema::{Relation, RelationKind, RelationName};
use std::ops::Range;
use std::sync::Arc;

impl Ddl<'_> {
    /// Behind `CREATE … TABLE`.
    pub(super) fn create_table(&mut self, mut cursor: Cursor<'_, '_>, temporary: bool) -> Outcome {
        let if_not_exists = cursor.eat_all(&["IF", "NOT", "EXISTS"]);
        let written = cursor.qualified().ok_or_else(not_understood)?;
        let name = self.table_name(&written, temporary).ok_or_else(not_understood)?;
        let temporary = name.schema.starts_with("pg_temp");
        let declared = self.is_declared(&name);
        self.scope |= temporary;
        self.protected |= declared;

        if cursor.eat_all(&["PARTITION", "OF"]) || cursor.eat("OF") {
            let parent = cursor.qualified().ok_or_else(not_understood)?;
            self.refuse_relatives(&[parent], "a partition of")?;
            return self.without_columns(&name, declared);
        }
        let elements = cursor.parens();
        let mut tail = cursor;
        let options = tail.take_until(|c| c.is("AS"));
        if !tail.is_end() {
            self.refuse_query(&Cursor::new(self.source, tail.rest()), "CREATE TABLE AS")?;
            return self.without_columns(&name, declared);
        }
        let elements = elements.ok_or_else(not_understood)?;

        let mut table = Relation {
            oid: 0,
            name: name.clone(),
            kind: RelationKind::Table,
            columns: Vec::new(),
            unique: Vec::new(),
            protected: false,
            touches_protected: None,
            subject: self.input.snapshot.subjects.get(&name).cloned(),
        };
        // What it would make exists already: the server will skip it, and companions would change what is there.
        let companions = !(if_not_exists && self.existing(&name).is_some());
        let mut complete = self.inherited(options, &table, declared)?;

        // Columns first: constraints may stand before the columns that they are over.
        let parts = elements.split();
        let mut definitions: Vec<Option<ColumnDef<'_, '_>>> = Vec::with_capacity(parts.len());
        for part in &parts {
            if part.is("LIKE") {
                let mut like = *part;
                like.eat("LIKE");
                let source = like.qualified().ok_or_else(not_understood)?;
                self.refuse_relatives(&[source], "LIKE")?;
                if declared {
                    return Err(Refusal::unsupported(
                        Reason::Ddl,
                        format!("table \"{name}\" is declared in the policy, so its columns can't come from LIKE"),
                    )
                    .hint("Write the columns out."));
                }
                complete = false;
                definitions.push(None);
            } else if is_table_constraint(part) {
                definitions.push(None);
            } else {
                let definition = column_def(*part).ok_or_else(not_understood)?;
                let column = self.new_column(&name, &definition.name.text, &definition.ty)?;
                table.columns.push(column);
                definitions.push(Some(definition));
            }
        }
        table.protected = table.columns.iter().any(|column| column.protected.is_some());
        self.mark_columns(&table, companions);

        let mut kept_before = false;
        for (part, definition) in parts.iter().zip(&definitions) {
            let fate = match definition {
                Some(definition) => {
                    self.column(&mut table, definition, companions)?;
                    Fate::Kept
                }
                None if is_table_constraint(part) => {
                    let constraint = table_constraint(*part).ok_or_else(not_understood)?;
                    self.constraint(&mut table, &constraint, companions)?
                }
                None => Fate::Kept,
            };
            match fate {
                Fate::Kept => kept_before = true,
                Fate::Moved => {
                    let span = self.with_comma(&part.span(), kept_before);
                    self.splice(span, "");
                }
            }
        }
        if !kept_before && !parts.is_empty() {
            return Err(not_understood());
        }
        let mut options = options;
        options.take_until(|c| c.is("PARTITION"));
        check_partition_key(&table, &options)?;

        if temporary && self.input.scope.temp_schema.is_none() {
            self.shadow(&written);
        } else if complete {
            self.changes.push(Change::Put(table));
        }
        Ok(())
    }

    /// The full name of the table to be made.
    fn table_name(&self, written: &Qualified, temporary: bool) -> Option<RelationName> {
        let (schema, name) = written.split()?;
        if temporary || schema.is_some_and(|schema| schema.starts_with("pg_temp")) {
            let schema = self.input.scope.temp_schema.clone();
            return Some(RelationName {
                schema: schema.unwrap_or_else(|| Arc::from("pg_temp")),
                name: Arc::from(name),
            });
        }
        self.creation_name(written)
    }

    /// A table whose columns do not stand in the statement: it can't be one that the policy declares.
    fn without_columns(&mut self, name: &RelationName, declared: bool) -> Outcome {
        if declared {
            return Err(Refusal::unsupported(
                Reason::Ddl,
                format!("table \"{name}\" is declared in the policy, so its columns must be written out"),
            )
            .hint("Use CREATE TABLE with a list of columns, then INSERT … SELECT."));
        }
        Ok(())
    }

    /// INHERITS behind the columns; false where columns come from a parent, so that the statement does not name them all.
    fn inherited(&self, options: Cursor<'_, '_>, table: &Relation, declared: bool) -> Outcome<bool> {
        let mut options = options;
        options.take_until(|c| c.is("INHERITS"));
        if !options.eat("INHERITS") {
            return Ok(true);
        }
        let parents: Vec<Qualified> = options
            .parens()
            .ok_or_else(not_understood)?
            .split()
            .into_iter()
            .filter_map(|mut part| part.qualified())
            .collect();
        self.refuse_relatives(&parents, "a child of")?;
        if declared {
            return Err(Refusal::unsupported(
                Reason::Ddl,
                format!(
                    "table \"{}\" is declared in the policy, so its columns can't be inherited",
                    table.name
                ),
            )
            .hint("Write the columns out."));
        }
        Ok(false)
    }

    /// Type markers for the sealed columns of a new table.
    fn mark_columns(&mut self, table: &Relation, companions: bool) {
        for column in table.columns.iter().filter(|column| column.stored_sealed && companions) {
            if let Some(protected) = &column.protected {
                self.mark(&table.name, &column.name, protected.logical_type);
            }
        }
    }

    /// The span of an element with the comma that goes with it.
    fn with_comma(&self, span: &Range<usize>, kept_before: bool) -> Range<usize> {
        let tokens = self.source.all_tokens();
        if kept_before {
            let before = tokens.partition_point(|token| token.span.start < span.start);
            match before.checked_sub(1).and_then(|at| tokens.get(at)) {
                Some(comma) if self.source.is_symbol(comma, ",") => comma.span.start..span.end,
                _ => span.clone(),
            }
        } else {
            let behind = tokens.partition_point(|token| token.span.start < span.end);
            match tokens.get(behind) {
                Some(comma) if self.source.is_symbol(comma, ",") => span.start..comma.span.end,
                _ => span.clone(),
            }
        }
    }

    /// A column's type and clauses; the column is in `table` already.
    pub(super) fn column(&mut self, table: &mut Relation, definition: &ColumnDef<'_, '_>, companions: bool) -> Outcome {
        let name = &definition.name.text;
        let Some(at) = table.columns.iter().position(|column| column.name == *name) else {
            return Err(not_understood());
        };
        let protected = table.columns.get(at).and_then(|column| column.protected.clone());
        let sealed = protected.filter(|protected| protected.mode.is_sealed());
        if sealed.is_some() {
            self.splice(definition.ty.span(), "pgward.sealed");
        }
        for clause in &definition.clauses {
            match (&clause.kind, &sealed) {
                (ClauseKind::NotNull, _) => set(table, at, |column| column.not_null = true),
                (ClauseKind::Null | ClauseKind::Storage, _) => {}
                (ClauseKind::Check(expression), _) => check_expression(table, expression, "CHECK")?,
                (ClauseKind::Default(expression), Some(column)) => {
                    self.seal_default(expression, column, clause.span.clone(), "")?;
                    set(table, at, |column| column.has_default = true);
                }
                (ClauseKind::Default(_), None) => set(table, at, |column| column.has_default = true),
                (ClauseKind::Generated(_) | ClauseKind::Identity, Some(column)) => {
                    return Err(refuse(
                        Reason::Ddl,
                        &column.name,
                        format!("sealed column \"{}\" can't be generated by the server", column.name),
                        "Let the application set the value, or declare the column with mode none.",
                    ));
                }
                (ClauseKind::Generated(expression), None) => {
                    check_expression(table, expression, "a generated column")?;
                    set(table, at, |column| column.has_default = true);
                }
                (ClauseKind::Identity, None) => set(table, at, |column| {
                    column.has_default = true;
                    column.not_null = true;
                }),
                (ClauseKind::Unique(options), _) => {
                    let fate = self.unique(
                        table,
                        clause.name.as_ref(),
                        std::slice::from_ref(name),
                        options,
                        companions,
                    )?;
                    if fate == Fate::Moved {
                        self.splice(clause.span.clone(), "");
                    }
                }
                (ClauseKind::PrimaryKey, _) => {
                    self.primary_key(table, clause.name.as_ref(), std::slice::from_ref(name))?;
                }
                (ClauseKind::References(target, columns), _) => {
                    self.foreign_key(table, std::slice::from_ref(name), target, columns)?;
                }
                // Envelopes are bytes: they have no collation.
                (ClauseKind::Collate, Some(_)) => self.splice(clause.span.clone(), ""),
                (ClauseKind::Collate, None) => {}
            }
        }
        Ok(())
    }

    /// A temporary table of this name hides another one from here on, in a schema whose name is not known yet: what the name meant is not to
    /// be touched by later statements of the script.
    fn shadow(&mut self, written: &Qualified) {
        let Some((_, name)) = written.split() else { return };
        let hidden = self
            .overlay
            .resolve(self.input.snapshot, self.input.scope, None, name)
            .cloned();
        if let Some(hidden) = hidden {
            let mut relation = (*hidden).clone();
            if relation.protected || relation.touches_protected.is_some() {
                relation.protected = false;
                relation.touches_protected = Some(Arc::from(
                    "an earlier statement of the same script creates a temporary table of its name; send them one at a time",
                ));
                self.changes.push(Change::Put(relation));
            }
        }
    }
}

fn set(table: &mut Relation, at: usize, change: impl FnOnce(&mut crate::plan::schema::Column)) {
    if let Some(column) = table.columns.get_mut(at) {
        change(column);
    }
}
