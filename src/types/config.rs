//! The configuration of a group: one serde type, with the bounds that make sense.

use std::fmt::Display;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

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
    /// A consumer that holds deliveries and makes no progress for so long is replaced, and what it had begun is a failure; zero
    /// turns this off. Progress is a delivery that was settled, or a sign of life.
    #[serde(rename = "deadline_ms", with = "super::time::millis")]
    pub deadline: Duration,
    /// How long a consumer that was told to end may take before its whole arbiter is taken for blocked.
    #[serde(rename = "kill_grace_ms", with = "super::time::millis")]
    pub kill_grace: Duration,
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
            deadline: Duration::from_millis(30_000),
            kill_grace: Duration::from_millis(100),
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
#[non_exhaustive]
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
/// | `round_robin` | jobs cost about the same: exact shares, cheapest; a job behind a busy consumer waits 2 to 4 ms for another one |
/// | `weighted` | consumers differ: exact shares by weight, evenly mixed; as `round_robin` otherwise |
/// | `consistent_hash` | jobs of a key should meet the same consumer (caches), also when consumers come and go |
/// | `least_loaded` | jobs differ in cost and the group is small |
/// | `two_choices` | jobs differ in cost and the group is large |
/// | `sticky` | as `consistent_hash`, but a key stays where it first went, and new keys go where there is room |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StrategyKind {
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

/// Whether a job waits for the consumer that the strategy chose for it.
///
/// | affinity | the consumer is busy with another job for more than 2 ms, and others have room |
/// |---|---|
/// | `strict` | the job waits for it |
/// | `prefer` | the job goes to one of the others; the next one of its key comes back when the consumer moves again |
///
/// The 2 ms are two targets of the prefetch window. A consumer that is an actor of its own keeps what is in its mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Affinity {
    /// It waits.
    Strict,
    /// It goes to another one that has room.
    Prefer,
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
#[non_exhaustive]
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
    /// Bytes that the dead letters take at most, without what their payloads own on the heap; the oldest one goes first.
    pub dead_letter_bytes: usize,
    /// For how long a deduplication key is remembered.
    #[serde(rename = "dedup_window_ms", with = "super::time::millis")]
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
    #[serde(rename = "target_us", with = "super::time::micros")]
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
    #[serde(rename = "period_ms", with = "super::time::millis")]
    pub period: Duration,
    /// How long a slot waits before its next consumer.
    #[serde(deserialize_with = "restart_backoff")]
    pub backoff: BackoffConfig,
    /// What happens when the budget is spent.
    pub past_budget: PastBudget,
    /// How long a quarantined slot rests; at least a millisecond.
    #[serde(rename = "cool_down_ms", with = "super::time::millis")]
    pub cool_down: Duration,
    /// How long a consumer may take to start; at least a millisecond.
    #[serde(rename = "start_deadline_ms", with = "super::time::millis")]
    pub start_deadline: Duration,
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
#[non_exhaustive]
pub enum PastBudget {
    /// The slot rests.
    #[default]
    Quarantine,
    /// The group fails.
    Escalate,
}

/// A wait that grows: the nth wait is `min · factor^n`, spread by the jitter, never below `min` and never above `max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BackoffConfig {
    /// The first wait. Zero means that the first wait is none at all and the second is one millisecond.
    #[serde(rename = "min_ms", with = "super::time::millis")]
    pub min: Duration,
    /// The longest wait. The jitter never exceeds it.
    #[serde(rename = "max_ms", with = "super::time::millis")]
    pub max: Duration,
    /// By how much each wait exceeds the one before; at least 1.
    pub factor: f64,
    /// The part of a wait, from 0 to 1, by which it is shortened or lengthened at random.
    pub jitter: f64,
}

/// The default of `retry.backoff`.
const RETRY_BACKOFF: BackoffConfig = BackoffConfig {
    min: Duration::from_millis(100),
    max: Duration::from_millis(30_000),
    factor: 2.0,
    jitter: 0.2,
};

/// The default of `restart.backoff`.
const RESTART_BACKOFF: BackoffConfig = BackoffConfig {
    min: Duration::ZERO,
    max: Duration::from_millis(500),
    factor: 2.0,
    jitter: 0.2,
};

