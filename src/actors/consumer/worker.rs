//! The life of a [`Consumer`] inside the stock shell.
//!
//! One loop works through the deliveries. It makes no future that outlives a delivery, allocates nothing for a consumer that
//! is ready at once, and puts what was settled into the supervisor's settle queue in batches: when the inbox is empty, when a delivery
//! has to wait, and at least every tenth of a millisecond.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

use super::inbox::Inbox;
use super::shell::{ShellParams, not_started, stopped};
use crate::protocol::faults;
use crate::protocol::{
    Consumer, ConsumerAddr, ConsumerInfo, Delivery, DonePlaces, Parcel, SettledDelivery, Settlement, Work,
};
use crate::types::{Cause, DeliveryNumber, Guarded, Places};

/// After this much work the settled deliveries go to the settle queue, even if more work waits.
const FLUSH_AFTER: Duration = Duration::from_micros(100);

/// After this much work the arbiter gets its turn, for timers and neighbours.
const YIELD_AFTER: Duration = Duration::from_millis(1);

/// The most deliveries between two looks at the clock.
const MOST_BLIND: u32 = 1_024;

/// The life of the consumer: start, then work until it is asked to stop, or this life was ended meanwhile.
pub(super) async fn work<C: Consumer>(
    consumer: C,
    params: ShellParams<C::Job, C::Output>,
    address: ConsumerAddr<C::Job, C::Output>,
    inbox: Rc<Inbox<C::Job>>,
) -> Cause {
    // It may panic in its `Drop`, and while its own panic unwinds that would end the process.
    let mut consumer = Guarded::new(consumer);
    if let Err(failure) = consumer.started(&params.info).await {
        return not_started(&failure);
    }
    params.tell_up(address);
    let info = Arc::clone(&params.info);
    let mut pace = Pace::new();
    let outbox = Outbox::new(params);
    while let Some(arrived) = inbox.take_unless(|| info.heartbeat.shall_stop()).await
        && !info.heartbeat.has_ended()
    {
        outbox.restart_clock();
        pace.resume();
        work_through(&mut *consumer, arrived, &inbox, &outbox, &mut pace).await;
        outbox.flush();
    }
    if info.heartbeat.has_ended() {
        return Cause::Killed;
    }
    stopped(consumer.stopping().await)
}

/// What is in the hands of a consumer. If it was given up on meanwhile, others may have settled its jobs while it looked at
/// them, and could not drop the payloads: then that is done here, however this ends.
struct InHand<'a, J> {
    parcel: Parcel<J>,
    info: &'a ConsumerInfo,
}

impl<J> Drop for InHand<'_, J> {
    fn drop(&mut self) {
        if self.info.heartbeat.has_ended() {
            self.parcel.run.sweep();
        }
    }
}

/// The loop in which every job of every consumer of this kind is done: nothing in it is a function of its own that waits,
/// since each of those would be a state machine to go in and out of for each job.
async fn work_through<C: Consumer>(
    consumer: &mut C,
    arrived: VecDeque<Parcel<C::Job>>,
    inbox: &Inbox<C::Job>,
    outbox: &Outbox<C::Job, C::Output>,
    pace: &mut Pace,
) {
    let info = &outbox.params.info;
    let heartbeat = &info.heartbeat;
    let mut waker = present_waker().await;
    let mut arrived = arrived.into_iter();
    while let Some(parcel) = arrived.next() {
        let in_hand = InHand { parcel, info };
        let parcel = &in_hand.parcel;
        outbox.open(parcel);
        let is_awaited = parcel.run.block.wants_outputs();
        let may_expire = parcel.run.block.expiry().is_some();
        for job in parcel.run.views() {
            // First the look at the end, then the begin: a thread that was blocked so long that the supervisor gave this life
            // up stops here, before it touches the next delivery, which somebody else has by now.
            if heartbeat.has_ended() {
                return;
            }
            let number = parcel.first.at(job.place());
            // Nothing there: it was taken back or given to others, and they are done with it.
            let Some(payload) = job.read() else {
                outbox.pass_over(parcel, number, Work::Recalled);
                continue;
            };
            let delivery = Delivery::borrowed(job, &payload, (number, parcel.attempt), info);
            if may_expire && delivery.has_expired() {
                outbox.pass_over(parcel, number, Work::Expired);
                continue;
            }
            if !job.begin(number) {
                drop(payload);
                job.sweep();
                outbox.pass_over(parcel, number, Work::Recalled);
                continue;
            }
            let mut is_spared = true;
            if faults::is_simulated() {
                outbox.flush();
                is_spared = !faults::before_work(delivery.seen()).await;
                waker = present_waker().await;
                pace.look_next();
            }
            let mut result = if is_spared {
                let mut work = pin!(consumer.consume(&delivery));
                let span = span_of(&delivery);
                match poll_work(work.as_mut(), &mut Context::from_waker(&waker), span.as_ref()) {
                    Poll::Ready(result) => result.map(Guarded::new),
                    Poll::Pending => {
                        let result = wait_for(work, span.as_ref(), outbox).await;
                        waker = present_waker().await;
                        pace.look_next();
                        result.map(Guarded::new)
                    }
                }
            } else {
                Err(faults::planned_failure())
            };
            if faults::is_simulated() {
                if faults::after_work(delivery.seen(), result.is_ok()).await {
                    result = Err(faults::planned_failure());
                }
                waker = present_waker().await;
            }
            job.begun().finish(number);
            // It borrows everything, so there is nothing to be dropped; without this it would be looked at for each job.
            std::mem::forget(delivery);
            // The look at the payload ends before anybody hears that the job is done: who drops it then finds no reader.
            drop(payload);
            heartbeat.note_progress();
            match result {
                Ok(output) => {
                    outbox.done(job.place());
                    if is_awaited {
                        outbox.keep(output);
                    }
                }
                Err(failure) => outbox.put(parcel, number, Work::Failed(failure)),
            }
            if pace.is_time_to_look() {
                if look_around(outbox, pace).await {
                    waker = present_waker().await;
                }
                if inbox.has_urgent() {
                    inbox.put_back(parcel.behind(job.place()).into_iter().chain(arrived));
                    return;
                }
            }
        }
    }
}

