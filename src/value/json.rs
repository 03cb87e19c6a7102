//! `json`, kept as it was written, and `jsonb`, kept as PostgreSQL prints it: keys once each (the last one wins), shorter ones first, then by
//! bytes; numbers as `numeric`; `, ` and `: ` between the parts.
//!
//! Canonical jsonb is what `jsonb_send` gives: the version byte 1 and that text. Both are checked by RFC 8259 as PostgreSQL reads it.
//! Nesting deeper than [`MAX_DEPTH`] is refused: the server's own bound follows from its stack.

use super::{Format, LogicalType, Plaintext, ValueError, input, numeric};
use crate::wire::sqlstate::SqlState;
use bytes::BytesMut;
use std::borrow::Cow;
use std::ops::Range;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// Arrays and objects within each other.
const MAX_DEPTH: usize = 1_000;
const VERSION: u8 = 1;
/// untranslatable_character: what jsonb raises for `\u0000`.
const UNTRANSLATABLE: SqlState = SqlState(*b"22P05");

pub(super) fn decode_json(format: Format, bytes: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    if format == Format::Binary {
        input::verify_encoding(bytes)?;
    }
    Parser::new(bytes, false).document()?;
    input::append(out, bytes);
    Ok(())
}

pub(super) fn decode_jsonb(format: Format, bytes: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    let text = match (format, bytes) {
        (Format::Text, _) => bytes,
        (Format::Binary, [VERSION, text @ ..]) => {
            input::verify_encoding(text)?;
            text
        }
        (Format::Binary, []) => return Err(input::insufficient_data()),
        (Format::Binary, _) => {
            return Err(ValueError::new(
                SqlState::INTERNAL_ERROR,
                "unsupported jsonb version number",
            ));
        }
    };
    let nodes = Parser::new(text, true).document()?;
    input::reserve(out, text.len() + text.len() / 4 + 8);
    out.push(VERSION);
    Printer { text, nodes: &nodes }.print(nodes.len() - 1, out)
}

pub(super) fn text_of_jsonb(canonical: &[u8]) -> Result<&[u8], ValueError> {
    let corrupted = || ValueError::corrupted(LogicalType::Jsonb);
    match canonical {
        [VERSION, text @ ..] => input::verify_encoding(text).map(|_| text).map_err(|_| corrupted()),
        _ => Err(corrupted()),
    }
}

pub(super) fn encode_jsonb(format: Format, canonical: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    let text = text_of_jsonb(canonical)?;
    out.extend_from_slice(match format {
        Format::Text => text,
        Format::Binary => canonical,
    });
    Ok(())
}

/// A part of a document; values stay in the source, as spans.
#[derive(Debug)]
enum Node {
    /// `null`, `true`, `false`
    Word(Range<usize>),
    Number(Range<usize>),
    /// Without its quotes.
    String(Range<usize>),
    /// Its elements.
    Array(Vec<usize>),
    /// Its keys (without quotes) and values.
    Object(Vec<(Range<usize>, usize)>),
}

/// An array or object that isn't closed yet.
enum Open {
    Array(Vec<usize>),
    Object(Vec<(Range<usize>, usize)>, Range<usize>),
}

#[cold]
fn syntax() -> ValueError {
    ValueError::syntax("json")
}

