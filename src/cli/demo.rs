//! `pgward demo`: everything at once, on a throw-away PostgreSQL, with people who don't exist.
//!
//! Each step checks what it shows: with `--once` the exit status is 0 only if every one of them showed what it must.

mod application;
mod people;
mod records;
mod stage;
mod views;

use super::CliResult;
use people::{Person, people};
use stage::{DATABASE, Fault, Stage};
use std::process::ExitCode;
use std::time::Instant;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// End after the last step, with status 0 only if every step showed what it must
    #[arg(long)]
    pub once: bool,
    /// How many customers to load
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub customers: u32,
}

/// Runs it.
pub fn run(args: Args) -> CliResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(play(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn play(args: Args) -> Result<(), Fault> {
    // Ctrl-C at any time must leave nothing running: the stage is dropped, not the process killed.
    tokio::select! {
        result = steps(args) => result,
        signal = tokio::signal::ctrl_c() => Ok(signal?),
    }
}

async fn steps(args: Args) -> Result<(), Fault> {
    let count = args.customers as usize;
    let start = Instant::now();
    let mut stage = Stage::build()?;
    title(1, "A throw-away PostgreSQL");
    say(&format!(
        "PostgreSQL {} on 127.0.0.1:{}, in {:.1} s",
        stage.cluster.installation().version,
        stage.cluster.port(),
        start.elapsed().as_secs_f32()
    ));

    title(2, "Keys, policy, proxy");
    command(&stage, &["init"]);
    say(&stage.pgward_ok(&["init"])?);
    stage.serve()?;
    command(&stage, &["serve"]);
    say(&format!("listens on 127.0.0.1:{}", stage.port));

    title(3, "An application that knows nothing of pgward");
    let sample: Vec<Person> = people(count).take(10).collect();
    let mut shop = stage.through("shop").await?;
    application::create_tables(&shop).await?;
    say("created customers and orders, with a UNIQUE e-mail address, a foreign key and indexes");
    let took = application::load(&mut shop, count).await?;
    say(&format!(
        "loaded {count} customers and {} orders in {:.1} s",
        count * 2,
        took.as_secs_f32()
    ));
    let median = application::look_up(&shop, count).await?;
    say(&format!(
        "looked customers up by e-mail: {} µs each (median), every answer right",
        median.as_micros()
    ));
    let person = sample.get(7).ok_or("too few customers")?;
    for (id, item, amount, name) in application::join(&shop, person).await? {
        say(&format!("joined: order {id}, {item} for {amount}, of {name}"));
    }
    application::update(&shop, person, "010-5555-0123").await?;
    say("changed a phone number and found its owner by the new one");
    say(&format!(
        "registered an address twice: {}",
        application::duplicate(&shop, person).await?
    ));

    title(4, "The check");
    command(&stage, &["check"]);
    say(&stage.pgward_ok(&["check"])?);

    title(5, "One query, four views");
    say(&views::side_by_side(&stage, &sample).await?);

    title(6, "What is not carried out");
    for (attempt, told) in views::refused(&stage).await? {
        say(&format!("{attempt}\n   {told}"));
    }

    title(7, "Who did what in this minute");
    command(&stage, &["audit", "show"]);
    let summary = records::read(&stage)?;
    println!("{}", summary.listing);
    let [clear, masked, refused] = summary.decisions;
    say(&format!(
        "{} access records: {clear} in clear, {masked} masked, {refused} refused",
        summary.all
    ));

    title(8, "Is the journal whole?");
    command(&stage, &["audit", "verify"]);
    say(&records::verify(&stage)?);
    say("and a copy in which somebody wiped the analyst's name out:");
    say(&records::tamper(&stage)?);

    if args.once {
        println!("\nEvery step showed what it must.");
        return Ok(());
    }
    invite(&stage);
    std::future::pending::<()>().await;
    Ok(())
}

fn invite(stage: &Stage) {
    title(9, "Your turn");
    for (role, what) in [
        ("shop", "the application: everything in clear"),
        ("support", "finds and sees what the phone call needs, the rest masked"),
        ("marketing", "sees masks"),
        ("analyst", "is refused"),
    ] {
        println!("   psql {}   # {what}", stage.url_through(role));
    }
    println!(
        "   psql {}   # around pgward: what the database holds",
        stage.url_around("postgres")
    );
    println!("   curl http://127.0.0.1:{}/metrics", stage.admin_port);
    println!("   policy, keys, journal and log are in {}", stage.path("").display());
    println!("\nDatabase {DATABASE} disappears with Ctrl-C.");
}

fn title(n: u32, text: &str) {
    println!(
        "\n── {n}. {text} {}",
        "─".repeat(60usize.saturating_sub(text.chars().count()))
    );
}

fn command(stage: &Stage, args: &[&str]) {
    println!("   $ pgward {} --config {}", args.join(" "), stage.config().display());
}

fn say(text: &str) {
    for line in text.trim_end().lines() {
        println!("   {line}");
    }
}
