//! What a journal's directory holds when it is opened, and what of that may be built on.

use super::{JournalError, JournalOptions, at};
use crate::audit::entry::{Chain, Link};
use crate::audit::segment::{self, Directory, Line, Lines, Segment};
use crate::audit::verify::walk;

/// Where the log goes on.
pub(super) struct Found {
    /// What the next entry links to.
    pub chain: Chain,
    /// What is worth a record: that the log is new, that something was cut off.
    pub notes: Vec<String>,
}

/// Verifies the newest segments and cuts off an unfinished last line. Everything else that is not whole stops the start-up: someone has to look.
pub(super) fn examine(directory: &Directory, options: &JournalOptions) -> Result<Found, JournalError> {
    let path = &options.directory;
    let fail = |what: String| JournalError::new(format!("{}: {what}", at(path)));
    let segments = segment::segments(path).map_err(|e| fail(format!("can't be listed: {e}")))?;
    let from = newest(&segments, options.verify_bytes);
    let start = match from {
        0 => None,
        _ => start_of(options, &segments[from])?,
    };
    let walked = walk(path, &segments[from..], start, &mut |_| {}).map_err(|broken| {
        fail(format!(
            "it is not whole, so nothing is appended to it: {broken}. Run `pgward audit verify`; keep the directory as evidence and let pgward \
             begin a new one, or restore it"
        ))
    })?;
    let mut notes = Vec::new();
    if let Some(torn) = walked.torn {
        let cut = |e| {
            fail(format!(
                "can't cut off the unfinished line of {}: {e}",
                torn.segment.name
            ))
        };
        let kept = directory.keep_aside(&torn.segment, torn.offset).map_err(cut)?;
        directory
            .open_segment(&torn.segment.name)
            .and_then(|mut file| file.truncate(torn.offset))
            .map_err(cut)?;
        notes.push(format!(
            "an unfinished line of {} bytes at the end of {} was cut off (kept in {kept}): the last stop was a crash",
            torn.bytes, torn.segment.name
        ));
    }
    let chain = match walked.chain {
        Some(chain) => chain,
        None => {
            notes.push("a new log".to_owned());
            Chain::new()
        }
    };
    Ok(Found { chain, notes })
}

/// The first of the newest segments that together have at most `bytes`, and at least one of them that holds something.
fn newest(segments: &[Segment], bytes: u64) -> usize {
    let mut sum = 0_u64;
    for (position, segment) in segments.iter().enumerate().rev() {
        let enough = sum > 0;
        sum = sum.saturating_add(segment.len);
        if enough && sum > bytes {
            return position + 1;
        }
    }
    0
}

/// What the first line of a segment says that it follows. Older segments are taken at their word here; `pgward audit verify` reads them all.
fn start_of(options: &JournalOptions, segment: &Segment) -> Result<Option<Chain>, JournalError> {
    let fail = |what: String| JournalError::new(format!("{}: {}: {what}", at(&options.directory), segment.name));
    let mut line = Vec::new();
    let read = Lines::open(&options.directory.join(&segment.name))
        .and_then(|mut lines| lines.next(&mut line))
        .map_err(|e| fail(format!("can't be read: {e}")))?;
    match Link::parse(&line).filter(|_| read == Line::Whole) {
        Some(link) => Ok(Some(Chain {
            log: link.log,
            next_index: link.index,
            head: link.prev,
        })),
        None => Err(fail("its first line is not a record".into())),
    }
}
