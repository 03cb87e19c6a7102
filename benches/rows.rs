//! What one row costs on its way from the server to the client, through a whole session without sockets: framing, the three checks, opening,
//! the value's text, the data subject's pseudonym, the records. One iteration is one row of a statement with a thousand.
//!
//! What a sealed value costs is the difference between rows with eight and with one of them, over seven; `cipher` is the bare cipher over the
//! same bytes in the same run, to compare with.

#[allow(dead_code)] // of what the tests need, a part
#[path = "../tests/session/scripted.rs"]
mod scripted;

use bytes::{Buf, BufMut, BytesMut};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pgward::crypto::aead::{Aead, AwsLc};
use pgward::plan::{RelationName, Use};
use pgward::policy::Disclosure;
use pgward::policy::danger::unchecked_permit;
use pgward::session::{Database, Effect};
use pgward::wire::frame::{self, Scan};
use pgward::wire::inbuf::InBuf;
use pgward::wire::{compose, read::Field};
use scripted::{CUSTOMERS, Scripted, data_row, message, query, surroundings};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of a statement.
const ROWS: u64 = 1_000;
/// Bytes of a value, as many as the targets are stated for.
const VALUE: usize = 32;
/// What one read of the server's socket gives at most.
const READ: usize = 32 * 1024;

#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Simple,
    Extended,
}

fn value(row: u64, column: usize) -> Vec<u8> {
    let mut value = format!("kim.{row}.{column}@mail.example.com").into_bytes();
    value.resize(VALUE, b'x');
    value
}

/// A value as the column stores it.
fn sealed(database: &Database, column: &str, value: &[u8]) -> Vec<u8> {
    let catalog = database.catalog.load();
    let name = RelationName {
        schema: "public".into(),
        name: "customers".into(),
    };
    let column = catalog.relations[&name]
        .column(column)
        .and_then(|c| c.protected.clone())
        .expect("a protected column");
    let permit = unchecked_permit(column.id, Use::Write, Disclosure::Clear);
    let mut envelope = BytesMut::new();
    let keyring = database.keyring.load();
    let keyring = Option::as_ref(&keyring).expect("a keyring");
    assert!(keyring.seal(&permit, &column, value, value, &mut envelope).is_ok());
    envelope.to_vec()
}

/// One statement: what the client sends, what the server answers.
struct Statement {
    asked: BytesMut,
    answer: BytesMut,
}

/// A session that has carried the statement out once, so that names are resolved and the plan is known.
fn prepared(role: &str, protocol: Protocol, columns: &[&str], table: &str) -> (Scripted, Statement) {
    let (shared, database, directory) = surroundings(true);
    let mut scripted = Scripted::with(role, shared, Arc::clone(&database));
    let protected = table == "customers";
    let attnum = |name: &str| match name {
        "id" => 1,
        "email" => 2,
        "name" => 3,
        _ => 4,
    };
    let is_sealed = |name: &str| protected && matches!(name, "email" | "name");
    let type_oid = |name: &str| match name {
        "id" => 23,
        _ if is_sealed(name) => 17,
        _ => 25,
    };
    let fields = |own: bool| {
        columns
            .iter()
            .map(move |name| Field {
                name: name.as_bytes(),
                table: if protected { CUSTOMERS } else { CUSTOMERS + 1 },
                attnum: attnum(name),
                type_oid: type_oid(name),
                typlen: -1,
                typmod: -1,
                format: u16::from(own && is_sealed(name) && protocol == Protocol::Extended),
            })
            .collect::<Vec<_>>()
    };
    let sql = format!("SELECT {} FROM {table}", columns.join(", "));

    let mut first = BytesMut::new();
    let mut answer = BytesMut::new();
    let asked;
    match protocol {
        Protocol::Simple => {
            asked = query(&sql);
            compose::row_description(&mut answer, fields(true).into_iter());
        }
        Protocol::Extended => {
            let mut parse = BytesMut::new();
            compose::parse(&mut parse, b"s", sql.as_bytes(), std::iter::empty());
            compose::describe(&mut parse, b'S', b"s");
            compose::bare(&mut parse, b'S');
            scripted.client(&parse);
            if protected {
                scripted.answer_scope();
            }
            let describes = scripted.to_server().iter().filter(|(tag, _)| *tag == b'D').count();
            message(&mut first, b'1', b"");
            for _ in 0..describes {
                compose::parameter_description(&mut first, &[]);
                compose::row_description(&mut first, fields(false).into_iter());
            }
            message(&mut first, b'Z', b"I");
            scripted.server(&first);
            assert_eq!(scripted::tags(&scripted.to_client()), "1tTZ");
            let mut flight = BytesMut::new();
            compose::bind_plain(&mut flight, b"", b"s");
            compose::execute(&mut flight, b"", 0);
            compose::bare(&mut flight, b'S');
            asked = flight;
            message(&mut answer, b'2', b"");
        }
    }
    for row in 0..ROWS {
        let values: Vec<Vec<u8>> = columns
            .iter()
            .enumerate()
            .map(|(at, name)| match *name {
                "id" => (100_000 + row).to_string().into_bytes(),
                name if is_sealed(name) => {
                    let envelope = sealed(&database, name, &value(row, at));
                    match protocol {
                        Protocol::Simple => format!("\\x{}", hex::encode(envelope)).into_bytes(),
                        Protocol::Extended => envelope,
                    }
                }
                _ => value(row, at),
            })
            .collect();
        data_row(&mut answer, &values.iter().map(|v| Some(&v[..])).collect::<Vec<_>>());
    }
    message(&mut answer, b'C', format!("SELECT {ROWS}\0").as_bytes());
    message(&mut answer, b'Z', b"I");
    let statement = Statement { asked, answer };

    // Once under observation: a benchmark of an error message would be worth nothing.
    scripted.client(&statement.asked);
    if protected && protocol == Protocol::Simple {
        scripted.answer_scope();
    }
    let (mut subjects, mut shown) = (0, BytesMut::new());
    for read in statement.answer.chunks(READ) {
        scripted.server(read);
        while !scripted.records.is_empty() {
            subjects += scripted.journal(true).iter().map(|r| r.subject_count).sum::<u64>();
        }
        shown.put(scripted.session.to_client());
    }
    let mut rows = Vec::new();
    while let Ok(Scan::Frame { tag, size }) = frame::scan(&shown) {
        let frame = shown.split_to(size);
        if tag == b'D' {
            rows.push(frame);
        }
    }
    assert_eq!(rows.len() as u64, ROWS);
    assert_eq!(subjects, if protected { ROWS } else { 0 });
    assert!(role != "app" || rows[7].ends_with(&value(7, columns.len() - 1)));
    scripted.to_server();
    drop(directory);
    (scripted, statement)
}

