//! One line of the journal: an access record or an event of the journal's own, with its place in the log. Canonical: the same fields,
//! always all of them, in the same order, so that the bytes that are hashed are the bytes that are stored.
//!
//! ```text
//! {"index":7,"prev":"<64 hex>","log":"<uuid>", … ,"hash":"<64 hex>"}⏎
//! └────────────────── body ─────────────────────┘
//! hash = SHA-256("pgward journal v1 entry\n" ‖ prev, 32 bytes ‖ body)
//! prev of index 0 = SHA-256("pgward journal v1 genesis\n" ‖ log, 16 bytes)
//! ```
//! A leaf of the coming RFC 6962 tree is `body`; nothing in the line has to change for it.

use super::record::{AccessRecord, AuditAction, AuditDecision, AuditObject, Origin};
use super::retention::RetentionClass;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use uuid::Uuid;

/// Version of the line's layout; a reader refuses to interpret (not to verify) a newer one.
pub const SCHEMA_VERSION: u32 = 1;

/// Longest line, in bytes with its newline. A statement text has at most 1 MiB by default; the rest is small.
pub const MAX_LINE: usize = 16 << 20;

const ENTRY_DOMAIN: &[u8] = b"pgward journal v1 entry\n";
const GENESIS_DOMAIN: &[u8] = b"pgward journal v1 genesis\n";
const HASH_KEY: &[u8] = b",\"hash\":\"";
const LINE_END: &[u8] = b"\"}";

/// A SHA-256 hash; 64 lower-case hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = super::JournalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_hex(text.as_bytes())
            .ok_or_else(|| super::JournalError::new("a hash has 64 lower-case hexadecimal digits"))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl Hash {
    fn hex(&self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (byte, pair) in self.0.iter().zip(text.as_chunks_mut::<2>().0) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        text
    }

    /// Exactly 64 lower-case digits; one spelling per hash, so that a line can't be altered without changing it.
    fn from_hex(text: &[u8]) -> Option<Self> {
        let (pairs, []) = text.as_chunks::<2>() else {
            return None;
        };
        let mut hash = [0; 32];
        if pairs.len() != hash.len() {
            return None;
        }
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(hash))
    }

    /// What the first entry of a log links to.
    pub fn genesis(log: Uuid) -> Self {
        Self(
            Sha256::new()
                .chain_update(GENESIS_DOMAIN)
                .chain_update(log.as_bytes())
                .finalize()
                .into(),
        )
    }

    /// The hash of an entry.
    pub fn entry(prev: Hash, body: &[u8]) -> Self {
        Self(
            Sha256::new()
                .chain_update(ENTRY_DOMAIN)
                .chain_update(prev.0)
                .chain_update(body)
                .finalize()
                .into(),
        )
    }
}

/// What a line is about, before it has its place.
pub enum Item {
    /// An access record.
    Access(Box<AccessRecord>),
    /// Something else.
    Event(Event),
}

/// Something that happened to the journal, to rights, to keys: no statement.
#[derive(Clone, Debug)]
pub struct Event {
    /// What kind.
    pub action: AuditAction,
    /// When, microseconds since the Unix epoch.
    pub at: i64,
    /// Who caused it; pgward itself where `None`.
    pub origin: Option<Arc<Origin>>,
    /// Version of the policy in force; empty where none is.
    pub policy_version: Arc<str>,
    /// What happened, for people. Never a value.
    pub note: String,
}

/// What is the same for all entries that one journal writes.
pub struct Stamp {
    /// Name of the node.
    pub node: Arc<str>,
    /// Class of its records.
    pub retention_class: RetentionClass,
}

/// The end of a log: what the next entry links to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Random, unique for each log.
    pub log: Uuid,
    /// Index of the next entry.
    pub next_index: u64,
    /// Hash of the last entry, or the genesis.
    pub head: Hash,
}

/// The encoded line would be longer than [`MAX_LINE`].
#[derive(Debug)]
pub struct TooLong;

impl Chain {
    /// A new log with a random id.
    pub fn new() -> Self {
        let log = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        Self {
            log,
            next_index: 0,
            head: Hash::genesis(log),
        }
    }

