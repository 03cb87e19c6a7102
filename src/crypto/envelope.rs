//! The envelope: what a sealed column stores for one value (DESIGN: "What is stored"). Format version 1.
//!
//! All integers are unsigned and big-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | `0xFA`, which never starts valid UTF-8 |
//! | 1 | 1 | version and flags, see below |
//! | 2 | 4 | key id, from 1 |
//! | 6 | 4 | column id, from 1; in deterministic envelopes the id of the key domain |
//! | 10 | 16 | equality tag, where flagged; SQL finds it as `substring(col from 11 for 16)` |
//! | 10 or 26 | 12 | nonce; absent in deterministic envelopes |
//! | … | n | ciphertext, as long as the plaintext |
//! | … | 16 | authentication tag |
//!
//! Byte 1, most significant bit first: `vvvrdskt`
//!
//! | bits | meaning |
//! |---|---|
//! | `vvv` | version, `001` |
//! | `r` | reserved, `0` |
//! | `d` | deterministic: no nonce |
//! | `s` | a subject handle follows (reserved: refused in version 1 so far) |
//! | `k` | search tokens follow (reserved: refused in version 1 so far) |
//! | `t` | an equality tag follows |
//!
//! So exactly three values of it are valid today: `0x20` (mode `sealed`, 38 bytes or more), `0x21` (`eq`, 54 or more) and `0x28`
//! (`deterministic`, 26 or more). Everything else is not an envelope.
//!
//! The cipher is AES-256-GCM-SIV (RFC 8452). Its **associated data** is `"pgward"` (6 bytes) ‖ database id (16 bytes, a UUID) ‖ every byte before
//! the nonce, which for deterministic envelopes is the 10 bytes before the ciphertext. So an envelope opens in no other database or column,
//! and neither header nor equality tag can be altered.
//!
//! From a **data key** (32 random bytes) come three keys by HKDF-SHA256 (no salt), each 32 bytes:
//!
//! | info | key |
//! |---|---|
//! | `pgward/1 sealing` | AES-256-GCM-SIV with random nonces: modes `sealed` and `eq` |
//! | `pgward/1 equality tag` | AES-256-CMAC (NIST SP 800-38B) over the normalised value: the equality tag |
//! | `pgward/1 deterministic` | AES-256-GCM-SIV with twelve zero bytes as nonce: mode `deterministic` |
//!
//! The equality tag does not depend on the column, so that columns of one key domain can be joined.
//!
//! **Deterministic envelopes** store no nonce: with a fixed nonce, AES-GCM-SIV is deterministic authenticated encryption, whose
//! synthetic IV is a keyed function of associated data and plaintext. What leaks is equality, as intended. Two different messages meet in a
//! counter block with a probability of about N²·L/2¹²⁷ for N values of L blocks: negligible below 2⁴⁰ values. They have a key of their own, so
//! that the zero nonce never meets a random one under the same key. Values that PostgreSQL calls equal must become equal
//! bytes, in all columns of a key domain: so the header holds the key domain's id in place of the column's (ids of both come from
//! one sequence and never meet), and the plaintext is the form of [`deterministic_plaintext`].

use super::CryptoError;
use super::aead::{NONCE_BYTES, TAG_BYTES};
use crate::plan::ColumnId;
use crate::value::LogicalType;

/// First byte of every envelope.
pub const MAGIC: u8 = 0xFA;
/// Version 1, in the upper three bits of byte 1.
const VERSION_1: u8 = 0b001 << 5;
/// An equality tag follows the header.
const FLAG_EQUALITY_TAG: u8 = 0b0001;
/// No nonce is stored.
const FLAG_DETERMINISTIC: u8 = 0b1000;

/// Bytes before equality tag, nonce or ciphertext.
pub const HEADER_BYTES: usize = 10;
/// Bytes of the equality tag.
pub const EQUALITY_TAG_BYTES: usize = 16;
/// First bytes of the associated data.
pub const DOMAIN_STRING: &[u8; 6] = b"pgward";
/// Bytes of a database id.
pub const DATABASE_ID_BYTES: usize = 16;
const PREFIX_BYTES: usize = DOMAIN_STRING.len() + DATABASE_ID_BYTES;
const MAX_ASSOCIATED_BYTES: usize = PREFIX_BYTES + HEADER_BYTES + EQUALITY_TAG_BYTES;

