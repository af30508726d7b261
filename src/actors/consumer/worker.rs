//! The life of a [`Consumer`] inside the stock shell.
//!
//! One loop works through the deliveries. It makes no future that outlives a delivery, allocates nothing for a consumer that
//! is ready at once, and puts what was settled into the supervisor's settle queue in batches: when the inbox is empty, when a delivery
//! has to wait, and at least every tenth of a millisecond.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

use super::inbox::Inbox;
use super::outbox::Outbox;
use super::pace::Pace;
use super::shell::{ShellParams, not_started, stopped};
use crate::protocol::faults;
use crate::protocol::{Consumer, ConsumerAddr, ConsumerInfo, Delivery, Parcel, Work};
use crate::types::{Cause, Guarded};

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
