//! The inputs in `fuzz/corpus/`, given to what the fuzz targets do with them: what the fuzzer once found or reached stays checked without it.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

fn replay(target: &str) {
    let (_, run) = targets::TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let (mut count, mut failed) = (0, Vec::new());
    for entry in std::fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())) {
        let path = entry.expect("an entry").path();
        let input = std::fs::read(&path).expect("an input");
        if std::panic::catch_unwind(|| run(&input)).is_err() {
            failed.push(path);
        }
        count += 1;
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(count > 0, "no inputs in {}", directory.display());
}

/// Inputs for who looks for their fault: `PGWARD_INPUTS="…" cargo test --test corpus given_inputs -- --ignored`, targets' names in their paths.
#[test]
#[ignore = "needs inputs"]
fn given_inputs() {
    let paths = std::env::var("PGWARD_INPUTS").expect("PGWARD_INPUTS");
    let mut failed = Vec::new();
    for path in paths.split_ascii_whitespace() {
        let input = std::fs::read(path).expect("an input");
        for (_, run) in targets::TARGETS.iter().filter(|(name, _)| path.contains(name)) {
            if std::panic::catch_unwind(|| run(&input)).is_err() {
                failed.push(path);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn envelope() {
    replay("envelope");
}

#[test]
fn frames() {
    replay("frames");
}

#[test]
fn journal() {
    replay("journal");
}

#[test]
fn messages() {
    replay("messages");
}

#[test]
fn plan() {
    replay("plan");
}

#[test]
fn policy() {
    replay("policy");
}

#[test]
fn session_bytes() {
    replay("session_bytes");
}

#[test]
fn session_mutated() {
    replay("session_mutated");
}

#[test]
fn startup() {
    replay("startup");
}

#[test]
fn value() {
    replay("value");
}
