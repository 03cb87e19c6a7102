//! The sides of a comparison and the values of an assignment: columns, literals, parameters, casts of those.

use super::params::ParamUse;
use super::planner::{Outcome, Planner, mismatch, refuse};
use super::query::strip;
use super::refusal::{Reason, Refusal};
use super::schema::ColumnRef;
use super::scope::Lineage;
use super::script::{Literal, LiteralForm, Replacement, Transform};
use super::source::byte_span;
use crate::value::LogicalType;
use crate::wire::sqlstate::SqlState;
use sqlparser::ast::{CastKind, Expr, Query, UnaryOperator, Value as SqlValue};
use std::ops::Range;

/// One side of a comparison.
#[derive(Clone, Debug)]
pub(super) enum Operand<'e> {
    /// A column reference and its bytes.
    Column(Lineage, Range<usize>),
    /// A literal or a parameter.
    Value(Value),
    /// NULL
    Null,
    /// A scalar subquery.
    Query(&'e Query),
    /// Anything else.
    Other,
}

/// A value in the text or beside it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A literal.
    Literal {
        literal: Literal,
        /// With its cast.
        outer: Range<usize>,
        /// The type that it is cast to.
        cast: Option<LogicalType>,
    },
    /// A parameter.
    Param {
        number: u32,
        token: Range<usize>,
        /// With its cast.
        outer: Range<usize>,
        /// The type that it is cast to.
        cast: Option<LogicalType>,
    },
}

