//! Rows of the catalog query → [`Snapshot`].

use super::expressions::tagged_columns;
use super::{CATALOG_COLUMNS, Declarations, json_in_ascii, read_marker, text};
use crate::plan::names::NameSet;
use crate::plan::schema::{
    Column, ColumnName, Declaration, Mode, ProtectedColumn, Relation, RelationKind, RelationName, Snapshot, UniqueKey,
};
use crate::value::LogicalType;
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The last version given out; unique within the process.
static VERSION: AtomicU64 = AtomicU64::new(0);

/// A relation while its rows come in.
struct Draft {
    oid: u32,
    name: RelationName,
    kind: RelationKind,
}

/// A column while its rows come in, with its comment where it is stored sealed.
struct DraftColumn {
    column: Column,
    comment: Option<String>,
}

/// A unique index as read: its key columns in order.
struct DraftKey {
    relation: u32,
    name: Arc<str>,
    constraint: bool,
    columns: Vec<KeyColumn>,
}

enum KeyColumn {
    Attribute(i16),
    /// The column's equality tag.
    Tag(i16),
    /// An expression that is none of pgward's: the index is of no use for ON CONFLICT (columns).
    Other,
}

/// Builds a snapshot from rows.
pub struct SnapshotBuilder {
    declarations: Arc<Declarations>,
    fingerprint: u64,
    sealed_domain_oid: Option<u32>,
    relations: Vec<Draft>,
    columns: HashMap<u32, Vec<DraftColumn>>,
    parents: Vec<(u32, u32)>,
    keys: Vec<DraftKey>,
    uses: Vec<(u32, u32)>,
    /// Name and source; without a source, it is too long to be looked at.
    functions: Vec<(String, Option<String>)>,
    function_uses: Vec<(String, u32)>,
}

impl SnapshotBuilder {
    /// For these declarations.
    pub fn new(declarations: Arc<Declarations>) -> Self {
        let mut hasher = DefaultHasher::new();
        for declaration in &declarations.columns {
            declaration.id.hash(&mut hasher);
            declaration.name.hash(&mut hasher);
            declaration.mode.hash(&mut hasher);
            declaration.key_domain.hash(&mut hasher);
            declaration.category.hash(&mut hasher);
        }
        declarations.subjects.hash(&mut hasher);
        Self {
            declarations,
            fingerprint: hasher.finish(),
            sealed_domain_oid: None,
            relations: Vec::new(),
            columns: HashMap::new(),
            parents: Vec::new(),
            keys: Vec::new(),
            uses: Vec::new(),
            functions: Vec::new(),
            function_uses: Vec::new(),
        }
    }

    /// Takes a row of [`CATALOG_QUERY`](super::CATALOG_QUERY), values in text format. An error is a row that doesn't fit: says what, holds no data.
    pub fn row(&mut self, row: &[Option<&[u8]>]) -> Result<(), String> {
        let &[kind, first, second, name, fourth, fifth, sixth, seventh] = row else {
            return Err(format!(
                "a catalog row has {} columns, not {CATALOG_COLUMNS}",
                row.len()
            ));
        };
        // Rows come in no fixed order: a sum of their hashes doesn't depend on it.
        let mut hasher = DefaultHasher::new();
        row.hash(&mut hasher);
        self.fingerprint = self.fingerprint.wrapping_add(hasher.finish());
        match text(kind, "kind")? {
            "d" => self.sealed_domain_oid = Some(number(first, "domain")?),
            "r" => {
                let draft = Draft {
                    oid: number(first, "relation")?,
                    name: RelationName {
                        schema: Arc::from(text(fourth, "schema")?),
                        name: Arc::from(text(name, "relation name")?),
                    },
                    kind: match text(fifth, "relkind")? {
                        "r" | "p" => RelationKind::Table,
                        "v" | "m" => RelationKind::View,
                        _ => RelationKind::Other,
                    },
                };
                self.relations.push(draft);
            }
            "c" => {
                let flags = text(sixth, "column flags")?;
                let column = Column {
                    name: Arc::from(text(name, "column name")?),
                    attnum: number(second, "attnum")?,
                    type_oid: number(fourth, "type")?,
                    typmod: number(fifth, "type modifier")?,
                    not_null: flags.contains('n'),
                    has_default: flags.contains('d'),
                    stored_sealed: false,
                    protected: None,
                    unusable: None,
                };
                let comment = seventh
                    .map(|value| text(Some(value), "comment"))
                    .transpose()?
                    .map(str::to_owned);
                self.columns
                    .entry(number(first, "relation")?)
                    .or_default()
                    .push(DraftColumn { column, comment });
            }
            "i" => self.parents.push((number(first, "child")?, number(second, "parent")?)),
            "k" => {
                let tree = fifth.map(|tree| text(Some(tree), "index expressions")).transpose()?;
                let mut expressions = tree.map(tagged_columns).unwrap_or_default().into_iter();
                let mut columns = Vec::new();
                for attnum in text(fourth, "index columns")?
                    .split(' ')
                    .take(number(second, "number of key columns")?)
                {
                    columns.push(match number(Some(attnum.as_bytes()), "key attnum")? {
                        0 => expressions.next().flatten().map_or(KeyColumn::Other, KeyColumn::Tag),
                        attnum => KeyColumn::Attribute(attnum),
                    });
                }
                self.keys.push(DraftKey {
                    relation: number(first, "relation")?,
                    name: Arc::from(text(name, "index name")?),
                    constraint: sixth.is_some(),
                    columns,
                });
            }
            "v" => self.uses.push((number(first, "view")?, number(second, "relation")?)),
            "f" => {
                let source = fourth
                    .map(|value| text(Some(value), "function source"))
                    .transpose()?
                    .map(str::to_owned);
                self.functions.push((text(name, "function name")?.to_owned(), source));
            }
            "g" => self
                .function_uses
                .push((text(name, "function name")?.to_owned(), number(second, "relation")?)),
            _ => return Err("a catalog row of an unknown kind".into()),
        }
        Ok(())
    }

