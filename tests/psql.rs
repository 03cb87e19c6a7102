//! psql through pgward: the simple protocol, its own catalog queries, transactions, scripts.

mod support;

use support::{Options, World, text};

const POLICY: &str = include_str!("end_to_end/policy.toml");

fn world() -> World {
    World::start(Options {
        policy: POLICY.into(),
        roles: vec!["app", "support", "marketing", "analyst"],
        ..Default::default()
    })
}

fn psql(world: &World, role: &str, commands: &[&str]) -> String {
    let mut args = Vec::new();
    for command in commands {
        args.extend(["-c", command]);
    }
    text(&world.psql(&world.through(role), &args))
}

#[test]
fn writes_and_reads() {
    let world = world();
    let out = psql(
        &world,
        "app",
        &[
            "CREATE TABLE customers (id int PRIMARY KEY, email varchar(100) UNIQUE, name text, birth date, iban text)",
            "INSERT INTO customers VALUES (1, 'kim@example.com', '김민준', '1990-05-17', NULL), (2, 'o''neil@example.com', E'tab\\there', NULL, 'X')",
            "BEGIN; UPDATE customers SET name = 'Kim' WHERE email = 'kim@example.com'; COMMIT",
            "SELECT * FROM customers ORDER BY id",
        ],
    );
    assert_eq!(
        out,
        "CREATE TABLE\nINSERT 0 2\nBEGIN\nUPDATE 1\nCOMMIT\n1|kim@example.com|Kim|1990-05-17|\n2|o'neil@example.com|tab\there||X\n"
    );
    let direct = text(&world.psql(&world.around("app"), &["-c", "SELECT name FROM customers ORDER BY id"]));
    assert!(direct.lines().all(|line| line.starts_with("\\xfa")), "{direct}");
}

#[test]
fn a_refusal_says_what_why_and_what_to_do_and_the_session_goes_on() {
    let world = world();
    psql(
        &world,
        "app",
        &["CREATE TABLE customers (id int PRIMARY KEY, email text, name text, birth date, iban text)"],
    );
    let out = psql(
        &world,
        "app",
        &["SELECT id FROM customers WHERE birth > '1990-01-01'", "SELECT 1"],
    );
    assert!(out.contains("ERROR:  0A000:"), "{out}");
    assert!(out.contains("birth"), "the column: {out}");
    assert!(
        out.contains("HINT:") && out.contains("docs/ERRORS.md#range"),
        "the way out: {out}"
    );
    assert!(out.starts_with("1\n"), "goes on: {out}");
    assert!(!out.contains("1990-01-01"), "no literal in an error: {out}");
}

#[test]
fn its_own_catalog_queries_work() {
    let world = world();
    psql(
        &world,
        "app",
        &["CREATE TABLE customers (id int PRIMARY KEY, email text, name text, birth date, iban text)"],
    );
    for command in ["\\d", "\\dt+", "\\d customers", "\\du", "\\df", "\\l", "\\dn", "\\di"] {
        let out = world.psql(&world.through("app"), &["-c", command]);
        // A psql older than the server asks for columns of the catalog that are gone (`\\l` of psql 15 at a server 18): so it does directly.
        let direct = world.psql(&world.around("app"), &["-c", command]);
        if direct.status.success() {
            assert!(
                out.status.success() && !text(&out).contains("ERROR"),
                "{command}: {}",
                text(&out)
            );
        } else {
            assert_eq!(text(&out), text(&direct), "{command}");
        }
    }
}

#[test]
fn a_script_on_standard_input_is_the_same_as_on_the_server_itself() {
    let world = world();
    let script = world.directory().join("script.sql");
    std::fs::write(
        &script,
        "\\set VERBOSITY terse\nCREATE TABLE things (a int PRIMARY KEY, b text);\nINSERT INTO things SELECT g, 'thing ' || g FROM generate_series(1, 1000) g;\n\
         SELECT count(*), max(b) FROM things;\n\\copy things TO '/dev/null'\nSELECT 1 \\gset\nBEGIN;\nSELECT 1/0;\nSELECT 2;\nROLLBACK;\n\
         DO $$ BEGIN RAISE NOTICE 'a notice'; END $$;\nSELECT * FROM things WHERE a = 7 \\gx\nDROP TABLE things;\n",
    )
    .expect("a script");
    let script = script.to_string_lossy().into_owned();
    let direct = text(&world.psql(&world.plain("app"), &["-f", &script]));
    let through = text(&world.psql(&world.through("app"), &["-f", &script]));
    assert_eq!(direct, through);
}
