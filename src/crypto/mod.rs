//! Envelope, keyring, index terms. Opens, seals and makes terms only against a [`Permit`].
//!
//! Keys and plaintext have no Debug, Display or Serialize here and are wiped on drop. The format stands in [`envelope`]; the root key that
//! wraps data keys in [`root`]. No I/O but the key file's.

pub mod aead;
pub mod envelope;
pub mod keyring;
pub mod root;
#[cfg(test)]
mod tests;

use crate::plan::{ColumnId, Mode, ProtectedColumn, Use};
use crate::policy::Permit;
use crate::value::Plaintext;
use aead::{Aead, NONCE_BYTES};
use bytes::{BufMut, BytesMut};
use envelope::{DETERMINISTIC_NONCE, Header, Layout, MAX_PLAINTEXT_BYTES};
use keyring::{ReadyKey, Slot};
use zeroize::Zeroize;

pub use keyring::{DataKey, KeyInfo, KeyState, Keyring, SecretKey};

/// Why an envelope does not open, or a value does not seal. Holds no value and no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The permit is for another column or use: a fault of pgward's own.
    #[error("the permit does not fit the column")]
    WrongPermit,
    /// The column's mode does not seal, or has no index term: a fault of pgward's own.
    #[error("the column's mode has no such stored form")]
    WrongMode,
    /// Mode `deterministic` for a type whose equal values differ in form, or that has no equality.
    #[error("values of the column's type can't be stored in mode deterministic")]
    UnsuitableType,
    /// Too short, wrong magic, unknown version or flags.
    #[error("the stored value is not an envelope")]
    NotAnEnvelope,
    /// An envelope of another column; for deterministic ones, of another key domain.
    #[error("the envelope belongs to another column (id {}, expected {})", .found.0, .expected.0)]
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
    /// The stored keys contradict each other.
    #[error("data key {0} contradicts another of the keyring, or its own state")]
    InconsistentKeys(u32),
    /// The operating system's generator failed.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
    /// A cryptographic library refuses a key.
    #[error("a key can't be set up")]
    KeySetup,
}

impl Keyring {
    /// Appends the envelope of `canonical` (the type's binary send format) to `out`. The permit must be for writing this column.
    ///
    /// `normalised` (see [`crate::value::normalise`]) makes the equality tag in mode `eq` and is not looked at in other modes: what mode
    /// `deterministic` seals follows from `canonical` and the type ([`envelope::deterministic_plaintext`]). After an error, `out` is as it was.
    pub fn seal(
        &self,
        permit: &Permit,
        column: &ProtectedColumn,
        canonical: &[u8],
        normalised: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        if permit.column() != column.id || permit.usage() != Use::Write {
            return Err(CryptoError::WrongPermit);
        }
        let mut nonce = [0; NONCE_BYTES];
        if matches!(column.mode, Mode::Sealed | Mode::Eq) {
            // ChaCha12 from the operating system's seed, reseeded every 64 KiB, one a thread: 10 ns, where asking the system takes 241.
            rand::fill(&mut nonce);
        }
        self.seal_unchecked(column, canonical, normalised, &nonce, out)
    }

    /// Appends what a value is compared by: the 16-byte tag (mode `eq`), the whole envelope (mode `deterministic`). Other modes have none.
    ///
    /// The permit must be for searching this column, or for writing it: who writes a value gets its term into the table anyway, and
    /// ON CONFLICT has to compare what it writes.
    pub fn term(
        &self,
        permit: &Permit,
        column: &ProtectedColumn,
        canonical: &[u8],
        normalised: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        if permit.column() != column.id || !matches!(permit.usage(), Use::Search | Use::Write) {
            return Err(CryptoError::WrongPermit);
        }
        match column.mode {
            Mode::Eq => {
                let (_, key) = self.active(&column.key_domain)?;
                out.put_slice(&key.equality_tag(normalised));
                Ok(())
            }
            Mode::Deterministic => self.seal_unchecked(column, canonical, normalised, &DETERMINISTIC_NONCE, out),
            Mode::Sealed | Mode::None => Err(CryptoError::WrongMode),
        }
    }

