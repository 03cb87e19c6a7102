//! The house rules that a compiler doesn't check: which module may import which, who may use what is dangerous or prints, how long a file may be.
//!
//! Reads the sources as text: comments and literals are blanked out first, so that only code counts. Files called `tests.rs` (and those in
//! a folder `tests`) are unit tests: they may import anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Module → the modules that it may import, in the order in which data travels. An edge that isn't here is a fault; so is an order
/// that isn't one: each module may import only what stands above it.
const ALLOWED: [(&str, &[&str]); 14] = [
    ("wire", &[]),
    ("value", &["wire::sqlstate"]),
    ("plan", &["wire::sqlstate", "value"]),
    ("policy", &["value", "plan"]),
    ("crypto", &["value", "plan", "policy"]),
    ("audit", &["plan", "policy"]),
    ("metrics", &["plan"]),
    (
        "session",
        &["wire", "value", "plan", "policy", "crypto", "audit", "metrics"],
    ),
    (
        "control",
        &["wire", "value", "plan", "policy", "crypto", "audit", "metrics"],
    ),
    ("catalog", &["plan", "policy", "crypto", "metrics", "control"]),
    (
        "net",
        &[
            "wire", "plan", "policy", "crypto", "audit", "metrics", "session", "control", "catalog",
        ],
    ),
    ("admin", &["policy", "audit", "metrics"]),
    (
        "cli",
        &[
            "wire", "value", "plan", "policy", "crypto", "audit", "metrics", "session", "control", "catalog", "net",
            "admin",
        ],
    ),
    // The binary hands its arguments to `cli`.
    ("main", &["cli"]),
];

/// Lines of a file above which it must stand in [`LONG_FILES`].
const MAX_LINES: usize = 600;

/// The same for unit tests: a list of cases is read one by one.
const MAX_TEST_LINES: usize = 1_000;

/// Files that are longer, each with the reason. The list may only get shorter.
const LONG_FILES: [(&str, &str); 1] = [(
    "plan/expr.rs",
    "one function a kind of expression, which call each other",
)];

struct Source {
    /// Relative to `src`.
    path: String,
    /// Module path: `["policy", "file"]`; empty for lib.rs.
    module: Vec<String>,
    /// The text with comments, strings and character literals blanked out, line breaks kept.
    code: String,
    raw: String,
    is_test: bool,
}

fn sources() -> Vec<Source> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let relative = file.strip_prefix(&root).unwrap();
            let mut module = relative
                .with_extension("")
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect::<Vec<_>>();
            if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
                module.pop();
            }
            let raw = std::fs::read_to_string(&file).unwrap();
            Source {
                path: relative.to_str().unwrap().to_owned(),
                is_test: module.iter().any(|part| part == "tests"),
                module,
                code: code_only(&raw),
                raw,
            }
        })
        .collect()
}

/// Blanks out comments, string literals and character literals; what stays is at its place.
fn code_only(text: &str) -> String {
    let chars = text.chars().collect::<Vec<_>>();
    let mut out = String::with_capacity(text.len());
    let blank = |out: &mut String, part: &[char]| {
        out.extend(part.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    };
    let starts = |at: usize, with: &str| with.chars().enumerate().all(|(n, c)| chars.get(at + n) == Some(&c));
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        if starts(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                if starts(at, "/*") {
                    depth += 1;
                    at += 2;
                } else if starts(at, "*/") {
                    depth -= 1;
                    at += 2;
                } else {
                    at += 1;
                }
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
        } else if let Some(end) = raw_string_end(&chars, at) {
            at = end;
        } else if chars[at] == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if chars[at] == '\'' && starts(at + 1, "\\") {
            // '\'' '\n' '\u{0}'; what follows the backslash is never the closing quote.
            at += 3;
            while at < chars.len() && chars[at] != '\'' {
                at += 1;
            }
            at += 1;
        } else if chars[at] == '\'' && chars.get(at + 2) == Some(&'\'') {
            at += 3;
        } else {
            // Code, a lifetime included.
            out.push(chars[at]);
            at += 1;
            continue;
        }
        blank(&mut out, &chars[start..at.min(chars.len())]);
    }
    out
}

