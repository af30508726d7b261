//! What is said to a consumer, what a consumer says, and the three doors through which a consumer can come in.
//!
//! ```text
//! supervisor ──DeliverBatch──▶ stock shell ──&Delivery──▶ Consumer          (door 1: an async method)
//! supervisor ──Deliver───────▶ any actix actor                              (door 2: settles each delivery itself)
//! supervisor ──DeliverBatch──▶ stock shell ──&mut Vec<Deliver>──▶ BatchConsumer (door 3: many at once)
//! consumers  ──Settlement────▶ SettleDesk ──SettlesWaiting──▶ supervisor
//! ```

use std::fmt;
use std::future::{Future, ready};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{Actor, Handler, Message, Recipient};

use crate::words::{
    DeliveryNumber, Envelope, Epoch, Failure, FencingToken, Incarnation, JobId, Key, SlotId, Ticket,
};

/// Who a consumer is, shared by its deliveries. Given to `started` and to the factory of consumer actors.
#[derive(Debug)]
pub struct ConsumerInfo {
    /// Its place in the group.
    pub slot: SlotId,
    /// Its life in that place, counted from one.
    pub incarnation: Incarnation,
    /// The life of the supervisor that made it.
    pub epoch: Epoch,
    /// Where consumer and supervisor see each other without a message.
    pub board: SlotBoard,
}

/// What the consumer's side and the supervisor can see of each other even while the consumer's thread is blocked.
#[derive(Debug, Default)]
pub struct SlotBoard {
    /// Grows with each delivery that ends and each sign of life. Written by the consumer's side, read by the supervisor:
    /// no growth for a deadline, while deliveries are held, is a hang.
    progress: AtomicU64,
    /// Set once this life is over. Written by the cell (it died) or by the supervisor (it was given up on); read by the
    /// shell before each delivery, so that a thread that comes back after a long block does not go on with its window.
    ended: AtomicBool,
    /// Set while the shell holds deliveries back to make a larger batch of them. Written by the shell, read by the
    /// supervisor: a rest is no hang, however long it is.
    resting: AtomicBool,
}

