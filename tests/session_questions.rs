//! What becomes of pgward's own questions about names, and of the client's message that waits for them, when the server doesn't answer.

#[path = "session/scripted.rs"]
mod scripted;

use bytes::BytesMut;
use pgward::wire::compose;
use scripted::*;

const SQL: &str = "DELETE FROM customers WHERE email = 'kim@example.com'";
const SECRET: &[u8] = b"kim@example.com";

fn error(sqlstate: &str) -> BytesMut {
    let mut out = BytesMut::new();
    let body = format!("SERROR\0VERROR\0C{sqlstate}\0Mno\0D16384\0\0");
    message(&mut out, b'E', body.as_bytes());
    out
}

fn ready(state: u8) -> BytesMut {
    let mut out = BytesMut::new();
    message(&mut out, b'Z', &[state]);
    out
}

/// The Close that stands before a question in the extended protocol is answered, its Parse fails.
fn failing(sqlstate: &str) -> BytesMut {
    let mut out = BytesMut::new();
    message(&mut out, b'3', b"");
    out.extend(error(sqlstate));
    out
}

fn parse(flight: &mut BytesMut, sql: &str) {
    compose::parse(flight, b"", sql.as_bytes(), std::iter::empty());
}

/// Parse, Bind, Execute, Sync.
fn batch(sql: &str) -> BytesMut {
    let mut flight = BytesMut::new();
    parse(&mut flight, sql);
    compose::bind_plain(&mut flight, b"", b"");
    compose::execute(&mut flight, b"", 0);
    compose::bare(&mut flight, b'S');
    flight
}

fn texts(sent: &[Frame]) -> String {
    sent.iter().map(|(_, body)| String::from_utf8_lossy(body)).collect()
}

fn asks(sent: &[Frame]) -> bool {
    texts(sent).contains("current_schemas")
}

fn refuses(sent: &[Frame]) -> bool {
    texts(sent).contains("SELECT \"pgward refuses")
}

fn holds_secret(frames: &[Frame]) -> bool {
    let holds = |(_, body): &Frame| body.windows(SECRET.len()).any(|window| window == SECRET);
    frames.iter().any(holds)
}

/// The statement itself, sealed.
fn carries_out(sent: &[Frame]) -> bool {
    texts(sent).contains("DELETE FROM customers") && !holds_secret(sent)
}

#[test]
fn what_fails_outside_of_a_transaction_is_asked_again() {
    for failures in 0..3 {
        let mut s = Scripted::new("app", true);
        s.client(&query(SQL));
        for _ in 0..failures {
            let sent = s.to_server();
            assert!(tags(&sent) == "Q" && asks(&sent));
            s.server(&error("XX000"));
            s.server(&ready(b'I'));
        }
        s.answer_scope();
        s.journal(true);
        let sent = s.to_server();
        assert!(tags(&sent) == "Q" && carries_out(&sent), "{failures}");
        assert_eq!(tags(&s.to_client()), "");

        let mut s = Scripted::new("app", true);
        s.client(&batch(SQL));
        for _ in 0..failures {
            let sent = s.to_server();
            assert!(tags(&sent) == "CPBECCS" && asks(&sent));
            s.server(&failing("XX000"));
            assert_eq!(tags(&s.to_server()), "");
            s.server(&ready(b'I'));
        }
        s.answer_scope();
        s.journal(true);
        let sent = s.to_server();
        assert!(tags(&sent) == "PDBES" && carries_out(&sent), "{failures}");
        assert_eq!(tags(&s.to_client()), "");
    }
}

#[test]
fn what_fails_again_and_again_is_refused() {
    let mut s = Scripted::new("app", true);
    // The second message is asked for anew.
    for _ in 0..2 {
        s.client(&query(SQL));
        for _ in 0..3 {
            assert!(asks(&s.to_server()));
            s.server(&error("XX000"));
            s.server(&ready(b'I'));
        }
        let sent = s.to_server();
        assert!(tags(&sent) == "Q" && refuses(&sent));
        s.server(&error("42703"));
        s.server(&ready(b'I'));
        assert_eq!(tags(&s.to_client()), "EZ");
    }
    let mut s = Scripted::new("app", true);
    for _ in 0..2 {
        s.client(&batch(SQL));
        for _ in 0..3 {
            assert!(asks(&s.to_server()));
            s.server(&failing("XX000"));
            s.server(&ready(b'I'));
        }
        let sent = s.to_server();
        assert!(tags(&sent) == "PS" && refuses(&sent));
        s.server(&error("42703"));
        s.server(&ready(b'I'));
        assert_eq!(tags(&s.to_client()), "EZ");
    }
}

