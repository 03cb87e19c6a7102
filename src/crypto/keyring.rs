//! The keyring: the data keys of one database by id and by key domain, with states and dates; the keys derived from them held ready-made.
//!
//! An immutable snapshot, shared by all sessions and replaced whole: look-ups take no lock and allocate nothing. Where its keys come
//! from (the control database, unwrapped by the root key) is `control`'s business.

use super::CryptoError;
use super::aead::{Aead, AwsLc, KEY_BYTES};
use super::envelope::{DATABASE_ID_BYTES, DatabasePrefix, EQUALITY_TAG_BYTES};
use crate::plan::{ColumnId, KeyDomain, RelationName};
use aes::Aes256Enc;
use cmac::digest::common::InnerInit;
use cmac::{Cmac, KeyInit, Mac};
use hkdf::Hkdf;
use hmac::Hmac;
use sha2::Sha256;
use std::collections::HashMap;
use zeroize::Zeroizing;

/// The AEAD that values are sealed with.
pub type DefaultAead = AwsLc;

/// Thirty-two secret bytes, wiped on drop. No Debug on purpose.
pub struct SecretKey(Zeroizing<[u8; KEY_BYTES]>);

impl SecretKey {
    /// From the operating system's generator.
    pub fn generate() -> Result<Self, CryptoError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| CryptoError::NoRandomness)?;
        Ok(Self(key))
    }

    /// From bytes, which the caller wipes where they came from; `None` for another length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// A key for one use, by HKDF-SHA256 without salt.
    pub(crate) fn derive(&self, info: &str) -> Result<Self, CryptoError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        Hkdf::<Sha256>::new(None, self.0.as_slice())
            .expand(info.as_bytes(), key.as_mut_slice())
            .map_err(|_| CryptoError::KeySetup)?;
        Ok(Self(key))
    }
}

/// What a data key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Seals and opens. At most one a key domain.
    Active,
    /// Opens what was sealed with it.
    Opening,
    /// Gone for good, and with it what was sealed with it.
    Destroyed,
}

/// A data key of a key domain, as the control database keeps it, unwrapped.
pub struct DataKey {
    /// Its id in envelopes, from 1.
    pub id: u32,
    /// Whose values it seals.
    pub domain: KeyDomain,
    /// The key domain's id in deterministic envelopes.
    pub domain_id: ColumnId,
    /// State.
    pub state: KeyState,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
    /// The key; `None` exactly for destroyed ones.
    pub secret: Option<SecretKey>,
}

/// What may be told of a data key, for metrics and people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id in envelopes.
    pub id: u32,
    /// Whose values it seals.
    pub domain: KeyDomain,
    /// State.
    pub state: KeyState,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
}

/// The keys derived from one data key (envelope.rs), ready-made.
pub(super) struct ReadyKey {
    pub(super) sealing: DefaultAead,
    pub(super) deterministic: DefaultAead,
    /// The cipher of the CMAC. Borrowed by each computation: a copy of the key schedule would have to be wiped each time, which takes
    /// three times as long as the computation.
    equality: Aes256Enc,
}

impl ReadyKey {
    fn new(secret: &SecretKey) -> Result<Self, CryptoError> {
        let cipher = |info| DefaultAead::new(secret.derive(info)?.expose()).ok_or(CryptoError::KeySetup);
        Ok(Self {
            sealing: cipher("pgward/1 sealing")?,
            deterministic: cipher("pgward/1 deterministic")?,
            equality: Aes256Enc::new(secret.derive("pgward/1 equality tag")?.expose().into()),
        })
    }

    /// The equality tag of a normalised value.
    pub(super) fn equality_tag(&self, normalised: &[u8]) -> [u8; EQUALITY_TAG_BYTES] {
        <Cmac<&Aes256Enc> as InnerInit>::inner_init(&self.equality)
            .chain_update(normalised)
            .finalize()
            .into_bytes()
            .into()
    }
}

/// A data key in the keyring.
pub(super) struct Slot {
    pub(super) info: KeyInfo,
    pub(super) domain_id: ColumnId,
    /// `None` for destroyed keys. Boxed: what is searched stays small.
    pub(super) ready: Option<Box<ReadyKey>>,
}

/// A key domain in the keyring.
struct Domain {
    id: ColumnId,
    /// Index of the active key among the slots.
    active: Option<usize>,
}

