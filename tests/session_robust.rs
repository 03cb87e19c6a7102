//! What the fuzz targets `session_bytes` and `session_mutated` found, and its like: peers that end, lie, wait or send too much.

#[path = "session/scripted.rs"]
mod scripted;

use bytes::{BufMut, BytesMut};
use pgward::policy::Policy;
use pgward::session::Status;
use pgward::wire::compose;
use pgward::wire::outbuf::OutBuf;
use scripted::*;
use std::sync::Arc;

const SECRET: &[u8] = b"kim@example.com";

/// Parse, Bind, Execute of an INSERT that gives a secret.
fn insert(flight: &mut BytesMut, name: &[u8]) {
    compose::parse(
        flight,
        name,
        b"INSERT INTO customers (id, email) VALUES (1, $1)",
        std::iter::empty(),
    );
}

fn bind_secret(flight: &mut BytesMut, name: &[u8]) {
    let mut body = BytesMut::new();
    compose::put_cstr(&mut body, b"");
    compose::put_cstr(&mut body, name);
    body.put_slice(&[0, 0, 0, 1]);
    body.put_u32(SECRET.len() as u32);
    body.put_slice(SECRET);
    body.put_slice(&[0, 0]);
    message(flight, b'B', &body);
    compose::execute(flight, b"", 0);
}

fn holds_secret(sent: &[Frame]) -> bool {
    sent.iter()
        .any(|(_, body)| body.windows(SECRET.len()).any(|window| window == SECRET))
}

fn error(message: &str) -> BytesMut {
    let mut out = BytesMut::new();
    let body = format!("SERROR\0VERROR\0C42703\0M{message}\0\0");
    scripted::message(&mut out, b'E', body.as_bytes());
    out
}

fn refusal(sent: &[Frame]) -> BytesMut {
    let text = sent
        .iter()
        .map(|(_, body)| String::from_utf8_lossy(body).into_owned())
        .find_map(|text| Some(text.split_once("SELECT \"")?.1.split_once('"')?.0.to_owned()));
    error(&text.expect("a statement that fails"))
}

fn ready() -> BytesMut {
    let mut out = BytesMut::new();
    message(&mut out, b'Z', b"I");
    out
}

#[test]
fn the_values_of_a_refused_statement_do_not_reach_the_server() {
    let mut s = Scripted::new("ned", true);
    let mut flight = BytesMut::new();
    insert(&mut flight, b"");
    bind_secret(&mut flight, b"");
    compose::bare(&mut flight, b'S');
    s.client(&flight);
    s.answer_scope();
    let sent = s.to_server();
    assert_eq!(tags(&sent), "PS");
    assert!(!holds_secret(&sent));
    s.server(&refusal(&sent));
    s.server(&ready());
    assert_eq!(tags(&s.to_client()), "EZ");
    // The next statements are carried out.
    let mut flight = BytesMut::new();
    compose::parse(&mut flight, b"", b"SELECT 1", std::iter::empty());
    compose::bind_plain(&mut flight, b"", b"");
    compose::execute(&mut flight, b"", 0);
    compose::bare(&mut flight, b'S');
    s.client(&flight);
    assert_eq!(tags(&s.to_server()), "PBES");
}

#[test]
fn nor_behind_another_sync() {
    for replaces in [false, true] {
        let mut s = Scripted::new("ned", true);
        let mut flight = BytesMut::new();
        if replaces {
            // What the name means to the server all the while.
            compose::parse(&mut flight, b"", b"SELECT $1::text", std::iter::empty());
            compose::bare(&mut flight, b'S');
            s.client(&flight);
            assert_eq!(tags(&s.to_server()), "PS");
            let mut answer = BytesMut::new();
            message(&mut answer, b'1', b"");
            answer.extend(ready());
            s.server(&answer);
            s.to_client();
            flight.clear();
        }
        insert(&mut flight, b"");
        compose::bare(&mut flight, b'S');
        bind_secret(&mut flight, b"");
        compose::bare(&mut flight, b'S');
        s.client(&flight);
        s.answer_scope();
        let sent = s.to_server();
        assert_eq!(tags(&sent), "PSPS");
        assert!(!holds_secret(&sent));
        s.server(&refusal(&sent));
        s.server(&ready());
        s.server(&refusal(&sent[2..]));
        s.server(&ready());
        assert_eq!(tags(&s.to_client()), "EZEZ");
    }
}

