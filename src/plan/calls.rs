//! Calls of functions that run SQL, or read tables, which their arguments name: harmless where that argument is a literal which says that
//! nothing protected is concerned.

use super::classify::{Verb, may_hide, string};
use super::lexer::{Lexeme, LexemeKind};
use super::schema::Snapshot;
use super::source::{Source, fold};

/// Whether the call of such a function, whose name stands at `index` with its parenthesis behind, concerns nothing protected. Read from tokens
/// alone; errs on the safe side.
pub(super) fn is_harmless(
    source: &Source<'_>,
    tokens: &[Lexeme],
    index: usize,
    snapshot: &Snapshot,
    verb: Verb,
) -> bool {
    let Some(name) = tokens.get(index).and_then(|t| source.name(t)) else {
        return false;
    };
    let Some(arguments) = arguments(source, tokens.get(index + 2..).unwrap_or(&[])) else {
        return false;
    };
    let text = |at: usize| {
        arguments
            .get(at)
            .and_then(|argument| literal_argument(source, argument))
    };
    match &*name {
        // With three arguments it has no SQL.
        "ts_rewrite" if arguments.len() == 3 => true,
        "ts_rewrite" => arguments.len() == 2 && text(1).is_some_and(|sql| !may_hide(&sql, snapshot)),
        "ts_stat" => text(0).is_some_and(|sql| !may_hide(&sql, snapshot)),
        _ if name.starts_with("query_to_xml") => text(0).is_some_and(|sql| !may_hide(&sql, snapshot)),
        // A table can be named by its OID, too.
        _ if name.starts_with("table_to_xml") => text(0)
            .is_some_and(|table| !table.trim().bytes().all(|b| b.is_ascii_digit()) && !may_hide(&table, snapshot)),
        _ if name.starts_with("schema_to_xml") => text(0).is_some_and(|schema| !concerns(snapshot, &fold(&schema))),
        // The session sees to it that no protected portal is open then; in a definition it could not.
        _ if name.starts_with("cursor_to_xml") => verb == Verb::Query,
        _ => false,
    }
}

/// Whether a schema holds, or is declared to hold, something protected. In lower case: errs on the safe side.
fn concerns(snapshot: &Snapshot, schema: &str) -> bool {
    let is_it = |name: &str| name.to_lowercase() == schema.to_lowercase();
    snapshot.declarations.keys().any(|c| is_it(&c.relation.schema))
        || snapshot.subjects.keys().any(|r| is_it(&r.schema))
        || snapshot
            .relations
            .values()
            .any(|r| (r.protected || r.touches_protected.is_some()) && is_it(&r.name.schema))
}

/// The arguments of a call, by the tokens behind its opening parenthesis; `None` where they don't end.
fn arguments<'t>(source: &Source<'_>, tokens: &'t [Lexeme]) -> Option<Vec<&'t [Lexeme]>> {
    let mut found = Vec::new();
    let mut first = 0;
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            LexemeKind::Punctuation(b')') if depth == 0 => {
                found.push(tokens.get(first..at)?);
                return Some(found);
            }
            LexemeKind::Punctuation(b'(' | b'[') => depth += 1,
            LexemeKind::Punctuation(b')' | b']') => depth = depth.checked_sub(1)?,
            LexemeKind::Punctuation(b',') if depth == 0 => {
                found.push(tokens.get(first..at)?);
                first = at + 1;
            }
            // By name, in any order.
            _ if source.is_symbol(token, "=>") || source.is_symbol(token, ":=") => return None,
            _ if source.is_keyword(token, "VARIADIC") => return None,
            _ => {}
        }
    }
    None
}

/// The value of an argument that is a string literal, perhaps with a cast by one word.
fn literal_argument(source: &Source<'_>, argument: &[Lexeme]) -> Option<zeroize::Zeroizing<String>> {
    match argument {
        [literal] => string(source, literal),
        [literal, cast, ty] if cast.kind == LexemeKind::DoubleColon && ty.kind == LexemeKind::Word => {
            string(source, literal)
        }
        _ => None,
    }
}
