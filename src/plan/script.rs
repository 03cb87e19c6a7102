//! The result of planning: value types without literals.

use super::access::Access;
use super::refusal::Refusal;
use super::schema::ColumnRef;
use crate::value::LogicalType;
use std::ops::Range;
use std::sync::Arc;

/// A whole Query text or Parse text, planned.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The statements in order; empty ones (only blanks and comments) are left out. Where the text could not be split, one statement that spans all.
    pub statements: Vec<Statement>,
}

/// One statement of a script.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its bytes in the source, without the separating semicolon.
    pub span: Range<usize>,
    /// Its kind, for metrics, records and what follows from it.
    pub kind: StatementKind,
    /// What to do with it.
    pub action: Action,
    /// What it may change of the state that the session keeps.
    pub effects: Effects,
}

/// The kind of a statement; a bounded label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatementKind {
    /// SELECT, VALUES, TABLE, WITH … SELECT
    Select,
    /// INSERT
    Insert,
    /// UPDATE
    Update,
    /// DELETE
    Delete,
    /// MERGE
    Merge,
    /// COPY
    Copy,
    /// CREATE, ALTER, DROP, COMMENT, GRANT, TRUNCATE, …
    Ddl,
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT, …
    Transaction,
    /// SET, RESET, SHOW, DISCARD, LISTEN, …
    Session,
    /// Everything else.
    Other,
}

/// What the session does with a statement.
#[derive(Clone, Debug)]
pub enum Action {
    /// Nothing protected in it: bytes go through as they came.
    Forward,
    /// Touches protected columns: rewrite, check, record.
    Protected(Arc<Plan>),
    /// Not carried out.
    Refuse(Arc<RefusedPlan>),
}

/// A refusal with what the access record says of it.
#[derive(Clone, Debug)]
pub struct RefusedPlan {
    /// The refusal.
    pub refusal: Refusal,
    /// The protected columns that the statement was found to touch, as far as known.
    pub accesses: Vec<Access>,
    /// Text with every literal and comment replaced; empty when it could not be tokenised.
    pub redacted: Arc<str>,
}

/// What a statement may change of the state that the session keeps. Conservative: when in doubt, true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The catalog: the snapshot must be looked at again before the next plan.
    pub catalog: bool,
    /// How names resolve (search_path, role, temporary tables) or how text values look: SET, RESET, DISCARD, set_config(), ROLLBACK, any call
    /// of a function that is not known to be harmless, DO, CALL.
    pub scope: bool,
    /// It reads what a cursor or portal holds that a value names: cursor_to_xml(). Not to be carried out while one holds protected columns, whose
    /// rows would come out without rights, opening or record. What FETCH names is in its text ([`super::named_statements`]).
    pub portal: bool,
}

/// How to carry out one protected statement.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Changes of the text, by ascending, disjoint spans **in the source of the whole script**.
    pub splices: Vec<Splice>,
    /// The parameters that the client sees, in order ($1 first).
    pub client_params: Vec<ClientParam>,
    /// The parameters that the server gets, in order ($1 first). Equal to the client's where nothing is protected.
    pub server_params: Vec<ServerParam>,
    /// What comes back, one entry a result column; `None`: it is not known (no result columns, or nothing to change and nothing protected in it).
    pub outputs: Option<Vec<Output>>,
    /// Every use of a protected column, deduplicated.
    pub accesses: Vec<Access>,
    /// Where the data subjects' keys are.
    pub subjects: Vec<SubjectSource>,
    /// Statements to run directly after this one in the same implicit transaction (DDL: expression indexes, type markers); their answers
    /// are pgward's own.
    pub companions: Vec<String>,
    /// Text with every literal and comment replaced, for the record.
    pub redacted: Arc<str>,
    /// Rows that an aggregate or a whole-table statement ranges over can't be named: the record states its scope instead of subjects.
    pub aggregate: bool,
}

/// A change of the client's own text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// Bytes of the source that are replaced; empty for an insertion.
    pub span: Range<usize>,
    /// What stands there instead.
    pub with: Replacement,
}

