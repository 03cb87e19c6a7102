//! The same statements on a plain database directly and through pgward with sealed columns. The answers, message by message, must be
//! equal, or the statement cleanly refused; and which ones are refused, and why, is written down in the corpus.
//!
//! A corpus file is a list of blocks, separated by empty lines; a block is the text of one Query, with annotations before it:
//! - `-- refused: <anchor>`: pgward refuses it for this reason; the plain database gets a failing statement in its place;
//! - `-- plain: <sql>`: what it gets instead of `SELECT 1/0`;
//! - `-- error: <sqlstate>`: plain PostgreSQL fails with it, so pgward must;
//! - `-- known: <what>`: a difference that is known and not yet gone; where there is none any more, the test says so;
//! - `-- params: <type>:<value> | …`: parameters in text form; in the simple protocol they become literals.
//!
//! Each file runs in the simple protocol and in the extended one in text and binary format, with and without declared parameter types.
//! `PGWARD_DIFFERENTIAL_BLESS=1` writes the reasons that pgward gave into the files, to be reviewed in the diff.

mod support;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use support::raw::{Message, Notice, Raw, Send, error};
use support::{Options, World};

/// How a block is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Simple,
    /// Text formats, types of parameters inferred.
    ExtendedText,
    /// Binary formats, types of parameters inferred.
    ExtendedBinary,
    /// Binary formats, types of parameters declared.
    ExtendedTyped,
}

/// A block of a corpus file.
#[derive(Debug, Default)]
struct Block {
    line: usize,
    sql: String,
    refused: Option<String>,
    plain: Option<String>,
    error: Option<String>,
    known: bool,
    params: Vec<(String, Option<String>)>,
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/differential")
        .join(name)
}

fn parse(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut block = Block::default();
    for (n, line) in text.lines().chain([""]).enumerate() {
        if line.trim().is_empty() {
            let done = std::mem::take(&mut block);
            if !done.sql.is_empty() {
                blocks.push(done);
            }
            continue;
        }
        let annotation = if block.sql.is_empty() {
            line.strip_prefix("-- ")
        } else {
            None
        };
        let (key, value) = annotation.and_then(|a| a.split_once(": ")).unwrap_or_default();
        match key {
            "refused" => block.refused = Some(value.to_owned()),
            "plain" => block.plain = Some(value.to_owned()),
            "error" => block.error = Some(value.to_owned()),
            "known" => block.known = true,
            "params" => {
                block.params = value
                    .split(" | ")
                    .map(|p| {
                        let (ty, value) = p.split_once(':').expect("type:value");
                        (ty.to_owned(), (value != "NULL").then(|| value.to_owned()))
                    })
                    .collect();
            }
            _ if annotation.is_some() => {}
            _ => {
                if block.sql.is_empty() {
                    block.line = n + 1;
                } else {
                    block.sql.push('\n');
                }
                block.sql.push_str(line);
            }
        }
    }
    blocks
}

impl Block {
    /// Several statements go only into a simple Query.
    fn is_script(&self) -> bool {
        self.sql.trim_end().trim_end_matches(';').contains(';')
    }
    fn is_ordered(&self) -> bool {
        self.sql.to_ascii_uppercase().contains("ORDER BY")
    }
    fn with_literals(&self) -> String {
        let mut sql = self.sql.clone();
        for (i, (_, value)) in self.params.iter().enumerate().rev() {
            let literal = value
                .as_ref()
                .map_or("NULL".to_owned(), |v| format!("'{}'", v.replace('\'', "''")));
            sql = sql.replace(&format!("${}", i + 1), &literal);
        }
        sql
    }
}

/// What plain PostgreSQL says of types and of the binary form of values.
struct Types {
    raw: Raw,
    oids: HashMap<String, u32>,
}

impl Types {
    fn oid(&mut self, ty: &str) -> u32 {
        if let Some(oid) = self.oids.get(ty) {
            return *oid;
        }
        let rows = self.raw.rows(&format!("SELECT '{ty}'::regtype::oid"));
        let oid = rows[0][0].as_ref().and_then(|oid| oid.parse().ok()).expect("an OID");
        self.oids.insert(ty.to_owned(), oid);
        oid
    }
    fn binary(&mut self, ty: &str, value: &str) -> Vec<u8> {
        self.raw.send(&[
            Send::Parse("", &format!("SELECT $1::{ty}"), vec![]),
            Send::Bind("", "", vec![0], vec![Some(value.as_bytes().to_vec())], vec![1]),
            Send::Execute("", 0),
            Send::Sync,
        ]);
        let messages = self.raw.until_ready();
        messages
            .iter()
            .find_map(|m| match m {
                Message::DataRow(row) => row[0].clone(),
                _ => None,
            })
            .unwrap_or_else(|| panic!("{value} is no {ty}: {messages:?}"))
    }
}

