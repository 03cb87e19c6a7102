//! What earlier statements of the same script have changed in the catalog: a table that is created and filled in one Query.

use super::schema::{NameScope, Relation, RelationName, Snapshot};
use std::collections::HashMap;
use std::sync::Arc;

/// Script-local changes over a [`Snapshot`].
#[derive(Debug, Default)]
pub struct Overlay {
    changed: HashMap<RelationName, Option<Arc<Relation>>>,
}

impl Overlay {
    /// A relation was created or changed.
    pub fn put(&mut self, relation: Relation) {
        self.changed.insert(relation.name.clone(), Some(Arc::new(relation)));
    }

    /// A relation was dropped (or renamed away).
    pub fn drop(&mut self, name: &RelationName) {
        self.changed.insert(name.clone(), None);
    }

    /// Whether anything changed.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// A relation by its full name, changes first.
    pub fn get<'a>(&'a self, snapshot: &'a Snapshot, name: &RelationName) -> Option<&'a Arc<Relation>> {
        match self.changed.get(name) {
            Some(changed) => changed.as_ref(),
            None => snapshot.relations.get(name),
        }
    }

    /// Resolves a name as PostgreSQL does, the first schema of the path that has it; changes first.
    pub fn resolve<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        scope: &NameScope,
        schema: Option<&str>,
        name: &str,
    ) -> Option<&'a Arc<Relation>> {
        if self.changed.is_empty() {
            return snapshot.resolve(scope, schema, name);
        }
        let get = |schema: &Arc<str>| {
            self.get(
                snapshot,
                &RelationName {
                    schema: schema.clone(),
                    name: Arc::from(name),
                },
            )
        };
        match schema {
            Some("pg_temp") => scope.temp_schema.as_ref().and_then(get),
            Some(schema) => get(&Arc::from(schema)),
            None => scope.schemas.iter().find_map(get),
        }
    }
}