/// The end of the raw string that starts at `at` (`r"…"`, `br#"…"#`), if one does.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let word_before = at.checked_sub(1).is_some_and(|before| is_word(chars[before]));
    let mut here = at + usize::from(matches!(chars.get(at), Some('b' | 'c')));
    if word_before || chars.get(here) != Some(&'r') {
        return None;
    }
    here += 1;
    let hashes = chars[here..].iter().take_while(|c| **c == '#').count();
    here += hashes;
    if chars.get(here) != Some(&'"') {
        return None;
    }
    let closing = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect::<Vec<_>>();
    while here + 1 < chars.len() {
        here += 1;
        if chars[here..].starts_with(&closing) {
            return Some(here + closing.len());
        }
    }
    Some(chars.len())
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Paths that the code names through `root::`, as `[first, second]`, groups (`root::{a, b::c}`) opened; only the first two parts.
fn paths_after<'a>(code: &'a str, root: &str) -> Vec<(usize, Vec<&'a str>)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| is_word(c) || c == ':') {
            continue;
        }
        found.extend(
            tree(&code[at + root.len()..])
                .into_iter()
                .map(|path| (line_of(code, at), path)),
        );
    }
    found
}

/// The leaves of a use tree, cut to two parts each.
fn tree(rest: &str) -> Vec<Vec<&str>> {
    let rest = rest.trim_start();
    if let Some(inner) = rest.strip_prefix('{') {
        let (mut depth, mut start, mut leaves) = (0usize, 0, Vec::new());
        for (at, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    leaves.extend(tree(&inner[start..at]));
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    leaves.extend(tree(&inner[start..at]));
                    start = at + 1;
                }
                _ => {}
            }
        }
        return leaves;
    }
    let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let (first, rest) = rest.split_at(end);
    if first.is_empty() {
        return Vec::new();
    }
    match rest.trim_start().strip_prefix("::") {
        Some(rest) => {
            let seconds = tree(rest);
            if seconds.is_empty() {
                return vec![vec![first]];
            }
            seconds.into_iter().map(|second| vec![first, second[0]]).collect()
        }
        None => vec![vec![first]],
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// Every import of another top-level module: (line, [module, next part]).
fn imports(source: &Source) -> Vec<(usize, Vec<&str>)> {
    let mut found = paths_after(&source.code, "crate::");
    if source.module == ["main"] {
        found.extend(paths_after(&source.code, "pgward::"));
    }
    // `super::` as often as the module is deep leads to the crate's root.
    let depth = source.module.len();
    if depth > 0 {
        let climb = "super::".repeat(depth);
        found.extend(paths_after(&source.code, &climb));
    }
    found
}

#[test]
fn the_table_lists_every_module_in_the_order_of_lib_rs_and_has_no_cycle() {
    let sources = sources();
    let lib = sources.iter().find(|source| source.path == "lib.rs").unwrap();
    let declared = lib
        .code
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect::<Vec<_>>();
    let listed = ALLOWED
        .iter()
        .map(|(module, _)| *module)
        .filter(|module| *module != "main")
        .collect::<Vec<_>>();
    assert_eq!(declared, listed, "left: src/lib.rs; right: the table of this test");
    let mut above = BTreeSet::new();
    for (module, may) in ALLOWED {
        for import in may {
            let first = import.split("::").next().unwrap();
            assert!(
                above.contains(first),
                "{module} may import {import}, which does not stand above it"
            );
        }
        above.insert(module);
    }
}

#[test]
fn modules_import_only_what_they_may() {
    let allowed = ALLOWED.iter().copied().collect::<BTreeMap<_, _>>();
    let mut faults = Vec::new();
    let mut seen = 0;
    for source in sources().iter().filter(|source| !source.is_test) {
        let Some(module) = source.module.first() else { continue };
        let may = allowed
            .get(module.as_str())
            .unwrap_or_else(|| panic!("{} is in no listed module", source.path));
        for (line, path) in imports(source) {
            if path[0] == module || !allowed.contains_key(path[0]) {
                continue;
            }
            seen += 1;
            // `wire::sqlstate` allows what is below it, and not the whole of `wire`.
            let fine = may
                .iter()
                .any(|edge| path.starts_with(&edge.split("::").collect::<Vec<_>>()));
            if !fine {
                faults.push(format!(
                    "src/{}:{line}: {module} may not import {}",
                    source.path,
                    path.join("::")
                ));
            }
        }
    }
    assert!(seen > 20, "only {seen} imports were found: the reader is broken");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_reader_sees_through_comments_literals_and_groups() {
    let code = code_only(
        "use crate::{plan::{Mode, access}, wire::sqlstate::SqlState};\n// crate::no1\n/* /* crate::no2 */ */ let a = \"crate::no3 \\\" crate::no4\";\n\
         let b = r#\"crate::no5\"#; let c = '\"'; let d: &'a str = x; crate :: plan; let e = '\\''; crate::value::mask(f);\n/// [`crate::no6`]\nx_crate::no7",
    );
    let found = paths_after(&code, "crate::")
        .into_iter()
        .map(|(line, path)| (line, path.join("::")))
        .collect::<Vec<_>>();
    let expected = [
        (1, "plan::Mode"),
        (1, "plan::access"),
        (1, "wire::sqlstate"),
        (4, "value::mask"),
    ];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())), "{code}");
}

