//! The known-answer vectors of `tests/vectors/` (its README says what they are), which another implementation made.

use aes::Aes256;
use bytes::BytesMut;
use cmac::{Cmac, KeyInit, Mac};
use hkdf::Hkdf;
use pgward::crypto::danger::seal_with_nonce;
use pgward::crypto::root::{KeyContext, KeyFile, KeyPurpose, RootKey, RootKeyError};
use pgward::crypto::{CryptoError, DataKey, KeyState, Keyring, SecretKey};
use pgward::plan::{ColumnId, ColumnName, KeyDomain, Mode, ProtectedColumn, RelationName, Use};
use pgward::policy::Disclosure;
use pgward::policy::danger::unchecked_permit;
use pgward::value::{LogicalType, Plaintext};
use serde::Deserialize;
use sha2::Sha256;
use std::os::unix::fs::PermissionsExt;

#[derive(Deserialize)]
struct Vectors {
    database: String,
    keys: Vec<Key>,
    columns: Vec<Column>,
    derived: Vec<Derived>,
    seal: Vec<Seal>,
    open: Vec<Open>,
    pseudonym_key: String,
    pseudonyms: Vec<Pseudonym>,
    root_key: Root,
}

#[derive(Deserialize)]
struct Key {
    id: u32,
    domain: String,
    domain_id: u32,
    state: String,
    secret: Option<String>,
}

#[derive(Deserialize)]
struct Column {
    id: u32,
    mode: Mode,
    domain: String,
    r#type: String,
}

#[derive(Deserialize)]
struct Derived {
    key: u32,
    sealing: String,
    equality_tag: String,
    deterministic: String,
}

#[derive(Deserialize)]
struct Seal {
    name: String,
    column: u32,
    canonical: String,
    normalised: String,
    nonce: String,
    envelope: String,
}

#[derive(Deserialize)]
struct Open {
    name: String,
    column: u32,
    envelope: String,
    canonical: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Pseudonym {
    schema: String,
    table: String,
    subject_key: String,
    pseudonym: String,
}

#[derive(Deserialize)]
struct Root {
    file: String,
    fingerprint: String,
    unwrap: Vec<Unwrap>,
}

#[derive(Deserialize)]
struct Unwrap {
    name: String,
    context: Context,
    wrapped: String,
    key: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Context {
    database: String,
    key: u32,
    purpose: String,
    domain: Option<String>,
    domain_id: Option<u32>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/envelope.json")).unwrap()
}

fn bytes(digits: &str) -> Vec<u8> {
    hex::decode(digits).unwrap()
}

fn fixed<const N: usize>(digits: &str) -> [u8; N] {
    bytes(digits).try_into().unwrap()
}

impl Vectors {
    fn keyring(&self) -> Keyring {
        let keys = self.keys.iter().map(|key| DataKey {
            id: key.id,
            domain: KeyDomain(key.domain.as_str().into()),
            domain_id: ColumnId(key.domain_id),
            state: match key.state.as_str() {
                "active" => KeyState::Active,
                "opening" => KeyState::Opening,
                "destroyed" => KeyState::Destroyed,
                other => panic!("state {other}"),
            },
            created_at: 0,
            secret: key
                .secret
                .as_deref()
                .map(|digits| SecretKey::from_slice(&bytes(digits)).unwrap()),
        });
        let pseudonym = SecretKey::from_slice(&bytes(&self.pseudonym_key)).unwrap();
        Keyring::new(&fixed(&self.database), keys.collect(), &pseudonym).unwrap()
    }

    fn column(&self, id: u32) -> ProtectedColumn {
        let column = self.columns.iter().find(|column| column.id == id).unwrap();
        ProtectedColumn {
            id: ColumnId(id),
            name: ColumnName {
                relation: RelationName {
                    schema: "public".into(),
                    name: "t".into(),
                },
                column: format!("c{id}").into(),
            },
            mode: column.mode,
            key_domain: KeyDomain(column.domain.as_str().into()),
            logical_type: match column.r#type.as_str() {
                "text" => LogicalType::Text,
                "character varying(320)" => LogicalType::Varchar(Some(320)),
                "character(5)" => LogicalType::Char(5),
                "smallint" => LogicalType::Int2,
                "integer" => LogicalType::Int4,
                "bigint" => LogicalType::Int8,
                "bytea" => LogicalType::Bytea,
                other => panic!("type {other}"),
            },
            category: "contact".into(),
        }
    }
}

fn name(error: &CryptoError) -> &'static str {
    match error {
        CryptoError::NotAnEnvelope => "not-an-envelope",
        CryptoError::OtherColumn { .. } => "other-column",
        CryptoError::UnknownKey(_) => "unknown-key",
        CryptoError::DestroyedKey(_) => "destroyed-key",
        CryptoError::Authentication => "authentication",
        _ => "another",
    }
}

