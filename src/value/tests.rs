//! Round trips of every type and format, and what all types have in common. What PostgreSQL itself answers is in
//! `tests/value_differential.rs`.

use super::LogicalType::*;
use super::*;
use bytes::BytesMut;
use proptest::prelude::*;

const STYLES: [(&str, &str); 6] = [
    ("ISO, MDY", "Asia/Seoul"),
    ("ISO, YMD", "America/New_York"),
    ("SQL, DMY", "UTC"),
    ("SQL, MDY", "UTC"),
    ("Postgres, DMY", "UTC"),
    ("German, DMY", "UTC"),
];

/// Any type, and canonical bytes of it.
fn values() -> impl Strategy<Value = (LogicalType, Vec<u8>)> {
    let text = "[^\\x00]{0,12}";
    let numeric = (any::<i64>(), -12i32..12).prop_map(|(digits, scale)| format!("{digits}e{scale}"));
    let through = |ty: LogicalType, text: String| {
        let mut out = Plaintext::default();
        decode(ty, Format::Text, text.as_bytes(), &TextStyle::default(), &mut out).expect("valid text");
        (ty, out.to_vec())
    };
    let json = prop_oneof![
        Just("null".to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
        "[a-z홍\\\\\"]{0,5}".prop_map(|text| serde_json::to_string(&text).expect("a string")),
    ]
    .prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec(("[a-c]{0,2}", inner), 0..4).prop_map(|members| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("\"{key}\":{value}"))
                    .collect();
                format!("{{{}}}", members.join(" , "))
            }),
        ]
    });
    prop_oneof![
        text.prop_map(|text| (Text, text.into_bytes())),
        text.prop_map(|text| (Varchar(Some(12)), text.into_bytes())),
        text.prop_map(move |text| through(Char(12), text)),
        any::<i16>().prop_map(|value| (Int2, value.to_be_bytes().to_vec())),
        any::<i32>().prop_map(|value| (Int4, value.to_be_bytes().to_vec())),
        any::<i64>().prop_map(|value| (Int8, value.to_be_bytes().to_vec())),
        numeric.prop_map(move |text| through(Numeric(None), text)),
        any::<i32>().prop_map(move |value| through(Numeric(Some((12, 2))), format!("{value}e-2"))),
        any::<f64>()
            .prop_filter("one NaN only", |value| !value.is_nan())
            .prop_map(|value| (Float8, value.to_be_bytes().to_vec())),
        any::<bool>().prop_map(|value| (Bool, vec![value.into()])),
        (-2_451_545..2_145_031_949i32).prop_map(|value| (Date, value.to_be_bytes().to_vec())),
        (-700_000..800_000i32).prop_map(|value| (Date, value.to_be_bytes().to_vec())),
        (-211_813_488_000_000_000..9_223_371_331_200_000_000i64)
            .prop_map(|value| (Timestamp(None), value.to_be_bytes().to_vec())),
        (-40_000_000_000_000_000..200_000_000_000_000_000i64)
            .prop_map(|value| (Timestamptz(None), value.to_be_bytes().to_vec())),
        any::<[u8; 16]>().prop_map(|value| (Uuid, value.to_vec())),
        any::<Vec<u8>>().prop_map(|value| (Bytea, value)),
        json.clone().prop_map(|text| (Json, text.into_bytes())),
        json.prop_map(move |text| through(Jsonb, text)),
    ]
}

fn style(index: usize, bytea_hex: bool) -> TextStyle {
    let (date_style, time_zone) = STYLES[index];
    TextStyle {
        date_style: date_style.into(),
        time_zone: time_zone.into(),
        bytea_hex,
        extra_float_digits: 1,
        server_major: 15,
    }
}

