//! Floor 5, **assembly**: puts the actors together and hands out what users hold: the group, producers, results.
//!
//! Nothing here handles a message.

mod assemble;
mod builder;
mod child;
mod consumer_closure;
mod dead_letters;
mod drain_on;
mod drained;
mod errors;
mod handle;
mod idle;
mod listing;
mod own_producer;
mod producer;
mod results;
mod runner;

pub use builder::{AS_CONFIGURED, GroupBuilder};
pub use child::{GroupChild, GroupHandle, NoGroupError};
#[cfg(feature = "testing")]
pub(crate) use consumer_closure::ConsumerClosure;
pub use dead_letters::DeadLetters;
pub use drained::Drained;
pub use errors::{
    BatchSendError, CallError, SendError, SendErrorKind, StartError, StoppedError, Undelivered,
};
pub use handle::Group;
pub use listing::LookError;
pub use producer::Producer;
pub use results::{ProducerGroup, Results};
pub use runner::GroupRunner;
