//! The desk at which the rig hears of the queue.

use actix::{Actor, Context, Handler, MessageResult};
use tokio::sync::mpsc::UnboundedSender;

use crate::protocol::{Batch, DeadLetteredJobs, QueueNews, Revoke};

use crate::types::{DeadLetter, Released};

/// Hears what the queue says.
pub(super) struct Desk {
    pub(super) batches: UnboundedSender<Batch<u64>>,
    pub(super) dead: UnboundedSender<DeadLetter<u64>>,
}

impl Actor for Desk {
    type Context = Context<Self>;
}

impl Handler<Batch<u64>> for Desk {
    type Result = ();

    fn handle(&mut self, batch: Batch<u64>, _: &mut Context<Self>) {
        // An error means that the check has ended.
        let _ = self.batches.send(batch);
    }
}

impl Handler<Revoke> for Desk {
    type Result = MessageResult<Revoke>;

    fn handle(&mut self, _: Revoke, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Released::default())
    }
}

impl Handler<QueueNews> for Desk {
    type Result = ();

    fn handle(&mut self, _: QueueNews, _: &mut Context<Self>) {}
}

impl Handler<DeadLetteredJobs<u64>> for Desk {
    type Result = ();

    fn handle(&mut self, dead_lettered: DeadLetteredJobs<u64>, _: &mut Context<Self>) {
        for letter in dead_lettered.dead {
            // An error means that the check has ended.
            let _ = self.dead.send(letter);
        }
    }
}
