//! `numeric`: any precision, with a display scale that is part of what is shown but not of what is equal.
//!
//! Canonical form (PostgreSQL's `numeric_send`), all big-endian 16-bit: number of digits, weight of the first one, sign, display
//! scale, then digits to base 10,000, without zero digits at either end.

use super::{Format, LogicalType, Plaintext, Reading, ValueError, input, integer};
use crate::wire::sqlstate::SqlState;
use bytes::BytesMut;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// Precision and scale; `None` is unconstrained.
pub(super) type Modifier = Option<(u16, i16)>;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;
/// Largest display scale that the stored form has room for.
const MAX_SCALE: i64 = 0x3fff;
/// What `numeric_send` gives as the display scale of infinities: bits of the special marker.
const INFINITY_SCALE: i64 = 0x20;
const BASE: u16 = 10_000;
const BASE_DIGITS: i64 = 4;
/// Beyond this PostgreSQL doesn't look at an exponent (`INT_MAX / 2`).
const MAX_EXPONENT: i64 = i32::MAX as i64 / 2;

/// A value, taken apart. Finite values are kept stripped of zero digits at both ends.
struct Value {
    sign: u16,
    /// The first digit's weight, a power of the base.
    weight: i64,
    /// Display scale, decimal digits after the point.
    scale: i64,
    digits: Zeroizing<Vec<u16>>,
}

#[cold]
fn overflows_format() -> ValueError {
    ValueError::new(SqlState::NUMERIC_OUT_OF_RANGE, "value overflows numeric format")
}

#[cold]
fn field_overflow() -> ValueError {
    ValueError::new(SqlState::NUMERIC_OUT_OF_RANGE, "numeric field overflow")
}

#[cold]
fn syntax() -> ValueError {
    ValueError::syntax("numeric")
}

pub(super) fn decode(
    modifier: Modifier,
    reading: Reading,
    format: Format,
    bytes: &[u8],
    out: &mut Plaintext,
) -> Result<(), ValueError> {
    let mut value = match format {
        Format::Text => Value::parse(bytes)?,
        Format::Binary => Value::receive(bytes)?,
    };
    // An assignment is a conversion to numeric first and to the column's precision after.
    value.check_format()?;
    value.apply(modifier, reading)?;
    value.send(out)
}

/// The canonical form of an integer, as an assignment cast or a comparison makes it.
pub(super) fn from_integer(
    integer: i64,
    modifier: Modifier,
    reading: Reading,
    out: &mut Plaintext,
) -> Result<(), ValueError> {
    let mut value = Value::from_integer(integer);
    value.apply(modifier, reading)?;
    value.send(out)
}

pub(super) fn encode(ty: LogicalType, format: Format, canonical: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    let stored = Stored::of(ty, canonical)?;
    match format {
        Format::Binary => out.extend_from_slice(canonical),
        Format::Text => stored.print(out),
    }
    Ok(())
}

pub(super) fn normalise(ty: LogicalType, canonical: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    Stored::of(ty, canonical)?;
    input::append(out, canonical);
    // The display scale is all that equal values differ in.
    out[6..8].fill(0);
    Ok(())
}

/// Reads a number of text that is known to be in JSON's syntax, as `jsonb` does, and prints it.
pub(super) fn reprint(number: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    let value = Value::parse(number)?;
    let mut canonical = Plaintext::default();
    value.send(&mut canonical)?;
    // Room for all of it at once, sign, point and a whole last digit included: a buffer that moves would leave a copy behind.
    let length = (value.weight.max(0) + 2) * BASE_DIGITS + value.scale + 8;
    let mut text = BytesMut::with_capacity(length as usize);
    let printed = encode(LogicalType::Numeric(None), Format::Text, &canonical, &mut text);
    input::append(out, &text);
    text.fill(0);
    printed
}

/// Whether `jsonb` has room for a number that is known to be in JSON's syntax.
pub(super) fn fits(number: &[u8]) -> Result<(), ValueError> {
    Value::parse(number)?.check_format().map(drop)
}

/// The canonical zero of a scale, for masks.
pub(super) fn zero(modifier: Modifier, out: &mut Plaintext) {
    let scale = modifier.map_or(0, |(_, scale)| scale.clamp(0, 1000)) as u16;
    input::append(out, &[0, 0, 0, 0, 0, 0]);
    input::append(out, &scale.to_be_bytes());
}