impl SlotBoard {
    /// Notes a sign of life.
    pub fn note_progress(&self) {
        // Only this consumer writes; a load and a store are cheaper than a read-modify-write. A lost sign of life, if a
        // user's threads share a delivery, only delays the next one.
        self.progress.store(
            self.progress.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    /// How many signs of life there were.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Notes whether deliveries are held back on purpose.
    pub(crate) fn rest(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }

    /// Whether deliveries are held back on purpose.
    pub(crate) fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
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

/// One attempt to have a job done, as the supervisor sends it.
#[derive(Debug)]
pub struct Parcel<J> {
    /// The job.
    pub job: Arc<Envelope<J>>,
    /// Its place in the ledger.
    pub ticket: Ticket,
    /// The running number of this delivery.
    pub number: DeliveryNumber,
    /// The attempt, counted from one.
    pub attempt: u32,
}

/// One attempt to have a job done, as a consumer sees it.
pub struct Delivery<J> {
    parcel: Parcel<J>,
    consumer: Arc<ConsumerInfo>,
}

impl<J> Delivery<J> {
    pub(crate) fn new(parcel: Parcel<J>, consumer: Arc<ConsumerInfo>) -> Self {
        Self { parcel, consumer }
    }

    /// Puts the next parcel in the place of this one, so that a shell needs no new delivery for each job.
    pub(crate) fn replace(&mut self, parcel: Parcel<J>) {
        self.parcel = parcel;
    }

    /// What the producer sent. The first look at it marks the delivery as begun: from then on it costs the job an attempt.
    pub fn job(&self) -> &J {
        self.begin();
        self.parcel.job.payload()
    }

    /// The payload, shared: for handlers that must keep it longer than the delivery.
    pub fn shared_job(&self) -> Arc<Envelope<J>> {
        self.begin();
        Arc::clone(&self.parcel.job)
    }

    pub(crate) fn begin(&self) {
        self.parcel.job.mark_begun(self.parcel.number);
    }

    pub(crate) fn finish(&self) {
        self.parcel.job.mark_finished(self.parcel.number);
    }

    /// The name of the job.
    pub fn id(&self) -> JobId {
        self.parcel.job.id()
    }

    /// The key of the job, if it has one.
    pub fn key(&self) -> Option<&Key> {
        self.parcel.job.key()
    }

    /// The attempt, counted from one; greater than one for a redelivery.
    pub fn attempt(&self) -> u32 {
        self.parcel.attempt
    }

    /// Where this consumer sits.
    pub fn slot(&self) -> SlotId {
        self.consumer.slot
    }

    /// The life of this consumer.
    pub fn incarnation(&self) -> Incarnation {
        self.consumer.incarnation
    }

    /// A number greater than that of every earlier delivery of this job, for sinks that refuse late writers.
    pub fn token(&self) -> FencingToken {
        FencingToken {
            epoch: self.consumer.epoch,
            number: self.parcel.number,
        }
    }

    /// Whether this consumer was given up on: whatever it says from now on counts for nothing, so work in progress can as
    /// well end.
    pub fn is_fenced(&self) -> bool {
        self.consumer.board.has_ended()
    }

    /// A sign of life: the deadline of this consumer starts anew, for all deliveries that it holds. For work that takes long
    /// and is well. It is no message, so it costs next to nothing.
    pub fn extend(&self) {
        self.consumer.board.note_progress();
    }

    pub(crate) fn parcel(&self) -> &Parcel<J> {
        &self.parcel
    }

    pub(crate) fn consumer(&self) -> &Arc<ConsumerInfo> {
        &self.consumer
    }
}

/// Names the job and leaves the payload out.
impl<J> fmt::Debug for Delivery<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("job", &self.parcel.job)
            .field("attempt", &self.parcel.attempt)
            .field("token", &self.token())
            .field("slot", &self.consumer.slot)
            .field("incarnation", &self.consumer.incarnation)
            .finish()
    }
}

/// Deliveries for the stock shell.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DeliverBatch<J: Send + Sync + 'static> {
    /// The deliveries, in order.
    pub parcels: Vec<Parcel<J>>,
}

/// A delivery that its holder settles: with [`ack`](Self::ack), [`fail`](Self::fail), or by dropping it.
///
/// It dereferences to [`Delivery`]. Dropping it unsettled is a failure of the attempt ("abandoned"), never a loss: the job
/// is tried again.
pub struct Deliver<J: Send + Sync + 'static, O: Send + 'static> {
    delivery: Delivery<J>,
    desk: Arc<SettleDesk<O>>,
    settled: bool,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Message for Deliver<J, O> {
    type Result = ();
}

impl<J: Send + Sync + 'static, O: Send + 'static> Deliver<J, O> {
    pub(crate) fn new(delivery: Delivery<J>, desk: Arc<SettleDesk<O>>) -> Self {
        Self {
            delivery,
            desk,
            settled: false,
        }
    }

    /// The job was done; `output` goes to the producer, if it waits. Never waits and never fails: if the group has given this
    /// consumer up meanwhile, the word is refused as stale and the output dropped.
    pub fn ack(self, output: O) {
        self.settle(Work::Done(output));
    }

    /// The job was not done; the failure says whether it is tried again. Never waits, as [`ack`](Self::ack).
    pub fn fail(self, failure: impl Into<Failure>) {
        self.settle(Work::Failed(failure.into()));
    }

    /// Settles with what a handler returned.
    pub fn finish(self, result: Result<O, Failure>) {
        match result {
            Ok(output) => self.ack(output),
            Err(failure) => self.settle(Work::Failed(failure)),
        }
    }

    fn settle(mut self, work: Work<O>) {
        self.settled = true;
        self.speak(work);
    }

