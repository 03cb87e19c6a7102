//! TLS and authentication together: cancelling through TLS, SCRAM where TLS ends at pgward. Each test is named after its line in WIRE.md.

mod support;
#[path = "support/tls.rs"]
mod tls;

use pgward::cli::cluster::Auth;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Options, World, text};
use tls::*;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn read_frame(stream: &mut dyn Stream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).expect("a frame");
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).expect("a whole frame");
    (head[0], body)
}

/// Frames up to and with ReadyForQuery or an error.
fn until_ready(stream: &mut dyn Stream) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    loop {
        frames.push(read_frame(stream));
        if frames.last().is_some_and(|(tag, _)| matches!(tag, b'Z' | b'E')) {
            return frames;
        }
    }
}

fn send_query(stream: &mut dyn Stream, sql: &str) {
    let mut frame = vec![b'Q'];
    frame.extend((sql.len() as u32 + 5).to_be_bytes());
    frame.extend(sql.as_bytes());
    frame.push(0);
    stream.write_all(&frame).expect("a Query");
    stream.flush().expect("a Query");
}

/// Through TLS, asked for by SSLRequest.
fn after_ssl_request(world: &World, authority: &Authority) -> impl Stream + use<> {
    let mut stream = connect(world);
    stream.write_all(&SSL_REQUEST).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"S");
    secure(stream, config(authority, &[], None))
}

#[test]
fn wire_05_cancel_requests_come_through_tls_directly_or_in_clear() {
    let (mut world, authority) = world_with_tls_on_both_sides("require", Auth::Trust, "tls = \"require\"\n");
    world.serve();
    // Protocol 3.2 where the server has it: then the secret is long.
    let mut startup = STARTUP.to_vec();
    startup[7] = 2;
    let mut session = after_ssl_request(&world, &authority);
    session.write_all(&startup).unwrap();
    let greeting = until_ready(&mut session);
    let (_, key) = greeting.iter().find(|(tag, _)| *tag == b'K').expect("BackendKeyData");
    let major: u32 = world
        .cluster
        .sql("app", "SHOW server_version_num")
        .unwrap()
        .parse::<u32>()
        .unwrap()
        / 10_000;
    assert_eq!(key.len(), if major >= 18 { 36 } else { 8 });
    let request = |key: &[u8]| {
        let mut request = (8 + key.len() as u32).to_be_bytes().to_vec();
        request.extend(((1234u32 << 16) | 5678).to_be_bytes());
        request.extend(key);
        request
    };
    let mut wrong = key.clone();
    *wrong.last_mut().unwrap() ^= 1;

    for way in ["SSLRequest", "direct", "in clear"] {
        let send = |key: &[u8]| {
            let mut stream: Box<dyn Stream> = match way {
                "SSLRequest" => Box::new(after_ssl_request(&world, &authority)),
                "direct" => Box::new(secure(connect(&world), config(&authority, &[b"postgresql"], None))),
                // Libpq before 17 sends it so, whatever the session uses.
                _ => Box::new(connect(&world)),
            };
            stream.write_all(&request(key)).and_then(|()| stream.flush()).unwrap();
            let mut answer = Vec::new();
            // With or without a closing notice, but without a byte.
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.is_empty(), "{way}: {answer:?}");
        };
        send_query(&mut session, "SELECT pg_sleep(1)");
        std::thread::sleep(Duration::from_millis(200));
        send(&wrong);
        let answer = until_ready(&mut session);
        assert_eq!(
            answer.last().map(|(tag, _)| *tag),
            Some(b'Z'),
            "{way}: a wrong key cancels nothing"
        );
        let begun = Instant::now();
        send_query(&mut session, "SELECT pg_sleep(20)");
        std::thread::sleep(Duration::from_millis(200));
        send(key);
        let answer = until_ready(&mut session);
        let (tag, body) = answer.last().unwrap();
        assert!(*tag == b'E' && String::from_utf8_lossy(body).contains("57014"), "{way}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{way}");
        assert_eq!(
            until_ready(&mut session).last().map(|(tag, _)| *tag),
            Some(b'Z'),
            "{way}"
        );
    }
}

/// What stands in a SASLInitialResponse.
#[derive(Debug)]
struct Initial {
    mechanism: String,
    message: String,
}

/// A server that offers TLS and both mechanisms, takes one SASLInitialResponse, and goes away.
fn server_that_asks_for_scram(issued: Issued) -> (u16, std::thread::JoinHandle<Initial>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).unwrap();
        assert_eq!(request, SSL_REQUEST);
        stream.write_all(b"S").unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream: StreamOwned<ServerConnection, TcpStream> = StreamOwned::new(connection, stream);
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
        stream.read_exact(&mut startup).unwrap();
        let offer = b"\0\0\0\x0ASCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        stream.write_all(b"R").unwrap();
        stream.write_all(&(offer.len() as u32 + 4).to_be_bytes()).unwrap();
        stream.write_all(offer).unwrap();
        stream.flush().unwrap();
        let (tag, body) = read_frame(&mut stream);
        assert_eq!(tag, b'p');
        let end = body.iter().position(|byte| *byte == 0).unwrap();
        Initial {
            mechanism: String::from_utf8(body[..end].to_vec()).unwrap(),
            message: String::from_utf8(body[end + 5..].to_vec()).unwrap(),
        }
    });
    (port, thread)
}

