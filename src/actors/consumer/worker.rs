//! The life of a [`Consumer`] inside the stock shell.
//!
//! One loop works through the deliveries. It makes no future that outlives a delivery, allocates nothing for a consumer that
//! is ready at once, and puts what was settled on the supervisor's desk in batches: when the inbox is empty, when a delivery
//! has to wait, and at least every tenth of a millisecond.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::inbox::Inbox;
use super::shell::ShellBerth;
#[cfg(feature = "sim")]
use crate::protocol::faults;
use crate::protocol::{Consumer, Delivery, Door, Parcel, SettledDelivery, Settlement, Work};
use crate::words::Failure;

/// After this much work the settled deliveries go to the desk, even if more work waits.
const FLUSH_AFTER: Duration = Duration::from_micros(100);

/// After this much work the arbiter gets its turn, for timers and neighbours.
const YIELD_AFTER: Duration = Duration::from_millis(1);

/// The most deliveries between two looks at the clock.
const MOST_BLIND: u32 = 1_024;

/// The life of the consumer: start, then work for ever. Ends with an error only if the start failed, and with `Ok` only if
/// this life was ended meanwhile.
pub(super) async fn work<C: Consumer>(
    mut consumer: C,
    berth: ShellBerth<C::Job, C::Output>,
    door: Door<C::Job, C::Output>,
    inbox: Rc<Inbox<C::Job>>,
) -> Result<(), Failure> {
    consumer.started(&berth.info).await?;
    berth.tell_up(door);
    let mut pace = Pace::new();
    let outbox = Outbox::new(berth);
    while !outbox.berth.info.board.has_ended() {
        let parcels = inbox.take().await;
        outbox.restart_clock();
        pace.resume();
        work_through(&mut consumer, parcels, &outbox, &mut pace).await;
        outbox.flush();
    }
    Ok(())
}

async fn work_through<C: Consumer>(
    consumer: &mut C,
    parcels: impl IntoIterator<Item = Parcel<C::Job>>,
    outbox: &Outbox<C::Job, C::Output>,
    pace: &mut Pace,
) {
    let mut delivery: Option<Delivery<C::Job>> = None;
    for parcel in parcels {
        // First the look at the end, then the begin: a thread that was blocked so long that the supervisor gave this life
        // up stops here, before it touches the next delivery, which somebody else has by now.
        if outbox.berth.info.board.has_ended() {
            return;
        }
        let (ticket, number) = (parcel.ticket, parcel.number);
        let current = match &mut delivery {
            Some(current) => {
                current.replace(parcel);
                current
            }
            None => delivery.insert(Delivery::new(parcel, Arc::clone(&outbox.berth.info))),
        };
        current.begin();
        #[cfg(not(feature = "sim"))]
        let result = consume_one(consumer, current, outbox).await;
        #[cfg(feature = "sim")]
        let result = consume_with_faults(consumer, current, outbox).await;
        current.finish();
        outbox.berth.info.board.note_progress();
        let work = match result {
            Ok(output) => Work::Done(output),
            Err(failure) => Work::Failed(failure),
        };
        outbox.put(SettledDelivery { ticket, number, work });
        if pace.is_time_to_look() {
            let now = Instant::now();
            if pace.should_flush(now) {
                outbox.flush_at(now);
            }
            if pace.should_yield(now) {
                outbox.flush_at(now);
                tokio::task::yield_now().await;
                // The time that others had is not the time that deliveries took.
                outbox.restart_clock();
                pace.resume();
            }
        }
    }
}

/// Calls the consumer; what was settled before goes to the desk if this delivery has to wait.
async fn consume_one<C: Consumer>(
    consumer: &mut C,
    delivery: &Delivery<C::Job>,
    outbox: &Outbox<C::Job, C::Output>,
) -> Result<C::Output, Failure> {
    let span = tracing::debug_span!(
        "job",
        id = %delivery.id(),
        attempt = delivery.attempt(),
        slot = delivery.slot().0,
        incarnation = delivery.incarnation().0,
        key = delivery.key().map(tracing::field::display),
    );
    let mut work = pin!(consumer.consume(delivery));
    let mut waits = false;
    poll_fn(|context| {
        // Nobody looks at most spans, and then there is nothing to enter.
        let _inside = (!span.is_disabled()).then(|| span.enter());
        let polled = work.as_mut().poll(context);
        if polled.is_pending() && !waits {
            waits = true;
            outbox.flush();
        }
        polled
    })
    .await
}

/// As [`consume_one`], with the faults that a simulation has for this delivery.
#[cfg(feature = "sim")]
async fn consume_with_faults<C: Consumer>(
    consumer: &mut C,
    delivery: &Delivery<C::Job>,
    outbox: &Outbox<C::Job, C::Output>,
) -> Result<C::Output, Failure> {
    if faults::ask(|_| ()).is_none() {
        return consume_one(consumer, delivery, outbox).await;
    }
    outbox.flush();
    let result = if faults::before_work(delivery.seen()).await {
        Err(Failure::retry("a planned fault"))
    } else {
        consume_one(consumer, delivery, outbox).await
    };
    if faults::after_work(delivery.seen(), result.is_ok()) {
        return Err(Failure::retry("a planned fault"));
    }
    result
}

/// What was settled and is not on the desk yet.
struct Outbox<J: Send + Sync + 'static, O: Send + 'static> {
    berth: ShellBerth<J, O>,
    settled: RefCell<(Vec<SettledDelivery<O>>, Instant)>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Outbox<J, O> {
    fn new(berth: ShellBerth<J, O>) -> Self {
        Self {
            berth,
            settled: RefCell::new((Vec::new(), Instant::now())),
        }
    }

    /// The time from here to the next flush is the time that the deliveries took.
    fn restart_clock(&self) {
        self.settled.borrow_mut().1 = Instant::now();
    }

    fn put(&self, delivery: SettledDelivery<O>) {
        self.settled.borrow_mut().0.push(delivery);
    }

    fn flush(&self) {
        if !self.settled.borrow().0.is_empty() {
            self.flush_at(Instant::now());
        }
    }

    fn flush_at(&self, now: Instant) {
        let mut settled = self.settled.borrow_mut();
        let busy = now.saturating_duration_since(settled.1);
        settled.1 = now;
        let room = settled.0.len();
        let deliveries = std::mem::replace(&mut settled.0, Vec::with_capacity(room));
        drop(settled);
        if !deliveries.is_empty() {
            let consumer = Arc::clone(&self.berth.info);
            self.berth.desk.settle_all(Settlement {
                consumer,
                deliveries,
                busy,
            });
        }
    }
}

/// A consumer that panics takes nothing with it that it did before: what was settled goes to the desk while the panic
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