#[test]
fn nothing_is_asked_again_where_a_transaction_was_lost() {
    for extended in [false, true] {
        let mut s = Scripted::new("app", true);
        s.client(&query("BEGIN"));
        s.to_server();
        let mut begun = BytesMut::new();
        message(&mut begun, b'C', b"BEGIN\0");
        begun.extend(ready(b'T'));
        s.server(&begun);
        s.to_client();
        s.client(&if extended { batch(SQL) } else { query(SQL) });
        assert!(asks(&s.to_server()));
        s.server(&if extended { failing("XX000") } else { error("XX000") });
        s.server(&ready(b'E'));
        let sent = s.to_server();
        assert_eq!(tags(&sent), if extended { "PS" } else { "Q" });
        assert!(refuses(&sent));
    }
    // What went before in the same implicit transaction is lost with the question: the error is the batch's.
    let mut s = Scripted::new("app", true);
    let mut flight = BytesMut::new();
    parse(&mut flight, "SELECT 1");
    flight.extend(batch(SQL));
    s.client(&flight);
    assert_eq!(tags(&s.to_server()), "PCPBECCH");
    let mut answer = BytesMut::new();
    message(&mut answer, b'1', b"");
    answer.extend(failing("XX000"));
    s.server(&answer);
    assert_eq!(tags(&s.to_server()), "S");
    s.server(&ready(b'I'));
    assert_eq!(tags(&s.to_client()), "1EZ");
}

#[test]
fn who_cancels_is_told_so_and_not_asked_for_again() {
    for sqlstate in ["57014", "55P03"] {
        for extended in [false, true] {
            let mut s = Scripted::new("app", true);
            for _ in 0..2 {
                s.client(&if extended { batch(SQL) } else { query(SQL) });
                assert!(asks(&s.to_server()));
                s.server(&if extended { failing(sqlstate) } else { error(sqlstate) });
                s.server(&ready(b'I'));
                if extended {
                    // What stood behind the message that waited is not for the server.
                    assert_eq!(tags(&s.to_server()), "S");
                    s.server(&ready(b'I'));
                }
                let told = s.to_client();
                assert_eq!(tags(&told), "EZ");
                let text = String::from_utf8_lossy(&told[0].1).into_owned();
                assert!(text.contains(sqlstate) && !text.contains("16384"), "{text}");
                assert_eq!(tags(&s.to_server()), "");
            }
        }
    }
}

/// After DDL: first what names mean, then the catalog, whose rows are in an encoding that is known by then.
#[test]
fn questions_are_asked_one_after_the_other_and_not_forever() {
    for (encoding, marker) in [("UTF8", "SELECT 'd'"), ("LATIN1", "array_to_json(ARRAY[q.a")] {
        let mut s = Scripted::new("app", true);
        s.client(&query("CREATE TABLE t (a int)"));
        s.to_server();
        let mut created = BytesMut::new();
        message(&mut created, b'S', format!("client_encoding\0{encoding}\0").as_bytes());
        message(&mut created, b'C', b"CREATE TABLE\0");
        created.extend(ready(b'I'));
        s.server(&created);
        s.client(&query(SQL));
        let sent = s.to_server();
        assert!(tags(&sent) == "Q" && asks(&sent));
        let mut answer = BytesMut::new();
        scope_row_in(&mut answer, encoding);
        message(&mut answer, b'C', b"SELECT 1\0");
        answer.extend(ready(b'I'));
        s.server(&answer);
        // A catalog without rows is none.
        let mut asked = 0;
        loop {
            let sent = s.to_server();
            assert_eq!(tags(&sent), "Q");
            if refuses(&sent) {
                break;
            }
            asked += 1;
            let text = texts(&sent);
            assert!(text.contains(marker) && !asks(&sent) && asked <= 3, "{text}");
            let mut answer = BytesMut::new();
            message(&mut answer, b'C', b"SELECT 0\0");
            answer.extend(ready(b'I'));
            s.server(&answer);
        }
        assert!(asked > 0);
    }
}

