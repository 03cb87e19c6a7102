//! `double precision`
use super::*;
use bytes::BytesMut;
fn later<T>() -> Result<T, ValueError> {
    Err(ValueError::refused("double precision isn't carried yet"))
}
pub(super) fn decode(_f: Format, _b: &[u8], _out: &mut Plaintext) -> Result<(), ValueError> {
    later()
}
pub(super) fn encode(_f: Format, _c: &[u8], _s: &TextStyle, _out: &mut BytesMut) -> Result<(), ValueError> {
    later()
}
pub(super) fn normalise(_c: &[u8], _out: &mut Plaintext) -> Result<(), ValueError> {
    later()
}
