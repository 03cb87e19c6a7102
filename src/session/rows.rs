//! Results: RowDescription and DataRow of protected statements, column by column as the plan says.
//!
//! A value is opened only where three sources agree: the plan's lineage, the RowDescription's table and column (where it names them)
//! and the column id inside the envelope, which [`Keyring::open`] authenticates.

use crate::crypto::{CryptoError, Keyring};
use crate::plan::{ColumnRef, Output, Reason, Refusal, Snapshot, SubjectSource};
use crate::policy::{Disclosure, Permit};
use crate::value::{self, Format, Plaintext, TextStyle};
use crate::wire::frame::Malformed;
use crate::wire::read::{DataRow, Field};
use crate::wire::sqlstate::SqlState;
use bytes::{BufMut, BytesMut};
use std::io::Write;

/// How one result column reaches the client.
#[derive(Clone)]
pub(super) enum Shown {
    /// As it came, in this format.
    Unchanged { format: Format },
    /// Opened (or, for mode `none`, read), masked where the permit says so, in this format.
    Value {
        column: ColumnRef,
        permit: Permit,
        format: Format,
        stored: Format,
    },
    /// Added by the planner, not shown.
    Hidden,
}

/// Buffers that are reused from value to value.
#[derive(Default)]
pub(super) struct Scratch {
    envelope: Vec<u8>,
    plain: Plaintext,
    masked: Plaintext,
    pub(super) subject: Vec<u8>,
}

/// What a row tells the access record.
#[derive(Default, Clone, Copy)]
pub(super) struct RowTally {
    pub(super) opened: u64,
    pub(super) bytes: u64,
}

/// Why a row can't be given out.
pub(super) enum RowFault {
    Malformed(Malformed),
    Refused(Refusal),
}

impl From<Malformed> for RowFault {
    fn from(fault: Malformed) -> Self {
        RowFault::Malformed(fault)
    }
}

/// The stored form's name for messages, and what to do, for an envelope that doesn't open.
pub(super) fn integrity(column: &ColumnRef, fault: &CryptoError) -> Refusal {
    let hint = match fault {
        CryptoError::NotAnEnvelope => "The row was written around pgward or damaged; restore it from a backup.",
        CryptoError::OtherColumn { .. } => {
            "The row was copied between columns around pgward; restore it from a backup."
        }
        CryptoError::UnknownKey(_) | CryptoError::NoActiveKey => {
            "The keyring of this database lacks the key: check that pgward uses the control database that sealed this row."
        }
        CryptoError::DestroyedKey(_) => "The key was destroyed on purpose; the value can't be brought back.",
        CryptoError::Authentication => "The row was altered, or belongs to another database; restore it from a backup.",
        CryptoError::TooLong => "Store a shorter value.",
        CryptoError::UnsuitableType => "Declare another mode for the column.",
        CryptoError::NoRandomness => "Look at the host's random number generator.",
        CryptoError::WrongPermit
        | CryptoError::WrongMode
        | CryptoError::InconsistentKeys(_)
        | CryptoError::KeySetup => "This is a fault in pgward or in its keyring; please report it.",
    };
    Refusal {
        sqlstate: SqlState::DATA_CORRUPTED,
        reason: Reason::Integrity,
        column: Some(column.name.clone()),
        message: format!("column {} can't be opened: {fault}", column.name),
        hint: Some(hint.into()),
    }
}

/// A disagreement between what was planned and what the server describes.
pub(super) fn lineage_mismatch(what: &str) -> Refusal {
    Refusal {
        sqlstate: SqlState::FEATURE_NOT_SUPPORTED,
        reason: Reason::Integrity,
        column: None,
        message: format!("the server's result does not have the columns that were planned: {what}"),
        hint: Some("The catalog may have changed just now: prepare or send the statement again.".into()),
    }
}

/// Checks a column of a RowDescription in which nothing is planned to be protected: it must not be a protected one.
pub(super) fn check_unprotected(field: &Field<'_>, snapshot: &Snapshot) -> Result<(), Refusal> {
    // No table has the number 0, which stands for none.
    let Some(relation) = snapshot.protected_by_oid.get(&field.table) else {
        return Ok(());
    };
    let column = relation
        .columns
        .iter()
        .find(|c| c.attnum == field.attnum && (c.protected.is_some() || c.unusable.is_some()));
    let Some(column) = column else {
        return Ok(());
    };
    let mut refusal = lineage_mismatch("it shows a protected column that the statement's text did not name");
    refusal.message = format!("{} ({}.{})", refusal.message, relation.name, column.name);
    Err(refusal)
}

