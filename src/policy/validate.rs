//! What the entries of the file mean together: names that must exist, settings that exclude each other, law that sets bounds.
//! Every fault says what to do; all are found in one run.

mod settings;

use super::category;
use super::file::{self, ReadGrant};
use super::names;
use super::parse::{Faults, Outline, join};
use crate::plan::{ColumnName, KeyDomain, Mode, RelationName};
use crate::value::Mask;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

/// Bytes of a version, and of the name of a handler, group, purpose or category: they stand in every record.
const MAX_NAME_BYTES: usize = 128;

/// The policy with all names resolved.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Protected columns, by database.
    pub columns: BTreeMap<Arc<str>, Vec<Column>>,
    /// Subject columns, by database.
    pub subjects: BTreeMap<Arc<str>, Vec<(RelationName, Arc<str>)>>,
    /// Handlers, by log-in role.
    pub handlers: HashMap<Arc<str>, Handler>,
    /// Grants, in the order of the file.
    pub grants: Vec<Grant>,
    /// Purposes.
    pub purposes: BTreeSet<Arc<str>>,
}

/// A protected column with its mask.
#[derive(Debug)]
pub(super) struct Column {
    pub declared: file::DeclaredColumn,
    pub mask: Mask,
    /// Where it stands in the file.
    path: String,
}

/// A handler.
#[derive(Debug)]
pub(super) struct Handler {
    pub name: Arc<str>,
    pub kind: Arc<str>,
    pub groups: BTreeSet<Arc<str>>,
    pub purpose: Option<Arc<str>>,
}

/// A grant.
#[derive(Debug)]
pub(super) struct Grant {
    /// As it stands in records: `grant 3: support/customer-management`.
    pub rule: Arc<str>,
    pub group: Arc<str>,
    pub purpose: Arc<str>,
    pub targets: Vec<Target>,
    pub read: Option<ReadGrant>,
    pub search: bool,
    pub write: bool,
}

impl Grant {
    /// Whether it is about this column.
    pub fn covers(&self, column: &file::DeclaredColumn) -> bool {
        self.targets.iter().any(|target| match target {
            Target::Category(category) => *category == column.category,
            Target::Table(table) => *table == column.name.relation,
            Target::Column(name) => *name == column.name,
        })
    }
}

/// What a grant is about.
#[derive(Debug)]
pub(super) enum Target {
    Category(Arc<str>),
    Table(RelationName),
    Column(ColumnName),
}

/// Checks everything that reading alone does not show.
pub(super) fn validate(outline: &Outline, faults: &mut Faults) -> Resolved {
    settings::settings(outline, faults);
    names_of_entries(outline, faults);
    let mut resolved = Resolved {
        purposes: outline.purposes.keys().map(|name| Arc::from(name.as_str())).collect(),
        ..Resolved::default()
    };
    tables(outline, &mut resolved, faults);
    key_domains(&resolved, faults);
    handlers(outline, &mut resolved, faults);
    grants(outline, &mut resolved, faults);
    resolved
}

fn names_of_entries(outline: &Outline, faults: &mut Faults) {
    let sections = [
        ("categories", outline.categories.keys().collect::<Vec<_>>()),
        ("purposes", outline.purposes.keys().collect()),
        ("groups", outline.groups.keys().collect()),
        ("handlers", outline.handlers.keys().collect()),
    ];
    for (section, names) in sections {
        for name in names {
            let path = join(section, name);
            if name.trim().is_empty() {
                faults.add(path, "has no name", "give it one");
            } else {
                check_name(&path, name, faults);
            }
        }
    }
}

