//! `pgward check`: validates the policy by itself, then against the live database, and shows what is protected, how, and for whom.
//!
//! Changes nothing anywhere. Exit status 1 where something is wrong; what is merely not there yet, or unwise, is said and no fault.

mod live;
mod print;
mod report;

#[cfg(test)]
mod tests;

use super::CliResult;
use crate::policy::Policy;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The policy file
    #[arg(long, short, value_name = "FILE", default_value = "pgward.toml")]
    config: PathBuf,
    /// Look at the file only, not at the database
    #[arg(long)]
    offline: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args) -> CliResult {
    let report = match Policy::load(&args.config) {
        Err(error) => Report::of_faulty_file(&args.config, error),
        Ok(policy) => {
            let mut report = Report::of_policy(&args.config, &policy);
            if !args.offline {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(live::compare(&policy, &mut report));
            }
            report
        }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", print::text(&report));
    }
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
