//! How `pgward audit` prints. Names in records (application names, tables) are chosen by clients: what goes to a terminal or a
//! spreadsheet is made harmless first.

use super::Format;
use crate::audit::{AuditObject, Broken, Entry, Report};
use comfy_table::{ContentArrangement, Table, presets};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

/// Takes records and prints them in one format.
pub(super) struct Sink<'a> {
    format: Format,
    terminal: bool,
    out: &'a mut dyn Write,
    table: Table,
    started: bool,
}

const TABLE_HEADER: [&str; 9] = [
    "time (UTC)",
    "index",
    "handler",
    "action",
    "decision",
    "columns",
    "subjects",
    "rows",
    "purpose / note",
];

const CSV_HEADER: [&str; 32] = [
    "index",
    "log",
    "node",
    "event_id",
    "part",
    "ts_start",
    "ts_end",
    "action",
    "decision",
    "handler",
    "handler_kind",
    "login_role",
    "auth_method",
    "session_id",
    "client_addr",
    "client_port",
    "client_cert_fp",
    "application_name",
    "database",
    "purpose",
    "objects",
    "subjects",
    "subject_count",
    "rows",
    "bytes",
    "rule",
    "policy_version",
    "sqlstate",
    "refusal",
    "statement_fingerprint",
    "statement_text",
    "note",
];

impl<'a> Sink<'a> {
    pub fn new(format: Format, terminal: bool, out: &'a mut dyn Write) -> Self {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(TABLE_HEADER);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        Self {
            format,
            terminal,
            out,
            table,
            started: false,
        }
    }

    pub fn put(&mut self, line: &[u8], entry: &Entry) -> io::Result<()> {
        match self.format {
            Format::Json => {
                self.out.write_all(line)?;
                self.out.write_all(b"\n")
            }
            Format::Csv => {
                if !self.started {
                    self.started = true;
                    write_csv(self.out, CSV_HEADER.iter().map(|name| (*name).to_owned()))?;
                }
                write_csv(self.out, csv_cells(entry).into_iter())
            }
            Format::Table => {
                self.table.add_row(table_cells(entry));
                Ok(())
            }
        }
    }

    pub fn finish(mut self) -> io::Result<()> {
        match self.format {
            Format::Table if self.table.row_count() > 0 => {
                if !self.terminal {
                    self.table.set_content_arrangement(ContentArrangement::Disabled);
                }
                writeln!(self.out, "{}", self.table)
            }
            Format::Table => writeln!(self.out, "no record matches"),
            Format::Csv if !self.started => write_csv(self.out, CSV_HEADER.iter().map(|name| (*name).to_owned())),
            Format::Json | Format::Csv => Ok(()),
        }
    }
}

fn table_cells(entry: &Entry) -> [String; 9] {
    let time = entry
        .ts_start
        .map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string());
    let about = entry.note.clone().or_else(|| entry.purpose.clone()).unwrap_or_default();
    let decision = match (word(&entry.decision), entry.refusal.as_str()) {
        (decision, "") => decision,
        (decision, refusal) => format!("{decision}: {refusal}"),
    };
    [
        time,
        entry.index.to_string(),
        harmless(&entry.handler),
        word(&entry.action),
        harmless(&decision),
        harmless(&objects(&entry.objects, "\n")),
        entry.subject_count.to_string(),
        entry.rows.map_or_else(String::new, |rows| rows.to_string()),
        harmless(&about),
    ]
}

fn csv_cells(entry: &Entry) -> [String; 32] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    let time = |at: Option<jiff::Timestamp>| at.map_or_else(String::new, |at| format!("{at:.6}"));
    [
        entry.index.to_string(),
        entry.log.to_string(),
        entry.node.clone(),
        entry.event_id.to_string(),
        entry.part.to_string(),
        time(entry.ts_start),
        time(entry.ts_end),
        word(&entry.action),
        word(&entry.decision),
        entry.handler.clone(),
        entry.handler_kind.clone(),
        entry.login_role.clone(),
        entry.auth_method.clone(),
        entry.session_id.map_or_else(String::new, |id| id.to_string()),
        entry.client_addr.map_or_else(String::new, |addr| addr.to_string()),
        number(entry.client_port.map(u64::from)),
        text(&entry.client_cert_fp),
        entry.application_name.clone(),
        entry.database.clone(),
        text(&entry.purpose),
        objects(&entry.objects, " "),
        entry.subjects.join(" "),
        entry.subject_count.to_string(),
        number(entry.rows),
        entry.bytes.to_string(),
        entry.rule.clone(),
        entry.policy_version.clone(),
        entry.sqlstate.clone(),
        entry.refusal.clone(),
        entry.statement_fingerprint.clone(),
        entry.statement_text.clone(),
        text(&entry.note),
    ]
}

