//! psycopg 3 through pgward: a driver that prepares, binds in text and in binary format, pipelines, and copies.

#[path = "support/python.rs"]
mod python;
mod support;

use std::path::Path;
use std::process::Command;
use support::{Options, World, text};

/// Pinned, so that a failure is ours.
const PACKAGE: &str = "psycopg[binary]==3.2.10";

#[test]
fn psycopg() {
    let Some(python) = python::python("psycopg-venv", PACKAGE) else {
        eprintln!("SKIPPED: there is no python3 with venv, or pip can't reach the registry to install {PACKAGE}");
        return;
    };
    let world = World::start(Options {
        policy: include_str!("end_to_end/policy.toml").into(),
        roles: vec!["app", "support", "marketing", "analyst"],
        ..Default::default()
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/psycopg/story.py");
    let out = Command::new(python)
        .arg(script)
        .env("APP", world.through("app"))
        .env("MARKETING", world.through("marketing"))
        .env("ANALYST", world.through("analyst"))
        .env("DIRECT", world.around("app"))
        .output()
        .expect("python");
    assert!(out.status.success(), "{}", text(&out));
}
