use super::*;
use crate::crypto::CryptoError;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DATABASE: [u8; 16] = *b"a database's id.";

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

fn domain(name: &str) -> KeyDomain {
    KeyDomain(Arc::from(name))
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(path: &Path, text: &[u8], mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn error(path: &Path) -> RootKeyError {
    KeyFile::load(path).map(|_| ()).unwrap_err()
}

fn made(directory: &tempfile::TempDir) -> (PathBuf, String) {
    let path = directory.path().join("root.key");
    KeyFile::create(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn a_key_file_is_private_whole_and_never_overwritten() {
    let directory = directory();
    let path = directory.path().join("root.key");
    let fingerprint = KeyFile::create(&path).unwrap().fingerprint();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(KeyFile::load(&path).unwrap().fingerprint(), fingerprint);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(KeyFile::create(&path), Err(RootKeyError::Exists(_))));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    // Nothing half-made stays behind.
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    let other = directory.path().join("other.key");
    assert_ne!(KeyFile::create(&other).unwrap().fingerprint(), fingerprint);
}

#[test]
fn each_fault_of_a_key_file_has_its_error() {
    let directory = directory();
    let (path, text) = made(&directory);
    for mode in [0o640, 0o604, 0o666, 0o700, 0o4600] {
        write(&path, text.as_bytes(), mode);
        assert!(matches!(error(&path), RootKeyError::Mode { mode: found, .. } if found == mode));
    }
    write(&path, text.as_bytes(), 0o400);
    KeyFile::load(&path).unwrap();
    assert!(matches!(
        error(&directory.path().join("none")),
        RootKeyError::Missing(_)
    ));
    assert!(matches!(error(directory.path()), RootKeyError::NotAFile(_)));
}

#[test]
fn any_damage_to_a_key_file_is_found() {
    let directory = directory();
    let (path, text) = made(&directory);
    let damaged = |bytes: &[u8]| {
        write(&path, bytes, 0o600);
        matches!(error(&path), RootKeyError::Damaged { .. })
    };
    for index in 0..text.len() - 1 {
        assert!(damaged(&text.as_bytes()[..index]), "cut to {index} bytes");
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            assert!(damaged(&bytes), "bit {bit} of byte {index}");
        }
    }
    assert!(damaged(format!("{text}more\n").as_bytes()));
    assert!(damaged(&[0; 32]));
    assert!(damaged(&[b'x'; 5000]));
    assert!(damaged(b""));
}

#[test]
fn the_errors_hold_no_key() {
    let directory = directory();
    let (path, text) = made(&directory);
    let digits = text.lines().nth(1).unwrap()[4..].to_owned();
    let broken = text.replace("check ", "check 0");
    write(&path, broken.as_bytes(), 0o600);
    let error = error(&path);
    assert!(!format!("{error}{error:?}").contains(&digits[..8]));
}

#[test]
fn a_wrapped_key_works_only_as_what_it_was_made_for() {
    let root = KeyFile::from_key(&secret(1)).unwrap();
    let (people, orders) = (domain("people"), domain("orders"));
    let context = KeyContext {
        database: &DATABASE,
        key: 5,
        purpose: KeyPurpose::Values(&people, 100),
    };
    let wrapped = root.wrap(&secret(7), &context).unwrap();
    assert_eq!(root.unwrap(&wrapped, &context).unwrap().expose(), &[7; 32]);
    assert_ne!(wrapped, root.wrap(&secret(7), &context).unwrap());

    let refused = |root: &KeyFile, wrapped: &[u8], context: &KeyContext<'_>| {
        matches!(
            root.unwrap(wrapped, context),
            Err(RootKeyError::Crypto(CryptoError::Authentication))
        )
    };
    let others = [
        KeyContext {
            database: b"another database",
            ..context
        },
        KeyContext { key: 6, ..context },
        KeyContext {
            purpose: KeyPurpose::Values(&people, 101),
            ..context
        },
        KeyContext {
            purpose: KeyPurpose::Values(&orders, 100),
            ..context
        },
        KeyContext {
            purpose: KeyPurpose::Pseudonyms,
            ..context
        },
    ];
    for other in &others {
        assert!(refused(&root, &wrapped, other));
    }
    assert!(refused(&KeyFile::from_key(&secret(2)).unwrap(), &wrapped, &context));
    for bit in 0..wrapped.len() * 8 {
        let mut changed = wrapped.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(&root, &changed, &context));
    }
    for length in 0..wrapped.len() {
        assert!(refused(&root, &wrapped[..length], &context));
    }
}