/// The longest envelope: PostgreSQL's values end one byte below 1 GiB (`MaxAllocSize`), four of them the length word.
pub const MAX_ENVELOPE_BYTES: usize = (1 << 30) - 1 - 4;
/// The longest plaintext, in whatever mode.
pub const MAX_PLAINTEXT_BYTES: usize = MAX_ENVELOPE_BYTES - HEADER_BYTES - EQUALITY_TAG_BYTES - NONCE_BYTES - TAG_BYTES;

/// Which of the three layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Random nonce.
    Sealed,
    /// Equality tag and random nonce.
    Eq,
    /// Neither.
    Deterministic,
}

impl Layout {
    /// Byte 1 of the envelope.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Sealed => VERSION_1,
            Self::Eq => VERSION_1 | FLAG_EQUALITY_TAG,
            Self::Deterministic => VERSION_1 | FLAG_DETERMINISTIC,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        if byte == Self::Sealed.byte() {
            Some(Self::Sealed)
        } else if byte == Self::Eq.byte() {
            Some(Self::Eq)
        } else if byte == Self::Deterministic.byte() {
            Some(Self::Deterministic)
        } else {
            None
        }
    }

    /// Where the authenticated clear part ends: offset of the nonce, or of the ciphertext where there is none.
    const fn clear_bytes(self) -> usize {
        match self {
            Self::Sealed | Self::Deterministic => HEADER_BYTES,
            Self::Eq => HEADER_BYTES + EQUALITY_TAG_BYTES,
        }
    }

    const fn nonce_bytes(self) -> usize {
        match self {
            Self::Sealed | Self::Eq => NONCE_BYTES,
            Self::Deterministic => 0,
        }
    }

    /// Bytes that an envelope has beyond its plaintext; also the length of the shortest one.
    pub const fn overhead(self) -> usize {
        self.clear_bytes() + self.nonce_bytes() + TAG_BYTES
    }
}

/// The ten bytes that every envelope begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Layout.
    pub layout: Layout,
    /// Data key.
    pub key: u32,
    /// Column; for [`Layout::Deterministic`] the key domain's id.
    pub column: ColumnId,
}

impl Header {
    /// As stored.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [k0, k1, k2, k3] = self.key.to_be_bytes();
        let [c0, c1, c2, c3] = self.column.0.to_be_bytes();
        [MAGIC, self.layout.byte(), k0, k1, k2, k3, c0, c1, c2, c3]
    }
}

/// An envelope taken apart, not authenticated yet.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// Header.
    pub header: Header,
    /// Every byte before the nonce.
    pub clear: &'a [u8],
    /// Nonce; zero bytes for [`Layout::Deterministic`].
    pub nonce: &'a [u8; NONCE_BYTES],
    /// Ciphertext.
    pub ciphertext: &'a [u8],
    /// Authentication tag.
    pub tag: &'a [u8; TAG_BYTES],
}

/// The nonce of deterministic envelopes, which their own key makes safe.
pub const DETERMINISTIC_NONCE: [u8; NONCE_BYTES] = [0; NONCE_BYTES];

/// Takes stored bytes apart. Total: any bytes are either parts or [`CryptoError::NotAnEnvelope`].
#[inline]
pub fn parse(stored: &[u8]) -> Result<Parts<'_>, CryptoError> {
    fn parts(stored: &[u8]) -> Option<Parts<'_>> {
        if stored.len() > MAX_ENVELOPE_BYTES {
            return None;
        }
        let (header, _) = stored.split_first_chunk::<HEADER_BYTES>()?;
        let [magic, version_and_flags, k0, k1, k2, k3, c0, c1, c2, c3] = *header;
        if magic != MAGIC {
            return None;
        }
        let layout = Layout::from_byte(version_and_flags)?;
        let (clear, rest) = stored.split_at_checked(layout.clear_bytes())?;
        let (nonce, rest) = match layout {
            Layout::Sealed | Layout::Eq => rest.split_first_chunk::<NONCE_BYTES>()?,
            Layout::Deterministic => (&DETERMINISTIC_NONCE, rest),
        };
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let header = Header {
            layout,
            key: u32::from_be_bytes([k0, k1, k2, k3]),
            column: ColumnId(u32::from_be_bytes([c0, c1, c2, c3])),
        };
        Some(Parts {
            header,
            clear,
            nonce,
            ciphertext,
            tag,
        })
    }
    parts(stored).ok_or(CryptoError::NotAnEnvelope)
}

/// The part of the associated data that all envelopes of a database share.
#[derive(Clone, Copy)]
pub struct DatabasePrefix([u8; PREFIX_BYTES]);

