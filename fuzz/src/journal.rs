//! A line of the journal, as somebody may have changed it.
use pgward::audit::entry::Link;

/// One input.
pub fn run(line: &[u8]) {
    if let Some(link) = Link::parse(line) {
        assert!(link.body.len() <= line.len());
        link.is_sound();
    }
}
