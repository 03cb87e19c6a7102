//! ALTER TABLE.

use super::constraints::Fate;
use super::cursor::{Cursor, Qualified};
use super::grammar::{ColumnDef, column_def, is_table_constraint, table_constraint};
use super::{
    Change, Ddl, NO_ACTION, Outcome, check_expression, is_text, not_understood, opaque_columns, refuse, sealed,
};
use crate::plan::refusal::{Reason, Refusal};
use crate::plan::schema::{ColumnName, ColumnRef, Mode, Relation, RelationKind, RelationName};
use crate::plan::source::quote_ident;
use crate::value::LogicalType;
use std::sync::Arc;

/// Actions that neither read nor change what a column holds, by how they begin.
const HARMLESS: [&[&str]; 18] = [
    &["VALIDATE"],
    &["ENABLE"],
    &["DISABLE"],
    &["FORCE"],
    &["NO", "FORCE"],
    &["CLUSTER"],
    &["SET", "WITHOUT"],
    &["SET", "LOGGED"],
    &["SET", "UNLOGGED"],
    &["SET", "TABLESPACE"],
    &["SET", "ACCESS"],
    &["RESET"],
    &["OWNER"],
    &["REPLICA"],
    &["NO", "INHERIT"],
    &["NOT", "OF"],
    &["DETACH"],
    &["ALTER", "CONSTRAINT"],
];

