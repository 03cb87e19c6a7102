//! `smallint`, `integer`, `bigint`. Text as PostgreSQL 15 reads it: blanks around, one sign, decimal digits; nothing newer.

use super::{Format, LogicalType, Plaintext, ValueError, input};
use crate::wire::sqlstate::SqlState;
use bytes::BytesMut;

fn range(ty: LogicalType) -> (i64, i64) {
    match ty {
        LogicalType::Int2 => (i16::MIN.into(), i16::MAX.into()),
        LogicalType::Int4 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}

pub(super) fn decode(ty: LogicalType, format: Format, bytes: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    let value = match (format, ty) {
        (Format::Text, _) => parse(ty, bytes)?,
        (Format::Binary, LogicalType::Int2) => i16::from_be_bytes(input::exact(bytes)?).into(),
        (Format::Binary, LogicalType::Int4) => i32::from_be_bytes(input::exact(bytes)?).into(),
        (Format::Binary, _) => i64::from_be_bytes(input::exact(bytes)?),
    };
    put_canonical(ty, value, out);
    Ok(())
}

/// Appends the canonical form of a value that is known to be in the type's range.
pub(super) fn put_canonical(ty: LogicalType, value: i64, out: &mut Plaintext) {
    let bytes = value.to_be_bytes();
    let width = match ty {
        LogicalType::Int2 => 2,
        LogicalType::Int4 => 4,
        _ => 8,
    };
    input::append(out, &bytes[8 - width..]);
}

fn parse(ty: LogicalType, text: &[u8]) -> Result<i64, ValueError> {
    let blanks = text.iter().take_while(|byte| input::is_blank(**byte)).count();
    let (negative, digits) = match &text[blanks..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return Err(ValueError::syntax(&ty.to_sql()));
    }
    let (min, max) = range(ty);
    let mut value: i64 = 0;
    // Counted downwards, so that the smallest value fits; PostgreSQL finds an overflow before it finds junk after it.
    for digit in &digits[..length] {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_sub(i64::from(digit - b'0')))
            .filter(|value| *value >= min)
            .ok_or_else(|| out_of_range(ty))?;
    }
    if !digits[length..].iter().all(|byte| input::is_blank(*byte)) {
        return Err(ValueError::syntax(&ty.to_sql()));
    }
    match value {
        value if negative => Ok(value),
        value => value
            .checked_neg()
            .filter(|value| *value <= max)
            .ok_or_else(|| out_of_range(ty)),
    }
}

#[cold]
fn out_of_range(ty: LogicalType) -> ValueError {
    ValueError::new(
        SqlState::NUMERIC_OUT_OF_RANGE,
        format!("value is out of range for type {}", ty.to_sql()),
    )
}

/// The error of an assignment cast from a wider integer.
#[cold]
fn cast_out_of_range(ty: LogicalType) -> ValueError {
    ValueError::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("{} out of range", ty.to_sql()))
}

/// Appends the canonical form of `value` as an assignment cast to `ty` would.
pub(super) fn assign(ty: LogicalType, value: i64, out: &mut Plaintext) -> Result<(), ValueError> {
    let (min, max) = range(ty);
    if value < min || value > max {
        return Err(cast_out_of_range(ty));
    }
    put_canonical(ty, value, out);
    Ok(())
}

pub(super) fn from_canonical(ty: LogicalType, canonical: &[u8]) -> Result<i64, ValueError> {
    Ok(match ty {
        LogicalType::Int2 => i16::from_be_bytes(input::canonical(ty, canonical)?).into(),
        LogicalType::Int4 => i32::from_be_bytes(input::canonical(ty, canonical)?).into(),
        _ => i64::from_be_bytes(input::canonical(ty, canonical)?),
    })
}

pub(super) fn encode(ty: LogicalType, format: Format, canonical: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    let value = from_canonical(ty, canonical)?;
    match format {
        Format::Binary => out.extend_from_slice(canonical),
        Format::Text => {
            if value < 0 {
                out.extend_from_slice(b"-");
            }
            put_digits(value.unsigned_abs(), 1, out);
        }
    }
    Ok(())
}

/// Appends a number in decimal, zero-padded to at least `width` digits, straight into the output.
pub(super) fn put_digits(mut value: u64, width: usize, out: &mut BytesMut) {
    let length = (value.checked_ilog10().unwrap_or(0) as usize + 1).max(width);
    let start = out.len();
    out.resize(start + length, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}
