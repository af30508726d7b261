//! Queues: those that are there, and what you need for one of your own.
//!
//! | you have | you write | the group gets it by |
//! |---|---|---|
//! | nothing special | nothing | [`MemoryQueue`] |
//! | a data structure | a type that implements [`Store`] | [`queue_of`] |
//! | a broker, a socket, a file | an actor that is a [`QueueActor`] | [`ActorQueue`] |
//!
//! ```text
//! QueueSource ──create──▶ StoreQueue (an actor; may die)
//!      │                      │
//!      └────────▶ QueueCore ◀─┘   (the store, the room, the epoch; outlives every actor over it)
//! ```
//!
//! The rules that such a queue keeps to, with code, stand in `docs/extending.md`.

pub use crate::actors::Clock;
pub use crate::actors::queue::{
    ActorQueue, MemoryQueue, QueueCore, QueueRest, QueueRoom, QueueShell, QueueSource, StoreQueue,
    StoreSource, Wake, queue_of,
};
pub use crate::protocol::{
    Attach, AttachError, Attached, Batch, Command, DeadLetteredJobs, Demand, Handover, Later, Push, Pushed,
    QueueActor, QueueCommand, QueueNews, QueueReply, Reply, ResultSink, Revoke, Settle, SettleReply,
};
pub use crate::rules::store::{
    Admission, Asking, Bound, DeadSelection, LeaseTable, Leased, MemoryStore, News, Refusal, Refused,
    RefusedSettle, SettleRefusal, Settled, Store,
};
pub use crate::types::{
    AckedPlaces, Arrival, Begin, Block, Capabilities, Epoch, HeaderValue, Headers, JobCursor, JobPage,
    JobQuery, JobRecord, JobRef, JobState, Lane, LeaseId, Origin, Places, Rejection, Released, Renewal,
    ReplyAddress, ReplyTo, Retry, RevokeKind, Revoked, Run, SettleItem, UnreadableJob, Verdict,
};
