//! Masks: typed stand-ins that show what a purpose needs and no more.
//!
//! A mask keeps a part only of a value of the shape that it is for; anything shorter or odder gets [`Mask::General`], so that no
//! original is ever shown because it was unusual. The result has the column's own type and keeps its constraints: where a masked text
//! would be longer than the column, it is [`Mask::General`] cut to fit. What is kept of a value that is already as coarse as its mask
//! (`203.0.113.0`, a first of January, zero) is of course the same bytes.

use super::{LogicalType, Plaintext, datetime, input, numeric, text};
use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// The mask of a category. The result always has the column's own type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mask {
    /// `k***@example.com`: the domain, and of a local part of two characters or more the first one. Text types only; needs exactly
    /// one `@` and a domain of letters, digits, dots and hyphens.
    Email,
    /// First character kept: `홍**`, always two stars, so that the length doesn't show. Text types only; needs two letters or more and a
    /// letter in front.
    Name,
    /// All but the last four digits: `***-****-1234`. Digits become stars, blanks and `+-.()/` stay. Text types only; needs seven ASCII digits or more.
    Phone,
    /// The first two characters kept: `06***`, `SW** ***`. Text types only; needs four ASCII letters or digits or more, with only blanks and hyphens
    /// between them.
    PostalCode,
    /// The host part zeroed: `203.0.113.0` keeps the first 24 bits of an IPv4 address, `2001:db8:7::` the first 48 of an IPv6 address
    /// (an IPv4-mapped one is treated as IPv4). Text types only.
    IpAddress,
    /// First of January of the same year, at midnight (in UTC for `timestamptz`). Text types: `YYYY-MM-DD` (also with `/` or `.`, also followed by a
    /// time, which is cut) and `YYYYMMDD`.
    Date,
    /// Number: zero, with the column's scale; `0` in text types.
    Number,
    /// Anything: `***` for text, the type's neutral value otherwise: zero, false, 2000-01-01 (00:00 UTC), the nil UUID, no bytes, `null` for json.
    General,
}

/// Writes the masked form of a canonical value, canonical itself, into `out` (cleared first). Total: every mask is defined
/// for every type (a mask that doesn't fit the type falls back to [`Mask::General`]); it never panics on foreign bytes.
pub fn mask(mask: Mask, ty: LogicalType, canonical: &[u8], out: &mut Plaintext) {
    out.clear();
    let done = match ty {
        LogicalType::Text | LogicalType::Varchar(_) | LogicalType::Char(_) => std::str::from_utf8(canonical)
            .ok()
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .and_then(|text| mask_text(mask, text, out))
            .filter(|()| fits(ty, out)),
        LogicalType::Date | LogicalType::Timestamp(_) | LogicalType::Timestamptz(_) if mask == Mask::Date => {
            datetime::first_of_year(ty, canonical, out)
        }
        _ => None,
    };
    if done.is_none() {
        out.clear();
        neutral(mask, ty, out);
    }
    if let LogicalType::Char(length) = ty {
        let blanks = (length as usize).saturating_sub(text::characters(out));
        input::reserve(out, blanks);
        let padded = out.len() + blanks;
        out.resize(padded, b' ');
    }
}

fn limit(ty: LogicalType) -> usize {
    match ty {
        LogicalType::Varchar(Some(limit)) | LogicalType::Char(limit) => limit as usize,
        _ => usize::MAX,
    }
}

fn fits(ty: LogicalType, masked: &[u8]) -> bool {
    text::characters(masked) <= limit(ty)
}

/// What stands for any value of the type.
fn neutral(mask: Mask, ty: LogicalType, out: &mut Plaintext) {
    match ty {
        LogicalType::Text | LogicalType::Varchar(_) | LogicalType::Char(_) if mask == Mask::Number => {
            input::append(out, b"0");
        }
        LogicalType::Text | LogicalType::Varchar(_) | LogicalType::Char(_) => {
            input::append(out, &b"***"[..limit(ty).min(3)]);
        }
        LogicalType::Int2 => input::append(out, &[0; 2]),
        // Day zero is 2000-01-01.
        LogicalType::Int4 | LogicalType::Date => input::append(out, &[0; 4]),
        LogicalType::Int8 | LogicalType::Float8 | LogicalType::Timestamp(_) | LogicalType::Timestamptz(_) => {
            input::append(out, &[0; 8]);
        }
        LogicalType::Numeric(modifier) => numeric::zero(modifier, out),
        LogicalType::Bool => input::append(out, &[0]),
        LogicalType::Uuid => input::append(out, &[0; 16]),
        LogicalType::Bytea => {}
        LogicalType::Json => input::append(out, b"null"),
        LogicalType::Jsonb => input::append(out, b"\x01null"),
    }
}