fn tables(outline: &Outline, resolved: &mut Resolved, faults: &mut Faults) {
    let default_database = outline
        .upstream
        .as_ref()
        .map_or("", |upstream| upstream.database.as_str());
    let mut seen = HashMap::new();
    for (n, table) in outline.tables.iter().enumerate() {
        let Some(table) = table else { continue };
        let path = format!("table[{}]", n + 1);
        let database: Arc<str> = Arc::from(table.database.as_deref().unwrap_or(default_database));
        if table.database.as_deref().is_some_and(|name| name.trim().is_empty()) {
            faults.add(format!("{path}.database"), "is empty", "name it, or remove the line");
        }
        let relation = match names::relation(&table.name) {
            Ok(relation) => relation,
            Err(what) => {
                faults.add(format!("{path}.name"), what, "write it like \"public.customers\"");
                continue;
            }
        };
        if matches!(&*relation.schema, "pg_catalog" | "information_schema" | "pgward") {
            faults.add(
                format!("{path}.name"),
                format!("schema {} can't be protected", relation.schema),
                "protect tables of your own",
            );
        }
        if let Some(first) = seen.insert((database.clone(), relation.clone()), n + 1) {
            faults.add(
                format!("{path}.name"),
                format!("{relation} is declared twice (first as table[{first}])"),
                "put all its columns under one [[table]]",
            );
            continue;
        }
        table_columns(outline, table, &path, &database, &relation, resolved, faults);
    }
}

fn table_columns(
    outline: &Outline,
    table: &file::Table,
    path: &str,
    database: &Arc<str>,
    relation: &RelationName,
    resolved: &mut Resolved,
    faults: &mut Faults,
) {
    if table.columns.is_empty() {
        faults.add(
            format!("{path}.columns"),
            "is empty",
            "declare its protected columns, or remove the table",
        );
    }
    let subject: Option<Arc<str>> = table.subject.as_deref().map(Arc::from);
    if let Some(subject) = &subject {
        let subject_path = format!("{path}.subject");
        if let Err(what) = names::check_identifier(subject) {
            faults.add(subject_path, what, "name the column that identifies the data subject");
        } else if table
            .columns
            .get(&**subject)
            .is_some_and(|column| column.mode.is_sealed())
        {
            faults.add(
                subject_path,
                format!("column {subject} is sealed itself"),
                "name a key column that is not sealed, such as \"id\"",
            );
        }
        resolved
            .subjects
            .entry(database.clone())
            .or_default()
            .push((relation.clone(), subject.clone()));
    }
    for (name, column) in &table.columns {
        let path = join(&format!("{path}.columns"), name);
        if let Err(what) = names::check_identifier(name) {
            faults.add(&path, what, "name the column as it is spelt in the database");
        }
        let mask = outline
            .categories
            .get(&column.category)
            .map(|declared| declared.as_ref().map_or(Mask::General, |category| category.mask))
            .or_else(|| category::default_mask(&column.category));
        if mask.is_none() {
            faults.add(
                format!("{path}.category"),
                format!("unknown category {:?}", column.category),
                unknown_name("categories", &column.category, category_names(outline)),
            );
        }
        if let Some(domain) = &column.key_domain {
            let path = format!("{path}.key_domain");
            if column.mode == Mode::None {
                faults.add(
                    &path,
                    "a column of mode none has no key",
                    "remove key_domain, or choose a mode",
                );
            }
            if domain.trim().is_empty() {
                faults.add(
                    &path,
                    "is empty",
                    "name it, or remove the line for a key of the column's own",
                );
            }
            check_name(&path, domain, faults);
        }
        let name = ColumnName {
            relation: relation.clone(),
            column: Arc::from(name.as_str()),
        };
        let domain = column
            .key_domain
            .clone()
            .unwrap_or_else(|| names::display_column(&name));
        resolved.columns.entry(database.clone()).or_default().push(Column {
            declared: file::DeclaredColumn {
                name,
                mode: column.mode,
                key_domain: KeyDomain(domain.into()),
                category: Arc::from(column.category.as_str()),
                subject: subject.clone(),
            },
            mask: mask.unwrap_or(Mask::General),
            path,
        });
    }
}