proptest! {
    #[test]
    fn canonical_values_come_back_through_either_format(
        (ty, canonical) in values(),
        index in 0..STYLES.len(),
        hex in any::<bool>(),
        binary in any::<bool>(),
    ) {
        let style = style(index, hex);
        let format = if binary { Format::Binary } else { Format::Text };
        let (mut wire, mut back) = (BytesMut::from(&b"before"[..]), Plaintext::default());
        encode(ty, format, &canonical, &style, &mut wire).expect("a canonical value");
        prop_assert_eq!(&wire[..6], b"before");
        decode(ty, format, &wire[6..], &style, &mut back).expect("what encode wrote");
        prop_assert_eq!(&back[..], &canonical[..]);
        // What the column stores is also what compares with it.
        let mut compared = Plaintext::default();
        decode_for_comparison(ty, format, &wire[6..], &style, &mut compared).expect("what encode wrote");
        prop_assert_eq!(&compared[..], &canonical[..]);
    }

    #[test]
    fn foreign_bytes_never_panic_and_leave_nothing(
        ty in values().prop_map(|(ty, _)| ty),
        bytes in prop_oneof![
            any::<Vec<u8>>(),
            "[-+0-9.:eE/ tTzZbcBC]{0,30}".prop_map(String::into_bytes),
            "[]\\[{}\",:0-9a-u\\\\ ]{0,20}".prop_map(String::into_bytes),
        ],
        binary in any::<bool>(),
        index in 0..STYLES.len(),
    ) {
        let format = if binary { Format::Binary } else { Format::Text };
        let style = style(index, true);
        let mut out = Plaintext::default();
        match decode(ty, format, &bytes, &style, &mut out) {
            Ok(()) => {
                let mut wire = BytesMut::new();
                encode(ty, Format::Text, &out, &style, &mut wire).expect("what decode wrote");
            }
            Err(error) => {
                prop_assert!(out.is_empty());
                let message = error.message.as_bytes();
                prop_assert!(bytes.len() < 8 || !message.windows(bytes.len()).any(|window| window == bytes));
            }
        }
        let mut wire = BytesMut::from(&b"before"[..]);
        if encode(ty, format, &bytes, &style, &mut wire).is_err() {
            prop_assert_eq!(&wire[..], b"before");
        }
        let _ = normalise(ty, &bytes, &mut out);
    }

    #[test]
    fn type_names_and_modifiers_come_back((ty, _) in values(), n in 1u32..10_485_760, p in 1u16..=1000, s in -1000i16..=1000, t in 0u8..=6) {
        for ty in [ty, Varchar(Some(n)), Char(n), Numeric(Some((p, s))), Timestamp(Some(t)), Timestamptz(Some(t))] {
            prop_assert_eq!(LogicalType::from_sql(&ty.to_sql()), Some(ty));
            prop_assert_eq!(LogicalType::from_catalog(ty.oid(), ty.typmod()), Some(ty));
            prop_assert_eq!(ty.accepts_parameter(0), Some(ty));
            prop_assert_eq!(ty.accepts_parameter(ty.oid()), Some(ty));
        }
    }
}

#[test]
fn errors_say_what_postgresql_says_without_the_value() {
    let message = |ty, text: &str| {
        decode(
            ty,
            Format::Text,
            text.as_bytes(),
            &TextStyle::default(),
            &mut Plaintext::default(),
        )
        .map_err(|error| (error.sqlstate.to_string(), error.message))
    };
    for (ty, text, sqlstate, wording) in [
        (Int4, "secret", "22P02", "invalid input syntax for type integer"),
        (Int2, "99999", "22003", "value is out of range for type smallint"),
        (
            Varchar(Some(3)),
            "secret",
            "22001",
            "value too long for type character varying(3)",
        ),
        (Char(3), "secret", "22001", "value too long for type character(3)"),
        (
            Timestamptz(None),
            "secret",
            "22007",
            "invalid input syntax for type timestamp with time zone",
        ),
        (Text, "a\0b", "22021", "invalid byte sequence for encoding \"UTF8\""),
    ] {
        assert_eq!(message(ty, text), Err((sqlstate.into(), wording.into())));
    }
}

#[test]
fn a_comparison_knows_no_length() {
    let mut out = Plaintext::default();
    let style = TextStyle::default();
    let long = b"longer than the column";
    assert!(decode(Varchar(Some(3)), Format::Text, long, &style, &mut out).is_err());
    assert_eq!(
        decode_for_comparison(Varchar(Some(3)), Format::Text, long, &style, &mut out),
        Ok(())
    );
    assert_eq!(&out[..], long);
    assert_eq!(
        decode_for_comparison(Char(3), Format::Text, b"a", &style, &mut out),
        Ok(())
    );
    assert_eq!(&out[..], b"a  ");
}

#[test]
fn a_wider_parameter_that_no_column_value_equals_is_no_error_in_a_comparison() {
    let (wide, mut out) = (5_000_000_000i64.to_be_bytes(), Plaintext::default());
    assert_eq!(convert_for_comparison(Int8, Int4, &wide, &mut out), Ok(Int8));
    let error = convert(Int8, Int4, &wide, &mut out).expect_err("out of range");
    assert_eq!(
        (error.sqlstate.as_str(), error.message.as_str()),
        ("22003", "integer out of range")
    );
    assert!(out.is_empty());
}

/// On the hot path nothing is allocated but what the buffers need, and reused buffers need nothing.
#[test]
fn reused_buffers_stay_where_they_are() {
    let (mut plain, mut wire) = (Plaintext::new(Vec::with_capacity(64)), BytesMut::with_capacity(64));
    let style = TextStyle::default();
    let at = (plain.as_ptr(), wire.as_ptr());
    for (ty, text) in [
        (Text, "kim@example.com"),
        (Int8, "-9223372036854775808"),
        (Int4, "42"),
        (Varchar(Some(20)), "홍길동"),
    ] {
        wire.clear();
        decode(ty, Format::Text, text.as_bytes(), &style, &mut plain).expect("a value");
        encode(ty, Format::Text, &plain, &style, &mut wire).expect("a value");
        assert_eq!(wire, text);
        assert_eq!(at, (plain.as_ptr(), wire.as_ptr()));
    }
}
