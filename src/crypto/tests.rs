use super::aead::{AeadFault, AwsLc, Portable, TAG_BYTES};
use super::*;
use crate::plan::{ColumnName, KeyDomain, RelationName};
use crate::policy::Disclosure;
use crate::policy::danger::unchecked_permit;
use crate::value::LogicalType;
use proptest::prelude::*;
use std::sync::Arc;

const DATABASE: [u8; 16] = *b"a database's id.";
const MODES: [Mode; 3] = [Mode::Sealed, Mode::Eq, Mode::Deterministic];

fn domain(name: &str) -> KeyDomain {
    KeyDomain(Arc::from(name))
}

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

fn key(id: u32, name: &str, domain_id: u32, state: KeyState) -> DataKey {
    DataKey {
        id,
        domain: domain(name),
        domain_id: ColumnId(domain_id),
        state,
        created_at: 1_700_000_000,
        secret: (state != KeyState::Destroyed).then(|| secret(id as u8)),
    }
}

/// Key 1: people (id 100), 2: an older key of people, 3: a destroyed one of people, 4: orders (id 101).
fn keyring_of(database: &[u8; 16]) -> Keyring {
    let keys = vec![
        key(4, "orders", 101, KeyState::Active),
        key(1, "people", 100, KeyState::Active),
        key(2, "people", 100, KeyState::Opening),
        key(3, "people", 100, KeyState::Destroyed),
    ];
    Keyring::new(database, keys, &secret(99)).unwrap()
}

fn keyring() -> Keyring {
    keyring_of(&DATABASE)
}

fn column(id: u32, mode: Mode, key_domain: &str, logical_type: LogicalType) -> ProtectedColumn {
    ProtectedColumn {
        id: ColumnId(id),
        name: ColumnName {
            relation: RelationName {
                schema: "public".into(),
                name: "customers".into(),
            },
            column: format!("c{id}").into(),
        },
        mode,
        key_domain: domain(key_domain),
        logical_type,
        category: "contact".into(),
    }
}

fn permit(column: &ProtectedColumn, usage: Use) -> Permit {
    unchecked_permit(column.id, usage, Disclosure::Clear)
}

fn seal(keyring: &Keyring, column: &ProtectedColumn, value: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    keyring
        .seal(&permit(column, Use::Write), column, value, value, &mut out)
        .unwrap();
    out.to_vec()
}

fn open(keyring: &Keyring, column: &ProtectedColumn, envelope: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut out = Plaintext::default();
    // What is left from a value before must not shine through.
    out.extend_from_slice(b"a value before");
    let result = keyring.open(&permit(column, Use::Read), column, envelope, &mut out);
    if result.is_err() {
        assert!(out.is_empty());
    }
    result.map(|()| out.to_vec())
}

#[test]
fn every_mode_goes_there_and_back() {
    let keyring = keyring();
    for mode in MODES {
        let column = column(7, mode, "people", LogicalType::Text);
        for length in [0, 1, 15, 16, 17, 32, 1000, 100_000] {
            let value = vec![b'x'; length];
            let envelope = seal(&keyring, &column, &value);
            let overhead = match mode {
                Mode::Sealed => 38,
                Mode::Eq => 54,
                _ => 26,
            };
            assert_eq!(envelope.len(), length + overhead);
            assert_eq!(open(&keyring, &column, &envelope).unwrap(), value);
            assert!(length < 15 || !envelope.windows(length).any(|window| window == value));
        }
    }
}

#[test]
fn seal_appends() {
    let keyring = keyring();
    let column = column(7, Mode::Eq, "people", LogicalType::Text);
    let mut out = BytesMut::from(&b"before"[..]);
    keyring
        .seal(&permit(&column, Use::Write), &column, b"value", b"value", &mut out)
        .unwrap();
    assert_eq!(&out[..6], b"before");
    assert_eq!(open(&keyring, &column, &out[6..]).unwrap(), b"value");
}

#[test]
fn the_layout_is_the_one_written_down() {
    let keyring = keyring();
    let sealed = seal(
        &keyring,
        &column(0x0102_0304, Mode::Sealed, "people", LogicalType::Text),
        b"v",
    );
    assert_eq!(sealed[..10], [0xFA, 0x20, 0, 0, 0, 1, 1, 2, 3, 4]);
    let eq = column(7, Mode::Eq, "people", LogicalType::Text);
    let envelope = seal(&keyring, &eq, b"v");
    assert_eq!(envelope[..10], [0xFA, 0x21, 0, 0, 0, 1, 0, 0, 0, 7]);
    let mut tag = BytesMut::new();
    keyring
        .term(&permit(&eq, Use::Search), &eq, b"v", b"v", &mut tag)
        .unwrap();
    assert_eq!(envelope[10..26], tag[..]);
    let deterministic = seal(
        &keyring,
        &column(7, Mode::Deterministic, "people", LogicalType::Text),
        b"v",
    );
    assert_eq!(deterministic[..10], [0xFA, 0x28, 0, 0, 0, 1, 0, 0, 0, 100]);
}

