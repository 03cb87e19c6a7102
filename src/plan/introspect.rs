//! How the catalog is read: the SQL, and the pure function from its rows to a [`Snapshot`]. The rows come from pgward's own connection
//! (module `catalog`) or, inside a transaction with DDL, from the session's own connection.

use super::schema::{Declaration, NameScope, RelationName, Snapshot};
use std::sync::Arc;

/// One statement, no parameters. Its result: any number of rows of [`CATALOG_COLUMNS`] text columns.
pub const CATALOG_QUERY: &str = "";
/// See [`CATALOG_QUERY`].
pub const CATALOG_COLUMNS: usize = 0;
/// One statement, no parameters, one row: what [`ScopeProbe::parse`] reads.
pub const SCOPE_QUERY: &str = "";

/// What the policy declares for one database, with the ids that the control database assigned.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    /// Columns.
    pub columns: Vec<Arc<Declaration>>,
    /// Subject column by table.
    pub subjects: Vec<(RelationName, Arc<str>)>,
}

/// Builds a snapshot from rows.
pub struct SnapshotBuilder {}

impl SnapshotBuilder {
    /// For these declarations.
    pub fn new(_declarations: Arc<Declarations>) -> Self {
        todo!()
    }
    /// Takes a row of [`CATALOG_QUERY`], values in text format. An error is a row that doesn't fit: says what, holds no data.
    pub fn row(&mut self, _row: &[Option<&[u8]>]) -> Result<(), String> {
        todo!()
    }
    /// The snapshot, with a new version number.
    pub fn finish(self) -> Snapshot {
        todo!()
    }
}

/// What a session's own connection says of names and text forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeProbe {
    /// How names resolve.
    pub scope: NameScope,
    /// `bytea_output = hex`
    pub bytea_hex: bool,
    /// `extra_float_digits`
    pub extra_float_digits: i32,
    /// A cheap fingerprint of user DDL visible to this session (e.g. over pg_class/pg_attribute of temporary tables, plus whether temporary tables exist).
    pub temp_relations: bool,
}

impl ScopeProbe {
    /// Reads the row of [`SCOPE_QUERY`].
    pub fn parse(_row: &[Option<&[u8]>]) -> Result<Self, String> {
        todo!()
    }
}
