//! `pgward audit`: is the journal whole, and what does it say. Reads only; works while pgward writes.
//!
//! Deliberately absent yet: a record of who read the log with this command (PCI DSS 10.2.1.3): the journal has one writer, the proxy,
//! and will be asked through its admin port.

mod filter;
mod output;
#[cfg(test)]
mod tests;

use super::CliResult;
use crate::audit::{self, Head, Reading};
use clap::{Subcommand, ValueEnum};
use filter::Filter;
use serde::Deserialize;
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    // Boxed: it would make the enum of all commands as large as itself.
    #[command(subcommand)]
    command: Box<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Prove that the journal is whole, or name the first bad record.
    Verify(VerifyArgs),
    /// List access records, oldest first.
    Show(ShowArgs),
}

/// Where the journal is.
#[derive(clap::Args, Debug)]
struct Place {
    /// The journal's directory.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    journal: Option<PathBuf>,
    /// The policy file that names it.
    #[arg(long, value_name = "FILE", default_value = "pgward.toml")]
    config: PathBuf,
}

#[derive(clap::Args, Debug)]
struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// A head that was noted earlier: found if the log's end was cut off or all of it written anew.
    #[arg(long, value_name = "INDEX:HASH")]
    expect_head: Option<Head>,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
struct ShowArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    /// Only the newest N that match. Default: 200 for a table, all otherwise.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Output format of `show`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// The journal's own lines, byte for byte, so that they can be verified.
    Json,
    /// For spreadsheets: quoted, and guarded against cells that would be run as formulas.
    Csv,
}

/// Rows of a table where `--limit` does not say otherwise.
const TABLE_LIMIT: usize = 200;

/// Runs it.
pub fn run(args: Args) -> CliResult {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = match *args.command {
        Command::Verify(args) => run_verify(&args, &mut out),
        Command::Show(args) => run_show(&args, &mut out),
    };
    let flushed = out.flush();
    match (result, flushed) {
        // `pgward audit show | head` is no error.
        (Err(error), _) if is_broken_pipe(&*error) => Ok(ExitCode::SUCCESS),
        (Ok(_), Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        (Ok(_), Err(error)) => Err(error.into()),
        (result, _) => result,
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

impl Place {
    fn directory(&self) -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
        match &self.journal {
            Some(directory) => Ok(directory.clone()),
            None => directory_in(&self.config),
        }
    }
}

/// `[journal] directory` of a policy file. Nothing else of the file need be valid: an auditor's look at the records must not depend on it.
fn directory_in(config: &Path) -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
    #[derive(Deserialize)]
    struct File {
        journal: Journal,
    }
    #[derive(Deserialize)]
    struct Journal {
        directory: PathBuf,
    }
    let text = std::fs::read_to_string(config).map_err(|e| {
        format!(
            "{} can't be read ({e}); name it with --config, or the journal with --journal",
            config.display()
        )
    })?;
    let file: File = toml::from_str(&text)
        .map_err(|e| format!("{} names no journal directory: {}", config.display(), e.message()))?;
    Ok(file.journal.directory)
}

fn run_verify(args: &VerifyArgs, out: &mut dyn Write) -> CliResult {
    let directory = args.place.directory()?;
    let result = audit::verify_against(&directory, args.expect_head);
    if args.json {
        output::verified_json(&directory, &result, out)?;
    } else {
        output::verified(&directory, &result, args.expect_head.is_some(), out)?;
    }
    Ok(if result.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_show(args: &ShowArgs, out: &mut dyn Write) -> CliResult {
    let directory = args.place.directory()?;
    let limit = args.limit.or((args.format == Format::Table).then_some(TABLE_LIMIT));
    let mut sink = output::Sink::new(args.format, io::stdout().is_terminal(), out);
    let mut newest = VecDeque::new();
    let mut matches = 0_u64;
    let mut bad = 0_u64;
    let mut failed = Ok(());
    audit::read(&directory, &mut |reading| {
        let (line, entry) = match reading {
            Reading::Good(line, entry) => (line, entry),
            Reading::Bad(what) => {
                bad += 1;
                eprintln!("pgward: {what}");
                return ControlFlow::Continue(());
            }
        };
        if !args.filter.matches(&entry) {
            return ControlFlow::Continue(());
        }
        matches += 1;
        match limit {
            None => {
                failed = sink.put(line, &entry);
                if failed.is_err() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            }
            Some(limit) => {
                newest.push_back((line.to_vec(), entry));
                if newest.len() > limit {
                    newest.pop_front();
                }
                ControlFlow::Continue(())
            }
        }
    })?;
    failed?;
    let shown = newest.len() as u64;
    for (line, entry) in &newest {
        sink.put(line, entry)?;
    }
    sink.finish()?;
    if limit.is_some() && shown < matches {
        eprintln!("pgward: the newest {shown} of {matches} records that match; --limit shows more");
    }
    if bad > 0 {
        eprintln!("pgward: {bad} lines are not as they were written; run `pgward audit verify`");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