/// The unwrapped data keys of one database: an immutable snapshot, shared by all sessions, replaced whole.
pub struct Keyring {
    pub(super) prefix: DatabasePrefix,
    /// Sorted by key id.
    slots: Vec<Slot>,
    /// Sorted by name: a few comparisons cost less than hashing a name.
    domains: Vec<(KeyDomain, Domain)>,
    pseudonym: Hmac<Sha256>,
}

impl Keyring {
    /// Makes the keys ready. `database` is the database's id, `pseudonym` the key of [`Keyring::pseudonym`].
    ///
    /// Refuses what can't be: two keys of one id, two active keys or two ids of one key domain, an undestroyed key without its bytes.
    pub fn new(
        database: &[u8; DATABASE_ID_BYTES],
        keys: Vec<DataKey>,
        pseudonym: &SecretKey,
    ) -> Result<Self, CryptoError> {
        let mut slots = Vec::with_capacity(keys.len());
        for key in keys {
            let ready = match (key.state, &key.secret) {
                (KeyState::Destroyed, None) => None,
                (KeyState::Active | KeyState::Opening, Some(secret)) => Some(Box::new(ReadyKey::new(secret)?)),
                _ => return Err(CryptoError::InconsistentKeys(key.id)),
            };
            slots.push(Slot {
                info: KeyInfo {
                    id: key.id,
                    domain: key.domain,
                    state: key.state,
                    created_at: key.created_at,
                },
                domain_id: key.domain_id,
                ready,
            });
        }
        slots.sort_unstable_by_key(|slot| slot.info.id);
        for (slot, next) in slots.iter().zip(slots.iter().skip(1)) {
            if slot.info.id == next.info.id {
                return Err(CryptoError::InconsistentKeys(slot.info.id));
            }
        }

        let mut domains: HashMap<KeyDomain, Domain> = HashMap::new();
        for (index, slot) in slots.iter().enumerate() {
            let domain = domains.entry(slot.info.domain.clone()).or_insert(Domain {
                id: slot.domain_id,
                active: None,
            });
            let second_active = slot.info.state == KeyState::Active && domain.active.replace(index).is_some();
            if second_active || domain.id != slot.domain_id {
                return Err(CryptoError::InconsistentKeys(slot.info.id));
            }
        }

        let mut domains: Vec<_> = domains.into_iter().collect();
        domains.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let pseudonym =
            <Hmac<Sha256> as KeyInit>::new_from_slice(pseudonym.expose()).map_err(|_| CryptoError::KeySetup)?;
        Ok(Self {
            prefix: DatabasePrefix::new(database),
            slots,
            domains,
            pseudonym,
        })
    }

    /// What may be told of each data key, in order of their ids.
    pub fn keys(&self) -> impl Iterator<Item = &KeyInfo> {
        self.slots.iter().map(|slot| &slot.info)
    }

    /// The keyed pseudonym of a data subject: HMAC-SHA256 under a key of its own, over table and subject key (text form), cut to
    /// 16 bytes. Schema and table go in with their lengths (4 bytes each), so that no two tables share an input.
    pub fn pseudonym(&self, table: &RelationName, subject_key: &[u8]) -> [u8; 16] {
        let mut mac = self.pseudonym.clone();
        for part in [&table.schema, &table.name] {
            // Names are at most 63 bytes in PostgreSQL.
            mac.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.update(subject_key);
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut cut = [0; 16];
        cut.copy_from_slice(full.first_chunk::<16>().unwrap_or(&[0; 16]));
        cut
    }

    /// The slot of a key id.
    #[inline]
    pub(super) fn slot(&self, id: u32) -> Option<&Slot> {
        let index = self.slots.binary_search_by_key(&id, |slot| slot.info.id).ok()?;
        self.slots.get(index)
    }

    /// The key that a domain's values are sealed with.
    #[inline]
    pub(super) fn active(&self, domain: &KeyDomain) -> Result<(&Slot, &ReadyKey), CryptoError> {
        let slot = self
            .domain(domain)
            .and_then(|domain| self.slots.get(domain.active?))
            .ok_or(CryptoError::NoActiveKey)?;
        let ready = slot.ready.as_deref().ok_or(CryptoError::NoActiveKey)?;
        Ok((slot, ready))
    }

    /// A key domain's id.
    pub(super) fn domain_id(&self, domain: &KeyDomain) -> Option<ColumnId> {
        self.domain(domain).map(|domain| domain.id)
    }

    #[inline]
    fn domain(&self, name: &KeyDomain) -> Option<&Domain> {
        let index = self.domains.binary_search_by(|(known, _)| known.cmp(name)).ok()?;
        self.domains.get(index).map(|(_, domain)| domain)
    }
}
