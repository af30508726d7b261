//! A bounded table of keys and their slots that forgets the key that was used the longest time ago.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use siphasher::sip::SipHasher13;

use crate::types::{KeyHash, SlotId};

/// Stands for "none" among indexes: there is never an entry there.
const NONE: usize = usize::MAX;

/// Keys and their slots. Every operation takes constant time.
///
/// The entries form a list from the oldest use to the newest. The map only finds an entry; nothing ever walks through it,
/// and its hasher has a fixed key, so all that happens here is determined by the calls.
#[derive(Debug, Clone)]
pub(super) struct RecentKeys {
    most: usize,
    found: HashMap<KeyHash, usize, BuildHasherDefault<SipHasher13>>,
    entries: Vec<Entry>,
    oldest: usize,
    newest: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    key: KeyHash,
    slot: SlotId,
    older: usize,
    newer: usize,
}

impl RecentKeys {
    /// An empty table of at most `most` keys, at least one.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            found: HashMap::default(),
            entries: Vec::new(),
            oldest: NONE,
            newest: NONE,
        }
    }

    /// The slot of `key`, which becomes the key used last.
    pub(super) fn slot(&mut self, key: KeyHash) -> Option<SlotId> {
        let index = *self.found.get(&key)?;
        self.renew(index);
        self.entries.get(index).map(|entry| entry.slot)
    }

    /// Remembers the slot of `key`, which becomes the key used last; forgets the one used first if the table is full.
    pub(super) fn remember(&mut self, key: KeyHash, slot: SlotId) {
        let index = match self.found.get(&key) {
            Some(index) => *index,
            None => self.free_entry(key),
        };
        if let Some(entry) = self.entries.get_mut(index) {
            entry.slot = slot;
        }
        self.renew(index);
    }

    /// An entry for a key that has none: a new one, or that of the key used the longest time ago.
    fn free_entry(&mut self, key: KeyHash) -> usize {
        let index = if self.entries.len() < self.most {
            self.add_entry(key)
        } else {
            self.oldest
        };
        if let Some(entry) = self.entries.get_mut(index) {
            self.found.remove(&entry.key);
            entry.key = key;
        }
        self.found.insert(key, index);
        index
    }

    fn add_entry(&mut self, key: KeyHash) -> usize {
        let index = self.entries.len();
        self.entries.push(Entry {
            key,
            slot: SlotId(0),
            older: NONE,
            newer: NONE,
        });
        self.append(index);
        index
    }

    /// Moves an entry of the list to its new end.
    fn renew(&mut self, index: usize) {
        if index != self.newest {
            self.unlink(index);
            self.append(index);
        }
    }

    fn unlink(&mut self, index: usize) {
        let Some((older, newer)) = self.entries.get(index).map(|entry| (entry.older, entry.newer)) else {
            return;
        };
        match self.entries.get_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    fn append(&mut self, index: usize) {
        let before = self.newest;
        if let Some(entry) = self.entries.get_mut(index) {
            entry.older = before;
            entry.newer = NONE;
        }
        match self.entries.get_mut(before) {
            Some(entry) => entry.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
    }
}

#[cfg(test)]
mod tests {
    use crate::types::cases::cases;

    use super::*;

    #[test]
    fn the_key_that_was_used_the_longest_time_ago_is_forgotten_first() {
        let mut table = RecentKeys::new(2);
        table.remember(KeyHash(1), SlotId(10));
        table.remember(KeyHash(2), SlotId(20));
        assert_eq!(table.slot(KeyHash(1)), Some(SlotId(10)));
        table.remember(KeyHash(3), SlotId(30));
        assert_eq!(table.slot(KeyHash(2)), None);
        assert_eq!(table.slot(KeyHash(1)), Some(SlotId(10)));
        assert_eq!(table.slot(KeyHash(3)), Some(SlotId(30)));
    }

    #[test]
    fn the_table_answers_as_a_naive_list_does() {
        cases(256, |random| {
            let most = random.usize(0..6);
            let mut table = RecentKeys::new(most);
            // From the oldest use to the newest.
            let mut model: Vec<(u64, u32)> = Vec::new();
            for _ in 0..random.usize(1..200) {
                let key = random.u64(0..9);
                let new_slot = random.bool().then(|| random.u32(0..100));
                let known = model
                    .iter()
                    .position(|(other, _)| *other == key)
                    .map(|at| model.remove(at).1);
                if let Some(slot) = new_slot {
                    table.remember(KeyHash(key), SlotId(slot));
                } else {
                    assert_eq!(table.slot(KeyHash(key)), known.map(SlotId));
                }
                if let Some(slot) = new_slot.or(known) {
                    model.push((key, slot));
                }
                if model.len() > most.max(1) {
                    model.remove(0);
                }
                assert_eq!(table.found.len(), model.len());
                assert_eq!(table.entries.len(), model.len());
            }
        });
    }
}
