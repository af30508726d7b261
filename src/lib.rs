//! Consumer groups as actors on actix.

pub mod words;

pub mod rules;

pub mod protocol;

pub mod actors;

mod group;

pub use actors::queue::{ActorQueue, MemoryQueue, queue_of};
pub use actors::{BatchSize, Events};
pub use group::{
    BatchSendError, CallError, DeadLetters, Drained, Group, GroupBuilder, GroupGone, Producer, ProducerGroup,
    Results, SendError, StartError, Undelivered, Unsent,
};

#[cfg(feature = "config-file")]
mod config_file;

#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "config-file")]
pub use config_file::ConfigFileError;
pub use protocol::{BatchConsumer, Consumer, ConsumerActor, ConsumerInfo, Deliver, Delivery};
pub use rules::store::Store;
pub use rules::strategies::{AssignJob, Choice, Chooser, strategy_fn};
pub use words::*;

/// The code of the README is compiled and run with the other examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadmeDoctests;
