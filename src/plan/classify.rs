//! What a statement is, by its first words, and whether a name in it may mean something protected: all before any parsing.

use super::access::{Access, Use};
use super::lexer::{Lexeme, LexemeKind, OtherString, continues_word};
use super::names::NameSet;
use super::overlay::Overlay;
use super::schema::{Column, Mode, Relation, RelationName, Snapshot};
use super::script::{Effects, StatementKind};
use super::source::{MAX_IDENTIFIER, Place, Source};
use super::{PlanInput, calls, literal, words};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How a statement is treated when it may touch something protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// SELECT, INSERT, UPDATE, DELETE, TRUNCATE, …: planned.
    Query,
    /// EXPLAIN of one.
    Explain,
    /// Definitions.
    Ddl,
    /// COPY
    Copy,
    /// Takes no content out of a table and puts none in.
    Harmless,
    /// Runs text, or is not known.
    Other,
}

/// What a statement is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    pub(super) kind: StatementKind,
    pub(super) verb: Verb,
    pub(super) effects: Effects,
}

/// Where a name was found that may mean something protected.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Touch {
    /// As an identifier.
    pub(super) name: bool,
    /// As the name of a function that uses protected relations, or of one that runs SQL which it is given.
    pub(super) function: bool,
    /// In a string that may be run as SQL.
    pub(super) text: bool,
}

impl Touch {
    pub(super) fn any(self) -> bool {
        self.name || self.function || self.text
    }
}

/// Shape of a statement, for limits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    pub(super) nesting: usize,
    pub(super) chain: usize,
}

const NONE: Effects = Effects {
    catalog: false,
    scope: false,
    portal: false,
};
const CATALOG: Effects = Effects {
    catalog: true,
    scope: false,
    portal: false,
};
const SCOPE: Effects = Effects {
    catalog: false,
    scope: true,
    portal: false,
};
const BOTH: Effects = Effects {
    catalog: true,
    scope: true,
    portal: false,
};

/// By its first words.
pub(super) fn classify(source: &Source<'_>, place: &Place) -> Class {
    let tokens = source.all_tokens().get(place.tokens.clone()).unwrap_or(&[]);
    let first = tokens.iter().find(|t| !source.is_symbol(t, "("));
    let Some(first) = first.filter(|t| t.kind == LexemeKind::Word) else {
        return class(StatementKind::Other, Verb::Other, BOTH);
    };
    let word = source.text(&first.span).to_ascii_lowercase();
    let second = tokens
        .get(1)
        .map(|t| source.text(&t.span).to_ascii_lowercase())
        .unwrap_or_default();
    match word.as_str() {
        "select" | "values" | "table" => query(source, tokens, StatementKind::Select),
        "insert" => query(source, tokens, StatementKind::Insert),
        "update" => query(source, tokens, StatementKind::Update),
        "delete" => query(source, tokens, StatementKind::Delete),
        "with" => query(source, tokens, main_verb(source, tokens)),
        "merge" => Class {
            verb: Verb::Other,
            ..query(source, tokens, StatementKind::Merge)
        },
        "truncate" => class(StatementKind::Ddl, Verb::Query, NONE),
        "explain" => Class {
            verb: Verb::Explain,
            ..query(source, tokens, StatementKind::Other)
        },
        "copy" => class(StatementKind::Copy, Verb::Copy, NONE),
        "begin" | "start" | "savepoint" | "release" => class(StatementKind::Transaction, Verb::Harmless, NONE),
        // What SET LOCAL and ON COMMIT DROP did ends.
        "commit" | "end" => class(StatementKind::Transaction, Verb::Harmless, SCOPE),
        // What SET and DDL did is undone.
        "rollback" | "abort" => class(StatementKind::Transaction, Verb::Harmless, BOTH),
        "prepare" if second == "transaction" => class(StatementKind::Transaction, Verb::Harmless, BOTH),
        "set" if matches!(second.as_str(), "transaction" | "constraints") => {
            class(StatementKind::Session, Verb::Harmless, NONE)
        }
        "set" | "reset" => class(StatementKind::Session, Verb::Harmless, SCOPE),
        "discard" => class(StatementKind::Session, Verb::Harmless, BOTH),
        "show" | "listen" | "unlisten" | "notify" | "checkpoint" | "deallocate" | "close" | "move" | "fetch" => {
            class(StatementKind::Session, Verb::Harmless, NONE)
        }
        "lock" | "vacuum" | "analyze" | "analyse" => class(StatementKind::Ddl, Verb::Harmless, NONE),
        "reindex" | "cluster" => class(StatementKind::Ddl, Verb::Harmless, CATALOG),
        // A sealed column's comment holds its type marker.
        "comment" | "grant" | "revoke" => class(StatementKind::Ddl, Verb::Ddl, CATALOG),
        "create" | "alter" | "drop" | "import" | "security" | "reassign" | "refresh" => {
            class(StatementKind::Ddl, Verb::Ddl, BOTH)
        }
        // The statement behind the name was checked when it was prepared; what it does to the session isn't known any more.
        "execute" => class(StatementKind::Other, Verb::Harmless, BOTH),
        "call" => class(StatementKind::Other, Verb::Other, BOTH),
        _ => class(StatementKind::Other, Verb::Other, BOTH),
    }
}

