//! The configuration of a group: one serde type, with the bounds that make sense.

mod backoff;
mod bounds;
mod choices;
mod error;
mod limits;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use backoff::BackoffConfig;
pub(super) use backoff::{NO_BACKOFF, supervisor_backoff};
#[cfg(feature = "config-file")]
pub(crate) use bounds::range_of;
pub use choices::{Affinity, Overflow, PastBudget, Placement, StrategyKind};
pub use error::ConfigError;
pub use limits::{CircuitConfig, RateConfig};

use backoff::{RESTART_BACKOFF, RETRY_BACKOFF, restart_backoff, retry_backoff};

/// The largest number of consumers that a group may have.
pub(crate) const MOST_CONSUMERS: usize = 1_000_000;

/// Everything about a group that is a number or a name. The parts that are code (consumers, custom strategies, custom
/// queues) go to the builder.
///
/// Every field has a default, so a file states only what differs. A file names times with their unit, `deadline_ms`, and in whole numbers of
/// it; what is finer is cut there.
///
/// ```
/// let config = consumer_group::GroupConfig { consumers: 8, ..Default::default() };
/// assert!(config.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupConfig {
    /// How many consumers the group starts with; 0 to 1,000,000. With 0 the jobs wait until the group is scaled up.
    pub consumers: usize,
    /// Where consumers live.
    pub placement: Placement,
    /// The built-in strategy to use, unless the builder is given one.
    pub strategy: StrategyKind,
    /// Whether a job waits for the consumer that the strategy chose. Absent: strict with the strategies `consistent_hash` and
    /// `sticky`, and prefer with all others, those of your own included.
    pub affinity: Option<Affinity>,
    /// The weights of the slots, first to last, for strategies that use them; slots beyond the list weigh 1. At most one
    /// weight for each consumer.
    pub weights: Vec<u32>,
    /// Whether jobs of one key are kept in order and never with two consumers at once.
    pub order_by_key: bool,
    /// The seed of every random choice of the group (jitter, two choices). Absent: a new one at each start.
    pub seed: Option<u64>,
    /// The built-in queue. A queue that the builder is given has bounds of its own; of these values it uses only
    /// `dead_letters`, `dead_letter_bytes` and `history`, and only if it keeps no dead letters itself.
    pub queue: QueueConfig,
    /// The prefetch window.
    pub window: WindowConfig,
    /// What happens to a job that failed.
    pub retry: RetryConfig,
    /// What happens to a consumer that died.
    pub restart: RestartConfig,
    /// How often jobs are handed out, all together.
    pub rate: RateConfig,
    /// How often jobs of one key are handed out, each key for itself. Jobs without a key are not limited by it. Those that are
    /// too many are leased and wait in the group, as those that wait for their retry.
    pub key_rate: RateConfig,
    /// When the group pauses by itself.
    pub circuit: CircuitConfig,
    /// A consumer that holds deliveries and makes no progress for so long is replaced, and what it had begun is a failure; zero
    /// turns this off. Progress is a delivery that was settled, or a sign of life.
    #[serde(rename = "deadline_ms", with = "crate::types::time::millis")]
    pub deadline: Duration,
    /// Leased jobs that may wait for a consumer that is full; past it nothing more is leased, which is an event and stands in
    /// the health view. Those that wait for their key or for their retry stop nobody: they are bounded by `queue.capacity`. Only
    /// with a queue that has no delays of its own `hold` is their limit as well, counted apart. Jobs that the strategy holds
    /// back do not count here; they take up room.
    pub hold: usize,
    /// Outcomes of one producer group that may be still to come or unread, together. Past it that group's sends wait.
    pub results: usize,
    /// Whether a panic inside a consumer is left out of the standard error stream. It is told in events and in tracing
    /// either way.
    pub quiet_panics: bool,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            consumers: 4,
            placement: Placement::default(),
            strategy: StrategyKind::default(),
            affinity: None,
            weights: Vec::new(),
            order_by_key: false,
            seed: None,
            queue: QueueConfig::default(),
            window: WindowConfig::default(),
            retry: RetryConfig::default(),
            restart: RestartConfig::default(),
            rate: RateConfig::default(),
            key_rate: RateConfig::default(),
            circuit: CircuitConfig::default(),
            deadline: Duration::from_millis(30_000),
            hold: 16_384,
            results: 65_536,
            quiet_panics: false,
        }
    }
}