/// Checks the fields against the plan and gives those that the client sees.
pub(super) fn describe<'a>(
    fields: &[Field<'a>],
    outputs: &[Output],
    snapshot: &Snapshot,
    format: impl Fn(usize) -> u16,
) -> Result<Vec<Field<'a>>, Refusal> {
    if fields.len() != outputs.len() {
        return Err(lineage_mismatch("their number differs"));
    }
    let mut shown = Vec::with_capacity(fields.len());
    for (index, (field, output)) in fields.iter().zip(outputs).enumerate() {
        let mut field = *field;
        match output {
            Output::Clear => check_unprotected(&field, snapshot)?,
            Output::Column {
                column,
                direct,
                grouped,
                hidden,
            } => {
                check_direct(&field, column, *direct, snapshot)?;
                if column.mode.is_sealed() && field.type_oid != 17 && Some(field.type_oid) != snapshot.sealed_domain_oid
                {
                    return Err(lineage_mismatch("a sealed column does not come as bytea").column(&column.name));
                }
                if *hidden {
                    continue;
                }
                if *grouped
                    && field.table == 0
                    && let Some((table, attnum)) = place_of(column, snapshot)
                {
                    (field.table, field.attnum) = (table, attnum);
                }
                field.type_oid = column.logical_type.oid();
                field.typlen = column.logical_type.typlen();
                field.typmod = column.logical_type.typmod();
            }
        }
        field.format = format(index);
        shown.push(field);
    }
    Ok(shown)
}

/// Table and number of a column, where the table has an OID already.
fn place_of(column: &ColumnRef, snapshot: &Snapshot) -> Option<(u32, i16)> {
    let relation = snapshot.relations.get(&column.name.relation).filter(|r| r.oid != 0)?;
    let found = |c: &&crate::plan::schema::Column| c.protected.as_ref().is_some_and(|p| p.id == column.id);
    Some((relation.oid, relation.columns.iter().find(found)?.attnum))
}

fn check_direct(field: &Field<'_>, column: &ColumnRef, direct: bool, snapshot: &Snapshot) -> Result<(), Refusal> {
    if field.table == 0 {
        // Expressions and set operations name no table; a plain column of a table always does.
        let known = snapshot
            .relations
            .get(&column.name.relation)
            .is_some_and(|r| r.oid != 0);
        return if direct && known {
            Err(lineage_mismatch("a column comes without its table").column(&column.name))
        } else {
            Ok(())
        };
    }
    match snapshot.protected_by_oid.get(&field.table) {
        Some(relation) => {
            let found = relation
                .columns
                .iter()
                .find(|c| c.attnum == field.attnum)
                .and_then(|c| c.protected.as_ref());
            if found.is_some_and(|c| c.id == column.id) {
                Ok(())
            } else {
                Err(lineage_mismatch("a column comes from another place").column(&column.name))
            }
        }
        // A table made in this very script has no OID in the snapshot yet.
        None if snapshot.relations.get(&column.name.relation).is_none_or(|r| r.oid == 0) => Ok(()),
        None => Err(lineage_mismatch("a column comes from another table").column(&column.name)),
    }
}

/// Appends the DataRow that the client sees. On an error `out` holds a part of it: the caller cuts it off.
pub(super) fn rewrite(
    body: &[u8],
    shown: &[Shown],
    keyring: &Keyring,
    style: &TextStyle,
    scratch: &mut Scratch,
    out: &mut BytesMut,
) -> Result<RowTally, RowFault> {
    let mut row = DataRow::read(body)?;
    if row.count != shown.len() {
        return Err(RowFault::Refused(lineage_mismatch(
            "a row has another number of columns",
        )));
    }
    let visible = shown.iter().filter(|s| !matches!(s, Shown::Hidden)).count();
    let mut tally = RowTally::default();
    out.put_u16(u16::try_from(visible).unwrap_or(u16::MAX));
    for how in shown {
        let value = row.value()?;
        match (how, value) {
            (Shown::Hidden, _) => {}
            (_, None) => out.put_i32(-1),
            (Shown::Unchanged { .. }, Some(bytes)) => {
                out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                out.put_slice(bytes);
            }
            (
                Shown::Value {
                    column,
                    permit,
                    format,
                    stored,
                },
                Some(bytes),
            ) => {
                if let (false, Disclosure::Clear) = (column.mode.is_sealed(), permit.disclosure()) {
                    // Stored in clear, read in clear: the server's own text is the exact one.
                    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                    out.put_slice(bytes);
                } else {
                    let length_at = out.len();
                    out.put_u32(0);
                    show(bytes, column, permit, *format, *stored, keyring, style, scratch, out)
                        .map_err(RowFault::Refused)?;
                    let length = u32::try_from(out.len() - length_at - 4).unwrap_or(u32::MAX);
                    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
                    tally.opened += u64::from(column.mode.is_sealed());
                }
                tally.bytes += bytes.len() as u64;
            }
        }
    }
    row.done()?;
    Ok(tally)
}

