//! `pgward init`: root key, control database, keyring, storage domain. Idempotent; says what it did and what to do next.

use super::CliResult;
use crate::control::init::Report;
use crate::policy::Policy;
use crate::policy::file::Keys;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The policy file
    #[arg(long, short, value_name = "FILE", default_value = "pgward.toml")]
    pub config: PathBuf,
}

/// Runs it.
pub fn run(args: Args) -> CliResult {
    let text = std::fs::read_to_string(&args.config)
        .map_err(|error| format!("the policy file {} can't be read: {error}", args.config.display()))?;
    let policy = Policy::parse(&text)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(crate::control::init(policy.file(), &|database| {
        policy.declared(database)
    }))?;
    print!("{}", describe(&policy, &report, &args.config));
    Ok(ExitCode::SUCCESS)
}

/// What was done, and what to do next.
fn describe(policy: &Policy, report: &Report, config: &std::path::Path) -> String {
    let file = policy.file();
    let Keys::File { path } = &file.keys;
    let made = |new: bool| if new { "made" } else { "was there" };
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{words}");
    };
    line(format_args!(
        "root key          {}  {} ({})",
        made(report.new_root_key),
        path.display(),
        report.fingerprint
    ));
    line(format_args!(
        "control database  {}  {}",
        made(report.new_control_database),
        file.control.database
    ));
    line(format_args!("keyring           {}", made(report.new_store)));
    for database in &report.databases {
        let registered = &database.registered;
        line(format_args!(
            "database {}: domain pgward.sealed {}; {} declared columns ({} new), {} new data keys; id {}",
            database.name,
            made(database.new_domain),
            registered.declarations.len(),
            registered.new_columns,
            registered.new_keys,
            registered.database,
        ));
    }
    line(format_args!("\nNext:"));
    if report.new_root_key {
        line(format_args!(
            "- Back up {} now, apart from the database and its backups: without it, no sealed value can be read again.",
            path.display()
        ));
    }
    line(format_args!(
        "- pgward check --config {}   shows what is protected, how, and for whom",
        config.display()
    ));
    line(format_args!(
        "- pgward serve --config {}   runs the proxy",
        config.display()
    ));
    text
}
