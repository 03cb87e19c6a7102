//! FROM: tables, joins, subqueries, functions; the columns that they bring and how names reach them.

use super::expr::same_terms;
use super::planner::{Goal, Outcome, Planner, name_parts, refuse, refuse_move};
use super::query::{MapHint, Rows};
use super::refusal::Reason;
use super::schema::Mode;
use super::scope::{Field, Item, Lineage, Star};
use super::source::{ident_name, quote_ident};
use sqlparser::ast::{Join, JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor, TableWithJoins};
use std::sync::Arc;

impl<'a> Planner<'a> {
    pub(super) fn from(&mut self, from: &[TableWithJoins]) -> Outcome<()> {
        for table in from {
            let star = self.table_with_joins(table)?;
            if let Some(level) = self.levels.last_mut() {
                level.star.extend(star);
            }
        }
        Ok(())
    }

    fn table_with_joins(&mut self, table: &TableWithJoins) -> Outcome<Vec<Star>> {
        let mut star = self.table_factor(&table.relation)?;
        for join in &table.joins {
            star = self.join(star, join)?;
        }
        Ok(star)
    }

    fn join(&mut self, left: Vec<Star>, join: &Join) -> Outcome<Vec<Star>> {
        if join.global {
            return Err(self.not_understood());
        }
        let right = self.table_factor(&join.relation)?;
        let (constraint, full) = match &join.join_operator {
            JoinOperator::Join(c)
            | JoinOperator::Inner(c)
            | JoinOperator::Left(c)
            | JoinOperator::LeftOuter(c)
            | JoinOperator::Right(c)
            | JoinOperator::RightOuter(c)
            | JoinOperator::CrossJoin(c) => (c, false),
            JoinOperator::FullOuter(c) => (c, true),
            _ => return Err(self.not_understood()),
        };
        let names: Vec<String> = match constraint {
            JoinConstraint::None => Vec::new(),
            JoinConstraint::On(condition) => {
                // The condition sees what the join brings together.
                let own = self.levels.last().map(|l| l.star.clone());
                if let Some(level) = self.levels.last_mut() {
                    level.star.extend(left.iter().chain(&right).cloned());
                }
                let outcome = self.condition(condition, false);
                if let (Some(level), Some(own)) = (self.levels.last_mut(), own) {
                    level.star = own;
                }
                outcome?;
                Vec::new()
            }
            JoinConstraint::Using(names) => {
                let mut using = Vec::new();
                for name in names {
                    self.see_name(name);
                    match name_parts(name).as_deref() {
                        Some([ident]) => using.push(ident_name(ident).into_owned()),
                        _ => return Err(self.not_understood()),
                    }
                }
                using
            }
            JoinConstraint::Natural => {
                let protected = |star: &[Star]| star.iter().any(|s| s.field.lineage.is_protected());
                let opaque = |star: &[Star]| star.iter().any(|s| s.opaque);
                if (opaque(&left) && protected(&right)) || (opaque(&right) && protected(&left)) {
                    return Err(self.not_understood());
                }
                left.iter()
                    .filter(|l| !l.opaque && right.iter().any(|r| !r.opaque && r.field.name == l.field.name))
                    .map(|l| l.field.name.to_string())
                    .collect()
            }
        };
        let mut merged = Vec::new();
        for name in &names {
            let find = |star: &[Star]| {
                star.iter()
                    .find(|s| !s.opaque && *s.field.name == **name)
                    .map(|s| s.field.clone())
            };
            let lineage = match (find(&left), find(&right)) {
                (Some(l), Some(r)) => self.merge(&l.lineage, &r.lineage, full)?,
                // One side unknown: nothing sealed may be joined with it.
                (Some(f), None) | (None, Some(f)) => {
                    self.compute(&f.lineage, Goal::Condition, Reason::KeyDomain)?;
                    f.lineage.indirect()
                }
                (None, None) => Lineage::Clear,
            };
            merged.push(Star {
                item: None,
                field: Field {
                    name: Arc::from(name.as_str()),
                    lineage,
                    subject_of: None,
                },
                text: quote_ident(name),
                opaque: false,
            });
        }
        let rest = |star: Vec<Star>| {
            let names = names.clone();
            star.into_iter()
                .filter(move |s| s.opaque || !names.iter().any(|n| **n == *s.field.name))
        };
        merged.extend(rest(left));
        merged.extend(rest(right));
        Ok(merged)
    }

    /// A column merged by USING or NATURAL.
    fn merge(&mut self, left: &Lineage, right: &Lineage, full: bool) -> Outcome<Lineage> {
        match (left.sealed(), right.sealed()) {
            (None, None) => {
                self.compute(left, Goal::Condition, Reason::Expression)?;
                self.compute(right, Goal::Condition, Reason::Expression)?;
                match (left, right, full) {
                    (Lineage::Stored { column, .. }, Lineage::Stored { column: other, .. }, _)
                        if column.id == other.id =>
                    {
                        Ok(left.indirect())
                    }
                    (Lineage::Stored { .. }, _, _) | (_, Lineage::Stored { .. }, _) => {
                        // It may show either: read both as computed.
                        self.compute(left, Goal::Output, Reason::Expression)?;
                        self.compute(right, Goal::Output, Reason::Expression)?;
                        Ok(Lineage::Clear)
                    }
                    _ => Ok(Lineage::Clear),
                }
            }
            (Some(l), Some(r))
                if l.mode == Mode::Deterministic && r.mode == Mode::Deterministic && l.key_domain == r.key_domain =>
            {
                let same = l.id == r.id;
                let column = l.clone();
                self.search_equal(&column)?;
                self.search_equal(&r.clone())?;
                // The merged column shows one of the two: which one is only certain where both are the same.
                if same {
                    Ok(left.indirect())
                } else {
                    Err(refuse_move(
                        &column,
                        r,
                        "Join with ON and select the column of one side.",
                    ))
                }
            }
            (Some(column), Some(other)) if same_terms(column, other).is_ok() => Err(refuse_move(
                column,
                other,
                "Join with ON instead of USING or NATURAL, and select the column of one side.",
            )),
            (Some(column), _) | (None, Some(column)) => {
                Err(refuse(Reason::KeyDomain, column).map_hint("Join with ON instead of USING or NATURAL."))
            }
        }
    }

