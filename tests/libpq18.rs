//! libpq 18, as psycopg's wheel carries it, through pgward: the newest client against whichever server is installed.

#[path = "support/python.rs"]
mod python;
mod support;
#[path = "support/tls.rs"]
mod tls;

use pgward::cli::cluster::Auth;
use std::path::Path;
use std::process::Command;
use support::{Options, PEOPLE, World, text};

/// Pinned, so that a failure is ours. Its libpq is 18.
const PACKAGE: &str = "psycopg[binary]==3.3.9";

#[test]
fn wire_03_wire_04_wire_05_wire_06_libpq_18() {
    let Some(python) = python::python("libpq18-venv", PACKAGE) else {
        eprintln!("SKIPPED: there is no python3 with venv, or pip can't reach the registry to install {PACKAGE}");
        return;
    };
    let (mut world, authority) =
        tls::protected_world_with_tls_on_both_sides("require", Auth::ScramSha256, "tls = \"require\"\n", PEOPLE);
    world.serve();
    let clear = World::start(Options {
        auth: Auth::ScramSha256,
        policy: PEOPLE.into(),
        ..Default::default()
    });
    let major = world.cluster.sql("app", "SHOW server_version_num").expect("a version");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/psycopg/libpq18.py");
    let without_mode = |world: &World| world.through("app").replace("sslmode=disable", "");
    let out = Command::new(python)
        .arg(script)
        .env(
            "PGWARD",
            without_mode(&world).replace("host=127.0.0.1", "host=localhost"),
        )
        .env("CLEAR", without_mode(&clear))
        .env("CA", authority.path("ca.crt"))
        .env("SERVER_MAJOR", &major[..major.len() - 4])
        .output()
        .expect("python");
    assert!(out.status.success(), "{}", text(&out));
}
