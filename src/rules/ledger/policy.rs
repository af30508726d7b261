//! What a ledger is told once.

use std::time::Duration;

use crate::types::WindowConfig;

/// What the ledger is told once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LedgerPolicy {
    /// How often a job is tried; at least 1.
    pub attempts: u32,
    /// Whether jobs of one key are kept in order.
    pub order_by_key: bool,
    /// The longest wait of a retry that goes back to the queue; with a longer one the job keeps its lease, as the queue knows no
    /// such delays or counts no attempts. Jobs whose order is kept always do, so that nothing of their key overtakes them.
    pub longest_retry: Duration,
    /// How many entries may wait for a consumer that has no room, past which nothing more is leased.
    pub hold: usize,
    /// How many entries may wait behind another one of their key, or for their retry, past which nothing more is leased.
    pub hold_waiting: usize,
    /// The prefetch window of each slot.
    pub window: WindowConfig,
    /// The first roster version. A strategy outlives supervisors and must never see a version twice, so each life of the
    /// supervisor begins beyond those of its predecessors.
    pub first_version: u64,
    /// The first delivery number, at least 1. A job remembers the number of the delivery that it was begun in, so each life
    /// of the supervisor begins beyond those of its predecessors here as well.
    pub first_number: u64,
}
