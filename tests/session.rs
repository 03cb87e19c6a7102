//! The session's state machine, without sockets: what reaches whom, when, and what does not.

#[path = "session/scripted.rs"]
mod scripted;

#[path = "session/memory.rs"]
mod memory;

use bytes::{BufMut, BytesMut};
use pgward::audit::{AuditDecision, How};
use pgward::wire::compose;
use scripted::*;

/// The `\x…` literal that stands in a rewritten text.
fn spliced(text: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(text).unwrap();
    let at = text.find("\\\\x").expect("a spliced literal") + 3;
    let hex: String = text[at..].chars().take_while(char::is_ascii_hexdigit).collect();
    hex::decode(hex).unwrap()
}

/// An INSERT of one customer through a session of its own: the envelopes of e-mail and name, as `\x` text.
fn sealed_customer() -> (Vec<u8>, Vec<u8>) {
    let mut s = Scripted::new("app", true);
    let mut envelope = |column: &str, value: &str| {
        s.client(&query(&format!(
            "INSERT INTO customers (id, {column}) VALUES (1, '{value}')"
        )));
        if !s.session.wants_client() {
            s.answer_scope();
        }
        s.journal(true);
        let sent = s.to_server();
        let envelope = spliced(&sent.last().unwrap().1);
        let mut done = BytesMut::new();
        message(&mut done, b'C', b"INSERT 0 1\0");
        message(&mut done, b'Z', b"I");
        s.server(&done);
        format!("\\x{}", hex::encode(envelope)).into_bytes()
    };
    (envelope("email", "kim@example.com"), envelope("name", "Kim"))
}

fn error_field(frame: &Frame, code: u8) -> String {
    assert_eq!(frame.0, b'E');
    let fields = pgward::wire::read::error_fields(&frame.1).unwrap();
    let field = fields
        .iter()
        .find(|(c, _)| *c == code)
        .map_or(&b""[..], |(_, text)| text);
    String::from_utf8(field.to_vec()).unwrap()
}

#[test]
fn unprotected_statements_go_through_as_they_came() {
    let mut s = Scripted::new("app", true);
    let text = query("SELECT 1; SELECT 'x' AS y");
    s.client(&text);
    let mut sent = BytesMut::new();
    for (tag, body) in s.to_server() {
        message(&mut sent, tag, &body);
    }
    assert_eq!(sent, text);
    assert!(s.records.is_empty());
}

#[test]
fn wire_24_every_statement_of_a_query_is_planned_and_sent() {
    let mut s = Scripted::new("app", true);
    s.client(&query("SELECT 1; INSERT INTO customers (id, name) VALUES (1, 'a'); INSERT INTO customers (id, name) VALUES (2, 'b'); SELECT 2"));
    s.answer_scope();
    assert!(s.to_server().is_empty(), "writes wait for their records");
    assert_eq!(s.journal(true).len(), 2);
    let sent = s.to_server();
    assert_eq!(tags(&sent), "Q");
    let text = String::from_utf8(sent[0].1.clone()).unwrap();
    assert_eq!(text.matches("\\\\xfa").count(), 2, "{text}");
    assert!(text.contains("SELECT 1") && text.contains("SELECT 2"), "{text}");
    assert!(!text.contains("'a'") && !text.contains("'b'"), "{text}");
}

