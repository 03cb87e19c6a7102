//! Names of tables and columns as they stand in the file: parts joined by dots, a part in double quotes where it holds
//! capitals, dots or anything else that PostgreSQL would fold or stumble over.

use crate::plan::{ColumnName, RelationName};
use std::sync::Arc;

/// NAMEDATALEN - 1: PostgreSQL cuts longer identifiers, so that a longer name in the file could never match one in the catalog.
pub(super) const MAX_IDENTIFIER_BYTES: usize = 63;

/// Splits `a.b."C d"` into its parts, unquoted. `*` stands for itself where it is a whole, unquoted part.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let part;
        (part, rest) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_part(quoted)?
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let (word, rest) = rest.split_at(end);
            (bare_part(word)?, rest)
        };
        parts.push(part);
        match rest.strip_prefix('.') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(parts),
            None => return Err("a dot must follow the closing quote".into()),
        }
    }
}

/// One part of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An identifier as the catalog has it.
    Identifier(String),
    /// `*`
    All,
}

fn quoted_part(text: &str) -> Result<(Part, &str), String> {
    let mut name = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            name.push(c);
        } else if chars.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            check_identifier(&name)?;
            return Ok((Part::Identifier(name), text.get(at + 1..).unwrap_or_default()));
        }
    }
    Err("a closing double quote is missing".into())
}

fn bare_part(word: &str) -> Result<Part, String> {
    if word == "*" {
        return Ok(Part::All);
    }
    check_identifier(word)?;
    if needs_quotes(word) {
        return Err(format!(
            "`{word}` must stand in double quotes if it is spelt like this in the database; in lower case otherwise"
        ));
    }
    Ok(Part::Identifier(word.to_owned()))
}

/// Whether `name` can be an identifier of the catalog at all.
pub(super) fn check_identifier(name: &str) -> Result<(), String> {
    if name.is_empty() {
        Err("a part of the name is empty".into())
    } else if name.len() > MAX_IDENTIFIER_BYTES {
        Err(format!(
            "a part of the name is longer than PostgreSQL's {MAX_IDENTIFIER_BYTES} bytes"
        ))
    } else if name.contains(|c: char| c.is_control()) {
        Err("a part of the name holds a control character".into())
    } else {
        Ok(())
    }
}

fn needs_quotes(word: &str) -> bool {
    let mut chars = word.chars();
    // Letters beyond ASCII are not folded by PostgreSQL in UTF-8 databases, so that they mean themselves.
    let first = chars
        .next()
        .is_some_and(|c| c == '_' || c.is_ascii_lowercase() || !c.is_ascii());
    !first || chars.any(|c| !(c == '_' || c == '$' || c.is_ascii_lowercase() || c.is_ascii_digit() || !c.is_ascii()))
}

/// An identifier as the file wants it: in quotes where it needs them.
pub(super) fn quote(name: &str) -> String {
    if needs_quotes(name) || name.is_empty() {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

/// `schema.table`, or `table` in `public`.
pub(super) fn relation(text: &str) -> Result<RelationName, String> {
    let (schema, name) = match <[Part; 2]>::try_from(parts(text)?) {
        Ok([Part::Identifier(schema), Part::Identifier(name)]) => (schema, name),
        Ok(_) => return Err("`*` is not a table".into()),
        Err(parts) => match <[Part; 1]>::try_from(parts) {
            Ok([Part::Identifier(name)]) => ("public".to_owned(), name),
            _ => return Err("it must have the form schema.table".into()),
        },
    };
    Ok(RelationName {
        schema: schema.into(),
        name: name.into(),
    })
}

/// `schema.table.column` or `schema.table.*` (`None`), also without the schema `public`.
pub(super) fn columns(text: &str) -> Result<(RelationName, Option<Arc<str>>), String> {
    const FORM: &str = "it must have the form schema.table.column or schema.table.*";
    let mut parts = parts(text)?;
    if parts.len() == 2 {
        parts.insert(0, Part::Identifier("public".into()));
    }
    match <[Part; 3]>::try_from(parts) {
        Ok([Part::Identifier(schema), Part::Identifier(name), column]) => {
            let relation = RelationName {
                schema: schema.into(),
                name: name.into(),
            };
            Ok(match column {
                Part::Identifier(column) => (relation, Some(column.into())),
                Part::All => (relation, None),
            })
        }
        _ => Err(FORM.into()),
    }
}

/// A relation's name as the file wants it.
pub(super) fn display_relation(name: &RelationName) -> String {
    format!("{}.{}", quote(&name.schema), quote(&name.name))
}

/// A column's full name as the file wants it; also the default key domain, because it is unambiguous.
pub(super) fn display_column(name: &ColumnName) -> String {
    format!("{}.{}", display_relation(&name.relation), quote(&name.column))
}
