//! What can go wrong with supervised actors, an error for each thing that fails.

use std::fmt;
use std::sync::Arc;

use crate::actors::{HostRunError, NoArbiter};
use crate::types::{ChildState, Down, Ending};

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotDelivered {
    /// So many messages wait already; the actor is up and slower than its senders.
    Full(usize),
    /// The actor is being restarted, and so many messages have arrived meanwhile.
    StashFull(usize),
    /// The actor has ended and is not started again. This is how its last life ended.
    Ended(Arc<Down>),
    /// The actor was never started, and will not be.
    NeverStarted,
}

impl fmt::Display for NotDelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(limit) => write!(f, "{limit} messages wait already"),
            Self::StashFull(stash) => write!(
                f,
                "the actor is being restarted and {stash} messages wait in its stash"
            ),
            Self::Ended(down) => write!(f, "the actor has ended: {down}"),
            Self::NeverStarted => f.write_str("the actor was never started"),
        }
    }
}

/// Why there is no answer to a message. It holds the message wherever it still exists.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SendError<M> {
    /// It was not delivered; here it is.
    #[error("not delivered: {reason}")]
    NotDelivered {
        /// The message.
        message: M,
        /// Why.
        reason: NotDelivered,
    },
    /// The actor ended while it worked on the message.
    #[error("{down}")]
    Died {
        /// How the life ended.
        down: Arc<Down>,
        /// A copy of the message, if it was sent with one to keep.
        kept: Option<M>,
    },
    /// The actor gave up the answer and lives on: its handler dropped what it was to answer with.
    #[error("the actor gave no answer")]
    NoAnswer,
}

impl<M> SendError<M> {
    /// The message, if it still exists.
    pub fn into_message(self) -> Option<M> {
        match self {
            Self::NotDelivered { message, .. } => Some(message),
            Self::Died { kept, .. } => kept,
            Self::NoAnswer => None,
        }
    }

    /// How the life ended that should have answered, if one did.
    pub fn down(&self) -> Option<&Arc<Down>> {
        match self {
            Self::Died { down, .. } => Some(down),
            Self::NotDelivered {
                reason: NotDelivered::Ended(down),
                ..
            } => Some(down),
            Self::NotDelivered { .. } | Self::NoAnswer => None,
        }
    }
}

/// Messages are not printed: they may hold what belongs in no log.
impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDelivered { reason, .. } => f
                .debug_struct("NotDelivered")
                .field("reason", reason)
                .finish_non_exhaustive(),
            Self::Died { down, .. } => f.debug_struct("Died").field("down", down).finish_non_exhaustive(),
            Self::NoAnswer => f.write_str("NoAnswer"),
        }
    }
}

/// Why a supervisor did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorStartError {
    /// A value of its configuration, or a child of it, cannot be.
    #[error("supervisor {supervisor}: `{key}` {problem}")]
    Config {
        /// The path of the supervisor.
        supervisor: Arc<str>,
        /// Which value.
        key: &'static str,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// No actor can be started here.
    #[error(transparent)]
    NoArbiter(#[from] NoArbiter),
    /// The host on which it was to start cannot start it.
    #[error(transparent)]
    Host(#[from] HostRunError),
    /// It began to start and ended: most often a child did not start. The children that had started were ended.
    #[error("supervisor {supervisor} did not start: {ending}")]
    Ended {
        /// The path of the supervisor.
        supervisor: Arc<str>,
        /// Why.
        ending: Ending,
    },
}

/// Why something could not be done with a child.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// No child of this name is listed.
    #[error("{supervisor} has no child `{child}`; it has: {known}")]
    Unknown {
        /// The path of the supervisor.
        supervisor: Arc<str>,
        /// The name asked for.
        child: Arc<str>,
        /// The names there are, at most ten of them.
        known: String,
    },
    /// A child of this name is listed already.
    #[error("{supervisor} has a child `{child}` already")]
    NameTaken {
        /// The path of the supervisor.
        supervisor: Arc<str>,
        /// The name.
        child: Arc<str>,
    },
    /// The child has not ended, as it must have for this.
    #[error("`{child}` is {state}; terminate it first")]
    NotEnded {
        /// The name.
        child: Arc<str>,
        /// What it does.
        state: ChildState,
    },
    /// The child is another kind of actor.
    #[error("`{child}` is a {is}, not a {asked}")]
    OtherActor {
        /// The name.
        child: Arc<str>,
        /// The type of the actor there is.
        is: &'static str,
        /// The type that was asked for.
        asked: &'static str,
    },
    /// The new child did not start; it is not listed.
    #[error("did not start: {0}")]
    StartFailed(Arc<Down>),
    /// The specification of the child cannot be.
    #[error("`{child}`: {problem}")]
    BadSpec {
        /// The name.
        child: Arc<str>,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// The supervisor has ended, or ended over this.
    #[error("the supervisor has ended")]
    SupervisorGone,
}
