use super::*;
use LogicalType::*;
use proptest::prelude::*;

fn masked(kind: Mask, ty: LogicalType, value: &str) -> String {
    let mut out = Plaintext::default();
    mask(kind, ty, value.as_bytes(), &mut out);
    String::from_utf8(out.to_vec()).expect("masked text is UTF-8")
}

const ALL: [Mask; 8] = [
    Mask::Email,
    Mask::Name,
    Mask::Phone,
    Mask::PostalCode,
    Mask::IpAddress,
    Mask::Date,
    Mask::Number,
    Mask::General,
];

#[test]
fn each_mask_keeps_what_it_says() {
    for (kind, value, shown) in [
        (Mask::Email, "kim@example.com", "k***@example.com"),
        (Mask::Email, "김철수@예시.한국", "김***@예시.한국"),
        (Mask::Name, "홍길동", "홍**"),
        (Mask::Name, "Jane Doe", "J**"),
        (Mask::Phone, "010-9876-1234", "***-****-1234"),
        (Mask::Phone, "+82 10-9876-1234", "+** **-****-1234"),
        (Mask::PostalCode, "06236", "06***"),
        (Mask::PostalCode, "SW1A 1AA", "SW** ***"),
        (Mask::IpAddress, "203.0.113.77", "203.0.113.0"),
        (Mask::IpAddress, "2001:db8:7:8::9", "2001:db8:7::"),
        (Mask::IpAddress, "::ffff:203.0.113.77", "::ffff:203.0.113.0"),
        (Mask::Date, "1987-06-05", "1987-01-01"),
        (Mask::Date, "1987/06/05 11:12", "1987/01/01"),
        (Mask::Date, "19870605", "19870101"),
        (Mask::Number, "12345", "0"),
        (Mask::General, "anything", "***"),
    ] {
        assert_eq!(masked(kind, Text, value), shown, "{kind:?} {value}");
    }
}

#[test]
fn short_and_odd_values_show_nothing() {
    for (kind, value, shown) in [
        (Mask::Email, "no at sign", "***"),
        (Mask::Email, "a@b@c.com", "***"),
        (Mask::Email, "@example.com", "***"),
        (Mask::Email, "a@", "***"),
        (Mask::Email, "a@example.com", "***@example.com"),
        (Mask::Email, "Kim <kim@example.com>", "***"),
        (Mask::Name, "홍", "***"),
        (Mask::Name, "e\u{301}", "***"),
        (Mask::Name, "1234", "***"),
        (Mask::Name, "   ", "***"),
        (Mask::Name, "", "***"),
        (Mask::Phone, "1234", "***"),
        (Mask::Phone, "call 010-9876-1234", "***"),
        (Mask::PostalCode, "123", "***"),
        (Mask::PostalCode, "서울 06236", "***"),
        (Mask::IpAddress, "203.0.113.77/24", "***"),
        (Mask::IpAddress, "localhost", "***"),
        (Mask::Date, "5 June 1987", "***"),
        (Mask::Date, "1987-13-05", "***"),
    ] {
        assert_eq!(masked(kind, Text, value), shown, "{kind:?} {value}");
    }
}

#[test]
fn masked_text_fits_its_column() {
    assert_eq!(masked(Mask::Email, Varchar(Some(9)), "ab@x.io"), "a***@x.io");
    assert_eq!(masked(Mask::Email, Varchar(Some(8)), "ab@x.io"), "***");
    assert_eq!(masked(Mask::General, Varchar(Some(1)), "abc"), "*");
    assert_eq!(masked(Mask::Name, Char(5), "홍길동  "), "홍**  ");
    assert_eq!(masked(Mask::Name, Char(2), "홍길"), "**");
}

#[test]
fn other_types_have_neutral_values() {
    for (ty, neutral) in [
        (Int2, &[0; 2][..]),
        (Int4, &[0; 4]),
        (Int8, &[0; 8]),
        (Numeric(Some((10, 2))), &[0, 0, 0, 0, 0, 0, 0, 2]),
        (Float8, &[0; 8]),
        (Bool, &[0]),
        (Date, &[0; 4]),
        (Timestamptz(None), &[0; 8]),
        (Uuid, &[0; 16]),
        (Bytea, &[]),
        (Json, b"null"),
        (Jsonb, b"\x01null"),
    ] {
        let mut out = Plaintext::default();
        mask(Mask::Name, ty, b"whatever it is", &mut out);
        assert_eq!(&out[..], neutral, "{ty:?}");
    }
}

#[test]
fn a_date_becomes_the_first_of_its_year() {
    let style = super::super::TextStyle::default();
    for (ty, value, shown) in [
        (Date, "1987-06-05", "1987-01-01"),
        (Date, "0044-03-15 BC", "0044-01-01 BC"),
        (Date, "infinity", "2000-01-01"),
        (Date, "4714-12-01 BC", "2000-01-01"),
        (Timestamp(None), "1987-06-05 11:12:13.5", "1987-01-01 00:00:00"),
        (Timestamptz(None), "1987-06-05 11:12:13.5+09", "1987-01-01 00:00:00+00"),
    ] {
        let (mut canonical, mut out, mut text) = (Plaintext::default(), Plaintext::default(), bytes::BytesMut::new());
        super::super::decode(ty, super::super::Format::Text, value.as_bytes(), &style, &mut canonical).expect("a date");
        mask(Mask::Date, ty, &canonical, &mut out);
        super::super::encode(ty, super::super::Format::Text, &out, &style, &mut text).expect("a date");
        assert_eq!(text, shown, "{value}");
    }
}

proptest! {
    #[test]
    fn masks_are_total_and_their_results_valid(
        value in prop_oneof![any::<Vec<u8>>(), "\\PC{0,24}".prop_map(String::into_bytes), "[0-9+ ().-]{0,20}".prop_map(String::into_bytes)],
        kind in proptest::sample::select(&ALL[..]),
        ty in proptest::sample::select(vec![
            Text, Varchar(None), Varchar(Some(1)), Varchar(Some(7)), Char(3), Int2, Int4, Int8, Numeric(None), Numeric(Some((5, 3))),
            Float8, Bool, Date, Timestamp(Some(0)), Timestamptz(None), Uuid, Bytea, Json, Jsonb,
        ]),
    ) {
        let (mut out, mut again) = (Plaintext::default(), Plaintext::default());
        mask(kind, ty, &value, &mut out);
        let style = super::super::TextStyle::default();
        super::super::decode(ty, super::super::Format::Binary, &out, &style, &mut again).expect("valid in the column");
        prop_assert_eq!(&out[..], &again[..]);
        if let Ok(text) = std::str::from_utf8(&value) {
            let text = text.trim();
            if text.chars().filter(|c| c.is_alphanumeric()).count() >= 1 && ty == Text && !matches!(kind, Mask::IpAddress | Mask::Date | Mask::Number) {
                prop_assert_ne!(out.as_slice(), text.as_bytes());
            }
        }
    }
}
