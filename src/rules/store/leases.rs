//! The leased jobs: many under one lease, each of them settled on its own.

use super::SettleRefusal;
use super::entry::Entry;
use super::shrink::KEPT;
use crate::types::{LeaseId, Places};

/// A lease.
struct Lease<J> {
    /// The jobs that are not settled and in the attempt in which they were leased.
    entry: Entry<J>,
    /// Those of several jobs whose lease was renewed for a later attempt.
    apart: Vec<Entry<J>>,
}

impl<J> Lease<J> {
    fn is_over(&self) -> bool {
        self.entry.run.places.is_empty() && self.apart.is_empty()
    }

    /// Whether these are the job at this place, in this attempt.
    fn are_meant(entry: &Entry<J>, place: u8, attempt: u32) -> bool {
        entry.run.places.contains(place) && entry.attempt() == attempt
    }

    /// Takes out one job in its current attempt.
    fn take(&mut self, place: u8, attempt: u32) -> Option<Entry<J>> {
        if Self::are_meant(&self.entry, place, attempt) {
            return Some(self.entry.take(Places::only(place)));
        }
        let is_meant = |entry: &Entry<J>| Self::are_meant(entry, place, attempt);
        let index = self.apart.iter().position(is_meant)?;
        Some(self.apart.swap_remove(index))
    }
}

/// A place for one lease.
struct Place<J> {
    /// How often the place was used: one part of the lease's name.
    generation: u32,
    lease: Option<Lease<J>>,
}

/// The leases: a slab whose places are used again and whose names are not.
///
/// | bits of a name | what |
/// |---|---|
/// | 38 to 63 | the generation of the place in the slab |
/// | 6 to 37 | the place in the slab |
/// | 0 to 5 | the job's place in its block; of a lease of several jobs 0 |
pub(super) struct Leases<J> {
    places: Vec<Place<J>>,
    /// Places without a lease, except those whose generations are used up; they are never used again. The last one to become
    /// free is used first: it is in the cache.
    free: Vec<u32>,
    /// Jobs under all leases together.
    jobs: usize,
    /// The generation with which a new place begins: no place that was given back has used it.
    generation: u32,
}

const GENERATIONS: u32 = 1 << 26;

/// The place of a job in its block, as the name of its lease holds it.
fn place_in_block(lease: LeaseId) -> u8 {
    (lease.0 & 63) as u8
}

