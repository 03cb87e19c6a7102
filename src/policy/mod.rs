//! May this handler do that, for this purpose, now? → [`Permit`]s or [`Denied`].
//!
//! Pure: the clock and the peer's address are inputs. Deny is the default for protected columns. A [`Permit`] can only be made here; the cipher
//! and the session ask for it wherever a value is opened, sealed or turned into an index term, so a forgotten check doesn't compile.
//!
//! `file` is the file as written, `parse` reads it, `validate` resolves its names, `decide` answers. The only I/O is [`Policy::load`].

mod category;
mod decide;
pub mod file;
mod names;
mod parse;
mod validate;

#[cfg(test)]
mod tests;

pub use category::{WELL_KNOWN as WELL_KNOWN_CATEGORIES, default_mask};
pub use decide::HandlerProfile;

use crate::plan::{ColumnId, RelationName, Use};
use crate::value::Mask;
use file::{File, PolicyError};
use std::collections::BTreeSet;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Proof that the policy allows one use of one column to one handler. Not constructible outside this module.
#[derive(Clone, Debug)]
pub struct Permit {
    column: ColumnId,
    usage: Use,
    disclosure: Disclosure,
    rule: Arc<str>,
}

/// In what shape a value may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclosure {
    /// As it is.
    Clear,
    /// Through this mask.
    Masked(Mask),
}

impl Permit {
    /// The column it is for.
    pub fn column(&self) -> ColumnId {
        self.column
    }
    /// The use it is for.
    pub fn usage(&self) -> Use {
        self.usage
    }
    /// The shape in which values may be read.
    pub fn disclosure(&self) -> Disclosure {
        self.disclosure
    }
    /// The grant that allows it, for the record.
    pub fn rule(&self) -> &Arc<str> {
        &self.rule
    }
}

/// Dangerous: goes around the policy. For tests, benches and known-answer vectors only; the layering test forbids its use in `src`.
pub mod danger {
    use super::*;

    /// A permit that no policy issued.
    pub fn unchecked_permit(column: ColumnId, usage: Use, disclosure: Disclosure) -> Permit {
        Permit {
            column,
            usage,
            disclosure,
            rule: Arc::from("danger::unchecked_permit"),
        }
    }
}

/// Who asks, when and from where.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The client's address; `None` for a Unix socket.
    pub client_addr: Option<IpAddr>,
    /// Seconds since the Unix epoch, UTC.
    pub now: i64,
}

/// Why the policy says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Which access, by index into what was asked.
    pub access: usize,
    /// What is missing, for the client: names column and use, never a value.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The rule that denies (or `default-deny`), for the record.
    pub rule: Arc<str>,
    /// True when the handler could read it masked, but the statement computes with it.
    pub masked_only: bool,
}

/// A validated policy: immutable, shared, replaced whole on reload.
#[derive(Debug)]
pub struct Policy {
    file: File,
    version: Arc<str>,
    resolved: validate::Resolved,
    /// Unique within the process: tells profiles of this policy from those of an earlier one, also where both have the same version.
    generation: u64,
}

impl Policy {
    /// Reads and validates a policy file's text. The error names line, key and remedy of every fault found, and holds no secret.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        let (outline, mut faults) = parse::outline(text);
        if !faults.is_empty() && outline.version.is_none() && outline.listen.is_none() {
            // Not TOML, or not a policy: what follows from that would only hide it.
            return Err(PolicyError::from_faults(faults.into_found()));
        }
        let resolved = validate::validate(&outline, &mut faults);
        match outline.complete() {
            Some(file) if faults.is_empty() => Ok(Self {
                version: Arc::from(file.version.as_str()),
                file,
                resolved,
                generation: GENERATION.fetch_add(1, Ordering::Relaxed),
            }),
            _ => Err(PolicyError::from_faults(faults.into_found())),
        }
    }

    /// [`parse`](Self::parse)s the file at `path`. Refuses one that anybody may write, because who writes it decides who sees what.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let failed = |what: String| PolicyError {
            message: format!("{}: {what}", path.display()),
            faults: Vec::new(),
        };
        let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
        // Of the open file, so that it can't be exchanged between the look and the reading.
        let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
        if !metadata.is_file() {
            return Err(failed("is not a file".into()));
        }
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::mode(&metadata) & 0o002 != 0 {
            return Err(failed(
                "may be written by everybody; run chmod o-w on it, and see who changed it".into(),
            ));
        }
        let mut text = String::new();
        file.take(parse::MAX_FILE_BYTES as u64 + 1)
            .read_to_string(&mut text)
            .map_err(|error| failed(error.to_string()))?;
        if text.len() > parse::MAX_FILE_BYTES {
            return Err(failed(format!("is longer than {} bytes", parse::MAX_FILE_BYTES)));
        }
        Self::parse(&text).map_err(|error| PolicyError {
            message: format!("{}:\n{}", path.display(), error.message),
            faults: error.faults,
        })
    }

    /// The file it was made from: listeners, upstream, keys, journal.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its version, for every access record.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// Databases that have protected columns.
    pub fn databases(&self) -> impl Iterator<Item = &Arc<str>> {
        self.resolved.columns.keys()
    }

    /// Columns declared protected in `database`, without ids (which the control database assigns): (name, mode, key domain, category) …
    pub fn declared(&self, database: &str) -> Vec<file::DeclaredColumn> {
        self.columns(database)
            .iter()
            .map(|column| column.declared.clone())
            .collect()
    }

    /// Subject column of each table of `database` that declares one.
    pub fn subjects(&self, database: &str) -> &[(RelationName, Arc<str>)] {
        self.resolved.subjects.get(database).map_or(&[], Vec::as_slice)
    }

    /// The mask of a category: as declared, else the default of a well-known one.
    pub fn mask(&self, category: &str) -> Option<Mask> {
        let declared = self.file.categories.get(category).map(|category| category.mask);
        declared.or_else(|| default_mask(category))
    }

    /// The purposes that grants give a handler of the file, in alphabetical order: those that his sessions may work for.
    pub fn purposes_of<'a>(&'a self, handler: &'a file::Handler) -> BTreeSet<&'a str> {
        let his = |grant: &&'a file::Grant| handler.groups.contains(&grant.group);
        self.file
            .grants
            .iter()
            .filter(his)
            .map(|grant| grant.purpose.as_str())
            .collect()
    }

    fn columns(&self, database: &str) -> &[validate::Column] {
        self.resolved.columns.get(database).map_or(&[], Vec::as_slice)
    }
}