/// What replaces a span. Values are taken from the source when the statement is carried out, never kept in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// Fixed text.
    Text(String),
    /// The literal at `literal`, transformed, as `'\x…'::pg_catalog.bytea`.
    Literal {
        /// Where and how it is written.
        literal: Literal,
        /// What becomes of it.
        transform: Transform,
    },
    /// The array literal at `literal` (`'{a,b}'`), each element transformed, as a `bytea[]`.
    LiteralArray {
        /// Where and how it is written.
        literal: Literal,
        /// What becomes of each element (NULL stays NULL).
        transform: Transform,
    },
}

/// A literal in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// Its token's bytes, quotes included; for a signed number, the sign included.
    pub span: Range<usize>,
    /// How the token encodes its value.
    pub form: LiteralForm,
}

/// How a literal token encodes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiteralForm {
    /// `'…'` with `''` for a quote; backslashes are ordinary.
    Plain,
    /// `E'…'`, or `'…'` while standard_conforming_strings is off.
    Escaped,
    /// `U&'…'` without UESCAPE.
    Unicode,
    /// `$tag$…$tag$`
    Dollar,
    /// A number, as written.
    Number,
    /// `true` or `false`
    Boolean,
}

/// What becomes of a value on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Stored: an envelope of this column. Mode `none`: unchanged.
    Seal(ColumnRef),
    /// Compared: the equality tag (mode `eq`) or the deterministic envelope (mode `deterministic`) of this column.
    Term(ColumnRef),
}

impl Transform {
    /// The column.
    pub fn column(&self) -> &ColumnRef {
        match self {
            Transform::Seal(column) | Transform::Term(column) => column,
        }
    }
}

/// A parameter as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientParam {
    /// What ParameterDescription shows where pgward decides it (the logical type, what plain PostgreSQL would have inferred; the array
    /// type for `= ANY($1)`); `None`: the type of the server parameter that carries it unchanged.
    pub type_oid: Option<u32>,
}

/// A parameter as the server gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerParam {
    /// Index (0-based) of the client's parameter that it is made from.
    pub from: usize,
    /// Type OID for Parse: `bytea` (17) or `bytea[]` (1001) where transformed; else what the client declared (0: unspecified).
    pub type_oid: u32,
    /// What becomes of the value.
    pub carry: Carry,
}

/// How a parameter's value is carried to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carry {
    /// As it came.
    Unchanged,
    /// Read as `read_as`, transformed, sent as binary `bytea`.
    Value {
        /// The type that the client's bytes are in.
        read_as: LogicalType,
        /// What becomes of it.
        transform: Transform,
    },
    /// An array (`= ANY($1)`), read as an array of `read_as`, sent as binary `bytea[]`.
    Array {
        /// The elements' type.
        read_as: LogicalType,
        /// What becomes of each element; NULL stays NULL.
        transform: Transform,
    },
}

/// One result column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing protected: passes unchanged. The RowDescription must not name a protected column here.
    Clear,
    /// A value of this column, as stored (an envelope; in clear for mode `none`), to be opened and shown per right.
    Column {
        /// The column.
        column: ColumnRef,
        /// True when the server's RowDescription must name this table and column (a plain column reference); false when the value comes
        /// through an expression of pgward's own or a subquery, union, CTE, where PostgreSQL may give no table.
        direct: bool,
        /// True where the server's RowDescription names no column only because pgward asks for any value of a group: the client is shown this column's
        /// table and number, as by PostgreSQL.
        grouped: bool,
        /// Hidden: added by the planner, to be taken out of the answer.
        hidden: bool,
    },
}

/// Where a data subject's key is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectSource {
    /// In this result column (0-based), in the format it comes in. `table` is for the pseudonym's name space.
    Output {
        /// Result column.
        index: usize,
        /// Which table's subject key it is.
        table: super::schema::RelationName,
    },
    /// In this client parameter.
    Param {
        /// Client parameter, 0-based.
        index: usize,
        /// Which table's subject key it is.
        table: super::schema::RelationName,
    },
    /// In this literal.
    Literal {
        /// Where it stands.
        literal: Literal,
        /// Which table's subject key it is.
        table: super::schema::RelationName,
    },
}
