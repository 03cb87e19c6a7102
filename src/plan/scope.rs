//! What names mean inside a statement: FROM items, their columns, where each column's value comes from.

use super::schema::{ColumnName, ColumnRef, Relation, RelationName};
use super::source::quote_ident;
use std::sync::Arc;

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(super) enum Lineage {
    /// Nothing protected.
    Clear,
    /// The NULL constant: it may stand beside anything.
    Null,
    /// A protected column, as stored.
    Stored {
        /// The column.
        column: ColumnRef,
        /// A plain reference to a column of a table in this FROM list.
        direct: bool,
        /// One that the server gets as an aggregate over its group: PostgreSQL would name its table and number in the description.
        grouped: bool,
    },
    /// A declared column that can't be used, and why.
    Unusable(ColumnName, Arc<str>),
}

impl Lineage {
    /// The same value seen through a subquery, a join's merged column or the like.
    pub(super) fn indirect(&self) -> Self {
        match self {
            Lineage::Stored { column, .. } => Lineage::Stored {
                column: column.clone(),
                direct: false,
                grouped: false,
            },
            other => other.clone(),
        }
    }

    /// The same value, any of its group.
    pub(super) fn of_group(&self) -> Self {
        match self {
            Lineage::Stored { column, direct, .. } => Lineage::Stored {
                column: column.clone(),
                direct: false,
                grouped: *direct,
            },
            other => other.clone(),
        }
    }

    pub(super) fn is_protected(&self) -> bool {
        matches!(self, Lineage::Stored { .. } | Lineage::Unusable(..))
    }

    /// The column, where its stored form is an envelope.
    pub(super) fn sealed(&self) -> Option<&ColumnRef> {
        match self {
            Lineage::Stored { column, .. } if column.mode.is_sealed() => Some(column),
            _ => None,
        }
    }
}

/// A column of a FROM item or of a query's result.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: Arc<str>,
    pub(super) lineage: Lineage,
    /// It is the key of data subjects of this table.
    pub(super) subject_of: Option<RelationName>,
}

impl Field {
    pub(super) fn clear(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            lineage: Lineage::Clear,
            subject_of: None,
        }
    }
}

/// A FROM item.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// What it is called here: alias, or table name.
    pub(super) name: Option<Arc<str>>,
    /// Its schema, where no alias hides it.
    pub(super) schema: Option<Arc<str>>,
    /// Its columns; not all of them where `opaque`.
    pub(super) fields: Vec<Field>,
    /// Its columns are not known (a function, a relation that the snapshot doesn't have).
    pub(super) opaque: bool,
    /// May be named, but its columns only with its name (EXCLUDED).
    pub(super) qualified_only: bool,
}

impl Item {
    /// A table under its own name.
    pub(super) fn relation(relation: &Relation) -> Self {
        let fields = relation
            .columns
            .iter()
            .map(|column| Field {
                name: column.name.clone(),
                lineage: match (&column.protected, &column.unusable) {
                    (_, Some(why)) => Lineage::Unusable(
                        ColumnName {
                            relation: relation.name.clone(),
                            column: column.name.clone(),
                        },
                        why.clone(),
                    ),
                    (Some(column), None) => Lineage::Stored {
                        column: column.clone(),
                        direct: true,
                        grouped: false,
                    },
                    (None, None) => Lineage::Clear,
                },
                subject_of: (relation.protected && relation.subject.as_ref() == Some(&column.name))
                    .then(|| relation.name.clone()),
            })
            .collect();
        Self {
            name: Some(relation.name.name.clone()),
            schema: Some(relation.name.schema.clone()),
            fields,
            opaque: false,
            qualified_only: false,
        }
    }

    pub(super) fn unknown(name: Option<Arc<str>>) -> Self {
        Self {
            name,
            schema: None,
            fields: Vec::new(),
            opaque: true,
            qualified_only: false,
        }
    }

    pub(super) fn is_protected(&self) -> bool {
        self.fields.iter().any(|f| f.lineage.is_protected())
    }
}

/// One column of `*`.
#[derive(Clone, Debug)]
pub(super) struct Star {
    /// Which item it belongs to; `None` for a column merged by USING.
    pub(super) item: Option<usize>,
    pub(super) field: Field,
    /// How the planner writes it.
    pub(super) text: String,
    /// Stands for an unknown number of columns.
    pub(super) opaque: bool,
}

/// What one SELECT, UPDATE, … sees.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    pub(super) items: Vec<Item>,
    /// The columns of `*`, in order.
    pub(super) star: Vec<Star>,
}

impl Level {
    /// Adds an item and gives the columns that it brings.
    pub(super) fn add(&mut self, item: Item) -> Vec<Star> {
        let index = self.items.len();
        let qualifier = item.name.as_deref().map(quote_ident);
        let mut star: Vec<Star> = item
            .fields
            .iter()
            .map(|field| Star {
                item: Some(index),
                field: field.clone(),
                text: match &qualifier {
                    Some(qualifier) => format!("{qualifier}.{}", quote_ident(&field.name)),
                    None => quote_ident(&field.name),
                },
                opaque: false,
            })
            .collect();
        if item.opaque {
            star.push(Star {
                item: Some(index),
                field: Field::clear(""),
                text: String::new(),
                opaque: true,
            });
        }
        self.items.push(item);
        star
    }

    /// All columns that an unqualified name may mean here; merged ones hide those they are merged from.
    pub(super) fn unqualified<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Field> + 'a {
        let from_star = self
            .star
            .iter()
            .filter(move |s| !s.opaque && &*s.field.name == name)
            .map(|s| &s.field);
        // Items that are not in `star` yet are those to the left of a LATERAL item.
        let pending = self
            .items
            .iter()
            .enumerate()
            .filter(|(index, item)| !item.qualified_only && !self.star.iter().any(|s| s.item == Some(*index)))
            .flat_map(|(_, item)| item.fields.iter())
            .filter(move |field| {
                &*field.name == name && !self.star.iter().any(|s| s.item.is_none() && s.field.name == field.name)
            });
        from_star.chain(pending)
    }

    pub(super) fn has_opaque(&self) -> bool {
        self.items.iter().any(|item| item.opaque)
    }
}
