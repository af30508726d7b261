//! s
mod check;
mod history;
mod plan;
mod reached;
mod report;
mod run;
mod shrink;
mod stock;
mod sweep;
mod timeline;
mod world;

pub use check::{Checker, Violation, check};
pub use history::{Attempt, End, Entry, Happening, History, PlannedFault, SentJob};
pub use plan::{Fault, FaultKind, Plan, PlanError, PlannedJob, When};
pub use reached::{Reached, STATES};
pub use report::{FaultLine, Report};
pub use run::{RunError, Simulation};
pub use shrink::{Shrunk, shrink};
pub use stock::{PlanShape, stock};
pub use sweep::{Failure, Sweep, Swept};
pub use timeline::draw;

/// A word for the history of the run in which this code runs, for invariants of your own. Nothing outside of a run.
pub fn note(text: impl FnOnce() -> String) {
    crate::protocol::faults::note(text);
}
