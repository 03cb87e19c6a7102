//! TLS on both sides, through a built pgward in front of a real PostgreSQL. Each test is named after its line in WIRE.md where there is one.

mod support;

#[path = "support/tls.rs"]
mod tls;

use pgward::cli::cluster::Auth;
use rcgen::ExtendedKeyUsagePurpose;
use std::io::{Read, Write};
use support::{World, text};
use tls::*;

#[test]
fn wire_03_direct_tls_needs_alpn() {
    let (world, authority, _) = world("require", "");
    let mut direct = secure(connect(&world), config(&authority, &[b"postgresql"], None));
    assert_eq!(greet(&mut direct).first(), Some(&b'R'), "log-in goes on");
    // Without ALPN: an error within TLS, and the end.
    let mut without = secure(connect(&world), config(&authority, &[], None));
    let answer = greet(&mut without);
    assert!(answer.is_empty() || answer.starts_with(b"E"), "{answer:?}");
    assert!(!answer.contains(&b'R') || answer.starts_with(b"E"));
    // With another protocol's: the handshake fails.
    let mut other = secure(connect(&world), config(&authority, &[b"http/1.1"], None));
    assert!(greet(&mut other).is_empty());
}

#[test]
fn wire_02_nothing_in_clear_survives_the_tls_handshake() {
    let (world, _, _) = world("allow", "");
    let mut stream = connect(&world);
    stream.write_all(&[&SSL_REQUEST[..], STARTUP].concat()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(
        answer.starts_with(b"E") && String::from_utf8_lossy(&answer).contains("C08P01"),
        "{answer:?}"
    );
}

#[test]
fn tls_as_libpq_speaks_it() {
    let (world, authority, _) = world("allow", "");
    let verify = format!(
        "{} sslrootcert={}",
        with_ssl(&world, "verify-full"),
        authority.path("ca.crt").display()
    );
    for connection in [with_ssl(&world, "require"), verify, world.through("app")] {
        let out = world.psql(&connection, &["-c", "SELECT 'through'"]);
        assert_eq!(text(&out), "through\n", "{connection}");
    }
    // Also in bulk, so that records and frames do not align.
    let sum = "SELECT sum(length(t)), count(*) FROM (SELECT unnest(string_to_array(repeat(repeat('y', 99999) || ',', 50), ',')) t) s";
    let out = world.psql(
        &with_ssl(&world, "require"),
        &["-c", sum, "-c", "SELECT repeat('z', 3000000)"],
    );
    assert_eq!(
        out.stdout.len(),
        "4999950|51\n".len() + 3_000_001,
        "{}",
        text(&out).len()
    );
}

#[test]
fn required_tls_refuses_plain_start_ups() {
    let (world, _, _) = world("require", "");
    let mut stream = connect(&world);
    let answer = String::from_utf8_lossy(&greet(&mut stream)).into_owned();
    assert!(
        answer.starts_with('E') && answer.contains("C28000") && answer.contains("TLS"),
        "{answer}"
    );
    let out = world.psql(&world.through("app"), &["-c", "SELECT 1"]);
    assert!(text(&out).contains("requires TLS"), "{}", text(&out));
    let out = world.psql(&with_ssl(&world, "prefer"), &["-c", "SELECT 1"]);
    assert_eq!(text(&out), "1\n");
}

#[test]
fn clients_must_show_a_certificate_where_an_authority_is_given() {
    let (world, authority, client) = world("require", "client_ca = \"{ca}\"\n");
    let mut with = secure(connect(&world), config(&authority, &[b"postgresql"], Some(&client)));
    assert_eq!(greet(&mut with).first(), Some(&b'R'));
    let mut without = secure(connect(&world), config(&authority, &[b"postgresql"], None));
    assert!(greet(&mut without).is_empty());
    // One of another authority's.
    let (_, stranger) = Authority::new();
    let forged = issue(&stranger, &["client"], ExtendedKeyUsagePurpose::ClientAuth);
    let mut forged = secure(connect(&world), config(&authority, &[b"postgresql"], Some(&forged)));
    assert!(greet(&mut forged).is_empty());
}

fn speaks_tls_upstream(world: &World) -> String {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    text(&world.psql(&world.through("app"), &["-c", sql]))
}

#[test]
fn upstream_tls_in_every_mode() {
    for (upstream, expected) in [
        ("tls = \"disable\"\n", "f\n"),
        ("tls = \"prefer\"\n", "t\n"),
        ("tls = \"require\"\n", "t\n"),
        ("tls = \"verify-full\"\nca = \"{ca}\"\n", "t\n"),
    ] {
        let (mut world, _authority) = upstream_world(true, Auth::Trust, upstream);
        world.serve();
        assert_eq!(speaks_tls_upstream(&world), expected, "{upstream}");
    }
    let (mut world, _authority) = upstream_world(false, Auth::Trust, "tls = \"prefer\"\n");
    world.serve();
    assert_eq!(speaks_tls_upstream(&world), "f\n");
}

#[test]
fn upstream_without_the_tls_that_is_demanded_is_refused() {
    // `pgward init` itself can't get through either, so the policy changes after it.
    let (world, _authority) = upstream_world(false, Auth::Trust, "tls = \"disable\"\n");
    let config = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(world.config(), config.replace("tls = \"disable\"", "tls = \"require\"")).unwrap();
    let out = world.pgward(&["serve"]);
    assert!(!out.status.success());
    let said = text(&out).to_lowercase();
    assert!(said.contains("tls"), "{said}");
}