#[test]
fn the_end_of_the_server_is_told() {
    for extended in [false, true] {
        let mut s = Scripted::new("app", true);
        s.client(&if extended { batch(SQL) } else { query(SQL) });
        s.to_server();
        let mut fatal = BytesMut::new();
        message(&mut fatal, b'E', b"SFATAL\0VFATAL\0C57P01\0Mthe end\0\0");
        s.server(&fatal);
        s.session.server_eof();
        let told = s.to_client();
        assert_eq!(tags(&told), "E");
        assert!(texts(&told).contains("57P01"));
    }
}

#[test]
fn notices_about_a_question_are_not_the_clients() {
    for extended in [false, true] {
        let mut s = Scripted::new("app", true);
        s.client(&if extended { batch(SQL) } else { query(SQL) });
        let mut notice = BytesMut::new();
        message(
            &mut notice,
            b'N',
            b"SDEBUG\0VDEBUG\0C00000\0Mparse <unnamed>: WITH nsp\0\0",
        );
        s.server(&notice);
        assert_eq!(tags(&s.to_client()), "");
        notice.clear();
        message(
            &mut notice,
            b'N',
            b"SWARNING\0VWARNING\0C57P02\0Mcrash of another server process\0\0",
        );
        s.server(&notice);
        assert_eq!(tags(&s.to_client()), "N");
        s.answer_scope();
        s.server(&notice);
        assert_eq!(tags(&s.to_client()), "N");
    }
}

#[test]
fn an_earlier_batch_that_fails_takes_no_answer_away() {
    let mut s = Scripted::new("app", true);
    let mut flight = batch("SELECT nonsense");
    flight.extend(batch(SQL));
    s.client(&flight);
    assert_eq!(tags(&s.to_server()), "PBESCPBECCS");
    s.server(&error("42703"));
    assert_eq!(tags(&s.to_server()), "");
    s.server(&ready(b'I'));
    assert_eq!(tags(&s.to_client()), "EZ");
    let mut answer = BytesMut::new();
    for tag in *b"312" {
        message(&mut answer, tag, b"");
    }
    scope_row(&mut answer);
    message(&mut answer, b'C', b"SELECT 1\0");
    message(&mut answer, b'3', b"");
    message(&mut answer, b'3', b"");
    s.server(&answer);
    assert_eq!(tags(&s.to_server()), "", "not before ReadyForQuery");
    s.server(&ready(b'I'));
    s.journal(true);
    let sent = s.to_server();
    assert!(tags(&sent) == "PDBES" && carries_out(&sent));
}

#[test]
fn a_copy_that_swallowed_the_clients_sync_swallows_the_batch_behind_it() {
    let mut s = Scripted::new("app", true);
    let mut flight = batch("COPY plain FROM STDIN");
    flight.extend(batch(SQL));
    s.client(&flight);
    assert_eq!(tags(&s.to_server()), "PBESCPBECCS");
    // The server takes Sync and Flush as nothing then, and other messages as an error, behind which it discards up to the Sync.
    let mut answer = BytesMut::new();
    message(&mut answer, b'1', b"");
    message(&mut answer, b'2', b"");
    message(&mut answer, b'G', &[0, 0, 0]);
    answer.extend(error("08P01"));
    answer.extend(ready(b'I'));
    s.server(&answer);
    assert_eq!(tags(&s.to_client()), "12GE");
    let sent = s.to_server();
    assert_eq!(tags(&sent), "S");
    s.server(&ready(b'I'));
    assert_eq!(tags(&s.to_client()), "Z");
    s.client(&query("SELECT 'behind'"));
    assert_eq!(tags(&s.to_server()), "Q");
}
