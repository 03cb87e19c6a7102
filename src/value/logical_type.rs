//! The types by their catalog numbers and by their SQL names (PostgreSQL documentation, chapter 8; `pg_type`).

use super::LogicalType::{self, *};

const BOOL: u32 = 16;
const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const JSON: u32 = 114;
const FLOAT8: u32 = 701;
const UNKNOWN: u32 = 705;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;
const UUID: u32 = 2950;
const JSONB: u32 = 3802;

/// Length modifiers are stored with the size of a varlena header added.
const HEADER: i32 = 4;
/// Longest declarable `varchar(n)` and `char(n)`.
const MAX_LENGTH: u32 = 10_485_760;

impl LogicalType {
    /// Whether a value's text form depends on settings (DateStyle, TimeZone, bytea_output, extra_float_digits).
    pub fn depends_on_style(self) -> bool {
        matches!(
            self,
            Self::Date | Self::Timestamp(_) | Self::Timestamptz(_) | Self::Bytea | Self::Float8
        )
    }

    /// From `pg_type.oid` and `pg_attribute.atttypmod`; `None` for a type that can't be sealed.
    pub fn from_catalog(oid: u32, typmod: i32) -> Option<Self> {
        let length = || {
            u32::try_from(typmod.checked_sub(HEADER)?)
                .ok()
                .filter(|n| (1..=MAX_LENGTH).contains(n))
        };
        let precision = || match typmod {
            -1 => Some(None),
            _ => u8::try_from(typmod).ok().filter(|p| *p <= 6).map(Some),
        };
        Some(match oid {
            TEXT => Text,
            VARCHAR if typmod == -1 => Varchar(None),
            VARCHAR => Varchar(Some(length()?)),
            // bpchar without a length compares without trailing blanks, yet keeps them: no type of SQL's own, not sealed.
            BPCHAR => Char(length()?),
            INT2 => Int2,
            INT4 => Int4,
            INT8 => Int8,
            NUMERIC if typmod == -1 => Numeric(None),
            NUMERIC => {
                let packed = typmod.checked_sub(HEADER).filter(|packed| *packed >= 0)?;
                let precision = (packed >> 16) as u16;
                let scale = ((packed & 0x7ff) ^ 0x400) - 0x400; // 11 bits, signed
                numeric(precision.into(), scale.into())?
            }
            FLOAT8 => Float8,
            BOOL => Bool,
            DATE => Date,
            TIMESTAMP => Timestamp(precision()?),
            TIMESTAMPTZ => Timestamptz(precision()?),
            UUID => Uuid,
            BYTEA => Bytea,
            JSON => Json,
            JSONB => Jsonb,
            _ => return None,
        })
    }

    /// From SQL text as `format_type()` prints it or as people write it: `varchar(320)`, `timestamp(3) with time zone`, `int`.
    pub fn from_sql(text: &str) -> Option<Self> {
        let lower = text.trim().to_ascii_lowercase();
        let unqualified = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
        // Blanks and parentheses may stand freely: `timestamp ( 3 )with  time zone`.
        let (before, modifiers, after) = match unqualified.split_once('(') {
            Some((before, rest)) => {
                let (inside, after) = rest.split_once(')')?;
                (before, Some(inside), after)
            }
            None => (unqualified, None, ""),
        };
        let modifiers: Option<Vec<i64>> = match modifiers {
            Some(inside) => Some(
                inside
                    .split(',')
                    .map(|number| number.trim().parse().ok())
                    .collect::<Option<_>>()?,
            ),
            None => None,
        };
        let words: Vec<&str> = before.split_ascii_whitespace().collect();
        let zone: Vec<&str> = after.split_ascii_whitespace().collect();
        let modifiers = modifiers.as_deref();
        let (name, zone) = match words.as_slice() {
            // Without a precision the zone words stand in the same part.
            ["timestamp", zone @ ..] if modifiers.is_none() => ("timestamp".to_owned(), zone.to_vec()),
            words => (words.join(" "), zone),
        };
        let with_zone = match zone.as_slice() {
            [] => None,
            ["with", "time", "zone"] => Some(true),
            ["without", "time", "zone"] => Some(false),
            _ => return None,
        };
        if with_zone.is_some() && name != "timestamp" {
            return None;
        }
        let length = |n: i64| u32::try_from(n).ok().filter(|n| (1..=MAX_LENGTH).contains(n));
        // The server lowers a larger precision to 6, with a warning.
        let precision = |p: i64| u8::try_from(p.min(6)).ok();
        Some(match (name.as_str(), modifiers) {
            ("text", None) => Text,
            ("varchar" | "character varying" | "char varying", None) => Varchar(None),
            ("varchar" | "character varying" | "char varying", Some([n])) => Varchar(Some(length(*n)?)),
            ("char" | "character", None) => Char(1),
            ("char" | "character" | "bpchar", Some([n])) => Char(length(*n)?),
            ("smallint" | "int2", None) => Int2,
            ("integer" | "int" | "int4", None) => Int4,
            ("bigint" | "int8", None) => Int8,
            ("numeric" | "decimal" | "dec", None) => Numeric(None),
            ("numeric" | "decimal" | "dec", Some([p])) => numeric(*p, 0)?,
            ("numeric" | "decimal" | "dec", Some([p, s])) => numeric(*p, *s)?,
            ("double precision" | "float8" | "float", None) => Float8,
            ("float", Some([25..=53])) => Float8,
            ("boolean" | "bool", None) => Bool,
            ("date", None) => Date,
            ("timestamp", None) if with_zone == Some(true) => Timestamptz(None),
            ("timestamp", Some([p])) if with_zone == Some(true) => Timestamptz(Some(precision(*p)?)),
            ("timestamp", None) => Timestamp(None),
            ("timestamp", Some([p])) => Timestamp(Some(precision(*p)?)),
            ("timestamptz", None) => Timestamptz(None),
            ("timestamptz", Some([p])) => Timestamptz(Some(precision(*p)?)),
            ("uuid", None) => Uuid,
            ("bytea", None) => Bytea,
            ("json", None) => Json,
            ("jsonb", None) => Jsonb,
            _ => return None,
        })
    }

