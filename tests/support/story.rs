//! What a driver met, line by line, so that two runs can be compared: on a plain database, and through pgward.

use super::{Options, World};
use std::fmt::Display;

const POLICY: &str = include_str!("../drivers/policy.toml");

/// Two tables of the same columns: pgward protects those of `clients` and none of `things`.
pub const TABLES: [&str; 2] = ["things", "clients"];
/// A statement a table.
pub fn create(table: &str) -> String {
    format!(
        "CREATE TABLE {table} (id int PRIMARY KEY, note text, tags text[], numbers int[], email varchar(40) UNIQUE, name text NOT NULL, code varchar(10),
            key uuid, amount bigint, ratio double precision, active boolean, born date, seen timestamp, signed timestamptz, photo bytea,
            settings jsonb, price numeric(12,3))"
    )
}

/// Both databases, with the tables in them: what is created through pgward is sealed.
pub fn world() -> World {
    World::start(Options {
        policy: POLICY.into(),
        ..Options::default()
    })
}

/// The lines.
#[derive(Debug, Default)]
pub struct Story {
    chapter: String,
    lines: Vec<String>,
}

impl Story {
    /// What the next lines are about.
    pub fn chapter(&mut self, name: impl Display) {
        self.chapter = name.to_string();
    }
    /// One line.
    pub fn note(&mut self, line: impl Display) {
        self.lines.push(format!("{}: {line}", self.chapter));
    }
    /// A result, with the error as `describe` tells it.
    pub fn result<T: std::fmt::Debug, E>(&mut self, what: &str, result: Result<T, E>, describe: impl Fn(E) -> String) {
        let line = match result {
            Ok(value) => format!("{what} = {value:?}"),
            Err(error) => format!("{what} fails: {}", describe(error)),
        };
        self.note(line);
    }
    /// Fails where the stories differ, or where there is less in them than there must be.
    pub fn same(direct: &Self, through: &Self, at_least: usize) {
        for (n, (a, b)) in direct.lines.iter().zip(&through.lines).enumerate() {
            assert_eq!(a, b, "line {n}, directly (left) and through pgward (right)");
        }
        assert_eq!(direct.lines.len(), through.lines.len());
        assert!(direct.lines.len() >= at_least, "{} lines", direct.lines.len());
        if std::env::var_os("PGWARD_STORY").is_some() {
            eprintln!("{}", direct.lines.join("\n"));
        }
    }
}