    /// The same for a row of [`CATALOG_QUERY_ASCII`](super::CATALOG_QUERY_ASCII).
    pub fn row_in_ascii(&mut self, row: &[Option<&[u8]>]) -> Result<(), String> {
        let &[row] = row else {
            return Err(format!("a catalog row in ASCII has {} columns, not one", row.len()));
        };
        let values: Vec<Option<String>> = json_in_ascii(row, "catalog row")?;
        let values: Vec<Option<&[u8]>> = values.iter().map(|v| v.as_deref().map(str::as_bytes)).collect();
        self.row(&values)
    }

    /// The snapshot, with a new version number.
    pub fn finish(mut self) -> Snapshot {
        let declared: HashMap<ColumnName, Arc<Declaration>> = self
            .declarations
            .columns
            .iter()
            .map(|declaration| (declaration.name.clone(), declaration.clone()))
            .collect();
        let subjects: HashMap<RelationName, Arc<str>> = self.declarations.subjects.iter().cloned().collect();

        let mut relations: Vec<Relation> = Vec::with_capacity(self.relations.len());
        for draft in std::mem::take(&mut self.relations) {
            relations.push(self.relation(draft, &declared, &subjects));
        }
        let index: HashMap<u32, usize> = relations.iter().enumerate().map(|(i, r)| (r.oid, i)).collect();
        self.keys.sort_by(|a, b| a.name.cmp(&b.name));
        for key in &self.keys {
            if let Some(relation) = index.get(&key.relation).and_then(|&i| relations.get_mut(i)) {
                let unique = unique_key(key, relation);
                relation.unique.extend(unique);
            }
        }
        self.mark_relatives(&mut relations, &index);

        let mut sensitive_names = NameSet::default();
        for name in declared
            .keys()
            .map(|column| &column.relation)
            .chain(subjects.keys())
            .chain(
                relations
                    .iter()
                    .filter(|r| r.protected || r.touches_protected.is_some())
                    .map(|r| &r.name),
            )
        {
            sensitive_names.insert(Arc::from(name.name.to_lowercase()));
        }
        let sensitive_functions = self.sensitive_functions(&relations, &sensitive_names);

        let relations: HashMap<RelationName, Arc<Relation>> = relations
            .into_iter()
            .map(|relation| (relation.name.clone(), Arc::new(relation)))
            .collect();
        let protected_by_oid = relations
            .values()
            .filter(|relation| relation.protected)
            .map(|relation| (relation.oid, relation.clone()))
            .collect();
        Snapshot {
            version: VERSION.fetch_add(1, Ordering::Relaxed) + 1,
            fingerprint: self.fingerprint,
            relations,
            protected_by_oid,
            declarations: declared,
            subjects,
            sensitive_names,
            sensitive_functions,
            sealed_domain_oid: self.sealed_domain_oid,
        }
    }

