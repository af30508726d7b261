//! Deliveries: one attempt to have a job done, as the consumer sees it.

use std::fmt;
use std::sync::Arc;

use super::ConsumerInfo;
use crate::types::{
    DeliveryNumber, FencingToken, Headers, Incarnation, JobId, JobRef, JobView, Key, Lane, Origin, Owned,
    Places, Run, SlotId, Ticket,
};

/// Attempts to have jobs of one block done, as the supervisor sends them.
#[derive(Debug)]
pub struct Parcel<J> {
    /// The jobs. Somebody else holds them: one whose payload has gone was settled by another consumer.
    pub run: Run<J>,
    /// Their place in the ledger.
    pub ticket: Ticket,
    /// The running number of the delivery at place 0, whether or not it is one of these; the others follow.
    pub first: DeliveryNumber,
    /// The attempt, counted from one.
    pub attempt: u32,
}

impl<J> Parcel<J> {
    /// An attempt to have one job done.
    pub fn one(job: &JobRef<J>, ticket: Ticket, number: DeliveryNumber, attempt: u32) -> Self {
        Self {
            run: job.as_run(),
            ticket,
            first: number.before(job.place()),
            attempt,
        }
    }

    /// What is behind this place.
    #[cold]
    pub(crate) fn behind(&self, place: u8) -> Option<Self> {
        let mut places = self.run.places;
        places.remove(Places::first(usize::from(place) + 1));
        let run = self.run.part(places);
        (!places.is_empty()).then_some(Self { run, ..*self })
    }
}

/// One attempt to have a job done, as a consumer sees it.
///
/// The lifetime is that of the look at the payload. Where it is elided, as in `&Delivery<Job>`, nothing needs to be said of it.
pub struct Delivery<'a, J> {
    hold: Hold<'a, J>,
    /// The running number of this delivery.
    number: DeliveryNumber,
    attempt: u32,
}

/// Who looks at the job.
enum Hold<'a, J> {
    /// The loop of a shell, which goes from one to the next: nothing is counted for each job. It has begun before anybody
    /// else sees it.
    Borrowed {
        job: JobView<'a, J>,
        payload: &'a J,
        consumer: &'a Arc<ConsumerInfo>,
    },
    /// Somebody who settles the delivery when he likes.
    Owned(Owned<J>, Arc<ConsumerInfo>),
}

impl<'a, J> Delivery<'a, J> {
    #[inline]
    pub(crate) fn borrowed(
        job: JobView<'a, J>,
        payload: &'a J,
        (number, attempt): (DeliveryNumber, u32),
        consumer: &'a Arc<ConsumerInfo>,
    ) -> Self {
        Self {
            hold: Hold::Borrowed {
                job,
                payload,
                consumer,
            },
            number,
            attempt,
        }
    }