/// `None` where the text isn't of the mask's shape; `out` may then hold anything.
fn mask_text(mask: Mask, text: &str, out: &mut Plaintext) -> Option<()> {
    match mask {
        Mask::Email => email(text, out),
        Mask::Name => name(text, out),
        Mask::Phone => phone(text, out),
        Mask::PostalCode => postal_code(text, out),
        Mask::IpAddress => ip_address(text, out),
        Mask::Date => date(text, out),
        Mask::Number | Mask::General => None,
    }
}

fn email(text: &str, out: &mut Plaintext) -> Option<()> {
    let (local, domain) = text.split_once('@')?;
    let is_domain = domain.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-'))
        && domain.contains(|c: char| c.is_alphanumeric());
    if !is_domain || local.is_empty() {
        return None;
    }
    let mut characters = local.chars();
    if let (Some(first), Some(_)) = (characters.next(), characters.next())
        && first.is_alphanumeric()
    {
        put(first, out);
    }
    input::append(out, b"***@");
    input::append(out, domain.as_bytes());
    Some(())
}

fn name(text: &str, out: &mut Plaintext) -> Option<()> {
    let first = text.chars().next().filter(|c| c.is_alphabetic())?;
    if text.chars().filter(|c| c.is_alphabetic()).count() < 2 {
        return None;
    }
    put(first, out);
    input::append(out, b"**");
    Some(())
}

fn phone(text: &str, out: &mut Plaintext) -> Option<()> {
    const SHOWN: usize = 4;
    let is_phone = |byte: u8| byte.is_ascii_digit() || matches!(byte, b' ' | b'+' | b'-' | b'.' | b'(' | b')' | b'/');
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits < 7 || !text.bytes().all(is_phone) {
        return None;
    }
    let mut hidden = digits - SHOWN;
    input::reserve(out, text.len());
    for byte in text.bytes() {
        if byte.is_ascii_digit() && hidden > 0 {
            hidden -= 1;
            out.push(b'*');
        } else {
            out.push(byte);
        }
    }
    Some(())
}

fn postal_code(text: &str, out: &mut Plaintext) -> Option<()> {
    let characters = text.bytes().filter(u8::is_ascii_alphanumeric).count();
    let is_code = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-');
    if characters < 4 || !text.bytes().all(is_code) {
        return None;
    }
    let mut shown = 2;
    input::reserve(out, text.len());
    for byte in text.bytes() {
        if !byte.is_ascii_alphanumeric() {
            out.push(byte);
        } else if shown > 0 {
            shown -= 1;
            out.push(byte);
        } else {
            out.push(b'*');
        }
    }
    Some(())
}

fn ip_address(text: &str, out: &mut Plaintext) -> Option<()> {
    let v4 = |address: Ipv4Addr| {
        let [a, b, c, _] = address.octets();
        Ipv4Addr::new(a, b, c, 0)
    };
    let network = match text.parse().ok()? {
        IpAddr::V4(address) => IpAddr::V4(v4(address)),
        IpAddr::V6(address) => IpAddr::V6(match address.to_ipv4_mapped() {
            Some(mapped) => v4(mapped).to_ipv6_mapped(),
            None => {
                let [a, b, c, ..] = address.segments();
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
            }
        }),
    };
    write!(Sink(out), "{network}").ok()
}

fn date(text: &str, out: &mut Plaintext) -> Option<()> {
    let bytes = text.as_bytes();
    let (year, rest) = bytes.split_at_checked(4)?;
    let digits = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit);
    let (separator, month, day) = match rest {
        [m1, m2, d1, d2] => (None, [*m1, *m2], [*d1, *d2]),
        [s @ (b'-' | b'/' | b'.'), m1, m2, s2, d1, d2, time @ ..]
            if s == s2 && matches!(time.first(), None | Some(b' ' | b'T')) =>
        {
            (Some(*s), [*m1, *m2], [*d1, *d2])
        }
        _ => return None,
    };
    let in_range = (*b"01"..=*b"12").contains(&month) && (*b"01"..=*b"31").contains(&day);
    if !digits(year) || !digits(&month) || !digits(&day) || !in_range {
        return None;
    }
    input::append(out, year);
    for _ in 0..2 {
        input::append(out, separator.as_slice());
        input::append(out, b"01");
    }
    Some(())
}

fn put(character: char, out: &mut Plaintext) {
    input::append(out, character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Formats straight into a wiped buffer.
struct Sink<'a>(&'a mut Plaintext);

impl Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        input::append(self.0, text.as_bytes());
        Ok(())
    }
}
