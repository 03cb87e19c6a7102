//! A plain database and a sealed one with the same rows: what goes to both must come back alike.

use super::raw::{Message, Notice, Raw, Send, error};
use super::{Options, World};

const POLICY: &str = include_str!("../differential/policy.toml");
const SCHEMA: &str =
    "CREATE TABLE people (id int PRIMARY KEY, email varchar(60) UNIQUE, name text, phone text, birth date)";

/// Both sides, with the same table and ten rows.
pub struct Pair {
    /// Both servers.
    pub world: World,
    /// Around pgward, a database without protected columns.
    pub plain: Raw,
    /// Through pgward, to sealed columns.
    pub sealed: Raw,
}

impl Pair {
    /// A world of its own.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let world = World::start(Options {
            policy: POLICY.into(),
            ..Default::default()
        });
        let mut plain = Raw::connect(world.cluster.port(), "app", "plain");
        let mut sealed = Raw::connect(world.port, "app", "app");
        for raw in [&mut plain, &mut sealed] {
            let rows: Vec<String> = (1..=10)
                .map(|n| format!("({n}, 'p{n}@example.com', 'Person {n}', '{}', '2000-01-{n:02}')", n % 3))
                .collect();
            for sql in [
                SCHEMA.to_owned(),
                format!("INSERT INTO people VALUES {}", rows.join(", ")),
            ] {
                let answer = raw.query(&sql);
                assert!(error(&answer).is_none(), "{answer:?}");
            }
        }
        Self { world, plain, sealed }
    }

    /// Sends the same to both and compares `syncs` answers up to ReadyForQuery.
    pub fn same(&mut self, messages: &[Send<'_>], syncs: usize) -> Vec<Message> {
        self.plain.send(messages);
        self.sealed.send(messages);
        let read = |raw: &mut Raw| {
            (0..syncs)
                .flat_map(|_| comparable(raw.until_ready()))
                .collect::<Vec<_>>()
        };
        let (plain, sealed) = (read(&mut self.plain), read(&mut self.sealed));
        assert_eq!(plain, sealed, "plain (left) and pgward (right) for {messages:?}");
        sealed
    }
}

/// Messages without what may differ: hints, details, positions of errors.
pub fn comparable(messages: Vec<Message>) -> Vec<Message> {
    let strip = |notice: Notice| Notice {
        hint: String::new(),
        detail: String::new(),
        position: String::new(),
        ..notice
    };
    messages
        .into_iter()
        .map(|message| match message {
            Message::Error(notice) => Message::Error(strip(notice)),
            other => other,
        })
        .collect()
}
