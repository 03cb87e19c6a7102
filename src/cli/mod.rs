//! Command line: one file a command. Reads arguments and prints; what it does is done by the modules below.

pub mod audit;
pub mod check;
pub mod cluster;
pub mod demo;
pub mod init;
pub mod serve;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// What a command comes to: its exit status, or an error that is printed with its causes (exit status 1; 2 for bad arguments).
pub type CliResult = Result<ExitCode, Box<dyn std::error::Error + Send + Sync>>;

/// PostgreSQL proxy that seals personal data, enforces handlers' rights and keeps tamper-evident access records.
#[derive(Parser, Debug)]
#[command(name = "pgward", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the proxy.
    Serve(serve::Args),
    /// Make a key file, the control database with the wrapped keyring, and the storage domain.
    Init(init::Args),
    /// Validate the policy against the live database and print what is protected, how, and for whom.
    Check(check::Args),
    /// Show, filter and verify the access records.
    Audit(audit::Args),
    /// Try everything out on a throw-away PostgreSQL.
    Demo(demo::Args),
}

/// Runs one command; the process's exit status is its result.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Init(args) => init::run(args),
        Command::Check(args) => check::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Demo(args) => demo::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("pgward: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            eprintln!("  because: {error}");
            cause = error.source();
        }
        ExitCode::FAILURE
    })
}
