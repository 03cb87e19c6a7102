//! Reading records back, one by one, oldest first. Works on a live journal; an unfinished last line is passed over.
//!
//! Checks each record against its own hash, so that an altered one is not shown as a good one; whether records are missing or out of order
//! is for [`super::verify()`] to say.

use super::JournalError;
use super::entry::{Entry, Link, SCHEMA_VERSION};
use super::segment::{self, Line, Lines};
use std::ops::ControlFlow;
use std::path::Path;

/// A line of the journal, read back.
pub enum Reading<'a> {
    /// Its bytes give its hash. The line as it stands in the journal comes with it.
    Good(&'a [u8], Box<Entry>),
    /// They do not, or it can't be understood; where, and why.
    Bad(String),
}

/// Calls `each` for every line, until it breaks.
pub fn read(directory: &Path, each: &mut dyn FnMut(Reading<'_>) -> ControlFlow<()>) -> Result<(), JournalError> {
    let fail = |name: &str, e: std::io::Error| {
        JournalError::new(format!("{}: can't be read: {e}", directory.join(name).display()))
    };
    let segments = segment::segments(directory).map_err(|e| fail("", e))?;
    if segments.is_empty() {
        return Err(JournalError::new(format!("{} holds no journal", directory.display())));
    }
    let mut line = Vec::new();
    for (position, segment) in segments.iter().enumerate() {
        let mut lines = Lines::open(&directory.join(&segment.name)).map_err(|e| fail(&segment.name, e))?;
        let mut number = 0_u64;
        loop {
            number += 1;
            let bad = |what: &str| Reading::Bad(format!("{}, line {number}: {what}", segment.name));
            let reading = match lines.next(&mut line).map_err(|e| fail(&segment.name, e))? {
                Line::End => break,
                Line::Torn if position + 1 == segments.len() => break,
                Line::Torn | Line::TooLong => bad("the line does not end"),
                Line::Whole => match understand(&line) {
                    Ok(entry) => Reading::Good(&line, entry),
                    Err(what) => bad(&what),
                },
            };
            if each(reading).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn understand(line: &[u8]) -> Result<Box<Entry>, String> {
    if !Link::parse(line).is_some_and(|link| link.is_sound()) {
        return Err("not as it was written: altered".to_owned());
    }
    let entry: Entry = serde_json::from_slice(line).map_err(|e| format!("written by another version? {e}"))?;
    match entry.schema_version {
        SCHEMA_VERSION => Ok(Box::new(entry)),
        other => Err(format!(
            "has schema version {other}, this pgward reads {SCHEMA_VERSION}"
        )),
    }
}
