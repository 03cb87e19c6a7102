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
        "'open", "\"open", "$a$open", "/* open", "1a", "$0", "1..2", "U&\"x\"", "\"\"", "\u{1}",
    ] {
        assert!(!Source::new(text, true).is_readable(), "{text}");
    }
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