#[test]
fn rows_wait_for_their_record() {
    let (email, _) = sealed_customer();
    let mut s = Scripted::new("app", true);
    s.client(&query(
        "SELECT id, email FROM customers WHERE email = 'kim@example.com'",
    ));
    s.answer_scope();
    let sent = s.to_server();
    assert_eq!(tags(&sent), "Q");
    let text = String::from_utf8(sent[0].1.clone()).unwrap();
    assert!(text.contains("from 11 for 16"), "{text}");
    assert!(!text.contains("kim@"), "{text}");

    let mut answer = BytesMut::new();
    row_description(&mut answer, &[("id", CUSTOMERS, 1, 23), ("email", CUSTOMERS, 2, 17)]);
    data_row(&mut answer, &[Some(b"41"), Some(&email)]);
    message(&mut answer, b'C', b"SELECT 1\0");
    message(&mut answer, b'Z', b"I");
    s.server(&answer);
    assert_eq!(tags(&s.to_client()), "T");
    let records = s.journal(true);
    let shown = s.to_client();
    assert_eq!(tags(&shown), "DCZ");
    assert!(shown[0].1.ends_with(b"kim@example.com"));

    let [record] = &records[..] else {
        panic!("one record a statement")
    };
    assert_eq!(record.decision, AuditDecision::Allowed);
    assert_eq!(record.rows, Some(1));
    assert_eq!(record.subject_count, 1);
    assert!(
        record
            .objects
            .iter()
            .any(|o| &*o.column == "email" && o.how == How::Clear)
    );
    assert!(
        record
            .objects
            .iter()
            .any(|o| &*o.column == "email" && o.how == How::Searched)
    );
    let json = format!("{record:?}");
    assert!(!json.contains("kim@") && !json.contains("41\""), "{json}");
}

#[test]
fn every_split_of_the_servers_answer_gives_the_same() {
    let (email, _) = sealed_customer();
    let mut answer = BytesMut::new();
    row_description(&mut answer, &[("email", CUSTOMERS, 2, 17)]);
    data_row(&mut answer, &[Some(&email)]);
    data_row(&mut answer, &[None]);
    message(&mut answer, b'C', b"SELECT 2\0");
    message(&mut answer, b'Z', b"I");
    let mut expected = None;
    for cut in 0..answer.len() {
        let mut s = Scripted::new("app", true);
        s.client(&query("SELECT email FROM customers"));
        s.answer_scope();
        s.server(&answer[..cut]);
        s.server(&answer[cut..]);
        s.journal(true);
        let got = s.to_client();
        assert_eq!(tags(&got), "TDDCZ", "cut at {cut}");
        assert_eq!(expected.get_or_insert_with(|| got.clone()), &got, "cut at {cut}");
    }
}

#[test]
fn a_masked_reader_sees_masks_and_a_stranger_nothing() {
    let (email, name) = sealed_customer();
    let mut s = Scripted::new("mia", true);
    s.client(&query("SELECT email, name FROM customers"));
    s.answer_scope();
    let mut answer = BytesMut::new();
    row_description(&mut answer, &[("email", CUSTOMERS, 2, 17), ("name", CUSTOMERS, 3, 17)]);
    data_row(&mut answer, &[Some(&email), Some(&name)]);
    message(&mut answer, b'C', b"SELECT 1\0");
    message(&mut answer, b'Z', b"I");
    s.server(&answer);
    let records = s.journal(true);
    assert_eq!(records[0].decision, AuditDecision::Masked);
    let shown = s.to_client();
    let row = String::from_utf8_lossy(&shown[1].1).into_owned();
    assert!(!row.contains("kim@example.com") && !row.contains("Kim"), "{row}");

    for role in ["ned", "unknown"] {
        let mut s = Scripted::new(role, true);
        s.client(&query("SELECT email FROM customers"));
        s.answer_scope();
        let sent = s.to_server();
        let text = String::from_utf8(sent[0].1.clone()).unwrap();
        assert!(!text.contains("customers"), "{text}");
        assert_eq!(s.records[0].1.decision, AuditDecision::Refused);
        assert_eq!(s.records[0].1.sqlstate, "42501");
        assert!(s.records[0].1.objects.iter().all(|o| o.how == How::Requested));
    }
}

