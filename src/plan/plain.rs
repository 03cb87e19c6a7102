//! Statements that are plainly of no concern, told in one pass over their bytes and without a token: most of what most applications send.
//!
//! A proof, not a guess: what [`plain`] accepts is what [`super::plan`] would forward without any effect on the session; where it can't tell, it
//! says nothing and the whole planner looks at the text (`tests/plain.rs` holds the two against each other).

use super::classify::is_sensitive;
use super::lexer::{continues_word, starts_word};
use super::schema::Snapshot;
use super::script::StatementKind;
use super::source::MAX_IDENTIFIER;
use super::words;

/// What stands before a place in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing yet.
    Start,
    /// A word that may be followed by a parenthesis without being the name of a function that could change the session's state.
    Harmless,
    /// INTO, AS, WITH, RECURSIVE or `::`: what follows them with a parenthesis is no call.
    Definition,
    /// Any other name; `defined`: the first of its dotted parts stands behind a [`Before::Definition`].
    Name { defined: bool },
    /// The dot in a name.
    Dot { defined: bool },
    /// Anything else.
    Other,
}

/// The kind of `sql` where it is one SELECT, INSERT, UPDATE or DELETE that concerns nothing protected and changes nothing that a session keeps.
/// `standard`: `standard_conforming_strings` is on; `utf8`: `client_encoding` is UTF8, so that no byte above 127 is part of a quote.
pub fn plain(sql: &[u8], snapshot: &Snapshot, standard: bool, utf8: bool) -> Option<StatementKind> {
    let mut scan = Scan { rest: sql };
    let mut kind = None;
    let mut before = Before::Start;
    let mut depth = 0usize;
    while let Some(byte) = scan.next() {
        before = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'0'..=b'9' => {
                scan.number()?;
                Before::Other
            }
            b'$' => {
                scan.parameter()?;
                Before::Other
            }
            b'\'' => {
                if !standard {
                    return None;
                }
                scan.string(utf8)?;
                Before::Other
            }
            b'"' => {
                let mut buffer = [0; MAX_IDENTIFIER];
                let name = scan.quoted(&mut buffer)?;
                if is_named(name, snapshot) {
                    return None;
                }
                Before::Name {
                    defined: is_defined(before),
                }
            }
            _ if starts_word(byte) => {
                let mut buffer = [0; MAX_IDENTIFIER];
                let word = scan.word(byte, &mut buffer)?;
                if is_named(word, snapshot) || matches!(word, "fetch" | "execute" | "move") {
                    return None;
                }
                match kind {
                    None => {
                        kind = Some(match word {
                            "select" => StatementKind::Select,
                            "insert" => StatementKind::Insert,
                            "update" => StatementKind::Update,
                            "delete" => StatementKind::Delete,
                            _ => return None,
                        });
                    }
                    // Makes a table.
                    Some(StatementKind::Select) if word == "into" => return None,
                    Some(_) => {}
                }
                match word {
                    "into" | "as" | "with" | "recursive" => Before::Definition,
                    // The list of words is asked only where a parenthesis follows.
                    _ if !matches!(before, Before::Dot { .. }) && scan.opens() && words::is_harmless_call(word) => {
                        Before::Harmless
                    }
                    _ => Before::Name {
                        defined: is_defined(before),
                    },
                }
            }
            b'.' => match before {
                Before::Name { defined } => Before::Dot { defined },
                _ => return None,
            },
            b':' if scan.peek() == b':' => {
                scan.next();
                Before::Definition
            }
            b'(' => {
                if matches!(
                    before,
                    Before::Start | Before::Definition | Before::Name { defined: false }
                ) {
                    return None;
                }
                depth += 1;
                Before::Other
            }
            b')' => {
                depth = depth.checked_sub(1)?;
                Before::Other
            }
            // Comments.
            b'-' if scan.peek() == b'-' => return None,
            b'/' if scan.peek() == b'*' => return None,
            b',' | b'=' | b'<' | b'>' | b'+' | b'-' | b'*' | b'/' | b'%' | b'|' | b'~' | b'!' | b'[' | b']' => {
                Before::Other
            }
            b';' if depth == 0 && scan.rest.iter().all(|b| b.is_ascii_whitespace()) => break,
            _ => return None,
        };
        // Parameters, strings and symbols before the first word.
        kind?;
    }
    kind
}

