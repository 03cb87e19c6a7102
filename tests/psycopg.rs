//! psycopg 3 through pgward: a driver that prepares, binds in text and in binary format, pipelines, and copies.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Options, World, text};

/// Pinned, so that a failure is ours.
const PACKAGE: &str = "psycopg[binary]==3.2.10";

/// A Python that has psycopg; makes a virtual environment in `target/` where there is none. `None`: the package registry can't be reached.
fn python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("psycopg-venv");
    let python = venv.join("bin/python");
    let has_it = |python: &Path| {
        Command::new(python)
            .args(["-c", "import psycopg"])
            .output()
            .is_ok_and(|out| out.status.success())
    };
    if has_it(&python) {
        return Some(python);
    }
    let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).output();
    let installed = made.is_ok_and(|out| out.status.success())
        && Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                PACKAGE,
            ])
            .output()
            .inspect(|out| eprint!("{}", text(out)))
            .is_ok_and(|out| out.status.success());
    (installed && has_it(&python)).then_some(python)
}

#[test]
fn psycopg() {
    let Some(python) = python() else {
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
