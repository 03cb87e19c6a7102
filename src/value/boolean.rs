//! `boolean`. Text input takes PostgreSQL's synonyms and their unique prefixes.

use super::{Format, LogicalType, Plaintext, ValueError, input};
use bytes::BytesMut;

pub(super) fn decode(format: Format, bytes: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    let value = match format {
        Format::Text => parse(input::trim(bytes)).ok_or_else(|| ValueError::syntax("boolean"))?,
        // Any byte but zero is true for the server.
        Format::Binary => input::exact::<1>(bytes)? != [0],
    };
    input::append(out, &[value.into()]);
    Ok(())
}

fn parse(word: &[u8]) -> Option<bool> {
    // Shortest accepted prefix (`o` alone is both), word, meaning.
    const WORDS: [(usize, &[u8], bool); 8] = [
        (1, b"true", true),
        (1, b"false", false),
        (1, b"yes", true),
        (1, b"no", false),
        (2, b"on", true),
        (2, b"off", false),
        (1, b"1", true),
        (1, b"0", false),
    ];
    WORDS.iter().find_map(|(shortest, whole, value)| {
        let prefix = whole.get(..word.len())?;
        (word.len() >= *shortest && prefix.eq_ignore_ascii_case(word)).then_some(*value)
    })
}

pub(super) fn from_canonical(canonical: &[u8]) -> Result<bool, ValueError> {
    match canonical {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(ValueError::corrupted(LogicalType::Bool)),
    }
}

pub(super) fn encode(format: Format, canonical: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    let value = from_canonical(canonical)?;
    out.extend_from_slice(match (format, value) {
        (Format::Binary, _) => canonical,
        (Format::Text, true) => b"t",
        (Format::Text, false) => b"f",
    });
    Ok(())
}
