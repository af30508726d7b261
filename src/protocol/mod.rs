//! Floor 3, **protocol**: every message that the actors exchange, and the roles that users can fill.
//!
//! No handler body stands here. Who writes an actor of their own needs this floor and nothing above it.

mod consumer;
mod deliver;
mod delivery;
mod desk;
#[doc(hidden)]
pub mod faults;
mod handover;
mod inside;
mod queue;
mod response;
mod results;
mod strategy;
mod supervisor;

pub use consumer::{BatchConsumer, Consumer, ConsumerActor};
pub use deliver::{Deliver, DeliverBatch};
pub(crate) use delivery::Now;
pub use delivery::{ConsumerInfo, Delivery, Parcel, SlotBoard};
pub use desk::{DonePlaces, SettleDesk, SettledDelivery, Settlement, SettlesWaiting, Work};
pub use handover::Handover;
pub(crate) use inside::{inside_cell, mark_inside_cell};
pub use queue::{
    Attach, AttachError, Attached, Batch, Command, Demand, Fates, Push, Pushed, QueueActor, QueueCommand,
    QueueReply, Settle, SettleReply, Tell,
};
pub(crate) use results::SealedFates;
pub use results::{AddressedOutcome, Outcomes};
pub use strategy::{Assign, Assigned, StrategyActor};
pub(crate) use supervisor::{
    AskHealth, ConsumerDown, ConsumerUp, Desired, Door, Notice, Order, QueueDoor, QueueUp, ResultsUp,
    RoleDown, StrategyUp, SupervisorHealth,
};
