//! From the canonical form of a parameter's declared type to that of the column
//! (see [`LogicalType::accepts_parameter`]): PostgreSQL's assignment casts, and what its cross-type `=` compares.

use super::LogicalType::{self, *};
use super::{Plaintext, ValueError, input, integer, json, numeric, text};

/// Writes the canonical form that assigning a value of type `from` to a column of type `to` stores into `out` (cleared first).
/// Applies the column's length, precision and scale.
///
/// # Errors
/// PostgreSQL's own for the cast; `0A000` for a pair that [`LogicalType::accepts_parameter`] doesn't give.
pub fn convert(from: LogicalType, to: LogicalType, canonical: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    out.clear();
    let result = match (from, to) {
        (Text | Varchar(_), Text | Varchar(_) | Char(_)) => {
            text::decode(to, super::Reading::Assignment, super::Format::Binary, canonical, out)
        }
        (Int2 | Int4 | Int8, Int2 | Int4 | Int8) => {
            integer::from_canonical(from, canonical).and_then(|value| integer::assign(to, value, out))
        }
        (Int2 | Int4 | Int8, Numeric(modifier)) => integer::from_canonical(from, canonical)
            .and_then(|value| numeric::from_integer(value, modifier, super::Reading::Assignment, out)),
        _ => convert_alike(from, to, canonical, out),
    };
    if result.is_err() {
        out.clear();
    }
    result
}

/// Like [`convert`] for a value that is compared with the column and not stored in it. Returns the type whose canonical form
/// `out` is in: the column's own, or, for a value that no such column can hold, the parameter's; [`normalise`](super::normalise) it as that.
///
/// # Errors
/// As [`convert`], but none for length, range and precision. `0A000` for text with trailing blanks against `character(n)`: to
/// PostgreSQL they make it unequal to every value of the column.
pub fn convert_for_comparison(
    from: LogicalType,
    to: LogicalType,
    canonical: &[u8],
    out: &mut Plaintext,
) -> Result<LogicalType, ValueError> {
    out.clear();
    match (from, to) {
        (Text | Varchar(_), Text | Varchar(_)) => {
            input::append(out, canonical);
            Ok(to)
        }
        (Text | Varchar(_), Char(length)) => {
            if canonical.last() == Some(&b' ') {
                return Err(ValueError::refused(
                    "text with trailing blanks can't be compared with a sealed column of type character(n)",
                ));
            }
            text::pad(canonical, length, out);
            Ok(to)
        }
        (Int2 | Int4 | Int8, Int2 | Int4 | Int8) => {
            let value = integer::from_canonical(from, canonical)?;
            Ok(match integer::assign(to, value, out) {
                Ok(()) => to,
                Err(_) => {
                    input::append(out, canonical);
                    from
                }
            })
        }
        (Int2 | Int4 | Int8, Numeric(modifier)) => {
            let value = integer::from_canonical(from, canonical)?;
            numeric::from_integer(value, modifier, super::Reading::Comparison, out)?;
            Ok(to)
        }
        _ => convert_alike(from, to, canonical, out).map(|()| to),
    }
}

/// The casts that can't lose anything: alike for assignment and comparison.
fn convert_alike(from: LogicalType, to: LogicalType, canonical: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    match (from, to) {
        (Int2 | Int4, Float8) => {
            let value = integer::from_canonical(from, canonical)?;
            input::append(out, &(value as f64).to_be_bytes());
            Ok(())
        }
        (Date, Timestamp(_)) => super::datetime::date_to_timestamp(canonical, out),
        (Json, Jsonb) => json::decode_jsonb(super::Format::Text, canonical, out),
        (Jsonb, Json) => {
            input::append(out, json::text_of_jsonb(canonical)?);
            Ok(())
        }
        _ if from == to => {
            input::append(out, canonical);
            Ok(())
        }
        _ => Err(ValueError::refused(format!(
            "a parameter of type {} can't be used for a sealed column of type {}",
            from.to_sql(),
            to.to_sql()
        ))),
    }
}
