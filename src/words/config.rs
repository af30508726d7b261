//! The configuration of a group: one serde type, with the bounds that make sense.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Everything about a group that is a number or a name. The parts that are code (consumers, custom strategies, custom
/// queues) go to the builder.
///
/// Every field has a default, so a file states only what differs. Times carry their unit in the name.
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
    pub strategy: StrategyName,
    /// The weights of the slots, first to last, for strategies that use them; slots beyond the list weigh 1.
    pub weights: Vec<u32>,
    /// Whether jobs of one key are kept in order and never with two consumers at once.
    pub order_by_key: bool,
    /// The seed of every random choice of the group (jitter, two choices). Absent: a new one at each start.
    pub seed: Option<u64>,
    /// The queue.
    pub queue: QueueConfig,
    /// The prefetch window.
    pub window: WindowConfig,
    /// What happens to a job that failed.
    pub retry: RetryConfig,
    /// What happens to a consumer that died.
    pub restart: RestartConfig,
    /// A delivery at which no progress was made for this many ms is a failure and its consumer is replaced; 0 turns this
    /// off.
    pub deadline_ms: u64,
    /// How long, in ms, a consumer that was told to end may take before its whole arbiter is taken for blocked.
    pub kill_grace_ms: u64,
    /// Jobs that the supervisor may hold for a reason other than room: their key is busy, their consumer full, their retry
    /// not due. Past it nothing more is leased.
    pub hold: usize,
    /// Outcomes that may wait, unread, at the result queue for one producer group. Past it that group's sends wait.
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
            strategy: StrategyName::default(),
            weights: Vec::new(),
            order_by_key: false,
            seed: None,
            queue: QueueConfig::default(),
            window: WindowConfig::default(),
            retry: RetryConfig::default(),
            restart: RestartConfig::default(),
            deadline_ms: 30_000,
            kill_grace_ms: 100,
            hold: 16_384,
            results: 65_536,
            quiet_panics: false,
        }
    }
}

/// Where consumers live. An arbiter is a thread with an event loop.
///
/// | placement | pick it when | a consumer that blocks its thread |
/// |---|---|---|
/// | `local` | handlers are short and never block: the fastest, all on the thread that started the group | blocks the whole group |
/// | `arbiters = n` | the default: handlers are asynchronous or use some CPU | is replaced after the deadline, its neighbours are moved |
/// | `dedicated` | handlers block: each consumer has a thread of its own | holds up nobody |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// On the arbiter that starts the group, together with queue, strategy and supervisor.
    Local,
    /// Spread over this many arbiters.
    Arbiters(usize),
    /// As `arbiters`, with as many as the machine has processors.
    #[default]
    Processors,
    /// Each consumer on an arbiter of its own.
    Dedicated,
}

/// The built-in strategies, by name.
///
/// | strategy | which one do I pick? |
/// |---|---|
/// | `round_robin` | jobs cost about the same: exact shares, cheapest |
/// | `weighted` | consumers differ: exact shares by weight, evenly mixed |
/// | `consistent_hash` | jobs of a key should meet the same consumer (caches), also when consumers come and go |
/// | `least_loaded` | jobs differ in cost and the group is small |
/// | `two_choices` | jobs differ in cost and the group is large |
/// | `sticky` | as `consistent_hash`, but a key stays where it first went, and new keys go where there is room |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrategyName {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// In turn, by weight, smoothly mixed as nginx does it.
    Weighted,
    /// By the key, on a hash ring.
    ConsistentHash,
    /// To the one that holds the fewest deliveries.
    LeastLoaded,
    /// To the less loaded of two drawn at random.
    TwoChoices,
    /// By the key, wherever the key went first.
    Sticky,
}