fn run(raw: &mut Raw, types: &mut Types, protocol: Protocol, block: &Block, sql: &str) -> Vec<Message> {
    if protocol == Protocol::Simple || block.is_script() {
        return raw.query(sql);
    }
    let format = i16::from(protocol != Protocol::ExtendedText);
    let declared = match protocol {
        Protocol::ExtendedTyped => block.params.iter().map(|(ty, _)| types.oid(ty)).collect(),
        _ => Vec::new(),
    };
    let values = block
        .params
        .iter()
        .map(|(ty, value)| {
            let value = value.as_deref()?;
            Some(if format == 1 {
                types.binary(ty, value)
            } else {
                value.as_bytes().to_vec()
            })
        })
        .collect();
    raw.send(&[
        Send::Parse("", sql, declared),
        Send::DescribeStatement(""),
        Send::Bind("", "", vec![format], values, vec![format]),
        Send::DescribePortal(""),
        Send::Execute("", 0),
        Send::Sync,
    ]);
    raw.until_ready()
}

/// What of an answer must be equal.
fn comparable(messages: Vec<Message>, ordered: bool) -> Vec<Message> {
    let keep = |notice: Notice| Notice {
        hint: String::new(),
        detail: String::new(),
        position: String::new(),
        ..notice
    };
    let mut all: Vec<Message> = messages
        .into_iter()
        .map(|message| match message {
            Message::Error(notice) => Message::Error(keep(notice)),
            Message::Notice(notice) => Message::Notice(keep(notice)),
            Message::RowDescription(mut fields) => {
                // OIDs of types made by users differ between databases.
                fields.iter_mut().for_each(|f| f.type_oid = f.type_oid.min(16_384));
                Message::RowDescription(fields)
            }
            other => other,
        })
        .collect();
    if !ordered {
        for rows in all.chunk_by_mut(|a, b| matches!((a, b), (Message::DataRow(_), Message::DataRow(_)))) {
            rows.sort();
        }
    }
    all
}

/// The differences that are meant, or that no client is known to depend on.
fn overlook(direct: &mut Vec<Message>, through: &mut Vec<Message>) {
    // The warning about a backslash in an ordinary literal: the literal is not sent any more.
    direct.retain(|m| !matches!(m, Message::Notice(notice) if notice.sqlstate == "22P06"));
    // A literal's fault is found when it is sealed, at Parse; PostgreSQL finds it at Bind or Execute.
    if [&*direct, &*through]
        .iter()
        .all(|m| error(m).is_some_and(|e| e.sqlstate.starts_with("22")))
    {
        for messages in [&mut *direct, &mut *through] {
            messages.retain(|m| matches!(m, Message::Error(_) | Message::Ready(_)));
        }
    }
    for (direct, through) in direct.iter_mut().zip(through) {
        match (direct, through) {
            // Errors about values (class 22): PostgreSQL quotes the value, pgward never does.
            (Message::Error(direct), Message::Error(through)) if through.sqlstate.starts_with("22") => {
                direct.message.clear();
                through.message.clear();
            }
            _ => {}
        }
    }
}

fn show(messages: &[Message]) -> String {
    let mut out = String::new();
    for message in messages.iter().take(40) {
        match message {
            Message::DataRow(row) => {
                let values: Vec<String> = row
                    .iter()
                    .map(|v| match v {
                        Some(v) => v.escape_ascii().to_string(),
                        None => "NULL".into(),
                    })
                    .collect();
                let _ = writeln!(out, "      row {}", values.join(" | "));
            }
            Message::Error(e) => {
                let _ = writeln!(
                    out,
                    "      error {} {} [{}] hint: {}",
                    e.sqlstate, e.message, e.constraint, e.hint
                );
            }
            other => {
                let _ = writeln!(out, "      {other:?}");
            }
        }
    }
    out
}

/// Empties both databases, the sealed one through pgward, as an application would.
fn clean(world: &World, sealed: &mut Raw, plain: &mut Raw) {
    sealed.query("ROLLBACK");
    plain.query("ROLLBACK");
    for (database, raw) in [("app", sealed), ("plain", plain)] {
        let tables = world
            .cluster
            .sql(
                database,
                "SELECT string_agg(format('%I', tablename), ', ') FROM pg_tables WHERE schemaname = 'public'",
            )
            .expect("tables");
        if !tables.is_empty() {
            let messages = raw.query(&format!("DROP TABLE {tables} CASCADE"));
            assert!(error(&messages).is_none(), "can't empty {database}: {messages:?}");
        }
    }
}

