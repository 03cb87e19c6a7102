//! Envelope, keyring, index terms. Opens, seals and makes terms only against a [`Permit`].
//!
//! Keys and plaintext have no Debug, Display or Serialize here and are wiped on drop.

pub mod envelope;
pub mod keyring;

use crate::plan::{ColumnId, ProtectedColumn};
use crate::policy::Permit;
use crate::value::Plaintext;
use bytes::BytesMut;

pub use keyring::Keyring;

/// Why an envelope does not open, or a value does not seal. Holds no value and no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The permit is for another column or use: a fault of pgward's own.
    #[error("the permit does not fit the column")]
    WrongPermit,
    /// Too short, wrong magic, unknown version or flags.
    #[error("the stored value is not an envelope")]
    NotAnEnvelope,
    /// An envelope of another column.
    #[error("the envelope belongs to another column (id {found:?}, expected {expected:?})")]
    OtherColumn {
        /// In the envelope.
        found: ColumnId,
        /// Where it was read.
        expected: ColumnId,
    },
    /// Its data key is not in the keyring.
    #[error("data key {0} is not in the keyring")]
    UnknownKey(u32),
    /// Its data key was destroyed: the value is gone for good.
    #[error("data key {0} was destroyed")]
    DestroyedKey(u32),
    /// No active data key for a key domain.
    #[error("key domain has no active data key")]
    NoActiveKey,
    /// Authentication failed: altered, or sealed for another database.
    #[error("the envelope fails authentication: it was altered, or sealed under another key or for another database")]
    Authentication,
    /// Longer than an envelope may be.
    #[error("the value is too long to be sealed")]
    TooLong,
}

impl Keyring {
    /// Appends the envelope of `canonical` (the type's binary send format) to `out`. `normalised` (see [`crate::value::normalise`]) is needed
    /// for mode `eq`; for `deterministic` the plaintext is `canonical` and the nonce is derived from key and `normalised`… see envelope.rs.
    pub fn seal(
        &self,
        _permit: &Permit,
        _column: &ProtectedColumn,
        _canonical: &[u8],
        _normalised: &[u8],
        _out: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        todo!()
    }
    /// Appends what a value is compared by: the 16-byte tag (mode `eq`), the whole envelope (mode `deterministic`).
    pub fn term(
        &self,
        _permit: &Permit,
        _column: &ProtectedColumn,
        _canonical: &[u8],
        _normalised: &[u8],
        _out: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        todo!()
    }
    /// Opens an envelope into `out` (cleared first).
    pub fn open(
        &self,
        _permit: &Permit,
        _column: &ProtectedColumn,
        _envelope: &[u8],
        _out: &mut Plaintext,
    ) -> Result<(), CryptoError> {
        todo!()
    }
    /// The keyed pseudonym of a data subject: HMAC-SHA256 under a key of its own, over table and subject key (text form), cut to 16 bytes.
    pub fn pseudonym(&self, _table: &crate::plan::RelationName, _subject_key: &[u8]) -> [u8; 16] {
        todo!()
    }
}