/// What happens to a job for which the queue has no room.
///
/// | overflow | the producer | the job |
/// |---|---|---|
/// | `wait` | waits until there is room | is accepted then |
/// | `reject` | gets an error at once | comes back in the error |
/// | `drop_oldest` | is told that its job was accepted | the oldest waiting job goes to the dead letters |
/// | `drop_newest` | is told that its job was accepted | the new job goes to the dead letters |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The producer waits.
    #[default]
    Wait,
    /// The job comes back.
    Reject,
    /// The oldest waiting job goes.
    DropOldest,
    /// The new job goes.
    DropNewest,
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
    /// For how many ms a deduplication key is remembered.
    pub dedup_window_ms: u64,
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
            dedup_window_ms: 60_000,
            dedup_keys: 100_000,
            history: 16,
        }
    }
}

/// The prefetch window: how many deliveries one consumer may hold.
///
/// It follows the measured service time, so that a consumer holds about `target_us` of work: thousands of deliveries for
/// a handler of nanoseconds, one for a handler of milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowConfig {
    /// The smallest window, in deliveries; at least 1. Equal to `max` for a window that does not adapt.
    pub min: u32,
    /// The largest window, in deliveries.
    pub max: u32,
    /// The work, in microseconds, that a window should hold.
    pub target_us: u64,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self {
            min: 1,
            max: 8_192,
            target_us: 1_000,
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
    pub backoff: BackoffConfig,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: BackoffConfig {
                min_ms: 100,
                max_ms: 30_000,
                factor: 2.0,
                jitter: 0.2,
            },
        }
    }
}

/// What happens to a consumer that died.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestartConfig {
    /// Restarts of one slot that are allowed within `period_ms`. OTP calls this the intensity.
    pub intensity: u32,
    /// The sliding window, in ms; at least 1.
    pub period_ms: u64,
    /// How long a slot waits before its next consumer.
    pub backoff: BackoffConfig,
    /// What happens when the budget is spent.
    pub past_budget: PastBudget,
    /// How long, in ms, a quarantined slot rests; at least 1.
    pub cool_down_ms: u64,
    /// How long, in ms, a consumer may take to start; at least 1.
    pub start_deadline_ms: u64,
}

impl Default for RestartConfig {
    fn default() -> Self {
        Self {
            intensity: 25,
            period_ms: 10_000,
            backoff: BackoffConfig {
                min_ms: 0,
                max_ms: 500,
                factor: 2.0,
                jitter: 0.2,
            },
            past_budget: PastBudget::Quarantine,
            cool_down_ms: 5_000,
            start_deadline_ms: 10_000,
        }
    }
}

/// What happens when a restart budget is spent.
///
/// | policy | the slot | the group |
/// |---|---|---|
/// | `quarantine` | rests for the cool-down, then starts with a fresh budget | goes on with the others |
/// | `escalate` | is not restarted | fails: producers get their jobs back, `stopped()` tells why |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PastBudget {
    /// The slot rests.
    #[default]
    Quarantine,
    /// The group fails.
    Escalate,
}

/// A wait that grows: the nth wait is `min · factor^n`, spread by the jitter, never below `min` and never above `max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackoffConfig {
    /// The first wait, in ms. 0 means that the first wait is none at all and the second is one millisecond.
    pub min_ms: u64,
    /// The longest wait, in ms. The jitter never exceeds it.
    pub max_ms: u64,
    /// By how much each wait exceeds the one before; at least 1.
    #[serde(default = "two")]
    pub factor: f64,
    /// The part of a wait, from 0 to 1, by which it is shortened or lengthened at random.
    #[serde(default)]
    pub jitter: f64,
}

fn two() -> f64 {
    2.0
}

/// A value of the configuration that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}`{key}` {problem}; {right}", place(.line))]
pub struct ConfigError {
    /// The key, with the tables around it: `queue.capacity`.
    pub key: String,
    /// The line in the file, counted from one, where there is a file and the key stands in it.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub right: String,
}

fn place(line: &Option<usize>) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}

/// The largest group that a configuration may ask for.
const MOST_CONSUMERS: usize = 1_000_000;

