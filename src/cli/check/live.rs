//! The comparison with the live database: what of the policy is there, and as it should be. Reads only.

use super::report::{ColumnReport, Report, State, role};
use crate::control::{self, ControlError};
use crate::crypto::keyring::KeyState;
use crate::plan::introspect::{CATALOG_QUERY, Declarations, SnapshotBuilder};
use crate::plan::schema::Relation;
use crate::plan::{ColumnId, ColumnName, Declaration, Snapshot};
use crate::policy::Policy;
use crate::policy::file::DeclaredColumn;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Completes the report with what the database says.
pub async fn compare(policy: &Policy, report: &mut Report) {
    report.live = true;
    let databases: Vec<Arc<str>> = policy.databases().cloned().collect();
    let mut roles_seen = false;
    for database in &databases {
        let client = match control::connect(policy.file(), database).await {
            Ok(client) => client,
            Err(error) => {
                report.problems.push(with_causes(&error));
                continue;
            }
        };
        if !roles_seen {
            // Roles belong to the cluster, not to a database.
            roles_seen = true;
            if let Err(error) = roles(policy, &client, report).await {
                report
                    .problems
                    .push(format!("the server's roles can't be read: {}", with_causes(&error)));
            }
        }
        match snapshot(policy, &client, database).await {
            Ok(snapshot) => columns(policy, database, &snapshot, report),
            Err(what) => report
                .problems
                .push(format!("the catalog of database {database} can't be read: {what}")),
        }
    }
    keys(policy, &databases, report).await;
}

/// The catalog, joined with what the policy declares. The ids are of no consequence here, so that nothing has to be registered for a check.
async fn snapshot(policy: &Policy, client: &Client, database: &str) -> Result<Snapshot, String> {
    let declaration = |(n, column): (usize, DeclaredColumn)| {
        Arc::new(Declaration {
            id: ColumnId(u32::try_from(n).unwrap_or(u32::MAX)),
            name: column.name,
            mode: column.mode,
            key_domain: column.key_domain,
            category: column.category,
        })
    };
    let declarations = Declarations {
        columns: policy
            .declared(database)
            .into_iter()
            .enumerate()
            .map(declaration)
            .collect(),
        subjects: policy.subjects(database).to_vec(),
    };
    let mut builder = SnapshotBuilder::new(Arc::new(declarations));
    let messages = client
        .simple_query(CATALOG_QUERY)
        .await
        .map_err(|error| with_causes(&error))?;
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<Option<&[u8]>> = (0..row.len()).map(|n| row.get(n).map(str::as_bytes)).collect();
            builder.row(&values)?;
        }
    }
    Ok(builder.finish())
}

fn columns(policy: &Policy, database: &str, snapshot: &Snapshot, report: &mut Report) {
    let mut declared = policy.declared(database);
    for column in report.columns.iter_mut().filter(|column| column.database == database) {
        let Some(at) = declared.iter().position(|declared| same(&declared.name, column)) else {
            continue;
        };
        let declared = declared.swap_remove(at);
        let name = format!("{}.{}", column.table, column.column);
        let Some(relation) = snapshot.relations.get(&declared.name.relation) else {
            column.state = State::NoTable;
            continue;
        };
        let Some(found) = relation.columns.iter().find(|found| found.name == declared.name.column) else {
            column.state = State::NoColumn;
            report.warnings.push(format!(
                "{name} is declared, and table {} has no such column",
                column.table
            ));
            continue;
        };
        match (&found.protected, &found.unusable) {
            (Some(protected), _) => {
                column.logical_type = Some(protected.logical_type.to_sql());
                column.state = State::Protected;
            }
            (None, Some(why)) => {
                column.state = State::Unusable(why.to_string());
                report.problems.push(format!("{name}: {why}"));
            }
            (None, None) => {
                column.state = State::Unusable("the catalog does not show it as protected".into());
                report.problems.push(format!(
                    "{name} is declared, and the catalog does not show it as protected"
                ));
            }
        }
    }
    undeclared_and_subjects(policy, database, snapshot, report);
    if snapshot.sealed_domain_oid.is_none() && policy.declared(database).iter().any(|column| column.mode.is_sealed()) {
        report.problems.push(format!(
            "database {database} has no domain pgward.sealed, so that nothing can be stored sealed; run `pgward init`"
        ));
    }
}