#[allow(clippy::too_many_arguments)] // one value's whole way, called from one place; a struct would only rename the list
fn show(
    bytes: &[u8],
    column: &ColumnRef,
    permit: &Permit,
    format: Format,
    stored: Format,
    keyring: &Keyring,
    style: &TextStyle,
    scratch: &mut Scratch,
    out: &mut BytesMut,
) -> Result<(), Refusal> {
    if column.mode.is_sealed() {
        let envelope = match stored {
            Format::Binary => bytes,
            Format::Text => {
                unescape_bytea(bytes, &mut scratch.envelope)
                    .ok_or(CryptoError::NotAnEnvelope)
                    .map_err(|e| integrity(column, &e))?;
                &scratch.envelope
            }
        };
        keyring
            .open(permit, column, envelope, &mut scratch.plain)
            .map_err(|e| integrity(column, &e))?;
    } else {
        value::decode(column.logical_type, stored, bytes, style, &mut scratch.plain)
            .map_err(|e| unshowable(column, e.sqlstate))?;
    }
    let canonical = match permit.disclosure() {
        Disclosure::Clear => &scratch.plain,
        Disclosure::Masked(mask) => {
            value::mask(mask, column.logical_type, &scratch.plain, &mut scratch.masked);
            &scratch.masked
        }
    };
    value::encode(column.logical_type, format, canonical, style, out).map_err(|e| unshowable(column, e.sqlstate))
}

fn unshowable(column: &ColumnRef, sqlstate: SqlState) -> Refusal {
    Refusal {
        sqlstate,
        reason: Reason::Value,
        column: Some(column.name.clone()),
        message: format!(
            "a value of column {} can't be shown in the form that was asked for",
            column.name
        ),
        hint: Some("Set DateStyle to ISO and TimeZone to a named zone, or ask for binary results.".into()),
    }
}

/// Reads `bytea` text output, hex (`\x…`) or escape, into `out`.
pub(super) fn unescape_bytea(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    if let Some(hex) = text.strip_prefix(b"\\x") {
        let (pairs, odd) = hex.as_chunks::<2>();
        if !odd.is_empty() {
            return None;
        }
        // No branch a digit: one that is none leaves its mark in `seen`.
        let mut seen = 0;
        out.extend(pairs.iter().map(|[high, low]| {
            let (high, low) = (NIBBLES[usize::from(*high)], NIBBLES[usize::from(*low)]);
            seen |= high | low;
            high << 4 | low
        }));
        return (seen & 0xF0 == 0).then_some(());
    }
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                out.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => return None,
            (byte, tail) => {
                out.push(byte);
                tail
            }
        };
    }
    Some(())
}

/// What each byte is worth as a hexadecimal digit; 0xFF where it is none.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [0xFF; 256];
    let mut digit = 0;
    while digit < 16 {
        nibbles[b"0123456789abcdef"[digit] as usize] = digit as u8;
        nibbles[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    nibbles
};

/// A data subject's key in its text form, for the pseudonym, written over `out`; `None` where it can't be read (an unusual type in binary).
pub(super) fn subject_key(type_oid: u32, format: Format, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    let integer = match (format, type_oid) {
        (Format::Text, 20 | 21 | 23) => std::str::from_utf8(bytes).ok()?.trim().parse::<i64>().ok()?,
        (Format::Binary, 21) => i16::from_be_bytes(bytes.try_into().ok()?).into(),
        (Format::Binary, 23) => i32::from_be_bytes(bytes.try_into().ok()?).into(),
        (Format::Binary, 20) => i64::from_be_bytes(bytes.try_into().ok()?),
        (_, 2950) => {
            let uuid = match format {
                Format::Text => uuid::Uuid::parse_str(std::str::from_utf8(bytes).ok()?.trim()).ok()?,
                Format::Binary => uuid::Uuid::from_slice(bytes).ok()?,
            };
            out.extend_from_slice(
                uuid.hyphenated()
                    .encode_lower(&mut uuid::Uuid::encode_buffer())
                    .as_bytes(),
            );
            return Some(());
        }
        (Format::Text, _) | (Format::Binary, 25 | 1043 | 1042) => {
            out.extend_from_slice(bytes);
            return Some(());
        }
        (Format::Binary, _) => return None,
    };
    write!(out, "{integer}").ok()
}

/// The value of result column `index` of a row, if it has one.
pub(super) fn column_value(body: &[u8], index: usize) -> Option<&[u8]> {
    let mut row = DataRow::read(body).ok()?;
    if index >= row.count {
        return None;
    }
    for _ in 0..index {
        row.value().ok()?;
    }
    row.value().ok()?
}

/// The type of a subject source's key column.
pub(super) fn subject_type(source: &SubjectSource, snapshot: &Snapshot) -> Option<u32> {
    let (SubjectSource::Output { table, .. }
    | SubjectSource::Param { table, .. }
    | SubjectSource::Literal { table, .. }) = source;
    let relation = snapshot.relations.get(table)?;
    relation.column(relation.subject.as_deref()?).map(|c| c.type_oid)
}
