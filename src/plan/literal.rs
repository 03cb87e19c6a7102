//! Literals: what a token of the source stands for, read when a plan is carried out and never before; and the text with its changes made.

use super::refusal::{Reason, Refusal};
use super::script::{Literal, LiteralForm, Replacement, Splice};
use crate::wire::sqlstate::SqlState;
use std::ops::Range;
use zeroize::{Zeroize, Zeroizing};

/// Reads a literal as PostgreSQL does (documentation, 4.1.2). The refusal holds nothing of it.
pub fn read(source: &str, literal: &Literal) -> Result<Zeroizing<String>, Refusal> {
    let token = source.get(literal.span.clone()).ok_or_else(malformed)?;
    match literal.form {
        LiteralForm::Plain => Ok(undouble(between(token, "'", "'")?)),
        LiteralForm::Dollar => {
            let tag = token.get(1..).and_then(|t| t.find('$')).ok_or_else(malformed)? + 2;
            let body = token
                .len()
                .checked_sub(tag)
                .filter(|end| *end >= tag)
                .and_then(|end| token.get(tag..end))
                .ok_or_else(malformed)?;
            Ok(Zeroizing::new(body.to_owned()))
        }
        LiteralForm::Escaped => {
            let body = token.strip_prefix(['e', 'E']).unwrap_or(token);
            unescape(between(body, "'", "'")?)
        }
        LiteralForm::Unicode => {
            let body = token.get(2..).ok_or_else(malformed)?;
            un_unicode(between(body, "'", "'")?, b'\'', b'\\')
        }
        LiteralForm::Number => {
            // Between the sign and the digits there may be blanks, or a comment.
            let (negative, rest) = match token.as_bytes().first() {
                Some(b'-') => (true, token.get(1..).unwrap_or("")),
                Some(b'+') => (false, token.get(1..).unwrap_or("")),
                _ => (false, token),
            };
            let digits = rest.trim();
            if !digits
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
            {
                return Err(malformed());
            }
            let mut out = Zeroizing::new(String::with_capacity(digits.len() + 1));
            if negative {
                out.push('-');
            }
            out.push_str(digits);
            Ok(out)
        }
        LiteralForm::Boolean => Ok(Zeroizing::new(token.to_ascii_lowercase())),
    }
}

fn malformed() -> Refusal {
    Refusal::unsupported(Reason::Value, "a literal can't be read").sqlstate(SqlState::SYNTAX_ERROR)
}

fn between<'s>(text: &'s str, open: &str, close: &str) -> Result<&'s str, Refusal> {
    text.strip_prefix(open)
        .and_then(|t| t.strip_suffix(close))
        .ok_or_else(malformed)
}

fn undouble(body: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(body.len()));
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        if c == '\'' {
            rest.next();
        }
        out.push(c);
    }
    out
}

/// `E'…'`: backslash sequences, which may make bytes that are no UTF-8, and then an error as PostgreSQL's.
fn unescape(body: &str) -> Result<Zeroizing<String>, Refusal> {
    let bytes = body.as_bytes();
    let mut out: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut surrogate: Option<u32> = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let mut unicode = None;
        match byte {
            b'\'' => {
                at += 1;
                out.push(b'\'');
            }
            b'\\' => {
                let next = *bytes.get(at).ok_or_else(malformed)?;
                at += 1;
                match next {
                    b'b' => out.push(8),
                    b'f' => out.push(12),
                    b'n' => out.push(b'\n'),
                    b'r' => out.push(b'\r'),
                    b't' => out.push(b'\t'),
                    b'0'..=b'7' => {
                        let mut value = u32::from(next - b'0');
                        for _ in 0..2 {
                            match bytes.get(at) {
                                Some(&digit @ b'0'..=b'7') => {
                                    value = value * 8 + u32::from(digit - b'0');
                                    at += 1;
                                }
                                _ => break,
                            }
                        }
                        // PostgreSQL keeps the low byte.
                        out.push((value & 0xff) as u8);
                    }
                    b'x' => {
                        let mut value = None;
                        for _ in 0..2 {
                            match bytes.get(at).and_then(|b| char::from(*b).to_digit(16)) {
                                Some(digit) => {
                                    value = Some(value.unwrap_or(0) * 16 + digit);
                                    at += 1;
                                }
                                None => break,
                            }
                        }
                        out.push(value.map_or(b'x', |v| (v & 0xff) as u8));
                    }
                    b'u' | b'U' => {
                        let digits = if next == b'u' { 4 } else { 8 };
                        let hex = body.get(at..at + digits).ok_or_else(malformed)?;
                        unicode = Some(hex_number(hex)?);
                        at += digits;
                    }
                    other => out.push(other),
                }
            }
            other => out.push(other),
        }
        code_point(&mut out, &mut surrogate, unicode)?;
    }
    finish_text(out, surrogate)
}