/// Columns share a key domain to be compared with each other: their stored forms must be comparable.
fn key_domains(resolved: &Resolved, faults: &mut Faults) {
    for columns in resolved.columns.values() {
        let mut first = HashMap::<&KeyDomain, &file::DeclaredColumn>::new();
        for Column { declared, path, .. } in columns.iter().filter(|column| column.declared.mode.is_sealed()) {
            let other = *first.entry(&declared.key_domain).or_insert(declared);
            if other.mode != declared.mode {
                faults.add(
                    format!("{path}.key_domain"),
                    format!(
                        "{} has mode {}, {} has mode {}: they could not be compared",
                        other.name,
                        file::mode_name(other.mode),
                        declared.name,
                        file::mode_name(declared.mode)
                    ),
                    "give all columns of a key domain one mode, or give them key domains of their own",
                );
            }
        }
    }
}

fn handlers(outline: &Outline, resolved: &mut Resolved, faults: &mut Faults) {
    let mut roles = HashMap::<&str, &str>::new();
    for (name, handler) in &outline.handlers {
        let Some(handler) = handler else { continue };
        let path = join("handlers", name);
        let role = handler.role.as_deref().unwrap_or(name);
        if let Err(what) = names::check_identifier(role) {
            faults.add(
                format!("{path}.role"),
                what,
                "name the role that the handler logs in with",
            );
        }
        if let Some(other) = roles.insert(role, name) {
            faults.add(
                format!("{path}.role"),
                format!("log-in role {role:?} belongs to handler {other:?} already"),
                "give each handler an account of his own",
            );
        }
        for group in &handler.groups {
            if !outline.groups.contains_key(group) {
                faults.add(
                    format!("{path}.groups"),
                    format!("unknown group {group:?}"),
                    unknown_name("groups", group, outline.groups.keys().cloned()),
                );
            }
        }
        for (_, group) in duplicates(handler.groups.iter()) {
            faults.add(
                format!("{path}.groups"),
                format!("group {group:?} stands there twice"),
                "remove one",
            );
        }
        if let Some(purpose) = &handler.purpose {
            check_purpose(outline, &format!("{path}.purpose"), purpose, faults);
        }
        resolved.handlers.insert(
            Arc::from(role),
            Handler {
                name: Arc::from(name.as_str()),
                kind: Arc::from(handler.kind.as_str()),
                groups: handler.groups.iter().map(|group| Arc::from(group.as_str())).collect(),
                purpose: handler.purpose.as_deref().map(Arc::from),
            },
        );
    }
}

fn grants(outline: &Outline, resolved: &mut Resolved, faults: &mut Faults) {
    let mut seen = HashMap::<String, usize>::new();
    for (n, grant) in outline.grants.iter().enumerate() {
        let Some(grant) = grant else { continue };
        let number = n + 1;
        let path = format!("grant[{number}]");
        if !outline.groups.contains_key(&grant.group) {
            faults.add(
                format!("{path}.group"),
                format!("unknown group {:?}", grant.group),
                unknown_name("groups", &grant.group, outline.groups.keys().cloned()),
            );
        }
        check_purpose(outline, &format!("{path}.purpose"), &grant.purpose, faults);
        if grant.read.is_none() && !grant.search && !grant.write {
            faults.add(
                &path,
                "grants nothing",
                "add read = \"clear\", read = \"masked\", search = true or write = true, or remove it",
            );
        }
        if grant.columns.is_empty() && grant.categories.is_empty() {
            faults.add(
                &path,
                "names neither columns nor categories",
                "add columns = […] or categories = […]",
            );
        }
        for (key, list) in [("columns", &grant.columns), ("categories", &grant.categories)] {
            for (at, name) in duplicates(list.iter()) {
                faults.add(
                    format!("{path}.{key}[{}]", at + 1),
                    format!("{name:?} stands there twice"),
                    "remove one",
                );
            }
        }
        if let Some(first) = seen.insert(format!("{grant:?}"), number) {
            faults.add(&path, format!("says the same as grant[{first}]"), "remove one");
        }
        let mut targets = grant_columns(outline, grant, &path, resolved, faults);
        for (at, category) in grant.categories.iter().enumerate() {
            if outline.categories.contains_key(category) || category::default_mask(category).is_some() {
                targets.push(Target::Category(Arc::from(category.as_str())));
            } else {
                faults.add(
                    format!("{path}.categories[{}]", at + 1),
                    format!("unknown category {category:?}"),
                    unknown_name("categories", category, category_names(outline)),
                );
            }
        }
        resolved.grants.push(Grant {
            rule: format!("grant {number}: {}/{}", grant.group, grant.purpose).into(),
            group: Arc::from(grant.group.as_str()),
            purpose: Arc::from(grant.purpose.as_str()),
            targets,
            read: grant.read,
            search: grant.search,
            write: grant.write,
        });
    }
}

