//! The handle by which a single job is held, in a block or alone.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::begun::{Begin, BegunMark};
use super::block::{Place, Sole};
use super::guarded::{drop_guarded, gone};
use super::job::Envelope;
use super::{
    Block, DeliveryNumber, Guarded, Job, JobId, Key, KeyHash, Moment, PayloadRef, Places, Priority, ReplyTo,
};

/// A job inside the group, held by whoever has this: the queue, the supervisor, a consumer. Clones hold the same job, so a
/// redelivery never clones the payload.
///
/// The job travels alone, or stands in a [`Block`] with others; which of both makes no difference to its holder.
///
/// The last holder drops the payload; a panic in its `Drop` is caught and goes no further.
pub struct Sealed<J>(Hold<J>);

enum Hold<J> {
    Alone(Alone<J>),
    InBlock(InBlock<J>),
}

/// A handle of an envelope. It is empty only while it is taken apart, and then nobody else can reach it.
struct Alone<J>(Option<Arc<Envelope<J>>>);

/// A counted handle of one job of a block.
struct InBlock<J> {
    block: Arc<Block<J>>,
    place: u8,
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

impl<J> Clone for InBlock<J> {
    fn clone(&self) -> Self {
        self.block.hold(self.place);
        Self {
            block: Arc::clone(&self.block),
            place: self.place,
        }
    }
}

impl<J> Drop for InBlock<J> {
    fn drop(&mut self) {
        self.block.let_go(self.place);
    }
}

impl<J> Sealed<J> {
    /// Puts a job into its envelope. `now` is the moment from which delay and expiry count.
    pub fn new(id: JobId, job: Job<J>, reply_to: Option<ReplyTo>, now: Moment) -> Self {
        Self::alone(Envelope::seal(id, job, reply_to, now))
    }

    fn alone(envelope: Envelope<J>) -> Self {
        Self(Hold::Alone(Alone(Some(Arc::new(envelope)))))
    }

    /// Another handle of the job at this place of a block. A place past the last one is taken for the last one.
    pub fn in_block(block: Arc<Block<J>>, place: u8) -> Self {
        // Below 64, so it fits.
        let place = place.min(block.len() as u8 - 1);
        block.hold(place);
        Self::out_of_block(block, place)
    }

    /// The handle that stands for the job at this place from here on: its way in the block has ended.
    pub(crate) fn out_of_block(block: Arc<Block<J>>, place: u8) -> Self {
        Self(Hold::InBlock(InBlock { block, place }))
    }

    /// Takes the payload out.
    ///
    /// # Errors
    /// The handle itself, while somebody else holds the job, or looks at its payload. A payload without a destructor stays
    /// also while somebody holds another job of its block.
    pub fn into_payload(self) -> Result<J, Self> {
        self.into_envelope().map(Envelope::into_payload)
    }

    /// Takes the job out with all that its producer wished for it. Delay and expiry are those that it had when the group took
    /// it, or took it over from a group before; they count anew when it is sent again.
    ///
    /// # Errors
    /// As [`into_payload`](Self::into_payload).
    pub fn into_job(self) -> Result<Job<J>, Self> {
        let (key, Priority(priority), dedup) = (self.key().cloned(), self.priority(), self.dedup().cloned());
        let since = self
            .view()
            .envelope()
            .and_then(Envelope::since)
            .unwrap_or_default();
        // A wait beyond all times was cut to the last moment.
        let wait = |until: Moment| match until.as_nanos() {
            u64::MAX => Duration::MAX,
            _ => until.since(since),
        };
        let (delay, age) = (self.not_before().map(wait), self.expiry().map(wait));
        let mut job = Job::new(self.into_payload()?).priority(priority);
        if let Some(key) = key {
            job = job.key(key);
        }
        if let Some(dedup) = dedup {
            job = job.dedup(dedup);
        }
        if let Some(delay) = delay {
            job = job.delay(delay);
        }
        if let Some(age) = age {
            job = job.expires_after(age);
        }
        Ok(job)
    }

