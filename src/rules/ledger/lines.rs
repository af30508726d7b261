//! The lines of keys: of which keys a job goes its way, and who stands behind.
//!
//! A table with open addressing. A key is looked up twice for each job, and a tree of thousands of keys costs more
//! than everything else that happens to a job in a block. The hash of a key is its place in the table; whoever chooses keys so
//! that many share a place makes his own lookups longer, and nobody's order wrong.

use super::entries::{Entries, NONE};
use crate::types::invariant::invariant;
use crate::types::{KeyHash, Ticket};

/// A key of which a job is leased, with the line of those that stand behind: a chain through the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Line {
    key: KeyHash,
    first: u32,
    last: u32,
}

/// The keys of which a job is leased.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Lines {
    /// As many places as a power of two; at most half of them are used.
    places: Vec<Option<Line>>,
    used: usize,
}

/// Places of the smallest table, and of the largest that is kept for the next burst.
const LEAST: usize = 64;
const KEPT: usize = 65_536;

impl Lines {
    /// Takes the key. False if it is taken already.
    pub(super) fn open(&mut self, key: KeyHash) -> bool {
        if self.used * 2 >= self.places.len() {
            self.grow();
        }
        let index = self.find(key);
        match self.places.get_mut(index) {
            Some(place @ None) => {
                let (first, last) = (NONE, NONE);
                *place = Some(Line { key, first, last });
                self.used += 1;
                true
            }
            _ => false,
        }
    }

    /// Puts an entry at the end of the line of a key that is taken.
    pub(super) fn stand_behind<H>(&mut self, key: KeyHash, ticket: Ticket, entries: &mut Entries<H>) {
        let index = self.find(key);
        let line = self.places.get_mut(index).and_then(Option::as_mut);
        let line = invariant!(line, "whoever stands behind found the key taken");
        entries.must(ticket).after = NONE;
        match entries.get_mut(Ticket(line.last)) {
            Some(last) => last.after = ticket.0,
            None => line.first = ticket.0,
        }
        line.last = ticket.0;
    }

    /// The next entry of the line, which goes its way now; without one the key is free.
    pub(super) fn next<H>(&mut self, key: KeyHash, entries: &Entries<H>) -> Option<Ticket> {
        let index = self.find(key);
        let Some(Some(line)) = self.places.get_mut(index) else {
            return None;
        };
        let ticket = Ticket(line.first);
        let Some(next) = entries.get(ticket) else {
            self.close(index);
            return None;
        };
        line.first = next.after;
        if line.first == NONE {
            line.last = NONE;
        }
        Some(ticket)
    }

    /// Takes an entry out of the line, wherever it stands.
    pub(super) fn leave<H>(&mut self, key: KeyHash, ticket: Ticket, entries: &mut Entries<H>) {
        let index = self.find(key);
        let line = self.places.get_mut(index).and_then(Option::as_mut);
        let line = invariant!(line, "whoever stands behind found the key taken");
        let (mut before, mut here) = (NONE, line.first);
        while here != ticket.0 {
            (before, here) = (here, entries.must(Ticket(here)).after);
        }
        let after = entries.must(ticket).after;
        match entries.get_mut(Ticket(before)) {
            Some(entry) => entry.after = after,
            None => line.first = after,
        }
        if line.last == ticket.0 {
            line.last = before;
        }
    }

    /// Where the key is, or where it would be.
    #[inline]
    fn find(&self, key: KeyHash) -> usize {
        let mask = self.places.len().wrapping_sub(1);
        let mut index = key.0 as usize & mask;
        while let Some(Some(line)) = self.places.get(index)
            && line.key != key
        {
            index = (index + 1) & mask;
        }
        index
    }

    /// Empties a place and moves those back that had to go past it.
    fn close(&mut self, index: usize) {
        let mask = self.places.len().wrapping_sub(1);
        let (mut hole, mut next) = (index, (index + 1) & mask);
        while let Some(&Some(line)) = self.places.get(next) {
            let home = line.key.0 as usize & mask;
            // It may stand in the hole if that is not before its home, seen from where it stands.
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.set(hole, Some(line));
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.set(hole, None);
        self.used -= 1;
        if self.used == 0 && self.places.len() > KEPT {
            self.places = Vec::new();
        }
    }

    fn set(&mut self, index: usize, line: Option<Line>) {
        if let Some(place) = self.places.get_mut(index) {
            *place = line;
        }
    }

    fn grow(&mut self) {
        let size = (self.places.len() * 2).max(LEAST);
        let before = std::mem::replace(&mut self.places, vec![None; size]);
        for line in before.into_iter().flatten() {
            let index = self.find(line.key);
            self.set(index, Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use super::super::entries::Suspicion;
    use super::*;
    use crate::types::cases::{cases, some};
    use crate::types::{LeaseId, Priority};

    #[test]
    fn lines_are_queues_by_key() {
        cases(256, |random| {
            let spread = random.u32(0..8);
            let steps = some(random, 0..400, |random| (random.u64(0..40), random.u8(0..5)));
            let (mut lines, mut entries) = (Lines::default(), Entries::default());
            let mut model: BTreeMap<KeyHash, VecDeque<Ticket>> = BTreeMap::new();
            for (key, step) in steps {
                // Some keys share a place, at the end of the table as well.
                let key = KeyHash((key << spread).wrapping_sub(20));
                if step < 2 {
                    let ticket = entries.add((), LeaseId(1), 1, None, Priority(0), Suspicion::None);
                    let opened = lines.open(key);
                    assert_eq!(opened, !model.contains_key(&key));
                    if opened {
                        model.insert(key, VecDeque::new());
                    } else {
                        lines.stand_behind(key, ticket, &mut entries);
                        model.entry(key).or_default().push_back(ticket);
                    }
                } else if step == 2 {
                    // One leaves from the middle.
                    if let Some(line) = model.get_mut(&key).filter(|line| !line.is_empty()) {
                        let ticket = line.remove(line.len() / 2).unwrap();
                        lines.leave(key, ticket, &mut entries);
                    }
                } else {
                    let next = model.get_mut(&key).and_then(VecDeque::pop_front);
                    assert_eq!(lines.next(key, &entries), next);
                    if next.is_none() {
                        model.remove(&key);
                    }
                }
                assert_eq!(lines.used, model.len());
            }
        });
    }
}
