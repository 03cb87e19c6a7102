//! Text → [`Outline`]: every section and every entry is read by itself, so that one malformed entry doesn't hide the faults of the others.
//! What the entries mean together is checked by [`super::validate`].

use super::file::{self, Fault};
use serde::de::{DeserializeOwned, IntoDeserializer};
use std::collections::{BTreeMap, HashMap};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Bytes of a policy file; thousands of handlers fit in. A cap, so that a wrong path doesn't fill the memory.
pub(super) const MAX_FILE_BYTES: usize = 4 << 20;

/// The file as far as it could be read. `None` where an entry is malformed: its fault is listed, its name still counts as declared.
#[derive(Default)]
pub(super) struct Outline {
    pub version: Option<String>,
    pub listen: Option<file::Listen>,
    pub upstream: Option<file::Upstream>,
    pub control: Option<file::Control>,
    pub keys: Option<file::Keys>,
    pub journal: Option<file::Journal>,
    pub admin: Option<file::Admin>,
    pub limits: Option<file::Limits>,
    pub categories: BTreeMap<String, Option<file::Category>>,
    pub purposes: BTreeMap<String, Option<file::Purpose>>,
    pub tables: Vec<Option<file::Table>>,
    pub groups: BTreeMap<String, Option<file::Group>>,
    pub handlers: BTreeMap<String, Option<file::Handler>>,
    pub grants: Vec<Option<file::Grant>>,
}

impl Outline {
    /// The whole file, where nothing is missing.
    pub fn complete(self) -> Option<file::File> {
        fn all<T>(map: BTreeMap<String, Option<T>>) -> Option<BTreeMap<String, T>> {
            map.into_iter().map(|(name, entry)| Some((name, entry?))).collect()
        }
        Some(file::File {
            version: self.version?,
            listen: self.listen?,
            upstream: self.upstream?,
            control: self.control?,
            keys: self.keys?,
            journal: self.journal?,
            admin: self.admin?,
            limits: self.limits?,
            categories: all(self.categories)?,
            purposes: all(self.purposes)?,
            tables: self.tables.into_iter().collect::<Option<_>>()?,
            groups: all(self.groups)?,
            handlers: all(self.handlers)?,
            grants: self.grants.into_iter().collect::<Option<_>>()?,
        })
    }
}

/// Faults found so far, and where each key stands.
pub(super) struct Faults {
    lines: Lines,
    /// Line of each key by its path (`handlers.kim.groups`, `grant[3].columns[1]`).
    keys: HashMap<String, usize>,
    found: Vec<Fault>,
}

impl Faults {
    /// Notes a fault of the entry at `path`; its line is that of the entry or of the nearest one around it.
    pub fn add(&mut self, path: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        let path = path.into();
        let mut around = path.as_str();
        let line = loop {
            if let Some(line) = self.keys.get(around) {
                break Some(*line);
            }
            match around.rfind(['.', '[']) {
                Some(end) => around = around.get(..end).unwrap_or_default(),
                None => break None,
            }
        };
        self.found.push(Fault {
            line,
            key: path,
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    fn syntax(&mut self, path: &str, error: &toml::de::Error) {
        let line = error
            .span()
            .map(|span| self.lines.of(span.start))
            .or_else(|| self.keys.get(path).copied());
        // Of a message of several lines (a syntax error's) the first names the fault.
        let what = error.message().lines().collect::<Vec<_>>().join("; ");
        self.found.push(Fault {
            line,
            key: path.to_owned(),
            what,
            remedy: "see the annotated example deploy/pgward.toml".into(),
        });
    }

    /// All of them, in the order of the file.
    pub fn into_found(mut self) -> Vec<Fault> {
        self.found.sort_by_key(|fault| fault.line.unwrap_or(0));
        self.found
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

/// Byte offsets of line starts.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(
            std::iter::once(0)
                .chain(text.match_indices('\n').map(|(at, _)| at + 1))
                .collect(),
        )
    }
    /// 1-based line of a byte.
    fn of(&self, at: usize) -> usize {
        self.0.partition_point(|start| *start <= at)
    }
}

type Table<'i> = DeTable<'i>;

/// Reads the text as far as possible.
pub(super) fn outline(text: &str) -> (Outline, Faults) {
    let mut faults = Faults {
        lines: Lines::new(text),
        keys: HashMap::new(),
        found: Vec::new(),
    };
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in &errors {
            faults.syntax("", error);
        }
        // What the parser made of broken TOML would only give faults that aren't there.
        return (Outline::default(), faults);
    }
    let mut root = root.into_inner();
    index(&root, "", &mut faults);
    let outline = Outline {
        version: required(&mut root, "version", "version = \"2026-01-31\"", &mut faults),
        listen: required(&mut root, "listen", "[listen] with addresses", &mut faults),
        upstream: required(&mut root, "upstream", "[upstream] with host and database", &mut faults),
        control: required(&mut root, "control", "[control] with user", &mut faults),
        keys: required(&mut root, "keys", "[keys] with provider and path", &mut faults),
        journal: required(&mut root, "journal", "[journal] with directory", &mut faults),
        admin: optional(&mut root, "admin", &mut faults),
        limits: optional(&mut root, "limits", &mut faults),
        categories: map(&mut root, "categories", &mut faults),
        purposes: map(&mut root, "purposes", &mut faults),
        tables: array(&mut root, "table", &mut faults),
        groups: map(&mut root, "groups", &mut faults),
        handlers: map(&mut root, "handlers", &mut faults),
        grants: array(&mut root, "grant", &mut faults),
    };
    for (key, _) in &root {
        faults.add(
            key.get_ref().as_ref(),
            "unknown key",
            "remove it; known are version, listen, upstream, control, keys, journal, admin, limits, categories, purposes, table, groups, handlers, grant",
        );
    }
    (outline, faults)
}

/// Notes where every key stands.
fn index(table: &Table<'_>, path: &str, faults: &mut Faults) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        let line = faults.lines.of(key.span().start);
        index_value(value, path, line, faults);
    }
}

