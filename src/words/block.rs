//! Blocks: plain jobs that travel as one, and the handle by which a single job is held, in a block or alone.
//!
//! A job of its own costs an allocation, a count of its holders for each of them, and an entry in every list on its way. Up
//! to 64 plain jobs share all of that in a block: which of them something is about is one bit each, in [`Places`].

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::guarded::{drop_guarded, gone};
use super::{Envelope, LeaseId};

/// Some of the jobs of a block: one bit for each place, the first place is the lowest bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Places(u64);

impl Places {
    /// Places in a block.
    pub const MOST: usize = 64;

    /// No place.
    pub const NONE: Self = Self(0);

    /// The first `count` places, at most all of them.
    pub fn first(count: usize) -> Self {
        match count {
            0 => Self::NONE,
            1..Self::MOST => Self(u64::MAX >> (Self::MOST - count)),
            _ => Self(u64::MAX),
        }
    }

    /// This place alone. A place past the last one is taken for the last one.
    pub fn only(place: u8) -> Self {
        Self(1 << place.min(63))
    }

    /// How many places these are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether these are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest of these places.
    pub fn lowest(self) -> Option<u8> {
        // Below 64, so it fits.
        (self.0 != 0).then(|| self.0.trailing_zeros() as u8)
    }

    /// Whether this place is one of them.
    pub fn contains(self, place: u8) -> bool {
        !self.both(Self::only(place)).is_empty()
    }

    /// The places that are in both.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Adds places.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Takes places out; those that are not in do not matter.
    pub fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Takes out the lowest `count` places, or all if there are not more, and returns them.
    pub fn take_first(&mut self, count: usize) -> Self {
        if count >= self.len() {
            return std::mem::take(self);
        }
        let mut rest = self.0;
        for _ in 0..count {
            rest &= rest - 1;
        }
        let taken = Self(self.0 & !rest);
        self.0 = rest;
        taken
    }

    /// Takes out the lowest place.
    #[inline]
    pub(crate) fn take_lowest(&mut self) -> Option<u8> {
        let lowest = self.lowest()?;
        self.0 &= self.0 - 1;
        Some(lowest)
    }

    /// The places, from the lowest one up.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        let mut rest = self;
        std::iter::from_fn(move || rest.take_lowest())
    }
}

/// Up to 64 plain jobs that travel as one.
///
/// Plain is a job without key, priority, delay, expiry and deduplication, for whose outcome nobody waits. Only payloads that
/// own nothing (numbers, and structs of them) come in blocks: memory of a block is given back when the last of its jobs has
/// ended, and nobody can notice that a payload without a destructor lives a little longer.
pub struct Block<J> {
    jobs: Vec<Envelope<J>>,
    /// The job at the last place. It stands apart so that there always is one.
    last: Envelope<J>,
}

impl<J> Block<J> {
    /// A block of these jobs, in this order; `None` if there are none, or if their payloads have a destructor: such jobs travel
    /// alone. Those past the 64th are left out: make more blocks.
    pub fn new(mut jobs: Vec<Envelope<J>>) -> Option<Self> {
        if std::mem::needs_drop::<J>() {
            jobs.into_iter().for_each(drop_guarded);
            return None;
        }
        jobs.truncate(Places::MOST);
        let last = jobs.pop()?;
        Some(Self { jobs, last })
    }

    /// How many jobs are in the block.
    #[allow(clippy::len_without_is_empty, reason = "a block is never empty")]
    pub fn len(&self) -> usize {
        self.jobs.len() + 1
    }

    /// The places that hold a job.
    pub fn places(&self) -> Places {
        Places::first(self.len())
    }

    /// The job at this place. A place past the last one is taken for the last one.
    #[inline]
    pub fn job(&self, place: u8) -> &Envelope<J> {
        self.jobs.get(usize::from(place)).unwrap_or(&self.last)
    }

    /// Handles of the jobs at some places. If nobody else holds the block, each job gets an envelope of its own.
    pub(crate) fn into_sealed(self: Arc<Self>, places: Places) -> Vec<Sealed<J>> {
        match Arc::try_unwrap(self) {
            Ok(Self { jobs, last }) => (0..)
                .zip(jobs.into_iter().chain([last]))
                .filter(|(place, _)| places.contains(*place))
                .map(|(_, envelope)| Sealed::new(envelope))
                .collect(),
            Err(block) => handles_of(&block, places.both(block.places())),
        }
    }
}

