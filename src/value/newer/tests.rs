use super::*;
use crate::value::{Format, Plaintext, TextStyle, decode};

#[test]
fn forms_of_16_are_refused_there_and_read_as_before_elsewhere() {
    let timestamp = LogicalType::Timestamp(None);
    for (ty, text) in [
        (LogicalType::Int4, "0x1F"),
        (LogicalType::Int8, "-0b1"),
        (LogicalType::Int2, "1_000"),
        (LogicalType::Numeric(None), "0o17"),
        (LogicalType::Numeric(None), "1_000.5"),
        (LogicalType::Numeric(Some((5, 0))), "1e 3"),
        (LogicalType::Date, "+infinity"),
        (timestamp, "-Infinity9"),
        (LogicalType::Timestamptz(None), "infinity infinity"),
    ] {
        let read = |server_major| {
            let style = TextStyle {
                server_major,
                ..TextStyle::default()
            };
            decode(ty, Format::Text, text.as_bytes(), &style, &mut Plaintext::default())
        };
        let refused = |major| read(major).is_err_and(|e| e.sqlstate.as_str() == "0A000");
        assert!(refused(16) && refused(18), "{text}");
        assert!(!refused(15), "{text}");
    }
    for (ty, text) in [
        (LogicalType::Int4, " 10 "),
        (LogicalType::Numeric(None), "1e3"),
        (LogicalType::Numeric(None), "NaN"),
        (LogicalType::Numeric(None), "-infinity"),
        (LogicalType::Date, " -infinity "),
        (timestamp, "INFINITY"),
        (LogicalType::Text, "1_000 0x1F +infinity"),
    ] {
        assert!(!reads_otherwise(ty, text.as_bytes()), "{text}");
    }
}