/// Whether it is `SET [SESSION | LOCAL] pgward.…`: a setting of pgward's own, which is fixed when the connection is made.
pub(super) fn sets_own_setting(source: &Source<'_>, place: &Place) -> bool {
    let tokens = source.all_tokens().get(place.tokens.clone()).unwrap_or(&[]);
    let Some((first, rest)) = tokens.split_first() else {
        return false;
    };
    let scope_word = |t: &Lexeme| source.is_keyword(t, "session") || source.is_keyword(t, "local");
    let rest = match rest.split_first() {
        Some((word, rest)) if scope_word(word) => rest,
        _ => rest,
    };
    source.is_keyword(first, "set")
        && matches!(rest, [name, dot, ..] if source.name(name).as_deref() == Some("pgward") && source.is_symbol(dot, "."))
}

fn class(kind: StatementKind, verb: Verb, effects: Effects) -> Class {
    Class { kind, verb, effects }
}

/// The verb behind WITH.
fn main_verb(source: &Source<'_>, tokens: &[Lexeme]) -> StatementKind {
    let mut depth = 0usize;
    for token in tokens {
        match token.kind {
            LexemeKind::Punctuation(b'(') => depth += 1,
            LexemeKind::Punctuation(b')') => depth = depth.saturating_sub(1),
            LexemeKind::Word if depth == 0 => {
                for (word, kind) in [
                    ("SELECT", StatementKind::Select),
                    ("VALUES", StatementKind::Select),
                    ("INSERT", StatementKind::Insert),
                    ("UPDATE", StatementKind::Update),
                    ("DELETE", StatementKind::Delete),
                    ("MERGE", StatementKind::Merge),
                ] {
                    if source.is_keyword(token, word) {
                        return kind;
                    }
                }
            }
            _ => {}
        }
    }
    StatementKind::Select
}

fn query(source: &Source<'_>, tokens: &[Lexeme], kind: StatementKind) -> Class {
    let mut effects = NONE;
    for (index, token) in tokens.iter().enumerate() {
        if kind == StatementKind::Select && source.is_keyword(token, "INTO") {
            effects.catalog = true;
        }
        if tokens.get(index + 1).is_some_and(|next| source.is_symbol(next, "("))
            && let Some(name) = source.name(token)
            && !(token.kind == LexemeKind::Word && words::is_harmless_call(&name) && !is_foreign(source, tokens, index))
            && !is_definition(source, tokens, index)
        {
            effects.scope = true;
            // What these read stands in their arguments: a name that the catalog does not have yet can't be seen there.
            effects.catalog |= words::runs_sql(&name);
            effects.portal |= name.starts_with("cursor_to_xml");
        }
    }
    class(kind, Verb::Query, effects)
}

