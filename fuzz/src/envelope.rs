//! Opening stored bytes that anyone may have changed: never a panic, and nothing opens that was not sealed.
use bytes::BytesMut;
use pgward::crypto::{DataKey, KeyState, Keyring, SecretKey, envelope};
use pgward::plan::{ColumnId, ColumnName, KeyDomain, Mode, ProtectedColumn, RelationName, Use};
use pgward::policy::{Disclosure, danger::unchecked_permit};
use pgward::value::{LogicalType, Plaintext};
use std::sync::LazyLock;

const MODES: [Mode; 3] = [Mode::Sealed, Mode::Eq, Mode::Deterministic];

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    let secret = || SecretKey::from_slice(&[7; 32]).expect("32 bytes");
    let key = DataKey {
        id: 1,
        domain: KeyDomain("d".into()),
        domain_id: ColumnId(7),
        state: KeyState::Active,
        created_at: 0,
        secret: Some(secret()),
    };
    Keyring::new(&[1; 16], vec![key], &secret()).expect("a keyring")
});

fn column(mode: Mode) -> ProtectedColumn {
    let relation = RelationName {
        schema: "public".into(),
        name: "t".into(),
    };
    ProtectedColumn {
        id: ColumnId(7),
        name: ColumnName {
            relation,
            column: "c".into(),
        },
        mode,
        key_domain: KeyDomain("d".into()),
        logical_type: LogicalType::Text,
        category: "name".into(),
    }
}

/// One input.
pub fn run(data: &[u8]) {
    let [mode, at, change, value @ ..] = data else { return };
    let column = column(MODES[usize::from(*mode) % MODES.len()]);
    let permit = |usage| unchecked_permit(column.id, usage, Disclosure::Clear);
    let mut opened = Plaintext::default();
    // As found.
    let _ = envelope::parse(value);
    assert!(
        KEYRING.open(&permit(Use::Read), &column, value, &mut opened).is_err(),
        "nobody sealed this"
    );
    // Sealed, then changed in one place.
    let mut sealed = BytesMut::new();
    KEYRING
        .seal(&permit(Use::Write), &column, value, value, &mut sealed)
        .expect("sealed");
    KEYRING
        .open(&permit(Use::Read), &column, &sealed, &mut opened)
        .expect("opens");
    assert_eq!(&opened[..], value);
    if *change != 0 {
        let at = usize::from(*at) % sealed.len();
        sealed[at] ^= change;
        assert!(
            KEYRING.open(&permit(Use::Read), &column, &sealed, &mut opened).is_err(),
            "changed, and opened"
        );
    }
}