#[test]
fn rows_that_fill_a_small_buffer_are_released() {
    let (shared, database, _directory) = surroundings(true);
    let small = format!("{POLICY}\n[limits]\nbuffer_bytes = 8192\n");
    shared.policy.store(Arc::new(Policy::parse(&small).unwrap()));
    let mut s = Scripted::with("app", shared, database);
    s.client(&query("SELECT id, note FROM customers WHERE name IS NULL"));
    s.answer_scope();
    s.to_server();
    let mut answer = BytesMut::new();
    row_description(&mut answer, &[("id", CUSTOMERS, 1, 23), ("note", CUSTOMERS, 4, 25)]);
    let note = [b'n'; 500];
    (0..100).for_each(|_| data_row(&mut answer, &[Some(b"1"), Some(&note)]));
    message(&mut answer, b'C', b"SELECT 100\0");
    answer.extend(ready());
    s.server(&answer);
    let mut shown = tags(&s.to_client());
    while !shown.ends_with('Z') {
        let answered = s.journal(true).len();
        let more = tags(&s.to_client());
        assert!(answered > 0 || !more.is_empty(), "waits for a record that nobody makes");
        shown.push_str(&more);
        s.server(b"");
    }
    assert_eq!(shown, format!("T{}CZ", "D".repeat(100)));
}

#[test]
fn who_sends_without_end_while_nothing_is_answered_has_to_wait() {
    let mut s = Scripted::new("app", true);
    let mut syncs = BytesMut::new();
    (0..1000).for_each(|_| compose::bare(&mut syncs, b'S'));
    let mut taken = 0;
    while s.session.wants_client() {
        s.client(&syncs);
        taken += s.to_server().len();
        assert!(taken < 100_000, "remembers {taken} messages");
    }
    // Each answer makes room.
    (0..500).for_each(|_| s.server(&ready()));
    assert_eq!(s.to_client().len(), 500);
    assert!(!s.to_server().is_empty());
}

/// What stands in `out` as it is, frames or not.
fn bytes(out: &mut OutBuf) -> Vec<u8> {
    use bytes::Buf;
    out.copy_to_bytes(out.remaining()).to_vec()
}

#[test]
fn nothing_is_put_into_the_middle_of_a_message() {
    // The server's, while the client errs, or the server itself ends.
    for ends in [false, true] {
        let mut s = Scripted::new("app", true);
        s.client(&query("SELECT 'long'"));
        s.to_server();
        let mut row = BytesMut::new();
        data_row(&mut row, &[Some(&[b'x'; 100])]);
        s.server(&row[..50]);
        assert_eq!(bytes(s.session.to_client()), row[..50]);
        if ends {
            s.session.server_eof();
        } else {
            s.client(b"Q\0\0\0\x03");
        }
        assert_eq!(s.session.status(), Status::Closing);
        assert_eq!(bytes(s.session.to_client()), b"");
    }
    // The client's, while pgward stops.
    let mut s = Scripted::new("app", true);
    s.client(b"d\0\0\0\x64abc");
    s.session.shutdown();
    assert_eq!(s.session.status(), Status::Closing);
    assert_eq!(bytes(s.session.to_server()), b"d\0\0\0\x64abc");
}

