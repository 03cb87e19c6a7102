//! A script's text with its tokens: splitting it into statements, parsing one, names, literals, redaction.
//!
//! The parser's tokens come from `super::lexer`. Their locations are byte offsets (line 1, column = offset + 1), so that every span
//! of the syntax tree is a byte range of the source; and its strings are empty, so that no syntax tree holds a literal.

use super::lexer::{self, Lexeme, LexemeKind, OtherString, Unreadable};
use super::literal;
use super::script::{Literal, LiteralForm};
use sqlparser::ast::{DollarQuotedString, Ident};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};
use std::borrow::Cow;
use std::ops::Range;

/// PostgreSQL cuts identifiers at NAMEDATALEN - 1 bytes.
pub(super) const MAX_IDENTIFIER: usize = 63;
/// Nesting that the parser goes into. PostgreSQL's own limit is its stack depth; people nest a tenth of this.
const PARSER_DEPTH: usize = 100;

/// A script's text and tokens.
pub struct Source<'a> {
    text: &'a str,
    tokens: Vec<Lexeme>,
    fault: Option<Unreadable>,
}

/// A statement's place: bytes, and indices of its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From its first token to the end of its last.
    pub span: Range<usize>,
    /// Indices into [`Source::all_tokens`].
    pub tokens: Range<usize>,
}

/// The parser did not read it. Holds nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unparsable;

impl<'a> Source<'a> {
    /// Reads the text's tokens.
    pub fn new(text: &'a str, standard_conforming_strings: bool) -> Self {
        let unreadable = |fault| Self {
            text,
            tokens: Vec::new(),
            fault: Some(fault),
        };
        match lexer::lex(text, standard_conforming_strings) {
            Ok(tokens) => {
                let source = Self {
                    text,
                    tokens,
                    fault: None,
                };
                let named = |t: &Lexeme| t.kind != LexemeKind::Quoted || source.name(t).is_some();
                if source.tokens.iter().all(named) {
                    source
                } else {
                    unreadable(Unreadable::Unknown)
                }
            }
            Err(fault) => unreadable(fault),
        }
    }

    /// False where the text has no tokens that PostgreSQL would accept; it is then one statement that can't be parsed.
    pub fn is_readable(&self) -> bool {
        self.fault.is_none()
    }

    /// Whether PostgreSQL refuses the text whatever it says, so that it carries out nothing of it.
    pub fn is_refused_unread(&self) -> bool {
        self.fault == Some(Unreadable::Unsafe)
    }