    /// A relation with its columns judged against the declarations.
    fn relation(
        &mut self,
        draft: Draft,
        declared: &HashMap<ColumnName, Arc<Declaration>>,
        subjects: &HashMap<RelationName, Arc<str>>,
    ) -> Relation {
        let mut columns = self.columns.remove(&draft.oid).unwrap_or_default();
        columns.sort_by_key(|draft| draft.column.attnum);
        let columns: Vec<Column> = columns
            .into_iter()
            .map(|DraftColumn { mut column, comment }| {
                column.stored_sealed = Some(column.type_oid) == self.sealed_domain_oid;
                let name = ColumnName {
                    relation: draft.name.clone(),
                    column: column.name.clone(),
                };
                // A view's column is sealed because it shows one that is: the view is marked as a relative below.
                if draft.kind == RelationKind::View && !declared.contains_key(&name) {
                    return column;
                }
                match judge(
                    draft.kind,
                    &column,
                    comment.as_deref(),
                    declared.get(&name).map(Arc::as_ref),
                ) {
                    Ok(protected) => column.protected = protected.map(Arc::new),
                    Err(why) => column.unusable = Some(Arc::from(why)),
                }
                column
            })
            .collect();
        Relation {
            oid: draft.oid,
            kind: draft.kind,
            protected: columns.iter().any(|c| c.protected.is_some() || c.unusable.is_some()),
            columns,
            unique: Vec::new(),
            touches_protected: None,
            subject: subjects.get(&draft.name).cloned(),
            name: draft.name,
        }
    }

    /// Marks partitions, children, parents and views of protected relations, transitively.
    fn mark_relatives(&self, relations: &mut [Relation], index: &HashMap<u32, usize>) {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut parents: HashMap<u32, Vec<u32>> = HashMap::new();
        for &(child, parent) in &self.parents {
            children.entry(parent).or_default().push(child);
            parents.entry(child).or_default().push(parent);
        }
        let mut views: HashMap<u32, Vec<u32>> = HashMap::new();
        for &(view, used) in &self.uses {
            views.entry(used).or_default().push(view);
        }
        let origin: Vec<u32> = relations.iter().filter(|r| r.protected).map(|r| r.oid).collect();
        let mut marks: HashMap<u32, String> = HashMap::new();
        let name_of = |oid: u32, relations: &[Relation]| {
            index
                .get(&oid)
                .and_then(|&i| relations.get(i))
                .map(|r| r.name.to_string())
        };
        for (edges, how) in [
            (&children, "it is a partition or child of"),
            (&parents, "it is a parent of"),
            (&views, "it is a view of, or has a rule over,"),
        ] {
            // Each step starts from everything that the steps before it found: a parent of a protected table's partition, a view of a partition.
            let mut queue: Vec<u32> = origin.iter().copied().chain(marks.keys().copied()).collect();
            queue.sort_unstable();
            let mut seen: HashSet<u32> = queue.iter().copied().collect();
            while let Some(from) = queue.pop() {
                for &to in edges.get(&from).into_iter().flatten() {
                    if seen.insert(to) {
                        if let Some(name) = name_of(from, relations) {
                            marks.entry(to).or_insert_with(|| format!("{how} \"{name}\""));
                        }
                        queue.push(to);
                    }
                }
            }
        }
        for relation in relations.iter_mut().filter(|r| !r.protected) {
            relation.touches_protected = marks.get(&relation.oid).map(|why| Arc::from(why.as_str()));
        }
    }

    /// Functions that mention a sensitive name or, transitively, a function that does.
    fn sensitive_functions(&self, relations: &[Relation], names: &NameSet) -> NameSet {
        if names.is_empty() {
            return NameSet::default();
        }
        let sensitive_oids: HashSet<u32> = relations
            .iter()
            .filter(|r| r.protected || r.touches_protected.is_some())
            .map(|r| r.oid)
            .collect();
        // Names that are no plain identifiers (blanks, dots) are looked for as they stand.
        let odd_names: Vec<&str> = names
            .iter()
            .map(|name| &**name)
            .filter(|name| !name.chars().all(is_identifier_char))
            .collect();
        let clear = self.declarations.columns.iter().any(|column| column.mode == Mode::None);
        let mut found = NameSet::default();
        let mut open: Vec<(&str, HashSet<String>)> = Vec::new();
        for (function, relation) in &self.function_uses {
            if sensitive_oids.contains(relation) {
                found.insert(Arc::from(function.to_lowercase()));
            }
        }
        for (function, source) in &self.functions {
            let Some(source) = source else {
                found.insert(Arc::from(function.to_lowercase()));
                continue;
            };
            let source = source.to_lowercase();
            let words: HashSet<String> = source
                .split(|c| !is_identifier_char(c))
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect();
            // Code that runs SQL which it puts together may read what is stored in clear without naming it.
            let runs_text = || {
                words
                    .iter()
                    .any(|word| word == "execute" || word == "fetch" || crate::plan::words::runs_sql(word))
            };
            if words.iter().any(|word| names.contains(word.as_str()))
                || clear && runs_text()
                || odd_names.iter().any(|name| source.contains(name))
            {
                found.insert(Arc::from(function.to_lowercase()));
            } else {
                open.push((function, words));
            }
        }
        loop {
            let before = found.len();
            open.retain(|(function, words)| {
                let calls = words.iter().any(|word| found.contains(word.as_str()));
                if calls {
                    found.insert(Arc::from(function.to_lowercase()));
                }
                !calls
            });
            if found.len() == before {
                return found;
            }
        }
    }
}

