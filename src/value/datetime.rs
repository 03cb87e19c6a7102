//! Dates and times
use super::*;
use bytes::BytesMut;
fn later<T>() -> Result<T, ValueError> {
    Err(ValueError::refused("dates aren't carried yet"))
}
pub(super) fn decode(
    _t: LogicalType,
    _r: Reading,
    _f: Format,
    _b: &[u8],
    _s: &TextStyle,
    _out: &mut Plaintext,
) -> Result<(), ValueError> {
    later()
}
pub(super) fn encode(
    _t: LogicalType,
    _f: Format,
    _c: &[u8],
    _s: &TextStyle,
    _out: &mut BytesMut,
) -> Result<(), ValueError> {
    later()
}
pub(super) fn date_to_timestamp(_c: &[u8], _out: &mut Plaintext) -> Result<(), ValueError> {
    later()
}
pub(super) fn first_of_year(_t: LogicalType, _c: &[u8], _out: &mut Plaintext) -> Option<()> {
    None
}