    /// The whole text.
    pub fn whole(&self) -> &'a str {
        self.text
    }

    /// The text of a span; empty where the span is none of this source's.
    pub fn text(&self, span: &Range<usize>) -> &'a str {
        self.text.get(span.clone()).unwrap_or("")
    }

    /// All tokens, in order.
    pub fn all_tokens(&self) -> &[Lexeme] {
        &self.tokens
    }

    /// The tokens that lie within a span.
    pub fn tokens(&self, span: &Range<usize>) -> &[Lexeme] {
        let from = self.tokens.partition_point(|t| t.span.start < span.start);
        let to = self.tokens.partition_point(|t| t.span.end <= span.end);
        self.tokens.get(from..to).unwrap_or(&[])
    }

    /// Index of the token that starts at this byte.
    pub fn token_at(&self, byte: usize) -> Option<usize> {
        self.tokens.binary_search_by_key(&byte, |t| t.span.start).ok()
    }

    /// Token by index.
    pub fn token(&self, index: usize) -> Option<&Lexeme> {
        self.tokens.get(index)
    }

    /// Whether the token is this keyword (given in upper case), unquoted.
    pub fn is_keyword(&self, token: &Lexeme, keyword: &str) -> bool {
        token.kind == LexemeKind::Word && self.text(&token.span).eq_ignore_ascii_case(keyword)
    }

    /// Whether the token is this punctuation mark or operator.
    pub fn is_symbol(&self, token: &Lexeme, symbol: &str) -> bool {
        matches!(
            token.kind,
            LexemeKind::Punctuation(_) | LexemeKind::Operator | LexemeKind::DoubleColon | LexemeKind::ColonEquals
        ) && self.text(&token.span) == symbol
    }

    /// The statements, split at semicolons outside parentheses (as psql does); empty ones left out. A body in `BEGIN ATOMIC … END` makes its statement
    /// reach to the end of the script.
    pub fn statements(&self) -> Vec<Place> {
        let mut places = Vec::new();
        let mut first = 0;
        let mut depth = 0usize;
        let mut atomic = false;
        for (index, token) in self.tokens.iter().enumerate() {
            match token.kind {
                LexemeKind::Punctuation(b'(') => depth += 1,
                LexemeKind::Punctuation(b')') => depth = depth.saturating_sub(1),
                LexemeKind::Word => {
                    atomic |= index > first
                        && self.is_keyword(token, "ATOMIC")
                        && self.tokens.get(index - 1).is_some_and(|t| self.is_keyword(t, "BEGIN"));
                }
                LexemeKind::Punctuation(b';') if !atomic && depth == 0 => {
                    self.push_place(&mut places, first..index);
                    first = index + 1;
                }
                _ => {}
            }
        }
        self.push_place(&mut places, first..self.tokens.len());
        places
    }

    fn push_place(&self, places: &mut Vec<Place>, tokens: Range<usize>) {
        if let Some([first, ..]) = self.tokens.get(tokens.clone())
            && let Some(last) = self.tokens.get(tokens.end.wrapping_sub(1))
        {
            places.push(Place {
                span: first.span.start..last.span.end,
                tokens,
            });
        }
    }

    /// Parses one statement. Every span of the tree is a byte range by way of [`byte_span`]. Call it where there is stack enough.
    pub fn parse(&self, place: &Place) -> Result<sqlparser::ast::Statement, Unparsable> {
        let tokens = self.tokens.get(place.tokens.clone()).ok_or(Unparsable)?;
        let mut parsed = Vec::with_capacity(tokens.len());
        for token in tokens {
            parsed.push(TokenWithSpan::new(self.parser_token(token)?, parser_span(&token.span)));
        }
        let dialect = PostgreSqlDialect {};
        let mut parser = Parser::new(&dialect)
            .with_recursion_limit(PARSER_DEPTH)
            .with_tokens_with_locations(parsed);
        let statement = parser.parse_statement().map_err(|_| Unparsable)?;
        if parser.peek_token_ref().token == Token::EOF {
            Ok(statement)
        } else {
            Err(Unparsable)
        }
    }

    fn parser_token(&self, token: &Lexeme) -> Result<Token, Unparsable> {
        let text = self.text(&token.span);
        Ok(match token.kind {
            LexemeKind::Word => Token::make_word(text, None),
            LexemeKind::Quoted => Token::make_word(&unquote(text).ok_or(Unparsable)?, Some('"')),
            LexemeKind::String(LiteralForm::Escaped) => Token::EscapedStringLiteral(String::new()),
            LexemeKind::String(LiteralForm::Unicode) => Token::UnicodeStringLiteral(String::new()),
            LexemeKind::String(LiteralForm::Dollar) => Token::DollarQuotedString(DollarQuotedString {
                value: String::new(),
                tag: None,
            }),
            LexemeKind::String(_) | LexemeKind::OtherString(OtherString::Continued) => {
                Token::SingleQuotedString(String::new())
            }
            LexemeKind::OtherString(OtherString::Bits) => Token::SingleQuotedByteStringLiteral(String::new()),
            LexemeKind::OtherString(OtherString::Hex) => Token::HexStringLiteral(String::new()),
            LexemeKind::OtherString(OtherString::National) => Token::NationalStringLiteral(String::new()),
            LexemeKind::Number => Token::Number(text.to_owned(), false),
            LexemeKind::Param(_) => Token::Placeholder(text.to_owned()),
            LexemeKind::DoubleColon => Token::DoubleColon,
            LexemeKind::ColonEquals => Token::Assignment,
            LexemeKind::Punctuation(byte) => match byte {
                b'(' => Token::LParen,
                b')' => Token::RParen,
                b'[' => Token::LBracket,
                b']' => Token::RBracket,
                b',' => Token::Comma,
                b';' => Token::SemiColon,
                b'.' => Token::Period,
                _ => Token::Colon,
            },
            LexemeKind::Operator => match text {
                "=" => Token::Eq,
                "*" => Token::Mul,
                "<" => Token::Lt,
                ">" => Token::Gt,
                "<=" => Token::LtEq,
                ">=" => Token::GtEq,
                "<>" | "!=" => Token::Neq,
                "+" => Token::Plus,
                "-" => Token::Minus,
                "/" => Token::Div,
                "%" => Token::Mod,
                "||" => Token::StringConcat,
                "=>" => Token::RArrow,
                _ => {
                    let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
                        .tokenize()
                        .map_err(|_| Unparsable)?;
                    // What PostgreSQL takes as one operator must not come apart.
                    match (tokens.pop(), tokens.is_empty()) {
                        (Some(token), true) => token,
                        _ => Token::CustomBinaryOperator(text.to_owned()),
                    }
                }
            },
        })
    }

    /// The literal that starts at `span` (one token, or a sign and a number), if it is one that stands for a value.
    pub fn literal(&self, span: &Range<usize>) -> Option<Literal> {
        let tokens = self.tokens(span);
        let form = match tokens {
            [token] => match token.kind {
                LexemeKind::String(form) => form,
                LexemeKind::Number => LiteralForm::Number,
                LexemeKind::Word if self.is_keyword(token, "TRUE") || self.is_keyword(token, "FALSE") => {
                    LiteralForm::Boolean
                }
                _ => return None,
            },
            [sign, number]
                if number.kind == LexemeKind::Number && (self.is_symbol(sign, "-") || self.is_symbol(sign, "+")) =>
            {
                LiteralForm::Number
            }
            _ => return None,
        };
        // `U&'…' UESCAPE 'c'` is decoded otherwise.
        let next = self
            .token_at(tokens.last()?.span.start)
            .and_then(|i| self.tokens.get(i + 1));
        if form == LiteralForm::Unicode && next.is_some_and(|t| self.is_keyword(t, "UESCAPE")) {
            return None;
        }
        Some(Literal {
            span: tokens.first()?.span.start..tokens.last()?.span.end,
            form,
        })
    }

    /// The statement's text with every literal replaced by `?`, comments dropped and blanks folded; empty for an unreadable source.
    pub fn redact(&self, span: &Range<usize>) -> String {
        let mut out = String::new();
        let mut end = 0;
        for token in self.tokens(span) {
            if !out.is_empty() && token.span.start > end {
                out.push(' ');
            }
            end = token.span.end;
            match token.kind {
                LexemeKind::String(_) | LexemeKind::OtherString(_) | LexemeKind::Number => out.push('?'),
                LexemeKind::Word if self.is_keyword(token, "TRUE") || self.is_keyword(token, "FALSE") => out.push('?'),
                _ => out.push_str(self.text(&token.span)),
            }
        }
        out
    }

    /// The name that an identifier token stands for; `None` for another token.
    pub fn name(&self, token: &Lexeme) -> Option<Cow<'a, str>> {
        let text = self.text(&token.span);
        match token.kind {
            LexemeKind::Word => Some(fold(text)),
            LexemeKind::Quoted => Some(Cow::Owned(truncate(&unquote(text)?).to_owned())),
            _ => None,
        }
    }
}