    /// Opens an envelope into `out` (cleared first; empty after an error). The permit must be for reading this column.
    ///
    /// The layout is the envelope's own, whatever the column's mode is now: the header is authenticated.
    pub fn open(
        &self,
        permit: &Permit,
        column: &ProtectedColumn,
        envelope: &[u8],
        out: &mut Plaintext,
    ) -> Result<(), CryptoError> {
        out.clear();
        if permit.column() != column.id || permit.usage() != Use::Read {
            return Err(CryptoError::WrongPermit);
        }
        let parts = envelope::parse(envelope)?;
        let deterministic = parts.header.layout == Layout::Deterministic;
        let expected = match deterministic {
            false => column.id,
            true => self.domain_id(&column.key_domain).ok_or(CryptoError::NoActiveKey)?,
        };
        if parts.header.column != expected {
            return Err(CryptoError::OtherColumn {
                found: parts.header.column,
                expected,
            });
        }
        let key = self.opening_key(parts.header.key)?;
        let cipher = match deterministic {
            false => &key.sealing,
            true => &key.deterministic,
        };
        reserve_wiped(out, parts.ciphertext.len());
        out.resize(parts.ciphertext.len(), 0);
        let opened = self
            .prefix
            .associated(parts.clear, |associated| {
                cipher.open(parts.nonce, associated, parts.ciphertext, parts.tag, out.as_mut_slice())
            })
            .is_some_and(|result| result.is_ok());
        if !opened {
            out.zeroize();
            return Err(CryptoError::Authentication);
        }
        if deterministic {
            envelope::deterministic_canonical(column.logical_type, out);
        }
        Ok(())
    }

    #[inline]
    fn opening_key(&self, id: u32) -> Result<&ReadyKey, CryptoError> {
        let slot: &Slot = self.slot(id).ok_or(CryptoError::UnknownKey(id))?;
        slot.ready.as_deref().ok_or(CryptoError::DestroyedKey(id))
    }

    /// Seals without a permit. Deterministic envelopes have their own nonce in place of the given one.
    fn seal_unchecked(
        &self,
        column: &ProtectedColumn,
        canonical: &[u8],
        normalised: &[u8],
        nonce: &[u8; NONCE_BYTES],
        out: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        let layout = match column.mode {
            Mode::Sealed => Layout::Sealed,
            Mode::Eq => Layout::Eq,
            Mode::Deterministic => Layout::Deterministic,
            Mode::None => return Err(CryptoError::WrongMode),
        };
        if canonical.len() > MAX_PLAINTEXT_BYTES {
            return Err(CryptoError::TooLong);
        }
        let (slot, key) = self.active(&column.key_domain)?;
        let widened;
        let (cipher, nonce, id, plaintext) = match layout {
            Layout::Sealed | Layout::Eq => (&key.sealing, nonce, column.id, canonical),
            Layout::Deterministic => {
                widened = envelope::deterministic_plaintext(column.logical_type, canonical)
                    .ok_or(CryptoError::UnsuitableType)?;
                (
                    &key.deterministic,
                    &DETERMINISTIC_NONCE,
                    slot.domain_id,
                    widened.as_slice(),
                )
            }
        };

        // All at once, so that no plaintext is left behind in an outgrown allocation.
        out.reserve(layout.overhead() + plaintext.len());
        let start = out.len();
        let header = Header {
            layout,
            key: slot.info.id,
            column: id,
        };
        out.put_slice(&header.to_bytes());
        if layout == Layout::Eq {
            out.put_slice(&key.equality_tag(normalised));
        }
        let clear_end = out.len();
        if layout != Layout::Deterministic {
            out.put_slice(nonce);
        }
        let text_start = out.len();
        out.put_slice(plaintext);
        let sealed = out
            .split_at_mut_checked(text_start)
            .and_then(|(before, text)| {
                let clear = before.get(start..clear_end)?;
                self.prefix
                    .associated(clear, |associated| cipher.seal(nonce, associated, text))
            })
            .and_then(Result::ok);
        match sealed {
            Some(tag) => {
                out.put_slice(&tag);
                Ok(())
            }
            None => {
                if let Some(text) = out.get_mut(text_start..) {
                    text.zeroize();
                }
                out.truncate(start);
                Err(CryptoError::TooLong)
            }
        }
    }
}

/// Makes room for `additional` bytes in a plaintext buffer. Growing wipes what the buffer leaves behind, which `Vec` itself would not.
pub(crate) fn reserve_wiped(buffer: &mut Vec<u8>, additional: usize) {
    if buffer.capacity() - buffer.len() < additional {
        let mut larger = Vec::with_capacity((buffer.len() + additional).next_power_of_two());
        larger.extend_from_slice(buffer);
        std::mem::swap(buffer, &mut larger);
        larger.zeroize();
    }
}

/// Dangerous: goes around permits and random nonces. For known-answer vectors and tests only; the layering test forbids its use in `src`.
pub mod danger {
    use super::*;

    /// [`Keyring::seal`] with a nonce of the caller's and without a permit. Two values under one nonce tell whether they are equal.
    pub fn seal_with_nonce(
        keyring: &Keyring,
        column: &ProtectedColumn,
        canonical: &[u8],
        normalised: &[u8],
        nonce: &[u8; NONCE_BYTES],
        out: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        keyring.seal_unchecked(column, canonical, normalised, nonce, out)
    }
}