/// The server's error for a refused statement, and what follows.
fn server_error(sent: &[Frame], state: u8, simple: bool) -> BytesMut {
    let text = sent
        .iter()
        .map(|(_, body)| String::from_utf8_lossy(body).into_owned())
        .collect::<String>();
    let at = text.find("SELECT \"").expect("a statement that fails") + 8;
    let name = &text[at..at + text[at..].find('"').unwrap()];
    let mut out = BytesMut::new();
    let mut body = BytesMut::new();
    for (code, text) in [
        (b'S', "ERROR"),
        (b'V', "ERROR"),
        (b'C', "42703"),
        (b'M', &format!("column \"{name}\" does not exist")),
        (b'P', "8"),
    ] {
        body.put_u8(code);
        body.put_slice(text.as_bytes());
        body.put_u8(0);
    }
    body.put_u8(0);
    message(&mut out, b'E', &body);
    if simple {
        message(&mut out, b'Z', &[state]);
    }
    out
}

#[test]
fn wire_14_a_refusal_is_the_servers_error_with_our_text() {
    let mut s = Scripted::new("app", true);
    s.client(&query("BEGIN; SELECT lower(email) FROM customers; SELECT 1"));
    s.answer_scope();
    let sent = s.to_server();
    let text = String::from_utf8(sent[0].1.clone()).unwrap();
    assert!(text.starts_with("BEGIN;") && !text.contains("lower"), "{text}");
    let mut answer = BytesMut::new();
    message(&mut answer, b'C', b"BEGIN\0");
    answer.extend(server_error(&sent, b'E', true));
    s.server(&answer);
    let shown = s.to_client();
    assert_eq!(tags(&shown), "CEZ");
    assert_eq!(error_field(&shown[1], b'C'), "0A000");
    assert!(error_field(&shown[1], b'H').contains("docs/ERRORS.md#expression"));
    assert_eq!(shown[2].1, b"E");
}

#[test]
fn a_failing_journal_takes_rows_back_and_stops_writes() {
    let (email, _) = sealed_customer();
    let mut s = Scripted::new("app", true);
    s.client(&query("SELECT email FROM customers"));
    s.answer_scope();
    s.to_server();
    let mut answer = BytesMut::new();
    row_description(&mut answer, &[("email", CUSTOMERS, 2, 17)]);
    data_row(&mut answer, &[Some(&email)]);
    message(&mut answer, b'C', b"SELECT 1\0");
    message(&mut answer, b'Z', b"I");
    s.server(&answer);
    s.journal(false);
    let shown = s.to_client();
    assert_eq!(tags(&shown), "TEZ");
    assert_eq!(error_field(&shown[1], b'C'), "58030");

    s.client(&query("INSERT INTO customers (id, name) VALUES (1, 'a')"));
    s.journal(false);
    let sent = s.to_server();
    assert_eq!(tags(&sent), "Q");
    assert!(!String::from_utf8_lossy(&sent[0].1).contains("INSERT"));
    s.server(&server_error(&sent, b'I', true));
    let shown = s.to_client();
    assert_eq!(tags(&shown), "EZ");
    assert_eq!(error_field(&shown[0], b'C'), "58030");

    s.client(&query("SELECT 1"));
    assert_eq!(tags(&s.to_server()), "Q", "unprotected statements go on");
}

#[test]
fn an_altered_envelope_is_an_error_and_no_row() {
    let (email, name) = sealed_customer();
    let mut flipped = email.clone();
    let last = flipped.len() - 1;
    flipped[last] = if flipped[last] == b'0' { b'1' } else { b'0' };
    for (stored, why) in [
        (flipped, "authentication"),
        (name, "another column"),
        (b"\\x616263".to_vec(), "not an envelope"),
    ] {
        let mut s = Scripted::new("app", true);
        s.client(&query("SELECT email FROM customers"));
        s.answer_scope();
        let mut answer = BytesMut::new();
        row_description(&mut answer, &[("email", CUSTOMERS, 2, 17)]);
        data_row(&mut answer, &[Some(&email)]);
        data_row(&mut answer, &[Some(&stored)]);
        message(&mut answer, b'C', b"SELECT 2\0");
        message(&mut answer, b'Z', b"I");
        s.server(&answer);
        s.journal(true);
        let shown = s.to_client();
        assert_eq!(tags(&shown), "TEZ", "{why}");
        assert_eq!(error_field(&shown[1], b'C'), "XX001");
        assert!(
            error_field(&shown[1], b'M').contains(why),
            "{}",
            error_field(&shown[1], b'M')
        );
    }
}