/// `public.customers: email (clear), phone (searched)`, one table a line or word.
fn objects(objects: &[AuditObject], between: &str) -> String {
    let mut text = String::new();
    let mut previous: Option<&AuditObject> = None;
    for object in objects {
        match previous.filter(|previous| previous.schema == object.schema && previous.table == object.table) {
            Some(_) => text.push_str(", "),
            None => {
                let between = if previous.is_some() { between } else { "" };
                let _ = write!(text, "{between}{}.{}: ", object.schema, object.table);
            }
        }
        let _ = write!(text, "{} ({})", object.column, word(&object.how));
        previous = Some(object);
    }
    text
}

/// The word that stands in the journal for an enum's value.
fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// Without control characters (escape sequences move a terminal's cursor) and without marks that turn the reading direction.
pub(super) fn harmless(text: &str) -> String {
    let bad = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if bad(c) { '\u{fffd}' } else { c }).collect()
}

/// One line of CSV (RFC 4180). A cell that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, CSV injection).
pub(super) fn write_csv(out: &mut dyn Write, cells: impl Iterator<Item = String>) -> io::Result<()> {
    for (position, cell) in cells.enumerate() {
        if position > 0 {
            out.write_all(b",")?;
        }
        let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
            "'"
        } else {
            ""
        };
        if !guard.is_empty() || cell.contains([',', '"', '\n', '\r', ';', '\t']) {
            write!(out, "\"{guard}{}\"", cell.replace('"', "\"\""))?;
        } else {
            out.write_all(cell.as_bytes())?;
        }
    }
    out.write_all(b"\r\n")
}

/// The result of `verify` for people.
pub(super) fn verified(
    directory: &Path,
    result: &Result<Report, Broken>,
    compared: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "journal  {}", directory.display())?;
    match result {
        Ok(report) => {
            writeln!(out, "log      {}", report.log)?;
            writeln!(
                out,
                "records  {} in {} segments, {} bytes",
                report.records, report.segments, report.bytes
            )?;
            if let Some(head) = report.head {
                writeln!(out, "head     {head}")?;
            }
            if report.unfinished > 0 {
                writeln!(
                    out,
                    "note     the last {} bytes are a line being written, or cut short by a crash",
                    report.unfinished
                )?;
            }
            writeln!(
                out,
                "WHOLE    every record is as it was written, none is missing, all are in order"
            )?;
            if compared {
                writeln!(out, "         and the head that was noted earlier is in it")
            } else {
                writeln!(
                    out,
                    "         up to the head; note the head elsewhere and give it with --expect-head next time,"
                )?;
                writeln!(out, "         so that a cut end or a log written anew is found too")
            }
        }
        Err(broken) => writeln!(out, "BROKEN   {}", harmless(&broken.to_string())),
    }
}

/// The result of `verify` for programs.
pub(super) fn verified_json(directory: &Path, result: &Result<Report, Broken>, out: &mut dyn Write) -> io::Result<()> {
    let directory = directory.display().to_string();
    let value = match result {
        Ok(report) => serde_json::json!({
            "whole": true,
            "journal": directory,
            "log": report.log.to_string(),
            "records": report.records,
            "segments": report.segments,
            "bytes": report.bytes,
            "head": report.head.map(|head| head.to_string()),
            "unfinished_bytes": report.unfinished,
        }),
        Err(broken) => serde_json::json!({
            "whole": false,
            "journal": directory,
            "fault": format!("{:?}", broken.fault),
            "segment": broken.segment,
            "line": broken.line,
            "index": broken.index,
            "good": broken.good,
            "text": broken.text,
        }),
    };
    writeln!(out, "{value}")
}
