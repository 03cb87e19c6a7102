//! What a check finds: data only, the same for people and for machines. This part needs no database.

use crate::plan::Mode;
use crate::policy::file::{Fault, Handler, PolicyError, ReadGrant, Rights, mode_name};
use crate::policy::{Policy, default_mask};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Everything that `check` says.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The policy file.
    pub file: String,
    /// Its version, where it could be read.
    pub version: Option<String>,
    /// What is wrong with the file.
    pub faults: Vec<Fault>,
    /// What is wrong beyond the file: exit status 1.
    pub problems: Vec<String>,
    /// What is allowed and deserves a second look.
    pub warnings: Vec<String>,
    /// Protected columns, in the order of the file.
    pub columns: Vec<ColumnReport>,
    /// Handlers by name, each once a purpose.
    pub handlers: Vec<HandlerReport>,
    /// The database was looked at.
    pub live: bool,
}

/// A protected column.
#[derive(Debug, Serialize)]
pub struct ColumnReport {
    /// Database.
    pub database: String,
    /// `schema.table`
    pub table: String,
    /// Column.
    pub column: String,
    /// Category.
    pub category: String,
    /// Mode, as the file writes it.
    pub mode: &'static str,
    /// Key domain; none for mode `none`.
    pub key_domain: Option<String>,
    /// The table's subject column.
    pub subject: Option<String>,
    /// What someone learns who sees the stored form.
    pub leaks: &'static str,
    /// What it is to clients, as far as the database says.
    pub logical_type: Option<String>,
    /// How it stands in the database.
    pub state: State,
}

/// How a declared column stands in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The database was not looked at.
    Unknown,
    /// Stored as its mode asks.
    Protected,
    /// The table is not there yet.
    NoTable,
    /// The table is there, the column is not.
    NoColumn,
    /// There, but not usable: why.
    Unusable(String),
}

/// A handler at one purpose.
#[derive(Debug, Serialize)]
pub struct HandlerReport {
    /// Name.
    pub handler: String,
    /// Log-in role.
    pub role: String,
    /// staff, contractor, service, admin.
    pub kind: &'static str,
    /// The purpose; `None` for a session that states none.
    pub purpose: Option<String>,
    /// It is the one that his sessions have unless they say otherwise.
    pub default: bool,
    /// Rights, in the order of [`Report::columns`].
    pub rights: Vec<Rights>,
}

impl Report {
    /// For a file that is no policy.
    pub fn of_faulty_file(path: &Path, error: PolicyError) -> Self {
        let mut report = Self {
            file: path.display().to_string(),
            ..Self::default()
        };
        if error.faults.is_empty() {
            report.problems.push(error.message);
        } else {
            report.faults = error.faults;
        }
        report
    }

    /// What the file alone says.
    pub fn of_policy(path: &Path, policy: &Policy) -> Self {
        Self {
            file: path.display().to_string(),
            version: Some(policy.version().to_string()),
            columns: columns(policy),
            handlers: handlers(policy),
            warnings: warnings(policy),
            ..Self::default()
        }
    }

    /// Nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.problems.is_empty()
    }
}

/// What the stored form tells a thief of the database.
fn leaks(mode: Mode) -> &'static str {
    match mode {
        Mode::Sealed => "its length",
        Mode::Eq | Mode::Deterministic => "its length; which rows are equal",
        Mode::None => "everything: stored in clear",
    }
}

fn columns(policy: &Policy) -> Vec<ColumnReport> {
    let mut columns = Vec::new();
    for database in policy.databases() {
        for declared in policy.declared(database) {
            columns.push(ColumnReport {
                database: database.to_string(),
                table: declared.name.relation.to_string(),
                column: declared.name.column.to_string(),
                category: declared.category.to_string(),
                mode: mode_name(declared.mode),
                key_domain: declared.mode.is_sealed().then(|| declared.key_domain.0.to_string()),
                subject: declared.subject.as_deref().map(str::to_owned),
                leaks: leaks(declared.mode),
                logical_type: None,
                state: State::Unknown,
            });
        }
    }
    columns
}

fn handlers(policy: &Policy) -> Vec<HandlerReport> {
    let mut reports = Vec::new();
    for (name, handler) in &policy.file().handlers {
        let mut purposes: BTreeSet<Option<&str>> = policy.purposes_of(handler).into_iter().map(Some).collect();
        // What a session has that says nothing, be it that it has nothing.
        purposes.insert(handler.purpose.as_deref());
        for purpose in purposes {
            reports.push(HandlerReport {
                handler: name.clone(),
                role: role(name, handler).to_owned(),
                kind: handler.kind.as_str(),
                purpose: purpose.map(str::to_owned),
                default: purpose == handler.purpose.as_deref(),
                rights: rights(policy, role(name, handler), purpose),
            });
        }
    }
    reports
}

