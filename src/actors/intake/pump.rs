//! The pump: pushes what has gathered, and waits for the word of the queue.
//!
//! A queue inside of the process gets one push at a time: it answers at once, and what gathers meanwhile goes together. One
//! outside of the process answers when its broker has confirmed, so the next push does not wait for that. If the actor of the
//! queue dies, no push goes out before it is known of each that was on its way what became of it; those that come back go to the
//! next life first, in their order.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::MailboxError;
use actix::dev::RecipientRequest;
use tokio::sync::watch;

use super::buffer::Waiter;
use super::hand_back::InHand;
use super::{FilledRuns, Intake};
use crate::protocol::{Push, Pushed, QueueAddr};
use crate::rules::store::{Refusal, Refused};
use crate::types::{EventKind, JobId, Run};

/// Pushes on their way at once to a queue outside of the process.
const MOST_PUSHES: usize = 8;

/// How long a queue is left alone that had no room, or could not reach its broker, before it is asked again for a job for which
/// nobody waits.
const FULL: Duration = Duration::from_millis(1);
const UNAVAILABLE: Duration = Duration::from_millis(100);

fn pause_after(refusal: Refusal) -> Option<Duration> {
    match refusal {
        Refusal::Full => Some(FULL),
        // What is not confirmed may be there all the same, and then comes twice.
        Refusal::Unavailable { .. } | Refusal::Unconfirmed => Some(UNAVAILABLE),
        _ => None,
    }
}

/// A push that the queue has not answered.
struct Pushing<'a, J: Send + Sync + 'static> {
    batch: InHand<'a, J>,
    /// None: the queue died without an answer.
    answer: Option<Pin<Box<RecipientRequest<Push<J>>>>>,
}

type PushAnswer<J> = Result<Pushed<J>, MailboxError>;

/// All of them, in the order in which they were sent.
type OnTheWay<'a, J> = VecDeque<Pushing<'a, J>>;