#[test]
fn the_rest_of_a_message_that_was_taken_back_is_not_passed_on() {
    let mut s = Scripted::new("app", true);
    let mut flight = BytesMut::new();
    for sql in [&b"SELECT name FROM customers"[..], b"SELECT 'long'"] {
        compose::parse(&mut flight, b"", sql, std::iter::empty());
        compose::bind_plain(&mut flight, b"", b"");
        compose::execute(&mut flight, b"", 0);
    }
    compose::bare(&mut flight, b'S');
    s.client(&flight);
    s.answer_scope();
    assert_eq!(tags(&s.to_server()), "PDBEPBES");
    let mut answer = BytesMut::new();
    message(&mut answer, b'1', b"");
    message(&mut answer, b't', b"\0\0");
    row_description(&mut answer, &[("name", CUSTOMERS, 3, 17)]);
    message(&mut answer, b'2', b"");
    message(&mut answer, b'C', b"SELECT 0\0");
    message(&mut answer, b'1', b"");
    message(&mut answer, b'2', b"");
    let mut row = BytesMut::new();
    data_row(&mut row, &[Some(&[b'x'; 100])]);
    answer.extend_from_slice(&row[..50]);
    s.server(&answer);
    assert_eq!(tags(&s.to_client()), "12");
    // The record of the first statement can't be made: all behind it is taken back.
    s.journal(false);
    let mut rest = BytesMut::from(&row[50..]);
    message(&mut rest, b'C', b"SELECT 1\0");
    rest.extend(ready());
    s.server(&rest);
    assert_eq!(tags(&s.to_client()), "EZ");
}

#[test]
fn copy_data_is_discarded_or_not_however_it_comes() {
    let mut data = BytesMut::new();
    message(&mut data, b'd', &[b'x'; 100]);
    for cut in [data.len(), 20] {
        let mut s = Scripted::new("app", true);
        let mut flight = BytesMut::new();
        compose::parse(&mut flight, b"", b"COPY plain FROM STDIN", std::iter::empty());
        s.client(&flight);
        s.to_server();
        s.server(&error("no"));
        s.client(&data[..cut]);
        s.client(&data[cut..]);
        assert_eq!(bytes(s.session.to_server()), b"", "cut at {cut}");
    }
}

#[test]
fn names_are_asked_for_again_after_a_question_was_discarded() {
    let mut s = Scripted::new("ned", true);
    let mut flight = BytesMut::new();
    compose::parse(&mut flight, b"", b"SELECT nonsense", std::iter::empty());
    compose::parse(&mut flight, b"", b"SELECT email FROM customers", std::iter::empty());
    compose::bare(&mut flight, b'S');
    s.client(&flight);
    assert_eq!(tags(&s.to_server()), "PCPBECCH");
    // The server discards the question, and pgward what had to wait for its answer.
    s.server(&error("no"));
    assert_eq!(tags(&s.to_server()), "S");
    s.server(&ready());
    assert_eq!(tags(&s.to_client()), "EZ");
    s.client(&query("DELETE FROM customers WHERE email = 'kim@example.com'"));
    let sent = s.to_server();
    assert_eq!(tags(&sent), "Q");
    let text = String::from_utf8_lossy(&sent[0].1).into_owned();
    assert!(
        text.contains("current_schemas"),
        "not asked, and the statement sent: {text}"
    );
}

#[test]
fn what_may_touch_protected_columns_is_not_sent_while_names_are_unknown() {
    for extended in [false, true] {
        let mut s = Scripted::new("app", true);
        let sql = b"DELETE FROM customers WHERE email = 'kim@example.com'";
        let mut flight = query("SELECT 1");
        if extended {
            flight.clear();
            compose::parse(&mut flight, b"", b"SELECT 1", std::iter::empty());
            compose::parse(&mut flight, b"", sql, std::iter::empty());
        } else {
            compose::query(&mut flight, sql);
        }
        s.client(&flight);
        s.to_server();
        // An answer that isn't one.
        let mut answer = BytesMut::new();
        if extended {
            for tag in *b"1312" {
                message(&mut answer, tag, b"");
            }
        } else {
            message(&mut answer, b'C', b"SELECT 1\0");
            answer.extend(ready());
        }
        data_row(&mut answer, &[None]);
        message(&mut answer, b'C', b"SELECT 1\0");
        if extended {
            message(&mut answer, b'3', b"");
            message(&mut answer, b'3', b"");
        } else {
            answer.extend(ready());
        }
        s.server(&answer);
        let sent = s.to_server();
        assert_eq!(tags(&sent), if extended { "P" } else { "Q" });
        assert!(String::from_utf8_lossy(&sent[0].1).contains("SELECT \"pgward refuses"));
    }
}

