//! The report for people.

use super::report::{HandlerReport, Report, State};
use crate::policy::file::{ReadGrant, Rights};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Width where the output is no terminal.
const WIDTH: u16 = 160;

/// The whole report.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    match &report.version {
        Some(version) => writeln!(out, "{}: policy version {version}", report.file)?,
        None => writeln!(out, "{}: no valid policy", report.file)?,
    }
    for fault in &report.faults {
        writeln!(out, "  {fault}")?;
    }
    if !report.columns.is_empty() {
        writeln!(out, "\nProtected columns\n{}", columns(report))?;
        writeln!(
            out,
            "\nWhat handlers may do (read clear or masked, search, write; * the purpose of sessions that state none)"
        )?;
        for table in matrices(report) {
            writeln!(out, "{table}")?;
        }
    }
    section(out, "Look again", &report.warnings)?;
    section(out, "Wrong", &report.problems)?;
    let looked_at = if report.live {
        "policy and database"
    } else {
        "policy file"
    };
    if report.is_good() {
        writeln!(out, "\nThe {looked_at} can be used.")
    } else {
        let count = report.faults.len() + report.problems.len();
        writeln!(
            out,
            "\n{count} {} wrong.",
            if count == 1 { "thing is" } else { "things are" }
        )
    }
}

fn section(out: &mut String, title: &str, lines: &[String]) -> std::fmt::Result {
    if !lines.is_empty() {
        writeln!(out, "\n{title}")?;
    }
    for line in lines {
        writeln!(out, "- {line}")?;
    }
    Ok(())
}

fn table() -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !table.is_tty() {
        table.set_width(WIDTH);
    }
    table
}

fn columns(report: &Report) -> Table {
    let several = report
        .columns
        .iter()
        .any(|column| column.database != report.columns[0].database);
    let mut table = table();
    table.set_header([
        "column",
        "category",
        "mode",
        "type",
        "key domain",
        "the stored form shows",
        "in the database",
    ]);
    for column in &report.columns {
        let mut name = format!("{}.{}", column.table, column.column);
        if several {
            name = format!("{}: {name}", column.database);
        }
        let domain = match &column.key_domain {
            Some(domain) if *domain == name => "its own",
            Some(domain) => domain,
            None => "–",
        };
        table.add_row([
            name.as_str(),
            &column.category,
            column.mode,
            column.logical_type.as_deref().unwrap_or("?"),
            domain,
            column.leaks,
            &state(&column.state, column.mode),
        ]);
    }
    table
}

fn state(state: &State, mode: &str) -> String {
    match state {
        State::Unknown => "not looked at".into(),
        State::Protected if mode == "none" => "in clear, as declared".into(),
        State::Protected => "sealed".into(),
        State::NoTable => "no such table yet".into(),
        State::NoColumn => "no such column yet".into(),
        State::Unusable(why) => format!("NOT USABLE: {why}"),
    }
}

/// One table of rights a protected table: handlers down, columns across.
fn matrices(report: &Report) -> Vec<Table> {
    let mut of_table = BTreeMap::<(&str, &str), Vec<usize>>::new();
    for (n, column) in report.columns.iter().enumerate() {
        of_table.entry((&column.database, &column.table)).or_default().push(n);
    }
    let matrix = |((_, name), columns): ((&str, &str), Vec<usize>)| {
        let mut table = table();
        let headings = columns
            .iter()
            .filter_map(|n| Some(report.columns.get(*n)?.column.as_str()));
        table.set_header([name, "purpose"].into_iter().chain(headings));
        for handler in &report.handlers {
            let cells = columns.iter().map(|n| cell(handler.rights.get(*n)));
            table.add_row([handler.handler.clone(), purpose(handler)].into_iter().chain(cells));
        }
        table
    };
    of_table.into_iter().map(matrix).collect()
}

fn purpose(handler: &HandlerReport) -> String {
    let name = handler.purpose.as_deref().unwrap_or("none stated");
    format!("{name}{}", if handler.default { " *" } else { "" })
}

/// `clear, search, write`; a dash for nothing.
pub fn cell(rights: Option<&Rights>) -> String {
    let Some(rights) = rights else {
        return "–".into();
    };
    let read = rights.read.map(|read| match read {
        ReadGrant::Clear => "clear",
        ReadGrant::Masked => "masked",
    });
    let words: Vec<&str> = [read, rights.search.then_some("search"), rights.write.then_some("write")]
        .into_iter()
        .flatten()
        .collect();
    if words.is_empty() {
        "–".into()
    } else {
        words.join(", ")
    }
}
