//! What a session keeps is bounded, and is let go of when the server has let go of it; never before.

use super::*;
use pgward::wire::inbuf::InBuf;

/// Room for some statements of [`long`].
const SMALL: &str = "[limits]\nmax_prepared_bytes = 65536\n";

/// 8 KiB of text.
fn long() -> String {
    format!("SELECT '{}'", "x".repeat(8 * 1024))
}

fn parse(name: &str, sql: &str) -> BytesMut {
    let mut out = BytesMut::new();
    compose::parse(&mut out, name.as_bytes(), sql.as_bytes(), std::iter::empty());
    out
}

fn run(name: &str) -> BytesMut {
    let mut out = BytesMut::new();
    compose::bind_plain(&mut out, b"", name.as_bytes());
    compose::execute(&mut out, b"", 0);
    out
}

fn sync() -> BytesMut {
    let mut out = BytesMut::new();
    compose::bare(&mut out, b'S');
    out
}

fn answers(frames: &[(u8, &[u8])]) -> BytesMut {
    let mut out = BytesMut::new();
    for (tag, body) in frames {
        message(&mut out, *tag, body);
    }
    out
}

const READY: (u8, &[u8]) = (b'Z', b"I");

/// Prepares one long statement; whether pgward took it.
fn prepare(s: &mut Scripted, name: &str) -> bool {
    s.client(&parse(name, &long()));
    s.client(&sync());
    let sent = s.to_server();
    assert_eq!(tags(&sent), "PS");
    let taken = sent[0].1.starts_with(name.as_bytes()) && sent[0].1.len() > 8 * 1024;
    let answer: (u8, &[u8]) = match taken {
        true => (b'1', b""),
        // The statement that stands for the refused one fails; its marker is in its text.
        false => return refused(s, &sent[0].1),
    };
    s.server(&answers(&[answer, READY]));
    assert_eq!(tags(&s.to_client()), "1Z");
    true
}

/// Lets the statement fail that stands for a refused one. Always false.
fn refused(s: &mut Scripted, parse: &[u8]) -> bool {
    let text = String::from_utf8_lossy(parse);
    let marker = text.split('"').nth(1).expect("a marker").to_owned();
    let error = format!("SERROR\0VERROR\0C42703\0Mcolumn \"{marker}\" does not exist\0\0");
    s.server(&answers(&[(b'E', error.as_bytes()), READY]));
    let shown = s.to_client();
    assert_eq!(tags(&shown), "EZ");
    assert_eq!(error_field(&shown[0], b'C'), "54000");
    assert!(error_field(&shown[0], b'M').contains("65536 bytes"), "{shown:?}");
    assert!(error_field(&shown[0], b'H').contains("max_prepared_bytes"), "{shown:?}");
    false
}

/// How many of twenty can be prepared where `after` follows on each.
fn kept(mut after: impl FnMut(&mut Scripted, &str)) -> usize {
    let mut s = Scripted::with_policy("app", true, SMALL);
    let mut taken = 0;
    for n in 0..20 {
        let name = format!("Statement {n}");
        taken += usize::from(prepare(&mut s, &name));
        after(&mut s, &name);
    }
    taken
}

/// A Query and what the server answers.
fn simple(s: &mut Scripted, sql: &str, tags: &[&str]) {
    s.client(&query(sql));
    assert_eq!(s.to_server().len(), 1);
    let mut answer = BytesMut::new();
    for tag in tags {
        message(&mut answer, b'C', format!("{tag}\0").as_bytes());
    }
    message(&mut answer, b'Z', b"I");
    s.server(&answer);
    assert_eq!(s.to_client().len(), tags.len() + 1);
}

#[test]
fn prepared_statements_are_kept_up_to_a_limit_and_then_refused() {
    assert_eq!(kept(|_, _| {}), 7);
}

#[test]
fn a_closed_statement_makes_room() {
    let all = kept(|s, name| {
        let mut close = BytesMut::new();
        compose::close(&mut close, b'S', name.as_bytes());
        s.client(&close);
        s.client(&sync());
        assert_eq!(tags(&s.to_server()), "CS");
        s.server(&answers(&[(b'3', b""), READY]));
        assert_eq!(tags(&s.to_client()), "3Z");
    });
    assert_eq!(all, 20);
}