#[test]
fn values_seal_to_these_envelopes() {
    let vectors = vectors();
    let keyring = vectors.keyring();
    assert!(vectors.seal.len() >= 16);
    for case in &vectors.seal {
        let column = vectors.column(case.column);
        let (canonical, normalised) = (bytes(&case.canonical), bytes(&case.normalised));
        let mut out = BytesMut::new();
        seal_with_nonce(
            &keyring,
            &column,
            &canonical,
            &normalised,
            &fixed(&case.nonce),
            &mut out,
        )
        .unwrap();
        assert_eq!(hex::encode(&out), case.envelope, "{}", case.name);
        if column.mode == Mode::Sealed {
            continue;
        }
        let mut term = BytesMut::new();
        let permit = unchecked_permit(column.id, Use::Search, Disclosure::Clear);
        keyring
            .term(&permit, &column, &canonical, &normalised, &mut term)
            .unwrap();
        let part = if column.mode == Mode::Eq {
            &out[10..26]
        } else {
            &out[..]
        };
        assert_eq!(part, term, "{}", case.name);
    }
}

#[test]
fn envelopes_open_or_are_refused_like_this() {
    let vectors = vectors();
    let keyring = vectors.keyring();
    for case in &vectors.open {
        let column = vectors.column(case.column);
        let permit = unchecked_permit(column.id, Use::Read, Disclosure::Clear);
        let mut out = Plaintext::default();
        let result = keyring.open(&permit, &column, &bytes(&case.envelope), &mut out);
        assert_eq!(result.as_ref().err().map(name), case.error.as_deref(), "{}", case.name);
        assert_eq!(
            result.ok().map(|()| hex::encode(&*out)),
            case.canonical,
            "{}",
            case.name
        );
    }
    let refused = vectors.open.iter().filter(|case| case.error.is_some()).count();
    assert!(refused > vectors.open.len() / 2);
}

#[test]
fn keys_derive_like_this() {
    let vectors = vectors();
    for derived in &vectors.derived {
        let key = vectors.keys.iter().find(|key| key.id == derived.key).unwrap();
        let hkdf = Hkdf::<Sha256>::new(None, &bytes(key.secret.as_deref().unwrap()));
        for (info, expected) in [
            ("pgward/1 sealing", &derived.sealing),
            ("pgward/1 equality tag", &derived.equality_tag),
            ("pgward/1 deterministic", &derived.deterministic),
        ] {
            let mut out = [0; 32];
            hkdf.expand(info.as_bytes(), &mut out).unwrap();
            assert_eq!(hex::encode(out), *expected, "{info} of key {}", derived.key);
        }
    }
    // Ties them to the envelopes: the equality tag, from the derived key alone.
    let active = vectors.derived.iter().find(|derived| derived.key == 2).unwrap();
    let case = vectors.seal.iter().find(|case| case.name == "eq").unwrap();
    let mac = <Cmac<Aes256> as KeyInit>::new_from_slice(&bytes(&active.equality_tag)).unwrap();
    let tag = mac.chain_update(bytes(&case.normalised)).finalize().into_bytes();
    assert_eq!(bytes(&case.envelope)[10..26], tag[..]);
}

#[test]
fn pseudonyms_are_these() {
    let vectors = vectors();
    let keyring = vectors.keyring();
    for case in &vectors.pseudonyms {
        let table = RelationName {
            schema: case.schema.as_str().into(),
            name: case.table.as_str().into(),
        };
        assert_eq!(
            hex::encode(keyring.pseudonym(&table, case.subject_key.as_bytes())),
            case.pseudonym
        );
    }
}

#[test]
fn data_keys_unwrap_or_are_refused_like_this() {
    let vectors = vectors();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root.key");
    std::fs::write(&path, &vectors.root_key.file).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let root = KeyFile::load(&path).unwrap();
    assert_eq!(root.fingerprint(), vectors.root_key.fingerprint);
    for case in &vectors.root_key.unwrap {
        let domain = KeyDomain(case.context.domain.as_deref().unwrap_or_default().into());
        let context = KeyContext {
            database: &fixed(&case.context.database),
            key: case.context.key,
            purpose: match case.context.purpose.as_str() {
                "values" => KeyPurpose::Values(&domain, case.context.domain_id.unwrap()),
                "pseudonyms" => KeyPurpose::Pseudonyms,
                other => panic!("purpose {other}"),
            },
        };
        match root.unwrap(&bytes(&case.wrapped), &context) {
            Ok(key) => assert_eq!(Some(hex::encode(key.expose())), case.key, "{}", case.name),
            Err(RootKeyError::Crypto(error)) => assert_eq!(Some(name(&error)), case.error.as_deref(), "{}", case.name),
            Err(error) => panic!("{}: {error}", case.name),
        }
    }
}

/// Runs the second implementation, where Python and its package are there.
#[test]
fn the_other_implementation_agrees() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/check.py");
    let Ok(output) = std::process::Command::new("python3").arg(script).output() else {
        eprintln!("skipped: no python3");
        return;
    };
    if output.status.code() == Some(77) {
        eprintln!("{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
