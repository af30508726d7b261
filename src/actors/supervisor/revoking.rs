//! Leases that the queue takes back.
//!
//! What has not begun is forgotten at once: the mark at the job's place decides, as it does when something is taken back for a
//! consumer with room. Only what is in the mailbox of an actor stays there until the actor looks at it. What has begun is told
//! to be void by the same mark, which its consumer can see without a message.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use actix::{AsyncContext, Context, Handler};
use tokio::sync::oneshot;

use super::Supervisor;
use crate::protocol::{ConsumerAddr, Later, Revoke};
use crate::types::{DeliveryNumber, EventKind, JobRef, LeaseId, Released, RevokeKind, Revoked, SlotId};

/// Leases that have to be given back, in the order of the words of the queue.
#[derive(Default)]
pub(super) struct Drains {
    next: u64,
    list: Vec<Drain>,
}

struct Drain {
    /// By which the timer finds it.
    number: u64,
    /// What is still with consumers.
    leases: BTreeSet<LeaseId>,
    /// Set when there is none left: the number of the next settle then. The queue has to answer all before it.
    settled_before: Option<u64>,
    released: Released,
    answer: oneshot::Sender<Released>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<Revoke> for Supervisor<J, O> {
    type Result = Later<Released>;

    fn handle(&mut self, revoke: Revoke, context: &mut Context<Self>) -> Later<Released> {
        if revoke.epoch != self.epoch {
            return Later::now(Released::default());
        }
        // First what consumers settled before, and what follows from it: the queue decides whether that counts. What is handed out
        // thereby is told as delivered before it is told as taken back.
        self.take_settles();
        self.turn(context);
        let is_lost = revoke.kind == RevokeKind::Lost;
        let (waiting, held) = self.revoke(&revoke.what, is_lost);
        let answer = match revoke.kind {
            RevokeKind::Lost => Later::now(Released {
                waiting,
                fenced: held.len(),
            }),
            RevokeKind::Drain { within } => self.drain_leases(waiting, held, within, context),
        };
        self.turn(context);
        answer
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Takes leases out of the ledger, or marks them. Returns how many are forgotten, and which are still out.
    pub(super) fn revoke(&mut self, what: &Revoked, is_lost: bool) -> (usize, Vec<LeaseId>) {
        let Self {
            ledger,
            slots,
            effects,
            ..
        } = self;
        let wants_jobs = self.group.bus.wants_jobs();
        let taken = RefCell::new(Vec::new());
        let takes = |slot: SlotId, job: &JobRef<J>, number: DeliveryNumber| {
            let is_shell = matches!(slots.get(slot).address, Some(ConsumerAddr::Shell(_)));
            let begun = job.view().begun();
            let has_not_begun = match is_lost {
                true => begun.revoke(number),
                false => is_shell && begun.recall(number),
            };
            let is_taken = has_not_begun && is_shell;
            if is_taken && wants_jobs {
                taken.borrow_mut().push((job.id(), slot, number));
            }
            is_taken
        };
        let (waiting, mut held) = ledger.revoke(what, is_lost, takes, effects);
        for (job, slot, number) in taken.into_inner() {
            self.tell_recalled(job, slot, number);
        }
        // Those that are done and wait for their outcome to arrive are at work as well.
        let replies = self.replies.meant(what);
        if is_lost {
            replies.iter().for_each(|lease| self.replies.lose(*lease));
        }
        held.extend(replies);
        self.group.bus.tell(EventKind::Revoked {
            waiting,
            at_work: held.len(),
            lost: is_lost,
        });
        (waiting, held)
    }

    fn drain_leases(
        &mut self,
        waiting: usize,
        held: Vec<LeaseId>,
        within: Duration,
        context: &mut Context<Self>,
    ) -> Later<Released> {
        let (answer, answered) = oneshot::channel();
        let number = self.drains.next;
        self.drains.next += 1;
        let drain = Drain {
            number,
            leases: held.into_iter().collect(),
            settled_before: None,
            released: Released { waiting, fenced: 0 },
            answer,
        };
        self.drains.list.push(drain);
        context.run_later(within, move |this, context| {
            let drains = &mut this.drains.list;
            if let Some(index) = drains.iter().position(|drain| drain.number == number) {
                let drain = drains.remove(index);
                this.end_drain(drain);
                this.turn(context);
            }
        });
        Later::new(async move { answered.await.ok() })
    }

    /// The time for giving leases back is over: what is left of them is lost.
    fn end_drain(&mut self, drain: Drain) {
        let mut released = drain.released;
        if !drain.leases.is_empty() {
            let left = Revoked::Leases(drain.leases.into_iter().collect());
            let (waiting, held) = self.revoke(&left, true);
            released.waiting += waiting;
            released.fenced = held.len();
        }
        // An error means that the queue does not wait any more.
        let _ = drain.answer.send(released);
    }

    /// Notes which revoked leases have come back from their consumers.
    pub(super) fn note_released(&mut self) {
        for lease in self.effects.released.drain(..) {
            // Its verdict waits for the sink, and comes here once more.
            if self.replies.holds(lease) {
                continue;
            }
            for drain in self.drains.list.iter_mut() {
                drain.leases.remove(&lease);
            }
        }
        self.answer_drained();
    }

    /// Answers the queue where nothing is with a consumer any more, and it has answered what was said of it.
    pub(super) fn answer_drained(&mut self) {
        if self.drains.list.is_empty() {
            return;
        }
        let queue = &self.queue;
        let done = self.drains.list.extract_if(.., |drain| {
            let is_empty = drain.leases.is_empty();
            is_empty && {
                let before = *drain.settled_before.get_or_insert(queue.next_settle());
                queue.has_answered_before(before)
            }
        });
        for drain in done {
            // An error means that the queue does not wait any more.
            let _ = drain.answer.send(drain.released);
        }
    }
}
