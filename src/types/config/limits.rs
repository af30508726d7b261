//! Limits of how often jobs are handed out, and when a group pauses by itself.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many jobs are handed out in a time. Those that are too many wait in the queue, and not with consumers.
///
/// Each delivery counts, retries as well. In numbers: with 10 jobs in a second and a burst of 3, three jobs go at once, and
/// then one every 100 ms; after 300 ms without a job three go at once again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateConfig {
    /// Jobs in one period; at least 1. Absent: there is no limit.
    pub jobs: Option<u32>,
    /// The period; at least a millisecond.
    #[serde(rename = "period_ms", with = "crate::types::time::millis")]
    pub period: Duration,
    /// Jobs that go at once after a rest; at least 1, with which they are evenly spaced.
    pub burst: u32,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self {
            jobs: None,
            period: Duration::from_millis(1_000),
            burst: 1,
        }
    }
}

/// When the group pauses by itself, because what its jobs need is out of order.
///
/// ```text
///            so many failures within the window        the pause is over
///   closed ─────────────────────────────────▶ open ─────────────────────▶ probing
///     ▲                                        ▲                           │  │
///     │                                        └────── the job fails ──────┘  │
///     └──────────────────────────── the job is done, or rejected ─────────────┘
/// ```
///
/// An attempt that failed counts, and so does a consumer that died; a job that was rejected does not: it is wrong itself, and
/// what it needs was there to say so. While the circuit is open nothing is handed out, and consumers finish what they hold.
/// Probing, one job is handed out at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CircuitConfig {
    /// Failures that open the circuit; at least 1. Absent: the group never pauses by itself.
    pub failures: Option<u32>,
    /// The time within which they count together; at least a millisecond.
    #[serde(rename = "window_ms", with = "crate::types::time::millis")]
    pub window: Duration,
    /// How long the group pauses before it tries one job; at least a millisecond.
    #[serde(rename = "pause_ms", with = "crate::types::time::millis")]
    pub pause: Duration,
}

impl Default for CircuitConfig {
    fn default() -> Self {
        Self {
            failures: None,
            window: Duration::from_millis(10_000),
            pause: Duration::from_millis(30_000),
        }
    }
}
