//! Logical types: what a protected column is to its clients, whatever is stored.
//!
//! A value exists in three forms: **text** and **binary** are PostgreSQL's two wire formats; **canonical** is the
//! type's binary *send* format, the plaintext inside an envelope (for jsonb: the version byte and the text that
//! PostgreSQL prints). [`decode`] goes from the wire to canonical (and applies length, precision and scale, as an
//! assignment to the column would), [`encode`] goes back. [`convert()`] goes from the canonical form of a parameter's type
//! to that of the column. [`normalise`] maps canonical values that PostgreSQL's `=` calls equal to the same bytes.
//! [`mask()`] makes a typed, harmless stand-in.
//!
//! Every form is read as PostgreSQL 15 reads it, or refused with `0A000` (also what newer servers read otherwise); `tests/value_differential.rs` holds this module
//! against a real server. Pure: no I/O, no clock (`now`, `today` and their like are refused). No error of this module holds
//! a value. Buffers that hold values are wiped on drop, also where they grow.

mod boolean;
mod bytea;
mod convert;
mod datetime;
mod float;
mod input;
mod integer;
mod json;
mod logical_type;
pub mod mask;
mod newer;
mod numeric;
mod text;
mod uuid;

#[cfg(test)]
mod tests;

pub use convert::{convert, convert_for_comparison};
pub use mask::{Mask, mask};

use crate::wire::sqlstate::SqlState;
use zeroize::Zeroizing;

/// A plaintext buffer, wiped on drop. Reused from value to value on the hot path.
pub type Plaintext = Zeroizing<Vec<u8>>;

/// A type that a sealed column can have, with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogicalType {
    /// `text`
    Text,
    /// `character varying(n)`, n in characters; `None` is without limit.
    Varchar(Option<u32>),
    /// `character(n)`, n in characters, blank-padded.
    Char(u32),
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `numeric(precision, scale)`; `None` is unconstrained.
    Numeric(Option<(u16, i16)>),
    /// `double precision`
    Float8,
    /// `boolean`
    Bool,
    /// `date`
    Date,
    /// `timestamp(p) without time zone`; `None` is microseconds.
    Timestamp(Option<u8>),
    /// `timestamp(p) with time zone`
    Timestamptz(Option<u8>),
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
}

/// A wire format code (PostgreSQL documentation, 55.2.3 and 55.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Format code 0.
    #[default]
    Text,
    /// Format code 1.
    Binary,
}

/// Session settings that shape the text form of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// `DateStyle` as reported, e.g. `ISO, MDY`.
    pub date_style: String,
    /// `TimeZone` as reported, e.g. `Asia/Seoul`.
    pub time_zone: String,
    /// `bytea_output`: true for `hex`, false for `escape`.
    pub bytea_hex: bool,
    /// `extra_float_digits`; above 0 means shortest-precise output.
    pub extra_float_digits: i32,
    /// Major version of the server: newer ones read a few texts otherwise.
    pub server_major: u16,
}

impl Default for TextStyle {
    fn default() -> Self {
        Self {
            date_style: "ISO, MDY".into(),
            time_zone: "UTC".into(),
            bytea_hex: true,
            extra_float_digits: 1,
            server_major: 15,
        }
    }
}

/// Why a value can't be carried. The message never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// The SQLSTATE that PostgreSQL gives for the same fault, or `0A000` for a form that pgward doesn't read.
    pub sqlstate: SqlState,
    /// PostgreSQL's own wording where it holds no value; else without the value.
    pub message: String,
}

impl ValueError {
    #[cold]
    fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
        }
    }

    /// What a type's input function says of text that isn't of the type.
    #[cold]
    fn syntax(type_name: &str) -> Self {
        Self::new(
            SqlState::INVALID_TEXT,
            format!("invalid input syntax for type {type_name}"),
        )
    }

    /// A form that PostgreSQL may read, but pgward doesn't.
    #[cold]
    fn refused(what: impl Into<String>) -> Self {
        Self::new(SqlState::FEATURE_NOT_SUPPORTED, what)
    }

    /// Canonical bytes that aren't of the type: nothing that this module wrote.
    #[cold]
    fn corrupted(ty: LogicalType) -> Self {
        Self::new(
            SqlState::DATA_CORRUPTED,
            format!("the stored value is not a valid {}", ty.to_sql()),
        )
    }
}

/// What a value is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// To be stored: length, precision and scale apply.
    Assignment,
    /// To be compared: they don't.
    Comparison,
}

/// Reads a value in wire format as the column's type and writes its canonical form into `out` (cleared first). Applies
/// the type's length, precision and scale with PostgreSQL's own errors (assignment semantics: `varchar(n)` drops excess blanks only).
///
/// # Errors
/// PostgreSQL's SQLSTATE for the same fault; `0A000` for a form that pgward doesn't read. `out` is then empty.
pub fn decode(
    ty: LogicalType,
    format: Format,
    bytes: &[u8],
    style: &TextStyle,
    out: &mut Plaintext,
) -> Result<(), ValueError> {
    read(ty, Reading::Assignment, format, bytes, style, out)
}