impl GroupConfig {
    /// Says what is wrong with this configuration, if anything is: the first value that cannot be.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the key, what is wrong and what would be right.
    pub fn check(&self) -> Result<(), ConfigError> {
        at_most("consumers", self.consumers, MOST_CONSUMERS)?;
        if self.placement == Placement::Arbiters(0) {
            return wrong("placement", "names 0 arbiters", "use 1 or more, or \"local\"");
        }
        for (index, weight) in self.weights.iter().enumerate() {
            if *weight == 0 {
                return wrong(
                    &format!("weights[{index}]"),
                    "is 0",
                    "a weight is 1 or more; scale down to take a consumer out",
                );
            }
        }
        if self.weights.len() > self.consumers {
            return wrong(
                "weights",
                &format!(
                    "has {} entries for {} consumers",
                    self.weights.len(),
                    self.consumers
                ),
                "give at most one weight for each consumer",
            );
        }
        at_least("hold", self.hold, 1)?;
        at_least("results", self.results, 1)?;
        self.check_queue()?;
        self.check_window()?;
        self.check_waits()
    }

    fn check_queue(&self) -> Result<(), ConfigError> {
        at_least("queue.capacity", self.queue.capacity, 1)?;
        at_most("queue.capacity", self.queue.capacity, usize::MAX >> 4)?;
        at_least("queue.history", self.queue.history, 2)
    }

    fn check_window(&self) -> Result<(), ConfigError> {
        at_least("window.min", self.window.min as usize, 1)?;
        at_least("window.max", self.window.max as usize, 1)?;
        at_least("window.target_us", self.window.target_us as usize, 1)?;
        if self.window.min > self.window.max {
            return wrong(
                "window.min",
                &format!(
                    "is {}, above window.max, which is {}",
                    self.window.min, self.window.max
                ),
                "use a min that is at most max",
            );
        }
        Ok(())
    }

    fn check_waits(&self) -> Result<(), ConfigError> {
        at_least("retry.attempts", self.retry.attempts as usize, 1)?;
        at_least("restart.period_ms", self.restart.period_ms as usize, 1)?;
        at_least("restart.cool_down_ms", self.restart.cool_down_ms as usize, 1)?;
        at_least(
            "restart.start_deadline_ms",
            self.restart.start_deadline_ms as usize,
            1,
        )?;
        check_backoff("retry.backoff", &self.retry.backoff)?;
        check_backoff("restart.backoff", &self.restart.backoff)
    }

    /// The deadline of a delivery, if one is set.
    pub fn deadline(&self) -> Option<Duration> {
        (self.deadline_ms > 0).then(|| Duration::from_millis(self.deadline_ms))
    }
}

fn check_backoff(key: &str, backoff: &BackoffConfig) -> Result<(), ConfigError> {
    if backoff.min_ms > backoff.max_ms {
        let problem = format!(
            "is {}, above {key}.max_ms, which is {}",
            backoff.min_ms, backoff.max_ms
        );
        return wrong(
            &format!("{key}.min_ms"),
            &problem,
            "use a min_ms that is at most max_ms",
        );
    }
    if !(backoff.factor.is_finite() && backoff.factor >= 1.0) {
        return wrong(
            &format!("{key}.factor"),
            &format!("is {}", backoff.factor),
            "use a number that is 1 or more",
        );
    }
    if !(0.0..=1.0).contains(&backoff.jitter) {
        return wrong(
            &format!("{key}.jitter"),
            &format!("is {}", backoff.jitter),
            "use a number from 0 to 1",
        );
    }
    Ok(())
}

fn at_least(key: &str, value: usize, least: usize) -> Result<(), ConfigError> {
    if value < least {
        return wrong(key, &format!("is {value}"), &format!("use {least} or more"));
    }
    Ok(())
}

fn at_most(key: &str, value: usize, most: usize) -> Result<(), ConfigError> {
    if value > most {
        return wrong(key, &format!("is {value}"), &format!("use {most} or less"));
    }
    Ok(())
}

fn wrong(key: &str, problem: &str, right: &str) -> Result<(), ConfigError> {
    Err(ConfigError {
        key: key.to_owned(),
        line: None,
        problem: problem.to_owned(),
        right: right.to_owned(),
    })
}
