//! The stock queue actor: a [`Store`](crate::queue::Store) behind the queue protocol.
//!
//! ```text
//! QueueSource ──create──▶ StoreQueue (an actor; may die)
//!      │                      │
//!      └────────▶ QueueCore ◀─┘   (the store, the room, the epoch; outlives every actor over it)
//! ```
//!
//! | you have | you give the group |
//! |---|---|
//! | nothing special | [`MemoryQueue`] |
//! | a plain data structure that implements `Store` | [`queue_of`] |
//! | a queue actor of your own | [`ActorQueue`] |

mod actor;
mod core;
mod room;
mod shell;
mod source;

#[cfg(test)]
mod tests;

pub use self::actor::StoreQueue;
pub use self::core::{QueueCore, QueueRest};
#[cfg(feature = "durable")]
pub(crate) use self::room::Account;
pub use self::room::QueueRoom;
pub use self::shell::{QueueShell, Wake};
pub use self::source::{ActorQueue, MemoryQueue, QueueSource, StoreSource, queue_of};
