//! The cancel keys that pgward hands out, and the server's keys that they stand for.
//!
//! Invariants: a key lives exactly as long as its session; no two live keys share a process id; secrets are compared in constant time
//! and never printed.

use crate::session::CancelKey;
use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rand::RngExt;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Secret of protocol 3.0.
const SHORT_SECRET: usize = 4;
/// Secret of protocol 3.2, as long as PostgreSQL's own.
const LONG_SECRET: usize = 32;

struct Pair {
    /// What the client must show.
    secret: Bytes,
    /// What the server wants to see; `None` until it has said so.
    server: Option<CancelKey>,
}

/// All live keys, by process id.
#[derive(Default)]
pub struct CancelRegistry {
    pairs: DashMap<u32, Pair>,
}

/// A session's entry; taken out when dropped.
pub struct CancelEntry {
    registry: Arc<CancelRegistry>,
    /// What the client gets.
    key: CancelKey,
}

impl CancelRegistry {
    /// Makes a key for a session whose client speaks protocol 3.`minor`.
    pub fn enter(self: &Arc<Self>, minor: u16) -> CancelEntry {
        let mut rng = rand::rng();
        let mut secret = vec![0; if minor >= 2 { LONG_SECRET } else { SHORT_SECRET }];
        rng.fill(&mut secret[..]);
        let secret = Bytes::from(secret);
        loop {
            // Positive: some drivers keep it in a signed integer.
            let process_id = rng.random_range(1..=i32::MAX as u32);
            if let Entry::Vacant(vacant) = self.pairs.entry(process_id) {
                vacant.insert(Pair {
                    secret: secret.clone(),
                    server: None,
                });
                return CancelEntry {
                    registry: self.clone(),
                    key: CancelKey { process_id, secret },
                };
            }
        }
    }

    /// The server's key behind a client's.
    pub fn look_up(&self, process_id: u32, secret: &[u8]) -> Option<CancelKey> {
        let pair = self.pairs.get(&process_id)?;
        let server = pair.server.as_ref()?;
        bool::from(pair.secret.ct_eq(secret)).then(|| server.clone())
    }
}

impl CancelEntry {
    /// What the client gets in place of the server's key.
    pub fn key(&self) -> &CancelKey {
        &self.key
    }
    /// The server's key is known: from now on the client's stands for it.
    ///
    /// A client that asked for protocol 3.2 may have been given 3.0, where secrets have 4 bytes: the session then shows it ours cut to the
    /// length of the server's, and so do we.
    pub fn stands_for(&self, server: CancelKey) {
        if let Some(mut pair) = self.registry.pairs.get_mut(&self.key.process_id) {
            let length = self.key.secret.len().min(server.secret.len());
            pair.secret = self.key.secret.slice(..length);
            pair.server = Some(server);
        }
    }
}

impl Drop for CancelEntry {
    fn drop(&mut self) {
        self.registry.pairs.remove(&self.key.process_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_key(length: usize) -> CancelKey {
        CancelKey {
            process_id: 4711,
            secret: Bytes::from(vec![9; length]),
        }
    }

    #[test]
    fn wire_05_a_key_cancels_only_its_own_backend_and_dies_with_its_session() {
        let registry = Arc::new(CancelRegistry::default());
        let (one, other) = (registry.enter(0), registry.enter(0));
        assert_ne!(one.key().process_id, other.key().process_id);
        let (id, secret) = (one.key().process_id, one.key().secret.clone());
        assert_eq!(secret.len(), 4);
        assert!(
            registry.look_up(id, &secret).is_none(),
            "the server's key is not known yet"
        );
        one.stands_for(server_key(4));
        assert_eq!(registry.look_up(id, &secret), Some(server_key(4)));
        let mut wrong = secret.to_vec();
        wrong[3] ^= 1;
        assert!(registry.look_up(id, &wrong).is_none());
        assert!(registry.look_up(id, &[&secret[..], b"x"].concat()).is_none());
        assert!(registry.look_up(id, b"").is_none());
        drop(one);
        assert!(registry.look_up(id, &secret).is_none());
        assert_eq!(registry.pairs.len(), 1);
    }

    #[test]
    fn wire_05_long_secrets_are_cut_where_the_server_speaks_3_0() {
        let registry = Arc::new(CancelRegistry::default());
        let entry = registry.enter(2);
        let (id, secret) = (entry.key().process_id, entry.key().secret.clone());
        assert_eq!(secret.len(), 32);
        entry.stands_for(server_key(4));
        assert!(registry.look_up(id, &secret[..4]).is_some());
        assert!(registry.look_up(id, &secret).is_none());
        let entry = registry.enter(9999);
        entry.stands_for(server_key(32));
        assert!(registry.look_up(entry.key().process_id, &entry.key().secret).is_some());
        assert!(
            registry
                .look_up(entry.key().process_id, &entry.key().secret[..4])
                .is_none()
        );
    }
}
