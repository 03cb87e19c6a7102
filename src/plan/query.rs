//! SELECT: what its FROM list brings, what its target list gives, what its clauses search.

use super::grouping::ordinal;
use super::operand::Operand;
use super::planner::{Goal, Outcome, Planner, Resolved, name_parts, refuse, refuse_move};
use super::refusal::{Reason, Refusal};
use super::schema::{ColumnRef, Mode};
use super::scope::{Field, Level, Lineage, Star};
use super::script::Transform;
use super::source::{byte_span, ident_name};
use super::words;
use sqlparser::ast::{
    Expr, LimitClause, ObjectName, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, WildcardAdditionalOptions,
};
use std::ops::Range;
use std::sync::Arc;

/// A result: its columns, or not known.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) fields: Vec<Field>,
    /// There may be more columns, at places that aren't known.
    pub(super) opaque: bool,
}

/// Where a plain column of the target list stands, for those who must splice it afterwards.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) field: Field,
    /// The expression as the planner can write it again: a column reference. `None`: another expression.
    pub(super) text: Option<String>,
    /// The item's expression.
    pub(super) span: Option<Range<usize>>,
    /// It has an alias in the text.
    pub(super) aliased: bool,
    /// An unknown number of columns.
    pub(super) opaque: bool,
}

impl<'a> Planner<'a> {
    /// Plans a query; `goal` says where its result goes. A sealed column in the result is the caller's to deal with.
    pub(super) fn query(&mut self, query: &Query, goal: Goal) -> Outcome<Rows> {
        self.query_with(query, goal, false)
    }

