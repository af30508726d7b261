//! s
mod check;
mod history;
mod plan;
mod run;
mod stock;
mod world;

pub use check::{Checker, Violation, check};
pub use history::{Attempt, End, Entry, Happening, History, PlannedFault, SentJob};
pub use plan::{Fault, FaultKind, Plan, PlanError, PlannedJob, When};
pub use run::{RunError, Simulation};
pub use stock::{PlanShape, stock};

/// A word for the history of the run in which this code runs, for invariants of your own. Nothing outside of a run.
pub fn note(text: impl FnOnce() -> String) {
    crate::protocol::faults::note(text);
}
