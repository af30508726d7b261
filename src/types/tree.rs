//! What a supervision tree says of itself: its nodes, what happened in it, and how a life ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Restart;
use super::{Cause, text_of};

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
