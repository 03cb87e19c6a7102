//! `uuid`. Text input: 32 hexadecimal digits of either case, a hyphen allowed after every fourth, optionally in braces.

use super::{Format, LogicalType, Plaintext, ValueError, bytea, input};
use bytes::BytesMut;

pub(super) fn decode(format: Format, bytes: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    match format {
        Format::Binary => input::append(out, &input::exact::<16>(bytes)?),
        Format::Text => parse(bytes, out).ok_or_else(|| ValueError::syntax("uuid"))?,
    }
    Ok(())
}

fn parse(text: &[u8], out: &mut Plaintext) -> Option<()> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        bare => bare,
    };
    input::reserve(out, 16);
    for index in 0..16 {
        let [high, low, after @ ..] = rest else { return None };
        out.push(bytea::hex_digit(*high)? << 4 | bytea::hex_digit(*low)?);
        rest = match after {
            [b'-', after @ ..] if index % 2 == 1 && index < 15 => after,
            after => after,
        };
    }
    rest.is_empty().then_some(())
}

pub(super) fn encode(format: Format, canonical: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    let value: [u8; 16] = input::canonical(LogicalType::Uuid, canonical)?;
    if format == Format::Binary {
        out.extend_from_slice(&value);
        return Ok(());
    }
    for (index, group) in [&value[0..4], &value[4..6], &value[6..8], &value[8..10], &value[10..16]]
        .into_iter()
        .enumerate()
    {
        if index > 0 {
            out.extend_from_slice(b"-");
        }
        bytea::put_hex(group, out);
    }
    Ok(())
}
