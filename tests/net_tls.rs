//! TLS on both sides, through a built pgward in front of a real PostgreSQL. Each test is named after its line in WIRE.md where there is one.

mod support;

use pgward::cli::cluster::Auth;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::{Options, World, text};

/// An authority with what it issued: for pgward, for the server (both `localhost` and `127.0.0.1`) and for a client.
struct Authority {
    dir: tempfile::TempDir,
    ca: String,
}

struct Issued {
    chain: String,
    key: String,
}

impl Authority {
    fn new() -> (Self, CertifiedIssuer<'static, KeyPair>) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            dir: tempfile::tempdir().unwrap(),
            ca: issuer.pem(),
        };
        authority.write("ca.crt", &authority.ca);
        (authority, issuer)
    }
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
        path
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn issue(issuer: &CertifiedIssuer<'_, KeyPair>, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Issued {
    let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    params.extended_key_usages = vec![usage];
    params.distinguished_name.push(DnType::CommonName, names[0]);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Issued {
        chain: certificate.pem(),
        key: key.serialize_pem(),
    }
}

/// A world whose pgward speaks TLS to clients in this mode, with `more` lines for `[listen]`.
fn world(tls: &str, more: &str) -> (World, Authority, Issued) {
    let (authority, issuer) = Authority::new();
    let server = issue(
        &issuer,
        &["localhost", "127.0.0.1"],
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    let client = issue(&issuer, &["client"], ExtendedKeyUsagePurpose::ClientAuth);
    let cert = authority.write("pgward.crt", &server.chain);
    let key = authority.write("pgward.key", &server.key);
    let listen = format!(
        "tls = \"{tls}\"\ntls_cert = \"{}\"\ntls_key = \"{}\"\n{}",
        cert.display(),
        key.display(),
        more.replace("{ca}", &authority.path("ca.crt").display().to_string()),
    );
    let world = World::start(Options {
        listen,
        ..Default::default()
    });
    (world, authority, client)
}

fn with_ssl(world: &World, mode: &str) -> String {
    world
        .through("app")
        .replace("sslmode=disable", &format!("sslmode={mode} gssencmode=disable"))
        .replace("host=127.0.0.1", "host=localhost")
}

fn config(authority: &Authority, alpn: &[&[u8]], client: Option<&Issued>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.ca.as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(issued) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

fn connect(world: &World) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", world.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn secure(stream: TcpStream, config: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

const STARTUP: &[u8] = b"\0\0\0\x1F\0\x03\0\0user\0app\0database\0app\0\0";
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];

/// Sends a start-up packet; the first bytes of the answer, or none if the connection was closed.
fn greet(stream: &mut (impl Read + Write)) -> Vec<u8> {
    let mut answer = vec![0; 512];
    let read = stream
        .write_all(STARTUP)
        .and_then(|()| stream.flush())
        .and_then(|()| stream.read(&mut answer))
        .unwrap_or(0);
    answer.truncate(read);
    answer
}

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

/// A world whose server offers TLS, and pgward with these lines of `[upstream]`.
fn upstream_world(server_tls: bool, auth: Auth, upstream: &str) -> (World, Authority) {
    let (authority, issuer) = Authority::new();
    let server = issue(
        &issuer,
        &["localhost", "127.0.0.1"],
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    let world = World::prepare(Options {
        auth,
        server_tls: server_tls.then_some((server.chain, server.key)),
        upstream: upstream.replace("{ca}", &authority.path("ca.crt").display().to_string()),
        ..Default::default()
    });
    (world, authority)
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
fn wire_06_scram_is_relayed_to_a_server_with_tls() {
    let (mut world, _authority) = upstream_world(true, Auth::ScramSha256, "tls = \"require\"\n");
    world.serve();
    // In clear to pgward, the client sends the flag "n" and the server takes it.
    assert_eq!(speaks_tls_upstream(&world), "t\n");
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
