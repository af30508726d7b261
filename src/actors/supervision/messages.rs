//! What a supervisor hears of its children.

use std::sync::Arc;

use actix::Message;

use crate::rules::supervision::ChildNumber;
use crate::words::{Cause, Down};

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
