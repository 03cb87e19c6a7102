//! How the catalog is read: the SQL, and the pure function from its rows to a [`super::Snapshot`]. The rows come from pgward's own connection
//! (module `catalog`) or, inside a transaction with DDL, from the session's own connection.
//!
//! # The type marker
//! What a sealed column is to its clients must live in the application database: transactional with the DDL, writable with the table owner's
//! rights alone, and kept by pg_dump. It is the first line of the column's COMMENT: `pgward: ` and the type as `format_type()` prints it, e.g.
//! `pgward: character varying(320)`. What follows the first newline is the application's own comment. [`marker`] writes it, [`read_marker`] reads it.
//!
//! A marker says only how the bytes inside an authenticated envelope are read; whoever can write one gains no value by it.
//!
//! # The queries
//! Everything in them is qualified with `pg_catalog`, operators too, because they also run on a client's connection, whose search path may name
//! look-alikes. They need no right beyond those that every role has, and PostgreSQL 12 or later. They call no function that looks at the catalog by itself
//! (`pg_get_indexdef()`, `format_type()`, a cast to `regclass` of anything that isn't PostgreSQL's own): such a function fails on what is dropped meanwhile, and those that open a relation
//! wait for its lock. What is deliberately absent: other sessions' temporary relations, system schemas, TOAST.

mod builder;
mod expressions;
#[cfg(test)]
mod tests;

pub use builder::SnapshotBuilder;
pub(super) use builder::unfit;

use super::schema::{Declaration, NameScope, RelationName};
use crate::value::LogicalType;
use std::sync::{Arc, LazyLock};

/// One statement, no parameters. Its result: any number of rows of [`CATALOG_COLUMNS`] text columns, in any order. The first column says what a row is:
///
/// | row | 2nd | 3rd | 4th | 5th | 6th | 7th | 8th |
/// |---|---|---|---|---|---|---|---|
/// | `d`: the domain `pgward.sealed` | its oid | | | | | | |
/// | `r`: a relation | its oid | | its name | its schema | relkind | | |
/// | `c`: a live column | relation | attnum | its name | atttypid | atttypmod | `n` not null, `d` default, identity or generated | comment, for sealed ones |
/// | `i`: inheritance, partition | child | parent | | | | | |
/// | `k`: a total unique index | relation | number of key columns | index name | attnums (0: expression) | its expressions as a node tree | `c` for a constraint | |
/// | `v`: a view, or a table's rule, uses a relation | view | relation | | | | | |
/// | `f`: a function with its source | | | its name | source, absent where longer than 64 KiB | | | |
/// | `g`: a function's body (`BEGIN ATOMIC`) depends on a relation | | relation | its name | | | | |
pub const CATALOG_QUERY: &str = "\
WITH nsp AS MATERIALIZED (\
SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n \
WHERE n.oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() \
OR (n.nspname OPERATOR(pg_catalog.<>) 'information_schema'::pg_catalog.name \
AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_'))), \
rel AS MATERIALIZED (\
SELECT c.oid, c.relname, n.nspname, c.relkind, c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog.\"char\"[]) AS table_like \
FROM pg_catalog.pg_class c JOIN nsp n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace), \
sealed AS MATERIALIZED (\
SELECT t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace \
WHERE n.nspname OPERATOR(pg_catalog.=) 'pgward'::pg_catalog.name AND t.typname OPERATOR(pg_catalog.=) 'sealed'::pg_catalog.name \
AND t.typtype OPERATOR(pg_catalog.=) 'd'::pg_catalog.\"char\") \
SELECT 'd'::pg_catalog.text, s.oid::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text, \
NULL::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text FROM sealed s \
UNION ALL \
SELECT 'r', r.oid::pg_catalog.text, NULL, r.relname::pg_catalog.text, r.nspname::pg_catalog.text, r.relkind::pg_catalog.text, NULL, NULL FROM rel r \
UNION ALL \
SELECT 'c', a.attrelid::pg_catalog.text, a.attnum::pg_catalog.text, a.attname::pg_catalog.text, a.atttypid::pg_catalog.text, \
a.atttypmod::pg_catalog.text, \
pg_catalog.concat(CASE WHEN a.attnotnull THEN 'n' END, CASE WHEN a.atthasdef OR a.attidentity OPERATOR(pg_catalog.<>) ''::pg_catalog.\"char\" \
OR a.attgenerated OPERATOR(pg_catalog.<>) ''::pg_catalog.\"char\" THEN 'd' END), \
CASE WHEN a.atttypid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT s.oid FROM sealed s)) \
THEN pg_catalog.col_description(a.attrelid, a.attnum::pg_catalog.int4) END \
FROM pg_catalog.pg_attribute a JOIN rel r ON r.oid OPERATOR(pg_catalog.=) a.attrelid AND r.table_like \
WHERE a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped \
UNION ALL \
SELECT 'i', h.inhrelid::pg_catalog.text, h.inhparent::pg_catalog.text, NULL, NULL, NULL, NULL, NULL \
FROM pg_catalog.pg_inherits h JOIN rel r ON r.oid OPERATOR(pg_catalog.=) h.inhrelid AND r.table_like \
UNION ALL \
SELECT 'k', x.indrelid::pg_catalog.text, x.indnkeyatts::pg_catalog.text, r.relname::pg_catalog.text, x.indkey::pg_catalog.text, \
x.indexprs::pg_catalog.text, \
CASE WHEN o.oid IS NOT NULL THEN 'c' END, NULL \
FROM pg_catalog.pg_index x JOIN rel r ON r.oid OPERATOR(pg_catalog.=) x.indexrelid \
LEFT JOIN pg_catalog.pg_constraint o ON o.conindid OPERATOR(pg_catalog.=) x.indexrelid \
AND o.contype OPERATOR(pg_catalog.=) ANY ('{p,u}'::pg_catalog.\"char\"[]) \
WHERE x.indisunique AND x.indisvalid AND x.indpred IS NULL \
UNION ALL \
SELECT DISTINCT 'v', w.ev_class::pg_catalog.text, d.refobjid::pg_catalog.text, NULL, NULL, NULL, NULL, NULL \
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid \
JOIN rel r ON r.oid OPERATOR(pg_catalog.=) d.refobjid \
WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid \
AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
AND w.ev_class OPERATOR(pg_catalog.<>) d.refobjid \
UNION ALL \
SELECT 'f', NULL, NULL, p.proname::pg_catalog.text, \
CASE WHEN pg_catalog.octet_length(p.prosrc) OPERATOR(pg_catalog.<=) 65536 THEN p.prosrc END, NULL, NULL, NULL \
FROM pg_catalog.pg_proc p JOIN nsp n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang \
WHERE l.lanname OPERATOR(pg_catalog.<>) ALL ('{c,internal}'::pg_catalog.name[]) AND p.prosrc OPERATOR(pg_catalog.<>) ''::pg_catalog.text \
UNION ALL \
SELECT DISTINCT 'g', NULL, d.refobjid::pg_catalog.text, p.proname::pg_catalog.text, NULL, NULL, NULL, NULL \
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid \
JOIN rel r ON r.oid OPERATOR(pg_catalog.=) d.refobjid \
WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid \
AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid";

