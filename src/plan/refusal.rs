//! Why a statement is not carried out. The text reaches the client: it never holds a literal or a value.

use super::schema::ColumnName;
use crate::wire::sqlstate::SqlState;

/// The kind of a refusal: a bounded label for metrics and records, and the anchor in docs/ERRORS.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The text can't be parsed and may touch a protected relation.
    Unparsable,
    /// A function, cast, operator or arithmetic over a sealed column.
    Expression,
    /// LIKE, regular expression or full-text search on a sealed column.
    TextSearch,
    /// `<`, `>`, BETWEEN, min, max on a sealed column.
    Range,
    /// ORDER BY (or a window's order) on a sealed column.
    Ordering,
    /// Equality on a column of mode `sealed`.
    EqualityNotEnabled,
    /// Two columns of different key domains compared, joined, united or copied.
    KeyDomain,
    /// A kind of statement that pgward does not carry out on protected relations.
    StatementKind,
    /// DDL that can't be carried out with sealed storage.
    Ddl,
    /// A parameter's declared type does not fit the column.
    ParameterType,
    /// The value does not fit the column's logical type.
    Value,
    /// The policy grants no such use.
    Denied,
    /// The handler may see the column only masked, and the statement uses it in a way that can't be masked.
    MaskedExpression,
    /// Size or depth cap.
    Limit,
    /// The journal can't be written.
    Journal,
    /// An envelope did not open, or sources of lineage disagree.
    Integrity,
    /// Something the protocol allows and pgward refuses on purpose (function call, replication, an encoding).
    Protocol,
    /// The catalog changed under a prepared statement or is not known at this point.
    Catalog,
}

impl Reason {
    /// Every reason, for metrics.
    pub const ALL: [Reason; 18] = [
        Reason::Unparsable,
        Reason::Expression,
        Reason::TextSearch,
        Reason::Range,
        Reason::Ordering,
        Reason::EqualityNotEnabled,
        Reason::KeyDomain,
        Reason::StatementKind,
        Reason::Ddl,
        Reason::ParameterType,
        Reason::Value,
        Reason::Denied,
        Reason::MaskedExpression,
        Reason::Limit,
        Reason::Journal,
        Reason::Integrity,
        Reason::Protocol,
        Reason::Catalog,
    ];

    /// The anchor in docs/ERRORS.md and the metric label.
    pub fn anchor(self) -> &'static str {
        match self {
            Reason::Unparsable => "unparsable",
            Reason::Expression => "expression",
            Reason::TextSearch => "text-search",
            Reason::Range => "range",
            Reason::Ordering => "ordering",
            Reason::EqualityNotEnabled => "equality-not-enabled",
            Reason::KeyDomain => "key-domain",
            Reason::StatementKind => "statement-kind",
            Reason::Ddl => "ddl",
            Reason::ParameterType => "parameter-type",
            Reason::Value => "value",
            Reason::Denied => "denied",
            Reason::MaskedExpression => "masked-expression",
            Reason::Limit => "limit",
            Reason::Journal => "journal",
            Reason::Integrity => "integrity",
            Reason::Protocol => "protocol",
            Reason::Catalog => "catalog",
        }
    }
}

/// A statement that is not carried out: what happened, to which column, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// SQLSTATE for the client.
    pub sqlstate: SqlState,
    /// Kind.
    pub reason: Reason,
    /// The column, where there is one.
    pub column: Option<ColumnName>,
    /// What happened (the ErrorResponse's message).
    pub message: String,
    /// What to do (the ErrorResponse's hint). Without the pointer to docs/ERRORS.md, which is added when it is sent.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal with SQLSTATE 0A000.
    pub fn unsupported(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            sqlstate: SqlState::FEATURE_NOT_SUPPORTED,
            reason,
            column: None,
            message: message.into(),
            hint: None,
        }
    }
    /// Names the column.
    #[must_use]
    pub fn column(mut self, column: &ColumnName) -> Self {
        self.column = Some(column.clone());
        self
    }
    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Another SQLSTATE.
    #[must_use]
    pub fn sqlstate(mut self, sqlstate: SqlState) -> Self {
        self.sqlstate = sqlstate;
        self
    }
}