    /// As `format_type()` prints it; [`from_sql`](Self::from_sql) reads it back.
    pub fn to_sql(self) -> String {
        match self {
            Text => "text".into(),
            Varchar(None) => "character varying".into(),
            Varchar(Some(n)) => format!("character varying({n})"),
            Char(n) => format!("character({n})"),
            Int2 => "smallint".into(),
            Int4 => "integer".into(),
            Int8 => "bigint".into(),
            Numeric(None) => "numeric".into(),
            Numeric(Some((p, s))) => format!("numeric({p},{s})"),
            Float8 => "double precision".into(),
            Bool => "boolean".into(),
            Date => "date".into(),
            Timestamp(None) => "timestamp without time zone".into(),
            Timestamp(Some(p)) => format!("timestamp({p}) without time zone"),
            Timestamptz(None) => "timestamp with time zone".into(),
            Timestamptz(Some(p)) => format!("timestamp({p}) with time zone"),
            Uuid => "uuid".into(),
            Bytea => "bytea".into(),
            Json => "json".into(),
            Jsonb => "jsonb".into(),
        }
    }

    /// `pg_type.oid`
    pub fn oid(self) -> u32 {
        match self {
            Text => TEXT,
            Varchar(_) => VARCHAR,
            Char(_) => BPCHAR,
            Int2 => INT2,
            Int4 => INT4,
            Int8 => INT8,
            Numeric(_) => NUMERIC,
            Float8 => FLOAT8,
            Bool => BOOL,
            Date => DATE,
            Timestamp(_) => TIMESTAMP,
            Timestamptz(_) => TIMESTAMPTZ,
            Uuid => UUID,
            Bytea => BYTEA,
            Json => JSON,
            Jsonb => JSONB,
        }
    }

    /// `pg_type.typlen` (-1: variable), as RowDescription has it.
    pub fn typlen(self) -> i16 {
        match self {
            Text | Varchar(_) | Char(_) | Numeric(_) | Bytea | Json | Jsonb => -1,
            Bool => 1,
            Int2 => 2,
            Int4 | Date => 4,
            Int8 | Float8 | Timestamp(_) | Timestamptz(_) => 8,
            Uuid => 16,
        }
    }

    /// `pg_attribute.atttypmod`, as RowDescription has it.
    pub fn typmod(self) -> i32 {
        match self {
            Varchar(Some(n)) | Char(n) => i32::try_from(n).map_or(-1, |n| n.saturating_add(HEADER)),
            Numeric(Some((p, s))) => (i32::from(p) << 16 | i32::from(s) & 0x7ff) + HEADER,
            Timestamp(Some(p)) | Timestamptz(Some(p)) => p.into(),
            _ => -1,
        }
    }

    /// Whether PostgreSQL has `=` for the type and [`normalise`](super::normalise) is exact (not for json, jsonb).
    ///
    /// Text is taken to have a deterministic collation, as all of PostgreSQL's own are: equal means the same bytes.
    pub fn has_equality(self) -> bool {
        !matches!(self, Json | Jsonb)
    }

    /// Whether a client may declare a parameter for this column with type `oid` (0 and `unknown` always; else the same
    /// type or one that PostgreSQL assigns without changing the value: text for varchar, int4 for int8, …), and how it is then read.
    ///
    /// The bytes are in the returned type. Where it isn't the column's own, [`convert`](fn@super::convert) brings its canonical form to the column's.
    pub fn accepts_parameter(self, oid: u32) -> Option<LogicalType> {
        if matches!(oid, 0 | UNKNOWN) || oid == self.oid() {
            return Some(self);
        }
        match (self, oid) {
            // Text and varchar are one type to `=`; the column's own limit applies on assignment.
            (Text | Varchar(_), TEXT | VARCHAR) => Some(self),
            // Against a text parameter the comparison is one of texts: its trailing blanks count.
            (Char(_), TEXT) => Some(Text),
            (Char(_), VARCHAR) => Some(Varchar(None)),
            (Int2 | Int4 | Int8 | Numeric(_), INT2) => Some(Int2),
            (Int2 | Int4 | Int8 | Numeric(_), INT4) => Some(Int4),
            (Int2 | Int4 | Int8 | Numeric(_), INT8) => Some(Int8),
            // Exact up to 2^53; bigint and numeric would be rounded.
            (Float8, INT2) => Some(Int2),
            (Float8, INT4) => Some(Int4),
            (Timestamp(_), DATE) => Some(Date),
            (Jsonb, JSON) => Some(Json),
            (Json, JSONB) => Some(Jsonb),
            _ => None,
        }
    }
}

fn numeric(precision: i64, scale: i64) -> Option<LogicalType> {
    ((1..=1000).contains(&precision) && (-1000..=1000).contains(&scale))
        .then_some(Numeric(Some((precision as u16, scale as i16))))
}