    fn into_envelope(self) -> Result<Envelope<J>, Self> {
        match self.0 {
            Hold::Alone(mut alone) => match alone.0.take() {
                Some(envelope) => {
                    Arc::try_unwrap(envelope).map_err(|envelope| Self(Hold::Alone(Alone(Some(envelope)))))
                }
                None => gone(),
            },
            Hold::InBlock(mut held) => {
                let place = held.place;
                let taken = match Arc::get_mut(&mut held.block) {
                    Some(block) => block.take_alone(place),
                    None => held.block.take(place),
                };
                match taken {
                    Some(payload) => {
                        let Sole { id, job, reply_to } = held.block.job(place, payload);
                        Ok(Envelope::seal(id, job, reply_to, Moment::START))
                    }
                    None => Err(Self(Hold::InBlock(held))),
                }
            }
        }
    }

    /// The same job for another group: what was to come `then`, by the clock of its own, is as far away `now`, by that of the
    /// other. Nobody waits for its outcome, and no delivery of it has begun.
    ///
    /// # Errors
    /// The handle itself, if it says something that only its own group understands, and somebody else holds the job.
    pub(crate) fn for_another_group(self, then: Moment, now: Moment) -> Result<Self, Self> {
        if self.view().is_bound_to_no_group() {
            self.view().begun().forget();
            return Ok(self);
        }
        let envelope = self.into_envelope()?;
        Ok(Self::alone(envelope.for_another_group(then, now)))
    }

    /// Whether both hold the same job.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Hold::Alone(one), Hold::Alone(other)) => Arc::ptr_eq(one, other),
            (Hold::InBlock(one), Hold::InBlock(other)) => {
                Arc::ptr_eq(&one.block, &other.block) && one.place == other.place
            }
            _ => false,
        }
    }

    #[inline]
    pub(crate) fn view(&self) -> JobView<'_, J> {
        match &self.0 {
            Hold::Alone(envelope) => JobView::Alone(envelope),
            Hold::InBlock(held) => match JobView::in_block(&held.block, held.place) {
                Some(view) => view,
                // A handle is only made of a place that is there.
                None => gone(),
            },
        }
    }

    /// The name of the job.
    #[inline]
    pub fn id(&self) -> JobId {
        self.view().id()
    }

    /// The key, if the producer gave one.
    pub fn key(&self) -> Option<&Key> {
        self.view().key()
    }

    /// The hash of the key, if there is one.
    pub fn key_hash(&self) -> Option<KeyHash> {
        self.view().key().map(Key::hashed)
    }

    /// How urgent the job is.
    pub fn priority(&self) -> Priority {
        self.view().envelope().map_or(Priority(0), Envelope::priority)
    }

    /// Not to be leased before this moment.
    pub fn not_before(&self) -> Option<Moment> {
        self.view().envelope().and_then(Envelope::not_before)
    }

    /// Not to begin after this moment. `None` also for a job that has begun before, or was sent back from the dead letters.
    #[inline]
    pub fn expires_at(&self) -> Option<Moment> {
        self.view().expires_at()
    }

    /// The moment with which it was sent, whether or not it still expires.
    pub(crate) fn expiry(&self) -> Option<Moment> {
        self.view().envelope().and_then(Envelope::expiry)
    }

    /// From now on it does not expire any more: it has begun, or a queue sends it back from its dead letters.
    pub fn forget_expiry(&self) {
        if let Some(envelope) = self.view().envelope() {
            envelope.forget_expiry();
        }
    }

    /// The deduplication key, if the producer gave one.
    pub fn dedup(&self) -> Option<&Key> {
        self.view().envelope().and_then(Envelope::dedup)
    }

    /// Who waits for the outcome, if anyone does.
    pub fn reply_to(&self) -> Option<ReplyTo> {
        self.view().reply_to()
    }

    /// What the producer sent, to look at.
    #[inline]
    pub fn payload(&self) -> PayloadRef<'_, J> {
        match self.view().read() {
            Some(payload) => payload,
            // A payload stays until its last holder goes, and this is one.
            None => gone(),
        }
    }
}

