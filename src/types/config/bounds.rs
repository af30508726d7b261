//! The bounds of every value of a configuration, and what is said of one that is out of them.

use super::ConfigError;
use super::{Affinity, GroupConfig, MOST_CONSUMERS, Placement, QueueConfig};
use crate::types::time::{micros, millis};
use std::fmt::Display;
use std::time::Duration;

/// The longest time, in ms, that a configuration may name: ten years. It keeps every sum of times far from an overflow.
const LONGEST_MS: u64 = 315_360_000_000;

/// The most things of one kind that a configuration may ask to be kept.
const MOST_KEPT: u64 = if usize::BITS < 64 {
    usize::MAX as u64
} else {
    1_000_000_000_000
};

/// The most jobs of a rate, and the most failures that are counted.
const MOST_RATE: u64 = 1_000_000;

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
        Some(millis::whole(c.queue.dedup_window))
    }),
    whole("queue.dedup_keys", 0, MOST_KEPT, |c| {
        Some(c.queue.dedup_keys as u64)
    }),
    whole("queue.history", 2, 1_000_000, |c| Some(c.queue.history as u64)),
    whole("window.min", 1, u32::MAX as u64, |c| Some(c.window.min.into())),
    whole("window.max", 1, u32::MAX as u64, |c| Some(c.window.max.into())),
    whole("window.target_us", 1, 3_600_000_000, |c| {
        Some(micros::whole(c.window.target))
    }),
    whole("retry.attempts", 1, u32::MAX as u64, |c| {
        Some(c.retry.attempts.into())
    }),
    whole("retry.backoff.min_ms", 0, LONGEST_MS, |c| {
        Some(millis::whole(c.retry.backoff.min))
    }),
    whole("retry.backoff.max_ms", 0, LONGEST_MS, |c| {
        Some(millis::whole(c.retry.backoff.max))
    }),
    whole("restart.intensity", 0, u32::MAX as u64, |c| {
        Some(c.restart.intensity.into())
    }),
    whole("restart.period_ms", 1, LONGEST_MS, |c| {
        Some(millis::whole(c.restart.period))
    }),
    whole("restart.backoff.min_ms", 0, LONGEST_MS, |c| {
        Some(millis::whole(c.restart.backoff.min))
    }),
    whole("restart.backoff.max_ms", 0, LONGEST_MS, |c| {
        Some(millis::whole(c.restart.backoff.max))
    }),
    whole("restart.cool_down_ms", 1, LONGEST_MS, |c| {
        Some(millis::whole(c.restart.cool_down))
    }),
    whole("restart.start_deadline_ms", 1, LONGEST_MS, |c| {
        Some(millis::whole(c.restart.start_deadline))
    }),
    whole("restart.stop_deadline_ms", 1, LONGEST_MS, |c| {
        Some(millis::whole(c.restart.stop_deadline))
    }),
    whole("restart.kill_grace_ms", 0, LONGEST_MS, |c| {
        Some(millis::whole(c.restart.kill_grace))
    }),
    whole("rate.jobs", 1, MOST_RATE, |c| c.rate.jobs.map(u64::from)),
    whole("rate.period_ms", 1, LONGEST_MS, |c| {
        Some(millis::whole(c.rate.period))
    }),
    whole("rate.burst", 1, MOST_RATE, |c| Some(c.rate.burst.into())),
    whole("key_rate.jobs", 1, MOST_RATE, |c| c.key_rate.jobs.map(u64::from)),
    whole("key_rate.period_ms", 1, LONGEST_MS, |c| {
        Some(millis::whole(c.key_rate.period))
    }),
    whole("key_rate.burst", 1, MOST_RATE, |c| Some(c.key_rate.burst.into())),
    whole("circuit.failures", 1, MOST_RATE, |c| {
        c.circuit.failures.map(u64::from)
    }),
    whole("circuit.window_ms", 1, LONGEST_MS, |c| {
        Some(millis::whole(c.circuit.window))
    }),
    whole("circuit.pause_ms", 1, LONGEST_MS, |c| {
        Some(millis::whole(c.circuit.pause))
    }),
    whole("deadline_ms", 0, LONGEST_MS, |c| Some(millis::whole(c.deadline))),
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
        read: |c| {
            (
                millis::whole(c.retry.backoff.min),
                millis::whole(c.retry.backoff.max),
            )
        },
    },
    Pair {
        low: "restart.backoff.min_ms",
        high: "restart.backoff.max_ms",
        read: |c| {
            (
                millis::whole(c.restart.backoff.min),
                millis::whole(c.restart.backoff.max),
            )
        },
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

    /// Says which value would have no effect beside what the builder was given, if any would: somebody believes in it.
    pub(crate) fn check_effects(&self, own_strategy: bool, own_queue: bool) -> Result<(), ConfigError> {
        if !own_strategy && !self.strategy.weighs() && self.weights.iter().any(|weight| *weight != 1) {
            return wrong(
                "weights",
                format!("has no effect with the strategy {:?}", self.strategy),
                "use Weighted, LeastLoaded or TwoChoices, or leave the weights out".to_owned(),
            );
        }
        let (queue, default) = (&self.queue, QueueConfig::default());
        let without_effect = [
            ("queue.capacity", queue.capacity != default.capacity),
            ("queue.overflow", queue.overflow != default.overflow),
            (
                "queue.dedup_window_ms",
                queue.dedup_window != default.dedup_window,
            ),
            ("queue.dedup_keys", queue.dedup_keys != default.dedup_keys),
        ];
        match without_effect.iter().find(|(_, is_set)| own_queue && *is_set) {
            None => Ok(()),
            Some((key, _)) => wrong(
                key,
                "has no effect: the builder was given a queue, which has bounds of its own".to_owned(),
                "set it where that queue is made".to_owned(),
            ),
        }
    }

    /// Whether a job waits for the consumer that the strategy chose, when nothing is said about it.
    pub(crate) fn affinity_of(&self, is_built_in: bool) -> Affinity {
        self.affinity
            .unwrap_or(if is_built_in && self.strategy.binds_keys() {
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