/// Carries it out once more; what comes out is thrown away.
fn carry_out(scripted: &mut Scripted, statement: &Statement, input: &mut InBuf) {
    let session = &mut scripted.session;
    input.extend_from_slice(&statement.asked);
    session.from_client(input);
    let out = session.to_server();
    out.advance(out.remaining());
    for read in statement.answer.chunks(READ) {
        input.extend_from_slice(read);
        session.from_server(input);
        while let Some(effect) = session.next_effect() {
            if let Effect::Append(ticket, record) = effect {
                black_box(record);
                session.appended(ticket, Ok(()));
            }
        }
        let out = session.to_client();
        out.advance(black_box(out.remaining()));
    }
    assert!(input.is_empty());
}

fn rows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("row");
    let one = &["id", "email"][..];
    let eight = &["id", "email", "name", "email", "name", "email", "name", "email", "name"][..];
    for (name, role, protocol, columns, table) in [
        ("unprotected", "app", Protocol::Extended, one, "plain"),
        ("unprotected", "app", Protocol::Extended, eight, "plain"),
        ("binary", "app", Protocol::Extended, one, "customers"),
        ("binary", "app", Protocol::Extended, eight, "customers"),
        ("hex", "app", Protocol::Simple, one, "customers"),
        ("hex", "app", Protocol::Simple, eight, "customers"),
        ("masked", "mia", Protocol::Extended, one, "customers"),
        ("masked", "mia", Protocol::Extended, eight, "customers"),
    ] {
        let (mut scripted, statement) = prepared(role, protocol, columns, table);
        let mut input = InBuf::default();
        group.bench_function(BenchmarkId::new(name, columns.len() - 1), |bencher| {
            bencher.iter_custom(|iterations| {
                let statements = iterations.div_ceil(ROWS);
                let started = Instant::now();
                for _ in 0..statements {
                    carry_out(&mut scripted, &statement, &mut input);
                }
                started
                    .elapsed()
                    .mul_f64(iterations as f64 / (statements * ROWS) as f64)
            });
        });
    }
    group.finish();
}

/// The bare cipher over as many bytes and as much associated data as an envelope of mode `eq` has.
fn cipher(criterion: &mut Criterion) {
    let aead = AwsLc::new(&[7; 32]).expect("a key");
    let (nonce, associated) = ([3; 12], [5; 64]);
    let mut sealed = [b'x'; VALUE];
    let tag = aead.seal(&nonce, &associated, &mut sealed).expect("an envelope");
    let mut out = [0; VALUE];
    criterion.bench_function("cipher/open/32", |bencher| {
        bencher.iter(|| {
            aead.open(
                black_box(&nonce),
                black_box(&associated),
                black_box(&sealed),
                &tag,
                &mut out,
            )
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).sample_size(40);
    targets = cipher, rows
}
criterion_main!(benches);
