//! Messages that pgward makes itself.

use super::frame::{begin, end, write};
use super::read::Field;
use super::sqlstate::SqlState;
use bytes::{BufMut, BytesMut};

/// Severity of an ErrorResponse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The connection ends.
    Fatal,
}

/// Appends a NUL-terminated string. A NUL inside would let two readers disagree: it is dropped.
pub fn put_cstr(out: &mut BytesMut, text: &[u8]) {
    if text.contains(&0) {
        out.extend(text.iter().filter(|&&b| b != 0));
    } else {
        out.extend_from_slice(text);
    }
    out.put_u8(0);
}

/// ErrorResponse. Texts must hold no value and no literal.
pub fn error(
    out: &mut BytesMut,
    severity: Severity,
    sqlstate: SqlState,
    message: &str,
    detail: Option<&str>,
    hint: Option<&str>,
) {
    let severity = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    write(out, b'E', |out| {
        let fields = [
            (b'S', Some(severity)),
            (b'V', Some(severity)),
            (b'C', Some(sqlstate.as_str())),
            (b'M', Some(message)),
            (b'D', detail),
            (b'H', hint),
        ];
        for (code, text) in fields {
            if let Some(text) = text {
                out.put_u8(code);
                put_cstr(out, text.as_bytes());
            }
        }
        out.put_u8(0);
    });
}

/// An ErrorResponse or NoticeResponse from fields.
pub fn fields(out: &mut BytesMut, tag: u8, fields: &[(u8, &[u8])]) {
    write(out, tag, |out| {
        for (code, text) in fields {
            out.put_u8(*code);
            put_cstr(out, text);
        }
        out.put_u8(0);
    });
}

/// Query
pub fn query(out: &mut BytesMut, sql: &[u8]) {
    write(out, b'Q', |out| put_cstr(out, sql));
}

/// Parse
pub fn parse(out: &mut BytesMut, name: &[u8], sql: &[u8], oids: impl ExactSizeIterator<Item = u32>) {
    write(out, b'P', |out| {
        put_cstr(out, name);
        put_cstr(out, sql);
        out.put_u16(u16::try_from(oids.len()).unwrap_or(u16::MAX));
        oids.for_each(|oid| out.put_u32(oid));
    });
}

/// Bind without parameters, results in text.
pub fn bind_plain(out: &mut BytesMut, portal: &[u8], statement: &[u8]) {
    write(out, b'B', |out| {
        put_cstr(out, portal);
        put_cstr(out, statement);
        out.put_slice(&[0; 6]);
    });
}

/// Describe
pub fn describe(out: &mut BytesMut, kind: u8, name: &[u8]) {
    write(out, b'D', |out| {
        out.put_u8(kind);
        put_cstr(out, name);
    });
}

/// Close
pub fn close(out: &mut BytesMut, kind: u8, name: &[u8]) {
    write(out, b'C', |out| {
        out.put_u8(kind);
        put_cstr(out, name);
    });
}

/// Execute
pub fn execute(out: &mut BytesMut, portal: &[u8], limit: u32) {
    write(out, b'E', |out| {
        put_cstr(out, portal);
        out.put_u32(limit);
    });
}

/// A message without a body: Flush `H`, Sync `S`, Terminate `X`.
pub fn bare(out: &mut BytesMut, tag: u8) {
    let start = begin(out, tag);
    end(out, start);
}

/// RowDescription
pub fn row_description<'a>(out: &mut BytesMut, columns: impl ExactSizeIterator<Item = Field<'a>>) {
    write(out, b'T', |out| {
        out.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
        for field in columns {
            put_cstr(out, field.name);
            out.put_u32(field.table);
            out.put_i16(field.attnum);
            out.put_u32(field.type_oid);
            out.put_i16(field.typlen);
            out.put_i32(field.typmod);
            out.put_u16(field.format);
        }
    });
}

/// ParameterDescription
pub fn parameter_description(out: &mut BytesMut, oids: &[u32]) {
    write(out, b't', |out| {
        out.put_u16(u16::try_from(oids.len()).unwrap_or(u16::MAX));
        oids.iter().for_each(|oid| out.put_u32(*oid));
    });
}

/// BackendKeyData
pub fn backend_key(out: &mut BytesMut, process_id: u32, secret: &[u8]) {
    write(out, b'K', |out| {
        out.put_u32(process_id);
        out.put_slice(secret);
    });
}