/// A handler's log-in role.
pub fn role<'a>(name: &'a str, handler: &'a Handler) -> &'a str {
    handler.role.as_deref().unwrap_or(name)
}

fn rights(policy: &Policy, role: &str, purpose: Option<&str>) -> Vec<Rights> {
    let mut rights = Vec::new();
    for database in policy.databases() {
        let who = policy.handler(database, role, purpose);
        let declared = policy.declared(database);
        rights.extend(declared.iter().map(|column| policy.rights_by_name(&who, &column.name)));
    }
    rights
}

/// What is valid and probably not meant.
fn warnings(policy: &Policy) -> Vec<String> {
    let mut warnings = Vec::new();
    tables_and_domains(policy, &mut warnings);
    people(policy, &mut warnings);
    grants(policy, &mut warnings);
    oracles(policy, &mut warnings);
    warnings
}

fn tables_and_domains(policy: &Policy, warnings: &mut Vec<String>) {
    let file = policy.file();
    for table in file.tables.iter().filter(|table| table.subject.is_none()) {
        warnings.push(format!(
            "table {} names no subject column: access records will not say whose data was seen; add subject = \"…\"",
            table.name
        ));
    }
    for database in policy.databases() {
        let mut domains = BTreeMap::<_, BTreeSet<_>>::new();
        for column in policy
            .declared(database)
            .into_iter()
            .filter(|column| column.mode.is_sealed())
        {
            domains.entry(column.key_domain).or_default().insert(column.category);
        }
        for (domain, categories) in domains.iter().filter(|(_, categories)| categories.len() > 1) {
            let categories = categories.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
            warnings.push(format!(
                "key domain {} holds columns of several categories ({categories}): destroying its key destroys them all",
                domain.0
            ));
        }
    }
    let used: BTreeSet<&str> = used_categories(policy);
    for name in file.categories.keys() {
        if !used.contains(name.as_str()) && default_mask(name).is_none() {
            warnings.push(format!("category {name} is declared, and no column is of it"));
        }
    }
}

fn used_categories(policy: &Policy) -> BTreeSet<&str> {
    let tables = policy.file().tables.iter();
    tables
        .flat_map(|table| table.columns.values())
        .map(|column| column.category.as_str())
        .collect()
}

fn people(policy: &Policy, warnings: &mut Vec<String>) {
    let file = policy.file();
    for (name, handler) in &file.handlers {
        if handler.groups.is_empty() {
            warnings.push(format!(
                "handler {name} is in no group and may do nothing with protected columns"
            ));
            continue;
        }
        let his = policy.purposes_of(handler);
        if his.is_empty() {
            warnings.push(format!(
                "no grant is for a group of handler {name}: he may do nothing with protected columns"
            ));
            continue;
        }
        match handler.purpose.as_deref() {
            None => warnings.push(format!(
                "handler {name} has no purpose of his own: a session of his that states none may do nothing with protected columns"
            )),
            Some(purpose) if !his.contains(purpose) => warnings.push(format!(
                "handler {name} works for purpose {purpose}, and no grant of his is for that"
            )),
            Some(_) => {}
        }
    }
    for group in file.groups.keys() {
        if !file.handlers.values().any(|handler| handler.groups.contains(group)) {
            warnings.push(format!("group {group} has no handlers: its grants give nothing"));
        }
    }
    for purpose in file.purposes.keys() {
        if !file.grants.iter().any(|grant| grant.purpose == *purpose) {
            warnings.push(format!("purpose {purpose} is in no grant"));
        }
    }
}

fn grants(policy: &Policy, warnings: &mut Vec<String>) {
    let used = used_categories(policy);
    for (n, grant) in policy.file().grants.iter().enumerate() {
        for category in grant.categories.iter().filter(|name| !used.contains(name.as_str())) {
            warnings.push(format!(
                "grant {} is about category {category}, and no column is of it",
                n + 1
            ));
        }
    }
}

/// Who sees masks but may search can find values out by guessing.
fn oracles(policy: &Policy, warnings: &mut Vec<String>) {
    let columns = columns(policy);
    for report in handlers(policy) {
        for (column, rights) in columns.iter().zip(&report.rights) {
            if rights.search && rights.read.is_none_or(|read| read != ReadGrant::Clear) {
                warnings.push(format!(
                    "handler {} may search by {}.{} for purpose {} without reading it in clear: he can find values out by guessing",
                    report.handler,
                    column.table,
                    column.column,
                    report.purpose.as_deref().unwrap_or("–"),
                ));
            }
        }
    }
}