impl Value {
    fn special(sign: u16) -> Self {
        Self {
            sign,
            weight: 0,
            scale: if sign == NAN { 0 } else { INFINITY_SCALE },
            digits: Zeroizing::default(),
        }
    }

    fn is_finite(&self) -> bool {
        matches!(self.sign, POSITIVE | NEGATIVE)
    }

    fn from_integer(integer: i64) -> Self {
        let mut rest = integer.unsigned_abs();
        let mut digits = Zeroizing::new(Vec::with_capacity(5));
        while rest > 0 {
            digits.push((rest % u64::from(BASE)) as u16);
            rest /= u64::from(BASE);
        }
        digits.reverse();
        let mut value = Self {
            sign: if integer < 0 { NEGATIVE } else { POSITIVE },
            weight: digits.len() as i64 - 1,
            scale: 0,
            digits,
        };
        value.strip();
        value
    }

    fn parse(text: &[u8]) -> Result<Self, ValueError> {
        let text = input::trim(text);
        if let Some(special) = parse_special(text) {
            return Ok(Self::special(special));
        }
        let (sign, unsigned) = match text {
            [b'-', rest @ ..] => (NEGATIVE, rest),
            [b'+', rest @ ..] => (POSITIVE, rest),
            rest => (POSITIVE, rest),
        };
        let length = unsigned
            .iter()
            .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
            .count();
        let (mantissa, after) = unsigned.split_at(length);
        let point = mantissa.iter().position(|byte| *byte == b'.');
        let whole = &mantissa[..point.unwrap_or(length)];
        let fraction = point.map_or(&[][..], |at| &mantissa[at + 1..]);
        if whole.is_empty() && fraction.is_empty() || fraction.contains(&b'.') {
            return Err(syntax());
        }
        let exponent = match after {
            [] => 0,
            [b'e' | b'E', exponent @ ..] => parse_exponent(exponent)?,
            _ => return Err(syntax()),
        };
        // Weight of the first decimal digit, and how many zeros go before it to fill its base-10,000 digit.
        let first = whole.len() as i64 - 1 + exponent;
        let weight = first.div_euclid(BASE_DIGITS);
        let lead = BASE_DIGITS - 1 - first.rem_euclid(BASE_DIGITS);
        let mut digits = Zeroizing::new(Vec::with_capacity((whole.len() + fraction.len()) / 4 + 2));
        let (mut digit, mut filled) = (0u16, lead);
        for byte in whole.iter().chain(fraction) {
            digit = digit * 10 + u16::from(byte - b'0');
            filled += 1;
            if filled == BASE_DIGITS {
                digits.push(digit);
                (digit, filled) = (0, 0);
            }
        }
        if filled > 0 {
            for _ in filled..BASE_DIGITS {
                digit *= 10;
            }
            digits.push(digit);
        }
        let mut value = Self {
            sign,
            weight,
            scale: (fraction.len() as i64 - exponent).max(0),
            digits,
        };
        value.strip();
        Ok(value)
    }

    fn receive(bytes: &[u8]) -> Result<Self, ValueError> {
        let word = |at: usize| match bytes.get(at..at + 2) {
            Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
            _ => Err(input::insufficient_data()),
        };
        let count = usize::from(word(0)?);
        let weight = i64::from(word(2)? as i16);
        let sign = word(4)?;
        if !matches!(sign, POSITIVE | NEGATIVE | NAN | INFINITY | NEGATIVE_INFINITY) {
            return Err(invalid_external("sign"));
        }
        let scale = i64::from(word(6)?);
        if scale > MAX_SCALE {
            return Err(invalid_external("scale"));
        }
        let mut digits = Zeroizing::new(Vec::with_capacity(count.min(bytes.len() / 2)));
        for index in 0..count {
            let digit = word(8 + 2 * index)?;
            if digit >= BASE {
                return Err(invalid_external("digit"));
            }
            digits.push(digit);
        }
        if bytes.len() != 8 + 2 * count {
            return Err(input::incorrect_binary());
        }
        if !matches!(sign, POSITIVE | NEGATIVE) {
            return Ok(Self::special(sign));
        }
        let mut value = Self {
            sign,
            weight,
            scale,
            digits,
        };
        value.keep(scale); // digits that the display scale would hide are dropped, not rounded
        value.strip();
        Ok(value)
    }