/// Reads without recursion. Nodes come children first, the document last.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether strings are to be given a meaning (jsonb), not only checked.
    meaning: bool,
    nodes: Vec<Node>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a [u8], meaning: bool) -> Self {
        Self {
            text,
            at: 0,
            meaning,
            nodes: Vec::new(),
        }
    }

    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), ValueError> {
        if self.peek() != Some(byte) {
            return Err(syntax());
        }
        self.at += 1;
        Ok(())
    }

    fn document(mut self) -> Result<Vec<Node>, ValueError> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            // A value.
            let mut value = match self.peek().ok_or_else(syntax)? {
                bracket @ (b'[' | b'{') => {
                    self.at += 1;
                    if open.len() == MAX_DEPTH {
                        return Err(ValueError::refused("the json document is nested too deep for pgward"));
                    }
                    match (bracket, self.peek()) {
                        (b'[', Some(b']')) => {
                            self.at += 1;
                            Node::Array(Vec::new())
                        }
                        (b'{', Some(b'}')) => {
                            self.at += 1;
                            Node::Object(Vec::new())
                        }
                        (b'[', _) => {
                            open.push(Open::Array(Vec::new()));
                            continue;
                        }
                        _ => {
                            let key = self.key()?;
                            open.push(Open::Object(Vec::new(), key));
                            continue;
                        }
                    }
                }
                b'"' => Node::String(self.string()?),
                b'-' | b'0'..=b'9' => {
                    let span = self.number()?;
                    self.check_number(&span)?;
                    Node::Number(span)
                }
                _ => Node::Word(self.word()?),
            };
            // What it completes.
            loop {
                let index = self.nodes.len();
                self.nodes.push(value);
                match open.pop() {
                    None => {
                        return match self.peek() {
                            None => Ok(self.nodes),
                            Some(_) => Err(syntax()),
                        };
                    }
                    Some(Open::Array(mut elements)) => {
                        elements.push(index);
                        match self.peek() {
                            Some(b',') => {
                                self.at += 1;
                                open.push(Open::Array(elements));
                                break;
                            }
                            Some(b']') => {
                                self.at += 1;
                                value = Node::Array(elements);
                            }
                            _ => return Err(syntax()),
                        }
                    }
                    Some(Open::Object(mut members, key)) => {
                        members.push((key, index));
                        match self.peek() {
                            Some(b',') => {
                                self.at += 1;
                                let key = self.key()?;
                                open.push(Open::Object(members, key));
                                break;
                            }
                            Some(b'}') => {
                                self.at += 1;
                                value = Node::Object(members);
                            }
                            _ => return Err(syntax()),
                        }
                    }
                }
            }
        }
    }

    fn key(&mut self) -> Result<Range<usize>, ValueError> {
        if self.peek() != Some(b'"') {
            return Err(syntax());
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    fn string(&mut self) -> Result<Range<usize>, ValueError> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(start..self.at - 1);
                }
                Some(b'\\') => self.escape()?,
                Some(0x20..) => self.at += 1,
                _ => return Err(syntax()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ValueError> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let unit = code_unit(self.text, self.at).ok_or_else(syntax)?;
                self.at += 6;
                if !self.meaning {
                    return Ok(());
                }
                match unit {
                    0 => Err(ValueError::new(UNTRANSLATABLE, "unsupported Unicode escape sequence")),
                    0xd800..0xdc00 => match code_unit(self.text, self.at) {
                        Some(0xdc00..0xe000) => {
                            self.at += 6;
                            Ok(())
                        }
                        _ => Err(syntax()),
                    },
                    0xdc00..0xe000 => Err(syntax()),
                    _ => Ok(()),
                }
            }
            _ => Err(syntax()),
        }
    }

    fn number(&mut self) -> Result<Range<usize>, ValueError> {
        let start = self.at;
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        let first = self.at;
        if self.digits() == 0 || self.text[first] == b'0' && self.at > first + 1 {
            return Err(syntax());
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(syntax());
            }
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(syntax());
            }
        }
        if self.text.get(self.at).copied().is_some_and(continues_word) {
            return Err(syntax());
        }
        Ok(start..self.at)
    }

    /// Whether jsonb has room for the number. The server looks at that after the next token and before what that means.
    fn check_number(&mut self, span: &Range<usize>) -> Result<(), ValueError> {
        /// Shorter numbers whose exponents have fewer digits always fit.
        const SURE_LENGTH: usize = 1_000;
        const SURE_EXPONENT: usize = 4;
        let number = &self.text[span.clone()];
        let exponent = number.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let sure = number.len() < SURE_LENGTH && exponent.is_none_or(|at| number.len() - at <= SURE_EXPONENT);
        if !self.meaning || sure {
            return Ok(());
        }
        let Err(overflow) = numeric::fits(number) else {
            return Ok(());
        };
        match self.peek() {
            None | Some(b'[' | b']' | b'{' | b'}' | b',' | b':') => {}
            Some(b'"') => self.string().map(|_| ())?,
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ())?,
            Some(_) => self.word().map(|_| ())?,
        }
        Err(overflow)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self) -> Result<Range<usize>, ValueError> {
        let start = self.at;
        while self.text.get(self.at).copied().is_some_and(continues_word) {
            self.at += 1;
        }
        match &self.text[start..self.at] {
            b"null" | b"true" | b"false" => Ok(start..self.at),
            _ => Err(syntax()),
        }
    }
}

