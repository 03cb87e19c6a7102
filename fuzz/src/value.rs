//! Values of every type in both formats, from clients, and canonical bytes as an envelope may hold them: what is read can be written, and reads
//! the same again.
use bytes::BytesMut;
use pgward::value::{
    Format, LogicalType, Mask, Plaintext, TextStyle, decode, decode_for_comparison, encode, mask, normalise,
};

const TYPES: [LogicalType; 19] = [
    LogicalType::Text,
    LogicalType::Varchar(None),
    LogicalType::Varchar(Some(5)),
    LogicalType::Char(3),
    LogicalType::Int2,
    LogicalType::Int4,
    LogicalType::Int8,
    LogicalType::Numeric(None),
    LogicalType::Numeric(Some((8, 2))),
    LogicalType::Float8,
    LogicalType::Bool,
    LogicalType::Date,
    LogicalType::Timestamp(None),
    LogicalType::Timestamp(Some(3)),
    LogicalType::Timestamptz(None),
    LogicalType::Uuid,
    LogicalType::Bytea,
    LogicalType::Json,
    LogicalType::Jsonb,
];

/// One input.
pub fn run(data: &[u8]) {
    let [ty, how, bytes @ ..] = data else { return };
    let ty = TYPES[usize::from(*ty) % TYPES.len()];
    let format = if how & 1 == 0 { Format::Text } else { Format::Binary };
    let style = TextStyle::default();
    let (mut canonical, mut again, mut other) = (Plaintext::default(), Plaintext::default(), Plaintext::default());
    let mut out = BytesMut::new();
    if how & 2 != 0 {
        // An envelope of an older version, or of a fault of ours.
        let _ = encode(ty, format, bytes, &style, &mut out);
        let _ = normalise(ty, bytes, &mut other);
        mask(Mask::General, ty, bytes, &mut other);
        mask(Mask::Email, ty, bytes, &mut other);
        return;
    }
    let _ = decode_for_comparison(ty, format, bytes, &style, &mut other);
    if decode(ty, format, bytes, &style, &mut canonical).is_ok() {
        encode(ty, format, &canonical, &style, &mut out).expect("what was read can be written");
        decode(ty, format, &out, &style, &mut again).expect("what was written can be read");
        assert_eq!(canonical, again, "{ty:?} {format:?}");
        mask(Mask::General, ty, &canonical, &mut other);
        out.clear();
        encode(ty, Format::Text, &other, &style, &mut out).expect("a mask has the column's type");
    }
}
