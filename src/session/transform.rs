//! Values on their way to the server: parameters of a Bind and literals of a text, sealed or turned into index terms.

use super::state::format_of;
use crate::crypto::{CryptoError, Keyring};
use crate::plan::{self, Access, Carry, Mode, Plan, Reason, Refusal, Replacement, Transform, Use};
use crate::policy::Permit;
use crate::value::{self, Format, LogicalType, Plaintext, TextStyle, ValueError};
use crate::wire::read::{Bind, Body};
use crate::wire::sqlstate::SqlState;
use bytes::{BufMut, BytesMut};
use std::ops::Range;

/// Everything that a value needs on its way in.
pub(super) struct Sealer<'a> {
    pub(super) keyring: &'a Keyring,
    pub(super) style: &'a TextStyle,
    pub(super) accesses: &'a [Access],
    pub(super) permits: &'a [Permit],
    given: Plaintext,
    canonical: Plaintext,
    normal: Plaintext,
    /// Values sealed or turned into terms so far.
    pub(super) sealed: u64,
}

fn refuse_value(transform: &Transform, fault: &ValueError) -> Refusal {
    let column = &transform.column().name;
    Refusal {
        sqlstate: fault.sqlstate,
        reason: Reason::Value,
        column: Some(column.clone()),
        message: fault.message.clone(),
        hint: (fault.sqlstate == SqlState::FEATURE_NOT_SUPPORTED).then(|| {
            format!("Write the value for {column} in a plain form (ISO 8601 for dates), or as a binary parameter.")
        }),
    }
}

impl<'a> Sealer<'a> {
    pub(super) fn new(
        keyring: &'a Keyring,
        style: &'a TextStyle,
        accesses: &'a [Access],
        permits: &'a [Permit],
    ) -> Self {
        let (given, canonical, normal) = Default::default();
        Self {
            keyring,
            style,
            accesses,
            permits,
            given,
            canonical,
            normal,
            sealed: 0,
        }
    }

