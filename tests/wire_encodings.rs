//! Line 33 of the wire checklist: client encodings other than UTF-8. What concerns nothing protected goes through byte for byte, the rest is refused.

mod support;

use support::pair::{Pair, comparable};
use support::raw::{Message, Raw, Send, error};
use support::{Options, World};

/// What comes to mean the same on both sides.
fn both(pair: &mut Pair, sql: &str) -> Vec<Message> {
    pair.same(&[Send::Query(sql)], 1)
}

#[test]
fn wire_33_other_client_encodings() {
    let mut pair = Pair::new();
    both(&mut pair, "CREATE TABLE notes (id int, body text)");
    // The last three have characters whose second byte is a backslash.
    for encoding in ["LATIN1", "EUC_KR", "UHC", "SJIS", "BIG5", "GBK"] {
        both(&mut pair, &format!("SET client_encoding = '{encoding}'"));
        // Unprotected: bytes go through as they came. 0xE9 is é in LATIN1; in the others it begins a character.
        for bytes in [
            &b"SELECT '\xb0\xa1' AS x\0"[..],
            b"SELECT '\xe9' AS x\0",
            b"INSERT INTO notes VALUES (1, '\xb0\xa1')\0",
            b"SELECT body FROM notes\0",
            b"SELECT '\xb0\xa1' AS \"\xb0\xa1\" FROM \"\xb0\xa1\"\0",
        ] {
            pair.same(&[Send::Frame(b'Q', bytes)], 1);
        }
        // Where a byte may be a backslash or half a character, what is a string can't be told: refused, or as the server has it.
        for bytes in [
            &b"SELECT '\x95\x5c' AS x, E'\x95\x5c' AS y\0"[..],
            b"SELECT '\x95\x5c'' AS x -- '\0",
        ] {
            pair.plain.send(&[Send::Frame(b'Q', bytes)]);
            pair.sealed.send(&[Send::Frame(b'Q', bytes)]);
            let (plain, sealed) = (pair.plain.until_ready(), pair.sealed.until_ready());
            let refused = error(&sealed).is_some_and(|e| e.anchor() == Some("protocol"));
            assert!(refused || comparable(plain) == comparable(sealed), "{encoding}");
        }
        // So do parameters and rows in the extended protocol.
        pair.same(
            &[
                Send::Parse("", "SELECT $1::text, body, length(body) FROM notes", vec![]),
                Send::Bind("", "", vec![], vec![Some(b"\xb0\xa1".to_vec())], vec![]),
                Send::DescribePortal(""),
                Send::Execute("", 0),
                Send::Sync,
            ],
            1,
        );
        // Protected: refused on purpose.
        let answer = pair.sealed.query("SELECT name FROM people WHERE id = 1");
        assert_eq!(error(&answer).and_then(|e| e.anchor()), Some("protocol"), "{encoding}");
        pair.sealed
            .send(&[Send::Frame(b'Q', b"SELECT '\xb0\xa1', name FROM people\0")]);
        let answer = pair.sealed.until_ready();
        assert_eq!(error(&answer).and_then(|e| e.anchor()), Some("protocol"), "{encoding}");
        both(&mut pair, "DELETE FROM notes");
    }
    both(&mut pair, "RESET client_encoding");
    both(&mut pair, "SELECT name FROM people WHERE id = 1");
}

/// A protected table whose name has other bytes in other encodings is found all the same.
#[test]
fn wire_33_names_in_other_encodings() {
    let world = World::start(Options {
        policy: include_str!("differential/policy.toml")
            .replace("name = \"orders\"", "name = \"고객\"")
            .replace("[table.columns.card]", "[table.columns.\"이름\"]"),
        ..Default::default()
    });
    let mut raw = Raw::connect(world.port, "app", "app");
    for sql in [
        "CREATE TABLE \"고객\" (id int, email text, \"이름\" text)",
        "INSERT INTO 고객 VALUES (1, 'kim@example.com', '김')",
    ] {
        let answer = raw.query(sql);
        assert!(error(&answer).is_none(), "{answer:?}");
    }
    assert_eq!(raw.rows("SELECT 이름 FROM 고객"), [[Some("김".into())]]);
    // 고객 in EUC_KR and UHC.
    let select = b"SELECT * FROM \xb0\xed\xb0\xb4\0";
    for encoding in ["EUC_KR", "UHC"] {
        raw.query(&format!("SET client_encoding = '{encoding}'"));
        raw.send(&[Send::Frame(b'Q', select)]);
        let answer = raw.until_ready();
        assert_eq!(
            error(&answer).and_then(|e| e.anchor()),
            Some("protocol"),
            "{encoding}: {answer:?}"
        );
        // Sent before the server's word about the encoding was heard.
        raw.query("SET client_encoding = 'UTF8'");
        raw.send(&[
            Send::Query(&format!("SET client_encoding = '{encoding}'")),
            Send::Frame(b'Q', select),
        ]);
        raw.until_ready();
        let answer = raw.until_ready();
        assert!(error(&answer).is_some(), "{encoding}: {answer:?}");
        raw.query("RESET client_encoding");
    }
    assert_eq!(raw.rows("SELECT 이름 FROM 고객"), [[Some("김".into())]]);
}

