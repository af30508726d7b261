//! Faults on purpose, feature `sim`: seeded, replayable, checked, shrunk, drawn.
//!
//! ```toml
//! [dev-dependencies]
//! consumer-group = { version = "0.1", features = ["sim"] }
//! ```
//!
//! | you want to | use |
//! |---|---|
//! | say what is sent and what goes wrong | [`Plan`], [`When`], [`FaultKind`] |
//! | run your group under it, again and again the same | [`Simulation`] |
//! | see what happened | [`History`], [`Report`], [`draw`] |
//! | know whether the promises held | [`check`], [`Checker`] |
//! | try thousands of plans | [`PlanShape`], [`Sweep`], [`Reached`] |
//! | make a failing plan small, and keep it as a test | [`Sweep::shrink`], [`shrink`], [`Plan::to_rust_test`] |
//!
//! The world of a run meets the group at a few seams (`protocol::faults`), which are compiled with this feature only: before a
//! cell is polled, before and after the work of a consumer, where settles and leases pass, where arbiters are made, where the
//! clock is read. Everything else is the group of production.

mod check;
mod course;
mod coverage;
mod fault;
mod history;
mod host;
mod names;
mod own_thread;
mod patience;
mod plan;
mod plan_shape;
mod print;
mod remote;
mod report;
mod run;
mod run_error;
mod shrink;
mod stock;
mod sweep;
mod timeline;
mod world;

pub use check::{Checker, Violation, check};
pub use coverage::{Reached, STATES};
pub use fault::{Fault, FaultKind, PlanError, When};
pub use history::{Answer, Attempt, End, Entry, History, Occurrence, PlannedFault, SentJob};
pub use plan::{Plan, PlannedJob};
pub use plan_shape::PlanShape;
pub use remote::{RemoteQueue, RemoteQueueActor};
pub use report::{FaultLine, Report};
pub use run::Simulation;
pub use run_error::RunError;
pub use shrink::{Shrunk, shrink};
pub use stock::stock;
pub use sweep::{Failure, Sweep, Swept};
pub use timeline::draw;

pub use crate::rules::ledger::{Plant, PlantedIn};

/// The code of the guide is compiled and run with the other examples of the documentation.
#[cfg(all(doctest, feature = "durable"))]
#[doc = include_str!("../../docs/fault-injection.md")]
pub struct FaultInjectionDoctests;

/// A word for the history of the run in which this code runs, for invariants of your own. Nothing outside of a run.
pub fn note(text: impl FnOnce() -> String) {
    crate::protocol::faults::note(text);
}
