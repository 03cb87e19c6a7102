//! Attacks on a real server through the built proxy: by handlers with less than all rights, by injected SQL, by somebody around the proxy, by a client
//! that speaks the protocol oddly. Nothing that a handler may not see in clear may reach him, in whatever message, and nothing of it the log or the records.

mod support;

#[path = "attack/sql.rs"]
mod sql;

use support::raw::{Message, Raw};
use support::{Options, World, text};

const POLICY: &str = include_str!("attack/policy.toml");

/// Values of protected columns. Who may not see them in clear sees none of these words in any message.
const SECRETS: [&str; 5] = ["Zaphod", "5551234", "marker@example.com", "DE0212", "Umzug"];

const SCHEMA: &str = "\
    CREATE TABLE customers (id int PRIMARY KEY, email varchar(100) UNIQUE, secret text, code text, name text, phone text, \
    note text, size int CHECK (size < 100)); \
    CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers (id) ON DELETE RESTRICT, item text); \
    CREATE TABLE \"kündigungen\" (id int PRIMARY KEY, grund text); \
    CREATE SCHEMA shadow; \
    CREATE TABLE shadow.customers (id int, email varchar(100), secret text, code text, name text, phone text, note text, size int); \
    INSERT INTO customers VALUES (1, 'marker@example.com', 'DE0212', 'DE0212', 'Zaphod', '5551234', 'n', 7); \
    INSERT INTO customers VALUES (2, 'other@example.com', 'x', 'y', 'Trillian', '5559999', 'n', 8); \
    INSERT INTO orders VALUES (1, 1, 'towel'); \
    INSERT INTO \"kündigungen\" VALUES (1, 'Umzug'); \
    INSERT INTO shadow.customers VALUES (1, 's', 's', 's', 's', 's', 's', 1); \
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC; \
    GRANT ALL ON SCHEMA shadow TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA shadow TO PUBLIC; GRANT ALL ON SCHEMA public TO PUBLIC";

fn world() -> World {
    let world = World::start(Options {
        policy: POLICY.into(),
        roles: vec!["app", "masked", "searcher", "writer", "nobody"],
        ..Default::default()
    });
    let mut app = Raw::connect(world.port, "app", "app");
    for statement in SCHEMA.split("; ") {
        let answer = app.query(statement);
        assert!(support::raw::error(&answer).is_none(), "{statement}: {answer:?}");
    }
    world.cluster.sql("app", "ANALYZE customers").expect("ANALYZE");
    world
}

/// All bytes of messages, for a search.
fn shown(messages: &[Message]) -> String {
    messages
        .iter()
        .map(|message| match message {
            Message::DataRow(row) => row
                .iter()
                .map(|v| v.as_deref().map_or_else(|| "∅".into(), String::from_utf8_lossy))
                .collect::<Vec<_>>()
                .join(" | "),
            Message::Other(tag, body) => format!("{tag}: {}", String::from_utf8_lossy(body)),
            other => format!("{other:?}"),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The protected values that a text holds, also as hexadecimal digits.
fn secrets_in(text: &str) -> Vec<&'static str> {
    SECRETS
        .into_iter()
        .filter(|secret| text.contains(secret) || text.contains(&hex::encode(secret)))
        .collect()
}

#[path = "attack/extended.rs"]
mod extended;

#[path = "attack/protocol.rs"]
mod protocol;

#[path = "attack/names.rs"]
mod names;