/// Like [`decode`], but without the column's length and precision: for a value that is compared with the column and not
/// stored in it (`WHERE email = '…longer than the column…'` is false and no error).
///
/// Where the type's `=` can't tell them apart, the canonical form is the one that the column would store: a short `char(n)` is padded,
/// a numeric that fits the column's scale gets it.
///
/// # Errors
/// As [`decode`].
pub fn decode_for_comparison(
    ty: LogicalType,
    format: Format,
    bytes: &[u8],
    style: &TextStyle,
    out: &mut Plaintext,
) -> Result<(), ValueError> {
    read(ty, Reading::Comparison, format, bytes, style, out)
}

#[cold]
fn newer_form(ty: LogicalType) -> String {
    format!(
        "a value of type {} is written in a form that not all versions of PostgreSQL read alike",
        ty.to_sql()
    )
}

fn read(
    ty: LogicalType,
    reading: Reading,
    format: Format,
    bytes: &[u8],
    style: &TextStyle,
    out: &mut Plaintext,
) -> Result<(), ValueError> {
    out.clear();
    if format == Format::Text {
        // The server checks the encoding of every text parameter before the type's input function sees it.
        input::verify_encoding(bytes)?;
        if style.server_major >= newer::SINCE && newer::reads_otherwise(ty, bytes) {
            return Err(ValueError::refused(newer_form(ty)));
        }
    }
    let result = match ty {
        LogicalType::Text | LogicalType::Varchar(_) | LogicalType::Char(_) => {
            text::decode(ty, reading, format, bytes, out)
        }
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => integer::decode(ty, format, bytes, out),
        LogicalType::Numeric(modifier) => numeric::decode(modifier, reading, format, bytes, out),
        LogicalType::Float8 => float::decode(format, bytes, out),
        LogicalType::Bool => boolean::decode(format, bytes, out),
        LogicalType::Date | LogicalType::Timestamp(_) | LogicalType::Timestamptz(_) => {
            datetime::decode(ty, reading, format, bytes, style, out)
        }
        LogicalType::Uuid => uuid::decode(format, bytes, out),
        LogicalType::Bytea => bytea::decode(format, bytes, out),
        LogicalType::Json => json::decode_json(format, bytes, out),
        LogicalType::Jsonb => json::decode_jsonb(format, bytes, out),
    };
    if result.is_err() {
        out.clear();
    }
    result
}

/// Appends the wire form of a canonical value to `out`. Canonical bytes come from an authenticated envelope, yet are checked.
///
/// # Errors
/// `XX001` where the canonical bytes aren't of the type, `0A000` for a text style that pgward can't print in; `out` is then as it was.
pub fn encode(
    ty: LogicalType,
    format: Format,
    canonical: &[u8],
    style: &TextStyle,
    out: &mut bytes::BytesMut,
) -> Result<(), ValueError> {
    let start = out.len();
    let result = match ty {
        LogicalType::Text | LogicalType::Varchar(_) | LogicalType::Char(_) => text::encode(ty, canonical, out),
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => integer::encode(ty, format, canonical, out),
        LogicalType::Numeric(_) => numeric::encode(ty, format, canonical, out),
        LogicalType::Float8 => float::encode(format, canonical, style, out),
        LogicalType::Bool => boolean::encode(format, canonical, out),
        LogicalType::Date | LogicalType::Timestamp(_) | LogicalType::Timestamptz(_) => {
            datetime::encode(ty, format, canonical, style, out)
        }
        LogicalType::Uuid => uuid::encode(format, canonical, out),
        LogicalType::Bytea => bytea::encode(format, canonical, style, out),
        LogicalType::Json => text::encode(ty, canonical, out),
        LogicalType::Jsonb => json::encode_jsonb(format, canonical, out),
    };
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Writes bytes into `out` (cleared first) that are equal exactly when PostgreSQL's `=` says that the values are equal: trailing
/// zeros of numerics and trailing blanks of char(n) removed, -0.0 as 0.0, one NaN. The same value gives the same bytes across
/// int2/int4/int8, across text/varchar, so that columns of one key domain can be joined.
///
/// # Errors
/// `XX001` where the canonical bytes aren't of the type; `0A000` for json and jsonb, see [`LogicalType::has_equality`].
pub fn normalise(ty: LogicalType, canonical: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    out.clear();
    match ty {
        LogicalType::Text | LogicalType::Varchar(_) => {
            input::append(out, canonical);
            Ok(())
        }
        LogicalType::Char(_) => {
            input::append(out, text::without_trailing_blanks(canonical));
            Ok(())
        }
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => {
            let value = integer::from_canonical(ty, canonical)?;
            input::append(out, &value.to_be_bytes());
            Ok(())
        }
        LogicalType::Numeric(_) => numeric::normalise(ty, canonical, out),
        LogicalType::Float8 => float::normalise(canonical, out),
        LogicalType::Bool => {
            boolean::from_canonical(canonical)?;
            input::append(out, canonical);
            Ok(())
        }
        LogicalType::Date => input::copy_exact::<4>(ty, canonical, out),
        LogicalType::Timestamp(_) | LogicalType::Timestamptz(_) => input::copy_exact::<8>(ty, canonical, out),
        LogicalType::Uuid => input::copy_exact::<16>(ty, canonical, out),
        LogicalType::Bytea => {
            input::append(out, canonical);
            Ok(())
        }
        LogicalType::Json | LogicalType::Jsonb => Err(ValueError::refused(format!(
            "values of type {} can't be compared while sealed",
            ty.to_sql()
        ))),
    }
}