fn index_value(value: &Spanned<DeValue<'_>>, path: String, line: usize, faults: &mut Faults) {
    match value.get_ref() {
        DeValue::Table(table) => index(table, &path, faults),
        DeValue::Array(array) => {
            for (n, entry) in array.iter().enumerate() {
                let line = faults.lines.of(entry.span().start);
                index_value(entry, format!("{path}[{}]", n + 1), line, faults);
            }
        }
        _ => {}
    }
    faults.keys.insert(path, line);
}

/// Path of an entry: names with odd characters in quotes, as TOML has them.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn read<T: DeserializeOwned>(value: Spanned<DeValue<'_>>, path: &str, faults: &mut Faults) -> Option<T> {
    T::deserialize(value.into_deserializer())
        .map_err(|error| faults.syntax(path, &error))
        .ok()
}

fn take<'i>(root: &mut Table<'i>, key: &str) -> Option<Spanned<DeValue<'i>>> {
    root.remove(key)
}

fn required<T: DeserializeOwned>(root: &mut Table<'_>, key: &str, remedy: &str, faults: &mut Faults) -> Option<T> {
    match take(root, key) {
        Some(value) => read(value, key, faults),
        None => {
            faults.add(key, "is missing", format!("add {remedy}"));
            None
        }
    }
}

fn optional<T: DeserializeOwned + Default>(root: &mut Table<'_>, key: &str, faults: &mut Faults) -> Option<T> {
    match take(root, key) {
        Some(value) => read(value, key, faults),
        None => Some(T::default()),
    }
}

fn map<T: DeserializeOwned>(root: &mut Table<'_>, key: &str, faults: &mut Faults) -> BTreeMap<String, Option<T>> {
    let Some(value) = take(root, key) else {
        return BTreeMap::new();
    };
    match value.into_inner() {
        DeValue::Table(table) => table
            .into_iter()
            .map(|(name, value)| {
                let name = name.into_inner().into_owned();
                let entry = read(value, &join(key, &name), faults);
                (name, entry)
            })
            .collect(),
        _ => {
            faults.add(key, "must be a table", format!("write [{key}.<name>]"));
            BTreeMap::new()
        }
    }
}

fn array<T: DeserializeOwned>(root: &mut Table<'_>, key: &str, faults: &mut Faults) -> Vec<Option<T>> {
    let Some(value) = take(root, key) else {
        return Vec::new();
    };
    match value.into_inner() {
        DeValue::Array(entries) => entries
            .into_iter()
            .enumerate()
            .map(|(n, value)| read(value, &format!("{key}[{}]", n + 1), faults))
            .collect(),
        _ => {
            faults.add(key, "must be an array of tables", format!("write [[{key}]]"));
            Vec::new()
        }
    }
}
