//! Deliveries: one attempt to have a job done, as the consumer sees it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::types::{
    DeliveryNumber, Epoch, FencingToken, Incarnation, JobId, JobRef, JobView, Key, Moment, Owned, Places,
    Run, SlotId, Ticket,
};

/// Who a consumer is, shared by its deliveries. Given to `started` and to the factory of consumer actors.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its place in the group.
    pub slot: SlotId,
    /// Its life in that place, counted from one.
    pub incarnation: Incarnation,
    /// The life of the supervisor that made it.
    pub epoch: Epoch,
    /// Where consumer and supervisor see each other without a message.
    pub(crate) heartbeat: Heartbeat,
    /// The clock of the group, for jobs that expire.
    pub(crate) now: Now,
}

/// Tells the present moment by the clock of a group.
pub(crate) struct Now(pub(crate) Box<dyn Fn() -> Moment + Send + Sync>);

impl Now {
    pub(crate) fn new(read: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self(Box::new(read))
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

/// By how much a sign of life lets the progress grow that is no end of a delivery.
const SIGN_OF_LIFE: u64 = 1 << 32;

/// What the consumer's side and the supervisor can see of each other even while the consumer's thread is blocked.
#[derive(Debug, Default)]
pub struct Heartbeat {
    /// Grows with each delivery that ends and each sign of life. Written by the consumer's side, read by the supervisor:
    /// no growth for a deadline, while deliveries are held, is a hang. The lower half counts the deliveries alone: one that
    /// works on and gives signs of life holds up what waits behind it all the same.
    progress: AtomicU64,
    /// Set once this life is over. Written by the cell (it died) or by the supervisor (it was given up on); read by the
    /// shell before each delivery, so that a thread that comes back after a long block does not go on with its window.
    ended: AtomicBool,
    /// Until when the shell holds deliveries back to make a larger batch of them; 0 if it does not. Written by the shell, read
    /// by the supervisor: a rest is no hang, however long it may be; one that does not end in time may be.
    rests_until: AtomicU64,
    /// Set while no more deliveries come: the group drains or is paused, the slot is taken away, or its consumer holds a
    /// suspect that must be alone. Written by the supervisor, read by the shell, which then holds nothing back.
    complete: AtomicBool,
}

impl Heartbeat {
    /// Notes that a delivery has ended.
    pub fn note_progress(&self) {
        self.grow(1);
    }

    /// Notes a sign of life.
    pub(crate) fn note_life(&self) {
        self.grow(SIGN_OF_LIFE);
    }

    fn grow(&self, by: u64) {
        // Only this consumer writes; a load and a store are cheaper than a read-modify-write. A lost sign of life, if a
        // user's threads share a delivery, only delays the next one.
        self.progress.store(
            self.progress.load(Ordering::Relaxed).wrapping_add(by),
            Ordering::Relaxed,
        );
    }

    /// How many signs of life there were.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// How many deliveries have ended, but for the greatest part: a number that changes with each of them.
    pub(crate) fn moved(&self) -> u64 {
        self.progress() % SIGN_OF_LIFE
    }

    /// Notes that deliveries are held back on purpose, until this moment at the latest.
    pub(crate) fn rest(&self, until: Moment) {
        self.rests_until.store(until.as_nanos(), Ordering::Relaxed);
    }

    /// Notes that they are not held back any more. It is a sign of life: also of a rest so short that no look saw it, the time
    /// does not count.
    pub(crate) fn end_rest(&self) {
        self.note_life();
        self.rests_until.store(0, Ordering::Relaxed);
    }

    /// Whether deliveries are held back on purpose.
    pub(crate) fn is_resting(&self, now: Moment) -> bool {
        self.rests_until.load(Ordering::Relaxed) > now.as_nanos()
    }

    /// Notes whether the consumer has everything that it will get for now.
    pub(crate) fn set_complete(&self, complete: bool) {
        self.complete.store(complete, Ordering::Release);
    }

    /// Whether the consumer has everything that it will get for now, so that nothing is to be waited for. What was sent before
    /// this was noted may still be in the mailbox of the shell.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Notes that this life is over: nothing that it says from now on counts.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether this life is over.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

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
    /// The loop of a shell, which goes from one to the next: nothing is counted for each job.
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
        let _ = self.begin();
        match &self.hold {
            Hold::Borrowed { payload, .. } => payload,
            Hold::Owned(owned, _) => owned.payload(),
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
        // Asked of each on its own: a view that could be either would be put together for every job.
        match &self.hold {
            Hold::Borrowed { job, .. } => job.begin(self.number),
            Hold::Owned(owned, _) => owned.job().view().begin(self.number),
        }
    }

    #[inline]
    pub(crate) fn finish(&self) {
        match &self.hold {
            Hold::Borrowed { job, .. } => job.begun().finish(self.number),
            Hold::Owned(owned, _) => owned.job().view().begun().finish(self.number),
        }
    }

    /// The name of the job.
    pub fn id(&self) -> JobId {
        self.view().id()
    }

    /// The key of the job, if it has one.
    pub fn key(&self) -> Option<&Key> {
        self.view().key()
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
            epoch: self.consumer().epoch,
            number: self.number,
        }
    }

    /// Whether this consumer was given up on: whatever it says from now on counts for nothing, so work in progress can as
    /// well end.
    pub fn is_fenced(&self) -> bool {
        self.consumer().heartbeat.has_ended()
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
