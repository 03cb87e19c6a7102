//! The cancel keys that pgward hands out, and the server's keys that they stand for.
//!
//! A client gets the process id of its own backend, by which applications tell their own notifications and find themselves in
//! pg_stat_activity, with a secret of pgward's.
//!
//! Invariants: a key lives exactly as long as its session, from when the server has said its own; no two live keys are equal; secrets are
//! compared in constant time and never printed.

use crate::session::CancelKey;
use bytes::Bytes;
use dashmap::DashMap;
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
    /// What the server wants to see.
    server: CancelKey,
}

/// All live keys, by process id: one each, but where sessions end later than their backends, or several servers stand behind one address.
#[derive(Default)]
pub struct CancelRegistry {
    pairs: DashMap<u32, Vec<Pair>>,
}

/// A session's entry; taken out when dropped.
pub struct CancelEntry {
    registry: Arc<CancelRegistry>,
    /// What the client gets.
    secret: Bytes,
    /// What stands in the registry: process id and secret.
    entered: Option<(u32, Bytes)>,
}

impl CancelRegistry {
    /// Makes a secret for a session whose client speaks protocol 3.`minor`.
    pub fn enter(self: &Arc<Self>, minor: u16) -> CancelEntry {
        let mut rng = rand::rng();
        let mut secret = vec![0; if minor >= 2 { LONG_SECRET } else { SHORT_SECRET }];
        rng.fill(&mut secret[..]);
        CancelEntry {
            registry: self.clone(),
            secret: Bytes::from(secret),
            entered: None,
        }
    }

    /// The server's key behind a client's.
    pub fn look_up(&self, process_id: u32, secret: &[u8]) -> Option<CancelKey> {
        let pairs = self.pairs.get(&process_id)?;
        let pair = pairs.iter().find(|pair| pair.secret.ct_eq(secret).into())?;
        Some(pair.server.clone())
    }
}

impl CancelEntry {
    /// What the client gets in place of the server's secret.
    pub fn secret(&self) -> &Bytes {
        &self.secret
    }
    /// The server's key is known: from now on the client's, with the same process id, stands for it.
    ///
    /// A client that asked for protocol 3.2 may have been given 3.0, where secrets have 4 bytes: the session then shows it ours cut to the
    /// length of the server's, and so do we.
    pub fn stands_for(&mut self, server: CancelKey) {
        self.leave();
        let process_id = server.process_id;
        let secret = self.secret.slice(..self.secret.len().min(server.secret.len()));
        let mut pairs = self.registry.pairs.entry(process_id).or_default();
        // Equal keys would cancel one for the other: then this one cancels nothing.
        if !pairs.iter().any(|pair| pair.secret == secret) {
            self.entered = Some((process_id, secret.clone()));
            pairs.push(Pair { secret, server });
        }
    }

    fn leave(&mut self) {
        if let Some((process_id, secret)) = self.entered.take() {
            self.registry.pairs.remove_if_mut(&process_id, |_, pairs| {
                pairs.retain(|pair| pair.secret != secret);
                pairs.is_empty()
            });
        }
    }
}

impl Drop for CancelEntry {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_key(process_id: u32, length: usize) -> CancelKey {
        CancelKey {
            process_id,
            secret: Bytes::from(vec![9; length]),
        }
    }

    #[test]
    fn wire_05_a_key_cancels_only_its_own_backend_and_dies_with_its_session() {
        let registry = Arc::new(CancelRegistry::default());
        let (mut one, mut other) = (registry.enter(0), registry.enter(0));
        let secret = one.secret().clone();
        assert_eq!(secret.len(), 4);
        assert!(
            registry.look_up(4711, &secret).is_none(),
            "the server's key is not known yet"
        );
        one.stands_for(server_key(4711, 4));
        other.stands_for(server_key(4712, 4));
        assert_eq!(registry.look_up(4711, &secret), Some(server_key(4711, 4)));
        assert!(registry.look_up(4712, &secret).is_none(), "another's backend");
        assert!(registry.look_up(4711, &[9; 4]).is_none(), "the server's own secret");
        let mut wrong = secret.to_vec();
        wrong[3] ^= 1;
        assert!(registry.look_up(4711, &wrong).is_none());
        assert!(registry.look_up(4711, &[&secret[..], b"x"].concat()).is_none());
        assert!(registry.look_up(4711, b"").is_none());
        drop(one);
        assert!(registry.look_up(4711, &secret).is_none());
        assert_eq!(registry.pairs.len(), 1);
    }

    #[test]
    fn wire_05_a_process_id_that_comes_again_is_told_apart_by_the_secret() {
        let registry = Arc::new(CancelRegistry::default());
        let (mut old, mut new) = (registry.enter(2), registry.enter(2));
        old.stands_for(server_key(4711, 32));
        new.stands_for(CancelKey {
            process_id: 4711,
            secret: Bytes::from_static(&[7; 32]),
        });
        let secret = new.secret().clone();
        drop(old);
        assert_eq!(
            registry.look_up(4711, &secret).map(|key| key.secret),
            Some(Bytes::from_static(&[7; 32]))
        );
        drop(new);
        assert!(registry.pairs.is_empty());
    }

    #[test]
    fn wire_05_long_secrets_are_cut_where_the_server_speaks_3_0() {
        let registry = Arc::new(CancelRegistry::default());
        let mut entry = registry.enter(2);
        let secret = entry.secret().clone();
        assert_eq!(secret.len(), 32);
        entry.stands_for(server_key(1, 4));
        assert!(registry.look_up(1, &secret[..4]).is_some());
        assert!(registry.look_up(1, &secret).is_none());
        let mut entry = registry.enter(9999);
        entry.stands_for(server_key(2, 32));
        assert!(registry.look_up(2, entry.secret()).is_some());
        assert!(registry.look_up(2, &entry.secret()[..4]).is_none());
    }
}
