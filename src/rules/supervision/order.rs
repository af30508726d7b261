//! What a child set is told and what it orders.

use std::time::Duration;

use crate::types::{AutoShutdown, BackoffConfig, PastBudget, RestartConfig, RestartReach, SupervisorConfig};

/// A child, numbered in the order in which the children were added. Never used again within one child set.
pub type ChildNumber = u32;

/// Whose restarts are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// Those of all children, as in OTP.
    Shared,
    /// Those of each child apart, as for the slots of a group.
    Each,
}

/// The policies of a child set.
#[derive(Debug, Clone)]
pub struct SupervisionRules {
    /// Which children are started again with one that ended.
    pub reach: RestartReach,
    /// Whose restarts are counted together.
    pub budget: Budget,
    /// Restarts that are allowed within `period`.
    pub intensity: u32,
    /// The sliding window.
    pub period: Duration,
    /// The waits before restarts.
    pub backoff: BackoffConfig,
    /// What happens when a budget is spent.
    pub past_budget: PastBudget,
    /// How long a quarantined child rests.
    pub cool_down: Duration,
    /// Whether the child set ends when its significant children have.
    pub auto_shutdown: AutoShutdown,
}

impl SupervisionRules {
    /// OTP's rules: one budget for all, and past it the supervisor gives up.
    pub fn of_supervisor(config: &SupervisorConfig) -> Self {
        Self {
            reach: config.reach,
            budget: Budget::Shared,
            intensity: config.intensity,
            period: config.period,
            backoff: config.backoff,
            past_budget: PastBudget::Escalate,
            cool_down: Duration::ZERO,
            auto_shutdown: config.auto_shutdown,
        }
    }

    /// The rules of the slots of a group: each has a budget of its own.
    pub fn of_slots(config: &RestartConfig) -> Self {
        Self {
            reach: RestartReach::OneForOne,
            budget: Budget::Each,
            intensity: config.intensity,
            period: config.period,
            backoff: config.backoff,
            past_budget: config.past_budget,
            cool_down: config.cool_down,
            auto_shutdown: AutoShutdown::Never,
        }
    }
}

/// What a child set has decided; its supervisor carries it out, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Make this life of the child, then say [`up`](super::ChildSet::up) or [`down`](super::ChildSet::down).
    Start {
        /// Which child.
        child: ChildNumber,
        /// Which life, counted from one.
        life: u64,
    },
    /// Say [`due`](super::ChildSet::due) after this wait.
    Wait {
        /// Which child.
        child: ChildNumber,
        /// The life that ended.
        life: u64,
        /// How long.
        wait: Duration,
        /// Whether it rests because its budget is spent.
        quarantine: bool,
    },
    /// End the child as it wishes to be ended, then say [`down`](super::ChildSet::down).
    End {
        /// Which child.
        child: ChildNumber,
    },
    /// The child is listed no more, or stays ended: what waits for it can no longer be delivered.
    Over {
        /// Which child.
        child: ChildNumber,
        /// Whether it is listed no more.
        forgotten: bool,
    },
    /// The initial start is done: all children are up, or ended of their own will.
    Opened,
    /// A budget is spent and the policy is to escalate. The child set ends.
    BudgetSpent {
        /// Whose end was one too many.
        child: ChildNumber,
    },
    /// All children have ended, for good.
    Ended(ChildSetEnd),
}

/// Why a child set ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildSetEnd {
    /// It was asked to.
    Stopped,
    /// Its significant children have ended.
    AutoShutdown,
    /// A budget was spent.
    BudgetSpent(ChildNumber),
    /// This child did not start at the initial start.
    StartFailed(ChildNumber),
}

/// How a life ended, as far as the rules care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The child ended of its own will.
    Normal,
    /// Anything else.
    Fault,
    /// It did not begin, because no thread or no descriptor was left for it.
    Starved,
}
