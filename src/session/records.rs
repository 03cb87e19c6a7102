//! From a plan and a decision to access records.

use crate::audit::{AccessRecord, AuditAction, AuditDecision, AuditObject, How, Origin};
use crate::plan::{Access, Plan, Refusal, StatementKind, Use};
use crate::policy::{Disclosure, Permit, Policy};
use std::sync::Arc;
use uuid::Uuid;

/// Subjects that one record holds; more go into further parts (RECORDS: fields).
pub(super) const SUBJECTS_A_RECORD: usize = 1_000;

/// The part of a statement's records that stays the same, and what has gathered since the last one.
pub(super) struct Draft {
    event_id: Uuid,
    part: u32,
    ts_start: i64,
    origin: Arc<Origin>,
    action: AuditAction,
    objects: Vec<AuditObject>,
    decision: AuditDecision,
    rule: Arc<str>,
    policy_version: Arc<str>,
    aggregate: bool,
    text: Arc<str>,
    fingerprint: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) subjects: Vec<[u8; 16]>,
    subject_count: u64,
    /// A record was made for it already (a write, or an earlier part).
    pub(super) recorded: bool,
}

/// Whether any access stores or removes values.
pub(super) fn writes(accesses: &[Access]) -> bool {
    accesses.iter().any(|a| a.usage == Use::Write)
}

fn action(kind: StatementKind, accesses: &[Access]) -> AuditAction {
    match kind {
        StatementKind::Insert => AuditAction::Create,
        StatementKind::Delete => AuditAction::Delete,
        StatementKind::Update | StatementKind::Merge => AuditAction::Write,
        StatementKind::Ddl => AuditAction::Ddl,
        StatementKind::Copy => AuditAction::Export,
        _ if writes(accesses) => AuditAction::Write,
        _ if accesses.iter().any(|a| a.usage == Use::Read) => AuditAction::Read,
        _ => AuditAction::Search,
    }
}

fn objects(accesses: &[Access], permits: &[Permit]) -> Vec<AuditObject> {
    accesses
        .iter()
        .enumerate()
        .map(|(index, access)| AuditObject {
            schema: access.column.name.relation.schema.clone(),
            table: access.column.name.relation.name.clone(),
            column: access.column.name.column.clone(),
            category: access.column.category.clone(),
            how: match access.usage {
                Use::Search => How::Searched,
                Use::Write => How::Written,
                Use::Read => match permits.get(index).map(Permit::disclosure) {
                    Some(Disclosure::Masked(_)) => How::Masked,
                    Some(Disclosure::Clear) => How::Clear,
                    None => How::Requested,
                },
            },
        })
        .collect()
}

/// A statement's text with its literals removed, hashed: 16 hex digits.
fn fingerprint(redacted: &str) -> String {
    let hash = blake3::hash(redacted.as_bytes());
    let first: [u8; 8] = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(first))
}

impl Draft {
    pub(super) fn new(
        now: i64,
        origin: Arc<Origin>,
        policy: &Policy,
        kind: StatementKind,
        plan: &Plan,
        permits: &[Permit],
    ) -> Self {
        let (accesses, redacted) = (&plan.accesses, &plan.redacted);
        let masked = permits.iter().any(|p| matches!(p.disclosure(), Disclosure::Masked(_)));
        let mut rules: Vec<&str> = permits.iter().map(|p| &**p.rule()).collect();
        rules.sort_unstable();
        rules.dedup();
        Self {
            event_id: Uuid::now_v7(),
            part: 0,
            ts_start: now,
            origin,
            action: action(kind, accesses),
            objects: objects(accesses, permits),
            decision: if masked {
                AuditDecision::Masked
            } else {
                AuditDecision::Allowed
            },
            rule: rules.join("; ").into(),
            policy_version: policy.version().clone(),
            aggregate: plan.aggregate,
            fingerprint: fingerprint(redacted),
            text: redacted.clone(),
            rows: 0,
            bytes: 0,
            subjects: Vec::new(),
            subject_count: 0,
            recorded: false,
        }
    }

    pub(super) fn masked(&self) -> bool {
        self.decision == AuditDecision::Masked
    }

    /// Notes a subject of the current part.
    pub(super) fn subject(&mut self, pseudonym: [u8; 16]) {
        if self.subjects.last() != Some(&pseudonym) {
            self.subjects.push(pseudonym);
        }
    }

    /// Whether the current part holds as much as a record may.
    pub(super) fn is_full(&self) -> bool {
        self.subjects.len() >= SUBJECTS_A_RECORD
    }

    /// Closes the current part: its record. Rows, bytes and subjects start over.
    pub(super) fn record(&mut self, now: i64, rows: Option<u64>, sqlstate: &str) -> Box<AccessRecord> {
        let mut subjects = std::mem::take(&mut self.subjects);
        subjects.sort_unstable();
        subjects.dedup();
        self.subject_count = subjects.len() as u64;
        let record = AccessRecord {
            event_id: self.event_id,
            part: self.part,
            ts_start: self.ts_start,
            ts_end: now,
            origin: self.origin.clone(),
            action: self.action,
            objects: self.objects.clone(),
            subjects: subjects.iter().map(hex).collect(),
            subject_count: self.subject_count,
            aggregate: self.aggregate,
            rows,
            bytes: std::mem::take(&mut self.bytes),
            decision: self.decision,
            rule: self.rule.clone(),
            policy_version: self.policy_version.clone(),
            sqlstate: sqlstate.to_owned(),
            reason: String::new(),
            statement_fingerprint: self.fingerprint.clone(),
            statement_text: self.text.clone(),
        };
        self.rows = 0;
        self.part += 1;
        self.recorded = true;
        Box::new(record)
    }
}

/// The record of a statement that is not carried out.
#[allow(clippy::too_many_arguments)] // the fields of one record, named by the type that takes them
pub(super) fn refused(
    now: i64,
    origin: &Arc<Origin>,
    policy: &Policy,
    kind: StatementKind,
    accesses: &[Access],
    redacted: &Arc<str>,
    rule: Option<Arc<str>>,
    refusal: &Refusal,
) -> Box<AccessRecord> {
    Box::new(AccessRecord {
        event_id: Uuid::now_v7(),
        part: 0,
        ts_start: now,
        ts_end: now,
        origin: origin.clone(),
        action: action(kind, accesses),
        objects: objects(accesses, &[]),
        subjects: Vec::new(),
        subject_count: 0,
        aggregate: false,
        rows: Some(0),
        bytes: 0,
        decision: AuditDecision::Refused,
        rule: rule.unwrap_or_else(|| Arc::from(refusal.reason.anchor())),
        policy_version: policy.version().clone(),
        sqlstate: refusal.sqlstate.to_string(),
        reason: refusal.reason.anchor().to_owned(),
        statement_fingerprint: fingerprint(redacted),
        statement_text: redacted.clone(),
    })
}

fn hex(pseudonym: &[u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|nibble| char::from(DIGITS[usize::from(nibble)]));
    let mut text = String::with_capacity(32);
    text.extend(pseudonym.iter().flat_map(digits));
    text
}
