//! `bytea`: hex and escape format, both ways (PostgreSQL documentation, 8.4).

use super::{Format, Plaintext, TextStyle, ValueError, input};
use crate::wire::sqlstate::SqlState;
use bytes::BytesMut;

/// What `decode(…, 'hex')` and the type's input raise for bad digits: invalid_parameter_value.
const INVALID_PARAMETER: SqlState = SqlState(*b"22023");

pub(super) fn decode(format: Format, bytes: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    match (format, bytes) {
        (Format::Binary, _) => {
            input::append(out, bytes);
            Ok(())
        }
        (Format::Text, [b'\\', b'x', digits @ ..]) => parse_hex(digits, out),
        (Format::Text, _) => parse_escape(bytes, out),
    }
}

fn parse_hex(digits: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    input::reserve(out, digits.len() / 2);
    let digit =
        |byte: u8| hex_digit(byte).ok_or_else(|| ValueError::new(INVALID_PARAMETER, "invalid hexadecimal digit"));
    let mut rest = digits;
    while let [first, after @ ..] = rest {
        if matches!(first, b' ' | b'\n' | b'\t' | b'\r') {
            rest = after;
            continue;
        }
        let high = digit(*first)?;
        let [second, after @ ..] = after else {
            return Err(ValueError::new(
                INVALID_PARAMETER,
                "invalid hexadecimal data: odd number of digits",
            ));
        };
        out.push(high << 4 | digit(*second)?);
        rest = after;
    }
    Ok(())
}

fn parse_escape(text: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    input::reserve(out, text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                out.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => return Err(ValueError::syntax("bytea")),
            (plain, after) => {
                out.push(*plain);
                after
            }
        };
    }
    Ok(())
}

pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

pub(super) fn put_hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

pub(super) fn encode(
    format: Format,
    canonical: &[u8],
    style: &TextStyle,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    match format {
        Format::Binary => out.extend_from_slice(canonical),
        Format::Text if style.bytea_hex => {
            out.extend_from_slice(b"\\x");
            put_hex(canonical, out);
        }
        Format::Text => {
            for byte in canonical {
                match byte {
                    b'\\' => out.extend_from_slice(b"\\\\"),
                    0x20..=0x7e => out.extend_from_slice(&[*byte]),
                    _ => out.extend_from_slice(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]),
                }
            }
        }
    }
    Ok(())
}