/// Whether a schema other than the system's stands before the name: what has a harmless function's name there may do anything.
fn is_foreign(source: &Source<'_>, tokens: &[Lexeme], index: usize) -> bool {
    match index.checked_sub(2).and_then(|i| tokens.get(i..index)) {
        Some([schema, dot]) if source.is_symbol(dot, ".") => source.name(schema).as_deref() != Some("pg_catalog"),
        _ => false,
    }
}

/// The name before the parenthesis is none of a function: `INTO t (a, b)`, `AS t (a, b)`, `WITH t (a, b)`, `::varchar(3)`.
fn is_definition(source: &Source<'_>, tokens: &[Lexeme], index: usize) -> bool {
    let mut at = index;
    while at >= 2 && tokens.get(at - 1).is_some_and(|t| source.is_symbol(t, ".")) {
        at -= 2;
    }
    at.checked_sub(1).and_then(|i| tokens.get(i)).is_some_and(|before| {
        ["INTO", "AS", "WITH", "RECURSIVE"]
            .iter()
            .any(|word| source.is_keyword(before, word))
            || source.is_symbol(before, "::")
    })
}

/// Whether any name in the statement may mean something protected. Errs on the safe side, and is quick.
pub(super) fn touch(source: &Source<'_>, place: &Place, input: &PlanInput<'_>, class: &Class) -> Touch {
    let snapshot = input.snapshot;
    let mut touch = Touch::default();
    if !is_guarded(snapshot) || class.verb == Verb::Harmless {
        return touch;
    }
    let tokens = source.all_tokens().get(place.tokens.clone()).unwrap_or(&[]);
    // Strings are data in statements of known kinds; elsewhere they may be code.
    let data = ["MERGE", "CALL", "PREPARE", "DECLARE"];
    let code = match class.verb {
        Verb::Ddl => true,
        Verb::Other => !tokens
            .first()
            .is_some_and(|t| data.iter().any(|word| source.is_keyword(t, word))),
        _ => false,
    };
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            LexemeKind::Word | LexemeKind::Quoted => {
                let Some(name) = source.name(token) else { continue };
                if is_sensitive(&name, snapshot) {
                    touch.name = true;
                }
                if tokens.get(index + 1).is_some_and(|next| source.is_symbol(next, "("))
                    && (has(&snapshot.sensitive_functions, &name)
                        || words::runs_sql(&name) && !calls::is_harmless(source, tokens, index, snapshot, class.verb))
                {
                    touch.function = true;
                }
            }
            LexemeKind::String(_) if code => {
                // An escape may hide a name: the text counts that the server reads. Code that puts SQL together names what it reads in pieces.
                touch.text |= string(source, token)
                    .is_none_or(|text| may_hide(&text, snapshot) || (runs_text(&text) && snapshot.holds_clear()));
            }
            // Digits.
            LexemeKind::OtherString(OtherString::Bits | OtherString::Hex) => {}
            LexemeKind::OtherString(_) if code => touch.text = true,
            _ => {}
        }
    }
    touch
}

/// Whether code has EXECUTE or FETCH in it: what it runs, or the cursor that it reads from, may be anything.
fn runs_text(code: &str) -> bool {
    code.split(|c: char| c.is_ascii() && !continues_word(c as u8))
        .any(|word| word.eq_ignore_ascii_case("execute") || word.eq_ignore_ascii_case("fetch"))
}

/// What a string token stands for, where it is a plain one and can be read.
pub(super) fn string(source: &Source<'_>, token: &Lexeme) -> Option<Zeroizing<String>> {
    literal::read(source.whole(), &source.literal(&token.span)?).ok()
}

/// Whether there is anything to protect.
pub(super) fn is_guarded(snapshot: &Snapshot) -> bool {
    snapshot.protects_anything() || !snapshot.sensitive_names.is_empty()
}

fn has(set: &NameSet, name: &str) -> bool {
    if set.is_empty() {
        return false;
    }
    if set.contains(name) {
        return true;
    }
    // Nothing to be lowered: the usual case, without a copy.
    if name.is_ascii() && !name.bytes().any(|b| b.is_ascii_uppercase()) {
        return false;
    }
    let lower = name.to_lowercase();
    lower != name && set.contains(lower.as_str())
}

