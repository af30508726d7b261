//! What a supervisor hears of its children.

use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, Message, Recipient};

use crate::rules::supervision::ChildNumber;
use crate::types::{Cause, Down};

/// A life takes messages.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct ChildUp {
    pub(super) child: ChildNumber,
    pub(super) life: u64,
}

/// A life has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct ChildDown {
    pub(super) child: ChildNumber,
    pub(super) down: Arc<Down>,
}

/// Something is wrong with a life that its cell cannot see: it shall be ended for this cause.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct LifeFault {
    pub(super) child: ChildNumber,
    pub(super) life: u64,
    pub(super) cause: Cause,
}

/// Where a life reports to. Made once by each life of a supervisor and shared by all of its children: an address of its own
/// for each of them would be several allocations.
pub(super) struct Reports {
    pub(super) up: Recipient<ChildUp>,
    pub(super) down: Recipient<ChildDown>,
    pub(super) faults: Recipient<LifeFault>,
}

impl Reports {
    pub(super) fn to<S>(supervisor: Addr<S>) -> Arc<Self>
    where
        S: Actor<Context = Context<S>> + Handler<ChildUp> + Handler<ChildDown> + Handler<LifeFault>,
    {
        Arc::new(Self {
            up: supervisor.clone().recipient(),
            down: supervisor.clone().recipient(),
            faults: supervisor.recipient(),
        })
    }
}