impl<'a> Planner<'a> {
    /// What an operand is. Only column references are resolved; anything else must still be walked.
    pub(super) fn operand<'e>(&mut self, expr: &'e Expr) -> Outcome<Operand<'e>> {
        let expr = strip(expr);
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                let span = self.column_span(expr);
                Ok(match (self.plain_column(expr)?, span) {
                    (Some(field), Some(span)) => {
                        if let Lineage::Unusable(name, why) = &field.lineage {
                            return Err(super::planner::unusable(name, why));
                        }
                        Operand::Column(field.lineage, span)
                    }
                    _ => Operand::Other,
                })
            }
            Expr::Subquery(query) => Ok(Operand::Query(query)),
            Expr::Value(value) if value.value == SqlValue::Null => Ok(Operand::Null),
            Expr::Value(_) | Expr::UnaryOp { .. } => Ok(self.bare_value(expr).map_or(Operand::Other, Operand::Value)),
            Expr::Cast {
                expr: inner,
                format: None,
                kind: CastKind::Cast | CastKind::DoubleColon,
                ..
            } => {
                if matches!(strip(inner), Expr::Value(v) if v.value == SqlValue::Null) {
                    return Ok(Operand::Other);
                }
                let (Some(value), Some(outer), Some(ty)) = (
                    self.bare_value(strip(inner)),
                    self.expr_span(expr),
                    self.cast_type_span(expr),
                ) else {
                    return Ok(Operand::Other);
                };
                Ok(match LogicalType::from_sql(self.source.text(&ty)) {
                    Some(cast) => Operand::Value(value.with_cast(outer, cast)),
                    None => Operand::Other,
                })
            }
            Expr::TypedString(typed) => {
                let (Some(span), Some(outer)) = (byte_span(typed.value.span), self.expr_span(expr)) else {
                    return Ok(Operand::Other);
                };
                let ty = outer.start..span.start;
                Ok(
                    match (
                        self.source.literal(&span),
                        LogicalType::from_sql(self.source.text(&ty).trim()),
                    ) {
                        (Some(literal), Some(cast)) => Operand::Value(Value::Literal {
                            literal,
                            outer,
                            cast: Some(cast),
                        }),
                        _ => Operand::Other,
                    },
                )
            }
            _ => Ok(Operand::Other),
        }
    }

    fn bare_value(&self, expr: &Expr) -> Option<Value> {
        let span = self.expr_span(expr)?;
        match expr {
            Expr::Value(value) => match &value.value {
                SqlValue::Placeholder(text) => Some(Value::Param {
                    number: text.strip_prefix('$')?.parse().ok().filter(|n| *n > 0)?,
                    token: span.clone(),
                    outer: span,
                    cast: None,
                }),
                _ => Some(Value::Literal {
                    literal: self.source.literal(&span)?,
                    outer: span,
                    cast: None,
                }),
            },
            Expr::UnaryOp {
                op: UnaryOperator::Minus | UnaryOperator::Plus,
                expr: inner,
            } if matches!(&**inner, Expr::Value(_)) => Some(Value::Literal {
                literal: self.source.literal(&span)?,
                outer: span,
                cast: None,
            }),
            _ => None,
        }
    }

    /// Puts the transformed value where the value stands.
    pub(super) fn put(&mut self, value: &Value, transform: Transform) -> Outcome<()> {
        self.put_one(value, transform, false)
    }

    /// The same; `listed`: it is one of several in an IN list.
    pub(super) fn put_one(&mut self, value: &Value, transform: Transform, listed: bool) -> Outcome<()> {
        let column = transform.column().clone();
        let compared = matches!(transform, Transform::Term(_));
        match value {
            Value::Literal { literal, outer, cast } => {
                self.check_literal(literal, *cast, &column, compared)?;
                self.see_span(outer);
                self.splice(
                    outer.clone(),
                    Replacement::Literal {
                        literal: literal.clone(),
                        transform,
                    },
                );
            }
            Value::Param { token, outer, cast, .. } => {
                if let Some(cast) = cast {
                    if !keeps_value(*cast) {
                        return Err(mismatch(&column, "a value with a cast that may change it"));
                    }
                    self.see_span(outer);
                }
                for span in [outer.start..token.start, token.end..outer.end] {
                    if !span.is_empty() {
                        self.splice(span, Replacement::Text(String::new()));
                    }
                }
                self.param(ParamUse {
                    token: token.clone(),
                    cast: *cast,
                    transform,
                    array: false,
                    listed,
                });
            }
        }
        Ok(())
    }

    /// Puts the terms of an array, which is a parameter or a literal, possibly cast.
    pub(super) fn put_array(&mut self, expr: &Expr, column: &ColumnRef) -> Outcome<()> {
        let expr = strip(expr);
        let transform = Transform::Term(column.clone());
        let (inner, outer, cast) = match expr {
            Expr::Cast { expr: inner, .. } => {
                let (_, cast) = self.array_cast(expr, column)?;
                (strip(inner), self.expr_span(expr), Some(cast))
            }
            other => (other, self.expr_span(other), None),
        };
        let (Some(value), Some(outer)) = (self.bare_value(inner), outer) else {
            return Err(refuse(Reason::Expression, column));
        };
        self.see_span(&outer);
        match value {
            Value::Literal { literal, .. } => match literal.form {
                LiteralForm::Number | LiteralForm::Boolean => Err(mismatch(column, "such an array")),
                _ => {
                    self.splice(outer, Replacement::LiteralArray { literal, transform });
                    Ok(())
                }
            },
            Value::Param { token, .. } => {
                for span in [outer.start..token.start, token.end..outer.end] {
                    if !span.is_empty() {
                        self.splice(span, Replacement::Text(String::new()));
                    }
                }
                self.param(ParamUse {
                    token,
                    cast,
                    transform,
                    array: true,
                    listed: false,
                });
                Ok(())
            }
        }
    }

    /// The bytes of an array's cast behind the value (`::text[]`), and its element type, if it is one that changes no value of the column.
    pub(super) fn array_cast(&mut self, expr: &Expr, column: &ColumnRef) -> Outcome<(Range<usize>, LogicalType)> {
        let bad = || mismatch(column, "an array with such a cast");
        let expr = strip(expr);
        let Expr::Cast {
            kind: CastKind::DoubleColon,
            expr: inner,
            ..
        } = expr
        else {
            return Err(bad());
        };
        let ty = self.cast_type_span(expr).ok_or_else(bad)?;
        let element = self
            .source
            .text(&ty)
            .trim_end()
            .strip_suffix(']')
            .and_then(|t| t.trim_end().strip_suffix('['))
            .and_then(|t| LogicalType::from_sql(t.trim()))
            .filter(|t| keeps_value(*t))
            .ok_or_else(bad)?;
        if column.logical_type.accepts_parameter(element.oid()).is_none()
            || (matches!(column.logical_type, LogicalType::Char(_)) && !matches!(element, LogicalType::Char(_)))
        {
            return Err(bad());
        }
        self.see_span(&ty);
        let start = match strip(inner) {
            Expr::Array(_) => {
                // The `::` stands right before the type.
                let index = self.source.token_at(ty.start).ok_or_else(bad)?;
                self.source.token(index.wrapping_sub(1)).ok_or_else(bad)?.span.start
            }
            _ => self.expr_span(inner).ok_or_else(bad)?.end,
        };
        Ok((start..ty.end, element))
    }

    /// Whether PostgreSQL would take the literal for the column, and take it for what pgward takes it for.
    fn check_literal(
        &self,
        literal: &Literal,
        cast: Option<LogicalType>,
        column: &ColumnRef,
        compared: bool,
    ) -> Outcome<()> {
        let ty = column.logical_type;
        if let Some(cast) = cast {
            let same = std::mem::discriminant(&cast) == std::mem::discriminant(&ty)
                || matches!(
                    (cast, ty),
                    (LogicalType::Text, LogicalType::Varchar(_))
                        | (LogicalType::Varchar(None), LogicalType::Text)
                        | (LogicalType::Int2, LogicalType::Int4 | LogicalType::Int8)
                        | (LogicalType::Int4, LogicalType::Int8)
                );
            if !same || !keeps_value(cast) {
                return Err(mismatch(column, "a value with a cast that may change it"));
            }
            // `42::text` and the like convert; only a string is read as the type that it is cast to.
            if matches!(literal.form, LiteralForm::Number | LiteralForm::Boolean) && !takes(literal.form, cast) {
                return Err(mismatch(column, "a value with a cast that may change it"));
            }
            return Ok(());
        }
        if matches!(ty, LogicalType::Text | LogicalType::Varchar(_)) && !compared {
            match literal.form {
                // A number's text is what PostgreSQL makes of its value, not what is written.
                LiteralForm::Number if !self.is_plain_integer(literal) => {
                    return Err(mismatch(column, "a number"));
                }
                _ => return Ok(()),
            }
        }
        if takes(literal.form, ty) {
            Ok(())
        } else {
            let what = if literal.form == LiteralForm::Number {
                "a number"
            } else {
                "a boolean"
            };
            Err(mismatch(column, what))
        }
    }

    fn is_plain_integer(&self, literal: &Literal) -> bool {
        let text = self.source.text(&literal.span);
        text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
    }

    // ---- spans ----

    /// The bytes of an expression, where they can be told.
    pub(super) fn expr_span(&self, expr: &Expr) -> Option<Range<usize>> {
        match expr {
            Expr::Value(value) => byte_span(value.span),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.column_span(expr),
            Expr::UnaryOp {
                op: UnaryOperator::Minus | UnaryOperator::Plus,
                expr: inner,
            } => {
                let inner = self.expr_span(inner)?;
                let sign = self.before(inner.start)?;
                (self.source.is_symbol(sign, "-") || self.source.is_symbol(sign, "+"))
                    .then_some(sign.span.start..inner.end)
            }
            Expr::Nested(inner) => {
                let inner = self.expr_span(inner)?;
                let open = self.before(inner.start)?;
                let close = self.after(inner.end)?;
                (self.source.is_symbol(open, "(") && self.source.is_symbol(close, ")"))
                    .then_some(open.span.start..close.span.end)
            }
            Expr::Cast {
                kind: CastKind::DoubleColon,
                expr: inner,
                ..
            } => {
                let inner = self.expr_span(inner)?;
                Some(inner.start..self.cast_type_span(expr)?.end)
            }
            Expr::Cast {
                kind: CastKind::Cast,
                expr: inner,
                ..
            } => {
                let inner = self.expr_span(inner)?;
                let open = self.before(inner.start)?;
                let keyword = self.before(open.span.start)?;
                let close = self.after(self.cast_type_span(expr)?.end)?;
                (self.source.is_keyword(keyword, "CAST") && self.source.is_symbol(close, ")"))
                    .then_some(keyword.span.start..close.span.end)
            }
            Expr::TypedString(typed) => {
                let value = byte_span(typed.value.span)?;
                Some(self.type_before(value.start)?..value.end)
            }
            _ => None,
        }
    }

    /// The bytes of the type in a cast.
    pub(super) fn cast_type_span(&self, expr: &Expr) -> Option<Range<usize>> {
        let Expr::Cast { kind, expr: inner, .. } = expr else {
            return None;
        };
        let start = match strip(inner) {
            Expr::Array(_) => self.array_end(inner)?,
            _ => self.expr_span(inner)?.end,
        };
        let mark = self.after(start)?;
        let right = match kind {
            CastKind::DoubleColon => self.source.is_symbol(mark, "::"),
            _ => self.source.is_keyword(mark, "AS"),
        };
        if !right {
            return None;
        }
        let first = self.after(mark.span.end)?.span.start;
        Some(first..self.type_end(first)?)
    }

    /// Where `ARRAY[…]` ends: behind its last element's bracket.
    fn array_end(&self, expr: &Expr) -> Option<usize> {
        let Expr::Array(array) = strip(expr) else { return None };
        let last = self.expr_span(array.elem.last()?)?;
        let close = self.after(last.end)?;
        self.source.is_symbol(close, "]").then_some(close.span.end)
    }

    fn before(&self, byte: usize) -> Option<&super::lexer::Lexeme> {
        let index = self.source.token_at(byte)?.checked_sub(1)?;
        self.source.token(index)
    }

    fn after(&self, byte: usize) -> Option<&super::lexer::Lexeme> {
        let index = self.source.all_tokens().partition_point(|t| t.span.start < byte);
        self.source.token(index)
    }

    /// Where the type that starts at `byte` ends: a name of known words, modifiers in parentheses, brackets.
    fn type_end(&self, byte: usize) -> Option<usize> {
        let mut index = self.source.token_at(byte)?;
        let word = |index: usize, word: &str| {
            self.source
                .token(index)
                .is_some_and(|t| self.source.is_keyword(t, word))
        };
        let symbol = |index: usize, s: &str| self.source.token(index).is_some_and(|t| self.source.is_symbol(t, s));
        self.source.name(self.source.token(index)?)?;
        let time = word(index, "TIMESTAMP") || word(index, "TIME");
        let two = (word(index, "DOUBLE") && word(index + 1, "PRECISION"))
            || ((word(index, "CHARACTER") || word(index, "CHAR")) && word(index + 1, "VARYING"));
        index += if two { 2 } else { 1 };
        while symbol(index, ".") {
            index += 2;
        }
        if symbol(index, "(") {
            while !symbol(index, ")") {
                self.source.token(index)?;
                index += 1;
            }
            index += 1;
        }
        if time && (word(index, "WITH") || word(index, "WITHOUT")) && word(index + 1, "TIME") && word(index + 2, "ZONE")
        {
            index += 3;
        }
        while symbol(index, "[") && symbol(index + 1, "]") {
            index += 2;
        }
        Some(self.source.token(index.checked_sub(1)?)?.span.end)
    }

    /// Where the type starts that ends right before the literal at `byte`.
    fn type_before(&self, byte: usize) -> Option<usize> {
        let end = self.source.token_at(byte)?;
        let mut found = None;
        for back in 1..=8usize {
            let Some(first) = end.checked_sub(back).and_then(|i| self.source.token(i)) else {
                break;
            };
            let last = self.source.token(end.checked_sub(1)?)?;
            if self.type_end(first.span.start) == Some(last.span.end) && self.source.name(first).is_some() {
                let text = self.source.text(&(first.span.start..last.span.end));
                // The longest one: `timestamp with time zone`, not `zone`.
                if back == 1 || LogicalType::from_sql(text).is_some() {
                    found = Some(first.span.start);
                }
            }
        }
        found
    }
}

