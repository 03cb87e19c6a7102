//! The catalog as the planner sees it: relations, their columns, which of them are protected and how names resolve.

use super::names::NameSet;
use crate::value::LogicalType;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// Identifies a protected column for ever, in envelopes (4 bytes at offset 6) and in the control database. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ColumnId(pub u32);

/// Columns that share a key domain share a data key and can be joined. Named in the policy; default `schema.table.column`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct KeyDomain(pub Arc<str>);

/// How a protected column is stored (DESIGN: column modes, from least to most leaking).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Random nonce; read, write, IS NULL.
    Sealed,
    /// Plus an equality tag.
    Eq,
    /// The whole envelope is a function of the value.
    Deterministic,
    /// Stored in clear; rights, masks and records apply.
    None,
}

impl Mode {
    /// Whether the stored form is an envelope.
    pub fn is_sealed(self) -> bool {
        self != Mode::None
    }
}

/// A schema-qualified relation name, as in the catalog (no quoting, case as stored).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct RelationName {
    /// Schema
    pub schema: Arc<str>,
    /// Relation
    pub name: Arc<str>,
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A column's full name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ColumnName {
    /// Its relation
    pub relation: RelationName,
    /// Its name
    pub column: Arc<str>,
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.relation, self.column)
    }
}

/// A column that the policy protects, with everything that reading or writing it needs. Shared by plans, policy, cipher and records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedColumn {
    /// Its id in envelopes.
    pub id: ColumnId,
    /// Its name.
    pub name: ColumnName,
    /// How it is stored.
    pub mode: Mode,
    /// Whose data key it is sealed with.
    pub key_domain: KeyDomain,
    /// What it is to clients.
    pub logical_type: LogicalType,
    /// Category of personal data, by name in the policy.
    pub category: Arc<str>,
}

/// A protected column, shared.
pub type ColumnRef = Arc<ProtectedColumn>;

/// What kind of relation (`pg_class.relkind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// Ordinary or partitioned table.
    Table,
    /// View or materialized view.
    View,
    /// Foreign table, sequence, composite type, …
    Other,
}

/// One column of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name as stored.
    pub name: Arc<str>,
    /// `pg_attribute.attnum`; 0 when not known yet (created earlier in the same script).
    pub attnum: i16,
    /// `pg_attribute.atttypid` (of the stored type).
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`
    pub typmod: i32,
    /// `pg_attribute.attnotnull`
    pub not_null: bool,
    /// Has a default or is an identity or generated column.
    pub has_default: bool,
    /// Is stored as `pgward.sealed`.
    pub stored_sealed: bool,
    /// Set where the policy protects it **and** it is stored as its mode asks.
    pub protected: Option<ColumnRef>,
    /// Set where the policy protects it but its storage is not (yet) as the mode asks (in clear though declared sealed, or sealed without
    /// a known logical type): any statement that uses it is refused with this explanation.
    pub unusable: Option<Arc<str>>,
}

/// A unique or exclusion-free index or constraint, for ON CONFLICT and for names in errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueKey {
    /// Index (= constraint) name.
    pub name: Arc<str>,
    /// Column names, in order; for an expression over the equality tag of a column, that column.
    pub columns: Vec<Arc<str>>,
    /// True for a constraint (usable in ON CONFLICT ON CONSTRAINT), false for a mere unique index.
    pub constraint: bool,
}

/// A relation of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// `pg_class.oid`; 0 when created earlier in the same script.
    pub oid: u32,
    /// Name.
    pub name: RelationName,
    /// Kind.
    pub kind: RelationKind,
    /// Live columns in attnum order (dropped ones left out).
    pub columns: Vec<Column>,
    /// Unique keys.
    pub unique: Vec<UniqueKey>,
    /// Any column is protected or unusable.
    pub protected: bool,
    /// Not protected itself, but a view, partition, child or parent of a protected relation, or (materialized view) computed from one: a
    /// statement that names it is refused, with this explanation.
    pub touches_protected: Option<Arc<str>>,
    /// Column that identifies the data subject (`subject = "id"`), by name.
    pub subject: Option<Arc<str>>,
}

impl Relation {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| &*c.name == name)
    }
}

/// A column that the policy declares protected, whether or not its table exists yet. CREATE TABLE and ADD COLUMN consult these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Its id.
    pub id: ColumnId,
    /// Its name.
    pub name: ColumnName,
    /// How it is to be stored.
    pub mode: Mode,
    /// Key domain.
    pub key_domain: KeyDomain,
    /// Category.
    pub category: Arc<str>,
}

/// An immutable picture of one database's catalog, joined with the policy's declarations.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Unique within the process; part of the plan cache's key. Two snapshots with equal content may have different versions.
    pub version: u64,
    /// Hash over the catalog content, to see whether anything changed.
    pub fingerprint: u64,
    /// By name.
    pub relations: HashMap<RelationName, Arc<Relation>>,
    /// By `pg_class.oid`: protected relations only, for the check of RowDescriptions.
    pub protected_by_oid: BTreeMap<u32, Arc<Relation>>,
    /// Declared columns, by name.
    pub declarations: HashMap<ColumnName, Arc<Declaration>>,
    /// Declared subject columns by table.
    pub subjects: HashMap<RelationName, Arc<str>>,
    /// Names (without schema, lower case) of relations that are protected, declared, or touch protected ones: if none of these occurs as
    /// an identifier in a statement, it can't touch a protected relation.
    pub sensitive_names: NameSet,
    /// Names (lower case) of user-defined functions and procedures whose source mentions a sensitive name.
    pub sensitive_functions: NameSet,
    /// `pg_type.oid` of the domain `pgward.sealed`, where installed.
    pub sealed_domain_oid: Option<u32>,
}

/// How unqualified names resolve in a session: the effective search path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct NameScope {
    /// `current_schemas(true)`: implicit ones included, in order (`pg_temp_3`, `pg_catalog`, `public`).
    pub schemas: Vec<Arc<str>>,
    /// The session's temporary schema, what `pg_temp` means, where it exists.
    pub temp_schema: Option<Arc<str>>,
}

impl Snapshot {
    /// Resolves a relation name as PostgreSQL does: the first schema of the path that has it.
    pub fn resolve(&self, scope: &NameScope, schema: Option<&str>, name: &str) -> Option<&Arc<Relation>> {
        let get = |schema: &Arc<str>| {
            self.relations.get(&RelationName {
                schema: schema.clone(),
                name: Arc::from(name),
            })
        };
        match schema {
            Some("pg_temp") => scope.temp_schema.as_ref().and_then(get),
            Some(schema) => get(&Arc::from(schema)),
            None => scope.schemas.iter().find_map(get),
        }
    }

    /// Whether values of protected columns are stored in clear.
    pub fn holds_clear(&self) -> bool {
        self.declarations.values().any(|column| column.mode == Mode::None)
    }

    /// Whether the database has anything to protect.
    pub fn protects_anything(&self) -> bool {
        !self.declarations.is_empty() || !self.protected_by_oid.is_empty()
    }
}
