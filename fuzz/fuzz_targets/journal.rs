//! A line of the journal, as somebody may have changed it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pgward::audit::entry::Link;

fuzz_target!(|line: &[u8]| {
    if let Some(link) = Link::parse(line) {
        assert!(link.body.len() <= line.len());
        link.is_sound();
    }
});