    /// Appends the item's line to `out` and moves on; on error neither changes.
    pub fn push(&mut self, stamp: &Stamp, item: &Item, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let start = out.len();
        let body = match item {
            Item::Access(record) => Body::of_record(self, stamp, record),
            Item::Event(event) => Body::of_event(self, stamp, event),
        };
        // Serialising into memory types that have string keys can't fail; if it ever does, the record is refused rather than half written.
        if serde_json::to_writer(&mut *out, &body).is_err() || out.pop() != Some(b'}') {
            out.truncate(start);
            return Err(TooLong);
        }
        if out.len() - start + HASH_KEY.len() + 64 + LINE_END.len() + 1 > MAX_LINE {
            out.truncate(start);
            return Err(TooLong);
        }
        self.head = Hash::entry(self.head, &out[start..]);
        self.next_index += 1;
        out.extend_from_slice(HASH_KEY);
        out.extend_from_slice(&self.head.hex());
        out.extend_from_slice(LINE_END);
        out.push(b'\n');
        Ok(())
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

/// A line taken apart as far as the chain needs it. Borrowed; nothing is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// Its index.
    pub index: u64,
    /// What it links to.
    pub prev: Hash,
    /// The log it says it belongs to.
    pub log: Uuid,
    /// The bytes that are hashed.
    pub body: &'a [u8],
    /// The hash as stored.
    pub hash: Hash,
}

impl<'a> Link<'a> {
    /// Takes a line (without its newline) apart; `None` for anything but the canonical form.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_suffix(LINE_END)?;
        let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
        let hash = Hash::from_hex(hash)?;
        let body = rest.strip_suffix(HASH_KEY)?;
        let rest = body.strip_prefix(b"{\"index\":")?;
        let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at_checked(digits)?;
        if digits.len() > 1 && digits.starts_with(b"0") {
            return None;
        }
        let index = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let (prev, rest) = rest.strip_prefix(b",\"prev\":\"")?.split_at_checked(64)?;
        let (log, _) = rest.strip_prefix(b"\",\"log\":\"")?.split_at_checked(36)?;
        Some(Self {
            index,
            prev: Hash::from_hex(prev)?,
            log: Uuid::try_parse_ascii(log).ok()?,
            body,
            hash,
        })
    }

    /// Whether the stored hash is that of the body.
    pub fn is_sound(&self) -> bool {
        Hash::entry(self.prev, self.body) == self.hash
    }
}

/// Microseconds since the Unix epoch as RFC 3339 in UTC with six decimals.
struct Instant(i64);

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => serializer.collect_str(&format_args!("{at:.6}")),
            Err(_) => serializer.serialize_none(),
        }
    }
}

/// The body as written, field by field in this order. docs/RECORDS.md explains each.
#[derive(Serialize)]
struct Body<'a> {
    index: u64,
    prev: Hash,
    log: Uuid,
    schema_version: u32,
    node: &'a str,
    event_id: Uuid,
    part: u32,
    ts_start: Instant,
    ts_end: Instant,
    action: AuditAction,
    decision: AuditDecision,
    handler: &'a str,
    handler_kind: &'a str,
    login_role: &'a str,
    auth_method: &'a str,
    session_id: Option<Uuid>,
    client_addr: Option<std::net::IpAddr>,
    client_port: Option<u16>,
    client_cert_fp: Option<&'a str>,
    application_name: &'a str,
    database: &'a str,
    purpose: Option<&'a str>,
    objects: &'a [AuditObject],
    subjects: &'a [String],
    subject_count: u64,
    aggregate: bool,
    rows: Option<u64>,
    bytes: u64,
    rule: &'a str,
    policy_version: &'a str,
    sqlstate: &'a str,
    refusal: &'a str,
    statement_fingerprint: &'a str,
    statement_text: &'a str,
    note: Option<&'a str>,
    retention_class: &'static str,
    expires_at: Instant,
}

