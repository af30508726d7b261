//! Floor 5, **assembly**: puts the actors together and hands out what users hold: the group, producers, results.
//!
//! Nothing here handles a message.

mod builder;
mod child;
mod dead_letters;
mod errors;
mod handle;
mod producer;
mod results;

#[cfg(feature = "testing")]
pub(crate) use builder::ConsumerClosure;
pub use builder::GroupBuilder;
pub use child::{GroupChild, GroupHandle, GroupRunner, NoGroupError};
pub use dead_letters::DeadLetters;
pub use errors::{
    BatchSendError, CallError, SendError, SendErrorKind, StartError, StoppedError, Undelivered,
};
pub use handle::{Drained, Group};
pub use producer::Producer;
pub use results::{ProducerGroup, Results};