fn handles_of<J>(block: &Arc<Block<J>>, places: Places) -> Vec<Sealed<J>> {
    let handle = |place| Sealed::in_block(Arc::clone(block), place);
    places.iter().map(handle).collect()
}

/// Names the jobs and leaves the payloads out.
impl<J> fmt::Debug for Block<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.jobs).entry(&self.last).finish()
    }
}

/// A job inside the group, held by whoever has this: the queue, the supervisor, a consumer. Clones hold the same job, so a
/// redelivery never clones the payload.
///
/// The job has an [`Envelope`] of its own, or stands in a [`Block`] with others; which of both makes no difference to its
/// holder, but for [`into_envelope`](Self::into_envelope).
///
/// The last holder drops the payload; a panic in its `Drop` is caught and goes no further.
pub struct Sealed<J>(Hold<J>);

enum Hold<J> {
    Alone(Alone<J>),
    /// A payload in a block has no destructor; see [`Block::new`].
    InBlock(Arc<Block<J>>, u8),
}

/// A handle of an envelope. It is empty only while it is taken apart, and then nobody else can reach it.
struct Alone<J>(Option<Arc<Envelope<J>>>);

impl<J> Alone<J> {
    fn into_inner(mut self) -> Arc<Envelope<J>> {
        match self.0.take() {
            Some(envelope) => envelope,
            None => gone(),
        }
    }
}

impl<J> Deref for Alone<J> {
    type Target = Arc<Envelope<J>>;

    #[inline]
    fn deref(&self) -> &Arc<Envelope<J>> {
        match &self.0 {
            Some(envelope) => envelope,
            None => gone(),
        }
    }
}

impl<J> Drop for Alone<J> {
    #[inline]
    fn drop(&mut self) {
        // Only the last holder drops the payload, so only that one needs the guard.
        if std::mem::needs_drop::<J>()
            && let Some(envelope) = self.0.take().and_then(Arc::into_inner)
        {
            drop_guarded(envelope);
        }
    }
}

impl<J> Sealed<J> {
    /// The only handle of this job.
    pub fn new(envelope: Envelope<J>) -> Self {
        Self(Hold::Alone(Alone(Some(Arc::new(envelope)))))
    }

    /// A handle of the job at this place of a block.
    pub fn in_block(block: Arc<Block<J>>, place: u8) -> Self {
        Self(Hold::InBlock(block, place))
    }

    /// Takes the job out of its envelope.
    ///
    /// # Errors
    /// The handle itself, while somebody else holds the job or another one of its block.
    pub fn into_envelope(self) -> Result<Envelope<J>, Self> {
        match self.0 {
            Hold::Alone(alone) => Arc::try_unwrap(alone.into_inner())
                .map_err(|envelope| Self(Hold::Alone(Alone(Some(envelope))))),
            Hold::InBlock(block, place) => match Arc::try_unwrap(block) {
                Ok(Block { mut jobs, last }) if usize::from(place) < jobs.len() => {
                    Ok(jobs.swap_remove(usize::from(place))).inspect(|_| drop(last))
                }
                Ok(Block { last, .. }) => Ok(last),
                Err(block) => Err(Self(Hold::InBlock(block, place))),
            },
        }
    }

    /// Whether both hold the same job.
    pub fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(&raw const **self, &raw const **other)
    }

    /// Goes on to another place of the same block, so that nobody has to count a holder for each job. Does nothing to a job
    /// that is in no block.
    #[inline]
    pub(crate) fn go_to(&mut self, place: u8) {
        if let Hold::InBlock(_, here) = &mut self.0 {
            *here = place;
        }
    }
}

impl<J> Clone for Sealed<J> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Hold::Alone(alone) => Hold::Alone(Alone(Some(Arc::clone(alone)))),
            Hold::InBlock(block, place) => Hold::InBlock(Arc::clone(block), *place),
        })
    }
}

impl<J> Deref for Sealed<J> {
    type Target = Envelope<J>;

    #[inline]
    fn deref(&self) -> &Envelope<J> {
        match &self.0 {
            Hold::Alone(alone) => alone,
            Hold::InBlock(block, place) => block.job(*place),
        }
    }
}

impl<J> fmt::Debug for Sealed<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A job, or a block of them, on the way to a queue.
#[derive(Debug)]
pub enum Load<J> {
    /// One job.
    Job(Sealed<J>),
    /// A block; only for a queue that says in its [`Capabilities`](super::Capabilities) that it takes blocks.
    Block(Arc<Block<J>>),
}

