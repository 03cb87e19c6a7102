//! Lines of the wire checklist that need a server which sends what a real one sends too rarely: the session's state machine between two
//! scripts. Each test is named after its line in WIRE.md.

#[path = "session/scripted.rs"]
#[allow(dead_code)] // each test binary uses a part of it
mod scripted;

use bytes::BytesMut;
use pgward::session::Status;
use pgward::wire::compose;
use scripted::*;

/// What may come at any time: a notice, a notification, a setting.
fn asides() -> [(u8, &'static [u8]); 3] {
    [
        (b'N', b"SNOTICE\0VNOTICE\0C00000\0Mby the way\0\0"),
        (b'A', b"\0\0\0\x07channel\0payload\0"),
        (b'S', b"TimeZone\0Asia/Seoul\0"),
    ]
}

#[test]
fn wire_09_wire_10_what_comes_at_any_time_completes_nothing() {
    // Query and extended protocol, protected or not, and what the server answers, frame by frame.
    let flights: [(&str, bool); 4] = [
        ("SELECT id, email FROM customers", false),
        ("SELECT id, email FROM customers", true),
        ("SELECT id, note FROM other", false),
        ("SELECT id, note FROM other", true),
    ];
    for (sql, extended) in flights {
        let protected = sql.contains("customers");
        // Without anything in between, then with each aside before each frame.
        let mut expected = None;
        for aside in [None, Some(0), Some(1), Some(2)] {
            let mut at = 0;
            loop {
                let mut s = Scripted::new("app", true);
                let mut flight = BytesMut::new();
                if extended {
                    compose::parse(&mut flight, b"", sql.as_bytes(), std::iter::empty());
                    compose::bind_plain(&mut flight, b"", b"");
                    compose::execute(&mut flight, b"", 0);
                    compose::bare(&mut flight, b'S');
                } else {
                    compose::query(&mut flight, sql.as_bytes());
                }
                s.client(&flight);
                if protected {
                    s.answer_scope();
                }
                let sent = s.to_server();
                let columns: &[(&str, u32, i16, u32)] = if protected {
                    &[("id", CUSTOMERS, 1, 23), ("email", CUSTOMERS, 2, 17)]
                } else {
                    &[("id", 99, 1, 23), ("note", 99, 2, 25)]
                };
                let mut frames: Vec<BytesMut> = Vec::new();
                let mut frame = |tag: u8, body: &[u8]| {
                    let mut bytes = BytesMut::new();
                    message(&mut bytes, tag, body);
                    frames.push(bytes);
                };
                for (tag, _) in &sent {
                    match tag {
                        b'P' => frame(b'1', b""),
                        b'B' => frame(b'2', b""),
                        b'D' => {
                            frame(b't', b"\0\0");
                            let mut bytes = BytesMut::new();
                            row_description(&mut bytes, columns);
                            frame(b'T', &bytes[5..]);
                        }
                        b'Q' | b'E' => {
                            if *tag == b'Q' {
                                let mut bytes = BytesMut::new();
                                row_description(&mut bytes, columns);
                                frame(b'T', &bytes[5..]);
                            }
                            for _ in 0..2 {
                                let mut bytes = BytesMut::new();
                                data_row(&mut bytes, &[Some(b"7"), None]);
                                frame(b'D', &bytes[5..]);
                            }
                            frame(b'C', b"SELECT 2\0");
                        }
                        b'S' => {}
                        other => panic!("{}", *other as char),
                    }
                }
                frame(b'Z', b"I");
                let count = frames.len();
                let mut shown = Vec::new();
                for (index, frame) in frames.iter().enumerate() {
                    if let Some(which) = aside.filter(|_| index == at) {
                        let (tag, body) = asides()[which];
                        let mut bytes = BytesMut::new();
                        message(&mut bytes, tag, body);
                        s.server(&bytes);
                    }
                    s.server(frame);
                    s.journal(true);
                    shown.extend(s.to_client());
                }
                if let Some(which) = aside {
                    let (tag, body) = asides()[which];
                    let place = shown.iter().position(|(t, b)| *t == tag && b == body);
                    shown.remove(place.unwrap_or_else(|| panic!("{sql}: {} at {at} was lost", tag as char)));
                }
                assert_eq!(s.session.status(), Status::Open);
                assert_eq!(
                    expected.get_or_insert_with(|| shown.clone()),
                    &shown,
                    "{sql}, extended {extended}, {aside:?} before frame {at}"
                );
                // The next statement finds its place.
                s.client(&query("SELECT 1"));
                assert_eq!(tags(&s.to_server()), "Q");
                at += 1;
                if at == count || aside.is_none() {
                    break;
                }
            }
        }
    }
}

/// A Parse that went through unread is not carried out any more once something is protected.
#[test]
fn wire_30_a_long_statement_stands_as_long_as_nothing_is_protected() {
    let (shared, database, _directory) = surroundings(false);
    let mut s = Scripted::with("app", shared, database.clone());
    let text = format!("SELECT email FROM customers /* {} */", "x".repeat(100_000));
    let mut parse = BytesMut::new();
    compose::parse(&mut parse, b"long", text.as_bytes(), std::iter::empty());
    // Not whole at once: else it is read as any other.
    s.client(&parse[..70_000]);
    s.client(&parse[70_000..]);
    let mut bind = BytesMut::new();
    compose::bind_plain(&mut bind, b"", b"long");
    s.client(&bind);
    assert_eq!(tags(&s.to_server()), "PB");
    database.catalog.store(std::sync::Arc::new(snapshot()));
    s.client(&bind);
    let sent = s.to_server();
    assert!(!tags(&sent).contains('B'), "{}", tags(&sent));
}