impl DatabasePrefix {
    /// For a database id.
    pub fn new(database: &[u8; DATABASE_ID_BYTES]) -> Self {
        let mut prefix = [0; PREFIX_BYTES];
        let (string, id) = prefix.split_at_mut(DOMAIN_STRING.len());
        string.copy_from_slice(DOMAIN_STRING);
        id.copy_from_slice(database);
        Self(prefix)
    }

    /// Hands the associated data for an envelope's clear part to `then`. `None` for a clear part that no layout has.
    #[inline]
    pub fn associated<T>(&self, clear: &[u8], then: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let mut buffer = [0; MAX_ASSOCIATED_BYTES];
        let (prefix, rest) = buffer.split_at_mut(PREFIX_BYTES);
        prefix.copy_from_slice(&self.0);
        rest.get_mut(..clear.len())?.copy_from_slice(clear);
        buffer.get(..PREFIX_BYTES + clear.len()).map(then)
    }
}

/// A deterministic envelope's plaintext, in pieces, so that nothing is copied twice or allocated.
#[derive(Clone, Copy)]
pub enum DeterministicPlaintext<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// An integer, widened.
    Integer([u8; 8]),
}

impl DeterministicPlaintext<'_> {
    /// As bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Integer(bytes) => bytes,
        }
    }
}

/// Whether values of a type can be stored in mode `deterministic`. The planner's catalog and `check` go by the same rule; the keyring refuses
/// the others in any case.
pub fn deterministic_allowed(ty: LogicalType) -> bool {
    deterministic_plaintext(ty, &[]).is_some()
}

/// The plaintext of a deterministic envelope for a canonical value: equal bytes exactly for values that PostgreSQL calls equal, from which
/// [`deterministic_canonical`] makes the canonical form again.
///
/// - smallint, integer, bigint: eight bytes, sign-extended, so that an integer column may reference a bigint one and a parameter of
///   another width compares exactly;
/// - char(n): without its trailing blanks;
/// - text, varchar, date, timestamp, timestamptz, uuid, bytea, boolean: as they are;
/// - numeric, double precision, json, jsonb: `None`, as equal values differ in form (1.0 and 1.00, 0 and -0) or there is no equality.
pub fn deterministic_plaintext(ty: LogicalType, canonical: &[u8]) -> Option<DeterministicPlaintext<'_>> {
    use DeterministicPlaintext::{Bytes, Integer};
    Some(match ty {
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => match *canonical {
            [a, b] => Integer(i64::from(i16::from_be_bytes([a, b])).to_be_bytes()),
            [a, b, c, d] => Integer(i64::from(i32::from_be_bytes([a, b, c, d])).to_be_bytes()),
            _ => Bytes(canonical),
        },
        LogicalType::Char(_) => Bytes(without_trailing_blanks(canonical)),
        LogicalType::Text
        | LogicalType::Varchar(_)
        | LogicalType::Date
        | LogicalType::Timestamp(_)
        | LogicalType::Timestamptz(_)
        | LogicalType::Uuid
        | LogicalType::Bytea
        | LogicalType::Bool => Bytes(canonical),
        LogicalType::Numeric(_) | LogicalType::Float8 | LogicalType::Json | LogicalType::Jsonb => return None,
    })
}

/// Turns an opened deterministic plaintext into the column's canonical form, in place. An integer that the column's type can't hold stays
/// eight bytes long, which `value::encode` refuses.
pub fn deterministic_canonical(ty: LogicalType, value: &mut Vec<u8>) {
    match ty {
        LogicalType::Int2 | LogicalType::Int4 => {
            let Ok(wide) = <[u8; 8]>::try_from(value.as_slice()) else {
                return;
            };
            let wide = i64::from_be_bytes(wide);
            // Shrinks in place: nothing of the plaintext is left behind in a freed allocation.
            if ty == LogicalType::Int2 {
                if let Ok(narrow) = i16::try_from(wide) {
                    value.clear();
                    value.extend_from_slice(&narrow.to_be_bytes());
                }
            } else if let Ok(narrow) = i32::try_from(wide) {
                value.clear();
                value.extend_from_slice(&narrow.to_be_bytes());
            }
        }
        LogicalType::Char(n) => {
            // Characters, not bytes: continuation bytes of UTF-8 don't count.
            let characters = value.iter().filter(|byte| (**byte & 0xC0) != 0x80).count();
            let blanks = usize::try_from(n).unwrap_or(0).saturating_sub(characters);
            super::reserve_wiped(value, blanks);
            value.resize(value.len() + blanks, b' ');
        }
        _ => {}
    }
}

/// Without trailing spaces; other white space counts in char(n).
fn without_trailing_blanks(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    text.get(..end).unwrap_or(text)
}
