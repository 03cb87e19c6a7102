//! Plans by statement text and all that they depend on. The text holds literals, so the key is a keyed hash of it, and a plan holds none.

use crate::plan::{PlanInput, Script};
use dashmap::DashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// Entries kept before the cache starts over. A prepared workload stays far below; texts with literals would fill it without end.
const CAPACITY: usize = 8_192;

/// The key is a hash already: take its first bytes.
#[derive(Default)]
pub struct FirstBytes(u64);

impl std::hash::Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
    fn write_usize(&mut self, _: usize) {}
}

/// A bounded cache of scripts, shared by the sessions of a database.
pub struct PlanCache {
    key: [u8; 32],
    scripts: DashMap<[u8; 32], Arc<Script>, BuildHasherDefault<FirstBytes>>,
}

impl Default for PlanCache {
    fn default() -> Self {
        Self {
            key: rand::random(),
            scripts: DashMap::default(),
        }
    }
}

/// Identifies a text with all that its plan depends on.
#[derive(Clone, Copy)]
pub struct PlanKey([u8; 32]);

impl PlanCache {
    /// The key of an input.
    pub fn key(&self, input: &PlanInput<'_>) -> PlanKey {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        let flags = u8::from(input.extended) | u8::from(input.standard_conforming_strings) << 1;
        hasher.update(&[flags]);
        hasher.update(&input.snapshot.version.to_le_bytes());
        hasher.update(&(input.parameter_oids.len() as u64).to_le_bytes());
        for oid in input.parameter_oids {
            hasher.update(&oid.to_le_bytes());
        }
        for schema in input.scope.schemas.iter().chain(&input.scope.temp_schema) {
            hasher.update(schema.as_bytes());
            hasher.update(&[0]);
        }
        hasher.update(&[u8::from(input.scope.temp_schema.is_some())]);
        hasher.update(input.sql.as_bytes());
        PlanKey(*hasher.finalize().as_bytes())
    }

    /// A script, if it is here.
    pub fn get(&self, key: &PlanKey) -> Option<Arc<Script>> {
        self.scripts.get(&key.0).map(|script| script.value().clone())
    }

    /// Keeps a script.
    pub fn put(&self, key: PlanKey, script: Arc<Script>) {
        if self.scripts.len() >= CAPACITY {
            self.scripts.clear();
        }
        self.scripts.insert(key.0, script);
    }
}
