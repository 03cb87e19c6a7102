//! Reads the tokens of one statement of DDL, by PostgreSQL's grammar (`src/backend/parser/gram.y`). Tokens, and not the syntax tree, because every
//! change is a splice at exact bytes, and because much valid DDL is unknown to the parser.

use crate::plan::lexer::{Lexeme, LexemeKind};
use crate::plan::source::Source;
use std::ops::Range;
use std::sync::Arc;

/// A position in a run of tokens.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'s, 't> {
    pub(super) source: &'s Source<'t>,
    tokens: &'s [Lexeme],
    at: usize,
}

/// A name as it is stored, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: Arc<str>,
    pub(super) span: Range<usize>,
}

/// A name with up to two qualifiers before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Qualified {
    pub(super) parts: Vec<Arc<str>>,
    pub(super) span: Range<usize>,
}

impl Qualified {
    /// `[catalog.][schema.]name` → schema and name.
    pub(super) fn split(&self) -> Option<(Option<&str>, &str)> {
        match self.parts.as_slice() {
            [name] => Some((None, name)),
            [schema, name] | [_, schema, name] => Some((Some(schema), name)),
            _ => None,
        }
    }
}

impl<'s, 't> Cursor<'s, 't> {
    pub(super) fn new(source: &'s Source<'t>, tokens: &'s [Lexeme]) -> Self {
        Self { source, tokens, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'s Lexeme> {
        self.tokens.get(self.at)
    }

    pub(super) fn is_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(super) fn advance(&mut self) -> Option<&'s Lexeme> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    /// The tokens from here to the end.
    pub(super) fn rest(&self) -> &'s [Lexeme] {
        self.tokens.get(self.at..).unwrap_or(&[])
    }

