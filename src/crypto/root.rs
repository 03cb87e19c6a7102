//! The root key, which wraps the data keys: a trait for providers, and the key file.
//!
//! A wrapped data key is version byte `0x01` ‖ nonce (12) ‖ ciphertext (32) ‖ authentication tag (16) of AES-256-GCM-SIV under HKDF-SHA256
//! (root key, info `pgward/1 wrapping`); its associated data is [`KeyContext::to_bytes`], so that a wrapped key works only as what it was
//! made for. The root key's [`fingerprint`](RootKey::fingerprint) is stored beside the keyring: a wrong root key is told as such, before
//! and apart from a damaged keyring.
//!
//! Key file: three lines of ASCII text, `pgward-root-key-v1`, `key ` and 64 lower-case hexadecimal digits, `check ` and the first 16 hexadecimal digits
//! of SHA-256 over `pgward-root-key-v1` and the key's bytes. Mode 0600 or 0400, owned by whoever runs pgward (or root).

use super::aead::{Aead, AwsLc, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
use super::keyring::SecretKey;
use crate::plan::KeyDomain;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

#[cfg(test)]
mod tests;

const HEADER: &str = "pgward-root-key-v1";
/// Longer files are something else.
const MAX_FILE_BYTES: u64 = 4096;
const WRAPPED_VERSION: u8 = 1;
const WRAPPED_BYTES: usize = 1 + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// Why a root key can't be used: what, and what to do. Holds no key.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// There is none.
    #[error(
        "the root key file {0} does not exist; restore it from its backup (nothing else opens the sealed values), or run `pgward init` if this installation is new"
    )]
    Missing(PathBuf),
    /// One is there already.
    #[error("{0} exists; a root key is never overwritten")]
    Exists(PathBuf),
    /// It can't be read or written.
    #[error("the root key file {path} can't be {action}")]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read or change it.
    #[error(
        "the root key file {path} has mode {mode:04o}: others may have read the key; make sure that they have not, then chmod 0600 it"
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else's.
    #[error("the root key file {path} belongs to uid {owner}, not to uid {expected} who runs pgward; chown it")]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who runs pgward.
        expected: u32,
    },
    /// A directory, a device, …
    #[error("the root key {0} is not a regular file")]
    NotAFile(PathBuf),
    /// Not the text that a key file has.
    #[error("{path} is not an undamaged pgward root key file: {detail}; restore it from its backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong; never any part of the key.
        detail: &'static str,
    },
    /// The cipher or the generator failed.
    #[error("the root key can't be used: {0}")]
    Crypto(#[from] super::CryptoError),
}

/// What a data key is for, as far as it never changes. Its wrapping is bound to this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyContext<'a> {
    /// Id of the database.
    pub database: &'a [u8; 16],
    /// Id of the data key.
    pub key: u32,
    /// What it keys.
    pub purpose: KeyPurpose<'a>,
}

/// What a data key keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose<'a> {
    /// The values of a key domain, with the domain's id.
    Values(&'a KeyDomain, u32),
    /// Pseudonyms of data subjects.
    Pseudonyms,
}

impl KeyContext<'_> {
    /// The associated data of the wrapping: `pgward/1 data key` ‖ database id (16) ‖ key id (4) ‖ `v` ‖ key domain id (4) ‖ key domain's
    /// name, or … ‖ `p`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = b"pgward/1 data key".to_vec();
        bytes.extend_from_slice(self.database);
        bytes.extend_from_slice(&self.key.to_be_bytes());
        match self.purpose {
            KeyPurpose::Values(domain, id) => {
                bytes.push(b'v');
                bytes.extend_from_slice(&id.to_be_bytes());
                bytes.extend_from_slice(domain.0.as_bytes());
            }
            KeyPurpose::Pseudonyms => bytes.push(b'p'),
        }
        bytes
    }
}

/// A provider of the root key. Methods may block (a key store over the network); they are called at start-up and when keys change, not per
/// value.
pub trait RootKey: Send + Sync {
    /// Tells root keys apart; printable, no secret.
    fn fingerprint(&self) -> String;
    /// Wraps a data key.
    fn wrap(&self, key: &SecretKey, context: &KeyContext<'_>) -> Result<Vec<u8>, RootKeyError>;
    /// Unwraps a data key. [`CryptoError::Authentication`](super::CryptoError::Authentication): the bytes are damaged, or were wrapped by another root key or for another context.
    fn unwrap(&self, wrapped: &[u8], context: &KeyContext<'_>) -> Result<SecretKey, RootKeyError>;
}

/// A root key from a key file.
pub struct KeyFile {
    wrapping: AwsLc,
    fingerprint: String,
}

impl KeyFile {
    /// Makes a new key file with mode 0600, complete or not at all; never overwrites one.
    pub fn create(path: &Path) -> Result<Self, RootKeyError> {
        let fault = |source| RootKeyError::Io {
            path: path.into(),
            action: "written",
            source,
        };
        let key = SecretKey::generate()?;
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        // Mode 0600 from the start; linked to its name only when it is whole and on the disk.
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(fault)?;
        let text = file_text(&key);
        file.write_all(text.as_bytes()).map_err(fault)?;
        file.as_file().sync_all().map_err(fault)?;
        file.persist_noclobber(path).map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => RootKeyError::Exists(path.into()),
            _ => fault(error.error),
        })?;
        std::fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(fault)?;
        Self::from_key(&key)
    }