/// Whether a column is stored as it is declared: what it then is, or why it can't be used.
fn judge(
    kind: RelationKind,
    column: &Column,
    comment: Option<&str>,
    declaration: Option<&Declaration>,
) -> Result<Option<ProtectedColumn>, String> {
    let Some(declaration) = declaration else {
        return if column.stored_sealed {
            Err("it is stored sealed, but the policy does not declare it".into())
        } else {
            Ok(None)
        };
    };
    if kind != RelationKind::Table {
        return Err("the policy declares it, but only columns of tables can be protected".into());
    }
    let logical_type = match (declaration.mode.is_sealed(), column.stored_sealed) {
        (true, true) => match comment.and_then(read_marker) {
            Some((logical_type, _)) => logical_type,
            None => return Err(
                "it is stored sealed, but its comment does not begin with a type marker (\"pgward: \" and the type)"
                    .into(),
            ),
        },
        (true, false) => return Err("not sealed yet: the policy declares it sealed, but it is stored in clear".into()),
        (false, true) => return Err("the policy declares it with mode none, but it is stored sealed".into()),
        (false, false) => match LogicalType::from_catalog(column.type_oid, column.typmod) {
            Some(logical_type) => logical_type,
            None => return Err("the policy declares it, but pgward does not support its type".into()),
        },
    };
    if let Some(why) = unfit(declaration.mode, logical_type) {
        return Err(why.into());
    }
    Ok(Some(ProtectedColumn {
        id: declaration.id,
        name: declaration.name.clone(),
        mode: declaration.mode,
        key_domain: declaration.key_domain.clone(),
        logical_type,
        category: declaration.category.clone(),
    }))
}

/// Why a mode can't be had for a type, if so.
pub(in crate::plan) fn unfit(mode: Mode, logical_type: LogicalType) -> Option<&'static str> {
    match (mode, logical_type) {
        (Mode::Eq | Mode::Deterministic, LogicalType::Json | LogicalType::Jsonb) => {
            Some("json and jsonb have no equality that pgward can keep; declare mode sealed")
        }
        (Mode::Eq | Mode::Deterministic, LogicalType::Bool) => {
            Some("a boolean has two values, so an equality tag would show them; declare mode sealed")
        }
        (Mode::Deterministic, LogicalType::Numeric(_) | LogicalType::Float8) => Some(
            "equal values of this type have different stored forms, so mode deterministic can't compare them; declare mode eq",
        ),
        _ => None,
    }
}

/// A unique key whose columns all have names; `None` for an index over any other expression.
fn unique_key(key: &DraftKey, relation: &Relation) -> Option<UniqueKey> {
    let mut columns = Vec::with_capacity(key.columns.len());
    for column in &key.columns {
        columns.push(match column {
            KeyColumn::Attribute(attnum) => relation.columns.iter().find(|c| c.attnum == *attnum)?.name.clone(),
            KeyColumn::Tag(attnum) => {
                let column = relation.columns.iter().find(|c| c.attnum == *attnum)?;
                column.stored_sealed.then(|| column.name.clone())?
            }
            KeyColumn::Other => return None,
        });
    }
    Some(UniqueKey {
        name: key.name.clone(),
        columns,
        constraint: key.constraint,
    })
}

fn is_identifier_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// A value that must be there and be a number.
fn number<T: std::str::FromStr>(value: Option<&[u8]>, what: &str) -> Result<T, String> {
    text(value, what)?
        .parse()
        .map_err(|_| format!("catalog row whose {what} is not a number"))
}
