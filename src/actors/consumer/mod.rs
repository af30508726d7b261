//! Consumers: how one is made, and the stock shells in which types that are no actors live.

mod batch_worker;
mod inbox;
mod maker;
mod outbox;
mod pace;
mod shell;
mod worker;

pub use batch_worker::BatchSize;
pub(crate) use maker::{ActorMaker, BatchMaker, ConsumerMaker, ShellMaker, SpawnParams};