    fn speak(&self, work: Work<O>) {
        let Parcel { ticket, number, .. } = *self.delivery.parcel();
        let consumer = self.delivery.consumer();
        consumer.board.note_progress();
        self.desk
            .settle(consumer, SettledDelivery { ticket, number, work });
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Deref for Deliver<J, O> {
    type Target = Delivery<J>;

    fn deref(&self) -> &Delivery<J> {
        &self.delivery
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Drop for Deliver<J, O> {
    fn drop(&mut self) {
        // While the consumer's life ends, its cell drops everything that the consumer held; the death notice, which
        // follows at once, tells the supervisor about all of it with the true cause. A panic inside the cell unwinds
        // through here before the cell can mark the end, hence the second condition. A panic outside the cell (a free
        // task, as `ResponseFuture` makes them) ends no life and is told here.
        let panics_inside_cell = std::thread::panicking() && super::inside_cell();
        if self.settled {
            return;
        }
        if panics_inside_cell {
            self.delivery.parcel.job.mark_culprit(self.delivery.parcel.number);
        } else if !self.delivery.is_fenced() {
            self.speak(Work::Abandoned);
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> fmt::Debug for Deliver<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.delivery.fmt(f)
    }
}

/// What became of a delivery, in the words of its consumer.
#[derive(Debug)]
pub enum Work<O> {
    /// It was done.
    Done(O),
    /// It was not done.
    Failed(Failure),
    /// It was dropped without a word.
    Abandoned,
}

/// A delivery with what became of it.
#[derive(Debug)]
pub struct SettledDelivery<O> {
    /// Its place in the ledger.
    pub ticket: Ticket,
    /// Its running number.
    pub number: DeliveryNumber,
    /// What became of it.
    pub work: Work<O>,
}

/// What one consumer has to say at once.
#[derive(Debug)]
pub struct Settlement<O> {
    /// Which consumer.
    pub consumer: Arc<ConsumerInfo>,
    /// Its settled deliveries, in the order in which it settled them.
    pub deliveries: Vec<SettledDelivery<O>>,
    /// The time that it spent on them, for the prefetch window; zero if it was not measured.
    pub busy: Duration,
}

/// Tells the supervisor that something lies on its desk.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SettlesWaiting;

/// Where consumers put what they settled.
///
/// One message wakes the supervisor for everything that was put down since it last looked, however many consumers did, so
/// batches form by themselves. Bounded by the credits: there are never more settles than deliveries.
pub struct SettleDesk<O> {
    waiting: Mutex<Vec<Settlement<O>>>,
    supervisor: Recipient<SettlesWaiting>,
}

impl<O: Send + 'static> SettleDesk<O> {
    pub(crate) fn new(supervisor: Recipient<SettlesWaiting>) -> Self {
        Self {
            waiting: Mutex::new(Vec::new()),
            supervisor,
        }
    }

    /// Puts one settled delivery down.
    pub(crate) fn settle(&self, consumer: &Arc<ConsumerInfo>, delivery: SettledDelivery<O>) {
        let mut waiting = self.lock();
        if let Some(last) = waiting.last_mut()
            && Arc::ptr_eq(&last.consumer, consumer)
        {
            last.deliveries.push(delivery);
            return;
        }
        let settlement = Settlement {
            consumer: Arc::clone(consumer),
            deliveries: vec![delivery],
            busy: Duration::ZERO,
        };
        self.put(waiting, settlement);
    }

    /// Puts everything that a consumer settled down at once.
    pub(crate) fn settle_all(&self, settlement: Settlement<O>) {
        self.put(self.lock(), settlement);
    }

    /// Takes everything from the desk. The next settle sends a message again.
    pub(crate) fn take(&self) -> Vec<Settlement<O>> {
        std::mem::take(&mut *self.lock())
    }

    fn put(&self, mut waiting: MutexGuard<'_, Vec<Settlement<O>>>, settlement: Settlement<O>) {
        let was_empty = waiting.is_empty();
        waiting.push(settlement);
        drop(waiting);
        if was_empty {
            // To a supervisor that has died this goes nowhere, rightly: its successor takes the leases back.
            self.supervisor.do_send(SettlesWaiting);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Settlement<O>>> {
        // Nothing under this lock can panic half way, so a poisoned desk is still a whole desk.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O> fmt::Debug for SettleDesk<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettleDesk").finish_non_exhaustive()
    }
}

/// Door 1: a consumer as a type with an async method.
///
/// One delivery at a time: `consume` is called with the next delivery after the one before has ended. Its future need not
/// be `Send`; it lives on the consumer's arbiter.
///
/// **Panics** in any method end this consumer; a fresh one from the factory takes its place and the delivery in hand is
/// tried again. **Cancellation**: the future is dropped at its current `await` when the consumer is ended (deadline, scale
/// down past its time, stop).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a consumer",
    note = "implement `Consumer`, or pass an async closure to `consume_with`, or an actix actor to `actor_consumers`"
)]
pub trait Consumer: 'static {
    /// What the producers send.
    type Job: Send + Sync + 'static;
    /// What the producers get back.
    type Output: Send + 'static;

    /// Called once before the first delivery. An error is a failed start and spends the restart budget.
    fn started(&mut self, consumer: &ConsumerInfo) -> impl Future<Output = Result<(), Failure>> {
        let _ = consumer;
        ready(Ok(()))
    }

    /// Does one job.
    ///
    /// # Errors
    /// A [`Failure`] says whether the job is tried again. The consumer itself lives on.
    fn consume(
        &mut self,
        delivery: &Delivery<Self::Job>,
    ) -> impl Future<Output = Result<Self::Output, Failure>>;
}

/// Door 3: a consumer that takes many deliveries at once.
///
/// A batch closes when it is full, or when the time that was set at the builder has passed since the consumer began to
/// gather it. Each delivery is settled on its own. After `Ok`, deliveries left in `batch` count as abandoned; after `Err`,
/// they all fail with that failure.
///
/// **Panics** in any method end this consumer; a fresh one takes its place. What it had settled counts; every other delivery
/// of the batch had begun, so all of them cost an attempt, and next time each of them is delivered alone, to find the one.
/// **Cancellation**: as with a [`Consumer`].
pub trait BatchConsumer: 'static {
    /// What the producers send.
    type Job: Send + Sync + 'static;
    /// What the producers get back.
    type Output: Send + 'static;

    /// Called once before the first batch. An error is a failed start and spends the restart budget.
    fn started(&mut self, consumer: &ConsumerInfo) -> impl Future<Output = Result<(), Failure>> {
        let _ = consumer;
        ready(Ok(()))
    }

    /// Does a batch of jobs; takes the deliveries out of `batch` as it settles them.
    ///
    /// # Errors
    /// A [`Failure`] for every delivery that is still in `batch`.
    fn consume(
        &mut self,
        batch: &mut Vec<Deliver<Self::Job, Self::Output>>,
    ) -> impl Future<Output = Result<(), Failure>>;
}

/// Door 2: every actix actor that handles [`Deliver`] is a consumer; there is nothing else to implement.
///
/// Deliveries come one in a message, as many as its prefetch window has room for, whether or not earlier ones are settled.
/// The group cannot measure what such an actor spends on each, so the window does not adapt: set `window.min` and
/// `window.max`. **Panics** inside the actor end it. The delivery that was in the hands of the code that panicked costs an
/// attempt; if none was, every delivery does that the actor had looked at and not settled. **Cancellation**: the actor's
/// futures are dropped where they wait when it is ended.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a consumer actor for jobs of type `{J}` with output `{O}`",
    note = "a consumer actor has `type Context = actix::Context<Self>` and implements `Handler<Deliver<{J}, {O}>>`"
)]
pub trait ConsumerActor<J: Send + Sync + 'static, O: Send + 'static>:
    Actor<Context = actix::Context<Self>> + Handler<Deliver<J, O>>
{
}

impl<J: Send + Sync + 'static, O: Send + 'static, A> ConsumerActor<J, O> for A where
    A: Actor<Context = actix::Context<Self>> + Handler<Deliver<J, O>>
{
}
