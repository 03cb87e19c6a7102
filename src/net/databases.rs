//! Which [`Database`] a session works in, by the name in its StartupMessage.
//!
//! Databases with declared tables are entered when the policy is read; every other one is made empty (nothing protected) on first use
//! and shared by its sessions as long as one lives, so that a reload of the policy that declares tables in it reaches those sessions too.

use crate::plan::Snapshot;
use crate::plan::introspect::Declarations;
use crate::session::{Database, PlanCache};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Look at dead entries when there are this many.
const FIRST_SWEEP: usize = 64;

#[derive(Default)]
struct Inner {
    declared: HashMap<Arc<str>, Arc<Database>>,
    others: HashMap<Arc<str>, Weak<Database>>,
    sweep_at: usize,
}

/// The databases behind one listener.
#[derive(Default)]
pub struct Databases {
    inner: Mutex<Inner>,
}

impl Databases {
    /// The database of that name.
    pub fn get(&self, name: &str) -> Arc<Database> {
        let mut inner = self.lock();
        if let Some(database) = inner.declared.get(name) {
            return database.clone();
        }
        if let Some(database) = inner.others.get(name).and_then(Weak::upgrade) {
            return database;
        }
        // Names are the client's choice: they must not pile up.
        if inner.others.len() >= inner.sweep_at.max(FIRST_SWEEP) {
            inner.others.retain(|_, database| database.strong_count() > 0);
            inner.sweep_at = inner.others.len() * 2;
        }
        let database = empty(name);
        inner.others.insert(database.name.clone(), Arc::downgrade(&database));
        database
    }

    /// The same, kept from now on: tables are declared in it. The caller fills in catalog and keyring.
    pub fn declare(&self, name: &str) -> Arc<Database> {
        let database = self.get(name);
        let mut inner = self.lock();
        inner.declared.insert(database.name.clone(), database.clone());
        database
    }

    /// The databases with declared tables.
    pub fn declared(&self) -> Vec<Arc<Database>> {
        self.lock().declared.values().cloned().collect()
    }

    /// Whether anything at all is protected behind this server: replication, which sees all databases, depends on it.
    pub fn protect_anything(&self) -> bool {
        !self.lock().declared.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing within a lock can leave the maps half-changed.
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn empty(name: &str) -> Arc<Database> {
    Arc::new(Database {
        name: name.into(),
        catalog: ArcSwap::from_pointee(Snapshot::default()),
        declarations: ArcSwap::from_pointee(Declarations::default()),
        keyring: ArcSwap::from_pointee(None),
        plans: PlanCache::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_one_database_share_it_and_keep_it_when_it_becomes_declared() {
        let databases = Databases::default();
        let before = databases.get("shop");
        assert!(Arc::ptr_eq(&before, &databases.get("shop")));
        assert!(!databases.protect_anything());
        assert!(Arc::ptr_eq(&before, &databases.declare("shop")));
        assert!(Arc::ptr_eq(&before, &databases.get("shop")));
        assert!(databases.protect_anything());
        assert_eq!(databases.declared().len(), 1);
    }

    #[test]
    fn names_of_strangers_do_not_pile_up() {
        let databases = Databases::default();
        for n in 0..10_000 {
            databases.get(&format!("database {n}"));
        }
        assert!(databases.lock().others.len() <= FIRST_SWEEP);
    }
}
