//! `text`, `character varying(n)`, `character(n)`: UTF-8 without NUL; lengths are in characters (code points).
//!
//! Canonical `character(n)` is blank-padded to n, as PostgreSQL stores and sends it.

use super::{Format, LogicalType, Plaintext, Reading, ValueError, input};
use crate::wire::sqlstate::SqlState;
use bytes::BytesMut;

pub(super) fn decode(
    ty: LogicalType,
    reading: Reading,
    format: Format,
    bytes: &[u8],
    out: &mut Plaintext,
) -> Result<(), ValueError> {
    if format == Format::Binary {
        input::verify_encoding(bytes)?;
    }
    match ty {
        LogicalType::Varchar(Some(limit)) if reading == Reading::Assignment => {
            let kept = cut_blanks(bytes, limit).ok_or_else(|| too_long(ty))?;
            input::append(out, kept);
        }
        LogicalType::Char(length) => {
            let kept = match reading {
                Reading::Assignment => cut_blanks(bytes, length).ok_or_else(|| too_long(ty))?,
                Reading::Comparison => without_trailing_blanks(bytes),
            };
            pad(kept, length, out);
        }
        _ => input::append(out, bytes),
    }
    Ok(())
}

pub(super) fn encode(ty: LogicalType, canonical: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    // Both formats are the same bytes. A client may take text for granted to be UTF-8.
    input::verify_encoding(canonical).map_err(|_| ValueError::corrupted(ty))?;
    out.extend_from_slice(canonical);
    Ok(())
}

/// Appends `text`, blank-padded to `length` characters.
pub(super) fn pad(text: &[u8], length: u32, out: &mut Plaintext) {
    let blanks = (length as usize).saturating_sub(characters(text));
    input::reserve(out, text.len() + blanks);
    out.extend_from_slice(text);
    let padded = out.len() + blanks;
    out.resize(padded, b' ');
}

/// `text` cut to `limit` characters; `None` if that would cut anything but blanks.
pub(super) fn cut_blanks(text: &[u8], limit: u32) -> Option<&[u8]> {
    let limit = limit as usize;
    if text.len() <= limit {
        return Some(text); // no more bytes than that: no more characters either
    }
    let Some(end) = text
        .iter()
        .enumerate()
        .filter(|(_, byte)| is_character_start(**byte))
        .map(|(at, _)| at)
        .nth(limit)
    else {
        return Some(text);
    };
    let (kept, excess) = text.split_at(end);
    excess.iter().all(|byte| *byte == b' ').then_some(kept)
}

pub(super) fn without_trailing_blanks(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &text[..end]
}

fn is_character_start(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// Number of characters of valid UTF-8.
pub(super) fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| is_character_start(**byte)).count()
}

#[cold]
pub(super) fn too_long(ty: LogicalType) -> ValueError {
    ValueError::new(
        SqlState::STRING_TRUNCATION,
        format!("value too long for type {}", ty.to_sql()),
    )
}
