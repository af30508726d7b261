//! Floor 4, **actors**: thin shells around the rules. Siblings meet only in the protocol.

mod arbiter;
pub(crate) mod arbiter_pool;
pub(crate) mod cell;
mod clock;
pub(crate) mod consumer;
pub(crate) mod dead_letter_store;
mod events;
mod fair_time;
pub(crate) mod guardian;
pub(crate) mod host;
mod host_end;
mod host_errors;
pub(crate) mod intake;
pub mod queue;
pub(crate) mod results;
#[cfg(feature = "signals")]
mod signals;
mod strategy;
pub mod supervision;
pub(crate) mod supervisor;

pub use arbiter::NoArbiter;
pub(crate) use arbiter::check_arbiter;
pub use clock::Clock;
pub(crate) use clock::instant_after;
pub use consumer::BatchSize;
pub use events::{EventBus, Events};
pub use host::{Host, HostBuilder};
pub(crate) use host_end::{Drained, Resident};
pub use host_errors::{HostRunError, HostStartError};
#[cfg(feature = "signals")]
pub use signals::{Signals, SignalsError};
pub use strategy::StrategyShell;
