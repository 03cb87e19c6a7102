//! WITH: what its queries are known by.

use super::planner::{Goal, KnownCte, Outcome, Planner, refuse};
use super::query::Rows;
use super::refusal::Reason;
use super::scope::Lineage;
use super::source::{byte_span, ident_name};
use sqlparser::ast::{Cte, SetExpr, With};

impl<'a> Planner<'a> {
    pub(super) fn with(&mut self, with: &With) -> Outcome<()> {
        for (index, cte) in with.cte_tables.iter().enumerate() {
            if cte.from.is_some() {
                return Err(self.not_understood());
            }
            let later = self.later_ctes.len();
            if with.recursive {
                for next in with.cte_tables.iter().skip(index + 1) {
                    self.later_ctes.push(ident_name(&next.alias.name).into_owned());
                }
            }
            let name = ident_name(&cte.alias.name).into_owned();
            let recursive = with.recursive && self.mentions(cte, &name);
            let rows = if recursive {
                self.recursive(cte, &name)?
            } else {
                // What a common table expression computes may reach the output: in doubt it is a read.
                self.query(&cte.query, Goal::Output)?
            };
            self.later_ctes.truncate(later);
            let item = self.derived(rows, Some(&cte.alias))?;
            self.ctes.push(KnownCte { name, item });
        }
        Ok(())
    }

    fn mentions(&self, cte: &Cte, name: &str) -> bool {
        let (Some(from), Some(to)) = (
            byte_span(cte.alias.name.span),
            byte_span(cte.closing_paren_token.0.span),
        ) else {
            return true;
        };
        self.source
            .tokens(&(from.end..to.end))
            .iter()
            .any(|t| self.source.name(t).is_some_and(|n| n == name))
    }

    /// A recursive one: nothing protected may flow through it, since each round computes on what the last one gave.
    fn recursive(&mut self, cte: &Cte, name: &str) -> Outcome<Rows> {
        let SetExpr::SetOperation { left, right, .. } = &*cte.query.body else {
            return Err(self.not_understood());
        };
        if cte.query.order_by.is_some() || cte.query.with.is_some() || cte.query.limit_clause.is_some() {
            return Err(self.not_understood());
        }
        let first = self.body(left, None, Goal::Output, false)?;
        self.refuse_recursion(&first)?;
        let item = self.derived(first.clone(), Some(&cte.alias))?;
        self.ctes.push(KnownCte {
            name: name.to_owned(),
            item,
        });
        let next = self.body(right, None, Goal::Output, false)?;
        self.ctes.pop();
        self.refuse_recursion(&next)?;
        Ok(first)
    }

    fn refuse_recursion(&self, rows: &Rows) -> Outcome<()> {
        match rows
            .fields
            .iter()
            .find(|f| f.lineage.is_protected())
            .map(|f| &f.lineage)
        {
            Some(Lineage::Stored { column, .. }) => Err(refuse(Reason::StatementKind, column)),
            Some(_) => Err(self.not_understood()),
            None => Ok(()),
        }
    }

    // ---- bodies ----
}