    fn strip(&mut self) {
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        self.weight -= zeros as i64;
        let kept = self
            .digits
            .iter()
            .rposition(|digit| *digit != 0)
            .map_or(0, |last| last + 1);
        self.digits.truncate(kept);
        if self.digits.is_empty() {
            self.weight = 0;
            self.sign = POSITIVE;
        }
    }

    /// Cuts after `scale` decimal digits behind the point. Returns whether what was cut is at least half a unit.
    fn keep(&mut self, scale: i64) -> bool {
        let kept = (self.weight + 1) * BASE_DIGITS + scale; // decimal digits
        if kept < 0 {
            self.digits.clear();
            return false;
        }
        let whole = usize::try_from(kept / BASE_DIGITS).unwrap_or(usize::MAX);
        let Some(digit) = self.digits.get(whole).copied() else {
            return false;
        };
        let unit = 10u16.pow((BASE_DIGITS - kept % BASE_DIGITS) as u32);
        let cut = digit % unit;
        self.digits[whole] = digit - cut;
        self.digits.truncate(whole + 1);
        cut >= unit / 2
    }

    /// Rounds half away from zero and sets the display scale.
    fn round(&mut self, scale: i64) {
        if self.keep(scale) {
            let kept = (self.weight + 1) * BASE_DIGITS + scale;
            let last = (kept / BASE_DIGITS) as usize;
            let place = kept % BASE_DIGITS;
            // With no decimal digit of it kept, the last base digit is zero now and the one before goes up by one.
            let (mut at, mut carry) = match place {
                0 => (last.checked_sub(1), 1),
                _ => (Some(last), 10u16.pow((BASE_DIGITS - place) as u32)),
            };
            while let Some(index) = at {
                let sum = self.digits[index] + carry;
                self.digits[index] = sum % BASE;
                carry = sum / BASE;
                if carry == 0 {
                    break;
                }
                at = index.checked_sub(1);
            }
            if carry > 0 {
                let mut longer = Zeroizing::new(Vec::with_capacity(self.digits.len() + 1));
                longer.push(carry);
                longer.extend_from_slice(&self.digits);
                self.digits = longer;
                self.weight += 1;
            }
        }
        self.scale = scale.max(0);
        self.strip();
    }

    /// Decimal digits behind the point up to the last one that isn't zero.
    fn significant_scale(&self) -> i64 {
        let Some(last) = self.digits.last() else { return 0 };
        let mut zeros = 0;
        while zeros < BASE_DIGITS && last % 10u16.pow(zeros as u32 + 1) == 0 {
            zeros += 1;
        }
        ((self.digits.len() as i64 - 1 - self.weight) * BASE_DIGITS - zeros).max(0)
    }

    fn apply(&mut self, modifier: Modifier, reading: Reading) -> Result<(), ValueError> {
        let Some((precision, scale)) = modifier else {
            return Ok(());
        };
        let (precision, scale) = (i64::from(precision), i64::from(scale));
        if reading == Reading::Comparison {
            // Equal values look alike where the column could hold them; a difference in value stays one.
            if self.is_finite() && self.significant_scale() <= scale.max(0) {
                self.scale = scale.max(0);
            }
            return Ok(());
        }
        if !self.is_finite() {
            return if self.sign == NAN {
                Ok(())
            } else {
                Err(field_overflow())
            };
        }
        self.round(scale);
        let Some(first) = self.digits.first() else {
            return Ok(());
        };
        let before_point = self.weight * BASE_DIGITS + i64::from(first.ilog10()) + 1;
        if before_point > precision - scale {
            return Err(field_overflow());
        }
        Ok(())
    }

    /// Whether the stored form has room for it; the parts of its header.
    fn check_format(&self) -> Result<(u16, i16, u16), ValueError> {
        match (
            u16::try_from(self.digits.len()),
            i16::try_from(self.weight),
            u16::try_from(self.scale),
        ) {
            (Ok(count), Ok(weight), Ok(scale)) if self.scale <= MAX_SCALE => Ok((count, weight, scale)),
            _ => Err(overflows_format()),
        }
    }