#[test]
fn a_description_that_disagrees_with_the_plan_is_an_error() {
    for columns in [
        &[("email", CUSTOMERS, 3, 17)][..],
        &[("email", 99_999, 2, 17)],
        &[("email", 0, 0, 17)],
        &[("email", CUSTOMERS, 2, 25)],
        &[("email", CUSTOMERS, 2, 17), ("more", 0, 0, 25)],
    ] {
        let mut s = Scripted::new("app", true);
        s.client(&query("SELECT email FROM customers"));
        s.answer_scope();
        let mut answer = BytesMut::new();
        row_description(&mut answer, columns);
        data_row(&mut answer, &vec![Some(&b"x"[..]); columns.len()]);
        message(&mut answer, b'C', b"SELECT 1\0");
        message(&mut answer, b'Z', b"I");
        s.server(&answer);
        s.journal(true);
        assert_eq!(tags(&s.to_client()), "EZ", "{columns:?}");
    }
    // And a protected column where nothing was planned to be.
    let mut s = Scripted::new("ned", true);
    s.client(&query("FETCH ALL FROM c"));
    let mut answer = BytesMut::new();
    row_description(&mut answer, &[("email", CUSTOMERS, 2, 17)]);
    data_row(&mut answer, &[Some(b"x")]);
    message(&mut answer, b'C', b"FETCH 1\0");
    message(&mut answer, b'Z', b"I");
    s.server(&answer);
    assert_eq!(tags(&s.to_client()), "EZ");
}

#[test]
fn a_prepared_insert_seals_its_parameters() {
    let mut s = Scripted::new("app", true);
    let mut flight = BytesMut::new();
    compose::parse(
        &mut flight,
        b"ins",
        b"INSERT INTO customers (id, email) VALUES ($1, $2)",
        [23u32, 25].into_iter(),
    );
    compose::describe(&mut flight, b'S', b"ins");
    let mut bind = BytesMut::new();
    bind.put_slice(b"\0ins\0");
    bind.put_slice(&[0, 0, 0, 2, 0, 0, 0, 1]);
    bind.put_slice(b"7");
    bind.put_u32(15);
    bind.put_slice(b"kim@example.com");
    bind.put_slice(&[0, 0]);
    message(&mut flight, b'B', &bind);
    compose::execute(&mut flight, b"", 0);
    compose::bare(&mut flight, b'S');
    s.client(&flight);
    s.answer_scope();
    let mut sent = s.to_server();
    assert_eq!(tags(&sent), "PDDB", "the write waits for its record");
    let parse = pgward::wire::read::Parse::read(&sent[0].1).unwrap();
    assert_eq!(parse.oids().collect::<Vec<_>>(), [23, 17]);
    let bound = String::from_utf8_lossy(&sent[3].1).into_owned();
    assert!(!bound.contains("kim@"), "{bound}");
    let records = s.journal(true);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].subject_count, 1);
    sent.extend(s.to_server());
    assert_eq!(tags(&sent), "PDDBES");

    let mut answer = BytesMut::new();
    message(&mut answer, b'1', b"");
    for _ in 0..2 {
        compose::parameter_description(&mut answer, &[23, 17]);
        message(&mut answer, b'n', b"");
    }
    message(&mut answer, b'2', b"");
    message(&mut answer, b'C', b"INSERT 0 1\0");
    message(&mut answer, b'Z', b"I");
    s.server(&answer);
    let shown = s.to_client();
    assert_eq!(tags(&shown), "1tn2CZ");
    assert_eq!(
        pgward::wire::read::parameter_description(&shown[1].1).unwrap(),
        [23, 25]
    );
}

