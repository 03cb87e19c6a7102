//! Sealing and opening one value: the two ciphers alone, then everything around them ([`Keyring`]), by mode and size.
use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pgward::crypto::aead::{Aead, AwsLc, Portable};
use pgward::crypto::{DataKey, KeyState, Keyring, SecretKey};
use pgward::plan::{ColumnId, ColumnName, KeyDomain, Mode, ProtectedColumn, RelationName, Use};
use pgward::policy::Disclosure;
use pgward::policy::danger::unchecked_permit;
use pgward::value::{LogicalType, Plaintext};
use std::hint::black_box;
use std::time::Duration;

/// Bytes of plaintext.
const SIZES: [usize; 5] = [16, 32, 128, 1024, 16384];

fn secret() -> SecretKey {
    SecretKey::from_slice(&[7; 32]).unwrap()
}

/// A keyring of twenty key domains, as a small policy has.
fn keyring() -> Keyring {
    let keys = (1..=20)
        .map(|id| DataKey {
            id,
            domain: KeyDomain(format!("public.customers.column_{id}").into()),
            domain_id: ColumnId(100 + id),
            state: KeyState::Active,
            created_at: 0,
            secret: Some(secret()),
        })
        .collect();
    Keyring::new(&[1; 16], keys, &secret()).unwrap()
}

fn column(mode: Mode) -> ProtectedColumn {
    ProtectedColumn {
        id: ColumnId(7),
        name: ColumnName {
            relation: RelationName {
                schema: "public".into(),
                name: "customers".into(),
            },
            column: "column_7".into(),
        },
        mode,
        key_domain: KeyDomain("public.customers.column_7".into()),
        logical_type: LogicalType::Text,
        category: "contact".into(),
    }
}

fn cipher<A: Aead>(criterion: &mut Criterion, name: &str) {
    let aead = A::new(&[7; 32]).unwrap();
    let (nonce, associated) = ([3; 12], [5; 32]);
    let mut group = criterion.benchmark_group(format!("cipher/{name}"));
    for size in SIZES {
        let value = vec![b'x'; size];
        let mut sealed = value.clone();
        let tag = aead.seal(&nonce, &associated, &mut sealed).unwrap();
        let mut out = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("seal", size), |bencher| {
            bencher.iter(|| aead.seal(black_box(&nonce), black_box(&associated), black_box(&mut out)));
        });
        group.bench_function(BenchmarkId::new("open", size), |bencher| {
            bencher.iter(|| {
                aead.open(
                    black_box(&nonce),
                    black_box(&associated),
                    black_box(&sealed),
                    &tag,
                    black_box(&mut out),
                )
                .unwrap();
            });
        });
    }
    group.finish();
}

fn around(criterion: &mut Criterion) {
    let keyring = keyring();
    for (name, mode) in [
        ("sealed", Mode::Sealed),
        ("eq", Mode::Eq),
        ("deterministic", Mode::Deterministic),
    ] {
        let column = column(mode);
        let permit = |usage| unchecked_permit(column.id, usage, Disclosure::Clear);
        let (read, write) = (permit(Use::Read), permit(Use::Write));
        let mut group = criterion.benchmark_group(format!("keyring/{name}"));
        for size in SIZES {
            let value = vec![b'x'; size];
            let mut envelope = BytesMut::new();
            keyring.seal(&write, &column, &value, &value, &mut envelope).unwrap();
            let mut sealed = BytesMut::with_capacity(size + 64);
            let mut out = Plaintext::default();
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new("seal", size), |bencher| {
                bencher.iter(|| {
                    sealed.clear();
                    keyring
                        .seal(&write, &column, black_box(&value), black_box(&value), &mut sealed)
                        .unwrap();
                });
            });
            group.bench_function(BenchmarkId::new("open", size), |bencher| {
                bencher.iter(|| {
                    keyring.open(&read, &column, black_box(&envelope), &mut out).unwrap();
                    black_box(&out);
                });
            });
        }
        group.finish();
    }
    let column = column(Mode::Eq);
    let search = unchecked_permit(column.id, Use::Search, Disclosure::Clear);
    let mut out = BytesMut::with_capacity(64);
    criterion.bench_function("keyring/eq/term/32", |bencher| {
        bencher.iter(|| {
            out.clear();
            keyring
                .term(
                    &search,
                    &column,
                    black_box(&[b'x'; 32]),
                    black_box(&[b'x'; 32]),
                    &mut out,
                )
                .unwrap();
        });
    });
}

fn all(criterion: &mut Criterion) {
    cipher::<AwsLc>(criterion, "aws-lc-rs");
    cipher::<Portable>(criterion, "aes-gcm-siv");
    around(criterion);
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(30);
    targets = all
}
criterion_main!(benches);
