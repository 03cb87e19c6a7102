//! A text falls into fields by their first characters, before anything has a meaning.

use super::super::input::is_blank;
use super::parse::Fault;
use super::words::{Word, is_keyword, keyword};
use zeroize::Zeroizing;

/// Longest text that is looked at.
pub(super) const MAX_LENGTH: usize = 120;
/// Most fields in one text.
const MAX_FIELDS: usize = 25;

/// What a field is by its first characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    None,
    Number,
    /// Words.
    Word,
    /// A word with a sign.
    Signed,
    /// Digits and letters with separators: a date, or a zone's name.
    Date,
    /// With colons.
    Time,
    /// A number with a sign.
    Offset,
}

/// The fields of a text, in lower case.
pub(super) struct Fields {
    buffer: Zeroizing<[u8; MAX_LENGTH]>,
    used: usize,
    ends: [(Kind, usize); MAX_FIELDS],
    pub(super) count: usize,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            buffer: Zeroizing::new([0; MAX_LENGTH]),
            used: 0,
            ends: [(Kind::None, 0); MAX_FIELDS],
            count: 0,
        }
    }
}

impl Fields {
    pub(super) fn kind(&self, index: usize) -> Kind {
        match self.ends.get(index) {
            Some((kind, _)) if index < self.count => *kind,
            _ => Kind::None,
        }
    }

    pub(super) fn text(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].1);
        std::str::from_utf8(&self.buffer[start..self.ends[index].1]).unwrap_or_default()
    }

    /// Whether PostgreSQL could find a date in them, whatever the settings say of the words: an abbreviation can be a time zone, but no zone makes a date.
    pub(super) fn may_be_a_date(&self) -> bool {
        (0..self.count).any(|index| {
            let word = keyword(self.text(index));
            self.kind(index) != Kind::Word
                || matches!(
                    word,
                    Some(Word::Unread(_) | Word::Infinity | Word::NegativeInfinity | Word::Epoch)
                )
        })
    }

    /// Takes bytes while they fit; the buffer is as long as the text, so there is always room.
    fn take(&mut self, rest: &mut &[u8], fits: impl Fn(u8) -> bool) {
        while let [first, after @ ..] = *rest
            && fits(*first)
        {
            self.buffer[self.used] = first.to_ascii_lowercase();
            self.used += 1;
            *rest = after;
        }
    }

    fn take_one(&mut self, rest: &mut &[u8]) {
        let before = rest.len();
        let taken = rest.get(..1).unwrap_or_default();
        let mut one = taken;
        self.take(&mut one, |_| true);
        *rest = &rest[before.min(1)..];
    }

    pub(super) fn split(&mut self, text: &[u8]) -> Result<(), Fault> {
        let mut rest = text;
        while let [first, after @ ..] = rest {
            if is_blank(*first) {
                rest = after;
                continue;
            }
            if self.count == MAX_FIELDS {
                return Err(Fault::Format);
            }
            let start = self.used;
            let kind = match first {
                b'0'..=b'9' => self.split_number(&mut rest),
                b'.' => {
                    self.take_one(&mut rest);
                    self.take(&mut rest, |byte| byte.is_ascii_digit());
                    Kind::Number
                }
                b'a'..=b'z' | b'A'..=b'Z' => {
                    self.take(&mut rest, |byte| byte.is_ascii_alphabetic());
                    let word = std::str::from_utf8(&self.buffer[start..self.used]).unwrap_or_default();
                    let joined = match rest.first() {
                        Some(b'-' | b'/' | b'.') => true,
                        Some(b'+' | b'0'..=b'9') => !is_keyword(word),
                        _ => false,
                    };
                    if joined {
                        self.take(&mut rest, |byte| {
                            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_' | b'.' | b':')
                        });
                        Kind::Date
                    } else {
                        Kind::Word
                    }
                }
                b'+' | b'-' => {
                    self.take_one(&mut rest);
                    while let [blank, after @ ..] = rest
                        && is_blank(*blank)
                    {
                        rest = after;
                    }
                    match rest.first() {
                        Some(b'0'..=b'9') => {
                            self.take(&mut rest, |byte| {
                                byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'-')
                            });
                            Kind::Offset
                        }
                        Some(byte) if byte.is_ascii_alphabetic() => {
                            self.take(&mut rest, |byte| byte.is_ascii_alphabetic());
                            Kind::Signed
                        }
                        _ => return Err(Fault::Format),
                    }
                }
                punctuation if punctuation.is_ascii_punctuation() => {
                    rest = after;
                    continue;
                }
                _ => return Err(Fault::Format),
            };
            self.ends[self.count] = (kind, self.used);
            self.count += 1;
        }
        Ok(())
    }

    fn split_number(&mut self, rest: &mut &[u8]) -> Kind {
        self.take(rest, |byte| byte.is_ascii_digit());
        match rest.first().copied() {
            Some(b':') => {
                self.take(rest, |byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
                Kind::Time
            }
            Some(separator @ (b'-' | b'/' | b'.')) => {
                self.take_one(rest);
                if rest.first().is_some_and(u8::is_ascii_digit) {
                    self.take(rest, |byte| byte.is_ascii_digit());
                    if rest.first() == Some(&separator) {
                        self.take(rest, |byte| byte.is_ascii_digit() || byte == separator);
                        Kind::Date
                    } else if separator == b'.' {
                        Kind::Number
                    } else {
                        Kind::Date
                    }
                } else {
                    self.take(rest, |byte| byte.is_ascii_alphanumeric() || byte == separator);
                    Kind::Date
                }
            }
            _ => Kind::Number,
        }
    }
}