/// The waker of the task. It stays the same until the task waits, so it is fetched again after each wait.
async fn present_waker() -> Waker {
    poll_fn(|context| Poll::Ready(context.waker().clone())).await
}

/// Now and then what was settled goes to the settle queue, and others have their turn. Whether they had.
async fn look_around<J: Send + Sync + 'static, O: Send + 'static>(
    outbox: &Outbox<J, O>,
    pace: &mut Pace,
) -> bool {
    let now = Instant::now();
    if pace.should_flush(now) {
        outbox.flush_at(now);
    }
    let yields = pace.should_yield(now);
    if yields {
        outbox.flush_at(now);
        tokio::task::yield_now().await;
        // The time that others had is not the time that deliveries took.
        outbox.restart_clock();
        pace.resume();
    }
    yields
}

/// The span of a job, if spans are looked at.
#[inline]
fn span_of<J>(delivery: &Delivery<'_, J>) -> Option<tracing::Span> {
    if LevelFilter::current() < LevelFilter::DEBUG {
        return None;
    }
    let span = tracing::debug_span!(
        "job",
        id = %delivery.id(),
        attempt = delivery.attempt(),
        slot = delivery.slot().0,
        incarnation = delivery.incarnation().0,
        key = delivery.key().map(tracing::field::display),
    );
    (!span.is_disabled()).then_some(span)
}

// In the loop of all jobs: a call of its own would cost as much as the rest of a short handler.
#[inline(always)]
fn poll_work<F: Future>(
    work: Pin<&mut F>,
    context: &mut Context<'_>,
    span: Option<&tracing::Span>,
) -> Poll<F::Output> {
    let _inside = span.map(tracing::Span::enter);
    work.poll(context)
}

/// Waits for work that was polled a moment ago. What was settled before it goes to the settle queue meanwhile.
async fn wait_for<F: Future, J: Send + Sync + 'static, O: Send + 'static>(
    mut work: Pin<&mut F>,
    span: Option<&tracing::Span>,
    outbox: &Outbox<J, O>,
) -> F::Output {
    outbox.flush();
    let mut was_polled = true;
    poll_fn(|context| {
        // Not once more at once: a future that only wanted to let others run would be ready without having done so.
        if std::mem::take(&mut was_polled) {
            return Poll::Pending;
        }
        poll_work(work.as_mut(), context, span)
    })
    .await
}

/// What was settled and is not in the settle queue yet.
struct Outbox<J: Send + Sync + 'static, O: Send + 'static> {
    params: ShellParams<J, O>,
    settled: RefCell<Settled<O>>,
    /// Jobs of the parcel in hand that were done: of the last one in `Settled::done`.
    in_hand: Cell<Places>,
}

struct Settled<O> {
    /// Deliveries that were not done.
    deliveries: Vec<SettledDelivery>,
    /// Those that were done, by parcel; the last one is the parcel in hand, whose jobs are noted apart.
    done: Vec<DonePlaces>,
    /// The outputs of those for which somebody waits, in the same order.
    outputs: Vec<Guarded<O>>,
    /// When the work on all this began.
    since: Instant,
}

