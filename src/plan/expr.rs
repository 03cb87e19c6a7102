//! Expressions: which of them a sealed column may stand in, and how those are rewritten to its index term.

use super::access::Use;
use super::operand::{Operand, Value as OperandValue};
use super::planner::{Goal, Outcome, Planner, Resolved, name_parts, refuse};
use super::query::{MapHint, marks_aggregate, strip};
use super::refusal::{Reason, Refusal};
use super::schema::{ColumnRef, Mode};
use super::scope::Lineage;
use super::script::{SubjectSource, Transform};
use super::source::ident_name;
use super::words;
use crate::value::LogicalType;
use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, ObjectName, Query, Value, Visit, Visitor, WindowSpec, WindowType,
};
use std::ops::ControlFlow;

impl<'a> Planner<'a> {
    /// A condition. `top`: it is a conjunct of the statement's WHERE, so that `key = $1` names the data subject.
    pub(super) fn condition(&mut self, expr: &Expr, top: bool) -> Outcome<()> {
        match expr {
            Expr::Nested(inner) => self.condition(inner, top),
            Expr::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            } => {
                self.condition(left, top)?;
                self.condition(right, top)
            }
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            } if top => {
                self.subject_of(left, right)?;
                self.subject_of(right, left)?;
                self.computed(expr, Goal::Condition, Reason::Expression)
            }
            _ => self.computed(expr, Goal::Condition, Reason::Expression),
        }
    }

    /// `key = $1` and `key = literal` name the data subject.
    fn subject_of(&mut self, column: &Expr, value: &Expr) -> Outcome<()> {
        let Some(table) = self.plain_column(column)?.and_then(|f| f.subject_of) else {
            return Ok(());
        };
        let source = match self.operand(value)? {
            Operand::Value(OperandValue::Param { number, .. }) => SubjectSource::Param {
                index: number as usize - 1,
                table,
            },
            Operand::Value(OperandValue::Literal { literal, .. }) => SubjectSource::Literal { literal, table },
            _ => return Ok(()),
        };
        if !self.subjects.contains(&source) {
            self.subjects.push(source);
        }
        Ok(())
    }

    /// An expression whose value PostgreSQL computes with: no sealed column may come out of it.
    pub(super) fn computed(&mut self, expr: &Expr, goal: Goal, reason: Reason) -> Outcome<()> {
        let lineage = self.expr(expr, goal)?;
        self.compute(&lineage, goal, reason)
    }

    /// Any expression; what comes out of it.
    pub(super) fn expr(&mut self, expr: &Expr, goal: Goal) -> Outcome<Lineage> {
        match expr {
            Expr::Nested(inner) => self.expr(inner, goal),
            Expr::Identifier(ident) => self.name(std::slice::from_ref(ident), goal),
            Expr::CompoundIdentifier(idents) => self.name(idents, goal),
            Expr::Value(value) => Ok(match value.value {
                Value::Null => Lineage::Null,
                _ => Lineage::Clear,
            }),
            Expr::TypedString(_) => {
                if let Some(span) = self.expr_span(expr) {
                    self.see_span(&span);
                }
                Ok(Lineage::Clear)
            }
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
                let lineage = self.expr(inner, Goal::Condition)?;
                match lineage {
                    // NULL is stored as NULL.
                    Lineage::Stored { column, .. } => self.access(&column, Use::Search, false),
                    other => self.compute(&other, goal, Reason::Expression)?,
                }
                Ok(Lineage::Clear)
            }
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => self.compare(left, right, goal),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, goal),
            Expr::UnaryOp { expr, .. } => self.clear(expr, goal, Reason::Expression),
            Expr::InList { expr, list, .. } => self.in_list(expr, list, goal),
            Expr::InSubquery { expr, subquery, .. } => self.in_subquery(expr, subquery, goal),
            Expr::AnyOp {
                left,
                compare_op: BinaryOperator::Eq | BinaryOperator::NotEq,
                right,
                ..
            }
            | Expr::AllOp {
                left,
                compare_op: BinaryOperator::Eq | BinaryOperator::NotEq,
                right,
            } => self.quantified(left, right, goal),
            Expr::AnyOp {
                left,
                compare_op,
                right,
                ..
            }
            | Expr::AllOp {
                left,
                compare_op,
                right,
            } => {
                let reason = operator_reason(compare_op);
                self.clear(left, goal, reason)?;
                self.clear(right, goal, reason)
            }
            Expr::Between { expr, low, high, .. } => {
                self.clear(expr, goal, Reason::Range)?;
                self.clear(low, goal, Reason::Range)?;
                self.clear(high, goal, Reason::Range)
            }
            Expr::Like {
                expr,
                pattern,
                escape_char,
                ..
            }
            | Expr::ILike {
                expr,
                pattern,
                escape_char,
                ..
            }
            | Expr::SimilarTo {
                expr,
                pattern,
                escape_char,
                ..
            } => {
                self.clear(expr, goal, Reason::TextSearch)?;
                if let Some(escape) = escape_char {
                    self.clear(escape, goal, Reason::TextSearch)?;
                }
                self.clear(pattern, goal, Reason::TextSearch)
            }
            Expr::Cast { expr: inner, .. } => {
                if let Some(span) = self.cast_type_span(expr) {
                    self.see_span(&span);
                }
                let lineage = self.expr(inner, goal)?;
                self.compute(&lineage, goal, Reason::Expression)?;
                Ok(match lineage {
                    Lineage::Null => Lineage::Null,
                    _ => Lineage::Clear,
                })
            }
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => {
                for expr in operand.iter().chain(else_result) {
                    self.clear(expr, goal, Reason::Expression)?;
                }
                for when in conditions {
                    match operand {
                        Some(_) => self.computed(&when.condition, goal, Reason::Expression)?,
                        None => self.condition(&when.condition, false)?,
                    }
                    self.computed(&when.result, goal, Reason::Expression)?;
                }
                Ok(Lineage::Clear)
            }
            Expr::Function(function) => self.function(function, goal),
            Expr::Exists { subquery, .. } => {
                // Only whether there is a row gets out.
                self.query(subquery, Goal::Condition)?;
                Ok(Lineage::Clear)
            }
            Expr::Subquery(query) => {
                let rows = self.query(query, goal)?;
                match rows.fields.as_slice() {
                    [field] if !rows.opaque => Ok(field.lineage.indirect()),
                    fields => {
                        for field in fields {
                            self.compute(&field.lineage, goal, Reason::Expression)?;
                        }
                        Ok(Lineage::Clear)
                    }
                }
            }
            Expr::Tuple(exprs) => {
                for expr in exprs {
                    self.computed(expr, goal, Reason::Expression)?;
                }
                Ok(Lineage::Clear)
            }
            Expr::Array(array) => {
                for expr in &array.elem {
                    self.computed(expr, goal, Reason::Expression)?;
                }
                Ok(Lineage::Clear)
            }
            Expr::Collate { expr, collation } => {
                self.see_name(collation);
                self.clear(expr, goal, Reason::Expression)
            }
            other => self.unwalked(other, goal),
        }
    }

    fn clear(&mut self, expr: &Expr, goal: Goal, reason: Reason) -> Outcome<Lineage> {
        self.computed(expr, goal, reason)?;
        Ok(Lineage::Clear)
    }

    fn name(&mut self, idents: &[Ident], goal: Goal) -> Outcome<Lineage> {
        match self.resolve(idents)? {
            Resolved::Column(field) => match field.lineage {
                Lineage::Unusable(name, why) => Err(super::planner::unusable(&name, &why)),
                lineage => Ok(lineage),
            },
            Resolved::WholeRow(row) => {
                self.compute_whole_row(&row, goal)?;
                Ok(Lineage::Clear)
            }
            Resolved::Unknown => Ok(Lineage::Clear),
        }
    }

    /// An expression of a kind that is not walked: no sealed column and no subquery may be in it.
    fn unwalked(&mut self, expr: &Expr, goal: Goal) -> Outcome<Lineage> {
        struct Names<'p, 'a> {
            planner: &'p mut Planner<'a>,
            goal: Goal,
        }
        impl Visitor for Names<'_, '_> {
            type Break = Box<Refusal>;
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
                let idents = match expr {
                    Expr::Identifier(ident) => std::slice::from_ref(ident),
                    Expr::CompoundIdentifier(idents) => idents.as_slice(),
                    Expr::Function(function) => {
                        return match self.planner.function_name(&function.name) {
                            Ok(()) => ControlFlow::Continue(()),
                            Err(refusal) => ControlFlow::Break(refusal),
                        };
                    }
                    _ => return ControlFlow::Continue(()),
                };
                let outcome = self
                    .planner
                    .name(idents, self.goal)
                    .and_then(|lineage| self.planner.compute(&lineage, self.goal, Reason::Expression));
                match outcome {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(refusal) => ControlFlow::Break(refusal),
                }
            }
            fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
                ControlFlow::Break(self.planner.not_understood())
            }
        }
        let mut names = Names { planner: self, goal };
        match expr.visit(&mut names) {
            ControlFlow::Continue(()) => Ok(Lineage::Clear),
            ControlFlow::Break(refusal) => Err(refusal),
        }
    }

    // ---- operators ----

    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr, goal: Goal) -> Outcome<Lineage> {
        match op {
            BinaryOperator::Eq | BinaryOperator::NotEq => self.compare(left, right, goal),
            BinaryOperator::And | BinaryOperator::Or => {
                self.computed(left, goal, Reason::Expression)?;
                self.clear(right, goal, Reason::Expression)
            }
            _ => {
                let reason = operator_reason(op);
                self.computed(left, goal, reason)?;
                self.clear(right, goal, reason)
            }
        }
    }

    /// `=`, `<>`, `IS [NOT] DISTINCT FROM`.
    fn compare(&mut self, left: &Expr, right: &Expr, goal: Goal) -> Outcome<Lineage> {
        let l = self.operand(left)?;
        let r = self.operand(right)?;
        match (&l, &r) {
            (Operand::Column(a, a_span), Operand::Column(b, b_span))
                if a.sealed().is_some() || b.sealed().is_some() =>
            {
                let (Some(a), Some(b)) = (a.sealed(), b.sealed()) else {
                    let column = a.sealed().or(b.sealed()).ok_or_else(|| self.not_understood())?;
                    let column = column.clone();
                    self.access(&column, Use::Search, false);
                    return Err(refuse(Reason::Expression, &column)
                        .map_hint("Compare it with a literal, a parameter, or a column of the same key domain."));
                };
                self.search_equal(a)?;
                self.search_equal(b)?;
                same_terms(a, b)?;
                if a.mode == Mode::Eq {
                    self.tag(a_span);
                    self.tag(b_span);
                }
                Ok(Lineage::Clear)
            }
            (Operand::Column(lineage, span), other) | (other, Operand::Column(lineage, span))
                if lineage.sealed().is_some() =>
            {
                let Some(column) = lineage.sealed().cloned() else {
                    return Err(self.not_understood());
                };
                self.search_equal(&column)?;
                match other {
                    Operand::Null => {}
                    Operand::Value(value) => self.put(value, Transform::Term(column.clone()))?,
                    Operand::Query(query) => self.subquery_terms(query, &column)?,
                    _ => {
                        // Something sealed inside it explains itself first.
                        let expr = if matches!(l, Operand::Column(..)) { right } else { left };
                        self.computed(expr, goal, Reason::Expression)?;
                        return Err(refuse(Reason::Expression, &column)
                            .map_hint("Compare it with a literal, a parameter, or a column of the same key domain."));
                    }
                }
                if column.mode == Mode::Eq {
                    self.tag(span);
                }
                Ok(Lineage::Clear)
            }
            _ => {
                self.computed(left, goal, Reason::Expression)?;
                self.clear(right, goal, Reason::Expression)
            }
        }
    }

    fn in_list(&mut self, expr: &Expr, list: &[Expr], goal: Goal) -> Outcome<Lineage> {
        match self.operand(expr)? {
            Operand::Column(lineage, span) if lineage.sealed().is_some() => {
                let Some(column) = lineage.sealed().cloned() else {
                    return Err(self.not_understood());
                };
                self.search_equal(&column)?;
                self.put_all(list, &column, list.len() > 1)?;
                if column.mode == Mode::Eq {
                    self.tag(&span);
                }
                Ok(Lineage::Clear)
            }
            _ => {
                self.computed(expr, goal, Reason::Expression)?;
                for item in list {
                    self.computed(item, goal, Reason::Expression)?;
                }
                Ok(Lineage::Clear)
            }
        }
    }

    fn put_all(&mut self, list: &[Expr], column: &ColumnRef, listed: bool) -> Outcome<()> {
        for item in list {
            match self.operand(item)? {
                Operand::Null => {}
                Operand::Value(value) => self.put_one(&value, Transform::Term(column.clone()), listed)?,
                _ => {
                    return Err(refuse(Reason::Expression, column).map_hint("List literals and parameters only."));
                }
            }
        }
        Ok(())
    }

    fn in_subquery(&mut self, expr: &Expr, query: &Query, goal: Goal) -> Outcome<Lineage> {
        match self.operand(expr)? {
            Operand::Column(lineage, span) if lineage.sealed().is_some() => {
                let Some(column) = lineage.sealed().cloned() else {
                    return Err(self.not_understood());
                };
                self.search_equal(&column)?;
                self.subquery_terms(query, &column)?;
                if column.mode == Mode::Eq {
                    self.tag(&span);
                }
            }
            operand => {
                let rows = self.query_with(query, Goal::Condition, true)?;
                match (rows.fields.as_slice(), operand) {
                    ([field], Operand::Value(value)) if !rows.opaque && field.lineage.sealed().is_some() => {
                        let Some(column) = field.lineage.sealed().cloned() else {
                            return Err(self.not_understood());
                        };
                        self.search_equal(&column)?;
                        self.put(&value, Transform::Term(column))?;
                    }
                    (fields, _) => {
                        for field in fields {
                            self.compute(&field.lineage, Goal::Condition, Reason::Expression)?;
                        }
                        self.computed(expr, goal, Reason::Expression)?;
                    }
                }
            }
        }
        Ok(Lineage::Clear)
    }

    /// A subquery whose one column is compared with `column`.
    fn subquery_terms(&mut self, query: &Query, column: &ColumnRef) -> Outcome<()> {
        let rows = self.query_with(query, Goal::Condition, column.mode == Mode::Eq)?;
        match rows.fields.as_slice() {
            [field] if !rows.opaque => match (&field.lineage, field.lineage.sealed()) {
                (_, Some(other)) => {
                    let other = other.clone();
                    self.search_equal(&other)?;
                    same_terms(column, &other)
                }
                (Lineage::Null, None) => Ok(()),
                _ => Err(refuse(Reason::KeyDomain, column)),
            },
            _ => Err(refuse(Reason::Expression, column)),
        }
    }

    /// `= ANY (…)`, `<> ALL (…)`.
    fn quantified(&mut self, left: &Expr, right: &Expr, goal: Goal) -> Outcome<Lineage> {
        if let Expr::Subquery(query) = strip(right) {
            return self.in_subquery(left, query, goal);
        }
        let Operand::Column(lineage, span) = self.operand(left)? else {
            self.computed(left, goal, Reason::Expression)?;
            return self.clear(right, goal, Reason::Expression);
        };
        let Some(column) = lineage.sealed().cloned() else {
            self.compute(&lineage, goal, Reason::Expression)?;
            return self.clear(right, goal, Reason::Expression);
        };
        self.search_equal(&column)?;
        let (array, cast) = match strip(right) {
            Expr::Cast { expr, .. } => (strip(expr), true),
            other => (other, false),
        };
        match array {
            Expr::Array(array) if !array.elem.is_empty() => {
                if cast {
                    let (cast, _) = self.array_cast(right, &column)?;
                    self.splice(cast, super::script::Replacement::Text(String::new()));
                }
                if array.elem.iter().any(|e| matches!(strip(e), Expr::Array(_))) {
                    return Err(refuse(Reason::Expression, &column));
                }
                if array
                    .elem
                    .iter()
                    .all(|e| matches!(strip(e), Expr::Value(v) if v.value == Value::Null))
                {
                    // Without a value and without its cast it would be an array of no type.
                    return Err(refuse(Reason::Expression, &column));
                }
                self.put_all(&array.elem, &column, false)?;
            }
            Expr::Value(_) => self.put_array(right, &column)?,
            _ => {
                return Err(refuse(Reason::Expression, &column)
                    .map_hint("Compare it with an array parameter, an array literal or ARRAY[…] of literals."));
            }
        }
        if column.mode == Mode::Eq {
            self.tag(&span);
        }
        Ok(Lineage::Clear)
    }

    /// The column decides by equality which rows are found: fails where its mode has no equality.
    pub(super) fn search_equal(&mut self, column: &ColumnRef) -> Outcome<()> {
        self.access(column, Use::Search, false);
        match column.mode {
            Mode::Sealed => Err(refuse(Reason::EqualityNotEnabled, column)),
            Mode::Eq | Mode::Deterministic | Mode::None => Ok(()),
        }
    }

    // ---- functions ----

    /// A function that is called: refused where it may reach protected tables by itself.
    pub(super) fn function_name(&mut self, name: &ObjectName) -> Outcome<()> {
        self.see_name(name);
        let Some(parts) = name_parts(name) else {
            return Err(self.not_understood());
        };
        let Some(last) = parts.last() else { return Ok(()) };
        let last = ident_name(last);
        if self.input.snapshot.sensitive_functions.contains(&last) || words::runs_sql(&last) {
            return Err(Box::new(
                Refusal::unsupported(
                    Reason::StatementKind,
                    format!("function {last} may use protected tables by itself and can't be called here"),
                )
                .hint("Put the function's statements into the application, where pgward sees them."),
            ));
        }
        Ok(())
    }

    pub(super) fn function_arg(&mut self, arg: &FunctionArg, goal: Goal, reason: Reason) -> Outcome<()> {
        let arg = match arg {
            FunctionArg::Named { name, arg, .. } => {
                self.see(name);
                arg
            }
            FunctionArg::ExprNamed { name, arg, .. } => {
                self.computed(name, goal, reason)?;
                arg
            }
            FunctionArg::Unnamed(arg) => arg,
        };
        match arg {
            FunctionArgExpr::Expr(expr) => self.computed(expr, goal, reason),
            FunctionArgExpr::Wildcard => Ok(()),
            FunctionArgExpr::QualifiedWildcard(name) => {
                self.see_name(name);
                let row = match name_parts(name).as_deref() {
                    Some([.., table]) => {
                        let table = ident_name(table);
                        self.levels
                            .iter()
                            .rev()
                            .find_map(|l| l.items.iter().find(|i| i.name.as_deref() == Some(&*table)))
                            .map(|item| item.fields.iter().map(|f| f.lineage.clone()).collect::<Vec<_>>())
                    }
                    _ => return Err(self.not_understood()),
                };
                self.compute_whole_row(&row.unwrap_or_default(), goal)
            }
            FunctionArgExpr::WildcardWithOptions(_) => Err(self.not_understood()),
        }
    }

    fn function(&mut self, function: &Function, goal: Goal) -> Outcome<Lineage> {
        self.function_name(&function.name)?;
        if function.uses_odbc_syntax || !matches!(function.parameters, FunctionArguments::None) {
            return Err(self.not_understood());
        }
        let name = name_parts(&function.name)
            .and_then(|parts| parts.last().map(|i| ident_name(i).into_owned()))
            .unwrap_or_default();
        if marks_aggregate(&name) && function.over.is_none() {
            self.aggregate = true;
        }
        let reason = function_reason(&name);
        // What is not known to only compute may put its argument somewhere (set_config, pg_notify): it goes out, wherever the call stands.
        let built_in = name_parts(&function.name).is_some_and(|parts| match parts.as_slice() {
            [_] => true,
            [schema, _] => ident_name(schema) == "pg_catalog",
            _ => false,
        });
        let goal = if built_in && words::is_harmless_call(&name) {
            goal
        } else {
            Goal::Output
        };
        match &function.args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => {
                // ARRAY(SELECT …) and the like.
                let rows = self.query(query, goal)?;
                for field in &rows.fields {
                    self.compute(&field.lineage, goal, reason)?;
                }
            }
            FunctionArguments::List(list) => {
                let counted = match list.args.as_slice() {
                    [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] if words::is_count(&name) => Some(expr),
                    _ => None,
                };
                match counted {
                    Some(expr) => self.count(
                        expr,
                        list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
                        goal,
                    )?,
                    None => {
                        for arg in &list.args {
                            self.function_arg(arg, goal, reason)?;
                        }
                    }
                }
                for clause in &list.clauses {
                    match clause {
                        FunctionArgumentClause::OrderBy(exprs) => {
                            for order in exprs {
                                self.computed(&order.expr, Goal::Condition, Reason::Ordering)?;
                            }
                        }
                        FunctionArgumentClause::Separator(_)
                        | FunctionArgumentClause::IgnoreOrRespectNulls(_)
                        | FunctionArgumentClause::JsonNullClause(_) => {}
                        _ => return Err(self.not_understood()),
                    }
                }
            }
        }
        for order in &function.within_group {
            self.computed(&order.expr, goal, Reason::Ordering)?;
        }
        if let Some(filter) = &function.filter {
            self.condition(filter, false)?;
        }
        match &function.over {
            Some(WindowType::WindowSpec(spec)) => self.window(spec)?,
            Some(WindowType::NamedWindow(name)) => self.see(name),
            None => {}
        }
        Ok(Lineage::Clear)
    }

    /// `count(x)`, `count(DISTINCT x)`
    fn count(&mut self, expr: &Expr, distinct: bool, goal: Goal) -> Outcome<()> {
        if let Some(field) = self.plain_column(expr)?
            && let Some(column) = field.lineage.sealed().cloned()
        {
            if !distinct {
                self.access(&column, Use::Search, false);
                return Ok(());
            }
            self.search_equal(&column)?;
            if column.mode == Mode::Eq {
                let span = self.column_span(expr).ok_or_else(|| self.not_understood())?;
                self.tag(&span);
            }
            return Ok(());
        }
        self.computed(expr, goal, Reason::Expression)
    }

    pub(super) fn window(&mut self, spec: &WindowSpec) -> Outcome<()> {
        if let Some(name) = &spec.window_name {
            self.see(name);
        }
        for expr in &spec.partition_by {
            self.computed(expr, Goal::Condition, Reason::Expression)?;
        }
        for order in &spec.order_by {
            self.computed(&order.expr, Goal::Condition, Reason::Ordering)?;
        }
        // A frame's bounds are constants; a name in them would be found unseen.
        Ok(())
    }
}