    fn table_factor(&mut self, factor: &TableFactor) -> Outcome<Vec<Star>> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality: _,
                partitions,
                json_path,
                // TABLESAMPLE takes constants; a name in it would be found unseen.
                sample: _,
                index_hints,
            } => {
                if !with_hints.is_empty()
                    || version.is_some()
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || !index_hints.is_empty()
                {
                    return Err(self.not_understood());
                }
                if let Some(args) = args {
                    self.function_name(name)?;
                    for arg in &args.args {
                        self.function_arg(arg, Goal::Output, Reason::Expression)?;
                    }
                    let base = name_parts(name).and_then(|p| p.last().map(|i| Arc::from(&*ident_name(i))));
                    return self.add(Item::unknown(base), alias.as_ref());
                }
                let item = self.named_item(name)?;
                self.add(item, alias.as_ref())
            }
            TableFactor::Derived {
                lateral,
                subquery,
                alias,
                sample: None,
            } => {
                let rows = if *lateral {
                    self.query(subquery, Goal::Output)?
                } else {
                    let own = self.levels.pop();
                    let rows = self.query(subquery, Goal::Output);
                    self.levels.extend(own);
                    rows?
                };
                let item = self.derived(rows, alias.as_ref())?;
                Ok(self.push_item(item))
            }
            TableFactor::Function { name, args, alias, .. } => {
                self.function_name(name)?;
                for arg in args {
                    self.function_arg(arg, Goal::Output, Reason::Expression)?;
                }
                let base = name_parts(name).and_then(|p| p.last().map(|i| Arc::from(&*ident_name(i))));
                self.add(Item::unknown(base), alias.as_ref())
            }
            TableFactor::UNNEST { alias, array_exprs, .. } => {
                for expr in array_exprs {
                    self.computed(expr, Goal::Output, Reason::Expression)?;
                }
                self.add(Item::unknown(Some(Arc::from("unnest"))), alias.as_ref())
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => self.table_with_joins(table_with_joins),
            _ => Err(self.not_understood()),
        }
    }

    /// The table or common table expression of that name.
    fn named_item(&mut self, name: &ObjectName) -> Outcome<Item> {
        if let Some([ident]) = name_parts(name).as_deref() {
            let wanted = ident_name(ident);
            if let Some(cte) = self.ctes.iter().rev().find(|c| *c.name == *wanted) {
                let item = cte.item.clone();
                self.see(ident);
                return Ok(item);
            }
            if self.later_ctes.iter().any(|n| **n == *wanted) {
                return Err(self.not_understood());
            }
        }
        Ok(match self.relation(name)? {
            Some(relation) => Item::relation(&relation),
            None => Item::unknown(name_parts(name).and_then(|p| p.last().map(|i| Arc::from(&*ident_name(i))))),
        })
    }

    /// A subquery's result as an item.
    pub(super) fn derived(&mut self, rows: Rows, alias: Option<&TableAlias>) -> Outcome<Item> {
        let item = Item {
            name: None,
            schema: None,
            fields: rows
                .fields
                .into_iter()
                .map(|f| Field {
                    lineage: f.lineage.indirect(),
                    ..f
                })
                .collect(),
            opaque: rows.opaque,
            qualified_only: false,
        };
        self.rename(item, alias)
    }

    fn add(&mut self, item: Item, alias: Option<&TableAlias>) -> Outcome<Vec<Star>> {
        let item = self.rename(item, alias)?;
        Ok(self.push_item(item))
    }

    pub(super) fn push_item(&mut self, item: Item) -> Vec<Star> {
        self.watch(&item);
        self.levels.last_mut().map(|level| level.add(item)).unwrap_or_default()
    }

    /// Applies an alias.
    pub(super) fn rename(&mut self, mut item: Item, alias: Option<&TableAlias>) -> Outcome<Item> {
        self.watch(&item);
        let Some(alias) = alias else { return Ok(item) };
        self.see(&alias.name);
        if alias.at.is_some() {
            return Err(self.not_understood());
        }
        let name = ident_name(&alias.name);
        // Beside a relation that isn't known, a protected table's name is more likely one that the parser took for an alias.
        if item.opaque && self.input.snapshot.sensitive_names.contains(&name) {
            return Err(self.not_understood());
        }
        item.name = Some(Arc::from(&*name));
        item.schema = None;
        for (index, column) in alias.columns.iter().enumerate() {
            self.see(&column.name);
            let name: Arc<str> = Arc::from(&*ident_name(&column.name));
            match item.fields.get_mut(index) {
                Some(field) => field.name = name,
                None if item.opaque => item.fields.push(Field::clear(name)),
                None => {}
            }
        }
        self.watch(&item);
        Ok(item)
    }
}