fn same(name: &ColumnName, column: &ColumnReport) -> bool {
    *name.column == *column.column && name.relation.to_string() == column.table
}

/// Sealed columns that the policy forgot, and subject columns that are not there.
fn undeclared_and_subjects(policy: &Policy, database: &str, snapshot: &Snapshot, report: &mut Report) {
    let mut relations: Vec<&Arc<Relation>> = snapshot.relations.values().collect();
    relations.sort_by(|a, b| a.name.cmp(&b.name));
    for relation in relations {
        for column in relation.columns.iter().filter(|column| column.stored_sealed) {
            let name = ColumnName {
                relation: relation.name.clone(),
                column: column.name.clone(),
            };
            if !snapshot.declarations.contains_key(&name) {
                report.problems.push(format!(
                    "{name} is stored sealed, and the policy does not declare it: nobody can read it"
                ));
            }
        }
    }
    for (table, subject) in policy.subjects(database) {
        if let Some(relation) = snapshot.relations.get(table)
            && !relation.columns.iter().any(|column| column.name == *subject)
        {
            report.problems.push(format!(
                "table {} has no column {subject}, which the policy names as its subject",
                table
            ));
        }
    }
}

/// Handlers whose role is not there, and roles that log in without being a handler's.
async fn roles(policy: &Policy, client: &Client, report: &mut Report) -> Result<(), tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT rolname::text, rolcanlogin, rolsuper FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname",
            &[],
        )
        .await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        found.insert(
            row.try_get::<_, String>(0)?,
            (row.try_get::<_, bool>(1)?, row.try_get::<_, bool>(2)?),
        );
    }
    let mut handlers = BTreeSet::new();
    for (name, handler) in &policy.file().handlers {
        let role = role(name, handler);
        handlers.insert(role);
        match found.get(role) {
            None => report
                .warnings
                .push(format!("handler {name}: the server has no role {role}")),
            Some((false, _)) => report
                .warnings
                .push(format!("handler {name}: role {role} may not log in")),
            Some((true, true)) => report.warnings.push(format!(
                "handler {name}: role {role} is a superuser, who can go around pgward's checks on the server itself"
            )),
            Some((true, false)) => {}
        }
    }
    let others: Vec<&str> = found
        .iter()
        .filter(|(name, (may_log_in, _))| *may_log_in && !handlers.contains(name.as_str()))
        .map(|(name, _)| name.as_str())
        .filter(|name| *name != policy.file().control.user)
        .collect();
    if !others.is_empty() {
        report.warnings.push(format!(
            "roles that may log in and are no handlers, so that they may do nothing with protected columns: {}",
            others.join(", ").escape_debug()
        ));
    }
    Ok(())
}

/// Root key, keyring, and an active data key for each key domain.
async fn keys(policy: &Policy, databases: &[Arc<str>], report: &mut Report) {
    let file = policy.file();
    let needed = |database: &str| -> BTreeSet<_> {
        let declared = policy.declared(database).into_iter();
        declared
            .filter(|column| column.mode.is_sealed())
            .map(|column| column.key_domain)
            .collect()
    };
    if databases.iter().all(|database| needed(database).is_empty()) {
        return;
    }
    let opened = match control::load_root_key(&file.keys) {
        Ok(root) => control::connect_store(file).await.map(|client| (root, client)),
        Err(error) => Err(error),
    };
    let (root, client) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            report.problems.push(with_causes(&error));
            return;
        }
    };
    for database in databases {
        match control::load_keyring(&client, root.as_ref(), database).await {
            Ok(keyring) => {
                let active: BTreeSet<_> = keyring
                    .keys()
                    .filter(|key| key.state == KeyState::Active)
                    .map(|key| key.domain.clone())
                    .collect();
                for domain in needed(database).difference(&active) {
                    report.warnings.push(format!(
                        "key domain {} of database {database} has no data key yet: `pgward init` (or the next start) makes it",
                        domain.0
                    ));
                }
            }
            Err(error @ ControlError::NotInitialised) => {
                report.problems.push(with_causes(&error));
                return;
            }
            Err(error) => report
                .problems
                .push(format!("database {database}: {}", with_causes(&error))),
        }
    }
}

/// An error with its causes, which say what the driver only hints at.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
