//! COMMENT, DROP, GRANT, and CREATE of what is neither a table nor an index.

use super::cursor::{Cursor, Qualified};
use super::{Change, Ddl, Outcome, not_understood, opaque_columns, unusable};
use crate::plan::classify::string;
use crate::plan::introspect::marker;
use crate::plan::lexer::{LexemeKind, OtherString};
use crate::plan::refusal::{Reason, Refusal};
use crate::plan::schema::Mode;
use crate::plan::script::LiteralForm;
use std::collections::HashSet;
use std::sync::Arc;

/// What can be created without a relation being used.
const APART: [&str; 13] = [
    "ROLE",
    "USER",
    "GROUP",
    "DATABASE",
    "EXTENSION",
    "TYPE",
    "DOMAIN",
    "SEQUENCE",
    "TABLESPACE",
    "SERVER",
    "COLLATION",
    "LANGUAGE",
    "CONVERSION",
];

/// What may be altered in a way that leaves values as they are.
const ALTERABLE: [&str; 15] = [
    "INDEX",
    "SEQUENCE",
    "VIEW",
    "MATERIALIZED",
    "TRIGGER",
    "ROLE",
    "USER",
    "DATABASE",
    "SCHEMA",
    "FUNCTION",
    "PROCEDURE",
    "ROUTINE",
    "EXTENSION",
    "TYPE",
    "DEFAULT",
];