#[test]
fn nonces_differ_and_deterministic_envelopes_do_not() {
    let keyring = keyring();
    for mode in MODES {
        let column = column(7, mode, "people", LogicalType::Text);
        let same = seal(&keyring, &column, b"value") == seal(&keyring, &column, b"value");
        assert_eq!(same, mode == Mode::Deterministic);
    }
}

#[test]
fn tags_and_deterministic_envelopes_join_within_a_key_domain_only() {
    let keyring = keyring();
    let term = |column: &ProtectedColumn, value: &[u8]| {
        let mut out = BytesMut::new();
        keyring
            .term(&permit(column, Use::Search), column, value, value, &mut out)
            .unwrap();
        out
    };
    for mode in [Mode::Eq, Mode::Deterministic] {
        let a = column(7, mode, "people", LogicalType::Text);
        let b = column(8, mode, "people", LogicalType::Varchar(Some(9)));
        let c = column(9, mode, "orders", LogicalType::Text);
        assert_eq!(term(&a, b"value"), term(&b, b"value"));
        assert_ne!(term(&a, b"value"), term(&a, b"other"));
        assert_ne!(term(&a, b"value"), term(&c, b"value"));
        // What is searched is what is stored.
        let stored = seal(&keyring, &a, b"value");
        let part = if mode == Mode::Eq { &stored[10..26] } else { &stored[..] };
        assert_eq!(part, term(&b, b"value"));
    }
    // A column of the domain opens what another wrote: INSERT … SELECT and foreign keys move envelopes as they are.
    let a = column(7, Mode::Deterministic, "people", LogicalType::Text);
    let b = column(8, Mode::Deterministic, "people", LogicalType::Text);
    assert_eq!(open(&keyring, &b, &seal(&keyring, &a, b"value")).unwrap(), b"value");
}

#[test]
fn deterministic_integers_are_equal_across_widths() {
    let keyring = keyring();
    let of = |id, ty| column(id, Mode::Deterministic, "people", ty);
    let (small, int, big) = (
        of(7, LogicalType::Int2),
        of(8, LogicalType::Int4),
        of(9, LogicalType::Int8),
    );
    for value in [0_i16, 1, -1, i16::MIN, i16::MAX] {
        let envelope = seal(&keyring, &small, &value.to_be_bytes());
        assert_eq!(envelope, seal(&keyring, &int, &i32::from(value).to_be_bytes()));
        assert_eq!(envelope, seal(&keyring, &big, &i64::from(value).to_be_bytes()));
        assert_eq!(open(&keyring, &small, &envelope).unwrap(), value.to_be_bytes());
        assert_eq!(open(&keyring, &int, &envelope).unwrap(), i32::from(value).to_be_bytes());
        assert_eq!(open(&keyring, &big, &envelope).unwrap(), i64::from(value).to_be_bytes());
    }
    // Too large for the column: given as it is, for `value::encode` to refuse.
    let large = seal(&keyring, &big, &(1_i64 << 40).to_be_bytes());
    assert_eq!(open(&keyring, &int, &large).unwrap(), (1_i64 << 40).to_be_bytes());
    assert_eq!(open(&keyring, &small, &large).unwrap(), (1_i64 << 40).to_be_bytes());
}

#[test]
fn deterministic_char_ignores_trailing_blanks_and_pads_by_characters() {
    let keyring = keyring();
    let five = column(7, Mode::Deterministic, "people", LogicalType::Char(5));
    let ten = column(8, Mode::Deterministic, "people", LogicalType::Char(10));
    let envelope = seal(&keyring, &five, "äß   ".as_bytes());
    assert_eq!(envelope, seal(&keyring, &ten, "äß        ".as_bytes()));
    assert_eq!(envelope, seal(&keyring, &five, "äß".as_bytes()));
    assert_eq!(open(&keyring, &five, &envelope).unwrap(), "äß   ".as_bytes());
    assert_eq!(open(&keyring, &ten, &envelope).unwrap(), "äß        ".as_bytes());
    assert_ne!(seal(&keyring, &five, b"a\t"), seal(&keyring, &five, b"a"));
    assert_eq!(
        open(&keyring, &five, &seal(&keyring, &five, b"     ")).unwrap(),
        b"     "
    );
}

