//! PostgreSQL's lexical rules over borrowed text (`src/backend/parser/scan.l` of PostgreSQL 15).
//!
//! The parser behind it gets its tokens from here and not from its own tokenizer: what one of the two would read as a string and
//! the other as SQL would be a way around the planner. A token is a kind and a byte range; no token holds text.

use super::script::LiteralForm;
use std::ops::Range;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lexeme {
    /// Its bytes in the source.
    pub span: Range<usize>,
    /// What it is.
    pub kind: LexemeKind,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexemeKind {
    /// An unquoted identifier or a keyword.
    Word,
    /// `"…"`, or `U&"…"` with its UESCAPE clause
    Quoted,
    /// A string that stands for a value as [`LiteralForm`] says.
    String(LiteralForm),
    /// A string of another kind: `B'…'`, `X'…'`, `N'…'`, or one in several parts on several lines.
    OtherString(OtherString),
    /// A number.
    Number,
    /// `$n`
    Param(u32),
    /// An operator (several characters may be one).
    Operator,
    /// `(`, `)`, `[`, `]`, `,`, `;`, `.`, `:`
    Punctuation(u8),
    /// `::`
    DoubleColon,
    /// `:=`
    ColonEquals,
}

/// Strings that are not plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherString {
    /// `B'…'`
    Bits,
    /// `X'…'`
    Hex,
    /// `N'…'`
    National,
    /// Parts on several lines, which are one string.
    Continued,
}

/// Text that has no tokens here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// PostgreSQL's own lexer would refuse it, unless it reads it otherwise than we do.
    Unknown,
    /// It holds `U&'…'` without `standard_conforming_strings`: PostgreSQL refuses the whole text, whatever stands in it.
    Unsafe,
}

