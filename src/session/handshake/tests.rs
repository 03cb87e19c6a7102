use super::*;
use crate::wire::startup::{cancel_request, ssl_request};
use proptest::prelude::*;

const GSSENC: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x30];

fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = (3u32 << 16).to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut bytes = (4 + body.len() as u32).to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

fn hello() -> Vec<u8> {
    startup(&[("user", "anna"), ("database", "shop")])
}

fn step(handshake: &mut Handshake, bytes: &[u8]) -> Step {
    let mut input = BytesMut::from(bytes);
    handshake.advance(&mut input)
}

fn sqlstate(step: &Step) -> &str {
    match step {
        Step::Refuse(fatal) => fatal.sqlstate.as_str(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn wire_01_encryption_requests_in_either_order_each_once() {
    for (first, second) in [(ssl_request(), GSSENC), (GSSENC, ssl_request())] {
        let mut handshake = Handshake::new(TlsOffer::Off);
        assert!(matches!(step(&mut handshake, &first), Step::Answer(b'N')));
        assert!(matches!(step(&mut handshake, &second), Step::Answer(b'N')));
        assert!(matches!(step(&mut handshake, &hello()), Step::Startup(_)));
    }
    for request in [ssl_request(), GSSENC] {
        let mut handshake = Handshake::new(TlsOffer::Off);
        step(&mut handshake, &request);
        assert_eq!(sqlstate(&step(&mut handshake, &request)), "08P01");
    }
}

#[test]
fn wire_01_tls_after_gss_was_turned_down() {
    let mut handshake = Handshake::new(TlsOffer::Allow);
    assert!(matches!(step(&mut handshake, &GSSENC), Step::Answer(b'N')));
    assert!(matches!(step(&mut handshake, &ssl_request()), Step::AnswerAndSecure));
    handshake.secured(None).unwrap();
    assert_eq!(sqlstate(&step(&mut handshake, &GSSENC)), "08P01");
}

#[test]
fn wire_01_no_encryption_request_within_tls() {
    let mut handshake = Handshake::new(TlsOffer::Allow);
    step(&mut handshake, &ssl_request());
    handshake.secured(None).unwrap();
    assert_eq!(sqlstate(&step(&mut handshake, &ssl_request())), "08P01");
    let mut handshake = Handshake::new(TlsOffer::Allow);
    step(&mut handshake, &ssl_request());
    handshake.secured(None).unwrap();
    assert_eq!(sqlstate(&step(&mut handshake, &GSSENC)), "08P01");
}

#[test]
fn wire_02_bytes_behind_an_encryption_request() {
    for offer in [TlsOffer::Off, TlsOffer::Allow, TlsOffer::Require] {
        for request in [ssl_request(), GSSENC] {
            for behind in [&hello()[..], b"\x16", b"\0"] {
                let bytes = [&request[..], behind].concat();
                assert_eq!(sqlstate(&step(&mut Handshake::new(offer), &bytes)), "08P01");
            }
        }
    }
}

#[test]
fn wire_03_direct_tls_needs_alpn() {
    for (alpn, accepted) in [(Some(ALPN), true), (None, false), (Some(&b"http/1.1"[..]), false)] {
        let mut handshake = Handshake::new(TlsOffer::Allow);
        let mut input = BytesMut::from(&b"\x16\x03\x01"[..]);
        assert!(matches!(handshake.advance(&mut input), Step::Secure));
        assert_eq!(input.len(), 3, "the bytes belong to the TLS handshake");
        assert_eq!(handshake.secured(alpn).is_ok(), accepted);
        assert_eq!(handshake.is_secured(), accepted);
    }
    assert!(matches!(step(&mut Handshake::new(TlsOffer::Off), b"\x16"), Step::Close));
    // Only as the very first byte.
    let mut handshake = Handshake::new(TlsOffer::Allow);
    step(&mut handshake, &GSSENC);
    assert!(matches!(
        step(&mut handshake, b"\x16\x03\x01\x00\x00\x00\x00\x00"),
        Step::Close
    ));
}

#[test]
fn a_start_up_of_impossible_length_is_closed_without_a_word() {
    for bytes in [&b"X\0\0\0\x04"[..], b"GET / HTTP/1.1\r\n", &[0; 8], &[0xFF; 8]] {
        for offer in [TlsOffer::Off, TlsOffer::Allow, TlsOffer::Require] {
            assert!(
                matches!(step(&mut Handshake::new(offer), bytes), Step::Close),
                "{bytes:?}"
            );
        }
    }
}

#[test]
fn tls_required_refuses_a_plain_startup_but_not_a_cancel() {
    let refused = step(&mut Handshake::new(TlsOffer::Require), &hello());
    assert_eq!(sqlstate(&refused), "28000");
    let mut handshake = Handshake::new(TlsOffer::Require);
    step(&mut handshake, &ssl_request());
    handshake.secured(None).unwrap();
    assert!(matches!(step(&mut handshake, &hello()), Step::Startup(_)));
    assert!(handshake.is_secured());
    assert!(matches!(
        step(&mut Handshake::new(TlsOffer::Require), &cancel_request(1, b"abcd")),
        Step::Cancel(_)
    ));
}

#[test]
fn a_database_name_that_the_server_would_cut_is_refused() {
    let name = |length: usize| startup(&[("user", "u"), ("database", &"d".repeat(length))]);
    assert!(matches!(
        step(&mut Handshake::new(TlsOffer::Off), &name(63)),
        Step::Startup(_)
    ));
    assert_eq!(sqlstate(&step(&mut Handshake::new(TlsOffer::Off), &name(64))), "28000");
}

#[test]
fn parameters_that_decide_on_rights_come_once() {
    for name in ["user", "database", "options", "replication"] {
        let twice = startup(&[("user", "u"), (name, "a"), (name, "b")]);
        assert_eq!(
            sqlstate(&step(&mut Handshake::new(TlsOffer::Off), &twice)),
            "08P01",
            "{name}"
        );
    }
    let other = startup(&[("user", "u"), ("work_mem", "1MB"), ("work_mem", "2MB")]);
    assert!(matches!(
        step(&mut Handshake::new(TlsOffer::Off), &other),
        Step::Startup(_)
    ));
}

#[test]
fn no_role_is_refused_as_the_server_does() {
    assert_eq!(
        sqlstate(&step(&mut Handshake::new(TlsOffer::Off), &startup(&[]))),
        "28000"
    );
}

#[test]
fn errors_are_well_formed() {
    let bytes = Fatal::new(SqlState::PROTOCOL_VIOLATION, "a\0b").hint("h").encode();
    assert_eq!(&bytes[..], b"E\0\0\0\x22SFATAL\0VFATAL\0C08P01\0Ma?b\0Hh\0\0");
    assert_eq!(bytes.len() - 1, 0x22);
}

#[test]
fn every_split_point() {
    let bytes = hello();
    for at in 0..bytes.len() {
        let mut handshake = Handshake::new(TlsOffer::Allow);
        let mut input = BytesMut::from(&bytes[..at]);
        assert!(matches!(handshake.advance(&mut input), Step::Read));
        input.extend_from_slice(&bytes[at..]);
        assert!(matches!(handshake.advance(&mut input), Step::Startup(_)));
    }
}

proptest! {
    #[test]
    fn no_sequence_of_openings_gets_past_required_tls(
        messages in proptest::collection::vec(0usize..4, 1..6),
    ) {
        let mut handshake = Handshake::new(TlsOffer::Require);
        for message in messages {
            let bytes = match message {
                0 => ssl_request().to_vec(),
                1 => GSSENC.to_vec(),
                2 => hello(),
                _ => vec![0x16, 3, 1],
            };
            match step(&mut handshake, &bytes) {
                Step::Startup(_) => prop_assert!(handshake.is_secured()),
                Step::AnswerAndSecure | Step::Secure => prop_assert!(handshake.secured(Some(ALPN)).is_ok()),
                Step::Refuse(_) | Step::Close => break,
                _ => {}
            }
        }
    }
}
