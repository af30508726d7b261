//! The policies of a supervisor.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::BackoffConfig;
use super::config::{NO_BACKOFF, supervisor_backoff};

/// Whether a child that ended is started again. OTP's `restart` key of a child specification.
///
/// | how the life ended | `Permanent` | `Transient` | `Temporary` |
/// |---|---|---|---|
/// | the actor stopped by itself | started again | stays ended | is forgotten |
/// | panic, error stop, hang, its arbiter ended, failed start | started again | started again | is forgotten |
/// | a sibling took it along (one for all, rest for one) | started again | started again | is forgotten |
/// | [`terminate`](crate::supervision::SupervisorHandle::terminate) was asked for | stays ended | stays ended | is forgotten |
///
/// A child that stays ended is still listed and can be started again; one that is forgotten is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Only after an end that was not of its own will.
    Transient,
    /// Never.
    Temporary,
}

/// Which children are started again with the one that ended. OTP's supervision strategies; here "strategy" alone always
/// means the balancing of jobs.
///
/// Of the children `a, b, c, d`, started in this order, `b` ends and is to be started again:
///
/// | reach | ended, in this order | started, in this order |
/// |---|---|---|
/// | `OneForOne` | – | `b` |
/// | `OneForAll` | `d, c, a` | `a, b, c, d` |
/// | `RestForOne` | `d, c` | `b, c, d` |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartReach {
    /// Only the child that ended.
    #[default]
    OneForOne,
    /// All children of the supervisor.
    OneForAll,
    /// The child that ended and those that were started after it.
    RestForOne,
}

/// How a child is ended by its supervisor. OTP's `shutdown` key of a child specification.
///
/// | shutdown | the actor's `stopping` and `stopped` | if it does not end |
/// |---|---|---|
/// | `Within(limit)` | run at the actor's next turn, as after `ctx.stop()` | after the limit its future is dropped |
/// | `WithoutLimit` | run at the actor's next turn | the supervisor waits |
/// | `AtOnce` | run while its future is dropped | – |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shutdown {
    /// It is asked to stop, and its future dropped after this limit. OTP's default is 5 s, and ours.
    Within(Duration),
    /// It is asked to stop and waited for, however long that takes. For supervisors.
    WithoutLimit,
    /// Its future is dropped at once. OTP's `brutal_kill`.
    AtOnce,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::Within(Duration::from_secs(5))
    }
}

/// Whether a supervisor ends by itself when its significant children have. OTP's `auto_shutdown`.
///
/// | a significant child ended and is not started again | `Never` | `AnySignificant` | `AllSignificant` |
/// |---|---|---|---|
/// | others of them still live | goes on | ends | goes on |
/// | it was the last one | goes on | ends | ends |
///
/// A child that was ended by its supervisor does not count. To the supervisor's own parent such an end is of its own will.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoShutdown {
    /// It never does.
    #[default]
    Never,
    /// When the first of them has ended.
    AnySignificant,
    /// When the last of them has ended.
    AllSignificant,
}

/// The policies of one supervisor.
///
/// The defaults are those of OTP: one for one, at most one restart within 5 s, no backoff.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SupervisorConfig {
    /// Which children are started again with one that ended.
    pub reach: RestartReach,
    /// Restarts, of all children together, that are allowed within `period`.
    pub intensity: u32,
    /// The sliding window; at least a millisecond.
    #[serde(rename = "period_ms", with = "super::time::millis")]
    pub period: Duration,
    /// How long to wait before a restart; the wait of a child is the first one again after a life that was up for more than
    /// `period`.
    #[serde(deserialize_with = "supervisor_backoff")]
    pub backoff: BackoffConfig,
    /// Whether it ends by itself.
    pub auto_shutdown: AutoShutdown,
    /// How long a child may take to start (`started`, and what it waits for there); at least a
    /// millisecond.
    #[serde(rename = "start_deadline_ms", with = "super::time::millis")]
    pub start_deadline: Duration,
    /// How long a child whose future was told to drop may take before its thread counts as blocked; at least a
    /// millisecond.
    #[serde(rename = "kill_grace_ms", with = "super::time::millis")]
    pub kill_grace: Duration,
    /// How many events wait for the slowest subscriber before it misses some; at least 1.
    pub events_kept: usize,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            reach: RestartReach::OneForOne,
            intensity: 1,
            period: Duration::from_millis(5_000),
            backoff: NO_BACKOFF,
            auto_shutdown: AutoShutdown::Never,
            start_deadline: Duration::from_millis(30_000),
            kill_grace: Duration::from_millis(1_000),
            events_kept: 1_024,
        }
    }
}
