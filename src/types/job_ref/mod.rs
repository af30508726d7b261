//! The handle by which a single job is held, and the run: jobs of one block that go one way together.

mod run;
mod view;

use std::fmt;
use std::sync::Arc;

pub use run::Run;
pub(crate) use view::{JobView, Owned};

use crate::types::invariant::invariant;
use crate::types::place::{PayloadRef, Place};
use crate::types::{Arrival, Block, Job, JobId, Key, KeyHash, Moment, Origin, Places, Priority, ReplyTo};

/// A job inside the group, held by whoever has this: the queue, the supervisor, a consumer. Clones hold the same job, so a
/// redelivery never clones the payload.
///
/// The job stands in a [`Block`], alone or with others; which of both makes no difference to its holder.
///
/// The last holder drops the payload; a panic in its `Drop` is caught and goes no further.
pub struct JobRef<J> {
    block: Arc<Block<J>>,
    place: u8,
}

impl<J> Clone for JobRef<J> {
    fn clone(&self) -> Self {
        Self::in_block(Arc::clone(&self.block), self.place)
    }
}

impl<J> Drop for JobRef<J> {
    #[inline]
    fn drop(&mut self) {
        self.block.end(Places::only(self.place));
    }
}

impl<J> JobRef<J> {
    /// Seals a job. `now` is the moment from which delay and expiry count.
    pub fn new(id: JobId, job: Job<J>, reply_to: Option<ReplyTo>, now: Moment) -> Self {
        Self::out_of_block(Arc::new(Block::one(id, job, reply_to, now)), 0)
    }

    /// Seals a job that came from elsewhere. `now` is the moment from which delay and expiry count.
    pub fn arrived(arrival: Arrival, job: Job<J>, now: Moment) -> Self {
        let wishes = job.wishes(now);
        let (job, keys) = (vec![Place::new(job.payload)], job.key.into_iter().collect());
        let block = Block::of_arrivals(job, keys, wishes, vec![arrival]);
        Self::out_of_block(Arc::new(block), 0)
    }

    /// Another handle of the job at this place of a block. A place past the last one is taken for the last one.
    pub fn in_block(block: Arc<Block<J>>, place: u8) -> Self {
        // Below 64, so it fits.
        let place = place.min(block.len() as u8 - 1);
        if let Some(job) = block.place(place) {
            job.hold();
        }
        Self::out_of_block(block, place)
    }

    /// The handle that stands for the job at this place from here on: its way in the block has ended.
    pub(crate) fn out_of_block(block: Arc<Block<J>>, place: u8) -> Self {
        Self { block, place }
    }

    /// Takes the payload out.
    ///
    /// # Errors
    /// The handle itself, while somebody else holds the job, or looks at its payload. A payload without a destructor stays
    /// also while somebody holds another job of its block.
    pub fn into_payload(mut self) -> Result<J, Self> {
        self.block.take(self.place).ok_or(self)
    }

    /// Takes the job out with all that its producer wished for it. Delay and expiry are those that it had when the group took
    /// it, or took it over from a group before; they count anew when it is sent again.
    ///
    /// # Errors
    /// As [`into_payload`](Self::into_payload).
    pub fn into_job(mut self) -> Result<Job<J>, Self> {
        match self.block.take(self.place) {
            Some(payload) => Ok(self.block.job(self.place, payload)),
            None => Err(self),
        }
    }

    /// The same job for another group: what was to come `then`, by the clock of its own, is as far away `now`, by that of the
    /// other. Nobody waits for its outcome, and no delivery of it has begun.
    ///
    /// # Errors
    /// The handle itself, if it says something that only its own group understands, and somebody else holds the job.
    pub(crate) fn for_another_group(mut self, then: Moment, now: Moment) -> Result<Self, Self> {
        if self.block.is_bound_to_no_group() {
            self.view().begun().forget();
            return Ok(self);
        }
        let Some(payload) = self.block.take(self.place) else {
            return Err(self);
        };
        let mut block = self.block.alone(self.place, payload);
        block.move_to_group(then, now);
        Ok(Self::out_of_block(Arc::new(block), 0))
    }

    /// Its place in its block.
    pub(crate) fn place(&self) -> u8 {
        self.place
    }