impl<'a> Body<'a> {
    fn of_record(chain: &Chain, stamp: &'a Stamp, record: &'a AccessRecord) -> Self {
        let origin = &*record.origin;
        Self {
            index: chain.next_index,
            prev: chain.head,
            log: chain.log,
            schema_version: SCHEMA_VERSION,
            node: &stamp.node,
            event_id: record.event_id,
            part: record.part,
            ts_start: Instant(record.ts_start),
            ts_end: Instant(record.ts_end),
            action: record.action,
            decision: record.decision,
            handler: &origin.handler,
            handler_kind: &origin.handler_kind,
            login_role: &origin.login_role,
            auth_method: &origin.auth_method,
            session_id: Some(origin.session_id),
            client_addr: origin.client.map(|client| client.ip()),
            client_port: origin.client.map(|client| client.port()),
            client_cert_fp: origin.client_cert_fp.as_deref(),
            application_name: &origin.application_name,
            database: &origin.database,
            purpose: origin.purpose.as_deref(),
            objects: &record.objects,
            subjects: &record.subjects,
            subject_count: record.subject_count,
            aggregate: record.aggregate,
            rows: record.rows,
            bytes: record.bytes,
            rule: &record.rule,
            policy_version: &record.policy_version,
            sqlstate: &record.sqlstate,
            refusal: &record.reason,
            statement_fingerprint: &record.statement_fingerprint,
            statement_text: &record.statement_text,
            note: None,
            retention_class: stamp.retention_class.as_str(),
            expires_at: Instant(stamp.retention_class.expires_at(record.ts_end)),
        }
    }

    fn of_event(chain: &Chain, stamp: &'a Stamp, event: &'a Event) -> Self {
        let origin = event.origin.as_deref();
        Self {
            index: chain.next_index,
            prev: chain.head,
            log: chain.log,
            schema_version: SCHEMA_VERSION,
            node: &stamp.node,
            event_id: Uuid::now_v7(),
            part: 0,
            ts_start: Instant(event.at),
            ts_end: Instant(event.at),
            action: event.action,
            decision: AuditDecision::Allowed,
            handler: origin.map_or("pgward", |origin| &origin.handler),
            handler_kind: origin.map_or("service", |origin| &origin.handler_kind),
            login_role: origin.map_or("", |origin| &origin.login_role),
            auth_method: origin.map_or("", |origin| &origin.auth_method),
            session_id: origin.map(|origin| origin.session_id),
            client_addr: origin.and_then(|origin| origin.client).map(|client| client.ip()),
            client_port: origin.and_then(|origin| origin.client).map(|client| client.port()),
            client_cert_fp: origin.and_then(|origin| origin.client_cert_fp.as_deref()),
            application_name: origin.map_or("", |origin| &origin.application_name),
            database: origin.map_or("", |origin| &origin.database),
            purpose: origin.and_then(|origin| origin.purpose.as_deref()),
            objects: &[],
            subjects: &[],
            subject_count: 0,
            aggregate: false,
            rows: None,
            bytes: 0,
            rule: "",
            policy_version: &event.policy_version,
            sqlstate: "",
            refusal: "",
            statement_fingerprint: "",
            statement_text: "",
            note: Some(&event.note),
            retention_class: stamp.retention_class.as_str(),
            expires_at: Instant(stamp.retention_class.expires_at(event.at)),
        }
    }
}

/// A line as read back, for showing and filtering. Fields as in docs/RECORDS.md; a newer schema's additions are ignored.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Entry {
    pub index: u64,
    pub log: Uuid,
    pub schema_version: u32,
    pub node: String,
    pub event_id: Uuid,
    pub part: u32,
    #[serde(deserialize_with = "timestamp")]
    pub ts_start: Option<jiff::Timestamp>,
    #[serde(deserialize_with = "timestamp")]
    pub ts_end: Option<jiff::Timestamp>,
    pub action: AuditAction,
    pub decision: AuditDecision,
    pub handler: String,
    pub handler_kind: String,
    pub login_role: String,
    pub auth_method: String,
    pub session_id: Option<Uuid>,
    pub client_addr: Option<std::net::IpAddr>,
    pub client_port: Option<u16>,
    pub client_cert_fp: Option<String>,
    pub application_name: String,
    pub database: String,
    pub purpose: Option<String>,
    pub objects: Vec<AuditObject>,
    pub subjects: Vec<String>,
    pub subject_count: u64,
    pub aggregate: bool,
    pub rows: Option<u64>,
    pub bytes: u64,
    pub rule: String,
    pub policy_version: String,
    pub sqlstate: String,
    pub refusal: String,
    pub statement_fingerprint: String,
    pub statement_text: String,
    pub note: Option<String>,
    pub retention_class: String,
    #[serde(deserialize_with = "timestamp")]
    pub expires_at: Option<jiff::Timestamp>,
    pub hash: String,
}

fn timestamp<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<jiff::Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}
