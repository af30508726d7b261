//! Revoking: the queue takes leases back before they are settled.

use std::time::Duration;

use super::{Lane, LeaseId};

/// Which leases a queue takes back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// All of them.
    All,
    /// Those of jobs that came by this lane.
    Lane(Lane),
    /// These. Of jobs that were leased together, each by the name of its place ([`LeaseId::of_place`]).
    Leases(Vec<LeaseId>),
}

/// How a queue takes leases back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevokeKind {
    /// They are over: the link broke, or a broker gave the jobs to others. Nothing that is said of them counts any more.
    Lost,
    /// They have to be given back. What has begun may be finished and settled within this time; what is left then is lost.
    Drain {
        /// Counted from the arrival of the word.
        within: Duration,
    },
}

/// What became of leases that a queue took back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Released {
    /// Jobs that had not begun and are forgotten.
    pub waiting: usize,
    /// Jobs that a consumer is at work on and whose end will not be told.
    pub fenced: usize,
}