impl Value {
    fn with_cast(self, with_cast: Range<usize>, ty: LogicalType) -> Self {
        match self {
            Value::Literal { literal, .. } => Value::Literal {
                literal,
                outer: with_cast,
                cast: Some(ty),
            },
            Value::Param { number, token, .. } => Value::Param {
                number,
                token,
                outer: with_cast,
                cast: Some(ty),
            },
        }
    }
}

/// A cast to this type takes the value as it is: it has no length, precision or scale.
fn keeps_value(ty: LogicalType) -> bool {
    matches!(
        ty,
        LogicalType::Text
            | LogicalType::Varchar(None)
            | LogicalType::Int2
            | LogicalType::Int4
            | LogicalType::Int8
            | LogicalType::Numeric(None)
            | LogicalType::Float8
            | LogicalType::Bool
            | LogicalType::Date
            | LogicalType::Timestamp(None)
            | LogicalType::Timestamptz(None)
            | LogicalType::Uuid
            | LogicalType::Bytea
            | LogicalType::Json
            | LogicalType::Jsonb
    )
}

/// Whether PostgreSQL assigns a literal of this form to the type, or compares it with the type.
fn takes(form: LiteralForm, ty: LogicalType) -> bool {
    match form {
        LiteralForm::Plain | LiteralForm::Escaped | LiteralForm::Unicode | LiteralForm::Dollar => true,
        LiteralForm::Number => matches!(
            ty,
            LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 | LogicalType::Numeric(_) | LogicalType::Float8
        ),
        LiteralForm::Boolean => ty == LogicalType::Bool,
    }
}

/// A value of a form that can't be told.
pub(super) fn unclear_value(column: &ColumnRef) -> Box<Refusal> {
    Box::new(
        Refusal::unsupported(
            Reason::Expression,
            format!(
                "column {} is sealed: only a literal, a parameter, NULL, DEFAULT or the same column's value can be stored in it",
                column.name
            ),
        )
        .sqlstate(SqlState::FEATURE_NOT_SUPPORTED)
        .column(&column.name)
        .hint("Compute the value in the application and send it as a parameter."),
    )
}
