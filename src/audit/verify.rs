//! Is the journal whole? Streams every segment, checks every link, and names the first record that is not as it was written.
//!
//! A chain of hashes proves order and content up to its head. It can't show that lines were cut from its end, or that all of it was
//! written anew by someone with write access: for that the head must have been noted elsewhere (`expect`); docs/RECORDS.md says so plainly.

use super::JournalError;
use super::entry::{Chain, Hash, Link};
use super::segment::{self, Line, Lines, Segment};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use uuid::Uuid;

/// The last record of a log, as noted by someone who wants to compare later; `index:hash` in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Index of the record.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.index, self.hash)
    }
}

impl FromStr for Head {
    type Err = JournalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once(':')
            .and_then(|(index, hash)| {
                Some(Self {
                    index: index.parse().ok()?,
                    hash: hash.parse().ok()?,
                })
            })
            .ok_or_else(|| JournalError::new("a head is written index:hash, as `pgward audit verify` prints it"))
    }
}

/// What a whole journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The log's id.
    pub log: Uuid,
    /// Records.
    pub records: u64,
    /// Segments.
    pub segments: usize,
    /// Bytes of whole lines.
    pub bytes: u64,
    /// The last record; `None` in a journal without any.
    pub head: Option<Head>,
    /// Bytes of an unfinished line at the very end: a write under way, or cut short by a crash. Never acknowledged.
    pub unfinished: u64,
}

/// What is wrong with the first bad record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its bytes do not give its hash.
    Altered,
    /// Records with these indexes (first, last) are gone.
    Missing(u64, u64),
    /// It does not belong here: the record that follows the last good one comes later.
    Inserted,
    /// It belongs elsewhere in the same log: another order.
    Reordered,
    /// It does not link to the record before it: one of the two was replaced, hash and all.
    Replaced,
    /// It is of another log.
    Foreign,
    /// A segment in the middle ends within a line, or holds nothing.
    Truncated,
    /// The segment's name is not that of its first record.
    Renamed,
    /// The log does not reach the head that was noted elsewhere.
    CutOff,
    /// The record at the noted head's index has another hash: the log was written anew.
    OtherHead,
    /// Nothing to verify.
    NoJournal,
    /// The disk could not be read.
    Unreadable,
}

/// A journal that is not whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}; {good} record{s} before it {are} whole", s = if *good == 1 { "" } else { "s" }, are = if *good == 1 { "is" } else { "are" })]
pub struct Broken {
    /// What is wrong.
    pub fault: Fault,
    /// File name of the segment; empty where it concerns none.
    pub segment: String,
    /// Line in it, from 1; 0 where it concerns none.
    pub line: u64,
    /// Index of the record that should stand there.
    pub index: u64,
    /// Good records before it.
    pub good: u64,
    /// All of that for people.
    pub text: String,
}

/// Where the whole lines of the last segment end, if not at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    pub segment: Segment,
    pub offset: u64,
    pub bytes: u64,
}

pub(super) struct Walked {
    pub chain: Option<Chain>,
    pub records: u64,
    pub bytes: u64,
    pub torn: Option<Torn>,
}

/// Verifies all of a journal. Works on a live one.
pub fn verify(directory: &Path) -> Result<Report, Broken> {
    verify_against(directory, None)
}

/// Verifies all of a journal, and that it still holds the record that was noted as its head earlier.
pub fn verify_against(directory: &Path, expect: Option<Head>) -> Result<Report, Broken> {
    let nowhere = |fault, text: String| Broken {
        fault,
        segment: String::new(),
        line: 0,
        index: 0,
        good: 0,
        text,
    };
    let segments = segment::segments(directory)
        .map_err(|e| nowhere(Fault::Unreadable, format!("{} can't be read: {e}", directory.display())))?;
    let mut at_noted = None;
    let walked = walk(directory, &segments, None, &mut |link| {
        if expect.is_some_and(|head| head.index == link.index) {
            at_noted = Some(link.hash);
        }
    })?;
    let Some(chain) = walked.chain else {
        return Err(nowhere(
            Fault::NoJournal,
            format!("{} holds no journal, or an empty one", directory.display()),
        ));
    };
    if let Some(expect) = expect {
        let broken = |fault, text| Broken {
            index: expect.index,
            good: walked.records,
            ..nowhere(fault, text)
        };
        match at_noted {
            None => {
                return Err(broken(
                    Fault::CutOff,
                    format!(
                        "the log ends at record {}, but had record {}: its end was cut off",
                        chain.next_index - 1,
                        expect.index
                    ),
                ));
            }
            Some(hash) if hash != expect.hash => {
                return Err(broken(
                    Fault::OtherHead,
                    format!(
                        "record {} has another hash than the one noted: the log was written anew",
                        expect.index
                    ),
                ));
            }
            Some(_) => {}
        }
    }
    Ok(Report {
        log: chain.log,
        records: walked.records,
        segments: segments.len(),
        bytes: walked.bytes,
        head: chain.next_index.checked_sub(1).map(|index| Head {
            index,
            hash: chain.head,
        }),
        unfinished: walked.torn.map_or(0, |torn| torn.bytes),
    })
}

