//! The leased jobs: a slab whose places are used again and whose names are not.

use super::record::Record;
use super::thrift::KEPT;
use crate::words::LeaseId;

/// A place for one leased job.
struct Place<J> {
    /// How often the place was used. It is one half of the lease's name, so an old name never fits a new lease.
    generation: u32,
    /// The job, while the lease lasts.
    record: Option<Record<J>>,
}

impl<J> Place<J> {
    /// The lease ended: goes on to the next generation. False if there is none.
    #[inline]
    fn vacated(&mut self) -> bool {
        match self.generation.checked_add(1) {
            Some(next) => {
                self.generation = next;
                true
            }
            None => false,
        }
    }
}

/// The leased jobs.
///
/// A lease is named by its place (the lower 32 bits) and the generation of that place (the upper ones). A place whose
/// generations are used up is never used again.
pub(super) struct Leases<J> {
    places: Vec<Place<J>>,
    /// Places without a job, except those that are used up. The last one to become free is used first: it is in the cache.
    free: Vec<u32>,
    /// Leases that last.
    len: usize,
    /// The number of the first place. It rises when places that were used up are given back.
    first: u32,
    /// The generation with which a new place begins: no place that was given back has used it.
    generation: u32,
}

impl<J> Leases<J> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            len: 0,
            first: 0,
            generation: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many more leases there can be.
    pub(super) fn room(&self) -> usize {
        let numbers = (u32::MAX - self.first) as usize;
        numbers.saturating_sub(self.places.len()) + self.free.len()
    }

    /// Begins a lease. There must be [`room`](Self::room).
    #[inline]
    pub(super) fn begin(&mut self, record: Record<J>) -> LeaseId {
        self.len += 1;
        if let Some(number) = self.free.pop()
            && let Some(place) = self.places.get_mut(number as usize)
        {
            place.record = Some(record);
            return name(self.first + number, place.generation);
        }
        let number = self.places.len() as u32;
        self.places.push(Place {
            generation: self.generation,
            record: Some(record),
        });
        name(self.first + number, self.generation)
    }

    /// The job of a lease, if the lease lasts and `attempt` is its current one.
    pub(super) fn find(&mut self, lease: LeaseId, attempt: u32) -> Option<&mut Record<J>> {
        let number = self.number(lease)?;
        let place = self.places.get_mut(number as usize)?;
        if place.generation != generation(lease) {
            return None;
        }
        place.record.as_mut().filter(|record| record.attempt() == attempt)
    }

    /// Ends a lease, if it lasts and `attempt` is its current one.
    pub(super) fn end(&mut self, lease: LeaseId, attempt: u32) -> Option<Record<J>> {
        let number = self.number(lease)?;
        let place = self.places.get_mut(number as usize)?;
        if place.generation != generation(lease) {
            return None;
        }
        let record = place.record.take_if(|record| record.attempt() == attempt)?;
        if place.vacated() {
            self.free.push(number);
        }
        self.len -= 1;
        if self.len == 0 {
            self.give_back();
        }
        Some(record)
    }

    /// Ends a lease as [`end`](Self::end) does and drops its job where it is. Every job goes this way, so it is not moved
    /// about first; it goes last, so that a payload whose drop panics leaves everything in order.
    #[inline]
    pub(super) fn finish(&mut self, lease: LeaseId, attempt: u32) -> Option<()> {
        let number = self.number(lease)?;
        let place = self.places.get_mut(number as usize)?;
        let current = place.record.as_ref()?.attempt() == attempt;
        if !current || place.generation != generation(lease) {
            return None;
        }
        if place.vacated() {
            self.free.push(number);
        }
        self.len -= 1;
        place.record = None;
        if self.len == 0 {
            self.give_back();
        }
        Some(())
    }

    /// Ends all leases. The jobs come in no order.
    pub(super) fn end_all(&mut self, into: &mut Vec<Record<J>>) {
        for (number, place) in (0..).zip(&mut self.places) {
            if let Some(record) = place.record.take() {
                into.push(record);
                if place.vacated() {
                    self.free.push(number);
                }
            }
        }
        self.len = 0;
        self.give_back();
    }

    #[inline]
    fn number(&self, lease: LeaseId) -> Option<u32> {
        (lease.0 as u32).checked_sub(self.first)
    }

    /// Gives memory back. Called when no lease lasts: then every place has its next generation, which was never used, and
    /// new places can begin with the greatest of them. If a place is used up, new places get new numbers instead.
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
        if greatest < u32::MAX {
            self.generation = greatest;
        } else {
            let Some(first) = self.first.checked_add(self.places.len() as u32) else {
                return;
            };
            self.first = first;
            self.generation = 0;
        }
        self.places = Vec::new();
        self.free = Vec::new();
    }
}

fn name(number: u32, generation: u32) -> LeaseId {
    LeaseId(u64::from(number) | u64::from(generation) << 32)
}

fn generation(lease: LeaseId) -> u32 {
    (lease.0 >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;
    use crate::words::{Job, JobId, Moment, Sealed};

    fn record(number: u64) -> Record<u64> {
        let id = JobId::from_uuid(Uuid::from_u128(u128::from(number)));
        Record::new(Sealed::new(id, Job::new(number), None, Moment::START), number)
    }

    #[test]
    fn no_name_is_used_twice_even_after_memory_was_given_back() {
        let mut leases = Leases::new();
        let mut names = BTreeSet::new();
        for _ in 0..3 {
            let held: Vec<_> = (0..KEPT as u64 + 10)
                .map(|number| leases.begin(record(number)))
                .collect();
            for lease in held {
                assert!(names.insert(lease), "{lease} was used before");
                assert!(leases.end(lease, 1).is_some());
                assert!(leases.end(lease, 1).is_none());
            }
            assert_eq!(leases.places.capacity(), 0);
        }
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_not_used_again() {
        let mut leases = Leases::new();
        leases.generation = u32::MAX;
        let last = leases.begin(record(1));
        assert!(leases.end(last, 1).is_some());
        leases.generation = 0;
        let next = leases.begin(record(2));
        assert_ne!(last, next);
        assert_ne!(last.0 as u32, next.0 as u32);
        assert!(leases.end(last, 1).is_none());
    }

    #[test]
    fn used_up_places_are_given_back_and_their_numbers_are_not() {
        let mut leases = Leases::new();
        leases.generation = u32::MAX;
        let held: Vec<_> = (0..KEPT as u64 + 1)
            .map(|number| leases.begin(record(number)))
            .collect();
        for lease in &held {
            assert!(leases.end(*lease, 1).is_some());
        }
        assert_eq!(leases.places.capacity(), 0);
        let next = leases.begin(record(1));
        assert!(!held.contains(&next));
        assert!(leases.end(held[0], 1).is_none());
        assert!(leases.end(next, 1).is_some());
    }
}
