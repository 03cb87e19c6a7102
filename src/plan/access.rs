//! What a statement does with protected columns; what the policy decides on.

use super::schema::ProtectedColumn;
use std::sync::Arc;

/// A use of a protected column. Each is a right of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Its values reach the client.
    Read,
    /// It decides which rows are found, joined, grouped or ordered.
    Search,
    /// Its values are stored, changed, or removed (DELETE).
    Write,
}

/// One use of one protected column by one statement.
#[derive(Clone, Debug)]
pub struct Access {
    /// The column.
    pub column: Arc<ProtectedColumn>,
    /// What is done with it.
    pub usage: Use,
    /// True when the value goes into an expression on the server (mode `none` only), or out by a way that can't be masked: a masked
    /// reader must then be refused. False for a plain result column.
    pub derived: bool,
}
