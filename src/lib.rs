//! Consumer groups as actors on actix.

pub mod words;

pub mod rules;

pub mod protocol;

pub mod actors;

mod group;

pub use actors::queue::MemoryQueue;
pub use actors::{BatchSize, Events};
pub use group::{
    BatchSendError, CallError, DeadLetters, Drained, Group, GroupBuilder, GroupGone, Producer, ProducerGroup,
    Results, SendError, StartError, Undelivered, Unsent,
};
pub use protocol::{BatchConsumer, Consumer, ConsumerActor, ConsumerInfo, Deliver, Delivery};
pub use words::*;
