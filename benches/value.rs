//! What reading, showing, normalising and masking one value costs, with reused buffers.

use bytes::BytesMut;
use criterion::{Criterion, criterion_group, criterion_main};
use pgward::value::{self, Format, LogicalType, Mask, Plaintext, TextStyle};
use std::hint::black_box;

fn values(criterion: &mut Criterion) {
    let style = TextStyle::default();
    for (name, ty, text) in [
        ("text", LogicalType::Text, "kim.minsu@example.com"),
        ("varchar(320)", LogicalType::Varchar(Some(320)), "kim.minsu@example.com"),
        ("integer", LogicalType::Int4, "123456789"),
        ("numeric(12,2)", LogicalType::Numeric(Some((12, 2))), "12345.67"),
        ("double precision", LogicalType::Float8, "12345.678"),
        ("date", LogicalType::Date, "1987-06-05"),
        (
            "timestamptz",
            LogicalType::Timestamptz(None),
            "2024-05-06 07:08:09.123456+09",
        ),
        ("uuid", LogicalType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("jsonb", LogicalType::Jsonb, r#"{"city": "Seoul", "tags": ["a", "b"]}"#),
    ] {
        let mut group = criterion.benchmark_group(name);
        let (mut plain, mut other, mut wire) = (Plaintext::default(), Plaintext::default(), BytesMut::new());
        group.bench_function("decode text", |bencher| {
            bencher.iter(|| value::decode(ty, Format::Text, black_box(text.as_bytes()), &style, &mut plain));
        });
        value::decode(ty, Format::Text, text.as_bytes(), &style, &mut plain).expect("a value of the type");
        for (format, label) in [(Format::Text, "encode text"), (Format::Binary, "encode binary")] {
            group.bench_function(label, |bencher| {
                bencher.iter(|| {
                    wire.clear();
                    value::encode(ty, format, black_box(&plain), &style, &mut wire)
                });
            });
        }
        if ty.has_equality() {
            group.bench_function("normalise", |bencher| {
                bencher.iter(|| value::normalise(ty, black_box(&plain), &mut other));
            });
        }
        group.bench_function("mask", |bencher| {
            bencher.iter(|| value::mask(Mask::Email, ty, black_box(&plain), &mut other));
        });
    }
}

criterion_group!(benches, values);
criterion_main!(benches);