/// What stands between the quotes of `U&'…'` or `U&"…"`.
pub(super) fn un_unicode(body: &str, quote: u8, escape: u8) -> Result<Zeroizing<String>, Refusal> {
    let bytes = body.as_bytes();
    let mut out: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut surrogate: Option<u32> = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let mut unicode = None;
        match byte {
            _ if byte == quote => {
                at += 1;
                out.push(quote);
            }
            _ if byte == escape && bytes.get(at) == Some(&escape) => {
                at += 1;
                out.push(escape);
            }
            _ if byte == escape => {
                let (skip, digits) = if bytes.get(at) == Some(&b'+') { (1, 6) } else { (0, 4) };
                let hex = body.get(at + skip..at + skip + digits).ok_or_else(malformed)?;
                unicode = Some(hex_number(hex)?);
                at += skip + digits;
            }
            other => out.push(other),
        }
        code_point(&mut out, &mut surrogate, unicode)?;
    }
    finish_text(out, surrogate)
}

/// Takes a Unicode escape, which may be half of a surrogate pair; anything else between two halves is an error.
fn code_point(out: &mut Vec<u8>, surrogate: &mut Option<u32>, unicode: Option<u32>) -> Result<(), Refusal> {
    let value = match (surrogate.take(), unicode) {
        (None, None) => return Ok(()),
        (None, Some(high @ 0xd800..=0xdbff)) => {
            *surrogate = Some(high);
            return Ok(());
        }
        (Some(high), Some(low @ 0xdc00..=0xdfff)) => 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff),
        (Some(_), _) => return Err(malformed()),
        (None, Some(value)) => value,
    };
    let c = char::from_u32(value).filter(|c| *c != '\0').ok_or_else(malformed)?;
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

fn finish_text(mut out: Zeroizing<Vec<u8>>, surrogate: Option<u32>) -> Result<Zeroizing<String>, Refusal> {
    if surrogate.is_some() || out.contains(&0) {
        return Err(malformed());
    }
    match String::from_utf8(std::mem::take(&mut *out)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(malformed().sqlstate(SqlState::NOT_IN_REPERTOIRE))
        }
    }
}

fn hex_number(hex: &str) -> Result<u32, Refusal> {
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    u32::from_str_radix(hex, 16).map_err(|_| malformed())
}

/// Writes what stands in place of a value.
pub type WriteValue<'w> = dyn FnMut(&Replacement, &mut Vec<u8>) -> Result<(), Refusal> + 'w;

/// The text of `span` with its changes made. `value` writes what stands in place of a literal (`'\x…'::pg_catalog.bytea`); splices
/// outside `span` are left out.
pub fn rewrite(
    source: &str,
    span: Range<usize>,
    splices: &[Splice],
    value: &mut WriteValue<'_>,
) -> Result<Vec<u8>, Refusal> {
    let broken = || Refusal::unsupported(Reason::Integrity, "the plan does not fit the statement");
    let mut out = Vec::with_capacity(span.len() + splices.len() * 48);
    let mut at = span.start;
    for splice in splices {
        if splice.span.start < span.start || splice.span.end > span.end {
            continue;
        }
        out.extend_from_slice(source.get(at..splice.span.start).ok_or_else(broken)?.as_bytes());
        match &splice.with {
            Replacement::Text(text) => out.extend_from_slice(text.as_bytes()),
            other => value(other, &mut out)?,
        }
        at = splice.span.end;
    }
    out.extend_from_slice(source.get(at..span.end).ok_or_else(broken)?.as_bytes());
    Ok(out)
}