#[test]
fn wire_06_pgwards_own_log_in_binds_the_channel() {
    // Which mechanism it takes, with a certificate that can be bound to and with one that can't.
    for (algorithm, mechanism, flag) in [
        (
            &rcgen::PKCS_ECDSA_P256_SHA256,
            "SCRAM-SHA-256-PLUS",
            "p=tls-server-end-point,,",
        ),
        (
            &rcgen::PKCS_ECDSA_P384_SHA384,
            "SCRAM-SHA-256-PLUS",
            "p=tls-server-end-point,,",
        ),
        (&rcgen::PKCS_ED25519, "SCRAM-SHA-256", "n,,"),
    ] {
        let (_authority, issuer) = Authority::that_signs_with(algorithm);
        let (port, server) = server_that_asks_for_scram(for_servers(&issuer));
        let world = World::without_keys(Options {
            auth: Auth::ScramSha256,
            upstream: "tls = \"require\"\n".into(),
            ..Default::default()
        });
        let policy = std::fs::read_to_string(world.config()).unwrap();
        let real = format!("port = {}\n", world.cluster.port());
        assert!(policy.contains(&real));
        std::fs::write(world.config(), policy.replace(&real, &format!("port = {port}\n"))).unwrap();
        let out = world.pgward(&["init"]);
        assert!(!out.status.success(), "it went away");
        let initial = server.join().unwrap_or_else(|_| panic!("{}", text(&out)));
        assert_eq!(initial.mechanism, mechanism);
        assert!(initial.message.starts_with(flag), "{initial:?}");
    }
    // And the server finds the binding right: hashes of different lengths, and none.
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        // Logs in, and panics where that fails.
        let (_world, _authority) =
            upstream_world_signed_with(algorithm, true, Auth::ScramSha256, "tls = \"require\"\n");
    }
}

fn speaks_tls_upstream(world: &World, connection: &str) -> String {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    text(&world.psql(connection, &["-c", sql]))
}

#[test]
fn wire_06_scram_is_relayed_to_a_server_with_tls() {
    let (mut world, _authority) = upstream_world(true, Auth::ScramSha256, "tls = \"require\"\n");
    world.serve();
    // In clear to pgward, the client sends the flag "n" and the server takes it.
    assert_eq!(speaks_tls_upstream(&world, &world.through("app")), "t\n");
}

/// A client on TLS sees no mechanism with channel binding, says so (`y`), and the server, which offered one, takes that for an attack
/// (RFC 5802, section 6). Nobody but the client can change that, who signs what he says: docs/ERRORS.md says how.
#[test]
fn wire_06_the_y_flag_is_refused_with_what_to_do() {
    let (mut world, _authority) = world_with_tls_on_both_sides("allow", Auth::ScramSha256, "tls = \"require\"\n");
    world.serve();
    let connection = with_ssl(&world, "require");
    let out = world.psql(&connection, &["-c", "SELECT 1"]);
    let said = text(&out);
    assert!(!out.status.success(), "{said}");
    for words in [
        "channel binding",
        "HINT",
        "channel_binding=disable",
        "docs/ERRORS.md#channel-binding",
    ] {
        assert!(said.contains(words), "{words:?} is missing in: {said}");
    }
    assert!(!said.contains("password authentication failed"), "{said}");
    // Libpq's default tries again in clear where that is allowed (so docs/ERRORS.md advises not to allow it).
    let prefer = with_ssl(&world, "prefer");
    assert_eq!(speaks_tls_upstream(&world, &prefer), "t\n");
    // As the hint says.
    let disabled = format!("{connection} channel_binding=disable");
    assert_eq!(speaks_tls_upstream(&world, &disabled), "t\n");
    let wrong = disabled.replace("battery", "battering");
    assert!(text(&world.psql(&wrong, &["-c", "SELECT 1"])).contains("password authentication failed"));
    // Who insists on it does not get a connection that looks as if.
    let required = format!("{connection} channel_binding=require");
    let said = text(&world.psql(&required, &["-c", "SELECT 1"]));
    assert!(
        said.contains("channel binding") && said.contains("did not offer"),
        "{said}"
    );
}

#[test]
fn wire_06_the_y_flag_goes_through_to_a_server_without_tls() {
    let (mut world, _authority) = world_with_tls_on_both_sides("require", Auth::ScramSha256, "tls = \"disable\"\n");
    world.serve();
    assert_eq!(speaks_tls_upstream(&world, &with_ssl(&world, "require")), "f\n");
}

#[test]
fn wire_06_other_methods_need_no_setting_with_tls_on_both_sides() {
    for auth in [Auth::Md5, Auth::Password] {
        let (mut world, _authority) = world_with_tls_on_both_sides("require", auth, "tls = \"require\"\n");
        world.serve();
        assert_eq!(
            speaks_tls_upstream(&world, &with_ssl(&world, "require")),
            "t\n",
            "{auth:?}"
        );
    }
}