pub(super) fn is_sensitive(name: &str, snapshot: &Snapshot) -> bool {
    has(&snapshot.sensitive_names, name) || words::shows_values(name) && snapshot.holds_clear()
}

/// Whether text that is not read as tokens may name something protected: any run of identifier characters, any escape.
pub(super) fn may_hide(text: &str, snapshot: &Snapshot) -> bool {
    if !is_guarded(snapshot) {
        return false;
    }
    if text.is_ascii() && snapshot.sensitive_names.is_regular() && snapshot.sensitive_functions.is_regular() {
        return ascii_may_hide(text.as_bytes(), snapshot);
    }
    any_may_hide(text, snapshot)
}

/// [`may_hide`] for any text and any names.
pub(super) fn any_may_hide(text: &str, snapshot: &Snapshot) -> bool {
    let lower = text.to_lowercase();
    if lower.contains("u&\"") || lower.contains("u&'") {
        return true;
    }
    let plain = |name: &str| name.bytes().all(continues_word);
    if snapshot
        .sensitive_names
        .iter()
        .chain(snapshot.sensitive_functions.iter())
        .any(|name| !plain(name) && (lower.contains(&**name) || lower.contains(&name.replace('"', "\"\""))))
    {
        return true;
    }
    lower
        .split(|c: char| c.is_ascii() && !continues_word(c as u8))
        .filter(|word| !word.is_empty())
        .any(|word| {
            let word = super::source::fold(word);
            is_sensitive(&word, snapshot) || has(&snapshot.sensitive_functions, &word) || words::runs_sql(&word)
        })
}

/// [`may_hide`] for what nearly every text and database is: in one pass, without allocating. Every statement goes through it.
pub(super) fn ascii_may_hide(text: &[u8], snapshot: &Snapshot) -> bool {
    let mut buffer = [0; MAX_IDENTIFIER];
    let mut length = 0;
    let mut previous = 0;
    let mut rest = text;
    loop {
        let byte = rest.first().copied().unwrap_or(b' ');
        if continues_word(byte) {
            // What stands behind the 63rd byte is no part of the name.
            if let Some(place) = buffer.get_mut(length) {
                *place = byte.to_ascii_lowercase();
                length += 1;
            }
        } else {
            if byte == b'&' && matches!(previous, b'u' | b'U') && matches!(rest.get(1), Some(b'"' | b'\'')) {
                return true;
            }
            if length > 0 {
                let word = buffer.get(..length).and_then(|word| std::str::from_utf8(word).ok());
                let Some(word) = word else { return true };
                if is_sensitive(word, snapshot) || snapshot.sensitive_functions.contains(word) || words::runs_sql(word)
                {
                    return true;
                }
                length = 0;
            }
        }
        previous = byte;
        match rest.split_first() {
            Some((_, tail)) => rest = tail,
            None => return false,
        }
    }
}

/// The relations that the statement's sensitive names mean, each name resolved with the schema before it.
fn named<'a>(
    source: &Source<'_>,
    place: &Place,
    input: &'a PlanInput<'_>,
    overlay: &'a Overlay,
) -> Vec<&'a Arc<Relation>> {
    let tokens = source.all_tokens().get(place.tokens.clone()).unwrap_or(&[]);
    let mut found: Vec<&Arc<Relation>> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let Some(name) = source.name(token) else { continue };
        if !is_sensitive(&name, input.snapshot) {
            continue;
        }
        let schema = match index.checked_sub(2).and_then(|i| tokens.get(i..index)) {
            Some([schema, dot]) if source.is_symbol(dot, ".") => source.name(schema),
            _ => None,
        };
        let relation = overlay.resolve(input.snapshot, input.scope, schema.as_deref(), &name);
        if let Some(relation) = relation
            && (relation.protected || relation.touches_protected.is_some())
            && !found.iter().any(|r| r.name == relation.name)
        {
            found.push(relation);
        }
    }
    found
}

