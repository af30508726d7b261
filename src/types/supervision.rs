//! Supervision: the policies of a supervisor, what it says of its children, and how a life ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{NO_BACKOFF, supervisor_backoff};
use super::{BackoffConfig, Cause, text_of};

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

/// What a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChildKind {
    /// An actor that does the work.
    Worker,
    /// A supervisor with children of its own.
    Supervisor,
}

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChildState {
    /// Not started yet: its elder siblings come first.
    Waiting,
    /// It is being started.
    Starting,
    /// It takes messages.
    Up,
    /// It ended; the next life begins after a wait.
    BackingOff,
    /// Its own restart budget is spent and it rests for a cool-down. Only in a consumer group.
    Quarantined,
    /// It was asked to end.
    Ending,
    /// It has ended and is not started again by itself.
    Ended,
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::BackingOff => "backing off",
            Self::Quarantined => "quarantined",
            Self::Ending => "ending",
            Self::Ended => "ended",
        })
    }
}

/// How one life of an actor ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Down {
    /// The child, by its path from the root supervisor: `shop/till`.
    pub child: Arc<str>,
    /// The type of the actor.
    pub actor: Arc<str>,
    /// Which life, counted from one.
    pub life: u64,
    /// Why it ended; a panic with message and place.
    pub cause: Cause,
    /// The type of the message that it was working on when it ended, where that is known.
    pub in_hand: Option<Arc<str>>,
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}, life {}) {}",
            self.child, self.actor, self.life, self.cause
        )?;
        match &self.in_hand {
            Some(message) => write!(f, ", with {message} in hand"),
            None => Ok(()),
        }
    }
}

/// One node of a supervision tree, as data. Its `Display` draws the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TreeNode {
    /// The name among its siblings.
    pub name: Arc<str>,
    /// What it is.
    pub kind: ChildKind,
    /// The type of the actor; for a supervisor its reach, in words.
    pub about: Arc<str>,
    /// Whether it is started again.
    pub restart: Restart,
    /// What it does.
    pub state: ChildState,
    /// Its present or last life, counted from one; 0 before the first.
    pub life: u64,
    /// How its last life ended, if one did.
    pub last_down: Option<Cause>,
    /// Its children, in the order of their start.
    pub children: Vec<TreeNode>,
}

impl TreeNode {
    fn draw(&self, f: &mut fmt::Formatter<'_>, lead: &str) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name, self.about, self.state)?;
        if self.life > 1 {
            write!(f, ", life {}", self.life)?;
        }
        if let Some(cause) = &self.last_down {
            write!(f, ", last {cause}")?;
        }
        let last = self.children.len().saturating_sub(1);
        for (index, child) in self.children.iter().enumerate() {
            let (branch, below) = if index == last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            write!(f, "\n{lead}{branch}")?;
            child.draw(f, &format!("{lead}{below}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for TreeNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.draw(f, "")
    }
}

/// How many children a supervisor has. The words are OTP's `count_children`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChildCounts {
    /// All that are listed.
    pub specs: usize,
    /// Those that take messages now.
    pub active: usize,
    /// Supervisors among those listed.
    pub supervisors: usize,
    /// Other actors among those listed.
    pub workers: usize,
}

/// Something that happened in a supervision tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TreeEvent {
    /// A child takes messages.
    Up {
        /// Its path.
        child: Arc<str>,
        /// Which life, counted from one.
        life: u64,
    },
    /// A life ended.
    Down(Arc<Down>),
    /// The next life begins after this wait.
    BackingOff {
        /// The path of the child.
        child: Arc<str>,
        /// How long.
        wait: Duration,
    },
    /// Messages that waited for a child can no longer be delivered. Those that were sent with `send` went back.
    Undelivered {
        /// The path of the child.
        child: Arc<str>,
        /// How many.
        messages: usize,
    },
    /// A thread did not come back: its arbiter was given up and everyone on it is replaced.
    ArbiterAbandoned {
        /// The child that blocked it.
        child: Arc<str>,
        /// How many others lived there.
        moved: usize,
    },
    /// A supervisor spent its restart budget: it ends its children and then itself.
    BudgetSpent {
        /// The path of the supervisor.
        supervisor: Arc<str>,
    },
    /// A supervisor has ended, after its children.
    Ended {
        /// The path of the supervisor.
        supervisor: Arc<str>,
        /// Why.
        ending: Ending,
    },
    /// This subscription was too slow and missed events.
    Missed {
        /// How many.
        events: u64,
    },
}

/// Why a supervisor ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ending {
    /// Somebody stopped it.
    Stopped,
    /// Its significant children have ended. To its parent this is an end of its own will.
    AutoShutdown,
    /// Too many restarts; the last one was asked for by this end. To its parent this is a failure.
    BudgetSpent(Arc<Down>),
    /// At its start a child did not start.
    StartFailed(Arc<Down>),
    /// It was ended from outside, or ended in another way than by its rules.
    Down(Cause),
}

impl Ending {
    /// The ending of a supervisor whose life ended for this cause, and not by its rules.
    pub(crate) fn of_supervisor(cause: &Cause) -> Self {
        match cause {
            Cause::Stopped => Self::Stopped,
            cause => Self::Down(cause.clone()),
        }
    }

    /// What the parent of a supervisor that ended so sees as the cause; `None` for an end of its own will.
    pub(crate) fn seen_by_parent(&self) -> Option<Cause> {
        match self {
            Self::Stopped | Self::AutoShutdown => None,
            Self::BudgetSpent(_) => Some(Cause::Escalated(text_of(self))),
            Self::StartFailed(_) => Some(Cause::StartFailed(text_of(self))),
            Self::Down(cause) => Some(cause.clone()),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::AutoShutdown => f.write_str("its significant children have ended"),
            Self::BudgetSpent(down) => write!(f, "its restart budget is spent; the last one: {down}"),
            Self::StartFailed(down) => write!(f, "a child did not start: {down}"),
            Self::Down(cause) => cause.fmt(f),
        }
    }
}
