//! The log at its most talkative: no value and no literal of a statement, whoever logs it.

mod support;

use support::{Options, PEOPLE, World};

#[test]
fn no_literal_is_logged_at_any_level() {
    let world = World::start(Options {
        policy: PEOPLE.into(),
        log: Some("trace"),
        ..Options::default()
    });
    let out = world.psql(
        &world.through("app"),
        &[
            "-c",
            "CREATE TABLE people (id int PRIMARY KEY, email text, points bigint)",
            "-c",
            "INSERT INTO people VALUES (734512, 'marker-one@example.com', 8675309175)",
            "-c",
            "SELECT email, points FROM people WHERE points = 8675309175 AND id < 734599 AND email = $$marker-one@example.com$$",
            // Refused, and unreadable.
            "-c",
            "SELECT points + 8675309174 FROM people WHERE email LIKE 'marker-two%'",
            "-c",
            "SELECT points FROM people WHERE points = 8675309173 8675309172 'marker-three",
        ],
    );
    let shown = String::from_utf8_lossy(&out.stdout);
    assert!(
        shown.contains("marker-one@example.com|8675309175"),
        "{shown}\n{}",
        world.log()
    );
    let log = world.log();
    // It does say something at this level.
    assert!(log.contains("DEBUG") || log.contains("TRACE"), "{log}");
    for secret in ["marker-", "86753091", "7345", "6d61726b65722d"] {
        let told = log.lines().find(|line| line.contains(secret));
        assert!(told.is_none(), "{secret} is in the log: {told:?}");
    }
}