/// The default of a supervisor's `backoff`: none, as in OTP. One that states only its maximum grows from a millisecond.
pub(super) const NO_BACKOFF: BackoffConfig = BackoffConfig {
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

fn retry_backoff<'de, D: Deserializer<'de>>(from: D) -> Result<BackoffConfig, D::Error> {
    Ok(PartialBackoff::deserialize(from)?.over(RETRY_BACKOFF))
}

fn restart_backoff<'de, D: Deserializer<'de>>(from: D) -> Result<BackoffConfig, D::Error> {
    Ok(PartialBackoff::deserialize(from)?.over(RESTART_BACKOFF))
}

pub(super) fn supervisor_backoff<'de, D: Deserializer<'de>>(from: D) -> Result<BackoffConfig, D::Error> {
    Ok(PartialBackoff::deserialize(from)?.over(NO_BACKOFF))
}

/// A value of the configuration that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{} {problem}; {right}", place(.line), subject(.key))]
#[non_exhaustive]
pub struct ConfigError {
    /// The key, with the tables around it: `queue.capacity`, `weights[2]`; or the name of the environment variable. Empty
    /// where the text is not TOML at all.
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

fn subject(key: &str) -> String {
    if key.is_empty() {
        "the text".to_owned()
    } else {
        format!("`{key}`")
    }
}

/// Whole milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whole microseconds.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The longest time, in ms, that a configuration may name: ten years. It keeps every sum of times far from an overflow.
const LONGEST_MS: u64 = 315_360_000_000;

/// The most things of one kind that a configuration may ask to be kept.
const MOST_KEPT: u64 = if usize::BITS < 64 {
    usize::MAX as u64
} else {
    1_000_000_000_000
};

/// A whole number of the configuration and its bounds.
struct Whole {
    /// The key, with the tables around it.
    key: &'static str,
    /// The least value that makes sense.
    least: u64,
    /// The largest value that makes sense.
    most: u64,
    read: fn(&GroupConfig) -> Option<u64>,
}

const fn whole(key: &'static str, least: u64, most: u64, read: fn(&GroupConfig) -> Option<u64>) -> Whole {
    Whole {
        key,
        least,
        most,
        read,
    }
}

/// The bounds of every whole number, in the order of the fields.
const WHOLES: &[Whole] = &[
    whole("consumers", 0, MOST_CONSUMERS as u64, |c| {
        Some(c.consumers as u64)
    }),
    whole("placement.arbiters", 1, 4_096, |c| match c.placement {
        Placement::Arbiters(arbiters) => Some(arbiters as u64),
        Placement::Local | Placement::Processors | Placement::Dedicated => None,
    }),
    whole("seed", 0, u64::MAX, |c| c.seed),
    whole("queue.capacity", 1, MOST_KEPT, |c| Some(c.queue.capacity as u64)),
    whole("queue.dead_letters", 0, MOST_KEPT, |c| {
        Some(c.queue.dead_letters as u64)
    }),
    whole("queue.dead_letter_bytes", 65_536, MOST_KEPT, |c| {
        Some(c.queue.dead_letter_bytes as u64)
    }),
    whole("queue.dedup_window_ms", 0, LONGEST_MS, |c| {
        Some(millis(c.queue.dedup_window))
    }),
    whole("queue.dedup_keys", 0, MOST_KEPT, |c| {
        Some(c.queue.dedup_keys as u64)
    }),
    whole("queue.history", 2, 1_000_000, |c| Some(c.queue.history as u64)),
    whole("window.min", 1, u32::MAX as u64, |c| Some(c.window.min.into())),
    whole("window.max", 1, u32::MAX as u64, |c| Some(c.window.max.into())),
    whole("window.target_us", 1, 3_600_000_000, |c| {
        Some(micros(c.window.target))
    }),
    whole("retry.attempts", 1, u32::MAX as u64, |c| {
        Some(c.retry.attempts.into())
    }),
    whole("retry.backoff.min_ms", 0, LONGEST_MS, |c| {
        Some(millis(c.retry.backoff.min))
    }),
    whole("retry.backoff.max_ms", 0, LONGEST_MS, |c| {
        Some(millis(c.retry.backoff.max))
    }),
    whole("restart.intensity", 0, u32::MAX as u64, |c| {
        Some(c.restart.intensity.into())
    }),
    whole("restart.period_ms", 1, LONGEST_MS, |c| {
        Some(millis(c.restart.period))
    }),
    whole("restart.backoff.min_ms", 0, LONGEST_MS, |c| {
        Some(millis(c.restart.backoff.min))
    }),
    whole("restart.backoff.max_ms", 0, LONGEST_MS, |c| {
        Some(millis(c.restart.backoff.max))
    }),
    whole("restart.cool_down_ms", 1, LONGEST_MS, |c| {
        Some(millis(c.restart.cool_down))
    }),
    whole("restart.start_deadline_ms", 1, LONGEST_MS, |c| {
        Some(millis(c.restart.start_deadline))
    }),
    whole("deadline_ms", 0, LONGEST_MS, |c| Some(millis(c.deadline))),
    whole("kill_grace_ms", 0, LONGEST_MS, |c| Some(millis(c.kill_grace))),
    whole("hold", 1, MOST_KEPT, |c| Some(c.hold as u64)),
    whole("results", 1, MOST_KEPT, |c| Some(c.results as u64)),
];

/// Two whole numbers of which the first is never above the second.
struct Pair {
    /// The key of the smaller one.
    low: &'static str,
    /// The key of the larger one.
    high: &'static str,
    /// Both values.
    read: fn(&GroupConfig) -> (u64, u64),
}

/// The pairs that depend on each other.
const PAIRS: &[Pair] = &[
    Pair {
        low: "window.min",
        high: "window.max",
        read: |c| (c.window.min.into(), c.window.max.into()),
    },
    Pair {
        low: "retry.backoff.min_ms",
        high: "retry.backoff.max_ms",
        read: |c| (millis(c.retry.backoff.min), millis(c.retry.backoff.max)),
    },
    Pair {
        low: "restart.backoff.min_ms",
        high: "restart.backoff.max_ms",
        read: |c| (millis(c.restart.backoff.min), millis(c.restart.backoff.max)),
    },
];

impl GroupConfig {
    /// Says what is wrong with this configuration, if anything is: the first value that cannot be.
    ///
    /// The bounds of every value are listed in `docs/configuration.md`.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the key, what is wrong and what would be right.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_each()?;
        self.check_together(|_| true)
    }

    /// Holds each value against its own bounds.
    pub(crate) fn check_each(&self) -> Result<(), ConfigError> {
        for whole in WHOLES {
            if let Some(value) = (whole.read)(self)
                && !(whole.least..=whole.most).contains(&value)
            {
                return out_of_range(whole.key, value);
            }
        }
        for ratio in RATIOS {
            let value = (ratio.read)(self);
            // What is not a number, or has no end, is in no range.
            if !(ratio.least..=ratio.most).contains(&value) {
                return out_of_range(ratio.key, value);
            }
        }
        match self.weights.iter().position(|weight| *weight == 0) {
            Some(index) => out_of_range(&format!("weights[{index}]"), 0),
            None => Ok(()),
        }
    }

    /// Holds the values against each other. Of two that cannot be together the smaller one is told, unless only the larger
    /// one was set: who sets `max` below the default of `min` has to be told about `max`.
    pub(crate) fn check_together(&self, was_set: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
        let (weights, consumers) = (self.weights.len(), self.consumers);
        if weights > consumers {
            return wrong(
                "weights",
                format!("has {weights} entries for {consumers} consumers"),
                "give at most one weight for each consumer".to_owned(),
            );
        }
        for Pair { low, high, read } in PAIRS {
            let (least, most) = read(self);
            if least <= most {
                continue;
            }
            if was_set(high) && !was_set(low) {
                let problem = format!("is {most}, below `{low}`, which is {least}");
                return wrong(high, problem, format!("use at least the value of `{low}`"));
            }
            let problem = format!("is {least}, above `{high}`, which is {most}");
            return wrong(low, problem, format!("use at most the value of `{high}`"));
        }
        Ok(())
    }

    /// Whether a job waits for the consumer that the strategy chose, when nothing is said about it.
    pub(crate) fn affinity_of(&self, is_built_in: bool) -> Affinity {
        let binds = matches!(self.strategy, StrategyKind::ConsistentHash | StrategyKind::Sticky);
        self.affinity.unwrap_or(if is_built_in && binds {
            Affinity::Strict
        } else {
            Affinity::Prefer
        })
    }

    /// The deadline of a delivery, if one is set.
    pub fn deadline(&self) -> Option<Duration> {
        (!self.deadline.is_zero()).then_some(self.deadline)
    }
}

/// The numbers that a key accepts, in words; nothing for a key that is no number.
pub(crate) fn range_of(key: &str) -> Option<String> {
    if key.starts_with("weights[") {
        let most = u32::MAX;
        return Some(format!(
            "a whole number from 1 to {most}; to take a consumer out, scale the group down"
        ));
    }
    if let Some(Whole { least, most, .. }) = WHOLES.iter().find(|whole| whole.key == key) {
        return Some(format!("a whole number from {least} to {most}"));
    }
    let ratio = RATIOS.iter().find(|ratio| ratio.key == key)?;
    Some(ratio.range.to_owned())
}

/// A number of the configuration that may have a fraction, and its bounds.
struct Ratio {
    /// The key, with the tables around it.
    key: &'static str,
    least: f64,
    most: f64,
    /// How the range is told to the user.
    range: &'static str,
    read: fn(&GroupConfig) -> f64,
}

const fn factor(key: &'static str, read: fn(&GroupConfig) -> f64) -> Ratio {
    Ratio {
        key,
        least: 1.0,
        most: f64::MAX,
        range: "a number that is 1 or more",
        read,
    }
}

const fn jitter(key: &'static str, read: fn(&GroupConfig) -> f64) -> Ratio {
    Ratio {
        key,
        least: 0.0,
        most: 1.0,
        range: "a number from 0 to 1",
        read,
    }
}

/// The bounds of every number that may have a fraction.
const RATIOS: &[Ratio] = &[
    factor("retry.backoff.factor", |c| c.retry.backoff.factor),
    jitter("retry.backoff.jitter", |c| c.retry.backoff.jitter),
    factor("restart.backoff.factor", |c| c.restart.backoff.factor),
    jitter("restart.backoff.jitter", |c| c.restart.backoff.jitter),
];

fn out_of_range(key: &str, value: impl Display) -> Result<(), ConfigError> {
    let range = range_of(key).unwrap_or_default();
    wrong(key, format!("is {value}"), format!("use {range}"))
}

fn wrong(key: &str, problem: String, right: String) -> Result<(), ConfigError> {
    Err(ConfigError {
        key: key.to_owned(),
        line: None,
        problem,
        right,
    })
}