#[test]
fn a_deallocated_statement_makes_room() {
    for text in [
        "DEALLOCATE \"NAME\"",
        "deallocate prepare \"NAME\";",
        "/* '; */ DEALLOCATE -- \"\n \"NAME\"",
        "DEALLOCATE ALL",
        "deallocate PREPARE all",
        "DISCARD ALL",
    ] {
        let tag = match () {
            () if text.contains("NAME") => "DEALLOCATE",
            () if text.contains("DISCARD") => "DISCARD ALL",
            () => "DEALLOCATE ALL",
        };
        let text = |name: &str| text.replace("NAME", name);
        let all = kept(|s, name| simple(s, &text(name), &[tag]));
        assert_eq!(all, 20, "{}", text("…"));
        // In the midst of others, protected ones among them.
        let all = kept(|s, name| {
            let script = format!("SELECT 1; {} \n; SELECT 2", text(name));
            simple(s, &script, &["SELECT 1", tag, "SELECT 1"]);
        });
        assert_eq!(all, 20, "{}", text("…"));
        // Through the extended protocol, in one flight with the next.
        let all = kept(|s, name| {
            for message in [parse("", &text(name)), run(""), sync()] {
                s.client(&message);
            }
            assert_eq!(tags(&s.to_server()), "PBES");
            let tag = format!("{tag}\0");
            s.server(&answers(&[(b'1', b""), (b'2', b""), (b'C', tag.as_bytes()), READY]));
            assert_eq!(tags(&s.to_client()), "12CZ");
        });
        assert_eq!(all, 20, "{}", text("…"));
    }
}

#[test]
fn a_statement_is_kept_until_the_server_says_that_it_is_gone() {
    // The names differ, or the server says something else, or nothing.
    for (sql, tag) in [
        ("DEALLOCATE statement", "DEALLOCATE"),
        ("DEALLOCATE \"Statement\"", "DEALLOCATE"),
        ("DEALLOCATE \"NAME\"", "DEALLOCATE PREPARE"),
        ("DEALLOCATE \"NAME\"", "SELECT 1"),
        // Where a backslash is may depend on settings.
        ("SELECT '\\'; DEALLOCATE \"NAME\"", "DEALLOCATE"),
        ("DISCARD PLANS", "DISCARD PLANS"),
        ("SELECT 'DEALLOCATE ALL'", "SELECT 1"),
    ] {
        let done = kept(|s, name| {
            let sql = sql.replace("NAME", name);
            s.client(&query(&sql));
            if !s.session.wants_client() {
                s.answer_scope();
            }
            assert_eq!(tags(&s.to_server()), "Q", "{sql}");
            let mut answer = BytesMut::new();
            if sql.contains(';') {
                message(&mut answer, b'C', b"SELECT 1\0");
            }
            message(&mut answer, b'C', format!("{tag}\0").as_bytes());
            message(&mut answer, b'Z', b"I");
            s.server(&answer);
            s.to_client();
        });
        assert_eq!(done, 7, "{sql}");
    }
    let failing = kept(|s, name| {
        s.client(&query(&format!("DEALLOCATE \"{name}\"")));
        s.to_server();
        let error = (b'E', &b"SERROR\0VERROR\0C26000\0Mno\0P12\0Dmore\0\0"[..]);
        s.server(&answers(&[error, READY]));
        let shown = s.to_client();
        assert_eq!(tags(&shown), "EZ");
        assert_eq!(
            error_field(&shown[0], b'P') + &error_field(&shown[0], b'D'),
            "12more",
            "as it came"
        );
    });
    assert_eq!(failing, 7);
}

/// A session in which `s` is a protected statement, known to the server.
fn with_protected() -> Scripted {
    let mut s = Scripted::new("app", true);
    s.client(&parse("s", BY_EMAIL));
    s.answer_scope();
    s.client(&sync());
    assert_eq!(tags(&s.to_server()), "PDS");
    let mut answer = answers(&[(b'1', b""), (b't', b"\0\x01\0\0\0\x11")]);
    row_description(&mut answer, &[("id", CUSTOMERS, 1, 23)]);
    answer.unsplit(answers(&[READY]));
    s.server(&answer);
    assert_eq!(tags(&s.to_client()), "1Z");
    s
}

const BY_EMAIL: &str = "SELECT id FROM customers WHERE email = $1";