impl Ddl<'_> {
    /// Behind CREATE, where it is neither a table nor an index.
    pub(super) fn create_other(&mut self, mut cursor: Cursor<'_, '_>) -> Outcome {
        cursor.eat_all(&["OR", "REPLACE"]);
        if cursor.is_one_of(&["TEMP", "TEMPORARY"]) {
            cursor.advance();
        }
        if cursor.is_one_of(&APART) {
            return Ok(());
        }
        if cursor.eat("SCHEMA") {
            let nested = cursor.all().iter().any(|token| {
                ["TABLE", "VIEW", "INDEX", "GRANT", "TRIGGER"]
                    .iter()
                    .any(|word| self.source.is_keyword(token, word))
            });
            return match nested {
                true => Err(kind("CREATE SCHEMA with elements").hint("Create the schema first, then each element.")),
                false => Ok(()),
            };
        }
        if cursor.is("VIEW") || cursor.is("RECURSIVE") || cursor.is("MATERIALIZED") {
            return self.refuse_query(&cursor, "a view");
        }
        cursor.eat_one_of(&["CONSTRAINT", "EVENT"]);
        if cursor.is_one_of(&["TRIGGER", "POLICY", "FUNCTION", "PROCEDURE", "STATISTICS"]) {
            return self.code(&cursor);
        }
        Err(kind("this kind of CREATE"))
    }

    /// Everything that is neither CREATE nor ALTER TABLE.
    pub(super) fn other(&mut self, mut cursor: Cursor<'_, '_>) -> Outcome {
        if cursor.eat_all(&["COMMENT", "ON"]) {
            return self.comment(cursor);
        }
        if cursor.eat("DROP") {
            if cursor.eat("TABLE") {
                return self.drop_tables(cursor);
            }
            self.protected = true;
            return Ok(());
        }
        if cursor.eat_one_of(&["GRANT", "REVOKE"]) {
            self.protected = true;
            return Ok(());
        }
        if cursor.eat("ALTER") {
            if cursor.is("POLICY") {
                return self.code(&cursor);
            }
            if cursor.is_one_of(&ALTERABLE) {
                self.protected = true;
                return Ok(());
            }
        }
        Err(kind("this kind of statement"))
    }

    /// A query whose result is stored by the server: sealed values in it would be in a column that the policy does not know.
    pub(super) fn refuse_query(&self, query: &Cursor<'_, '_>, what: &str) -> Outcome {
        let snapshot = self.input.snapshot;
        let sensitive =
            |name: &str| snapshot.sensitive_names.contains(name) || snapshot.sensitive_functions.contains(name);
        let touches = query.all().iter().any(|token| match token.kind {
            // Some functions run SQL that they are given: a name in a string counts, and so does what can't be read as it stands.
            LexemeKind::String(_) => {
                string(self.source, token).is_none_or(|text| words(&text.to_lowercase()).any(sensitive))
            }
            LexemeKind::OtherString(OtherString::Bits | OtherString::Hex) => false,
            LexemeKind::OtherString(_) => true,
            _ => self
                .source
                .name(token)
                .is_some_and(|name| sensitive(&name.to_lowercase())),
        });
        match touches {
            true => Err(kind(what).hint("Query the protected table itself; for a copy, create a table that the policy declares, and fill it by INSERT … SELECT.")),
            false => Ok(()),
        }
    }

    /// A trigger, policy or function: carried out where it names no protected column.
    fn code(&mut self, cursor: &Cursor<'_, '_>) -> Outcome {
        let snapshot = self.input.snapshot;
        // Values in clear would come out of a function, even of `TABLE t`, before the catalog shows that it reads them.
        let clear = snapshot.declarations.values().any(|column| column.mode == Mode::None);
        if clear && cursor.is_one_of(&["FUNCTION", "PROCEDURE"]) {
            return Err(kind("a function that names a protected relation").hint("Let the application do it."));
        }
        let mut columns: HashSet<String> = snapshot
            .declarations
            .keys()
            .map(|name| name.column.to_lowercase())
            .collect();
        for relation in snapshot.protected_by_oid.values() {
            columns.extend(opaque_columns(relation).map(|column| column.name.to_lowercase()));
        }
        for token in cursor.all() {
            let named = match token.kind {
                // An escape may hide a name: the text counts that the server reads.
                LexemeKind::String(_) => string(self.source, token)
                    .is_none_or(|text| words(&text.to_lowercase()).any(|word| columns.contains(word))),
                LexemeKind::OtherString(OtherString::Bits | OtherString::Hex) => false,
                LexemeKind::OtherString(_) => true,
                _ => self
                    .source
                    .name(token)
                    .is_some_and(|name| columns.contains(name.to_lowercase().as_str())),
            };
            if named {
                return Err(kind("code on the server that names a protected column")
                    .hint("The server sees envelopes only: do it in the application."));
            }
        }
        self.protected = true;
        Ok(())
    }

    /// `COMMENT ON`: on a sealed column, the type marker stays its first line.
    fn comment(&mut self, mut cursor: Cursor<'_, '_>) -> Outcome {
        if !cursor.eat("COLUMN") {
            self.protected = true;
            return Ok(());
        }
        let mut written = cursor.qualified().ok_or_else(not_understood)?;
        let column = written.parts.pop().ok_or_else(not_understood)?;
        let Some(table) = self.resolve(&written) else {
            return Ok(());
        };
        self.protected = table.protected || table.touches_protected.is_some();
        let Some(column) = table.column(&column).filter(|column| column.stored_sealed) else {
            return Ok(());
        };
        let Some(protected) = &column.protected else {
            return match &column.unusable {
                Some(why) => Err(unusable(&table.name, column, why)),
                None => Ok(()),
            };
        };
        if !cursor.eat("IS") {
            return Err(not_understood());
        }
        let line = marker(protected.logical_type, None);
        let token = cursor.advance().ok_or_else(not_understood)?;
        if !cursor.is_end() {
            return Err(not_understood());
        }
        if self.source.is_keyword(token, "NULL") {
            self.splice(token.span.clone(), format!("'{line}'"));
            return Ok(());
        }
        let text = self.source.text(&token.span);
        let opening = match token.kind {
            LexemeKind::String(LiteralForm::Dollar) => text.get(1..).and_then(|rest| rest.find('$')).map(|at| at + 2),
            LexemeKind::String(_) | LexemeKind::OtherString(_) => text.find('\'').map(|at| at + 1),
            _ => None,
        };
        let at = token.span.start + opening.ok_or_else(not_understood)?;
        self.splice(at..at, format!("{line}\n"));
        Ok(())
    }

    fn drop_tables(&mut self, mut cursor: Cursor<'_, '_>) -> Outcome {
        cursor.eat_all(&["IF", "EXISTS"]);
        for written in tables(&mut cursor)? {
            if let Some(table) = self.resolve(&written) {
                self.protected |= table.protected || table.touches_protected.is_some();
                self.changes.push(Change::Drop(table.name.clone()));
                let keys: Vec<Arc<str>> = table.unique.iter().map(|key| key.name.clone()).collect();
                for name in keys {
                    self.changes.push(Change::Drop(crate::plan::schema::RelationName {
                        schema: table.name.schema.clone(),
                        name,
                    }));
                }
            }
        }
        Ok(())
    }
}

/// `[ONLY] name [*] [, …]`, up to what stands behind the list.
fn tables(cursor: &mut Cursor<'_, '_>) -> Outcome<Vec<Qualified>> {
    let mut names = Vec::new();
    loop {
        cursor.eat("ONLY");
        names.push(cursor.qualified().ok_or_else(not_understood)?);
        cursor.eat_symbol("*");
        if !cursor.eat_symbol(",") {
            return Ok(names);
        }
    }
}

/// Runs of identifier characters.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()))
}

fn kind(what: &str) -> Refusal {
    Refusal::unsupported(
        Reason::StatementKind,
        format!("{what} is not carried out where it touches protected relations"),
    )
}
