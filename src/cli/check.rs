//! `pgward check`

use super::CliResult;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs it.
pub fn run(_args: Args) -> CliResult {
    todo!()
}