    /// `by_tag`: the result's one sealed column is to be given as its equality tag (`IN (subquery)`).
    pub(super) fn query_with(&mut self, query: &Query, goal: Goal, by_tag: bool) -> Outcome<Rows> {
        if query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return Err(self.not_understood());
        }
        let seal_targets = self.seal_targets.take();
        let known = self.ctes.len();
        let later = self.later_ctes.len();
        if let Some(with) = &query.with {
            self.with(with)?;
        }
        self.seal_targets = seal_targets;
        let rows = self.body(&query.body, query.order_by.as_ref(), goal, by_tag)?;
        self.seal_targets = None;
        match &query.limit_clause {
            Some(LimitClause::LimitOffset {
                limit,
                offset,
                limit_by,
            }) if limit_by.is_empty() => {
                for expr in limit.iter().chain(offset.iter().map(|o| &o.value)) {
                    self.computed(expr, Goal::Condition, Reason::Expression)?;
                }
            }
            None => {}
            Some(_) => return Err(self.not_understood()),
        }
        if let Some(quantity) = query.fetch.as_ref().and_then(|f| f.quantity.as_ref()) {
            self.computed(quantity, Goal::Condition, Reason::Expression)?;
        }
        for lock in &query.locks {
            if let Some(of) = &lock.of {
                self.see_name(of);
            }
        }
        self.ctes.truncate(known);
        self.later_ctes.truncate(later);
        Ok(rows)
    }

    // ---- WITH ----

    pub(super) fn body(
        &mut self,
        body: &SetExpr,
        order_by: Option<&OrderBy>,
        goal: Goal,
        by_tag: bool,
    ) -> Outcome<Rows> {
        match body {
            SetExpr::Select(select) => self.select(select, order_by, goal, by_tag),
            SetExpr::Query(query) => {
                let rows = self.query_with(query, goal, by_tag)?;
                self.order_result(&rows, order_by)?;
                Ok(rows)
            }
            SetExpr::SetOperation {
                left,
                op,
                set_quantifier,
                right,
            } => {
                let seal_targets = self
                    .seal_targets
                    .take()
                    .filter(|_| *op == SetOperator::Union && *set_quantifier == SetQuantifier::All);
                self.seal_targets = seal_targets.clone();
                let left = self.body(left, None, goal, by_tag)?;
                self.seal_targets = seal_targets;
                let right = self.body(right, None, goal, by_tag)?;
                let rows = self.combine(left, right, *op, *set_quantifier, goal)?;
                self.order_result(&rows, order_by)?;
                Ok(rows)
            }
            SetExpr::Values(values) => {
                let mut fields = Vec::new();
                for row in &values.rows {
                    for (index, expr) in row.content.iter().enumerate() {
                        let lineage = self.expr(expr, goal)?;
                        // One column for all rows: only a protected column in clear could be in it, and then it is computed.
                        self.compute(&lineage, goal, Reason::Expression)?;
                        if index >= fields.len() {
                            fields.push(Field::clear(format!("column{}", index + 1)));
                        }
                    }
                }
                let rows = Rows { fields, opaque: false };
                self.order_result(&rows, order_by)?;
                Ok(rows)
            }
            SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => {
                if order_by.is_some() {
                    return Err(self.not_understood());
                }
                self.write(statement)
            }
            SetExpr::Merge(_) | SetExpr::Table(_) => Err(self.not_understood()),
        }
    }

    fn combine(
        &mut self,
        left: Rows,
        right: Rows,
        op: SetOperator,
        quantifier: SetQuantifier,
        goal: Goal,
    ) -> Outcome<Rows> {
        let all = op == SetOperator::Union && quantifier == SetQuantifier::All;
        if !matches!(
            quantifier,
            SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None
        ) || op == SetOperator::Minus
        {
            return Err(self.not_understood());
        }
        let protected = |rows: &Rows| rows.fields.iter().any(|f| f.lineage.is_protected());
        if (left.opaque || right.opaque || left.fields.len() != right.fields.len())
            && (protected(&left) || protected(&right))
        {
            return Err(self.not_understood());
        }
        let mut fields = Vec::with_capacity(left.fields.len());
        for (a, b) in left.fields.into_iter().zip(right.fields) {
            let lineage = match (&a.lineage, &b.lineage) {
                (Lineage::Unusable(name, why), _) | (_, Lineage::Unusable(name, why)) => {
                    return Err(super::planner::unusable(name, why));
                }
                (Lineage::Stored { column, .. }, Lineage::Stored { column: other, .. }) if column.id == other.id => {
                    if !all {
                        self.search_equal(column)?;
                        if column.mode == Mode::Eq {
                            let column = column.clone();
                            return Err(refuse(Reason::Expression, &column).map_hint(
                                "Use UNION ALL and make the rows distinct in an outer query, or give the column mode \"deterministic\".",
                            ));
                        }
                    }
                    a.lineage.indirect()
                }
                (Lineage::Stored { .. }, Lineage::Null) => a.lineage.indirect(),
                (Lineage::Null, Lineage::Stored { .. }) => b.lineage.indirect(),
                (Lineage::Null, Lineage::Null) => Lineage::Null,
                (Lineage::Stored { column, .. }, Lineage::Stored { column: other, .. })
                    if column.mode.is_sealed() && other.mode.is_sealed() =>
                {
                    let hint = "Select each column in a statement of its own and unite the rows in the application.";
                    return Err(refuse_move(column, other, hint));
                }
                (Lineage::Stored { column, .. }, Lineage::Stored { column: other, .. })
                    if column.mode.is_sealed() || other.mode.is_sealed() =>
                {
                    return Err(refuse(Reason::KeyDomain, column));
                }
                (x, y) => {
                    if let Some(column) = x.sealed().or(y.sealed()) {
                        return Err(refuse(Reason::KeyDomain, column));
                    }
                    let (x, y) = (x.clone(), y.clone());
                    self.compute(&x, goal, Reason::Expression)?;
                    self.compute(&y, goal, Reason::Expression)?;
                    Lineage::Clear
                }
            };
            fields.push(Field {
                name: a.name,
                lineage,
                subject_of: a.subject_of.filter(|t| b.subject_of.as_ref() == Some(t)),
            });
        }
        Ok(Rows {
            fields,
            opaque: left.opaque || right.opaque,
        })
    }

    /// ORDER BY of a set operation: output names and ordinals only.
    fn order_result(&mut self, rows: &Rows, order_by: Option<&OrderBy>) -> Outcome<()> {
        for order in order_exprs(order_by).ok_or_else(|| self.not_understood())? {
            let field = match &order.expr {
                Expr::Value(value) => ordinal(&value.value).and_then(|n| rows.fields.get(n)),
                Expr::Identifier(ident) => {
                    self.see(ident);
                    let name = ident_name(ident);
                    rows.fields.iter().find(|f| *f.name == *name)
                }
                _ => return Err(self.not_understood()),
            };
            if let Some(field) = field {
                self.compute(&field.lineage.clone(), Goal::Condition, Reason::Ordering)?;
            }
        }
        Ok(())
    }

    // ---- SELECT ----

    fn select(&mut self, select: &Select, order_by: Option<&OrderBy>, goal: Goal, by_tag: bool) -> Outcome<Rows> {
        if select.select_modifiers.is_some()
            || select.top.is_some()
            || select.exclude.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || select.qualify.is_some()
            || select.value_table_mode.is_some()
            || select.flavor != sqlparser::ast::SelectFlavor::Standard
        {
            return Err(self.not_understood());
        }
        if select.into.is_some() {
            return Err(self.refuse_kind(
                "SELECT INTO",
                "Create the table first, declare its columns in the policy, then use INSERT … SELECT.",
            ));
        }
        let seal_targets = self.seal_targets.take();
        self.levels.push(Level::default());
        self.from(&select.from)?;
        if let Some(selection) = &select.selection {
            self.condition(selection, self.levels.len() == 1)?;
        }
        self.seal_targets = seal_targets;
        let rows = self.select_inner(select, order_by, goal, by_tag);
        self.levels.pop();
        rows
    }

    fn select_inner(&mut self, select: &Select, order_by: Option<&OrderBy>, goal: Goal, by_tag: bool) -> Outcome<Rows> {
        // A value that is sealed anew for each row can't be made distinct.
        let seal_targets = self.seal_targets.take().filter(|_| select.distinct.is_none());
        let outer_aggregate = std::mem::replace(&mut self.aggregate, false);
        let mut targets = Vec::new();
        for item in &select.projection {
            if let Some(seal) = &seal_targets
                && self.seal_item(item, seal, &mut targets)?
            {
                continue;
            }
            self.select_item(item, goal, &mut targets)?;
        }
        let grouped = self.group_by(select, &mut targets)?;
        if let Some(having) = &select.having {
            self.condition(having, false)?;
        }
        for window in &select.named_window {
            self.see(&window.0);
            match &window.1 {
                sqlparser::ast::NamedWindowExpr::NamedWindow(name) => self.see(name),
                sqlparser::ast::NamedWindowExpr::WindowSpec(spec) => self.window(spec)?,
            }
        }
        let aggregate = self.aggregate || grouped || select.having.is_some();
        self.aggregate = outer_aggregate || aggregate;
        for order in order_exprs(order_by).ok_or_else(|| self.not_understood())? {
            self.order(&order.expr, &targets)?;
        }
        self.distinct(select, &mut targets, goal)?;
        if by_tag {
            self.give_by_tag(&mut targets)?;
        }
        Ok(Rows {
            opaque: targets.iter().any(|t| t.opaque),
            fields: targets.into_iter().filter(|t| !t.opaque).map(|t| t.field).collect(),
        })
    }

    /// INSERT … SELECT: a literal or parameter of the target list that is stored in a sealed column. False where it is something else.
    fn seal_item(&mut self, item: &SelectItem, seal: &[Option<ColumnRef>], targets: &mut Vec<Target>) -> Outcome<bool> {
        let expr = match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr,
            _ => return Ok(false),
        };
        let Some(column) = seal.get(targets.len()).cloned().flatten() else {
            return Ok(false);
        };
        if targets.iter().any(|t| t.opaque) {
            return Ok(false);
        }
        let Operand::Value(value) = self.operand(expr)? else {
            return Ok(false);
        };
        if let SelectItem::ExprWithAlias { alias, .. } = item {
            self.see(alias);
        }
        self.put(&value, Transform::Seal(column.clone()))?;
        targets.push(Target {
            field: Field {
                name: Arc::from("?column?"),
                lineage: Lineage::Stored {
                    column,
                    direct: false,
                    grouped: false,
                },
                subject_of: None,
            },
            text: None,
            span: None,
            aliased: false,
            opaque: false,
        });
        Ok(true)
    }

    /// A RETURNING list.
    pub(super) fn returning(&mut self, items: Option<&Vec<SelectItem>>) -> Outcome<Rows> {
        let mut targets = Vec::new();
        for item in items.into_iter().flatten() {
            self.select_item(item, Goal::Output, &mut targets)?;
        }
        Ok(Rows {
            opaque: targets.iter().any(|t| t.opaque),
            fields: targets.into_iter().filter(|t| !t.opaque).map(|t| t.field).collect(),
        })
    }

    fn select_item(&mut self, item: &SelectItem, goal: Goal, targets: &mut Vec<Target>) -> Outcome<()> {
        match item {
            SelectItem::UnnamedExpr(expr) => self.target_item(expr, None, goal, targets),
            SelectItem::ExprWithAlias { expr, alias } => {
                self.see(alias);
                self.target_item(expr, Some(ident_name(alias).into()), goal, targets)
            }
            SelectItem::ExprWithAliases { .. } => Err(self.not_understood()),
            SelectItem::Wildcard(options) => {
                self.plain_wildcard(options)?;
                let star = self.levels.last().map(|l| l.star.clone()).unwrap_or_default();
                self.expand(star, targets);
                Ok(())
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                self.plain_wildcard(options)?;
                self.see_name(name);
                let star = self.qualified_star(name)?;
                self.expand(star, targets);
                Ok(())
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), options) => {
                self.plain_wildcard(options)?;
                self.computed(expr, goal, Reason::Expression)?;
                targets.push(Target {
                    field: Field::clear(""),
                    text: None,
                    span: None,
                    aliased: false,
                    opaque: true,
                });
                Ok(())
            }
        }
    }

    fn plain_wildcard(&self, options: &WildcardAdditionalOptions) -> Outcome<()> {
        if options.opt_ilike.is_some()
            || options.opt_exclude.is_some()
            || options.opt_except.is_some()
            || options.opt_replace.is_some()
            || options.opt_rename.is_some()
            || options.opt_alias.is_some()
        {
            return Err(self.not_understood());
        }
        Ok(())
    }

    fn expand(&mut self, star: Vec<Star>, targets: &mut Vec<Target>) {
        for column in star {
            targets.push(Target {
                field: column.field,
                text: Some(column.text),
                span: None,
                aliased: false,
                opaque: column.opaque,
            });
        }
    }

    fn qualified_star(&mut self, name: &ObjectName) -> Outcome<Vec<Star>> {
        let Some(parts) = name_parts(name) else {
            return Err(self.not_understood());
        };
        let (schema, table) = match parts.as_slice() {
            [table] => (None, ident_name(table)),
            [.., schema, table] => (Some(ident_name(schema)), ident_name(table)),
            [] => return Err(self.not_understood()),
        };
        for level in self.levels.iter().rev() {
            let found = level.items.iter().position(|item| {
                item.name.as_deref() == Some(&*table)
                    && schema
                        .as_deref()
                        .is_none_or(|schema| item.schema.as_deref() == Some(schema))
            });
            if let Some(index) = found {
                let mut alone = Level::default();
                let item = level.items.get(index).cloned();
                return Ok(item.map(|item| alone.add(item)).unwrap_or_default());
            }
        }
        // An unknown one is the server's error.
        Ok(Vec::new())
    }

    fn target_item(
        &mut self,
        expr: &Expr,
        alias: Option<Arc<str>>,
        goal: Goal,
        targets: &mut Vec<Target>,
    ) -> Outcome<()> {
        let span = self.column_span(expr);
        let resolved = self.plain_column(expr)?;
        let aliased = alias.is_some();
        let target = match (resolved, span) {
            (Some(field), Some(span)) => Target {
                field: Field {
                    name: alias.unwrap_or(field.name),
                    lineage: field.lineage,
                    subject_of: field.subject_of,
                },
                text: Some(self.source.text(&span).to_owned()),
                span: Some(span),
                aliased,
                opaque: false,
            },
            _ => {
                let lineage = self.expr(expr, goal)?;
                let lineage = match lineage {
                    Lineage::Stored { .. } => lineage.indirect(),
                    other => other,
                };
                Target {
                    field: Field {
                        name: alias.unwrap_or_else(|| expr_name(expr)),
                        lineage,
                        subject_of: None,
                    },
                    text: None,
                    span: None,
                    aliased,
                    opaque: false,
                }
            }
        };
        targets.push(target);
        Ok(())
    }

    /// A column reference, possibly in parentheses.
    pub(super) fn plain_column(&mut self, expr: &Expr) -> Outcome<Option<Field>> {
        let idents = match strip(expr) {
            Expr::Identifier(ident) => std::slice::from_ref(ident),
            Expr::CompoundIdentifier(idents) => idents.as_slice(),
            _ => return Ok(None),
        };
        match self.resolve(idents)? {
            Resolved::Column(field) => Ok(Some(field)),
            _ => Ok(None),
        }
    }

    /// The bytes of a column reference, without parentheses around it.
    pub(super) fn column_span(&self, expr: &Expr) -> Option<Range<usize>> {
        match strip(expr) {
            Expr::Identifier(ident) => byte_span(ident.span),
            Expr::CompoundIdentifier(idents) => {
                let first = byte_span(idents.first()?.span)?;
                let last = byte_span(idents.last()?.span)?;
                Some(first.start..last.end)
            }
            _ => None,
        }
    }

    // ---- GROUP BY, DISTINCT, ORDER BY ----
}

