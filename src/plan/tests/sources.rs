//! Tokens and statements, by PostgreSQL's lexical rules.

use crate::plan::source::{Source, fold};

fn split(text: &str) -> Vec<&str> {
    let source = Source::new(text, true);
    source.statements().iter().map(|p| &text[p.span.clone()]).collect()
}

#[test]
fn statements_end_at_semicolons_outside_of_everything() {
    assert_eq!(split("a;b ;; c"), ["a", "b", "c"]);
    assert_eq!(
        split("SELECT ';' ; -- ;\n/* ; /* ; */ ; */ SELECT $$;$$"),
        ["SELECT ';'", "SELECT $$;$$"]
    );
    assert_eq!(
        split("SELECT \"a;b\"; SELECT E'\\';'"),
        ["SELECT \"a;b\"", "SELECT E'\\';'"]
    );
    assert_eq!(
        split("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); x"),
        ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "x"]
    );
    assert_eq!(
        split("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; SELECT 2; END").len(),
        1
    );
    assert!(split("  -- nothing\n").is_empty());
}

#[test]
fn tokens_are_those_of_the_server() {
    let words = |text: &str| {
        let source = Source::new(text, true);
        source
            .all_tokens()
            .iter()
            .map(|t| source.text(&t.span).to_owned())
            .collect::<Vec<_>>()
            .join("|")
    };
    assert_eq!(words("a<-1 b@-1 c--d"), "a|<|-|1|b|@-|1|c");
    assert_eq!(words("x=$1;y::z"), "x|=|$1|;|y|::|z");
    assert_eq!(words("1.5e-3 .5 1. t.a"), "1.5e-3|.5|1.|t|.|a");
    assert_eq!(words("$a$x$a$ a$b$c"), "$a$x$a$|a$b$c");
    assert_eq!(words("'a'\n 'b' 'c'"), "'a'\n 'b'|'c'");
    for text in [
        "'open", "\"open", "$a$open", "/* open", "1a", "$0", "1..2", "U&\"\"", "\"\"", "\u{1}",
    ] {
        assert!(!Source::new(text, true).is_readable(), "{text}");
    }
}

#[test]
fn identifiers_with_unicode_escapes_are_read_as_the_server_reads_them() {
    let names = |text: &str| {
        let source = Source::new(text, true);
        source
            .all_tokens()
            .iter()
            .map(|t| source.name(t).expect("a name").into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(r#"U&"d\0061t\+000061""#), ["data"]);
    assert_eq!(names(r#"u&"d!0061t\+000061" uescape '!' x"#), ["dat\\+000061", "x"]);
    assert_eq!(names("U&\"a#\"\"b\"/* \" */UESCAPE\n'!' \"y\""), ["a#\"b", "y"]);
    assert_eq!(names(r#"U&"\" UESCAPE '!'"#), ["\\"]);
    assert_eq!(names(r#"U&"a" uescapes"#), ["a", "uescapes"]);
    for text in [
        r#"U&"\00""#,
        r#"U&"\0000""#,
        r#"U&"\d800""#,
        r#"U&"x" UESCAPE 'ab'"#,
        r#"U&"x" UESCAPE '+'"#,
        r#"U&"x" UESCAPE '!''x'"#,
        r#"U&"x" UESCAPE x"#,
    ] {
        assert!(!Source::new(text, true).is_readable(), "{text}");
    }
}

#[test]
fn unicode_strings_are_refused_by_the_server_without_standard_strings() {
    let text = "SELECT U&'a' FROM customers";
    assert!(Source::new(text, false).is_refused_unread());
    assert!(!Source::new("SELECT 'open FROM customers", false).is_refused_unread());
}

#[test]
fn backslashes_count_without_standard_strings() {
    let text = "SELECT 'a\\'; b'";
    assert_eq!(Source::new(text, false).statements().len(), 1);
    assert!(!Source::new(text, true).is_readable());
}

#[test]
fn names_fold_and_literals_vanish() {
    assert_eq!(fold("EMail"), "email");
    assert_eq!(fold(&"é".repeat(40)).len(), 62);
    let text = "SELECT  a,'x' , 1.5, TRUE -- c\n FROM t WHERE b=$1 AND c = $$y$$";
    let source = Source::new(text, true);
    assert_eq!(
        source.redact(&(0..text.len())),
        "SELECT a,? , ?, ? FROM t WHERE b=$1 AND c = ?"
    );
}