    fn send(&self, out: &mut Plaintext) -> Result<(), ValueError> {
        let (count, weight, scale) = self.check_format()?;
        input::reserve(out, 8 + 2 * self.digits.len());
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&self.sign.to_be_bytes());
        out.extend_from_slice(&scale.to_be_bytes());
        for digit in self.digits.iter() {
            out.extend_from_slice(&digit.to_be_bytes());
        }
        Ok(())
    }
}

#[cold]
fn invalid_external(part: &str) -> ValueError {
    ValueError::new(
        SqlState::INVALID_BINARY,
        format!("invalid {part} in external \"numeric\" value"),
    )
}

fn parse_special(text: &[u8]) -> Option<u16> {
    const WORDS: [(&[u8], u16); 7] = [
        (b"nan", NAN),
        (b"infinity", INFINITY),
        (b"+infinity", INFINITY),
        (b"-infinity", NEGATIVE_INFINITY),
        (b"inf", INFINITY),
        (b"+inf", INFINITY),
        (b"-inf", NEGATIVE_INFINITY),
    ];
    WORDS
        .iter()
        .find(|(word, _)| text.eq_ignore_ascii_case(word))
        .map(|(_, sign)| *sign)
}

/// The server reads exponents with `strtol`, which skips blanks.
fn parse_exponent(text: &[u8]) -> Result<i64, ValueError> {
    let blanks = text.iter().take_while(|byte| input::is_blank(**byte)).count();
    let (negative, digits) = match &text[blanks..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, junk) = digits.split_at(length);
    if digits.is_empty() {
        return Err(syntax());
    }
    let exponent = digits.iter().fold(0i64, |exponent, digit| {
        exponent.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    if exponent >= MAX_EXPONENT {
        return Err(overflows_format());
    }
    if !junk.is_empty() {
        return Err(syntax());
    }
    Ok(if negative { -exponent } else { exponent })
}

/// A canonical value, checked, not copied.
struct Stored<'a> {
    weight: i64,
    sign: u16,
    scale: i64,
    digits: &'a [[u8; 2]],
}

impl<'a> Stored<'a> {
    fn of(ty: LogicalType, canonical: &'a [u8]) -> Result<Self, ValueError> {
        let corrupted = || ValueError::corrupted(ty);
        let (header, digits) = canonical.split_at_checked(8).ok_or_else(corrupted)?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (digits, odd) = digits.as_chunks::<2>();
        let stored = Self {
            weight: i64::from(word(2) as i16),
            sign: word(4),
            scale: word(6).into(),
            digits,
        };
        let sound = odd.is_empty()
            && usize::from(word(0)) == digits.len()
            && digits.iter().all(|digit| u16::from_be_bytes(*digit) < BASE)
            && stored.scale <= MAX_SCALE
            && match stored.sign {
                POSITIVE | NEGATIVE => digits.first() != Some(&[0, 0]) && digits.last() != Some(&[0, 0]),
                NAN | INFINITY | NEGATIVE_INFINITY => digits.is_empty(),
                _ => false,
            };
        sound.then_some(stored).ok_or_else(corrupted)
    }

    /// The digit of this weight.
    fn digit(&self, weight: i64) -> u64 {
        usize::try_from(self.weight - weight)
            .ok()
            .and_then(|index| self.digits.get(index))
            .map_or(0, |digit| u16::from_be_bytes(*digit).into())
    }

    fn print(&self, out: &mut BytesMut) {
        match self.sign {
            NAN => return out.extend_from_slice(b"NaN"),
            INFINITY => return out.extend_from_slice(b"Infinity"),
            NEGATIVE_INFINITY => return out.extend_from_slice(b"-Infinity"),
            NEGATIVE => out.extend_from_slice(b"-"),
            _ => {}
        }
        integer::put_digits(self.digit(self.weight.max(0)), 1, out);
        for weight in (0..self.weight).rev() {
            integer::put_digits(self.digit(weight), BASE_DIGITS as usize, out);
        }
        if self.scale > 0 {
            out.extend_from_slice(b".");
            let end = out.len() + self.scale as usize;
            let mut weight = -1;
            while out.len() < end {
                integer::put_digits(self.digit(weight), BASE_DIGITS as usize, out);
                weight -= 1;
            }
            out.truncate(end);
        }
    }
}
