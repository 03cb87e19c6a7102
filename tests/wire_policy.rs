//! Rights that change while sessions work: the policy is really replaced, back and forth. Each test is named after its line in WIRE.md.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::raw::{Message, Raw, Send, error};
use support::{Options, World, http};

const TABLE: &str = r#"
[categories.email]
mask = "email"
[categories.name]
mask = "name"
[categories.country]
mask = "general"

[purposes.support]
description = "answers customers"

[groups.support]

[handlers.app]
kind = "service"
groups = ["support"]
purpose = "support"

[[table]]
name = "people"
[table.columns.email]
category = "email"
mode = "eq"
[table.columns.name]
category = "name"
mode = "sealed"
[table.columns.city]
category = "country"
mode = "none"
"#;

/// What the handler may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rights {
    Clear,
    Masked,
    None,
}

fn policy(version: &str, rights: Rights) -> String {
    let grant = match rights {
        Rights::Clear => "read = \"clear\"\nsearch = true\nwrite = true\n",
        Rights::Masked => "read = \"masked\"\nsearch = true\n",
        // There must be a grant; this one is of no use for anything here.
        Rights::None => "write = true\n",
    };
    format!(
        "version = \"{version}\"\n{TABLE}\n[[grant]]\ngroup = \"support\"\npurpose = \"support\"\ncolumns = [\"public.people.*\"]\n{grant}"
    )
}

/// Ten people, and the rights to everything.
fn world() -> World {
    let world = World::start(Options {
        policy: policy("clear-0", Rights::Clear),
        ..Default::default()
    });
    let mut raw = Raw::connect(world.port, "app", "app");
    for sql in [
        "CREATE TABLE people (id int PRIMARY KEY, email text, name text, city text)".to_owned(),
        (1..=10)
            .map(|n| {
                format!("INSERT INTO people VALUES ({n}, 'person{n}@example.com', 'Person Number {n}', 'Town {n}')")
            })
            .collect::<Vec<_>>()
            .join(";"),
    ] {
        let answer = raw.query(&sql);
        assert!(error(&answer).is_none(), "{answer:?}");
    }
    world
}

