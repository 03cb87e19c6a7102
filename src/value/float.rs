//! `double precision`. Printed in the shortest form that reads back (PostgreSQL's own variant of it), or with `extra_float_digits`
//! at zero or below with 15 digits and fewer.

use super::{Format, LogicalType, Plaintext, TextStyle, ValueError, input};
use crate::wire::sqlstate::SqlState;
use bytes::BytesMut;
use std::fmt::{self, Write};
use zeroize::Zeroize;

#[cfg(test)]
mod tests;

/// Significant decimal digits that any double keeps.
const SAFE_DIGITS: i32 = 15;
/// Significant decimal digits that tell any two doubles apart.
const MAX_DIGITS: usize = 17;

pub(super) fn decode(format: Format, bytes: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    let value = match format {
        Format::Text => parse(bytes)?,
        Format::Binary => f64::from_be_bytes(input::exact(bytes)?),
    };
    input::append(out, &value.to_be_bytes());
    Ok(())
}

fn parse(text: &[u8]) -> Result<f64, ValueError> {
    let syntax = || ValueError::syntax("double precision");
    let text = input::trim(text);
    let unsigned = match text {
        [b'+' | b'-', rest @ ..] => rest,
        rest => rest,
    };
    let negative = text.first() == Some(&b'-');
    if [&b"infinity"[..], b"inf"]
        .iter()
        .any(|word| unsigned.eq_ignore_ascii_case(word))
    {
        return Ok(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if unsigned.eq_ignore_ascii_case(b"nan") {
        return Ok(if negative { -f64::NAN } else { f64::NAN });
    }
    // The C library under the server reads these too.
    if unsigned.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"0x"))
        || unsigned
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"nan("))
    {
        return Err(ValueError::refused(
            "pgward doesn't read hexadecimal floating-point numbers",
        ));
    }
    // The server reads as far as it is a number, and finds that too large before it looks at the rest.
    let length = decimal_length(unsigned).ok_or_else(syntax)?;
    let sign = text.len() - unsigned.len();
    let value: f64 = std::str::from_utf8(&text[..sign + length])
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(syntax)?;
    let mantissa = unsigned[..length]
        .split(|byte| matches!(byte, b'e' | b'E'))
        .next()
        .unwrap_or_default();
    let is_zero = mantissa.iter().all(|byte| matches!(byte, b'0' | b'.'));
    if value.is_infinite() || value == 0.0 && !is_zero {
        return Err(ValueError::new(
            SqlState::NUMERIC_OUT_OF_RANGE,
            "value is out of range for type double precision",
        ));
    }
    if length < unsigned.len() {
        return Err(syntax());
    }
    Ok(value)
}