#[test]
fn types_whose_equal_values_differ_in_form_are_never_deterministic() {
    let keyring = keyring();
    for ty in [
        LogicalType::Numeric(None),
        LogicalType::Float8,
        LogicalType::Json,
        LogicalType::Jsonb,
    ] {
        assert!(!envelope::deterministic_allowed(ty));
        let column = column(7, Mode::Deterministic, "people", ty);
        let mut out = BytesMut::new();
        let result = keyring.seal(&permit(&column, Use::Write), &column, b"v", b"v", &mut out);
        assert_eq!(result, Err(CryptoError::UnsuitableType));
        assert!(out.is_empty());
    }
    assert!(envelope::deterministic_allowed(LogicalType::Uuid));
}

#[test]
fn permits_count() {
    let keyring = keyring();
    let column = column(7, Mode::Eq, "people", LogicalType::Text);
    let envelope = seal(&keyring, &column, b"value");
    let other = |usage| unchecked_permit(ColumnId(8), usage, Disclosure::Clear);
    for (usage, seals, terms, opens) in [
        (Use::Read, false, false, true),
        (Use::Search, false, true, false),
        (Use::Write, true, true, false),
    ] {
        let permit = permit(&column, usage);
        let expect = |allowed| if allowed { Ok(()) } else { Err(CryptoError::WrongPermit) };
        let (mut out, mut text) = (BytesMut::new(), Plaintext::default());
        assert_eq!(keyring.seal(&permit, &column, b"v", b"v", &mut out), expect(seals));
        assert_eq!(keyring.term(&permit, &column, b"v", b"v", &mut out), expect(terms));
        assert_eq!(keyring.open(&permit, &column, &envelope, &mut text), expect(opens));
        assert_eq!(
            keyring.seal(&other(usage), &column, b"v", b"v", &mut out),
            expect(false)
        );
        assert_eq!(
            keyring.term(&other(usage), &column, b"v", b"v", &mut out),
            expect(false)
        );
        assert_eq!(
            keyring.open(&other(usage), &column, &envelope, &mut text),
            expect(false)
        );
    }
}

#[test]
fn modes_without_a_form_have_none() {
    let keyring = keyring();
    let mut out = BytesMut::new();
    for (mode, seals) in [(Mode::Sealed, true), (Mode::None, false)] {
        let column = column(7, mode, "people", LogicalType::Text);
        let term = keyring.term(&permit(&column, Use::Search), &column, b"v", b"v", &mut out);
        assert_eq!(term, Err(CryptoError::WrongMode));
        let sealed = keyring.seal(&permit(&column, Use::Write), &column, b"v", b"v", &mut out);
        assert_eq!(sealed.is_ok(), seals);
    }
}

#[test]
fn each_fault_has_its_error() {
    let keyring = keyring();
    let column_7 = column(7, Mode::Sealed, "people", LogicalType::Text);
    let column_8 = column(8, Mode::Sealed, "people", LogicalType::Text);
    let envelope = seal(&keyring, &column_7, b"value");
    assert_eq!(
        open(&keyring, &column_7, b"value in clear, long enough to be one"),
        Err(CryptoError::NotAnEnvelope)
    );
    let other = CryptoError::OtherColumn {
        found: ColumnId(7),
        expected: ColumnId(8),
    };
    assert_eq!(
        other.to_string(),
        "the envelope belongs to another column (id 7, expected 8)"
    );
    assert_eq!(open(&keyring, &column_8, &envelope), Err(other));

    let with_key = |id: u32| {
        let mut changed = envelope.clone();
        changed[2..6].copy_from_slice(&id.to_be_bytes());
        open(&keyring, &column_7, &changed)
    };
    assert_eq!(with_key(0), Err(CryptoError::UnknownKey(0)));
    assert_eq!(with_key(77), Err(CryptoError::UnknownKey(77)));
    assert_eq!(with_key(3), Err(CryptoError::DestroyedKey(3)));
    assert_eq!(with_key(2), Err(CryptoError::Authentication));
    assert_eq!(with_key(4), Err(CryptoError::Authentication));
    assert_eq!(with_key(1).unwrap(), b"value");

    let elsewhere = keyring_of(b"another database");
    for mode in MODES {
        let column = column(7, mode, "people", LogicalType::Text);
        assert_eq!(
            open(&elsewhere, &column, &seal(&keyring, &column, b"v")),
            Err(CryptoError::Authentication)
        );
    }

    // Deterministic: the key domain's id stands for the column's.
    let people = column(7, Mode::Deterministic, "people", LogicalType::Text);
    let orders = column(7, Mode::Deterministic, "orders", LogicalType::Text);
    let other = CryptoError::OtherColumn {
        found: ColumnId(100),
        expected: ColumnId(101),
    };
    assert_eq!(open(&keyring, &orders, &seal(&keyring, &people, b"v")), Err(other));

    let keyless = column(7, Mode::Sealed, "nobody", LogicalType::Text);
    let mut out = BytesMut::new();
    let result = keyring.seal(&permit(&keyless, Use::Write), &keyless, b"v", b"v", &mut out);
    assert_eq!(result, Err(CryptoError::NoActiveKey));
}