/// Whether a Bind of `name` goes to the server with its value sealed: neither as it is nor without it.
fn seals(s: &mut Scripted, name: &str) -> bool {
    let mut body = format!("\0{name}\0").into_bytes();
    body.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 3]);
    body.extend_from_slice(b"kim\0\0");
    let mut bind = BytesMut::new();
    message(&mut bind, b'B', &body);
    s.client(&bind);
    let sent = s.to_server();
    assert_eq!(tags(&sent), "B");
    let bound = pgward::wire::read::Bind::read(&sent[0].1).expect("a Bind");
    bound.values().count() == 1 && !sent[0].1.windows(3).any(|w| w == b"kim")
}

#[test]
fn a_statement_prepared_behind_the_deallocate_in_a_pipeline_stays() {
    for deallocate in ["DEALLOCATE s", "DEALLOCATE ALL", "DISCARD ALL"] {
        let tag = if deallocate == "DEALLOCATE s" {
            "DEALLOCATE"
        } else {
            deallocate
        };
        let complete = format!("{tag}\0");
        for extended in [false, true] {
            let mut s = with_protected();
            assert!(seals(&mut s, "s"));
            s.client(&sync());
            s.server(&answers(&[(b'2', b""), READY]));
            s.to_server();
            s.to_client();
            let mut flight = BytesMut::new();
            let before: &[(u8, &[u8])] = if extended {
                for message in [parse("", deallocate), run(""), sync()] {
                    flight.unsplit(message);
                }
                &[(b'1', b""), (b'2', b"")]
            } else {
                flight.unsplit(query(deallocate));
                &[]
            };
            flight.unsplit(parse("s", BY_EMAIL));
            s.client(&flight);
            // DISCARD ALL may change what names mean: asked before the Parse.
            let mut answer = answers(before);
            message(&mut answer, b'C', complete.as_bytes());
            answer.unsplit(answers(&[READY]));
            if deallocate == "DISCARD ALL" {
                s.server(&answer);
                continue;
            }
            s.server(&answer);
            assert!(seals_behind(&mut s), "{deallocate}, extended: {extended}");
            // The Parse fails after all: the name means nothing, and the server says so.
            s.server(&answers(&[(b'E', b"SERROR\0VERROR\0C42000\0Mno\0\0")]));
            s.client(&sync());
            s.server(&answers(&[READY]));
            s.to_server();
            assert!(!seals(&mut s, "s"), "{deallocate}, extended: {extended}");
        }
    }
}

/// The same behind messages that were sent before.
fn seals_behind(s: &mut Scripted) -> bool {
    s.to_server();
    s.to_client();
    seals(s, "s")
}

#[test]
fn a_statement_whose_deallocate_is_not_answered_is_still_protected() {
    let mut s = with_protected();
    s.client(&query("DEALLOCATE s"));
    assert!(seals_behind(&mut s));
    s.server(&answers(&[(b'C', b"DEALLOCATE\0"), READY]));
    // The Bind fails, which tells the client what it wants to know.
    s.server(&answers(&[(b'E', b"SERROR\0VERROR\0C26000\0Mno\0\0")]));
    s.client(&sync());
    s.server(&answers(&[READY]));
    s.to_server();
    assert!(!seals(&mut s, "s"));
}

#[test]
fn what_comes_out_of_an_unknown_portal_is_looked_at_first() {
    let mut s = Scripted::new("app", true);
    s.client(&run("made by SQL"));
    s.client(&sync());
    assert_eq!(tags(&s.to_server()), "BDES");
    let mut answer = answers(&[(b'2', b"")]);
    row_description(&mut answer, &[("id", CUSTOMERS, 1, 23)]);
    data_row(&mut answer, &[Some(b"1")]);
    answer.unsplit(answers(&[(b'C', b"SELECT 1\0"), READY]));
    s.server(&answer);
    assert_eq!(tags(&s.to_client()), "2DCZ", "the description was pgward's own");

    s.client(&run("made by SQL"));
    s.client(&sync());
    assert_eq!(tags(&s.to_server()), "BDES");
    let mut answer = answers(&[(b'2', b"")]);
    row_description(&mut answer, &[("name", CUSTOMERS, 3, 17)]);
    data_row(&mut answer, &[Some(b"secret")]);
    answer.unsplit(answers(&[(b'C', b"SELECT 1\0"), READY]));
    s.server(&answer);
    assert_eq!(tags(&s.to_client()), "2EZ");

    let mut s = Scripted::new("app", false);
    s.client(&run("made by SQL"));
    assert_eq!(tags(&s.to_server()), "BE", "nothing to protect, nothing to ask");
}