/// The built-in queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Jobs that the queue holds at most: ready, delayed and leased together; at least 1.
    pub capacity: usize,
    /// What happens to a job that does not fit.
    pub overflow: Overflow,
    /// Dead letters that are kept at most; the oldest one goes first.
    pub dead_letters: usize,
    /// Bytes that the dead letters take at most, without what their payloads own on the heap; the oldest one goes first.
    pub dead_letter_bytes: usize,
    /// For how long a deduplication key is remembered.
    #[serde(rename = "dedup_window_ms", with = "crate::types::time::millis")]
    pub dedup_window: Duration,
    /// How many deduplication keys are remembered at most; the oldest one is forgotten first.
    pub dedup_keys: usize,
    /// Attempts that are kept in the history of one job at most: the first and the latest ones; at least 2.
    pub history: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 1_048_576,
            overflow: Overflow::Wait,
            dead_letters: 10_000,
            dead_letter_bytes: 64 << 20,
            dedup_window: Duration::from_millis(60_000),
            dedup_keys: 100_000,
            history: 16,
        }
    }
}

/// The prefetch window: how many deliveries one consumer may hold.
///
/// It follows the measured service time, so that a consumer holds `target` of work, about: thousands of deliveries for
/// a handler of nanoseconds, one for a handler of milliseconds. The service time is measured for a [`Consumer`], which does
/// one delivery after the other; actors and batches may work on many at once, so there the time from one word of the consumer
/// to the next counts, and the window never falls for it below the first one, which is 16 within these bounds (a batch at
/// least).
///
/// [`Consumer`]: crate::Consumer
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowConfig {
    /// The smallest window, in deliveries; at least 1. Equal to `max` for a window that does not adapt.
    pub min: u32,
    /// The largest window, in deliveries.
    pub max: u32,
    /// The work that a window should hold.
    #[serde(rename = "target_us", with = "crate::types::time::micros")]
    pub target: Duration,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self {
            min: 1,
            max: 8_192,
            target: Duration::from_micros(1_000),
        }
    }
}

/// What happens to a job that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// How often a job is tried before it becomes a dead letter; at least 1.
    pub attempts: u32,
    /// How long a job waits after a failure that its consumer reported. A job whose consumer died waits for nothing.
    #[serde(deserialize_with = "retry_backoff")]
    pub backoff: BackoffConfig,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: RETRY_BACKOFF,
        }
    }
}

/// What happens to a consumer that died.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestartConfig {
    /// Restarts of one slot that are allowed within `period`. OTP calls this the intensity.
    pub intensity: u32,
    /// The sliding window; at least a millisecond.
    #[serde(rename = "period_ms", with = "crate::types::time::millis")]
    pub period: Duration,
    /// How long a slot waits before its next consumer.
    #[serde(deserialize_with = "restart_backoff")]
    pub backoff: BackoffConfig,
    /// What happens when the budget is spent.
    pub past_budget: PastBudget,
    /// How long a quarantined slot rests; at least a millisecond.
    #[serde(rename = "cool_down_ms", with = "crate::types::time::millis")]
    pub cool_down: Duration,
    /// How long a consumer may take to start; at least a millisecond.
    #[serde(rename = "start_deadline_ms", with = "crate::types::time::millis")]
    pub start_deadline: Duration,
    /// How long a consumer may take for its `stopping` when it is scaled away or the group has drained; then it is ended. At
    /// least a millisecond.
    #[serde(rename = "stop_deadline_ms", with = "crate::types::time::millis")]
    pub stop_deadline: Duration,
    /// How long a consumer that was told to end may take before its whole arbiter is taken for blocked.
    #[serde(rename = "kill_grace_ms", with = "crate::types::time::millis")]
    pub kill_grace: Duration,
}

impl Default for RestartConfig {
    fn default() -> Self {
        Self {
            intensity: 25,
            period: Duration::from_millis(10_000),
            backoff: RESTART_BACKOFF,
            past_budget: PastBudget::Quarantine,
            cool_down: Duration::from_millis(5_000),
            start_deadline: Duration::from_millis(10_000),
            stop_deadline: Duration::from_millis(5_000),
            kill_grace: Duration::from_millis(100),
        }
    }
}
