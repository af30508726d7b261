//! Blocks: jobs that travel as one.
//!
//! A job of its own costs an allocation, a count of its holders for each of them, and an entry in every list on its way. Up
//! to 64 jobs share all of that in a block: which of them something is about is one bit each, in [`Places`].
//!
//! A payload is dropped when its own job ends, not when the block does, although the others of the block live on. So each
//! stands under a lock of its own, and there are two rules:
//! 1. **Read, never take.** Whoever works on a job holds the lock for reading, for this one place, until the work has ended. A
//!    thread that blocks for ever keeps its read lock, and the next consumer reads beside it. A panic leaves the payload there.
//! 2. **Clear without waiting.** The last holder of a place clears it, if nobody reads at that moment (`try_write`: a writer
//!    that waited would stop all readers). If somebody does, it was given up on: its job was settled by another. It looks
//!    again when it is done ([`Block::sweep`]), and clears the place itself.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use super::begun::BegunMark;
use super::spares::Spares;
use super::{Guarded, Job, JobId, Key, LeaseId, Places, ReplyTo};

/// Blocks that are used again. A block is some kilobytes, and the allocator works longer on such a piece than on everything
/// else that a block costs.
pub(super) type SpareBlocks<J> = Spares<Arc<Block<J>>>;

/// Up to 64 jobs that travel as one.
///
/// They have no priority, delay, expiry and deduplication, either all of them have a key or none has, and the same mailbox
/// waits for the outcome of each, or none. Their names follow each other.
pub struct Block<J> {
    /// The name of the first job.
    first: JobId,
    jobs: Vec<Place<J>>,
    /// The keys of the jobs, by place; none if they have no keys.
    keys: Vec<Key>,
    /// Who waits for the outcomes.
    reply_to: Option<ReplyTo>,
    /// Where the memory goes when the last job has ended.
    spares: Option<Arc<SpareBlocks<J>>>,
}

/// A job out of its block.
pub(super) struct Sole<J> {
    pub(super) id: JobId,
    pub(super) job: Job<J>,
    pub(super) reply_to: Option<ReplyTo>,
}

/// One job of a block.
pub(crate) struct Place<J> {
    begun: BegunMark,
    /// Who holds the job: its way through the group in the block is one, each handle another. Not counted for payloads without
    /// a destructor: those stay as long as the block.
    holders: AtomicU32,
    payload: Payload<J>,
}

enum Payload<J> {
    /// Nobody can notice when a payload without a destructor is dropped, so it needs no lock.
    Bare(Guarded<J>),
    Locked(RwLock<Kept<J>>),
}

/// What stands under the lock of a place.
enum Kept<J> {
    Here(Guarded<J>),
    /// Moved out of the block, since somebody wanted to keep it without holding the lock.
    Shared(Arc<Guarded<J>>),
    Gone,
}

impl<J> Payload<J> {
    fn into_inner(self) -> Option<J> {
        match self {
            Self::Bare(payload) => Some(payload.into_inner()),
            Self::Locked(lock) => match lock.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Kept::Here(payload) => Some(payload.into_inner()),
                Kept::Shared(shared) => Arc::into_inner(shared).map(Guarded::into_inner),
                Kept::Gone => None,
            },
        }
    }
}

impl<J> Place<J> {
    pub(super) fn new(payload: J) -> Self {
        let payload = Guarded::new(payload);
        Self {
            begun: BegunMark::default(),
            holders: AtomicU32::new(1),
            payload: if std::mem::needs_drop::<J>() {
                Payload::Locked(RwLock::new(Kept::Here(payload)))
            } else {
                Payload::Bare(payload)
            },
        }
    }

    pub(super) fn into_payload(self) -> Option<J> {
        self.payload.into_inner()
    }

    /// Whether a delivery of the job has begun.
    #[inline]
    pub(super) fn begun(&self) -> &BegunMark {
        &self.begun
    }