/// Checks segments from their first line on. Without `start`, the first line must be the log's first record; with it, it must follow that.
pub(super) fn walk(
    directory: &Path,
    segments: &[Segment],
    start: Option<Chain>,
    on_entry: &mut dyn FnMut(&Link<'_>),
) -> Result<Walked, Broken> {
    let mut walked = Walked {
        chain: start,
        records: 0,
        bytes: 0,
        torn: None,
    };
    let mut line = Vec::new();
    for (position, segment) in segments.iter().enumerate() {
        let last = position + 1 == segments.len();
        let mut number = 0;
        let next_index = walked.chain.map_or(0, |chain| chain.next_index);
        let broken = |fault, number, index, good, what: String| {
            let text = format!("{}, line {number} (record {index}): {what}", segment.name);
            Broken {
                fault,
                segment: segment.name.clone(),
                line: number,
                index,
                good,
                text,
            }
        };
        let unreadable =
            |e: std::io::Error, good| broken(Fault::Unreadable, 0, next_index, good, format!("can't be read: {e}"));
        let mut lines = Lines::open(&directory.join(&segment.name)).map_err(|e| unreadable(e, walked.records))?;
        loop {
            let before = lines.offset();
            let index = walked.chain.map_or(0, |chain| chain.next_index);
            let read = lines.next(&mut line).map_err(|e| unreadable(e, walked.records))?;
            number += 1;
            let broken = |fault, what: &str| broken(fault, number, index, walked.records, what.to_owned());
            match read {
                Line::End if number == 1 && !last => {
                    return Err(broken(Fault::Truncated, "the segment is empty, though others follow"));
                }
                Line::End => break,
                Line::Torn if last => {
                    let bytes = lines.offset() - before;
                    walked.torn = Some(Torn {
                        segment: segment.clone(),
                        offset: before,
                        bytes,
                    });
                    break;
                }
                Line::Torn => {
                    return Err(broken(
                        Fault::Truncated,
                        "the segment ends within a line, though others follow",
                    ));
                }
                Line::TooLong => return Err(broken(Fault::Altered, "the line is longer than any record")),
                Line::Whole => {}
            }
            let Some(link) = Link::parse(&line) else {
                return Err(broken(
                    Fault::Altered,
                    "the line is not a record in canonical form: it was altered",
                ));
            };
            if !link.is_sound() {
                return Err(broken(
                    Fault::Altered,
                    "the record's bytes do not give its hash: it was altered",
                ));
            }
            let expected = walked.chain.unwrap_or(Chain {
                log: link.log,
                next_index: 0,
                head: Hash::genesis(link.log),
            });
            if link.log != expected.log {
                return Err(broken(Fault::Foreign, "the record is of another log"));
            }
            if link.prev != expected.head || link.index != expected.next_index {
                let (at, number) = (position, number);
                let later = find_successor(directory, &segments[at..], number, expected);
                let (fault, what) = diagnose(&link, &expected, later);
                return Err(broken(fault, &what));
            }
            if number == 1 && segment.first_index != link.index {
                return Err(broken(
                    Fault::Renamed,
                    "the segment's name is not that of its first record",
                ));
            }
            on_entry(&link);
            walked.chain = Some(Chain {
                log: expected.log,
                next_index: expected.next_index + 1,
                head: link.hash,
            });
            walked.records += 1;
            walked.bytes = walked.bytes.saturating_add(lines.offset() - before);
        }
    }
    Ok(walked)
}

/// Names what a sound record in a wrong place means. `later`: the record that belongs here stands further on.
fn diagnose(link: &Link<'_>, expected: &Chain, later: bool) -> (Fault, String) {
    let (found, wanted) = (link.index, expected.next_index);
    match (later, found.cmp(&wanted)) {
        (true, std::cmp::Ordering::Greater) => (
            Fault::Reordered,
            format!("record {found} stands where record {wanted} belongs, which comes later: reordered"),
        ),
        (true, _) => (
            Fault::Inserted,
            format!("a record that says it is {found} was inserted before record {wanted}"),
        ),
        (false, std::cmp::Ordering::Greater) if found - wanted == 1 => (
            Fault::Missing(wanted, wanted),
            format!("record {wanted} is missing (record {found} follows)"),
        ),
        (false, std::cmp::Ordering::Greater) => (
            Fault::Missing(wanted, found - 1),
            format!("records {wanted} to {} are missing (record {found} follows)", found - 1),
        ),
        (false, std::cmp::Ordering::Less) => (Fault::Inserted, format!("a copy of record {found} was inserted")),
        (false, std::cmp::Ordering::Equal) => (
            Fault::Replaced,
            match wanted.checked_sub(1) {
                Some(before) => format!("it does not link to record {before}: one of the two was replaced"),
                None => "it does not link to the log's beginning: it was replaced".to_owned(),
            },
        ),
    }
}

/// Whether a record that follows `expected` stands after line `skip` of the first of these segments.
fn find_successor(directory: &Path, segments: &[Segment], skip: u64, expected: Chain) -> bool {
    let mut line = Vec::new();
    segments.iter().enumerate().any(|(position, segment)| {
        let Ok(mut lines) = Lines::open(&directory.join(&segment.name)) else {
            return false;
        };
        let mut number = 0;
        while let Ok(Line::Whole) = lines.next(&mut line) {
            number += 1;
            let Some(link) = Link::parse(&line) else { continue };
            let follows = link.prev == expected.head && link.index == expected.next_index && link.is_sound();
            if follows && (position > 0 || number > skip) {
                return true;
            }
        }
        false
    })
}
