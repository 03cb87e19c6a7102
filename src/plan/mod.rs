//! SQL text + catalog snapshot → what each statement reads, searches and writes, and how its text, parameters and
//! result columns change; or a [`Refusal`].
//!
//! Pure: no I/O, no keys, no rights, nothing of the wire. A [`Script`] holds **no literal**: only byte spans of the source, so it may be
//! cached while the text it was made from is wiped. Fail closed: what is not understood and may touch a protected
//! relation is a refusal; what can't touch one is forwarded untouched.

pub mod access;
mod ddl;
pub mod introspect;
mod lexer;
pub mod overlay;
pub mod refusal;
pub mod schema;
pub mod script;
pub mod source;

pub use access::{Access, Use};
pub use refusal::{Reason, Refusal};
pub use schema::{
    ColumnId, ColumnName, ColumnRef, Declaration, KeyDomain, Mode, NameScope, ProtectedColumn, RelationName, Snapshot,
};
pub use script::*;

/// What a plan depends on besides the text: the catalog snapshot, how names resolve in this session, what Parse declared.
#[derive(Clone, Copy)]
pub struct PlanInput<'a> {
    /// The statement text, UTF-8.
    pub sql: &'a str,
    /// The catalog as this session sees it.
    pub snapshot: &'a Snapshot,
    /// The effective search path.
    pub scope: &'a NameScope,
    /// Type OIDs that Parse declared (may be fewer than the parameters; 0: unspecified). Empty for the simple protocol.
    pub parameter_oids: &'a [u32],
    /// `standard_conforming_strings`
    pub standard_conforming_strings: bool,
    /// True for Parse (one statement, parameters), false for Query (any number of statements).
    pub extended: bool,
}

/// Plans every statement of `input.sql`. Total: never panics, whatever the text; runs in bounded stack and time.
pub fn plan(_input: PlanInput<'_>) -> Script {
    todo!()
}

/// shim
pub fn may_touch(_sql: &str, _snapshot: &Snapshot) -> bool {
    todo!()
}
/// shim
pub fn read_literal(_source: &str, _literal: &Literal) -> Option<zeroize::Zeroizing<String>> {
    todo!()
}