/// Whether a name in the statement is one of a protected relation, by exact resolution.
pub(super) fn names_protected(source: &Source<'_>, place: &Place, input: &PlanInput<'_>, overlay: &Overlay) -> bool {
    !named(source, place, input, overlay).is_empty() || shows_values(source, place, input)
}

/// Whether it names statistics, and those hold protected values.
fn shows_values(source: &Source<'_>, place: &Place, input: &PlanInput<'_>) -> bool {
    let tokens = source.all_tokens().get(place.tokens.clone()).unwrap_or(&[]);
    input.snapshot.holds_clear()
        && tokens
            .iter()
            .any(|token| source.name(token).is_some_and(|name| words::shows_values(&name)))
}

/// The catalog has to be looked at again where it lacks a relation of a sensitive name: the policy may declare it, and it may have been made just now.
pub(super) fn unknown_names(source: &Source<'_>, place: &Place, input: &PlanInput<'_>, overlay: &Overlay) -> Effects {
    let tokens = source.all_tokens().get(place.tokens.clone()).unwrap_or(&[]);
    let unknown = tokens.iter().enumerate().any(|(index, token)| {
        let Some(name) = source.name(token).filter(|name| is_sensitive(name, input.snapshot)) else {
            return false;
        };
        let schema = match index.checked_sub(2).and_then(|i| tokens.get(i..index)) {
            Some([schema, dot]) if source.is_symbol(dot, ".") => source.name(schema),
            _ => None,
        };
        overlay
            .resolve(input.snapshot, input.scope, schema.as_deref(), &name)
            .is_none()
    });
    if unknown { CATALOG } else { NONE }
}

/// What a statement that is refused unread may have touched: all protected columns of the relations that it names.
pub(super) fn accesses(source: &Source<'_>, place: &Place, input: &PlanInput<'_>, overlay: &Overlay) -> Vec<Access> {
    named(source, place, input, overlay)
        .into_iter()
        .flat_map(|relation| &relation.columns)
        .filter_map(|column| column.protected.as_ref())
        .map(|column| Access {
            column: column.clone(),
            usage: Use::Read,
            derived: true,
        })
        .collect()
}

/// `ALTER SCHEMA … RENAME TO …` of a schema in which the policy names a table, or to such a schema's name.
pub(super) fn renames_protected_schema(source: &Source<'_>, place: &Place, snapshot: &Snapshot) -> bool {
    let Some([alter, schema, from, rename, _, to, ..]) = source.all_tokens().get(place.tokens.clone()) else {
        return false;
    };
    source.is_keyword(alter, "ALTER")
        && source.is_keyword(schema, "SCHEMA")
        && source.is_keyword(rename, "RENAME")
        && [from, to].iter().any(|token| {
            source.name(token).is_some_and(|name| {
                let mut declared = snapshot.declarations.keys().map(|column| &column.relation.schema);
                declared.any(|schema| **schema == *name)
            })
        })
}

/// Whether it is PREPARE.
pub(super) fn is_prepare(source: &Source<'_>, place: &Place) -> bool {
    source
        .token(place.tokens.start)
        .is_some_and(|token| source.is_keyword(token, "PREPARE"))
}

/// Whether a statement may change what names mean to those behind it in the same script, in a way that [`Overlay`] doesn't know.
pub(super) fn moves_names(source: &Source<'_>, place: &Place, class: &Class, touch: Touch) -> bool {
    let tokens = source.all_tokens().get(place.tokens.clone()).unwrap_or(&[]);
    let is = |index: usize, words: &[&str]| {
        tokens
            .get(index)
            .is_some_and(|token| words.iter().any(|word| source.is_keyword(token, word)))
    };
    if class.kind == StatementKind::Transaction {
        // What SET LOCAL and ON COMMIT DROP did ends, too.
        return !is(0, &["BEGIN", "START", "SAVEPOINT", "RELEASE"]);
    }
    if is(0, &["SET", "RESET"]) {
        const PATH: [&str; 6] = [
            "search_path",
            "role",
            "authorization",
            "session_authorization",
            "schema",
            "all",
        ];
        return tokens
            .iter()
            .any(|token| source.name(token).is_some_and(|name| PATH.contains(&&*name)));
    }
    match class.verb {
        // A relation that CREATE makes can only hide a protected one, and what is then not as planned is noticed.
        Verb::Ddl if is(0, &["CREATE", "COMMENT", "GRANT", "REVOKE"]) => false,
        Verb::Ddl => is(1, &["SCHEMA", "OWNED"]) || touch.name && !is(1, &["TABLE"]),
        _ => class.effects.scope,
    }
}