impl<J> Clone for Sealed<J> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Hold::Alone(alone) => Hold::Alone(Alone(Some(Arc::clone(alone)))),
            Hold::InBlock(held) => Hold::InBlock(held.clone()),
        })
    }
}

/// Names the job and leaves the payload out.
impl<J> fmt::Debug for Sealed<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("id", &self.id())
            .field("key", &self.key())
            .field("priority", &self.priority())
            .finish_non_exhaustive()
    }
}

/// A job that somebody else holds.
pub(crate) enum JobView<'a, J> {
    Alone(&'a Arc<Envelope<J>>),
    InBlock(&'a Arc<Block<J>>, u8, &'a Place<J>),
}

impl<J> Clone for JobView<'_, J> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<J> Copy for JobView<'_, J> {}

impl<'a, J> JobView<'a, J> {
    /// The job at this place of a block; none if the block is shorter.
    #[inline]
    pub(crate) fn in_block(block: &'a Arc<Block<J>>, place: u8) -> Option<Self> {
        Some(Self::InBlock(block, place, block.place(place)?))
    }

    fn envelope(self) -> Option<&'a Envelope<J>> {
        match self {
            Self::Alone(envelope) => Some(envelope),
            Self::InBlock(..) => None,
        }
    }

    #[inline]
    pub(crate) fn id(self) -> JobId {
        match self {
            Self::Alone(envelope) => envelope.id(),
            Self::InBlock(block, place, _) => block.id(place),
        }
    }

    pub(crate) fn key(self) -> Option<&'a Key> {
        match self {
            Self::Alone(envelope) => envelope.key(),
            Self::InBlock(block, place, _) => block.key(place),
        }
    }

    pub(crate) fn reply_to(self) -> Option<ReplyTo> {
        match self {
            Self::Alone(envelope) => envelope.reply_to(),
            Self::InBlock(block, ..) => block.reply_to(),
        }
    }

    /// Whether it says nothing that only its own group understands: a moment, or who waits for the outcome.
    fn is_bound_to_no_group(self) -> bool {
        match self {
            Self::Alone(envelope) => envelope.is_bound_to_no_group(),
            Self::InBlock(block, ..) => block.reply_to().is_none(),
        }
    }

    #[inline]
    pub(crate) fn expires_at(self) -> Option<Moment> {
        self.envelope().and_then(Envelope::expires_at)
    }

    /// Notes that the delivery `number` begins: its consumer looks at the payload. From then on it does not expire. False if it
    /// must not begin: it was taken back, or a later delivery of the job has begun.
    #[inline]
    pub(crate) fn begin(self, number: DeliveryNumber) -> bool {
        let begin = self.begun().begin(number);
        if begin == Begin::Now
            && let Some(envelope) = self.envelope()
        {
            envelope.forget_expiry();
        }
        begin != Begin::Never
    }

    /// Whether a delivery of it has begun.
    #[inline]
    pub(crate) fn begun(self) -> &'a BegunMark {
        match self {
            Self::Alone(envelope) => envelope.begun(),
            Self::InBlock(_, _, job) => job.begun(),
        }
    }

    /// The payload, for as long as the reader keeps it. None if its job was settled and has gone.
    #[inline]
    pub(crate) fn read(self) -> Option<PayloadRef<'a, J>> {
        match self {
            Self::Alone(envelope) => Some(PayloadRef::plain(envelope.payload())),
            Self::InBlock(_, _, job) => job.read(),
        }
    }

    /// A handle of the job.
    pub(crate) fn hold(self) -> Sealed<J> {
        match self {
            Self::Alone(envelope) => Sealed(Hold::Alone(Alone(Some(Arc::clone(envelope))))),
            Self::InBlock(block, place, _) => Sealed::in_block(Arc::clone(block), place),
        }
    }
}

/// A job with its payload, for somebody who looks at it without holding a lock.
pub(crate) struct Owned<J> {
    job: Sealed<J>,
    /// The payload of a job in a block that has a destructor; it stands apart from the block then.
    shared: Option<Arc<Guarded<J>>>,
}