impl<J> Leases<J> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            jobs: 0,
            generation: 0,
        }
    }

    /// Jobs under lease.
    pub(super) fn jobs(&self) -> usize {
        self.jobs
    }

    /// How many more leases there can be.
    pub(super) fn room(&self) -> usize {
        let new = if self.generation < GENERATIONS {
            u32::MAX as usize - self.places.len()
        } else {
            0
        };
        self.free.len() + new
    }

    /// Begins a lease of these jobs. There must be [room](Self::room).
    pub(super) fn begin(&mut self, entry: Entry<J>) -> LeaseId {
        self.jobs += entry.len();
        // The lease of a job alone is that of its place.
        let only = entry.run.places.lowest().filter(|_| entry.len() == 1);
        let lease = Some(Lease {
            entry,
            apart: Vec::new(),
        });
        let name = |number: u32, generation: u32| {
            LeaseId(u64::from(generation) << 38 | u64::from(number) << 6).of_place(only.unwrap_or(0))
        };
        if let Some(number) = self.free.pop()
            && let Some(place) = self.places.get_mut(number as usize)
        {
            place.lease = lease;
            return name(number, place.generation);
        }
        let number = self.places.len() as u32;
        let generation = self.generation;
        self.places.push(Place { generation, lease });
        name(number, generation)
    }

    /// Ends the leases of these jobs, which were done, if they last and are in their first attempt. Returns those that do not.
    pub(super) fn finish(&mut self, lease: LeaseId, places: Places) -> Places {
        let Some((number, found)) = self.find(lease) else {
            return places;
        };
        let mut left = places;
        if found.entry.attempt() == 1 {
            let done = found.entry.run.places.both(places);
            found.entry.run.places.remove(done);
            found.entry.run.block.end(done);
            left.remove(done);
        }
        // A renewal that did not count left its job in the first attempt.
        let mut rest = left;
        while !found.apart.is_empty()
            && let Some(place) = rest.take_lowest()
        {
            if let Some(done) = found.take(place, 1) {
                left.remove(Places::only(place));
                done.end();
            }
        }
        self.ended(number, places.len() - left.len());
        left
    }

    /// Why a verdict on this job does not count, when it did not.
    #[cold]
    pub(super) fn refusal(&mut self, lease: LeaseId) -> SettleRefusal {
        let place = place_in_block(lease);
        let is_there = self.find(lease).is_some_and(|(_, found)| {
            let mut entries = found.apart.iter().chain([&found.entry]);
            entries.any(|entry| entry.run.places.contains(place))
        });
        match is_there {
            true => SettleRefusal::Stale,
            false => SettleRefusal::Unknown,
        }
    }

    /// Ends the lease of one job, if it lasts and `attempt` is its current one.
    pub(super) fn end(&mut self, lease: LeaseId, attempt: u32) -> Option<Entry<J>> {
        let (number, found) = self.find(lease)?;
        let entry = found.take(place_in_block(lease), attempt)?;
        self.ended(number, 1);
        Some(entry)
    }

    /// Does `then` with one job whose lease goes on, if it lasts and `attempt` is its current one.
    pub(super) fn keep(
        &mut self,
        lease: LeaseId,
        attempt: u32,
        then: impl FnOnce(&mut Entry<J>),
    ) -> Option<()> {
        let (_, found) = self.find(lease)?;
        let mut entry = found.take(place_in_block(lease), attempt)?;
        then(&mut entry);
        found.apart.push(entry);
        Some(())
    }

    /// Ends all leases. The jobs come in no order.
    pub(super) fn end_all(&mut self, into: &mut Vec<Entry<J>>) {
        for number in 0..self.places.len() as u32 {
            if let Some(lease) = self.vacate(number) {
                into.extend(lease.apart);
                if !lease.entry.run.places.is_empty() {
                    into.push(lease.entry);
                }
            }
        }
        self.jobs = 0;
        self.give_back();
    }

    fn find(&mut self, lease: LeaseId) -> Option<(u32, &mut Lease<J>)> {
        let number = (lease.0 >> 6) as u32;
        let generation = (lease.0 >> 38) as u32;
        let place = self.places.get_mut(number as usize)?;
        if place.generation != generation {
            return None;
        }
        place.lease.as_mut().map(|lease| (number, lease))
    }

    /// So many jobs of this lease have ended.
    fn ended(&mut self, number: u32, jobs: usize) {
        self.jobs -= jobs;
        let place = self.places.get(number as usize);
        if place.is_some_and(|place| place.lease.as_ref().is_some_and(Lease::is_over)) {
            if let Some(over) = self.vacate(number) {
                over.entry.end();
            }
            if self.jobs == 0 {
                self.give_back();
            }
        }
    }

    fn vacate(&mut self, number: u32) -> Option<Lease<J>> {
        let place = self.places.get_mut(number as usize)?;
        let lease = place.lease.take()?;
        place.generation += 1;
        if place.generation < GENERATIONS {
            self.free.push(number);
        }
        Some(lease)
    }

    /// Gives memory back. Called when no lease lasts: then every place has its next generation, which was never used, and
    /// new places can begin with the greatest of them.
    fn give_back(&mut self) {
        if self.places.len() <= KEPT {
            return;
        }
        let greatest = self
            .places
            .iter()
            .map(|place| place.generation)
            .max()
            .unwrap_or(0);
        if greatest < GENERATIONS {
            self.generation = greatest;
            self.places = Vec::new();
            self.free = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;
    use crate::types::{Block, JobId, Run};

    fn entry(len: u64) -> Entry<u64> {
        let block = Block::new(JobId::from_uuid(Uuid::nil()), (0..len).collect()).unwrap();
        let mut entry = Entry::new(Run::from(block));
        entry.seq = 100;
        entry
    }

    #[test]
    fn a_run_is_settled_in_parts_and_each_part_counts_once() {
        let mut leases = Leases::new();
        let lease = leases.begin(entry(64));
        assert_eq!(leases.finish(lease, Places::first(10)), Places::NONE);
        assert_eq!(leases.finish(lease, Places::first(12)), Places::first(10));
        assert_eq!(leases.jobs(), 52);
        assert_eq!(leases.finish(lease, Places::first(64)), Places::first(12));
        let all = Places::first(64);
        assert_eq!((leases.jobs(), leases.finish(lease, all)), (0, all));
    }

    #[test]
    fn a_job_that_is_renewed_has_a_later_attempt_under_the_same_name_and_its_neighbours_have_not() {
        let mut leases = Leases::new();
        let lease = leases.begin(entry(3));
        let second = lease.of_place(1);
        assert!(leases.keep(second, 2, |_| ()).is_none(), "not its attempt");
        let renew = |entry: &mut Entry<u64>| entry.end_attempt(true, None, 2);
        assert!(leases.keep(second, 1, renew).is_some());
        let is_over = leases.finish(lease, Places::first(3));
        assert_eq!(is_over, Places::only(1), "its first attempt is over");
        assert!(leases.end(second, 1).is_none());
        assert_eq!(leases.refusal(second), SettleRefusal::Stale);
        assert_eq!(leases.refusal(lease), SettleRefusal::Unknown);
        let (number, job) = leases.end(second, 2).unwrap().into_jobs().next().unwrap();
        assert_eq!((number, *job.payload()), (101, 1));
        assert_eq!(leases.jobs(), 0);
        assert!(leases.end(second, 2).is_none());
    }

    #[test]
    fn no_name_is_used_twice_even_after_memory_was_given_back() {
        let mut leases = Leases::new();
        let mut names = BTreeSet::new();
        for _ in 0..3 {
            let held: Vec<_> = (0..KEPT + 10).map(|_| leases.begin(entry(2))).collect();
            for lease in held {
                assert!(names.insert(lease), "{lease} was used before");
                assert!(leases.end(lease, 1).is_some());
                assert_eq!(leases.finish(lease, Places::first(2)).len(), 1);
            }
            assert_eq!(leases.places.capacity(), 0);
        }
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_not_used_again() {
        let mut leases = Leases::new();
        leases.generation = GENERATIONS - 1;
        let last = leases.begin(entry(1));
        assert!(leases.finish(last, Places::first(1)).is_empty());
        let next = leases.begin(entry(1));
        assert_ne!(last.0 >> 6 & 0xffff_ffff, next.0 >> 6 & 0xffff_ffff);
        assert_eq!(leases.finish(last, Places::first(1)).len(), 1);
    }

    #[test]
    fn leases_that_are_taken_back_keep_the_numbers_of_their_jobs() {
        let mut leases = Leases::new();
        let lease = leases.begin(entry(4));
        assert!(leases.finish(lease, Places::only(1)).is_empty());
        let mut back = Vec::new();
        leases.end_all(&mut back);
        let parts: Vec<_> = back.into_iter().flat_map(Entry::apart).collect();
        let numbers: Vec<_> = parts.iter().map(|part| (part.oldest(), part.len())).collect();
        assert_eq!(numbers, [(100, 1), (102, 2)]);
        assert_eq!(
            (leases.jobs(), leases.finish(lease, Places::first(4)).len()),
            (0, 4)
        );
    }
}
