//! Consumer groups as actors on actix.

pub mod actors;
pub mod protocol;
pub mod rules;
pub mod words;

pub use protocol::{BatchConsumer, Consumer, ConsumerActor, ConsumerInfo, Deliver, Delivery};
pub use words::*;
