//! Jobs whose outcome is awaited, by name.

use std::collections::VecDeque;

use crate::types::{JobId, Places};

/// Names that are awaited. Names that follow each other share an entry, so that most of them cost a bit.
#[derive(Debug, Default)]
pub(crate) struct PendingJobs {
    /// The first name of each entry with the names that follow it and are awaited. The first names ascend. Empty entries stay
    /// for a while.
    entries: VecDeque<(JobId, Places)>,
    /// Entries without a name.
    empty: usize,
    /// Names in all entries together.
    len: usize,
    /// The entry in which the last name was found: the next one is probably there as well.
    latest: usize,
}

impl PendingJobs {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Awaits this job. Names mostly come in their order, and then an entry takes 64.
    pub(crate) fn insert(&mut self, id: JobId) {
        let is_next = self.entries.back().is_none_or(|(first, _)| *first <= id);
        let index = if is_next {
            self.entries.len()
        } else {
            self.index_after(id)
        };
        self.len += 1;
        let before = index
            .checked_sub(1)
            .and_then(|before| self.entries.get_mut(before));
        if let Some((first, places)) = before
            && let Some(place) = id.place_after(*first)
        {
            self.empty -= usize::from(places.is_empty());
            self.len -= usize::from(places.contains(place));
            places.add(Places::only(place));
        } else {
            self.entries.insert(index, (id, Places::only(0)));
        }
    }

    /// Awaits this job no more. Whether it was awaited.
    pub(crate) fn remove(&mut self, id: JobId) -> bool {
        if self.place(self.latest, id).is_none() {
            self.latest = self.index_after(id).saturating_sub(1);
        }
        let Some(place) = self.place(self.latest, id) else {
            return false;
        };
        let Some((_, places)) = self.entries.get_mut(self.latest) else {
            return false;
        };
        places.remove(Places::only(place));
        self.len -= 1;
        if places.is_empty() {
            self.empty += 1;
            self.tidy();
        }
        true
    }

    /// The place of an awaited name in this entry.
    fn place(&self, index: usize, id: JobId) -> Option<u8> {
        let (first, places) = self.entries.get(index)?;
        let place = id.place_after(*first)?;
        places.contains(place).then_some(place)
    }

    /// The index behind the last entry that does not begin after this name.
    fn index_after(&self, id: JobId) -> usize {
        self.entries.partition_point(|(first, _)| *first <= id)
    }

    /// Empty entries go: at the front at once, the others when they are most of all, so that each costs little.
    fn tidy(&mut self) {
        while let Some((_, places)) = self.entries.front()
            && places.is_empty()
        {
            self.entries.pop_front();
            self.empty -= 1;
            self.latest = self.latest.saturating_sub(1);
        }
        if self.empty > self.entries.len() / 2 {
            self.entries.retain(|(_, places)| !places.is_empty());
            self.empty = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rules::job_ids::JobIds;
    use crate::types::cases::{cases, some};

    #[test]
    fn pending_jobs_are_a_set_of_names() {
        cases(256, |random| {
            let steps = some(random, 0..600, |random| (random.usize(0..400), random.bool()));
            let names = JobIds::new(1).many(1_760_000_000_000, 400);
            let (mut pending, mut set) = (PendingJobs::default(), BTreeSet::new());
            for (step, is_insert) in steps {
                if is_insert {
                    pending.insert(names[step]);
                    set.insert(step);
                } else {
                    assert_eq!(pending.remove(names[step]), set.remove(&step));
                }
                assert_eq!(pending.len(), set.len());
            }
        });
    }

    #[test]
    fn one_job_that_never_ends_keeps_no_memory_of_those_that_do() {
        let mut ids = JobIds::new(1);
        let mut pending = PendingJobs::default();
        pending.insert(ids.next(0));
        for _ in 0..10_000 {
            let many = ids.many(0, 100);
            many.iter().for_each(|id| pending.insert(*id));
            many.iter().for_each(|id| assert!(pending.remove(*id)));
        }
        assert_eq!(pending.len(), 1);
        assert!(pending.entries.len() < 8);
    }
}
