//! The `pgward` binary: hands its arguments to [`pgward::cli`].
use std::process::ExitCode;

fn main() -> ExitCode {
    pgward::cli::run(std::env::args_os())
}
