//! CREATE INDEX.

use super::constraints::index_relation;
use super::cursor::Cursor;
use super::names::index_name;
use super::{Change, Ddl, Outcome, check_expression, no_equality, not_understood, refuse, sealed, tag_expression};
use crate::plan::refusal::{Reason, Refusal};
use crate::plan::schema::{ColumnRef, Mode, UniqueKey};
use crate::plan::source::quote_ident;
use std::sync::Arc;

/// Operator classes that a column would have anyway, so that nothing changes where they are left out.
const DEFAULT_CLASSES: [&str; 16] = [
    "text_ops",
    "varchar_ops",
    "bpchar_ops",
    "int2_ops",
    "int4_ops",
    "int8_ops",
    "numeric_ops",
    "float8_ops",
    "bool_ops",
    "date_ops",
    "timestamp_ops",
    "timestamptz_ops",
    "uuid_ops",
    "bytea_ops",
    "jsonb_ops",
    "cidr_ops",
];

impl Ddl<'_> {
    /// Behind `CREATE [UNIQUE] INDEX`.
    pub(super) fn create_index(&mut self, mut cursor: Cursor<'_, '_>, unique: bool) -> Outcome {
        cursor.eat("CONCURRENTLY");
        cursor.eat_all(&["IF", "NOT", "EXISTS"]);
        let name = match cursor.is("ON") {
            true => None,
            false => Some(cursor.name().ok_or_else(not_understood)?),
        };
        let name_goes_at = cursor.offset();
        if !cursor.eat("ON") {
            return Err(not_understood());
        }
        cursor.eat("ONLY");
        let written = cursor.qualified().ok_or_else(not_understood)?;
        let Some(table) = self.resolve(&written) else {
            return Ok(());
        };
        if !table.protected {
            return match &table.touches_protected {
                // A materialized view or partition of a protected table holds sealed columns that are not known here.
                Some(why) => Err(Refusal::unsupported(
                    Reason::Ddl,
                    format!("no index can be made on \"{}\": {why}", table.name),
                )
                .hint("Make the index on the protected table itself.")),
                None => Ok(()),
            };
        }
        self.protected = true;
        let method = match cursor.eat("USING") {
            true => Some(cursor.name().ok_or_else(not_understood)?),
            false => None,
        };
        let elements = cursor.parens().ok_or_else(not_understood)?;

        let mut columns: Vec<Arc<str>> = Vec::new();
        let mut plain = true;
        let mut tagged: Option<ColumnRef> = None;
        for element in elements.split() {
            match self.index_element(&table, element)? {
                Element::Column(name, column) => {
                    if let Some(column) = column {
                        if let Some(method) = &method
                            && !matches!(&*method.text, "btree" | "hash")
                        {
                            return Err(refuse(
                                Reason::Ddl,
                                &column.name,
                                format!("sealed column \"{}\" can't be in an index of this method", column.name),
                                "Use a btree or hash index.",
                            ));
                        }
                        if column.mode == Mode::Eq {
                            tagged = Some(column);
                        }
                    }
                    columns.push(name);
                }
                Element::Expression => plain = false,
            }
        }
        let mut included = Vec::new();
        if cursor.eat("INCLUDE") {
            let inside = cursor
                .parens()
                .ok_or_else(not_understood)?
                .names()
                .ok_or_else(not_understood)?;
            included.extend(inside.into_iter().map(|name| name.text));
        }
        cursor.take_until(|c| c.is("WHERE"));
        let partial = cursor.eat("WHERE");
        let predicate = Cursor::new(self.source, cursor.rest());
        check_expression(&table, &predicate, "an index's predicate")?;

        let schema = table.name.schema.clone();
        let chosen = match (&name, &tagged) {
            (Some(name), _) => name.text.clone(),
            (None, Some(tagged)) => {
                if !plain {
                    return Err(refuse(
                        Reason::Ddl,
                        &tagged.name,
                        format!(
                            "an index over sealed column \"{}\" and an expression needs a name",
                            tagged.name
                        ),
                        "Give the index a name.",
                    ));
                }
                // PostgreSQL would call it after the expression.
                let all: Vec<Arc<str>> = columns.iter().chain(&included).cloned().collect();
                let chosen = index_name(&table.name.name, &all, "idx", |name| self.is_taken(&schema, name));
                self.splice(name_goes_at..name_goes_at, format!("{} ", quote_ident(&chosen)));
                chosen
            }
            // The server chooses.
            (None, None) => return Ok(()),
        };
        if self.is_taken(&schema, &chosen) {
            // The server says so, or skips it.
            return Ok(());
        }
        self.changes.push(Change::Put(index_relation(&schema, &chosen)));
        if unique && plain && !partial {
            let mut table = (*table).clone();
            table.unique.push(UniqueKey {
                name: chosen,
                columns,
                constraint: false,
            });
            self.changes.push(Change::Put(table));
        }
        Ok(())
    }

    fn index_element(&mut self, table: &crate::plan::schema::Relation, element: Cursor<'_, '_>) -> Outcome<Element> {
        let mut cursor = element;
        let mut wrapped = element;
        // `(email)` is a column in parentheses.
        let inside = wrapped.parens().filter(|inside| inside.all().len() == 1);
        let (name, span) = match inside {
            Some(mut inside) => {
                cursor = wrapped;
                (inside.name(), element.span().start..wrapped.previous_end())
            }
            None => {
                let name = cursor.name();
                (name, element.span().start..cursor.previous_end())
            }
        };
        let is_column = !cursor.is_symbol("(") && !cursor.is_symbol(".");
        let Some(name) = name.filter(|_| is_column) else {
            check_expression(table, &element, "an index")?;
            return Ok(Element::Expression);
        };
        let Some(column) = sealed(table, &name.text)?.cloned() else {
            return Ok(Element::Column(name.text, None));
        };
        if column.mode == Mode::Sealed {
            return Err(no_equality(&column, "an index"));
        }
        if column.mode == Mode::Eq {
            self.splice(span, tag_expression(&name.text));
        }
        let start = cursor.offset();
        if cursor.eat("COLLATE") {
            cursor.qualified().ok_or_else(not_understood)?;
        }
        if !cursor.is_end() && !cursor.is_one_of(&["ASC", "DESC", "NULLS"]) {
            let class = cursor.qualified().ok_or_else(not_understood)?;
            let known = class.split().is_some_and(|(_, class)| DEFAULT_CLASSES.contains(&class));
            if !known || cursor.is_symbol("(") {
                return Err(refuse(
                    Reason::TextSearch,
                    &column.name,
                    format!(
                        "sealed column \"{}\" can't be indexed with this operator class",
                        column.name
                    ),
                    "Leave the operator class out: an index on a sealed column is for equality.",
                ));
            }
        }
        if cursor.previous_end() > start {
            self.splice(start..cursor.previous_end(), "");
        }
        cursor.eat_one_of(&["ASC", "DESC"]);
        if cursor.eat("NULLS") && !cursor.eat_one_of(&["FIRST", "LAST"]) || !cursor.is_end() {
            return Err(not_understood());
        }
        Ok(Element::Column(name.text, Some(column)))
    }
}

/// An element of an index.
enum Element {
    /// A column by name, and what it is where sealed.
    Column(Arc<str>, Option<ColumnRef>),
    Expression,
}
