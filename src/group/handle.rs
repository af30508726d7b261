//! The group's handle: producers, steering, health, drain and stop.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actix::Addr;
use tokio::sync::watch;

use super::dead_letters::{DeadLetters, or_changed};
use super::drained::Drained;
use super::errors::{StoppedError, Undelivered};
use super::producer::Producer;
use super::results::{ProducerGroup, Results};
use crate::actors::dead_letter_store::DeadLetterStore;
use crate::actors::guardian::{Guardian, Shared, Status};
use crate::actors::intake::Intake;
use crate::actors::{Drained as HostDrained, Events, Resident};
use crate::protocol::{AskHealth, Order, QueueAddr};
use crate::types::{GroupState, Health, MOST_CONSUMERS, Moment, ReplyTo, Role, SlotId, Weight};

/// A running group. Clones are handles to the same group; when the last one is dropped, the group stops.
///
/// Producers, results, events and dead letters do not keep it alive.
#[must_use = "a group stops when its last handle is dropped"]
pub struct Group<J: Send + Sync + 'static, O: Send + 'static> {
    inner: Arc<Inner<J, O>>,
}

struct Inner<J: Send + Sync + 'static, O: Send + 'static> {
    shared: Shared<J, O>,
    guardian: Addr<Guardian<J, O>>,
    /// The group's own dead letters, if the queue has none.
    dead_letter_store: Option<Arc<DeadLetterStore<J>>>,
    /// Outcomes that a producer group may have outstanding or unread.
    results: usize,
    is_volatile: bool,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Group<J, O> {
    pub(super) fn new(
        shared: Shared<J, O>,
        guardian: Addr<Guardian<J, O>>,
        dead_letter_store: Option<Arc<DeadLetterStore<J>>>,
        results: usize,
        is_volatile: bool,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                shared,
                guardian,
                dead_letter_store,
                results,
                is_volatile,
            }),
        }
    }

    /// The group as something that lives on a host. It does not keep the group alive.
    pub(super) fn resident(&self, what: Arc<str>) -> Resident {
        let group = Arc::downgrade(&self.inner);
        let status = self.inner.shared.status.clone();
        let mut ends = status.clone();
        Resident {
            what,
            is_over: Box::new(move || status.borrow().has_ended()),
            drain: Box::new(move |within| {
                Box::pin(async move {
                    let unfinished = match group.upgrade() {
                        Some(inner) => {
                            let drained = Self { inner }.drain(within).await;
                            drained.unfinished.iter().map(Undelivered::id).collect()
                        }
                        // Its last handle was dropped, so it stops by itself. An error means that it has gone.
                        None => {
                            let _ = ends.wait_for(Status::has_ended).await;
                            Vec::new()
                        }
                    };
                    HostDrained {
                        unfinished,
                        has_ended: true,
                    }
                })
            }),
        }
    }

    pub(super) fn intake(&self) -> &Intake<J> {
        &self.inner.shared.intake
    }

    /// The present moment, by the clock of the group.
    pub(super) fn now(&self) -> Moment {
        self.inner.shared.clock.now()
    }

    /// Why the group has ended, as [`stopped`](Self::stopped) says it; `None` while it has not.
    pub(super) fn end_reason(&self) -> Option<Option<String>> {
        let status = self.inner.shared.status.borrow();
        status.has_ended().then(|| status.reason.clone())
    }

    /// Whether it is a `call` that waits there.
    pub(super) fn is_call(&self, reply_to: ReplyTo) -> bool {
        self.inner.shared.mailboxes.calls() == reply_to
    }

    /// A producer for this group.
    pub fn producer(&self) -> Producer<J, O> {
        let Shared {
            intake, mailboxes, ..
        } = &self.inner.shared;
        Producer::new(Arc::clone(intake), Arc::clone(mailboxes))
    }

    /// A producer group with one result queue for all its members. At most `results` outcomes of it (see the configuration)
    /// are to come or unread at a time.
    pub fn producer_group(&self) -> (ProducerGroup<J, O>, Results<J, O>) {
        ProducerGroup::open(self.producer(), &self.inner.shared.mailboxes, self.inner.results)
    }

    /// Whether jobs were taken that the queue has not answered for yet.
    pub(super) fn has_jobs_on_their_way(&self) -> bool {
        self.inner.shared.intake.has_jobs()
    }

    /// Where the present life of the queue is.
    pub(super) fn queue_addresses(&self) -> &watch::Receiver<Option<QueueAddr<J>>> {
        &self.inner.shared.addresses
    }

    /// The dead letters of this group's queue, or of the group itself if its queue keeps none.
    pub fn dead_letters(&self) -> DeadLetters<J> {
        {
            let Shared {
                addresses, intake, ..
            } = &self.inner.shared;
            DeadLetters::new(
                addresses.clone(),
                self.inner.dead_letter_store.clone(),
                Arc::clone(intake),
            )
        }
    }

    /// What happens from now on in the life of the group: consumers and roles up and down, retries, dead letters.
    pub fn events(&self) -> Events {
        self.inner.shared.bus.subscribe(false)
    }

    /// Everything that happens from now on, single deliveries and acks as well. Costs the group some speed.
    pub fn all_events(&self) -> Events {
        self.inner.shared.bus.subscribe(true)
    }

    /// Makes the group have this many consumers, at most 1,000,000. New ones start at once; surplus ones, the last first, finish what they
    /// hold and go. Returns before that is done; [`health`](Self::health) and the events tell. New consumers get new slots:
    /// the number of a slot that has gone is never used again.
    pub fn scale(&self, consumers: usize) {
        self.order(Order::Scale(consumers.min(MOST_CONSUMERS)));
    }

    /// Gives a slot this share of the work for strategies that weigh; 0 is taken for 1. A slot that does not exist yet gets
    /// it when it comes.
    pub fn set_weight(&self, slot: SlotId, weight: u32) {
        self.order(Order::Weigh(slot, Weight(weight.max(1))));
    }

    /// Hands out no more deliveries. Consumers finish what they hold; jobs are still accepted. Does nothing while the group
    /// drains.
    pub fn pause(&self) {
        self.order(Order::Pause);
    }

    /// Hands out deliveries again.
    pub fn resume(&self) {
        self.order(Order::Resume);
    }

    /// See `testing::end_role`, which has a feature of its own.
    #[doc(hidden)]
    pub fn end_role(&self, role: Role) {
        self.order(Order::EndRole(role));
    }

    /// How the group is right now. Waits while the supervisor is being replaced, and up to a second for the queue to say what it
    /// holds; from one that does not answer it is what it said last. Cancel safe.
    ///
    /// # Errors
    /// [`StoppedError`] if the group has ended.
    pub async fn health(&self) -> Result<Health, StoppedError> {
        let mut status = self.inner.shared.status.clone();
        loop {
            let now = status.borrow_and_update().clone();
            if now.has_ended() {
                return Err(StoppedError);
            }
            let Some(supervisor) = now.supervisor else {
                // The supervisor is being restarted; the next one answers.
                status.changed().await.map_err(|_| StoppedError)?;
                continue;
            };
            // A supervisor that dies with the question answers too, but for one that dies on another thread in the very
            // moment in which the question is put; then the news of its successor end the wait.
            let health = match or_changed(supervisor.send(AskHealth), &mut status).await {
                Some(Ok(Some(health))) => health,
                Some(_) => {
                    status.changed().await.map_err(|_| StoppedError)?;
                    continue;
                }
                None => continue,
            };
            let (mut queue, queue_counted) = health.queue.unzip();
            if let (Some(counts), Some(dead_letter_store)) = (&mut queue, &self.inner.dead_letter_store) {
                counts.dead = dead_letter_store.len();
            }
            return Ok(Health {
                at: self.inner.shared.clock.now(),
                state: now.state,
                epoch: now.epoch,
                in_flight: health.slots.iter().map(|slot| slot.in_flight as usize).sum(),
                slots: health.slots,
                queue,
                queue_counted,
                queue_state: now.queue,
                leased: health.leased,
                held: health.held,
                circuit: health.circuit,
                bad_choices: health.bad_choices,
                stale_settles: health.stale_settles,
                refused_settles: health.refused_settles,
            });
        }
    }

    /// What the group does, as its guardian sees it; never waits.
    pub fn state(&self) -> GroupState {
        self.inner.shared.status.borrow().state
    }

    /// Takes no more jobs, finishes what is there and stops.
    ///
    /// From the first poll on nothing is accepted any more. With a queue in memory "what is there" is every accepted job,
    /// waiting ones too; with a durable queue it is what the group has leased, the rest stays in the queue. A paused group is
    /// resumed for it, and batches are no longer held back until they are full. What is not finished when `deadline` is over
    /// is named in the answer, with the jobs.
    ///
    /// After the deadline the group still has to end, as with [`stop`](Self::stop). Needs no runtime: the group keeps the
    /// deadline itself. If several drains wait, the shortest deadline counts. **Cancellation**: a drain that is dropped goes
    /// on, and the group ends by itself; the next `stop` or `drain` gets what was not finished.
    pub async fn drain(&self, deadline: Duration) -> Drained<J> {
        // At once, and not by the message: whoever sends after this line is refused, and what is given up after it is told.
        self.inner.shared.intake.close();
        self.inner.shared.mailboxes.note_dead();
        self.order(Order::Drain {
            everything: !self.keeps_its_jobs(),
            deadline,
        });
        self.ended().await
    }

    /// Stops now: consumers end at their next `await`, and everything unfinished is handed back.
    ///
    /// Takes as long as the consumers need to end, at most `restart.kill_grace_ms`, and the queue to hand out its jobs, at most 10 s;
    /// jobs of a queue that does not answer are not named. **Cancellation**: the group ends all the same, and the next call
    /// gets the unfinished jobs.
    pub async fn stop(&self) -> Drained<J> {
        self.inner.shared.intake.close();
        self.order(Order::Stop);
        self.ended().await
    }

    /// Waits for the end, and takes what the group hands out.
    async fn ended(&self) -> Drained<J> {
        self.stopped().await;
        let Shared {
            leftovers, intake, ..
        } = &self.inner.shared;
        let (mut unfinished, dead_letters) = {
            let mut left = leftovers.lock().unwrap_or_else(PoisonError::into_inner);
            (
                std::mem::take(&mut left.unfinished),
                std::mem::take(&mut left.dead),
            )
        };
        // Jobs that another thread of the queue gave back after the end.
        unfinished.extend(intake.take_rest());
        Drained {
            unfinished: unfinished.into_iter().map(Undelivered::new).collect(),
            dead_letters,
        }
    }

    /// Waits until the group has ended, for whatever reason. The reason if it failed, `None` if it was stopped. Cancel safe.
    ///
    /// A group also fails when the arbiter on which it was started ends: the future given to `System::block_on` returned and
    /// the system was dropped, `Arbiter::stop` or `System::stop` was called, or the thread panicked.
    pub async fn stopped(&self) -> Option<String> {
        let mut status = self.inner.shared.status.clone();
        let ended = status.wait_for(Status::has_ended).await;
        ended.map_or(None, |status| status.reason.clone())
    }

    /// Whether its queue keeps its jobs over the end of the group.
    pub(crate) fn keeps_its_jobs(&self) -> bool {
        !self.inner.is_volatile
    }

    fn order(&self, order: Order) {
        // To a guardian that has ended this goes nowhere: an ended group has nothing to be ordered.
        self.inner.guardian.do_send(order);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Drop for Inner<J, O> {
    fn drop(&mut self) {
        self.guardian.do_send(Order::Stop);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Clone for Group<J, O> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> fmt::Debug for Group<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
