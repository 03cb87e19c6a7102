//! What prepared statements and portals are called: the unnamed one, which most clients use for most of what they send, and those with names.

use super::state::Name;
use foldhash::fast::RandomState;
use std::collections::HashMap;

/// Whether two names are one. An empty one is told by its length: comparing no bytes at no address costs more than comparing many.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && (a.is_empty() || a == b)
}

/// Values by name. The unnamed one needs neither hash nor memory of its own.
///
/// The hash is fast and seeded at random in each process, not cryptographic: who wants names to collide has to find out by timing which do, and slows
/// down his own look-ups.
pub(super) struct Named<T> {
    unnamed: Option<T>,
    named: HashMap<Name, T, RandomState>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self {
            unnamed: None,
            named: HashMap::default(),
        }
    }
}

impl<T> Named<T> {
    pub(super) fn get(&self, name: &[u8]) -> Option<&T> {
        if name.is_empty() {
            self.unnamed.as_ref()
        } else {
            self.named.get(name)
        }
    }
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }
    /// Puts a value in; the one that it replaces.
    pub(super) fn insert(&mut self, name: Name, value: T) -> Option<T> {
        if name.is_empty() {
            self.unnamed.replace(value)
        } else {
            self.named.insert(name, value)
        }
    }
    pub(super) fn remove(&mut self, name: &[u8]) -> Option<T> {
        if name.is_empty() {
            self.unnamed.take()
        } else {
            self.named.remove(name)
        }
    }
    pub(super) fn len(&self) -> usize {
        self.named.len() + usize::from(self.unnamed.is_some())
    }
    pub(super) fn clear(&mut self) {
        self.unnamed = None;
        self.named.clear();
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        let unnamed = self.unnamed.iter().map(|value| (&b""[..], value));
        unnamed.chain(self.named.iter().map(|(name, value)| (&**name, value)))
    }
    /// Keeps only those that `keep` says; gives memory back that was for many more.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        if !keep(b"") {
            self.unnamed = None;
        }
        self.named.retain(|name, _| keep(name));
        if self.named.capacity() > 4 * self.named.len() + 64 {
            self.named.shrink_to_fit();
        }
    }
}