impl<J> Owned<J> {
    /// None if the payload has gone, or if somebody looks at it right now, which may last for ever.
    pub(crate) fn new(job: Sealed<J>) -> Option<Self> {
        let shared = match job.view() {
            JobView::InBlock(block, place, _) if block.bare(place).is_none() => Some(block.share(place)?),
            JobView::Alone(_) | JobView::InBlock(..) => None,
        };
        Some(Self { job, shared })
    }

    pub(crate) fn job(&self) -> &Sealed<J> {
        &self.job
    }

    pub(crate) fn payload(&self) -> &J {
        let stays = match (&self.shared, self.job.view()) {
            (Some(shared), _) => Some(&***shared),
            (None, JobView::Alone(envelope)) => Some(envelope.payload()),
            (None, JobView::InBlock(block, place, _)) => block.bare(place),
        };
        match stays {
            Some(payload) => payload,
            // It was there when this was made.
            None => gone(),
        }
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
                out_of_block(block, places)
            }
        }
    }

    /// Handles of the jobs, in order.
    pub fn handles(&self) -> Vec<Sealed<J>> {
        match self {
            Self::Job(job) => vec![job.clone()],
            Self::Block(block) => {
                let handle = |place| Sealed::in_block(Arc::clone(block), place);
                block.places().iter().map(handle).collect()
            }
        }
    }

    /// Calls `see` with the name of each job, in order.
    pub(crate) fn each_id(&self, mut see: impl FnMut(JobId)) {
        match self {
            Self::Job(job) => see(job.id()),
            Self::Block(block) => block.places().iter().for_each(|place| see(block.id(place))),
        }
    }
}

/// The jobs at these places, whose way in the block has ended. If nobody else holds the block, each gets an envelope of its
/// own.
pub(crate) fn out_of_block<J>(block: Arc<Block<J>>, places: Places) -> Vec<Sealed<J>> {
    let alone = |Sole { id, job, reply_to }| Sealed::new(id, job, reply_to, Moment::START);
    match block.into_jobs(places) {
        Ok(jobs) => jobs.into_iter().map(alone).collect(),
        Err(block) => places
            .both(block.places())
            .iter()
            .map(|place| Sealed::out_of_block(Arc::clone(&block), place))
            .collect(),
    }
}

impl<J> From<Sealed<J>> for Load<J> {
    fn from(job: Sealed<J>) -> Self {
        Self::Job(job)
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
        let handle = Sealed::in_block(Arc::clone(&rig.block), 0);
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
        let handle = Sealed::out_of_block(Arc::clone(&rig.block), 0);
        let neighbour = Sealed::out_of_block(Arc::clone(&rig.block), 1);
        assert_eq!(handle.into_payload().ok().unwrap().0, 0);
        assert_eq!(neighbour.payload().0, 1);
    }

    #[test]
    fn a_payload_that_somebody_else_holds_or_looks_at_is_not_taken() {
        let rig = Rig::new(2);
        let handle = Sealed::out_of_block(Arc::clone(&rig.block), 0);
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
        assert!(Owned::new(Sealed::in_block(Arc::clone(&rig.block), 0)).is_none());
        drop(looked_at);
        let owned = Owned::new(Sealed::in_block(Arc::clone(&rig.block), 0)).unwrap();
        assert!(std::ptr::eq(owned.payload(), &*rig.read(0).unwrap()));
        rig.block.end(Places::only(0));
        assert_eq!((rig.dropped(), owned.payload().0), (0, 0));
        drop(owned);
        assert_eq!(rig.dropped(), 1);
    }

    #[test]
    fn a_job_without_a_destructor_is_taken_out_of_a_block_by_its_only_holder_alone() {
        let block = numbers(3);
        let handle = Sealed::out_of_block(Arc::clone(&block), 2);
        let handle = handle.into_payload().unwrap_err();
        drop(block);
        assert_eq!(handle.into_payload().unwrap(), 2);
        let jobs = out_of_block(numbers(3), Places::first(2));
        let payloads: Vec<_> = jobs.into_iter().map(|job| job.into_payload().unwrap()).collect();
        assert_eq!(payloads, [0, 1]);
    }
}
