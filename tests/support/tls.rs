//! An authority, certificates, and worlds that speak TLS.
#![allow(dead_code)] // each test binary uses a part of it

use crate::support::{Options, World};
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

/// An authority with what it issued: for pgward, for the server (both `localhost` and `127.0.0.1`) and for a client.
pub struct Authority {
    dir: tempfile::TempDir,
    /// Its certificate, PEM.
    pub ca: String,
}

/// A certificate with its key, PEM.
pub struct Issued {
    /// The certificate.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// One that signs with ECDSA and SHA-256.
    pub fn new() -> (Self, CertifiedIssuer<'static, KeyPair>) {
        Self::that_signs_with(&rcgen::PKCS_ECDSA_P256_SHA256)
    }
    /// One that signs so.
    pub fn that_signs_with(algorithm: &'static rcgen::SignatureAlgorithm) -> (Self, CertifiedIssuer<'static, KeyPair>) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate_for(algorithm).unwrap()).unwrap();
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
    /// A file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A certificate of the authority for these names.
pub fn issue(issuer: &CertifiedIssuer<'_, KeyPair>, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Issued {
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

/// A certificate for a server on this machine.
pub fn for_servers(issuer: &CertifiedIssuer<'_, KeyPair>) -> Issued {
    issue(issuer, &["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth)
}

/// A world whose pgward speaks TLS to clients in this mode, and to a server that has TLS and asks for passwords, with these lines of
/// `[upstream]`. Not serving yet.
pub fn world_with_tls_on_both_sides(tls: &str, auth: Auth, upstream: &str) -> (World, Authority) {
    protected_world_with_tls_on_both_sides(tls, auth, upstream, "")
}

/// The same with a policy.
pub fn protected_world_with_tls_on_both_sides(
    tls: &str,
    auth: Auth,
    upstream: &str,
    policy: &str,
) -> (World, Authority) {
    let (authority, issuer) = Authority::new();
    let (pgward, server) = (for_servers(&issuer), for_servers(&issuer));
    let cert = authority.write("pgward.crt", &pgward.chain);
    let key = authority.write("pgward.key", &pgward.key);
    let world = World::prepare(Options {
        auth,
        listen: format!(
            "tls = \"{tls}\"\ntls_cert = \"{}\"\ntls_key = \"{}\"\n",
            cert.display(),
            key.display()
        ),
        server_tls: Some((server.chain, server.key)),
        upstream: upstream.into(),
        policy: policy.into(),
        ..Default::default()
    });
    (world, authority)
}

/// A world whose pgward speaks TLS to clients in this mode, with `more` lines for `[listen]`.
pub fn world(tls: &str, more: &str) -> (World, Authority, Issued) {
    let (authority, issuer) = Authority::new();
    let server = for_servers(&issuer);
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

/// As [`World::through`], with an `sslmode`.
pub fn with_ssl(world: &World, mode: &str) -> String {
    world
        .through("app")
        .replace("sslmode=disable", &format!("sslmode={mode} gssencmode=disable"))
        .replace("host=127.0.0.1", "host=localhost")
}

/// A client's configuration.
pub fn config(authority: &Authority, alpn: &[&[u8]], client: Option<&Issued>) -> Arc<ClientConfig> {
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

/// TCP to pgward.
pub fn connect(world: &World) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", world.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// The TLS handshake, at once.
pub fn secure(stream: TcpStream, config: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

/// `app` to the database `app`, protocol 3.0.
pub const STARTUP: &[u8] = b"\0\0\0\x1F\0\x03\0\0user\0app\0database\0app\0\0";
/// SSLRequest
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];

/// Sends a start-up packet; the first bytes of the answer, or none if the connection was closed.
pub fn greet(stream: &mut (impl Read + Write)) -> Vec<u8> {
    let mut answer = vec![0; 512];
    let read = stream
        .write_all(STARTUP)
        .and_then(|()| stream.flush())
        .and_then(|()| stream.read(&mut answer))
        .unwrap_or(0);
    answer.truncate(read);
    answer
}

/// A world whose server offers TLS, and pgward with these lines of `[upstream]`.
pub fn upstream_world(server_tls: bool, auth: Auth, upstream: &str) -> (World, Authority) {
    upstream_world_signed_with(&rcgen::PKCS_ECDSA_P256_SHA256, server_tls, auth, upstream)
}

/// The same, the server's certificate being signed so.
pub fn upstream_world_signed_with(
    algorithm: &'static rcgen::SignatureAlgorithm,
    server_tls: bool,
    auth: Auth,
    upstream: &str,
) -> (World, Authority) {
    let (authority, issuer) = Authority::that_signs_with(algorithm);
    let server = for_servers(&issuer);
    let world = World::prepare(Options {
        auth,
        server_tls: server_tls.then_some((server.chain, server.key)),
        upstream: upstream.replace("{ca}", &authority.path("ca.crt").display().to_string()),
        ..Default::default()
    });
    (world, authority)
}
