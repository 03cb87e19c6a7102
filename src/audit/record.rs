//! What a record holds. Never a literal, a parameter value or a plaintext.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;

/// What was done. Maps to OCSF 6005 activity ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditAction {
    /// SELECT, RETURNING
    Read,
    /// UPDATE
    Write,
    /// INSERT
    Create,
    /// DELETE
    Delete,
    /// Only searched by.
    Search,
    /// COPY TO
    Export,
    /// DDL on protected relations.
    Ddl,
    /// A log-in.
    Connect,
    /// A right was granted, changed or withdrawn.
    Rights,
    /// A key was made, changed its state, or was destroyed.
    Key,
    /// Personal data was destroyed, archived, or a data subject's request was carried out.
    Lifecycle,
    /// Journal started, stopped, read, verified.
    Log,
}

/// What the policy said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditDecision {
    /// In clear.
    Allowed,
    /// At least one column only masked.
    Masked,
    /// Not carried out.
    Refused,
}

/// How a column was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Read in clear.
    Clear,
    /// Read masked.
    Masked,
    /// Searched by.
    Searched,
    /// Written.
    Written,
    /// Asked for reading by a statement that was refused: nothing of it was shown.
    Requested,
}

/// One protected column in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditObject {
    /// Schema
    pub schema: Arc<str>,
    /// Table
    pub table: Arc<str>,
    /// Column
    pub column: Arc<str>,
    /// Category
    pub category: Arc<str>,
    /// How it was used.
    pub how: How,
}

/// Who and from where: the part that is the same for every record of a session. Shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Handler, by name in the policy.
    pub handler: Arc<str>,
    /// staff, contractor, service, admin, unknown.
    pub handler_kind: Arc<str>,
    /// Log-in role.
    pub login_role: Arc<str>,
    /// How the server authenticated him: scram-sha-256, md5, password, trust, …
    pub auth_method: Arc<str>,
    /// Unique a session.
    pub session_id: uuid::Uuid,
    /// Client's address and port; `None` for a Unix socket.
    pub client: Option<SocketAddr>,
    /// SHA-256 of the client's certificate, hex.
    pub client_cert_fp: Option<Arc<str>>,
    /// application_name at start-up.
    pub application_name: Arc<str>,
    /// Database.
    pub database: Arc<str>,
    /// Purpose.
    pub purpose: Option<Arc<str>>,
}

/// An access record (RECORDS: fields). What the journal itself adds (index, previous hash, node, retention class, expiry) is not in here; its written form is
/// [`super::Entry`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessRecord {
    /// UUIDv7. Overflow records of one statement share it.
    pub event_id: uuid::Uuid,
    /// 0 for a statement's first record; further ones carry on where its rows did not fit in one.
    pub part: u32,
    /// Start, microseconds since the Unix epoch, UTC.
    pub ts_start: i64,
    /// End (of this part).
    pub ts_end: i64,
    /// Who.
    #[serde(flatten)]
    pub origin: Arc<Origin>,
    /// What.
    pub action: AuditAction,
    /// On what.
    pub objects: Vec<AuditObject>,
    /// Whose: keyed pseudonyms, hex, at most 1,000 a record.
    pub subjects: Vec<String>,
    /// How many subjects were seen in this part.
    pub subject_count: u64,
    /// The statement ranges over more than its rows name (aggregates).
    pub aggregate: bool,
    /// Rows released (read) in this part, or affected as the server's tag said; `None` for a write, whose record is durable before it runs.
    pub rows: Option<u64>,
    /// Bytes of protected values released in this part.
    pub bytes: u64,
    /// Decision.
    pub decision: AuditDecision,
    /// Grants used, or what denied.
    pub rule: Arc<str>,
    /// Policy version.
    pub policy_version: Arc<str>,
    /// SQLSTATE of a refusal; empty otherwise.
    pub sqlstate: String,
    /// Reason label of a refusal; empty otherwise. Stands as `refusal` in the journal: `reason` is kept for what a handler states.
    pub reason: String,
    /// Hash of the statement's text with literals removed, 16 hex digits.
    pub statement_fingerprint: String,
    /// The statement's text with literals removed.
    pub statement_text: Arc<str>,
}
