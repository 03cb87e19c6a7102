//! The golden matrix: what every handler of the example policy may do with every protected column, for every purpose and use.
//!
//! A change of the policy's meaning shows as a change of `tests/golden/rights.txt`, to be reviewed like code. To write it anew:
//! `PGWARD_BLESS=1 cargo test --test rights_matrix`.

use pgward::plan::{Access, ColumnId, ColumnName, ProtectedColumn, Use};
use pgward::policy::file::{DeclaredColumn, ReadGrant};
use pgward::policy::{Circumstances, Disclosure, HandlerProfile, Policy};
use pgward::value::LogicalType;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

const EXAMPLE: &str = include_str!("../deploy/pgward.toml");

const NOW: Circumstances = Circumstances {
    client_addr: None,
    now: 0,
};

/// What `decide` answers for one access, as a word.
fn answer(policy: &Policy, who: &HandlerProfile, column: &DeclaredColumn, usage: Use, derived: bool) -> &'static str {
    let access = Access {
        column: Arc::new(ProtectedColumn {
            id: ColumnId(1),
            name: column.name.clone(),
            mode: column.mode,
            key_domain: column.key_domain.clone(),
            logical_type: LogicalType::Text,
            category: column.category.clone(),
        }),
        usage,
        derived,
    };
    match policy.decide(who, &NOW, &[access]) {
        Ok(permits) => match (usage, permits[0].disclosure()) {
            (Use::Read, Disclosure::Clear) => "clear",
            (Use::Read, Disclosure::Masked(_)) => "masked",
            _ => "yes",
        },
        Err(denied) if denied.masked_only => "masked-only",
        Err(_) => "no",
    }
}

/// Log-in roles of the matrix: every handler's, and one that is nobody's.
fn roles(policy: &Policy) -> Vec<String> {
    let handlers = policy.file().handlers.iter();
    handlers
        .map(|(name, handler)| handler.role.clone().unwrap_or_else(|| name.clone()))
        .chain(["undeclared_role".to_owned()])
        .collect()
}

/// Purposes of the matrix: none stated, each of the policy, and one that isn't.
fn purposes(policy: &Policy) -> Vec<Option<String>> {
    let declared = policy.file().purposes.keys().cloned().map(Some);
    std::iter::once(None)
        .chain(declared)
        .chain([Some("undeclared".into())])
        .collect()
}

fn matrix(policy: &Policy) -> String {
    let mut out = String::from(
        "# What each log-in role may do with each protected column of deploy/pgward.toml. Columns: log-in role, stated purpose (- is none: the\n\
         # handler's own), column, read, read within an expression, search, write. Written by tests/rights_matrix.rs.\n",
    );
    for role in roles(policy) {
        for purpose in purposes(policy) {
            let who = policy.handler("shop", &role, purpose.as_deref());
            for column in policy.declared("shop") {
                writeln!(
                    out,
                    "{role:<17} {:<17} {:<32} {:<7} {:<12} {:<4} {}",
                    purpose.as_deref().unwrap_or("-"),
                    column.name.to_string(),
                    answer(policy, &who, &column, Use::Read, false),
                    answer(policy, &who, &column, Use::Read, true),
                    answer(policy, &who, &column, Use::Search, false),
                    answer(policy, &who, &column, Use::Write, false),
                )
                .unwrap();
            }
        }
    }
    out
}

#[test]
fn rights_are_those_of_the_golden_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rights.txt");
    let now = matrix(&Policy::parse(EXAMPLE).unwrap());
    if std::env::var_os("PGWARD_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &now).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (n, (golden, now)) in golden.lines().zip(now.lines()).enumerate() {
        assert_eq!(
            golden,
            now,
            "line {} of tests/golden/rights.txt (left) is not what the policy says (right)",
            n + 1
        );
    }
    assert_eq!(golden.lines().count(), now.lines().count(), "number of lines");
}

/// The matrix is computed by asking; `Policy::rights` by looking. They must agree, and both with what the file says in words.
#[test]
fn rights_as_looked_up_are_rights_as_decided() {
    let policy = Policy::parse(EXAMPLE).unwrap();
    let mut granted = 0;
    for role in roles(&policy) {
        for purpose in purposes(&policy) {
            let who = policy.handler("shop", &role, purpose.as_deref());
            for column in policy.declared("shop") {
                let rights = policy.rights_by_name(&who, &column.name);
                let read = match rights.read {
                    None => "no",
                    Some(ReadGrant::Masked) => "masked",
                    Some(ReadGrant::Clear) => "clear",
                };
                let yes = |right| if right { "yes" } else { "no" };
                assert_eq!(answer(&policy, &who, &column, Use::Read, false), read);
                assert_eq!(answer(&policy, &who, &column, Use::Search, false), yes(rights.search));
                assert_eq!(answer(&policy, &who, &column, Use::Write, false), yes(rights.write));
                granted += u32::from(rights.read.is_some() || rights.search || rights.write);
            }
        }
    }
    assert!(granted > 0);
}

/// Default deny, without the golden file: an empty policy gives nothing to anyone, each grant alone gives exactly what it names.
#[test]
fn each_grant_gives_what_it_names_and_nothing_else() {
    let whole = Policy::parse(EXAMPLE).unwrap();
    let (head, grants) = EXAMPLE.split_at(EXAMPLE.find("[[grant]]").unwrap());
    let grants: Vec<&str> = grants.split("[[grant]]").skip(1).collect();
    assert_eq!(grants.len(), whole.file().grants.len());
    let nothing = Policy::parse(head).unwrap();
    for (n, text) in grants.iter().enumerate() {
        let policy = Policy::parse(&format!("{head}[[grant]]{text}")).unwrap();
        let grant = &policy.file().grants[0];
        for (name, handler) in &policy.file().handlers {
            let role = handler.role.as_ref().unwrap_or(name);
            for purpose in policy.file().purposes.keys() {
                let who = policy.handler("shop", role, Some(purpose));
                let his = handler.groups.contains(&grant.group) && grant.purpose == *purpose;
                for column in policy.declared("shop") {
                    let named = his && names(grant, &column.name, &column.category);
                    let rights = policy.rights_by_name(&who, &column.name);
                    let expected = if named {
                        (grant.read, grant.search, grant.write)
                    } else {
                        (None, false, false)
                    };
                    assert_eq!(
                        (rights.read, rights.search, rights.write),
                        expected,
                        "grant {}, {role}, {purpose}, {}",
                        n + 1,
                        column.name
                    );
                    let none = nothing.rights_by_name(&nothing.handler("shop", role, Some(purpose)), &column.name);
                    assert_eq!((none.read, none.search, none.write), (None, false, false));
                }
            }
        }
    }
}

/// Whether the grant's text names the column; by its spelling, not by pgward's own reader of names.
fn names(grant: &pgward::policy::file::Grant, column: &ColumnName, category: &str) -> bool {
    grant.categories.iter().any(|name| name == category)
        || grant.columns.iter().any(|name| {
            *name == column.to_string()
                || name
                    .strip_suffix(".*")
                    .is_some_and(|table| table == column.relation.to_string())
        })
}
