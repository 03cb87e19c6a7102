//! Text forms that PostgreSQL reads otherwise since version 16: whoever reads them as 15 does would store another value than the server, or
//! raise an error where it raises none. They are few and rare, so with newer servers they are refused (`0A000`), never guessed.
//!
//! Which they are: `0x1F`, `0o17`, `0b11` and `1_000` in integers and numerics, `1e 3`, and `infinity` with anything about it in dates
//! and timestamps (`+infinity`). `tests/value_differential.rs` compares with whichever server is installed.

use super::LogicalType;

/// The first version that reads them otherwise.
pub(super) const SINCE: u16 = 16;

/// Whether a text is such a form, or near enough to one.
pub(super) fn reads_otherwise(ty: LogicalType, text: &[u8]) -> bool {
    match ty {
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => has_digits_of_16(text),
        LogicalType::Numeric(_) => {
            let spaced_exponent = |pair: &[u8]| pair[0].eq_ignore_ascii_case(&b'e') && is_space(pair[1]);
            has_digits_of_16(text) || text.windows(2).any(spaced_exponent)
        }
        LogicalType::Date | LogicalType::Timestamp(_) | LogicalType::Timestamptz(_) => {
            let text = text.trim_ascii();
            let bare = text.strip_prefix(b"-").unwrap_or(text);
            let word = b"infinity";
            text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word)) && !bare.eq_ignore_ascii_case(word)
        }
        _ => false,
    }
}

fn has_digits_of_16(text: &[u8]) -> bool {
    let prefix = |pair: &[u8]| pair[0] == b'0' && matches!(pair[1].to_ascii_lowercase(), b'x' | b'o' | b'b');
    text.contains(&b'_') || text.windows(2).any(prefix)
}

/// As the server's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests;
