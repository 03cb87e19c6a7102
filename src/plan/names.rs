//! Names that a text is searched for before anything is parsed: a set that says no fast, because nearly every word of nearly every
//! statement is none of them.

use std::collections::HashSet;
use std::sync::Arc;

/// Bits of the sieve; at a hundred names, three words in a hundred go through by chance and are looked up in the set.
const SIEVE_BITS: u64 = 4_096;

/// A set of names, in lower case. Grows only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameSet {
    names: HashSet<Arc<str>>,
    /// One bit for the hash of each name: a word whose bit is not set is no name. Empty in an empty set.
    sieve: Vec<u64>,
    /// Whether every name could stand unquoted in a text.
    regular: bool,
}

impl NameSet {
    /// Adds a name.
    pub fn insert(&mut self, name: Arc<str>) {
        if self.sieve.is_empty() {
            self.sieve = vec![0; SIEVE_BITS as usize / 64];
            self.regular = true;
        }
        self.regular &= name.bytes().all(super::lexer::continues_word);
        let (word, bit) = place(name.as_bytes());
        if let Some(word) = self.sieve.get_mut(word) {
            *word |= bit;
        }
        self.names.insert(name);
    }

    /// Whether a name is in it.
    pub fn contains(&self, name: &str) -> bool {
        let (word, bit) = place(name.as_bytes());
        self.sieve.get(word).is_some_and(|word| word & bit != 0) && self.names.contains(name)
    }

    /// How many names it has.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether it has no names.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether whole words are all that can name something in it: no name has blanks, quotes or the like.
    pub fn is_regular(&self) -> bool {
        self.regular || self.names.is_empty()
    }

    /// The names, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }
}

impl FromIterator<Arc<str>> for NameSet {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(names: I) -> Self {
        let mut set = Self::default();
        names.into_iter().for_each(|name| set.insert(name));
        set
    }
}

impl<const N: usize> From<[Arc<str>; N]> for NameSet {
    fn from(names: [Arc<str>; N]) -> Self {
        names.into_iter().collect()
    }
}

/// Where a word's bit stands. Whoever chooses names can make words collide with them, and gains that those words are looked up.
fn place(word: &[u8]) -> (usize, u64) {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut hash = word.len() as u64;
    let (eights, rest) = word.as_chunks::<8>();
    for eight in eights {
        hash = (hash ^ u64::from_le_bytes(*eight)).wrapping_mul(FACTOR).rotate_left(29);
    }
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(FACTOR);
    let index = (hash >> 40) % SIEVE_BITS;
    ((index / 64) as usize, 1 << (index % 64))
}