#[test]
fn a_long_bind_is_known_by_its_names_however_they_come() {
    let (shared, database, _directory) = surroundings(true);
    let small = format!("{POLICY}\n[limits]\nmax_statement_bytes = 1024\nmax_rewritten_message_bytes = 65536\n");
    shared.policy.store(Arc::new(Policy::parse(&small).unwrap()));
    let mut bind = BytesMut::new();
    message(&mut bind, b'B', &[&b"portal\0statement\0"[..], &[0; 100_000]].concat());
    for cut in 5..30 {
        let mut s = Scripted::with("app", shared.clone(), database.clone());
        s.client(&bind[..cut]);
        s.client(&bind[cut..90_000]);
        assert_eq!(bytes(s.session.to_server()), bind[..90_000], "cut at {cut}");
    }
}

#[test]
fn no_message_overtakes_one_that_waits_for_names() {
    for fails in [false, true] {
        let mut s = Scripted::new("app", true);
        let mut flight = query("SELECT email FROM customers");
        compose::query(&mut flight, b"SELECT 'behind'");
        s.client(&flight);
        assert_eq!(tags(&s.to_server()), "Q");
        let mut answer = BytesMut::new();
        if fails {
            // For the last time: until then it is asked again.
            for _ in 0..2 {
                s.server(&error("no"));
                s.server(&ready());
                assert_eq!(tags(&s.to_server()), "Q");
            }
            answer.extend(error("no"));
        } else {
            scope_row(&mut answer);
            message(&mut answer, b'C', b"SELECT 1\0");
        }
        s.server(&answer);
        assert_eq!(
            tags(&s.to_server()),
            "",
            "the first is not planned before ReadyForQuery"
        );
        s.server(&ready());
        let sent = s.to_server();
        assert_eq!(tags(&sent), "QQ");
        assert!(String::from_utf8_lossy(&sent[1].1).contains("behind"));
    }
}

#[test]
fn values_for_a_statement_that_was_lost_on_the_way_do_not_reach_the_server() {
    for discarded in [true, false] {
        let mut s = Scripted::new("app", true);
        let mut flight = BytesMut::new();
        if discarded {
            // The server's error is here before the Parse that it makes the server discard.
            compose::parse(&mut flight, b"", b"SELECT nonsense", std::iter::empty());
            s.client(&flight);
            s.to_server();
            s.server(&error("no"));
            flight.clear();
            insert(&mut flight, b"ins");
        } else {
            // The server refuses it.
            insert(&mut flight, b"ins");
            s.client(&flight);
            s.answer_scope();
            s.to_server();
            s.server(&error("no"));
            flight.clear();
        }
        compose::bare(&mut flight, b'S');
        bind_secret(&mut flight, b"ins");
        compose::bare(&mut flight, b'S');
        s.client(&flight);
        let sent = s.to_server();
        assert_eq!(tags(&sent), "SBDES");
        assert!(!holds_secret(&sent));
        assert!(pgward::wire::read::Bind::read(&sent[1].1).is_ok());
    }
    // A statement that SQL prepared is bound by its name, values and all.
    let mut s = Scripted::new("app", true);
    let mut flight = BytesMut::new();
    bind_secret(&mut flight, b"by_sql");
    s.client(&flight);
    assert!(holds_secret(&s.to_server()));
}
