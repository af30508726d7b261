//! The choices of a configuration that are words: where consumers live, which strategy, what happens at a limit.

use serde::{Deserialize, Serialize};

/// Where consumers live. An arbiter is a thread with an event loop.
///
/// | placement | pick it when | a consumer that blocks its thread |
/// |---|---|---|
/// | `local` | handlers are short and never block: the fastest, all on the thread that started the group | blocks the whole group |
/// | `processors` | the default: handlers are asynchronous or use some CPU; as many threads as processors | is replaced after the deadline, its neighbours are moved |
/// | `arbiters = n` | the same, with a number of threads of your own | the same |
/// | `dedicated` | handlers block: each consumer has a thread of its own | holds up nobody |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Placement {
    /// On the arbiter that starts the group, together with queue, strategy and supervisor.
    Local,
    /// Spread over this many arbiters.
    Arbiters(usize),
    /// As `arbiters`, with as many as the machine has processors.
    #[default]
    Processors,
    /// Each consumer on an arbiter of its own.
    Dedicated,
}

/// The built-in strategies, by name.
///
/// | strategy | which one do I pick? |
/// |---|---|
/// | `round_robin` | jobs cost about the same: exact shares, cheapest; a job behind a busy consumer waits 2 to 4 ms for another one |
/// | `weighted` | consumers differ: exact shares by weight, evenly mixed; as `round_robin` otherwise |
/// | `consistent_hash` | jobs of a key should meet the same consumer (caches), also when consumers come and go |
/// | `least_loaded` | jobs differ in cost and the group is small |
/// | `two_choices` | jobs differ in cost and the group is large |
/// | `sticky` | as `consistent_hash`, but a key stays where it first went, and new keys go where there is room |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StrategyKind {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// In turn, by weight, smoothly mixed as nginx does it.
    Weighted,
    /// By the key, on a hash ring.
    ConsistentHash,
    /// To the one that holds the fewest deliveries.
    LeastLoaded,
    /// To the less loaded of two drawn at random.
    TwoChoices,
    /// By the key, wherever the key went first.
    Sticky,
}

impl StrategyKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::RoundRobin,
        Self::Weighted,
        Self::ConsistentHash,
        Self::LeastLoaded,
        Self::TwoChoices,
        Self::Sticky,
    ];

    /// Whether it looks at the weights.
    pub const fn weighs(self) -> bool {
        matches!(self, Self::Weighted | Self::LeastLoaded | Self::TwoChoices)
    }

    /// Whether it binds a key to a consumer.
    pub const fn binds_keys(self) -> bool {
        matches!(self, Self::ConsistentHash | Self::Sticky)
    }
}

/// Whether a job waits for the consumer that the strategy chose for it.
///
/// | affinity | the consumer is busy with another job for more than 2 ms, and others have room |
/// |---|---|
/// | `strict` | the job waits for it |
/// | `prefer` | the job goes to one of the others; the next one of its key comes back when the consumer moves again |
///
/// The 2 ms are two targets of the prefetch window. A consumer that is an actor of its own keeps what is in its mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Affinity {
    /// It waits.
    Strict,
    /// It goes to another one that has room.
    Prefer,
}

/// What happens to a job for which the queue has no room.
///
/// | overflow | the producer | the job |
/// |---|---|---|
/// | `wait` | waits until there is room | is accepted then |
/// | `reject` | gets an error at once | comes back in the error |
/// | `drop_oldest` | is told that its job was accepted | the oldest waiting job goes to the dead letters |
/// | `drop_newest` | is told that its job was accepted | the new job goes to the dead letters |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overflow {
    /// The producer waits.
    #[default]
    Wait,
    /// The job comes back.
    Reject,
    /// The oldest waiting job goes.
    DropOldest,
    /// The new job goes.
    DropNewest,
}

/// What happens when a restart budget is spent.
///
/// | policy | the slot | the group |
/// |---|---|---|
/// | `quarantine` | rests for the cool-down, then starts with a fresh budget | goes on with the others |
/// | `escalate` | is not restarted | fails: producers get their jobs back, `stopped()` tells why |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PastBudget {
    /// The slot rests.
    #[default]
    Quarantine,
    /// The group fails.
    Escalate,
}