/// Splits `text` into tokens; comments and blanks are left out.
pub fn lex(text: &str, standard_conforming_strings: bool) -> Result<Vec<Lexeme>, Unreadable> {
    let mut lexer = Lexer {
        bytes: text.as_bytes(),
        at: 0,
        standard: standard_conforming_strings,
    };
    let mut tokens = Vec::with_capacity(text.len() / 5 + 4);
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

/// Whether `byte` may start an unquoted identifier.
pub fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// Whether `byte` may stand inside an unquoted identifier.
pub fn continues_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    standard: bool,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        // 0 is no byte of any token: PostgreSQL's text holds no NUL, and one that a client sends is refused below.
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn next(&mut self) -> Result<Option<Lexeme>, Unreadable> {
        self.skip_blanks()?;
        let start = self.at;
        let Some(&first) = self.bytes.get(start) else {
            return Ok(None);
        };
        let kind = match first {
            b'\'' => self.string(0, !self.standard, LiteralForm::Plain)?,
            b'e' | b'E' if self.peek(1) == b'\'' => self.string(1, true, LiteralForm::Escaped)?,
            b'b' | b'B' if self.peek(1) == b'\'' => self.other_string(OtherString::Bits)?,
            b'x' | b'X' if self.peek(1) == b'\'' => self.other_string(OtherString::Hex)?,
            b'n' | b'N' if self.peek(1) == b'\'' => self.other_string(OtherString::National)?,
            b'u' | b'U' if self.peek(1) == b'&' && self.peek(2) == b'\'' => {
                if !self.standard {
                    return Err(Unreadable::Unsafe);
                }
                self.string(2, false, LiteralForm::Unicode)?
            }
            b'u' | b'U' if self.peek(1) == b'&' && self.peek(2) == b'"' => self.unicode_quoted()?,
            b'"' => self.quoted()?,
            b'$' if self.peek(1).is_ascii_digit() => self.param()?,
            b'$' => self.dollar_quoted()?,
            b'0'..=b'9' => self.number()?,
            b'.' if self.peek(1).is_ascii_digit() => self.number()?,
            // `..` belongs to PL/pgSQL only.
            b'.' if self.peek(1) == b'.' => return Err(Unreadable::Unknown),
            b':' if self.peek(1) == b':' => self.fixed(2, LexemeKind::DoubleColon),
            b':' if self.peek(1) == b'=' => self.fixed(2, LexemeKind::ColonEquals),
            b'(' | b')' | b'[' | b']' | b',' | b';' | b'.' | b':' => self.fixed(1, LexemeKind::Punctuation(first)),
            _ if starts_word(first) => {
                while continues_word(self.peek(0)) {
                    self.at += 1;
                }
                LexemeKind::Word
            }
            _ if is_operator(first) => self.operator(),
            _ => return Err(Unreadable::Unknown),
        };
        Ok(Some(Lexeme {
            span: start..self.at,
            kind,
        }))
    }

    fn fixed(&mut self, length: usize, kind: LexemeKind) -> LexemeKind {
        self.at += length;
        kind
    }

    fn skip_blanks(&mut self) -> Result<(), Unreadable> {
        loop {
            match self.peek(0) {
                byte if is_space(byte) => self.at += 1,
                b'-' if self.peek(1) == b'-' => self.skip_line(),
                b'/' if self.peek(1) == b'*' => {
                    let mut depth = 0usize;
                    loop {
                        match (self.peek(0), self.peek(1)) {
                            (b'/', b'*') => {
                                depth += 1;
                                self.at += 2;
                            }
                            (b'*', b'/') => {
                                depth -= 1;
                                self.at += 2;
                                if depth == 0 {
                                    break;
                                }
                            }
                            _ if self.at >= self.bytes.len() => return Err(Unreadable::Unknown),
                            _ => self.at += 1,
                        }
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && !matches!(self.peek(0), b'\n' | b'\r') {
            self.at += 1;
        }
    }

    /// A string whose opening quote stands `prefix` bytes ahead.
    fn string(&mut self, prefix: usize, backslashes: bool, form: LiteralForm) -> Result<LexemeKind, Unreadable> {
        self.at += prefix;
        let mut continued = false;
        loop {
            self.at += 1;
            loop {
                match self.bytes.get(self.at) {
                    None => return Err(Unreadable::Unknown),
                    Some(b'\\') if backslashes => self.at += 2,
                    Some(b'\'') if self.peek(1) == b'\'' => self.at += 2,
                    Some(b'\'') => break,
                    Some(_) => self.at += 1,
                }
            }
            self.at += 1;
            match self.continuation() {
                Some(quote) => {
                    continued = true;
                    self.at = quote;
                }
                None => break,
            }
        }
        Ok(if continued {
            LexemeKind::OtherString(OtherString::Continued)
        } else if backslashes {
            LexemeKind::String(LiteralForm::Escaped)
        } else {
            LexemeKind::String(form)
        })
    }

    fn other_string(&mut self, kind: OtherString) -> Result<LexemeKind, Unreadable> {
        // N'…' takes backslashes as '…' does; B'…' and X'…' hold none in any statement that the server accepts.
        let backslashes = kind == OtherString::National && !self.standard;
        self.string(1, backslashes, LiteralForm::Plain)?;
        Ok(LexemeKind::OtherString(kind))
    }

    /// Where the next part's quote stands, if blanks with a line end and then a quote follow (the standard's string continuation).
    fn continuation(&self) -> Option<usize> {
        let mut at = self.at;
        let mut line_end = false;
        loop {
            match self.bytes.get(at) {
                Some(b'\n' | b'\r') => {
                    line_end = true;
                    at += 1;
                }
                Some(&byte) if is_space(byte) => at += 1,
                Some(b'-') if self.bytes.get(at + 1) == Some(&b'-') => {
                    while self.bytes.get(at).is_some_and(|b| !matches!(b, b'\n' | b'\r')) {
                        at += 1;
                    }
                }
                Some(b'\'') if line_end => return Some(at),
                _ => return None,
            }
        }
    }

    fn quoted(&mut self) -> Result<LexemeKind, Unreadable> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.bytes.get(self.at) {
                None => return Err(Unreadable::Unknown),
                Some(b'"') if self.peek(1) == b'"' => self.at += 2,
                Some(b'"') => break,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        // A zero-length identifier is an error of the server's.
        if self.at - start < 3 {
            Err(Unreadable::Unknown)
        } else {
            Ok(LexemeKind::Quoted)
        }
    }

    /// `U&"…"`, with its UESCAPE clause if it has one.
    fn unicode_quoted(&mut self) -> Result<LexemeKind, Unreadable> {
        self.at += 2;
        let kind = self.quoted()?;
        let end = self.at;
        self.skip_blanks()?;
        let clause = self.bytes.get(self.at..self.at + 7);
        if !clause.is_some_and(|word| word.eq_ignore_ascii_case(b"uescape")) || continues_word(self.peek(7)) {
            self.at = end;
            return Ok(kind);
        }
        self.at += 7;
        self.skip_blanks()?;
        // Other forms of string, and of what stands in it, are not worth reading.
        let escape = self.peek(1);
        let plain = escape.is_ascii_graphic() && !escape.is_ascii_hexdigit() && !matches!(escape, b'+' | b'\'' | b'"');
        let alone = self.peek(0) == b'\'' && self.peek(2) == b'\'' && self.peek(3) != b'\'';
        if !plain || !alone || (escape == b'\\' && !self.standard) {
            return Err(Unreadable::Unknown);
        }
        self.at += 3;
        Ok(kind)
    }

    fn param(&mut self) -> Result<LexemeKind, Unreadable> {
        self.at += 1;
        let mut number = 0u32;
        while self.peek(0).is_ascii_digit() {
            let digit = u32::from(self.peek(0) - b'0');
            number = number
                .checked_mul(10)
                .and_then(|n| n.checked_add(digit))
                .ok_or(Unreadable::Unknown)?;
            self.at += 1;
        }
        // The protocol counts parameters in 16 bits.
        if number == 0 || number > 65_535 || starts_word(self.peek(0)) {
            return Err(Unreadable::Unknown);
        }
        Ok(LexemeKind::Param(number))
    }

    fn dollar_quoted(&mut self) -> Result<LexemeKind, Unreadable> {
        let start = self.at;
        self.at += 1;
        if starts_word(self.peek(0)) {
            while starts_word(self.peek(0)) || self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
        }
        if self.peek(0) != b'$' {
            return Err(Unreadable::Unknown);
        }
        self.at += 1;
        let tag = &self.bytes[start..self.at];
        while self.at + tag.len() <= self.bytes.len() {
            if self.bytes[self.at] == b'$' && &self.bytes[self.at..self.at + tag.len()] == tag {
                self.at += tag.len();
                return Ok(LexemeKind::String(LiteralForm::Dollar));
            }
            self.at += 1;
        }
        Err(Unreadable::Unknown)
    }

    fn number(&mut self) -> Result<LexemeKind, Unreadable> {
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if !self.peek(1 + sign).is_ascii_digit() {
                return Err(Unreadable::Unknown);
            }
            self.at += 1 + sign;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
        }
        // "trailing junk after numeric literal"
        if starts_word(self.peek(0)) {
            Err(Unreadable::Unknown)
        } else {
            Ok(LexemeKind::Number)
        }
    }

    fn operator(&mut self) -> LexemeKind {
        let start = self.at;
        let mut end = start;
        while end < self.bytes.len() && is_operator(self.bytes[end]) {
            if matches!(self.bytes.get(end..end + 2), Some(b"--" | b"/*")) {
                break;
            }
            end += 1;
        }
        // A trailing + or - belongs to what follows, unless the operator holds a character that no SQL operator has.
        if end - start > 1
            && !self.bytes[start..end]
                .iter()
                .any(|b| matches!(b, b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%'))
        {
            while end - start > 1 && matches!(self.bytes[end - 1], b'+' | b'-') {
                end -= 1;
            }
        }
        self.at = end.max(start + 1);
        LexemeKind::Operator
    }
}