impl Ddl<'_> {
    /// Behind `ALTER TABLE`.
    pub(super) fn alter_table(&mut self, mut cursor: Cursor<'_, '_>) -> Outcome {
        if cursor.is("ALL") && cursor.looks_at(1, "IN") {
            return Ok(());
        }
        let if_exists = cursor.eat_all(&["IF", "EXISTS"]);
        cursor.eat("ONLY");
        let written = cursor.qualified().ok_or_else(not_understood)?;
        cursor.eat_symbol("*");
        let found = self.resolve(&written);
        let mut table = match &found {
            Some(found) => (**found).clone(),
            None => self.unknown(&written)?,
        };
        let declared = self.is_declared(&table.name);
        self.protected |= declared || table.protected || table.touches_protected.is_some();
        // A table that is not there: the server says so, or skips it.
        let companions = found.is_some() || !if_exists;

        if cursor.is("RENAME") {
            return self.rename(cursor, table, declared);
        }
        if cursor.is("SET") && cursor.looks_at(1, "SCHEMA") {
            return match declared || table.protected {
                true => Err(named_by_policy(&table.name)),
                false => Ok(()),
            };
        }
        if table.kind != RelationKind::Table && table.touches_protected.is_some() {
            return Ok(());
        }

        let actions = Cursor::new(self.source, cursor.rest()).split();
        // The server adds columns before everything else, whatever the order.
        let mut added: Vec<Option<(ColumnDef<'_, '_>, bool)>> = Vec::with_capacity(actions.len());
        for action in &actions {
            added.push(self.add_column(&mut table, *action)?);
        }
        for (definition, fresh) in added.iter().flatten() {
            let fresh = *fresh && companions;
            let column = table.column(&definition.name.text).and_then(|c| c.protected.clone());
            if let Some(column) = column.filter(|column| column.mode.is_sealed() && fresh) {
                self.mark(&table.name, &definition.name.text, column.logical_type);
            }
            self.column(&mut table, definition, fresh)?;
        }
        for (action, added) in actions.iter().zip(&added) {
            if added.is_none() {
                self.action(&mut table, *action, companions)?;
            }
        }
        table.protected = table
            .columns
            .iter()
            .any(|column| column.protected.is_some() || column.unusable.is_some());
        if found.is_some() {
            self.changes.push(Change::Put(table));
        }
        Ok(())
    }

    /// A table that the snapshot does not have: by the name that CREATE would have given it, so that declared columns are never stored in clear.
    fn unknown(&self, written: &Qualified) -> Outcome<Relation> {
        let name = self.creation_name(written).ok_or_else(not_understood)?;
        Ok(Relation {
            oid: 0,
            name,
            kind: RelationKind::Table,
            columns: Vec::new(),
            unique: Vec::new(),
            protected: false,
            touches_protected: None,
            subject: None,
        })
    }

    /// `ADD [COLUMN] [IF NOT EXISTS] definition`: the definition, and whether the column is new.
    fn add_column<'s, 't>(
        &self,
        table: &mut Relation,
        mut action: Cursor<'s, 't>,
    ) -> Outcome<Option<(ColumnDef<'s, 't>, bool)>> {
        if !action.eat("ADD") {
            return Ok(None);
        }
        if !action.eat("COLUMN") && is_table_constraint(&action) {
            return Ok(None);
        }
        let if_not_exists = action.eat_all(&["IF", "NOT", "EXISTS"]);
        let definition = column_def(Cursor::new(action.source, action.rest())).ok_or_else(not_understood)?;
        let exists = table.column(&definition.name.text).is_some();
        // One that exists already, and is skipped, is still never sent in clear.
        let column = self.new_column(&table.name, &definition.name.text, &definition.ty)?;
        if table.touches_protected.is_some() && column.protected.is_some() {
            return Err(not_understood());
        }
        if !exists {
            table.columns.push(column);
        } else if !if_not_exists {
            // The server says that it exists.
            return Ok(Some((definition, false)));
        }
        Ok(Some((definition, !exists)))
    }

    fn action(&mut self, table: &mut Relation, action: Cursor<'_, '_>, companions: bool) -> Outcome {
        let mut cursor = action;
        if HARMLESS.iter().any(|start| cursor.eat_all(start)) {
            return Ok(());
        }
        if cursor.eat("ADD") {
            let constraint = table_constraint(Cursor::new(self.source, cursor.rest())).ok_or_else(not_understood)?;
            if self.constraint(table, &constraint, companions)? == Fate::Moved {
                self.splice(action.span(), NO_ACTION);
            }
            return Ok(());
        }
        if cursor.eat_all(&["DROP", "CONSTRAINT"]) {
            return self.drop_constraint(table, action, cursor);
        }
        if cursor.eat("DROP") {
            cursor.eat("COLUMN");
            cursor.eat_all(&["IF", "EXISTS"]);
            let name = cursor.name().ok_or_else(not_understood)?;
            table.columns.retain(|column| column.name != name.text);
            table.unique.retain(|key| !key.columns.contains(&name.text));
            return Ok(());
        }
        if cursor.eat("ALTER") {
            cursor.eat("COLUMN");
            let name = cursor.name().ok_or_else(not_understood)?;
            return self.alter_column(table, action, cursor, &name.text, companions);
        }
        if cursor.eat("INHERIT") || cursor.eat_all(&["ATTACH", "PARTITION"]) {
            let other = cursor.qualified().ok_or_else(not_understood)?;
            self.refuse_relatives(&[other], "inheritance with")?;
            return match table.protected {
                true => Err(Refusal::unsupported(
                    Reason::Ddl,
                    format!(
                        "protected table \"{}\" can't be given parents or partitions",
                        table.name
                    ),
                )),
                false => Ok(()),
            };
        }
        if cursor.eat("SET") && cursor.is_symbol("(") {
            return Ok(());
        }
        Err(not_understood())
    }

    fn alter_column(
        &mut self,
        table: &mut Relation,
        action: Cursor<'_, '_>,
        mut cursor: Cursor<'_, '_>,
        name: &Arc<str>,
        companions: bool,
    ) -> Outcome {
        let column = sealed(table, name)?.cloned();
        if cursor.eat_all(&["SET", "DATA", "TYPE"]) || cursor.eat("TYPE") {
            let ty = cursor.take_until(|c| c.is_one_of(&["COLLATE", "USING"]));
            return match column {
                Some(column) => self.widen(table, action, cursor, ty, &column, companions),
                None => {
                    check_expression(table, &cursor, "ALTER COLUMN TYPE")?;
                    self.retype(table, name, &ty)
                }
            };
        }
        let start = cursor.offset();
        if cursor.eat_all(&["SET", "DEFAULT"]) {
            if let Some(column) = column {
                let expression = Cursor::new(self.source, cursor.rest());
                self.seal_default(&expression, &column, start..expression.span().end, "DROP DEFAULT")?;
            }
            set(table, name, |column| column.has_default = true);
            return Ok(());
        }
        if cursor.eat_all(&["DROP", "DEFAULT"]) {
            set(table, name, |column| column.has_default = false);
            return Ok(());
        }
        if cursor.eat_all(&["SET", "NOT", "NULL"]) {
            set(table, name, |column| column.not_null = true);
            return Ok(());
        }
        if cursor.eat_all(&["DROP", "NOT", "NULL"]) {
            set(table, name, |column| column.not_null = false);
            return Ok(());
        }
        if let Some(column) = &column
            && (cursor.is("ADD") || cursor.is("SET") && cursor.looks_at(1, "GENERATED"))
        {
            return Err(refuse(
                Reason::Ddl,
                &column.name,
                format!("sealed column \"{}\" can't be generated by the server", column.name),
                "Let the application set the value, or declare the column with mode none.",
            ));
        }
        if cursor.eat_all(&["SET", "EXPRESSION"]) {
            return check_expression(table, &Cursor::new(self.source, cursor.rest()), "a generated column");
        }
        // STATISTICS, STORAGE, COMPRESSION, options, identity of a clear column.
        match cursor.is_one_of(&["SET", "RESET", "DROP", "ADD", "RESTART"]) {
            true => Ok(()),
            false => Err(not_understood()),
        }
    }

    /// A new type for a sealed column: only the marker changes, and only where every stored value is a value of the new type as it stands.
    fn widen(
        &mut self,
        table: &mut Relation,
        action: Cursor<'_, '_>,
        mut tail: Cursor<'_, '_>,
        ty: Cursor<'_, '_>,
        column: &ColumnRef,
        companions: bool,
    ) -> Outcome {
        if tail.eat("COLLATE") {
            tail.qualified().ok_or_else(not_understood)?;
        }
        let wanted = LogicalType::from_sql(&ty.normalised());
        let harmless = match tail.eat("USING") {
            false => true,
            // What migration tools add: `USING email` or `USING email::text`.
            true => {
                let mut using = Cursor::new(self.source, tail.rest());
                let itself = using.name().is_some_and(|name| name.text == column.name.column);
                let cast = match using.eat_symbol("::") {
                    true => LogicalType::from_sql(&Cursor::new(self.source, using.rest()).normalised()) == wanted,
                    false => using.is_end(),
                };
                itself && cast
            }
        };
        let Some(wanted) = wanted.filter(|wanted| harmless && holds(*wanted, column.logical_type, column.mode)) else {
            return Err(refuse(
                Reason::Ddl,
                &column.name,
                format!(
                    "the type of sealed column \"{}\" ({}) can only become a wider one of the same form",
                    column.name,
                    column.logical_type.to_sql()
                ),
                "Add a new column, copy the values through the application, then drop this one.",
            ));
        };
        self.splice(action.span(), NO_ACTION);
        if companions && wanted != column.logical_type {
            self.mark(&table.name, &column.name.column, wanted);
        }
        let mut changed = (**column).clone();
        changed.logical_type = wanted;
        set(table, &column.name.column, |column| {
            column.protected = Some(Arc::new(changed))
        });
        Ok(())
    }

    /// A new type for a column in clear, which may be protected with mode none.
    fn retype(&mut self, table: &mut Relation, name: &Arc<str>, ty: &Cursor<'_, '_>) -> Outcome {
        if table.column(name).is_none() {
            return Ok(());
        }
        let fresh = self.new_column(&table.name, name, ty)?;
        if fresh.stored_sealed {
            return Err(not_understood());
        }
        set(table, name, |column| {
            column.type_oid = fresh.type_oid;
            column.typmod = fresh.typmod;
            column.protected = fresh.protected;
        });
        Ok(())
    }

    /// DROP CONSTRAINT of what is a unique index over tags here.
    fn drop_constraint(&mut self, table: &mut Relation, action: Cursor<'_, '_>, mut cursor: Cursor<'_, '_>) -> Outcome {
        cursor.eat_all(&["IF", "EXISTS"]);
        let name = cursor.name().ok_or_else(not_understood)?;
        let cascade = cursor.is("CASCADE");
        if is_tag_index(table, &name.text) {
            self.splice(action.span(), NO_ACTION);
            let text = format!(
                "DROP INDEX {}.{}{}",
                quote_ident(&table.name.schema),
                quote_ident(&name.text),
                if cascade { " CASCADE" } else { "" }
            );
            self.companion(text);
            self.changes.push(Change::Drop(RelationName {
                schema: table.name.schema.clone(),
                name: name.text.clone(),
            }));
        }
        table.unique.retain(|key| key.name != name.text);
        Ok(())
    }

    /// `RENAME …`
    fn rename(&mut self, action: Cursor<'_, '_>, mut table: Relation, declared: bool) -> Outcome {
        let mut cursor = Cursor::new(self.source, action.rest());
        let whole = cursor;
        cursor.eat("RENAME");
        if cursor.eat("TO") {
            let name = cursor.name().ok_or_else(not_understood)?;
            let renamed = RelationName {
                schema: table.name.schema.clone(),
                name: name.text,
            };
            if declared || table.protected {
                return Err(named_by_policy(&table.name));
            }
            if self.is_declared(&renamed) {
                return Err(named_by_policy(&renamed));
            }
            self.changes.push(Change::Drop(table.name.clone()));
            table.name = renamed;
            self.changes.push(Change::Put(table));
            return Ok(());
        }
        if cursor.eat("CONSTRAINT") {
            let (Some(name), true, Some(new)) = (cursor.name(), cursor.eat("TO"), cursor.name()) else {
                return Err(not_understood());
            };
            if is_tag_index(&table, &name.text) {
                self.splice(whole.span(), NO_ACTION);
                let text = format!(
                    "ALTER INDEX {}.{} RENAME TO {}",
                    quote_ident(&table.name.schema),
                    quote_ident(&name.text),
                    quote_ident(&new.text)
                );
                self.companion(text);
            }
            for key in table.unique.iter_mut().filter(|key| key.name == name.text) {
                key.name = new.text.clone();
            }
            self.changes.push(Change::Put(table));
            return Ok(());
        }
        cursor.eat("COLUMN");
        let (Some(name), true, Some(new)) = (cursor.name(), cursor.eat("TO"), cursor.name()) else {
            return Err(not_understood());
        };
        for name in [&name.text, &new.text] {
            let is_declared = self.declaration(&table.name, name).is_some();
            if is_declared || opaque_columns(&table).any(|column| column.name == *name) {
                return Err(refuse(
                    Reason::Ddl,
                    &ColumnName {
                        relation: table.name.clone(),
                        column: name.clone(),
                    },
                    format!(
                        "column \"{}.{name}\" is named by the policy, so a rename can't be carried out",
                        table.name
                    ),
                    "Keep the name: keys and rights follow it.",
                ));
            }
        }
        for column in table.columns.iter_mut().filter(|column| column.name == name.text) {
            column.name = new.text.clone();
        }
        for column in table.unique.iter_mut().flat_map(|key| &mut key.columns) {
            if *column == name.text {
                *column = new.text.clone();
            }
        }
        self.changes.push(Change::Put(table));
        Ok(())
    }
}