impl<O> Settled<O> {
    fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.done.iter().all(|done| done.places.is_empty())
    }

    fn close(&mut self, in_hand: Places) {
        if let Some(piece) = self.done.last_mut() {
            piece.places.add(in_hand);
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Outbox<J, O> {
    fn new(params: ShellParams<J, O>) -> Self {
        Self {
            params,
            settled: RefCell::new(Settled {
                deliveries: Vec::new(),
                done: Vec::new(),
                outputs: Vec::new(),
                since: Instant::now(),
            }),
            in_hand: Cell::default(),
        }
    }

    /// The time from here to the next flush is the time that the deliveries took.
    fn restart_clock(&self) {
        self.settled.borrow_mut().since = Instant::now();
    }

    fn put(&self, parcel: &Parcel<J>, number: DeliveryNumber, work: Work) {
        let ticket = parcel.ticket;
        let delivery = SettledDelivery { ticket, number, work };
        self.settled.borrow_mut().deliveries.push(delivery);
    }

    /// A delivery does not begin. Seldom, so it stays out of the loop.
    #[cold]
    #[inline(never)]
    fn pass_over(&self, parcel: &Parcel<J>, number: DeliveryNumber, work: Work) {
        self.params.info.heartbeat.note_progress();
        self.put(parcel, number, work);
    }

    /// A parcel is taken up.
    fn open(&self, parcel: &Parcel<J>) {
        let mut settled = self.settled.borrow_mut();
        settled.close(self.in_hand.take());
        settled.done.push(DonePlaces {
            ticket: parcel.ticket,
            first: parcel.first,
            places: Places::NONE,
            has_outputs: parcel.run.block.wants_outputs(),
        });
    }

    /// The job at this place of the parcel in hand was done.
    #[inline]
    fn done(&self, place: u8) {
        let mut places = self.in_hand.get();
        places.add(Places::only(place));
        self.in_hand.set(places);
    }

    /// The output of the job that was done just now.
    fn keep(&self, output: Guarded<O>) {
        self.settled.borrow_mut().outputs.push(output);
    }

    fn flush(&self) {
        if !self.in_hand.get().is_empty() || !self.settled.borrow().is_empty() {
            self.flush_at(Instant::now());
        }
    }

    fn flush_at(&self, now: Instant) {
        let mut settled = self.settled.borrow_mut();
        let busy = now.saturating_duration_since(settled.since);
        settled.since = now;
        settled.close(self.in_hand.take());
        if settled.is_empty() {
            return;
        }
        let room = settled.deliveries.len();
        let deliveries = std::mem::replace(&mut settled.deliveries, Vec::with_capacity(room));
        // The parcel in hand stays open.
        let in_hand = settled.done.last().map(|piece| DonePlaces {
            places: Places::NONE,
            ..*piece
        });
        let room = settled.done.len();
        let mut done = std::mem::replace(&mut settled.done, Vec::with_capacity(room));
        settled.done.extend(in_hand);
        let room = settled.outputs.len();
        let outputs = std::mem::replace(&mut settled.outputs, Vec::with_capacity(room));
        drop(settled);
        done.retain(|piece| !piece.places.is_empty());
        let consumer = Arc::clone(&self.params.info);
        self.params.settles.settle_all(Settlement {
            consumer,
            deliveries,
            done,
            outputs,
            busy,
        });
    }
}

/// A consumer that panics takes nothing with it that it did before: what was settled goes to the settle queue while the panic
/// unwinds, ahead of the death notice, so the supervisor counts it as done and not as held.
impl<J: Send + Sync + 'static, O: Send + 'static> Drop for Outbox<J, O> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// When to look at the clock: seldom for handlers of nanoseconds, after every delivery for handlers that take long.
struct Pace {
    blind: u32,
    left: u32,
    looked: Instant,
    flushed: Instant,
    yielded: Instant,
}

impl Pace {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            blind: 1,
            left: 1,
            looked: now,
            flushed: now,
            yielded: now,
        }
    }

    /// The loop waited for deliveries, so the arbiter had its turn.
    fn resume(&mut self) {
        let now = Instant::now();
        self.looked = now;
        self.flushed = now;
        self.yielded = now;
        self.left = self.blind;
    }

    /// A delivery has waited, and something urgent may have come meanwhile.
    fn look_next(&mut self) {
        (self.blind, self.left) = (1, 1);
    }

    fn is_time_to_look(&mut self) -> bool {
        self.left -= 1;
        self.left == 0
    }

    /// Sets the distance to the next look so that it comes about when the next flush is due.
    fn should_flush(&mut self, now: Instant) -> bool {
        let each = now.saturating_duration_since(self.looked).as_nanos() / u128::from(self.blind);
        let next = FLUSH_AFTER.as_nanos() / each.max(1);
        self.blind = u32::try_from(next).unwrap_or(MOST_BLIND).clamp(1, MOST_BLIND);
        self.left = self.blind;
        self.looked = now;
        let due = now.saturating_duration_since(self.flushed) >= FLUSH_AFTER;
        if due {
            self.flushed = now;
        }
        due
    }

    fn should_yield(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.yielded) >= YIELD_AFTER;
        if due {
            self.yielded = now;
        }
        due
    }
}
