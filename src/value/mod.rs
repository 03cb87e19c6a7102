//! Logical types: what a protected column is to its clients, whatever is stored.
//!
//! A value exists in three forms: **text** and **binary** are PostgreSQL's two wire formats; **canonical** is the
//! type's binary *send* format, the plaintext inside an envelope. [`decode`] goes from the wire to canonical (and applies
//! length, precision and scale, as an assignment to the column would), [`encode`] goes back. [`normalise`] maps canonical
//! values that PostgreSQL's `=` calls equal to the same bytes. [`mask`] makes a typed, harmless stand-in.
//!
//! Pure: no I/O, no clock. No error of this module holds a value.

pub mod mask;

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
}

impl Default for TextStyle {
    fn default() -> Self {
        Self {
            date_style: "ISO, MDY".into(),
            time_zone: "UTC".into(),
            bytea_hex: true,
            extra_float_digits: 1,
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

impl LogicalType {
    /// From `pg_type.oid` and `pg_attribute.atttypmod`; `None` for a type that can't be sealed.
    pub fn from_catalog(_oid: u32, _typmod: i32) -> Option<Self> {
        todo!()
    }
    /// From SQL text as `format_type()` prints it or as people write it: `varchar(320)`, `timestamp(3) with time zone`, `int`.
    pub fn from_sql(_text: &str) -> Option<Self> {
        todo!()
    }
    /// As `format_type()` prints it; [`from_sql`](Self::from_sql) reads it back.
    pub fn to_sql(self) -> String {
        todo!()
    }
    /// `pg_type.oid`
    pub fn oid(self) -> u32 {
        todo!()
    }
    /// `pg_type.typlen` (-1: variable), as RowDescription has it.
    pub fn typlen(self) -> i16 {
        todo!()
    }
    /// `pg_attribute.atttypmod`, as RowDescription has it.
    pub fn typmod(self) -> i32 {
        todo!()
    }
    /// Whether PostgreSQL has `=` for the type and [`normalise`] is exact (not for json, jsonb).
    pub fn has_equality(self) -> bool {
        todo!()
    }
    /// Whether a client may declare a parameter for this column with type `oid` (0 and `unknown` always; else the same
    /// type or one that PostgreSQL assigns without changing the value: text for varchar, int4 for int8, …), and how it is then read.
    pub fn accepts_parameter(self, _oid: u32) -> Option<LogicalType> {
        todo!()
    }
}

/// Reads a value in wire format as the column's type and writes its canonical form into `out` (cleared first). Applies
/// the type's length, precision and scale with PostgreSQL's own errors (assignment semantics: `varchar(n)` drops excess blanks only).
pub fn decode(
    _ty: LogicalType,
    _format: Format,
    _bytes: &[u8],
    _style: &TextStyle,
    _out: &mut Plaintext,
) -> Result<(), ValueError> {
    todo!()
}

/// Like [`decode`], but without the column's length and precision: for a value that is compared with the column and not
/// stored in it (`WHERE email = '…longer than the column…'` is false and no error).
pub fn decode_for_comparison(
    _ty: LogicalType,
    _format: Format,
    _bytes: &[u8],
    _style: &TextStyle,
    _out: &mut Plaintext,
) -> Result<(), ValueError> {
    todo!()
}

/// Appends the wire form of a canonical value to `out`. Canonical bytes come from an authenticated envelope, yet are checked.
pub fn encode(
    _ty: LogicalType,
    _format: Format,
    _canonical: &[u8],
    _style: &TextStyle,
    _out: &mut bytes::BytesMut,
) -> Result<(), ValueError> {
    todo!()
}

/// Writes bytes into `out` (cleared first) that are equal exactly when PostgreSQL's `=` says that the values are equal: trailing
/// zeros of numerics and trailing blanks of char(n) removed, -0.0 as 0.0, one NaN. The same value gives the same bytes across
/// int2/int4/int8, across text/varchar, so that columns of one key domain can be joined.
pub fn normalise(_ty: LogicalType, _canonical: &[u8], _out: &mut Plaintext) -> Result<(), ValueError> {
    todo!()
}