#[test]
fn wire_26_a_sync_sent_before_the_end_of_copy_in_is_ignored() {
    let mut s = Scripted::new("app", true);
    let mut flight = BytesMut::new();
    compose::parse(&mut flight, b"", b"COPY plain FROM STDIN", std::iter::empty());
    compose::bind_plain(&mut flight, b"", b"");
    compose::execute(&mut flight, b"", 0);
    compose::bare(&mut flight, b'S');
    s.client(&flight);
    let mut answer = BytesMut::new();
    message(&mut answer, b'1', b"");
    message(&mut answer, b'2', b"");
    message(&mut answer, b'G', b"\0\0\0");
    s.server(&answer);
    let mut data = BytesMut::new();
    message(&mut data, b'd', b"1\n");
    message(&mut data, b'c', b"");
    compose::bare(&mut data, b'S');
    s.client(&data);
    assert_eq!(tags(&s.to_server()), "PBESdcS");
    let mut answer = BytesMut::new();
    message(&mut answer, b'C', b"COPY 1\0");
    message(&mut answer, b'Z', b"I");
    s.server(&answer);
    assert_eq!(tags(&s.to_client()), "12GCZ");
    assert_eq!(s.session.status(), pgward::session::Status::Open);
}

#[test]
fn wire_13_after_an_error_in_the_extended_protocol_everything_up_to_sync_is_discarded() {
    let mut s = Scripted::new("app", true);
    let mut flight = BytesMut::new();
    compose::parse(&mut flight, b"a", b"SELECT nonsense", std::iter::empty());
    compose::bind_plain(&mut flight, b"", b"a");
    compose::execute(&mut flight, b"", 0);
    s.client(&flight);
    assert_eq!(tags(&s.to_server()), "PBE");
    let mut error = BytesMut::new();
    message(&mut error, b'E', b"SERROR\0C42703\0Mno\0\0");
    s.server(&error);
    let mut more = BytesMut::new();
    compose::parse(
        &mut more,
        b"b",
        b"INSERT INTO customers (id, name) VALUES (1, 'a')",
        std::iter::empty(),
    );
    compose::bare(&mut more, b'S');
    s.client(&more);
    assert_eq!(tags(&s.to_server()), "S");
    let mut ready = BytesMut::new();
    message(&mut ready, b'Z', b"I");
    s.server(&ready);
    assert_eq!(tags(&s.to_client()), "EZ");
    assert!(s.records.is_empty());
}

#[test]
fn wire_28_function_calls_are_refused_where_columns_are_protected() {
    let mut call = BytesMut::new();
    message(&mut call, b'F', &[0; 10]);
    let mut s = Scripted::new("app", true);
    s.client(&call);
    assert_eq!(tags(&s.to_server()), "Q");
    let mut s = Scripted::new("app", false);
    s.client(&call);
    assert_eq!(tags(&s.to_server()), "F");
}

#[test]
fn wire_28_large_objects_work_where_columns_are_protected() {
    // lo_unlink(oid), as libpq calls it.
    let mut body = 964u32.to_be_bytes().to_vec();
    body.extend_from_slice(&[0, 1, 0, 1, 0, 1, 0, 0, 0, 4, 0, 0, 0, 42, 0, 1]);
    let mut call = BytesMut::new();
    message(&mut call, b'F', &body);
    let mut s = Scripted::new("app", true);
    s.client(&call);
    assert_eq!(s.to_server(), vec![(b'F', body)]);
    let mut answer = BytesMut::new();
    message(&mut answer, b'V', &[0, 0, 0, 4, 0, 0, 0, 1]);
    message(&mut answer, b'Z', b"I");
    s.server(&answer);
    assert_eq!(tags(&s.to_client()), "VZ");
}

