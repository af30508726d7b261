//! Why a plan was not run, or not run to be trusted.

use super::fault::PlanError;

use crate::group::StartError;

/// A run that could not be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The plan is impossible.
    #[error("the plan cannot be: {0}")]
    Plan(#[from] PlanError),
    /// The group did not start.
    #[error("the group did not start: {0}")]
    Start(#[from] StartError),
    /// The operating system has no more resources.
    #[error("a runtime could not be made: {0}")]
    Runtime(#[source] std::io::Error),
    /// A simulated run touched a thread that is no part of it, so it may not repeat itself.
    #[error(
        "{actor} was woken from a foreign thread after {after} entries; such a run does not repeat itself"
    )]
    ForeignThread {
        /// Which actor.
        actor: String,
        /// How much of the history was written by then.
        after: usize,
    },
    /// What went wrong with a seed of a sweep.
    #[error("seed {seed}: {error}")]
    Seed {
        /// The seed.
        seed: u64,
        /// What it was.
        #[source]
        error: Box<Self>,
    },
    /// Two runs of one plan differ.
    #[error("two runs of one plan differ at entry {index}: {first} and {second}")]
    Differs {
        /// The place in the history.
        index: usize,
        /// What the first run has there.
        first: String,
        /// What the second run has there.
        second: String,
    },
}
