//! Waits that grow, and what a file leaves out of them.

use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

/// A wait that grows: the nth wait is `min · factor^n`, spread by the jitter, never below `min` and never above `max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BackoffConfig {
    /// The first wait. Zero means that the first wait is none at all and the second is one millisecond.
    #[serde(rename = "min_ms", with = "crate::types::time::millis")]
    pub min: Duration,
    /// The longest wait. The jitter never exceeds it.
    #[serde(rename = "max_ms", with = "crate::types::time::millis")]
    pub max: Duration,
    /// By how much each wait exceeds the one before; at least 1.
    pub factor: f64,
    /// The part of a wait, from 0 to 1, by which it is shortened or lengthened at random.
    pub jitter: f64,
}

/// The default of `retry.backoff`.
pub(super) const RETRY_BACKOFF: BackoffConfig = BackoffConfig {
    min: Duration::from_millis(100),
    max: Duration::from_millis(30_000),
    factor: 2.0,
    jitter: 0.2,
};

/// The default of `restart.backoff`.
pub(super) const RESTART_BACKOFF: BackoffConfig = BackoffConfig {
    min: Duration::ZERO,
    max: Duration::from_millis(500),
    factor: 2.0,
    jitter: 0.2,
};

/// The default of a supervisor's `backoff`: none, as in OTP. One that states only its maximum grows from a millisecond.
pub(in crate::types) const NO_BACKOFF: BackoffConfig = BackoffConfig {
    min: Duration::ZERO,
    max: Duration::ZERO,
    factor: 2.0,
    jitter: 0.2,
};

/// A backoff of which a file states only a part. What it leaves out depends on where the backoff stands, so the type
/// itself has no default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartialBackoff {
    min_ms: Option<u64>,
    max_ms: Option<u64>,
    factor: Option<f64>,
    jitter: Option<f64>,
}

impl PartialBackoff {
    fn over(self, default: BackoffConfig) -> BackoffConfig {
        BackoffConfig {
            min: self.min_ms.map_or(default.min, Duration::from_millis),
            max: self.max_ms.map_or(default.max, Duration::from_millis),
            factor: self.factor.unwrap_or(default.factor),
            jitter: self.jitter.unwrap_or(default.jitter),
        }
    }
}

pub(super) fn retry_backoff<'de, D: Deserializer<'de>>(from: D) -> Result<BackoffConfig, D::Error> {
    Ok(PartialBackoff::deserialize(from)?.over(RETRY_BACKOFF))
}

pub(super) fn restart_backoff<'de, D: Deserializer<'de>>(from: D) -> Result<BackoffConfig, D::Error> {
    Ok(PartialBackoff::deserialize(from)?.over(RESTART_BACKOFF))
}

pub(in crate::types) fn supervisor_backoff<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BackoffConfig, D::Error> {
    Ok(PartialBackoff::deserialize(from)?.over(NO_BACKOFF))
}
