//! A job that somebody else holds, and one that is looked at without a lock.

use std::sync::Arc;

use super::JobRef;
use crate::types::begun::{Begin, BegunMark};
use crate::types::invariant::invariant;
use crate::types::place::{PayloadRef, Place};
use crate::types::{Block, DeliveryNumber, Guarded, JobId, Key, Moment, Origin, Places, Priority};

/// A job that somebody else holds.
pub(crate) struct JobView<'a, J> {
    pub(super) block: &'a Arc<Block<J>>,
    pub(super) place: u8,
    pub(super) job: &'a Place<J>,
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
        let job = block.place(place)?;
        Some(Self { block, place, job })
    }

    #[inline]
    pub(crate) fn place(self) -> u8 {
        self.place
    }

    #[inline]
    pub(crate) fn id(self) -> JobId {
        self.block.id(self.place)
    }

    /// Whether somebody waits for its output, in this process or outside.
    pub(crate) fn wants_output(self) -> bool {
        self.block.wants_outputs()
    }

    pub(crate) fn origin(self) -> Option<&'a Origin> {
        Some(&self.block.arrival(self.place)?.origin)
    }

    pub(crate) fn key(self) -> Option<&'a Key> {
        self.block.key(self.place)
    }

    pub(crate) fn priority(self) -> Priority {
        self.block.priority()
    }

    pub(crate) fn not_before(self) -> Option<Moment> {
        self.block.not_before()
    }

    /// The moment with which it was sent, whether or not it still expires.
    pub(crate) fn expiry(self) -> Option<Moment> {
        self.block.expiry()
    }

    #[inline]
    pub(crate) fn expires_at(self) -> Option<Moment> {
        self.block.expires_at(self.place)
    }

    /// Notes that the delivery `number` begins: its consumer looks at the payload. From then on it does not expire. False if it
    /// must not begin: it was taken back, or a later delivery of the job has begun.
    #[inline]
    pub(crate) fn begin(self, number: DeliveryNumber) -> bool {
        match self.begun().begin(number) {
            Begin::Again => true,
            Begin::Now => {
                self.block.forget_expiry(self.place);
                true
            }
            Begin::Never => false,
        }
    }

    /// Whether a delivery of it has begun.
    #[inline]
    pub(crate) fn begun(self) -> &'a BegunMark {
        self.job.begun()
    }

    /// The payload, for as long as the reader keeps it. None if its job was settled and has gone.
    #[inline]
    pub(crate) fn read(self) -> Option<PayloadRef<'a, J>> {
        self.job.read()
    }

    /// Drops the payload if its job ended while it was looked at here.
    #[cold]
    pub(crate) fn sweep(self) {
        self.block.sweep(Places::only(self.place));
    }

    /// A handle of the job.
    pub(crate) fn hold(self) -> JobRef<J> {
        JobRef::in_block(Arc::clone(self.block), self.place)
    }
}

/// A job with its payload, for somebody who looks at it without holding a lock.
pub(crate) struct Owned<J> {
    job: JobRef<J>,
    /// The payload of a job that has a destructor; it stands apart from the block then.
    shared: Option<Arc<Guarded<J>>>,
}

impl<J> Owned<J> {
    /// None if the payload has gone, or if somebody looks at it right now, which may last for ever.
    pub(crate) fn new(job: JobRef<J>) -> Option<Self> {
        let shared = match job.view().job {
            place if place.bare().is_none() => Some(place.share()?),
            _ => None,
        };
        Some(Self { job, shared })
    }

    pub(crate) fn job(&self) -> &JobRef<J> {
        &self.job
    }

    pub(crate) fn payload(&self) -> &J {
        let shared = self.shared.as_ref().map(|shared| &***shared);
        let payload = shared.or_else(|| self.job.view().job.bare());
        invariant!(payload, "it was there when this was made")
    }
}
