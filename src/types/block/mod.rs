//! Blocks: jobs that travel as one.
//!
//! A job of its own costs an allocation, a count of its holders for each of them, and an entry in every list on its way. Up
//! to 64 jobs share all of that in a block: which of them something is about is one bit each, in [`Places`].

mod ending;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::arrival::Arrival;
use crate::types::few::Few;
use crate::types::job::Wishes;
use crate::types::place::Place;
use crate::types::spares::Spares;
use crate::types::{Guarded, Job, JobId, Key, LeaseId, Moment, Places, Priority, ReplyTo};

/// Blocks that are used again. A block is some kilobytes, and the allocator works longer on such a piece than on everything
/// else that a block costs.
pub(in crate::types) type SpareBlocks<J> = Spares<Arc<Block<J>>>;

/// Jobs that travel as one: one at least, 64 at most.
///
/// They agree in what is wished for them (priority, delay, expiry), either all of them have a key or none has, and the same
/// mailbox waits for the outcome of each, or none. A job with a deduplication key is alone in its block. Their names follow each
/// other, but for [arrivals](Arrival): those have names of their own and agree in their lane, and one whose outcome is waited for
/// outside of the process is alone.
pub struct Block<J> {
    /// The name of the first job.
    first: JobId,
    jobs: Few<Place<J>>,
    /// None for a job alone with no key and no wishes, for which nobody waits.
    terms: Option<Box<Terms<J>>>,
}

/// What not every job has, kept behind a pointer so that a block of one plain job stays small.
struct Terms<J> {
    /// The keys of the jobs, by place; none if they have no keys.
    keys: Few<Key>,
    wishes: Wishes,
    /// Who waits for the outcomes.
    reply_to: Option<ReplyTo>,
    /// What is known of the jobs that came from elsewhere, by place; else nothing. A box in a box: it takes 8 bytes.
    #[allow(
        clippy::box_collection,
        reason = "the terms of a job that was sent here stay small"
    )]
    arrivals: Option<Box<Vec<Arrival>>>,
    /// Where the memory goes when the last job has ended.
    spares: Option<Arc<SpareBlocks<J>>>,
    /// Jobs that have begun once, or came back after they had, by place: they do not expire any more. Never cleared.
    no_longer_expire: AtomicU64,
}

impl<J> Default for Terms<J> {
    fn default() -> Self {
        Self {
            keys: Few::default(),
            wishes: Wishes::default(),
            reply_to: None,
            arrivals: None,
            spares: None,
            no_longer_expire: AtomicU64::new(0),
        }
    }
}

impl<J> Block<J> {
    /// A block of these payloads, in this order, whose names begin with `first` and follow each other; `None` if there are
    /// none. Those past the 64th are left out: make more blocks.
    pub fn new(first: JobId, payloads: Vec<J>) -> Option<Arc<Self>> {
        let mut payloads = payloads.into_iter().map(Guarded::new);
        let jobs: Vec<_> = payloads
            .by_ref()
            .take(Places::MOST)
            .map(|payload| Place::new(payload.into_inner()))
            .collect();
        payloads.for_each(drop);
        let block = Self {
            first,
            jobs: Few::Many(jobs),
            ..Self::empty()
        };
        (block.len() > 0).then(|| Arc::new(block))
    }

    /// A block of one job. `now` is the moment from which delay and expiry count.
    pub(in crate::types) fn one(id: JobId, job: Job<J>, reply_to: Option<ReplyTo>, now: Moment) -> Self {
        let wishes = job.wishes(now);
        Self::of_place((id, reply_to), Place::new(job.payload), job.key, wishes)
    }

    /// A block of the job at this place.
    pub(in crate::types) fn of_place(
        (id, reply_to): (JobId, Option<ReplyTo>),
        job: Place<J>,
        key: Option<Key>,
        wishes: Wishes,
    ) -> Self {
        let has_terms = key.is_some() || reply_to.is_some() || wishes != Wishes::default();
        Self {
            first: id,
            jobs: Few::One(job),
            terms: has_terms.then(|| {
                Box::new(Terms {
                    keys: key.map(Few::One).unwrap_or_default(),
                    wishes,
                    reply_to,
                    ..Terms::default()
                })
            }),
        }
    }

    /// A block of jobs that came from elsewhere, one at least; no key, or one for each.
    pub(in crate::types) fn of_arrivals(
        jobs: Vec<Place<J>>,
        keys: Vec<Key>,
        wishes: Wishes,
        arrivals: Vec<Arrival>,
    ) -> Self {
        let terms = Terms {
            keys: Few::of(keys),
            wishes,
            arrivals: Some(Box::new(arrivals)),
            ..Terms::default()
        };
        Self {
            jobs: Few::of(jobs),
            terms: Some(Box::new(terms)),
            ..Self::empty()
        }
    }

    /// A block without jobs, to be filled.
    pub(in crate::types) fn empty() -> Self {
        Self {
            first: JobId::from_uuid(uuid::Uuid::nil()),
            jobs: Few::default(),
            terms: None,
        }
    }