/// See [`CATALOG_QUERY`].
pub const CATALOG_COLUMNS: usize = 8;

/// [`CATALOG_QUERY`] for a connection with another client encoding than UTF-8, in which names may be other bytes, or none at all: one column, each row of the
/// other as a JSON array in UTF-8, in hexadecimal digits. Costs half as much again.
pub static CATALOG_QUERY_ASCII: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT pg_catalog.encode(pg_catalog.convert_to(pg_catalog.array_to_json(ARRAY[q.a, q.b, q.c, q.d, q.e, q.f, q.g, q.h])::pg_catalog.text, 'UTF8'), 'hex') \
         FROM ({CATALOG_QUERY}) AS q (a, b, c, d, e, f, g, h)"
    )
});

/// One statement, no parameters, one row of [`SCOPE_COLUMNS`] text columns, all ASCII: what [`ScopeProbe::parse`] reads. The settings are such as decide how
/// texts and values are read. The server reports some of them, but only with the next ReadyForQuery.
pub const SCOPE_QUERY: &str = "\
SELECT pg_catalog.encode(pg_catalog.convert_to(pg_catalog.array_to_json(pg_catalog.current_schemas(true))::pg_catalog.text, 'UTF8'), 'hex'), \
(SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_namespace n WHERE n.oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()), \
pg_catalog.current_setting('bytea_output'), pg_catalog.current_setting('extra_float_digits'), \
EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() \
AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog.\"char\"[]))::pg_catalog.text, \
pg_catalog.current_setting('DateStyle'), pg_catalog.current_setting('TimeZone'), \
pg_catalog.current_setting('client_encoding'), pg_catalog.current_setting('standard_conforming_strings')";