/// Whether the two columns' terms are made alike.
pub(super) fn same_terms(a: &ColumnRef, b: &ColumnRef) -> Outcome<()> {
    if a.mode == b.mode && a.key_domain == b.key_domain && family(a.logical_type) != family(b.logical_type) {
        return Err(refuse(Reason::KeyDomain, a).map_hint(
            "The columns have types whose equal values are stored in different forms: give both columns one type.",
        ));
    }
    if a.mode != b.mode || a.key_domain != b.key_domain || family(a.logical_type) != family(b.logical_type) {
        return Err(refuse(Reason::KeyDomain, a));
    }
    Ok(())
}

/// Types whose equal values have equal terms.
fn family(ty: LogicalType) -> u8 {
    match ty {
        LogicalType::Text | LogicalType::Varchar(_) => 0,
        LogicalType::Char(_) => 1,
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => 2,
        LogicalType::Numeric(_) => 3,
        LogicalType::Float8 => 4,
        LogicalType::Bool => 5,
        LogicalType::Date => 6,
        LogicalType::Timestamp(_) => 7,
        LogicalType::Timestamptz(_) => 8,
        LogicalType::Uuid => 9,
        LogicalType::Bytea => 10,
        LogicalType::Json => 11,
        LogicalType::Jsonb => 12,
    }
}

fn operator_reason(op: &BinaryOperator) -> Reason {
    match op {
        BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq => Reason::Range,
        BinaryOperator::PGRegexMatch
        | BinaryOperator::PGRegexIMatch
        | BinaryOperator::PGRegexNotMatch
        | BinaryOperator::PGRegexNotIMatch
        | BinaryOperator::PGLikeMatch
        | BinaryOperator::PGILikeMatch
        | BinaryOperator::PGNotLikeMatch
        | BinaryOperator::PGNotILikeMatch
        | BinaryOperator::AtAt => Reason::TextSearch,
        _ => Reason::Expression,
    }
}

fn function_reason(name: &str) -> Reason {
    match name {
        "min" | "max" | "greatest" | "least" => Reason::Range,
        "to_tsvector" | "starts_with" | "strpos" | "regexp_match" | "regexp_matches" | "similarity" => {
            Reason::TextSearch
        }
        _ => Reason::Expression,
    }
}
