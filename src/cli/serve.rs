//! `pgward serve`: the proxy as a process. Reads arguments, sets logging up, waits for signals; `engine` does the work.
//!
//! SIGTERM and SIGINT stop it gracefully (a second one at once), SIGHUP reloads the policy.

mod engine;
mod load;

pub use engine::{ReloadError, Running, StartError, start};

use super::CliResult;
use crate::policy::Policy;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing_log::LogTracer;
use tracing_subscriber::EnvFilter;

/// Libraries that log what they are given at their lower levels: the parser a statement's tokens, the driver of pgward's own log-in its parameters
/// (wrapped keys). They are not heard at any level, whatever the filter says.
const TALKATIVE: [&str; 2] = ["sqlparser", "tokio_postgres"];

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The policy file
    #[arg(long, short, value_name = "FILE", default_value = "pgward.toml")]
    pub config: PathBuf,
    /// Form of the log lines on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What to log: a level (error, warn, info, debug) or a filter such as `info,pgward::net=debug`; RUST_LOG where left out
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Runs it.
pub fn run(args: Args) -> CliResult {
    set_up_log(&args)?;
    let policy = Policy::load(&args.config)?;
    let running = Arc::new(start(policy)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(attend(running, args.config))
}

/// Waits for signals, until one ends it.
async fn attend(running: Arc<Running>, config: PathBuf) -> CliResult {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let died = running.clone();
    let mut died = tokio::task::spawn_blocking(move || died.wait());
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                let (running, config) = (running.clone(), config.clone());
                tokio::task::spawn_blocking(move || reload(&running, &config)).await?;
            }
            _ = &mut died => return Err("pgward's threads ended unexpectedly; the log says more".into()),
        }
    }
    tracing::info!("stopping: running statements may end, new clients are turned away");
    let stopping = tokio::task::spawn_blocking(move || running.stop());
    tokio::select! {
        stopped = stopping => stopped?,
        _ = terminate.recv() => return quit(),
        _ = interrupt.recv() => return quit(),
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The second signal: no more patience.
fn quit() -> CliResult {
    tracing::warn!("stopped at once");
    // The stop that is under way holds threads that a return would wait for.
    std::process::exit(1)
}

fn reload(running: &Running, config: &std::path::Path) {
    let policy = match Policy::load(config) {
        Ok(policy) => policy,
        Err(error) => {
            running.metrics().policy_rejected();
            // Line by line: every fault is a log record of its own.
            for fault in error.message.lines() {
                tracing::error!("{fault}");
            }
            tracing::error!("the policy file is bad: the policy in force stays");
            return;
        }
    };
    if let Err(error) = running.reload(policy) {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the new policy can't take effect: the policy in force stays"
        );
    }
}

fn set_up_log(args: &Args) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = match &args.log {
        Some(filter) => EnvFilter::try_new(filter).map_err(|error| format!("--log: {error}"))?,
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
    };
    LogTracer::builder().ignore_all(TALKATIVE.iter().copied()).init()?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            tracing::subscriber::set_global_default(log.with_ansi(is_terminal).finish())?;
        }
        LogFormat::Json => tracing::subscriber::set_global_default(log.json().finish())?,
    }
    Ok(())
}
