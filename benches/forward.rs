//! What pgward's own code costs a statement that concerns nothing protected, in a database where something is: both directions through a whole
//! session without sockets, as `pgbench -S` sends it in each of its modes. One iteration is one statement.

#[allow(dead_code)] // of what the tests need, a part
#[path = "../tests/session/scripted.rs"]
mod scripted;

use bytes::{Buf, BufMut, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use pgward::wire::compose;
use pgward::wire::inbuf::InBuf;
use scripted::{Scripted, data_row, message, query, row_description, surroundings};
use std::hint::black_box;
use std::time::Duration;

/// What the client sends and what the server answers.
struct Exchange {
    asked: BytesMut,
    answer: BytesMut,
}

const TEXT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = ";

fn described(out: &mut BytesMut) {
    row_description(out, &[("abalance", 16_500, 3, 23)]);
}

fn rows(out: &mut BytesMut) {
    data_row(out, &[Some(b"-1234")]);
    message(out, b'C', b"SELECT 1\0");
    message(out, b'Z', b"I");
}

fn bind(out: &mut BytesMut, statement: &[u8]) {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_slice(statement);
    body.put_slice(b"\0\0\0\0\x01\0\0\0\x06123456\0\x01\0\0");
    message(out, b'B', &body);
    message(out, b'D', b"P\0");
    compose::execute(out, b"", 0);
    compose::bare(out, b'S');
}

fn simple() -> Exchange {
    let mut answer = BytesMut::new();
    described(&mut answer);
    rows(&mut answer);
    Exchange {
        asked: query(&format!("{TEXT}123456;")),
        answer,
    }
}

fn extended() -> Exchange {
    let (mut asked, mut answer) = (BytesMut::new(), BytesMut::new());
    compose::parse(&mut asked, b"", format!("{TEXT}$1;").as_bytes(), std::iter::empty());
    bind(&mut asked, b"");
    message(&mut answer, b'1', b"");
    message(&mut answer, b'2', b"");
    described(&mut answer);
    rows(&mut answer);
    Exchange { asked, answer }
}

fn prepared(scripted: &mut Scripted) -> Exchange {
    let (mut first, mut ready) = (BytesMut::new(), BytesMut::new());
    compose::parse(&mut first, b"P0_1", format!("{TEXT}$1;").as_bytes(), std::iter::empty());
    compose::bare(&mut first, b'S');
    message(&mut ready, b'1', b"");
    message(&mut ready, b'Z', b"I");
    scripted.client(&first);
    scripted.server(&ready);
    scripted.to_client();
    scripted.to_server();
    let (mut asked, mut answer) = (BytesMut::new(), BytesMut::new());
    bind(&mut asked, b"P0_1");
    message(&mut answer, b'2', b"");
    described(&mut answer);
    rows(&mut answer);
    Exchange { asked, answer }
}

/// One statement; what comes out is thrown away.
fn carry_out(scripted: &mut Scripted, exchange: &Exchange, input: &mut InBuf) {
    let session = &mut scripted.session;
    input.extend_from_slice(&exchange.asked);
    session.from_client(input);
    let out = session.to_server();
    out.advance(black_box(out.remaining()));
    input.extend_from_slice(&exchange.answer);
    session.from_server(input);
    let out = session.to_client();
    out.advance(black_box(out.remaining()));
    input.clear();
    input.reserve(32 * 1024);
}

fn statements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("forward");
    let (shared, database, directory) = surroundings(true);
    for name in ["simple", "extended", "prepared"] {
        let mut scripted = Scripted::with("app", shared.clone(), database.clone());
        let exchange = match name {
            "simple" => simple(),
            "extended" => extended(),
            _ => prepared(&mut scripted),
        };
        // Once under observation: it must go through as it came, both ways.
        scripted.client(&exchange.asked);
        let passed: usize = scripted.to_server().iter().map(|(_, body)| body.len() + 5).sum();
        assert_eq!(passed, exchange.asked.len());
        scripted.server(&exchange.answer);
        let passed: usize = scripted.to_client().iter().map(|(_, body)| body.len() + 5).sum();
        assert_eq!(passed, exchange.answer.len());
        let mut input = InBuf::default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| carry_out(&mut scripted, &exchange, &mut input));
        });
    }
    group.finish();
    drop(directory);
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).sample_size(40);
    targets = statements
}
criterion_main!(benches);
