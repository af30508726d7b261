//! Events: everything that happens in a group, as one closed set.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    AttemptRecord, Cause, DeadReason, DeliveryNumber, Epoch, HeldCounts, Incarnation, JobId, KeyHash, Moment,
    QueueState, SlotId, Weight,
};

/// The roles that the group itself supervises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Role {
    /// The queue actor.
    Queue,
    /// The strategy actor.
    Strategy,
    /// The supervisor actor.
    Supervisor,
    /// The result queue actor.
    Results,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Strategy => "strategy",
            Self::Supervisor => "supervisor",
            Self::Results => "result queue",
        })
    }
}

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// When it happened, by the group's clock.
    pub at: Moment,
    /// What happened.
    pub kind: EventKind,
}

/// What can happen in a group. No event carries a payload.
///
/// Events of single jobs (marked *job* below) are made only while somebody subscribed to them, since a group does
/// millions a second; events of the group's life are always made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// *job*: a job was accepted. Where the queue itself has to say so (a durable queue, a deduplication key), the word may
    /// come after the first delivery.
    Accepted {
        /// The job.
        job: JobId,
    },
    /// *job*: a job was handed to a consumer.
    Delivered {
        /// The job.
        job: JobId,
        /// Its key.
        key: Option<KeyHash>,
        /// The attempt, counted from one.
        attempt: u32,
        /// To which slot.
        slot: SlotId,
        /// To which life of the consumer there.
        incarnation: Incarnation,
        /// The running number of the delivery.
        number: DeliveryNumber,
    },
    /// *job*: a consumer did a job and the supervisor accepted its word.
    Acked {
        /// The job.
        job: JobId,
        /// The attempt that did it.
        attempt: u32,
        /// Where.
        slot: SlotId,
        /// By which life of the consumer there.
        incarnation: Incarnation,
        /// The running number of the delivery.
        number: DeliveryNumber,
    },
    /// An attempt ended without an ack and the job will be tried again.
    Retried {
        /// The job.
        job: JobId,
        /// What went wrong.
        record: AttemptRecord,
        /// How long the job waits.
        after: Duration,
    },
    /// A consumer said that a job cannot be done now; it comes again, and the attempt does not count.
    Snoozed {
        /// The job.
        job: JobId,
        /// Why, in the words of the consumer.
        reason: Arc<str>,
        /// How long the job waits.
        after: Duration,
    },
    /// A delivery that had not begun went back because its consumer ended; the attempt does not count.
    Returned {
        /// The job.
        job: JobId,
        /// From which slot.
        slot: SlotId,
        /// From which life of the consumer there.
        incarnation: Incarnation,
    },
    /// *job*: a delivery that had not begun was taken back from a consumer that did not move, since another one had room; the
    /// attempt does not count.
    Recalled {
        /// The job.
        job: JobId,
        /// From which slot.
        slot: SlotId,
        /// From which life of the consumer there.
        incarnation: Incarnation,
        /// The running number of the delivery.
        number: DeliveryNumber,
    },
    /// A job became a dead letter.
    DeadLettered {
        /// The job.
        job: JobId,
        /// Why.
        reason: DeadReason,
    },
    /// The shelf of dead letters was full and its oldest one had to go.
    DeadLetterDropped {
        /// The job.
        job: JobId,
    },
    /// A dead letter went back to the queue.
    Requeued {
        /// The job.
        job: JobId,
    },
    /// The outcome of a job could not be sent to who waits for it outside of this process.
    ReplyFailed {
        /// The job.
        job: JobId,
        /// Why.
        reason: Arc<str>,
        /// After how long it is sent again; `None` if it was dropped, because nobody can be reached there.
        again: Option<Duration>,
    },
    /// A job was refused because one with the same deduplication key was accepted before.
    Duplicate {
        /// The job that was refused.
        job: JobId,
        /// The job that was accepted before.
        of: JobId,
    },
    /// A settle of an earlier incarnation, epoch or attempt was refused.
    StaleSettle {
        /// From which slot.
        slot: SlotId,
        /// From which life of the consumer there.
        incarnation: Incarnation,
        /// The running number of the delivery.
        number: DeliveryNumber,
    },
    /// The queue refused verdicts, which changed nothing: their leases had ended there, as they do when a broker takes a job
    /// back. Not told of verdicts that were sent a second time, which may be refused rightly.
    SettlesRefused {
        /// Verdicts on another attempt, or of an earlier supervisor.
        stale: usize,
        /// Verdicts on leases that the queue does not know, or does not know any more.
        unknown: usize,
    },
    /// The link of the queue was down, so these verdicts did not arrive and will not: their jobs come again, done or not.
    SettlesLost {
        /// How many verdicts.
        verdicts: usize,
    },
    /// The queue has not answered these verdicts for 5 s. A drain does not wait for them any longer; told once of each.
    SettlesUnanswered {
        /// How many verdicts.
        verdicts: usize,
    },
    /// The link of the queue changed: it broke, is there again, or the broker takes nothing for now. Nothing is lost by it.
    QueueStateChanged {
        /// How it is now.
        state: QueueState,
    },
    /// The queue took leases back.
    Revoked {
        /// Jobs that had not begun and are forgotten here.
        waiting: usize,
        /// Jobs that consumers are at work on.
        at_work: usize,
        /// Whether they are over; else what is at work may be finished.
        lost: bool,
    },
    /// A consumer takes jobs.
    ConsumerUp {
        /// Where.
        slot: SlotId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// A consumer ended.
    ConsumerDown {
        /// Where.
        slot: SlotId,
        /// Which life.
        incarnation: Incarnation,
        /// Why.
        cause: Cause,
        /// Deliveries that it held and that go to others.
        held: usize,
    },
    /// A slot spent its restart budget and rests.
    Quarantined {
        /// Where.
        slot: SlotId,
        /// For how long.
        cool_down: Duration,
    },
    /// A thread did not come back: its arbiter was given up and everyone on it replaced.
    ArbiterAbandoned {
        /// The slot whose consumer blocked it.
        slot: SlotId,
        /// How many others were moved.
        moved: usize,
    },
    /// So many leased jobs wait (for a full consumer, for their key, for their retry) that a limit is reached: nothing more
    /// is leased. Told once, see [`HoldHasRoom`](Self::HoldHasRoom).
    HoldFull {
        /// What they wait for.
        held: HeldCounts,
    },
    /// At most half of each limit is used again, after a [`HoldFull`](Self::HoldFull).
    HoldHasRoom,
    /// So many attempts failed that the group pauses by itself.
    CircuitOpened {
        /// For how long.
        pause: Duration,
    },
    /// The pause is over: one job is handed out, to see whether it can be done.
    CircuitProbing,
    /// That job was done, or rejected: the group does its jobs again.
    CircuitClosed,
    /// The strategy's answer named no live slot; the job waits for the next round.
    BadChoice {
        /// What it named.
        slot: SlotId,
    },
    /// One of the group's own actors takes up its work, again or for the first time.
    RoleUp {
        /// Which.
        role: Role,
        /// Its life, counted from one.
        life: u64,
    },
    /// One of the group's own actors ended.
    RoleDown {
        /// Which.
        role: Role,
        /// Its life, counted from one.
        life: u64,
        /// Why.
        cause: Cause,
    },
    /// The supervisor took up its work and the queue took back the leases of the epochs before.
    Attached {
        /// The life of the supervisor.
        epoch: Epoch,
        /// Leases that the queue took back.
        returned: usize,
    },
    /// The number of consumers that is wanted changed.
    Scaled {
        /// Before.
        from: usize,
        /// After.
        to: usize,
    },
    /// A weight changed, or was set for a slot that may come.
    Weighted {
        /// Whose.
        slot: SlotId,
        /// What it is now.
        weight: Weight,
    },
    /// The group does no jobs until it is resumed.
    Paused,
    /// The group does jobs again.
    Resumed,
    /// The group takes no more jobs and finishes what it holds.
    Draining,
    /// The drain, or the stop, has handed back what was not finished.
    Drained {
        /// Jobs that were not finished.
        unfinished: usize,
    },
    /// The group gave up: a restart budget was spent and the policy is to escalate.
    GroupFailed {
        /// What it died of.
        reason: String,
    },
    /// The group ended. The last event.
    Stopped,
    /// This subscription was too slow and missed events.
    Missed {
        /// How many.
        events: u64,
    },
}

impl EventKind {
    /// Whether this is an event of a single job, made only while somebody subscribed to such events.
    pub fn is_of_a_job(&self) -> bool {
        matches!(
            self,
            Self::Accepted { .. } | Self::Delivered { .. } | Self::Acked { .. } | Self::Recalled { .. }
        )
    }
}