/// Whether the name is that of a unique index with an equality tag in it, which stands where the client believes a constraint.
fn is_tag_index(table: &Relation, name: &str) -> bool {
    table.unique.iter().any(|key| {
        &*key.name == name
            && !key.constraint
            && key.columns.iter().any(|column| {
                let protected = table.column(column).and_then(|column| column.protected.as_ref());
                protected.is_some_and(|protected| protected.mode == Mode::Eq)
            })
    })
}

/// Whether every stored value of type `from` is, as it stands, a value of type `to`.
fn holds(to: LogicalType, from: LogicalType, mode: Mode) -> bool {
    use LogicalType::{Int2, Int4, Int8, Numeric, Text, Timestamp, Timestamptz, Varchar};
    let widens = |to: Option<u8>, from: Option<u8>| to.unwrap_or(6) >= from.unwrap_or(6);
    match (from, to) {
        _ if from == to => true,
        (Varchar(Some(old)), Varchar(Some(new))) => new >= old,
        (_, Text | Varchar(None)) => is_text(from),
        (Numeric(Some(_)), Numeric(None)) => true,
        (Numeric(Some((old, scale))), Numeric(Some((new, same)))) => new >= old && scale == same,
        (Timestamp(old), Timestamp(new)) | (Timestamptz(old), Timestamptz(new)) => widens(new, old),
        // Deterministic envelopes hold integers of every size in one form.
        (Int2, Int4 | Int8) | (Int4, Int8) => mode == Mode::Deterministic,
        _ => false,
    }
}

fn named_by_policy(table: &RelationName) -> Refusal {
    Refusal::unsupported(
        Reason::Ddl,
        format!("table \"{table}\" is named by the policy, so it can't be renamed or moved, and no other table can take its name"),
    )
    .hint("Keep the name: keys and rights follow it.")
}

fn set(table: &mut Relation, name: &str, change: impl FnOnce(&mut crate::plan::schema::Column)) {
    if let Some(column) = table.columns.iter_mut().find(|column| &*column.name == name) {
        change(column);
    }
}
