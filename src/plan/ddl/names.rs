//! The names that PostgreSQL gives to indexes and constraints that have none (`src/backend/commands/indexcmds.c`: ChooseIndexName,
//! ChooseRelationName, makeObjectName). A companion index must be called what the client's own constraint would have been called: errors and
//! later migrations name it.

use std::sync::Arc;

/// NAMEDATALEN - 1
const MAX: usize = 63;

/// `table_columns_label`, shortened as PostgreSQL does, with a number behind the label until `taken` says no.
pub(super) fn index_name(table: &str, columns: &[Arc<str>], label: &str, taken: impl Fn(&str) -> bool) -> Arc<str> {
    relation_name(table, Some(&addition(columns)), label, taken)
}

/// `first[_second]_label`, as above.
pub(super) fn relation_name(first: &str, second: Option<&str>, label: &str, taken: impl Fn(&str) -> bool) -> Arc<str> {
    let mut name = object_name(first, second, label);
    for pass in 1u32.. {
        if !taken(&name) {
            break;
        }
        name = object_name(first, second, &format!("{label}{pass}"));
    }
    Arc::from(name)
}

/// The columns' names joined by underscores; no more are added once the name is too long anyway.
fn addition(columns: &[Arc<str>]) -> String {
    let mut out = String::new();
    for column in columns {
        if !out.is_empty() {
            out.push('_');
        }
        out.push_str(column);
        if out.len() > MAX {
            break;
        }
    }
    out
}

fn object_name(first: &str, second: Option<&str>, label: &str) -> String {
    let overhead = label.len() + 1 + usize::from(second.is_some());
    let available = MAX.saturating_sub(overhead);
    let (mut from_first, mut from_second) = (first.len(), second.map_or(0, str::len));
    while from_first + from_second > available {
        if from_first > from_second {
            from_first -= 1;
        } else {
            from_second -= 1;
        }
    }
    let first = clip(first, from_first);
    match second {
        Some(second) => format!("{first}_{}_{label}", clip(second, from_second)),
        None => format!("{first}_{label}"),
    }
}

fn clip(text: &str, mut length: usize) -> &str {
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    &text[..length]
}
