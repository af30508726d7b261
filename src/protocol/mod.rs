//! Floor 3, **protocol**: every message that the actors exchange, and the roles that users can fill.
//!
//! No handler body stands here. Who writes an actor of their own needs this floor and nothing above it.

mod consumer;
mod consumer_info;
mod deliver;
mod delivery;
#[doc(hidden)]
pub mod faults;
mod handover;
mod inside_cell;
mod own_group;
mod queue;
mod queue_command;
mod response;
mod result_sink;
mod results;
mod settle_queue;
mod strategy;
mod supervisor;

pub use consumer::{BatchConsumer, Consumer, ConsumerActor};
pub(crate) use consumer_info::Now;
pub use consumer_info::{ConsumerInfo, Heartbeat};
pub use deliver::{Deliver, DeliverBatch};
pub use delivery::{Delivery, Parcel};
pub use handover::Handover;
pub(crate) use inside_cell::{inside_cell, mark_inside_cell};
pub(crate) use own_group::{ConsumerWaits, OwnGroup, OwnWait, OwnWaits, wait_for_group};
pub use queue::{
    Attach, AttachError, Attached, Batch, DeadLetteredJobs, Demand, Push, Pushed, QueueActor, QueueNews,
    Revoke, Settle, SettleReply,
};
pub use queue_command::{Command, QueueCommand, QueueReply};
pub use response::Later;
pub(crate) use result_sink::{AnyResultSink, Sink, SinkFactory};
pub use result_sink::{Reply, ResultSink};
pub(crate) use results::DeadLetteredRefs;
pub use results::{AddressedOutcome, Outcomes};
pub use settle_queue::{DonePlaces, SettleQueue, SettledDelivery, Settlement, SettlesQueued, Work};
pub use strategy::{Assign, Assigned, StrategyActor};
pub(crate) use supervisor::{
    AskHealth, ConsumerAddr, ConsumerDown, ConsumerUp, Desired, Notice, Order, QueueAddr, QueueUp, ResultsUp,
    RoleDown, StrategyUp, SupervisorHealth,
};