fn differential(file: &str) {
    let path = corpus(file);
    let text = std::fs::read_to_string(&path).expect("corpus file");
    let policy = std::fs::read_to_string(corpus("policy.toml")).expect("policy");
    let world = World::start(Options {
        policy,
        ..Default::default()
    });
    let mut types = Types {
        raw: Raw::connect(world.cluster.port(), "app", "plain"),
        oids: HashMap::new(),
    };
    let blocks = parse(&text);
    assert!(!blocks.is_empty(), "an empty corpus");
    let mut faults = Vec::new();
    let mut known: HashMap<usize, bool> = blocks.iter().filter(|b| b.known).map(|b| (b.line, false)).collect();
    let mut given: HashMap<usize, Option<String>> = HashMap::new();
    for protocol in [
        Protocol::Simple,
        Protocol::ExtendedText,
        Protocol::ExtendedBinary,
        Protocol::ExtendedTyped,
    ] {
        let mut sealed = Raw::connect(world.port, "app", "app");
        let mut plain = Raw::connect(world.cluster.port(), "app", "plain");
        clean(&world, &mut sealed, &mut plain);
        for block in &blocks {
            if let Err(fault) = compare(&mut sealed, &mut plain, &mut types, protocol, block, &mut given) {
                if block.known {
                    known.insert(block.line, true);
                    continue;
                }
                faults.push(format!(
                    "{file}:{} ({protocol:?})\n    {}\n{fault}",
                    block.line, block.sql
                ));
            }
        }
        assert_sealed(&world, &mut faults);
    }
    for line in known
        .into_iter()
        .filter_map(|(line, differs)| (!differs).then_some(line))
    {
        faults.push(format!(
            "{file}:{line}: the known difference is gone: take the annotation out"
        ));
    }
    if std::env::var_os("PGWARD_DIFFERENTIAL_BLESS").is_some() {
        bless(&path, &text, &blocks, &given);
    }
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("differential-{file}.txt"));
    std::fs::write(&all, faults.join("\n")).expect("a report");
    let shown: Vec<String> = faults.iter().take(20).cloned().collect();
    assert!(
        faults.is_empty(),
        "{} of {} blocks in four protocol variants differ (all: {}):\n\n{}",
        faults.len(),
        blocks.len(),
        all.display(),
        shown.join("\n")
    );
}

fn compare(
    sealed: &mut Raw,
    plain: &mut Raw,
    types: &mut Types,
    protocol: Protocol,
    block: &Block,
    given: &mut HashMap<usize, Option<String>>,
) -> Result<(), String> {
    let sql = if protocol == Protocol::Simple {
        block.with_literals()
    } else {
        block.sql.clone()
    };
    let through = run(sealed, types, protocol, block, &sql);
    // A value that does not fit its type (class 22) is pgward's to report, as the server would: an answer to be compared, no refusal.
    let refusal = error(&through)
        .filter(|e| !e.sqlstate.starts_with("22"))
        .and_then(|e| e.anchor().map(str::to_owned));
    let anchor = |expected: &Option<String>| expected.clone().unwrap_or_else(|| "nothing".into());
    given.insert(block.line, refusal.clone());
    if let Some(reason) = &refusal {
        let instead = Block {
            line: block.line,
            ..Default::default()
        };
        let failing = block.plain.as_deref().unwrap_or("SELECT 1/0");
        let direct = if block.is_script() {
            plain.query(failing)
        } else {
            run(plain, types, protocol, &instead, failing)
        };
        if block.refused.as_deref() != Some(reason) {
            return Err(format!(
                "  expected to be refused for {}; pgward:\n{}",
                anchor(&block.refused),
                show(&through)
            ));
        }
        if direct.last() != through.last() {
            return Err(format!(
                "  refused, but the transaction's state is {:?} and should be {:?}:\n{}",
                through.last(),
                direct.last(),
                show(&through)
            ));
        }
        return Ok(());
    }
    if block.refused.is_some() {
        // The state of the plain side is what a refusal would have left.
        plain.query(block.plain.as_deref().unwrap_or("SELECT 1/0"));
        return Err(format!(
            "  expected to be refused for {}; pgward:\n{}",
            anchor(&block.refused),
            show(&through)
        ));
    }
    let direct = run(plain, types, protocol, block, &sql);
    let failed = error(&direct).map(|e| e.sqlstate.clone());
    let (mut direct, mut through) = (
        comparable(direct, block.is_ordered()),
        comparable(through, block.is_ordered()),
    );
    overlook(&mut direct, &mut through);
    if failed != block.error {
        return Err(format!(
            "  the corpus is wrong: plain PostgreSQL fails with {}:\n{}",
            anchor(&failed),
            show(&direct)
        ));
    }
    if direct != through {
        let at = direct.iter().zip(&through).take_while(|(a, b)| a == b).count();
        let rest = |messages: &[Message]| show(messages.get(at..).unwrap_or_default());
        return Err(format!(
            "  from message {at} on\n    plain:\n{}    pgward:\n{}",
            rest(&direct),
            rest(&through)
        ));
    }
    Ok(())
}

