//! The testing kit, feature `testing`: for tests of applications and of custom parts.
//!
//! ```toml
//! [dev-dependencies]
//! consumer-group = { version = "0.1", features = ["testing"] }
//! ```
//!
//! | you want to | use |
//! |---|---|
//! | see which deliveries a group makes, and script what becomes of them | [`Probe`] |
//! | call a consumer of your own without a group | [`delivery`], [`deliver`] |
//! | hold consumers at a point, look, and let them go on | [`Gate`] |
//! | decide by hand when jobs are leased, and see every verdict | [`ManualQueue`] |
//! | end one of the group's own actors, and see that no job is lost | [`end_role`] |
//! | run a test in which time moves only when everybody waits | [`paused`] |
//! | know that a custom queue, strategy or consumer keeps its promises | [`conformance`] |
//!
//! Nothing here sleeps to see what happens: a test waits for the very thing (`until_begun`, `until_waiting`,
//! `next_settle`), so it is fast and never flaky.
//!
//! The feature switches tokio's `test-util` on, for the paused clock; so name it under `[dev-dependencies]` only.

pub mod conformance;
mod gate;
mod made;
mod manual_queue;
mod probe;
mod runtime;

pub use gate::Gate;
pub use made::{Settled, SettledOf, deliver, delivery};
pub use manual_queue::{ManualQueue, ManualQueueActor, SeenSettle, SettleAnswers};
pub use probe::{Act, Entry, Probe, ProbeConsumer, Seen, Step};
pub use runtime::paused;

use crate::group::Group;
use crate::types::Role;

/// Ends one of the group's own actors, as a fault would. The guardian starts it again and no job is lost: try it.
pub fn end_role<J: Send + Sync + 'static, O: Send + 'static>(group: &Group<J, O>, role: Role) {
    group.end_role(role);
}

/// The code of the chapter is compiled and run with the other examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../docs/testing.md")]
pub struct TestingDoctests;
