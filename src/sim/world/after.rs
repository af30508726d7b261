//! What a fault waits for, and what it does beyond the state of its world.

use std::sync::Arc;
use std::time::Duration;

use super::cells::Thread;
use super::host::Ends;
use crate::protocol::faults::{BrokerFault, Seen, WorldBroker};

/// A fault that waits for its moment within a delivery. It has not happened before that comes.
#[derive(Clone, Copy)]
pub(super) struct Armed {
    pub(super) fault: usize,
    pub(super) cell: Option<u64>,
    pub(super) seen: Seen,
}

/// What a fault does beyond the state: carried out without the lock.
pub(super) enum After {
    Nothing,
    Thaw(usize, Duration),
    Jump(Duration),
    GoOn(usize, Duration, Vec<Thread>),
    EndHost(Ends),
    /// Something happens to the broker, and is over so much later.
    Broker(usize, Arc<dyn WorldBroker>, BrokerFault, Duration),
}
