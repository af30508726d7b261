//! The health view: what a group is and holds at one moment.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Cause, Epoch, Incarnation, Moment, SlotId, Weight};

/// What the group as a whole does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum GroupState {
    /// It takes and does jobs.
    Running,
    /// It takes jobs and does none until it is resumed.
    Paused,
    /// It takes no jobs and finishes what it holds.
    Draining,
    /// It has ended.
    Stopped,
    /// It gave up: a restart budget was spent and the policy is to escalate.
    Failed,
}

/// What a slot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SlotState {
    /// Its consumer is being made.
    Starting,
    /// Its consumer takes jobs.
    Live,
    /// Its consumer died; the next one is made after a backoff.
    BackingOff,
    /// Its restart budget is spent; it rests for the cool-down.
    Quarantined,
    /// It finishes what it holds and then goes: scale down or drain.
    Retiring,
    /// It has no consumer any more.
    Gone,
}

/// One slot of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SlotHealth {
    /// The slot.
    pub slot: SlotId,
    /// What it does.
    pub state: SlotState,
    /// The life of its consumer.
    pub incarnation: Incarnation,
    /// Its share of the work.
    pub weight: Weight,
    /// Its deliveries in flight: with its consumer, and not settled.
    pub in_flight: u32,
    /// Its prefetch window: deliveries that may be in flight there.
    pub window: u32,
    /// Jobs that it has acked since the supervisor started.
    pub acked: u64,
    /// Deliveries that its consumers settled without an ack since the supervisor started; those that a death ended do not
    /// count here.
    pub failed: u64,
    /// How often its consumer ended and a successor followed, since the supervisor started.
    pub restarts: u64,
    /// Why the last consumer ended, since the supervisor started.
    pub last_cause: Option<Cause>,
}

/// Whether a queue reaches whoever keeps its jobs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "link", rename_all = "snake_case")]
pub enum LinkState {
    /// It does. A queue inside of the process always does.
    Connected,
    /// It does, and is allowed to send nothing: a broker with no memory or disk left.
    Blocked {
        /// What the broker says.
        why: Arc<str>,
    },
    /// It does not. It tries again by itself.
    Disconnected {
        /// What went wrong last.
        why: Arc<str>,
    },
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Blocked { why } => write!(f, "blocked: {why}"),
            Self::Disconnected { why } => write!(f, "disconnected: {why}"),
        }
    }
}

/// The link of a queue, as the queue told it last.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueueState {
    /// How it is.
    #[serde(flatten)]
    pub link: LinkState,
    /// Since when.
    pub since: Moment,
}

/// What a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Jobs that can be leased now.
    pub ready: usize,
    /// Jobs that wait for their time: delayed by the producer or on the retry shelf.
    pub delayed: usize,
    /// Jobs that are leased: promised to a supervisor, and neither settled nor given back.
    pub leased: usize,
    /// Dead letters.
    pub dead: usize,
}

impl QueueCounts {
    /// Jobs that are neither done nor dead.
    pub fn unfinished(&self) -> usize {
        self.ready + self.delayed + self.leased
    }
}

/// Leased jobs that no consumer can get yet, by what they wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeldCounts {
    /// For room at the consumer that the strategy chose for them. Bounded by `hold`.
    pub for_consumer: usize,
    /// For the job in front of them that has the same key, in a group that keeps order.
    pub for_key: usize,
    /// For the moment of their retry, or the end of a delay that their queue does not know.
    pub for_retry: usize,
    /// Whether a limit is reached, so that nothing more is leased. The event
    /// [`HoldFull`](super::EventKind::HoldFull) tells when it comes to that.
    pub is_full: bool,
}

/// Whether the group pauses by itself. See [`CircuitConfig`](super::CircuitConfig).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CircuitState {
    /// Jobs are handed out.
    #[default]
    Closed,
    /// Too many failed: nothing is handed out until the pause is over.
    Open,
    /// The pause is over: one job at a time is handed out, and the first one that ends tells.
    Probing,
}

/// The whole group at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// When this was true.
    pub at: Moment,
    /// What the group does.
    pub state: GroupState,
    /// The life of the supervisor.
    pub epoch: Epoch,
    /// Every slot, in order.
    pub slots: Vec<SlotHealth>,
    /// What the queue holds, as it said last: `None` before it said anything, all zero for a queue that cannot count.
    pub queue: Option<QueueCounts>,
    /// When it said so: now, unless it has not answered for a second. Nothing is waited for longer.
    pub queue_counted: Option<Moment>,
    /// The link of the queue, as the queue told it.
    pub queue_state: QueueState,
    /// Jobs that are leased, as the supervisor knows it; the queue may hear of the end of a lease a little later.
    pub leased: usize,
    /// Those of them that are in flight: with a consumer, and not settled.
    pub in_flight: usize,
    /// Those of them that no consumer can get yet.
    pub held: HeldCounts,
    /// Whether the group pauses by itself, because too many jobs failed.
    pub circuit: CircuitState,
    /// Answers of the strategy that named no live slot, since the supervisor started.
    pub bad_choices: u64,
    /// Settles refused because they came from an earlier incarnation or attempt, since the supervisor started.
    pub stale_settles: u64,
    /// Verdicts that did not count at the queue, since the supervisor started: it refused them, or its link was down.
    pub refused_settles: u64,
}
