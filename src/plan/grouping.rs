//! GROUP BY, DISTINCT, ORDER BY: what goes by a column's equality tag.

use super::planner::{Goal, Outcome, Planner, refuse};
use super::query::{MapHint, Target};
use super::refusal::Reason;
use super::schema::{ColumnRef, Mode};
use super::scope::Lineage;
use super::source::{byte_span, ident_name, quote_ident};
use sqlparser::ast::{Distinct, Expr, GroupByExpr, Select, Value};

impl<'a> Planner<'a> {
    /// Plans the groups; sealed columns of the target list that are grouped by their tag are taken from the group. True if there are groups.
    pub(super) fn group_by(&mut self, select: &Select, targets: &mut [Target]) -> Outcome<bool> {
        let exprs = match &select.group_by {
            GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs,
            _ => return Err(self.not_understood()),
        };
        let mut by_tag: Vec<ColumnRef> = Vec::new();
        for expr in exprs {
            let ordinal_field = match expr {
                Expr::Value(value) => ordinal(&value.value).and_then(|n| targets.get(n)).cloned(),
                Expr::Identifier(ident) if self.plain_column(expr)?.is_none() => {
                    self.see(ident);
                    let name = ident_name(ident);
                    targets.iter().find(|t| *t.field.name == *name).cloned()
                }
                _ => None,
            };
            let (lineage, text) = match &ordinal_field {
                Some(target) => (target.field.lineage.clone(), target.text.clone()),
                None => match self.plain_column(expr)? {
                    Some(field) => (field.lineage, None),
                    None => {
                        self.computed(expr, Goal::Condition, Reason::Expression)?;
                        continue;
                    }
                },
            };
            match &lineage {
                Lineage::Stored { column, .. } if column.mode == Mode::Eq => {
                    let column = column.clone();
                    self.search_equal(&column)?;
                    match (ordinal_field, text) {
                        (Some(_), Some(text)) => {
                            let span = self.expr_span(expr).ok_or_else(|| self.not_understood())?;
                            self.splice(
                                span,
                                super::script::Replacement::Text(format!("substring({text} from 11 for 16)")),
                            );
                        }
                        (Some(_), None) => return Err(refuse(Reason::Expression, &column)),
                        (None, _) => {
                            let span = self.column_span(expr).ok_or_else(|| self.not_understood())?;
                            self.tag(&span);
                        }
                    }
                    by_tag.push(column);
                }
                Lineage::Stored { column, .. } if column.mode.is_sealed() => self.search_equal(&column.clone())?,
                other => self.compute(&other.clone(), Goal::Condition, Reason::Expression)?,
            }
        }
        for target in targets.iter_mut() {
            let Lineage::Stored { column, .. } = &target.field.lineage else {
                continue;
            };
            if !by_tag.iter().any(|c| c.id == column.id) {
                continue;
            }
            let Some(span) = target.span.clone() else {
                return Err(
                    refuse(Reason::Expression, column).map_hint("Name the grouped columns instead of writing *.")
                );
            };
            // Any value of the group will do: they are equal.
            self.insert(span.start, "(pg_catalog.array_agg(");
            let mut end = "))[1]".to_owned();
            if !target.aliased {
                end.push_str(" AS ");
                end.push_str(&quote_ident(&target.field.name));
            }
            self.insert(span.end, end);
            target.field.lineage = target.field.lineage.of_group();
            target.text = None;
        }
        Ok(!exprs.is_empty())
    }