    /// The job as a run. It keeps the block; the payload only as long as somebody holds the job.
    pub(crate) fn as_run(&self) -> Run<J> {
        Run {
            block: Arc::clone(&self.block),
            places: Places::only(self.place),
        }
    }

    /// Whether both hold the same job.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.block, &other.block) && self.place == other.place
    }

    #[inline]
    pub(crate) fn view(&self) -> JobView<'_, J> {
        let view = JobView::in_block(&self.block, self.place);
        invariant!(view, "a handle is only made of a place that is there")
    }

    /// The name of the job.
    #[inline]
    pub fn id(&self) -> JobId {
        self.block.id(self.place)
    }

    /// Where the job comes from; `None` for one that was sent in this process.
    pub fn origin(&self) -> Option<&Origin> {
        Some(&self.block.arrival(self.place)?.origin)
    }

    /// The bytes of what is known of where it comes from.
    pub(super) fn arrival_bytes(&self) -> usize {
        let arrival = self.block.arrival(self.place);
        arrival.map_or(0, |arrival| size_of::<Arrival>() + arrival.origin.bytes())
    }

    /// The key, if the producer gave one.
    pub fn key(&self) -> Option<&Key> {
        self.block.key(self.place)
    }

    /// The hash of the key, if there is one.
    pub fn key_hash(&self) -> Option<KeyHash> {
        self.key().map(Key::hashed)
    }

    /// How urgent the job is.
    pub fn priority(&self) -> Priority {
        self.block.priority()
    }

    /// Not to be leased before this moment.
    pub fn not_before(&self) -> Option<Moment> {
        self.block.not_before()
    }

    /// Not to begin after this moment. `None` also for a job that has begun before, or was sent back from the dead letters.
    #[inline]
    pub fn expires_at(&self) -> Option<Moment> {
        self.block.expires_at(self.place)
    }

    /// The moment with which it was sent, whether or not it still expires.
    pub(crate) fn expiry(&self) -> Option<Moment> {
        self.block.expiry()
    }

    /// From now on it does not expire any more: it has begun, or a queue sends it back from its dead letters.
    pub fn forget_expiry(&self) {
        self.block.forget_expiry(self.place);
    }

    /// The deduplication key, if the producer gave one.
    pub fn dedup(&self) -> Option<&Key> {
        self.block.dedup()
    }

    /// Who waits for the outcome, if anyone does.
    pub fn reply_to(&self) -> Option<ReplyTo> {
        self.block.reply_to()
    }

    /// What the producer sent, to look at.
    #[inline]
    pub fn payload(&self) -> PayloadRef<'_, J> {
        let payload = self.view().read();
        invariant!(
            payload,
            "a payload stays until its last holder goes, and this is one"
        )
    }
}