    /// Fills an empty block; its memory goes to the spares in the end. `jobs` and `keys` get the memory of the last jobs. At
    /// least one job, at most 64; no key, or one for each.
    pub(in crate::types) fn fill(
        &mut self,
        (first, reply_to, wishes): (JobId, Option<ReplyTo>, Wishes),
        jobs: &mut Vec<Place<J>>,
        keys: &mut Vec<Key>,
        spares: Arc<SpareBlocks<J>>,
    ) {
        self.first = first;
        self.jobs.swap(jobs);
        let terms = self.terms.get_or_insert_default();
        terms.keys.swap(keys);
        (terms.wishes, terms.reply_to, terms.spares) = (wishes, reply_to, Some(spares));
    }

    /// How many jobs are in the block.
    #[allow(clippy::len_without_is_empty, reason = "a block is never empty")]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// The places that hold a job.
    pub fn places(&self) -> Places {
        Places::first(self.len())
    }

    /// The name of the job at this place.
    #[inline]
    pub fn id(&self, place: u8) -> JobId {
        match self.arrival(place) {
            None => self.first.following(place),
            Some(arrival) => arrival.id,
        }
    }

    /// What is known of the job at this place, if it came from elsewhere.
    #[inline]
    pub fn arrival(&self, place: u8) -> Option<&Arrival> {
        let arrivals = self.terms.as_ref()?.arrivals.as_ref()?;
        arrivals.get(usize::from(place))
    }

    /// The key of the job at this place.
    #[inline]
    pub fn key(&self, place: u8) -> Option<&Key> {
        self.keys().get(usize::from(place))
    }

    /// The keys of all jobs, by place; none if they have no keys.
    #[inline]
    pub(crate) fn keys(&self) -> &[Key] {
        self.terms.as_ref().map_or(&[], |terms| &terms.keys)
    }

    /// Who waits for the outcomes of the jobs.
    #[inline]
    pub fn reply_to(&self) -> Option<ReplyTo> {
        self.terms.as_ref()?.reply_to
    }

    /// Whether somebody waits for the outputs of the jobs, in this process or outside.
    pub(crate) fn wants_outputs(&self) -> bool {
        let is_asked = |arrival: &Arrival| arrival.origin.reply.is_some();
        self.reply_to().is_some() || self.arrival(0).is_some_and(is_asked)
    }

    /// The job at this place, with its payload, as it can be sent again.
    pub(in crate::types) fn job(&self, place: u8, payload: J) -> Job<J> {
        let plain = Wishes::default();
        Job::of_wishes(payload, self.key(place).cloned(), self.wishes().unwrap_or(&plain))
    }

    fn wishes(&self) -> Option<&Wishes> {
        self.terms.as_ref().map(|terms| &terms.wishes)
    }

    /// How urgent the jobs are.
    pub fn priority(&self) -> Priority {
        self.wishes().map_or(Priority(0), |wishes| wishes.priority)
    }

    /// The jobs are not to be leased before this moment.
    pub fn not_before(&self) -> Option<Moment> {
        self.wishes()?.not_before
    }

    /// The moment after which the jobs were not to begin when they were sent, whether or not they still expire.
    #[inline]
    pub(crate) fn expiry(&self) -> Option<Moment> {
        self.wishes()?.expires_at
    }

    /// The deduplication key, if the job has one; then it is alone.
    pub(crate) fn dedup(&self) -> Option<&Key> {
        self.wishes()?.dedup.as_ref()
    }

    /// The job at this place is not to begin after this moment. `None` also for one that does not expire any more.
    #[inline]
    pub(crate) fn expires_at(&self, place: u8) -> Option<Moment> {
        let terms = self.terms.as_ref()?;
        terms
            .wishes
            .expires_at
            .filter(|_| terms.no_longer_expire.load(Ordering::Relaxed) >> place & 1 == 0)
    }

    /// From now on the job at this place does not expire any more.
    #[inline]
    pub(crate) fn forget_expiry(&self, place: u8) {
        // Relaxed is enough: who puts the job on its next way, by a message or under a lock, has seen it.
        if let Some(terms) = &self.terms
            && terms.wishes.expires_at.is_some()
        {
            terms.no_longer_expire.fetch_or(1 << place, Ordering::Relaxed);
        }
    }

    /// The jobs, by place.
    #[inline]
    pub(in crate::types) fn jobs(&self) -> &[Place<J>] {
        &self.jobs
    }

    /// The job at this place.
    #[inline]
    pub(crate) fn place(&self, place: u8) -> Option<&Place<J>> {
        self.jobs.get(usize::from(place))
    }
}

/// Names the jobs and leaves the payloads out.
impl<J> fmt::Debug for Block<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.places().iter().map(|place| self.id(place)))
            .finish()
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
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_block_of_one_plain_job_takes_72_bytes_with_a_number_and_one_allocation() {
        assert_eq!(size_of::<Block<u64>>(), 72);
        assert_eq!(size_of::<Block<String>>(), 80);
        let block = Block::one(JobId::from_uuid(Uuid::nil()), Job::new(1), None, Moment::START);
        assert!(block.terms.is_none() && matches!(block.jobs, Few::One(_)));
    }
}
