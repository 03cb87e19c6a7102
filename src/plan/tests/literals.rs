//! Literals, as PostgreSQL reads them.

use crate::plan::source::Source;
use crate::plan::{LiteralForm, read_literal};

fn read(text: &str, standard: bool) -> Option<(LiteralForm, Option<String>)> {
    let source = Source::new(text, standard);
    let literal = source.literal(&(0..text.len()))?;
    Some((literal.form, read_literal(text, &literal).map(|v| v.to_string())))
}

#[test]
fn each_form_is_decoded() {
    use LiteralForm::*;
    for (text, form, value) in [
        ("'it''s'", Plain, Some("it's")),
        ("'a\\n'", Plain, Some("a\\n")),
        ("''", Plain, Some("")),
        ("E'a\\n\\'\\x41\\101\\u00e9\\\\'", Escaped, Some("a\n'AAé\\")),
        ("e'\\U0001F600'", Escaped, Some("😀")),
        ("E'\\uD83D\\uDE00'", Escaped, Some("😀")),
        ("E'\\uD83Dx'", Escaped, None),
        ("E'\\xff'", Escaped, None),
        ("E'\\q'", Escaped, Some("q")),
        ("E'\\xc3\\xa9'", Escaped, Some("é")),
        ("E'\\0'", Escaped, None),
        ("U&'d\\0061t\\+000061'", Unicode, Some("data")),
        ("U&'\\\\'", Unicode, Some("\\")),
        ("U&'\\00'", Unicode, None),
        ("$$a'b$$", Dollar, Some("a'b")),
        ("$x$a$$b$x$", Dollar, Some("a$$b")),
        ("42", Number, Some("42")),
        ("-1.5e3", Number, Some("-1.5e3")),
        ("- 7", Number, Some("-7")),
        ("+7", Number, Some("7")),
        ("TRUE", Boolean, Some("true")),
    ] {
        assert_eq!(read(text, true), Some((form, value.map(str::to_owned))), "{text}");
    }
    assert_eq!(read("'a\\nb'", false), Some((Escaped, Some("a\nb".into()))));
    assert_eq!(read("'a'\n'b'", true), None);
    assert_eq!(read("B'01'", true), None);
    assert_eq!(read("NULL", true), None);
}