fn grant_columns(
    outline: &Outline,
    grant: &file::Grant,
    path: &str,
    resolved: &Resolved,
    faults: &mut Faults,
) -> Vec<Target> {
    // Where a table could not be read, its columns are not known: naming them is no fault of the grant's.
    let all_tables_known = outline.tables.iter().all(Option::is_some);
    let declared = || resolved.columns.values().flatten().map(|column| &column.declared.name);
    let mut targets = Vec::new();
    for (at, text) in grant.columns.iter().enumerate() {
        let path = format!("{path}.columns[{}]", at + 1);
        let (target, known) = match names::columns(text) {
            Ok((relation, Some(column))) => {
                let name = ColumnName { relation, column };
                let known = declared().any(|declared| *declared == name);
                (Target::Column(name), known)
            }
            Ok((relation, None)) => {
                let known = declared().any(|declared| declared.relation == relation);
                (Target::Table(relation), known)
            }
            Err(what) => {
                faults.add(
                    path,
                    what,
                    "write it like \"public.customers.email\" or \"public.customers.*\"",
                );
                continue;
            }
        };
        if !known && all_tables_known {
            faults.add(
                path,
                format!("{text:?} is not declared as protected"),
                "declare it under [[table]], or remove it: what is not protected needs no grant",
            );
        }
        targets.push(target);
    }
    targets
}

fn check_purpose(outline: &Outline, path: &str, purpose: &str, faults: &mut Faults) {
    if !outline.purposes.contains_key(purpose) {
        faults.add(
            path,
            format!("unknown purpose {purpose:?}"),
            unknown_name("purposes", purpose, outline.purposes.keys().cloned()),
        );
    }
}

fn category_names(outline: &Outline) -> impl Iterator<Item = String> + '_ {
    let well_known = category::WELL_KNOWN.iter().map(|(name, ..)| (*name).to_owned());
    well_known.chain(outline.categories.keys().cloned())
}

/// The remedy for a name that isn't declared.
fn unknown_name(section: &str, name: &str, known: impl Iterator<Item = String>) -> String {
    let known = known
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join(", ");
    let declare = format!("declare [{}]", join(section, name));
    if known.is_empty() {
        declare
    } else {
        format!("{declare}, or use one of: {known}")
    }
}

fn not_empty(path: &str, value: &str, faults: &mut Faults) {
    if value.trim().is_empty() {
        faults.add(path, "is empty", "fill it in");
    }
}

/// A name that stands in records and messages: short and printable.
fn check_name(path: &str, name: &str, faults: &mut Faults) {
    if name.len() > MAX_NAME_BYTES {
        faults.add(path, format!("is longer than {MAX_NAME_BYTES} bytes"), "shorten it");
    }
    if name.chars().any(char::is_control) {
        faults.add(path, "holds a control character", "remove it");
    }
}

fn duplicates<T: Eq + Hash + Copy>(items: impl Iterator<Item = T>) -> Vec<(usize, T)> {
    let mut seen = HashSet::new();
    items.enumerate().filter(|(_, item)| !seen.insert(*item)).collect()
}