/// A clause's hint replaced.
pub(super) trait MapHint {
    fn map_hint(self, hint: &str) -> Self;
}

impl MapHint for Box<Refusal> {
    fn map_hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }
}

/// Without the parentheses around it.
pub(super) fn strip(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

fn order_exprs(order_by: Option<&OrderBy>) -> Option<&[OrderByExpr]> {
    match order_by {
        None => Some(&[]),
        Some(OrderBy {
            kind: OrderByKind::Expressions(exprs),
            interpolate: None,
        }) => Some(exprs),
        Some(_) => None,
    }
}

/// The name that PostgreSQL gives to an expression of the target list, as far as another clause may refer to it.
fn expr_name(expr: &Expr) -> Arc<str> {
    match strip(expr) {
        Expr::Function(function) => name_parts(&function.name)
            .and_then(|parts| parts.last().map(|ident| Arc::from(&*ident_name(ident))))
            .unwrap_or_else(|| Arc::from("?column?")),
        Expr::Cast { expr, .. } => expr_name(expr),
        Expr::Identifier(ident) => Arc::from(&*ident_name(ident)),
        Expr::CompoundIdentifier(idents) => idents
            .last()
            .map(|i| Arc::from(&*ident_name(i)))
            .unwrap_or_else(|| Arc::from("?column?")),
        Expr::Case {
            else_result: Some(e), ..
        } => expr_name(e),
        _ => Arc::from("?column?"),
    }
}

/// Aggregates make the record state a scope.
pub(super) fn marks_aggregate(name: &str) -> bool {
    words::is_aggregate(name)
}