#[test]
fn a_client_that_sends_and_does_not_read_makes_the_session_wait() {
    let mut s = Scripted::new("app", true);
    let mut input = InBuf::from(&sync().repeat(40_000)[..]);
    let mut waits = 0;
    while !input.is_empty() {
        // All that leaves is taken at once: it is not the output that makes it wait.
        let mut owed = 0;
        while !input.is_empty() && s.session.wants_client() {
            s.session.from_client(&mut input);
            owed += s.to_server().len();
        }
        assert!(owed <= 16_384, "{owed}");
        waits += usize::from(!input.is_empty());
        // The server answers, and the client reads at last.
        let mut answer = BytesMut::new();
        (0..owed).for_each(|_| message(&mut answer, b'Z', b"I"));
        let mut answer = InBuf::from(&answer[..]);
        while !answer.is_empty() {
            s.session.from_server(&mut answer);
            s.to_client();
        }
    }
    assert_eq!(waits, 2);
    assert_eq!(s.session.status(), pgward::session::Status::Open);
}

#[test]
fn portals_end_with_their_transaction_also_in_a_pipeline() {
    let mut s = with_protected();
    s.client(&parse("t", "SELECT 1"));
    s.client(&sync());
    s.to_server();
    s.server(&answers(&[(b'1', b""), READY]));
    s.to_client();
    // Each batch opens a portal of its own and never closes it; there is always another one on its way.
    for n in 0..40_000 {
        let mut flight = BytesMut::new();
        compose::bind_plain(&mut flight, format!("p{n}").as_bytes(), b"t");
        compose::bare(&mut flight, b'S');
        s.client(&flight);
        assert_eq!(tags(&s.to_server()), "BS", "{n}");
        if n > 0 {
            s.server(&answers(&[(b'2', b""), READY]));
            assert_eq!(tags(&s.to_client()), "2Z");
        }
    }
}

#[test]
fn portals_of_one_transaction_are_limited() {
    let mut s = Scripted::new("app", true);
    s.client(&parse("s", "SELECT 1"));
    s.client(&sync());
    s.to_server();
    s.server(&answers(&[(b'1', b""), (b'Z', b"T")]));
    s.to_client();
    let mut bound = 0;
    for n in 0..20_000 {
        let mut flight = BytesMut::new();
        compose::bind_plain(&mut flight, format!("p{n}").as_bytes(), b"s");
        compose::bare(&mut flight, b'S');
        s.client(&flight);
        let sent = tags(&s.to_server());
        if sent == "PS" {
            break;
        }
        assert_eq!(sent, "BS");
        s.server(&answers(&[(b'2', b""), (b'Z', b"T")]));
        s.to_client();
        bound += 1;
    }
    assert_eq!(bound, 16_384);
}

#[test]
fn statements_on_protected_columns_are_planned_up_to_a_limit() {
    let mut s = Scripted::with_policy("app", true, "[limits]\nmax_statement_bytes = 1024\n");
    let name = "x".repeat(2000);
    s.client(&query(&format!("SELECT '{name}' FROM plain")));
    assert_eq!(tags(&s.to_server()), "Q", "nothing protected in it");
    s.server(&answers(&[(b'C', b"SELECT 0\0"), READY]));
    s.client(&query(&format!(
        "INSERT INTO customers (id, name) VALUES (1, '{name}')"
    )));
    s.answer_scope();
    let sent = s.to_server();
    assert!(!String::from_utf8_lossy(&sent[0].1).contains("xxx"));
    let records = s.journal(true);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].decision, AuditDecision::Refused);
    s.client(&query("INSERT INTO customers (id, name) VALUES (1, 'x')"));
    assert_eq!(s.journal(true)[0].decision, AuditDecision::Allowed);
}

#[test]
fn a_plan_that_is_larger_than_its_text_counts() {
    let mut s = Scripted::with_policy("app", true, SMALL);
    let rows = vec!["(1,'a')"; 1000].join(",");
    let text = format!("INSERT INTO customers (id, name) VALUES {rows}");
    assert!(text.len() < 10_000);
    s.client(&parse("many", &text));
    s.answer_scope();
    s.client(&sync());
    let sent = s.to_server();
    assert_eq!(tags(&sent), "PS");
    assert!(!refused(&mut s, &sent[0].1));
}
