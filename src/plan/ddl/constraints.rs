//! Keys and constraints over protected columns: the same rules for CREATE TABLE and ALTER TABLE.

use super::cursor::{Cursor, Name, Qualified};
use super::grammar::{ConstraintKind, KeyOptions, TableConstraint, texts};
use super::names::index_name;
use super::{
    Change, Ddl, Outcome, check_expression, no_equality, opaque_columns, quote_relation, refuse, sealed, tag_expression,
};
use crate::plan::refusal::{Reason, Refusal};
use crate::plan::schema::{Mode, Relation, RelationKind, RelationName, UniqueKey};
use crate::plan::source::quote_ident;
use std::sync::Arc;

/// What becomes of a constraint in the client's text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Kept,
    /// A companion takes its place.
    Moved,
}

impl Ddl<'_> {
    /// A unique constraint over `columns` of `table`. Over a column of mode eq it becomes a unique index over the tag.
    pub(super) fn unique(
        &mut self,
        table: &mut Relation,
        name: Option<&Name>,
        columns: &[Arc<str>],
        options: &KeyOptions,
        companions: bool,
    ) -> Outcome<Fate> {
        let mut tagged = None;
        for column in columns {
            if table.column(column).is_none() {
                // The server says so.
                return Ok(Fate::Kept);
            }
            if let Some(column) = sealed(table, column)? {
                match column.mode {
                    Mode::Sealed => return Err(no_equality(column, "UNIQUE")),
                    Mode::Eq => tagged = Some(column.clone()),
                    Mode::Deterministic | Mode::None => {}
                }
            }
        }
        let schema = table.name.schema.clone();
        let chosen: Arc<str> = match name {
            Some(name) => name.text.clone(),
            None => index_name(&table.name.name, columns, "key", |name| {
                self.is_taken(&schema, name) || table.unique.iter().any(|key| &*key.name == name)
            }),
        };
        table.unique.push(UniqueKey {
            name: chosen.clone(),
            columns: columns.to_vec(),
            constraint: tagged.is_none(),
        });
        let Some(tagged) = tagged else {
            return Ok(Fate::Kept);
        };
        if options.other {
            return Err(refuse(
                Reason::Ddl,
                &tagged.name,
                format!(
                    "UNIQUE over sealed column \"{}\" can't have INCLUDE, storage parameters, a tablespace, or be deferrable",
                    tagged.name
                ),
                "Leave them out, or declare the column with mode deterministic.",
            ));
        }
        if companions {
            let elements: Vec<String> = columns
                .iter()
                .map(|column| match table.column(column).and_then(|c| c.protected.as_ref()) {
                    Some(protected) if protected.mode == Mode::Eq => tag_expression(column),
                    _ => quote_ident(column),
                })
                .collect();
            let text = format!(
                "CREATE UNIQUE INDEX {} ON {} ({}){}",
                quote_ident(&chosen),
                quote_relation(&table.name),
                elements.join(", "),
                if options.nulls_not_distinct {
                    " NULLS NOT DISTINCT"
                } else {
                    ""
                }
            );
            self.companion(text);
            self.changes.push(Change::Put(index_relation(&schema, &chosen)));
        }
        Ok(Fate::Moved)
    }

    /// A primary key, an index that PostgreSQL itself compares.
    pub(super) fn primary_key(&mut self, table: &mut Relation, name: Option<&Name>, columns: &[Arc<str>]) -> Outcome {
        for column in columns {
            if let Some(column) = sealed(table, column)?
                && column.mode != Mode::Deterministic
            {
                return Err(refuse(
                    Reason::Ddl,
                    &column.name,
                    format!(
                        "PRIMARY KEY over sealed column \"{}\" needs mode deterministic",
                        column.name
                    ),
                    "Declare the column with mode deterministic in the policy.",
                ));
            }
        }
        for column in &mut table.columns {
            column.not_null |= columns.contains(&column.name);
        }
        let schema = table.name.schema.clone();
        let chosen = match name {
            Some(name) => name.text.clone(),
            None => index_name_of_primary_key(&table.name, |name| self.is_taken(&schema, name)),
        };
        table.unique.push(UniqueKey {
            name: chosen,
            columns: columns.to_vec(),
            constraint: true,
        });
        Ok(())
    }

    /// A foreign key: envelopes are equal only between deterministic columns of one key domain.
    pub(super) fn foreign_key(
        &self,
        table: &Relation,
        columns: &[Arc<str>],
        target: &Qualified,
        target_columns: &[Name],
    ) -> Outcome {
        let itself = self.resolve(target).is_none_or(|found| found.name == table.name)
            && target.split().is_some_and(|(_, name)| name == &*table.name.name);
        let target = if itself {
            Some(Arc::new(table.clone()))
        } else {
            self.resolve(target)
        };
        for (at, name) in columns.iter().enumerate() {
            let here = sealed(table, name)?;
            let there = match (&target, target_columns.get(at)) {
                (Some(target), Some(column)) => sealed(target, &column.text)?,
                _ => None,
            };
            let (column, hint) = match (here, there) {
                (None, None) => continue,
                (Some(here), Some(there))
                    if here.mode == Mode::Deterministic
                        && there.mode == Mode::Deterministic
                        && here.key_domain == there.key_domain =>
                {
                    continue;
                }
                (Some(here), None) if here.mode == Mode::Deterministic => (
                    here,
                    "Name the referenced column, and declare it with mode deterministic and the same key domain.",
                ),
                (Some(column), _) | (None, Some(column)) => (
                    column,
                    "Declare both columns with mode deterministic and the same key domain in the policy.",
                ),
            };
            return Err(refuse(
                Reason::KeyDomain,
                &column.name,
                format!("the foreign key over sealed column \"{}\" can't be kept", column.name),
                hint,
            ));
        }
        Ok(())
    }

    /// A table constraint; what it does to the client's text.
    pub(super) fn constraint(
        &mut self,
        table: &mut Relation,
        constraint: &TableConstraint<'_, '_>,
        companions: bool,
    ) -> Outcome<Fate> {
        match &constraint.kind {
            ConstraintKind::Unique(columns, options) => {
                return self.unique(table, constraint.name.as_ref(), &texts(columns), options, companions);
            }
            ConstraintKind::PrimaryKey(columns) => {
                self.primary_key(table, constraint.name.as_ref(), &texts(columns))?;
            }
            ConstraintKind::ForeignKey(columns, target, target_columns) => {
                self.foreign_key(table, &texts(columns), target, target_columns)?;
            }
            ConstraintKind::Other(expression) => check_expression(table, expression, "a constraint")?,
            ConstraintKind::UsingIndex => {}
        }
        Ok(Fate::Kept)
    }

    /// A protected parent, template or partitioned table in a list of names.
    pub(super) fn refuse_relatives(&self, names: &[Qualified], what: &str) -> Outcome {
        for name in names {
            if let Some(relation) = self.resolve(name)
                && (relation.protected || relation.touches_protected.is_some())
            {
                return Err(Refusal::unsupported(
                    Reason::Ddl,
                    format!("{what} \"{}\", which is protected, can't be carried out", relation.name),
                )
                .hint("Write the columns out, and declare them in the policy."));
            }
        }
        Ok(())
    }
}

/// The partition key's expressions and columns must be comparable by the server.
pub(super) fn check_partition_key(table: &Relation, key: &Cursor<'_, '_>) -> Outcome {
    for column in opaque_columns(table) {
        if key.mentions(&column.name)
            && let Some(protected) = &column.protected
        {
            return Err(refuse(
                Reason::Ddl,
                &protected.name,
                format!("sealed column \"{}\" can't be a partition key", protected.name),
                "Partition by a column that is not sealed.",
            ));
        }
    }
    Ok(())
}

fn index_name_of_primary_key(table: &RelationName, taken: impl Fn(&str) -> bool) -> Arc<str> {
    super::names::relation_name(&table.name, None, "pkey", taken)
}

/// An index in the script's picture of the catalog: its name is taken.
pub(super) fn index_relation(schema: &Arc<str>, name: &Arc<str>) -> Relation {
    Relation {
        oid: 0,
        name: RelationName {
            schema: schema.clone(),
            name: name.clone(),
        },
        kind: RelationKind::Other,
        columns: Vec::new(),
        unique: Vec::new(),
        protected: false,
        touches_protected: None,
        subject: None,
    }
}
