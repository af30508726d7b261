//! The leased blocks: many jobs under one lease, each of them settled on its own.
//!
//! A job stays in its block as long as nothing happens to it but an ack. A job that is tried again, or given up, or whose
//! lease goes back, leaves the block and is a [`Record`] from then on.

use std::sync::Arc;

use super::record::Record;
use super::thrift::KEPT;
use crate::words::{Block, LeaseId, Places, Sealed};

/// Jobs of a block that are ready.
pub(super) struct ReadyBlock<J> {
    pub(super) block: Arc<Block<J>>,
    /// The number of the job at the first place; the others follow.
    pub(super) seq: u64,
    /// Which of its jobs.
    pub(super) places: Places,
}

impl<J> ReadyBlock<J> {
    /// The number of the oldest job.
    pub(super) fn oldest(&self) -> u64 {
        self.seq + u64::from(self.places.lowest().unwrap_or(0))
    }

    /// One job as a record of its own; its way in the block has ended.
    pub(super) fn record(&self, place: u8) -> Record<J> {
        let job = Sealed::out_of_block(Arc::clone(&self.block), place);
        Record::new(job, self.seq + u64::from(place))
    }

    /// All jobs as records of their own.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<J>> {
        self.places.iter().map(|place| self.record(place))
    }
}

/// A lease of a block.
struct BlockLease<J> {
    /// The jobs that are not settled and in their first attempt.
    ready: ReadyBlock<J>,
    /// Jobs whose lease was renewed for a later attempt, by place.
    renewed: Vec<(u8, Record<J>)>,
}

/// A place for one leased block.
struct Place<J> {
    /// How often the place was used: one part of the lease's name.
    generation: u32,
    lease: Option<BlockLease<J>>,
}

/// The leased blocks: a slab whose places are used again and whose names are not.
///
/// | bits of a name | what |
/// |---|---|
/// | 63 | set: the lease of a block, or of a job of one |
/// | 38 to 62 | the generation of the place |
/// | 6 to 37 | the place |
/// | 0 to 5 | the job's place in the block |
pub(super) struct BlockLeases<J> {
    places: Vec<Place<J>>,
    /// Places without a lease, except those whose generations are used up; they are never used again.
    free: Vec<u32>,
    /// Jobs under all leases together.
    jobs: usize,
    /// The generation with which a new place begins: no place that was given back has used it.
    generation: u32,
}

const OF_BLOCK: u64 = 1 << 63;
const GENERATIONS: u32 = 1 << 25;

/// Whether this is the lease of a block or of a job of one.
pub(super) fn is_of_block(lease: LeaseId) -> bool {
    lease.0 & OF_BLOCK != 0
}

/// The places of a block as the name of a lease holds them.
fn place_in_block(lease: LeaseId) -> u8 {
    (lease.0 & 63) as u8
}

fn name(number: u32, generation: u32) -> LeaseId {
    LeaseId(OF_BLOCK | u64::from(generation) << 38 | u64::from(number) << 6)
}

impl<J> BlockLeases<J> {
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

