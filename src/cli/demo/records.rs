//! The access records that the demo itself has left, and the proof that they are whole.

use super::stage::{Fault, Stage};
use std::path::Path;

/// Lines of a listing that are shown.
const SHOWN: usize = 14;

/// What must be in the records of what was done before.
#[derive(Debug, Default)]
pub struct Summary {
    /// All of them.
    pub all: usize,
    /// In clear, masked, refused.
    pub decisions: [usize; 3],
    /// The end of the listing, drawn.
    pub listing: String,
}

/// Reads the records of this demo and checks that everyone who did something is in there.
pub fn read(stage: &Stage) -> Result<Summary, Fault> {
    let mut summary = Summary::default();
    let mut handlers = std::collections::BTreeSet::new();
    for line in stage.pgward_ok(&["audit", "show", "--format", "json"])?.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        let field = |name: &str| record.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        let decision = ["allowed", "masked", "refused"]
            .iter()
            .position(|d| *d == field("decision"));
        if let Some(count) = decision.and_then(|d| summary.decisions.get_mut(d)) {
            *count += 1;
        }
        handlers.insert((field("handler"), field("decision")));
        summary.all += 1;
    }
    for (handler, decision) in [
        ("shop", "allowed"),
        ("support", "masked"),
        ("marketing", "masked"),
        ("analyst", "refused"),
        ("shop", "refused"),
    ] {
        if !handlers.contains(&(handler.to_owned(), decision.to_owned())) {
            return Err(format!("no access record says {decision} of {handler}").into());
        }
    }
    let table = stage.pgward_ok(&["audit", "show"])?;
    let lines: Vec<&str> = table.lines().collect();
    let (head, tail) = lines.split_at(lines.len().min(3));
    let tail = tail.get(tail.len().saturating_sub(SHOWN)..).unwrap_or_default();
    summary.listing = head.iter().chain(tail).map(|line| format!("   {line}\n")).collect();
    Ok(summary)
}

/// `pgward audit verify`: what it says when all is well.
pub fn verify(stage: &Stage) -> Result<String, Fault> {
    stage.pgward_ok(&["audit", "verify"])
}

/// Changes a name in a copy of the journal: `audit verify` must find it. What it says.
pub fn tamper(stage: &Stage) -> Result<String, Fault> {
    let copy = stage.path("journal-copy");
    copy_directory(&stage.journal(), &copy)?;
    let changed = whitewash(&copy)?;
    if !changed {
        return Err("no record of the analyst's refused attempt in the journal's files".into());
    }
    let config = stage.write_policy("tampered.toml", &copy)?;
    let out = stage.pgward(&["audit", "verify"], &config)?;
    if out.status.success() {
        return Err("a changed journal passed for whole".into());
    }
    let said = [out.stdout, out.stderr].concat();
    Ok(String::from_utf8_lossy(&said).trim_end().to_owned())
}

/// Puts another handler's name (of the same length) where the analyst's stands.
fn whitewash(directory: &Path) -> Result<bool, Fault> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            if whitewash(&path)? {
                return Ok(true);
            }
            continue;
        }
        let mut bytes = std::fs::read(&path)?;
        let name = br#""handler":"analyst""#;
        if let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
            if let Some(place) = bytes.get_mut(at..at + name.len()) {
                place.copy_from_slice(br#""handler":"nobody_""#);
            }
            std::fs::write(&path, bytes)?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn copy_directory(from: &Path, to: &Path) -> Result<(), Fault> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