    /// Reads a key file.
    pub fn load(path: &Path) -> Result<Self, RootKeyError> {
        let fault = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => RootKeyError::Missing(path.into()),
            _ => RootKeyError::Io {
                path: path.into(),
                action: "read",
                source,
            },
        };
        let file = std::fs::File::open(path).map_err(fault)?;
        // Of the opened file, not of the name: nobody changes one for the other in between.
        let metadata = file.metadata().map_err(fault)?;
        if !metadata.is_file() {
            return Err(RootKeyError::NotAFile(path.into()));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & !0o600 != 0 {
            return Err(RootKeyError::Mode {
                path: path.into(),
                mode,
            });
        }
        if let Some(expected) = own_uid()
            && metadata.uid() != expected
            && metadata.uid() != 0
        {
            return Err(RootKeyError::Owner {
                path: path.into(),
                owner: metadata.uid(),
                expected,
            });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(256));
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(fault)?;
        let key = parse_file(&text).map_err(|detail| RootKeyError::Damaged {
            path: path.into(),
            detail,
        })?;
        Self::from_key(&key)
    }

    /// From the key itself.
    pub fn from_key(key: &SecretKey) -> Result<Self, RootKeyError> {
        let wrapping = AwsLc::new(key.derive("pgward/1 wrapping")?.expose()).ok_or(super::CryptoError::KeySetup)?;
        let fingerprint = key.derive("pgward/1 fingerprint")?;
        Ok(Self {
            wrapping,
            fingerprint: hex(fingerprint.expose().first_chunk::<8>().unwrap_or(&[0; 8])),
        })
    }
}

impl RootKey for KeyFile {
    fn fingerprint(&self) -> String {
        format!("file:{}", self.fingerprint)
    }

    fn wrap(&self, key: &SecretKey, context: &KeyContext<'_>) -> Result<Vec<u8>, RootKeyError> {
        let mut nonce = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| super::CryptoError::NoRandomness)?;
        let mut text = Zeroizing::new(*key.expose());
        let tag = self
            .wrapping
            .seal(&nonce, &context.to_bytes(), text.as_mut_slice())
            .map_err(|_| super::CryptoError::KeySetup)?;
        let mut wrapped = Vec::with_capacity(WRAPPED_BYTES);
        wrapped.push(WRAPPED_VERSION);
        wrapped.extend_from_slice(&nonce);
        wrapped.extend_from_slice(text.as_slice());
        wrapped.extend_from_slice(&tag);
        Ok(wrapped)
    }

    fn unwrap(&self, wrapped: &[u8], context: &KeyContext<'_>) -> Result<SecretKey, RootKeyError> {
        let parts = || {
            let (version, rest) = wrapped.split_first()?;
            let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
            let (text, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
            (*version == WRAPPED_VERSION && text.len() == KEY_BYTES).then_some((nonce, text, tag))
        };
        let (nonce, text, tag) = parts().ok_or(super::CryptoError::Authentication)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        self.wrapping
            .open(nonce, &context.to_bytes(), text, tag, key.as_mut_slice())
            .map_err(|_| super::CryptoError::Authentication)?;
        SecretKey::from_slice(key.as_slice()).ok_or(super::CryptoError::KeySetup.into())
    }
}

/// Effective uid of this process; `None` where the system does not tell without unsafe code.
fn own_uid() -> Option<u32> {
    std::fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}

fn check(key: &SecretKey) -> String {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(HEADER)
        .chain_update(key.expose())
        .finalize()
        .into();
    hex(digest.first_chunk::<8>().unwrap_or(&[0; 8]))
}

fn file_text(key: &SecretKey) -> Zeroizing<String> {
    let mut digits = hex(key.expose());
    let text = Zeroizing::new(format!("{HEADER}\nkey {digits}\ncheck {}\n", check(key)));
    digits.zeroize();
    text
}

fn parse_file(text: &[u8]) -> Result<SecretKey, &'static str> {
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err("it is too long");
    }
    let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err("its first line is not pgward-root-key-v1");
    }
    let digits = lines
        .next()
        .and_then(|line| line.strip_prefix("key "))
        .ok_or("it has no line for the key")?;
    if digits.len() != 2 * KEY_BYTES {
        return Err("the key is not 64 digits long");
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else {
            return Err("the key is not 64 digits long");
        };
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => return Err("the key holds something else than lower-case hexadecimal digits"),
        }
    }
    let key = SecretKey::from_slice(bytes.as_slice()).ok_or("the key is not 64 digits long")?;
    let found = lines
        .next()
        .and_then(|line| line.strip_prefix("check "))
        .ok_or("it has no line for the check")?;
    if found != check(&key) {
        return Err("the key does not match its check digits");
    }
    if lines.next().is_some() {
        return Err("there is more behind the check digits");
    }
    Ok(key)
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