fn continues_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The UTF-16 code unit of the `\uXXXX` at `at`.
fn code_unit(text: &[u8], at: usize) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = text.get(at..at + 6)? else {
        return None;
    };
    digits.iter().try_fold(0, |unit, digit| {
        Some(unit << 4 | u32::from(super::bytea::hex_digit(*digit)?))
    })
}

/// Prints nodes as jsonb; as deep as the parser allows.
struct Printer<'a> {
    text: &'a [u8],
    nodes: &'a [Node],
}

impl Printer<'_> {
    fn print(&self, index: usize, out: &mut Plaintext) -> Result<(), ValueError> {
        match &self.nodes[index] {
            Node::Word(span) => input::append(out, &self.text[span.clone()]),
            Node::Number(span) => numeric::reprint(&self.text[span.clone()], out)?,
            Node::String(span) => put_string(&unescape(&self.text[span.clone()]), out),
            Node::Array(elements) => {
                input::append(out, b"[");
                for (place, element) in elements.iter().enumerate() {
                    if place > 0 {
                        input::append(out, b", ");
                    }
                    self.print(*element, out)?;
                }
                input::append(out, b"]");
            }
            Node::Object(members) => {
                let keys: Vec<Key<'_>> = members
                    .iter()
                    .map(|(span, _)| unescape(&self.text[span.clone()]))
                    .collect();
                let mut order: Vec<usize> = (0..members.len()).collect();
                order.sort_by(|a, b| (keys[*a].len(), &*keys[*a]).cmp(&(keys[*b].len(), &*keys[*b])));
                // The sort is stable: of equal keys the one written last stands last, and it wins.
                input::append(out, b"{");
                let mut first = true;
                for (place, member) in order.iter().enumerate() {
                    if order.get(place + 1).is_some_and(|next| *keys[*next] == *keys[*member]) {
                        continue;
                    }
                    if !first {
                        input::append(out, b", ");
                    }
                    first = false;
                    put_string(&keys[*member], out);
                    input::append(out, b": ");
                    self.print(members[*member].1, out)?;
                }
                input::append(out, b"}");
            }
        }
        Ok(())
    }
}

/// A string without its escapes; wiped where it had to be copied.
enum Key<'a> {
    Plain(&'a [u8]),
    Unescaped(Zeroizing<Vec<u8>>),
}

impl std::ops::Deref for Key<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Key::Plain(bytes) => bytes,
            Key::Unescaped(bytes) => bytes,
        }
    }
}

/// The escapes are known to be valid.
fn unescape(raw: &[u8]) -> Key<'_> {
    if !raw.contains(&b'\\') {
        return Key::Plain(raw);
    }
    let mut out = Zeroizing::new(Vec::with_capacity(raw.len())); // no escape is shorter than what it stands for
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        if *byte != b'\\' {
            out.push(*byte);
            at += 1;
            continue;
        }
        let plain = match raw.get(at + 1) {
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let unit = code_unit(raw, at).unwrap_or(0xfffd);
                at += 6;
                let character = match (unit, code_unit(raw, at)) {
                    (0xd800..0xdc00, Some(low)) => {
                        at += 6;
                        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low.saturating_sub(0xdc00))
                    }
                    _ => char::from_u32(unit),
                };
                out.extend_from_slice(character.unwrap_or('\u{fffd}').encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => other.copied().unwrap_or(b'\\'),
        };
        out.push(plain);
        at += 2;
    }
    Key::Unescaped(out)
}

fn put_string(text: &[u8], out: &mut Plaintext) {
    input::reserve(out, text.len() + 2);
    out.push(b'"');
    for byte in text {
        let escaped: Cow<'static, [u8]> = match byte {
            b'"' => Cow::Borrowed(b"\\\""),
            b'\\' => Cow::Borrowed(b"\\\\"),
            0x08 => Cow::Borrowed(b"\\b"),
            0x0c => Cow::Borrowed(b"\\f"),
            b'\n' => Cow::Borrowed(b"\\n"),
            b'\r' => Cow::Borrowed(b"\\r"),
            b'\t' => Cow::Borrowed(b"\\t"),
            0..0x20 => Cow::Owned(format!("\\u{byte:04x}").into_bytes()),
            _ => {
                input::append(out, &[*byte]);
                continue;
            }
        };
        input::append(out, &escaped);
    }
    input::append(out, b"\"");
}