impl<J> Load<J> {
    /// How many jobs this is.
    #[allow(clippy::len_without_is_empty, reason = "a load is never empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::Job(_) => 1,
            Self::Block(block) => block.len(),
        }
    }

    /// The jobs one by one, in order.
    pub fn into_jobs(self) -> Vec<Sealed<J>> {
        match self {
            Self::Job(job) => vec![job],
            Self::Block(block) => {
                let places = block.places();
                block.into_sealed(places)
            }
        }
    }

    /// Handles of the jobs, in order.
    pub fn handles(&self) -> Vec<Sealed<J>> {
        match self {
            Self::Job(job) => vec![job.clone()],
            Self::Block(block) => handles_of(block, block.places()),
        }
    }

    /// Calls `look` with each job, in order.
    pub(crate) fn each(&self, mut look: impl FnMut(&Envelope<J>)) {
        match self {
            Self::Job(job) => look(job),
            Self::Block(block) => block.places().iter().for_each(|place| look(block.job(place))),
        }
    }
}

impl<J> From<Sealed<J>> for Load<J> {
    fn from(job: Sealed<J>) -> Self {
        Self::Job(job)
    }
}

/// Jobs of a block that were done, as the supervisor tells the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AckedPlaces {
    /// The lease of the whole block.
    pub lease: LeaseId,
    /// Which of its jobs.
    pub places: Places,
}

impl LeaseId {
    /// The lease of one job of a block that is leased as a whole.
    ///
    /// A queue that leases blocks leaves the lowest six bits of a block's lease free, for the place.
    pub fn of_place(self, place: u8) -> Self {
        Self(self.0 | u64::from(place & 63))
    }
}

#[cfg(test)]
mod tests {
    use crate::words::cases::cases;
    use uuid::Uuid;

    use super::*;
    use crate::words::{Job, JobId, Moment};

    fn block(len: u64) -> Arc<Block<u64>> {
        let envelope = |number: u64| {
            let id = JobId::from_uuid(Uuid::from_u128(u128::from(number)));
            Envelope::seal(id, Job::new(number), None, Moment::START)
        };
        Arc::new(Block::new((0..len).map(envelope).collect()).unwrap())
    }

    #[test]
    fn a_block_holds_its_jobs_in_order_and_at_most_64() {
        for len in [1, 2, 63, 64] {
            let block = block(len);
            let payloads: Vec<_> = block
                .places()
                .iter()
                .map(|place| *block.job(place).payload())
                .collect();
            assert_eq!(payloads, (0..len).collect::<Vec<_>>());
        }
        assert_eq!(block(70).len(), 64);
        assert!(Block::<u64>::new(Vec::new()).is_none());
    }

    #[test]
    fn a_job_is_taken_out_of_a_block_by_its_only_holder_alone() {
        let block = block(3);
        let (first, other) = (
            Sealed::in_block(Arc::clone(&block), 0),
            Sealed::in_block(block, 2),
        );
        let first = first.into_envelope().unwrap_err();
        drop(other);
        assert_eq!(first.into_envelope().unwrap().into_payload(), 0);
    }

    #[test]
    fn the_jobs_of_a_block_that_nobody_else_holds_get_envelopes_of_their_own() {
        let mut sealed = block(5).into_sealed(Places::first(4));
        assert_eq!(sealed.len(), 4);
        let last = sealed.pop().unwrap();
        assert_eq!(last.into_envelope().unwrap().into_payload(), 3);
    }

    #[test]
    fn places_are_a_set_of_numbers_below_64() {
        cases(256, |random| {
            let (places, other, count) = (Places(random.u64(..)), random.u64(..), random.usize(0..70));
            let set: Vec<u8> = places.iter().collect();
            assert_eq!(set.len(), places.len());
            assert!(set.iter().all(|place| places.contains(*place)));
            assert!(set.windows(2).all(|pair| pair[0] < pair[1]));
            let mut rest = places;
            let taken: Vec<u8> = rest.take_first(count).iter().collect();
            let left: Vec<u8> = rest.iter().collect();
            assert_eq!(&set[..count.min(set.len())], &taken[..]);
            assert_eq!(&set[count.min(set.len())..], &left[..]);
            let mut both = places;
            both.remove(Places(other));
            both.add(places.both(Places(other)));
            assert_eq!(both, places);
            assert_eq!(Places::first(count).len(), count.min(64));
        });
    }
}
