//! Floor 1, **words**: the plain data that every other floor speaks about.
//!
//! Nothing here knows an actor, a clock or a broker; a value of this floor can be printed, compared and sent anywhere.

mod arrival;
mod arrival_runs;
mod begun;
mod block;
mod capabilities;
#[cfg(test)]
pub(crate) mod cases;
mod config;
mod dead_letter;
mod event;
mod failure;
mod few;
mod guarded;
mod health;
mod host;
mod id;
pub(crate) mod invariant;
mod job;
mod job_ref;
mod key;
mod lane;
mod listing;
mod open_block;
mod place;
mod places;
mod revoke;
mod roster;
mod spares;
mod supervision;
mod text;
mod text_of;
mod time;
mod tree;
mod unreadable_job;
mod verdict;

pub use arrival::{Arrival, HeaderValue, Headers, Origin, ReplyAddress};
pub use block::{AckedPlaces, Block};
pub use capabilities::Capabilities;
pub(crate) use config::MOST_CONSUMERS;
#[cfg(feature = "config-file")]
pub(crate) use config::range_of;
pub use config::{
    Affinity, BackoffConfig, CircuitConfig, ConfigError, GroupConfig, Overflow, PastBudget, Placement,
    QueueConfig, RateConfig, RestartConfig, RetryConfig, StrategyKind, WindowConfig,
};
pub use dead_letter::{AttemptRecord, DeadLetter, DeadReason};
pub use event::{Event, EventKind, Role};
pub use failure::{Advice, Cause, Failure, PanicReport, WriteFailure};
pub use guarded::Guarded;
pub(crate) use guarded::{call_guarded, caught, drop_guarded, is_nested_panic, panic_message, wake_guarded};
pub use health::{
    CircuitState, GroupState, Health, HeldCounts, LinkState, QueueCounts, QueueState, SlotHealth, SlotState,
};
pub(crate) use host::write_unfinished;
pub use host::{HostReport, LeftOnHost};
pub use id::{
    DeliveryNumber, Epoch, FencingToken, Incarnation, JobId, LeaseId, ParseJobIdError, ReplyTo, SlotId,
    Ticket,
};
pub use job::{Job, Priority};
pub use job_ref::{JobRef, Run};
pub(crate) use job_ref::{JobView, Owned};
pub use key::{Key, KeyHash};
pub use lane::Lane;
pub use listing::{JobCursor, JobPage, JobQuery, JobRecord, JobState};
pub(crate) use open_block::OpenBlock;
pub use place::PayloadRef;
pub use places::Places;
pub use revoke::{Released, RevokeKind, Revoked};
pub use roster::{Roster, Seat, Weight};
pub use supervision::{AutoShutdown, Restart, RestartReach, Shutdown, SupervisorConfig};
pub(crate) use text_of::text_of;
pub use time::Moment;
#[cfg(feature = "durable")]
pub(crate) use time::as_millis;
pub use tree::{ChildCounts, ChildKind, ChildState, Down, Ending, TreeEvent, TreeNode};
pub use unreadable_job::UnreadableJob;
pub use verdict::{Begin, Outcome, Rejection, Renewal, Retry, SettleItem, Verdict};