#[test]
fn wire_33_the_name_unicode_means_utf8() {
    let mut pair = Pair::new();
    // The server reports this name as the client wrote it.
    both(&mut pair, "SET client_encoding = 'UNICODE'");
    both(&mut pair, r"SELECT E'é\n' AS x, name FROM people WHERE id = 1");
}

#[test]
fn wire_33_escapes_in_other_client_encodings() {
    let mut pair = Pair::new();
    let refused = |pair: &mut Pair, sql: &[u8]| {
        pair.sealed.send(&[Send::Frame(b'Q', sql)]);
        let answer = pair.sealed.until_ready();
        error(&answer).and_then(|e| e.anchor()).map(str::to_owned)
    };
    for encoding in ["LATIN1", "KOI8R", "EUC_KR", "EUC_JP"] {
        both(&mut pair, &format!("SET client_encoding = '{encoding}'"));
        for sql in [
            &b"SELECT E'\xb0\xa1\\n \\'' AS x\0"[..],
            b"SELECT 'people \xb0\xa1' AS people\0",
            b"SELECT '\xb0\xa1' FROM pg_class WHERE relname = 'people'\0",
        ] {
            pair.same(&[Send::Frame(b'Q', sql)], 1);
        }
        for sql in [
            &b"SELECT '\xb0\xa1\\', name FROM people\0"[..],
            b"DO E'BEGIN PERFORM n\\x61me FROM peopl\\x65; -- \xb0\xa1\\nEND'\0",
            b"SELECT '\xb0\xa1', query_to_xml(E'SELECT n\\x61me FROM peopl\\x65', true, true, '')\0",
        ] {
            assert!(refused(&mut pair, sql).is_some(), "{encoding}: {}", sql.escape_ascii());
        }
    }
    // Here a backslash may be the second byte of a character, and what looks like the end of a literal may be inside.
    for (encoding, character) in [
        ("SJIS", &b"\x83\\"[..]),
        ("BIG5", b"\xa5\\"),
        ("GBK", b"\x81\\"),
        ("GB18030", b"\x81\\\x81\x30\x81\x30"),
        ("UHC", b"\xb0\xa1"),
        ("JOHAB", b"\x88\x61"),
    ] {
        both(&mut pair, &format!("SET client_encoding = '{encoding}'"));
        for (before, after) in [
            (&b"SELECT '"[..], &b"' AS x, '\\' AS y"[..]),
            (b"SELECT E'", b"\\'people' AS x"),
            (b"SELECT E'", b"\\\\', 1 AS people -- '"),
        ] {
            pair.same(&[Send::Frame(b'Q', &[before, character, after, b"\0"].concat())], 1);
        }
        for (before, after) in [
            (&b"SELECT E'"[..], &b"', name FROM people -- '"[..]),
            (b"SELECT E'", b"\\' FROM pg_class -- ', name FROM people"),
            (b"DO E'BEGIN PERFORM '' ", b"'', n\\x61me FROM peopl\\x65; END'"),
        ] {
            let sql = [before, character, after, b"\0"].concat();
            let anchor = refused(&mut pair, &sql);
            assert!(anchor.is_some(), "{encoding}: {}", sql.escape_ascii());
        }
    }
    // Bytes that are no UTF-8: the server says so.
    both(&mut pair, "SET client_encoding = 'UTF8'");
    pair.same(&[Send::Frame(b'Q', b"SELECT E'\xff\\n', 'people'\0")], 1);
}

#[test]
fn wire_33_an_encoding_that_is_set_without_waiting() {
    let mut pair = Pair::new();
    // Read as it was before, the second text is one literal; in SJIS it is a statement on people.
    pair.sealed.send(&[
        Send::Query("SET client_encoding = 'SJIS'"),
        Send::Frame(b'Q', b"SELECT E'\x83\\', name FROM people -- '\0"),
    ]);
    assert!(error(&pair.sealed.until_ready()).is_none());
    let answer = pair.sealed.until_ready();
    assert_eq!(error(&answer).and_then(|e| e.anchor()), Some("protocol"), "{answer:?}");
    // And the other way round.
    pair.sealed.send(&[
        Send::Query("SELECT set_config('client_encoding', 'LATIN1', false)"),
        Send::Frame(b'Q', b"SELECT E'\x83\\' , ' , name FROM people -- '\0"),
    ]);
    assert!(error(&pair.sealed.until_ready()).is_none());
    let answer = pair.sealed.until_ready();
    assert_eq!(error(&answer).and_then(|e| e.anchor()), Some("protocol"), "{answer:?}");
}