fn is_defined(before: Before) -> bool {
    matches!(before, Before::Definition | Before::Dot { defined: true })
}

/// Whether a name may mean something protected, or a function that runs SQL.
fn is_named(name: &str, snapshot: &Snapshot) -> bool {
    snapshot.sensitive_names.contains(name)
        || snapshot.sensitive_functions.contains(name)
        || words::is_notable(name) && (is_sensitive(name, snapshot) || words::runs_sql(name))
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn peek(&self) -> u8 {
        self.rest.first().copied().unwrap_or(0)
    }

    /// Whether the next token is an opening parenthesis.
    fn opens(&self) -> bool {
        let next = self.rest.iter().find(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
        next == Some(&b'(')
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Digits. Those with letters in them are read differently by PostgreSQL's versions.
    fn digits(&mut self) -> Option<()> {
        let count = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        self.skip(count);
        (!continues_word(self.peek())).then_some(())
    }

    /// The rest of a number, perhaps with a fraction.
    fn number(&mut self) -> Option<()> {
        self.digits()?;
        if let [b'.', digit, ..] = self.rest
            && digit.is_ascii_digit()
        {
            self.skip(1);
            self.digits()?;
        }
        Some(())
    }

    /// The number of a parameter, as many digits as a parameter can have.
    fn parameter(&mut self) -> Option<()> {
        let before = self.rest.len();
        (self.peek() != b'0').then_some(())?;
        self.digits()?;
        (1..=5).contains(&(before - self.rest.len())).then_some(())
    }

    /// The rest of a string without escapes. What stands in it is data; a doubled quote begins the next one.
    fn string(&mut self, utf8: bool) -> Option<()> {
        let end = self
            .rest
            .iter()
            .position(|b| matches!(b, b'\'' | b'\\' | 0) || !utf8 && !b.is_ascii())?;
        (self.rest.get(end) == Some(&b'\'')).then_some(())?;
        self.skip(end + 1);
        Some(())
    }

    /// The rest of an unquoted word, as the server folds and cuts it. One of `E'…'`, `B'…'` and their kind is none, nor is one that isn't ASCII.
    fn word<'b>(&mut self, first: u8, buffer: &'b mut [u8; MAX_IDENTIFIER]) -> Option<&'b str> {
        let count = self.rest.iter().take_while(|b| continues_word(**b)).count();
        let (rest, behind) = self.rest.split_at_checked(count)?;
        if !first.is_ascii() || !rest.is_ascii() || matches!(behind, [b'\'' | b'"', ..]) {
            return None;
        }
        self.rest = behind;
        fold(std::iter::once(&first).chain(rest), buffer)
    }

    /// The rest of a quoted name, in lower case: names are looked for without regard to case. One with a quote, a blank or the like in it is none.
    fn quoted<'b>(&mut self, buffer: &'b mut [u8; MAX_IDENTIFIER]) -> Option<&'b str> {
        let count = self.rest.iter().take_while(|b| continues_word(**b)).count();
        let (name, behind) = self.rest.split_at_checked(count)?;
        let [b'"', behind @ ..] = behind else { return None };
        if name.is_empty() || !name.is_ascii() || matches!(behind, [b'"', ..]) {
            return None;
        }
        self.rest = behind;
        fold(name, buffer)
    }
}

/// A name in lower case, cut as the server cuts it.
fn fold<'a, 'b>(name: impl IntoIterator<Item = &'a u8>, buffer: &'b mut [u8; MAX_IDENTIFIER]) -> Option<&'b str> {
    let mut length = 0;
    for (to, from) in buffer.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
        length += 1;
    }
    std::str::from_utf8(buffer.get(..length)?).ok()
}
