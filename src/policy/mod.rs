//! May this handler do that, for this purpose, now? → [`Permit`]s or [`Denied`].
//!
//! Pure: the clock and the peer's address are inputs. Deny is the default for protected columns. A [`Permit`] can only be made here; the cipher
//! and the session ask for it wherever a value is opened, sealed or turned into an index term, so a forgotten check doesn't compile.

pub mod file;

use crate::plan::{Access, ColumnId, Declaration, Use};
use crate::value::Mask;
use std::net::IpAddr;
use std::sync::Arc;

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
    // helper C1 fills this in
    file: file::File,
}

/// A handler as the policy knows him, resolved once at log-in and again after a reload. Look-ups by [`ColumnId`] allocate nothing.
#[derive(Clone, Debug)]
pub struct HandlerProfile {
    /// Handler name in the policy; the login role's name for an undeclared handler (who has no rights on protected columns).
    pub handler: Arc<str>,
    /// staff, contractor, service, admin; `unknown` for an undeclared one.
    pub kind: Arc<str>,
    /// The login role.
    pub login_role: Arc<str>,
    /// The purpose that the session works for.
    pub purpose: Option<Arc<str>>,
}

impl Policy {
    /// Reads and validates a policy file's text. The error names line, key and remedy, and holds no secret.
    pub fn parse(_text: &str) -> Result<Self, file::PolicyError> {
        todo!()
    }
    /// The file it was made from: listeners, upstream, keys, journal.
    pub fn file(&self) -> &file::File {
        &self.file
    }
    /// Its version, for every access record.
    pub fn version(&self) -> &Arc<str> {
        todo!()
    }
    /// Columns declared protected in `database`, without ids (which the control database assigns): (name, mode, key domain, category) …
    pub fn declared(&self, _database: &str) -> Vec<file::DeclaredColumn> {
        todo!()
    }
    /// The handler who logged in with this role at this database. `purpose` overrides his default where he has that purpose too.
    pub fn handler(&self, _database: &str, _login_role: &str, _purpose: Option<&str>) -> HandlerProfile {
        todo!()
    }
    /// Decides on all accesses of a statement: all permits, in the order asked, or the first denial.
    pub fn decide(
        &self,
        _who: &HandlerProfile,
        _circumstances: &Circumstances,
        _accesses: &[Access],
    ) -> Result<Vec<Permit>, Denied> {
        todo!()
    }
    /// What the handler may do with a declared column, for `pgward check` and the golden matrix.
    pub fn rights(&self, _who: &HandlerProfile, _column: &Declaration) -> file::Rights {
        todo!()
    }
}