fn parser_span(span: &Range<usize>) -> Span {
    let location = |byte: usize| Location {
        line: 1,
        column: byte as u64 + 1,
    };
    Span {
        start: location(span.start),
        end: location(span.end),
    }
}

/// The byte range of a syntax tree's span; `None` for an empty one (sqlparser has those where it knows no place).
pub fn byte_span(span: Span) -> Option<Range<usize>> {
    if span.start.line != 1 || span.end.line != 1 {
        return None;
    }
    let start = usize::try_from(span.start.column).ok()?.checked_sub(1)?;
    let end = usize::try_from(span.end.column).ok()?.checked_sub(1)?;
    (start < end).then_some(start..end)
}

/// The name that an identifier of the syntax tree stands for.
pub fn ident_name(ident: &Ident) -> Cow<'_, str> {
    match ident.quote_style {
        None => fold(&ident.value),
        Some(_) => Cow::Borrowed(truncate(&ident.value)),
    }
}

/// Folds an unquoted identifier: ASCII letters to lower case, cut at 63 bytes.
pub fn fold(text: &str) -> Cow<'_, str> {
    let text = truncate(text);
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

fn truncate(text: &str) -> &str {
    if text.len() <= MAX_IDENTIFIER {
        return text;
    }
    let mut end = MAX_IDENTIFIER;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What `"a""b"` or `U&"d!0061" UESCAPE '!'` stands for; `None` where PostgreSQL would raise an error.
fn unquote(text: &str) -> Option<String> {
    if let Some(body) = text.strip_prefix('"') {
        return Some(body.strip_suffix('"')?.replace("\"\"", "\""));
    }
    let quoted = text.get(3..)?;
    let mut end = 0;
    while quoted.as_bytes().get(end)? != &b'"' || quoted.as_bytes().get(end + 1) == Some(&b'"') {
        end += if quoted.as_bytes().get(end) == Some(&b'"') {
            2
        } else {
            1
        };
    }
    let (body, clause) = quoted.split_at_checked(end)?;
    // The token ends with its clause, if it has one: the escape character stands between quotes and is none itself.
    let escape = match clause.strip_suffix('\'') {
        Some(clause) => *clause.as_bytes().last()?,
        None => b'\\',
    };
    let name = literal::un_unicode(body, b'"', escape).ok()?;
    Some(name.as_str().to_owned())
}

/// Writes a name as an identifier that PostgreSQL reads back exactly.
pub fn quote_ident(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push('"');
    for c in name.chars() {
        if c == '"' {
            out.push('"');
        }
        out.push(c);
    }
    out.push('"');
    out
}