    /// None if nobody can look at the payload without a lock: it has gone, or somebody holds that lock and may do so for ever.
    pub(crate) fn owned(
        job: JobRef<J>,
        (number, attempt): (DeliveryNumber, u32),
        consumer: Arc<ConsumerInfo>,
    ) -> Option<Delivery<'static, J>> {
        Some(Delivery {
            hold: Hold::Owned(Owned::new(job)?, consumer),
            number,
            attempt,
        })
    }

    /// What the producer sent. The first look at it marks the delivery as begun: from then on it costs the job an attempt.
    #[inline]
    pub fn job(&self) -> &J {
        match &self.hold {
            Hold::Borrowed { payload, .. } => payload,
            Hold::Owned(owned, _) => {
                let _ = self.begin();
                owned.payload()
            }
        }
    }

    /// The job, shared: for handlers that must keep it longer than the delivery.
    pub fn shared_job(&self) -> JobRef<J> {
        let _ = self.begin();
        self.view().hold()
    }

    #[inline]
    pub(super) fn view(&self) -> JobView<'_, J> {
        match &self.hold {
            Hold::Borrowed { job, .. } => *job,
            Hold::Owned(owned, _) => owned.job().view(),
        }
    }

    /// Whether it may begin; false if it was taken back before it did.
    #[inline]
    #[must_use = "a delivery that was taken back is somebody else's"]
    pub(crate) fn begin(&self) -> bool {
        self.view().begin(self.number)
    }

    /// The name of the job.
    pub fn id(&self) -> JobId {
        self.view().id()
    }

    /// The key of the job, if it has one.
    pub fn key(&self) -> Option<&Key> {
        self.view().key()
    }

    /// Where the job comes from; `None` for one that was sent in this process.
    pub fn origin(&self) -> Option<&Origin> {
        self.view().origin()
    }

    /// The queue or partition on which the job came; `None` for one that was sent in this process.
    pub fn lane(&self) -> Option<&Lane> {
        self.origin().map(|origin| &origin.lane)
    }

    /// What its sender wrote on it; none for one that was sent in this process.
    pub fn headers(&self) -> &Headers {
        static NONE: Headers = Headers::NONE;
        self.origin().map_or(&NONE, |origin| &origin.headers)
    }

    /// The attempt, counted from one; greater than one for a redelivery.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Where this consumer sits.
    pub fn slot(&self) -> SlotId {
        self.consumer().slot
    }

    /// The life of this consumer.
    pub fn incarnation(&self) -> Incarnation {
        self.consumer().incarnation
    }

    /// A number greater than that of every earlier delivery of this job, for sinks that refuse late writers.
    pub fn token(&self) -> FencingToken {
        FencingToken {
            fence: self.origin().map_or(0, |origin| origin.fence),
            epoch: self.consumer().epoch,
            number: self.number,
        }
    }

    /// Whether this consumer was given up on: whatever it says from now on counts for nothing, so work in progress can as
    /// well end.
    pub fn is_fenced(&self) -> bool {
        self.consumer().heartbeat.has_ended()
    }

    /// Whether its lease is lost: the queue outside of the process took the job back and gives, or gave, it to somebody else.
    /// Whatever is said of this delivery counts for nothing, so work in progress can as well end. No message: a look at a mark.
    pub fn is_revoked(&self) -> bool {
        self.view().begun().is_revoked(self.number)
    }

    /// Whether its job has expired before it began. Reads the clock only for a job that can.
    #[inline]
    pub fn has_expired(&self) -> bool {
        let expires_at = self.view().expires_at();
        expires_at.is_some_and(|at| (self.consumer().now.0)() >= at)
    }

    /// A sign of life: the deadline of this consumer starts anew, for all deliveries that it holds. For work that takes long
    /// and is well. It is no message, so it costs next to nothing.
    pub fn extend(&self) {
        self.consumer().heartbeat.note_life();
    }

    /// The delivery, as a world sees it.
    pub(crate) fn seen(&self) -> super::faults::Seen {
        super::faults::Seen {
            job: self.id(),
            key: self.key().map(Key::hashed),
            attempt: self.attempt,
            slot: self.consumer().slot,
            incarnation: self.consumer().incarnation,
            epoch: self.consumer().epoch,
            number: self.number,
        }
    }

    pub(crate) fn number(&self) -> DeliveryNumber {
        self.number
    }

    #[inline]
    pub(crate) fn consumer(&self) -> &Arc<ConsumerInfo> {
        match &self.hold {
            Hold::Borrowed { consumer, .. } => consumer,
            Hold::Owned(_, consumer) => consumer,
        }
    }

    pub(crate) fn blame(&self) {
        self.view().begun().blame(self.number);
    }
}

/// Names the job and leaves the payload out.
impl<J> fmt::Debug for Delivery<'_, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("job", &self.id())
            .field("key", &self.key())
            .field("attempt", &self.attempt)
            .field("token", &self.token())
            .field("slot", &self.consumer().slot)
            .field("incarnation", &self.consumer().incarnation)
            .finish()
    }
}
