use super::*;

fn jsonb(text: &str) -> Result<String, String> {
    let mut out = Plaintext::default();
    decode_jsonb(Format::Text, text.as_bytes(), &mut out).map_err(|error| error.sqlstate.to_string())?;
    Ok(String::from_utf8_lossy(&out[1..]).into_owned())
}

#[test]
fn jsonb_is_printed_as_postgresql_does() {
    for (text, printed) in [
        (r#"{"b":1,"aa":2,"a":3}"#, r#"{"a": 3, "b": 1, "aa": 2}"#),
        (r#"{"a":1,"a":[]}"#, r#"{"a": []}"#),
        (r#"{"\u0061":1,"a":2}"#, r#"{"a": 2}"#),
        (" [ 1.50 , 1e2,-0, -0.0,1E-3 ] ", "[1.50, 100, 0, 0.0, 0.001]"),
        (r#""\ud83d\ude00\u0007\/""#, "\"😀\\u0007/\""),
        ("null", "null"),
        ("{}", "{}"),
    ] {
        assert_eq!(jsonb(text).as_deref(), Ok(printed), "{text}");
    }
}

#[test]
fn json_is_kept_and_checked() {
    let json = |text: &str| decode_json(Format::Text, text.as_bytes(), &mut Plaintext::default());
    for text in [r#"{"a":1,  "a":2}"#, r#""\u0000\ud800""#, "1e5"] {
        assert_eq!(json(text), Ok(()), "{text}");
    }
    for text in [
        "", "{", "[1,]", "{\"a\"}", "{a:1}", "01", "1.", "1x", "tru", "\"a\nb\"", r#""\x""#, "1 2", "[1}", "NaN",
    ] {
        assert_eq!(
            json(text).map_err(|error| error.sqlstate),
            Err(SqlState::INVALID_TEXT),
            "{text}"
        );
    }
}

#[test]
fn jsonb_has_faults_of_its_own() {
    assert_eq!(jsonb(r#""\u0000""#), Err("22P05".into()));
    assert_eq!(jsonb(r#""\ud800""#), Err("22P02".into()));
    assert_eq!(jsonb("1e200000"), Err("22003".into()));
    assert_eq!(jsonb(&"[".repeat(5000)), Err("0A000".into()));
}

#[test]
fn the_deepest_document_is_printed() {
    let text = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert_eq!(jsonb(&text).as_deref(), Ok(text.as_str()));
}
