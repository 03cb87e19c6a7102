//! What can be read of a statement that is not UTF-8.
//!
//! The planner reads UTF-8. In another client encoding a text is read with its ASCII characters as they are and every other character as U+FFFD:
//! the same tokens as the server sees after its conversion, but for what names and literals hold beyond ASCII. That is enough to tell whether
//! it touches anything with an ASCII name; nothing protected is ever carried out by such a reading.
//!
//! Which byte belongs to which character is as in PostgreSQL's `src/common/wchar.c`. The server refuses texts with bytes that its own reading
//! does not allow for, before it looks at any word.

/// The encoding that the client's texts are in, as far as it matters where characters begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientEncoding {
    /// UTF-8, or bytes that the server takes for its own encoding.
    Utf8,
    /// No byte of a longer character is ASCII's: all encodings that a server can have too (documentation, 24.3.1).
    AsciiApart,
    /// BIG5, GBK, UHC: two bytes, the second one perhaps ASCII's.
    TwoBytes,
    /// SJIS, SHIFT_JIS_2004: two bytes, but for half-width katakana.
    ShiftJis,
    /// JOHAB: two bytes, three after 0x8F.
    Johab,
    /// GB18030: two bytes, four where the second is a digit.
    Gb18030,
    /// None that is known here.
    Unknown,
}

impl ClientEncoding {
    /// Of the name that the server reports: its own, except that it keeps UNICODE where the client said so.
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b"UTF8" | b"UNICODE" | b"SQL_ASCII" => Self::Utf8,
            b"EUC_CN" | b"EUC_JIS_2004" | b"EUC_JP" | b"EUC_KR" | b"EUC_TW" | b"MULE_INTERNAL" => Self::AsciiApart,
            name if [&b"ISO_8859_"[..], b"KOI8", b"LATIN", b"WIN"]
                .iter()
                .any(|family| name.starts_with(family)) =>
            {
                Self::AsciiApart
            }
            b"BIG5" | b"GBK" | b"UHC" => Self::TwoBytes,
            b"SJIS" | b"SHIFT_JIS_2004" => Self::ShiftJis,
            b"JOHAB" => Self::Johab,
            b"GB18030" => Self::Gb18030,
            _ => Self::Unknown,
        }
    }

    /// The text as the server reads it, with U+FFFD for what is not ASCII. `None` where that can't be told.
    pub(super) fn read(self, text: &[u8]) -> Option<String> {
        if self == Self::Unknown {
            return None;
        }
        let mut read = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((&first, tail)) = rest.split_first() {
            if first.is_ascii() {
                read.push(char::from(first));
                rest = tail;
            } else {
                read.push(char::REPLACEMENT_CHARACTER);
                rest = rest
                    .get(self.length(first, tail.first().copied())..)
                    .unwrap_or_default();
            }
        }
        Some(read)
    }

    /// Bytes of the character that begins with this byte, which isn't ASCII's.
    fn length(self, first: u8, second: Option<u8>) -> usize {
        match self {
            Self::Utf8 | Self::AsciiApart | Self::Unknown => 1,
            Self::ShiftJis if matches!(first, 0xA1..=0xDF) => 1,
            Self::Johab if first == 0x8F => 3,
            Self::Gb18030 if matches!(second, Some(b'0'..=b'9')) => 4,
            Self::TwoBytes | Self::ShiftJis | Self::Johab | Self::Gb18030 => 2,
        }
    }
}

/// The text with U+FFFD for each byte that is not ASCII's: it has every word that the text has in any encoding.
pub(super) fn bytewise(text: &[u8]) -> String {
    text.iter()
        .map(|byte| {
            if byte.is_ascii() {
                char::from(*byte)
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_encodings() {
        for name in ["UTF8", "UNICODE", "SQL_ASCII"] {
            assert_eq!(ClientEncoding::of(name.as_bytes()), ClientEncoding::Utf8, "{name}");
        }
        for name in [
            "LATIN1",
            "WIN1252",
            "KOI8R",
            "ISO_8859_5",
            "EUC_JP",
            "EUC_JIS_2004",
            "MULE_INTERNAL",
        ] {
            assert_eq!(
                ClientEncoding::of(name.as_bytes()),
                ClientEncoding::AsciiApart,
                "{name}"
            );
        }
        for name in ["", "utf8", "UTF16"] {
            assert_eq!(ClientEncoding::of(name.as_bytes()), ClientEncoding::Unknown, "{name}");
        }
    }

    #[test]
    fn a_backslash_may_be_half_a_character() {
        let read = |name: &str, text: &[u8]| ClientEncoding::of(name.as_bytes()).read(text);
        for (name, text, seen) in [
            ("LATIN1", &b"E'\xe9\\''"[..], "E'\u{FFFD}\\''"),
            ("EUC_KR", b"E'\xb0\xa1\\''", "E'\u{FFFD}\u{FFFD}\\''"),
            ("SJIS", b"E'\x83\\'", "E'\u{FFFD}'"),
            // A half-width katakana, then an escape.
            ("SJIS", b"E'\xb1\\''", "E'\u{FFFD}\\''"),
            ("BIG5", b"'\xa5\\'", "'\u{FFFD}'"),
            ("UHC", b"'\xb0\xa1' \\", "'\u{FFFD}' \\"),
            ("GB18030", b"'\x810\x810\\' \xa8\\a", "'\u{FFFD}\\' \u{FFFD}a"),
            ("JOHAB", b"\x8fab\\ \x8e\\a", "\u{FFFD}\\ \u{FFFD}a"),
            // Cut short.
            ("GB18030", b"a\x810", "a\u{FFFD}"),
            ("GBK", b"a\x81", "a\u{FFFD}"),
        ] {
            assert_eq!(read(name, text).as_deref(), Some(seen), "{name}");
        }
        assert_eq!(read("nonsense", b"a"), None);
        assert_eq!(bytewise(b"E'\x83\\'"), "E'\u{FFFD}\\'");
    }
}
