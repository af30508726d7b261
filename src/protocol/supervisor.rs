//! What is said to the supervisor by consumers and by the guardian.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Message, Recipient};

use super::{Assign, Attach, Command, Deliver, DeliverBatch, Demand, Outcomes, Push, QueueActor, Settle};
use crate::types::{
    Cause, CircuitState, HeldCounts, Incarnation, Moment, QueueCounts, Role, SlotHealth, SlotId, Weight,
};

/// How deliveries reach a consumer.
#[derive(Debug)]
pub(crate) enum ConsumerAddr<J: Send + Sync + 'static, O: Send + 'static> {
    /// Through the stock shell, many in one message.
    Shell(Recipient<DeliverBatch<J>>),
    /// To an actor of the user, one in a message.
    Actor(Recipient<Deliver<J, O>>),
}

/// A consumer takes deliveries.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ConsumerUp<J: Send + Sync + 'static, O: Send + 'static> {
    pub(crate) slot: SlotId,
    pub(crate) incarnation: Incarnation,
    pub(crate) address: ConsumerAddr<J, O>,
}

/// A consumer ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ConsumerDown {
    pub(crate) slot: SlotId,
    pub(crate) incarnation: Incarnation,
    pub(crate) cause: Cause,
}

/// The addresses of one life of the queue actor. Everyone who pushes takes a copy of the door for each push, so most of it is
/// shared.
#[derive(Debug)]
pub(crate) struct QueueAddr<J: Send + Sync + 'static> {
    pub(crate) push: Recipient<Push<J>>,
    others: Arc<OtherAddresses<J>>,
}

/// The addresses of a [`QueueAddr`] that are used now and then. To `send`, take a copy of one: an address that is shared waits
/// while a message that was sent by it has no room.
#[derive(Debug)]
pub(crate) struct OtherAddresses<J: Send + Sync + 'static> {
    pub(crate) attach: Recipient<Attach<J>>,
    pub(crate) demand: Recipient<Demand>,
    pub(crate) settle: Recipient<Settle>,
    pub(crate) command: Recipient<Command<J>>,
}

impl<J: Send + Sync + 'static> QueueAddr<J> {
    pub(crate) fn new<A: QueueActor<J>>(address: Addr<A>) -> Self {
        let others = OtherAddresses {
            attach: address.clone().recipient(),
            demand: address.clone().recipient(),
            settle: address.clone().recipient(),
            command: address.clone().recipient(),
        };
        Self {
            push: address.recipient(),
            others: Arc::new(others),
        }
    }
}

impl<J: Send + Sync + 'static> Deref for QueueAddr<J> {
    type Target = OtherAddresses<J>;

    fn deref(&self) -> &OtherAddresses<J> {
        &self.others
    }
}

impl<J: Send + Sync + 'static> Clone for QueueAddr<J> {
    fn clone(&self) -> Self {
        Self {
            push: self.push.clone(),
            others: Arc::clone(&self.others),
        }
    }
}

/// A new life of the queue actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct QueueUp<J: Send + Sync + 'static>(pub(crate) QueueAddr<J>);

/// A new life of the strategy actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StrategyUp(pub(crate) Recipient<Assign>);

/// The addresses of one life of the result queue.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ResultsUp<J: Send + Sync + 'static, O: Send + 'static> {
    pub(crate) outcomes: Recipient<Outcomes<J, O>>,
    pub(crate) dead_lettered: Recipient<super::DeadLetteredRefs<J>>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Clone for ResultsUp<J, O> {
    fn clone(&self) -> Self {
        Self {
            outcomes: self.outcomes.clone(),
            dead_lettered: self.dead_lettered.clone(),
        }
    }
}

/// What the group shall be. The supervisor makes it so; a restarted one is told the same again.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct Desired {
    /// How many consumers.
    pub(crate) consumers: usize,
    /// The weights that differ from 1.
    pub(crate) weights: BTreeMap<SlotId, Weight>,
    /// No jobs are done while paused.
    pub(crate) paused: bool,
    /// No jobs are leased any more.
    pub(crate) closed: bool,
    /// The supervisor says so whenever it holds nothing.
    pub(crate) draining: bool,
}

/// Asks the supervisor how it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskHealth;

/// The supervisor's part of the group's health.
#[derive(Debug, Clone)]
pub(crate) struct SupervisorHealth {
    pub(crate) slots: Vec<SlotHealth>,
    pub(crate) leased: usize,
    pub(crate) held: HeldCounts,
    pub(crate) circuit: CircuitState,
    pub(crate) bad_choices: u64,
    pub(crate) stale_settles: u64,
    pub(crate) refused_settles: u64,
    /// What the queue said last that it holds, and when.
    pub(crate) queue: Option<(QueueCounts, Moment)>,
}

impl Message for AskHealth {
    type Result = Option<SupervisorHealth>;
}

/// What the supervisor tells the guardian.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) enum Notice {
    /// It holds no lease and the queue has heard of every settle.
    Idle,
    /// It drains, shall have no consumers, and the last one has gone.
    NoConsumers,
    /// One of the group's own actors does not answer and shall be replaced.
    Unresponsive(Role, Cause),
    /// A budget is spent and the policy is to escalate.
    GiveUp(String),
}

/// One of the group's own actors ended.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct RoleDown {
    pub(crate) role: Role,
    pub(crate) life: u64,
    pub(crate) cause: Cause,
}

/// What the group's handle asks of the guardian.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) enum Order {
    /// Be this many consumers.
    Scale(usize),
    /// Give a slot this weight.
    Weigh(SlotId, Weight),
    /// Do no jobs.
    Pause,
    /// Do jobs again.
    Resume,
    /// Take no more jobs, finish what is there, and end: when that is done, or when the deadline is over.
    Drain {
        /// Everything, or only what is leased.
        everything: bool,
        /// Counted from the arrival of this order.
        deadline: Duration,
    },
    /// End one of the group's own actors, to see it come back.
    EndRole(Role),
    /// End.
    Stop,
}