/// How many bytes are a number: digits with at most one point, and an exponent if it has digits.
fn decimal_length(unsigned: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let rest = unsigned.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let whole = digits(0);
    let mut length = whole;
    if unsigned.get(whole) == Some(&b'.') {
        let fraction = digits(whole + 1);
        if whole + fraction == 0 {
            return None;
        }
        length += 1 + fraction;
    }
    if length == 0 {
        return None;
    }
    if let Some(b'e' | b'E') = unsigned.get(length) {
        let sign = usize::from(matches!(unsigned.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    Some(length)
}

pub(super) fn encode(
    format: Format,
    canonical: &[u8],
    style: &TextStyle,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    let value = f64::from_be_bytes(input::canonical(LogicalType::Float8, canonical)?);
    match format {
        Format::Binary => out.extend_from_slice(canonical),
        Format::Text if value.is_nan() => out.extend_from_slice(b"NaN"),
        Format::Text => {
            if value.is_sign_negative() {
                out.extend_from_slice(b"-");
            }
            if value.is_infinite() {
                out.extend_from_slice(b"Infinity");
            } else if style.extra_float_digits > 0 {
                Decimal::shortest(value.abs()).print(SAFE_DIGITS, out);
            } else {
                let digits = (SAFE_DIGITS + style.extra_float_digits).clamp(1, SAFE_DIGITS);
                Decimal::rounded(value.abs(), digits as usize).print(digits, out);
            }
        }
    }
    Ok(())
}

pub(super) fn normalise(canonical: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    let value = f64::from_be_bytes(input::canonical(LogicalType::Float8, canonical)?);
    let one_of_equals = if value.is_nan() {
        f64::NAN
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    input::append(out, &one_of_equals.to_be_bytes());
    Ok(())
}

/// `0.d₁d₂… × 10^(exponent + 1)`, without zeros at the end.
struct Decimal {
    digits: [u8; MAX_DIGITS],
    length: usize,
    exponent: i32,
}

impl Drop for Decimal {
    fn drop(&mut self) {
        self.digits.zeroize();
    }
}

/// Text on the stack, wiped.
struct Scratch {
    text: [u8; 128],
    length: usize,
}

impl Scratch {
    fn of(arguments: fmt::Arguments<'_>) -> Self {
        let mut scratch = Self {
            text: [0; 128],
            length: 0,
        };
        // What is written here has a known greatest length, well below the scratch's.
        let _ = scratch.write_fmt(arguments);
        scratch
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }
}

impl Write for Scratch {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.text
            .get_mut(self.length..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl Decimal {
    /// From scientific notation.
    fn of(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mut decimal = Self {
            digits: [b'0'; MAX_DIGITS],
            length: 0,
            exponent: exponent.parse().unwrap_or(0),
        };
        for (place, digit) in decimal
            .digits
            .iter_mut()
            .zip(mantissa.bytes().filter(u8::is_ascii_digit))
        {
            *place = digit;
            decimal.length += 1;
        }
        while decimal.length > 1 && decimal.digits[decimal.length - 1] == b'0' {
            decimal.length -= 1;
        }
        decimal
    }

    /// The nearest decimal of so many digits.
    fn rounded(value: f64, digits: usize) -> Self {
        Self::of(Scratch::of(format_args!("{:.*e}", digits - 1, value)).as_str())
    }

    /// The shortest decimal that lies nearer to `value` than to any other double, and of those the nearest.
    ///
    /// Unlike most, PostgreSQL doesn't take a decimal that lies just between two doubles, though it would read back by
    /// rounding to even (`9.5367431640625e-07` and its like); so what the usual algorithm gives is checked for that.
    fn shortest(value: f64) -> Self {
        let usual = Self::of(Scratch::of(format_args!("{value:e}")).as_str());
        let fraction = value.to_bits() & ((1 << 52) - 1);
        if fraction & 1 == 1 || value == 0.0 || !usual.lies_between(value) && fraction != 0 {
            // Of two that are equally near, the server takes the even one.
            let even = Self::rounded(value, usual.length);
            return if even.reads_as(value) { even } else { usual };
        }
        for length in 1..MAX_DIGITS {
            let nearest = Self::rounded(value, length);
            let candidates = [
                Some(nearest.padded(length)),
                nearest.padded(length).next_up(),
                nearest.padded(length).next_down(),
            ];
            // The nearest first; above a power of two the gap is twice as wide as below, so a neighbour may lie in it where that doesn't.
            for candidate in candidates.into_iter().flatten() {
                if candidate.reads_as(value) && !candidate.lies_between(value) {
                    return candidate.trimmed();
                }
            }
        }
        Self::rounded(value, MAX_DIGITS)
    }

    fn padded(&self, length: usize) -> Self {
        Self {
            digits: self.digits,
            length,
            exponent: self.exponent,
        }
    }

    fn trimmed(mut self) -> Self {
        while self.length > 1 && self.digits[self.length - 1] == b'0' {
            self.length -= 1;
        }
        self
    }

    /// One unit more in the last digit; `None` past all nines.
    fn next_up(mut self) -> Option<Self> {
        let at = self.digits[..self.length].iter().rposition(|digit| *digit != b'9')?;
        self.digits[at] += 1;
        self.digits[at + 1..].fill(b'0');
        Some(self)
    }

    /// One unit less in the last digit; `None` where the first would become zero.
    fn next_down(mut self) -> Option<Self> {
        let at = self.digits[..self.length].iter().rposition(|digit| *digit != b'0')?;
        self.digits[at] -= 1;
        let length = self.length;
        self.digits[at + 1..length].fill(b'9');
        (self.digits[0] != b'0').then_some(self)
    }

    fn digits(&self) -> &str {
        std::str::from_utf8(&self.digits[..self.length]).unwrap_or_default()
    }

    fn reads_as(&self, value: f64) -> bool {
        let scale = self.exponent - (self.length as i32 - 1);
        Scratch::of(format_args!("{}e{scale}", self.digits())).as_str().parse() == Ok(value)
    }

    /// Whether it lies exactly half-way to a neighbour: the slightest change in one direction then reads as that. (A decimal of 17 digits and a
    /// half-way point that differ at all differ by far more than the 60th digit.)
    fn lies_between(&self, value: f64) -> bool {
        let scale = self.exponent - (self.length as i32 - 1);
        let above = Scratch::of(format_args!("{}.{:060}e{scale}", self.digits(), 1));
        let below = match self.padded(self.length).next_down() {
            Some(down) => Scratch::of(format_args!("{}.{:9>60}e{scale}", down.digits(), 9)),
            // 1 with nothing but zeros after it: 0.999…
            None => Scratch::of(format_args!("0.{:9>60}e{}", 9, self.exponent)),
        };
        [above, below].iter().any(|near| near.as_str().parse() != Ok(value))
    }

    /// As C's `%g` lays it out: with an exponent below 10^-4 and from 10^`switch` on.
    fn print(&self, switch: i32, out: &mut BytesMut) {
        let digits = &self.digits[..self.length];
        let exponent = self.exponent;
        if (-4..0).contains(&exponent) {
            out.extend_from_slice(b"0.");
            out.extend_from_slice(&b"000"[..(-exponent - 1) as usize]);
            out.extend_from_slice(digits);
        } else if (0..switch).contains(&exponent) {
            let whole = exponent as usize + 1;
            let (before, after) = digits.split_at(whole.min(digits.len()));
            out.extend_from_slice(before);
            out.extend_from_slice(&b"00000000000000000"[..whole - before.len()]);
            if !after.is_empty() {
                out.extend_from_slice(b".");
                out.extend_from_slice(after);
            }
        } else {
            let (first, rest) = digits.split_at(1);
            out.extend_from_slice(first);
            if !rest.is_empty() {
                out.extend_from_slice(b".");
                out.extend_from_slice(rest);
            }
            out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            super::integer::put_digits(exponent.unsigned_abs().into(), 2, out);
        }
    }
}