    /// All tokens of this run.
    pub(super) fn all(&self) -> &'s [Lexeme] {
        self.tokens
    }

    /// Bytes of the whole run.
    pub(super) fn span(&self) -> Range<usize> {
        match (self.tokens.first(), self.tokens.last()) {
            (Some(first), Some(last)) => first.span.start..last.span.end,
            _ => 0..0,
        }
    }

    /// Where the next token starts; at the end, where the last one ends.
    pub(super) fn offset(&self) -> usize {
        self.peek().map_or(self.span().end, |token| token.span.start)
    }

    /// Where the token before this place ends.
    pub(super) fn previous_end(&self) -> usize {
        self.at
            .checked_sub(1)
            .and_then(|at| self.tokens.get(at))
            .map_or(self.span().start, |token| token.span.end)
    }

    /// Whether the token `ahead` of the next one is this keyword.
    pub(super) fn looks_at(&self, ahead: usize, keyword: &str) -> bool {
        self.tokens
            .get(self.at + ahead)
            .is_some_and(|token| self.source.is_keyword(token, keyword))
    }

    pub(super) fn is(&self, keyword: &str) -> bool {
        self.looks_at(0, keyword)
    }

    pub(super) fn is_one_of(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// Takes the keyword, if it stands here.
    pub(super) fn eat(&mut self, keyword: &str) -> bool {
        let here = self.is(keyword);
        self.at += usize::from(here);
        here
    }

    /// Takes the keywords, if all stand here in this order.
    pub(super) fn eat_all(&mut self, keywords: &[&str]) -> bool {
        let here = keywords
            .iter()
            .enumerate()
            .all(|(ahead, keyword)| self.looks_at(ahead, keyword));
        if here {
            self.at += keywords.len();
        }
        here
    }

    /// Takes one of the keywords, if it stands here.
    pub(super) fn eat_one_of(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.eat(keyword))
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.peek().is_some_and(|token| self.source.is_symbol(token, symbol))
    }

    pub(super) fn eat_symbol(&mut self, symbol: &str) -> bool {
        let here = self.is_symbol(symbol);
        self.at += usize::from(here);
        here
    }

    /// Takes an identifier.
    pub(super) fn name(&mut self) -> Option<Name> {
        let token = self.peek()?;
        let text = self.source.name(token)?;
        self.at += 1;
        Some(Name {
            text: Arc::from(&*text),
            span: token.span.clone(),
        })
    }

    /// Takes an identifier with its qualifiers.
    pub(super) fn qualified(&mut self) -> Option<Qualified> {
        let first = self.name()?;
        let mut span = first.span;
        let mut parts = vec![first.text];
        while self.is_symbol(".") {
            let mut ahead = *self;
            ahead.advance();
            let Some(part) = ahead.name() else { break };
            *self = ahead;
            span.end = part.span.end;
            parts.push(part.text);
        }
        Some(Qualified { parts, span })
    }

    /// Takes what stands in parentheses, if they begin here; the result is what is inside.
    pub(super) fn parens(&mut self) -> Option<Cursor<'s, 't>> {
        if !self.is_symbol("(") {
            return None;
        }
        let mut depth = 0usize;
        for (ahead, token) in self.rest().iter().enumerate() {
            match token.kind {
                LexemeKind::Punctuation(b'(') => depth += 1,
                LexemeKind::Punctuation(b')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                let inner = self.rest().get(1..ahead).unwrap_or(&[]);
                self.at += ahead + 1;
                return Some(Cursor::new(self.source, inner));
            }
        }
        None
    }

    /// Takes tokens, whole parentheses at a time, up to one that `stop` names, and gives them.
    pub(super) fn take_until(&mut self, mut stop: impl FnMut(&Self) -> bool) -> Cursor<'s, 't> {
        let from = self.at;
        while !self.is_end() && !stop(self) {
            if self.parens().is_none() {
                self.advance();
            }
        }
        Cursor::new(self.source, self.tokens.get(from..self.at).unwrap_or(&[]))
    }

    /// The parts between commas that stand outside parentheses and brackets.
    pub(super) fn split(mut self) -> Vec<Cursor<'s, 't>> {
        let mut parts = Vec::new();
        while !self.is_end() {
            let mut brackets = 0usize;
            parts.push(self.take_until(|cursor| {
                if cursor.is_symbol("[") {
                    brackets += 1;
                } else if cursor.is_symbol("]") {
                    brackets = brackets.saturating_sub(1);
                }
                brackets == 0 && cursor.is_symbol(",")
            }));
            self.eat_symbol(",");
        }
        parts
    }

    /// A list of plain names, as in `(a, b)`; `None` where something else stands in it.
    pub(super) fn names(self) -> Option<Vec<Name>> {
        self.split()
            .into_iter()
            .map(|mut part| {
                let name = part.name()?;
                part.is_end().then_some(name)
            })
            .collect()
    }

    /// Whether an identifier of this name stands anywhere in the run.
    pub(super) fn mentions(&self, name: &str) -> bool {
        self.tokens
            .iter()
            .any(|token| self.source.name(token).is_some_and(|found| found == name))
    }

    /// Whether every mention of this name is a test for NULL: nothing else is computed from it.
    pub(super) fn only_tests_null(&self, name: &str) -> bool {
        self.tokens
            .iter()
            .enumerate()
            .filter(|(_, token)| self.source.name(token).is_some_and(|found| found == name))
            .all(|(at, _)| self.null_test_at(at))
    }

    fn null_test_at(&self, at: usize) -> bool {
        let keyword = |at: usize, keyword: &str| {
            self.tokens
                .get(at)
                .is_some_and(|token| self.source.is_keyword(token, keyword))
        };
        let symbol = |at: usize, symbol: &str| {
            self.tokens
                .get(at)
                .is_some_and(|token| self.source.is_symbol(token, symbol))
        };
        let tested =
            keyword(at + 1, "IS") && (keyword(at + 2, "NULL") || (keyword(at + 2, "NOT") && keyword(at + 3, "NULL")));
        // Before it only the beginning of an expression: IS binds more loosely than operators.
        let mut before = at;
        while before >= 2 && symbol(before - 1, ".") {
            before -= 2;
        }
        let begins = before.checked_sub(1).is_none_or(|previous| {
            symbol(previous, "(")
                || symbol(previous, ",")
                || ["AND", "OR", "NOT"].iter().any(|word| keyword(previous, word))
        });
        tested && begins
    }

    /// The tokens as text with single blanks, as type names are written.
    pub(super) fn normalised(&self) -> String {
        let mut out = String::new();
        let mut glue = true;
        for token in self.tokens {
            let text = self.source.text(&token.span);
            let word = matches!(token.kind, LexemeKind::Word | LexemeKind::Quoted);
            if word && !glue {
                out.push(' ');
            }
            out.push_str(text);
            glue = matches!(text, "(" | "," | ".");
        }
        out
    }
}