/// Names the job and leaves the payload out.
impl<J> fmt::Debug for JobRef<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobRef")
            .field("id", &self.id())
            .field("key", &self.key())
            .field("priority", &self.priority())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use uuid::Uuid;

    use super::*;

    /// Counts its drops.
    struct Counted(u64, Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Rig {
        block: Arc<Block<Counted>>,
        dropped: Arc<AtomicUsize>,
    }

    impl Rig {
        fn new(len: u64) -> Self {
            let dropped = Arc::new(AtomicUsize::new(0));
            let payloads = (0..len).map(|number| Counted(number, Arc::clone(&dropped)));
            let block = Block::new(JobId::from_uuid(Uuid::nil()), payloads.collect()).unwrap();
            Self { block, dropped }
        }

        fn read(&self, place: u8) -> Option<PayloadRef<'_, Counted>> {
            self.block.place(place)?.read()
        }

        fn dropped(&self) -> usize {
            self.dropped.load(Ordering::Relaxed)
        }
    }

    fn numbers(len: u64) -> Arc<Block<u64>> {
        Block::new(JobId::from_uuid(Uuid::nil()), (0..len).collect()).unwrap()
    }

    #[test]
    fn a_block_holds_its_jobs_in_order_and_at_most_64() {
        for len in [1, 2, 63, 64] {
            let block = numbers(len);
            let payloads: Vec<_> = block
                .places()
                .iter()
                .map(|place| *block.place(place).unwrap().read().unwrap())
                .collect();
            assert_eq!(payloads, (0..len).collect::<Vec<_>>());
        }
        assert_eq!(numbers(70).len(), 64);
        assert!(Block::<u64>::new(JobId::from_uuid(Uuid::nil()), Vec::new()).is_none());
    }

    #[test]
    fn a_payload_is_dropped_when_its_own_job_ends_and_its_neighbours_stay() {
        let rig = Rig::new(3);
        rig.block.end(Places::only(1));
        assert_eq!(rig.dropped(), 1);
        assert!(rig.read(1).is_none());
        assert_eq!(rig.read(2).unwrap().0, 2);
    }

    #[test]
    fn a_handle_keeps_a_payload_whose_way_in_the_block_has_ended_and_its_last_clone_drops_it() {
        let rig = Rig::new(2);
        let handle = JobRef::in_block(Arc::clone(&rig.block), 0);
        let other = handle.clone();
        rig.block.end(Places::first(1));
        drop(handle);
        assert_eq!((rig.dropped(), other.payload().0), (0, 0));
        drop(other);
        assert_eq!(rig.dropped(), 1);
    }

    #[test]
    fn a_payload_that_is_looked_at_when_its_job_ends_is_dropped_by_who_looked_at_it() {
        let rig = Rig::new(2);
        let looked_at = rig.read(0).unwrap();
        rig.block.end(Places::first(2));
        assert_eq!((rig.dropped(), looked_at.0), (1, 0));
        drop(looked_at);
        rig.block.sweep(Places::first(2));
        assert_eq!(rig.dropped(), 2);
    }

    #[test]
    fn two_look_at_one_payload_at_once() {
        let rig = Rig::new(1);
        let (blocked, successor) = (rig.read(0).unwrap(), rig.read(0).unwrap());
        assert_eq!(blocked.0, successor.0);
    }

    #[test]
    fn a_payload_is_taken_out_of_a_block_by_its_only_holder_although_others_hold_its_neighbours() {
        let rig = Rig::new(2);
        let handle = JobRef::out_of_block(Arc::clone(&rig.block), 0);
        let neighbour = JobRef::out_of_block(Arc::clone(&rig.block), 1);
        assert_eq!(handle.into_payload().ok().unwrap().0, 0);
        assert_eq!(neighbour.payload().0, 1);
    }

    #[test]
    fn a_payload_that_somebody_else_holds_or_looks_at_is_not_taken() {
        let rig = Rig::new(2);
        let handle = JobRef::out_of_block(Arc::clone(&rig.block), 0);
        let other = handle.clone();
        let handle = handle.into_payload().err().unwrap();
        drop(other);
        let looked_at = rig.read(0).unwrap();
        let handle = handle.into_payload().err().unwrap();
        drop(looked_at);
        assert_eq!(handle.into_payload().ok().unwrap().0, 0);
    }

    #[test]
    fn whoever_keeps_a_payload_without_its_lock_shares_it_with_those_who_look_at_it_in_the_block() {
        let rig = Rig::new(2);
        let looked_at = rig.read(0).unwrap();
        assert!(Owned::new(JobRef::in_block(Arc::clone(&rig.block), 0)).is_none());
        drop(looked_at);
        let owned = Owned::new(JobRef::in_block(Arc::clone(&rig.block), 0)).unwrap();
        assert!(std::ptr::eq(owned.payload(), &*rig.read(0).unwrap()));
        rig.block.end(Places::only(0));
        assert_eq!((rig.dropped(), owned.payload().0), (0, 0));
        drop(owned);
        assert_eq!(rig.dropped(), 1);
    }

    #[test]
    fn a_job_without_a_destructor_is_taken_out_of_a_block_by_its_only_holder_alone() {
        let block = numbers(3);
        let handle = JobRef::out_of_block(Arc::clone(&block), 2);
        let handle = handle.into_payload().unwrap_err();
        drop(block);
        assert_eq!(handle.into_payload().unwrap(), 2);
        let places = Places::first(2);
        let run = Run {
            places,
            block: numbers(3),
        };
        let jobs = run.into_jobs();
        let payloads: Vec<_> = jobs.into_iter().map(|job| job.into_payload().unwrap()).collect();
        assert_eq!(payloads, [0, 1]);
    }
}
