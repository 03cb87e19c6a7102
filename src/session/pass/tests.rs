//! The fast path against the slow one: over whatever happens to a session, both put out the same.

use proptest::prelude::*;
use std::cell::Cell;

#[allow(dead_code)] // of what the fuzz targets need, a part
#[path = "../../../fuzz/src/session/mod.rs"]
mod session;
#[allow(dead_code)]
#[path = "../../../fuzz/src/session_bytes.rs"]
mod session_bytes;
#[allow(dead_code)]
#[path = "../../../fuzz/src/session_mutated.rs"]
mod session_mutated;

use session::driver::{Driver, check_same};

thread_local! {
    /// Everything takes the slow path.
    pub(super) static SLOW: Cell<bool> = const { Cell::new(false) };
}

/// Plays an input with the fast path open, and what happened in it again on the slow one.
macro_rules! compare {
    ($target:ident, $input:expr) => {{
        let (setting, events, fast, _) = $target::play($input);
        SLOW.set(true);
        let mut slow = Driver::new(setting);
        events.iter().for_each(|event| slow.step(event, &[]));
        slow.finish();
        SLOW.set(false);
        check_same(&fast, &slow, "the fast path changes");
    }};
}

fn kept(target: &str) -> Vec<Vec<u8>> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(directory).expect("the inputs that are kept");
    entries
        .map(|entry| std::fs::read(entry.expect("an entry").path()).expect("an input"))
        .collect()
}

#[test]
fn the_fast_path_changes_nothing_between_peers_that_know_the_protocol() {
    kept("session_mutated")
        .iter()
        .for_each(|input| compare!(session_mutated, input));
}

#[test]
fn the_fast_path_changes_nothing_between_peers_that_send_anything() {
    kept("session_bytes")
        .iter()
        .for_each(|input| compare!(session_bytes, input));
}

proptest! {
    #[test]
    fn the_fast_path_changes_nothing(input in proptest::collection::vec(any::<u8>(), 0..400)) {
        compare!(session_mutated, &input);
        compare!(session_bytes, &input);
    }
}
