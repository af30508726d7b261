//! What every life of the supervisor is given: it stays the same as long as the group exists.

use std::sync::Arc;

use actix::Recipient;

use crate::actors::consumer::ConsumerMaker;
use crate::actors::dead_letter_store::DeadLetterStore;
use crate::actors::results::Mailboxes;
use crate::actors::{Clock, EventBus};
use crate::protocol::{DeadLetteredJobs, Notice, OwnGroup, QueueNews, SinkFactory};
use crate::rules::backoff::Backoff;
use crate::types::{Capabilities, Epoch, GroupConfig};

/// The parts of a group that outlive its supervisor.
pub(crate) struct GroupContext<J: Send + Sync + 'static, O: Send + 'static> {
    pub(crate) config: GroupConfig,
    /// The seed of all random choices.
    pub(crate) seed: u64,
    pub(crate) capabilities: Capabilities,
    pub(crate) maker: Box<dyn ConsumerMaker<J, O>>,
    pub(crate) clock: Clock,
    /// The greatest epoch that attached to the queue before this group.
    pub(crate) earlier: Epoch,
    pub(crate) bus: EventBus,
    /// Where outcomes end up, whatever happens to the result queue.
    pub(crate) mailboxes: Arc<Mailboxes<J, O>>,
    /// The group's own dead letters, if the queue has none.
    pub(crate) dead_letter_store: Option<Arc<DeadLetterStore<J>>>,
    /// The group as its consumers reach it.
    pub(crate) own: OwnGroup,
    /// Whether jobs leave a consumer that does not move for one that has room.
    pub(crate) recalls: bool,
    /// The wait of a job after a failure that its consumer reported.
    pub(crate) retry_backoff: Backoff,
    /// Where outcomes go that are waited for outside of this process, if anywhere.
    pub(crate) make_sink: Option<SinkFactory<O>>,
    /// The guardian, for notices.
    pub(crate) guardian: Recipient<Notice>,
    /// The guardian, for what the queue tells.
    pub(crate) tell: Recipient<QueueNews>,
    /// The guardian, for the jobs that the queue gave up.
    pub(crate) dead_lettered: Recipient<DeadLetteredJobs<J>>,
}
