//! Names that a text is searched for: the fast way says what the thorough one says.

use super::schema::snapshot;
use crate::plan::classify::{any_may_hide, ascii_may_hide, may_hide};
use crate::plan::names::NameSet;
use proptest::prelude::*;
use std::sync::Arc;

#[test]
fn a_set_has_exactly_what_was_put_in() {
    let names: Vec<Arc<str>> = (0..500).map(|n| format!("relation_{n}").into()).collect();
    let set: NameSet = names.iter().cloned().collect();
    assert_eq!(set.len(), 500);
    assert!(names.iter().all(|name| set.contains(name)));
    assert!((500..5_000).all(|n| !set.contains(&format!("relation_{n}"))));
    assert!(!set.contains("") && !NameSet::default().contains(""));
    let empty = NameSet::from([Arc::from("")]);
    assert!(empty.contains("") && !empty.contains("x"));
}

#[test]
fn odd_names_take_the_thorough_way() {
    assert!(NameSet::default().is_regular());
    assert!(NameSet::from([Arc::from("고객"), Arc::from("a$1")]).is_regular());
    let mut snapshot = snapshot();
    snapshot.sensitive_names.insert("two words".into());
    assert!(!snapshot.sensitive_names.is_regular());
    assert!(may_hide("select * from \"Two Words\"", &snapshot));
    assert!(!may_hide("select * from two", &snapshot));
}

/// Pieces of which texts are made that come near to what is looked for.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("customers".to_owned()),
        Just("CUSTOMERS".to_owned()),
        Just("mail_of".to_owned()),
        Just("dblink_exec".to_owned()),
        Just("ts_stat".to_owned()),
        Just("u&\"".to_owned()),
        Just("U&'".to_owned()),
        Just("x".repeat(54)),
        "[ -~]{0,12}",
        "[\\x00-\\x7f]{0,3}",
        "[ .,;()\"'&$_]",
    ]
}

proptest! {
    #[test]
    fn both_ways_say_the_same(pieces in proptest::collection::vec(piece(), 0..6)) {
        let snapshot = snapshot();
        let text = pieces.concat();
        prop_assert_eq!(ascii_may_hide(text.as_bytes(), &snapshot), any_may_hide(&text, &snapshot), "{}", text);
    }
}

#[test]
fn what_takes_prepared_statements_away_is_told_where_the_text_reads_the_same_under_all_settings() {
    use crate::plan::{Forgets, forgets};
    let only = |sql: &str| forgets(sql, &(0..sql.len()));
    let named = |name: &str| Some(Forgets::Named(name.to_owned()));
    for (sql, expected) in [
        ("DEALLOCATE s", named("s")),
        ("deallocate Prepare S", named("s")),
        ("DEALLOCATE PREPARE", named("prepare")),
        ("DEALLOCATE\"S s\"", named("S s")),
        ("DEALLOCATE /* x */ \"a\"\"b\" -- y", named("a\"b")),
        ("DEALLOCATE \"all\"", named("all")),
        ("DEALLOCATE U&\"s\"", named("s")),
        ("DEALLOCATE ALL", Some(Forgets::All)),
        ("Deallocate PREPARE all", Some(Forgets::All)),
        ("DISCARD ALL", Some(Forgets::All)),
        // Which of them these are, the server's tag says.
        ("DISCARD TEMP", Some(Forgets::All)),
        ("DEALLOCATE \"\u{e9}\"", Some(Forgets::All)),
        ("DEALLOCATE s -- \u{e9}", Some(Forgets::All)),
        (r#"DEALLOCATE U&"\0073""#, Some(Forgets::All)),
        (r#"DEALLOCATE U&"!0073" UESCAPE '!'"#, named("s")),
        (r#"DEALLOCATE U&"!00e9" UESCAPE '!'"#, None),
        // Errors of the server's.
        ("DEALLOCATE", None),
        ("DEALLOCATE s, t", None),
        ("DEALLOCATE 's'", None),
        ("DEALLOCATE \"s", None),
        // Others.
        ("DEALLOCATED s", None),
        ("DISCARDS", None),
        ("EXECUTE s", None),
        ("SELECT 'DEALLOCATE ALL'", None),
        ("", None),
    ] {
        assert_eq!(only(sql), expected, "{sql}");
    }
    let long = "s".repeat(70);
    assert_eq!(only(&format!("DEALLOCATE {long}")), named(&long[..63]));
    // Somewhere else in the text, and it may be read otherwise.
    let sql = r"SELECT '\'; DEALLOCATE s";
    assert_eq!(forgets(sql, &(12..sql.len())), Some(Forgets::All));
    assert_eq!(forgets("SELECT 1; DEALLOCATE s", &(10..22)), named("s"));
    assert_eq!(forgets("DEALLOCATE s", &(1..40)), None);
}