#[test]
fn what_goes_around_the_policy_is_used_by_tests_only() {
    for source in sources()
        .iter()
        .filter(|source| !source.is_test && source.module.first().is_none_or(|m| m != "policy"))
    {
        let made = words(&source.code).find(|(_, word)| *word == "unchecked_permit");
        assert_eq!(made, None, "src/{} makes a permit of its own", source.path);
        for (line, path) in imports(source) {
            assert_ne!(path, ["policy", "danger"], "src/{}:{line}", source.path);
        }
    }
}

#[test]
fn unit_tests_are_compiled_for_tests_only() {
    let sources = sources();
    for source in &sources {
        let lines = source
            .code
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>();
        for (n, line) in lines.iter().enumerate() {
            if line
                .split_whitespace()
                .collect::<Vec<_>>()
                .windows(2)
                .any(|pair| pair[0] == "mod" && pair[1].starts_with("tests"))
            {
                assert!(
                    n > 0 && lines[n - 1] == "#[cfg(test)]" || source.is_test,
                    "src/{}: `{line}` is not behind #[cfg(test)]",
                    source.path
                );
            }
        }
    }
}

#[test]
fn the_crate_forbids_unsafe_code() {
    let lib = sources().into_iter().find(|source| source.path == "lib.rs").unwrap();
    assert!(lib.code.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]"));
}

#[test]
fn only_the_command_line_prints_and_nothing_is_left_undone() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test) {
        let prints = source.module.first().is_none_or(|module| module != "cli");
        for (at, word) in words(&source.code) {
            let is_macro = source.code[at + word.len()..].starts_with('!');
            let bad = match word {
                "println" | "eprintln" | "print" | "eprint" => prints,
                "dbg" | "todo" | "unimplemented" => true,
                _ => false,
            };
            if is_macro && bad {
                faults.push(format!("src/{}:{}: {word}!", source.path, line_of(&source.code, at)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_fit_one_sitting() {
    let listed = LONG_FILES.into_iter().collect::<BTreeMap<_, _>>();
    let mut long = BTreeSet::new();
    let mut faults = Vec::new();
    for source in sources() {
        let lines = source.raw.lines().count();
        let most = if source.is_test { MAX_TEST_LINES } else { MAX_LINES };
        if lines > most {
            long.insert(source.path.clone());
            if !listed.contains_key(source.path.as_str()) {
                faults.push(format!(
                    "src/{} has {lines} lines, {most} are allowed: split it",
                    source.path
                ));
            }
        }
    }
    for (path, reason) in listed {
        assert!(!reason.is_empty(), "{path} has no reason");
        if !long.contains(path) {
            faults.push(format!("src/{path} is short enough now: take it off the list"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Words of the code with their places.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - code.as_ptr() as usize, word))
}