    pub(super) fn distinct(&mut self, select: &Select, targets: &mut [Target], goal: Goal) -> Outcome<()> {
        match &select.distinct {
            None | Some(Distinct::All) => Ok(()),
            Some(Distinct::On(exprs)) => {
                for expr in exprs {
                    let field = match expr {
                        Expr::Value(value) => ordinal(&value.value)
                            .and_then(|n| targets.get(n))
                            .map(|t| (t.field.lineage.clone(), t.text.clone())),
                        _ => None,
                    };
                    match field {
                        Some((lineage, _)) => self.compute(&lineage, Goal::Condition, Reason::Expression)?,
                        None => self.grouping_key(expr, targets)?,
                    }
                }
                Ok(())
            }
            Some(Distinct::Distinct) => {
                let mut by_tag = false;
                for target in targets.iter() {
                    match &target.field.lineage {
                        Lineage::Stored { column, .. } if column.mode.is_sealed() => {
                            let column = column.clone();
                            self.search_equal(&column)?;
                            by_tag |= column.mode == Mode::Eq;
                        }
                        Lineage::Stored { column, .. } => {
                            let column = column.clone();
                            self.access(&column, super::access::Use::Search, false);
                        }
                        Lineage::Unusable(name, why) => return Err(super::planner::unusable(name, why)),
                        _ => {}
                    }
                }
                if !by_tag {
                    return Ok(());
                }
                let mut keys = Vec::with_capacity(targets.len());
                for (index, target) in targets.iter_mut().enumerate() {
                    match &target.field.lineage {
                        Lineage::Stored { column, .. } if column.mode == Mode::Eq => match (&target.text, goal) {
                            (Some(text), _) => keys.push(format!("substring({text} from 11 for 16)")),
                            (None, _) => return Err(refuse(Reason::Expression, column)),
                        },
                        _ if target.opaque => return Err(self.not_understood()),
                        _ => keys.push((index + 1).to_string()),
                    }
                }
                let at = self.distinct_keyword(select).ok_or_else(|| self.not_understood())?;
                self.insert(at, format!(" ON ({})", keys.join(", ")));
                Ok(())
            }
        }
    }

    /// Where DISTINCT ends.
    fn distinct_keyword(&self, select: &Select) -> Option<usize> {
        let select_token = byte_span(select.select_token.0.span)?;
        let index = self.source.token_at(select_token.start)?;
        let distinct = self.source.token(index + 1)?;
        self.source
            .is_keyword(distinct, "DISTINCT")
            .then_some(distinct.span.end)
    }

    /// A key of DISTINCT ON.
    pub(super) fn grouping_key(&mut self, expr: &Expr, targets: &[Target]) -> Outcome<()> {
        let alias = match expr {
            Expr::Identifier(ident) => {
                let name = ident_name(ident).into_owned();
                targets.iter().find(|t| *t.field.name == *name).cloned()
            }
            _ => None,
        };
        let lineage = match alias {
            Some(target) => {
                if let Expr::Identifier(ident) = expr {
                    self.see(ident);
                }
                // The output name comes before the input's; a tag can only be taken from the input.
                if target.aliased
                    && let Some(column) = target.field.lineage.sealed()
                {
                    return Err(refuse(Reason::Expression, column));
                }
                target.field.lineage
            }
            None => match self.plain_column(expr)? {
                Some(field) => field.lineage,
                None => return self.computed(expr, Goal::Condition, Reason::Expression),
            },
        };
        match &lineage {
            Lineage::Stored { column, .. } if column.mode == Mode::Eq => {
                self.search_equal(column)?;
                let span = self.column_span(expr).ok_or_else(|| self.not_understood())?;
                self.tag(&span);
                Ok(())
            }
            Lineage::Stored { column, .. } if column.mode.is_sealed() => self.search_equal(column),
            other => self.compute(other, Goal::Condition, Reason::Expression),
        }
    }

    /// A key of ORDER BY: an ordinal, an output name, or an expression over the input.
    pub(super) fn order(&mut self, expr: &Expr, targets: &[Target]) -> Outcome<()> {
        let target = match expr {
            Expr::Value(value) => ordinal(&value.value).and_then(|n| targets.get(n)),
            Expr::Identifier(ident) => {
                let name = ident_name(ident);
                let found = targets.iter().find(|t| !t.opaque && *t.field.name == *name);
                if found.is_some() {
                    self.see(ident);
                }
                found
            }
            _ => None,
        };
        match target {
            Some(target) => self.compute(&target.field.lineage.clone(), Goal::Condition, Reason::Ordering),
            None => self.computed(expr, Goal::Condition, Reason::Ordering),
        }
    }

    /// `IN (subquery)`: its one sealed column is to be compared by tag.
    pub(super) fn give_by_tag(&mut self, targets: &mut [Target]) -> Outcome<()> {
        let [target] = targets else { return Ok(()) };
        if let Lineage::Stored { column, .. } = &target.field.lineage
            && column.mode == Mode::Eq
        {
            let column = column.clone();
            let (Some(span), true) = (target.span.clone(), target.text.is_some()) else {
                return Err(refuse(Reason::Expression, &column));
            };
            self.tag(&span);
        }
        Ok(())
    }
}

/// The 0-based index that an ordinal (`ORDER BY 2`) means.
pub(super) fn ordinal(value: &Value) -> Option<usize> {
    match value {
        Value::Number(digits, _) => digits.parse::<usize>().ok()?.checked_sub(1),
        _ => None,
    }
}