fn reload(world: &World, version: &str, rights: Rights) {
    world.write_policy(&policy(version, rights));
    world.signal("HUP");
    let line = format!("pgward_policy_info{{version=\"{version}\"}} 1");
    let end = Instant::now() + Duration::from_secs(20);
    while !http::get(world.admin_port, "/metrics").1.lines().any(|l| l == line) {
        assert!(Instant::now() < end, "{version} does not come:\n{}", world.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

const ALL: &str = "SELECT id, email, name, city FROM people ORDER BY id";

type Row = Vec<Option<Vec<u8>>>;

fn rows(messages: &[Message]) -> Vec<Row> {
    messages
        .iter()
        .filter_map(|m| match m {
            Message::DataRow(row) => Some(row.clone()),
            _ => None,
        })
        .collect()
}

/// The rows as they look in clear and masked.
struct Expected {
    clear: Vec<Row>,
    masked: Vec<Row>,
}

impl Expected {
    /// Leaves the world with masks.
    fn ask(world: &World) -> Self {
        let mut raw = Raw::connect(world.port, "app", "app");
        let clear = rows(&raw.query(ALL));
        reload(world, "masked-0", Rights::Masked);
        let masked = rows(&raw.query(ALL));
        assert_eq!((clear.len(), masked.len()), (10, 10));
        for (clear, masked) in clear.iter().zip(&masked) {
            assert_eq!(clear[0], masked[0], "the key is not protected");
            assert!((1..4).all(|i| clear[i] != masked[i]), "{clear:?} {masked:?}");
        }
        Self { clear, masked }
    }

    /// Which rights an answer to a part of [`ALL`], beginning with row `from`, shows: one of them for all of it.
    fn rights(&self, answer: &[Message], from: usize) -> Rights {
        let shown = rows(answer);
        if let Some(refusal) = error(answer) {
            assert_eq!(
                (refusal.sqlstate.as_str(), refusal.anchor()),
                ("42501", Some("denied")),
                "{refusal:?}"
            );
            assert!(shown.is_empty(), "rows before a refusal: {answer:?}");
            return Rights::None;
        }
        let part = from..from + shown.len();
        assert!(!shown.is_empty());
        if shown == self.clear[part.clone()] {
            Rights::Clear
        } else {
            assert_eq!(shown, self.masked[part], "a mixture");
            Rights::Masked
        }
    }
}

fn bind_and_execute(statement: &str) -> [Send<'_>; 3] {
    [
        Send::Bind("", statement, vec![], vec![], vec![]),
        Send::Execute("", 0),
        Send::Sync,
    ]
}

#[test]
fn wire_21_rights_are_looked_at_again_at_bind_and_execute() {
    let world = world();
    let mut raw = Raw::connect(world.port, "app", "app");
    raw.send(&[
        Send::Parse("all", ALL, vec![]),
        Send::Parse("insert", "INSERT INTO people (id, name) VALUES ($1, $2)", vec![]),
        Send::Sync,
    ]);
    assert!(error(&raw.until_ready()).is_none());
    let expected = Expected::ask(&world);
    let insert = [
        Send::Bind(
            "",
            "insert",
            vec![],
            vec![Some(b"11".to_vec()), Some(b"Eleven".to_vec())],
            vec![],
        ),
        Send::Execute("", 0),
        Send::Sync,
    ];
    for (n, rights) in [Rights::Clear, Rights::Masked, Rights::None, Rights::Clear]
        .into_iter()
        .enumerate()
    {
        reload(&world, &format!("bind-{n}"), rights);
        raw.send(&bind_and_execute("all"));
        assert_eq!(expected.rights(&raw.until_ready(), 0), rights);
        raw.send(&[Send::Query("BEGIN")]);
        raw.until_ready();
        raw.send(&insert);
        let answer = raw.until_ready();
        assert_eq!(
            error(&answer).is_some(),
            rights == Rights::Masked,
            "{rights:?}: {answer:?}"
        );
        raw.query("ROLLBACK");
    }
    // An open portal too, between two Executes.
    reload(&world, "portal-0", Rights::Clear);
    raw.query("BEGIN");
    raw.send(&[
        Send::Bind("p", "all", vec![], vec![], vec![]),
        Send::Execute("p", 3),
        Send::Flush,
    ]);
    let answer = raw.take(5);
    assert_eq!(expected.rights(&answer, 0), Rights::Clear);
    reload(&world, "portal-1", Rights::Masked);
    raw.send(&[Send::Execute("p", 3), Send::Flush]);
    assert_eq!(expected.rights(&raw.take(4), 3), Rights::Masked);
    reload(&world, "portal-2", Rights::None);
    raw.send(&[Send::Execute("p", 3), Send::Sync]);
    let answer = raw.until_ready();
    assert_eq!(expected.rights(&answer, 6), Rights::None);
    assert_eq!(answer.last(), Some(&Message::Ready('E')), "as after any error");
    raw.query("ROLLBACK");
}

#[test]
fn wire_21_a_column_that_changed_elsewhere_is_not_read_as_it_was() {
    let world = world();
    let mut raw = Raw::connect(world.port, "app", "app");
    raw.send(&[
        Send::Parse("s", "SELECT name FROM people WHERE id = 1", vec![]),
        Send::Sync,
    ]);
    raw.until_ready();
    let mut other = Raw::connect(world.port, "app", "app");
    for change in [
        "ALTER TABLE people RENAME COLUMN name TO label",
        "ALTER TABLE people RENAME COLUMN label TO name",
        "ALTER TABLE people RENAME TO persons; CREATE TABLE people (id int, name text); INSERT INTO people VALUES (1, 'New')",
        "DROP TABLE people; ALTER TABLE persons RENAME TO people",
    ] {
        other.query(change);
        raw.send(&bind_and_execute("s"));
        let answer = raw.until_ready();
        for row in rows(&answer) {
            let value = row[0].clone().unwrap_or_default();
            assert!(value == b"Person Number 1" || value == b"New", "{change}: {answer:?}");
        }
        assert!(
            error(&answer).is_some() || !rows(&answer).is_empty(),
            "{change}: {answer:?}"
        );
    }
    raw.send(&[
        Send::Parse("again", "SELECT name FROM people WHERE id = 1", vec![]),
        Send::Sync,
    ]);
    raw.until_ready();
}

/// Every answer is one of the three policies', and after the last reload only the last one's.
#[test]
fn wire_39_no_answer_mixes_two_policies() {
    let world = world();
    let expected = Expected::ask(&world);
    let (last, done) = (AtomicBool::new(false), AtomicBool::new(false));
    // Asks until it is told to stop; how often each answer came.
    let client = |prepared: bool, fresh: bool| {
        let mut raw = Raw::connect(world.port, "app", "app");
        let mut seen = [0; 3];
        // Prepared once, as soon as that is allowed.
        if prepared {
            loop {
                raw.send(&[Send::Parse("s", ALL, vec![]), Send::Sync]);
                if error(&raw.until_ready()).is_none() {
                    break;
                }
            }
        }
        while !done.load(Ordering::Acquire) {
            let only_last = last.load(Ordering::Acquire);
            let rights = if prepared {
                raw.send(&bind_and_execute("s"));
                vec![expected.rights(&raw.until_ready(), 0)]
            } else if fresh {
                let mut messages = vec![Send::Parse("", ALL, vec![]), Send::DescribeStatement("")];
                messages.extend(bind_and_execute(""));
                raw.send(&messages);
                vec![expected.rights(&raw.until_ready(), 0)]
            } else {
                // Two Queries in one write: each has one answer.
                raw.send(&[Send::Query(ALL), Send::Query(ALL)]);
                let first = raw.until_ready();
                vec![expected.rights(&first, 0), expected.rights(&raw.until_ready(), 0)]
            };
            for rights in rights {
                assert!(
                    !only_last || rights == Rights::Masked,
                    "{rights:?} after the last reload"
                );
                seen[rights as usize] += 1;
            }
        }
        seen
    };
    let seen = std::thread::scope(|scope| {
        let clients = [(true, false), (false, true), (false, false)]
            .map(|(prepared, fresh)| scope.spawn(move || client(prepared, fresh)));
        // A client that panics must not leave the others waiting.
        let changes = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for n in 1..=24 {
                let (name, rights) = [
                    ("clear", Rights::Clear),
                    ("masked", Rights::Masked),
                    ("none", Rights::None),
                ][n % 3];
                world.write_policy(&policy(&format!("{name}-{n}"), rights));
                world.signal("HUP");
                // Some come while the one before is being taken in.
                std::thread::sleep(Duration::from_millis(if n % 4 == 0 { 5 } else { 120 }));
            }
            reload(&world, "masked-last", Rights::Masked);
            last.store(true, Ordering::Release);
            std::thread::sleep(Duration::from_millis(500));
        }));
        done.store(true, Ordering::Release);
        let seen = clients.map(|client| client.join().expect("every answer is one policy's"));
        changes.expect("the policy was replaced");
        seen
    });
    for (client, seen) in seen.iter().enumerate() {
        assert!(
            seen.iter().all(|count| *count > 0),
            "client {client} met all three: {seen:?}"
        );
    }
    // And each record names the policy that decided.
    let mut decisions = [0; 3];
    for record in world.records() {
        let field = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let (version, decision) = (field("policy_version"), field("decision"));
        let expected = match version.split('-').next().unwrap_or_default() {
            "clear" => (0, "allowed"),
            "masked" => (1, "masked"),
            "none" => (2, "refused"),
            _ => continue,
        };
        if field("action") == "read" {
            assert_eq!(decision, expected.1, "{record}");
            decisions[expected.0] += 1;
        }
    }
    assert!(decisions.iter().all(|count| *count > 0), "{decisions:?}");
}
