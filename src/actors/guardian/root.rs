//! What is left of a group when its actors are gone, and how it ends then.
//!
//! The guardian and the cells of the group's own actors hold the root together. They all live on the arbiter on which the
//! group was started. Whoever goes last drops the root: if the group has not ended by then, its arbiter has, and the root
//! does what the guardian can no longer do. It runs inside `Drop`, without a runtime, and perhaps while a panic unwinds: it
//! waits for nothing and starts nothing.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::actors::EventBus;
use crate::actors::cell::{CellHooks, CellSeed, guard_of_a_call};
use crate::actors::intake::Intake;
use crate::actors::queue::QueueRest;
use crate::actors::results::Mailboxes;
use crate::protocol::QueueAddr;
use crate::types::{DeadLetter, EventKind, GroupState, JobRef};
use crate::{protocol::faults, rules::ledger::Plant};

use super::Status;

/// Why a group failed whose arbiter ended.
const HOST_ENDED: &str = "the arbiter under the group ended";

/// A queue source without its type.
pub(crate) trait QueueOfGroup<J: Send + Sync + 'static> {
    /// Makes one life of the queue actor in a cell.
    fn start(&self, seed: CellSeed, hooks: CellHooks) -> Option<QueueAddr<J>>;

    /// Hands out what the queue holds without an actor, if it can.
    fn take_rest(&self) -> Option<QueueRest<J>>;
}

/// What a group that has ended hands out.
pub(crate) struct Leftovers<J> {
    /// Jobs that were not finished.
    pub(crate) unfinished: Vec<JobRef<J>>,
    /// Dead letters that arose while it drained.
    pub(crate) dead: Vec<DeadLetter<J>>,
}

/// See the module.
pub(crate) struct Root<J: Send + Sync + 'static, O: Send + 'static> {
    pub(crate) queue: Box<dyn QueueOfGroup<J> + Send>,
    pub(crate) is_volatile: bool,
    pub(crate) intake: Arc<Intake<J>>,
    pub(crate) mailboxes: Arc<Mailboxes<J, O>>,
    pub(crate) bus: EventBus,
    pub(crate) addresses: watch::Sender<Option<QueueAddr<J>>>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) leftovers: Arc<Mutex<Leftovers<J>>>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Root<J, O> {
    /// How often a queue is asked that panics over the question.
    const TRIES: usize = 3;

    /// What the queue holds, from the queue itself. `None` if only its actor can say, or if it panics again and again.
    pub(super) fn rest_of_queue(&self) -> Option<QueueRest<J>> {
        (0..Self::TRIES)
            .find_map(|_| guard_of_a_call(|| self.queue.take_rest()).ok())
            .flatten()
    }

    /// The last step of every end: whoever waits is told, what was not finished can be had, and the state says so.
    pub(super) fn conclude(&self, state: GroupState, reason: Option<String>, unfinished: Vec<JobRef<J>>) {
        self.intake.end(&unfinished);
        self.mailboxes.end(&unfinished);
        self.bus.tell(EventKind::Drained {
            unfinished: unfinished.len(),
        });
        let dead = self.mailboxes.take_noted_dead();
        *self.leftovers.lock().unwrap_or_else(PoisonError::into_inner) = Leftovers { unfinished, dead };
        self.bus.end();
        // Last of all: whoever waits for this state finds everything else in its place.
        self.status.send_modify(|status| {
            status.state = state;
            status.reason = reason;
            status.supervisor = None;
        });
    }

    /// Every actor of the group is gone, and none of them ended the group: its arbiter did. On their way back to here are
    /// only jobs that another thread of the queue holds; `stop` and `drain` find them in the intake if they come.
    fn host_ended(&self) {
        self.intake.close();
        let rest = self.is_volatile.then(|| self.rest_of_queue()).flatten();
        let (mut unfinished, dead) = rest.map_or_else(Default::default, |rest| (rest.unfinished, rest.dead));
        // The word on a dead letter may have been in a mailbox that is gone. Who was told before is not told again.
        self.mailboxes.tell_dead(dead);
        unfinished.extend(self.intake.take_rest());
        if faults::is_planted(Plant::LosesOneAtHostEnd) {
            drop(unfinished.pop());
        }
        let reason = HOST_ENDED.to_owned();
        self.bus.tell(EventKind::GroupFailed {
            reason: reason.clone(),
        });
        self.conclude(GroupState::Failed, Some(reason), unfinished);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Drop for Root<J, O> {
    fn drop(&mut self) {
        if self.status.borrow().has_ended() {
            // A push that was on its way when the group ended may have come back, or nobody will ever say.
            self.intake.end(&[]);
        } else {
            self.host_ended();
        }
    }
}