impl<J: Send + Sync + 'static> Intake<J> {
    /// Pushes what gathers, for ever.
    pub(crate) async fn pump(self: Arc<Self>, mut addresses: watch::Receiver<Option<QueueAddr<J>>>) {
        let most = if self.is_transit && !self.volatile {
            MOST_PUSHES
        } else {
            1
        };
        let mut on_the_way = OnTheWay::new();
        loop {
            let is_known = on_the_way.iter().all(|pushing| pushing.answer.is_some());
            // Another life would get what comes later before what its predecessor did not take.
            let is_same_life = on_the_way.is_empty() || !addresses.has_changed().unwrap_or(true);
            let has_room = on_the_way.len() < most && is_known && is_same_life;
            if has_room && let Some((runs, waiters)) = self.next_batch() {
                self.tell_accepted(&runs, &waiters);
                let batch = InHand::new(&self, runs, waiters);
                if !self.send(batch, &mut on_the_way, &mut addresses).await {
                    return;
                }
                continue;
            }
            if on_the_way.is_empty() {
                self.filled.notified().await;
                continue;
            }
            if !is_known && on_the_way.iter().all(|pushing| pushing.answer.is_none()) {
                if !self.send_again(&mut on_the_way, &mut addresses).await {
                    return;
                }
                continue;
            }
            match self.one_answered(&mut on_the_way, has_room).await {
                Some((index, Ok(Pushed { refused }))) => {
                    if let Some(mut pushing) = on_the_way.remove(index) {
                        pushing.batch.arrived(refused);
                        self.pushed(1).await;
                    }
                }
                Some((index, Err(_))) => {
                    if let Some(pushing) = on_the_way.get_mut(index) {
                        pushing.answer = None;
                    }
                }
                None => {}
            }
        }
    }

    /// So many pushes have ended, whatever became of them.
    async fn pushed(&self, count: usize) {
        let pause = {
            let mut buffer = self.lock();
            buffer.pushing -= count;
            std::mem::take(&mut buffer.pause)
        };
        self.emptied.notify_waiters();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until one push is answered; or, if there is room for another one, until there are jobs for it.
    async fn one_answered(
        &self,
        on_the_way: &mut OnTheWay<'_, J>,
        has_room: bool,
    ) -> Option<(usize, PushAnswer<J>)> {
        let mut filled = pin!(self.filled.notified());
        poll_fn(|context| {
            if let Poll::Ready(answered) = poll_answers(on_the_way, context) {
                return Poll::Ready(Some(answered));
            }
            if has_room {
                return filled.as_mut().poll(context).map(|()| None);
            }
            Poll::Pending
        })
        .await
    }

    /// Sends a batch to the present life of the queue. False if there will be no further life.
    async fn send<'a>(
        self: &Arc<Self>,
        mut batch: InHand<'a, J>,
        on_the_way: &mut OnTheWay<'a, J>,
        addresses: &mut watch::Receiver<Option<QueueAddr<J>>>,
    ) -> bool {
        let Some(address) = next_door(addresses).await else {
            return false;
        };
        let answer = batch.send(self).map(|push| Box::pin(address.push.send(push)));
        on_the_way.push_back(Pushing { batch, answer });
        true
    }

    /// The queue died. Jobs that it did not take come back and go to its next life; those that it took it has kept, for a queue
    /// keeps what it took over all its lives.
    async fn send_again<'a>(
        self: &Arc<Self>,
        on_the_way: &mut OnTheWay<'a, J>,
        addresses: &mut watch::Receiver<Option<QueueAddr<J>>>,
    ) -> bool {
        for _ in 0..on_the_way.len() {
            let Some(Pushing { mut batch, .. }) = on_the_way.pop_front() else {
                break;
            };
            if batch.comes_back().await {
                if !self.send(batch, on_the_way, addresses).await {
                    return false;
                }
            } else {
                batch.arrived(Vec::new());
                self.pushed(1).await;
            }
        }
        true
    }

    fn next_batch(&self) -> Option<FilledRuns<J>> {
        let mut buffer = self.lock();
        if buffer.len == 0 {
            return None;
        }
        buffer.pushing += 1;
        let cut = buffer.cut();
        let asked = buffer
            .waiters
            .iter()
            .take_while(|waiter| waiter.jobs.end <= cut)
            .count();
        let waiters = buffer.waiters.drain(..asked).collect();
        Some((buffer.take(cut), waiters))
    }

    /// Tells of the jobs of a batch for which nobody waits for the queue's word: they are accepted as soon as they are here.
    fn tell_accepted(&self, runs: &[Run<J>], waiters: &[Waiter<J>]) {
        if !self.bus.wants_jobs() {
            return;
        }
        let mut asks = vec![false; runs.iter().map(Run::len).sum()];
        for waiter in waiters {
            asks.get_mut(waiter.jobs.clone()).unwrap_or_default().fill(true);
        }
        let mut asks = asks.into_iter();
        for job in runs.iter().flat_map(Run::ids) {
            if asks.next() == Some(false) {
                self.bus.tell(EventKind::Accepted { job });
            }
        }
    }

    /// These jobs are with the queue; their room is free for others, if it is not the queue's own.
    pub(super) fn leave_transit(&self, jobs: usize) {
        if self.is_transit {
            self.room.add_permits(jobs);
        }
    }

    /// Gives each waiting producer the jobs of its own that were refused. Jobs for which nobody waits are put aside.
    pub(super) fn answer(&self, waiters: Vec<Waiter<J>>, ids: &[JobId], mut refused: Vec<Refused<J>>) {
        let wants_jobs = self.bus.wants_jobs();
        for waiter in waiters {
            let mine = ids.get(waiter.jobs.clone()).unwrap_or_default();
            let own = if refused.is_empty() {
                Vec::new()
            } else {
                let (own, others) = refused
                    .into_iter()
                    .partition(|refused| mine.contains(&refused.job.id()));
                refused = others;
                own
            };
            if wants_jobs {
                let is_refused =
                    |id: &&JobId| own.iter().any(|refused: &Refused<J>| refused.job.id() == **id);
                for job in mine.iter().filter(|id| !is_refused(id)).copied() {
                    self.bus.tell(EventKind::Accepted { job });
                }
            }
            own.iter().for_each(|refused| (self.turned_away)(&refused.job));
            // An error means that the producer has gone.
            let _ = waiter.answer.send(own);
        }
        let mut buffer = self.lock();
        let closed = buffer.closed;
        let pause = |refused: &Refused<J>| pause_after(refused.refusal).filter(|_| !closed);
        buffer.pause = refused.iter().filter_map(pause).max().unwrap_or_default();
        let (later, never): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|refused| pause(refused).is_some());
        buffer
            .stranded
            .extend(never.into_iter().map(|refused| refused.job));
        buffer.put_in_front(later.into_iter().map(|refused| refused.job).collect());
    }
}

/// The first answer that is there, with its place.
fn poll_answers<J: Send + Sync + 'static>(
    on_the_way: &mut OnTheWay<'_, J>,
    context: &mut Context<'_>,
) -> Poll<(usize, PushAnswer<J>)> {
    for (index, pushing) in on_the_way.iter_mut().enumerate() {
        if let Some(answer) = &mut pushing.answer
            && let Poll::Ready(answer) = answer.as_mut().poll(context)
        {
            return Poll::Ready((index, answer));
        }
    }
    Poll::Pending
}

/// The present life of the queue, or the next one if there is none. `None` if there will be no further life.
async fn next_door<J: Send + Sync + 'static>(
    addresses: &mut watch::Receiver<Option<QueueAddr<J>>>,
) -> Option<QueueAddr<J>> {
    loop {
        let address = addresses.borrow_and_update().clone();
        match address {
            Some(address) if address.push.connected() => return Some(address),
            _ => addresses.changed().await.ok()?,
        }
    }
}