/// Whether a sensitive name in the statement is resolved by the search path or by what `pg_temp` means.
pub(super) fn needs_scope(source: &Source<'_>, place: &Place, input: &PlanInput<'_>) -> bool {
    let tokens = source.all_tokens().get(place.tokens.clone()).unwrap_or(&[]);
    tokens.iter().enumerate().any(|(index, token)| {
        let sensitive = source
            .name(token)
            .is_some_and(|name| is_sensitive(&name, input.snapshot));
        let schema = match index.checked_sub(2).and_then(|i| tokens.get(i..index)) {
            Some([schema, dot]) if source.is_symbol(dot, ".") => source.name(schema),
            _ => None,
        };
        sensitive && schema.is_none_or(|schema| schema.starts_with("pg_temp"))
    })
}

/// Whether an unqualified name in the statement means a table that hides one with values in clear. The server resolves it when it has the table's lock: if
/// somebody drops or renames what hides, the statement gets the other one.
pub(super) fn may_fall_through(
    source: &Source<'_>,
    place: &Place,
    input: &PlanInput<'_>,
    overlay: &Overlay,
    class: &Class,
) -> bool {
    let snapshot = input.snapshot;
    let tokens = source.all_tokens().get(place.tokens.clone()).unwrap_or(&[]);
    // A definition reads rows where it has a query in it.
    let reads = |verb| verb != Verb::Ddl || tokens.iter().any(|token| source.is_keyword(token, "AS"));
    if !snapshot.holds_clear() || class.verb == Verb::Harmless || !reads(class.verb) {
        return false;
    }
    let shows = |relation: &Relation| {
        let in_clear = |c: &Column| c.protected.as_ref().is_some_and(|p| p.mode == Mode::None);
        relation.touches_protected.is_some() || relation.columns.iter().any(in_clear)
    };
    tokens.iter().enumerate().any(|(index, token)| {
        let name = source.name(token).filter(|name| is_sensitive(name, snapshot));
        let qualified = index.checked_sub(1).and_then(|i| tokens.get(i));
        let Some(name) = name.filter(|_| !qualified.is_some_and(|t| source.is_symbol(t, "."))) else {
            return false;
        };
        let mut found = input.scope.schemas.iter().filter_map(|schema| {
            let name = RelationName {
                schema: schema.clone(),
                name: Arc::from(&*name),
            };
            overlay.get(snapshot, &name)
        });
        let hides = found
            .next()
            .is_some_and(|r| !r.protected && r.touches_protected.is_none());
        hides && found.any(|r| shows(r))
    })
}

/// How deep and how long it is.
pub(super) fn shape(source: &Source<'_>, place: &Place) -> Shape {
    let mut shape = Shape::default();
    let mut depth = 0usize;
    for token in source.all_tokens().get(place.tokens.clone()).unwrap_or(&[]) {
        match token.kind {
            LexemeKind::Punctuation(b'(' | b'[') => {
                depth += 1;
                shape.nesting = shape.nesting.max(depth);
            }
            LexemeKind::Punctuation(b')' | b']') => depth = depth.saturating_sub(1),
            LexemeKind::Operator | LexemeKind::DoubleColon => shape.chain += 1,
            LexemeKind::Word
                if [
                    "OR",
                    "AND",
                    "NOT",
                    "UNION",
                    "INTERSECT",
                    "EXCEPT",
                    "IS",
                    "COLLATE",
                    "CASE",
                    "JOIN",
                    "SELECT",
                ]
                .iter()
                .any(|word| source.is_keyword(token, word)) =>
            {
                shape.chain += 1;
            }
            _ => {}
        }
    }
    shape
}