    /// The permit for a column: a term may stand on a right to write where nothing is searched (ON CONFLICT needs `search` in its own access).
    fn permit(&self, transform: &Transform) -> Result<&'a Permit, Refusal> {
        let usage = match transform {
            Transform::Seal(_) => Use::Write,
            Transform::Term(_) => Use::Search,
        };
        let column = transform.column();
        self.accesses
            .iter()
            .zip(self.permits)
            .find(|(access, _)| access.column.id == column.id && access.usage == usage)
            .map(|(_, permit)| permit)
            .ok_or_else(|| {
                Refusal::unsupported(
                    Reason::Integrity,
                    format!("no permit was asked for column {}", column.name),
                )
                .column(&column.name)
                .hint("This is a fault in pgward; please report it.")
            })
    }

    /// Appends what the server gets for one value: read as what the client declared, brought to the column's type as an assignment (or a comparison)
    /// would, then sealed or turned into its term.
    pub(super) fn put(
        &mut self,
        transform: &Transform,
        read_as: LogicalType,
        format: Format,
        bytes: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), Refusal> {
        let permit = self.permit(transform)?;
        let column = transform.column();
        let explain = |fault: ValueError| refuse_value(transform, &fault);
        let crypto = |fault: CryptoError| super::rows::integrity(column, &fault);
        let (ty, style) = (column.logical_type, self.style);
        let stored = matches!(transform, Transform::Seal(_));
        let mut normal_type = ty;
        match (read_as == ty, stored) {
            (true, true) => value::decode(ty, format, bytes, style, &mut self.canonical),
            (true, false) => value::decode_for_comparison(ty, format, bytes, style, &mut self.canonical),
            (false, true) => value::decode(read_as, format, bytes, style, &mut self.given)
                .and_then(|()| value::convert(read_as, ty, &self.given, &mut self.canonical)),
            (false, false) => value::decode(read_as, format, bytes, style, &mut self.given)
                .and_then(|()| value::convert_for_comparison(read_as, ty, &self.given, &mut self.canonical))
                .map(|compared_as| normal_type = compared_as),
        }
        .map_err(explain)?;
        // Only the equality tag is made from it; json has none to make.
        self.normal.clear();
        if column.mode == Mode::Eq {
            value::normalise(normal_type, &self.canonical, &mut self.normal).map_err(explain)?;
        }
        if stored {
            self.keyring.seal(permit, column, &self.canonical, &self.normal, out)
        } else {
            self.keyring.term(permit, column, &self.canonical, &self.normal, out)
        }
        .map_err(crypto)?;
        self.sealed += 1;
        Ok(())
    }

    /// Appends a replacement's text.
    pub(super) fn splice(&mut self, source: &str, with: &Replacement, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match with {
            Replacement::Text(text) => out.extend_from_slice(text.as_bytes()),
            Replacement::Literal { literal, transform } => {
                let mut term = BytesMut::new();
                let text = plan::literal::read(source, literal)?;
                self.put(
                    transform,
                    transform.column().logical_type,
                    Format::Text,
                    text.as_bytes(),
                    &mut term,
                )?;
                out.extend_from_slice(b"E'\\\\x");
                put_hex(&term, out);
                out.extend_from_slice(b"'::pg_catalog.bytea");
            }
            Replacement::LiteralArray { literal, transform } => {
                let text = plan::literal::read(source, literal)?;
                let elements = parse_array_text(text.as_bytes()).ok_or_else(|| malformed_array(transform))?;
                out.extend_from_slice(b"ARRAY[");
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    match element {
                        None => out.extend_from_slice(b"NULL"),
                        Some(text) => {
                            let mut term = BytesMut::new();
                            self.put(
                                transform,
                                transform.column().logical_type,
                                Format::Text,
                                text,
                                &mut term,
                            )?;
                            out.extend_from_slice(b"E'\\\\x");
                            put_hex(&term, out);
                            out.push(b'\'');
                        }
                    }
                }
                out.extend_from_slice(b"]::pg_catalog.bytea[]");
            }
        }
        Ok(())
    }

    /// Appends a whole Bind with the parameters that the server gets.
    pub(super) fn bind(
        &mut self,
        bind: &Bind<'_>,
        plan: &Plan,
        result_formats: &[u16],
        out: &mut BytesMut,
    ) -> Result<(), Refusal> {
        let values: Vec<Option<&[u8]>> = bind.values().collect();
        if values.len() != plan.client_params.len() {
            return Err(Refusal {
                sqlstate: SqlState::PROTOCOL_VIOLATION,
                reason: Reason::Protocol,
                column: None,
                message: format!(
                    "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                    values.len(),
                    String::from_utf8_lossy(bind.statement),
                    plan.client_params.len()
                ),
                hint: None,
            });
        }
        let start = crate::wire::frame::begin(out, b'B');
        crate::wire::compose::put_cstr(out, bind.portal);
        crate::wire::compose::put_cstr(out, bind.statement);
        let count = u16::try_from(plan.server_params.len()).unwrap_or(u16::MAX);
        out.put_u16(count);
        for param in &plan.server_params {
            out.put_u16(match param.carry {
                Carry::Unchanged => bind.formats.code(param.from),
                Carry::Value { .. } | Carry::Array { .. } => 1,
            });
        }
        out.put_u16(count);
        for param in &plan.server_params {
            let Some(bytes) = values.get(param.from).copied().flatten() else {
                out.put_i32(-1);
                continue;
            };
            let length_at = out.len();
            out.put_u32(0);
            let format = format_of(bind.formats.code(param.from));
            match &param.carry {
                Carry::Unchanged => out.put_slice(bytes),
                Carry::Value { read_as, transform } => self.put(transform, *read_as, format, bytes, out)?,
                Carry::Array { read_as, transform } => self.array(transform, *read_as, format, bytes, out)?,
            }
            let length = u32::try_from(out.len() - length_at - 4).unwrap_or(u32::MAX);
            out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        }
        out.put_u16(u16::try_from(result_formats.len()).unwrap_or(u16::MAX));
        result_formats.iter().for_each(|code| out.put_u16(*code));
        crate::wire::frame::end(out, start);
        Ok(())
    }

    /// A `bytea[]` in binary from an array in either format (PostgreSQL's array_recv: dimensions, flag, element type, bounds, elements).
    fn array(
        &mut self,
        transform: &Transform,
        read_as: LogicalType,
        format: Format,
        bytes: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), Refusal> {
        let text;
        let binary;
        let elements: &[Option<&[u8]>] = match format {
            Format::Text => {
                text = parse_array_text(bytes).ok_or_else(|| malformed_array(transform))?;
                binary = text.iter().map(|e| e.as_ref().map(|v| &v[..])).collect::<Vec<_>>();
                &binary
            }
            Format::Binary => {
                binary = parse_array_binary(bytes).ok_or_else(|| malformed_array(transform))?;
                &binary
            }
        };
        let has_null = elements.iter().any(Option::is_none);
        out.put_u32(u32::from(!elements.is_empty()));
        out.put_u32(u32::from(has_null));
        out.put_u32(17);
        if elements.is_empty() {
            return Ok(());
        }
        out.put_u32(u32::try_from(elements.len()).unwrap_or(u32::MAX));
        out.put_u32(1);
        for element in elements {
            let Some(bytes) = element else {
                out.put_i32(-1);
                continue;
            };
            let length_at = out.len();
            out.put_u32(0);
            self.put(transform, read_as, format, bytes, out)?;
            let length = u32::try_from(out.len() - length_at - 4).unwrap_or(u32::MAX);
            out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    /// A statement's text with its splices, from `span` of the source.
    pub(super) fn rewrite(&mut self, source: &str, span: &Range<usize>, plan: &Plan) -> Result<Vec<u8>, Refusal> {
        plan::rewrite(source, span.clone(), &plan.splices, &mut |with, out| {
            self.splice(source, with, out)
        })
    }
}

fn malformed_array(transform: &Transform) -> Refusal {
    Refusal {
        sqlstate: SqlState::INVALID_TEXT,
        reason: Reason::Value,
        column: Some(transform.column().name.clone()),
        message: "malformed array literal, or one of more than one dimension".into(),
        hint: Some("Pass a one-dimensional array.".into()),
    }
}

fn put_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// The elements of a one-dimensional array in text form, `{a,"b c",NULL}`.
fn parse_array_text(text: &[u8]) -> Option<Vec<Option<zeroize::Zeroizing<Vec<u8>>>>> {
    let trimmed = text.trim_ascii();
    let inner = trimmed.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let mut elements = Vec::new();
    if inner.trim_ascii().is_empty() {
        return Some(elements);
    }
    let mut rest = inner;
    loop {
        rest = rest.trim_ascii_start();
        let mut value = zeroize::Zeroizing::new(Vec::new());
        let quoted = rest.first() == Some(&b'"');
        let mut escaped = quoted;
        if quoted {
            rest = &rest[1..];
            loop {
                let (&byte, tail) = rest.split_first()?;
                rest = tail;
                match byte {
                    b'"' => break,
                    b'\\' => {
                        let (&literally, tail) = rest.split_first()?;
                        value.push(literally);
                        rest = tail;
                    }
                    byte => value.push(byte),
                }
            }
            rest = rest.trim_ascii_start();
        } else {
            let mut significant = 0;
            escaped = false;
            while let Some((&byte, tail)) = rest.split_first() {
                match byte {
                    b',' => break,
                    b'{' | b'}' | b'"' => return None,
                    b'\\' => {
                        let (&literally, tail) = tail.split_first()?;
                        value.push(literally);
                        significant = value.len();
                        escaped = true;
                        rest = tail;
                    }
                    byte => {
                        value.push(byte);
                        if !byte.is_ascii_whitespace() {
                            significant = value.len();
                        }
                        rest = tail;
                    }
                }
            }
            value.truncate(significant);
            if value.is_empty() {
                return None;
            }
        }
        let null = !escaped && value.eq_ignore_ascii_case(b"null");
        elements.push((!null).then_some(value));
        match rest.split_first() {
            None => return Some(elements),
            Some((b',', tail)) => rest = tail,
            Some(_) => return None,
        }
    }
}

/// The elements of a one-dimensional array in binary form.
fn parse_array_binary(bytes: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let mut body = Body::new(bytes, "array");
    let (dimensions, _flags, _element) = (body.u32().ok()?, body.u32().ok()?, body.u32().ok()?);
    match dimensions {
        0 => body.done().ok().map(|()| Vec::new()),
        1 => {
            let (count, _lower) = (body.u32().ok()?, body.u32().ok()?);
            // Every element takes four bytes at least: no more can be there than the message has room for.
            let count = usize::try_from(count).ok().filter(|n| *n <= bytes.len() / 4)?;
            let elements = (0..count).map(|_| body.value().ok()).collect::<Option<Vec<_>>>()?;
            body.done().ok().map(|()| elements)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_in_text_form() {
        let read = |t: &str| {
            parse_array_text(t.as_bytes()).map(|e| {
                e.into_iter()
                    .map(|v| v.map(|v| String::from_utf8(v.to_vec()).unwrap()))
                    .collect::<Vec<_>>()
            })
        };
        let some = |t: &str| Some(t.to_owned());
        assert_eq!(read("{}"), Some(vec![]));
        assert_eq!(read(" { a , b c } "), Some(vec![some("a"), some("b c")]));
        assert_eq!(
            read(r#"{"a,b","q\"x",NULL,"NULL",n\ull}"#),
            Some(vec![some("a,b"), some("q\"x"), None, some("NULL"), some("null")])
        );
        for bad in ["", "{", "}", "{a", "{{a},{b}}", "{a,}", "{\"a}", "{\"a\"b}"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_binary_array_that_claims_too_much_is_refused() {
        let mut bytes = Vec::new();
        for word in [1u32, 0, 25, u32::MAX, 1] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        assert!(parse_array_binary(&bytes).is_none());
    }
}
