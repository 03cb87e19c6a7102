use super::*;
use proptest::prelude::*;

fn startup(protocol: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((8 + body.len()) as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&protocol.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn parse_all(bytes: &[u8]) -> Result<Option<Opening>, StartupError> {
    parse(&mut BytesMut::from(bytes))
}

const V3: u32 = 3 << 16;
const BODY: &[u8] = b"user\0anna\0database\0shop\0options\0-c a=b\0_pq_.x\0y\0\0";

#[test]
fn startup_message_keeps_order_and_bytes() {
    for minor in [0, 2, 3, 9999] {
        let bytes = startup(V3 | minor, BODY);
        let mut input = BytesMut::from(&bytes[..]);
        input.extend_from_slice(b"Qrest");
        let Some(Opening::Startup(message)) = parse(&mut input).unwrap() else {
            panic!("not a StartupMessage");
        };
        assert_eq!(&message.raw[..], &bytes[..]);
        assert_eq!(message.minor(), minor as u16);
        let names: Vec<&str> = message.parameters.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["user", "database", "options", "_pq_.x"]);
        assert_eq!((message.role(), message.database()), (Some("anna"), Some("shop")));
        assert_eq!(&input[..], b"Qrest");
    }
}

#[test]
fn every_split_point_waits_and_takes_nothing() {
    let cancel = cancel_request(7, &[9; 32]);
    for bytes in [
        startup(V3, BODY),
        ssl_request().to_vec(),
        request(GSSENC_MINOR).to_vec(),
        cancel.to_vec(),
    ] {
        for at in 0..bytes.len() {
            let mut input = BytesMut::from(&bytes[..at]);
            assert!(parse(&mut input).unwrap().is_none(), "split at {at}");
            assert_eq!(input.len(), at);
            input.extend_from_slice(&bytes[at..]);
            assert!(parse(&mut input).unwrap().is_some());
            assert!(input.is_empty());
        }
    }
}

#[test]
fn last_duplicate_wins_and_empty_database_means_the_role() {
    let Some(Opening::Startup(message)) = parse_all(&startup(V3, b"database\0a\0user\0u\0database\0b\0\0")).unwrap()
    else {
        panic!()
    };
    assert_eq!(message.database(), Some("b"));
    let Some(Opening::Startup(message)) = parse_all(&startup(V3, b"database\0\0user\0u\0\0")).unwrap() else {
        panic!()
    };
    assert_eq!(message.database(), Some("u"));
    let Some(Opening::Startup(message)) = parse_all(&startup(V3, b"\0")).unwrap() else {
        panic!()
    };
    assert_eq!((message.role(), message.database()), (None, None));
}

#[test]
fn wire_07_replication_is_seen_in_every_spelling() {
    let asks = |value: &str| {
        let body = [b"user\0u\0replication\0", value.as_bytes(), b"\0\0"].concat();
        match parse_all(&startup(V3, &body)).unwrap() {
            Some(Opening::Startup(message)) => message.asks_for_replication(),
            _ => panic!(),
        }
    };
    for yes in [
        "true",
        "database",
        "on",
        "1",
        "YES",
        "t",
        "DATABASE",
        "",
        "o",
        "falsehood",
    ] {
        assert!(asks(yes), "{yes}");
    }
    for no in ["false", "F", "no", "n", "off", "of", "0"] {
        assert!(!asks(no), "{no}");
    }
}

#[test]
fn lengths_are_capped_before_the_body_comes() {
    for length in [0u32, 3, 7, 10_005, u32::MAX] {
        let mut bytes = length.to_be_bytes().to_vec();
        assert_eq!(parse_all(&bytes).unwrap_err(), StartupError::Length);
        bytes.extend_from_slice(&V3.to_be_bytes());
        assert_eq!(parse_all(&bytes).unwrap_err(), StartupError::Length);
    }
    let mut body = b"user\0".to_vec();
    body.resize(MAX_STARTUP_LENGTH - 4 - 2, b'u');
    body.extend_from_slice(b"\0\0");
    assert!(parse_all(&startup(V3, &body)).unwrap().is_some());
    // What an HTTP client sends.
    assert_eq!(parse_all(b"GET / HTTP/1.1\r\n").unwrap_err(), StartupError::Length);
}

#[test]
fn wire_05_cancel_secrets_are_4_to_256_bytes() {
    for length in [4, 32, 256] {
        let Some(Opening::Cancel(cancel)) = parse_all(&cancel_request(42, &vec![7; length])).unwrap() else {
            panic!()
        };
        assert_eq!((cancel.process_id, cancel.secret.len()), (42, length));
    }
    for length in [0, 3, 257] {
        assert_eq!(
            parse_all(&cancel_request(42, &vec![7; length])).unwrap_err(),
            StartupError::Length
        );
    }
    assert!(!format!("{:?}", parse_all(&cancel_request(42, b"abcd")).unwrap()).contains("abcd"));
}

#[test]
fn wire_01_unknown_codes_are_errors() {
    assert_eq!(
        parse_all(&request(5681)).unwrap_err(),
        StartupError::UnknownRequest { minor: 5681 }
    );
    assert_eq!(
        parse_all(&startup(2 << 16, BODY)).unwrap_err(),
        StartupError::UnsupportedProtocol { major: 2, minor: 0 }
    );
    assert_eq!(
        parse_all(&startup(4 << 16, BODY)).unwrap_err(),
        StartupError::UnsupportedProtocol { major: 4, minor: 0 }
    );
}

#[test]
fn layouts_that_the_server_refuses_are_refused() {
    for body in [
        &b""[..],
        b"user",
        b"user\0",
        b"user\0anna",
        b"user\0anna\0",
        b"user\0anna\0\0x",
        b"user\0anna\0\0\0",
        b"\0\0",
    ] {
        assert_eq!(
            parse_all(&startup(V3, body)).unwrap_err(),
            StartupError::Layout,
            "{body:?}"
        );
    }
    let mut long_ssl = ssl_request().to_vec();
    long_ssl[3] = 9;
    long_ssl.push(0);
    assert_eq!(parse_all(&long_ssl).unwrap_err(), StartupError::Length);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse_all(&bytes);
    }

    #[test]
    fn no_body_makes_it_panic(
        code in prop_oneof![Just(V3), Just(V3 | 2), (5676u32..5684).prop_map(|m| (1234 << 16) | m)],
        body in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..300),
    ) {
        let _ = parse_all(&startup(code, &body));
    }

    #[test]
    fn parameters_come_back(pairs in proptest::collection::vec(("[a-zäö_]{1,8}", "[^\0]{0,8}"), 0..8)) {
        let mut body = Vec::new();
        for (name, value) in &pairs {
            body.extend_from_slice(name.as_bytes());
            body.push(0);
            body.extend_from_slice(value.as_bytes());
            body.push(0);
        }
        body.push(0);
        let Some(Opening::Startup(message)) = parse_all(&startup(V3, &body)).unwrap() else { panic!() };
        prop_assert_eq!(message.parameters, pairs);
    }
}