    /// Whether another block can be leased.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty() || (self.places.len() < u32::MAX as usize && self.generation < GENERATIONS)
    }

    /// Begins a lease of these jobs. There must be [room](Self::has_room).
    pub(super) fn begin(&mut self, ready: ReadyBlock<J>) -> LeaseId {
        self.jobs += ready.places.len();
        let lease = BlockLease {
            ready,
            renewed: Vec::new(),
        };
        if let Some(number) = self.free.pop()
            && let Some(place) = self.places.get_mut(number as usize)
        {
            place.lease = Some(lease);
            return name(number, place.generation);
        }
        let number = self.places.len() as u32;
        self.places.push(Place {
            generation: self.generation,
            lease: Some(lease),
        });
        name(number, self.generation)
    }

    /// Ends the leases of these jobs, if they last and are in their first attempt. Returns how many do not.
    pub(super) fn finish(&mut self, lease: LeaseId, places: Places) -> usize {
        let Some((number, found)) = self.find(lease) else {
            return places.len();
        };
        let mut settled = found.ready.places.both(places);
        found.ready.places.remove(settled);
        found.ready.block.end(settled);
        // A renewal that did not count left its job in the first attempt.
        found.renewed.retain(|(place, record)| {
            let is_meant = places.contains(*place) && record.attempt() == 1;
            if is_meant {
                settled.add(Places::only(*place));
            }
            !is_meant
        });
        self.jobs -= settled.len();
        self.end_if_empty(number);
        places.len() - settled.len()
    }

    /// Ends the lease of one job, if it lasts and `attempt` is its current one.
    pub(super) fn end(&mut self, lease: LeaseId, attempt: u32) -> Option<Record<J>> {
        let (number, found) = self.find(lease)?;
        let place = place_in_block(lease);
        let record = if found.ready.places.contains(place) {
            if attempt != 1 {
                return None;
            }
            let record = found.ready.record(place);
            found.ready.places.remove(Places::only(place));
            record
        } else {
            let is_meant = |(of, record): &(u8, Record<J>)| *of == place && record.attempt() == attempt;
            let index = found.renewed.iter().position(is_meant)?;
            found.renewed.swap_remove(index).1
        };
        self.jobs -= 1;
        self.end_if_empty(number);
        Some(record)
    }

    /// Does `then` with one job whose lease goes on, if it lasts and `attempt` is its current one.
    pub(super) fn keep(
        &mut self,
        lease: LeaseId,
        attempt: u32,
        then: impl FnOnce(&mut Record<J>),
    ) -> Option<()> {
        let (_, found) = self.find(lease)?;
        let place = place_in_block(lease);
        if found.ready.places.contains(place) {
            if attempt != 1 {
                return None;
            }
            let record = found.ready.record(place);
            found.ready.places.remove(Places::only(place));
            found.renewed.push((place, record));
        }
        let (_, record) = found
            .renewed
            .iter_mut()
            .find(|(of, record)| *of == place && record.attempt() == attempt)?;
        then(record);
        Some(())
    }

    /// Ends all leases. The jobs come in no order.
    pub(super) fn end_all(&mut self, into: &mut Vec<Record<J>>) {
        for number in 0..self.places.len() as u32 {
            if let Some(lease) = self.vacate(number) {
                into.extend(lease.ready.records());
                into.extend(lease.renewed.into_iter().map(|(_, record)| record));
            }
        }
        self.jobs = 0;
        self.give_back();
    }

    /// Ends all leases: the jobs that never left their block as parts of it, the others as records. In no order.
    pub(super) fn take_all(&mut self, blocks: &mut Vec<ReadyBlock<J>>, records: &mut Vec<Record<J>>) {
        for number in 0..self.places.len() as u32 {
            if let Some(lease) = self.vacate(number) {
                blocks.push(lease.ready);
                records.extend(lease.renewed.into_iter().map(|(_, record)| record));
            }
        }
        self.jobs = 0;
        self.give_back();
    }

    fn find(&mut self, lease: LeaseId) -> Option<(u32, &mut BlockLease<J>)> {
        let number = (lease.0 >> 6) as u32;
        let generation = (lease.0 >> 38) as u32 & (GENERATIONS - 1);
        let place = self.places.get_mut(number as usize)?;
        if place.generation != generation {
            return None;
        }
        place.lease.as_mut().map(|lease| (number, lease))
    }

    fn end_if_empty(&mut self, number: u32) {
        let is_empty = |lease: &BlockLease<J>| lease.ready.places.is_empty() && lease.renewed.is_empty();
        let place = self.places.get(number as usize);
        if place.is_some_and(|place| place.lease.as_ref().is_some_and(is_empty)) {
            if let Some(ended) = self.vacate(number) {
                ended.ready.block.recycle();
            }
            if self.jobs == 0 {
                self.give_back();
            }
        }
    }

    fn vacate(&mut self, number: u32) -> Option<BlockLease<J>> {
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
        let greatest = self
            .places
            .iter()
            .map(|place| place.generation)
            .max()
            .unwrap_or(0);
        if self.places.len() > KEPT / Places::MOST && greatest < GENERATIONS {
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
    use crate::words::JobId;

    fn ready(len: u64) -> ReadyBlock<u64> {
        let block = Block::new(JobId::from_uuid(Uuid::nil()), (0..len).collect()).unwrap();
        let places = block.places();
        ReadyBlock {
            block,
            seq: 100,
            places,
        }
    }

    #[test]
    fn a_block_is_settled_in_parts_and_each_part_counts_once() {
        let mut leases = BlockLeases::new();
        let lease = leases.begin(ready(64));
        assert_eq!(leases.finish(lease, Places::first(10)), 0);
        assert_eq!(leases.finish(lease, Places::first(12)), 10);
        assert_eq!(leases.jobs(), 52);
        assert_eq!(leases.finish(lease, Places::first(64)), 12);
        assert_eq!((leases.jobs(), leases.finish(lease, Places::first(64))), (0, 64));
    }

    #[test]
    fn a_job_that_is_renewed_has_a_later_attempt_under_the_same_name_and_its_neighbours_have_not() {
        let mut leases = BlockLeases::new();
        let lease = leases.begin(ready(3));
        let second = lease.of_place(1);
        assert!(leases.keep(second, 2, |_| ()).is_none(), "not its attempt");
        assert!(
            leases
                .keep(second, 1, |record| record.end_attempt(true, None, 2))
                .is_some()
        );
        assert_eq!(
            leases.finish(lease, Places::first(3)),
            1,
            "its first attempt is over"
        );
        assert!(leases.end(second, 1).is_none());
        let record = leases.end(second, 2).unwrap();
        assert_eq!((record.seq, *record.job.payload()), (101, 1));
        assert_eq!(leases.jobs(), 0);
        assert!(leases.end(second, 2).is_none());
    }

    #[test]
    fn no_name_is_used_twice_even_after_memory_was_given_back() {
        let mut leases = BlockLeases::new();
        let mut names = BTreeSet::new();
        for _ in 0..3 {
            let held: Vec<_> = (0..KEPT / 64 + 10).map(|_| leases.begin(ready(2))).collect();
            for lease in held {
                assert!(names.insert(lease), "{lease} was used before");
                assert!(is_of_block(lease.of_place(1)));
                assert!(leases.end(lease, 1).is_some());
                assert_eq!(leases.finish(lease, Places::first(2)), 1);
            }
            assert_eq!(leases.places.capacity(), 0);
        }
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_not_used_again() {
        let mut leases = BlockLeases::new();
        leases.generation = GENERATIONS - 1;
        let last = leases.begin(ready(1));
        assert_eq!(leases.finish(last, Places::first(1)), 0);
        let next = leases.begin(ready(1));
        assert_ne!(last.0 >> 6 & 0xffff_ffff, next.0 >> 6 & 0xffff_ffff);
        assert_eq!(leases.finish(last, Places::first(1)), 1);
    }

    #[test]
    fn leases_that_are_taken_back_are_records_with_their_numbers() {
        let mut leases = BlockLeases::new();
        let lease = leases.begin(ready(4));
        assert_eq!(leases.finish(lease, Places::first(2)), 0);
        let mut back = Vec::new();
        leases.end_all(&mut back);
        let numbers: Vec<_> = back.iter().map(|record| record.seq).collect();
        assert_eq!(numbers, [102, 103]);
        assert_eq!((leases.jobs(), leases.finish(lease, Places::first(4))), (0, 4));
    }
}