    /// The payload, for as long as the reader keeps it. None if its job was settled and has gone.
    #[inline]
    pub(super) fn read(&self) -> Option<PayloadRef<'_, J>> {
        let lock = match &self.payload {
            Payload::Bare(payload) => return Some(PayloadRef(Reading::Plain(payload))),
            Payload::Locked(lock) => lock,
        };
        // Nothing panics while it writes, so the lock is never poisoned. Nobody waits to write, so this waits for a move.
        let kept = lock.read().unwrap_or_else(PoisonError::into_inner);
        (!matches!(*kept, Kept::Gone)).then_some(PayloadRef(Reading::Locked(kept)))
    }

    /// The lock for changing what is there, unless somebody reads.
    fn change(&self) -> Option<RwLockWriteGuard<'_, Kept<J>>> {
        let Payload::Locked(lock) = &self.payload else {
            return None;
        };
        match lock.try_write() {
            Ok(kept) => Some(kept),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Drops what is there, unless somebody reads.
    fn clear(&self) {
        let gone = self
            .change()
            .map(|mut kept| std::mem::replace(&mut *kept, Kept::Gone));
        // The payload is dropped here, when the lock has been given back: its `Drop` is the user's.
        drop(gone);
    }

    /// Takes the payload out for its only holder, unless somebody reads or keeps it.
    fn take(&self) -> Option<J> {
        let mut kept = self.change()?;
        match std::mem::replace(&mut *kept, Kept::Gone) {
            Kept::Here(payload) => Some(payload.into_inner()),
            Kept::Shared(shared) => match Arc::try_unwrap(shared) {
                Ok(payload) => Some(payload.into_inner()),
                Err(shared) => {
                    *kept = Kept::Shared(shared);
                    None
                }
            },
            Kept::Gone => None,
        }
    }

    /// One holder less; the last one drops the payload, outside of the lock.
    #[inline]
    fn let_go(&self) {
        if std::mem::needs_drop::<J>() && self.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Either this look finds no reader, or the reader finds no holder: see `Block::sweep`.
            fence(Ordering::SeqCst);
            self.clear();
        }
    }

    /// The payload for somebody who keeps it without the lock. None if it has gone, or somebody reads it now.
    fn share(&self) -> Option<Arc<Guarded<J>>> {
        let Payload::Locked(lock) = &self.payload else {
            return None;
        };
        if let Kept::Shared(shared) = &*lock.read().unwrap_or_else(PoisonError::into_inner) {
            return Some(Arc::clone(shared));
        }
        let mut kept = self.change()?;
        let shared = match std::mem::replace(&mut *kept, Kept::Gone) {
            Kept::Here(payload) => Arc::new(payload),
            Kept::Shared(shared) => shared,
            Kept::Gone => return None,
        };
        *kept = Kept::Shared(Arc::clone(&shared));
        Some(shared)
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
            jobs,
            keys: Vec::new(),
            reply_to: None,
            spares: None,
        };
        (!block.jobs.is_empty()).then(|| Arc::new(block))
    }

    /// A block without jobs, to be filled.
    pub(super) fn empty() -> Self {
        Self {
            first: JobId::from_uuid(uuid::Uuid::nil()),
            jobs: Vec::new(),
            keys: Vec::new(),
            reply_to: None,
            spares: None,
        }
    }

    /// Fills an empty block; its memory goes to the spares in the end. `jobs` and `keys` get the memory of the last jobs. At
    /// least one job, at most 64; no key, or one for each.
    pub(super) fn fill(
        &mut self,
        (first, reply_to): (JobId, Option<ReplyTo>),
        jobs: &mut Vec<Place<J>>,
        keys: &mut Vec<Key>,
        spares: Arc<SpareBlocks<J>>,
    ) {
        (self.first, self.reply_to) = (first, reply_to);
        std::mem::swap(&mut self.jobs, jobs);
        std::mem::swap(&mut self.keys, keys);
        self.spares = Some(spares);
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
        self.first.following(place)
    }

    /// The key of the job at this place.
    #[inline]
    pub fn key(&self, place: u8) -> Option<&Key> {
        self.keys.get(usize::from(place))
    }

    /// The keys of all jobs, by place; none if they have no keys.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Who waits for the outcomes of the jobs.
    #[inline]
    pub fn reply_to(&self) -> Option<ReplyTo> {
        self.reply_to
    }

    /// The job at this place.
    #[inline]
    pub(crate) fn place(&self, place: u8) -> Option<&Place<J>> {
        self.jobs.get(usize::from(place))
    }

    /// One more holder of this job.
    pub(super) fn hold(&self, place: u8) {
        if std::mem::needs_drop::<J>()
            && let Some(job) = self.place(place)
        {
            job.holders.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A holder of this job lets it go.
    pub(super) fn let_go(&self, place: u8) {
        if let Some(job) = self.place(place) {
            job.let_go();
        }
    }

    /// The ways of these jobs in the block have ended.
    pub(crate) fn end(&self, places: Places) {
        if std::mem::needs_drop::<J>() {
            places.iter().for_each(|place| self.let_go(place));
        }
    }

    /// Drops what was let go while somebody read it. For whoever read it and was given up on meanwhile, after the last read.
    ///
    /// The one who let go lowered the count of holders first and looked for readers then; here the lock was given back first and the
    /// holders are counted now. Between both steps stands a fence on either side, so at least one of the two sees the other.
    pub(crate) fn sweep(&self, places: Places) {
        if std::mem::needs_drop::<J>() {
            fence(Ordering::SeqCst);
            for job in places.iter().filter_map(|place| self.place(place)) {
                if job.holders.load(Ordering::Acquire) == 0 {
                    job.clear();
                }
            }
        }
    }

    /// Takes the payload at this place for its only holder. None if somebody else holds or reads it, and for payloads without a
    /// destructor, which stay as long as the block.
    pub(super) fn take(&self, place: u8) -> Option<J> {
        let job = self.place(place)?;
        if job.holders.load(Ordering::Acquire) != 1 {
            return None;
        }
        job.take()
    }

    /// As [`take`](Self::take), for whoever holds the block alone.
    pub(super) fn take_alone(&mut self, place: u8) -> Option<J> {
        let job = self.jobs.get_mut(usize::from(place))?;
        std::mem::replace(&mut job.payload, Payload::Locked(RwLock::new(Kept::Gone))).into_inner()
    }

    /// The payload at this place for somebody who keeps it without its lock.
    pub(super) fn share(&self, place: u8) -> Option<Arc<Guarded<J>>> {
        self.place(place)?.share()
    }

    /// The payload at this place, if it stands under no lock.
    #[inline]
    pub(super) fn bare(&self, place: u8) -> Option<&J> {
        match &self.place(place)?.payload {
            Payload::Bare(payload) => Some(payload),
            Payload::Locked(_) => None,
        }
    }

    /// The job of this payload, which stood at this place.
    pub(super) fn job(&self, place: u8, payload: J) -> Sole<J> {
        let mut job = Job::new(payload);
        job.key = self.key(place).cloned();
        Sole {
            id: self.id(place),
            job,
            reply_to: self.reply_to,
        }
    }

    /// The jobs at these places, if nobody else holds the block.
    pub(super) fn into_jobs(self: Arc<Self>, places: Places) -> Result<Vec<Sole<J>>, Arc<Self>> {
        let mut block = Arc::try_unwrap(self)?;
        let jobs = (0_u8..).zip(std::mem::take(&mut block.jobs));
        Ok(jobs
            .filter(|(place, _)| places.contains(*place))
            .filter_map(|(place, job)| Some(block.job(place, job.payload.into_inner()?)))
            .collect())
    }

    /// Every job of the block has ended: its memory is used again, if nobody else holds it. Drops what is left in it.
    pub(crate) fn recycle(mut self: Arc<Self>) {
        if let Some(block) = Arc::get_mut(&mut self) {
            if std::mem::needs_drop::<J>() {
                block.jobs.clear();
            } else {
                // Nothing in them is to be dropped, and that is not to be looked at for each.
                block.jobs.drain(..).for_each(std::mem::forget);
            }
            block.keys.clear();
            if let Some(spares) = block.spares.take() {
                spares.put(self);
            }
        }
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

/// A payload that is being looked at. While it is, the payload stays, also if the job is done meanwhile.
pub struct PayloadRef<'a, J>(Reading<'a, J>);

enum Reading<'a, J> {
    Plain(&'a J),
    Locked(RwLockReadGuard<'a, Kept<J>>),
}

impl<'a, J> PayloadRef<'a, J> {
    pub(crate) fn plain(payload: &'a J) -> Self {
        Self(Reading::Plain(payload))
    }
}

impl<J> std::ops::Deref for PayloadRef<'_, J> {
    type Target = J;

    #[inline]
    fn deref(&self) -> &J {
        match &self.0 {
            Reading::Plain(payload) => payload,
            Reading::Locked(kept) => match &**kept {
                Kept::Here(payload) => payload,
                Kept::Shared(payload) => payload,
                Kept::Gone => super::guarded::gone(),
            },
        }
    }
}

impl<J: fmt::Debug> fmt::Debug for PayloadRef<'_, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<J: fmt::Display> fmt::Display for PayloadRef<'_, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
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