#[test]
fn keys_that_only_open_still_open() {
    let older = vec![key(2, "people", 100, KeyState::Active)];
    let older = Keyring::new(&DATABASE, older, &secret(99)).unwrap();
    for mode in MODES {
        let column = column(7, mode, "people", LogicalType::Text);
        let envelope = seal(&older, &column, b"value");
        assert_eq!(open(&keyring(), &column, &envelope).unwrap(), b"value");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let keyring = keyring();
    for mode in MODES {
        let column = column(7, mode, "people", LogicalType::Text);
        let envelope = seal(&keyring, &column, b"somebody@example.org");
        for bit in 0..envelope.len() * 8 {
            let mut changed = envelope.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let error = open(&keyring, &column, &changed).unwrap_err();
            match bit / 8 {
                0 => assert_eq!(error, CryptoError::NotAnEnvelope),
                // One flip makes eq of sealed, or deterministic of it: then the column or the key's use does not fit.
                1 => assert_ne!(error, CryptoError::WrongPermit),
                2..6 => assert!(matches!(
                    error,
                    CryptoError::UnknownKey(_) | CryptoError::DestroyedKey(_) | CryptoError::Authentication
                )),
                6..10 => assert!(matches!(error, CryptoError::OtherColumn { .. })),
                _ => assert_eq!(error, CryptoError::Authentication),
            }
        }
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let keyring = keyring();
    for mode in MODES {
        let column = column(7, mode, "people", LogicalType::Text);
        let envelope = seal(&keyring, &column, b"somebody@example.org");
        let shortest = seal(&keyring, &column, b"").len();
        for length in 0..envelope.len() {
            let error = open(&keyring, &column, &envelope[..length]).unwrap_err();
            let expected = if length < shortest {
                CryptoError::NotAnEnvelope
            } else {
                CryptoError::Authentication
            };
            assert_eq!(error, expected, "{length} bytes in mode {mode:?}");
        }
        let mut longer = envelope.clone();
        longer.push(0);
        assert_eq!(open(&keyring, &column, &longer), Err(CryptoError::Authentication));
    }
}

#[test]
fn contradictory_keys_make_no_keyring() {
    let new = |keys| Keyring::new(&DATABASE, keys, &secret(99)).map(|_| ());
    let active = |id, name, domain_id| key(id, name, domain_id, KeyState::Active);
    assert_eq!(
        new(vec![active(1, "a", 100), active(1, "b", 101)]),
        Err(CryptoError::InconsistentKeys(1))
    );
    assert_eq!(
        new(vec![active(1, "a", 100), active(2, "a", 100)]),
        Err(CryptoError::InconsistentKeys(2))
    );
    assert_eq!(
        new(vec![active(1, "a", 100), key(2, "a", 101, KeyState::Opening)]),
        Err(CryptoError::InconsistentKeys(2))
    );
    let without = DataKey {
        secret: None,
        ..active(1, "a", 100)
    };
    assert_eq!(new(vec![without]), Err(CryptoError::InconsistentKeys(1)));
    let undead = DataKey {
        secret: Some(secret(1)),
        ..key(1, "a", 100, KeyState::Destroyed)
    };
    assert_eq!(new(vec![undead]), Err(CryptoError::InconsistentKeys(1)));
}

#[test]
fn pseudonyms_depend_on_key_table_and_subject_key() {
    let keyring = keyring();
    let table = |schema: &str, name: &str| RelationName {
        schema: schema.into(),
        name: name.into(),
    };
    let base = keyring.pseudonym(&table("public", "customers"), b"42");
    assert_eq!(
        base,
        keyring_of(b"another database").pseudonym(&table("public", "customers"), b"42")
    );
    assert_ne!(base, keyring.pseudonym(&table("public", "customers"), b"43"));
    assert_ne!(base, keyring.pseudonym(&table("publicc", "ustomers"), b"42"));
    assert_ne!(base, keyring.pseudonym(&table("public", "customers4"), b"2"));
    let other = Keyring::new(&DATABASE, vec![], &secret(98)).unwrap();
    assert_ne!(base, other.pseudonym(&table("public", "customers"), b"42"));
}

#[test]
fn growing_a_plaintext_buffer_keeps_its_content() {
    let mut buffer = b"content".to_vec();
    reserve_wiped(&mut buffer, 1000);
    assert_eq!(buffer, b"content");
    assert!(buffer.capacity() >= 1007);
    let place = buffer.as_ptr();
    reserve_wiped(&mut buffer, 1000);
    assert_eq!(place, buffer.as_ptr());
}

/// What holds keys or plaintext must not be printable: an inherent constant (of types with the trait) shadows the trait's default.
macro_rules! implements {
    ($type:ty, $($bound:tt)+) => {{
        struct Probe<T>(std::marker::PhantomData<T>);
        #[allow(dead_code)]
        trait Without {
            const FOUND: bool = false;
        }
        impl<T> Without for Probe<T> {}
        #[allow(dead_code)] // not used exactly where the trait is absent
        impl<T: $($bound)+> Probe<T> {
            const FOUND: bool = true;
        }
        <Probe<$type>>::FOUND
    }};
}

#[test]
fn secrets_cannot_be_printed() {
    // The probe itself works.
    assert!(implements!(KeyInfo, std::fmt::Debug));
    macro_rules! assert_silent {
        ($($type:ty),+) => {$(
            assert!(!implements!($type, std::fmt::Debug));
            assert!(!implements!($type, std::fmt::Display));
            assert!(!implements!($type, serde::Serialize));
        )+};
    }
    assert_silent!(SecretKey, DataKey, Keyring, ReadyKey, AwsLc, Portable, root::KeyFile);
}

proptest! {
    #[test]
    fn both_ciphers_agree(
        key in any::<[u8; 32]>(),
        nonce in any::<[u8; 12]>(),
        associated in proptest::collection::vec(any::<u8>(), 0..80),
        value in proptest::collection::vec(any::<u8>(), 0..600),
        flip in any::<u16>(),
    ) {
        let (fast, portable) = (AwsLc::new(&key).unwrap(), Portable::new(&key).unwrap());
        let (mut a, mut b) = (value.clone(), value.clone());
        let tag = fast.seal(&nonce, &associated, &mut a).unwrap();
        prop_assert_eq!(tag, portable.seal(&nonce, &associated, &mut b).unwrap());
        prop_assert_eq!(&a, &b);
        let mut out = vec![0; value.len()];
        portable.open(&nonce, &associated, &a, &tag, &mut out).unwrap();
        prop_assert_eq!(&out, &value);
        out.fill(0);
        fast.open(&nonce, &associated, &a, &tag, &mut out).unwrap();
        prop_assert_eq!(&out, &value);

        let mut wrong = tag;
        wrong[usize::from(flip) % TAG_BYTES] ^= 1 << (flip >> 13);
        prop_assert_eq!(fast.open(&nonce, &associated, &a, &wrong, &mut out), Err(AeadFault));
        prop_assert_eq!(portable.open(&nonce, &associated, &a, &wrong, &mut out), Err(AeadFault));
    }

    #[test]
    fn any_value_comes_back(value in proptest::collection::vec(any::<u8>(), 0..300), mode in 0..3_usize) {
        let column = column(7, MODES[mode], "people", LogicalType::Bytea);
        let keyring = keyring();
        let envelope = seal(&keyring, &column, &value);
        prop_assert_eq!(open(&keyring, &column, &envelope).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_refused_without_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        layout in 0..4_usize,
    ) {
        // Mostly with a header that gets past the first checks.
        let header = [[0xFA, 0x20, 0, 0, 0, 1, 0, 0, 0, 7], [0xFA, 0x21, 0, 0, 0, 1, 0, 0, 0, 7], [0xFA, 0x28, 0, 0, 0, 1, 0, 0, 0, 100]];
        if let Some(header) = header.get(layout) {
            bytes.splice(0..0, header.iter().copied());
        }
        let column = column(7, Mode::Sealed, "people", LogicalType::Text);
        prop_assert!(open(&keyring(), &column, &bytes).is_err());
    }
}