#[test]
fn wire_29_a_protected_portal_is_not_read_by_its_name() {
    let mut s = Scripted::new("app", true);
    let mut text = BytesMut::new();
    compose::parse(&mut text, b"s", b"SELECT name FROM customers", std::iter::empty());
    s.client(&text);
    s.answer_scope();
    let mut text = BytesMut::new();
    compose::bind_plain(&mut text, b"p", b"s");
    s.client(&text);
    assert_eq!(tags(&s.to_server()), "PDB");
    // Parse and Bind alone show nothing; Execute would.
    let mut text = BytesMut::new();
    compose::parse(&mut text, b"", b"FETCH ALL FROM p", std::iter::empty());
    compose::bind_plain(&mut text, b"", b"");
    compose::execute(&mut text, b"", 0);
    s.client(&text);
    let sent = s.to_server();
    assert_eq!(tags(&sent), "PBP");
    let refusal = String::from_utf8_lossy(&sent[2].1).into_owned();
    assert!(!refusal.contains("FETCH"), "{refusal}");
    // Where no such portal is open, cursors are read as ever.
    let mut s = Scripted::new("app", true);
    let mut text = BytesMut::new();
    compose::parse(&mut text, b"", b"FETCH ALL FROM p", std::iter::empty());
    compose::bind_plain(&mut text, b"", b"");
    compose::execute(&mut text, b"", 0);
    s.client(&text);
    assert_eq!(tags(&s.to_server()), "PBE");
}

#[test]
fn malformed_frames_end_the_connection() {
    for bytes in [
        &b"Q\0\0\0\x03"[..],
        b"Q\xff\xff\xff\xff",
        b"Q\0\0\0\x07x\0y",
        b"~\0\0\0\x04",
        b"B\0\0\0\x05\0",
    ] {
        let mut s = Scripted::new("app", true);
        s.client(bytes);
        if let Some(frame) = s.to_client().first() {
            assert_eq!(error_field(frame, b'C'), "08P01");
            assert_eq!(error_field(frame, b'S'), "FATAL");
            assert_eq!(s.session.status(), pgward::session::Status::Closing);
        } else {
            panic!("{bytes:?} was taken");
        }
    }
}

#[test]
fn a_server_that_says_why_it_ends_is_not_talked_over() {
    for (fatal, expected) in [(true, "E"), (false, "E")] {
        let mut s = Scripted::new("app", true);
        s.client(&query("SELECT pg_sleep(10)"));
        if fatal {
            let mut error = BytesMut::new();
            message(&mut error, b'E', b"SFATAL\0VFATAL\0C57P01\0Mterminating\0\0");
            s.server(&error);
        }
        s.session.server_eof();
        let shown = s.to_client();
        assert_eq!(tags(&shown), expected);
        assert_eq!(error_field(&shown[0], b'C'), if fatal { "57P01" } else { "08006" });
    }
}

#[test]
fn wire_34_a_terminate_or_end_of_file_stands_behind_what_was_sent() {
    for terminate in [true, false] {
        let mut s = Scripted::new("app", true);
        s.client(&query("INSERT INTO customers (id, name) VALUES (1, 'a')"));
        s.answer_scope();
        if terminate {
            let mut bye = BytesMut::new();
            compose::bare(&mut bye, b'X');
            s.client(&bye);
        } else {
            s.session.client_eof();
        }
        assert!(s.to_server().is_empty(), "the write waits for its record");
        s.journal(true);
        assert_eq!(tags(&s.to_server()), "QX");
        let mut done = BytesMut::new();
        message(&mut done, b'C', b"INSERT 0 1\0");
        message(&mut done, b'Z', b"I");
        s.server(&done);
        assert_eq!(tags(&s.to_client()), "CZ");
        s.session.server_eof();
        assert_eq!(s.session.status(), pgward::session::Status::Closing);
        assert!(s.to_client().is_empty());
    }
}
