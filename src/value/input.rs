//! What the readers of all types share: encoding check, blanks, exact lengths, and buffers that grow without leaving copies.

use super::{LogicalType, Plaintext, ValueError};
use crate::wire::sqlstate::SqlState;
use zeroize::Zeroizing;

/// PostgreSQL's `isspace()` in every locale that it is used with for UTF-8.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Without leading and trailing blanks.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// UTF-8 without NUL, as `pg_verify_mbstr` wants it.
pub(super) fn verify_encoding(bytes: &[u8]) -> Result<&str, ValueError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.contains(&0) => Ok(text),
        _ => Err(ValueError::new(
            SqlState::NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"UTF8\"",
        )),
    }
}

/// A binary parameter of fixed length. The two faults have different SQLSTATEs in PostgreSQL, and so here.
pub(super) fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| {
        if bytes.len() < N {
            insufficient_data()
        } else {
            incorrect_binary()
        }
    })
}

#[cold]
pub(super) fn insufficient_data() -> ValueError {
    ValueError::new(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message")
}

#[cold]
pub(super) fn incorrect_binary() -> ValueError {
    ValueError::new(
        SqlState::INVALID_BINARY,
        "incorrect binary data format in bind parameter",
    )
}

/// A canonical value of fixed length.
pub(super) fn canonical<const N: usize>(ty: LogicalType, bytes: &[u8]) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| ValueError::corrupted(ty))
}

/// Copies a canonical value of fixed length.
pub(super) fn copy_exact<const N: usize>(ty: LogicalType, bytes: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    append(out, &canonical::<N>(ty, bytes)?);
    Ok(())
}

/// Room for `more` bytes. `Vec` itself would leave its old allocation unwiped when it moves.
pub(super) fn reserve(out: &mut Plaintext, more: usize) {
    if out.capacity() - out.len() >= more {
        return;
    }
    let wanted = out
        .len()
        .saturating_add(more)
        .max(out.capacity().saturating_mul(2))
        .max(64);
    let mut grown = Zeroizing::new(Vec::with_capacity(wanted));
    grown.extend_from_slice(out);
    std::mem::swap(out, &mut grown); // the old one is wiped as it goes
}

/// Appends bytes, see [`reserve`].
pub(super) fn append(out: &mut Plaintext, bytes: &[u8]) {
    reserve(out, bytes.len());
    out.extend_from_slice(bytes);
}
