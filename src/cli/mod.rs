//! Command line.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs one command; the process's exit status is its result.
pub fn run(_args: impl IntoIterator<Item = OsString>) -> ExitCode {
    todo!()
}