/// See [`SCOPE_QUERY`].
pub const SCOPE_COLUMNS: usize = 9;

/// What the policy declares for one database, with the ids that the control database assigned.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    /// Columns.
    pub columns: Vec<Arc<Declaration>>,
    /// Subject column by table.
    pub subjects: Vec<(RelationName, Arc<str>)>,
}

const MARKER: &str = "pgward: ";

/// The comment of a sealed column of this logical type, with the application's own comment behind it.
pub fn marker(logical_type: LogicalType, comment: Option<&str>) -> String {
    let line = format!("{MARKER}{}", logical_type.to_sql());
    match comment {
        Some(comment) if !comment.is_empty() => format!("{line}\n{comment}"),
        _ => line,
    }
}

/// The logical type and the application's own comment in the comment of a sealed column; `None` where it begins with no marker that is understood.
pub fn read_marker(comment: &str) -> Option<(LogicalType, Option<&str>)> {
    let rest = comment.strip_prefix(MARKER)?;
    let (line, own) = match rest.split_once('\n') {
        Some((line, own)) => (line, Some(own)),
        None => (rest, None),
    };
    Some((LogicalType::from_sql(line.trim_end_matches('\r'))?, own))
}

/// What a session's own connection says of names and text forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeProbe {
    /// How names resolve.
    pub scope: NameScope,
    /// `bytea_output = hex`
    pub bytea_hex: bool,
    /// `extra_float_digits`
    pub extra_float_digits: i32,
    /// Whether this session has temporary relations: then the shared snapshot, which knows none, does not describe it.
    pub temp_relations: bool,
    /// `DateStyle`
    pub date_style: String,
    /// `TimeZone`
    pub time_zone: String,
    /// `client_encoding`
    pub client_encoding: String,
    /// `standard_conforming_strings`
    pub standard_conforming_strings: bool,
}

impl ScopeProbe {
    /// Reads the row of [`SCOPE_QUERY`]. An error is a row that doesn't fit.
    pub fn parse(row: &[Option<&[u8]>]) -> Result<Self, String> {
        let [
            schemas,
            temp_schema,
            bytea_output,
            extra_float_digits,
            temp_relations,
            date_style,
            time_zone,
            client_encoding,
            standard_conforming_strings,
        ] = row
        else {
            return Err(format!(
                "the row of settings has {} columns, not {SCOPE_COLUMNS}",
                row.len()
            ));
        };
        let schemas: Vec<Arc<str>> = json_in_ascii(*schemas, "schemas")?;
        let temp_schema = temp_schema
            .map(|name| text(Some(name), "temporary schema"))
            .transpose()?;
        Ok(Self {
            scope: NameScope {
                schemas,
                temp_schema: temp_schema.map(Arc::from),
            },
            bytea_hex: match text(*bytea_output, "bytea_output")? {
                "hex" => true,
                "escape" => false,
                _ => return Err("bytea_output is neither hex nor escape".into()),
            },
            extra_float_digits: text(*extra_float_digits, "extra_float_digits")?
                .parse()
                .map_err(|_| "extra_float_digits is not a number".to_owned())?,
            temp_relations: text(*temp_relations, "temporary relations")? == "true",
            date_style: text(*date_style, "DateStyle")?.to_owned(),
            time_zone: text(*time_zone, "TimeZone")?.to_owned(),
            client_encoding: text(*client_encoding, "client_encoding")?.to_owned(),
            standard_conforming_strings: match text(*standard_conforming_strings, "standard_conforming_strings")? {
                "on" => true,
                "off" => false,
                _ => return Err("standard_conforming_strings is neither on nor off".into()),
            },
        })
    }
}

/// JSON in UTF-8, in hexadecimal digits.
fn json_in_ascii<T: serde::de::DeserializeOwned>(value: Option<&[u8]>, what: &str) -> Result<T, String> {
    let digits = text(value, what)?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let json: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect();
    let json = json.ok_or_else(|| format!("{what} not in hexadecimal digits"))?;
    serde_json::from_slice(&json).map_err(|_| format!("{what} not in JSON as expected"))
}

/// A value that must be there and be UTF-8.
fn text<'a>(value: Option<&'a [u8]>, what: &str) -> Result<&'a str, String> {
    let bytes = value.ok_or_else(|| format!("catalog row without {what}"))?;
    std::str::from_utf8(bytes).map_err(|_| format!("catalog row whose {what} is not UTF-8"))
}