/// Before a corpus judges pgward, plain PostgreSQL judges the corpus: what is expected to fail fails, everything else succeeds, also what
/// pgward refuses.
fn valid(world: &World, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(corpus(file)).expect("corpus file");
    let mut types = Types {
        raw: Raw::connect(world.cluster.port(), "app", "plain"),
        oids: HashMap::new(),
    };
    let mut faults = Vec::new();
    for protocol in [
        Protocol::Simple,
        Protocol::ExtendedText,
        Protocol::ExtendedBinary,
        Protocol::ExtendedTyped,
    ] {
        let mut a = Raw::connect(world.cluster.port(), "app", "app");
        let mut b = Raw::connect(world.cluster.port(), "app", "plain");
        clean(world, &mut a, &mut b);
        for block in parse(&text) {
            let sql = if protocol == Protocol::Simple {
                block.with_literals()
            } else {
                block.sql.clone()
            };
            let messages = if block.refused.is_none() {
                run(&mut b, &mut types, protocol, &block, &sql)
            } else {
                // Undone, as it is not carried out in the comparison either.
                let in_transaction = b.query("").last() == Some(&Message::Ready('T'));
                let (before, after) = match in_transaction {
                    true => ("SAVEPOINT before_refused", "ROLLBACK TO before_refused"),
                    false => ("BEGIN", "ROLLBACK"),
                };
                b.query(before);
                let messages = if block.is_script() {
                    vec![]
                } else {
                    run(&mut b, &mut types, protocol, &block, &sql)
                };
                b.query(after);
                b.query(block.plain.as_deref().unwrap_or("SELECT 1/0"));
                messages
            };
            let failed = error(&messages).map(|e| e.sqlstate.clone());
            if failed != block.error {
                faults.push(format!(
                    "{file}:{} ({protocol:?})\n    {sql}\n{}",
                    block.line,
                    show(&messages)
                ));
            }
        }
    }
    faults
}

/// The comparison would also hold if nothing were sealed: what is stored in a column of the domain must be an envelope.
fn assert_sealed(world: &World, faults: &mut Vec<String>) {
    let columns = world
        .cluster
        .sql(
            "app",
            "SELECT format('SELECT %L || count(*) FROM %I WHERE substring(%I::bytea from 1 for 1) <> ''\\xfa''', \
                    relname || '.' || attname || ' ', relname, attname) \
             FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_type t ON t.oid = atttypid \
             WHERE typname = 'sealed' AND relkind = 'r'",
        )
        .expect("sealed columns");
    for query in columns.lines() {
        let found = world.cluster.sql("app", query).expect("a count");
        if !found.ends_with(" 0") {
            faults.push(format!("stored in clear: {found}"));
        }
    }
    let declared = world.cluster.sql(
        "app",
        "SELECT string_agg(c.relname || '.' || attname, ', ') FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid \
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attname LIKE 'c\\_%' AND atttypid <> 'pgward.sealed'::regtype",
    );
    match declared.expect("columns") {
        clear if clear.is_empty() => {}
        clear => faults.push(format!("columns of clear storage: {clear}")),
    }
}

fn bless(path: &Path, text: &str, blocks: &[Block], given: &HashMap<usize, Option<String>>) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for block in blocks.iter().rev() {
        let Some(given) = given.get(&block.line) else { continue };
        if *given == block.refused {
            continue;
        }
        let mut first = block.line - 1;
        while first > 0 && lines[first - 1].starts_with("-- ") {
            first -= 1;
            if lines[first].starts_with("-- refused: ") {
                lines.remove(first);
            }
        }
        if let Some(reason) = given {
            lines.insert(first, format!("-- refused: {reason}"));
        }
    }
    std::fs::write(path, lines.join("\n") + "\n").expect("corpus file");
}

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test] fn $name() { differential(concat!(stringify!($name), ".sql")); })*
        #[test]
        fn the_corpus_is_valid_on_plain_postgresql() {
            let world = World::without_keys(Options::default());
            let faults: Vec<String> = [$(concat!(stringify!($name), ".sql")),*].iter().flat_map(|file| valid(&world, file)).collect();
            assert!(faults.is_empty(), "{}:\n{}", faults.len(), faults.join("\n"));
        }
        #[test]
        fn every_corpus_file_has_a_test() {
            let tests = [$(concat!(stringify!($name), ".sql")),*];
            for entry in std::fs::read_dir(corpus("")).expect("the corpus") {
                let name = entry.expect("an entry").file_name().into_string().expect("a name");
                assert!(!name.ends_with(".sql") || tests.contains(&name.as_str()), "{name} has no test");
            }
        }
    };
}

files! { select write transactions ddl refusals kinds_sealed kinds_eq kinds_det }
