//! The framer: whatever the bytes and however they arrive in pieces, frames are the same, and none is longer than it says.
use pgward::wire::frame::{Scan, scan};

fn frames(mut input: &[u8]) -> Vec<(u8, usize)> {
    let mut found = Vec::new();
    while let Ok(Scan::Frame { tag, size }) = scan(input) {
        found.push((tag, size));
        let Some(rest) = input.get(size..) else { break };
        input = rest;
    }
    found
}

/// One input.
pub fn run(data: &[u8]) {
    let (first, rest) = data
        .split_first()
        .map_or((0, data), |(first, rest)| (usize::from(*first), rest));
    let whole = frames(rest);
    // A prefix never shows other frames than the whole.
    let prefix = frames(rest.get(..first).unwrap_or(rest));
    assert!(whole.starts_with(&prefix));
    assert!(whole.iter().all(|(_, size)| *size >= 5));
}
