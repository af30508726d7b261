//! The outbox: what a consumer sends on, exactly once within Kafka.
//!
//! ```text
//! consume ──▶ process ──▶ put into the outbox ──▶ Ok ──▶ one transaction: the outputs, and the commit of the job
//! ```
//!
//! What an attempt puts there counts with the job: if the attempt fails, or its partition goes to another member before the
//! transaction, nobody ever sees it.

use std::sync::{Arc, Weak};

use consumer_group::queue::Origin;

use crate::core::Core;

/// A record that goes out with the commit of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// To which topic.
    pub topic: String,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// What it carries; none is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Why an output cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// [`KafkaConfig::transactions`](crate::KafkaConfig::transactions) is not set.
    #[error("the queue makes no transactions")]
    NoTransactions,
    /// The job is not at work here any more: its partition went to another member, which does it once more.
    #[error("the job belongs to another member by now")]
    NotOurs,
}

/// Takes what consumers send on. Clones are the same outbox.
pub struct Outbox<J: Send + Sync + 'static> {
    core: Weak<Core<J>>,
}

impl<J: Send + Sync + 'static> Outbox<J> {
    pub(crate) fn of(core: &Arc<Core<J>>) -> Self {
        let core = Arc::downgrade(core);
        Self { core }
    }

    /// Puts an output to a job, which is that of the [`origin`](consumer_group::Delivery::origin) of its delivery. Outputs of one
    /// job keep their order.
    ///
    /// # Errors
    /// There are no transactions, or the job is not at work here any more; then it is best to end the attempt.
    pub fn put(&self, origin: &Origin, output: Output) -> Result<(), OutboxError> {
        let core = self.core.upgrade().ok_or(OutboxError::NotOurs)?;
        if core.config.transactions.is_none() {
            return Err(OutboxError::NoTransactions);
        }
        let partition = i32::try_from(origin.lane.number).map_err(|_| OutboxError::NotOurs)?;
        let offset = i64::try_from(origin.position).map_err(|_| OutboxError::NotOurs)?;
        core.operate(|partitions| {
            let lane = partitions.find(&origin.lane.source, partition)?;
            let partition = partitions.get_mut(lane)?;
            // The same partition may have gone and come back meanwhile, with the job in the hands of another consumer.
            let held = match partition.lane.fence() == origin.fence {
                true => partition.lane.at_offset(offset)?,
                false => return None,
            };
            held.outputs.push(output);
            Some(())
        })
        .ok_or(OutboxError::NotOurs)
    }
}

impl<J: Send + Sync + 'static> Clone for Outbox<J> {
    fn clone(&self) -> Self {
        let core = Weak::clone(&self.core);
        Self { core }
    }
}

impl<J: Send + Sync + 'static> std::fmt::Debug for Outbox<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}
